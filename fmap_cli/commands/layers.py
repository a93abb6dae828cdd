"""`fmap layers`: a model's layers in execution order."""

from __future__ import annotations

from dataclasses import dataclass, replace

import click

from .. import api
from ..models.records import ModelRequest
from .options import (
    Options,
    csv_option,
    json_option,
    layer_options,
    layout_option,
    model_options,
    one_model,
    with_options,
)
from .output import put_out, remark


@dataclass(frozen=True, kw_only=True)
class LayersOptions(Options):
    name: str | None
    patterns: tuple[str, ...]
    kinds: tuple[str, ...]
    depth: int | None
    image: str | None
    layout: str | None
    request: ModelRequest

    @property
    def of_one_model(self) -> ModelRequest:
        return replace(self.request, model=one_model(self.name, str(self.request.model)))

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        one_model(self.name, str(self.request.model))


@click.command("layers")
@click.argument("name", required=False, metavar="[MODEL]")
@layer_options
@click.option(
    "--depth",
    type=click.IntRange(min=1),
    metavar="N",
    help="List modules down to this depth and sum up deeper ones in them: 1 shows a network's main parts.",
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
@with_options(LayersOptions)
def command(options: LayersOptions) -> int:
    """List a model's layers in the order they run: what they are, the shapes of their outputs, what they cost.

    A module is named by its path (layer1.0.conv1), an operation that is not a module as torchvision names it
    (layer1.0.add). The architecture is all this needs: unless --weights is given, nothing is downloaded.

    \b
      fmap layers
      fmap layers resnet18 --depth 1
      fmap layers resnet18 --kind conv --layer 'layer?.0.*'
    """
    found = api.layers(
        options.of_one_model,
        options.patterns,
        kind=options.kinds,
        depth=options.depth,
        image=options.image,
        layout=options.layout,
        say=remark,
    )
    return put_out(options, table=found.print, document=found.document, csv=found.csv)
