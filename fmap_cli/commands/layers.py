"""`fmap layers`: a model's layers in execution order."""

from __future__ import annotations

from dataclasses import replace

import click

from ..options import json_option, model_options, remark
from ..records import ModelRequest


@click.command("layers")
@click.argument("name", required=False, metavar="[MODEL]")
@click.option(
    "--layer",
    "-l",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only these: a name, a glob ('*.relu*'), conv3, first or last. Repeatable.",
)
@model_options
@json_option
def command(name: str | None, patterns: tuple[str, ...], request: ModelRequest, as_json: bool) -> None:
    """List a model's layers in the order they run.

    Modules have their path as name (layer1.0.conv1), operations that are no module torchvision's name for them
    (layer1.0.add). The architecture is all this needs: unless --weights is given, nothing is downloaded.

    \b
      fmap layers
      fmap layers resnet18 --layer 'layer?.0.*'
    """
    from ..session import list_layers, open_architecture

    session = open_architecture(request if name is None else replace(request, model=name), remark)
    layers = list_layers(session, patterns)
    if as_json:
        from ..export import dumps, layers_document

        click.echo(dumps(layers_document(session.model, layers)))
        return
    from ..render.table import print_layers

    print_layers(session.model, layers)
