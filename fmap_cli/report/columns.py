"""What `fmap report` says of each layer on its page: the list that table and JSON read."""

from __future__ import annotations

from typing import Any

from .. import units
from ..documents import finite
from ..tables.columns import Column
from .records import PageLayer, Report

Row = tuple[Report, PageLayer]


def _bits(row: Row) -> int:
    return row[0].codes[row[1].codes].bits


def _error(row: Row) -> float | None:
    return finite(row[1].reading.error)


def _cells(value: Any) -> str:
    frames, height, width = value
    return f"{height}×{width}" if frames == 1 else f"{frames}×{height}×{width}"


LAYERS: tuple[Column[Row], ...] = (
    Column("name", "layer", lambda row: row[1].layer.name, units.one_line, least=(24, 16)),
    Column("kind", None, lambda row: row[1].layer.kind),
    Column("type", "type", lambda row: row[1].layer.type_name, priority=2),
    Column("shape", None, lambda row: list(row[1].shape)),
    Column("channel_count", "channels", lambda row: row[1].count, units.count, right=True),
    Column("cells", "map", lambda row: list(row[1].cells), _cells, right=True, priority=4),
    Column(
        "pre_activation",
        "pre-activation",
        lambda row: row[1].before,
        lambda name: name or "",
        priority=3,
        optional=True,
    ),
    Column("bits", "bits", _bits, str, right=True, priority=3),
    Column("error", "off by at most", _error, lambda value: units.number(value, 2), right=True, priority=5),
    Column("findings", None, lambda row: [each.check for each in row[1].findings]),
)
