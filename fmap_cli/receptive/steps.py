"""How a field moves on along an axis: told from its values, and continued beyond the map's border."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import gcd

import numpy as np

from .field import EMPTY, FAR, STILL, UNCLIPPED, Cause, Field, Step


def advanced(step: Step | None, advance: Step) -> Step | None:
    """The step along a new axis of which `a` places are `b` of the old one: `advance` `(a, b)`."""
    if step is None or step == STILL:
        return step
    times = step[0] // gcd(step[0], advance[1])
    return advance[0] * times, step[1] * (advance[1] * times // step[0])


def continued(one: Field, at: int, low: int, high: int) -> tuple[np.ndarray, Cause | None]:
    """The values along an axis from place `low` to `high`, those before 0 and after the end included.

    With a cause where the unclipped ones there are a bound at best.
    """
    length = one.shape[at]
    if low == 0 and high == length - 1:
        return one.values, None
    margins = [(0, 0)] * one.values.ndim
    margins[at + 1] = (-low, high - length + 1)
    longer = np.pad(one.values, margins, constant_values=EMPTY)
    step = one.steps[at]
    if step is None:
        step = regular_step(one.values[UNCLIPPED], at + 1)
    outside = np.concatenate([np.arange(low, 0), np.arange(length, high + 1)])
    where: list[slice | np.ndarray] = [slice(None)] * longer.ndim
    where[0], where[at + 1] = UNCLIPPED, outside - low
    longer[tuple(where)], known = _beyond(one.values[UNCLIPPED], at + 1, outside, step)
    cause = Cause(why="beyond the border of an unevenly spaced map, cells are rounded outwards")
    return longer, None if known else cause


def _beyond(values: np.ndarray, axis: int, outside: np.ndarray, step: Step | None) -> tuple[np.ndarray, bool]:
    """Unclipped values `[2, ...]` at places before and after the end of an axis, and whether they are exact.

    Where the period is longer than the map they are rounded outwards; where there is none the border's are repeated.
    """
    length = values.shape[axis]
    period, advance = step or (1, 0)
    exact = step is not None
    if period <= length:
        times = np.where(outside < 0, -(outside // period), -((outside - length) // period) - 1)  # towards the map
        sources = values.take(outside + times * period, axis=axis)
        first = last = -times * advance
    else:
        exact = False
        edges = np.where(outside < 0, 0, length - 1)
        sources = values.take(edges, axis=axis)
        first = (outside - edges) * advance // period
        last = -(-(outside - edges) * advance // period)
    shape = [1] * (values.ndim - 1)
    shape[axis - 1] = len(outside)
    moved = np.stack([-first.reshape(shape), last.reshape(shape)]).astype(np.int32)
    marked = np.abs(sources) >= FAR
    return np.where(marked, sources, sources + moved), exact or bool(marked.all())


_PERIODS = range(1, 9)
"""Tried where steps have to be told from values: a map may be as many times larger by a pixel shuffle."""


def regular_step(values: np.ndarray, axis: int, candidates: Iterable[Step | None] = (), run: int = 1) -> Step | None:
    """How unclipped values `[2, ...]` move along an axis, told from them: one of the candidates or of short periods.

    None where they do not move evenly. Places that see nothing, the whole image or nobody knows what are passed over.
    Each value along the axis is that of `run` places.
    """
    rows = np.moveaxis(values, axis, 1)  # [2, places, ...]
    if _advance(rows, 1, 0, run) is not None:
        return STILL
    periods = [
        *(step for step in candidates if step is not None and step != STILL),
        *((each, None) for each in _PERIODS),
    ]
    for period, advance in periods:
        told = _advance(rows, period, advance, run) if period > 0 else None
        if told:
            return period, told
    return None


_AT_ONCE = 1 << 16


def _advance(rows: np.ndarray, period: int, advance: int | None, run: int) -> int | None:
    """How far all known values `[2, places / run, ...]` move within a period: by `advance`, if given, or all alike.

    None where some do not, or none is known. Goes a piece at a time: of a detector's millions of scores in one row the
    first thousands mostly tell.
    """
    long = max(256, _AT_ONCE * rows.shape[1] // max(rows.size, 1))
    some = False
    for at in range(0, rows.shape[1] * run - period, long):
        piece = _laid_out(rows, at, at + long + period, run)
        known = np.abs(piece) < FAR
        moved = piece[:, period:] - piece[:, :-period]
        moved[0] *= -1  # the first row counts down
        moved = moved[known[:, period:] & known[:, :-period]]
        if not moved.size:
            continue
        advance = int(moved[0]) if advance is None else advance
        if (moved != advance).any():
            return None
        some = True
    return advance if some else None


def _laid_out(rows: np.ndarray, start: int, stop: int, run: int) -> np.ndarray:
    """Places from `start` to `stop` of rows `[2, places / run, ...]`, each value as often as it stands for places."""
    if run == 1:
        return rows[:, start:stop]
    first = start // run
    return np.repeat(rows[:, first : -(-stop // run)], run, axis=1)[:, start - first * run : stop - first * run]


def _once(values: np.ndarray) -> np.ndarray:
    """The values with length 1 along axes where all is alike."""
    for axis in range(1, values.ndim):
        if values.shape[axis] > 1 and repeats(values, axis):
            values = values.take([0], axis=axis)
    return values


def settled(one: Field, told: Sequence[int], candidates: Iterable[Step | None] = ()) -> Field:
    """The field with length 1 along axes where all is alike, and with steps read off its values for some axes."""
    values = _once(one.held)
    run = one.run if values.shape == one.held.shape else 1
    steps = list(one.steps)
    for at in told:
        if values.shape[at + 1] == 1:
            steps[at] = STILL
        else:
            steps[at] = regular_step(values[UNCLIPPED], at + 1, candidates, run)
    return one.with_values(values, run=run, steps=tuple(steps))


def told_from_memory(one: Field, candidates: Iterable[Step | None]) -> Field:
    """A field that is laid out, with nothing repeated and its steps told from the values.

    Places that see nothing around those that do (a picture on a larger page of zeros) are padding: unclipped, the map
    goes on there.
    """
    # First of all, channels are alike as a rule: the steps below then read one of hundreds.
    one = one.with_values(_once(one.values).copy())
    for at in range(len(one.shape)):
        values = one.values[UNCLIPPED]
        if values.shape[at + 1] == 1:
            continue  # all along this axis see something, or none does
        others = tuple(axis for axis in range(values.ndim) if axis != at + 1)
        sees = np.flatnonzero((values != EMPTY).any(axis=others))
        if not sees.size or sees.size == one.shape[at] or sees[-1] - sees[0] + 1 != sees.size:
            continue
        inside = values.take(sees, axis=at + 1)
        step = regular_step(inside, at + 1, candidates)
        if step is None or not 0 < step[0] <= sees.size:
            continue
        outside = np.setdiff1d(np.arange(one.shape[at]), sees)
        where: list[slice | np.ndarray] = [slice(None)] * values.ndim
        where[at + 1] = outside
        values[tuple(where)] = _beyond(inside, at + 1, outside - sees[0], step)[0]
    return settled(one, range(len(one.shape)), candidates)


def repeats(values: np.ndarray, axis: int) -> bool:
    """Whether all along an axis is alike; where it is not, the first and the last place mostly tell."""
    first = values.take([0], axis=axis)
    return bool((values.take([-1], axis=axis) == first).all() and (values == first).all())
