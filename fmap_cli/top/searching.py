"""Where the largest values of maps stand, and lists of them in order, as machine code.

Of a batch's maps only those are searched whose largest value may be kept, and only their channels' lists are touched:
torch and NumPy would copy whole layers for either.
"""

from __future__ import annotations

import numpy as np

from .machine import compiled

_BLOCK = 32


@compiled
def find_largest(
    maps: np.ndarray, of: np.ndarray, largest: np.ndarray, counts: np.ndarray, value: np.ndarray, at: np.ndarray
) -> None:
    """Of the maps `of` `[N]`, rows of `maps` `[M, P]` without NaN, the `counts` `[N]` largest values and their places.

    The `largest` `[N]` of each is known. They go into `value` float32 and `at` int64, both `[N, R]`, the largest first,
    of equal values the first place; where a map has no further number, -inf being none after the first, `at` keeps what
    it holds.
    """
    length = maps.shape[1]
    lowest = maps.dtype.type(-np.inf)
    for each in range(len(of)):
        row = maps[of[each]]
        best = largest[each]
        last_at = -1
        for turn in range(counts[each]):
            if turn:
                last = best
                best = lowest
                for place in range(length):
                    number = row[place]
                    if number > best and (number < last or (number == last and place > last_at)):
                        best = number
                if best == lowest:
                    break
            first = last_at + 1 if turn and best == last else 0
            while first + _BLOCK <= length:  # many at once, without looking which
                found = 0
                for place in range(first, first + _BLOCK):
                    found |= row[place] == best
                if found:
                    break
                first += _BLOCK
            while row[first] != best:
                first += 1
            value[each, turn] = best
            at[each, turn] = first
            last_at = first


@compiled
def draw_coarse(
    maps: np.ndarray,
    of: np.ndarray,
    counts: np.ndarray,
    value: np.ndarray,
    at: np.ndarray,
    size: tuple[int, int],
    drawn: np.ndarray,
) -> None:
    """The maps around the units that `find_largest` gives as `drawn` uint8 `[N, R, G, G]`: the largest value of each
    cell as a share of the unit's value, from 0 to 255; 0 where that is not above 0.

    `size` is height and width of a frame of the map, which is cut into cells as adaptive pooling cuts it.
    """
    high, wide = size
    grid = drawn.shape[2]
    band = np.empty(wide, maps.dtype)
    for each in range(len(of)):
        row = maps[of[each]]
        for turn in range(counts[each]):
            whole = np.float32(value[each, turn])
            if at[each, turn] < 0 or not 0 < whole < np.inf:
                continue
            start = at[each, turn] // (high * wide) * (high * wide)
            for i in range(grid):
                top = start + i * high // grid * wide
                for x in range(wide):
                    band[x] = row[top + x]
                for line in range(top + wide, start - (-(i + 1) * high // grid) * wide, wide):
                    for x in range(wide):
                        number = row[line + x]
                        band[x] = number if number > band[x] else band[x]
                for j in range(grid):
                    largest = band[j * wide // grid]
                    for x in range(j * wide // grid + 1, -(-(j + 1) * wide // grid)):
                        largest = max(largest, band[x])
                    share = min(max(np.float32(largest) / whole, np.float32(0)), np.float32(1))
                    drawn[each, turn, i, j] = np.uint8(np.rint(share * np.float32(255)))


@compiled
def insert_all(
    lists: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    units: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    chosen: np.ndarray,
    size: tuple[int, int],
    sign: int,
) -> None:
    """Put units into their channels' lists where they belong; what falls off the end is forgotten.

    `lists` are the arrays of `Picks`, in the order of their value times `sign`, largest first. `units` are channel
    `[N]`, image `[N]`, value `[N, R]`, place in the map `[N, R]` (-1 for none) and coarse map `[N, R, G, G]`. Those
    `chosen` `[N, R]` are put in, after all that are equal: images come in their order.
    """
    values, images, places, drawn = lists
    channel, image, value, at, coarse = units
    high, wide = size
    end = values.shape[1] - 1
    for each in range(len(channel)):
        c = channel[each]
        for turn in range(value.shape[1]):
            if not chosen[each, turn]:
                continue
            number = sign * value[each, turn]
            if images[c, end] >= 0 and not number > sign * values[c, end]:
                continue
            to = end
            while to > 0 and (images[c, to - 1] < 0 or sign * values[c, to - 1] < number):
                values[c, to] = values[c, to - 1]
                images[c, to] = images[c, to - 1]
                places[c, to] = places[c, to - 1]
                drawn[c, to] = drawn[c, to - 1]
                to -= 1
            values[c, to] = value[each, turn]
            images[c, to] = image[each]
            frame, cell = divmod(at[each, turn], high * wide)
            places[c, to, 0] = frame
            places[c, to, 1] = cell // wide
            places[c, to, 2] = cell % wide
            if drawn.shape[2]:
                drawn[c, to] = coarse[each, turn]
