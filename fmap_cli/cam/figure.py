"""Evidence on a page: the photo in gray with what speaks for the answer and against it, and how far to trust that."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import LINE, RED, points, rgb
from ..drawing.grid import TWO_HUES, blend, palette
from ..drawing.overlay import gray_photo, overlay, overlay_opacity
from ..drawing.page import (
    MARGIN,
    TEXT_SIZE,
    Key,
    draw_colour_bar,
    draw_facts,
    draw_heading,
    draw_legend,
    draw_outline,
    draw_paragraph,
    draw_sentence_title,
    fit,
)
from ..drawing.scene import INK, WHITE, Colour, Picture, Plot, Scene
from .words import (
    METHOD_NAMES,
    WEIGHTS,
    area,
    balance,
    headline,
    layers_in_words,
    number_in_words,
    random_in_words,
    remarks,
    verdict,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .records import Cam, Trust

_GAP = 48
_LARGE = (640, 760)
_SIDE = 520
_CHART = (170, 200)
_AXIS = 58  # left of a chart
_MOST_CELLS = 20  # along a side, of a map round whose half a line is drawn: in finer ones it would be in many pieces
_MAP: Colour = RED


def cam_figure(found: Cam) -> Scene:
    """Left the evidence over the photo, right the photo as it is, the curves and what there is to know."""
    scene = Scene()
    shape = found.image.pixels.shape[0], found.image.pixels.shape[1]
    size = fit(shape, _LARGE, whole=False)
    left = MARGIN + max(size[1], 420) + _GAP
    scene.width = left + _SIDE + MARGIN
    top = draw_sentence_title(scene, headline(found), [_about(found)]) + 12
    bottom = _draw_evidence(scene, found, top, size)
    y = _draw_side(scene, found, left, top)
    scene.height = max(bottom, y) + MARGIN
    return scene


def _about(found: Cam) -> str:
    """What the picture is of."""
    method = METHOD_NAMES[found.method]
    where = units.layer_name(found.layer.name) if len(found.levels) == 1 else f"{len(found.levels)} levels"
    to = "on" if found.method == "effect" else "of"
    return f"{method} {to} {found.target.in_words} at {where}, on {found.image.short_name}"


def _draw_evidence(scene: Scene, found: Cam, top: int, size: tuple[int, int]) -> int:
    most = found.drawn_most
    scene.add(Picture(MARGIN, top, over_photo(found, size), size))
    outlined = bool(found.half[1]) and max(found.map.shape[1:]) <= _MOST_CELLS
    if outlined:
        scene.add(Plot("half", MARGIN, top, size, partial(_draw_half, found=found, size=size)))
    _draw_box(scene, found, top, size)
    y = top + size[0] + 14
    width = max(size[1], 420)
    if not most:
        return draw_paragraph(scene, f"{balance(found)}: no colour is drawn.".capitalize(), MARGIN, y, width)
    colours = _on_gray()
    ends = (units.number(-most), units.number(most))
    if found.positive or found.sign == "for":
        colours, ends = colours[128:].repeat(2, axis=0), ("0", ends[1])
    middle = "" if ends[0] == "0" else "0"
    y = draw_colour_bar(
        scene, colours, ends, MARGIN, y, width, quantity=f"evidence for {found.target.in_words}", middle=middle
    )
    words = (
        "The numbers are the evidence at a place: warm colours, red to yellow, speak for the answer, cold ones, blue to"
        " light cyan, against it; gray counts for little. Smoothly enlarged from the layer's own cells."
    )
    if found.map.shape[0] > 1:
        words += f" Frame {found.frame} of {found.map.shape[0]}, which has the most evidence."
    if found.half[1] and not outlined:
        words += f" A map of more than {_MOST_CELLS} cells a side has no line round half of it: it would be in pieces."
    y = draw_paragraph(scene, words, MARGIN, y, width)
    if outlined:
        line = "the line is round the places that hold half of the evidence for it"
        y = draw_legend(scene, [Key(line, INK, "line")], MARGIN, y + 4, MARGIN + width)
    return y


def over_photo(found: Cam, size: tuple[int, int]) -> np.ndarray:
    """The evidence over the photo in gray, `[*size, 3]` uint8; the photo alone where there is none."""
    pixels, most = found.image.pixels, found.drawn_most
    if not most:
        return np.rint(gray_photo(pixels, size)).astype(np.uint8)
    ends = np.array([most])
    return overlay(found.map[found.frame][None], -ends, ends, TWO_HUES, pixels, size)[0]


def _on_gray() -> np.ndarray:
    """The colours as they look on a photo's middle gray, `[256, 3]` uint8."""
    gray = np.full((1, 256, 3), 130, np.uint8)
    return blend(palette(TWO_HUES)[None, None], gray, overlay_opacity(TWO_HUES)[None, None])[0, 0]


def _draw_half(axes: Axes, found: Cam, size: tuple[int, int]) -> None:
    """A line round the places that hold half of the evidence for the number."""
    values = found.resized(*size)
    axes.set_axis_off()
    axes.set_xlim(-0.5, size[1] - 0.5)
    axes.set_ylim(size[0] - 0.5, -0.5)
    padded = np.pad(values, 1, constant_values=min(float(values.min()), found.half[0]) - 1)  # so that lines close
    places = np.arange(-1, size[1] + 1), np.arange(-1, size[0] + 1)
    for colour, width in ((WHITE, 4), (INK, 2)):
        axes.contour(*places, padded, [found.half[0]], colors=[rgb(colour)], linewidths=points(width))


def _draw_box(scene: Scene, found: Cam, top: int, size: tuple[int, int]) -> None:
    """A detector's box."""
    if found.target.box is None:
        return
    down = found.scale[0] * size[0] / found.image.pixels.shape[0]
    across = found.scale[1] * size[1] / found.image.pixels.shape[1]
    upper, left, lower, right = found.target.box
    place = (MARGIN + left * across, top + upper * down, MARGIN + right * across, top + lower * down)
    draw_outline(scene, place, ((-2, INK), (-1, WHITE), (0, WHITE), (1, INK)))


def _draw_side(scene: Scene, found: Cam, left: int, top: int) -> int:
    """The photo as the network saw it, the curves, and the facts. Returns where they end."""
    shape = found.image.pixels.shape[0], found.image.pixels.shape[1]
    size = fit(shape, (220, _SIDE), whole=False)
    scene.add(Picture(left, top, found.image.pixels, size, smooth=True))
    y = draw_paragraph(scene, found.image.caption, left, top + size[0] + 6, _SIDE) + 16
    if found.trust is not None:
        y = _draw_trust(scene, found.trust, left, y)
    facts = [
        ("number", number_in_words(found)),
        ("layer", layers_in_words(found)),
        ("method", f"{METHOD_NAMES[found.method]}: {WEIGHTS[found.method]}"),
        ("balance", balance(found)),
        ("model", f"{found.origin.model}, {found.origin.weights.in_words}"),
        *([("input", fed)] if (fed := found.origin.fed_in_words) else []),
        *(("note", each) for each in remarks(found)),
    ]
    return draw_facts(scene, facts, left, y, _SIDE, names=84)


def _draw_trust(scene: Scene, trust: Trust, left: int, top: int) -> int:
    y = draw_heading(scene, "How far to trust it", "the same input, part of it blurred", left, top, _SIDE)
    y = draw_paragraph(scene, f"{verdict(trust)[0].upper()}{verdict(trust)[1:]}.", left, y, _SIDE, TEXT_SIZE, INK) + 26
    height, width = _CHART
    for at, (name, curve, better) in enumerate(
        (("insertion", trust.insertion, "higher"), ("deletion", trust.deletion, "lower"))
    ):
        x = left + _AXIS + at * (width + _AXIS)
        scene.add(Plot(name, x, y, _CHART, partial(_draw_curve, trust=trust, curve=curve, name=name, better=better)))
    y += height + 46
    keys = [Key("most evidence first", _MAP, "line"), Key(f"{len(trust.random)} random orders", LINE, "line")]
    y = draw_legend(scene, keys, left, y, left + _SIDE)
    words = (
        f"Area under the curve: insertion {area(trust.insertion_area)}, deletion {area(trust.deletion_area)};"
        f" random orders {random_in_words(trust)}, the same in both, as their deletion is their insertion read"
        f" backwards. Up: the {trust.quantity}. Along: the part of the input that is"
        " brought back, or taken away."
    )
    return draw_paragraph(scene, words, left, y + 2, _SIDE) + 14


def _draw_curve(axes: Axes, trust: Trust, curve: np.ndarray, name: str, better: str) -> None:
    """One of the curves over those of the random orders."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, PercentFormatter

    for each in trust.random:
        axes.plot(trust.fractions, each if name == "insertion" else each[::-1], color=rgb(LINE), linewidth=points(1.2))
    axes.fill_between(trust.fractions, curve, facecolor=rgb(_MAP), alpha=0.12, linewidth=0)
    axes.plot(trust.fractions, curve, color=rgb(_MAP), linewidth=points(2.4), clip_on=False)
    axes.set_title(f"{name}: {better} is better", loc="left")
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.5, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: units.number(value, 2)))
    lowest = min(0.0, float(np.min([curve.min(), trust.random.min()])))
    highest = float(np.max([curve.max(), trust.random.max()]))
    axes.set_ylim(lowest * 1.05, highest * 1.05 if highest > lowest else lowest + 1)
