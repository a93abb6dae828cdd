"""Fields of what is computed of several places: of a window, of all along an axis, of the whole tensor."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from .field import EMPTY, FAR, SEEN, STILL, UNCLIPPED, UNKNOWN, WHOLE, Cause, Field, Step, is_whole
from .steps import advanced, continued, regular_step, repeats

# -- windows -----------------------------------------------------------------------------------------------------


def window(
    one: Field,
    at: int,
    table: np.ndarray,
    advance: Step,
    *,
    taken: np.ndarray | None = None,
    inside: np.ndarray | None = None,
) -> Field:
    """Along one axis each new place sees what several old places saw: those of its row of `table`, `[new, taps]`.

    Places before the first or after the last do not exist: nothing is seen there, and the unclipped field goes on
    regularly. `advance` `(a, b)` says that `a` places further along the new axis are `b` further along the old one.
    `taken` `[new, taps]` leaves out taps. `inside` is another table for what is really seen (padding by reflection):
    the unclipped field goes on, and holds that as well.
    """
    length = one.shape[at]
    new = len(table)
    shape = (*one.shape[:at], new, *one.shape[at + 1 :])
    seen = table if inside is None else inside
    exists = (seen >= 0) & (seen < length)
    if taken is not None:
        exists &= taken
    step = advanced(one.steps[at], advance)
    flat = one.values.shape[at + 1] == 1
    if flat and (length > 1 or one.steps[at] == STILL) and exists.any(axis=1).all():
        return one.with_values(one.values, shape=shape, steps=(*one.steps[:at], step, *one.steps[at + 1 :]))
    if flat:
        one = one.with_values(np.repeat(one.values, length, axis=at + 1))
    low, high = min(int(seen.min()), int(table.min()), 0), max(int(seen.max()), int(table.max()), length - 1)
    longer, bound = continued(one, at, low, high)
    values = np.empty((4, *one.values.shape[1 : at + 1], new, *one.values.shape[at + 2 :]), np.int32)
    values[SEEN] = largest(longer[SEEN], at + 1, seen - low, exists)
    values[UNCLIPPED] = largest(longer[UNCLIPPED], at + 1, table - low, taken)
    if inside is not None:
        values[UNCLIPPED] = np.maximum(values[UNCLIPPED], largest(longer[UNCLIPPED], at + 1, seen - low, exists))
        step = regular_step(values[UNCLIPPED], at + 1)
    if step == STILL and repeats(values, at + 1):
        values = values.take([0], axis=at + 1)
    steps = (*one.steps[:at], step, *one.steps[at + 1 :])
    return one.with_values(values, shape=shape, steps=steps, bound=one.bound or bound)


def largest(values: np.ndarray, axis: int, table: np.ndarray, taken: np.ndarray | None) -> np.ndarray:
    """The largest over the taps."""
    best: np.ndarray | None = None
    place = [1] * values.ndim
    place[axis] = len(table)
    for tap in range(table.shape[1]):
        found = values.take(table[:, tap], axis=axis)
        if taken is not None and not taken[:, tap].all():
            found = np.where(taken[:, tap].reshape(place), found, EMPTY)
        best = found if best is None else np.maximum(best, found)
    assert best is not None
    return best


# -- over whole axes ---------------------------------------------------------------------------------------------


def gathered(one: Field, axes: Sequence[int], because: Cause) -> Field:
    """What is computed of all places along these axes together (a mean, a product's inner axis), which become 1 long.

    Where no place in the image is told apart afterwards and they reach over it, the whole map went in: the field is the
    whole image.
    """
    axes = [at % len(one.shape) for at in axes]
    places = [at for at in range(len(one.shape)) if one.moves(at)]
    places += [at for at in axes if at not in places and one.shape[at] == 1 and one.steps[at] not in (STILL, None)]
    varied = tuple(at + 1 for at in axes if one.held.shape[at + 1] > 1)
    values = one.held.max(axis=varied, keepdims=True) if varied else one.held
    shape = tuple(1 if at in axes else length for at, length in enumerate(one.shape))
    steps = tuple(STILL if at in axes and one.shape[at] > 1 else step for at, step in enumerate(one.steps))
    done = one.with_values(values, run=1 if varied else one.run, shape=shape, steps=steps)
    if (
        places
        and not any(done.moves(at) for at in range(len(shape)))
        and _reaches_over(done, [one.steps[at] for at in {*places, *axes}])
    ):
        return _made_whole(done, because)
    return done


def _reaches_over(one: Field, steps: Iterable[Step | None]) -> bool:
    """Whether every value that sees anything sees the image from one end to the other, but for less than a step."""
    spare = max(one.extent // 8 if step is None else -(-abs(step[1]) // step[0]) for step in steps)
    sees = one.values[1] != EMPTY
    first, last = -one.values[0][sees], one.values[1][sees]
    return bool((first <= spare).all() and (last >= one.extent - 1 - spare).all())


def _made_whole(one: Field, because: Cause) -> Field:
    values = one.values.copy()
    finite = np.abs(values[UNCLIPPED]) < FAR
    values[UNCLIPPED][finite] = WHOLE
    # What was unknown before is known now: all of it.
    values[UNCLIPPED][values[UNCLIPPED] == UNKNOWN] = WHOLE
    return one.with_values(values, whole=one.whole or because, unknown=None, bound=None)


def accumulated(one: Field, at: int, *, backwards: bool = False) -> Field:
    """What is computed of all places up to each one along an axis (a running sum), or from each one on."""
    if one.values.shape[at + 1] == 1:
        return one
    order = slice(None, None, -1) if backwards else slice(None)
    where = (*(slice(None),) * (at + 1), order)
    values = np.maximum.accumulate(one.values[where], axis=at + 1)[where]
    step = one.steps[at]
    if step != STILL:
        step = regular_step(values[UNCLIPPED], at + 1)
    return one.with_values(values, steps=(*one.steps[:at], step, *one.steps[at + 1 :]))


def over_all(one: Field, because: Cause) -> Field:
    """What is computed of all values of a tensor, a field of length 1 on all axes."""
    return gathered(one, range(len(one.shape)), because)


def maybe_all(one: Field, because: Cause) -> Field:
    """What may be computed of any of the values: the same as a bound, but where it was the whole image before."""
    return replace(over_all(one, because), bound=None if is_whole(one) else one.bound or because)


def made_unknown(one: Field, because: Cause) -> Field:
    """What an operation that is not followed makes of all values together: not known, but where it is the whole image.

    The seen interval still is that of all the values.
    """
    joined = merged(one)
    unclipped = joined.values[UNCLIPPED]
    unclipped[(unclipped != WHOLE) & (unclipped != EMPTY)] = UNKNOWN
    return replace(joined, unknown=one.unknown or because)


def merged(one: Field) -> Field:
    """The hull of all values, as it is, on a shape of length 1 on all axes."""
    values = one.held.max(axis=tuple(range(1, one.held.ndim)), keepdims=True)
    shape = (1,) * len(one.shape)
    return one.with_values(values, shape=shape, steps=(STILL,) * len(shape), rest=None)


def made_bound(one: Field, because: Cause) -> Field:
    """The field marked as an upper bound; one that is the whole image or a bound already stays as it is."""
    return one if one.bound is not None or is_whole(one) else replace(one, bound=because)
