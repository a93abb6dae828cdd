"""Options that commands share, their types, and the record that a command gets them as.

No torch here: `--help` never imports it.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from math import isfinite, prod
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import click

from ..arguments.checks import input_noun, is_image
from ..models import DEFAULT_MODEL, brings_its_weights
from ..models.records import ModelRequest
from ..network.records import LayerKind
from ..results import ARRAY_SUFFIXES
from ..results import FIGURE_SUFFIXES as FIGURE_SUFFIXES

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


def channels_option(*names: str, help: str) -> Callable[[Any], Any]:
    """An option that takes `ChannelsType`; given several times it means all of them."""

    def together(_ctx: click.Context, _param: click.Parameter, lists: tuple[tuple[int, ...], ...]) -> Any:
        return tuple(dict.fromkeys(chain.from_iterable(lists))) or None

    return click.option(*names, type=ChannelsType(), multiple=True, callback=together, metavar="LIST", help=help)


class PlaceType(click.ParamType):
    """A cell of a map, height before width: `3,4`, of a clip with its frame before; or one of these words.

    It has at least so many numbers: a sequence's has one.
    """

    name = "place"

    def __init__(self, least: int = 2, words: tuple[str, ...] = ("max",)) -> None:
        self.least = least
        self.words = words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...] | str:
        word = str(value).strip().lower()
        if isinstance(value, tuple) or word in self.words:
            return value if isinstance(value, tuple) else word
        parts = [part.strip() for part in str(value).split(",")]
        if not self.least <= len(parts) <= 3 or not all(part.isascii() and part.isdecimal() for part in parts):
            words = f"; or {' or '.join(self.words)}" if self.words else ""
            self.fail(f"{value!r} is not a cell: give its row and column, counted from 0, as 3,4{words}.", param, ctx)
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


def _model(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--model",
        "-m",
        default=DEFAULT_MODEL,
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


def _no_model(path: str) -> str:
    """Why this file is no model, and what to give in its place."""
    context, noun = click.get_current_context(), input_noun(path)
    wish = f"Name the model, as in `{context.command_path} {DEFAULT_MODEL}`; `fmap models` lists more"
    if noun == "an array":
        import numpy as np

        try:
            shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        except (OSError, ValueError, EOFError):
            shape = ()
        sizes = ",".join(map(str, shape)) or "SHAPE"
        wish = (
            f"Name the model: `{context.command_path} MODEL --input-shape {sizes}` says what becomes of such an input"
        )
    return f"{path} is {noun}, and this command takes a model and no {noun.split()[1]}.\n{wish}."


def one_model(name: str | None, model: str) -> str:
    """The model that is asked for, by the argument or by --model.

    Raises UsageError where they are two, and where the argument is a picture.
    """
    if name is not None and is_image(name) and Path(name).is_file():
        raise click.UsageError(_no_model(name))
    if name is not None and model not in (name, DEFAULT_MODEL):
        raise click.UsageError(f"the model is named twice, {name} and --model {model}: give one.")
    return model if name is None else name


model_option, weights_option, input_shape_option = _model, _weights, _input_shape
"""Those alone, for commands that run nothing on a device."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What Click read for a command: one record a command, with a field for each parameter of that name."""

    as_json: bool = False
    as_csv: bool = False

    @property
    def form(self) -> Literal["table", "json", "csv"]:
        return "json" if self.as_json else "csv" if self.as_csv else "table"

    def refuse_contradictions(self) -> None:
        """Raises UsageError for options that contradict one another: before torch is imported."""
        if self.as_json and self.as_csv:
            raise click.UsageError("--json and --csv exclude each other.")


@dataclass(frozen=True, kw_only=True)
class FigureOptions(Options):
    """Options of a command that draws a figure for each layer: where to."""

    out: Path | None
    out_dir: Path | None
    save: Path | None

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if self.out is not None and self.out_dir is not None:
            raise click.UsageError("--out names one file and --out-dir a directory: give one of them.")

    def refuse_one_file_for(self, count: int, what: str) -> None:
        """Raises UsageError where --out is one file and there are more figures; `what` says of what."""
        if self.out is not None and count > 1:
            raise click.UsageError(f"--out names one file, and {what}: use --out-dir.")


@dataclass(frozen=True, kw_only=True)
class ChannelsOptions(FigureOptions):
    """Options of a command whose figures have a tile for each channel: which ones, and where to. `every` is --all."""

    channels: tuple[int, ...] | None
    top: int | None
    every: bool

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        if sum([self.channels is not None, self.top is not None, self.every]) > 1:
            raise click.UsageError("--channels, --top and --all exclude one another.")


_Record = TypeVar("_Record")


def collect(
    record: type[_Record], name: str, check: Callable[[_Record], None]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """What Click read under the names of a record's fields comes to the command as one such record, called `name`.

    >>> @collect(Options, "options", Options.refuse_contradictions)
    ... def command(options: Options, images: tuple[str, ...]) -> str:
    ...     return options.form
    >>> command(as_json=True, as_csv=False, images=())
    'json'
    """
    names = [each.name for each in fields(record)]  # type: ignore[arg-type]  # a dataclass

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def collected(**given: Any) -> Any:
            found = record(**{each: given.pop(each) for each in names if each in given})
            check(found)
            return function(**{name: found}, **given)

        return collected

    return decorate


_Options = TypeVar("_Options", bound=Options)


def with_options(record: type[_Options]) -> Callable[[Callable[[_Options], int | None]], Callable[..., Any]]:
    """A command gets all that Click read as one record, which holds no contradiction."""
    return collect(record, "options", lambda options: options.refuse_contradictions())


def model_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--model, --weights and how the network is fed and run, given to the command as one `request`."""
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
    collected = collect(ModelRequest, "request", lambda request: check_input_shape(request.size, request.input_shape))
    function = collected(function)
    for option in reversed(options):
        function = option(function)
    return function


class LabelsType(click.ParamType):
    """A file of class names."""

    name = "labels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        if isinstance(value, tuple):
            return value
        from ..models.labels import read_labels

        return read_labels(value)


labels_option = click.option(
    "--labels",
    type=LabelsType(),
    metavar="FILE",
    help="The classes' names: a text file with one a line, or JSON, a list or {number: name}.",
)
"""Which `model_options` puts into the request; to stand below them."""

_OF_B = {
    "model": "B's model.  [default for each: as A's]",
    "weights": "B's weights: a name, random, or a checkpoint's path.",
    "dtype": "B's number format.",
    "memory_format": "How B's tensors lie in memory.",
    "device": "Where B runs.",
    "seed": "Seed of B's random weights.",
    "size": "B's input size.",
    "mean": "B's mean.",
    "std": "B's standard deviation.",
}
"""Which of `model_options` may be other on B's side, and what they are there."""


def vs_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--vs-model, --vs-weights and so on: the command gets B's `request` as `other`, and what is `changed` by name.

    To stand below `model_options`, whose types they have.
    """

    @functools.wraps(function)
    def collected(*, request: ModelRequest, **given: Any) -> Any:
        changes = {name: given.pop(f"vs_{name}") for name in _OF_B}
        changes = {name: value for name, value in changes.items() if value is not None}
        other = replace(request, **changes)
        if "size" in changes:
            other = replace(other, input_shape=())
        # A program's weights are in its file; any other model of B's gets A's weights, as it gets all else.
        if "model" in changes and "weights" not in changes and brings_its_weights(other.model):
            other = replace(other, weights=None)
        return function(request=request, other=other, changed=tuple(changes), **given)

    of_a = {each.name: each for each in model_options(lambda: None).__click_params__}  # type: ignore[attr-defined]
    decorated: Callable[..., Any] = collected
    for name, words in reversed(_OF_B.items()):
        like = of_a[name]
        option = click.option(f"--vs-{name.replace('_', '-')}", type=like.type, metavar=like.metavar, help=words)
        decorated = option(decorated)
    return decorated


def picking_options(default: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--layer and --kind, given to the command as `patterns` and `kinds`: the layers to keep of all there are.

    `default` says which these are where none is named.
    """
    layer = click.option(
        "--layer",
        "-l",
        "patterns",
        multiple=True,
        metavar="PATTERN",
        help=f"Only these: a name, a glob ('*.relu*'), conv3, first or last. Repeatable.  [default: {default}]",
    )
    kind = click.option(
        "--kind",
        "-k",
        "kinds",
        multiple=True,
        type=click.Choice(get_args(LayerKind)),
        help="Only layers of this kind. Repeatable.",
    )
    return lambda function: layer(kind(function))


layer_options = picking_options("every layer")


def figure_options(
    *, names: str, saved: str, tile: str | None = None
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """--out, --out-dir and --save: what files are named after, and which arrays are saved. --tile where it is of
    something.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        options: list[Callable[[Any], Any]] = [
            click.option(
                "--out",
                "-o",
                type=FileType(FIGURE_SUFFIXES),
                metavar="FILE",
                help="Write the figure here: .png, .jpg, .webp, .pdf or .svg.",
            ),
            click.option(
                "--out-dir",
                type=click.Path(path_type=Path),
                metavar="DIR",
                help=f"Write figures here, under names made of {names}.  [default: the current directory]",
            ),
            click.option(
                "--save",
                type=FileType(ARRAY_SUFFIXES),
                metavar="FILE",
                help=f"Also write {saved}: .npz, .safetensors or .pt.",
            ),
        ]
        if tile is not None:
            height = f"Height of {tile} in pixels."
            options.insert(0, click.option("--tile", type=click.IntRange(1, 2048), metavar="PX", help=height))
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


image_layout_option = click.option(
    "--layout", metavar="AXES", help="Axes of an .npy array: HWC, CHW, NHWC, NCHW or HW."
)
layout_option = click.option(
    "--layout",
    metavar="AXES",
    help="Axes of an .npy array (HWC, CHW, NHWC, NCHW, HW), or, beginning with B, of the outputs of the layers picked"
    " (BHWC, BNC) where what was found is not wanted.",
)


def target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """--class and --box, given to the command as `class_` and `box`: which number of the answer is asked about."""
    by_class = click.option(
        "--class",
        "class_",
        metavar="NAME|N",
        help="The class asked about, by name or number.  [default: the predicted one]",
    )
    box = click.option(
        "--box",
        type=click.IntRange(min=0),
        metavar="N",
        help="Of a detector: the object asked about, counted from 0, the surest first.  [default: 0]",
    )
    return by_class(box(function))


csv_option = click.option("--csv", "as_csv", is_flag=True, help="Print comma-separated values on standard output.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON on standard output and nothing else.")
