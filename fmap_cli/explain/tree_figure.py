"""The recipe of a value as a tree: each channel with its map, and what it adds to the value at the root."""

from __future__ import annotations

from .. import units
from ..drawing.charts import BLUE, RED
from ..drawing.page import MARGIN, SMALL_SIZE, TEXT_SIZE, TINY_SIZE, draw_heading, draw_outline, draw_paragraph
from ..drawing.scene import FAINT, GRAY, INK, Box, Colour, Picture, Scene, Text, end_of, shorten, text_width
from .records import ROUNDING, Part
from .terms_figure import coloured, scale_of, size_of
from .words import part_name, plain, signed, weight_times_value

_TILE = 72
_NODE = (_TILE + 22, 232)  # height and width of a channel's place
_LANE = 34  # between a node and those that it is made of
_BRANCH = 9  # below a node's top: where its line leaves and its parts' lines arrive, beside their numbers
_LEAF = 22
_AFTER_LEAVES = 12


def draw_tree(scene: Scene, recipe: Part, top: int) -> tuple[int, int]:
    """The tree from left, the value, to right, what it is made of. Returns where it ends below and on the right."""
    words = "each value is the sum of those to its right and of the lines under it"
    y = draw_heading(scene, "What it is made of", words, MARGIN, top, 900)
    colours = (
        "Each map has its own scale: blue below zero, white at zero and red above it; where no value is below zero,"
        " from dark (lowest) to yellow (highest); gray is one value everywhere."
    )
    y = draw_paragraph(scene, colours, MARGIN, y - 4, 900) + 8
    bottom, right = _draw_node(scene, recipe, MARGIN, y + 4, root=True)
    return bottom, right


def _draw_node(scene: Scene, part: Part, left: int, top: int, *, root: bool = False) -> tuple[int, int]:
    """A channel with what has no channel under its own map, and right of it its channels one under another, each at a
    branch of its own. Returns where they end below and on the right.
    """
    _draw_channel(scene, part, left, top, root=root)
    x, y, right = left + _NODE[1] + _LANE, top, left + _NODE[1]
    under = top + _NODE[0] - _BRANCH
    ends = []
    channels = [each for each in part.parts if each.kind in ("channel", "input") and each.channel is not None]
    for each in channels:
        ends.append(y + _BRANCH)
        y, reached = _draw_node(scene, each, x, y)
        right = max(right, reached)
    others = [each for each in part.parts if each not in channels and each.words != ROUNDING]
    for each in others:
        under, right = under + _LEAF, max(right, _draw_leaf(scene, each, left, under))
    if ends:
        middle = x - _LANE // 2
        scene.add(Box(left + _NODE[1] - 6, top + _BRANCH, middle - left - _NODE[1] + 6, 1, GRAY))
        scene.add(Box(middle, top + _BRANCH, 1, ends[-1] - top - _BRANCH + 1, GRAY))
        for end in ends:
            scene.add(Box(middle, end, x - middle - 6, 1, GRAY))
    return max(top + _NODE[0], under + _AFTER_LEAVES * bool(others), y), right


def _draw_leaf(scene: Scene, part: Part, left: int, top: int) -> int:
    """A part without a map, in one line: a constant, a bias, all that is not listed. Returns where it ends."""
    words = part.words.partition(" of ")[0] if part.kind == "rest" else part_name(part)
    number, y = signed(part.contribution), top + _BRANCH - 9
    beside = left + text_width(number, SMALL_SIZE, bold=True) + 8
    words = shorten(units.one_line(words), max(left + _NODE[1] - beside, 110), TINY_SIZE)
    scene.add(Text(left, y, number, SMALL_SIZE, _colour(part), bold=True))
    scene.add(Text(beside, y + 2, words, TINY_SIZE, GRAY))
    return round(max(left + _NODE[1], beside + text_width(words, TINY_SIZE)))


def _colour(part: Part) -> Colour:
    return INK if part.contribution != part.contribution else RED if part.contribution > 0 else BLUE


def _draw_channel(scene: Scene, part: Part, left: int, top: int, *, root: bool) -> None:
    if part.map is not None and part.map.size > 1:
        size = size_of(part.map, (_TILE, _TILE))
        scene.add(Picture(left, top, coloured(part.map, *scale_of(part.map), size), size))
        draw_outline(scene, (left, top, left + size[1], top + size[0]), ((-1, FAINT),))
    else:
        scene.add(Box(left, top, _TILE, _TILE, None, FAINT))
        scene.add(Text(left + _TILE / 2, top + _TILE / 2 - 9, "one value", TINY_SIZE, GRAY, align="middle"))
    x, room = left + _TILE + 10, _NODE[1] - _TILE - 14
    colour = INK if root else _colour(part)
    number = plain(part.contribution, 4) if root else signed(part.contribution)
    scene.add(Text(x, top - 2, number, TEXT_SIZE, colour, bold=True))
    scene.add(Text(x, top + 18, f"channel {part.channel}", SMALL_SIZE))
    scene.add(Text(x, top + 36, end_of(units.layer_name(part.layer), room, TINY_SIZE), TINY_SIZE, GRAY))
    words = "" if root else weight_times_value(part)
    if part.words:
        words = part.words
    scene.add(Text(x, top + 54, shorten(words, room, TINY_SIZE), TINY_SIZE, GRAY))
