"""`fmap layers` in the terminal: the stages above, a row a layer, the totals below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..tables.table import Shown, console, print_line, print_rows
from .columns import COLUMNS, cost

if TYPE_CHECKING:
    from rich.console import Console

    from .records import Listing


def print_listing(listing: Listing) -> None:
    """A row a layer, in execution order. Layers with others inside show sums, marked Σ."""
    out = console()
    origin = listing.origin
    shape = origin.inputs_in_words(listing.input_shape)
    print_line(out, Text(units.one_line(f"{origin.model} · {origin.weights.in_words} · input {shape}")))
    if len(listing.stages) > 1:
        _print_chain(out, [units.shape(stage) for stage in listing.stages])
    out.print()
    columns = (*COLUMNS, *cost(listing.multiply_adds, listing.layers))
    table = print_rows(out, columns, listing.layers, style=lambda row: "dim" if row.composite else "")
    out.print()
    for line in (*_totals(listing), *_legend(listing, table)):
        print_line(out, Text(line))


def _print_chain(out: Console, steps: Sequence[str]) -> None:
    """The steps with arrows between them, in lines that break after an arrow."""
    line = ""
    for at, step in enumerate(steps):
        piece = step + (" → " if at < len(steps) - 1 else "")
        if line and len(line + piece.rstrip()) > out.width:
            out.print(Text(line.rstrip()), soft_wrap=True)
            line = ""
        line += piece
    out.print(Text(line), soft_wrap=True)


def _legend(listing: Listing, table: Shown) -> list[str]:
    """What the signs in the table mean, of those that are in it."""
    lines = []
    if fields := [each.plain for each in table.cells.get("field", ())]:
        lines.append(
            f"field: size / stride of the receptive field in {listing.origin.called.places} of the input;"
            " `fmap rf` says more."
        )
        signs = (
            ("whole", "whole: the whole input"),
            ("≤", "≤: at most, an upper bound"),
            ("unknown", "unknown: not followed"),
        )
        told = [words for sign, words in signs if any(sign in each for each in fields)]
        if "–" in fields:
            told.append("–: nothing of the input")
        if told:
            lines[-1] = f"{lines[-1][:-1]}; {', '.join(told)}."
    axes = {name for each in table.cells.get("axes", ()) for name in each.plain.split()}
    if axes:
        words = {**_AXES, **listing.origin.called.axes}
        lines.append(f"axes: {', '.join(f'{name} {words[name]}' for name in words if name in axes)}.")
    if any(each.composite for each in listing.layers):
        lines.append("Σ is the sum over the layers inside; the totals count each layer once.")
    return lines


_AXES = {
    "B": "batch",
    "C": "channel",
    "T": "time",
    "H": "height",
    "W": "width",
    "N": "tokens",
    "?": "not known",
}


def _totals(listing: Listing) -> list[str]:
    many = f"{listing.count} layers in execution order" if listing.count != 1 else "1 layer"
    if len(listing.layers) != listing.count:
        many = f"{len(listing.layers)} of {many}"
    idle = (
        f", {units.count(listing.idle_parameters)} of them in parts that did not run" if listing.idle_parameters else ""
    )
    flops = units.scaled(2 * listing.multiply_adds)
    lines = [
        f"{many} · {units.count(listing.parameters)} parameters in the model{idle}",
        f"{units.count(listing.multiply_adds)} multiply-adds; FLOPs = 2 × that = {flops}",
    ]
    if listing.uncounted:
        names = [f"{name} (first in {layer})" for name, layer in listing.uncounted]
        lines.append(f"not counted (fmap has no formula for it): {units.one_line(', '.join(names))}")
    lines += [f"note: {units.one_line(note)}" for note in listing.notes]
    if listing.convolutions:
        kinds = [
            f"{listing.pointwise} are 1×1 (channel mixers)",
            f"{listing.depthwise} depthwise",
            f"{listing.strided} strided",
        ]
        lines.append(f"{_several(listing.convolutions, 'convolution')}: {', '.join(kinds)}")
    return lines


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
