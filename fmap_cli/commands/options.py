"""Click options and parameter types that commands share. No torch here: `--help` never imports it."""

from __future__ import annotations

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from math import isfinite, prod
from pathlib import Path
from typing import Any, get_args

import click

from ..errors import FmapError
from ..legible import encoding_of, legible, takes_unicode
from ..models.records import ModelRequest
from ..network.records import LayerKind
from ..units import one_line

DTYPES = ("float32", "float16", "bfloat16", "float64")


class SizeType(click.ParamType):
    """`224`, or height and width as `480,640` or `480x640`."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | tuple[int, int]:
        parts = str(value).lower().replace("x", ",").split(",")
        if not 1 <= len(parts) <= 2 or not all(part.strip().isdigit() and int(part) > 0 for part in parts):
            self.fail(f"{value!r} is not a size: give 224, or height and width as 480,640.", param, ctx)
        sizes = [int(part) for part in parts]
        return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


class ShapeType(click.ParamType):
    """Lengths of axes: `3,224,224`, or `32x128`."""

    name = "shape"

    def __init__(self, least: int = 1) -> None:
        self.least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        if isinstance(value, tuple):
            return value
        parts = [part.strip() for part in re.split(r"[,x×]", str(value))]
        if not all(part.isascii() and part.isdecimal() and int(part) >= self.least for part in parts):
            self.fail(f"{value!r} is not a shape: give whole numbers as 32,128,56,56.", param, ctx)
        sizes = tuple(int(part) for part in parts)
        if prod(sizes) > _MOST_VALUES:
            self.fail(f"{value!r} has more values than torch can count.", param, ctx)
        return sizes


_MOST_VALUES = 2**62


class NumbersType(click.ParamType):
    """One number, or one a channel: `0.5` or `0.485,0.456,0.406`."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, ...]:
        try:
            return tuple(float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a list of numbers: give 0.5, or one a channel as 0.5,0.5,0.5.", param, ctx)


class RangeType(click.ParamType):
    """Two numbers, the first of them smaller: `0,4095` or `-1000,400`."""

    name = "range"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        try:
            low, high = value if isinstance(value, tuple) else (float(part) for part in str(value).split(","))
        except ValueError:
            self.fail(f"{value!r} is not a range: give the values that are black and white, as 0,4095.", param, ctx)
        if not (isfinite(low) and isfinite(high) and low < high):
            self.fail(f"{value!r} is not a range: the first value has to be the smaller one.", param, ctx)
        return low, high


class ChannelsType(click.ParamType):
    """Channel indices and ranges, both ends included: `0-15,31`."""

    name = "channels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        channels: dict[int, None] = {}
        for part in str(value).split(","):
            first, dash, last = part.strip().partition("-")
            if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)):
                self.fail(f"{part!r} is not a channel or a range: give for example 0-15,31.", param, ctx)
            if dash and int(last) - int(first) > 1_000_000:
                self.fail(f"{part!r} is too long a range.", param, ctx)
            channels.update(dict.fromkeys(range(int(first), int(last or first) + 1)))
        return tuple(channels)


class PlaceType(click.ParamType):
    """A cell of a map, height before width: `3,4`, of a clip with its frame before; or `max`."""

    name = "place"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...] | str:
        if isinstance(value, tuple) or str(value).strip().lower() == "max":
            return value if isinstance(value, tuple) else "max"
        parts = [part.strip() for part in str(value).split(",")]
        if not 2 <= len(parts) <= 3 or not all(part.isdecimal() for part in parts):
            self.fail(f"{value!r} is not a cell: give its row and column, counted from 0, as 3,4; or max.", param, ctx)
        return tuple(int(part) for part in parts)


class FiniteRange(click.FloatRange):
    """A number within a range; `nan` is none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if number != number:
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


class FileType(click.ParamType):
    """A path to write, whose name ends in one of the suffixes that are understood."""

    name = "file"

    def __init__(self, suffixes: tuple[str, ...]) -> None:
        self.suffixes = suffixes

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        if path.suffix.lower() not in self.suffixes:
            self.fail(f"{value}: the name has to end in {', '.join(self.suffixes)}.", param, ctx)
        return path


class ColourMapType(click.ParamType):
    """The name of a Matplotlib colour map."""

    name = "colour map"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from matplotlib import colormaps

        if value not in colormaps:
            import difflib

            near = difflib.get_close_matches(value, list(colormaps), n=3)
            wish = f"Did you mean {' or '.join(near)}?" if near else "Try viridis, magma, gray or RdBu_r."
            self.fail(f"Matplotlib has no colour map {value!r}. {wish}", param, ctx)
        return str(value)


def say(line: str) -> None:
    """A line on stderr."""
    with contextlib.suppress(OSError):  # what is wrong with stderr cannot be said there, and is no harm to a result
        print(legible(line, encoding_of(sys.stderr)), file=sys.stderr, flush=True)


def print_document(document: Mapping[str, Any]) -> None:
    """A document as JSON on stdout: in UTF-8, or in ASCII alone where stdout has another encoding."""
    from ..documents import dumps

    print(dumps(document, ascii_only=not takes_unicode(sys.stdout)))


def print_csv(table: str | bytes) -> None:
    """A table as CSV on stdout, in UTF-8 whatever a terminal shows: it is for programs."""
    from ..documents import utf8

    click.echo(table if isinstance(table, bytes) else utf8(table), nl=False)


def remark(sentence: str) -> None:
    """Say something about a result, on stderr."""
    say(f"note: {one_line(sentence)}")


def report(error: FmapError) -> None:
    """A failure as one or two lines on stderr."""
    say(f"fmap: {one_line(error.message)}")
    if error.hint:
        say(f"      {one_line(error.hint)}")


def report_failures(failures: Sequence[tuple[str, FmapError]], count: int) -> int:
    """The images that failed, out of `count`, each with its reason, on stderr; returns the exit code."""
    for _, error in failures:
        report(error)
    if failures:
        names = ", ".join(one_line(name) for name, _ in failures[:10])
        names += f" and {len(failures) - 10} more" if len(failures) > 10 else ""
        say(f"fmap: {len(failures)} of {count} images failed: {names}")
    return 1 if failures else 0


def _model(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--model",
        "-m",
        default="efficientnet_lite0",
        show_default=True,
        metavar="MODEL",
        help="A name out of `fmap models`, timm:NAME, your own network as package.module:factory or "
        "path/to/file.py:factory, or a TorchScript or torch.export file.",
    )(function)


def _weights(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--weights",
        "-w",
        metavar="WEIGHTS",
        help="default, a name such as IMAGENET1K_V2, random, or a checkpoint's path (.pth, .pt, .safetensors); "
        "FILE:KEY names one of the state dicts in it.",
    )(function)


def _input_shape(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--input-shape",
        type=ShapeType(),
        multiple=True,
        metavar="C,H,W",
        help="What the network takes, without the batch: C,H,W; C,T,H,W for volumes and clips; C,W for sequences; L for"
        " vectors and tokens. Once for each input.  [default: the model's own, or found by running]",
    )(function)


def check_input_shape(size: object, shapes: Sequence[tuple[int, ...]]) -> None:
    """Raises UsageError where two options say how large the input is."""
    if size is not None and shapes:
        raise click.UsageError("--size and --input-shape both say how large the input is: give one.")


model_option, weights_option, input_shape_option = _model, _weights, _input_shape
"""Those alone, for commands that run nothing on a device."""


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--model, --weights and how the network is fed and run, given to the command as one `request`."""

    @functools.wraps(function)
    def collected(*args: Any, **kwargs: Any) -> Any:
        given = [field.name for field in fields(ModelRequest) if field.name in kwargs]
        request = ModelRequest(**{name: kwargs.pop(name) for name in given})
        check_input_shape(request.size, request.input_shape)
        return function(*args, request=request, **kwargs)

    options: list[Callable[[Any], Any]] = [
        _model,
        _weights,
        click.option(
            "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of random weights."
        ),
        click.option(
            "--size", type=SizeType(), metavar="S|H,W", help="Input size: the shorter side, or height and width."
        ),
        _input_shape,
        click.option("--mean", type=NumbersType(), metavar="M[,M,M]", help="Mean to subtract, of values in 0..1."),
        click.option("--std", type=NumbersType(), metavar="S[,S,S]", help="Standard deviation to divide by."),
        click.option(
            "--range",
            "value_range",
            type=RangeType(),
            metavar="LO,HI",
            help="The values in the file that are black and white, as 0,4095 of 12-bit pictures or -1000,400 of a CT:"
            " they become 0 and 1.",
        ),
        click.option(
            "--device", default="cpu", show_default=True, metavar="DEVICE", help="cpu, cuda, cuda:1, mps or auto."
        ),
        click.option(
            "--dtype",
            type=click.Choice(DTYPES),
            help="Number format.  [default: as the network is made, float32 for those with a name]",
        ),
        click.option(
            "--memory-format",
            type=click.Choice(["contiguous", "channels_last"]),
            default="contiguous",
            show_default=True,
            help="How tensors lie in memory; shapes and results stay the same.",
        ),
    ]
    for option in reversed(options):
        collected = option(collected)
    return collected


def layer_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--layer and --kind, given to the command as `patterns` and `kinds`: the layers to keep of all there are."""
    layer = click.option(
        "--layer",
        "-l",
        "patterns",
        multiple=True,
        metavar="PATTERN",
        help="Only these: a name, a glob ('*.relu*'), conv3, first or last. Repeatable.  [default: every layer]",
    )
    kind = click.option(
        "--kind",
        "-k",
        "kinds",
        multiple=True,
        type=click.Choice(get_args(LayerKind)),
        help="Only layers of this kind. Repeatable.",
    )
    return layer(kind(function))


FIGURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
image_layout_option = click.option(
    "--layout", metavar="AXES", help="Axes of an .npy array: HWC, CHW, NHWC, NCHW or HW."
)
layout_option = click.option(
    "--layout",
    metavar="AXES",
    help="Axes of an .npy array (HWC, CHW, NHWC, NCHW, HW), or, beginning with B, of the outputs of the layers picked"
    " (BHWC, BNC) where what was found is not wanted.",
)


csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values on standard output.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else.")
