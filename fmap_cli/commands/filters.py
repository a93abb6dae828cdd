"""`fmap filters`: a layer's kernels as pictures and numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import click

from ..filters.records import NEAR, SORTS, Drawing, Filters, Sort
from ..models.records import ModelRequest
from .options import (
    ChannelsOptions,
    ColourMapType,
    FiniteRange,
    channels_option,
    csv_option,
    figure_options,
    json_option,
    model_options,
    one_model,
    with_options,
)
from .output import put_out, remark


@dataclass(frozen=True, kw_only=True)
class FiltersOptions(ChannelsOptions):
    name: str | None
    layers: tuple[str, ...]
    request: ModelRequest
    sort: Sort | None
    reverse: bool
    fold: bool
    near: float
    scale: Literal["channel", "layer"] | None
    clip: float | None
    inputs: int
    cmap: str | None
    tile: int | None

    @property
    def drawing(self) -> Drawing:
        return Drawing(self.scale, self.clip, self.inputs, self.cmap, self.tile)

    @property
    def of_one_model(self) -> ModelRequest:
        return replace(self.request, model=one_model(self.name, str(self.request.model)))

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        one_model(self.name, str(self.request.model))


@click.command("filters")
@click.argument("name", required=False, metavar="[MODEL]")
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    metavar="PATTERN",
    help="A layer's name, a glob ('layer?.0.conv1') or conv3 (the third convolution). Repeatable.  [default: conv1]",
)
@channels_option("--channels", help="These filters, e.g. 0-15,31.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The first N filters in the order of --sort.")
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    help="What filters are sorted by, the largest first.  [default: index, norm where not all are drawn]",
)
@click.option("--reverse", is_flag=True, help="Sort the other way round: numbers from the smallest on.")
@click.option("--all", "every", is_flag=True, help="Draw every filter.  [default: up to 64]")
@click.option("--fold", is_flag=True, help="Fold the BatchNorm that takes the layer's output into the kernels.")
@click.option(
    "--near",
    type=FiniteRange(0, 1),
    default=NEAR,
    show_default=True,
    metavar="COSINE",
    help="From which cosine on two filters are called nearly the same.",
)
@click.option(
    "--scale",
    type=click.Choice(["channel", "layer"]),
    help="Whose largest weight the colours span.  [default: channel, each filter's own; layer for a matrix]",
)
@click.option(
    "--clip",
    type=FiniteRange(0, 50, max_open=True),
    metavar="PCT",
    help="Leave this percentage of weights at either end out of the scale.  [default: 0; 0.5 for a matrix]",
)
@click.option(
    "--inputs",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    metavar="N",
    help="Draw the N strongest input channels of each filter.",
)
@click.option(
    "--cmap",
    type=ColourMapType(),
    metavar="NAME",
    help="Matplotlib colour map of signed weights.  [default: RdBu_r around zero]",
)
@figure_options(tile="a kernel", names="model and layer", saved="the whole kernels")
@model_options
@json_option
@csv_option
@with_options(FiltersOptions)
def command(options: FiltersOptions) -> int:
    """Draw a layer's kernels, and say which are dead, alike or opposite.

    A convolution that sees the picture is drawn in red, green and blue, mid-gray being zero; all others with a tile for
    each of a filter's strongest input channels, in colours around zero; a linear layer and a 1 × 1 convolution as a
    matrix. No image is needed. There is one figure a layer; the terminal gets the filters' numbers.

    \b
      fmap filters
      fmap filters --layer features.1.0.block.0.0 --fold
      fmap filters resnet18 --weights random --layer 'layer1.*.conv?' --top 16 --out-dir kernels
    """
    from ..filters.files import write_figures

    found = _found(options)
    options.refuse_one_file_for(len(found.layers), f"{len(found.layers)} layers match")
    if options.save is not None:
        found.save(options.save)
    files = write_figures(found, options.drawing, options.out, options.out_dir)
    return put_out(
        options,
        table=lambda: found.print(files, None if options.save is None else str(options.save)),
        document=lambda: found.document(files),
        csv=found.csv,
    )


def _found(options: FiltersOptions) -> Filters:
    from ..filters.api import filters

    return filters(
        options.of_one_model,
        options.layers,
        channels=options.channels,
        top=options.top,
        sort=options.sort,
        reverse=options.reverse,
        all=options.every,
        fold=options.fold,
        near=options.near,
        say=remark,
    )
