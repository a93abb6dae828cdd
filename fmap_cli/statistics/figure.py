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
    write,
    write_powers,
)
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TINY_SIZE,
    Key,
    draw_legend,
    draw_paragraph,
    draw_sentence_title,
)
from ..drawing.scene import INK, WHITE, Box, Colour, Plot, Scene, Text, text_width
from .columns import SEVERITIES, widest
from .moments import as_numbers, dead_channels, quantiles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .records import Finding, LayerRecord, LayerStats, Run

_LEFT = 150  # up to the value axis, or more where a check's name needs it
_PLOT = (520, 1400)  # height and width
_SLOT = 64  # the most pixels that a layer takes
_LEAST_BOX_SLOT = 14  # with less room for each layer their boxes are a comb: bands, a kind of layers each
_BAND_PLOT, _BAND_GAP = 190, 24  # height of the highest chart of bands, and up to the next
_LEAST_BAND_PLOT = 60
_FEW = 3  # layers of a kind that make no band
_LEAST_PAGE = 1000
_MOST_CHECKS = 6
_LABEL, _MOST_LABELS = 16, 11  # height of a label of the axis, and how many to either side
_MOST_DECADES = 40  # to either side
_BELOW_MEDIAN = 9  # decades under the median layer's size; what is smaller yet is drawn at zero
_FRACTIONS = (0.01, 0.25, 0.5, 0.75, 0.99)

_SEVERITY: dict[str, Colour] = {"note": SKY, "warning": ORANGE, "error": RED}
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
    greatest, a tick is the median. Of many layers these are bands through depth, one chart for each kind of layers:
    a convolution's output and what a normalisation makes of it differ by more than either changes through depth.
    Below are the share of exact zeros, of dead channels, and a row for each check that found something.
    """
    here = {each.layer.name for each in records}
    dead = dead_channels(run.layers)
    layers = [
        _Layer(each, as_numbers(each.channels), quantiles(each.channels, _FRACTIONS), dead.get(each.layer.name))
        for each in records
        if each.same_as is None or each.same_as not in here
    ]
    scene = Scene()
    slot = min(_PLOT[1] / max(len(layers), 1), _SLOT)
    boxes = slot >= _LEAST_BOX_SLOT
    slot = floor(slot) if boxes else slot
    width = round(slot * len(layers))
    linear = _linear_within(layers)
    limits = [(value, words) for value, words in _FLOAT16 if _is_reached(value, layers) and linear < abs(value)]
    left = max([_LEFT, *(ceil(text_width(each, TINY_SIZE)) + MARGIN + 14 for each in _checks(findings))])
    scene.width = max(left + width + (150 if limits else MARGIN), _LEAST_PAGE)
    top = _draw_head(scene, run, layers, findings, linear, boxes)
    if not layers:
        scene.height = draw_paragraph(scene, "No layer has values to draw.", MARGIN, top, scene.width, TEXT_SIZE)
        scene.height += 2 * MARGIN
        return scene
    y = top
    axis = _Axis.of(layers, linear)
    if boxes:
        draw = partial(_draw_values, layers=layers, slot=slot, axis=axis, limits=limits)
        scene.add(Plot("values", left, y, (_PLOT[0], width), draw))
        y += _PLOT[0] + 12
    spans = {kind: _span([each for each in layers if each.kind == kind], linear) for kind in _kinds(layers)}
    tallest = max((axis.height(span) for span in spans.values()), default=1.0)
    for kind, span in {}.items() if boxes else spans.items():
        height = max(round(_BAND_PLOT * axis.height(span) / tallest), _LEAST_BAND_PLOT)
        draw = partial(_draw_bands, layers=layers, kind=kind, axis=axis, span=span, limits=limits)
        scene.add(Plot(f"values of {kind[0]}", left, y + 18, (height, width), draw))
        y += height + _BAND_GAP
    y += 0 if boxes else 12
    y = _add_strips(scene, layers, findings, slot, left, y + 2)
    end = add_layers(scene, [each.name for each in layers], slot, left, top, y)
    scene.height = _draw_findings(scene, findings, layers, end + 18) + MARGIN
    return scene


def _kinds(layers: Sequence[_Layer]) -> list[tuple[str, Colour]]:
    """The kinds of layers that there are, in the legend's order."""
    here = {each.kind for each in layers}
    return [each for each in dict.fromkeys([*KINDS.values(), ELSE]) if each in here]


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


def _draw_head(
    scene: Scene, run: Run, layers: Sequence[_Layer], findings: Sequence[Finding], linear: float, boxes: bool
) -> int:
    """The gravest finding, where the numbers come from, what colours and boxes mean. Returns where the plot begins."""
    images = f"{units.count(run.images)} {run.origin.called.noun}{'s' * (run.images != 1)}"
    dtype = f", {run.origin.dtype}" if run.origin.dtype != "float32" else ""
    line = f"{run.origin.model}, weights: {run.origin.weights}{dtype} · {images}"
    if run.sources:
        line += f" from {', '.join(Path(each).name or each for each in run.sources[:2])}"
        line += f" and {len(run.sources) - 2} more" if run.sources[2:] else ""
    line += f" · {len(layers)} layer{'s' * (len(layers) != 1)} in execution order"
    y = draw_sentence_title(scene, _headline(run, layers, findings), [line])
    if not layers:
        return y
    y = draw_legend(scene, [Key(*each) for each in _kinds(layers)], MARGIN, y, scene.width - MARGIN)
    words = "Box: middle half of the values. Paler: 98 %. Line: min to max. Tick: median. "
    if not boxes:
        words = "Band: middle half of a layer's values. Paler: 98 %. Thin lines: min and max. Black line: median. "
    words += f"The axis is logarithmic, and linear within ±{linear:g}."
    return draw_paragraph(scene, words, MARGIN, y + 2, scene.width - 2 * MARGIN) + 28


def _headline(run: Run, layers: Sequence[_Layer], findings: Sequence[Finding]) -> str:
    """The gravest finding, of several the widest, then the first; what was looked at where there is none."""
    checks = _checks(findings)
    if not checks:
        if not layers:
            return f"{run.origin.model}: activations through depth"
        where = f"{len(layers)} layers" if len(layers) > 1 else units.layer_name(layers[0].record.layer.name)
        return f"{run.origin.model}: nothing to worry about in {where}"
    first, _ = _first(next(iter(checks)), findings, layers)
    return _in_one_sentence(first)


def _first(check: str, findings: Sequence[Finding], layers: Sequence[_Layer]) -> tuple[Finding, int]:
    """The finding of a check to be told, the gravest and widest, and at how many layers there is one."""
    found = [each for each in findings if each.check == check]
    return widest(found, [each.record for each in layers])[0], len({each.layer for each in found})


def _in_one_sentence(finding: Finding) -> str:
    where = f"{units.one_line(finding.layer)}: " if finding.layer else ""
    return f"{where}{units.one_line(finding.what).split('. ')[0].rstrip('.')}"


@dataclass(frozen=True, slots=True)
class _Axis:
    """The axis of values, logarithmic beyond `linear` to either side of zero, which all charts of a figure have alike.

    The linear part takes `middle` decades to either side; `decades` follow.
    """

    count: int
    linear: float
    middle: float
    decades: float

    @staticmethod
    def of(layers: Sequence[_Layer], linear: float) -> _Axis:
        ends = np.array([_ends(each) for each in layers if _ends(each)]).reshape(-1, 2)
        decades = float(np.log10(np.maximum(np.abs(ends), linear) / linear).max(initial=0.0))
        return _Axis(len(layers), linear, max(0.5, 0.06 * decades), decades)  # zero's label has room

    def height(self, span: tuple[float, float]) -> float:
        """How many decades high a chart of these values is."""
        return self._place(span[1]) - self._place(span[0])

    def _place(self, value: float) -> float:
        """How many decades a value lies above zero, as Matplotlib's symmetrical logarithm has it."""
        far, middle = abs(value) / self.linear, self.middle / 0.9
        return (far * middle if far <= 1 else middle + log10(far)) * (1 if value >= 0 else -1)

    def draw(self, axes: Axes, span: tuple[float, float]) -> None:
        """Set it up from one value to the other, with as many labelled powers of ten as there is room for."""
        from matplotlib.ticker import FixedLocator

        along(axes, self.count)
        axes.set_yscale("symlog", linthresh=self.linear, linscale=self.middle)
        axes.set_ylim(span)
        apart = _LABEL * self.height(span) / axes.bbox.height  # the decades that a label takes
        step = max(ceil(apart), ceil(self.decades / _MOST_LABELS), 1)
        first = round(log10(self.linear)) + max(ceil(apart - self.middle / 0.9), 0)
        powers = 10.0 ** np.arange(first, round(log10(self.linear)) + self.decades + 1, step)
        shown = [each for each in (*-powers, 0, *powers) if span[0] <= each <= span[1]]
        axes.yaxis.set_major_locator(FixedLocator(shown))
        write_power = write_powers([*span, self.linear])
        axes.yaxis.set_major_formatter(lambda value, _: write_power(value))
        axes.axhline(0, color=rgb(LINE), linewidth=points(1))


def _span(layers: Sequence[_Layer], linear: float) -> tuple[float, float]:
    """From where to where a chart of these layers goes: their values, zero, and a little more."""
    ends = [end for each in layers for end in _ends(each)]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    return min(low * 1.6, -linear / 2), max(high * 1.6, linear / 2)


def _draw_values(
    axes: Axes,
    layers: Sequence[_Layer],
    slot: float,
    axis: _Axis,
    limits: Sequence[tuple[float, str]],
) -> None:
    """Each layer's values: lines from the least to the greatest, 98 % of them, the middle half, and the median."""
    axis.draw(axes, _span(layers, axis.linear))
    known = [(at, each) for at, each in enumerate(layers) if _ends(each)]
    _draw_boxes(axes, known, len(layers), max(min(slot * 2 / 3, 32), 3))
    _draw_not_finite(axes, layers, slot)
    for value, words in limits:
        name_line(axes, value, words, _LIMIT)


def _draw_boxes(axes: Axes, known: Sequence[tuple[int, _Layer]], count: int, wide: float) -> None:
    """A box `wide` pixels wide for each of these layers, of which `count` stand along the axis."""
    ends = np.array([_ends(each) for _, each in known]).reshape(-1, 2)
    boxed = [(at, each) for at, each in known if not np.isnan(each.box).any()]
    boxes = np.array([each.box for _, each in boxed]).reshape(-1, len(_FRACTIONS))
    thin = 2 if wide >= 13 else 1
    for name, places, low, high, share, thick in (
        ("all", known, ends[:, 0], ends[:, 1], 0.6, thin),
        ("98 %", boxed, boxes[:, 0], boxes[:, 4], 0.38, wide),
        ("half", boxed, boxes[:, 1], boxes[:, 3], 1.0, wide),
    ):
        colours = [rgb(mixed(each.kind[1], share)) for _, each in places]
        where = [at for at, _ in places]
        axes.vlines(where, low, high, colours, linewidth=points(thick), label=name, zorder=2, capstyle="butt")
    if boxed:
        middles = axes.transData.transform([(0, value) for value in boxes[:, 1:4].ravel()])[:, 1]
        heights = np.diff(middles.reshape(-1, 3))
        colours = [rgb(INK if room < 3 else WHITE) for room in heights.min(1)]
        centres, half = np.array([at for at, _ in boxed]), wide / axes.bbox.width * count / 2
        axes.hlines(
            boxes[:, 2], centres - half, centres + half, colours, linewidth=points(thin), label="median", zorder=3
        )


def _draw_bands(
    axes: Axes,
    layers: Sequence[_Layer],
    kind: tuple[str, Colour],
    axis: _Axis,
    span: tuple[float, float],
    limits: Sequence[tuple[float, str]],
) -> None:
    """The values of all layers of a kind as bands through depth, each from one of these layers to the next."""
    axis.draw(axes, span)
    slot = axes.bbox.width / len(layers)
    known = [(at, each) for at, each in enumerate(layers) if each.kind == kind and _ends(each)]
    where = np.array([at for at, _ in known], float)
    if len(known) <= _FEW:
        _draw_boxes(axes, known, len(layers), max(slot, 4))
    else:
        low, first, middle, third, high = np.array([each.box for _, each in known]).T
        axes.fill_between(where, low, high, color=rgb(mixed(kind[1], 0.3)), linewidth=0, label="98 %", zorder=2)
        axes.fill_between(where, first, third, color=rgb(mixed(kind[1], 0.75)), linewidth=0, label="half", zorder=2)
        for ends in np.array([_ends(each) for _, each in known]).T:
            axes.plot(where, ends, color=rgb(mixed(kind[1], 0.7)), linewidth=points(1), label="all", zorder=2)
        axes.plot(where, middle, color=rgb(INK), linewidth=points(1.5), label="median", zorder=3)
    _draw_not_finite(axes, layers, slot, kind)
    words = f"{kind[0]}: {len(known)} layer{'s' * (len(known) != 1)}"
    write(axes, words, (0, 1), (0, 3), "axes fraction", INK, weight="bold")
    for value, said in limits:
        if span[0] < value < span[1]:
            name_line(axes, value, said, _LIMIT)


def _draw_not_finite(axes: Axes, layers: Sequence[_Layer], slot: float, kind: tuple[str, Colour] | None = None) -> None:
    """A red column behind every layer (of a kind) with NaN or infinity, and how many they are on the first of a row."""
    before = False
    for at, layer in enumerate(layers):
        if kind not in (None, layer.kind):
            continue
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


def _add_strips(
    scene: Scene, layers: Sequence[_Layer], findings: Sequence[Finding], slot: float, left: int, y: int
) -> int:
    """The shares of zeros and of dead channels, and a row for each check. Returns where they end."""
    strips = {"zeros": {at: (each.stats.zero_fraction or 0.0, _ZEROS) for at, each in enumerate(layers)}}
    dead = {at: (float(each.dead.mean()), RED) for at, each in enumerate(layers) if each.dead is not None}
    if any(share for share, _ in dead.values()):
        strips["dead"] = dead
    for words, bars in strips.items():
        y = add_strip(scene, words, bars, len(layers), slot, left, y, scale=True)
    for check, severities in _checks(findings).items():
        found = {at: severities.get(each.record.layer.name) for at, each in enumerate(layers)}
        marks = {at: (1.0, _SEVERITY[severity]) for at, severity in found.items() if severity}
        if marks:
            y = add_strip(scene, units.one_line(check), marks, len(layers), slot, left, y)
    return y


def _checks(findings: Sequence[Finding]) -> dict[str, dict[str, str]]:
    """For each check the gravest severity at each layer; the gravest checks first, as many as there is room for."""
    checks: dict[str, dict[str, str]] = {}
    for each in findings:
        layers = checks.setdefault(each.check, {})
        layers[each.layer] = max(layers.get(each.layer, "note"), each.severity, key=SEVERITIES.index)
    ranked = sorted(checks.items(), key=lambda item: -max(map(SEVERITIES.index, item[1].values())))
    return dict(ranked[:_MOST_CHECKS])


def _draw_findings(scene: Scene, findings: Sequence[Finding], layers: Sequence[_Layer], y: int) -> int:
    """Each check in words: where it is gravest, and at how many layers. Returns where they end."""
    room = scene.width - 2 * MARGIN
    for check, severities in _checks(findings).items():
        first, count = _first(check, findings, layers)
        colour = _SEVERITY[max(severities.values(), key=SEVERITIES.index)]
        head = units.one_line(check)
        words = _in_one_sentence(first)
        if count > 1:
            words += f"; and {count - 1} more layer{'s' * (count > 2)}"
        after = 20 + ceil(text_width(head, SMALL_SIZE, bold=True)) + 12
        scene.add(Box(MARGIN, y + 2, 12, 12, colour), Text(MARGIN + 20, y, head, SMALL_SIZE, INK, bold=True))
        y = draw_paragraph(scene, words, MARGIN + after, y, room - after) + 4
    return y
