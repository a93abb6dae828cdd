"""Tables for the terminal: what fits of the columns, and a line that says what does not."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Span, Text

from .. import units
from .columns import KEPT, SPARE, Column, Row, in_table
from .folding import cut, folded, legible, widest

if TYPE_CHECKING:
    from pathlib import Path

    from .columns import Cell

_PIPE_WIDTH = 160
_GAPS = (3, 2)  # between columns: where there is room, and where there is little
_CLOSE = 1  # where columns would have to go that matter,
_TIGHT = 5  # those of this priority and above


class _Console(Console):
    """Rich's, but for what it does where its reader has stopped: that is `cli`'s to answer."""

    has_edge = True

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Standard output. Where it is no terminal there is no edge to keep to, so tables get room for all columns."""
    held = _HELD.get()
    if held is not None and not stderr:
        return held
    wide = not (sys.stderr if stderr else sys.stdout).isatty() and "COLUMNS" not in os.environ
    out = _Console(markup=False, highlight=False, emoji=False, stderr=stderr, width=_PIPE_WIDTH if wide else None)
    out.has_edge = not wide
    return out


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
class Shown:
    """What a table came to: the cells of the columns that it has, by their titles; whether names lost their start."""

    cells: Mapping[str, Sequence[Text]]
    cut: bool


def print_rows(
    out: Console,
    columns: Sequence[Column[Row]],
    rows: Sequence[Row],
    *,
    style: Callable[[Row], str] = lambda _row: "",
    under: Callable[[Row], Sequence[Mapping[str, str]]] = lambda _row: (),
    tell: bool = True,
) -> Shown:
    """Print the rows with the columns that there is room for; a dim line below says which ones there is none for.

    Numbers are never cut. `style` is that of a row's cells that have none of their own; `under` a row there may be
    further lines, which have their cells by the columns' keys. Where not even the columns that are always kept fit,
    each row's first cell gets a line of its own.
    """
    lines = [(row, own) for row in rows for own in (None, *under(row))]
    forms = [_form(out, column, lines, style) for column in in_table(columns)]
    forms = [each for each in forms if not (each.column.optional and each.says_nothing)]
    fitted = _fit(forms, out.width)
    if fitted.widths is None:
        _print_stacked(out, fitted.forms)
    else:
        _print_columns(out, fitted.forms, fitted.widths, fitted.gap)
    here = [id(each.column) for each in fitted.forms]
    gone = [each.column for each in forms if id(each.column) not in here]
    left = [each for each in gone if each.title and not each.joined]
    if left and tell:
        print_wrapped(out, Text(_left_out(left), "dim"))
    widths = fitted.widths or ()
    return Shown(
        {each.column.title or "": each.cells for each in fitted.forms},
        cut=any(
            each.column.cut == "start" and width < each.width for each, width in zip(fitted.forms, widths, strict=False)
        ),
    )


def repeats_in_words(count: int) -> str:
    """What a table of layers says of the containers that it does not list.

    >>> repeats_in_words(1)
    "1 container not listed: it repeats the output of a layer that is (--layer '*' shows it)."
    """
    containers, they, them = ("container", "it repeats", "it") if count == 1 else ("containers", "they repeat", "them")
    return f"{count:,} {containers} not listed: {they} the output of a layer that is (--layer '*' shows {them})."


def _left_out(columns: Sequence[Column[Any]]) -> str:
    names = ", ".join(_in_one_line(each.title or "") for each in columns)
    where = "--json has" if all(each.key for each in columns) else "a wider terminal has"
    return f"not enough room for: {names}; {where} {'them' if len(columns) > 1 else 'it'}"


def _in_one_line(title: str) -> str:
    return title.replace("-\n", "-").replace("\n", " ")


def print_wrapped(out: Console, text: Text, indent: int = 0, hanging: int = 0, head: str = "") -> None:
    """Text in lines of the terminal's width, all but the first further in by `hanging`; or, where there is a `head`
    before the first line, all under the text after it."""
    first, rest = head or " " * indent, " " * (len(head) or indent + hanging)
    lines = list(text.wrap(out, max(out.width - len(rest), 1), overflow="fold"))
    for at, line in enumerate(lines):
        line.rstrip()
        out.print(Text(rest if at else first) + line, soft_wrap=True)


def print_files(out: Console, *files: str | Path | None, what: str = "") -> None:
    """Which files were written, a line each that can be copied whole; `what` says what is in them. None is no file."""
    for file in files:
        if file is not None:
            out.print(Text.assemble(f"{what} → ".lstrip(), (units.one_line(str(file)), "bold")), soft_wrap=True)


def print_line(out: Console, text: Text, hanging: int = 0) -> None:
    """A line of text, wrapped where there is an edge to keep to, whole in a pipe."""
    if getattr(out, "has_edge", True):
        print_wrapped(out, text, hanging=hanging)
    else:
        out.print(text, soft_wrap=True)


# -- what fits ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Form:
    """A column as it would be printed, in signs that the terminal can show; `short`: where there is little room."""

    column: Column[Any]
    title: str
    cells: Sequence[Text]
    width: int
    short: _Form | None = None

    @property
    def says_nothing(self) -> bool:
        return all(each.plain in ("", "–", "0") for each in self.cells)

    def fitted(self, cell: Text, width: int) -> Text:
        """A cell in the column's width: folded, or cut."""
        return cut(cell, width, self.column.cut) if self.column.cut else folded(cell, width)

    def heights(self, width: int) -> list[int]:
        """How many lines each cell takes in this width."""
        if width >= self.width or self.column.cut:
            return self.lines
        return [folded(cell, width).plain.count("\n") + 1 for cell in self.cells]

    @cached_property
    def lines(self) -> list[int]:
        return [cell.plain.count("\n") + 1 for cell in self.cells]

    def least(self, level: int, last: bool) -> int:
        """How narrow it may be made where the columns of priority `level` have gone, the `last` that do."""
        least = self.column.least
        if least is None:
            return self.width
        if isinstance(least, tuple):
            least = least[level >= _TIGHT or last]
        return min(self.width, max(1 if last and self.column.cut == "start" else least, widest([self.title])))


def _form(
    out: Console,
    column: Column[Row],
    lines: Sequence[tuple[Row, Mapping[str, str] | None]],
    style: Callable[[Row], str],
) -> _Form:
    def form(title: str, write: Callable[[Row], Cell], short: _Form | None = None) -> _Form:
        title = legible(out, Text(title)).plain
        cells = [
            legible(out, _text(write(row), style(row)) if own is None else Text(own.get(column.key, ""), "cyan"))
            for row, own in lines
        ]
        return _Form(column, title, cells, widest([title, *(each.plain for each in cells)]), short)

    title, short = column.title or "", None
    if column.short is not None:
        short = form(title if column.short.title is None else column.short.title, column.write_short)
    return form(title, column.write, short)


def _text(cell: Cell, style: str) -> Text:
    return Text(cell, style) if isinstance(cell, str) else cell


def _last_level(forms: Sequence[_Form]) -> int:
    goes = [each.column.priority for each in forms if each.column.priority < KEPT]
    return max([0, *goes, *(each.column.short.at for each in forms if each.column.short is not None)])


def _at_level(forms: Sequence[_Form], level: int) -> list[_Form]:
    """The columns left where those of priority `level` and below have gone."""
    return [
        each if each.short is None or each.column.short is None or each.column.short.at > level else each.short
        for each in forms
        if each.column.priority > level
    ]


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The columns that fit, how wide each is (None: not even those kept fit), and the space between them."""

    forms: list[_Form]
    widths: list[int] | None
    gap: int

    @property
    def height(self) -> int:
        """How many lines the rows take."""
        if self.widths is None:
            return 0
        heights = [form.heights(width) for form, width in zip(self.forms, self.widths, strict=True)]
        above = _above(self.forms, self.widths)
        rows = enumerate(zip(*heights, strict=True))
        return sum(1 + above[at] if at in above else max(row) for at, row in rows)


def _fit(forms: Sequence[_Form], room: int) -> _Fitted:
    """The most columns that fit without more lines than a terminal of three quarters of the width would need.

    What matters least goes first; columns come close and names are folded before more goes, as long as folding makes
    no more lines than that: so a wider terminal never shows a longer table. What has gone comes back where there is
    room left.
    """
    enough = min((each.height for each in _layouts(forms, room * 3 // 4)), default=0)
    layouts = list(_layouts(forms, room))
    if not layouts:
        return _Fitted(_at_level(forms, _last_level(forms)), None, 0)
    fewest = max(enough, min(each.height for each in layouts))
    chosen = next((each for each in layouts if each.height <= fewest), layouts[-1])
    return _filled(forms, chosen, room)


def _layouts(forms: Sequence[_Form], room: int) -> Iterator[_Fitted]:
    """Every layout that fits, the one with the most columns first."""
    last = _last_level(forms)
    for level in range(SPARE - 1, last + 1):
        left = _at_level(forms, level)
        gaps = _GAPS if level < _TIGHT else (*_GAPS, _CLOSE)
        for gap in gaps:
            folds = gap == gaps[-1] and level >= SPARE
            least = [each.least(level, level == last) if folds else each.width for each in left]
            widths = _widths(left, least, room - gap * (len(left) - 1))
            if widths is not None:
                yield _Fitted(left, widths, gap)


def _filled(forms: Sequence[_Form], fitted: _Fitted, room: int) -> _Fitted:
    """The layout and, of the columns that it lacks, those for which there is room, what matters most first."""
    here = {id(each.column) for each in fitted.forms}
    may_come = [each for each in forms if each.title and not each.column.joined and each.column.priority > SPARE]
    gone = [each for each in may_come if id(each.column) not in here]
    for back in sorted(gone, key=lambda each: -each.column.priority):
        assert fitted.widths is not None
        width = dict(zip((id(each.column) for each in fitted.forms), fitted.widths, strict=True))
        if sum(fitted.widths) + back.width + fitted.gap * len(fitted.widths) > room:
            continue
        width[id(back.column)] = back.width
        shown = {id(each.column): each for each in (*fitted.forms, back)}
        order = [id(each.column) for each in forms if id(each.column) in shown]
        fitted = _Fitted([shown[each] for each in order], [width[each] for each in order], fitted.gap)
    return fitted


def _widths(forms: Sequence[_Form], least: Sequence[int], room: int) -> list[int] | None:
    """The widths made to fit in `room`, the widest first, those before that are cut in the middle and make no lines.

    None where that does not do.
    """
    widths = [each.width for each in forms]
    while sum(widths) > room:
        spare = [at for at, width in enumerate(widths) if width > least[at]]
        if not spare:
            return None
        cut = [at for at in spare if forms[at].column.cut == "middle"]
        widths[max(cut or spare, key=lambda at: widths[at])] -= 1
    return widths


def _above(forms: Sequence[_Form], widths: Sequence[int]) -> dict[int, int]:
    """The rows whose name gets a line of its own, whole, above the others, by how many lines others take: where it does
    not fit in its column but in a line, and folded would take no fewer lines.
    """
    if len(forms) < 2 or forms[0].column.cut or widths[0] >= forms[0].width:
        return {}
    line = sum(widths) + len(widths) - 1
    names, *others = ([*form.heights(width)] for form, width in zip(forms, widths, strict=True))
    found = {}
    for at, cell in enumerate(forms[0].cells):
        blank = not any(each.cells[at].plain for each in forms[1:])
        rest = 0 if blank else max(each[at] for each in others)
        if widths[0] < cell_len(cell.plain) <= line and "\n" not in cell.plain and rest < max(names[at], rest):
            found[at] = rest
    return found


# -- lines -------------------------------------------------------------------------------------------------------


def _print_columns(out: Console, forms: Sequence[_Form], widths: Sequence[int], gap: int) -> None:
    heads = [each.title.split("\n") for each in forms]
    height = max((len(each) for each in heads), default=0)
    lines = _side_by_side(
        [Text("\n".join([*[""] * (height - len(each)), *each])) for each in heads], forms, widths, gap
    )
    for line in lines:
        line.stylize("bold")
    lines.append(Text("─" * (sum(widths) + gap * (len(widths) - 1))))
    above = _above(forms, widths)
    for at, row in enumerate(zip(*(each.cells for each in forms), strict=True)):
        cells = [form.fitted(cell, width) for cell, form, width in zip(row, forms, widths, strict=True)]
        if at in above:
            lines.append(row[0])
            cells[0] = Text()
        if above.get(at) != 0:
            lines += _side_by_side(cells, forms, widths, gap)
    out.print(Text("\n").join(lines), soft_wrap=True)


def _side_by_side(cells: Sequence[Text], forms: Sequence[_Form], widths: Sequence[int], gap: int) -> list[Text]:
    """A row's lines: the cells' lines beside one another, each in its column's width."""
    parts = [list(cell.split("\n", allow_blank=True)) if "\n" in cell.plain else [cell] for cell in cells]
    return [
        _line([part[at] if at < len(part) else None for part in parts], forms, widths, gap)
        for at in range(max(map(len, parts), default=0))
    ]


def _line(cells: Sequence[Text | None], forms: Sequence[_Form], widths: Sequence[int], gap: int) -> Text:
    """Cells of one line each beside one another. Strings are put together: appending to a Text takes thrice as long."""
    pieces: list[str] = []
    spans: list[Span] = []
    length = before = 0
    for cell, form, width in zip(cells, forms, widths, strict=True):
        plain = "" if cell is None else cell.plain
        space = width - cell_len(plain)
        blank = before + space if form.column.right else before
        pieces += (" " * blank, plain)
        length += max(blank, 0)
        if cell is not None:
            if cell.style:
                spans.append(Span(length, length + len(plain), cell.style))
            spans += [Span(start + length, end + length, style) for start, end, style in cell.spans]
        length += len(plain)
        before = gap + (0 if form.column.right else space)
    line = Text("".join(pieces), spans=spans)
    line.rstrip()
    return line


def _print_stacked(out: Console, forms: Sequence[_Form]) -> None:
    """Each row's first cell on a line of its own, the others under it."""
    first, others = forms[0], forms[1:]
    heads = [_in_one_line(each.title) for each in others]
    widths = [widest([head, *(cell.plain for cell in each.cells)]) for head, each in zip(heads, others, strict=True)]

    def under(cells: Sequence[Text]) -> list[Text]:
        return [Text("  ") + line for line in _side_by_side(cells, others, widths, 2)]

    lines = [Text(_in_one_line(first.title)), *under([Text(each) for each in heads])]
    lines.append(Text("─" * min(max(cell_len(line.plain) for line in lines), out.width)))
    for at, cell in enumerate(first.cells):
        lines += [Text(" ").join(cell.split("\n")), *under([each.cells[at] for each in others])]
    out.print(Text("\n").join(lines), soft_wrap=True)
