"""`fmap compare` in the terminal, and as a figure: the difference through depth, and where it comes from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, floor, inf, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text as RichText

from .. import units
from ..grid import CONSTANT_RGB, INF_RGB, NAN_RGB, fit_codes, lookup, palette
from ..records import ComparedLayer, ComparedRecord, Comparison, Difference, DrawnPair, Side
from .scene import FAINT, GRAY, INK, Box, Colour, Picture, Scene, Text, shorten, text_width, wrap
from .table import Column, console, print_table
from ..grid import DIVERGING, SEQUENTIAL

if TYPE_CHECKING:
    from rich.console import Console

_Compared = ComparedLayer | ComparedRecord

_WIDE = 120
"""From this width on all columns are shown."""
_BAR_DECADES = 8
"""The bar of a row has a block for each factor of ten from 1e-8 to 1."""
_LISTED = 6
"""How many names a line lists."""


# -- in words ----------------------------------------------------------------------------------------------------


def sides(comparison: Comparison) -> tuple[str, str, str]:
    """What both sides have in common, what is A's alone and what is B's; empty where there is nothing to say.

    >>> a = Side("cat.png", "net", "V1", "float32", "cpu")
    >>> sides(Comparison(a, Side("cat.png", "net", "V2", "float32", "cpu"), 0.1, ()))
    ('net · image: cat.png · float32 · cpu', 'weights: V1', 'weights: V2')
    """
    both, only_a, only_b = [], [], []
    for a, b in zip(_facts(comparison.a, comparison), _facts(comparison.b, comparison), strict=True):
        if a == b:
            both.append(a)
        else:
            only_a.append(a)
            only_b.append(b)
    common, first, second = (" · ".join(map(units.one_line, filter(None, each))) for each in (both, only_a, only_b))
    return common, first, second


def _facts(side: Side, comparison: Comparison) -> list[str]:
    run = _is_run(comparison)
    return [
        side.model,
        f"weights: {side.weights}",
        f"run: {side.source}" if run else f"image: {side.source}",
        f"{units.count(side.images)} image{'s' * (side.images != 1)}" if side.images is not None else "",
        side.dtype,
        side.device,
        "" if side.memory_format in ("", "contiguous") and not _memory_differs(comparison) else side.memory_format,
        *_how_fed(side, comparison),
    ]


def _how_fed(side: Side, comparison: Comparison) -> list[str]:
    """How the picture became what this side's network saw, as far as that is other for the other one."""
    own, a, b = side.preprocessing, comparison.a.preprocessing, comparison.b.preprocessing
    if own is None or a is None or b is None:
        return []
    facts = ["", "", "", f"input: {a.in_words}" if a == b else ""]
    if side.size is not None and comparison.a.size != comparison.b.size:
        facts[0] = f"{side.size[0]} × {side.size[1]} px"
    elif a.resize != b.resize:
        if isinstance(own.resize, int):
            facts[0] = f"shorter side to {own.resize}"
        else:
            facts[0] = f"resized to {own.resize[0]} × {own.resize[1]}" if own.resize is not None else "in its own size"
    if a.mean != b.mean:
        facts[1] = f"mean {_numbers(own.mean)}"
    if a.std != b.std:
        facts[2] = f"std {_numbers(own.std)}"
    return facts


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _memory_differs(comparison: Comparison) -> bool:
    return comparison.a.memory_format != comparison.b.memory_format


def _is_run(comparison: Comparison) -> bool:
    return comparison.a.images is not None


def verdict(comparison: Comparison) -> str:
    """Where the two part, in a sentence."""
    layers = comparison.layers
    first = comparison.first
    count = f"{len(layers)} layer{'s' * (len(layers) != 1)}"
    if first is not None:
        over = sum(each.over for each in layers)
        name = units.one_line(first.layer.name)
        return f"first over {comparison.threshold:g}: {name} ({_how_far(first)}); {over} of {count} {_are(over)} over"
    if not layers:
        return "no layer has the same shape on both sides"
    farthest = _farthest(layers)
    name = units.one_line(farthest.layer.name)
    if comparison.unlike_shapes:
        unlike = len(comparison.unlike_shapes)
        odd = f"{unlike} layer{'s have' if unlike != 1 else ' has'} another shape on either side"
        if _identical(comparison):
            return f"{odd}; {_all(len(layers))} of a common shape differ{'s' * (len(layers) == 1)} by exactly zero"
        of = f"of {count} of a common shape none is over {comparison.threshold:g}"
        return f"{odd}; {of}, the farthest apart is {name} ({_how_far(farthest)})"
    if _identical(comparison):
        both = " that both have" if _has_more(comparison) else ""
        return f"identical: {_all(len(layers))}{both} differ{'s' * (len(layers) == 1)} by exactly zero"
    return f"no layer is over {comparison.threshold:g}; of {count} the farthest apart is {name} ({_how_far(farthest)})"


def _how_far(compared: _Compared) -> str:
    run = isinstance(compared, ComparedRecord)
    unlike = compared.difference.unlike
    if unlike:
        what = "channel" if run else "value"
        return f"{units.count(unlike)} {what}{'s' * (unlike != 1)} NaN or infinite on one side alone"
    what = "relative L2 of the channels' means" if run else "relative L2"
    return f"{what} {units.number(compared.difference.relative_l2)}"


def _identical(comparison: Comparison) -> bool:
    """Whether no number of any layer differs."""

    def same(each: _Compared) -> bool:
        if isinstance(each, ComparedLayer):
            return each.difference.max_abs == 0
        found = each.difference
        apart = (found.mean_shift, found.std_shift, found.min_shift, found.max_shift, found.moved or 0, found.unlike)
        return not any(apart)

    return bool(comparison.layers) and all(map(same, comparison.layers))


def _has_more(comparison: Comparison) -> bool:
    """Whether there are layers that one side alone has."""
    return bool(comparison.only_a or comparison.only_b)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _all(count: int) -> str:
    return "the one layer" if count == 1 else f"all {count} layers"


def _farthest(layers: Sequence[_Compared]) -> _Compared:
    return max(layers, key=lambda each: each.difference.relative_l2)


def inputs_in_words(comparison: Comparison) -> str:
    """How far apart what the two are fed is; empty where it is the same."""
    found, a, b = comparison.inputs, comparison.a, comparison.b
    if comparison.fed_alike:
        return ""
    if isinstance(found, Difference):
        return (
            f"A and B see different input: {units.number(found.relative_l2)} apart (relative L2), "
            f"{units.number(found.max_abs)} at most"
        )
    if found is not None:
        return (
            "A and B were fed differently: the means of the input's channels are "
            f"{units.number(found.relative_l2)} apart (relative L2)"
        )
    if a.size is not None and b.size is not None and a.size != b.size:
        return f"A and B see different input: {a.size[0]} × {a.size[1]} px and {b.size[0]} × {b.size[1]} px"
    return "A and B were fed differently"


def _remarks(comparison: Comparison) -> list[str]:
    lines = []
    for where, names in (("A", comparison.only_a), ("B", comparison.only_b)):
        if names:
            many = f"{len(names)} layer{'s' * (len(names) != 1)}"
            lines.append(f"only {where} has {many}: {_listed([units.one_line(name) for name in names])}")
    if comparison.unlike_shapes:
        shapes = [
            f"{units.one_line(name)} {units.shape(a)} and {units.shape(b)}" for name, a, b in comparison.unlike_shapes
        ]
        lines.append(f"other shapes, not compared: {_listed(shapes)}")
    return lines


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def cosine(value: float | None) -> str:
    """A cosine or a correlation: near 1 its distance from 1 is what counts, so digits go on until it shows.

    >>> [cosine(v) for v in (1.0, 0.99999999999, 0.999512, 0.5, -0.25, None)]
    ['1', '>0.999999', '0.999512', '0.5000', '-0.2500', '–']
    """
    if value is None:
        return "–"
    if abs(value) == 1:
        return f"{value:g}"
    if abs(value) > 0.999999:
        return ">0.999999" if value > 0 else "<-0.999999"
    return f"{value:.6f}" if abs(value) > 0.99 else f"{value:.4f}"


# -- in the terminal ---------------------------------------------------------------------------------------------


def print_comparison(comparison: Comparison, file: str | None = None) -> None:
    """A row a layer, in A's execution order, and below where the two part."""
    out = console()
    common, a, b = sides(comparison)
    for line in (common, f"A  {a}" if a else "", f"B  {b}" if b else ""):
        if line:
            out.print(RichText(line), soft_wrap=True)
    if not a and not b:
        out.print(RichText("A and B are the same"))
    if fed := inputs_in_words(comparison):
        out.print(RichText(fed, "bold"), soft_wrap=True)
    out.print()
    wide = out.width >= _WIDE
    if comparison.layers:
        if _is_run(comparison):
            _print_records(out, comparison, wide)
        else:
            _print_layers(out, comparison, wide)
        out.print()
    for line in _remarks(comparison):
        out.print(RichText(line), soft_wrap=True)
    out.print(RichText(verdict(comparison), "bold"), soft_wrap=True)
    if file is not None:
        out.print(RichText.assemble("→ ", (units.one_line(file), "bold")), soft_wrap=True)


def _print_layers(out: Console, comparison: Comparison, wide: bool) -> None:
    layers = [each for each in comparison.layers if isinstance(each, ComparedLayer)]
    finite = not any(each.difference.unlike for each in layers)
    narrow_name = Column("layer", least=16)
    columns = [
        Column("layer", least=24) if wide else narrow_name,
        *([Column("output shape", right=True)] if wide else []),
        Column("max |B - A|" if wide else "max \n|B - A|", right=True),
        Column("relative L2" if wide else "relative\n L2", right=True),
        *([Column("")] if wide else []),
        Column("cosine", right=True),
        Column("correlation" if wide else "corre-\nlation", right=True),
        *([Column("channel", right=True)] if wide else []),
        *([] if finite else [Column("NaN or Inf\nin one" if wide else "NaN,\n Inf", right=True)]),
        *([Column("")] if comparison.first is not None else []),
    ]
    rows: list[Sequence[RichText | str]] = []
    for each in layers:
        found = each.difference
        cells = [
            units.one_line(each.layer.name),
            *([units.shape(each.shape)] if wide else []),
            units.number(found.max_abs),
            units.number(found.relative_l2),
            *([_bar(found.relative_l2)] if wide else []),
            cosine(found.cosine),
            cosine(found.correlation),
            *([units.count(found.channel)] if wide else []),
            *([] if finite else [units.count(found.unlike)]),
        ]
        rows.append(_row(cells, each.over, comparison, repeats=each.same_as is not None))
    print_table(out, columns, rows)


def _print_records(out: Console, comparison: Comparison, wide: bool) -> None:
    layers = [each for each in comparison.layers if isinstance(each, ComparedRecord)]
    known = all(each.difference.unlike == 0 for each in layers)
    columns = [
        Column("layer", least=24 if wide else 16),
        Column("Δmean / σ", right=True),
        Column("Δstd / σ", right=True),
        *([Column("channel", right=True)] if wide else []),
        *([Column("Δmin", right=True), Column("Δmax", right=True)] if wide else []),
        Column("relative L2\nof means" if wide else "rel. L2", right=True),
        *([Column("")] if wide else []),
        Column("cosine", right=True),
        *([Column("correlation", right=True)] if wide else []),
        Column("moved", right=True),
        *([] if known else [Column("NaN or Inf\nin one" if wide else "NaN,\n Inf", right=True)]),
        *([Column("")] if comparison.first is not None else []),
    ]
    rows: list[Sequence[RichText | str]] = []
    for each in layers:
        found = each.difference
        extremes = [units.number(found.min_shift), units.number(found.max_shift)]
        cells = [
            units.one_line(each.layer.name),
            units.number(found.mean_shift),
            units.number(found.std_shift),
            *([units.count(found.channel), *extremes] if wide else []),
            units.number(found.relative_l2),
            *([_bar(found.relative_l2)] if wide else []),
            cosine(found.cosine),
            *([cosine(found.correlation)] if wide else []),
            units.percent(found.moved) if found.moved is not None else "–",
            *([] if known else [units.count(found.unlike)]),
        ]
        rows.append(_row(cells, each.over, comparison, repeats=each.same_as is not None))
    print_table(out, columns, rows)


def _row(cells: Sequence[str], over: bool, comparison: Comparison, *, repeats: bool = False) -> list[RichText]:
    style = "red" if over else ""
    if repeats:
        style = f"dim {style}".strip()
    mark = ["over" if over else ""] if comparison.first is not None else []
    return [RichText(cell, style) for cell in (*cells, *mark)]


def _bar(share: float) -> str:
    if share == 0:
        return ""
    blocks = _BAR_DECADES if share >= 1 else max(_BAR_DECADES + log10(share), 0)
    return "█" * round(blocks) or "▏"


# -- as a figure -------------------------------------------------------------------------------------------------

_MARGIN = 36
_SIDE = 312
_AREA = 1216  # width of what is right of it
_CURVE_HEIGHT = 300
_GAP = 10
_INDENT = 56  # of what stands behind A, B and both
_EDGE = 76  # right of the curve
_LABEL = 66  # left of the curve and of the tiles
_MOST_DECADES = 12
_FAR_BELOW = 100
_TITLE_SIZE, _TEXT_SIZE, _SMALL_SIZE = 28, 16, 13
_UNDER: Colour = (59, 82, 139)
_OVER: Colour = (196, 60, 40)
_STEM: Colour = (214, 218, 230)
_STEM_OVER: Colour = (242, 214, 208)
_A_INK: Colour = (150, 150, 158)
_MOST_CHANNELS = 16


def comparison_figure(comparison: Comparison) -> Scene:
    """The pictures on the left; right of them the relative difference through depth, and one layer side by side."""
    scene = Scene(width=_MARGIN * 3 + _SIDE + _AREA)
    top = _draw_title(scene, comparison)
    left = _MARGIN * 2 + _SIDE
    bottom = _draw_pictures(scene, comparison, top)
    y = _draw_curve(scene, comparison, top, left) + 34 if comparison.layers else top
    record = _most_telling(comparison)
    if comparison.pair is not None:
        y = _draw_pair(scene, comparison, comparison.pair, y, left)
    elif record is not None:
        y = _draw_channels(scene, record, y, left)
    scene.height = max(y, bottom) + _MARGIN
    return scene


def _draw_title(scene: Scene, comparison: Comparison) -> int:
    room = scene.width - 2 * _MARGIN
    first = comparison.first
    if first is not None and first.layer.kind == "input":
        title = "A and B differ from the input on"
    elif first is not None:
        title = f"A and B part at {units.one_line(first.layer.name)}"
    elif not comparison.layers:
        title = "No layer has the same shape in A and B"
    elif comparison.unlike_shapes:
        title = "Layers of A and B differ in shape"
    elif _identical(comparison):
        title = "A and B are identical" + (" where both can be compared" if _has_more(comparison) else "")
    else:
        title = f"A and B stay together within {comparison.threshold:g}"
    scene.add(Text(_MARGIN, _MARGIN - 6, shorten(title, room, _TITLE_SIZE, bold=True), _TITLE_SIZE, bold=True))
    y = _MARGIN + 34
    for sentence in (verdict(comparison), *_remarks(comparison)):
        line = sentence[0].upper() + sentence[1:]
        scene.add(Text(_MARGIN, y, shorten(line, room, _TEXT_SIZE + 1), _TEXT_SIZE + 1, GRAY))
        y += 25
    return y + 22


def _draw_pictures(scene: Scene, comparison: Comparison, top: int) -> int:
    """What the networks saw, once where it is the same, and what each side is. Returns where it ends."""
    y = top
    common, only_a, only_b = sides(_by_file_names(comparison))
    pictures = list(comparison.pictures or ())
    same = len(pictures) == 2 and np.array_equal(pictures[0], pictures[1])
    about = [("A", only_a), ("B", only_b)]
    for at, pixels in enumerate(pictures[:1] if same else pictures):
        height, width = pixels.shape[:2]
        factor = min(_SIDE / width, (_SIDE if same else 230) / height)
        shown = max(round(height * factor), 1), max(round(width * factor), 1)
        scene.add(Picture(_MARGIN, y, pixels, shown, smooth=True))
        y += shown[0] + 8
        if same:
            scene.add(Text(_MARGIN, y, f"what both saw, {height} × {width} px", _SMALL_SIZE, GRAY))
            y += 30
        else:
            y = _draw_words(scene, *about[at], y) + 12
    if not pictures or same:
        for letter, words in about:
            y = _draw_words(scene, letter, words or "the same", y)
    if common:
        y = _draw_words(scene, "both", common, y + 6)
    if fed := inputs_in_words(comparison):
        y = _draw_words(scene, "", fed, y + 6)
    return y


def _by_file_names(comparison: Comparison) -> Comparison:
    """With files called by their names alone, unless that makes two the same."""
    a, b = (replace(each, source=Path(each.source).name) for each in (comparison.a, comparison.b))
    told_apart = a.source != b.source or comparison.a.source == comparison.b.source
    return replace(comparison, a=a, b=b) if told_apart else comparison


def _draw_words(scene: Scene, letter: str, words: str, y: int) -> int:
    scene.add(Text(_MARGIN, y, letter, _TEXT_SIZE, bold=True))
    for part in words.split(" · "):
        for line in wrap(part, _SIDE - _INDENT, _TEXT_SIZE - 1):
            scene.add(Text(_MARGIN + _INDENT, y, line, _TEXT_SIZE - 1))
            y += 21
    return y + 5


# -- the curve through depth -------------------------------------------------------------------------------------


def _draw_curve(scene: Scene, comparison: Comparison, top: int, left: int) -> int:
    """Each layer's relative difference on a logarithmic scale, the threshold as a line. Returns where it ends."""
    layers = [each for each in comparison.layers if each.same_as is None]
    shares = [each.difference.relative_l2 for each in layers]
    what = "‖mean B - mean A‖ / ‖mean A‖ over the channels" if _is_run(comparison) else "‖B - A‖ / ‖A‖"
    scene.add(Text(left, top, "Relative L2 difference through depth", _TEXT_SIZE, bold=True))
    after = text_width("Relative L2 difference through depth", _TEXT_SIZE, bold=True) + 14
    repeats = len(comparison.layers) - len(layers)
    note = f"; {repeats} more put out the same tensors" if repeats else ""
    words = f"{what}, {len(layers)} layer{'s' * (len(layers) != 1)} in the order they run{note}"
    scene.add(Text(left + after, top + 1, shorten(words, _AREA - after, _TEXT_SIZE - 1), _TEXT_SIZE - 1, GRAY))
    top += 44
    low, high = _decades(shares, comparison.threshold)
    x0, width = left + _LABEL, _AREA - _LABEL - _EDGE
    base = top + _CURVE_HEIGHT

    def height_of(share: float) -> float:
        """Above the base line, in pixels."""
        return min(max((log10(share) - low) / (high - low), 0.0), 1.0) * _CURVE_HEIGHT

    step = max(1, ceil((high - low) / 8))
    for decade in range(low, high + 1, step):
        y = base - height_of(10.0**decade)
        scene.add(Box(x0, y, width, 1, FAINT))
        scene.add(Text(x0 - 10, y - 8, _power(decade), _SMALL_SIZE, GRAY, align="right"))
    shown = comparison.threshold >= 10.0**low  # else it lies far below everything
    line = base - height_of(comparison.threshold) if shown else base
    slot = width / max(len(layers), 1)
    mark = min(max(slot * 0.7, 3), 9)
    for at, (each, share) in enumerate(zip(layers, shares, strict=True)):
        if share == 0:
            scene.add(Box(x0 + (at + 0.5) * slot - mark / 2, base - 1, mark, 2, GRAY))
            continue
        height = _CURVE_HEIGHT if share == inf else height_of(share)
        middle = x0 + (at + 0.5) * slot
        stem = min(max(slot * 0.4, 1), 4)
        scene.add(Box(middle - stem / 2, base - height, stem, height, _STEM_OVER if each.over else _STEM))
        colour = NAN_RGB if share == inf else _OVER if each.over else _UNDER
        scene.add(Box(middle - mark / 2, base - height - mark / 2, mark, mark, colour))
    scene.add(Box(x0, base, width, 1, GRAY))
    if shown:
        scene.add(Box(x0, line, width, 1, _OVER))
        scene.add(Text(x0 + width + 8, line - 16, "threshold", _SMALL_SIZE, _OVER))
        scene.add(Text(x0 + width + 8, line, f"{comparison.threshold:g}", _SMALL_SIZE, _OVER))
    _draw_names(scene, layers, x0, slot, base + 8)
    _mark_first(scene, comparison, layers, x0, slot, width, top)
    y = base + 32
    special: list[tuple[Colour, str]] = []
    if inf in shares:
        special.append((NAN_RGB, "NaN or infinite on one side only, or A is zero throughout"))
    if any(0 < share < 10.0**low for share in shares):
        special.append((_UNDER, "on the base line: below the scale"))
    if 0 in shares:
        special.append((GRAY, "on the base line: exactly zero"))
    x: float = x0
    if not shown:
        words = f"the threshold, {comparison.threshold:g}, lies below the scale"
        scene.add(Text(x, y, words, _SMALL_SIZE, _OVER))
        x += text_width(words, _SMALL_SIZE) + 28
    for colour, words in special:
        scene.add(Box(x, y + 3, 9, 9, colour), Text(x + 16, y, words, _SMALL_SIZE, GRAY))
        x += text_width(words, _SMALL_SIZE) + 44
    return y + (20 if special or not shown else 0)


def _decades(shares: Sequence[float], threshold: float) -> tuple[int, int]:
    """The powers of ten at both ends of the scale."""
    known = sorted(share for share in shares if share > 0 and isfinite(share))
    usual = known[
        len(known) // 20 :
    ]  # a few far below, such as an input that is merely rounded, would squeeze the rest
    if known and usual[0] / known[0] > _FAR_BELOW:
        known = usual
    if not known or (threshold > 0 and threshold >= min(known) / 100):
        known = [*known, threshold or 1.0]
    high = ceil(log10(max(known)) + 1e-9)
    low = max(floor(log10(min(known))), high - _MOST_DECADES)
    return min(low, high - 2), high


def _power(decade: int) -> str:
    return f"{10.0**decade:g}" if -4 < decade < 4 else f"1e{decade}"


def _draw_names(scene: Scene, layers: Sequence[_Compared], x0: float, slot: float, y: float) -> None:
    """Some of the layers' names under the curve, as many as there is room for."""
    end = x0 + slot * len(layers)
    x = x0
    for at, each in enumerate(layers):
        middle = x0 + (at + 0.5) * slot
        name = shorten(units.one_line(each.layer.name), 150, _SMALL_SIZE - 1)
        needed = text_width(name, _SMALL_SIZE - 1)
        if middle >= x and middle + needed <= end:
            scene.add(Box(middle, y - 7, 1, 5, GRAY), Text(middle, y, name, _SMALL_SIZE - 1, GRAY))
            x = middle + needed + 22


def _mark_first(
    scene: Scene, comparison: Comparison, layers: Sequence[_Compared], x0: float, slot: float, width: float, top: int
) -> None:
    """A line down to the first layer over the threshold, with its name on top."""
    first = comparison.first
    if first is None:
        return
    at = next((at for at, each in enumerate(layers) if each is first), None)
    if at is None:
        return
    x = x0 + (at + 0.5) * slot
    name = shorten(units.one_line(first.layer.name), 360, _SMALL_SIZE, bold=True)
    scene.items.insert(0, Box(x, top - 6, 1, _CURVE_HEIGHT + 6, _OVER))
    rightwards = x + text_width(name, _SMALL_SIZE, bold=True) < x0 + width
    where = x - 3 if rightwards else x + 3
    align = "left" if rightwards else "right"
    scene.add(Text(where, top - 23, name, _SMALL_SIZE, _OVER, bold=True, align=align))  # type: ignore[arg-type]


# -- one layer's maps --------------------------------------------------------------------------------------------


def _draw_pair(scene: Scene, comparison: Comparison, pair: DrawnPair, top: int, left: int) -> int:
    """A's channels, B's under them and the difference, the strongest-differing channel first."""
    name = shorten(units.one_line(pair.layer.name), 460, _TEXT_SIZE, bold=True)
    scene.add(Text(left, top, name, _TEXT_SIZE, bold=True))
    after = text_width(name, _TEXT_SIZE, bold=True) + 14
    if len(pair.drawn) < pair.count:
        which = f"the {len(pair.drawn)} of {pair.count} channels that differ most, farthest first"
    else:
        which = f"all {pair.count} channels, farthest first" if pair.count > 1 else "its only channel"
    kind = units.one_line(pair.layer.type_name)
    share = next(each for each in comparison.layers if each.layer.name == pair.layer.name).difference.relative_l2
    words = f"{kind} {units.shape(pair.shape)}, relative L2 {units.number(share)}: {which}"
    words += f"; {pair.note}" if pair.note else ""
    scene.add(Text(left + after, top + 1, shorten(words, _AREA - after, _TEXT_SIZE - 1), _TEXT_SIZE - 1, GRAY))
    y = top + 34
    count = len(pair.drawn)
    height, width = pair.a.shape[1:]
    room = _AREA - _LABEL
    aspect = min(max(width / height, 1 / 4), 8)
    across = min((room - (count - 1) * _GAP) / count, 190.0 * max(aspect, 1))
    tile = (max(round(across / aspect), 1), max(round(across), 1))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = pair.b.astype(np.float64) - pair.a
    low, high = _shared_ends(pair)
    most = np.abs(difference[np.isfinite(difference)]).max(initial=0.0)
    ends = np.full(count, most)
    plain, diverging = lookup(palette(SEQUENTIAL)), lookup(palette(DIVERGING))
    rows = [
        ("A", plain[fit_codes(pair.a, low, high, tile)]),
        ("B", plain[fit_codes(pair.b, low, high, tile)]),
        ("B - A", diverging[fit_codes(difference, -ends, ends, tile)]),
    ]
    for at, channel in enumerate(pair.drawn):
        scene.add(Text(left + _LABEL + at * (tile[1] + _GAP), y, str(channel), _SMALL_SIZE, INK, bold=True))
    y += 20
    for letter, tiles in rows:
        scene.add(Text(left, y + tile[0] // 2 - 12, letter, 20, bold=True))
        for at in range(count):
            x = left + _LABEL + at * (tile[1] + _GAP)
            scene.add(Picture(x, y, np.ascontiguousarray(tiles[at]), tile))
        y += tile[0] + 6
        if letter == "A":
            continue
        for at in range(count):
            if letter == "B":
                words = units.value_range(float(low[at]), float(high[at]))
            else:
                own = np.abs(difference[at][np.isfinite(difference[at])]).max(initial=0.0)
                words = f"up to ±{units.number(float(own))}"
            size = _SMALL_SIZE if text_width(words, _SMALL_SIZE) <= tile[1] else 10
            scene.add(Text(left + _LABEL + at * (tile[1] + _GAP), y, words, size, GRAY))
        y += 24
    return _draw_legend(scene, pair, difference, most, y + 4, left + _LABEL)


def _shared_ends(pair: DrawnPair) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest finite value of each channel over both sides, `[N]`."""
    both = np.concatenate([each.reshape(len(each), -1) for each in (pair.a, pair.b)], axis=1).astype(np.float64)
    finite = np.isfinite(both)
    low, high = np.where(finite, both, np.inf).min(1), np.where(finite, both, -np.inf).max(1)
    none = ~finite.any(1)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _draw_legend(scene: Scene, pair: DrawnPair, difference: np.ndarray, most: float, y: int, left: int) -> int:
    """What the colours mean."""
    bar = 220
    for cmap, ends, words in (
        (
            SEQUENTIAL,
            ("channel's lowest", "channel's highest"),
            "A and B: one scale a channel for both, the values between them",
        ),
        (
            DIVERGING,
            (f"-{units.number(most)}", units.number(most)),
            "B - A: one scale for all, red where B is larger, blue where A is, white is zero",
        ),
    ):
        pixels = np.ascontiguousarray(palette(cmap)[np.linspace(0, 255, bar).astype(int)][None])
        scene.add(Picture(left, y, pixels, (12, bar)))
        scene.add(Text(left, y + 15, ends[0], _SMALL_SIZE - 1, GRAY))
        scene.add(Text(left + bar, y + 15, ends[1], _SMALL_SIZE - 1, GRAY, align="right"))
        scene.add(Text(left + bar + 18, y - 2, words, _SMALL_SIZE, GRAY))
        y += 40
    special: list[tuple[Colour, str]] = []
    values = np.concatenate([pair.a.ravel(), pair.b.ravel()])
    low, high = _shared_ends(pair)
    if (low == high).any() or not most:
        special.append((CONSTANT_RGB, "constant"))
    if np.isnan(values).any() or np.isnan(difference).any():
        special.append((NAN_RGB, "NaN"))
    if np.isinf(values).any() or np.isinf(difference).any():
        special.append((INF_RGB, "infinite"))
    x: float = left
    for colour, words in special:
        scene.add(Box(x, y, 14, 14, colour), Text(x + 22, y, words, _SMALL_SIZE, GRAY))
        x += text_width(words, _SMALL_SIZE) + 50
    return y + (22 if special else 0)


# -- one layer's channels, of saved runs -------------------------------------------------------------------------


def _most_telling(comparison: Comparison) -> ComparedRecord | None:
    """The first layer over the threshold, or the one that differs most; None where there is no difference.

    Where the input differs all that follows does: then it is the first convolution over, as of two images.
    """
    layers = [each for each in comparison.layers if each.layer.kind != "input"]
    if not layers:
        return None
    other_input = any(each.over for each in comparison.layers if each.layer.kind == "input")
    over = (each for each in layers if each.over and (not other_input or each.layer.kind == "conv"))
    chosen = next(over, None) or _farthest(layers)
    return chosen if isinstance(chosen, ComparedRecord) and chosen.difference.channel is not None else None


def _draw_channels(scene: Scene, record: ComparedRecord, top: int, left: int) -> int:
    """Mean and standard deviation of the channels that moved most, A's and B's one above the other."""
    a, b = (each.channels for each in record.records)
    means = np.stack([a.mean, b.mean])
    spreads = np.nan_to_num(np.stack([a.std, b.std]))
    degrees = np.maximum(a.finite + b.finite - 2, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shifts = np.abs(means[1] - means[0]) / np.sqrt((a.m2 + b.m2) / degrees)
    shifts = np.where(np.isnan(shifts), 0.0, shifts)
    drawn = [int(at) for at in np.argsort(-shifts, kind="stable")[:_MOST_CHANNELS] if np.isfinite(means[:, at]).all()]
    name = shorten(units.one_line(record.layer.name), 460, _TEXT_SIZE, bold=True)
    scene.add(Text(left, top, name, _TEXT_SIZE, bold=True))
    after = text_width(name, _TEXT_SIZE, bold=True) + 14
    words = f"the {len(drawn)} of {len(a.mean)} channels whose mean moved most: mean (line) ± standard deviation"
    scene.add(Text(left + after, top + 1, shorten(words, _AREA - after, _TEXT_SIZE - 1), _TEXT_SIZE - 1, GRAY))
    low = float((means - spreads)[:, drawn].min())
    high = float((means + spreads)[:, drawn].max())
    span = (high - low) or 1.0
    x0, width = left + _LABEL, _AREA - _LABEL - 110
    y = top + 36
    for letter, colour in (("A", _A_INK), ("B", _UNDER)):
        at = x0 + (0 if letter == "A" else 60)
        scene.add(Box(at, y + 3, 12, 12, colour), Text(at + 18, y, letter, _TEXT_SIZE - 1))
    scene.add(Text(x0 + width + 100, y, "Δmean / σ", _SMALL_SIZE, GRAY, align="right"))
    y += 28
    begin = y
    for channel in drawn:
        scene.add(Text(x0 - 12, y + 2, str(channel), _SMALL_SIZE, bold=True, align="right"))
        for at, colour in enumerate((_A_INK, _UNDER)):
            mean, spread = float(means[at, channel]), float(spreads[at, channel])
            x = x0 + (mean - spread - low) / span * width
            scene.add(Box(x, y + at * 10, max(2 * spread / span * width, 1), 9, colour))
            scene.add(Box(x0 + (mean - low) / span * width - 1, y + at * 10 - 1, 2, 11, INK))
        shift = units.number(float(shifts[channel]), 2)
        scene.add(Text(x0 + width + 100, y + 2, shift, _SMALL_SIZE, align="right"))
        y += 27
    if low < 0 < high:
        scene.items.insert(0, Box(x0 - low / span * width, begin - 4, 1, y - begin, FAINT))
    scene.add(Text(x0, y + 2, units.number(low), _SMALL_SIZE, GRAY))
    scene.add(Text(x0 + width, y + 2, units.number(high), _SMALL_SIZE, GRAY, align="right"))
    return y + 22
