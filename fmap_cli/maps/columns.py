"""What `fmap show` says of a layer: the one list that the table and JSON read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.text import Text

from .. import units
from ..tables.columns import Column
from .records import FeatureMap


def _name(row: FeatureMap) -> Text:
    name = Text(units.one_line(row.layer.name), "bold")
    if row.asked != row.layer.name and not any(sign in row.asked for sign in "*?["):
        name.append(f" ({units.one_line(row.asked)})", "not bold")
    return name


def _number(key: str, title: str, write: Callable[[Any], str] = units.number, **options: Any) -> Column[FeatureMap]:
    name = options.pop("name", key)
    return Column(key, title, lambda row: getattr(row.stats, name), write, right=True, **options)


COLUMNS: tuple[Column[FeatureMap], ...] = (
    Column("name", "layer", lambda row: row.layer.name, cell=_name),
    Column("kind", None, lambda row: row.layer.kind),
    Column("type", None, lambda row: row.layer.type_name),
    Column("call", None, lambda row: row.layer.call),
    Column("shape", "shape", lambda row: list(row.shape), units.shape, right=True),
    Column("axes", None, lambda row: list(row.axes.names)),
    Column("axes_how", None, lambda row: row.axes.how),
    Column("strides", None, lambda row: list(row.strides)),
    Column("dtype", None, lambda row: row.dtype),
    Column("count", None, lambda row: row.stats.count),
    _number("mean", "mean"),
    _number("std", "std"),
    Column("rms", None, lambda row: row.stats.rms),
    _number("min", "min"),
    _number("max", "max"),
    _number("zero_fraction", "zeros", units.percent),
    _number("nan_count", "NaN", units.count, name="nan", optional=True),
    _number("inf_count", "Inf", units.count, name="inf", optional=True),
    Column("role", None, lambda row: row.role or None),
)
"""These names are the schema's: later versions add names and never change these."""
