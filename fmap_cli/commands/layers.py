"""`fmap layers`: a model's layers in execution order."""

from __future__ import annotations

from dataclasses import replace

import click

from ..models import DEFAULT_MODEL
from ..models.records import ModelRequest
from ..network.shapes import split_layout
from .options import (
    csv_option,
    json_option,
    layer_options,
    layout_option,
    model_options,
    print_csv,
    print_document,
    remark,
)


@click.command("layers")
@click.argument("name", required=False, metavar="[MODEL]")
@layer_options
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="Modules inside N others are summed up in those: 1 shows a network's main parts.",
)
@click.option(
    "--image",
    metavar="IMAGE",
    help="List the layers for this picture's size, or an .npy array's.  [default: the sample]",
)
@layout_option
@model_options
@json_option
@csv_option
def command(
    name: str | None,
    patterns: tuple[str, ...],
    kinds: tuple[str, ...],
    depth: int | None,
    image: str | None,
    layout: str | None,
    request: ModelRequest,
    as_json: bool,
    as_csv: bool,
) -> None:
    """List a model's layers in the order they run: what they are, what they put out, what they cost.

    Modules have their path as name (layer1.0.conv1), operations that are no module torchvision's name for them
    (layer1.0.add). The architecture is all this needs: unless --weights is given, nothing is downloaded.

    \b
      fmap layers
      fmap layers resnet18 --depth 1
      fmap layers resnet18 --kind conv --layer 'layer?.0.*'
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    if name is not None and request.model not in (name, DEFAULT_MODEL):
        raise click.UsageError(f"the model is named twice, {name} and --model {request.model}: give one.")
    from ..layers.survey import survey
    from ..session.opening import open_architecture, read_image

    session = open_architecture(request if name is None else replace(request, model=name), remark)
    of_arrays, of_outputs = split_layout(layout)
    picture = None if image is None else read_image(session, image, remark, of_arrays)
    listing = survey(session, patterns, kinds=kinds, depth=depth, image=picture, layout=of_outputs)
    if as_json:
        from ..layers.document import layers_document

        print_document(layers_document(listing))
        return
    if as_csv:
        from ..layers.document import layers_csv

        print_csv(layers_csv(listing))
        return
    from ..layers.table import print_listing

    print_listing(listing)
