"""Terminal tables. Names and paths are never read as markup."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .. import units
from ..legible import encoding_of, substitute, unreadable

if TYPE_CHECKING:
    from ..records import FeatureMap, LoadedModel, Look, ModelEntry, Prediction, Preprocessing

_PIPE_WIDTH = 160
_MODELS_WIDTH = 130  # from here on `fmap models` has a column for the task; below, it stands under the name
_GAPS = (3, 2)  # between columns: where there is room, and where there is little


class _Console(Console):
    """Rich's, but for what it does where its reader has stopped: that is `cli`'s to answer."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def console(*, stderr: bool = False) -> Console:
    """Standard output. Where it is no terminal there is no edge to keep to, so tables get room for all columns."""
    wide = not (sys.stderr if stderr else sys.stdout).isatty() and "COLUMNS" not in os.environ
    return _Console(markup=False, highlight=False, emoji=False, stderr=stderr, width=_PIPE_WIDTH if wide else None)


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


def print_looks(model: LoadedModel, looks: Sequence[tuple[Look, Sequence[str]]], arrays: str | None = None) -> None:
    """What `fmap show` found: the layers' numbers, the files written and the model's answers, image by image."""
    out = console()
    for index, (look, files) in enumerate(looks):
        if index:
            out.print()
        head = f"{model.name} · weights: {model.weights} · image: {look.image.name}"
        out.print(Text(units.one_line(head)), soft_wrap=True)
        print_fed(out, model.feeding)
        out.print()
        _print_statistics(out, look.maps)
        for file in files:
            out.print(Text.assemble("→ ", (units.one_line(file), "bold")), soft_wrap=True)
        if look.predictions:
            out.print()
            print_predictions(out, look.predictions)
        if look.detections:
            out.print()
            print_detections(out, look)
        elif model.input_kind == "images":
            out.print()
            out.print(Text("no object scored enough to be shown: see --score"))
    if arrays:
        out.print()
        out.print(Text.assemble("arrays → ", (units.one_line(arrays), "bold")), soft_wrap=True)


def print_fed(out: Console, preprocessing: Preprocessing | None) -> None:
    """How a picture became what the network saw, and where that comes from."""
    if preprocessing is not None:
        out.print(Text(f"input: {units.one_line(preprocessing.in_words)}", "dim"))


def _print_statistics(out: Console, maps: Sequence[FeatureMap]) -> None:
    """One row a layer: shape, mean, std, min, max and zeros of its whole output."""
    finite = all(not (m.stats.nan or m.stats.inf) for m in maps)
    headings = ["shape", "mean", "std", "min", "max", "zeros", *([] if finite else ["NaN", "Inf"])]
    columns = [Column("layer"), *(Column(heading, right=True) for heading in headings)]
    rows: list[Sequence[Text | str]] = []
    for each in maps:
        stats = each.stats
        name = Text(units.one_line(each.layer.name), "bold")
        if each.asked != each.layer.name and not any(sign in each.asked for sign in "*?["):
            name.append(f" ({units.one_line(each.asked)})", "not bold")
        moments = [units.number(value) for value in (stats.mean, stats.std, stats.min, stats.max)]
        row: list[str | Text] = [name, units.shape(each.shape), *moments, units.percent(stats.zero_fraction)]
        if not finite:
            row += [units.count(stats.nan), units.count(stats.inf)]
        rows.append(row)
    print_table(out, columns, rows)
    for each in maps:
        if each.role:
            out.print(Text(f"{units.one_line(each.layer.name)}: {units.one_line(each.role)}"), soft_wrap=True)


def print_predictions(out: Console, predictions: Sequence[Prediction]) -> None:
    """The likeliest classes, each with its probability and a bar."""
    columns = [Column(f"top {len(predictions)}", least=16), Column("probability", right=True), Column("")]
    rows: list[Sequence[Text | str]] = []
    for each in predictions:
        label = each.label if each.label is not None else f"class {each.index}"
        bar = Text("█" * round(each.probability * 24), "blue")
        rows.append((units.one_line(label), units.percent(each.probability), bar))
    print_table(out, columns, rows)


def print_detections(out: Console, look: Look) -> None:
    """The objects found, the surest first, with their boxes in pixels of the picture shown."""
    columns = [Column("object", least=16), Column("score", right=True), Column("top, left, bottom, right", right=True)]
    rows: list[Sequence[Text | str]] = []
    for each in look.detections:
        label = each.label if each.label is not None else f"class {each.index}"
        box = ", ".join(f"{edge:.0f}" for edge in each.box)
        rows.append((units.one_line(label), f"{each.score:.2f}", box))
    print_table(out, columns, rows)


def print_models(entries: Sequence[ModelEntry]) -> None:
    """`fmap models`: a row a model, from metadata alone."""
    out = console()
    narrow = out.width < _MODELS_WIDTH
    columns = [
        Column("model"),
        *([] if narrow else [Column("task")]),
        Column("parameters", right=True),
        Column("multiply-\nadds" if narrow else "multiply-adds", right=True),
        Column("input", right=True),
        Column("accuracy"),
        Column("weights", least=14),
    ]
    rows: list[Sequence[Text | str]] = []
    for each in entries:
        size = f"{each.input_size[0]} × {each.input_size[1]}" if each.input_size else "–"
        accuracy = f"{each.accuracy[0]} {units.number(each.accuracy[1], 4)}" if each.accuracy else "–"
        names = [f"{each.name}\n {each.task}"] if narrow else [each.name, each.task]
        row = [
            *names,
            units.scaled(each.parameters),
            units.scaled(each.multiply_adds),
            size,
            accuracy,
            _weights_names(each),
        ]
        rows.append(row)
    print_table(out, columns, rows)
    out.print()
    plural = "s" if len(entries) != 1 else ""
    out.print(Text(f"{len(entries)} model{plural}; * marks the weights that `default` means."))


def weights_in_words(label: str) -> str:
    """The weights' name as tables say it; of an architecture alone there are none."""
    return label if label == "architecture only" else f"weights: {label}"


def _weights_names(entry: ModelEntry) -> str:
    names = [f"{name}*" if name == entry.default_weights else name for name in entry.weights]
    return ", ".join(names) or "–"
