"""Each tile's strongest unit, marked on the tile, and what it sees, as a box of the same colour on the photo."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from ..drawing.grid import Placement
from ..drawing.page import draw_outline
from ..drawing.scene import INK, WHITE, Box, Colour, Scene, Text, text_width
from .records import UnitBox

_COLOURS: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (190, 20, 50),
    (160, 220, 60),
    (130, 90, 210),
    (140, 90, 50),
    (255, 180, 190),
)
"""Okabe and Ito's, and five more."""

_LEAST_CELL = 12  # pixels that a mark takes; cells may be smaller
_TAG = 14  # height
_TAG_SIZE = 11
_TAG_STEPS = 12  # how far down a box a free place for its name is looked for

_Unit = tuple[tuple[int, int], UnitBox]
_Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


def unit_colour(index: int) -> Colour:
    """The colour of the tile of that index: twelve, then over again."""
    return _COLOURS[index % len(_COLOURS)]


def mark_units(
    scene: Scene,
    found: Sequence[_Unit],
    maps: np.ndarray,
    photo: tuple[int, int],
    placement: Placement,
    corner: tuple[int, int],
) -> None:
    """A line around each unit's cell, and around its tile where there is a box to find on the photo.

    `maps` `[N, T, H, W]` are the tiles', drawn from `corner` (top, left) on. Of a clip the frame with the largest value
    in the cell is marked.
    """
    height, width = maps.shape[2:]
    tile = placement.tile
    for index, ((row, column), box) in enumerate(found):
        colour = unit_colour(index) if _drawn(box, photo) is not None else INK
        values = maps[index, :, row, column]
        frame = int(np.argmax(np.where(np.isnan(values), -np.inf, values)))
        if colour != INK:
            down, right = placement.corner(index)
            top, left = corner[0] + down, corner[1] + right
            for out in (1, 2):
                size = placement.cell[1] + 2 * out, placement.cell[0] + 2 * out
                scene.add(Box(left - out, top - out, *size, None, colour))
        down, right = placement.corner(index, frame)
        top, left = corner[0] + down, corner[1] + right
        cell = (
            left + column * tile[1] / width,
            top + row * tile[0] / height,
            left + (column + 1) * tile[1] / width,
            top + (row + 1) * tile[0] / height,
        )
        _mark_cell(scene, cell, (left, top, left + tile[1], top + tile[0]), colour)


def _mark_cell(scene: Scene, cell: _Rectangle, tile: _Rectangle, colour: Colour) -> None:
    """A coloured line just inside the cell, or a square around it where it is small, with a line that sets it off."""
    left, top, right, bottom = (round(edge) for edge in cell)
    start_x, start_y, end_x, end_y = (round(edge) for edge in tile)
    wide, high = (
        min(max(right - left, _LEAST_CELL), end_x - start_x),
        min(max(bottom - top, _LEAST_CELL), end_y - start_y),
    )
    x = min(max((left + right - wide) // 2, start_x), end_x - wide)
    y = min(max((top + bottom - high) // 2, start_y), end_y - high)
    lines = ((0, INK if colour != INK else WHITE), (1, colour), (2, colour))
    draw_outline(scene, (x, y, x + wide, y + high), lines)


def draw_unit_boxes(
    scene: Scene,
    found: Sequence[_Unit],
    names: Sequence[str],
    photo: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
) -> str:
    """What each unit sees, on a photo (height, width) drawn at `corner` (top, left) with `size`.

    Units that see all of it or nothing have no box. Returns what there is to say about the boxes.
    """
    top, left = corner
    scale = size[0] / photo[0], size[1] / photo[1]
    spans = [_drawn(box, photo) for _, box in found]
    places: dict[int, _Rectangle] = {}
    for index, span in enumerate(spans):
        if span is not None:
            (first, last), (start, end) = span
            places[index] = (
                left + start * scale[1],
                top + first * scale[0],
                left + (end + 1) * scale[1],
                top + (last + 1) * scale[0],
            )
    few = len(found) <= len(_COLOURS)
    same: Counter[_Rectangle] = Counter()
    insets = {}
    for index, place in places.items():
        insets[index] = same[place] * (3 if few else 1)  # boxes of one place lie within one another
        same[place] += 1
    for index, place in reversed(places.items()):  # the first tile's on top
        _draw_box(scene, place, insets[index], unit_colour(index), few)
    taken = [place for place in places.values() if place[2] - place[0] < 2 * _TAG]  # a name would hide it
    for index, place in places.items():
        width = text_width(names[index], _TAG_SIZE) + 6
        for x, y in _beside(place, width, _TAG_STEPS if few else 0):
            tag = (x, y, x + width, y + _TAG)
            inside = left <= x and top <= y and tag[2] <= left + size[1] and tag[3] <= top + size[0]
            if inside and not any(_overlap(tag, each) for each in taken):
                taken.append(tag)
                _draw_tag(scene, tag, names[index], unit_colour(index))
                break
    return _in_words(found, spans, photo)


def _drawn(box: UnitBox, photo: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Rows and columns of the box; None where that is the whole photo, or nothing."""
    rows, columns = box.seen[-2:]
    if rows is None or columns is None or (rows, columns) == ((0, photo[0] - 1), (0, photo[1] - 1)):
        return None
    return rows, columns


def _draw_box(scene: Scene, place: _Rectangle, inset: int, colour: Colour, thick: bool) -> None:
    left, top, right, bottom = (round(edge) for edge in place)
    inset = max(min(inset, (right - left) // 2 - 3, (bottom - top) // 2 - 3), 0)
    lines = ((-1, INK), (0, colour), (1, colour)) if thick else ((0, colour),)
    draw_outline(scene, (left + inset, top + inset, right - inset, bottom - inset), lines)


def _beside(place: _Rectangle, width: float, steps: int) -> Iterator[tuple[float, float]]:
    """Where a name may stand: at the box's corners outside, then so many steps down its sides or up."""
    left, top, right, bottom = place
    yield left, top - _TAG - 1
    yield right - width, top - _TAG - 1
    yield left, bottom + 1
    yield right - width, bottom + 1
    for step in range(steps):
        for x in (left + 2, left - width - 1, right + 1, right - width - 2):
            yield x, top + 2 + step * (_TAG + 1)
        for x in (left, right - width):
            yield x, top - (step + 2) * (_TAG + 1)


def _draw_tag(scene: Scene, tag: _Rectangle, name: str, colour: Colour) -> None:
    left, top, right, bottom = tag
    light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 140
    scene.add(Box(left, top, right - left, bottom - top, colour))
    scene.add(Text(left + 3, top + 1, name, _TAG_SIZE, INK if light else WHITE))


def _overlap(a: _Rectangle, b: _Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _in_words(found: Sequence[_Unit], spans: Sequence[object], photo: tuple[int, int]) -> str:
    """What the boxes are, and for how many tiles there is none.

    >>> _in_words([((0, 0), UnitBox(((0, 7), (0, 7)), (None, None)))], [None], (8, 8))
    "Each tile's strongest unit, marked on it, sees the whole image."
    """
    if not found:
        return ""
    nothing = sum(None in box.seen[-2:] for _, box in found)
    whole = sum(each is None for each in spans) - nothing
    if whole == len(found):
        return "Each tile's strongest unit, marked on it, sees the whole image."
    if nothing == len(found):
        return "Each tile's strongest unit, marked on it, sees nothing of the image."
    words = "Boxes: what each tile's strongest unit, marked on it, sees."
    if len(found) > len(_COLOURS):
        words += f" {len(_COLOURS)} colours, over again."
    for count, what in ((whole, "the whole image"), (nothing, "nothing of it")):
        if count:
            words += f" Of {count} tile{'s' * (count != 1)} it sees {what}: no box."
    return words
