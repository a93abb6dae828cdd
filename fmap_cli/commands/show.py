"""`fmap show`: one labelled figure a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

import click

from .. import api
from ..errors import DONE, FAILED, FmapError, ImageError
from ..maps.records import Choice, Drawing, Looking
from ..models.records import ModelRequest
from .options import (
    ChannelsType,
    ColourMapType,
    FigureOptions,
    FiniteRange,
    figure_options,
    json_option,
    labels_option,
    layout_option,
    model_options,
    with_options,
)
from .output import put_out, remark, report

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..maps.records import Look

RAW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class ShowOptions(FigureOptions):
    """`with_fields` is --rf."""

    images: tuple[str, ...]
    layers: tuple[str, ...]
    request: ModelRequest
    by: Literal["std", "mean", "max", "l2"]
    scale: Literal["channel", "layer"]
    clip: float
    cmap: str | None
    overlay: bool
    raw: bool
    tile: int | None
    layout: str | None
    score: float
    with_fields: bool
    inline: bool

    @property
    def drawing(self) -> Drawing:
        return Drawing(self.scale, self.clip, self.cmap, self.tile, self.overlay)

    @property
    def looking(self) -> Looking:
        return Looking(
            self.layers,
            Choice(self.channels, self.top, self.by, self.every),
            self.score,
            self.layout,
            keep_arrays=self.save is not None,
            strongest=self.with_fields,
        )

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if self.raw and self.out is not None and self.out.suffix.lower() not in RAW_SUFFIXES:
            raise click.UsageError(f"--raw writes pixels: --out has to end in {', '.join(RAW_SUFFIXES)}.")
        if self.raw and self.with_fields:
            raise click.UsageError("--raw writes bare tiles, --rf draws on the photo beside them: give one of them.")
        if self.raw and self.overlay:
            raise click.UsageError("--raw writes bare tiles, --overlay puts them over the photo: give one of them.")


@click.command("show")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    metavar="PATTERN",
    help="A layer's name, a glob ('layer?.0.conv1'), conv3 (the third convolution), first or last. Repeatable."
    "  [default: conv1]",
)
@model_options
@labels_option
@click.option("--channels", type=ChannelsType(), metavar="LIST", help="Draw these channels, e.g. 0-15,31.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Draw the N channels with the largest --by.")
@click.option(
    "--by",
    type=click.Choice(["std", "mean", "max", "l2"]),
    default="std",
    show_default=True,
    help="How channels are ranked when not all are drawn.",
)
@click.option("--all", "every", is_flag=True, help="Draw every channel, in order.  [default: up to 64]")
@click.option(
    "--scale",
    type=click.Choice(["channel", "layer"]),
    default="channel",
    show_default=True,
    help="Colours span each channel's own range, or the whole layer's.",
)
@click.option(
    "--clip",
    type=FiniteRange(0, 50, max_open=True),
    default=0.0,
    metavar="PCT",
    help="Cut off this percentage of the values at each end of the scale.",
)
@click.option(
    "--cmap",
    type=ColourMapType(),
    metavar="NAME",
    help="Matplotlib colour map.  [default: viridis; RdBu_r around zero for a shared scale with negative values;"
    " warm colours, and blue ones below zero, for --overlay]",
)
@click.option(
    "--overlay", is_flag=True, help="Lay each map over the photo in gray: the larger a value, the more opaque."
)
@click.option("--raw", is_flag=True, help="Write the bare tiles, one pixel a unit, without any text.")
@figure_options(tile="a tile", names="image, model and layer", saved="the layers' whole outputs")
@layout_option
@click.option(
    "--score",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Lowest score of the boxes drawn for a detector.",
)
@click.option(
    "--rf", "with_fields", is_flag=True, help="Mark each tile's strongest unit, and box on the photo what it sees."
)
@click.option("--inline", is_flag=True, help="Also draw the figure in the terminal.")
@json_option
@with_options(ShowOptions)
def command(options: ShowOptions) -> int:
    """Draw what chosen layers see in an image.

    There is one figure for each image and layer: the picture the network saw, a tile for each channel with its
    index and range of values, and what the colours mean. The terminal gets the layers' numbers and the model's
    top answers. An IMAGE is a picture, an .npy array, or - for standard input; without one, a bundled photo is
    shown.

    \b
      fmap show sample_images/coffee.png --layer conv1
    """
    from ..maps.files import FigureFiles

    looks = api.looks(options.request, options.images, options.looking, remark)
    options.refuse_one_file_for(len(looks), f"there are {len(looks)} images")
    files = FigureFiles(options.drawing, options.out, options.out_dir, options.raw, remark)
    shown: list[tuple[Look, list[str | None]]] = []
    failures: list[tuple[str, FmapError]] = []
    for name, each in zip(looks.names, looks, strict=True):
        if isinstance(each, ImageError):
            if len(looks) == 1:
                raise each
            report(each)
            failures.append((name, each))
        else:
            options.refuse_one_file_for(len(each.maps), f"{len(each.maps)} layers match")
            shown.append((each, files.write(each)))
    if shown:
        _put_out(options, shown, failures, several=len(looks) > 1)
    return FAILED if failures else DONE


def _put_out(
    options: ShowOptions,
    shown: Sequence[tuple[Look, Sequence[str | None]]],
    failures: Sequence[tuple[str, FmapError]],
    *,
    several: bool,
) -> None:
    """Save the arrays asked for, then print every look as a table or as JSON."""
    from ..maps.document import save_looks, show_document
    from ..maps.table import print_looks

    looks = [look for look, _ in shown]
    if options.save is not None:
        save_looks(options.save, looks)
    if options.inline:
        _draw_inline(options, looks)
    written = [(look, [file for file in files if file is not None]) for look, files in shown]
    put_out(
        options,
        table=lambda: print_looks(written, None if options.save is None else str(options.save)),
        document=lambda: show_document(
            looks, [files for _, files in shown], several=several, saved=options.save, failures=failures
        ),
    )


def _draw_inline(options: ShowOptions, looks: Sequence[Look]) -> None:
    from ..maps.inline import print_inline
    from ..tables.table import console

    out = console(stderr=options.as_json)
    for look in looks:
        for each in look.maps:
            if each.maps.size:
                pixels = partial(_pixels, look, each.layer.name, options.drawing)
                print_inline(out, pixels, each, look.image, options.drawing)


def _pixels(look: Look, layer: str, drawing: Drawing) -> Image:
    return look.figure(layer, drawing).image()
