"""Going."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..legible import encoding_of, substitute, unreadable
from .folding import folded

_GAPS = (3, 2)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. Where the terminal is too narrow it is folded, down to `least` characters; None: never."""

    heading: str
    right: bool = False
    least: int | None = None


def print_table(out: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text | str]]) -> None:
    """Print a table of which nothing is lost, however narrow the terminal is.

    Numbers and names stay on one line, to be read and copied; only columns that say so are folded. Where that leaves
    too little room, each row's first cell gets a line of its own.
    """
    cells = [[_line(out, cell) for cell in row] for row in rows]
    columns = [replace(column, heading=_line(out, column.heading).plain) for column in columns]
    for gap in _GAPS:
        widths = _widths(columns, cells, out.width - gap * (len(columns) - 1), fold=gap == _GAPS[-1])
        if widths is not None:
            break
    else:
        _print_stacked(out, columns, cells)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, gap - 1, 0, 0))
    for column, width in zip(columns, widths, strict=True):
        table.add_column(Text(column.heading), justify="right" if column.right else "left", width=width, no_wrap=True)
    for row in cells:
        table.add_row(*(folded(cell, width) for cell, width in zip(row, widths, strict=True)))
    out.print(table)


def _line(out: Console, cell: Text | str) -> Text:
    """The cell in signs that `out` can show, replaced before columns are measured: some become two."""
    line = cell if isinstance(cell, Text) else Text(cell)
    for sign in unreadable(line.plain, encoding_of(out.file)):
        line = Text(substitute(sign)).join(line.split(sign, allow_blank=True))
    return line


def _widest(texts: Sequence[str]) -> int:
    return max((cell_len(line) for text in texts for line in text.split("\n")), default=0)


def _widths(columns: Sequence[Column], rows: Sequence[Sequence[Text]], room: int, *, fold: bool) -> list[int] | None:
    """How wide each column is, the widest folded first; None where they do not fit in `room`."""
    widths = [_widest([column.heading, *(row[at].plain for row in rows)]) for at, column in enumerate(columns)]
    least = [
        width if column.least is None or not fold else min(width, max(column.least, _widest([column.heading])))
        for column, width in zip(columns, widths, strict=True)
    ]
    while sum(widths) > room:
        spare = [width - limit for width, limit in zip(widths, least, strict=True)]
        if max(spare) <= 0:
            return None
        at = max((at for at in range(len(widths)) if spare[at] > 0), key=lambda at: widths[at])
        widths[at] -= 1
    return widths


def _print_stacked(out: Console, columns: Sequence[Column], rows: Sequence[Sequence[Text]]) -> None:
    """Each row's first cell on a line of its own, the others under it."""
    others = columns[1:]
    headings = [column.heading.replace("\n", "") for column in others]
    texts = [[cell.plain for cell in row[1:]] for row in rows]
    widths = [_widest(column) for column in zip(headings, *texts, strict=True)]

    def under(cells: Sequence[str]) -> Text:
        padded = []
        for cell, column, width in zip(cells, others, widths, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if column.right else cell + space)
        return Text("  " + "  ".join(padded).rstrip())

    lines = [Text(columns[0].heading), under(headings)]
    lines.append(Text("─" * min(max(cell_len(line.plain) for line in lines), out.width)))
    for row, cells in zip(rows, texts, strict=True):
        lines += [Text(" ").join(row[0].split("\n")), under(cells)]
    for line in lines:
        out.print(line, soft_wrap=True)
