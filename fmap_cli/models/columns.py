"""What `fmap models` says of a model: the one list that the table and JSON read."""

from __future__ import annotations

from .. import units
from ..tables.columns import Column, Short
from .records import ModelEntry


def _size(row: ModelEntry) -> str:
    return f"{row.input_size[0]} × {row.input_size[1]}" if row.input_size else "–"


def _accuracy(row: ModelEntry) -> str:
    return f"{row.accuracy[0]} {units.number(row.accuracy[1], 4)}" if row.accuracy else "–"


def _weights(row: ModelEntry) -> str:
    return ", ".join(f"{name}*" if name == row.default_weights else name for name in row.weights) or "–"


def _default_weights(row: ModelEntry) -> str:
    """Those that `default` means, and how many others there are."""
    name = row.default_weights or (row.weights[0] if row.weights else None)
    if name is None:
        return "–"
    more = len(row.weights) - 1
    return f"{name}{'*' * (name == row.default_weights)}" + (f" +{more}" if more else "")


COLUMNS: tuple[Column[ModelEntry], ...] = (
    Column("name", "model", lambda row: row.name),
    Column("source", None, lambda row: row.source),
    Column("task", "task", lambda row: row.task, priority=2),
    Column(
        "weights",
        "weights",
        lambda row: list(row.weights),
        cell=_weights,
        least=14,
        after="accuracy",
        priority=4,
        short=Short(1, cell=_default_weights),
    ),
    Column("default_weights", None, lambda row: row.default_weights),
    Column("parameters", "parameters", lambda row: row.parameters, units.scaled, right=True, short=Short(2, "params")),
    Column(
        "multiply_adds",
        "multiply-adds",
        lambda row: row.multiply_adds,
        units.scaled,
        right=True,
        short=Short(2, "mult-adds"),
        priority=5,
    ),
    Column(
        "input_size",
        "input",
        lambda row: list(row.input_size) if row.input_size else None,
        cell=_size,
        right=True,
        priority=3,
    ),
    Column(
        "accuracy",
        "accuracy",
        lambda row: {"metric": row.accuracy[0], "value": row.accuracy[1]} if row.accuracy else None,
        cell=_accuracy,
        priority=6,
    ),
)
