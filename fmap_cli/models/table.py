"""The list of models, and a model's weights and preprocessing, in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from .. import units
from ..tables.table import console, print_line, print_rows
from .columns import COLUMNS

if TYPE_CHECKING:
    from .records import ModelEntry, Preprocessing


def print_fed(out: Console, preprocessing: Preprocessing | None) -> None:
    """How a picture became what the network saw, and where that comes from."""
    if preprocessing is not None:
        print_line(out, Text(f"input: {units.one_line(preprocessing.in_words)}", "dim"))


def print_models(entries: Sequence[ModelEntry]) -> None:
    """`fmap models`: a row a model, from metadata alone."""
    out = console()
    table = print_rows(out, COLUMNS, entries)
    out.print()
    plural = "s" if len(entries) != 1 else ""
    words = f"{len(entries)} model{plural}"
    weights = [each.plain for each in table.cells.get("weights", ())]
    if weights:
        words += "; * marks the weights that `default` means"
    if any(" +" in each for each in weights):
        words += "; +1: one other set of weights, which --json names"
    print_line(out, Text(f"{words}."))
