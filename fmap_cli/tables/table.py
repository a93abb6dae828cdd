"""Tables for the terminal, with Rich."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..legible import encoding_of, substitute, unreadable

_PIPE_WIDTH = 160


_GAPS = (3, 2)  # between columns: where there is room, and where there is little


class _Console(Console):
    """Rich's, but for what it does where its reader has stopped: that is `cli`'s to answer."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Standard output. Where it is no terminal there is no edge to keep to, so tables get room for all columns."""
    held = _HELD.get()
    if held is not None and not stderr:
        return held
    wide = not (sys.stderr if stderr else sys.stdout).isatty() and "COLUMNS" not in os.environ
    return _Console(markup=False, highlight=False, emoji=False, stderr=stderr, width=_PIPE_WIDTH if wide else None)


_HELD: ContextVar[Console | None] = ContextVar("held", default=None)


@contextmanager
def held_console(width: int) -> Iterator[Console]:
    """A console of so many columns that keeps what is printed on it, in place of standard output while this lasts."""
    held = Console(
        file=io.StringIO(), record=True, markup=False, highlight=False, emoji=False, width=width, color_system=None
    )
    token = _HELD.set(held)
    try:
        yield held
    finally:
        _HELD.reset(token)


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


def folded(text: Text, width: int) -> Text:
    """Text in lines of at most `width` characters, cut after a dot, underscore or space or before a capital.

    >>> folded(Text("features.1.0.attn.shifted_window_attention"), 20).plain.split("\\n")
    ['features.1.0.attn.', 'shifted_window_', 'attention']
    """
    lines = []
    for line in text.split("\n", allow_blank=True):
        while cell_len(line.plain) > width:
            end = next(at for at in range(len(line), 0, -1) if cell_len(line.plain[:at]) <= width or at == 1)
            places = [match.end() for match in _FOLDS.finditer(line.plain) if match.end() <= end]
            first, line = line.divide([places[-1] if places and places[-1] > width // 4 else end])
            first.rstrip()
            lines.append(first)
        lines.append(line)
    return Text("\n").join(lines)


_FOLDS = re.compile(r"[ ._/,:-]|(?<=[a-z])(?=[A-Z])")
