"""`fmap cam` in the terminal: where the evidence is, read from which layer, and how far to trust it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from .columns import CURVES, curves_of
from .records import Cam
from .words import METHOD_NAMES, WEIGHTS, balance, headline, layers_in_words, number_in_words, remarks, verdict

if TYPE_CHECKING:
    from pathlib import Path


def print_cam(found: Cam, file: Path | None = None, save: Path | None = None) -> None:
    """Where the evidence is."""
    out, origin = console(), found.origin
    head = f"{origin.model} · {origin.weights.in_words} · {origin.called.noun}: {found.image.name}"
    print_line(out, Text(units.one_line(head)))
    print_fed(out, origin.preprocessing)
    out.print()
    print_wrapped(out, Text(headline(found), "bold"))
    facts = [
        ("number", number_in_words(found)),
        ("layer", layers_in_words(found)),
        ("method", f"{METHOD_NAMES[found.method]}: {WEIGHTS[found.method]}"),
        ("balance", balance(found)),
        *(("note", each) for each in remarks(found)),
    ]
    for name, words in facts:
        print_wrapped(out, Text.assemble((f"{name:<9}", "dim"), units.one_line(words)), hanging=9)
    if found.trust is not None:
        out.print()
        print_rows(out, CURVES, curves_of(found.trust))
        print_wrapped(out, Text(f"{verdict(found.trust)}."))
    print_files(out, file, save)
