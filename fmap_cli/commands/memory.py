"""`fmap memory`: what a step will take, before it runs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from .. import api
from ..arguments.checks import bytes_of
from ..errors import CHECK_FAILED, FmapError
from ..network.records import LayerKind
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    Options,
    ShapeType,
    SizeType,
    check_input_shape,
    csv_option,
    input_shape_option,
    json_option,
    model_option,
    one_model,
    weights_option,
    with_options,
)
from .output import put_out, remark

if TYPE_CHECKING:
    from ..memory.records import Forecast

_ELEMENT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "amp": 2}


class _Budget(click.ParamType):
    """Bytes with their unit, or `auto`."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        try:
            return bytes_of("the budget", str(value))
        except FmapError as error:
            self.fail(error.message, param, ctx)


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(Options):
    """`train` is None for both a training step and an inference; `file` is --out, and `unit` --units."""

    name: str | None
    batch: int
    size: int | tuple[int, int] | None
    dtype: Literal["float32", "float16", "bfloat16", "amp"]
    optimizer: Literal["sgd", "sgd-momentum", "adam", "adamw", "none"]
    train: bool | None
    per_layer: bool
    top: int | None
    kinds: tuple[str, ...]
    unit: str
    file: Path | None
    what_if: bool
    checkpoint: str | None
    freeze: tuple[str, ...]
    budget: int | Literal["auto"] | None
    check: bool
    shape: tuple[int, ...] | None
    measure: str | None
    model: str
    weights: str | None
    input_shape: tuple[tuple[int, ...], ...]

    @property
    def modes(self) -> tuple[Literal["train", "inference"], ...]:
        return ("train", "inference") if self.train is None else ("train",) if self.train else ("inference",)

    def refuse_contradictions(self) -> None:
        super().refuse_contradictions()
        one_model(self.name, self.model)
        if self.per_layer and self.top is not None:
            raise click.UsageError("--per-layer lists all layers, --top the largest: give one.")
        if self.form != "table" and (self.kinds or self.top is not None):
            raise click.UsageError("--kind and --top are about the table: --json and --csv have every layer.")
        if self.checkpoint is not None and self.train is False:
            raise click.UsageError("--checkpoint is about training: leave out --inference.")
        if self.check and self.budget is None:
            raise click.UsageError("--check compares the batch with a budget: add --budget.")
        if self.measure is not None and re.fullmatch(r"cpu|cuda(:\d+)?", self.measure) is None:
            raise click.UsageError(f"--measure {self.measure}: it runs on cpu, cuda or cuda:1.")
        if self.shape is not None and (self.name is not None or self.as_csv or self.file is not None):
            raise click.UsageError("--shape is about one tensor: it takes no MODEL, --csv or --out.")
        if self.shape is None:
            check_input_shape(self.size, self.input_shape)


@click.command("memory")
@click.argument("name", required=False, metavar="[MODEL]")
@click.option(
    "--batch",
    "-b",
    type=click.IntRange(1, 10**9),
    default=32,
    show_default=True,
    metavar="N",
    help="Images in a batch.",
)
@click.option(
    "--size", type=SizeType(), metavar="S|H,W", help="Input size: one number for a square, or height and width."
)
@click.option(
    "--dtype",
    type=click.Choice(list(_ELEMENT_BYTES)),
    default="float32",
    show_default=True,
    help="Number format; amp is automatic mixed precision (float16 where torch casts to it).",
)
@click.option(
    "--optimizer",
    type=click.Choice(["sgd", "sgd-momentum", "adam", "adamw", "none"]),
    default="sgd-momentum",
    show_default=True,
    help="Optimiser of the training step; its state and temporaries are counted.",
)
@click.option("--train/--inference", "train", default=None, help="Only training, or only inference.  [default: both]")
@click.option("--per-layer", is_flag=True, help="List every layer in execution order.")
@click.option(
    "--top", type=click.IntRange(min=1), metavar="N", help="List the N layers that keep the most memory.  [default: 8]"
)
@click.option("--kind", "-k", "kinds", multiple=True, type=click.Choice(get_args(LayerKind)), help="Only these layers.")
@click.option(
    "--units",
    "unit",
    type=click.Choice(["MB", "MiB", "GB", "GiB"]),
    default="MB",
    show_default=True,
    help="MB is 10⁶ bytes, MiB 2²⁰.",
)
@click.option("--out", "-o", "file", type=FileType(FIGURE_SUFFIXES), metavar="FILE", help="Draw memory through time.")
@click.option(
    "--what-if", is_flag=True, help="Also show the step with one thing changed: half the batch, AMP, checkpoints, …"
)
@click.option(
    "--checkpoint",
    metavar="auto|PATTERN",
    help="Compute the inside of these modules again in the backward pass; auto picks those that leave the lowest peak.",
)
@click.option(
    "--freeze", multiple=True, metavar="PATTERN", help="Parameters that do not learn, by name or module. Repeatable."
)
@click.option(
    "--budget",
    type=_Budget(),
    metavar="24GB|auto",
    help="Say whether --batch fits in this much memory, and the largest batch that does; auto: what this GPU has.",
)
@click.option("--check", is_flag=True, help=f"Exit with {CHECK_FAILED} if --batch does not fit in --budget.")
@click.option(
    "--shape",
    type=ShapeType(0),
    metavar="N,N,…",
    help="The size of one tensor, worked out step by step; takes no model.",
)
@click.option("--measure", metavar="DEVICE", help="Also run it for real on cpu or cuda, and compare.")
@model_option
@weights_option
@input_shape_option
@json_option
@csv_option
@with_options(MemoryOptions)
def command(options: MemoryOptions) -> int:
    """Say what a training step and an inference will take of memory on a GPU, before anything runs.

    The architecture is enough: no weights are drawn or downloaded, no data is read, nothing of what it counts is
    allocated, and no GPU is needed. (A factory of your own is called as it is, and makes its weights.) Saved
    activations are exact to the byte; what no one can know beforehand is said beside the figure.

    \b
      fmap memory
      fmap memory resnet50 --batch 32 --optimizer adamw --budget 24GB
      fmap memory mobilenet_v2 --dtype amp --top 5 --units MiB
      fmap memory --shape 32,128,56,56 --dtype float32
    """
    if options.shape is not None:
        return _put_out_shape(options, options.shape)
    found, file = _forecast(options), options.file
    if file is not None:
        found.figure(options.unit).save(file)
    return put_out(
        options,
        table=lambda: found.print(
            unit=options.unit, every=options.per_layer, top=options.top, kinds=options.kinds, file=file
        ),
        document=lambda: found.document(file),
        csv=found.csv,
        found=options.check and not found.fits,
    )


def _forecast(options: MemoryOptions) -> Forecast:
    return api.memory(
        one_model(options.name, options.model),
        options.batch,
        weights=options.weights,
        size=options.size,
        input_shape=options.input_shape,
        dtype=options.dtype,
        optimizer=options.optimizer,
        modes=options.modes,
        checkpoint=options.checkpoint,
        freeze=options.freeze,
        budget=options.budget,
        what_if=options.what_if,
        measure=options.measure,
        say=remark,
    )


def _put_out_shape(options: MemoryOptions, shape: tuple[int, ...]) -> int:
    """What one tensor takes."""
    from ..memory.document import shape_document
    from ..memory.table import print_shape

    dtype, each = options.dtype, _ELEMENT_BYTES[options.dtype]
    return put_out(
        options,
        table=lambda: print_shape(shape, dtype, each, options.unit),
        document=lambda: shape_document(shape, dtype, each),
    )
