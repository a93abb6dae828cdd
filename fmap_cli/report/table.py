"""The result of `fmap report` in the terminal: a row a layer, and where the page is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..tables.table import console, print_rows, print_wrapped
from .columns import LAYERS

if TYPE_CHECKING:
    from .records import Report


def print_report(report: Report, file: Path | None = None) -> None:
    """The layers that the page shows and how exactly, and the page's size."""
    out = console()
    images = ", ".join(each.name for each in report.passes)
    out.print(Text(units.one_line(f"{report.origin.model} · {report.origin.weights.in_words}")), soft_wrap=True)
    out.print(Text(units.one_line(report.compared or images)), soft_wrap=True)
    out.print()
    print_rows(out, LAYERS, [(report, each) for each in report.layers])
    side = ", whichever side it is" if report.compared else ""
    words = (
        "bits: how many each value is kept with on the page; off by at most: how far a value read off the page may be"
        f" from the one that the network computed{side}."
    )
    print_wrapped(out, Text(words, "dim"))
    if file is not None:
        size = len(report.html()) / 1e6
        out.print()
        out.print(Text.assemble("→ ", (units.one_line(str(file)), "bold"), f", {size:.1f} MB"), soft_wrap=True)
