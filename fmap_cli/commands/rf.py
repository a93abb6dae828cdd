"""`fmap rf`: what the units of a layer see of the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .. import api
from ..models.records import ModelRequest
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    Options,
    PlaceType,
    csv_option,
    json_option,
    layer_options,
    layout_option,
    model_options,
    with_options,
)
from .output import put_out, remark

if TYPE_CHECKING:
    from ..receptive.records import EffectiveField, UnitView


@dataclass(frozen=True, kw_only=True)
class RfOptions(Options):
    """`place` is --at."""

    images: tuple[str, ...]
    patterns: tuple[str, ...]
    kinds: tuple[str, ...]
    place: tuple[int, ...] | Literal["max", "min"] | None
    channel: int | None
    effective: bool
    noise: int | None
    groups: bool
    out: Path | None
    layout: str | None
    request: ModelRequest

    @property
    def of_one_unit(self) -> bool:
        return self.place is not None or self.effective

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if self.of_one_unit and self.as_csv:
            raise click.UsageError("--csv lists layers; of one unit there is --json.")
        if self.of_one_unit and not self.patterns:
            raise click.UsageError("--at and --effective are about one layer: name it with --layer.")
        if self.of_one_unit and (self.kinds or self.groups):
            raise click.UsageError(
                "--kind and --groups are about the table; --at and --effective take one layer's name."
            )
        if self.channel is not None and not self.of_one_unit:
            raise click.UsageError("--channel goes with --at or --effective.")
        if self.noise and not self.effective:
            raise click.UsageError("--noise goes with --effective.")
        if self.noise and self.images:
            raise click.UsageError("--noise replaces the images: give one or the other.")
        if self.effective and isinstance(self.place, str):
            raise click.UsageError("--effective needs one place: give --at Y,X, or leave --at out for the middle.")
        if len(self.images) > 1 and not self.of_one_unit:
            raise click.UsageError(
                f"there are {len(self.images)} images, and the table is the same for each: give one, or none."
            )


@click.command("rf")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@layer_options
@click.option(
    "--at",
    "place",
    type=PlaceType(words=("max", "min")),
    metavar="Y,X|max|min",
    help="Draw what one unit sees: its row and column (of a clip: frame,row,column), max for the strongest, or min for"
    " the one with the smallest value.",
)
@click.option(
    "--channel", type=click.IntRange(min=0), metavar="C", help="The unit's channel.  [default: the strongest]"
)
@click.option(
    "--effective",
    is_flag=True,
    help="Measure how much each pixel really moves a unit (by default the one in the middle).",
)
@click.option(
    "--noise",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"With --effective: average over N inputs of Gaussian noise.  [default: {api.NOISE} where no image is given]",
)
@click.option("--groups", is_flag=True, help="List every group of channels whose fields differ.")
@click.option(
    "--out",
    "-o",
    type=FileType(FIGURE_SUFFIXES),
    metavar="FILE",
    help="Write a figure: of the unit with --at or --effective, else how fields grow through depth.",
)
@layout_option
@model_options
@json_option
@csv_option
@with_options(RfOptions)
def command(options: RfOptions) -> int:
    """Say which pixels of the input make a layer's values: the receptive field.

    Without --at, a row a layer: the field's size in pixels, its stride (how far from one unit to the next), padding
    (how far the first unit's field reaches over the border) and share of the input. No weights are needed.

    With --at, one unit: its exact box drawn on the photo, its value and its channel's map. With --effective, how much
    each pixel in the box counts.

    \b
      fmap rf --layer 'features.?'
      fmap rf --model resnet18 -o growth.png
      fmap rf sample_images/chelsea.png --layer features.4 --at max
      fmap rf sample_images/chelsea.png --layer features.4 --effective
    """
    if options.of_one_unit:
        return _put_out_unit(options)
    out, image = options.out, options.images[0] if options.images else None
    found = api.receptive_fields(
        options.request, options.patterns, kind=options.kinds, image=image, layout=options.layout, say=remark
    )
    if out is not None:
        found.figure().save(out)
    return put_out(
        options,
        table=lambda: found.print(groups=options.groups, file=out),
        document=lambda: found.document(out),
        csv=found.csv,
    )


def _put_out_unit(options: RfOptions) -> int:
    """One unit, which is always drawn."""
    found = _effective(options) if options.effective else _unit(options)
    out = found.figure().save(options.out or found.file_name)
    return put_out(options, table=lambda: found.print(file=out), document=lambda: found.document(out))


def _unit(options: RfOptions) -> UnitView:
    assert options.place is not None
    return api.unit(
        options.request,
        options.images,
        options.patterns,
        at=options.place,
        channel=options.channel,
        layout=options.layout,
        say=remark,
    )


def _effective(options: RfOptions) -> EffectiveField:
    from .progress import progress_bar

    assert not isinstance(options.place, str)
    with progress_bar() as advanced:
        return api.effective_field(
            options.request,
            options.images,
            options.patterns,
            noise=options.noise,
            seed=options.request.seed,
            at=options.place,
            channel=options.channel,
            layout=options.layout,
            advanced=advanced,
            say=remark,
        )
