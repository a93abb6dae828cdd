"""`fmap explain`: why a unit has the value that it has."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from ..explain.api import explain
from ..explain.records import MOST_BACK, SHOWN_TERMS
from ..models.records import ModelRequest
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    Options,
    PlaceType,
    csv_option,
    json_option,
    layout_option,
    model_options,
    with_options,
)
from .output import put_out, remark


@dataclass(frozen=True, kw_only=True)
class ExplainOptions(Options):
    """`place` is --at."""

    images: tuple[str, ...]
    patterns: tuple[str, ...]
    place: tuple[int, ...] | Literal["max", "min"]
    channel: int | None
    through: bool
    back: int
    top: int
    out: Path | None
    layout: str | None
    request: ModelRequest


@click.command("explain")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--layer",
    "-l",
    "patterns",
    multiple=True,
    default=("conv1",),
    show_default=True,
    metavar="LAYER",
    help="A convolution or a linear layer: its name, conv3, first or last.",
)
@click.option(
    "--at",
    "place",
    type=PlaceType(least=1, words=("max", "min")),
    default="max",
    show_default=True,
    metavar="Y,X|max|min",
    help="The unit's row and column (of a clip: frame,row,column; of a sequence its step), or the largest or smallest.",
)
@click.option(
    "--channel", type=click.IntRange(min=0), metavar="C", help="The unit's channel.  [default: the strongest]"
)
@click.option(
    "--through", is_flag=True, help="Follow the value on through normalisation and activation to the block's output."
)
@click.option(
    "--back",
    type=click.IntRange(0, MOST_BACK),
    default=0,
    metavar="N",
    help="Follow the strongest terms back through N convolutions, as a tree that adds up to the value.",
)
@click.option(
    "--top", type=click.IntRange(min=1), default=SHOWN_TERMS, show_default=True, metavar="N", help="Terms to list."
)
@click.option("--out", "-o", type=FileType(FIGURE_SUFFIXES), metavar="FILE", help="Write a figure.")
@layout_option
@model_options
@json_option
@csv_option
@with_options(ExplainOptions)
def command(options: ExplainOptions) -> int:
    """Say why a unit has its value: bias + Σ W · X, input channel by input channel.

    A unit is one place of one channel of a convolution or a linear layer. Its terms are listed by size, with what they
    add up to and what the network itself computed.

    \b
      fmap explain sample_images/coffee.png --layer conv1 --channel 3 --at 40,40
      fmap explain sample_images/chelsea.png --layer features.5.0.block.0.0 --through -o why.png
      fmap explain sample_images/coffee.png --layer classifier.1 --back 2
    """
    out = options.out
    found = explain(
        options.request,
        options.images,
        options.patterns,
        channel=options.channel,
        at=options.place,
        through=options.through,
        back=options.back,
        top=options.top,
        layout=options.layout,
        say=remark,
    )
    if out is not None:
        found.figure().save(out)
    return put_out(options, table=lambda: found.print(file=out), document=lambda: found.document(out), csv=found.csv)
