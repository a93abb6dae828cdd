"""`fmap compare`: where two images, two variants of a network or two saved runs part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from ..comparison.records import Comparison
from ..models import brings_its_weights
from ..models.records import ModelRequest
from ..network.shapes import split_layout
from .options import (
    DTYPES,
    FIGURE_SUFFIXES,
    FileType,
    FiniteRange,
    NumbersType,
    SizeType,
    csv_option,
    json_option,
    layer_options,
    layout_option,
    model_options,
    print_csv,
    print_document,
    remark,
)

RUN_SUFFIX = ".fmap"
PARTED = 3
"""The exit code of `--check` where the two sides part."""

_WHAT_TO_GIVE = (
    "give two images, or what is other on B's side (--vs-weights, --vs-dtype, …), or two saved runs (.fmap)."
)


def vs_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--vs-MODEL, --vs-weights and so on, one for each option that says which model and how to run it."""
    options = [
        click.option("--vs-model", metavar="MODEL", help="B's model.  [default for each: as A's]"),
        click.option("--vs-weights", metavar="WEIGHTS", help="B's weights: a name, random, or a checkpoint's path."),
        click.option("--vs-dtype", type=click.Choice(DTYPES), help="B's number format."),
        click.option(
            "--vs-memory-format",
            type=click.Choice(["contiguous", "channels_last"]),
            help="How B's tensors lie in memory.",
        ),
        click.option("--vs-device", metavar="DEVICE", help="Where B runs."),
        click.option("--vs-seed", type=click.IntRange(0, 2**63 - 1), help="Seed of B's random weights."),
        click.option("--vs-size", type=SizeType(), metavar="S|H,W", help="B's input size."),
        click.option("--vs-mean", type=NumbersType(), metavar="M[,M,M]", help="B's mean."),
        click.option("--vs-std", type=NumbersType(), metavar="S[,S,S]", help="B's standard deviation."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command("compare")
@click.argument("sources", nargs=-1, metavar="[A] [B]")
@layer_options
@click.option(
    "--threshold",
    type=FiniteRange(0, float("inf"), max_open=True),
    metavar="REL",
    help="Relative L2 difference above which the two have parted.  [default: what rounding does not reach in the"
    " coarser dtype: 1e-12 float64, 1e-4 float32, 0.02 float16 and TF32, 0.1 bfloat16]",
)
@click.option("--check", is_flag=True, help=f"Exit with {PARTED} where a layer is over the threshold.")
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
    " the farthest]",
)
@json_option
@csv_option
def command(
    sources: tuple[str, ...],
    request: ModelRequest,
    out: Path | None,
    check: bool,
    as_json: bool,
    as_csv: bool,
    **options: Any,
) -> int:
    """Say where two sides part: layer by layer, how far B's outputs are from A's.

    A and B are two images through one network; or one image (the bundled sample if none) through two variants, B being
    as A but for what --vs- options change; or two runs saved by `fmap stats --save`. Identical sides differ by exactly
    zero. Differences are relative to A. Of saved runs, --layer takes names and globs alone.

    \b
      fmap compare sample_images/coffee.png sample_images/chelsea.png
      fmap compare sample_images/coffee.png --vs-dtype bfloat16 --check
    """
    changes = {name.removeprefix("vs_"): options.pop(name) for name in list(options) if name.startswith("vs_")}
    changes = {name: value for name, value in changes.items() if value is not None}
    runs = _are_runs(sources, changes)
    if "size" in changes:
        changes["input_shape"] = ()
    other = replace(request, **changes)
    # A program's weights are in its file; any other model of B's gets A's weights, as it gets all else.
    if "model" in changes and "weights" not in changes and brings_its_weights(other.model):
        other = replace(other, weights=None)
    _check(runs, out, options["draw"], as_json, as_csv)
    if out is not None:
        from ..files import check_folder

        check_folder(out)
    comparison = _compare_runs(sources, options) if runs else _compare_images(sources, request, other, out, options)
    if out is not None:
        from ..comparison.figure import comparison_figure
        from ..drawing.files import write_scene
        from ..files import write_file

        write_file(out, lambda file: write_scene(comparison_figure(comparison), file, out.suffix.lower()))
    _show(comparison, out, as_json, as_csv)
    return PARTED if check and comparison.parts else 0


def _are_runs(sources: tuple[str, ...], changes: dict[str, Any]) -> bool:
    """Whether A and B are saved runs. Raises UsageError where what is given makes no two sides."""
    if len(sources) > 2:
        raise click.UsageError(f"A and B are two, and {len(sources)} were given: {_WHAT_TO_GIVE}")
    saved = [source.lower().endswith(RUN_SUFFIX) for source in sources]
    if any(saved):
        if not all(saved) or len(saved) != 2:
            raise click.UsageError("a saved run is compared with another one: give two .fmap files.")
        context = click.get_current_context()
        about_passes = ["layout", *(field.name for field in fields(ModelRequest))]
        given = [name for name in about_passes if context.get_parameter_source(name) is ParameterSource.COMMANDLINE]
        given += [f"vs_{name}" for name in changes]
        if given:
            option = f"--{given[0].replace('_', '-')}"
            raise click.UsageError(f"{option} is about a pass over an image, and saved runs are over.")
        return True
    if len(sources) < 2 and not changes:
        what = "one image makes no two sides" if sources else "nothing to compare"
        raise click.UsageError(f"{what}: {_WHAT_TO_GIVE}")
    return False


def _check(runs: bool, out: Path | None, draw: str | None, as_json: bool, as_csv: bool) -> None:
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    if draw is not None and out is None:
        raise click.UsageError("--draw says what the figure shows: give its file with --out.")
    if draw is not None and runs:
        raise click.UsageError("--draw shows maps, and saved runs have none.")


def _compare_images(
    sources: tuple[str, ...], request: ModelRequest, other: ModelRequest, out: Path | None, options: dict[str, Any]
) -> Comparison:
    from ..comparison.pairs import compare, open_sides, read_sides

    a, b = open_sides(request, other, remark)
    if other.seed != request.seed and other.seed != b.model.weights.seed:
        remark(f"--vs-seed {other.seed} changes nothing: B's weights are not random, but {b.model.weights}.")
    as_asked = any(getattr(other, name) != getattr(request, name) for name in ("size", "mean", "std"))
    of_arrays, of_outputs = split_layout(options["layout"])
    image_a, image_b = read_sides(a, b, sources, remark, of_arrays, fed_as_asked=as_asked)
    return compare(
        a,
        image_a,
        b,
        image_b,
        options["patterns"],
        kinds=options["kinds"],
        threshold=options["threshold"],
        draw=options["draw"],
        keep_maps=out is not None,
        layout=of_outputs,
    )


def _compare_runs(sources: tuple[str, ...], options: dict[str, Any]) -> Comparison:
    from ..comparison.pairs import compare_runs
    from ..statistics.merging import notes
    from ..statistics.runs import load_run

    a, b = (load_run(Path(source)) for source in sources)
    for name, each in zip(sources, (a, b), strict=True):
        for note in notes(name, each):
            remark(note)
    if a.origin.input != b.origin.input:
        remark(f"the two were fed differently: {a.origin.input}; and {b.origin.input}.")
    patterns, kinds, threshold = options["patterns"], options["kinds"], options["threshold"]
    return compare_runs(a, b, (sources[0], sources[1]), patterns, kinds=kinds, threshold=threshold)


def _show(comparison: Comparison, out: Path | None, as_json: bool, as_csv: bool) -> None:
    if as_json:
        from ..comparison.document import compare_document

        print_document(compare_document(comparison, out))
    elif as_csv:
        from ..comparison.document import compare_csv

        print_csv(compare_csv(comparison))
    else:
        from ..comparison.table import print_comparison

        print_comparison(comparison, str(out) if out is not None else None)
