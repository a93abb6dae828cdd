"""The result of `fmap top` in the terminal: a row a channel, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from .. import units
from ..tables.table import console, print_files, print_line, print_rows, print_wrapped
from .columns import CHANNELS, channel_rows
from .records import Dossiers, Sort
from .words import firing, order_in_words, scale_in_words

_ROWS = 20  # channels of a layer, unless told otherwise
_NAMED = 5


def print_dossiers(
    found: Dossiers,
    sort: Sort,
    reverse: bool,
    top: int | None,
    files: Sequence[str | None] = (),
    saved: str | None = None,
) -> None:
    """What the dossiers are of, then each layer's channels in the order asked for, the first of many."""
    out = console()
    what = f"{found.images} image{'s' * (found.images != 1)}"
    print_line(out, Text(units.one_line(f"{found.origin.model} · {found.origin.weights.in_words} · {what}")))
    if found.like is not None:
        row, column = found.like.place
        asked = f"asked about {found.like.image}, row {row} and column {column} of the map: 'here' is a channel's value"
        asked += " there, 'above' the share of the images whose largest value is smaller"
        print_wrapped(out, Text(units.one_line(asked)))
    for layer in found.layers:
        order = found.order(layer.layer.name, sort=sort, reverse=reverse, top=top or _ROWS)
        out.print()
        out.print(Text(units.one_line(layer.layer.name), "bold"), soft_wrap=True)
        rows = channel_rows(found, layer, order)
        print_rows(out, CHANNELS, rows)
        said = order_in_words(found, layer, sort, reverse)
        count = len(layer.channels)
        if len(order) < count:
            said = f"{len(order)} of {count} channels, {said}; --top N lists more, --csv and --json have them all"
        seen = layer.found.images - layer.found.without
        never = int(((layer.found.fired == 0) & (seen > 0)).sum())
        print_wrapped(out, Text(f"{said[0].upper()}{said[1:]}.", "dim"))
        silent = [each.dossier for each in rows if each.dossier.never_fires]
        if len(silent) == never <= _NAMED:
            for each in silent:
                print_wrapped(out, Text(f"Channel {each.channel} {firing(each)}.", "yellow"))
        elif never:
            print_wrapped(
                out, Text(f"{never} of {count} channels never fire: they have no value above zero.", "yellow")
            )
        if (lost := layer.found.without > 0).any():
            most = int(layer.found.without.max())
            print_wrapped(
                out, Text(_without_numbers(layer.channels[lost].tolist(), most, layer.found.images), "yellow")
            )
    print_wrapped(out, Text(scale_in_words(found.by_class), "dim"))
    for note in found.notes:
        print_wrapped(out, Text(f"Note: {note}"))
    if found.failures:
        names = ", ".join(units.one_line(name) for name, _ in found.failures[:_NAMED])
        more = f" and {len(found.failures) - _NAMED} more" if len(found.failures) > _NAMED else ""
        print_wrapped(out, Text(f"{len(found.failures)} images could not be read: {names}{more}.", "yellow"))
    print_files(out, *files)
    print_files(out, saved, what="dossiers")


def _without_numbers(channels: Sequence[int], most: int, images: int) -> str:
    names = ", ".join(map(str, channels[:_NAMED])) + (f" and {len(channels) - _NAMED} more" * (len(channels) > _NAMED))
    many = f"Channel {names} has" if len(channels) == 1 else f"Channels {names} have"
    return f"{many} only NaN in up to {most} of {images} images; `fmap stats` says where NaN begins."
