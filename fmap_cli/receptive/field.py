"""How far along one axis of the image each value of a tensor sees, as arrays; and what operations make of them.

For every value of a tensor there is an interval of pixels, kept twice. The *seen* interval is the hull of the pixels
that really reach the value at this input size. The *unclipped* one goes on over the image's border as if maps did
not end: it is what tables mean by size, stride and start. Where a convolution's window reaches past the map, the seen
interval finds nothing there, and the unclipped one what the regularity of the map says would be there.

Intervals are joined by their hull and taken apart by nothing, so four numbers that only ever grow describe them:
minus the first pixel and the last one, seen and unclipped. The hull of two is the larger of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import gcd, lcm, prod

import numpy as np

from ..network.shapes import blocks

EMPTY = -(1 << 30)
"""In all four numbers: sees nothing of the image."""
UNKNOWN = 1 << 29
"""In the unclipped two: an operation that fmap does not follow was on the way."""
WHOLE = 1 << 30
"""In the unclipped two: an operation over the whole map was on the way, so the whole image whatever its size."""
FAR = 1 << 28  # beyond any pixel: what is farther is one of the three above

SEEN, UNCLIPPED = slice(0, 2), slice(2, 4)
STILL = (1, 0)

Step = tuple[int, int]
"""`(period, advance)`: one `period` further along an axis of the tensor everything is `advance` pixels further."""


@dataclass(eq=False, slots=True)
class Cause:
    """What made a field no finite box, or one that is only a bound; `layer` is filled in when its name is known.

    `what` is an operation; or, where `why` has the whole reason in words, empty.
    """

    what: str = ""
    why: str = ""
    layer: str = ""


@dataclass(frozen=True, eq=False, slots=True)
class Field:
    """One axis of the image, `extent` pixels long, for every value of a tensor of this `shape`.

    `values` is int32 `[4, ...]`: minus the first pixel seen, the last one, and the same unclipped. Behind the first
    axis stand the tensor's own, of length 1 where the field is the same all along. `steps` says for each axis of the
    tensor how the unclipped field moves along it, `STILL` where it does not (channels), None where not regularly.
    The causes say where the first of each kind came from. A value sees what it sees by `rest`, too: of a query by a
    key the one varies along the rows and the other along the columns, and laid out they would fill hundreds of
    megabytes. All that is done with fields can be done with the parts, one by one.
    """

    shape: tuple[int, ...]
    values: np.ndarray
    steps: tuple[Step | None, ...]
    extent: int
    whole: Cause | None = None
    unknown: Cause | None = None
    bound: Cause | None = None
    rest: Field | None = None
    # Which axes vary is asked more often than it changes.
    _varies: dict[int, bool] = field(default_factory=dict, repr=False)

    @property
    def parts(self) -> tuple[Field, ...]:
        """The field as fields without a `rest`."""
        return (replace(self, rest=None), *self.rest.parts) if self.rest is not None else (self,)

    def varies(self, at: int) -> bool:
        """Whether the unclipped field differs along an axis."""
        if self.values.shape[at + 1] == 1:
            return False
        if at not in self._varies:
            values = self.values[UNCLIPPED]
            self._varies[at] = bool((values != values.take([0], axis=at + 1)).any())
        return self._varies[at]

    def moves(self, at: int) -> bool:
        """Whether places along this axis are places in the image, as far as is known."""
        return self.steps[at] != STILL and self.varies(at)


def pixels(shape: Sequence[int], at: int) -> Field:
    """The field of an image of this shape whose axis `at` is the one in question: each pixel sees itself.

    >>> field = pixels((1, 3, 4, 4), 2)
    >>> field.values.shape, field.values[1].ravel().tolist(), field.steps
    ((4, 1, 1, 4, 1), [0, 1, 2, 3], ((1, 0), (1, 0), (1, 1), (1, 0)))
    """
    lengths = [1] * len(shape)
    lengths[at] = shape[at]
    places = np.arange(shape[at], dtype=np.int32).reshape(lengths)
    steps = tuple((1, 1) if each == at else STILL for each in range(len(shape)))
    return Field(tuple(shape), np.stack([-places, places, -places, places]), steps, shape[at])


CAUSES = ("whole", "unknown", "bound")


# -- joining -----------------------------------------------------------------------------------------------------


def spread(one: Field, shape: Sequence[int]) -> Field:
    """The field of a tensor broadcast to another shape."""
    shape = tuple(shape)
    if shape == one.shape:
        return one
    new = len(shape) - len(one.shape)
    values = one.values.reshape(4, *(1,) * new, *one.values.shape[1:])
    steps = list((STILL,) * new + one.steps)
    for at, length in enumerate(shape):
        if at >= new and one.shape[at - new] != length:
            steps[at] = STILL
    rest = None if one.rest is None else spread(one.rest, shape)
    return replace(one, shape=shape, values=values, steps=tuple(steps), rest=rest, _varies={})


def hull(fields: Iterable[Field | None], shape: Sequence[int] | None = None) -> Field | None:
    """Of tensors that meet value by value (an addition): each value sees what either saw. None where none sees."""
    there = [part for each in fields if each is not None for part in each.parts]
    if not there:
        return None
    if shape is None:
        shape = np.broadcast_shapes(*(each.shape for each in there))
    kept: list[Field] = []
    for each in dict.fromkeys(there):
        part = spread(each, shape)
        for at, other in enumerate(kept):
            if _cheap_to_join(part, other):
                kept[at] = _joined(other, part)
                break
        else:
            kept.append(part)
    joined = kept.pop()
    while kept:
        joined = replace(kept.pop(), rest=joined)
    return joined


_SMALL = 1 << 16


def _cheap_to_join(one: Field, other: Field) -> bool:
    size = prod(max(lengths) for lengths in zip(one.values.shape, other.values.shape, strict=True))
    return size <= max(_SMALL, one.values.size, other.values.size)


def _joined(one: Field, other: Field) -> Field:
    values = one.values if one.values is other.values else np.maximum(one.values, other.values)
    steps = tuple(_common_step((one, other), at) for at in range(len(one.shape)))
    bound = one.bound or other.bound
    if bound is not None and any(each.bound is None and is_whole(each) for each in (one, other)):
        bound = None  # no bound is needed where the whole image is seen in any case
    extent = max(one.extent, other.extent)
    return Field(one.shape, values, steps, extent, one.whole or other.whole, one.unknown or other.unknown, bound)


def _common_step(fields: Sequence[Field], at: int) -> Step | None:
    """How all of these move along an axis; None where they move differently.

    What is the whole image wherever it is, or nothing, moves along with anything.
    """
    steps = {each.steps[at] for each in fields if (np.abs(each.values[UNCLIPPED]) < FAR).any()}
    if not steps:
        return fields[0].steps[at]
    common, *others = steps
    for step in others:
        if common is None or step is None or common[1] * step[0] != step[1] * common[0]:
            return None
        period = lcm(common[0], step[0])
        common = period, common[1] * period // common[0]
    return common


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
    step = _advanced(one.steps[at], advance)
    flat = one.values.shape[at + 1] == 1
    if flat and (length > 1 or one.steps[at] == STILL) and exists.any(axis=1).all():
        return replace(one, shape=shape, steps=(*one.steps[:at], step, *one.steps[at + 1 :]), _varies={})
    if flat:
        one = replace(one, values=np.repeat(one.values, length, axis=at + 1), _varies={})
    low, high = min(int(seen.min()), int(table.min()), 0), max(int(seen.max()), int(table.max()), length - 1)
    longer, bound = _continued(one, at, low, high)
    values = np.empty((4, *one.values.shape[1 : at + 1], new, *one.values.shape[at + 2 :]), np.int32)
    values[SEEN] = _gathered(longer[SEEN], at + 1, seen - low, exists)
    values[UNCLIPPED] = _gathered(longer[UNCLIPPED], at + 1, table - low, taken)
    if inside is not None:
        values[UNCLIPPED] = np.maximum(values[UNCLIPPED], _gathered(longer[UNCLIPPED], at + 1, seen - low, exists))
        step = regular_step(values[UNCLIPPED], at + 1)
    if step == STILL and _repeats(values, at + 1):
        values = values.take([0], axis=at + 1)
    steps = (*one.steps[:at], step, *one.steps[at + 1 :])
    return replace(one, shape=shape, values=values, steps=steps, bound=one.bound or bound, _varies={})


def _advanced(step: Step | None, advance: Step) -> Step | None:
    if step is None or step == STILL:
        return step
    times = step[0] // gcd(step[0], advance[1])
    return advance[0] * times, step[1] * (advance[1] * times // step[0])


def _gathered(values: np.ndarray, axis: int, table: np.ndarray, taken: np.ndarray | None) -> np.ndarray:
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


def _continued(one: Field, at: int, low: int, high: int) -> tuple[np.ndarray, Cause | None]:
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


def regular_step(values: np.ndarray, axis: int, candidates: Iterable[Step | None] = ()) -> Step | None:
    """How unclipped values `[2, ...]` move along an axis, told from them: one of the candidates or of short periods.

    None where they do not move evenly. Places that see nothing, the whole image or nobody knows what are passed over.
    """
    rows = np.moveaxis(values, axis, 1)  # [2, places, ...]
    known = np.abs(rows) < FAR
    moved = np.diff(rows, axis=1)[known[:, 1:] & known[:, :-1]]
    if moved.size and not moved.any():
        return STILL
    periods = [
        *(step for step in candidates if step is not None and step != STILL),
        *((each, None) for each in _PERIODS),
    ]
    for period, advance in periods:
        if not 0 < period < rows.shape[1]:
            continue
        both = known[:, period:] & known[:, :-period]
        if not both.any():
            continue
        moved = rows[:, period:] - rows[:, :-period]
        moved[0] *= -1  # the first row counts down
        if advance is None:
            advance = int(moved[both][0])
        if advance and (moved[both] == advance).all():
            return period, advance
    return None


# -- over whole axes ---------------------------------------------------------------------------------------------


def gathered(one: Field, axes: Sequence[int], because: Cause) -> Field:
    """What is computed of all places along these axes together (a mean, a product's inner axis), which become 1 long.

    Where no place in the image is told apart afterwards and they reach over it, the whole map went in: the field is the
    whole image.
    """
    axes = [at % len(one.shape) for at in axes]
    places = [at for at in range(len(one.shape)) if one.moves(at)]
    places += [at for at in axes if at not in places and one.shape[at] == 1 and one.steps[at] not in (STILL, None)]
    varied = tuple(at + 1 for at in axes if one.values.shape[at + 1] > 1)
    values = one.values.max(axis=varied, keepdims=True) if varied else one.values
    shape = tuple(1 if at in axes else length for at, length in enumerate(one.shape))
    steps = tuple(STILL if at in axes and one.shape[at] > 1 else step for at, step in enumerate(one.steps))
    done = replace(one, shape=shape, values=values, steps=steps, _varies={})
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
    return replace(one, values=values, whole=one.whole or because, unknown=None, bound=None, _varies={})


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
    return replace(one, values=values, steps=(*one.steps[:at], step, *one.steps[at + 1 :]), _varies={})


def written_into(
    one: Field | None, other: Field | None, targets: np.ndarray, shape: Sequence[int], *, over: bool
) -> Field | None:
    """A tensor of this `shape` into which the values of another were put, or added to what was there (not `over`).

    `targets` says for each value of the other tensor in which place of the first it went, counted from 0.
    """
    if one is None and other is None:
        return None
    shape = tuple(shape)
    base = nothing(shape) if one is None else one
    values = np.broadcast_to(base.values, (4, *shape)).reshape(4, -1).copy()
    places = targets.ravel()
    if over:
        values[:, places] = EMPTY
    if other is not None:
        added = np.broadcast_to(spread(other, targets.shape).values, (4, *targets.shape)).reshape(4, -1)
        for row, new in zip(values, added, strict=True):
            np.maximum.at(row, places, new)
    there = [each for each in (one, other) if each is not None]
    whole, unknown, bound = (next((c for each in there if (c := getattr(each, name))), None) for name in CAUSES)
    laid_out = Field(shape, values.reshape(4, *shape), (None,) * len(shape), there[0].extent, whole, unknown, bound)
    return _settled(laid_out, range(len(shape)), {step for each in there for step in each.steps})


def flat(one: Field) -> Field:
    """The field as one part, with a value for each cell."""
    if one.rest is None:
        return one
    first, *others = one.parts
    for other in others:
        first = _joined(first, other)
    return first


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
    values = one.values.max(axis=tuple(range(1, one.values.ndim)), keepdims=True)
    shape = (1,) * len(one.shape)
    return replace(one, shape=shape, values=values, steps=(STILL,) * len(shape), rest=None, _varies={})


def made_bound(one: Field, because: Cause) -> Field:
    """The field marked as an upper bound; one that is the whole image or a bound already stays as it is."""
    return one if one.bound is not None or is_whole(one) else replace(one, bound=because)


def is_whole(one: Field) -> bool:
    """Whether all values see the whole image."""
    return bool((one.values[UNCLIPPED] == WHOLE).all())


# -- moving ------------------------------------------------------------------------------------------------------


def reordered(one: Field, order: Sequence[int]) -> Field:
    """Axes in another order: `[B, H, W, C]` of `[B, C, H, W]` by `(0, 2, 3, 1)`."""
    order = [at % len(one.shape) for at in order]
    return replace(
        one,
        shape=tuple(one.shape[at] for at in order),
        values=one.values.transpose(0, *(at + 1 for at in order)),
        steps=tuple(one.steps[at] for at in order),
        _varies={},
    )


def reshaped(one: Field, shape: Sequence[int]) -> Field:
    """The field with its values reshaped, in their order."""
    shape = tuple(shape)
    if shape == one.shape:
        return one
    lengths: list[int] = []  # of `values`, fully laid out where an axis is divided or joined
    new_lengths: list[int] = []
    steps: list[Step | None] = []
    told: list[int] = []  # axes whose steps have to be told from the values
    for old, new in blocks(one.shape, shape):
        kept = [at for at in old if one.shape[at] != 1]
        fresh = [at for at in new if shape[at] != 1]
        same = len(kept) == len(fresh) == 1 or (not kept and len(old) == len(new))
        if not kept and not same:
            # Axes of length 1 come and go. One that moves (a map of one cell) is remembered where it has a successor.
            steps += [STILL] * len(new)
            lengths += [1] * len(old)
            new_lengths += [1] * len(new)
        elif same:
            source = iter([one.steps[at] for at in (kept or old)])
            steps += [next(source) if (at in fresh or not fresh) else STILL for at in new]
            lengths += [one.values.shape[at + 1] for at in old]
            length = [one.values.shape[at + 1] for at in (kept or old)]
            source_lengths = iter(length)
            new_lengths += [next(source_lengths) if (at in fresh or not fresh) else 1 for at in new]
        elif all(one.values.shape[at + 1] == 1 for at in old):
            steps += [STILL] * len(new)
            lengths += [1] * len(old)
            new_lengths += [1] * len(new)
        else:
            moving = [one.steps[at] != STILL for at in kept]
            steps += [None if any(moving) else STILL] * len(new)
            told += [at for at in new if any(moving)]
            lengths += [one.shape[at] for at in old]
            new_lengths += [shape[at] for at in new]
    values = np.broadcast_to(one.values, (4, *lengths)).reshape(4, *new_lengths)
    done = replace(one, shape=shape, values=values, steps=tuple(steps), _varies={})
    return _settled(done, told, one.steps) if told or values.shape[1:] != tuple(new_lengths) else done


def _settled(one: Field, told: Sequence[int], candidates: Iterable[Step | None] = ()) -> Field:
    """The field with length 1 along axes where all is alike, and with steps read off its values for some axes."""
    values = one.values
    steps = list(one.steps)
    for at in range(len(one.shape)):
        if values.shape[at + 1] > 1 and _repeats(values, at + 1):
            values = values.take([0], axis=at + 1)
    for at in told:
        if values.shape[at + 1] == 1:
            steps[at] = STILL
        else:
            steps[at] = regular_step(values[UNCLIPPED], at + 1, candidates)
    return replace(one, values=values, steps=tuple(steps), _varies={})


def told_from_memory(one: Field, candidates: Iterable[Step | None]) -> Field:
    """A field that is laid out, with nothing repeated and its steps told from the values.

    Places that see nothing around those that do (a picture on a larger page of zeros) are padding: unclipped, the map
    goes on there.
    """
    one = replace(one, values=one.values.copy(), _varies={})
    for at in range(len(one.shape)):
        values = one.values[UNCLIPPED]
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
    return _settled(one, range(len(one.shape)), candidates)


def _repeats(values: np.ndarray, axis: int) -> bool:
    """Whether all along an axis is alike; where it is not, the first and the last place mostly tell."""
    first = values.take([0], axis=axis)
    return bool((values.take([-1], axis=axis) == first).all() and (values == first).all())


def rearranged(one: Field, at: int, order: np.ndarray) -> Field:
    """The places along an axis in another order."""
    if one.values.shape[at + 1] == 1:
        return one
    values = one.values.take(order, axis=at + 1)
    step = one.steps[at]
    if step != STILL:
        step = regular_step(values[UNCLIPPED], at + 1, [step, None if step is None else (step[0], -step[1])])
    return replace(one, values=values, steps=(*one.steps[:at], step, *one.steps[at + 1 :]), _varies={})


def picked(one: Field | None, sources: np.ndarray, candidates: Iterable[Step | None] = ()) -> Field | None:
    """The values of a tensor in any new arrangement: `sources` holds for each new place the old one, counted from 1.

    0 stands for a place that sees nothing. `candidates` are steps that the axes may move by.
    """
    if one is None:
        return None
    laid_out = np.broadcast_to(one.values, (4, *one.shape)).reshape(4, -1)
    with_none = np.concatenate([np.full((4, 1), EMPTY, np.int32), laid_out], axis=1)
    values = with_none[:, sources.ravel()].reshape(4, *sources.shape)
    empty = replace(one, shape=sources.shape, values=values, steps=(None,) * sources.ndim, _varies={})
    done = _settled(empty, range(sources.ndim), {*one.steps, *candidates})
    if all(each == STILL for each in one.steps):
        done = replace(done, steps=(STILL,) * sources.ndim)
    return done


def side_by_side(fields: Sequence[Field | None], shapes: Sequence[Sequence[int]], at: int) -> Field | None:
    """Tensors one behind the other along an axis: each place sees what it saw before."""
    there = [each for each in fields if each is not None]
    if not there:
        return None
    at %= len(shapes[0])
    parts = [each if each is not None else nothing(shape) for each, shape in zip(fields, shapes, strict=True)]
    shape = list(parts[0].shape)
    shape[at] = sum(part.shape[at] for part in parts)
    lengths = [1 if axis == at else max(part.values.shape[axis + 1] for part in parts) for axis in range(len(shape))]
    steps = [_common_step(parts, axis) for axis in range(len(shape))]
    if any(part.steps[at] != STILL for part in parts):
        steps[at] = None  # one map beside another
    alike = all(part.values.shape[at + 1] == 1 and (part.values == parts[0].values).all() for part in parts)
    if alike and steps[at] == STILL:
        values = parts[0].values
    else:
        pieces = []
        for part in parts:
            lengths[at] = part.shape[at]
            pieces.append(np.broadcast_to(part.values, (4, *lengths)))
        values = np.concatenate(pieces, axis=at + 1)
    whole, unknown, bound = (
        next((cause for part in there if (cause := getattr(part, name)) is not None), None) for name in CAUSES
    )
    return Field(tuple(shape), values, tuple(steps), there[0].extent, whole, unknown, bound)


def nothing(shape: Sequence[int]) -> Field:
    """A tensor that sees nothing of the image: a constant, a parameter."""
    return Field(tuple(shape), np.full((4, *(1,) * len(shape)), EMPTY, np.int32), (STILL,) * len(shape), 0)
