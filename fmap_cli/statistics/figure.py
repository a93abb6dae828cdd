"""All layers of a run in one picture, from the input on the left to the answer on the right: how large values are.

The value axis is logarithmic to either side of zero and linear next to it, so that a network whose activations shrink
or grow by orders of magnitude shows as a funnel or a trumpet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.along import ELSE, KINDS, ORANGE, RED, draw_bands, draw_names, mixed
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Colour, Scene, Text, shorten, text_width
from .moments import as_numbers, dead_channels, quantiles

if TYPE_CHECKING:
    from .records import Finding, LayerRecord, LayerStats, Run

_MARGIN = 36
_LEFT = 150  # up to the value axis
_PLOT = (520, 1400)  # height and width; many layers need more of the width
_SLOT = (5, 64)  # pixels that a layer takes
_LEAST_PAGE = 1000
_TITLE_SIZE, _TEXT_SIZE, _SMALL_SIZE, _TINY_SIZE = 30, 16, 13, 12
_ROW = 16  # of a check
_MOST_CHECKS = 6
_LINEAR = 0.5  # how many decades' height the linear part has on either side of zero
_MOST_DECADES = 40  # to either side
_BELOW_MEDIAN = 9  # decades under the median layer's size; what is smaller yet is drawn at zero
_FRACTIONS = (0.01, 0.25, 0.5, 0.75, 0.99)

_SEVERITY: dict[str, Colour] = {"note": (86, 180, 233), "warning": ORANGE, "error": RED}
_SEVERITIES = ("note", "warning", "error")
_BAD_BAND: Colour = (253, 226, 214)
_LIMIT: Colour = (222, 150, 130)
_FLOAT16 = (
    (65504.0, "float16 ends"),
    (2.0**-14, "float16 loses digits"),
    (-(2.0**-14), ""),
    (-65504.0, "float16 ends"),
)


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer as drawn: its numbers, and the values at _FRACTIONS, NaN where there is no histogram."""

    record: LayerRecord
    stats: LayerStats
    box: np.ndarray
    dead: np.ndarray | None = None

    @property
    def name(self) -> str:
        return units.one_line(self.record.layer.name)

    @property
    def kind(self) -> tuple[str, Colour]:
        return KINDS.get(self.record.layer.kind, ELSE)


@dataclass(frozen=True, slots=True)
class SymmetricLog:
    """A value axis: linear from `-threshold` to `threshold`, logarithmic beyond, in heights of one decade.

    >>> axis = SymmetricLog(0.01)
    >>> [round(axis(value), 3) for value in (0.0, 0.01, 0.1, 1.0, -1.0)]
    [0.0, 0.5, 1.5, 2.5, -2.5]
    """

    threshold: float

    def __call__(self, value: float) -> float:
        size = abs(value) / self.threshold
        height = size * _LINEAR if size <= 1 else _LINEAR + log10(size)
        return -height if value < 0 else height


def lay_out_depth(run: Run, findings: Sequence[Finding], records: Sequence[LayerRecord]) -> Scene:
    """The figure of these layers; one that only repeats another of them is left out.

    A box holds the middle half of a layer's values and its paler ends 98 % of them, a line goes from the least to the
    greatest, a tick is the median. Below are the share of exact zeros, of dead channels, and a row for each check that
    found something.
    """
    here = {each.layer.name for each in records}
    dead = dead_channels(run.layers)
    layers = [
        _Layer(each, as_numbers(each.channels), quantiles(each.channels, _FRACTIONS), dead.get(each.layer.name))
        for each in records
        if each.same_as is None or each.same_as not in here
    ]
    scene = Scene()
    slot = min(max(_PLOT[1] // max(len(layers), 1), _SLOT[0]), _SLOT[1])
    width = slot * len(layers)
    axis, (low, high) = _axis(layers)
    limits = [(value, words) for value, words in _FLOAT16 if low < axis(value) < high and axis.threshold < abs(value)]
    right = _LEFT + width + (150 if limits else _MARGIN)
    scene.width = max(right, _LEAST_PAGE)
    top = _draw_head(scene, run, layers, axis)
    if not layers:
        scene.add(Text(_MARGIN, top, "No layer has values to draw.", _TEXT_SIZE, GRAY))
        scene.height = top + 40 + _MARGIN
        return scene

    def y_of(value: float) -> int:
        return round(top + _PLOT[0] * (high - axis(value)) / (high - low))

    bottom = top + _PLOT[0]
    strips, end = _strips(layers, findings, bottom + 14)
    draw_bands(scene, [each.name for each in layers], slot, _LEFT, top, end)
    counts = _draw_not_finite(scene, layers, slot, top)
    _draw_axis(scene, axis, (low, high), y_of, width)
    for value, words in limits:
        scene.add(Box(_LEFT, y_of(value), width, 1, _LIMIT))
        scene.add(Text(_LEFT + width + 8, y_of(value) - 8, words, _TINY_SIZE, _LIMIT))
    for at, layer in enumerate(layers):
        _draw_layer(scene, layer, _LEFT + at * slot, slot, y_of)
    scene.add(*counts)
    for strip in strips:
        _draw_strip(scene, strip, slot, width)
    end = draw_names(scene, [each.name for each in layers], slot, _LEFT, end + 6)
    scene.height = _draw_findings(scene, findings, layers, end + 18) + _MARGIN
    return scene


def _axis(layers: Sequence[_Layer]) -> tuple[SymmetricLog, tuple[float, float]]:
    """The axis, and how far down and up it goes: logarithmic down to the faintest layer's root mean square."""
    rms = [float(np.hypot(each.stats.mean or 0.0, each.stats.std or 0.0)) for each in layers]
    sizes = [size for size in rms if size > 0 and isfinite(size)]
    ends = [end for each in layers for end in (each.stats.min, each.stats.max) if end is not None]
    greatest = log10(max((abs(end) for end in ends), default=0.0) or 1.0)
    faintest = log10(min(sizes)) if sizes else greatest
    usual = log10(float(np.median(sizes))) if sizes else greatest
    exponent = min(max(faintest, usual - _BELOW_MEDIAN, greatest - _MOST_DECADES), greatest - 1)
    axis = SymmetricLog(10.0 ** max(floor(exponent), -300))
    low, high = axis(min(ends, default=0.0)), axis(max(ends, default=0.0))
    return axis, (min(low, 0.0) - 0.2, max(high, 0.0) + 0.2)


# -- what stands around the plot ---------------------------------------------------------------------------------


def _draw_head(scene: Scene, run: Run, layers: Sequence[_Layer], axis: SymmetricLog) -> int:
    """Title, where the numbers come from, what the colours and boxes mean. Returns where the plot begins."""
    room = scene.width - 2 * _MARGIN
    title = shorten(units.one_line(f"{run.origin.model}: activations through depth"), room, _TITLE_SIZE, bold=True)
    images = f"{units.count(run.images)} image{'s' * (run.images != 1)}"
    dtype = f", {run.origin.dtype}" if run.origin.dtype != "float32" else ""
    line = f"weights: {run.origin.weights}{dtype} · {images}"
    if run.sources:
        line += f" from {', '.join(Path(each).name or each for each in run.sources[:2])}"
        line += f" and {len(run.sources) - 2} more" if run.sources[2:] else ""
    line += f" · {len(layers)} layer{'s' * (len(layers) != 1)} in execution order"
    scene.add(Text(_MARGIN, _MARGIN - 6, title, _TITLE_SIZE, bold=True))
    scene.add(Text(_MARGIN, _MARGIN + 36, shorten(units.one_line(line), room, 18), 18, GRAY))
    if not layers:
        return _MARGIN + 84
    x, y = float(_MARGIN), _MARGIN + 72
    kinds = {each.kind for each in layers}
    for words, colour in [each for each in dict.fromkeys([*KINDS.values(), ELSE]) if each in kinds]:
        scene.add(Box(x, y + 2, 14, 14, colour), Text(x + 20, y, words, _SMALL_SIZE, GRAY))
        x += 20 + text_width(words, _SMALL_SIZE) + 18
    words = "box: middle half of the values · paler: 98 % · line: min to max · tick: median · "
    words += f"logarithmic axis, linear within ±{_power(axis.threshold)}"
    if x + text_width(words, _SMALL_SIZE) > scene.width - _MARGIN:
        x, y = _MARGIN, y + 22
    scene.add(Text(x, y, words, _SMALL_SIZE, GRAY))
    return y + 54


def _draw_axis(
    scene: Scene, axis: SymmetricLog, ends: tuple[float, float], y_of: Callable[[float], int], width: int
) -> None:
    """Lines at zero and at powers of ten, as many as their labels have room for."""
    scene.add(Box(_LEFT, y_of(0.0), width, 1, (150, 150, 158)))
    scene.add(Text(_LEFT - 10, y_of(0.0) - 9, "0", _SMALL_SIZE, INK, align="right"))
    first = round(log10(axis.threshold))
    step = ceil(24 / (_PLOT[0] / (ends[1] - ends[0])))
    for exponent in range(first, first + ceil(max(ends[1], -ends[0])) + 1):
        for value in (10.0**exponent, -(10.0**exponent)):
            far_enough = abs(y_of(value) - y_of(0.0)) >= 18 and exponent % step == 0
            if far_enough and ends[0] < axis(value) < ends[1]:
                scene.add(Box(_LEFT, y_of(value), width, 1, FAINT))
                scene.add(Text(_LEFT - 10, y_of(value) - 9, _power(value), _SMALL_SIZE, GRAY, align="right"))


def _power(value: float) -> str:
    """A power of ten for people: plain where it is short.

    >>> [_power(each) for each in (0.01, -1.0, 1000.0, -1e-7, 1e12)]
    ['0.01', '-1', '1000', '-10⁻⁷', '10¹²']
    """
    exponent = round(log10(abs(value)))
    sign = "-" if value < 0 else ""
    if -3 <= exponent <= 4:
        return f"{sign}{10.0**exponent:g}"
    return f"{sign}10{str(exponent).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


# -- layers ------------------------------------------------------------------------------------------------------


def _draw_layer(scene: Scene, layer: _Layer, x: int, slot: int, y_of: Callable[[float], int]) -> None:
    low, high = layer.stats.min, layer.stats.max
    if low is None or high is None:
        return
    colour = layer.kind[1]
    width = max(min(slot * 2 // 3, 32), 3)
    left = x + (slot - width) // 2
    line = 2 if slot >= 20 else 1
    scene.add(_upright(left + (width - line) // 2, line, y_of(low), y_of(high), mixed(colour, 0.6)))
    if not np.isnan(layer.box).any():
        far_low, near_low, median, near_high, far_high = (y_of(float(value)) for value in layer.box)
        scene.add(_upright(left, width, far_low, far_high, mixed(colour, 0.38)))
        scene.add(_upright(left, width, near_low, near_high, colour))
        tick = INK if min(near_low - median, median - near_high) < 3 else WHITE
        scene.add(Box(left, median - (0 if slot < 20 else 1), width, 1 if slot < 20 else 2, tick))


def _upright(x: int, width: int, low: int, high: int, colour: Colour) -> Box:
    """A bar between two heights, ends included."""
    return Box(x, high, width, low - high + 1, colour)


def _draw_not_finite(scene: Scene, layers: Sequence[_Layer], slot: int, top: int) -> list[Text]:
    """A red column behind every layer with NaN or infinity; what to write on it, how many, for the first of a row."""
    texts: list[Text] = []
    before = False
    for at, layer in enumerate(layers):
        counts = [(layer.stats.nan, "NaN"), (layer.stats.inf, "Inf")]
        here = any(count for count, _ in counts)
        x = _LEFT + at * slot
        if here:
            scene.add(Box(x, top, slot, _PLOT[0], _BAD_BAND))
        if here and not before:
            words = ", ".join(f"{units.scaled(count)} {what}" for count, what in counts if count)
            texts.append(
                Text(x + max((slot - 16) // 2, 0), top + 6, words, _SMALL_SIZE, RED, True, "right", turned=True)
            )
        before = here
    return texts


# -- strips under the plot ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Strip:
    """A row of bars, one a layer: how high in shares of `height` (None: nothing), and in which colour."""

    words: str
    y: int
    height: int
    shares: tuple[float | None, ...]
    colours: tuple[Colour, ...]


def _strips(layers: Sequence[_Layer], findings: Sequence[Finding], y: int) -> tuple[list[_Strip], int]:
    """The strips from `y` on, and where they end."""
    count = len(layers)
    zeros = tuple(each.stats.zero_fraction for each in layers)
    strips = [_Strip("zeros", y, 44, zeros, ((110, 120, 150),) * count)]
    y += 44 + 16
    if any(each.dead is not None and each.dead.any() for each in layers):
        shares = tuple(None if each.dead is None else float(each.dead.mean()) for each in layers)
        strips.append(_Strip("dead", y, 44, shares, (RED,) * count))
        y += 44 + 16
    for check, severities in _checks(findings).items():
        marks = tuple(1.0 if each.record.layer.name in severities else None for each in layers)
        colours = tuple(_SEVERITY[severities.get(each.record.layer.name, "note")] for each in layers)
        if any(marks):
            strips.append(_Strip(check, y, _ROW - 4, marks, colours))
            y += _ROW
    return strips, y


def _checks(findings: Sequence[Finding]) -> dict[str, dict[str, str]]:
    """For each check the gravest severity at each layer; the gravest checks first, as many as there is room for."""
    checks: dict[str, dict[str, str]] = {}
    for each in findings:
        layers = checks.setdefault(each.check, {})
        layers[each.layer] = max(layers.get(each.layer, "note"), each.severity, key=_SEVERITIES.index)
    ranked = sorted(checks.items(), key=lambda item: -max(map(_SEVERITIES.index, item[1].values())))
    return dict(ranked[:_MOST_CHECKS])


def _draw_strip(scene: Scene, strip: _Strip, slot: int, width: int) -> None:
    """The strip's name and bars; where bars have heights, lines at nothing and at all."""
    scale = strip.height > _ROW
    middle = strip.y + strip.height / 2 - 8
    words = shorten(units.one_line(strip.words), _LEFT - _MARGIN - (52 if scale else 10), _TINY_SIZE)
    scene.add(
        Text(_MARGIN if scale else _LEFT - 10, middle, words, _TINY_SIZE, INK, align="left" if scale else "right")
    )
    if scale:
        for line, words in ((strip.y, "100 %"), (strip.y + strip.height, "0 %")):
            scene.add(Box(_LEFT, line, width, 1, FAINT))
            scene.add(Text(_LEFT - 10, line - 7, words, 11, GRAY, align="right"))
    bar = slot - 1 if slot < 14 else min(slot - 4, 36)
    for at, (share, colour) in enumerate(zip(strip.shares, strip.colours, strict=True)):
        if share is not None and share > 0:
            height = max(round(share * strip.height), 1)
            scene.add(Box(_LEFT + at * slot + (slot - bar) // 2, strip.y + strip.height - height, bar, height, colour))


def _draw_findings(scene: Scene, findings: Sequence[Finding], layers: Sequence[_Layer], y: int) -> int:
    """A line for each check: where it was seen first, and at how many layers. Returns where they end."""
    depth = {each.record.layer.name: at for at, each in enumerate(layers)}
    room = scene.width - 2 * _MARGIN
    for check, severities in _checks(findings).items():
        first = min((each for each in findings if each.check == check), key=lambda each: depth.get(each.layer, 1 << 30))
        colour = _SEVERITY[max(severities.values(), key=_SEVERITIES.index)]
        where = f"{units.one_line(first.layer)}: " if first.layer else ""
        head = units.one_line(check)
        words = f"{where}{units.one_line(first.what).split('. ')[0].rstrip('.')}"
        if len(severities) > 1:
            words += f"; and {len(severities) - 1} more layer{'s' * (len(severities) > 2)}"
        after = 20 + text_width(head, _SMALL_SIZE, bold=True) + 12
        scene.add(Box(_MARGIN, y + 2, 12, 12, colour), Text(_MARGIN + 20, y, head, _SMALL_SIZE, INK, bold=True))
        scene.add(Text(_MARGIN + after, y, shorten(words, room - after, _SMALL_SIZE), _SMALL_SIZE, GRAY))
        y += 22
    return y
