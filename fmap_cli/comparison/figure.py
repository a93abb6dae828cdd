"""The figure of `fmap compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil, floor, inf, isfinite, log10
from pathlib import Path

import numpy as np

from .. import units
from ..drawing.grid import CONSTANT_RGB, DIVERGING, INF_RGB, NAN_RGB, SEQUENTIAL, fit_codes, lookup, palette
from ..drawing.scene import FAINT, GRAY, INK, Box, Colour, Picture, Scene, Text, shorten, text_width, wrap
from .records import ComparedRecord, Comparison, DrawnPair
from .words import (
    Compared,
    farthest,
    has_more,
    identical,
    inputs_in_words,
    is_run,
    remarks,
    sides,
    verdict,
)

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
_UNDER: Colour = (59, 82, 139)
_OVER: Colour = (196, 60, 40)
_STEM: Colour = (214, 218, 230)
_STEM_OVER: Colour = (242, 214, 208)
_A_INK: Colour = (150, 150, 158)
_MOST_CHANNELS = 16
_TITLE_SIZE, _TEXT_SIZE, _SMALL_SIZE = 28, 16, 13


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
    elif identical(comparison):
        title = "A and B are identical" + (" where both can be compared" if has_more(comparison) else "")
    else:
        title = f"A and B stay together within {comparison.threshold:g}"
    scene.add(Text(_MARGIN, _MARGIN - 6, shorten(title, room, _TITLE_SIZE, bold=True), _TITLE_SIZE, bold=True))
    y = _MARGIN + 34
    for sentence in (verdict(comparison), *remarks(comparison)):
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


def _draw_curve(scene: Scene, comparison: Comparison, top: int, left: int) -> int:
    """Each layer's relative difference on a logarithmic scale, the threshold as a line. Returns where it ends."""
    layers = [each for each in comparison.layers if each.same_as is None]
    shares = [each.difference.relative_l2 for each in layers]
    what = "‖mean B - mean A‖ / ‖mean A‖ over the channels" if is_run(comparison) else "‖B - A‖ / ‖A‖"
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


def _draw_names(scene: Scene, layers: Sequence[Compared], x0: float, slot: float, y: float) -> None:
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
    scene: Scene, comparison: Comparison, layers: Sequence[Compared], x0: float, slot: float, width: float, top: int
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


def _most_telling(comparison: Comparison) -> ComparedRecord | None:
    """The first layer over the threshold, or the one that differs most; None where there is no difference.

    Where the input differs all that follows does: then it is the first convolution over, as of two images.
    """
    layers = [each for each in comparison.layers if each.layer.kind != "input"]
    if not layers:
        return None
    other_input = any(each.over for each in comparison.layers if each.layer.kind == "input")
    over = (each for each in layers if each.over and (not other_input or each.layer.kind == "conv"))
    chosen = next(over, None) or farthest(layers)
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
