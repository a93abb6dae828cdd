"""Memory through one step: what is alive after each operation, stacked by kind, and the layers that take most."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from math import ceil
from typing import TYPE_CHECKING

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
_GAP = 90
_NAMES, _VALUES, _BARS = 190, 150, 180  # widths of the parts with the largest layers: names, values, bars
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
_PHASES = {"forward": "forward", "backward": "backward", "step": "optimiser step"}


def memory_figure(forecast: Forecast, unit: str) -> Scene:
    """The figure: a plot for each mode, one below the other, and beside each the layers that take most."""
    scene = Scene(width=_LEFT + _PLOT[1] + _GAP + _NAMES + _BARS + _VALUES + MARGIN)
    fed = units.shape(forecast.inputs[0])
    fed = fed if len(forecast.inputs) == 1 else f"{len(forecast.inputs)} × {fed}"
    line = f"{forecast.origin.weights} · input {fed}"
    line += f" · {forecast.dtype} · {OPTIMIZERS[forecast.optimizer]} · {unit} is "
    line += f"{'2' if 'i' in unit else '10'}{ {'MB': '⁶', 'GB': '⁹', 'MiB': '²⁰', 'GiB': '³⁰'}[unit] } bytes"
    y = draw_title(scene, f"{forecast.origin.model}: memory through a step", [line])
    taken = [share for bill in forecast.bills for share in bill.shares if share.most]
    kinds = [each.kind for each in forecast.bills[0].shares if each.kind in {share.kind for share in taken}]
    y = draw_legend(scene, [Key(KINDS[kind], _COLOURS[kind]) for kind in kinds], MARGIN, y, scene.width - MARGIN)
    for bill in forecast.bills:
        y = _draw_bill(scene, bill, unit, y + 22)
    words = "Without cuDNN's workspaces and the CUDA context, which are not known beforehand."
    scene.height = draw_paragraph(scene, words, MARGIN, y + 4, scene.width - 2 * MARGIN) + MARGIN
    return scene


def _draw_bill(scene: Scene, bill: MemoryBill, unit: str, y: int) -> int:
    """One plot and its bars. Returns where they end."""
    bound = " (upper bound)" if bill.upper_bound else ""
    head = f"{MODES[bill.mode]}: {units.in_unit(bill.allocated, unit)} {unit} allocated at the peak{bound}, "
    head += f"{units.in_unit(bill.reserved, unit)} {unit} reserved"
    scene.add(Text(MARGIN, y, head, TEXT_SIZE + 2, bold=True))
    top = y + 66
    scene.add(Plot(f"{bill.mode} course", _LEFT, top, _PLOT, partial(_draw_course, bill=bill, unit=unit)))
    training = bill.mode == "train"
    rows = [(each.kept_bytes if training else each.output_bytes, each) for each in shown_layers(bill)]
    rows = sorted([row for row in rows if row[0]], key=lambda row: -row[0])[:_MOST_BARS]
    if rows:
        place = (_LEFT + _PLOT[1] + _GAP + _NAMES, y + 58, (_BAR_STEP * len(rows), _BARS))
        scene.add(Plot(f"{bill.mode} layers", *place, partial(_draw_layers, rows=rows, training=training, unit=unit)))
    return max(top + _PLOT[0] + 34, y + 58 + _BAR_STEP * len(rows))


def _draw_course(axes: Axes, bill: MemoryBill, unit: str) -> None:
    """What is alive after each operation, kind upon kind, with the phases and the peak."""
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
    axes.set_ylim(0, bill.tensors / size * 1.08 or 1)
    axes.set_xticks([])
    axes.set_xlabel("operations from left to right, in the order in which they run", fontsize=points(TINY_SIZE))
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
    axes.set_ylabel(f"tensors in {unit}")
    axes.spines["bottom"].set_visible(True)
    starts = [start for _, start in course.phases] + [count]
    for (name, start), end in zip(course.phases, starts[1:], strict=True):
        if start:
            axes.axvline(start, 0, 1 + 20 / _PLOT[0], color=rgb(LINE), linewidth=points(1), clip_on=False)
        words = _PHASES.get(name, name)
        if text_width(words, SMALL_SIZE) + 12 <= _PLOT[1] * (end - start) / max(count, 1):
            write(axes, words, (start, 1), (6, 4), ABOVE)
    _draw_peak(axes, bill, unit)


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


def _draw_layers(axes: Axes, rows: list[tuple[int, LayerMemory]], training: bool, unit: str) -> None:
    """The largest layers: by what they keep in training, by what they put out in inference."""
    names = [end_of(units.one_line(each.layer.name), _NAMES - 10, TINY_SIZE) for _, each in rows]
    sizes = [value / units.BYTE_UNITS[unit] for value, _ in rows]
    colour = rgb(_COLOURS["activations" if training else "temporaries"])
    bars = axes.barh(range(len(rows)), sizes, _BAR / _BAR_STEP, color=colour)
    said = []
    for value, each in rows:
        words = f"{units.in_unit(value, unit)} {unit}"
        if each.shape and value == each.output_bytes:
            words += f"  {product(each)}"
        said.append(shorten(words, _VALUES + _BARS * (1 - value / rows[0][0]), 11))
    axes.bar_label(bars, said, padding=points(6), fontsize=points(11), color=rgb(GRAY))
    axes.set_xlim(0, sizes[0])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks(range(len(rows)), names, fontsize=points(TINY_SIZE), color=rgb(INK), **PLAIN)
    axes.grid(False)
    words = "kept for the backward pass, largest layers" if training else "largest outputs"
    axes.set_title(words, loc="left", x=-_NAMES / _BARS, color=rgb(GRAY))
