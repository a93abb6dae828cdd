"""What `fmap attention` says of each head: the list that table, JSON and CSV read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..models.input_words import IMAGE, InputWords
from ..tables.columns import Column
from .records import LayerAttention, Seen
from .words import bits, distance, most_entropy, percent, place_of_key


@dataclass(frozen=True, slots=True)
class HeadRow:
    """One head of a layer, of a rollout what stands after one of its layers; `called` is what its input is called."""

    found: LayerAttention
    head: int
    called: InputWords

    def number(self, name: str) -> float | None:
        value = float(getattr(self.found.numbers, name)[self.head])
        return None if value != value else value


def head_rows(found: LayerAttention, called: InputWords = IMAGE) -> list[HeadRow]:
    return [HeadRow(found, head, called) for head in range(found.heads)]


def _bits(value: float | None) -> str:
    return "–" if value is None else bits(value)


def _percent(value: float | None) -> str:
    return "–" if value is None else percent(value)


def _of_most(row: HeadRow) -> float | None:
    value, most = row.number("entropy"), most_entropy(row.found)
    return None if value is None or not most else value / most


def _distance(name: str) -> Any:
    def write(row: HeadRow) -> str:
        value = row.number(name)
        return "–" if value is None else distance(value, row.found, row.called)

    return write


def _peak_place(row: HeadRow) -> list[int] | None:
    place = place_of_key(row.found, row.head)
    return None if place is None else list(place)


def _place(place: Sequence[int] | None) -> str:
    return "–" if place is None else ",".join(map(str, place))


def _after(row: HeadRow) -> str | None:
    return row.found.of_rollout[row.head] if row.found.of_rollout else None


HEADS: tuple[Column[HeadRow], ...] = (
    Column("layer", None, lambda row: row.found.name),
    Column("head", None, lambda row: row.head),
    Column(title="head", cell=lambda row: "" if row.found.of_rollout else str(row.head), right=True, optional=True),
    Column("after", "after", _after, lambda value: value or "", optional=True, least=(24, 16)),
    Column("entropy", "entropy\n[bits]", lambda row: row.number("entropy"), _bits, right=True),
    Column("entropy_share", "of the\nmost", _of_most, _percent, right=True, priority=3),
    Column("distance", None, lambda row: row.number("distance")),
    Column(title="distance", cell=_distance("distance"), right=True),
    Column(
        "own_entropy", "this query's\nentropy", lambda row: row.number("own_entropy"), _bits, right=True, priority=4
    ),
    Column("own_distance", None, lambda row: row.number("own_distance")),
    Column(title="this query's\ndistance", cell=_distance("own_distance"), right=True, priority=4, optional=True),
    Column("nowhere", "without\na place", lambda row: row.number("nowhere"), _percent, right=True, priority=2),
    Column("peak", "largest\nweight", lambda row: row.number("peak"), _percent, right=True, priority=5),
    Column("peak_key", None, lambda row: int(row.found.numbers.peak_key[row.head])),
    Column("peak_place", "most at", _peak_place, _place, right=True, priority=5),
)
"""These names are the schema's: later versions add names and never change these."""

CALLS: tuple[Column[Seen], ...] = (
    Column("name", "layer", lambda row: row.name),
    Column("type", "type", lambda row: row.type_name),
    Column("call", "call", lambda row: row.how),
    Column("shape", "weights", lambda row: list(row.shape)),
    Column("why_not", None, lambda row: row.why_not or None),
)
