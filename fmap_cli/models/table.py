"""The list of models, and a model's weights and preprocessing, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .. import units
from ..tables.old import Column, print_table
from ..tables.table import console

if TYPE_CHECKING:
    from .records import ModelEntry, Preprocessing


_MODELS_WIDTH = 130  # from here on `fmap models` has a column for the task; below, it stands under the name


def print_fed(out: Console, preprocessing: Preprocessing | None) -> None:
    """How a picture became what the network saw, and where that comes from."""
    if preprocessing is not None:
        out.print(Text(f"input: {units.one_line(preprocessing.in_words)}", "dim"))


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


def _weights_names(entry: ModelEntry) -> str:
    names = [f"{name}*" if name == entry.default_weights else name for name in entry.weights]
    return ", ".join(names) or "–"
