"""What is said of each term, for the table and CSV."""

from __future__ import annotations

from .. import units
from ..tables.columns import Column
from .records import Term
from .words import plain


def _share(value: float | None) -> str:
    return "–" if value is None else units.percent(value)


def _single(term: Term, array: str) -> float | None:
    values = getattr(term, array)
    return float(values.reshape(-1)[0]) if values.size == 1 else None


def _number(value: float | None) -> str:
    return "–" if value is None else plain(value, 4)


COLUMNS: list[Column[Term]] = [
    Column("channel", "input\nchannel", lambda term: term.channel, right=True),
    Column("weight", "W", lambda term: _single(term, "kernel"), format=_number, right=True, priority=3, optional=True),
    Column("input", "X", lambda term: _single(term, "patch"), format=_number, right=True, priority=3, optional=True),
    Column("contribution", "Σ W · X", lambda term: term.contribution, format=lambda value: plain(value, 4), right=True),
    Column("share", "share", lambda term: term.share, format=_share, right=True, priority=4),
    Column("cumulative", "cumulative", lambda term: term.cumulative, format=_share, right=True, priority=2),
]
