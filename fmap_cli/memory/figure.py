"""Memory through one step: what is alive after each operation, stacked by kind, and the layers that take most."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import units
from ..drawing.charts import ABOVE, BLUE, LINE, ORANGE, PINK, PLAIN, RED, SKY, points, rgb, write
from ..drawing.page import MARGIN, SMALL_SIZE, TEXT_SIZE, TINY_SIZE, Key, draw_legend, draw_paragraph, draw_title
from ..drawing.scene import GRAY, INK, WHITE, Colour, Plot, Scene, Text, end_of, shorten, text_width
from .columns import MODES, product
from .table import KINDS, OPTIMIZERS, shown_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .records import Forecast, LayerMemory, MemoryBill

_LEFT = 120  # up to the value axis
_PLOT = (420, 900)  # height and width
_GAP = 116  # right of the plot: the name of a short last phase goes on there
_NAMES, _VALUES, _BARS = 240, 170, 180  # widths of the parts with the largest layers: names, values, bars
_MOST_ROOM = 2.5  # a budget so many times the peak is still drawn to scale
_BAR, _BAR_STEP, _MOST_BARS = 14, 21, 20

# What stays is pale.
_COLOURS: dict[str, Colour] = {
    "parameters": (110, 118, 135),
    "buffers": (70, 76, 90),
    "optimizer": (168, 174, 188),
    "input": PINK,
    "gradients": ORANGE,
    "activations": BLUE,
    "temporaries": SKY,
}
_FITS: Colour = (0, 110, 80)
_PHASES = {"forward": "forward", "backward": "backward", "step": "optimiser step"}


def memory_figure(forecast: Forecast, unit: str) -> Scene:
    """The figure: a plot for each mode, one below the other, and beside each the layers that take most."""
    scene = Scene(width=_LEFT + _PLOT[1] + _GAP + _NAMES + _BARS + _VALUES + MARGIN)
    line = f"{forecast.origin.weights} · input {units.shapes(forecast.inputs)}"
    line += f" · {forecast.dtype} · "
    if any(bill.mode == "train" for bill in forecast.bills):
        line += f"{OPTIMIZERS[forecast.optimizer]} · "
    line += f"{unit} is {units.unit_in_words(unit)}"
    y = draw_title(scene, f"{forecast.origin.model}: memory through a step", [line])
    taken = [share for bill in forecast.bills for share in bill.shares if share.most]
    kinds = [each.kind for each in forecast.bills[0].shares if each.kind in {share.kind for share in taken}]
    y = draw_legend(scene, [Key(KINDS[kind], _COLOURS[kind]) for kind in kinds], MARGIN, y, scene.width - MARGIN)
    for bill in forecast.bills:
        y = _draw_bill(scene, bill, forecast.budget, unit, y + 22)
    words = "Without cuDNN's workspaces and the CUDA context, which are not known beforehand."
    scene.height = draw_paragraph(scene, words, MARGIN, y + 4, scene.width - 2 * MARGIN) + MARGIN
    return scene


def _draw_bill(scene: Scene, bill: MemoryBill, budget: int | None, unit: str, y: int) -> int:
    """One plot and its bars. Returns where they end."""
    bound = " (upper bound)" if bill.upper_bound else ""
    head = f"{MODES[bill.mode]}: {units.in_unit(bill.allocated, unit)} {unit} allocated at the peak{bound}, "
    head += f"{units.in_unit(bill.reserved, unit)} {unit} reserved"
    scene.add(Text(MARGIN, y, head, TEXT_SIZE + 2, bold=True))
    if budget is not None:
        fit = bill.fit(budget)
        after = MARGIN + text_width(head, TEXT_SIZE + 2, bold=True) + 18
        words = f"{fit} in {units.in_unit(budget, unit)} {unit}"
        scene.add(Text(after, y, words, TEXT_SIZE + 2, _FITS if fit == "fits" else RED, bold=True))
    top = y + 66
    draw = partial(_draw_course, bill=bill, budget=budget, unit=unit)
    scene.add(Plot(f"{bill.mode} course", _LEFT, top, _PLOT, draw))
    training = bill.mode == "train"
    rows = _grouped(bill, training)[:_MOST_BARS]
    if rows:
        place = (_LEFT + _PLOT[1] + _GAP + _NAMES, y + 58, (_BAR_STEP * len(rows), _BARS))
        scene.add(Plot(f"{bill.mode} layers", *place, partial(_draw_layers, rows=rows, training=training, unit=unit)))
    return max(top + _PLOT[0] + 34, y + 58 + _BAR_STEP * len(rows))


@dataclass(frozen=True, slots=True)
class _Row:
    """A bar: a layer, or layers of repeated blocks that take the same, and the bytes that each of them takes."""

    layers: tuple[LayerMemory, ...]
    each: int

    @property
    def bytes(self) -> int:
        return self.each * len(self.layers)

    def name(self, room: float) -> str:
        first, last = (units.one_line(each.layer.name) for each in (self.layers[0], self.layers[-1]))
        if len(self.layers) == 1:
            return end_of(first, room, TINY_SIZE)
        times = f" ×{len(self.layers)}"
        return _span_in(first, last, room - text_width(times, TINY_SIZE)) + times


def _grouped(bill: MemoryBill, training: bool) -> list[_Row]:
    """The layers that take something, those of repeated blocks together, by what they take: the most first."""
    groups: dict[Any, list[LayerMemory]] = {}
    for each in shown_layers(bill):
        value = each.kept_bytes if training else each.output_bytes
        if value:
            key = value, each.shape, each.layer.type_name, _pattern(each.layer.name)
            groups.setdefault(key, []).append(each)
    rows = [_Row(tuple(layers), key[0]) for key, layers in groups.items()]
    return sorted(rows, key=lambda row: -row.bytes)


def _pattern(name: str) -> str:
    """A layer's name without the numbers of the blocks it is in.

    >>> _pattern("layer3.11.bn2"), _pattern("encoder.encoder_layer_4.mlp.0"), _pattern("relu_1")
    ('layer#.#.bn2', 'encoder.encoder_layer_#.mlp.#', 'relu_1')
    """
    *blocks, last = name.split(".")
    return ".".join([*(re.sub(r"\d+$", "#", each) for each in blocks), "#" if last.isdigit() else last])


def _span(first: str, last: str) -> str:
    """Two names of one pattern as one, from the first's numbers to the last's.

    >>> _span("layer3.1.conv3", "layer3.15.conv3"), _span("encoder_layer_0.mlp", "encoder_layer_11.mlp")
    ('layer3.1…15.conv3', 'encoder_layer_0…11.mlp')
    """
    parts = zip(first.split("."), last.split("."), strict=True)
    return ".".join(a if a == b else a + "…" + re.findall(r"\d+$", b)[0] for a, b in parts)


def _span_in(first: str, last: str, room: float) -> str:
    """The names' span in so many pixels: what is left out comes before or after the blocks' numbers, never these.

    >>> _span_in("encoder.layers.encoder_layer_0.self_attention", "encoder.layers.encoder_layer_11.self_attention", 150)
    '…0…11.self_attention'
    """
    whole = _span(first, last)
    parts, ends = whole.split("."), list(zip(first.split("."), last.split("."), strict=True))
    differ = [at for at, (a, b) in enumerate(ends) if a != b]
    if not differ:
        return end_of(whole, room, TINY_SIZE)
    found = end_of(whole, room, TINY_SIZE)
    numbers = ".".join(re.sub(r"^.*?(?=\d+…\d+$)", "", parts[at]) for at in range(differ[0], differ[-1] + 1))
    if numbers in found:
        return found
    tail = ".".join(parts[differ[-1] + 1 :])
    before = f"…{numbers}{'.' if tail else ''}"
    return before + end_of(tail, room - text_width(before, TINY_SIZE), TINY_SIZE)


def _draw_course(axes: Axes, bill: MemoryBill, budget: int | None, unit: str) -> None:
    """What is alive after each operation, kind upon kind, with the phases, the peak and the budget."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    course, size = bill.course, units.BYTE_UNITS[unit]
    count = course.alive.shape[1]
    if count:
        picked = _picked(course.alive.sum(0), _PLOT[1])
        alive = course.alive[:, [*picked, picked[-1]]] / size  # [K, columns + 1]
        axes.stackplot(
            np.linspace(0, count, len(picked) + 1),
            alive,
            labels=course.kinds,
            colors=[rgb(_COLOURS[kind]) for kind in course.kinds],
            step="post",
            linewidth=0,
            antialiased=False,
        )
    axes.set_xlim(0, max(count, 1))
    top = bill.tensors * 1.08
    if budget is not None:
        drawn = budget <= _MOST_ROOM * max(bill.reserved, 1)
        top = max(top, bill.reserved * 1.1, budget * 1.1 * drawn)
    axes.set_ylim(0, top / size or 1)
    axes.set_xticks([])
    axes.set_xlabel("operations from left to right, in the order in which they run", fontsize=points(TINY_SIZE))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    axes.set_ylabel(f"tensors in {unit}")
    axes.spines["bottom"].set_visible(True)
    free = 0.0  # from where on there is room for a phase's name
    for name, start in course.phases:
        if start:
            axes.axvline(start, 0, 1 + 20 / _PLOT[0], color=rgb(LINE), linewidth=points(1), clip_on=False)
        words = _PHASES.get(name, name)
        place = _PLOT[1] * start / max(count, 1)
        x = max(place + 6, free)
        write(axes, words, (start, 1), (x - place, 4), ABOVE)
        free = x + text_width(words, SMALL_SIZE) + 12
    if budget is not None:
        _draw_budget(axes, bill, budget, unit)
    _draw_peak(axes, bill, unit)


def _draw_budget(axes: Axes, bill: MemoryBill, budget: int, unit: str) -> None:
    """A line at the budget, in words if it is far above, and one at what is reserved, which has to stay below it."""
    from matplotlib.patheffects import withStroke

    size = units.BYTE_UNITS[unit]
    near = ("axes fraction", "data")
    fits = bill.reserved <= budget
    lines = [(bill.reserved, f"reserved: {units.in_unit(bill.reserved, unit)} {unit}", INK, "--", 1.0, "right")]
    words = f"budget: {units.in_unit(budget, unit)} {unit}"
    if budget / size < axes.get_ylim()[1]:
        lines.append((budget, words, _FITS if fits else RED, "-", 0.0, "left"))
    else:
        words += f", {budget / max(bill.reserved, 1):.3g} times what is reserved"
        said = write(axes, words, (1, 1), (-6, -4), "axes fraction", _FITS, ha="right", va="top", weight="bold")
        said.set_path_effects([withStroke(linewidth=points(5), foreground=rgb(WHITE))])
    for value, said_of_it, colour, dashes, x, side in lines:
        axes.axhline(value / size, color=rgb(colour), linewidth=points(2), linestyle=dashes, zorder=4)
        shift = 6 if side == "left" else -6
        said = write(axes, said_of_it, (x, value / size), (shift, 3), near, colour, ha=side, weight="bold")
        said.set_path_effects([withStroke(linewidth=points(5), foreground=rgb(WHITE))])


def _picked(total: np.ndarray, columns: int) -> list[int]:
    """Which operations are drawn: of those that share a pixel's column, the one with most alive."""
    edges = np.linspace(0, len(total), min(len(total), columns) + 1)
    parts = [(int(low), max(ceil(high), int(low) + 1)) for low, high in pairwise(edges)]
    return [low + int(total[low:high].argmax()) for low, high in parts]


def _draw_peak(axes: Axes, bill: MemoryBill, unit: str) -> None:
    """A mark where most is alive, and over the plot how much, and at which layer."""
    at, most = bill.course.peak + 0.5, bill.tensors / units.BYTE_UNITS[unit]
    phase = _PHASES.get(bill.peak_phase, bill.peak_phase)
    words = (
        f"peak: {units.in_unit(bill.tensors, unit)} {unit} of tensors, at {units.one_line(bill.peak_layer)}, {phase}"
    )
    words = shorten(words, _PLOT[1] - 20, SMALL_SIZE, bold=True)
    half = text_width(words, SMALL_SIZE, bold=True) / 2 + 4
    x = _PLOT[1] * at / max(bill.course.alive.shape[1], 1)
    middle = min(max(x, half), _PLOT[1] - half)
    axes.vlines(at, most, axes.get_ylim()[1], rgb(RED), linewidth=points(1))
    axes.plot([at], [most], "s", color=rgb(RED), markeredgecolor=rgb(WHITE), markersize=points(7), label="peak")
    write(axes, words, (middle / _PLOT[1], 1), (0, 25), "axes fraction", RED, ha="center", weight="bold")


def _draw_layers(axes: Axes, rows: list[_Row], training: bool, unit: str) -> None:
    """The largest layers: by what they keep in training, by what they put out in inference."""
    names = [row.name(_NAMES - 10) for row in rows]
    sizes = [row.bytes / units.BYTE_UNITS[unit] for row in rows]
    colour = rgb(_COLOURS["activations" if training else "temporaries"])
    bars = axes.barh(range(len(rows)), sizes, _BAR / _BAR_STEP, color=colour)
    said = []
    for row in rows:
        words, first = f"{units.in_unit(row.bytes, unit)} {unit}", row.layers[0]
        if len(row.layers) > 1:
            words += f" = {len(row.layers)} × {units.in_unit(row.each, unit)}"
        room = _VALUES + _BARS * (1 - row.bytes / rows[0].bytes)
        whole = f"{words}  {product(first)}" if first.shape and row.each == first.output_bytes else words
        said.append(whole if text_width(whole, 11) <= room else shorten(words, room, 11))
    axes.bar_label(bars, said, padding=points(6), fontsize=points(11), color=rgb(GRAY))
    axes.set_xlim(0, sizes[0])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks(range(len(rows)), names, fontsize=points(TINY_SIZE), color=rgb(INK), **PLAIN)
    axes.grid(False)
    words = "kept for the backward pass, largest layers" if training else "largest outputs"
    words += ", repeated blocks together" if any(len(row.layers) > 1 for row in rows) else ""
    axes.set_title(words, loc="left", x=-_NAMES / _BARS, color=rgb(GRAY))
