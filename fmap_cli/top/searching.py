"""Which maps may be kept, where their largest values stand, and lists of these in order, as machine code.

Of a batch's maps only those are searched whose largest value may be kept, and only their channels' lists are touched:
torch and NumPy would copy whole layers for either. What is found lies as the maps do, an entry for each image and
channel `[B, C]`, of which only those are written that are searched.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any
from zlib import crc32

import numpy as np
from numba import carray

from ..foreign.compiling import as_callback, compiled, part
from ..foreign.threads import in_threads, parts_for
from ..foreign.vectors import STAMP, WIDE, add, at_index, before_first, largest
from .excitations import GRID

STRONG, WEAK, PICTURED = 1, 2, 4
"""What a map comes into question for: the strongest units, the weakest, the sample whose places are kept."""

_MAGNITUDE, _INFINITE = 0x7FFFFFFF, 0x7F800000
_HEAD = 12  # int64 that say what a task is
_COMPILED_IN = crc32(repr((STAMP, GRID)).encode())
_LARGEST_FRAME = 32 * 32
"""Of frames of more places no coarse map is drawn."""

Lists = tuple[np.ndarray, np.ndarray]
"""The values and images `[C, N]` of the lists so far. Another unit has to be beyond the last column's value: above it
in the list of the strongest, below it in that of the weakest."""
Found = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""What is found of maps: `kinds` uint8 `[B, C]`, the sum of what a map comes into question for; and of those that come
into question for something the R largest values, float32 `[B, C, R]`, their places in the map, int32 `[B, C, R]`, -1
for none, and coarse maps uint8 `[B, C, R, G, G]`."""
Scratch = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


@part
def _kind(number: Any, pictured: bool, strong: Lists, weak: Lists, channel: int) -> np.uint8:
    """What a map with this largest value comes into question for. Where a list has room any value belongs there."""
    last_strong, last_weak = strong[0].shape[1] - 1, weak[0].shape[1] - 1
    kind = PICTURED * pictured
    kind |= STRONG * ((strong[1][channel, last_strong] < 0) | (number > strong[0][channel, last_strong]))
    kind |= WEAK * ((weak[1][channel, last_weak] < 0) | (number < weak[0][channel, last_weak]))
    return np.uint8(kind)


@compiled
def judge(
    maxima: np.ndarray, valid: np.ndarray, pictured: np.ndarray, strong: Lists, weak: Lists, kinds: np.ndarray
) -> None:
    """What maps come into question for whose largest values are `maxima` float32 `[B, C]`, into `kinds`.

    Maps without `valid` bool `[B, C]` for nothing; those of the images `pictured` bool `[B]` all for something.
    """
    for b in range(maxima.shape[0]):
        for c in range(maxima.shape[1]):
            kinds[b, c] = _kind(maxima[b, c], pictured[b], strong, weak, c) if valid[b, c] else 0


@part
def _cells(length: int, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of adaptive pooling begin and end."""
    start = np.empty(grid, np.int64)
    stop = np.empty(grid, np.int64)
    for at in range(grid):
        start[at] = at * length // grid
        stop[at] = -(-(at + 1) * length // grid)
    return start, stop


@part
def _across(wide: int, grid: int) -> np.ndarray:
    """In `grid` lines of `wide` values: where the first, the second … value of each cell along the line stands, `[K,
    grid * grid]`. A cell that has fewer than the longest has its last one again.
    """
    lefts, rights = _cells(wide, grid)
    found = np.empty(((rights - lefts).max(), grid * grid), np.int32)
    for neighbour in range(len(found)):
        for k in range(grid * grid):
            found[neighbour, k] = k // grid * wide + min(lefts[k % grid] + neighbour, rights[k % grid] - 1)
    return found


@part
def _scratch(size: tuple[int, int], maps: np.ndarray, drawn: np.ndarray) -> Scratch:
    """What coarse maps of these maps take: the cells of a frame of this `size`, and room for one frame's values."""
    high, wide = size
    grid = drawn.shape[3]
    tops, bottoms = _cells(high, grid)
    return tops, bottoms, _across(wide, grid), np.empty(grid * wide, maps.dtype), np.empty(grid * grid, maps.dtype)


@part
def _draw(
    row: np.ndarray, frame: int, whole: np.float32, wide: int, scratch: Scratch, drawn: np.ndarray, where: int
) -> None:
    """The coarse map of the frame that begins at `frame`, into `drawn` from `where` on: the largest value of each cell
    as a share of the unit's value, from 0 to 255.
    """
    tops, bottoms, across, band, cells = scratch
    for i in range(len(tops)):
        for x in range(wide):
            line = np.uint64(i * wide + x)
            best = row[np.uint64(frame + tops[i] * wide + x)]
            for y in range(tops[i] + 1, bottoms[i]):
                number = row[np.uint64(frame + y * wide + x)]
                best = number if number > best else best
            band[line] = best
    for k in range(len(cells)):
        best = band[np.uint64(across[0, k])]
        for neighbour in range(1, len(across)):
            number = band[np.uint64(across[neighbour, k])]
            best = number if number > best else best
        cells[k] = best
    for k in range(len(cells)):  # many at once
        share = min(max(np.float32(cells[k]) / whole, np.float32(0)), np.float32(1))
        drawn[np.uint64(where + k)] = np.uint8(np.int32(np.rint(share * np.float32(255))))


@part
def _look_at(
    row: np.ndarray,
    best: Any,
    b: int,
    c: int,
    size: tuple[int, int],
    scratch: Scratch,
    found: Found,
    drawn: np.ndarray,
) -> None:
    """What there is to know of one map, without NaN, whose kind and largest value are known.

    Its R largest values, or the largest alone, and their places: the largest first, of equal values the first place.
    Where there is no further number, -inf being none after the first, there is none from there on. `drawn` are the
    coarse maps, one after another.
    """
    kinds, value, at, _ = found
    strong = kinds[b, c] & STRONG
    turns = value.shape[2] if strong else 1
    of_frame = size[0] * size[1]
    lowest = row.dtype.type(-np.inf)
    last_at = -1
    last = best
    cells = len(scratch[4])
    for turn in range(turns):
        at[b, c, turn] = -1
        if turn:
            last = best
            best = lowest
            for place in range(len(row)):
                number = row[place]
                if number > best and (number < last or (number == last and place > last_at)):
                    best = number
            if best == lowest:
                break
        first = before_first(row, last_at + 1 if turn and best == last else 0, best)
        while row[first] != best:
            first += 1
        value[b, c, turn] = best
        at[b, c, turn] = first
        last_at = first
        if strong:
            whole = np.float32(best)
            where = ((b * value.shape[1] + c) * value.shape[2] + turn) * cells
            if of_frame <= _LARGEST_FRAME and 0 < whole < np.inf:
                _draw(row, first // of_frame * of_frame, whole, size[1], scratch, drawn, where)
            else:
                for k in range(where, where + cells):
                    drawn[k] = 0


def _looking(compiled_in: int) -> Callable[..., None]:
    """`look` as machine code, kept for as long as what comes from other files stays the same, `compiled_in`."""

    def looked(rows: np.ndarray, of: np.ndarray, maxima: np.ndarray, size: tuple[int, int], found: Found) -> None:
        channels = found[0].shape[1]
        scratch, drawn = _scratch(size, rows, found[3]), found[3].reshape(-1)
        for each in range(len(of) if compiled_in >= 0 else 0):
            b, c = divmod(of[each], channels)
            _look_at(rows[each], maxima[each], b, c, size, scratch, found, drawn)

    return compiled(looked)


_looked = _looking(_COMPILED_IN)


def look(rows: np.ndarray, of: np.ndarray, maxima: np.ndarray, size: tuple[int, int], found: Found) -> None:
    """What there is to know of the maps `of` int64 `[N]`, their places in `[B, C]`, whose kinds are in `found` already.

    `rows` `[N, P]` are these maps, without NaN, and `maxima` `[N]` their largest values. Of those for the strongest
    units R are found, of others one; of the former a coarse map as well: 0 where the unit's value is not above 0 or
    not finite, and of large frames. `size` is height and width of a frame of the map, which is cut into cells as
    adaptive pooling cuts it.
    """
    _looked(rows, of, maxima, size, found)


@part
def _observe(
    maps: np.ndarray,
    pictured: np.ndarray,
    strong: Lists,
    weak: Lists,
    size: tuple[int, int],
    maxima: np.ndarray,
    found: Found,
    start: int,
    stop: int,
) -> bool:
    """`observe` of the channels from `start` to `stop`; whether one of their values is NaN."""
    lost = False
    length = maps.shape[2]
    scratch, drawn = _scratch(size, maps, found[3]), found[3].reshape(-1)
    for c in range(start, stop):
        for b in range(len(maps)):
            row = maps[b, c]
            if length >= WIDE:
                number, nan = largest(at_index(row, 0), np.int64(length))
            else:
                number, nan = row[0], False
                bits = row.view(np.int32)
                for at in range(length):
                    number = row[at] if row[at] > number else number
                    nan |= bits[at] & _MAGNITUDE > _INFINITE
            maxima[b, c] = number
            if nan:  # then nothing may be compared with it
                lost = True
                continue
            found[0][b, c] = _kind(number, pictured[b], strong, weak, c)
            if found[0][b, c]:
                _look_at(row, number, b, c, size, scratch, found, drawn)
    return lost


def _task(compiled_in: int) -> Callable[[Any], None]:
    """What every thread of a team runs: `_observe` of some channels, as long as there are any.

    Numba keeps machine code by the time of this file and the values that the function encloses: `compiled_in` stands
    for what comes from other files.
    """

    def task(addresses: Any) -> None:
        head = carray(addresses[0], (_HEAD,), np.int64)
        count, channels, rounds, grid = head[3], head[4], head[6], head[7]
        part = add(addresses[0], 0, 1)
        while part < head[1] and compiled_in >= 0:
            if _observe(
                carray(addresses[1], (count, channels, head[5]), np.float32),
                carray(addresses[2], (count,), np.bool_),
                (
                    carray(addresses[3], (channels, head[8]), np.float32),
                    carray(addresses[4], (channels, head[8]), np.int64),
                ),
                (
                    carray(addresses[5], (channels, head[9]), np.float32),
                    carray(addresses[6], (channels, head[9]), np.int64),
                ),
                (head[10], head[11]),
                carray(addresses[7], (count, channels), np.float32),
                (
                    carray(addresses[8], (count, channels), np.uint8),
                    carray(addresses[9], (count, channels, rounds), np.float32),
                    carray(addresses[10], (count, channels, rounds), np.int32),
                    carray(addresses[11], (count, channels, rounds, grid, grid), np.uint8),
                ),
                part * channels // head[1],
                (part + 1) * channels // head[1],
            ):
                add(addresses[0], 2, 1)
            part = add(addresses[0], 0, 1)

    return task


@cache
def _in_team() -> Callable[[int, int], None]:
    return in_threads(as_callback(_task(_COMPILED_IN)))


def observe(
    maps: np.ndarray,
    pictured: np.ndarray,
    strong: Lists,
    weak: Lists,
    size: tuple[int, int],
    maxima: np.ndarray,
    found: Found,
    threads: int,
) -> bool:
    """`judge` and `look` in one reading of maps `[B, C, P]`, float32 and without gaps: also their largest values, into
    `maxima` float32 `[B, C]`. Returns whether one of the values is NaN: then nothing of what is found counts.
    """
    parts = parts_for(threads, maps.shape[1])
    rounds, grid = found[3].shape[2:4]
    head = np.array((0, parts, 0, *maps.shape, rounds, grid, strong[0].shape[1], weak[0].shape[1], *size), np.int64)
    arrays = head, maps, pictured, *strong, *weak, maxima, *found
    addresses = np.array([each.ctypes.data for each in arrays], np.int64)
    _in_team()(addresses.ctypes.data, min(threads, parts))
    return bool(head[2])
