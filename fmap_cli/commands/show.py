"""`fmap show`: one labelled figure a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .. import api
from ..errors import DONE, FAILED, FmapError
from ..maps.records import Choice, Drawing, Looking
from ..models.records import ModelRequest
from ..reduced.asking import contradiction
from ..reduced.records import CLUSTERS, COLOURS, REDUCTIONS, SHARINGS, Asked, Reduction, Sharing
from .options import (
    ChannelsOptions,
    ColourMapType,
    FiniteRange,
    PlaceType,
    channels_option,
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
    from ..reduced.records import Reduced
    from ..results import Figure

RAW_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True, kw_only=True)
class ShowOptions(ChannelsOptions):
    """`with_fields` is --rf."""

    images: tuple[str, ...]
    layers: tuple[str, ...]
    request: ModelRequest
    by: Literal["std", "mean", "max", "l2", "effect"]
    scale: Literal["channel", "layer"]
    clip: float | None
    cmap: str | None
    overlay: bool
    raw: bool
    tile: int | None
    layout: str | None
    score: float
    with_fields: bool
    inline: bool
    reduce: Reduction | None
    similar: tuple[int, ...] | None
    clusters: int | None
    foreground: bool
    basis: Sharing | None

    @property
    def drawing(self) -> Drawing:
        return Drawing(self.scale, self.clip or 0.0, self.cmap, self.tile, self.overlay)

    @property
    def asked(self) -> Asked:
        """How whole layers are reduced, where they are."""
        return Asked(self.layers, self.reduce, self.similar, self.clusters, self.foreground, self.basis, self.layout)

    @property
    def is_reduced(self) -> bool:
        return self.reduce is not None or self.similar is not None

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
        if self.raw and self.overlay and not self.is_reduced:
            raise click.UsageError("--raw writes bare tiles, --overlay puts them over the photo: give one of them.")
        one_channel = self.channels is not None or self.top is not None or self.every or self.with_fields
        one_channel |= (self.by, self.scale, self.score) != ("std", "channel", 0.5)
        wrong = contradiction(self.asked, of_channels=one_channel)
        if wrong is not None:
            raise click.UsageError(wrong)
        if self.cmap is not None and self.reduce in ("pca", "kmeans"):
            raise click.UsageError(f"--cmap colours single values, and --reduce {self.reduce} has colours of its own.")


@click.command("show")
@click.argument("images", nargs=-1, metavar="[IMAGE]...")
@click.option(
    "--layer",
    "-l",
    "layers",
    multiple=True,
    metavar="PATTERN",
    help="A layer's name, a glob ('layer?.0.conv1'), conv3 (the third convolution), first or last. Repeatable."
    "  [default: conv1; last for --reduce and --similar]",
)
@model_options
@labels_option
@channels_option("--channels", help="Draw these channels, e.g. 0-15,31.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="Draw the N channels with the largest --by.")
@click.option(
    "--by",
    type=click.Choice(["std", "mean", "max", "l2", "effect"]),
    default="std",
    show_default=True,
    help="How channels are ranked when not all are drawn; effect: by what the answer loses without them.",
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
    metavar="PCT",
    help="Cut off this percentage of the values at each end of the scale.  [default: 0; 1 for --reduce pca]",
)
@click.option(
    "--cmap",
    type=ColourMapType(),
    metavar="NAME",
    help="Matplotlib colour map.  [default: viridis; RdBu_r around zero for a shared scale with negative values;"
    " warm colours, and blue ones below zero, for --overlay]",
)
@click.option(
    "--overlay",
    is_flag=True,
    help="Lay each map over the photo in gray: the larger a value (the farther from 0, where there are negative ones),"
    " the more opaque; components and clusters evenly.",
)
@click.option(
    "--raw",
    is_flag=True,
    help="Write the bare tiles (of --reduce and --similar the bare pictures), one pixel a unit, without any text.",
)
@figure_options(
    tile="a tile",
    names="image, model and layer",
    saved="the layers' whole outputs, with --reduce and --similar the pictures' values",
)
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
@click.option(
    "--reduce",
    type=click.Choice(REDUCTIONS),
    help="The whole layer in one picture: the first three principal components as red, green and blue, clusters of like"
    " units, or a number over the channels. All images and layers on one page.",
)
@click.option(
    "--similar",
    type=PlaceType(words=()),
    metavar="Y,X",
    help="The whole layer in one picture: the cosine of every unit to this one of the first image's map (row and column"
    " from 0), in all images.",
)
@click.option(
    "--clusters",
    type=click.IntRange(2, len(COLOURS)),
    metavar="K",
    help=f"How many clusters --reduce kmeans makes.  [default: {CLUSTERS}]",
)
@click.option(
    "--foreground",
    is_flag=True,
    help="Find the components or clusters of --reduce in the foreground alone, which the first component sets apart.",
)
@click.option(
    "--basis",
    type=click.Choice(SHARINGS),
    help="Layers of as many channels share the colours of --reduce, or each layer has its own.  [default: shared]",
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
      fmap show sample_images/*.png --layer features.5 --reduce pca
      fmap show sample_images/chelsea.png sample_images/astronaut.png --layer features.5 --similar 5,4
    """
    if options.is_reduced:
        return _show_reduced(options)
    looks = api.looks(options.request, options.images, options.looking, remark)
    from ..maps.files import FigureFiles

    options.refuse_one_file_for(len(looks), f"there are {len(looks)} images")
    shown: list[tuple[Look, list[str | None]]] = []
    failures: list[tuple[str, FmapError]] = []
    with FigureFiles(options.drawing, options.out, options.out_dir, options.raw, remark) as files:
        for name, each in zip(looks.names, looks, strict=True):
            if isinstance(each, FmapError):
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
                print_inline(out, pixels, each, look.seen_by(each)[0], options.drawing)


def _pixels(look: Look, layer: str, drawing: Drawing) -> Image:
    return look.figure(layer, drawing).image()


# -- whole layers, each in one picture ---------------------------------------------------------------------------


def _show_reduced(options: ShowOptions) -> int:
    """One page of all images and layers."""
    from ..files import make_directory
    from ..reduced.files import page_name

    found = api.reduced_layers(options.request, options.images, options.asked, remark)
    if options.out_dir is not None:
        make_directory(options.out_dir)
    path = options.out or (options.out_dir or Path()) / page_name(found, raw=options.raw)
    drawn = found.figure(
        overlay=options.overlay, clip=options.clip, cmap=options.cmap, tile=options.tile, raw=options.raw
    )
    drawn.save(path)
    if options.save is not None:
        found.save(options.save)
    if options.inline:
        _draw_reduced_inline(options, found, drawn)
    return put_out(
        options,
        table=lambda: found.print([str(path)], None if options.save is None else str(options.save)),
        document=lambda: found.document(str(path), options.save),
        failures=found.failures,
        of_images=len(found.images) + len(found.failures),
    )


def _draw_reduced_inline(options: ShowOptions, found: Reduced, drawn: Figure) -> None:
    from ..maps.inline import block_size, print_blocks, print_figure
    from ..reduced.figure import pictures
    from ..tables.table import console

    out = console(stderr=options.as_json)

    def in_blocks() -> None:
        for image, tiles in zip(found.images, pictures(found, options.overlay, block_size), strict=True):
            print_blocks(out, image, tiles, found.layers)

    print_figure(out, f"{found.method} of {', '.join(found.layers)}", drawn.image, in_blocks)
