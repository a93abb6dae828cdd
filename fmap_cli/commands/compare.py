"""`fmap compare`: where two images, two variants of a network or two saved runs part."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from .. import api
from ..errors import CHECK_FAILED
from ..models.records import ModelRequest
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    FiniteRange,
    Options,
    csv_option,
    json_option,
    layer_options,
    layout_option,
    model_options,
    vs_options,
    with_options,
)
from .output import put_out, remark, reserve

if TYPE_CHECKING:
    from ..comparison.records import Comparison

RUN_SUFFIX = ".fmap"

_WHAT_TO_GIVE = (
    "give two images, or say what is different about B (--vs-weights, --vs-dtype, …), or give two saved runs (.fmap)."
)


@dataclass(frozen=True, kw_only=True)
class CompareOptions(Options):
    """`changed` are the names of what the --vs- options say, of which `other` is made."""

    sources: tuple[str, ...]
    patterns: tuple[str, ...]
    kinds: tuple[str, ...]
    threshold: float | None
    check: bool
    request: ModelRequest
    other: ModelRequest
    changed: tuple[str, ...]
    layout: str | None
    out: Path | None
    draw: str | None

    @property
    def of_runs(self) -> bool:
        """Whether A and B are saved runs."""
        return any(source.lower().endswith(RUN_SUFFIX) for source in self.sources)

    def refuse_contradictions(self) -> None:
        # A network of several inputs takes them for either side; how many these are is known once it is open.
        if len(self.sources) > 2 and len(self.sources) % 2 and not self.changed:
            raise click.UsageError(f"compare takes two, A and B, and {len(self.sources)} were given: {_WHAT_TO_GIVE}")
        if self.of_runs:
            self._refuse_passes()
        elif len(self.sources) < 2 and not self.changed:
            what = "there is nothing to compare the image with" if self.sources else "nothing to compare"
            raise click.UsageError(f"{what}: {_WHAT_TO_GIVE}")
        super().refuse_contradictions()
        if self.draw is not None and self.out is None:
            raise click.UsageError("--draw chooses the layer of the figure: add --out FILE.")
        if self.draw is not None and self.of_runs:
            raise click.UsageError("--draw shows maps, and saved runs have none.")

    def _refuse_passes(self) -> None:
        """Raises UsageError where one side is not a saved run, or an option is about a pass."""
        if len(self.sources) != 2 or not all(source.lower().endswith(RUN_SUFFIX) for source in self.sources):
            raise click.UsageError("a saved run can only be compared with another saved run: give two .fmap files.")
        context = click.get_current_context()
        about_passes = ["layout", *(field.name for field in fields(ModelRequest))]
        named = [name for name in about_passes if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        named += [f"vs_{name}" for name in self.changed]
        if named:
            option = f"--{named[0].replace('_', '-')}"
            raise click.UsageError(f"{option} changes how images run through a network, and saved runs are finished.")


@click.command("compare")
@click.argument("sources", nargs=-1, metavar="[A] [B]")
@layer_options
@click.option(
    "--threshold",
    type=FiniteRange(0, float("inf"), max_open=True),
    metavar="REL",
    help="Relative L2 difference above which a layer counts as different.  [default: more than rounding makes in the"
    " coarser dtype: 1e-12 float64, 1e-4 float32, 0.02 float16 and TF32, 0.1 bfloat16]",
)
@click.option("--check", is_flag=True, help=f"Exit with {CHECK_FAILED} if a layer is over the threshold.")
@model_options
@vs_options
@layout_option
@click.option(
    "--out",
    "-o",
    type=FileType(FIGURE_SUFFIXES),
    metavar="FILE",
    help="Draw the difference through depth, and one layer's maps side by side: .png, .jpg, .webp, .pdf or .svg.",
)
@click.option(
    "--draw",
    metavar="PATTERN",
    help="The layer whose maps the figure shows, the first of several.  [default: the first map over the threshold, or"
    " the one that differs most]",
)
@json_option
@csv_option
@with_options(CompareOptions)
def command(options: CompareOptions) -> int:
    """Compare two sides layer by layer: how far B's outputs are from A's, and from where on they differ.

    A and B are two images through one network; or one image (the bundled sample if none) through two variants, B being
    like A except for what --vs- options change; or two runs saved by `fmap stats --save`. Identical sides differ by
    exactly zero. Differences are relative to A. Of saved runs, --layer takes names and globs alone.

    \b
      fmap compare sample_images/coffee.png sample_images/chelsea.png
      fmap compare sample_images/coffee.png --vs-dtype bfloat16 --check
    """
    reserve(options.out)
    found = _compare_runs(options) if options.of_runs else _compare_images(options)
    out = options.out
    if out is not None:
        found.figure().save(out)
    return put_out(
        options,
        table=lambda: found.print(file=out),
        document=lambda: found.document(out),
        csv=found.csv,
        found=options.check and found.parts,
    )


def _compare_images(options: CompareOptions) -> Comparison:
    from .progress import progress_bar

    with progress_bar() as advanced:
        return api.compare(
            options.request,
            options.sources,
            vs=options.other if options.changed else None,
            layer=options.patterns,
            kind=options.kinds,
            threshold=options.threshold,
            draw=options.draw,
            keep_maps=options.out is not None,
            layout=options.layout,
            advanced=advanced,
            say=remark,
        )


def _compare_runs(options: CompareOptions) -> Comparison:
    a, b = (api.load_run(source, say=remark) for source in options.sources)
    return api.compare(
        a,
        b,
        layer=options.patterns,
        kind=options.kinds,
        threshold=options.threshold,
        names=(options.sources[0], options.sources[1]),
        say=remark,
    )
