"""The result of `fmap filters` in the terminal: a row a layer, what there is to say, and a row a filter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from .columns import FILTERS, LAYERS, filter_rows
from .records import NEAR_ZERO

if TYPE_CHECKING:
    from rich.console import Console

    from .records import Filters, Finding, Kernels

_ROWS = 12  # filters of a layer, unless some were asked for
_STYLES = {"note": "", "warning": "yellow", "error": "bold red"}


def print_filters(found: Filters, files: Sequence[str] = (), arrays: str | None = None) -> None:
    """The layers, what is remarkable about their filters, and the filters' numbers, the first of many."""
    out = console()
    head = f"{found.origin.model} · {found.origin.weights.in_words}"
    print_line(out, Text(units.one_line(head)))
    out.print()
    print_rows(out, LAYERS, found.layers)
    for each in found.layers:
        _print_words(out, each)
    for each in found.layers:
        out.print()
        if len(found.layers) > 1:
            out.print(Text(units.one_line(each.layer.name), "bold"), soft_wrap=True)
        _print_numbers(out, each)
    if files or arrays:
        out.print()
    print_files(out, *files)
    print_files(out, arrays, what="arrays")


def _print_words(out: Console, kernels: Kernels) -> None:
    lines = [Text(each) for each in words_on(kernels)] + [_finding(each) for each in kernels.findings]
    if lines:
        out.print()
        out.print(Text(units.one_line(kernels.layer.name), "bold"), soft_wrap=True)
    for line in lines:
        print_wrapped(out, line, 2, 2)


def words_on(kernels: Kernels) -> list[str]:
    """What the numbers do not say: where the weight comes from, what is folded in or why not."""
    words = []
    if kernels.how != "as stored":
        words.append(f"The weight is {kernels.how}.")
    if kernels.folded:
        words.append(f"BatchNorm {kernels.folded} is folded in: kernels and biases are what acts.")
    if kernels.not_folded:
        words.append(f"Nothing is folded in: {kernels.not_folded}.")
    return words + [f"Note: {each}." for each in kernels.notes]


def _finding(finding: Finding) -> Text:
    style = _STYLES[finding.severity]
    return Text.assemble((finding.severity, style), " ", (finding.check, "bold"), f": {finding.what}.")


def _print_numbers(out: Console, kernels: Kernels) -> None:
    rows = filter_rows(kernels)
    first = rows if kernels.every and len(rows) <= 4 * _ROWS else rows[:_ROWS]
    told = {channel for each in kernels.findings for channel in each.channels}
    named = [row for row in rows[len(first) :] if row.index in told][:_ROWS]
    print_rows(out, FILTERS, [*first, *named])
    said = kernels.order_in_words
    if len(first) < len(rows):
        those = f"the first {len(first)}" + (f" and {len(named)} that stand out" if named else "")
        said += f"; {those} are listed, --csv and --json have them all"
    near = f"≈ 0: weights of at most {units.percent(NEAR_ZERO)} of the layer's largest"
    print_wrapped(out, Text(f"{said}. {near}.", "dim"))
