"""`fmap memory` in the terminal: the bill, the layers that take most, the largest batch, what-ifs."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..tables.columns import Column, of_cells
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from . import columns
from .columns import MODES
from .records import WhatIf

if TYPE_CHECKING:
    from rich.console import Console

    from ..tables.columns import Cell
    from .records import Forecast, LargestBatch, LayerMemory, MemoryBill

KINDS = {
    "parameters": "parameters",
    "buffers": "buffers",
    "optimizer": "optimiser state",
    "input": "input and labels",
    "gradients": "gradients",
    "activations": "saved activations",
    "temporaries": "temporaries",
}
OPTIMIZERS = {
    "sgd": "SGD",
    "sgd-momentum": "SGD with momentum",
    "adam": "Adam",
    "adamw": "AdamW",
    "none": "no optimiser",
}
_TOP = 8
_UNKNOWN = (
    "Not included, as it cannot be known beforehand: cuDNN's workspaces (it picks its "
    "algorithms when it runs), the CUDA context "
    "(outside PyTorch's memory)."
)
_WILL_IT_FIT = "--budget 24GB says whether it fits; --units GiB or MiB counts as nvidia-smi does."
_CUBLAS, _CUBLAS_HOPPER = 8_519_680, 32 << 20  # bytes


def print_forecast(
    forecast: Forecast, unit: str, *, every: bool, top: int | None, kinds: Sequence[str], file: Path | None = None
) -> None:
    """The bill first, then a row a layer, then whatever else was asked for. All bytes are in one unit."""
    out = console()
    for line in _head(forecast):
        print_line(out, Text(units.one_line(line)))
    if forecast.budget is not None:
        for line in _verdict(forecast, forecast.budget, unit):
            print_line(out, Text(line, "bold" if forecast.fits else "bold red"))
    else:
        print_wrapped(out, Text(_needed(forecast, unit), "bold"))
        print_wrapped(out, Text(_WILL_IT_FIT, "dim"))
    out.print()
    _print_bill(out, forecast.bills, unit)
    out.print()
    for bill in forecast.bills:
        where = f"{units.layer_name(bill.peak_layer)}, {_phase(bill)}" if bill.peak_layer else _phase(bill)
        print_line(out, Text(f"The peak of {MODES[bill.mode]} is at {where}."))
    usual, hopper = (units.in_unit(each, unit) for each in (_CUBLAS, _CUBLAS_HOPPER))
    known = f"Not included either: cuBLAS's workspace, {usual} {unit} a process, {hopper} {unit} on Hopper."
    for line in (_UNKNOWN, known):
        out.print(Text(line, "dim"))
    for note in forecast.notes:
        out.print(Text(units.one_line(note), "yellow"))
    out.print()
    _print_layers(out, forecast, unit, every, top, kinds)
    if forecast.largest and forecast.budget is not None:
        out.print()
        _print_largest(out, forecast.largest, forecast.budget, unit)
    if forecast.what_ifs:
        out.print()
        _print_what_ifs(out, forecast, unit)
    if forecast.measured:
        out.print()
        _print_measured(out, forecast, unit)
    if file is not None:
        out.print()
        print_files(out, file)


def _head(forecast: Forecast) -> list[str]:
    origin = forecast.origin
    lines = [
        f"{origin.model} · {origin.weights.in_words} · input {units.shapes(forecast.inputs)} · {_dtype(forecast.dtype)}"
    ]
    if any(bill.mode == "train" for bill in forecast.bills):
        lines.append(f"{OPTIMIZERS[forecast.optimizer]} · loss: {forecast.loss}")
        if forecast.frozen:
            lines[-1] += f" · {units.count(forecast.frozen)} of {units.count(forecast.parameters)} parameters frozen"
        if forecast.checkpointed:
            lines.append(f"computed again in the backward pass: {listed(forecast.checkpointed)}")
    return lines


def _needed(forecast: Forecast, unit: str) -> str:
    """How much a GPU has to have for the batch that was asked about."""
    bills = [f"{units.in_unit(bill.reserved, unit)} {unit} for {MODES[bill.mode]}" for bill in forecast.bills]
    return f"Batch {units.count(forecast.batch)} takes {' and '.join(bills)} ({unit}: {units.unit_in_words(unit)})."


def _verdict(forecast: Forecast, budget: int, unit: str) -> list[str]:
    """Whether the batch that was asked about fits, a line a mode."""
    limit = f"{units.in_unit(budget, unit)} {unit}"
    lines = []
    for bill in forecast.bills:
        reserved, allocated = (f"{units.in_unit(each, unit)} {unit}" for each in (bill.reserved, bill.allocated))
        what = f"{MODES[bill.mode]} at batch {units.count(forecast.batch)}"
        fit = bill.fit(budget)
        why = (
            f"reserves {reserved}"
            if fit == "fits"
            else f"needs {allocated}, and the allocator would reserve {reserved}"
        )
        lines.append(f"{what} {fit} in {limit}: it {why}.")
    return [line[0].upper() + line[1:] for line in lines]


def _dtype(dtype: str) -> str:
    return "mixed precision (amp, float16)" if dtype == "amp" else dtype


def listed(names: Sequence[str], most: int = 6) -> str:
    """Names in one line, the first of them where there are many."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _phase(bill: MemoryBill) -> str:
    names = {"forward": "in the forward pass", "backward": "in the backward pass", "step": "in the optimiser's step"}
    return names.get(bill.peak_phase, bill.peak_phase)


def _print_bill(out: Console, bills: Sequence[MemoryBill], unit: str) -> None:
    heads: list[Column[Sequence[Cell]]] = [Column(title=unit)]
    for bill in bills:
        if bill.mode == "train":
            heads.append(Column(title="training:\nin all", right=True))
        heads.append(Column(title=f"{MODES[bill.mode]}:\nat the peak", right=True))
    rows: list[list[Text | str]] = []

    def add(name: str, values: Sequence[tuple[int | None, int]], style: str = "") -> None:
        cells: list[Text | str] = [Text(name, style)]
        for bill, (most, at_peak) in zip(bills, values, strict=True):
            if bill.mode == "train":
                cells.append(Text("" if most is None else units.in_unit(most, unit), style))
            cells.append(Text(units.in_unit(at_peak, unit), style))
        rows.append(cells)

    for at, share in enumerate(bills[0].shares):
        found = [bill.shares[at] for bill in bills]
        if any(each.most for each in found):
            add(KINDS[share.kind], [(each.most, each.at_peak) for each in found])
    add("= tensors", [(None, bill.tensors) for bill in bills])
    add("rounding to blocks", [(None, bill.rounding) for bill in bills])
    bound = any(bill.upper_bound for bill in bills)
    add("peak allocated" + (", upper bound" if bound else ""), [(None, bill.allocated) for bill in bills], "bold")
    add("reserved by the caching allocator", [(None, bill.reserved) for bill in bills], "bold")
    print_rows(out, of_cells(*heads), rows)


def _print_layers(
    out: Console, forecast: Forecast, unit: str, every: bool, top: int | None, kinds: Sequence[str]
) -> None:
    bill = forecast.bills[0]
    rows = [each for each in bill.layers if each.layer.kind in kinds] if kinds else shown_layers(bill)
    total = sum(each.kept_bytes for each in bill.layers)
    count = len(rows)
    training = bill.mode == "train"
    if not every:
        rows = sorted(rows, key=lambda each: -(each.kept_bytes if training else each.output_bytes))[: top or _TOP]
        what = "keep most for the backward pass" if training else "have the largest outputs"
        out.print(Text(f"The {len(rows)} of {count} layers that {what}; --per-layer lists all:"))
    if not rows:
        out.print(Text("No layer of this kind."))
        return
    print_rows(out, columns.layers(unit, total, training=training), rows)


def shown_layers(bill: MemoryBill) -> list[LayerMemory]:
    """The layers that take something: blocks only hand on what the layers inside them made."""
    return [each for each in bill.layers if each.layer.kind != "block" or each.kept_bytes or each.peak_bytes]


def _print_largest(out: Console, found: Sequence[LargestBatch], budget: int, unit: str) -> None:
    out.print(Text(f"The largest batch in {units.in_unit(budget, unit)} {unit}:"))
    print_rows(out, columns.largest(unit), found)
    if len({each.bound for each in found}) > 1:
        why = "the larger one by allocated memory needs a fresh process and luck with fragmentation"
        print_line(out, Text(f"Go by reserved memory; {why}.", "dim"))
    out.print(Text("CUDA's context and cuDNN's workspaces come on top of either: leave room for them.", "dim"))
    if all(each.batch is None for each in found):
        least = min(each.next_bytes for each in found if each.next_bytes is not None)
        out.print(Text(f"Not even a batch of 1 fits: it takes {units.in_unit(least, unit)} {unit}."))


def _print_what_ifs(out: Console, forecast: Forecast, unit: str) -> None:
    bill = forecast.bills[0]
    out.print(Text(f"What if, in {MODES[bill.mode]}, one thing changed:"))
    base = WhatIf("as it is", "", bill.allocated, bill.reserved)
    print_rows(out, columns.what_ifs(unit, base), [base, *forecast.what_ifs])


def _print_measured(out: Console, forecast: Forecast, unit: str) -> None:
    heads = of_cells(
        Column(title="measured", least=12),
        Column(title=f"estimated ({unit})", right=True),
        Column(title=f"measured ({unit})", right=True),
        Column(title="estimate off by", right=True),
    )
    rows: list[list[Text | str]] = []
    for each in forecast.measured:
        pairs = [("", each.estimated, each.measured)]
        if each.estimated_reserved is not None and each.measured_reserved is not None:
            pairs.append((", reserved", each.estimated_reserved, each.measured_reserved))
        for what, guess, truth in pairs:
            off = f"{(guess / truth - 1) * 100:+.2f} %" if truth else "–"
            name = f"{MODES[each.mode]} on {each.device}{what}"
            rows.append([name, units.in_unit(guess, unit), units.in_unit(truth, unit), off])
    print_rows(out, heads, rows)
    for how in dict.fromkeys(each.how for each in forecast.measured):
        out.print(Text(units.one_line(how), "dim"))


def print_shape(shape: Sequence[int], dtype: str, element_bytes: int, unit: str) -> None:
    """One tensor's bytes, as a person would write the sum."""
    out = console()
    values = prod(shape)
    name = "float16" if dtype == "amp" else dtype
    out.print(Text(f"{' · '.join(map(str, shape))} = {units.count(values)} values"), soft_wrap=True)
    total = values * element_bytes
    out.print(
        Text(
            f"{units.count(values)} × {element_bytes} bytes ({name}) = {units.count(total)} bytes"
            f" ≈ {units.in_unit(total, unit)} {unit}"
        ),
        soft_wrap=True,
    )
