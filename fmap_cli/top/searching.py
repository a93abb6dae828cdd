"""Which maps may be kept, where their largest values stand, and lists of these in order, as machine code.

Of a batch's maps only those are searched whose largest value may be kept, and only their channels' lists are touched:
torch and NumPy would copy whole layers for either. A few calls of these cost a layer less than as many of NumPy's
operations on arrays of a number a map.
"""

from __future__ import annotations

import numpy as np

from .machine import compiled

STRONG, WEAK, PICTURED = 1, 2, 4
"""What a map comes into question for: the strongest units, the weakest, the sample whose places are kept."""

_BLOCK = 32


@compiled
def any_nan(values: np.ndarray) -> bool:
    """Whether some of float32 `[B, C]` are NaN."""
    for row in values:
        bits = row.view(np.int32)
        found = 0
        for at in range(len(bits)):
            found |= (bits[at] & 0x7FFFFFFF) > 0x7F800000
        if found:
            return True
    return False


@compiled
def judge(
    maxima: np.ndarray,
    strongest: tuple[np.ndarray, np.ndarray],
    weakest: tuple[np.ndarray, np.ndarray],
    valid: np.ndarray,
    pictured: np.ndarray,
    image: np.ndarray,
    channel: np.ndarray,
    kinds: np.ndarray,
) -> int:
    """Of which maps more is to be known than their largest values `maxima` float32 `[B, C]`; returns how many.

    `strongest` and `weakest` are the values and images `[C, N]` of the lists so far. Maps without `valid` bool `[B, C]`
    are passed over; of the images `pictured` bool `[B]` all others are known. What is found is written into the three
    int64 arrays, which have room for all: image of the batch, channel, and the sum of what it comes into question for.
    """
    count, channels = maxima.shape
    from_here = np.empty(channels, np.float32)
    up_to_here = np.empty(channels, np.float32)
    room = np.empty(channels, np.uint8)  # in which of the lists there is some: then any value belongs there
    last_strong = strongest[0].shape[1] - 1
    last_weak = weakest[0].shape[1] - 1
    for c in range(channels):
        from_here[c] = strongest[0][c, last_strong]
        up_to_here[c] = weakest[0][c, last_weak]
        room[c] = STRONG * (strongest[1][c, last_strong] < 0) + WEAK * (weakest[1][c, last_weak] < 0)
    found = 0
    for b in range(count):
        always = PICTURED * pictured[b]
        for c in range(channels):
            number = maxima[b, c]
            kind = always | room[c] | STRONG * (number > from_here[c]) | WEAK * (number < up_to_here[c])
            if kind and valid[b, c]:
                image[found] = b
                channel[found] = c
                kinds[found] = kind
                found += 1
    return found


@compiled
def _cells(length: int, grid: int) -> tuple[np.ndarray, np.ndarray]:
    """Where the cells of adaptive pooling begin and end."""
    start = np.empty(grid, np.int64)
    stop = np.empty(grid, np.int64)
    for at in range(grid):
        start[at] = at * length // grid
        stop[at] = -(-(at + 1) * length // grid)
    return start, stop


@compiled
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


@compiled
def look(
    maps: np.ndarray,
    of: np.ndarray,
    largest: np.ndarray,
    kinds: np.ndarray,
    size: tuple[int, int],
    drawing: bool,
    value: np.ndarray,
    at: np.ndarray,
    drawn: np.ndarray,
) -> None:
    """The largest values of the maps `of` `[N]`, rows of `maps` `[M, P]` without NaN, whose `largest` `[N]` is known:
    of those for the strongest units R, of others one.

    Values go into `value` float32 and their places into `at` int64, both `[N, R]`, the largest first, of equal values
    the first place; where a map has no further number, -inf being none after the first, `at` keeps what it holds. Of
    those for the strongest units also a coarse map, where `drawing`: into `drawn` uint8 `[N, R, G, G]` the largest
    value of each cell as a share of the unit's value, from 0 to 255, 0 where that is not above 0. `size` is height and
    width of a frame of the map, which is cut into cells as adaptive pooling cuts it.
    """
    length = maps.shape[1]
    high, wide = size
    grid = drawn.shape[2]
    lowest = maps.dtype.type(-np.inf)
    tops, bottoms = _cells(high, grid)
    across = _across(wide, grid)
    band = np.empty((grid, wide), maps.dtype)
    cells = np.empty(grid * grid, maps.dtype)
    for each in range(len(of)):
        row = maps[of[each]]
        strong = kinds[each] & STRONG
        best = largest[each]
        last_at = -1
        for turn in range(value.shape[1] if strong else 1):
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
            whole = np.float32(best)
            if not (strong and drawing and 0 < whole < np.inf):
                continue
            frame = row[first // (high * wide) * (high * wide) :]
            for i in range(grid):
                line = band[i]
                for x in range(wide):
                    line[x] = frame[tops[i] * wide + x]
                for y in range(tops[i] + 1, bottoms[i]):
                    for x in range(wide):
                        number = frame[y * wide + x]
                        line[x] = number if number > line[x] else line[x]
            lines = band.reshape(-1)
            for k in range(len(cells)):
                cells[k] = lines[across[0, k]]
            for neighbour in across[1:]:
                for k in range(len(cells)):  # many at once
                    number = lines[neighbour[k]]
                    cells[k] = number if number > cells[k] else cells[k]
            picture = drawn[each, turn].reshape(-1)
            for k in range(len(cells)):  # many at once
                share = min(max(np.float32(cells[k]) / whole, np.float32(0)), np.float32(1))
                picture[k] = np.uint8(np.int32(np.rint(share * np.float32(255))))


@compiled
def put_place(at: int, high: int, wide: int, place: np.ndarray) -> None:
    """A flat place of a map as frame, row and column."""
    place[0] = at // (high * wide)
    place[1] = at // wide % high
    place[2] = at % wide


@compiled
def put_places(
    image: np.ndarray, channel: np.ndarray, at: np.ndarray, of: int, size: tuple[int, int], places: np.ndarray
) -> None:
    """Into `places` int32 `[C, 3]` where the first units of one image stand: frame, row, column."""
    for each in range(len(image)):
        if image[each] == of:
            put_place(at[each, 0], size[0], size[1], places[channel[each]])


@compiled
def insert_all(
    lists: tuple[np.ndarray, ...],
    units: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    kinds: np.ndarray,
    kind: int,
    size: tuple[int, int],
    sign: int,
) -> None:
    """Put units into their channels' lists where they belong; what falls off the end is forgotten.

    `lists` are the arrays of `Picks`, in the order of their value times `sign`, largest first. `units` are channel
    `[N]`, image `[N]`, value `[N, R]`, place in the map `[N, R]` (-1 for none) and coarse map `[N, R, G, G]`. Those
    whose `kinds` `[N]` have this `kind` are put in, after all that are equal: images come in their order. Of a map
    among the weakest only the first is one.
    """
    values, images, places, drawn = lists
    channel, image, value, at, coarse = units
    high, wide = size
    end = values.shape[1] - 1
    pictures = drawn.reshape((len(drawn), end + 1, -1))
    new = coarse.reshape((len(coarse), value.shape[1], -1))
    for each in range(len(channel)):
        c = channel[each]
        if not kinds[each] & kind:
            continue
        for turn in range(value.shape[1] if kind == STRONG else 1):
            if at[each, turn] < 0:
                break
            number = sign * value[each, turn]
            if images[c, end] >= 0 and not number > sign * values[c, end]:
                continue
            to = end
            while to > 0 and (images[c, to - 1] < 0 or sign * values[c, to - 1] < number):
                to -= 1
            for later in range(end, to, -1):
                values[c, later] = values[c, later - 1]
                images[c, later] = images[c, later - 1]
                for axis in range(3):
                    places[c, later, axis] = places[c, later - 1, axis]
            for later in range(end, to, -1):
                for k in range(pictures.shape[2]):
                    pictures[c, later, k] = pictures[c, later - 1, k]
            values[c, to] = value[each, turn]
            images[c, to] = image[each]
            put_place(at[each, turn], high, wide, places[c, to])
            for k in range(pictures.shape[2]):
                pictures[c, to, k] = new[each, turn, k]
