"""Text made to fit: folded into lines, without its start, in signs that a terminal can show."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from ..legible import encoding_of, substitute, unreadable


def legible(out: Console, text: Text) -> Text:
    """The text in signs that `out` can show; to be done before anything is measured, for some become two."""
    if text.plain.isascii():  # nearly all cells: asking a console for its file takes longer
        return text
    for sign in unreadable(text.plain, encoding_of(out.file)):
        text = Text(substitute(sign)).join(text.split(sign, allow_blank=True))
    return text


def widest(texts: Sequence[str]) -> int:
    """How wide the widest line of all these texts is."""
    return max((cell_len(line) for text in texts for line in text.split("\n")), default=0)


def cut(name: Text, width: int, where: str = "start") -> Text:
    """A name in `width` characters: its start is left out, as layers differ in the end, its middle, or the last of
    several `items`, names with a number behind each.

    >>> cut(Text("features.1.0.attn.softmax"), 12).plain, cut(Text("Conv2dNormActivation"), 12, "middle").plain
    ('…ttn.softmax', 'Conv2d…ation')
    >>> cut(Text("tabby 16.6, lynx 15.4, fox 3"), 24, "items").plain, cut(Text("astronaut 16.6"), 12, "items").plain
    ('tabby 16.6, lynx 15.4, …', 'astron… 16.6')
    """
    if cell_len(name.plain) <= width:
        return name
    if where == "items":
        return _first_items(name, width)
    if where == "middle":
        end = width // 2
        head = next(at for at in range(end, -1, -1) if cell_len(name.plain[:at]) <= end)
        return name[:head] + cut(name[head:], width - cell_len(name.plain[:head]))
    start = next((at for at in range(1, len(name)) if cell_len(name.plain[at:]) < width), len(name))
    return Text.assemble(("…", "dim"), name[start:])


def _first_items(items: Text, width: int) -> Text:
    parts = items.split(", ", allow_blank=True)
    for count in range(len(parts) - 1, 0, -1):
        found = Text(", ").join([*parts[:count], Text("…", "dim")])
        if cell_len(found.plain) <= width:
            return found
    first = parts[0]
    number = first[first.plain.rfind(" ") :] if " " in first.plain else Text()
    room = max(width - 1 - cell_len(number.plain), 0)
    head = next(at for at in range(len(first), -1, -1) if cell_len(first.plain[:at]) <= room)
    return Text.assemble(first[:head], ("…", "dim"), number)


def folded(text: Text, width: int) -> Text:
    """Text in lines of at most `width` characters, cut after a dot, underscore or space or before a capital.

    >>> folded(Text("features.1.0.attn.shifted_window_attention"), 20).plain.split("\\n")
    ['features.1.0.attn.', 'shifted_window_', 'attention']
    """
    if "\n" not in text.plain and cell_len(text.plain) <= width:
        return text
    lines = []
    for line in text.split("\n", allow_blank=True):
        while cell_len(line.plain) > width:
            end = next(at for at in range(len(line), 0, -1) if cell_len(line.plain[:at]) <= width or at == 1)
            places = [match.end() for match in _FOLDS.finditer(line.plain) if match.end() <= end]
            first, line = line.divide([places[-1] if places and places[-1] > width // 4 else end])
            first.rstrip()
            lines.append(first)
        lines.append(line)
    return Text("\n").join(lines)


_FOLDS = re.compile(r"[ ._/,:-]|(?<=[a-z])(?=[A-Z])")
