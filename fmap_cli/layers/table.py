"""`fmap layers` in the terminal: the stages above, a row a layer, the totals below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.text import Text

from .. import units
from ..receptive.table import short_field
from ..tables.old import Column, print_table
from ..tables.table import console

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.console import Console

    from .records import CountedLayer, Geometry, Listing

    _Writer = Callable[[int], str]

_ALL_COLUMNS = 120
"""From this width on all columns are shown; below, what a layer is, its shape and what it costs."""

_FIELD_FROM = 132
"""From this width on there is room for what each layer sees, too."""

_HOW_FROM = 160
"""From this width on there is room for how the axes are known."""

_BAR = 8


def print_listing(listing: Listing) -> None:
    """A row a layer, in execution order. Layers with others inside show sums, marked Σ."""
    out = console()
    shape = units.shape(listing.input_shape)
    origin = listing.origin
    out.print(Text(units.one_line(f"{origin.model} · {origin.weights.in_words} · input {shape}")), soft_wrap=True)
    if len(listing.stages) > 1:
        _print_chain(out, [units.shape(stage) for stage in listing.stages])
    out.print()
    if out.width >= _ALL_COLUMNS:
        _print_wide(out, listing)
    else:
        _print_narrow(out, listing)
    out.print()
    for line in _totals(listing, out.width >= _FIELD_FROM):
        out.print(Text(line), soft_wrap=True)


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


def _print_wide(out: Console, listing: Listing) -> None:
    with_field = out.width >= _FIELD_FROM
    with_how = out.width >= _HOW_FROM and any(_how_known(each) for each in listing.layers)
    columns = [
        Column("layer", least=24),
        Column("type", least=10),
        Column("", least=8),
        Column("output shape", right=True),
        Column("axes"),
        *([Column("axes known")] if with_how else []),
        *([Column("field", right=True)] if with_field else []),
        Column("parameters", right=True),
        Column("multiply-adds", right=True),
        Column("share", right=True),
        Column(""),
        Column("dtype"),
        Column("memory", least=10),
    ]
    rows: list[Sequence[Text | str]] = []
    most = max((each.multiply_adds or 0 for each in listing.layers if not each.composite), default=0)
    for each in listing.layers:
        share, bar = _share(each, listing.multiply_adds, most)
        cells = (
            units.one_line(each.layer.name),
            units.one_line(each.layer.type_name),
            detail(each),
            units.shape(each.shape),
            " ".join(each.axes.names) if each.axes is not None else "",
            *([_how_known(each)] if with_how else []),
            *([short_field(each.field) if each.field is not None else ""] if with_field else []),
            _parameters(each, units.count),
            _multiply_adds(each, units.count),
            share,
            bar,
            each.dtype,
            each.memory_format,
        )
        rows.append([_styled(each, cell) for cell in cells])
    print_table(out, columns, rows)


def _how_known(row: CountedLayer) -> str:
    """How the axes are known where the layer's class does not say them."""
    return "" if row.axes is None or (row.axes.how.startswith("by ") and "number" not in row.axes.how) else row.axes.how


def _print_narrow(out: Console, listing: Listing) -> None:
    columns = [
        Column("layer", least=16),
        Column("", least=10),
        Column("output shape", right=True),
        Column("params", right=True),
        Column("mult-adds", right=True),
    ]
    rows: list[Sequence[Text | str]] = []
    for each in listing.layers:
        cells = (
            units.one_line(each.layer.name),
            _what(each),
            units.shape(each.shape),
            _parameters(each, units.scaled),
            _multiply_adds(each, units.scaled),
        )
        rows.append([_styled(each, cell) for cell in cells])
    print_table(out, columns, rows)


def _what(row: CountedLayer) -> str:
    """What a layer is where there is one column for it: its geometry for those that have one, else its type."""
    how = detail(row) if row.layer.kind in ("conv", "pool", "linear") else ""
    if not how:
        return units.one_line(row.layer.type_name)
    if row.layer.kind != "pool":
        return how
    return f"{'max' if 'max' in row.layer.type_name.lower() else 'avg'} {how}"


def _styled(row: CountedLayer, cell: str) -> Text:
    return Text(cell, "dim" if row.composite else "")


def detail(row: CountedLayer) -> str:
    """How a layer goes about it: `3×3 /2`, `3×3 dw` (depthwise), `1×1`, `512 → 1000`; empty where there is no word."""
    if row.detail:
        return row.detail
    return geometry(row.geometry) if row.geometry is not None else ""


def geometry(how: Geometry) -> str:
    """Kernel, stride after a slash, `dw` for depthwise, `g` groups, `d` dilation, `T` transposed; ones are left out.

    >>> from fmap_cli.layers.records import Geometry
    >>> geometry(Geometry((3, 3), (2, 2), (1, 1), (1, 1), groups=64, per_channel=True))
    '3×3 dw /2'
    >>> geometry(Geometry((1, 3, 3), (1, 2, 2), None, (1, 2, 2), groups=32))
    '1×3×3 g32 d1×2×2 /1×2×2'
    """
    words = ["×".join(map(str, how.kernel))]
    if how.transposed:
        words.append("T")
    if how.per_channel:
        words.append("dw")
    elif how.groups is not None and how.groups > 1:
        words.append(f"g{how.groups}")
    if set(how.dilation) != {1}:
        words.append(f"d{_sizes(how.dilation)}")
    if set(how.stride) != {1}:
        words.append(f"/{_sizes(how.stride)}")
    return " ".join(words)


def _sizes(sizes: Sequence[int]) -> str:
    return str(sizes[0]) if len(set(sizes)) == 1 else "×".join(map(str, sizes))


def _parameters(row: CountedLayer, write: _Writer) -> str:
    if not row.layer.is_module or not row.layer.parameters:
        return ""
    if row.layer.call > 0 or row.multiply_adds is None:
        return "shared"
    return f"Σ {write(row.layer.parameters)}" if row.composite else write(row.layer.parameters)


def _multiply_adds(row: CountedLayer, write: _Writer) -> str:
    if not row.multiply_adds:
        return ""
    return f"Σ {write(row.multiply_adds)}" if row.composite else write(row.multiply_adds)


def _share(row: CountedLayer, total: int, most: int) -> tuple[str, str]:
    """A layer's share of the total, and a bar that is full for the costliest layer of all."""
    if not row.multiply_adds or not total:
        return "", ""
    bar = "" if row.composite else "█" * round(row.multiply_adds / most * _BAR) or "▏"
    return units.percent(row.multiply_adds / total), bar


def _totals(listing: Listing, with_field: bool) -> list[str]:
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
        lines.append(f"not counted, for want of a formula: {units.one_line(', '.join(names))}")
    lines += [f"note: {units.one_line(note)}" for note in listing.notes]
    if listing.convolutions:
        kinds = [
            f"{listing.mixers} are 1×1 (channel mixers)",
            f"{listing.depthwise} depthwise",
            f"{listing.strided} strided",
        ]
        lines.append(f"{_several(listing.convolutions, 'convolution')}: {', '.join(kinds)}")
    if with_field:
        lines.append("field: size / stride of the receptive field in pixels of the input; `fmap rf` says more.")
    if any(each.composite for each in listing.layers):
        lines.append("Σ is the sum over the layers inside; the totals count each layer once.")
    return lines


def _several(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
