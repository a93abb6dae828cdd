"""Where what is found of maps belongs, as machine code: lists of units in their order, and places in a sample."""

from __future__ import annotations

import numpy as np

from ..foreign.compiling import compiled, part
from .searching import STRONG, WEAK, Found


@compiled
def places_in(at: np.ndarray, kinds: np.ndarray, size: tuple[int, int], places: np.ndarray) -> None:
    """Where the first units of an image's maps stand, into `places` int32 `[C, 3]`: frame, row, column."""
    for c in range(len(kinds)):
        if kinds[c]:
            _put_place(at[c, 0], size[0], size[1], places[c])


@part
def _put_place(at: int, high: int, wide: int, place: np.ndarray) -> None:
    """A flat place of a map as frame, row and column."""
    place[0] = at // (high * wide)
    place[1] = at // wide % high
    place[2] = at % wide


@compiled
def put_in(
    strongest: tuple[np.ndarray, ...],
    weakest: tuple[np.ndarray, ...],
    images: np.ndarray,
    size: tuple[int, int],
    found: Found,
) -> None:
    """Put what is `found` of `images` int64 `[B]` into the lists of their channels where it belongs.

    `strongest` and `weakest` are the arrays of `Picks`. What falls off a list's end is forgotten. Of a map among the
    weakest only the first unit is one.
    """
    kinds, value, at, drawn = found
    for c in range(kinds.shape[1]):
        for b in range(len(images)):
            if kinds[b, c] & STRONG:
                for turn in range(value.shape[2]):
                    if at[b, c, turn] < 0:
                        break
                    _insert(strongest, c, value[b, c, turn], images[b], at[b, c, turn], drawn[b, c, turn], size, 1)
            if kinds[b, c] & WEAK:
                _insert(weakest, c, value[b, c, 0], images[b], at[b, c, 0], drawn[b, c, 0], size, -1)


@part
def _insert(
    lists: tuple[np.ndarray, ...],
    c: int,
    value: np.float32,
    image: int,
    at: int,
    picture: np.ndarray,
    size: tuple[int, int],
    sign: int,
) -> None:
    """Put a unit into a list that is in the order of its value times `sign`, the largest first, after all that are
    equal: images come in their order.
    """
    values, images, places, drawn = lists[0][c], lists[1][c], lists[2][c], lists[3][c]
    end = len(values) - 1
    number = sign * value
    if images[end] >= 0 and not number > sign * values[end]:
        return
    to = end
    while to > 0 and (images[to - 1] < 0 or sign * values[to - 1] < number):
        to -= 1
    grid = drawn.shape[1]
    for later in range(end, to, -1):
        values[later] = values[later - 1]
        images[later] = images[later - 1]
        for axis in range(3):
            places[later, axis] = places[later - 1, axis]
        for row in range(grid):
            for column in range(grid):
                drawn[later, row, column] = drawn[later - 1, row, column]
    values[to] = value
    images[to] = image
    _put_place(at, size[0], size[1], places[to])
    for row in range(grid):
        for column in range(grid):
            drawn[to, row, column] = picture[row, column]
