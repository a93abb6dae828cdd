"""The parts that every page is made of: title, paragraphs, facts, legends and colour bars, each in one look.

Each is added to a scene at a place, and returns where it ends: the vertical position from which the next may go on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, isfinite
from typing import Literal

import numpy as np

from .. import units
from .grid import cross, palette
from .scene import GRAY, INK, WHITE, Box, Colour, Picture, Scene, Text, shorten, text_width, wrap

MARGIN = 36
TITLE_SIZE, LINE_SIZE, TEXT_SIZE, SMALL_SIZE, TINY_SIZE = 30, 18, 16, 13, 12
TOP = MARGIN + 82  # where pages with a title and one line under it go on

_KIND_SIZE = 22
_SWATCH = 14


def draw_sentence_title(scene: Scene, title: str, lines: Iterable[str]) -> int:
    """A title that says something, and what it is about in gray under it: whole, in as many lines as they need."""
    room = scene.width - 2 * MARGIN
    y = MARGIN - 6
    for line in wrap(units.one_line(title), room, TITLE_SIZE, bold=True):
        scene.add(Text(MARGIN, y, line, TITLE_SIZE, bold=True))
        y += 38
    y += 4
    for words in lines:
        for line in wrap(units.one_line(words), room, LINE_SIZE):
            scene.add(Text(MARGIN, y, line, LINE_SIZE, GRAY))
            y += 26
    return y + 8


def draw_title(scene: Scene, title: str, lines: Iterable[str] = (), kind: str = "") -> int:
    """The title over the page's whole width with `kind` in gray after it, and a line each of `lines` under it.

    What is too long is cut off. The scene's width has to be known.
    """
    room = scene.width - 2 * MARGIN
    title = shorten(units.one_line(title), room, TITLE_SIZE, bold=True)
    scene.add(Text(MARGIN, MARGIN - 6, title, TITLE_SIZE, bold=True))
    after = text_width(title, TITLE_SIZE, bold=True) + 16
    if kind and after + 60 < room:
        words = shorten(units.one_line(kind), room - after, _KIND_SIZE)
        scene.add(Text(MARGIN + after, MARGIN + 4, words, _KIND_SIZE, GRAY))
    y = MARGIN + 36
    for line in lines:
        scene.add(Text(MARGIN, y, shorten(units.one_line(line), room, LINE_SIZE), LINE_SIZE, GRAY))
        y += 26
    return y + 8


def draw_heading(scene: Scene, heading: str, words: str, left: int, y: int, width: int) -> int:
    """A part's heading, and in gray after it, on the same line, what there is to say about it."""
    heading = shorten(units.one_line(heading), width if not words else 0.4 * width, TEXT_SIZE, bold=True)
    scene.add(Text(left, y, heading, TEXT_SIZE, bold=True))
    after = text_width(heading, TEXT_SIZE, bold=True) + 14
    size = TEXT_SIZE - 1
    scene.add(Text(left + after, y + 1, shorten(units.one_line(words), width - after, size), size, GRAY))
    return y + 28


def draw_paragraph(
    scene: Scene, words: str, left: float, y: int, width: float, size: int = SMALL_SIZE, colour: Colour = GRAY
) -> int:
    """Words in as many lines as they need."""
    for line in wrap(units.one_line(words), width, size) if words else ():
        scene.add(Text(left, y, line, size, colour))
        y += round(size * 1.4)
    return y


def draw_facts(scene: Scene, facts: Sequence[tuple[str, str]], left: int, y: int, width: int, names: int = 96) -> int:
    """Names and values in two columns, the values from `names` pixels on and in as many lines as they need."""
    for name, value in facts:
        scene.add(Text(left, y, name, TEXT_SIZE, GRAY))
        y = draw_paragraph(scene, value, left + names, y, width - names, TEXT_SIZE, INK) + 3
    return y


@dataclass(frozen=True, slots=True)
class Key:
    """What one sign of a chart or picture means; `sign` is how it is drawn."""

    words: str
    colour: Colour
    sign: Literal["box", "hollow", "line", "bar", "crossed", "dashed"] = "box"


def draw_legend(scene: Scene, keys: Iterable[Key], left: float, y: int, right: float) -> int:
    """Signs with their meaning, side by side from `left` to `right` and on in further rows; nothing where none is."""
    x, last = float(left), y
    for key in keys:
        needed = 22 + text_width(key.words, SMALL_SIZE)
        if x > left and x + needed > right:
            x, y = float(left), y + 22
        _draw_sign(scene, key, x, y)
        scene.add(Text(x + 22, y + 1, shorten(key.words, right - x - 22, SMALL_SIZE), SMALL_SIZE, GRAY))
        x, last = x + needed + 20, y + 22
    return last


def _draw_sign(scene: Scene, key: Key, x: float, y: int) -> None:
    colour = key.colour
    if key.sign == "line":
        scene.add(Box(x, y + 8, 15, 3, colour))
    elif key.sign == "dashed":
        scene.add(Box(x, y + 7, 16, 4, INK), Box(x, y + 8, 6, 2, colour), Box(x + 10, y + 8, 6, 2, colour))
    elif key.sign == "bar":
        scene.add(Box(x + 4, y + 2, 7, 3, colour), Box(x + 6, y + 2, 3, 15, colour), Box(x + 4, y + 14, 7, 3, colour))
    else:
        scene.add(Box(x, y + 2, _SWATCH, _SWATCH, colour))
        if key.sign == "crossed":
            scene.add(Picture(int(x), y + 2, _crossed_swatch(colour), (_SWATCH, _SWATCH)))
        if key.sign == "hollow":
            scene.add(Box(x + 2, y + 4, _SWATCH - 4, _SWATCH - 4, WHITE))


def _crossed_swatch(colour: Colour) -> np.ndarray:
    return cross(np.full((1, _SWATCH, _SWATCH, 3), colour, np.uint8))[0]


def draw_colour_bar(
    scene: Scene,
    cmap: str | np.ndarray,
    ends: tuple[str, str],
    left: int,
    y: int,
    width: int,
    *,
    quantity: str,
    middle: str = "",
    at: float | None = None,
) -> int:
    """A colour map's colours, or 256 others, from lowest to highest, with what stands there; a tick at a share `at`.

    `quantity`, over the bar, says what the colour is, with its unit where it has one; empty where a heading right
    over the bar says so.
    """
    if quantity:
        scene.add(Text(left, y, shorten(units.one_line(quantity), width, SMALL_SIZE), SMALL_SIZE))
        y += 20 if at is None else 24  # a tick stands out over the bar
    colours = (palette(cmap) if isinstance(cmap, str) else cmap)[np.linspace(0, 255, width).astype(int)]
    scene.add(Picture(left, y, np.ascontiguousarray(colours[None]), (_SWATCH, width)))
    if at is not None and isfinite(at):
        x = left + round(at * (width - 1))
        scene.add(Box(x - 2, y - 5, 5, 23, WHITE), Box(x - 1, y - 4, 3, 21, INK))
    y += 20
    scene.add(Text(left, y, ends[0], SMALL_SIZE), Text(left + width, y, ends[1], SMALL_SIZE, align="right"))
    if middle:
        scene.add(Text(left + width / 2, y, middle, SMALL_SIZE, align="middle"))
    return y + 24


# -- photos with boxes -------------------------------------------------------------------------------------------

Span = tuple[int, int]  # the first and the last of some rows or columns


@dataclass(frozen=True, slots=True)
class View:
    """A piece of a picture's plane, `rows` and `columns` with both ends included, drawn at `left`, `top`."""

    rows: Span
    columns: Span
    left: int
    top: int
    size: tuple[int, int]

    def place(self, rows: Span, columns: Span) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of these pixels on the page."""
        down = self.size[0] / (self.rows[1] - self.rows[0] + 1)
        across = self.size[1] / (self.columns[1] - self.columns[0] + 1)
        return (
            self.left + round((columns[0] - self.columns[0]) * across),
            self.top + round((rows[0] - self.rows[0]) * down),
            self.left + round((columns[1] + 1 - self.columns[0]) * across),
            self.top + round((rows[1] + 1 - self.rows[0]) * down),
        )


def fit(shape: tuple[int, int], area: tuple[int, int], *, whole: bool = True) -> tuple[int, int]:
    """The largest size of this shape within an area, height before width; a `whole` multiple where one is near.

    >>> fit((60, 80), (400, 420)), fit((60, 80), (400, 420), whole=False)
    ((300, 400), (315, 420))
    """
    factor = min(area[0] / shape[0], area[1] / shape[1])
    if whole and factor >= 1 and floor(factor) / factor >= 0.85:
        factor = floor(factor)
    return max(round(shape[0] * factor), 1), max(round(shape[1] * factor), 1)


def draw_outline(scene: Scene, place: tuple[float, float, float, float], lines: Iterable[tuple[int, Colour]]) -> None:
    """Lines of a pixel round a place (left, top, right, bottom), each so many pixels further in and of its colour."""
    left, top, right, bottom = place
    for inset, colour in lines:
        width, height = right - left - 2 * inset, bottom - top - 2 * inset
        if min(width, height) >= 1:
            scene.add(Box(left + inset, top + inset, width, height, None, colour))


_DASH, _BREAK = 10, 8


def draw_dashed_edges(scene: Scene, place: tuple[float, float, float, float], colour: Colour, edges: Sides) -> None:
    """Dashes just inside those edges of a place (left, top, right, bottom) where what it frames is cut off."""
    left, top, right, bottom = place
    for is_cut, x, y, width, height in (
        (edges.left, left, top, 2, bottom - top),
        (edges.top, left, top, right - left, 2),
        (edges.right, right - 2, top, 2, bottom - top),
        (edges.bottom, left, bottom - 2, right - left, 2),
    ):
        if not is_cut:
            continue
        scene.add(Box(x, y, width, height, INK))
        down, length = height > width, max(width, height)
        for start in range(0, round(length), _DASH + _BREAK):
            dash = min(_DASH, length - start)
            scene.add(Box(x, y + start, 2, dash, colour) if down else Box(x + start, y, dash, 2, colour))


@dataclass(frozen=True, slots=True)
class Sides:
    """Which sides of a box something holds for."""

    left: bool
    top: bool
    right: bool
    bottom: bool

    def __bool__(self) -> bool:
        return self.left or self.top or self.right or self.bottom
