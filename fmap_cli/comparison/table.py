"""The result of `fmap compare` in the terminal."""

from __future__ import annotations

from functools import partial

from rich.text import Text as RichText

from ..tables.table import console, print_files, print_line, print_rows
from .columns import POOLED_TITLE, table_of
from .records import ComparedLayer, ComparedRecord, Comparison
from .words import inputs_in_words, questions, remarks, shared_in_words, sides, verdict


def print_comparison(comparison: Comparison, file: str | None = None) -> None:
    """A row a layer, in A's execution order, what the columns answer, and below where the two part."""
    out = console()
    common, a, b = sides(comparison)
    for line in (common, f"A  {a}" if a else "", f"B  {b}" if b else ""):
        if line:
            print_line(out, RichText(line), hanging=3 * (line is not common))
    if not a and not b:
        out.print(RichText("A and B are the same"))
    if fed := inputs_in_words(comparison):
        print_line(out, RichText(fed, "bold"))
    out.print()
    if comparison.layers:
        table = print_rows(out, table_of(comparison), comparison.layers, style=partial(_style, comparison))
        for line in questions(comparison, pooled=POOLED_TITLE in table.cells):
            print_line(out, RichText(line, "dim"))
        out.print()
    for line in remarks(comparison):
        print_line(out, RichText(line))
    print_line(out, RichText(verdict(comparison), "bold"))
    if comparison.shared is not None:
        print_line(out, RichText(shared_in_words(comparison.shared)))
    print_files(out, file)


def _style(comparison: Comparison, row: ComparedLayer | ComparedRecord) -> str:
    return " ".join(["dim"] * (row.same_as is not None) + ["red"] * (row.over and not comparison.of_images))
