"""The result of `fmap compare` in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from math import log10
from typing import TYPE_CHECKING

from rich.text import Text as RichText

from .. import units
from ..tables.old import Column, print_table
from ..tables.table import console
from .records import ComparedLayer, ComparedRecord, Comparison
from .words import cosine, inputs_in_words, is_run, remarks, sides, verdict

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 120
"""From this width on all columns are shown."""

_BAR_DECADES = 8
"""The bar of a row has a block for each factor of ten from 1e-8 to 1."""


def print_comparison(comparison: Comparison, file: str | None = None) -> None:
    """A row a layer, in A's execution order, and below where the two part."""
    out = console()
    common, a, b = sides(comparison)
    for line in (common, f"A  {a}" if a else "", f"B  {b}" if b else ""):
        if line:
            out.print(RichText(line), soft_wrap=True)
    if not a and not b:
        out.print(RichText("A and B are the same"))
    if fed := inputs_in_words(comparison):
        out.print(RichText(fed, "bold"), soft_wrap=True)
    out.print()
    wide = out.width >= _WIDE
    if comparison.layers:
        if is_run(comparison):
            _print_records(out, comparison, wide)
        else:
            _print_layers(out, comparison, wide)
        out.print()
    for line in remarks(comparison):
        out.print(RichText(line), soft_wrap=True)
    out.print(RichText(verdict(comparison), "bold"), soft_wrap=True)
    if file is not None:
        out.print(RichText.assemble("→ ", (units.one_line(file), "bold")), soft_wrap=True)


def _print_layers(out: Console, comparison: Comparison, wide: bool) -> None:
    layers = [each for each in comparison.layers if isinstance(each, ComparedLayer)]
    finite = not any(each.difference.unlike for each in layers)
    narrow_name = Column("layer", least=16)
    columns = [
        Column("layer", least=24) if wide else narrow_name,
        *([Column("output shape", right=True)] if wide else []),
        Column("max |B - A|" if wide else "max \n|B - A|", right=True),
        Column("relative L2" if wide else "relative\n L2", right=True),
        *([Column("")] if wide else []),
        Column("cosine", right=True),
        Column("correlation" if wide else "corre-\nlation", right=True),
        *([Column("channel", right=True)] if wide else []),
        *([] if finite else [Column("NaN or Inf\nin one" if wide else "NaN,\n Inf", right=True)]),
        *([Column("")] if comparison.first is not None else []),
    ]
    rows: list[Sequence[RichText | str]] = []
    for each in layers:
        found = each.difference
        cells = [
            units.one_line(each.layer.name),
            *([units.shape(each.shape)] if wide else []),
            units.number(found.max_abs),
            units.number(found.relative_l2),
            *([_bar(found.relative_l2)] if wide else []),
            cosine(found.cosine),
            cosine(found.correlation),
            *([units.count(found.channel)] if wide else []),
            *([] if finite else [units.count(found.unlike)]),
        ]
        rows.append(_row(cells, each.over, comparison, repeats=each.same_as is not None))
    print_table(out, columns, rows)


def _print_records(out: Console, comparison: Comparison, wide: bool) -> None:
    layers = [each for each in comparison.layers if isinstance(each, ComparedRecord)]
    known = all(each.difference.unlike == 0 for each in layers)
    columns = [
        Column("layer", least=24 if wide else 16),
        Column("Δmean / σ", right=True),
        Column("Δstd / σ", right=True),
        *([Column("channel", right=True)] if wide else []),
        *([Column("Δmin", right=True), Column("Δmax", right=True)] if wide else []),
        Column("relative L2\nof means" if wide else "rel. L2", right=True),
        *([Column("")] if wide else []),
        Column("cosine", right=True),
        *([Column("correlation", right=True)] if wide else []),
        Column("moved", right=True),
        *([] if known else [Column("NaN or Inf\nin one" if wide else "NaN,\n Inf", right=True)]),
        *([Column("")] if comparison.first is not None else []),
    ]
    rows: list[Sequence[RichText | str]] = []
    for each in layers:
        found = each.difference
        extremes = [units.number(found.min_shift), units.number(found.max_shift)]
        cells = [
            units.one_line(each.layer.name),
            units.number(found.mean_shift),
            units.number(found.std_shift),
            *([units.count(found.channel), *extremes] if wide else []),
            units.number(found.relative_l2),
            *([_bar(found.relative_l2)] if wide else []),
            cosine(found.cosine),
            *([cosine(found.correlation)] if wide else []),
            units.percent(found.moved) if found.moved is not None else "–",
            *([] if known else [units.count(found.unlike)]),
        ]
        rows.append(_row(cells, each.over, comparison, repeats=each.same_as is not None))
    print_table(out, columns, rows)


def _row(cells: Sequence[str], over: bool, comparison: Comparison, *, repeats: bool = False) -> list[RichText]:
    style = "red" if over else ""
    if repeats:
        style = f"dim {style}".strip()
    mark = ["over" if over else ""] if comparison.first is not None else []
    return [RichText(cell, style) for cell in (*cells, *mark)]


def _bar(share: float) -> str:
    if share == 0:
        return ""
    blocks = _BAR_DECADES if share >= 1 else max(_BAR_DECADES + log10(share), 0)
    return "█" * round(blocks) or "▏"
