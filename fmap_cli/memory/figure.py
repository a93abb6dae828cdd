"""Memory through one step: what is alive after each operation, stacked by kind, and the layers that take most."""

from __future__ import annotations

from itertools import pairwise
from math import ceil, log10
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.along import end_of
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Colour, Picture, Scene, Text, shorten, text_width
from .table import KINDS, MODES, OPTIMIZERS, product, shown_layers

if TYPE_CHECKING:
    from .records import Forecast, MemoryBill, MemoryCourse

_MARGIN = 36
_LEFT = 120  # up to the value axis
_PLOT = (420, 900)  # height and width
_BARS = 520  # width of the part with the largest layers
_GAP = 90
_BAR, _BAR_STEP, _MOST_BARS = 14, 21, 20
_TITLE_SIZE, _TEXT_SIZE, _SMALL_SIZE, _TINY_SIZE = 30, 16, 13, 12

# Okabe and Ito's colours, which people with any kind of colour vision tell apart; what stays is pale.
_COLOURS: dict[str, Colour] = {
    "parameters": (110, 118, 135),
    "buffers": (70, 76, 90),
    "optimizer": (168, 174, 188),
    "input": (204, 121, 167),
    "gradients": (230, 159, 0),
    "activations": (0, 114, 178),
    "temporaries": (86, 180, 233),
}
_PHASES = {"forward": "forward", "backward": "backward", "step": "optimiser step"}
_PEAK: Colour = (213, 94, 0)


def lay_out_course(forecast: Forecast, unit: str) -> Scene:
    """The figure: a plot for each mode, one below the other, and beside each the layers that take most."""
    scene = Scene(width=_LEFT + _PLOT[1] + _GAP + _BARS + _MARGIN)
    room = scene.width - 2 * _MARGIN
    title = shorten(units.one_line(f"{forecast.model}: memory through a step"), room, _TITLE_SIZE, bold=True)
    fed = units.shape(forecast.inputs[0])
    line = f"{forecast.weights} · input {fed if len(forecast.inputs) == 1 else f'{len(forecast.inputs)} × {fed}'}"
    line += f" · {forecast.dtype} · {OPTIMIZERS[forecast.optimizer]} · {unit} is "
    line += f"{'2' if 'i' in unit else '10'}{ {'MB': '⁶', 'GB': '⁹', 'MiB': '²⁰', 'GiB': '³⁰'}[unit] } bytes"
    scene.add(Text(_MARGIN, _MARGIN - 6, title, _TITLE_SIZE, bold=True))
    scene.add(Text(_MARGIN, _MARGIN + 36, shorten(units.one_line(line), room, 18), 18, GRAY))
    y = _MARGIN + 74
    y = _draw_legend(scene, forecast, y)
    for bill in forecast.bills:
        y = _draw_bill(scene, bill, unit, y + 22)
    words = "Without cuDNN's workspaces and the CUDA context, which are not known beforehand."
    scene.add(Text(_MARGIN, y + 4, words, _SMALL_SIZE, GRAY))
    scene.height = y + 24 + _MARGIN
    return scene


def _draw_legend(scene: Scene, forecast: Forecast, y: int) -> int:
    x = float(_MARGIN)
    for share in forecast.bills[0].shares:
        if not any(each.most for bill in forecast.bills for each in bill.shares if each.kind == share.kind):
            continue
        words = KINDS[share.kind]
        scene.add(Box(x, y + 2, 14, 14, _COLOURS[share.kind]), Text(x + 20, y, words, _SMALL_SIZE, GRAY))
        x += 20 + text_width(words, _SMALL_SIZE) + 18
    return y + 24


def _draw_bill(scene: Scene, bill: MemoryBill, unit: str, y: int) -> int:
    """One plot and its bars. Returns where they end."""
    bound = " (upper bound)" if bill.upper_bound else ""
    head = f"{MODES[bill.mode]}: {units.in_unit(bill.allocated, unit)} {unit} allocated at the peak{bound}, "
    head += f"{units.in_unit(bill.reserved, unit)} {unit} reserved"
    scene.add(Text(_MARGIN, y, head, _TEXT_SIZE + 2, bold=True))
    top = y + 66
    most = _nice(bill.tensors / units.BYTE_UNITS[unit] * 1.04)
    _draw_axis(scene, most, unit, top)
    scene.add(Picture(_LEFT, top, _stacked(bill.course, most * units.BYTE_UNITS[unit]), _PLOT))
    _draw_phases(scene, bill.course, top)
    _draw_peak(scene, bill, unit, most, top)
    low = top + _PLOT[0]
    words = "operations from left to right, in the order in which they run"
    scene.add(Text(_LEFT + _PLOT[1] / 2, low + 8, words, _TINY_SIZE, GRAY, align="middle"))
    end = _draw_bars(scene, bill, unit, y + 34)
    return max(low + 34, end)


def _nice(value: float) -> float:
    """A round number not below a value, for the end of an axis.

    >>> [_nice(each) for each in (0.013, 4.2, 87.0, 130.0)]
    [0.015, 5.0, 100.0, 150.0]
    """
    if value <= 0:
        return 1.0
    power = 10.0 ** int(np.floor(log10(value)))
    step = next(each for each in (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10) if each * power >= value * (1 - 1e-9))
    return float(f"{step * power:.6g}")


def _draw_axis(scene: Scene, most: float, unit: str, top: int) -> None:
    for part in range(6):
        value = most * part / 5
        y = top + _PLOT[0] - round(_PLOT[0] * part / 5)
        scene.add(Box(_LEFT, y, _PLOT[1], 1, FAINT if part else (150, 150, 158)))
        text = f"{value:,.0f}" if most >= 20 else f"{value:.3g}"
        scene.add(Text(_LEFT - 10, y - 9, f"{text} {unit}" if part == 5 else text, _SMALL_SIZE, GRAY, align="right"))


def _stacked(course: MemoryCourse, most: float) -> np.ndarray:
    """The areas as pixels `[h, w, 3]`, as many columns as the plot is wide."""
    height, width = _PLOT
    count = course.alive.shape[1]
    pixels = np.full((height, width, 3), 255, np.uint8)
    for line in range(1, 6):
        pixels[height - round(height * line / 5) if line < 5 else 0, :] = FAINT
    if not count:
        return pixels
    edges = np.linspace(0, count, width + 1)
    total = course.alive.sum(0)
    picked = []
    for low, high in pairwise(edges):
        first = min(int(low), count - 1)
        last = max(min(ceil(high), count), first + 1)
        picked.append(first + int(total[first:last].argmax()))
    tops = np.cumsum(course.alive[:, picked], axis=0) / most * height  # [K, w]
    rows = height - np.arange(height)[:, None]  # how high each row of pixels is
    before = np.zeros(width)
    for kind, level in zip(course.kinds, tops, strict=True):
        inside = (rows <= np.round(level)) & (rows > np.round(before))
        pixels[inside] = _COLOURS[kind]
        before = level
    return pixels


def _draw_phases(scene: Scene, course: MemoryCourse, top: int) -> None:
    count = max(course.alive.shape[1], 1)
    starts = [start for _, start in course.phases] + [count]
    for (name, start), end in zip(course.phases, starts[1:], strict=True):
        x, width = _LEFT + _PLOT[1] * start / count, _PLOT[1] * (end - start) / count
        if start:
            scene.add(Box(round(x), top - 20, 1, _PLOT[0] + 20, (150, 150, 158)))
        words = _PHASES.get(name, name)
        if text_width(words, _SMALL_SIZE) + 12 <= width:
            scene.add(Text(x + 6, top - 19, words, _SMALL_SIZE, GRAY))


def _draw_peak(scene: Scene, bill: MemoryBill, unit: str, most: float, top: int) -> None:
    course = bill.course
    x = _LEFT + _PLOT[1] * (course.peak + 0.5) / max(course.alive.shape[1], 1)
    y = top + _PLOT[0] - round(_PLOT[0] * bill.tensors / units.BYTE_UNITS[unit] / most)
    phase = _PHASES.get(bill.peak_phase, bill.peak_phase)
    words = (
        f"peak: {units.in_unit(bill.tensors, unit)} {unit} of tensors, at {units.one_line(bill.peak_layer)}, {phase}"
    )
    words = shorten(words, _PLOT[1] - 20, _SMALL_SIZE, bold=True)
    width = text_width(words, _SMALL_SIZE, bold=True)
    left = min(max(x - width / 2, _LEFT + 4), _LEFT + _PLOT[1] - width - 4)
    scene.add(Box(round(x), top - 2, 1, y - top + 2, _PEAK))
    scene.add(Box(round(x) - 3, y - 3, 7, 7, _PEAK, WHITE))
    scene.add(Text(left, top - 42, words, _SMALL_SIZE, _PEAK, bold=True))


def _draw_bars(scene: Scene, bill: MemoryBill, unit: str, y: int) -> int:
    """The largest layers: by what they keep in training, by what they put out in inference. Returns where they end."""
    training = bill.mode == "train"
    x = _LEFT + _PLOT[1] + _GAP
    rows = [(each.kept_bytes if training else each.output_bytes, each) for each in shown_layers(bill)]
    rows = sorted([row for row in rows if row[0]], key=lambda row: -row[0])[:_MOST_BARS]
    words = "kept for the backward pass, largest layers" if training else "largest outputs"
    scene.add(Text(x, y, words, _SMALL_SIZE, GRAY))
    y += 24
    name_room, value_room = 190, 150
    room = _BARS - name_room - value_room
    for value, each in rows:
        name = units.one_line(each.layer.name)
        scene.add(
            Text(x + name_room - 8, y - 1, end_of(name, name_room - 8, _TINY_SIZE), _TINY_SIZE, INK, align="right")
        )
        length = max(round(room * value / rows[0][0]), 1)
        colour = _COLOURS["activations" if training else "temporaries"]
        scene.add(Box(x + name_room, y, length, _BAR, colour))
        text = f"{units.in_unit(value, unit)} {unit}"
        if each.shape and value == each.output_bytes:
            text += f"  {product(each)}"
        scene.add(Text(x + name_room + length + 6, y - 1, shorten(text, value_room + room - length, 11), 11, GRAY))
        y += _BAR_STEP
    return y
