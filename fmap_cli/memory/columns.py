"""What `fmap memory` says of a layer, of the largest batches and of what-ifs: for table, JSON and CSV."""

from __future__ import annotations

from collections.abc import Callable

from rich.text import Text

from .. import units
from ..tables.columns import Column, Short
from .records import LargestBatch, LayerMemory, WhatIf

MODES = {"train": "training", "inference": "inference"}


def product(row: LayerMemory) -> str:
    """A shape as the product that counts its values."""
    return "·".join(map(str, row.shape)) if row.shape else ""


def _bytes(unit: str) -> Callable[[int | None], str]:
    return lambda value: "–" if value is None else units.in_unit(value, unit)


def _any_bytes(unit: str) -> Callable[[int], str]:
    return lambda value: units.in_unit(value, unit) if value else "–"


def layers(unit: str = "B", kept: int = 0, *, training: bool = True) -> tuple[Column[LayerMemory], ...]:
    """Of layers in a table whose bytes are in `unit`; all of them together keep `kept` for the backward pass."""
    shown: list[Column[LayerMemory]] = [Column("kept_bytes", None, lambda row: row.kept_bytes)]
    if training:
        shown = [
            Column(
                "kept_bytes",
                "kept for backward",
                lambda row: row.kept_bytes,
                _any_bytes(unit),
                right=True,
                short=Short(1, "kept"),
            ),
            Column(
                title="share",
                cell=lambda row: units.percent(row.kept_bytes / kept) if kept and row.kept_bytes else "–",
                right=True,
            ),
        ]
    return (
        Column(
            "name",
            "layer",
            lambda row: row.layer.name,
            cell=lambda row: Text(units.one_line(row.layer.name), "bold"),
            least=16,
        ),
        Column("kind", None, lambda row: row.layer.kind),
        Column("type", None, lambda row: row.layer.type_name),
        Column("shape", "output", lambda row: list(row.shape), cell=product, right=True),
        Column("dtype", None, lambda row: row.dtype),
        Column(
            "element_bytes",
            "× bytes",
            lambda row: row.element_bytes,
            cell=lambda row: f"× {row.element_bytes}" if row.shape else "",
            priority=1,
        ),
        Column(
            "output_bytes",
            f"= {unit}",
            lambda row: row.output_bytes,
            cell=lambda row: units.in_unit(row.output_bytes, unit) if row.shape else "–",
            right=True,
            short=Short(1, unit),
        ),
        *shown,
        Column(
            "at_peak_bytes",
            "at the peak",
            lambda row: row.peak_bytes,
            _any_bytes(unit),
            right=True,
            short=Short(1, "at peak"),
        ),
    )


_BOUNDS = {"reserved": "by reserved memory", "allocated": "by allocated memory"}


def largest(unit: str = "B") -> tuple[Column[LargestBatch], ...]:
    return (
        Column("mode", "", lambda row: row.mode, cell=lambda row: f"{MODES[row.mode]}, {_BOUNDS[row.bound]}", least=12),
        Column("bound", None, lambda row: row.bound),
        Column(
            "batch",
            "batch",
            lambda row: row.batch,
            cell=lambda row: Text("none" if row.batch is None else units.count(row.batch), "bold"),
            right=True,
        ),
        Column("bytes", f"takes ({unit})", lambda row: row.bytes, _bytes(unit), right=True),
        Column("next_bytes", "a batch one\nlarger takes", lambda row: row.next_bytes, _bytes(unit), right=True),
    )


def what_ifs(unit: str = "B", base: WhatIf | None = None) -> tuple[Column[WhatIf], ...]:
    """Of steps with one thing changed, beside the step as it is."""

    def change(row: WhatIf) -> str:
        if row is base:
            return ""
        if base is None or not base.allocated or row.allocated is None:
            return "–"
        return f"{(row.allocated / base.allocated - 1) * 100:+.1f} %"

    return (
        Column("name", "", lambda row: row.name, units.one_line, least=12),
        Column(
            "detail",
            "",
            lambda row: row.detail,
            cell=lambda row: units.one_line(f"none: {row.reason}" if row.allocated is None else row.detail),
            least=14,
        ),
        Column("allocated_bytes", f"allocated\n({unit})", lambda row: row.allocated, _bytes(unit), right=True),
        Column(title="change", cell=change, right=True, after="allocated_bytes"),
        Column("reserved_bytes", f"reserved\n({unit})", lambda row: row.reserved, _bytes(unit), right=True),
        Column("reason", None, lambda row: row.reason or None),
    )
