"""`fmap memory`: what a step will take, before it runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import click

from ..memory.records import Forecast, MemoryRequest
from ..models import DEFAULT_MODEL
from ..models.records import ModelRequest
from ..network.records import LayerKind
from ..units import BYTE_UNITS
from .options import (
    FIGURE_SUFFIXES,
    FileType,
    ShapeType,
    SizeType,
    check_input_shape,
    csv_option,
    input_shape_option,
    json_option,
    model_option,
    print_csv,
    print_document,
    remark,
    weights_option,
)

_ELEMENT_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2, "amp": 2}

MISFIT = 3
"""The exit code of `--check` where the batch takes more than the budget."""


class _Budget(click.ParamType):
    """Bytes with their unit, or `auto`."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        text = str(value).strip()
        if text == "auto":
            return text
        units = {unit.lower(): factor for unit, factor in BYTE_UNITS.items()}
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]+)", text)
        if found is None or found[2].lower() not in units:
            known = ", ".join(unit for unit in BYTE_UNITS if unit[0] in "MGT")
            self.fail(f"{value!r} is no amount of memory: give a number and one of {known}, or auto.", param, ctx)
        budget = int(float(found[1]) * units[found[2].lower()])
        if budget <= 0:
            self.fail(f"{value!r} is no memory at all.", param, ctx)
        return budget


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
@click.option("--size", type=SizeType(), metavar="S|H,W", help="Input size: of a square, or height and width.")
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
    help="What the training step updates with; its state and temporaries count.",
)
@click.option("--train/--inference", "train", default=None, help="One of the two.  [default: both]")
@click.option("--per-layer", is_flag=True, help="List every layer in execution order.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="List the N layers that keep most.  [default: 8]")
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
@click.option("--what-if", is_flag=True, help="The same with one thing changed: half the batch, AMP, checkpoints, …")
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
    help="Whether --batch fits in this, and the largest batch that does; auto takes this card's memory.",
)
@click.option("--check", is_flag=True, help=f"Exit with {MISFIT} where --batch does not fit in --budget.")
@click.option("--shape", type=ShapeType(0), metavar="N,N,…", help="One tensor's bytes, spelled out; no model.")
@click.option("--measure", metavar="DEVICE", help="Also run it for real on cpu or cuda, and compare.")
@model_option
@weights_option
@input_shape_option
@json_option
@csv_option
def command(
    name: str | None,
    batch: int,
    size: int | tuple[int, int] | None,
    dtype: str,
    optimizer: str,
    train: bool | None,
    per_layer: bool,
    top: int | None,
    kinds: tuple[str, ...],
    unit: str,
    file: Path | None,
    what_if: bool,
    checkpoint: str | None,
    freeze: tuple[str, ...],
    budget: int | str | None,
    check: bool,
    shape: tuple[int, ...] | None,
    measure: str | None,
    model: str,
    weights: str | None,
    input_shape: tuple[tuple[int, ...], ...],
    as_json: bool,
    as_csv: bool,
) -> int:
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
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other.")
    if name is not None and model not in (name, DEFAULT_MODEL):
        raise click.UsageError(f"the model is named twice, {name} and --model {model}: give one.")
    if per_layer and top is not None:
        raise click.UsageError("--per-layer lists all layers, --top the largest: give one.")
    if (as_json or as_csv) and (kinds or top is not None):
        raise click.UsageError("--kind and --top are about the table: --json and --csv have every layer.")
    if checkpoint is not None and train is False:
        raise click.UsageError("--checkpoint is about training, and --inference asks for none.")
    if check and budget is None:
        raise click.UsageError("--check holds a batch against --budget: give one.")
    if measure is not None and re.fullmatch(r"cpu|cuda(:\d+)?", measure) is None:
        raise click.UsageError(f"--measure {measure}: it runs on cpu, cuda or cuda:1.")
    if shape is not None and (name is not None or as_csv or file is not None):
        raise click.UsageError("--shape is about one tensor: it takes no MODEL, --csv or --out.")
    if shape is not None:
        _show_shape(shape, dtype, unit, as_json)
        return 0
    check_input_shape(size, input_shape)
    from ..foreign.isolated import run_apart

    request = MemoryRequest(
        model=ModelRequest(name or model, weights, input_shape=input_shape),
        batch=batch,
        size=(size, size) if isinstance(size, int) else size,
        dtype=dtype,  # type: ignore[arg-type]
        optimizer=optimizer,  # type: ignore[arg-type]
        modes=("train", "inference") if train is None else ("train",) if train else ("inference",),
        checkpoint=checkpoint,
        freeze=freeze,
        budget=budget,  # type: ignore[arg-type]
        what_if=what_if,
        measure=measure,
    )
    forecast = run_apart("fmap_cli.memory.forecast", "forecast", request, say=remark)
    if file is not None:
        _draw(forecast, unit, file)
    if as_json:
        from ..memory.document import memory_document

        print_document(memory_document(forecast, file))
    elif as_csv:
        from ..memory.document import memory_csv

        print_csv(memory_csv(forecast))
    else:
        from ..memory.table import print_forecast

        print_forecast(forecast, unit, every=per_layer, top=top, kinds=kinds, file=file)
    return MISFIT if check and not forecast.fits else 0


def _draw(forecast: Forecast, unit: str, file: Path) -> None:
    from ..drawing.files import write_scene
    from ..files import write_file
    from ..memory.figure import lay_out_course

    scene = lay_out_course(forecast, unit)
    write_file(file, lambda stream: write_scene(scene, stream, file.suffix.lower()))


def _show_shape(shape: tuple[int, ...], dtype: str, unit: str, as_json: bool) -> None:
    if as_json:
        from ..memory.document import shape_document

        print_document(shape_document(shape, dtype, _ELEMENT_BYTES[dtype]))
        return
    from ..memory.table import print_shape

    print_shape(shape, dtype, _ELEMENT_BYTES[dtype], unit)
