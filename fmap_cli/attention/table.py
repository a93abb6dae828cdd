"""The result of `fmap attention` in the terminal: for each layer which query is drawn, and a row a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from .columns import HEADS, head_rows
from .words import about_numbers, about_weights, call_in_words, heads_in_words, looks, notes_on

if TYPE_CHECKING:
    from .records import Attention


def print_attention(found: Attention, files: Sequence[str] = (), arrays: str | None = None) -> None:
    """What the heads look at."""
    out, origin = console(), found.origin
    head = f"{origin.model} · {origin.weights.in_words} · {origin.called.noun}: {found.image.name}"
    print_line(out, Text(units.one_line(head)))
    print_fed(out, origin.preprocessing)
    if warning := about_weights(found):
        print_wrapped(out, Text(warning, "yellow"))
    for each in found.layers:
        out.print()
        print_wrapped(out, Text.assemble((units.layer_name(each.name), "bold"), f"  {heads_in_words(each)}"))
        print_wrapped(out, Text(f"{call_in_words(each)}", "dim"))
        subject = each.query.words
        print_wrapped(out, Text(f"{subject[0].upper()}{subject[1:]}. {looks(each, origin.called)}".strip()))
        for note in notes_on(each, origin.called):
            print_wrapped(out, Text(note, "dim"))
        out.print()
        print_rows(out, HEADS, head_rows(each, origin.called))
        print_wrapped(out, Text(about_numbers(each, origin.called), "dim"))
    out.print()
    more = [
        units.layer_name(each.name) for each in found.calls if each.name not in {layer.name for layer in found.layers}
    ]
    if more and not any(each.of_rollout for each in found.layers):
        some = ", ".join(more[:2]) + (f", … {more[-1]}" if len(more) > 2 else "")
        print_wrapped(
            out, Text(f"{len(found.calls)} attention calls ran; --layer takes the others too: {some}.", "dim")
        )
    print_files(out, *files)
    print_files(out, arrays, what="arrays")
