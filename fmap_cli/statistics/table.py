"""`fmap stats` in the terminal: a row a layer, a channel or a class, and below them the findings in words.

A row is one line at every width. Where there is little room the type goes first, then the shape, then the spark line,
and the start of long names; numbers are never cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from .. import units
from ..tables.table import console
from .moments import BIN_EDGES, BINS, as_numbers, dead_channels, spread
from .records import CHANNEL_COLUMNS

if TYPE_CHECKING:
    from rich.console import Console

    from .records import ChannelStats, Finding, LayerRecord, LayerStats, Run


_LONG_SPARK, _SHORT_SPARK = 16, 8
_MOST_TYPE = 18
_MOST_FLAGS = 12  # characters, where there is little room
_MOST_A_GROUP = 6  # findings of one check
_MOST_CHANNELS = 8  # indices of a finding
_MOST_NAMED = 5  # images that could not be read

_SEVERITIES = ("note", "warning", "error")
_STYLES = {"note": "cyan", "warning": "yellow", "error": "red"}
_FLAGS = {  # a part of a check's name → the word for it in the table
    "16": "fp16",
    "nan": "NaN",
    "finite": "NaN",
    "dead": "dead",
    "norm-gain": "blown up",
    "answer": "answer",
    "constant": "const",
    "saturat": "sat",
    "explod": "grows",
    "vanish": "fades",
    "zero": "≈0",
    "cop": "copies",
}


# -- the three tables --------------------------------------------------------------------------------------------


def print_run(
    run: Run,
    findings: Sequence[Finding],
    *,
    shown: Sequence[LayerRecord],
    written: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """A row for each layer `shown`, in their order; then all findings, the files written and the totals."""
    out = console()
    _print_head(out, run)
    out.print()
    flagged: dict[str, list[Finding]] = {}
    for finding in findings:
        flagged.setdefault(finding.layer, []).append(finding)
    names, columns = [], _Columns()
    here = {each.layer.name for each in shown}
    repeats = False
    dead = dead_channels(run.layers)
    for each in shown:
        repeated = each.same_as is not None and each.same_as in here
        repeats |= repeated
        flags = flagged.get(each.layer.name, [])
        dim = "dim" if repeated else ""
        name = Text(units.one_line(each.layer.name), dim or "bold")
        if each.same_as is not None:
            name.append(" =", "dim")
        names.append(name)
        columns.add("type", Text(_shortened(units.one_line(each.layer.type_name), _MOST_TYPE), dim))
        columns.add("shape", Text(_shape(each), dim))
        columns.add("size", Text(_size(each), dim))
        _add_numbers(columns, as_numbers(each.channels), dim)
        columns.add("dead", Text(_dead(each, dead), dim))
        _add_sparks(columns, each.channels, repeated=repeated)
        columns.add("flags", _flags(flags))
        columns.add("few flags", _flags(flags, _MOST_FLAGS))
    layout = _print_fitted(out, "layer", names, columns, _RUN_LAYOUTS)
    _print_legend(out, layout, columns, images=run.images, repeats=repeats, cut=layout.cut)
    out.print()
    _print_findings(out, run, findings)
    _print_end(out, run, len(shown), written, notes)


def print_channels(
    run: Run,
    records: Sequence[LayerRecord],
    *,
    sort: str = "layer",
    reverse: bool = False,
    top: int | None = None,
    written: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """A row for each channel of these layers, sorted by one of CHANNEL_COLUMNS; the first `top` rows of all layers.

    Numbers go from the largest to the smallest, `layer` and `channel` upwards; `reverse` turns that round. Channels
    that have no such number come last either way, equal ones in the order of execution.
    """
    out = console()
    _print_head(out, run)
    out.print()
    places = [(record, channel) for record in records for channel in range(len(record.channels.mean))]
    order = _order(records, sort, reverse=reverse)
    chosen = [places[at] for at in order[:top]]
    names, columns = [], _Columns()
    stds = {id(record): record.channels.std for record in records}
    titles = {id(record): units.one_line(record.layer.name) for record in records}
    for record, channel in chosen:
        of = record.channels
        names.append(Text(titles[id(record)], "bold"))
        columns.add("channel", Text(str(channel)))
        moments = (of.mean[channel], stds[id(record)][channel], of.min[channel], of.max[channel])
        for heading, value in zip(("mean", "std", "min", "max"), moments, strict=True):
            columns.add(heading, Text(units.number(float(value))))
        columns.add("zeros", Text(units.percent(int(of.zeros[channel]) / of.count) if of.count else "–"))
        columns.add("NaN", _bad(int(of.nan[channel])))
        columns.add("Inf", _bad(int(of.inf[channel])))
        own = of.histogram is not None and len(of.histogram) == len(of.mean)
        for key, cells in (("spark", _LONG_SPARK), ("short spark", _SHORT_SPARK)):
            columns.add(key, spark(of, cells, channel) if own else Text())
    layout = _print_fitted(out, "layer", names, columns, _CHANNEL_LAYOUTS)
    _print_legend(out, layout, columns, images=run.images, cut=layout.cut)
    out.print()
    if len(chosen) < len(places):
        direction = "ascending" if reverse != (sort in ("layer", "channel")) else "descending"
        _print_wrapped(out, Text(f"{len(chosen)} of {units.count(len(places))} channels, by {sort}, {direction}."))
    _print_end(out, run, len(records), written, notes)


def print_classes(
    run: Run,
    shown: Sequence[LayerRecord],
    *,
    written: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> None:
    """For each layer `shown` a row a class in the classes' order, and one for all images together."""
    out = console()
    _print_head(out, run)
    by_class = [
        (each.name, {record.layer.name: record for record in each.layers}, dead_channels(each.layers))
        for each in run.classes
    ]
    dead_in_all = dead_channels(run.layers)
    layout = None
    columns = _Columns()
    for whole in shown:
        rows: list[tuple[str | None, LayerRecord, Mapping[str, np.ndarray]]] = [
            (name, records[whole.layer.name], dead) for name, records, dead in by_class if whole.layer.name in records
        ]
        out.print()
        head = Text(units.one_line(whole.layer.name), "bold")
        head.append(f"  {units.one_line(whole.layer.type_name)} {_shape(whole)}", "not bold dim")
        _print_wrapped(out, head)
        names, columns = [], _Columns()
        for name, each, dead in [*rows, (None, whole, dead_in_all)]:
            names.append(Text("all images", "bold") if name is None else Text(units.one_line(name)))
            columns.add("images", Text(units.count(each.images)))
            _add_numbers(columns, as_numbers(each.channels))
            columns.add("dead", Text(_dead(each, dead)))
            _add_sparks(columns, each.channels)
        layout = _print_fitted(out, "class", names, columns, _CLASS_LAYOUTS)
    if layout is not None:
        _print_legend(out, layout, columns, cut=layout.cut)
    out.print()
    _print_end(out, run, len(shown), written, notes)


# -- what stands above and below ---------------------------------------------------------------------------------


def _print_head(out: Console, run: Run) -> None:
    images = _several(run.images, "image")
    named = [units.one_line(each) for each in run.sources]
    if named:
        images += f" from {', '.join(named[:2])}" + (f" and {len(named) - 2} more" if len(named) > 2 else "")
    dtype = f", {run.origin.dtype}" if run.origin.dtype != "float32" else ""
    parts = [run.origin.model, f"weights: {run.origin.weights}{dtype}", images]
    if run.origin.input_in_words:
        parts.append(f"input: {run.origin.input_in_words}")
    _print_wrapped(out, Text(units.one_line(" · ".join(parts))))


def _print_legend(
    out: Console, layout: _Layout, columns: _Columns, *, images: int = 0, repeats: bool = False, cut: bool = False
) -> None:
    """What the signs in the table above mean: only of those that are in it."""
    words = []
    sparks = [cell.plain for key in layout.keys if key in ("spark", "short spark") for cell in columns.cells[key]]
    if any(sparks):
        words.append(
            "distribution: from min to max, │ at zero, the height goes by the square root of how many values are there;"
            " exact zeros are left out."
        )
        if any(_BEYOND in each for each in sparks):
            words[-1] += f" {_BEYOND}: values beyond ±{units.count(int(BIN_EDGES[-2]))}, which are not told apart."
    if "dead" in layout.keys and columns.filled("dead"):
        over = f" in {_several(images, 'image')}" if images else ""
        words.append(f"dead: channels of an activation of which every value is 0{over}.")
    if repeats:
        words.append("=: a block; its output is that of its last layer.")
    if cut:
        words.append("…: the start of a name is left out.")
    for each in words:
        _print_wrapped(out, Text(each, "dim"))


def _print_end(out: Console, run: Run, shown: int, written: Sequence[str], notes: Sequence[str]) -> None:
    """Files, notes, the totals and the images that could not be read."""
    for file in written:
        out.print(Text.assemble("→ ", (units.one_line(file), "bold")), soft_wrap=True)
    for note in notes:
        _print_wrapped(out, Text(units.one_line(note), "dim"))
    of = f"{shown} of " if shown != len(run.layers) else ""
    channels = sum(len(each.channels.mean) for each in run.layers if each.same_as is None)
    parts = [
        f"{of}{_several(len(run.layers), 'layer')}",
        _several(channels, "channel"),
        _several(run.images, "image"),
    ]
    if run.failures:
        parts.append(f"{units.count(len(run.failures))} could not be read")
    if run.progress is not None and run.progress.done < run.progress.total:
        parts.append(f"stopped after {units.count(run.progress.done)} of {units.count(run.progress.total)}")
    _print_wrapped(out, Text(" · ".join(parts)))
    for name, reason in run.failures[:_MOST_NAMED]:
        _print_wrapped(out, Text(f"not read: {units.one_line(name)}: {units.one_line(reason)}", "yellow"))
    if len(run.failures) > _MOST_NAMED:
        _print_wrapped(out, Text(f"and {len(run.failures) - _MOST_NAMED} more, named in --json", "yellow"))


def _print_wrapped(out: Console, text: Text, indent: int = 0, hanging: int = 0) -> None:
    """Text in lines of the terminal's width, all but the first further in by `hanging`."""
    first, rest = " " * indent, " " * (indent + hanging)
    lines = list(text.wrap(out, max(out.width - len(rest), 1), overflow="fold"))
    for at, line in enumerate(lines):
        line.rstrip()
        out.print(Text(rest if at else first) + line, soft_wrap=True)


# -- findings ----------------------------------------------------------------------------------------------------


def _print_findings(out: Console, run: Run, findings: Sequence[Finding]) -> None:
    """Grouped by check; groups and the layers in them by depth, the first layer it was seen in first."""
    if not findings:
        out.print(Text("No findings."))
        out.print()
        return
    depth = {each.layer.name: at for at, each in enumerate(run.layers)}
    groups: dict[str, list[Finding]] = {}
    for finding in sorted(findings, key=lambda each: depth.get(each.layer, len(depth))):
        groups.setdefault(finding.check, []).append(finding)
    for check, group in groups.items():
        worst = max((each.severity for each in group), key=_SEVERITIES.index)
        layers = len({each.layer for each in group if each.layer})
        head = Text.assemble((worst, f"bold {_STYLES[worst]}"), "  ", (units.one_line(check), "bold"))
        if layers > 1:
            head.append(f"  in {layers} layers", "dim")
        _print_wrapped(out, head)
        samples = list(dict.fromkeys(each.sample for each in group if each.sample))
        for each in group[:_MOST_A_GROUP]:
            _print_wrapped(out, _in_words(each, with_sample=len(samples) > 1), 2, 2)
        if len(group) > _MOST_A_GROUP:
            _print_wrapped(out, Text(f"and {len(group) - _MOST_A_GROUP} more; --json lists all", "dim"), 2)
        if len(samples) == 1:
            _print_wrapped(out, Text(f"Seen {units.one_line(samples[0])}.", "dim"), 2, 2)
        for advice in dict.fromkeys(each.advice for each in group if each.advice):
            _print_wrapped(out, Text(f"→ {units.one_line(advice)}"), 2, 2)
        out.print()


def _in_words(finding: Finding, *, with_sample: bool) -> Text:
    words = Text()
    if finding.layer:
        words.append(units.one_line(finding.layer), _STYLES[finding.severity])
        words.append(": ")
    words.append(units.one_line(finding.what))
    if finding.channels:
        words.append(f" Channel{'s' * (len(finding.channels) > 1)} {channel_list(finding.channels)}.", "dim")
    if with_sample and finding.sample:
        words.append(f" Seen {units.one_line(finding.sample)}.", "dim")
    return words


def channel_list(channels: Sequence[int], most: int = _MOST_CHANNELS) -> str:
    """Channel indices in few words: runs of neighbours as a range, the first `most` pieces of them.

    >>> channel_list((0, 1, 2, 7, 9, 10)), channel_list(range(0, 100, 2), most=3)
    ('0-2, 7, 9-10', '0, 2, 4 and 47 more')
    """
    pieces: list[list[int]] = []
    for channel in sorted(channels):
        if pieces and channel == pieces[-1][-1] + 1:
            pieces[-1].append(channel)
        else:
            pieces.append([channel])
    text = ", ".join(f"{each[0]}-{each[-1]}" if len(each) > 1 else str(each[0]) for each in pieces[:most])
    left = sum(len(each) for each in pieces[most:])
    return f"{text} and {left} more" if left else text


def flag(check: str) -> str:
    """The short word for a check.

    >>> flag("dead-channels"), flag("float16-overflow"), flag("something-else")
    ('dead', 'fp16', 'something')
    """
    return next((word for part, word in _FLAGS.items() if part in check.lower()), check.split("-")[0])


def _flags(findings: Sequence[Finding], room: int | None = None) -> Text:
    """The short words of a layer's findings, each once, the gravest first; what there is no room for as a count."""
    ranked = sorted(findings, key=lambda each: -_SEVERITIES.index(each.severity))
    words = {units.one_line(flag(each.check)): _STYLES[each.severity] for each in reversed(ranked)}
    text = Text()
    for at, (word, style) in enumerate(reversed(words.items())):
        if room is not None and at and cell_len(text.plain) + cell_len(word) + 4 > room:
            text.append(f" +{len(words) - at}", "dim")
            break
        text.append(" " if at else "")
        text.append(word, style)
    return text


# -- cells -------------------------------------------------------------------------------------------------------


def _add_numbers(columns: _Columns, stats: LayerStats, style: str = "") -> None:
    for heading in ("mean", "std", "min", "max"):
        columns.add(heading, Text(units.number(getattr(stats, heading)), style))
    columns.add("zeros", Text(units.percent(stats.zero_fraction), style))
    columns.add("NaN", _bad(stats.nan))
    columns.add("Inf", _bad(stats.inf))


def _add_sparks(columns: _Columns, channels: ChannelStats, *, repeated: bool = False) -> None:
    for key, cells in (("spark", _LONG_SPARK), ("short spark", _SHORT_SPARK)):
        columns.add(key, Text() if repeated else spark(channels, cells))


def _bad(count: int) -> Text:
    return Text(units.scaled(count), "bold red") if count else Text()


def _shape(record: LayerRecord) -> str:
    return ("~" if record.varies else "") + units.shape(record.shape)


def _size(record: LayerRecord) -> str:
    """The shape in few characters, without the batch of one: `32×112×112`."""
    sizes = record.shape[1:] if record.axes.names[:1] == ("B",) and len(record.shape) > 1 else record.shape
    return ("~" if record.varies else "") + "×".join(map(str, sizes))


def _dead(record: LayerRecord, dead: Mapping[str, np.ndarray]) -> str:
    found = dead.get(record.layer.name)
    return "–" if found is None else f"{int(found.sum())}/{len(found)}"


def spark(channels: ChannelStats, cells: int, channel: int | None = None) -> Text:
    """The distribution of all channels, or of one, from its minimum to its maximum, `cells` characters wide.

    A `│` stands at zero where zero is in between. Exact zeros are left out: half of what a ReLU puts out would leave
    nothing of the other half to be seen. Empty without a histogram or without a finite value.

    >>> import torch
    >>> from fmap_cli.statistics.reference import channel_stats
    >>> spark(channel_stats(torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 2.0]]), "layer"), 8).plain
    '│ █ ▆  ▆'
    """
    if channels.histogram is None or not len(channels.mean):
        return Text()
    which = slice(None) if channel is None else slice(channel, channel + 1)
    known = channels.finite[which] > 0
    if not known.any():
        return Text()
    low = float(channels.min[which][known].min())
    high = float(channels.max[which][known].max())
    counts = channels.histogram.sum(0) if channel is None else channels.histogram[channel].copy()
    counts[BINS // 2] -= channels.zeros[which].sum()
    if low == high:
        return Text("│" if low == 0 else "█")
    below = round((cells - 1) * -low / (high - low)) if low < 0 < high else 0
    below = min(max(below, 1), cells - 2) if low < 0 < high else 0
    if low < 0 < high:
        edges = np.concatenate([np.linspace(low, 0, below + 1), np.linspace(0, high, cells - below)[1:]])
    else:
        edges = np.linspace(low, high, cells + 1 - (low <= 0 <= high))
    dense = spread(np.maximum(counts, 0), edges) / np.diff(edges)
    beyond = np.minimum(np.abs(edges[:-1]), np.abs(edges[1:])) >= BIN_EDGES[-2]
    heights = np.sqrt(dense / (dense.max() or 1.0))
    bars = [_BEYOND if far and share > _LEAST else _bar(share) for far, share in zip(beyond, heights, strict=True)]
    text = Text("".join(bars))
    if low < 0 < high:
        return Text.assemble((text.plain[:below], "cyan"), ("│", "dim"), text.plain[below:])
    if low == 0:
        return Text.assemble(("│", "dim"), text)
    return Text.assemble((text.plain, "cyan"), ("│" if high == 0 else "", "dim")) if high <= 0 else text


def _bar(share: float) -> str:
    return " ▁▂▃▄▅▆▇█"[min(int(np.ceil(share * 8)), 8) if share > _LEAST else 0]


_LEAST = 1e-6  # a height below which there is no bar
_BEYOND = "░"


def _order(records: Sequence[LayerRecord], sort: str, *, reverse: bool) -> np.ndarray:
    """Channels of all the layers, counted through, in the order to be shown."""
    if sort not in CHANNEL_COLUMNS:
        raise ValueError(f"channels are sorted by one of {', '.join(CHANNEL_COLUMNS)}, not by {sort!r}")
    if sort == "layer":
        keys = [np.full(len(each.channels.mean), at, np.float64) for at, each in enumerate(records)]
    elif sort == "channel":
        keys = [np.arange(len(each.channels.mean), dtype=np.float64) for each in records]
    elif sort == "zeros":
        keys = [each.channels.zeros / max(each.channels.count, 1) for each in records]
    else:
        keys = [np.asarray(getattr(each.channels, sort), np.float64) for each in records]
    values = np.concatenate([*keys, np.empty(0)])
    upwards = reverse != (sort in ("layer", "channel"))
    return np.argsort(np.where(np.isnan(values), np.inf, values if upwards else -values), kind="stable")


def _several(number: int, what: str) -> str:
    return f"{units.count(number)} {what}{'s' * (number != 1)}"


# -- a table that fits -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Columns:
    """Cells by the column's key, in the rows' order."""

    cells: dict[str, list[Text]] = field(default_factory=dict)

    def add(self, key: str, cell: Text) -> None:
        self.cells.setdefault(key, []).append(cell)

    def filled(self, key: str) -> bool:
        """Whether anything stands in this column."""
        return any(cell.plain not in ("", "–") for cell in self.cells.get(key, []))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Columns beside the name's, `gap` apart, where that leaves at least `least` characters for names."""

    keys: tuple[str, ...]
    gap: int
    least: int
    cut: bool = False  # whether names had to be


_HEADINGS = {"size": "shape", "spark": "distribution", "short spark": "distrib.", "few flags": "flags"}
_LEFT = {"type", "spark", "short spark", "flags", "few flags"}
_OPTIONAL = {"NaN", "Inf", "dead", "spark", "short spark", "flags", "few flags"}  # left out where there is nothing
_MOMENTS = ("mean", "std", "min", "max")


def _layouts(words: str, gap: int, least: int) -> _Layout:
    return _Layout(tuple(word.replace("_", " ") for word in words.split()), gap, least)


_RUN_LAYOUTS = (
    _layouts("type shape mean std min max zeros NaN Inf dead spark flags", 2, 24),
    _layouts("shape mean std min max zeros NaN Inf dead spark flags", 2, 24),
    _layouts("size mean std min max zeros NaN Inf dead short_spark flags", 2, 20),
    _layouts("mean std min max zeros NaN Inf dead short_spark few_flags", 2, 18),
    _layouts("mean std min max zeros NaN Inf dead short_spark few_flags", 1, 14),
    _layouts("mean std min max zeros NaN Inf dead few_flags", 1, 14),
    _layouts("mean std min max zeros few_flags", 1, 10),
    _layouts("mean std min max", 1, 6),
    _layouts("mean std", 1, 4),
)
_CHANNEL_LAYOUTS = (
    _layouts("channel mean std min max zeros NaN Inf spark", 2, 20),
    _layouts("channel mean std min max zeros NaN Inf short_spark", 2, 16),
    _layouts("channel mean std min max zeros NaN Inf short_spark", 1, 14),
    _layouts("channel mean std min max zeros NaN Inf", 1, 10),
    _layouts("channel mean std min max", 1, 6),
    _layouts("channel mean std", 1, 4),
)
_CLASS_LAYOUTS = (
    _layouts("images mean std min max zeros NaN Inf dead spark", 2, 20),
    _layouts("images mean std min max zeros NaN Inf dead short_spark", 2, 14),
    _layouts("images mean std min max zeros NaN Inf dead short_spark", 1, 12),
    _layouts("images mean std min max zeros NaN Inf dead", 1, 10),
    _layouts("images mean std min max", 1, 6),
    _layouts("mean std", 1, 4),
)


def _print_fitted(
    out: Console, heading: str, names: Sequence[Text], columns: _Columns, layouts: Sequence[_Layout]
) -> _Layout:
    """Print the first layout that has room for all its columns whole, and for names; returns what was printed."""
    widest = max((cell_len(name.plain) for name in [*names, Text(heading)]), default=0)
    keys: tuple[str, ...] = ()
    room = 0
    for layout in layouts:
        keys = tuple(key for key in layout.keys if key not in _OPTIONAL or columns.filled(key))
        room = out.width - sum(_width(key, columns) + layout.gap for key in keys)
        if room >= min(widest, layout.least):
            break
    room = min(widest, max(room, 1))
    shown: list[tuple[str, int, bool, Sequence[Text]]] = [
        (heading, room, True, [_cut(name, room) for name in names]),
        *((_HEADINGS.get(key, key), _width(key, columns), key in _LEFT, columns.cells.get(key, [])) for key in keys),
    ]
    columned = [(width, left) for _, width, left, _ in shown]
    head = _line([Text(_shortened(title, width)) for title, width, *_ in shown], columned, layout.gap)
    head.stylize("bold")
    rule = Text("─" * (sum(width for width, _ in columned) + layout.gap * (len(columned) - 1)))
    rows = zip(*(cells for *_, cells in shown), strict=True)
    lines = [head, rule, *(_line(row, columned, layout.gap) for row in rows)]
    out.print(Text("\n").join(lines), soft_wrap=True)
    return _Layout(keys, layout.gap, layout.least, cut=room < widest)


def _width(key: str, columns: _Columns) -> int:
    return max(
        cell_len(text) for text in [_HEADINGS.get(key, key), *(cell.plain for cell in columns.cells.get(key, []))]
    )


def _line(cells: Sequence[Text], columned: Sequence[tuple[int, bool]], gap: int) -> Text:
    """Cells under one another: each in its column's width, to the left or to the right of it."""
    line, before = Text(), 0
    for cell, (width, left) in zip(cells, columned, strict=True):
        space = width - cell_len(cell.plain)
        line.append(" " * (before if left else before + space))
        line.append_text(cell)
        before = gap + (space if left else 0)
    line.rstrip()
    return line


def _cut(name: Text, width: int) -> Text:
    """A name in `width` characters: its start is left out, as layers differ in the end."""
    if cell_len(name.plain) <= width:
        return name
    start = next((at for at in range(1, len(name)) if cell_len(name.plain[at:]) < width), len(name))
    rest = name[start:]
    return Text.assemble(("…", "dim"), rest)


def _shortened(text: str, width: int) -> str:
    return text if cell_len(text) <= width else set_cell_size(text, width - 1).rstrip() + "…"
