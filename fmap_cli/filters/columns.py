"""What `fmap filters` says of a layer and of each filter: the lists that table, JSON and CSV read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import units
from ..tables.columns import Column
from .records import Finding, Kernels


@dataclass(frozen=True, slots=True)
class FilterRow:
    """One filter of a layer: the output channel `index`."""

    kernels: Kernels
    index: int

    def number(self, name: str) -> float | None:
        value = float(getattr(self.kernels.numbers, name)[self.index])
        return None if value != value else value

    def count(self, name: str) -> int:
        return int(getattr(self.kernels.numbers, name)[self.index])


def filter_rows(kernels: Kernels) -> list[FilterRow]:
    """A row for each of the filters asked for, in their order."""
    return [FilterRow(kernels, int(index)) for index in kernels.order]


def span(values: Sequence[float] | Any) -> tuple[float | None, float | None]:
    """The smallest and the largest that are known."""
    known = [float(each) for each in values if each == each]
    return (min(known), max(known)) if known else (None, None)


def _kernel(row: Kernels) -> str:
    """What a kernel is in short: `3×3`, `7×7 depthwise`, `matrix`."""
    size = "×".join(map(str, row.kernel)) or "matrix"
    words = f"{size} depthwise" if row.is_depthwise else f"{size}, {row.groups} groups" if row.groups > 1 else size
    return f"{words}, transposed" if row.transposed else words


def _inputs(row: Kernels) -> str:
    """How many input channels a filter reads: of a grouped convolution some of the layer's."""
    each = units.count(row.weight.shape[1])
    return f"{each} of {units.count(row.inputs)}" if row.groups > 1 else each


def _norm_range(row: Kernels) -> str:
    low, high = span(row.numbers.norm)
    return "–" if low is None or high is None else units.value_range(low, high)


def _share(row: Kernels, name: str) -> float:
    """The share of all weights, of those that each filter has."""
    known = [float(each) for each in getattr(row.numbers, name) if each == each]
    return sum(known) / len(known) if known else 0.0


LAYERS: tuple[Column[Kernels], ...] = (
    Column("name", "layer", lambda row: row.layer.name, units.one_line, least=(24, 16)),
    Column("kind", None, lambda row: row.layer.kind),
    Column("type", "type", lambda row: row.layer.type_name, priority=2),
    Column("asked", None, lambda row: row.asked),
    Column("shape", "stored as", lambda row: list(row.stored), units.shape, right=True, priority=3),
    Column("dtype", None, lambda row: row.dtype),
    Column("filter_count", "filters", lambda row: row.count, units.count, right=True),
    Column("inputs", None, lambda row: row.inputs),
    Column(title="inputs\neach", cell=_inputs, right=True),
    Column("groups", None, lambda row: row.groups),
    Column("kernel", None, lambda row: list(row.kernel)),
    Column("transposed", None, lambda row: row.transposed),
    Column(title="kernel", cell=_kernel),
    Column("weight_source", None, lambda row: row.how),
    Column("reads_picture", None, lambda row: row.reads_picture),
    Column("norm_min", None, lambda row: span(row.numbers.norm)[0]),
    Column("norm_max", None, lambda row: span(row.numbers.norm)[1]),
    Column(title="L2 norms", cell=_norm_range, right=True),
    Column("zero_fraction", "zeros", lambda row: _share(row, "zero"), units.percent, right=True, priority=4),
    Column("near_zero_fraction", "≈ 0", lambda row: _share(row, "near_zero"), units.percent, right=True, priority=4),
    Column("folded", "folded", lambda row: row.folded or None, priority=1, optional=True),
    Column("not_folded", None, lambda row: row.not_folded or None),
    Column("order", None, lambda row: row.order_in_words),
)
"""These names are the schema's: later versions add names and never change these."""


def _number(key: str, title: str, write: Callable[[Any], Any] = units.number, **options: Any) -> Column[FilterRow]:
    name = options.pop("name", key)
    return Column(key, title, lambda row: row.number(name), write, right=True, **options)


def _share_written(value: float | None) -> str:
    return "–" if value is None else units.percent(value)


def _bias(row: FilterRow) -> float | None:
    return None if row.kernels.bias is None else float(row.kernels.bias[row.index])


def _input_channels(row: FilterRow) -> list[int] | None:
    """The first and the last input channel of the filter's group; None where it reads all of them."""
    inputs = row.kernels.inputs_of(row.index)
    return [inputs[0], inputs[-1]] if row.kernels.groups > 1 else None


FILTERS: tuple[Column[FilterRow], ...] = (
    Column("layer", None, lambda row: row.kernels.layer.name),
    Column("index", "channel", lambda row: row.index, right=True),
    _number("norm", "L2 norm"),
    _number("l1", "L1 norm", priority=5),
    _number("mean", "mean", priority=6),
    _number("min", "min", priority=7),
    _number("max", "max", priority=7),
    _number("zero_fraction", "zeros", _share_written, name="zero", priority=3),
    _number("near_zero_fraction", "≈ 0", _share_written, name="near_zero", priority=8),
    Column("bias", "bias", _bias, units.number, right=True, priority=4, optional=True),
    Column("nan", "NaN", lambda row: row.count("nan"), units.count, right=True, optional=True),
    Column("inf", "Inf", lambda row: row.count("inf"), units.count, right=True, optional=True),
    Column("input_channels", None, _input_channels),
)
"""These names are the schema's: later versions add names and never change these."""

FINDINGS: tuple[Column[Finding], ...] = (
    Column("layer", "layer", lambda row: row.layer),
    Column("check", "check", lambda row: row.check),
    Column("severity", "severity", lambda row: row.severity),
    Column("what", "what", lambda row: row.what),
    Column("channels", None, lambda row: list(row.channels)),
    Column("groups", None, lambda row: [list(each) for each in row.groups]),
    Column("pairs", None, lambda row: [list(each) for each in row.pairs]),
)
