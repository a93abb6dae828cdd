"""Columns as data: what a row says, under which name, how it is written, and how much it matters.

One list of columns makes the table in the terminal (`tables.table`), the rows of JSON and those of CSV. A further
column is one more entry in its subject's list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from ..documents import csv_cell, csv_text, finite

if TYPE_CHECKING:
    from typing import TypeAlias

    from rich.text import Text

    Cell: TypeAlias = "str | Text"

Row = TypeVar("Row")
Whole = TypeVar("Whole")

KEPT = 10
"""The priority of a column that every table has, however narrow the terminal is."""

SPARE = 0
"""The priority of a column that takes room to spare alone: it goes before a name is folded or cut."""


@dataclass(frozen=True, slots=True)
class Short(Generic[Row]):
    """What stands for a column where there is little room: once the columns of priority `at` have gone."""

    at: int
    title: str | None = None
    cell: Callable[[Row], Cell] | None = None


def _nothing(_row: object) -> None:
    return None


def _written(value: object) -> str:
    return "–" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class Column(Generic[Row]):
    """One thing that is said of every row.

    `key` names it in JSON and CSV, where it is `value`; empty: it is in the table alone. `title` is its heading in the
    table, None: it is in JSON and CSV alone. The table's cell is `format` of the value, or `cell` of the row.

    Where the terminal is too narrow the columns of the least `priority` go first (SPARE, then 1), KEPT ones never;
    `short` says what a column becomes before. Only a column with `least` may be narrower than its cells, down to so
    many characters (of two numbers the second holds where much has gone already): its cells are folded, or lose what
    `cut` names, their start, their middle or the last items. One that is `optional` is left out where its cells say
    nothing (are empty, `–` or 0).

    One that is `joined` is not missed where it has gone: the short form of another says it, too.

    The table has the columns in the list's order, but for one that stands `after` the column of that key.
    """

    key: str = ""
    title: str | None = None
    value: Callable[[Row], Any] = _nothing
    format: Callable[[Any], Cell] = _written
    cell: Callable[[Row], Cell] | None = None
    right: bool = False
    priority: int = KEPT
    short: Short[Row] | None = None
    least: int | tuple[int, int] | None = None
    cut: Literal["start", "middle", "items"] | None = None
    optional: bool = False
    joined: bool = False
    after: str = ""

    def write(self, row: Row) -> Cell:
        """The row's cell in the table."""
        return self.format(self.value(row)) if self.cell is None else self.cell(row)

    def write_short(self, row: Row) -> Cell:
        return self.write(row) if self.short is None or self.short.cell is None else self.short.cell(row)


def of_cells(*columns: Column[Sequence[Cell]]) -> list[Column[Sequence[Cell]]]:
    """Columns of which the n-th has each row's n-th cell."""
    return [replace(column, cell=lambda row, at=at: row[at]) for at, column in enumerate(columns)]  # type: ignore[misc]


def of_part(column: Column[Row], part: Callable[[Whole], Row]) -> Column[Whole]:
    """The column of rows that hold more: its value is that of a `part` of each."""
    return Column(column.key, None, lambda whole: column.value(part(whole)))


def in_table(columns: Sequence[Column[Row]]) -> list[Column[Row]]:
    """The columns that the table has, in its order.

    >>> [each.key for each in in_table([Column("name", "layer"), Column("dtype"), Column("std", "std")])]
    ['name', 'std']
    >>> late = [Column("d", "D", after="c"), Column("c", "C", after="a")]
    >>> [each.key for each in in_table([Column("a", "A"), Column("b", "B"), *late])]
    ['a', 'c', 'd', 'b']
    """
    titled = [each for each in columns if each.title is not None]
    placed, waiting = [each for each in titled if not each.after], [each for each in titled if each.after]
    while waiting:
        keys = [each.key for each in placed]
        column = next(each for each in waiting if each.after in keys)
        at = keys.index(column.after) + 1
        while at < len(placed) and placed[at].after == column.after:
            at += 1
        placed.insert(at, column)
        waiting = [each for each in waiting if each is not column]
    return placed


def json_row(columns: Iterable[Column[Row]], row: Row) -> dict[str, Any]:
    """One row for JSON, in the order of the list; what is infinite or no number is null."""
    values = ((each.key, each.value(row)) for each in columns if each.key)
    return {key: finite(value) if isinstance(value, float) else value for key, value in values}


def csv_table(columns: Sequence[Column[Row]], rows: Iterable[Row]) -> str:
    """The rows as CSV with a heading: lists joined by spaces, empty what does not exist, `inf` what is infinite."""
    exported = [each for each in columns if each.key]
    cells = ([csv_cell(each.value(row)) for each in exported] for row in rows)
    return csv_text([each.key for each in exported], cells).decode(errors="surrogateescape")
