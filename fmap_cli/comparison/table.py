"""The result of `fmap compare` in the terminal."""

from __future__ import annotations

from functools import partial

from rich.text import Text as RichText

from ..tables.table import console, print_files, print_line, print_rows, repeats_in_words
from .columns import POOLED_TITLE, table_of
from .records import ComparedLayer, ComparedRecord, Comparison
from .words import CHANNEL, answer_in_words, inputs_in_words, questions, remarks, shared_in_words, sides, verdict

_LONG = 20
"""Rows of a table after which what stands above it is out of sight: it is said again below."""


def print_comparison(comparison: Comparison, file: str | None = None) -> None:
    """Whether A and B agree and their answer is the same; who they are; and a row a layer, in A's execution order."""
    out = console()
    answer = answer_in_words(comparison)
    said = [*answer[:1], verdict(comparison)]
    for line in (*answer, verdict(comparison)):
        print_line(out, RichText(line, "bold" if line in said else ""))
    if comparison.shared is not None:
        print_line(out, RichText(shared_in_words(comparison.shared)))
    for line in remarks(comparison):
        print_line(out, RichText(line))
    out.print()
    common, a, b = sides(comparison)
    for line in (common, f"A  {a}" if a else "", f"B  {b}" if b else ""):
        if line:
            print_line(out, RichText(line), hanging=3 * (line is not common))
    if not a and not b:
        apart = any(each.difference.relative_l2 for each in comparison.layers)
        out.print(RichText("A and B go by the same name; their values differ" if apart else "A and B are the same"))
    if fed := inputs_in_words(comparison):
        print_line(out, RichText(fed, "bold"))
    shown = comparison.shown
    if shown:
        out.print()
        table = print_rows(out, table_of(comparison), shown, style=partial(_style, comparison))
        keys = [CHANNEL] if "channel" in table.cells else []
        for line in [*questions(comparison, pooled=POOLED_TITLE in table.cells), *keys]:
            print_line(out, RichText(line, "dim"))
    if repeats := len(comparison.layers) - len(shown):
        print_line(out, RichText(repeats_in_words(repeats), "dim"))
    if len(shown) > _LONG:
        out.print()
        for line in said:
            print_line(out, RichText(line, "bold"))
    print_files(out, file)


def _style(comparison: Comparison, row: ComparedLayer | ComparedRecord) -> str:
    return " ".join(["dim"] * (row.same_as is not None) + ["red"] * (row.over and not comparison.of_images))
