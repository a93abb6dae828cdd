"""`fmap layers`: a model's layers in execution order."""

from __future__ import annotations

import click

from ..options import json_option, model_options, remark
from ..records import ModelRequest


@click.command("layers")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@model_options
@json_option
def command(patterns: tuple[str, ...], request: ModelRequest, as_json: bool) -> None:
    """List a model's layers in the order they run.

    Modules have their path as name (`layer1.0.conv1`), operations that are no module torchvision's name for them
    (`layer1.0.add`). A PATTERN is a name, a glob such as '*.relu*', or conv3. The architecture is all this needs:
    unless --weights is given, none are downloaded.

    \b
      fmap layers
      fmap layers 'layer?.0.*' --model resnet18
    """
    from ..session import list_layers, open_architecture

    session = open_architecture(request, remark)
    layers = list_layers(session, patterns)
    if as_json:
        from ..export import dumps, layers_document

        click.echo(dumps(layers_document(session.model, layers)))
        return
    from ..render.table import print_layers

    print_layers(session.model, layers)
