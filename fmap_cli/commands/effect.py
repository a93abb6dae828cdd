"""`fmap effect`: what each channel of a layer does to the answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import click

from ..effect.api import effect
from ..effect.records import SHOWN, WITHS, Effects, With
from ..models.records import ModelRequest
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    Options,
    channels_option,
    csv_option,
    json_option,
    labels_option,
    layout_option,
    model_options,
    target_options,
    with_options,
)
from .output import put_out, remark, reserve


@dataclass(frozen=True, kw_only=True)
class EffectOptions(Options):
    """`with_` is --with."""

    images: tuple[str, ...]
    patterns: tuple[str, ...]
    with_: With
    run: Path | None
    class_: str | None
    box: int | None
    channels: tuple[int, ...] | None
    top: int
    fast: bool
    out: Path | None
    layout: str | None
    request: ModelRequest

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if self.run is not None and self.with_ != "mean":
            raise click.UsageError("--run has the means that --with mean takes: give both, or neither.")


@click.command("effect")
@click.argument("images", nargs=-1, metavar="[IMAGE|DIR]...")
@click.option(
    "--layer",
    "-l",
    "patterns",
    multiple=True,
    default=("last",),
    show_default=True,
    metavar="LAYER",
    help="The layer whose channels are taken away: its name, conv3, first or last.",
)
@click.option(
    "--with",
    "with_",
    type=click.Choice(WITHS),
    default="zero",
    show_default=True,
    help="What takes a channel's place: zero, its mean over the images, or its map for another image"
    " (of a single image its own values at other places).",
)
@click.option(
    "--run",
    type=FileType((".fmap",)),
    metavar="FILE",
    help="With --with mean: take the means of this run, which `fmap stats --save` wrote.",
)
@target_options
@channels_option("--channels", help="These channels alone, as in 0-15,31.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=SHOWN,
    show_default=True,
    metavar="N",
    help="Channels to list and draw.",
)
@click.option(
    "--fast", is_flag=True, help="Estimate as gradient × activation, in one backward pass, and say how well it ranks."
)
@click.option("--out", "-o", type=FileType(FIGURE_SUFFIXES), metavar="FILE", help="Write a figure.")
@layout_option
@model_options
@labels_option
@json_option
@csv_option
@with_options(EffectOptions)
def command(options: EffectOptions) -> int:
    """Say what each channel of a layer does to the answer: take it away, and see what changes.

    The answer's number is the predicted class's logit, of a segmentation its mean over the class's pixels, of a
    detector an object's score. Each channel is ablated alone, and then all at once. What comes before the layer runs
    once.

    \b
      fmap effect sample_images/chelsea.png --layer features.6.3.add -o effect.png
      fmap effect sample_images --layer last --with mean --class "tiger cat"
      fmap effect sample_images/coffee.png --layer features.4.2.add --fast
    """
    from .progress import progress_bar

    reserve(options.out)
    with progress_bar("channels") as advanced:
        found = _found(options, advanced)
    if options.out is not None:
        found.figure().save(options.out)
    return put_out(
        options,
        table=lambda: found.print(file=options.out),
        document=lambda: found.document(options.out),
        csv=found.csv,
        failures=found.failures,
        of_images=len(found.images) + len(found.failures),
    )


def _found(options: EffectOptions, advanced: Callable[[int, int], None]) -> Effects:
    return effect(
        options.request,
        options.images,
        options.patterns,
        with_=options.with_,
        run=options.run,
        class_=options.class_,
        box=options.box,
        channels=options.channels,
        top=options.top,
        fast=options.fast,
        seed=options.request.seed,
        layout=options.layout,
        advanced=advanced,
        say=remark,
        say_failures=False,
    )
