"""`fmap top`: what excites each channel, over a folder of images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import DONE, FmapError
from ..models.records import ModelRequest
from ..top.records import DRAWN, SORTS, STRONGEST, Looking, Sort
from .options import (
    FIGURE_SUFFIXES,
    FigureOptions,
    FileType,
    PlaceType,
    channels_option,
    csv_option,
    json_option,
    layout_option,
    model_options,
    picking_options,
    with_options,
)
from .output import put_out, remark, reserve
from .running_options import RunOptions, running_options

if TYPE_CHECKING:
    from ..running.team import Gone
    from ..top.records import Dossiers


@dataclass(frozen=True, kw_only=True)
class TopOptions(RunOptions, FigureOptions):
    SAVED = ("finished dossiers", "holds saved dossiers")
    EXAMPLE = "fmap top --load photos.fmap"
    OF_A_PASS = RunOptions.OF_A_PASS | {"by_class", "per_image", "strongest"}
    save: Path | None
    patterns: tuple[str, ...]
    kinds: tuple[str, ...]
    channels: tuple[int, ...] | None
    top: int | None
    sort: Sort | None
    reverse: bool
    strongest: int
    per_image: int
    by_class: bool
    like: str | None
    at: tuple[int, ...] | None

    @property
    def looking(self) -> Looking:
        return Looking(
            self.patterns,
            self.kinds,
            None if self.channels is None else tuple(sorted({*self.channels})),
            self.strongest,
            self.per_image,
            self.by_class,
            self.limit,
            self.order_seed,
            self.batch,
            self.workers,
            self.layout,
        )

    @property
    def needed(self) -> frozenset[str]:
        """The network, where a place of an image is asked about."""
        return frozenset() if self.like is None else frozenset({*ModelRequest.__dataclass_fields__, "layout"})

    @property
    def order(self) -> Sort:
        """By what channels are sorted: those named one by one stay in their order."""
        asked: Sort = "selectivity" if self.like is None else "like"
        return self.sort or (asked if self.channels is None else "index")

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if (self.like is None) != (self.at is None):
            raise click.UsageError("--like IMAGE and --at ROW,COLUMN go together: a place of an image is asked about.")
        if self.sort == "like" and self.like is None:
            raise click.UsageError("--sort like is about a place of an image: give --like and --at.")


@click.command("top")
@click.argument("images", nargs=-1, metavar="[IMAGE|DIR|DOSSIERS.fmap...]")
@picking_options("last, the map that the classifier pools")
@channels_option("--channel", "channels", help="Only these channels, e.g. 0-15,447.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Show the first N channels in the order of --sort.  [default: {DRAWN} in the figure, 20 in the table]",
)
@click.option(
    "--sort",
    type=click.Choice(SORTS),
    help="What channels are sorted by, the largest first.  "
    "[default: selectivity; like with --like; index with --channel]",
)
@click.option("--reverse", is_flag=True, help="Sort the other way round: the smallest numbers first.")
@click.option("--like", metavar="IMAGE", help="Ask about a place of this image: which channels answer most to it?")
@click.option(
    "--at",
    type=PlaceType(words=()),
    metavar="ROW,COLUMN",
    help="With --like the place: its row and column in the layer's map.",
)
@click.option(
    "--strongest",
    type=click.IntRange(1, 1000),
    default=STRONGEST,
    show_default=True,
    metavar="N",
    help="Keep the N strongest units of each channel.",
)
@click.option(
    "--per-image",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="At most N of them from one image.",
)
@click.option("--by-class", is_flag=True, help="Say which classes a channel answers to: the folders in DIR.")
@running_options(file="DOSSIERS.fmap", saved="dossiers", loaded="saved dossiers")
@click.option(
    "--out",
    "-o",
    type=FileType(FIGURE_SUFFIXES),
    metavar="FILE",
    help="Write the contact sheet here: .png, .jpg, .webp, .pdf or .svg.",
)
@click.option(
    "--out-dir",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write contact sheets here, under names made of model and layer.  [default: the current directory]",
)
@model_options
@layout_option
@json_option
@csv_option
@with_options(TopOptions)
def command(options: TopOptions) -> int:
    """Show what excites each channel of a layer, over your own images.

    Of each channel the strongest units, each cut out of its picture exactly as far as the unit sees, beside images that
    excite it less and not at all; how often it fires, how selective it is, and with --by-class which classes it answers
    to. There is a contact sheet a layer; the terminal gets the channels' numbers.

    \b
      fmap top sample_images --layer features.5 --save dossiers.fmap
      fmap top sample_images --layer last --channel 447 --per-image 3 -o channel.png
      fmap top sample_images --layer features.5 --like sample_images/chelsea.png --at 5,4
    """
    reserve(options.out, options.save)
    with _found(options) as gone:
        if gone.run is None:  # another process of the team speaks for all
            return gone.exit_code
        code = _put_out(options, gone.run, save=gone.complete)
        gone.forget()
    return gone.exit_code or code


@contextmanager
def _found(options: TopOptions) -> Iterator[Gone[Dossiers]]:
    from ..running.team import Gone
    from ..top import api
    from .progress import progress_bar

    if options.load:
        found = api.top(
            options.request,
            load=options.images,
            layer=options.patterns,
            kind=options.kinds,
            channels=options.channels,
            like=options.like,
            at=options.at,
            layout=options.layout,
            say=remark,
        )
        yield Gone(found, DONE, True, lambda: None)
        return
    with api.resumable_top(
        options.request,
        options.images,
        options.looking,
        options.kept,
        patches=True,
        like=options.like,
        at=options.at,
        progress=progress_bar,
        say=remark,
    ) as gone:
        yield gone


def _put_out(options: TopOptions, found: Dossiers, *, save: bool) -> int:
    """The files, then the table; what took hours to find is shown also where they cannot be written."""
    from ..top.files import write_sheets

    options.refuse_one_file_for(len(found.layers), f"{len(found.layers)} layers match")
    failure = None
    files: list[str] = []
    sort, reverse, top = options.order, options.reverse, options.top
    try:
        if save and options.save is not None:
            found.save(options.save)
        files = write_sheets(found, options.out, options.out_dir, sort=sort, reverse=reverse, top=top)
    except FmapError as error:
        failure = error
    saved = str(options.save) if save and options.save is not None and failure is None else None
    code = put_out(
        options,
        table=lambda: found.print(sort=sort, reverse=reverse, top=top, files=files, saved=saved),
        document=lambda: found.document(sort=sort, reverse=reverse, top=top, files=files),
        csv=lambda: found.csv(sort=sort, reverse=reverse, top=top),
    )
    if failure is not None:
        raise failure
    return code
