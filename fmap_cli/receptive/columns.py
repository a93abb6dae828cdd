"""What `fmap rf` says of a layer: the one list that table, JSON and CSV read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .. import units
from ..documents import plain_number
from ..tables.columns import Column

if TYPE_CHECKING:
    from .records import FieldAxis, FieldRow, ReceptiveField


def field_cells(axes: Sequence[FieldAxis]) -> dict[str, str]:
    """Size, stride, padding and start of a field, one number where all axes have the same.

    >>> from fractions import Fraction
    >>> from fmap_cli.receptive.records import FieldAxis
    >>> field_cells([FieldAxis(axis, "exact", 43, Fraction(4), -21, 43) for axis in "HW"])
    {'size': '43', 'stride': '4', 'padding': '21', 'start': '-21'}
    """
    written = {
        "size": [size_of(each) for each in axes],
        "stride": [stride_of(each) for each in axes],
        "padding": ["–" if each.padding is None else str(each.padding) for each in axes],
        "start": ["–" if each.start is None else str(each.start) for each in axes],
    }
    return {key: words[0] if len(set(words)) == 1 else " × ".join(words) for key, words in written.items()}


def size_of(axis: FieldAxis) -> str:
    """A size in pixels, or the word that stands for it."""
    if axis.kind == "exact":
        return str(axis.size)
    if axis.kind == "upper bound":
        return "≤ whole image" if axis.size is None else f"≤ {axis.size}"
    return axis.kind


def stride_of(axis: FieldAxis) -> str:
    """A stride in pixels; of a map larger than the input a fraction."""
    if axis.stride is None:
        return "–"
    return str(axis.stride.numerator) if axis.stride.denominator == 1 else f"{float(axis.stride):.4g}"


def short_field(seen: ReceptiveField) -> str:
    """Size and stride in one word: `43 /4`.

    >>> from fractions import Fraction
    >>> import numpy as np
    >>> from fmap_cli.receptive.records import FieldAxis, ReceptiveField
    >>> axes = tuple(FieldAxis(axis, "exact", 43, Fraction(4), -21, 43) for axis in "HW")
    >>> short_field(ReceptiveField(axes, (), 1, (56, 56), 0.04, ()))
    '43 /4'
    """
    cells = field_cells(seen.axes)
    size, stride = cells["size"], cells["stride"]
    if seen.kind in ("whole image", "nothing", "unknown") or stride in ("–", "1"):
        return "–" if size == "nothing" else size.replace("whole image", "whole")
    return f"{size} /{stride}"


# -- the lists ---------------------------------------------------------------------------------------------------


def _along(key: str, what: Callable[[FieldAxis], Any]) -> Column[FieldRow]:
    """A number an axis, height before width (time first)."""
    return Column(
        key,
        None if key == "centre" else key,
        lambda row: [what(axis) for axis in row.field.axes],
        cell=lambda row: field_cells(row.field.axes)[key],
        right=True,
    )


def _each_once(what: Callable[[FieldAxis], str]) -> Callable[[FieldRow], str]:
    return lambda row: "; ".join(dict.fromkeys(what(axis) for axis in row.field.axes if what(axis)))


NAMED: tuple[Column[FieldRow], ...] = (
    Column("name", "layer", lambda row: row.layer.name, units.one_line, least=16),
    Column("kind", None, lambda row: row.layer.kind),
    Column("type", "type", lambda row: row.layer.type_name, units.one_line, least=10, cut="middle", priority=1),
    Column("shape", None, lambda row: list(row.shape)),
)
SEEN: tuple[Column[FieldRow], ...] = (
    Column(
        "cells",
        "cells",
        lambda row: list(row.field.cells),
        lambda cells: " × ".join(map(str, cells)) or "–",
        right=True,
        after="share",
    ),
    Column("share", "share", lambda row: row.field.share, units.percent, right=True, after="start"),
    Column("field", None, lambda row: row.field.kind),
)
COLUMNS = (
    *NAMED,
    *SEEN,
    _along("size", lambda axis: axis.size),
    _along("stride", lambda axis: plain_number(axis.stride)),
    _along("padding", lambda axis: axis.padding),
    _along("start", lambda axis: axis.start),
    _along("centre", lambda axis: axis.centre),
    Column("groups", None, lambda row: row.field.group_count),
    Column("by", None, _each_once(lambda axis: axis.by)),
    Column("why", None, _each_once(lambda axis: axis.why)),
)
"""Of the table and of CSV; JSON has `NAMED` and `SEEN`, and an entry for each axis."""
