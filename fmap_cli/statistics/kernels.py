"""Moments, extremes, zeros and a histogram of float32 values in one pass, as machine code.

torch has each of these as an operation of its own, and a layer's output is too large to stay in the cache between
them: read five times, it costs as much as the network. Numba compiles the loops below to one pass that reads each
block of values once from memory; no compiler has to be installed, and the machine code is kept on disk.

The upper 12 bits of a float32 (sign, exponent, three of the mantissa) are the number of a histogram's cell, found by a
shift. Counting into cells cannot be done for several values at once and alone would cost more than all the rest, so of
large maps a share is counted (`moments` says which).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache
from itertools import chain
from typing import Any
from zlib import crc32

import numpy as np
from numba import carray, njit

from ..foreign import vectors
from ..foreign.compiling import as_callback
from ..foreign.threads import in_threads, parts_for
from ..foreign.vectors import WIDE, add, at_index
from .channels import MOMENTS, TALLIES
from .lanes import (
    CODE_SHIFT,
    LANES,
    MAGNITUDE,
    ROUND,
    STAMP,
    copy,
    further,
    larger,
    smaller,
    sweep,
    tally,
)
from .moments import SHARE_OFFSETS, SHARE_PERIOD, SHARE_STRIDE

# Rows of the two arrays that a kernel fills, a column a channel.
MEAN, M2, MIN, MAX = map(MOMENTS.index, ("mean", "m2", "min", "max"))
ZEROS, NAN, INF = map(TALLIES.index, ("zeros", "nan", "inf"))
_MOMENTS, _TALLIES = len(MOMENTS), len(TALLIES)

_CODES = 4096  # the values that the upper 12 bits of a float32 have
_, _FIRST, _SECOND, _THIRD = SHARE_OFFSETS
_COMPILED_IN = crc32(repr((STAMP, vectors.STAMP, MOMENTS, TALLIES, SHARE_OFFSETS, SHARE_PERIOD, SHARE_STRIDE)).encode())
_HEAD = 14  # int64 that say what a task is, `Task` has them
_CLOSE = 1e-3  # below this share of the sum of squares, what is left of it around the mean is summed anew
_BLOCK = 2048  # values of small planes that are brought together: 8 KiB, which stay in the first-level cache
_SMALL = 100  # planes of fewer values than this are brought together

_INFINITE = np.int32(0x7F800000)
_ZERO = np.int32(0)
_CODE_MASK = np.int32(_CODES - 1)
_HUGE = np.float32(np.inf)


# Sums may be taken in another order, which SIMD needs and float64 forgives; what is not a number stays what it is.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"reassoc", "contract", "nsz"}}


@njit(inline="always")
def _carefully(values: Any, bits: Any, channel: Any, counts: Any) -> Any:
    """One plane or column in which not all is finite: (finite values, mean, m2, lowest, highest)."""
    count = 0
    total = 0.0
    low = _HUGE
    high = -_HUGE
    for k in range(len(values)):
        size = bits[k] & MAGNITUDE
        if size > _INFINITE:
            counts[NAN, channel] += 1
        elif size == _INFINITE:
            counts[INF, channel] += 1
        else:
            low = min(low, values[k])
            high = max(high, values[k])
            count += 1
            total += np.float64(values[k])
    mean = total / count if count else 0.0
    squares = 0.0
    for k in range(len(values)):
        if (bits[k] & MAGNITUDE) < _INFINITE:
            distance = np.float64(values[k]) - mean
            squares += distance * distance
    return count, mean, squares, low, high


@njit(inline="always")
def _summed(values: Any, codes: Any) -> Any:
    """What `sweep` finds, of a few values."""
    low = values[0]
    high = low
    zeros = 0
    total = 0.0
    squares = 0.0
    for k in range(len(values)):
        low = smaller(values[k], low)
        high = larger(values[k], high)
        zeros += (codes[k] & MAGNITUDE) == _ZERO
        total += np.float64(values[k])
        squares += np.float64(values[k]) * np.float64(values[k])
    return low, high, zeros, total, squares


@njit(inline="always")
def _distances(values: Any, mean: Any) -> Any:
    """The sum of squared distances from a mean, which may be off by rounding."""
    total = 0.0
    squares = 0.0
    for k in range(len(values)):
        distance = np.float64(values[k]) - mean
        total += distance
        squares += distance * distance
    return squares - total * total / len(values)


@njit(inline="always")
def _tally_all(codes: Any, bins: Any, cells: Any) -> None:
    """Count all values, by their codes, into four copies of the cells."""
    length = len(codes)
    even = length // LANES * LANES
    for k in range(0, even, LANES):
        cells[bins[(codes[k] >> CODE_SHIFT) & _CODE_MASK] * LANES] += 1
        cells[bins[(codes[k + 1] >> CODE_SHIFT) & _CODE_MASK] * LANES + 1] += 1
        cells[bins[(codes[k + 2] >> CODE_SHIFT) & _CODE_MASK] * LANES + 2] += 1
        cells[bins[(codes[k + 3] >> CODE_SHIFT) & _CODE_MASK] * LANES + 3] += 1
    for k in range(even, length):
        cells[bins[(codes[k] >> CODE_SHIFT) & _CODE_MASK] * LANES] += 1


@njit(inline="always")
def _tally_period(codes: Any, first: Any, bins: Any, cells: Any) -> None:
    """Count what there is of one period. Where nothing is counted zero is added: which it is cannot be predicted."""
    for at in (first, first + _FIRST, first + _SECOND, first + _THIRD):
        there = np.int32(0 <= at < len(codes))
        cells[bins[(codes[at * there] >> CODE_SHIFT) & _CODE_MASK] * LANES] += there


@njit(inline="always")
def _tally_share(codes: Any, first: Any, bins: Any, cells: Any) -> None:
    """Count the share that periods from `first` on make, which may begin before the values."""
    for k in range(first, len(codes), SHARE_PERIOD):
        _tally_period(codes, k, bins, cells)


@njit(inline="always")
def _tally_one(codes: Any, bins: Any, row: Any) -> None:
    """Count all codes into the cells of one channel."""
    for k in range(len(codes)):
        row[bins[(codes[k] >> CODE_SHIFT) & _CODE_MASK]] += 1


@njit(inline="always")
def _beginning(plane: Any, channel: Any) -> Any:
    """Where the first period of a map begins: another place for each, and before the map."""
    return (plane + channel) * SHARE_STRIDE % SHARE_PERIOD - SHARE_PERIOD


@njit(inline="always")
def _clear(start: Any, stop: Any, moments: Any, counts: Any) -> None:
    for channel in range(start, stop):
        moments[MEAN, channel] = 0.0
        moments[M2, channel] = 0.0
        moments[MIN, channel] = np.inf
        moments[MAX, channel] = -np.inf
        counts[ZEROS, channel] = 0
        counts[NAN, channel] = 0
        counts[INF, channel] = 0


@njit(inline="always")
def _bring_together(
    bits: Any, plane: Any, planes: Any, channel: Any, address: Any, copied: Any, copied_at: Any
) -> None:
    """Copy some planes of a channel, the first of which lies at an address, to where one follows the other."""
    _, channels, inner = bits.shape
    for at in range(planes):
        if inner >= WIDE:
            copy(further(copied_at, at * inner), further(address, at * channels * inner), inner)
        else:
            source = bits[plane + at, channel]
            for k in range(inner):
                copied[at * inner + k] = source[k]


@njit(inline="always")
def _codes(bits: Any, plane: Any, channel: Any, copied: Any, count: Any, together: Any) -> Any:
    """What is read at a time, as an array."""
    return copied[:count] if together > 1 else bits[plane, channel]


@njit(_nrt=False, **_OPTIONS)
def _planes(
    values: Any,
    bits: Any,
    sizes: Any,
    start: Any,
    stop: Any,
    bins: Any,
    moments: Any,
    counts: Any,
    histogram: Any,
    cells: Any,
    list_of_whole: Any,
    list_of_rest: Any,
    copied: Any,
    known: Any,
) -> None:
    outer, channels, inner, share = sizes[2:6]
    together = sizes[9]
    each = len(histogram) > 1
    copied_at, cells_at, bins_at = at_index(copied, 0), at_index(cells, 0), at_index(bins, 0)
    # Item by item of the batch, the last one first: it was written last, so it is in the cache.
    for plane in range((outer - 1) // together * together, -1, -together):
        planes = min(together, outer - plane)
        count = planes * inner
        rounds, many, lists = sizes[10], sizes[11], list_of_whole
        if planes < together:
            rounds, many, lists = sizes[12], sizes[13], list_of_rest
        for channel in range(start, stop):
            address = further(values, (plane * channels + channel) * inner)
            if together > 1:
                _bring_together(bits, plane, planes, channel, address, copied, copied_at)
                address = copied_at
            begins = (plane + channel) * SHARE_STRIDE % SHARE_PERIOD
            if count < WIDE:
                codes = _codes(bits, plane, channel, copied, count, together)
                low, high, zeros, total, squares = _summed(codes.view(np.float32), codes)
            else:
                low, high, zeros, total, squares = sweep(
                    address, count, rounds, further(address, begins), bins_at, cells_at
                )
            if share:  # what the sweep has not counted, now that it is in the cache
                tally(address, further(lists, 2 * many * begins), many, bins_at, cells_at)
            elif each:
                _tally_one(_codes(bits, plane, channel, copied, count, together), bins, histogram[channel])
            else:
                _tally_all(_codes(bits, plane, channel, copied, count, together), bins, cells)
            counts[ZEROS, channel] += zeros
            finite = count
            center = total / count
            around = squares - center * total
            if not squares < np.inf:  # some value is not finite
                codes = _codes(bits, plane, channel, copied, count, together)
                finite, center, around, low, high = _carefully(codes.view(np.float32), codes, channel, counts)
            elif around < _CLOSE * squares:  # the sums are of numbers so much larger than what remains of them
                around = _distances(_codes(bits, plane, channel, copied, count, together).view(np.float32), center)
            if finite:
                # Chan, Golub and LeVeque (1979), equations 2.1
                before = known[channel - start]
                weight = finite / (before + finite)
                apart = center - moments[MEAN, channel]
                moments[MEAN, channel] += apart * weight
                moments[M2, channel] += max(around, 0.0) + apart * apart * before * weight
                moments[MIN, channel] = min(moments[MIN, channel], np.float64(low))
                moments[MAX, channel] = max(moments[MAX, channel], np.float64(high))
                known[channel - start] = before + finite
    for channel in range(start, stop):
        if not known[channel - start]:
            moments[MEAN, channel] = np.nan
            moments[MIN, channel] = np.nan
            moments[MAX, channel] = np.nan


@njit(**_OPTIONS)
def _columns(
    values: Any,
    bits: Any,
    start: Any,
    stop: Any,
    share: Any,
    bins: Any,
    moments: Any,
    counts: Any,
    histogram: Any,
    cells: Any,
) -> None:
    rows = len(values)
    each = len(histogram) > 1
    width = stop - start
    low = values[0, start:stop].copy()
    high = low.copy()
    shift = low.astype(np.float64)
    total = np.zeros(width)
    squares = np.zeros(width)
    zeros = np.zeros(width, np.int32)
    for row in range(rows):
        block = values[row, start:stop]
        codes = bits[row, start:stop]
        for k in range(width):
            low[k] = smaller(block[k], low[k])
            high[k] = larger(block[k], high[k])
            zeros[k] += np.int32((codes[k] & MAGNITUDE) == _ZERO)
        for k in range(width):
            distance = np.float64(block[k]) - shift[k]
            total[k] += distance
            squares[k] += distance * distance
        if each:
            for k in range(width):
                histogram[start + k, bins[(codes[k] >> CODE_SHIFT) & _CODE_MASK]] += 1
        elif share:
            _tally_share(codes, _beginning(row, start), bins, cells)
        else:
            _tally_all(codes, bins, cells)
    for k in range(width):
        channel = start + k
        known = rows
        off = total[k] / rows
        mean = shift[k] + off
        m2 = squares[k] - off * total[k]
        lowest = low[k]
        highest = high[k]
        if not m2 < np.inf:
            known, mean, m2, lowest, highest = _carefully(
                values[:, channel].copy(), bits[:, channel].copy(), channel, counts
            )
        counts[ZEROS, channel] = zeros[k]
        moments[MEAN, channel] = mean if known else np.nan
        moments[M2, channel] = max(m2, 0.0)
        moments[MIN, channel] = lowest if known else np.nan
        moments[MAX, channel] = highest if known else np.nan


# -- a task for several threads ----------------------------------------------------------------------------------


@njit(**_OPTIONS)
def _work(sizes: Any, addresses: Any, cells: Any, copied: Any, part: int) -> None:
    """One part of a task, a range of the channels. What `sizes` and `addresses` are a `Task` says."""
    parts, outer, channels, inner, share, rows, width, stride = sizes[1:9]
    start = channels * part // parts
    stop = channels * (part + 1) // parts
    values = addresses[1]
    kind = carray(addresses[2], (_CODES,), np.uint16)
    sums = carray(addresses[3], (_MOMENTS, stride), np.float64)
    tallies = carray(addresses[4], (_TALLIES, stride), np.int64)
    own = carray(addresses[5], (rows, width), np.int64)
    _clear(start, stop, sums, tallies)
    if inner == 1:
        _columns(
            carray(values, (outer, channels), np.float32),
            carray(values, (outer, channels), np.int32),
            start,
            stop,
            share,
            kind,
            sums,
            tallies,
            own,
            cells,
        )
    else:
        _planes(
            values,
            carray(values, (outer, channels, inner), np.int32),
            sizes,
            start,
            stop,
            kind,
            sums,
            tallies,
            own,
            cells,
            addresses[6],
            addresses[7],
            copied,
            np.zeros(stop - start, np.int64),
        )


def _task(compiled_in: int) -> Callable[[Any], None]:
    """What every thread of a team runs: parts of a task as long as there are any.

    Numba keeps machine code by the time of this file and the values that the function encloses: `compiled_in` stands
    for what comes from other files, so that no code is used whose rows lie otherwise.
    """

    def task(addresses: Any) -> None:
        sizes = carray(addresses[0], (_HEAD,), np.int64)
        part = add(addresses[0], 0, 1)
        if part >= sizes[1] or compiled_in < 0:
            return
        cells = np.zeros(2 * sizes[7] * LANES, np.int32)  # the second half is for what a list has too much
        copied = np.empty(_BLOCK + WIDE, np.int32)
        copied = copied[-np.int64(copied.ctypes.data) % 64 // 4 :]  # sixteen values in one line of the cache
        head = (
            sizes[0],
            sizes[1],
            sizes[2],
            sizes[3],
            sizes[4],
            sizes[5],
            sizes[6],
            sizes[7],
            sizes[8],
            sizes[9],
            sizes[10],
            sizes[11],
            sizes[12],
            sizes[13],
        )
        while part < sizes[1]:
            _work(head, addresses, cells, copied, part)
            part = add(addresses[0], 0, 1)
        if sizes[6] == 1:
            for cell in range(sizes[7]):
                at = cell * LANES
                found = cells[at] + cells[at + 1] + cells[at + 2] + cells[at + 3]
                if found:
                    add(addresses[5], cell, found)

    return task


@cache
def _compiled() -> Callable[[int, int], None]:
    """The task as machine code, kept on disk where there is a place for it."""
    return in_threads(as_callback(_task(_COMPILED_IN)))


@cache
def _address(constant: bytes) -> int:
    """Where an array that never changes lies, kept there for good."""
    array = np.frombuffer(constant, np.uint8).copy()
    _KEPT.append(array)
    return int(array.ctypes.data)


_KEPT: list[np.ndarray] = []


@lru_cache(maxsize=4096)
def _counted(length: int, cells: int) -> tuple[int, int, int]:
    """Which of so many values a share is: (rounds of `sweep`, how long a list for `tally` is, where the lists lie).

    Rounds are periods that lie within the values wherever the first one begins. There is a list of what is counted
    before and after them for each place where the first one may begin, all of one length: how often a loop goes round
    is better known before. What is too much in a list is counted beyond the `cells`.
    """
    rounds = max(0, min(length // ROUND, (length - _THIRD) // SHARE_PERIOD // 2))
    lists = []
    for begins in range(SHARE_PERIOD):
        periods = (begins - SHARE_PERIOD, *range(begins + 2 * rounds * SHARE_PERIOD, length, SHARE_PERIOD))
        places = (period + offset for period in periods for offset in SHARE_OFFSETS)
        lists.append([at for at in places if 0 <= at < length])
    most = max(map(len, lists))
    table = np.zeros((SHARE_PERIOD, most, 2), np.int32)
    table[:, :, 1] = np.arange(most) % LANES
    for line, counted in zip(table, lists, strict=True):
        line[: len(counted), 0] = counted
        line[len(counted) :, 1] += cells * LANES
    return rounds, most, _address(table.tobytes())


class Task:
    """A reduction of float32 values `[outer, C, inner]` to rows that are there already, made any number of times.

    `moments` `[M, C]` and `tallies` `[T, C]`, whose rows are those of `MOMENTS` and `TALLIES`, may be columns of wider
    arrays of as many columns; what they hold before does not count. Mean, min and max are NaN where no value is finite.
    `shape` has no zero. `bins`, the bytes of uint16 `[4096]`, says each code's cell. What a run counts is added to
    `histogram`, int64: `[1, cells + 1]` for all channels together, over all values or a `share` of them, or
    `[C, cells + 1]` over all; the last column counts what is not finite.
    """

    __slots__ = ("_addresses", "_head", "_kept", "_run", "_threads", "_where")

    def __init__(
        self,
        shape: tuple[int, int, int],
        bins: bytes,
        moments: np.ndarray,
        tallies: np.ndarray,
        histogram: np.ndarray,
        *,
        share: bool = False,
        threads: int = 1,
    ) -> None:
        channels = shape[1]
        parts = parts_for(threads, channels)
        outer, _, inner = shape
        # Small planes of one channel are brought together first: ending a sum costs as much as fifty values.
        together = max(1, min(outer, _BLOCK // inner)) if inner < _SMALL else 1
        counted = [
            _counted(planes * inner if share else 0, histogram.shape[1]) for planes in (together, outer % together)
        ]
        stride = moments.strides[0] // 8
        lists = (each[:2] for each in counted)
        self._head = np.array((0, parts, *shape, share, *histogram.shape, stride, together, *chain(*lists)), np.int64)
        filled = (each.ctypes.data for each in (moments, tallies, histogram))
        lie = (each[2] for each in counted)
        self._addresses = np.array((self._head.ctypes.data, 0, _address(bins), *filled, *lie), np.int64)
        self._where = self._addresses.ctypes.data
        self._threads = min(threads, parts)
        self._run = _compiled()
        self._kept = moments, tallies, histogram  # for as long as they can be written to

    def run(self, address: int) -> None:
        """Reduce the values in memory at `address`, which have no gaps."""
        self._head[0] = 0
        self._addresses[1] = address
        self._run(self._where, self._threads)


def reduce_values(
    address: int,
    shape: tuple[int, int, int],
    bins: bytes,
    cells: int,
    *,
    per_channel: bool = False,
    share: bool = False,
    threads: int = 1,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Moments `[M, C]`, tallies `[T, C]` and histogram `[1 or C, cells]` of values at `address`, as a `Task` has them.

    >>> values = np.array([[[0, 1, 2, 3], [5, 5, 5, np.nan]]], np.float32)  # [1, 2, 4]
    >>> moments, tallies, histogram = reduce_values(values.ctypes.data, values.shape, bytes(8192), 1)
    >>> moments[MEAN].tolist(), moments[M2].tolist(), tallies[ZEROS].tolist(), tallies[NAN].tolist()
    ([1.5, 5.0], [5.0, 0.0], [1, 0], [0, 1])
    """
    channels = shape[1]
    moments = np.empty((_MOMENTS, channels))
    tallies = np.empty((_TALLIES, channels), np.int64)
    histogram = np.zeros((channels if per_channel else 1, cells + 1), np.int64)
    Task(shape, bins, moments, tallies, histogram, share=share, threads=threads).run(address)
    return moments, tallies, histogram[:, :cells]
