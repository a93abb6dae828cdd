"""All layers of a run in one picture, from the input on the left to the answer on the right: how large values are.

The value axis is logarithmic to either side of zero and linear next to it, so that a network whose activations shrink
or grow by orders of magnitude shows as a funnel or a trumpet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import (
    ELSE,
    KINDS,
    LINE,
    ORANGE,
    RED,
    SKY,
    add_layers,
    add_strip,
    along,
    mixed,
    name_line,
    points,
    rgb,
)
from ..drawing.page import MARGIN, SMALL_SIZE, TEXT_SIZE, TINY_SIZE, Key, draw_legend, draw_paragraph, draw_title
from ..drawing.scene import GRAY, INK, WHITE, Box, Colour, Plot, Scene, Text, shorten, text_width
from .moments import as_numbers, dead_channels, quantiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .records import Finding, LayerRecord, LayerStats, Run

_LEFT = 150  # up to the value axis
_PLOT = (520, 1400)  # height and width; many layers need more of the width
_SLOT = (5, 64)  # pixels that a layer takes
_LEAST_PAGE = 1000
_MOST_CHECKS = 6
_MOST_DECADES = 40  # to either side
_BELOW_MEDIAN = 9  # decades under the median layer's size; what is smaller yet is drawn at zero
_FRACTIONS = (0.01, 0.25, 0.5, 0.75, 0.99)

_SEVERITY: dict[str, Colour] = {"note": SKY, "warning": ORANGE, "error": RED}
_SEVERITIES = ("note", "warning", "error")
_ZEROS: Colour = (110, 120, 150)
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


def depth_figure(run: Run, findings: Sequence[Finding], records: Sequence[LayerRecord]) -> Scene:
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
    linear = _linear_within(layers)
    limits = [(value, words) for value, words in _FLOAT16 if _is_reached(value, layers) and linear < abs(value)]
    scene.width = max(_LEFT + width + (150 if limits else MARGIN), _LEAST_PAGE)
    top = _draw_head(scene, run, layers, linear)
    if not layers:
        scene.height = draw_paragraph(scene, "No layer has values to draw.", MARGIN, top, scene.width, TEXT_SIZE)
        scene.height += 2 * MARGIN
        return scene
    draw = partial(_draw_values, layers=layers, slot=slot, linear=linear, limits=limits)
    scene.add(Plot("values", _LEFT, top, (_PLOT[0], width), draw))
    y = _add_strips(scene, layers, findings, slot, top + _PLOT[0] + 14)
    end = add_layers(scene, [each.name for each in layers], slot, _LEFT, top, y)
    scene.height = _draw_findings(scene, findings, layers, end + 18) + MARGIN
    return scene


def _linear_within(layers: Sequence[_Layer]) -> float:
    """Up to where from zero the axis is linear: the power of ten under the faintest layer's root mean square."""
    rms = [float(np.hypot(each.stats.mean or 0.0, each.stats.std or 0.0)) for each in layers]
    sizes = [size for size in rms if size > 0 and isfinite(size)]
    greatest = log10(max((abs(end) for each in layers for end in _ends(each)), default=0.0) or 1.0)
    faintest = log10(min(sizes)) if sizes else greatest
    usual = log10(float(np.median(sizes))) if sizes else greatest
    exponent = min(max(faintest, usual - _BELOW_MEDIAN, greatest - _MOST_DECADES), greatest - 1)
    return 10.0 ** max(floor(exponent), -290)


def _ends(layer: _Layer) -> tuple[float, ...]:
    """The least and the greatest value; nothing where no value is finite."""
    low, high = layer.stats.min, layer.stats.max
    return () if low is None or high is None else (low, high)


def _is_reached(value: float, layers: Sequence[_Layer]) -> bool:
    ends = [0.0, *(end for each in layers for end in _ends(each))]
    return min(ends) < value < max(ends)


def _draw_head(scene: Scene, run: Run, layers: Sequence[_Layer], linear: float) -> int:
    """Title, where the numbers come from, what the colours and boxes mean. Returns where the plot begins."""
    images = f"{units.count(run.images)} image{'s' * (run.images != 1)}"
    dtype = f", {run.origin.dtype}" if run.origin.dtype != "float32" else ""
    line = f"weights: {run.origin.weights}{dtype} · {images}"
    if run.sources:
        line += f" from {', '.join(Path(each).name or each for each in run.sources[:2])}"
        line += f" and {len(run.sources) - 2} more" if run.sources[2:] else ""
    line += f" · {len(layers)} layer{'s' * (len(layers) != 1)} in execution order"
    y = draw_title(scene, f"{run.origin.model}: activations through depth", [line])
    if not layers:
        return y
    kinds = {each.kind for each in layers}
    keys = [Key(*each) for each in dict.fromkeys([*KINDS.values(), ELSE]) if each in kinds]
    y = draw_legend(scene, keys, MARGIN, y, scene.width - MARGIN)
    words = "Box: middle half of the values. Paler: 98 %. Line: min to max. Tick: median. "
    words += f"The axis is logarithmic, and linear within ±{linear:g}."
    return draw_paragraph(scene, words, MARGIN, y + 2, scene.width - 2 * MARGIN) + 28


def _draw_values(
    axes: Axes, layers: Sequence[_Layer], slot: int, linear: float, limits: Sequence[tuple[float, str]]
) -> None:
    """Each layer's values: lines from the least to the greatest, 98 % of them, the middle half, and the median."""
    from matplotlib.ticker import FixedLocator

    along(axes, len(layers))
    known = [(at, each) for at, each in enumerate(layers) if _ends(each)]
    ends = np.array([_ends(each) for _, each in known]).reshape(-1, 2)
    decades = float(np.log10(np.maximum(np.abs(ends), linear) / linear).max(initial=0.0))
    axes.set_yscale("symlog", linthresh=linear, linscale=max(0.5, 0.06 * decades))  # zero's label has room
    powers = 10.0 ** np.arange(round(log10(linear)), round(log10(linear)) + decades + 1, ceil(decades / 11) or 1)
    axes.yaxis.set_major_locator(FixedLocator([*-powers, 0, *powers]))
    axes.axhline(0, color=rgb(LINE), linewidth=points(1))
    boxed = [(at, each) for at, each in known if not np.isnan(each.box).any()]
    boxes = np.array([each.box for _, each in boxed]).reshape(-1, len(_FRACTIONS))
    wide, thin = max(min(slot * 2 // 3, 32), 3), 2 if slot >= 20 else 1
    for name, places, low, high, share, thick in (
        ("all", known, ends[:, 0], ends[:, 1], 0.6, thin),
        ("98 %", boxed, boxes[:, 0], boxes[:, 4], 0.38, wide),
        ("half", boxed, boxes[:, 1], boxes[:, 3], 1.0, wide),
    ):
        colours = [rgb(mixed(each.kind[1], share)) for _, each in places]
        where = [at for at, _ in places]
        axes.vlines(where, low, high, colours, linewidth=points(thick), label=name, zorder=2, capstyle="butt")
    axes.margins(y=0.03)
    if boxed:
        heights = np.diff(
            axes.transData.transform([(0, value) for value in boxes[:, 1:4].ravel()])[:, 1].reshape(-1, 3)
        )
        colours = [rgb(INK if room < 3 else WHITE) for room in heights.min(1)]
        middles, half = np.array([at for at, _ in boxed]), wide / slot / 2
        axes.hlines(
            boxes[:, 2], middles - half, middles + half, colours, linewidth=points(thin), label="median", zorder=3
        )
    _draw_not_finite(axes, layers, slot)
    for value, words in limits:
        name_line(axes, value, words, _LIMIT)


def _draw_not_finite(axes: Axes, layers: Sequence[_Layer], slot: int) -> None:
    """A red column behind every layer with NaN or infinity, and how many they are on the first of a row."""
    before = False
    for at, layer in enumerate(layers):
        counts = [(layer.stats.nan, "NaN"), (layer.stats.inf, "Inf")]
        here = any(count for count, _ in counts)
        if here:
            axes.axvspan(at - 0.5, at + 0.5, facecolor=rgb(_BAD_BAND), edgecolor="none", zorder=0, label="not finite")
        if here and not before:
            words = ", ".join(f"{units.scaled(count)} {what}" for count, what in counts if count)
            axes.text(max(at, 8 / slot - 0.5), 0.98, words, transform=axes.get_xaxis_transform(), rotation=90,
                      ha="center", va="top", weight="bold", color=rgb(RED), zorder=4)  # fmt: skip
        before = here


# -- strips under the plot ---------------------------------------------------------------------------------------


def _add_strips(scene: Scene, layers: Sequence[_Layer], findings: Sequence[Finding], slot: int, y: int) -> int:
    """The shares of zeros and of dead channels, and a row for each check. Returns where they end."""
    strips = {"zeros": {at: (each.stats.zero_fraction or 0.0, _ZEROS) for at, each in enumerate(layers)}}
    dead = {at: (float(each.dead.mean()), RED) for at, each in enumerate(layers) if each.dead is not None}
    if any(share for share, _ in dead.values()):
        strips["dead"] = dead
    for words, bars in strips.items():
        y = add_strip(scene, words, bars, len(layers), slot, _LEFT, y, scale=True)
    for check, severities in _checks(findings).items():
        found = {at: severities.get(each.record.layer.name) for at, each in enumerate(layers)}
        marks = {at: (1.0, _SEVERITY[severity]) for at, severity in found.items() if severity}
        if marks:
            words = shorten(units.one_line(check), _LEFT - MARGIN - 10, TINY_SIZE)
            y = add_strip(scene, words, marks, len(layers), slot, _LEFT, y)
    return y


def _checks(findings: Sequence[Finding]) -> dict[str, dict[str, str]]:
    """For each check the gravest severity at each layer; the gravest checks first, as many as there is room for."""
    checks: dict[str, dict[str, str]] = {}
    for each in findings:
        layers = checks.setdefault(each.check, {})
        layers[each.layer] = max(layers.get(each.layer, "note"), each.severity, key=_SEVERITIES.index)
    ranked = sorted(checks.items(), key=lambda item: -max(map(_SEVERITIES.index, item[1].values())))
    return dict(ranked[:_MOST_CHECKS])


def _draw_findings(scene: Scene, findings: Sequence[Finding], layers: Sequence[_Layer], y: int) -> int:
    """A line for each check: where it was seen first, and at how many layers. Returns where they end."""
    depth = {each.record.layer.name: at for at, each in enumerate(layers)}
    room = scene.width - 2 * MARGIN
    for check, severities in _checks(findings).items():
        first = min((each for each in findings if each.check == check), key=lambda each: depth.get(each.layer, 1 << 30))
        colour = _SEVERITY[max(severities.values(), key=_SEVERITIES.index)]
        where = f"{units.one_line(first.layer)}: " if first.layer else ""
        head = units.one_line(check)
        words = f"{where}{units.one_line(first.what).split('. ')[0].rstrip('.')}"
        if len(severities) > 1:
            words += f"; and {len(severities) - 1} more layer{'s' * (len(severities) > 2)}"
        after = 20 + text_width(head, SMALL_SIZE, bold=True) + 12
        scene.add(Box(MARGIN, y + 2, 12, 12, colour), Text(MARGIN + 20, y, head, SMALL_SIZE, INK, bold=True))
        scene.add(Text(MARGIN + after, y, shorten(words, room - after, SMALL_SIZE), SMALL_SIZE, GRAY))
        y += 22
    return y
