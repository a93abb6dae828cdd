"""`fmap effect` in the terminal: the channels that do most to the answer, and all at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from .columns import CHANNELS, MANY, ONE, channel_rows
from .records import Effects
from .words import about, about_signs, about_weights, flipped, headline, how, together

if TYPE_CHECKING:
    from pathlib import Path


def print_effects(found: Effects, file: Path | None = None) -> None:
    """The channels by the size of their effect, and what there is to say of all of them."""
    out, origin = console(), found.origin
    noun = origin.called.noun
    images = f"{noun}: {found.images[0].image.name}" if not found.several else f"{len(found.images)} {noun}s"
    print_line(out, Text(units.one_line(f"{origin.model} · {origin.weights.in_words} · {images}")))
    print_fed(out, origin.preprocessing)
    out.print()
    title = (units.layer_name(found.layer.name), "bold")
    print_wrapped(out, Text.assemble(title, f"  {units.shape(found.shape)}: what its channels do to {about(found)}"))
    if not found.several:
        one = found.images[0].target
        chance = (
            "" if one.probability is None or one.quantity == "probability" else f" ({units.percent(one.probability)})"
        )
        print_wrapped(out, Text(f"With all of them it is {units.number(one.value, 4)}{chance}."))
    out.print()
    rows = channel_rows(found)
    shown = rows[: found.top]
    print_rows(out, CHANNELS if found.fast else MANY if found.several else ONE, shown)  # flips are not estimated
    if len(shown) < len(rows):
        words = f"The {len(shown)} with the largest effect of {units.count(len(rows))}; --csv and --json have them all."
        print_wrapped(out, Text(words, "dim"))
    out.print()
    for sentence in (about_weights(found), f"{headline(found)}.", together(found), flipped(found)):
        if sentence:
            print_wrapped(out, Text(sentence))
    notes = [meaning(found), about_signs(found, [row.at for row in shown]), how(found)]
    print_wrapped(out, Text(" ".join(filter(None, notes)), "dim"))
    print_files(out, file)


def meaning(found: Effects) -> str:
    """What the columns say."""
    words = "effect: the number with the channel minus the number without it; above 0 the channel speaks for it."
    if found.probabilities is not None:
        words += " probability: the same of the probability, in percentage points."
    return words
