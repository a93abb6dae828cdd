"""`fmap rf` in the terminal: a row a layer; one unit's box; the effective field."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..models.table import print_fed
from ..tables.table import console, print_files, print_line, print_rows
from .columns import COLUMNS, field_cells
from .records import cell_in_words

if TYPE_CHECKING:
    from pathlib import Path

    from ..models.input_words import InputWords
    from ..models.records import Origin
    from ..tables.columns import Column
    from .records import EffectiveField, FieldAxis, FieldListing, FieldRow, ReceptiveField, UnitView

_GROUPS_SHOWN = 3


def print_fields(listing: FieldListing, *, groups: bool = False, file: Path | None = None) -> None:
    """A row a layer, in execution order; what made fields infinite, bounds or unknown stands below in words.

    Channels that see differently have rows of their own under their layer, all of them with `groups`.
    """
    out, origin = console(), listing.origin
    names = "".join(axis.axis for axis in listing.layers[0].field.axes)
    size = " × ".join(map(str, listing.size))
    head = f"{origin.model} · {origin.weights.in_words} · input {origin.inputs_in_words(listing.input_shape)}"
    print_line(out, Text(units.one_line(head)))
    out.print()
    table = print_rows(
        out,
        [_in_words_of(origin, each) for each in COLUMNS],
        listing.layers,
        style=lambda row: "dim" if row.field.kind in ("whole image", "nothing") else "",
        under=lambda row: list(_groups(row.field, groups)),
    )
    out.print()
    for line in _columns_in_words(listing.origin.called, names, table.cells):
        print_line(out, Text(line, "dim"))
    for line in _legend(listing, names, size):
        print_line(out, Text(line))
    print_files(out, file)


def _in_words_of(origin: Origin, column: Column[FieldRow]) -> Column[FieldRow]:
    """The column of field sizes with this input's name for the whole of it."""
    cell = column.cell
    if column.key != "size" or cell is None:
        return column
    return replace(column, cell=lambda value: origin.called.said(str(cell(value))))


def _groups(seen: ReceptiveField, every: bool) -> Iterator[dict[str, str]]:
    """Cells of channels that see differently: a line a group, or how many there are and from what to what."""
    if seen.group_count < 2:
        if not seen.group_count:
            yield {"name": "  its values see different places, too many to list"}
        return
    if seen.groups and (every or len(seen.groups) <= _GROUPS_SHOWN):
        for group in seen.groups:
            yield {"name": f"  channels {_ranges(group.channels)}", **field_cells(group.axes)}
        return
    if seen.cells:
        sizes = [axis.size for group in seen.groups for axis in group.axes if axis.size is not None]
        span = f"{min(sizes)} … {max(sizes)}" if sizes else ""
        yield {"name": f"  {seen.group_count} groups of channels", "size": span}
    else:
        yield {"name": f"  its values see {seen.group_count} different places"}


def _ranges(ranges: Sequence[tuple[int, int]]) -> str:
    words = [str(first) if first == last else f"{first}–{last}" for first, last in ranges[:4]]
    return ", ".join([*words, *(["…"] if len(ranges) > 4 else [])])


def _columns_in_words(called: InputWords, names: str, shown: Collection[str]) -> list[str]:
    """What the columns that are in the table say: all of them count places of the input, but for share and cells."""
    places, noun = called.places, called.noun
    words = {
        "size": f"how many {places} one unit sees, those beyond the border counted, too",
        "stride": "how far that moves from one unit to the next",
        "padding": "how far the first unit's field reaches beyond the border",
        "start": f"where the first unit's field begins (0 is the {noun}'s edge, below 0 is outside)",
        "share": f"how much of the {noun} the largest field really covers",
        "cells": f"how many units the layer's map has ({' × '.join(names)})",
    }
    said = [f"{title}: {meaning}" for title, meaning in words.items() if title in shown]
    return [f"{'; '.join(said)}."] if said else []


def _legend(listing: FieldListing, names: str, size: str) -> list[str]:
    shown, count, called = len(listing.layers), listing.count, listing.origin.called
    many = f"{count} layer{'s' * (count != 1)} in execution order"
    many = many if shown == count else f"{shown} of {many}"
    lines = [
        many,
        f"In {called.places} of the input, {names} = {size}.",
    ]
    lines += [called.said(each) for each in _reasons(listing.layers)]
    lines += [f"note: {note}" for note in listing.notes[:3]]
    if any(each.field.group_count > 1 for each in listing.layers):
        lines.append("Where channels see differently the layer's row is for all of them together.")
    return lines


def _reasons(rows: Sequence[FieldRow]) -> list[str]:
    """Each reason once, with the layers it holds for."""
    reasons: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for axis in row.field.axes:
            if axis.kind in ("exact", "nothing"):
                continue
            differ = axis.why.startswith("units see") and axis.why.endswith("px")
            why = "sizes differ from unit to unit; the largest is shown" if differ else axis.why
            layers = reasons.setdefault((axis.kind, axis.by, why), [])
            if not layers or layers[-1] != row.layer.name:
                layers.append(row.layer.name)
    lines = []
    for (kind, by, why), layers in list(reasons.items())[:8]:
        where = units.layer_name(layers[0]) + (f" and {len(layers) - 1} more" if len(layers) > 1 else "")
        what = {"upper bound": "≤, an upper bound"}.get(kind, kind)
        reason = f"{why} (in {units.layer_name(by)})" if by and by != layers[0] else why
        lines.append(units.one_line(f"{what}: {where}: {reason}" if reason else f"{what}: {where}"))
    if len(reasons) > 8:
        lines.append(f"… and {len(reasons) - 8} more reasons: see --json")
    return lines


# -- one unit ----------------------------------------------------------------------------------------------------


def print_unit(view: UnitView, file: Path | None) -> None:
    """What one unit sees, in words."""
    out, origin, called = console(), view.origin, view.origin.called
    head = f"{origin.model} · weights: {origin.weights} · {origin.called.noun}: {view.image.name}"
    print_line(out, Text(units.one_line(head)))
    print_fed(out, origin.preprocessing)
    out.print()
    seen = view.row.field
    place = cell_in_words(view.row, view.place, called)
    facts = [
        ("layer", units.one_line(view.row.layer.name)),
        ("unit", f"channel {view.channel} of {view.channels}, {place}: {view.picked}"),
        ("value", units.number(view.value, 6)),
    ]
    for axis, inside, outside in zip(seen.axes, view.box.seen, view.box.unclipped, strict=True):
        name = f"{called.layer}s" if axis.axis == "T" else _AXES[axis.axis]
        facts.append((name, _extent(axis.axis, inside, outside, called)))
    kinds = [f"{axis.kind}{': ' if axis.why else ''}{axis.why}" for axis in seen.axes]
    if len(set(kinds)) > 1:
        kinds = [
            f"{f'{called.layer}s' if axis.axis == 'T' else _AXES[axis.axis]} {kind}"
            for axis, kind in zip(seen.axes, kinds, strict=True)
        ]
    facts.append(("field", "; ".join(dict.fromkeys(kinds)) + _from(seen.axes)))
    _print_facts(out, facts)
    print_files(out, file)


_AXES = {"T": "frames", "H": "rows", "W": "columns"}


def _extent(axis: str, inside: tuple[int, int] | None, outside: tuple[int, int] | None, called: InputWords) -> str:
    if inside is None:
        return f"none: it sees nothing of the {called.noun}"
    unit = f"{called.layer}s" if axis == "T" else called.unit
    words = f"{inside[0]} to {inside[1]} ({inside[1] - inside[0] + 1} {unit})"
    if outside is not None and outside != inside:
        words += (
            f"; the full field, {outside[0]} to {outside[1]} ({outside[1] - outside[0] + 1} "
            f"{unit}), is cut off at the border"
        )
    return words


def _from(axes: Sequence[FieldAxis]) -> str:
    names = list(dict.fromkeys(axis.by for axis in axes if axis.by))
    return f" (in {', '.join(names)})" if names else ""


def print_effective(found: EffectiveField, file: Path | None) -> None:
    """The sizes that hold half and nearly all of a unit's gradient, beside the theoretical one."""
    out, origin, called = console(), found.origin, found.origin.called
    print_line(out, Text(units.one_line(f"{origin.model} · weights: {origin.weights}")))
    print_fed(out, origin.preprocessing)
    out.print()
    channel = "the sum of all channels" if found.channel is None else f"channel {found.channel}"
    sizes = " × ".join(
        called.whole if ends is None else f"{ends[1] - ends[0] + 1}" for ends in found.box.unclipped[-2:]
    )
    facts = [
        ("layer", units.one_line(found.row.layer.name)),
        ("unit", f"{channel}, {cell_in_words(found.row, found.place, called)}"),
        ("inputs", f"{found.count} × {found.source}" if found.image is None else found.image.name),
        ("theoretical", sizes if "whole" in sizes else f"{sizes} {called.unit}"),
    ]
    for share, high, wide in found.holds:
        words = f"{share * 100:.0f} % of what moves the unit is in {called.size((high, wide))}"
        inside = found.inside(high, wide)
        if inside != (high, wide):
            words += f", {inside[0]} × {inside[1]} of it in the {called.noun}"
        facts.append(("effective" if share == found.holds[0][0] else "", words))
    if not found.holds:
        facts.append(
            ("effective", f"nothing: no {called.place} moves this unit (a ReLU is shut, or values are cut off)")
        )
    _print_facts(out, facts)
    print_files(out, file)


def _print_facts(out: object, facts: Sequence[tuple[str, str]]) -> None:
    from rich.console import Console

    assert isinstance(out, Console)
    width = max(len(name) for name, _ in facts)
    for name, value in facts:
        room = max(out.width - width - 2, 1) if getattr(out, "has_edge", True) else len(value) + 1
        for at, line in enumerate(Text(value).wrap(out, room, overflow="fold")):
            line.rstrip()
            out.print(Text.assemble((f"{'' if at else name:<{width}}  ", "dim"), line), soft_wrap=True)
    out.print()
