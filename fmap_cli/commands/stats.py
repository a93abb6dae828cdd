"""`fmap stats`: what every layer's numbers say, over one image or a million."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from .. import api
from ..errors import CHECK_FAILED, FmapError
from ..statistics.columns import SORTS
from ..statistics.records import Counting
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    csv_option,
    json_option,
    layer_options,
    layout_option,
    model_options,
    with_options,
)
from .output import put_out, remark, reserve
from .running_options import RunOptions, running_options

if TYPE_CHECKING:
    from ..health import Thresholds
    from ..running.team import Gone
    from ..statistics.records import LayerRecord, Run

_TOP = 50
_NAMED = 10


@dataclass(frozen=True, kw_only=True)
class StatsOptions(RunOptions):
    patterns: tuple[str, ...]
    kinds: tuple[str, ...]
    per_channel: bool
    sort: str | None
    reverse: bool
    top: int | None
    by_class: bool
    check: bool
    fail_on: Literal["warning", "error"]
    thresholds: tuple[str, ...]
    out: Path | None

    @property
    def counting(self) -> Counting:
        return Counting(
            self.patterns,
            self.kinds,
            self.per_channel,
            self.by_class,
            self.limit,
            self.order_seed,
            self.batch,
            self.workers,
            self.layout,
        )

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if self.per_channel and self.by_class:
            raise click.UsageError("--per-channel and --by-class exclude each other.")
        of_channels = {"sort": self.sort, "top": self.top, "reverse": self.reverse}
        for name, given in of_channels.items():
            if given and not self.per_channel:
                raise click.UsageError(f"--{name} is about channels: give --per-channel, too.")


@click.command("stats")
@click.argument("images", nargs=-1, metavar="[IMAGE|DIR|RUN.fmap...]")
@layer_options
@click.option("--per-channel", is_flag=True, help="One row for each channel instead of each layer.")
@click.option("--sort", type=click.Choice(SORTS), help="Sort the channels by this.  [default: layer]")
@click.option("--reverse", is_flag=True, help="Reverse the order: smallest numbers first.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    metavar="N",
    help=f"Show at most this many channels.  [default: {_TOP}]",
)
@click.option("--by-class", is_flag=True, help="One row for each class: classes are the folders in DIR.")
@running_options(file="RUN.fmap", saved="numbers", loaded="saved runs")
@click.option(
    "--check", is_flag=True, help=f"Exit with {CHECK_FAILED} if a finding is at least as severe as --fail-on."
)
@click.option(
    "--fail-on",
    type=click.Choice(["warning", "error"]),
    default="warning",
    show_default=True,
    help="The lowest severity on which --check fails.",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set a threshold of the findings; docs/health.md names them. Repeatable.",
)
@click.option(
    "--out",
    "-o",
    type=FileType(FIGURE_SUFFIXES),
    metavar="FILE",
    help="Draw the distributions through depth: .png, .jpg, .webp, .pdf or .svg.",
)
@model_options
@layout_option
@json_option
@csv_option
@with_options(StatsOptions)
def command(options: StatsOptions) -> int:
    """Say what every layer's numbers are, and what is wrong with them.

    Mean, standard deviation, extremes, zeros and distribution of each layer's output, over one image, a folder or
    saved runs; then findings in words: dead channels, saturation, NaN, what float16 would lose. Without an image, the
    bundled sample. An IMAGE may be a pattern, an .npy array, or - for standard input.

    \b
      fmap stats
      fmap stats sample_images --kind conv -o depth.png
      fmap stats sample_images --save run.fmap
      torchrun --nproc-per-node 2 -m fmap_cli stats sample_images
    """
    from ..health import Thresholds

    thresholds = Thresholds.with_changes(options.thresholds)
    reserve(options.out, options.save)
    if options.load:
        return _put_out(options, thresholds, api.load_run(*options.images, say=remark))
    with _counted(options) as counted:
        if counted.run is None:  # another process of the team speaks for all
            return counted.exit_code
        code = _put_out(options, thresholds, counted.run, save=counted.complete)
        counted.forget()
    return counted.exit_code or code


def _counted(options: StatsOptions) -> AbstractContextManager[Gone[Run]]:
    from .progress import progress_bar

    return api.resumable_stats(
        options.request, options.images, options.counting, options.kept, progress=progress_bar, say=remark
    )


def _put_out(options: StatsOptions, thresholds: Thresholds, run: Run, *, save: bool = True) -> int:
    """The files asked for, then the table; what took hours to count is shown also where they cannot be written."""
    from ..health import reaches

    run = replace(run, findings=tuple(api.findings(run, thresholds)))
    shown = _shown(run, options)
    failure = None
    files: list[str] = []
    try:
        if save and options.save is not None:
            files.append(str(run.save(options.save)))
        if options.out is not None:
            files.append(str(run.figure(shown=shown).save(options.out)))
    except FmapError as error:
        failure, files = error, []
    if run.failures and options.form != "table":  # the tables name them themselves
        _remark_on_failures(run)
    code = put_out(
        options,
        table=lambda: run.print(
            per_channel=options.per_channel,
            by_class=options.by_class,
            sort=options.sort or "layer",
            reverse=options.reverse,
            top=options.top or _TOP,
            shown=shown,
            files=files,
        ),
        document=lambda: run.document(shown=shown, channels=options.per_channel, files=files),
        csv=lambda: run.csv(shown=shown, channels=options.per_channel),
        found=options.check and reaches(run.findings, options.fail_on),
    )
    if failure is not None:
        raise failure
    return code


def _shown(run: Run, options: StatsOptions) -> list[LayerRecord]:
    """The layers to show: those asked for; else all that put out a tensor of their own."""
    if options.patterns and not options.load:
        return list(run.layers)  # no others were counted
    from ..network.selection import pick_names

    whole = [each for each in run.layers if each.same_as is None or options.patterns]
    names = pick_names({each.layer.name: each.layer.kind for each in whole}, options.patterns, options.kinds)
    return [each for each in whole if each.layer.name in names]


def _remark_on_failures(run: Run) -> None:
    named = ", ".join(name for name, _ in run.failures[:_NAMED])
    more = f" and {len(run.failures) - _NAMED} more" if len(run.failures) > _NAMED else ""
    remark(f"{len(run.failures)} of {run.images + len(run.failures)} images could not be read: {named}{more}.")
