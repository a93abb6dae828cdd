"""How far along one axis of the image each value of a tensor sees, as arrays; and several joined.

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
from math import lcm, prod
from typing import Any

import numpy as np

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
    axis stand the tensor's own, of length 1 where the field is the same all along. Of a row of very many values (a
    detector's scores) of which `run` neighbours each see alike, `held` has one for all of these; otherwise it is
    `values`, which are laid out when somebody asks for them. `steps` says for each axis of the
    tensor how the unclipped field moves along it, `STILL` where it does not (channels), None where not regularly.
    The causes say where the first of each kind came from. A value sees what it sees by `rest`, too: of a query by a
    key the one varies along the rows and the other along the columns, and laid out they would fill hundreds of
    megabytes. All that is done with fields can be done with the parts, one by one.
    """

    shape: tuple[int, ...]
    held: np.ndarray
    steps: tuple[Step | None, ...]
    extent: int
    whole: Cause | None = None
    unknown: Cause | None = None
    bound: Cause | None = None
    rest: Field | None = None
    run: int = 1
    # Which axes vary is asked more often than it changes, and a row is laid out once.
    _varies: dict[int, bool] = field(default_factory=dict, repr=False)
    _laid_out: list[np.ndarray] = field(default_factory=list, repr=False)

    @property
    def values(self) -> np.ndarray:
        if self.run == 1:
            return self.held
        if not self._laid_out:
            self._laid_out.append(np.repeat(self.held, self.run, axis=1))
        return self._laid_out[0]

    def with_values(self, values: np.ndarray, *, run: int = 1, **changes: Any) -> Field:
        """The field with other values, and what else changes."""
        return replace(self, held=values, run=run, _varies={}, _laid_out=[], **changes)

    @property
    def parts(self) -> tuple[Field, ...]:
        """The field as fields without a `rest`."""
        return (replace(self, rest=None), *self.rest.parts) if self.rest is not None else (self,)

    def varies(self, at: int) -> bool:
        """Whether the unclipped field differs along an axis."""
        if self.held.shape[at + 1] == 1:
            return False
        if at not in self._varies:
            values = self.held[UNCLIPPED]
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
    return one.with_values(values, shape=shape, steps=tuple(steps), rest=rest)


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
    steps = tuple(common_step((one, other), at) for at in range(len(one.shape)))
    bound = one.bound or other.bound
    if bound is not None and any(each.bound is None and is_whole(each) for each in (one, other)):
        bound = None  # no bound is needed where the whole image is seen in any case
    extent = max(one.extent, other.extent)
    return Field(one.shape, values, steps, extent, one.whole or other.whole, one.unknown or other.unknown, bound)


def common_step(fields: Sequence[Field], at: int) -> Step | None:
    """How all of these move along an axis; None where they move differently.

    What is the whole image wherever it is, or nothing, moves along with anything.
    """
    steps = {each.steps[at] for each in fields if (np.abs(each.held[UNCLIPPED]) < FAR).any()}
    if not steps:
        return fields[0].steps[at]
    common, *others = steps
    for step in others:
        if common is None or step is None or common[1] * step[0] != step[1] * common[0]:
            return None
        period = lcm(common[0], step[0])
        common = period, common[1] * period // common[0]
    return common


def flat(one: Field) -> Field:
    """The field as one part, with a value for each cell."""
    if one.rest is None:
        return one
    first, *others = one.parts
    for other in others:
        first = _joined(first, other)
    return first


def is_whole(one: Field) -> bool:
    """Whether all values see the whole image."""
    return bool((one.held[UNCLIPPED] == WHOLE).all())


def nothing(shape: Sequence[int]) -> Field:
    """A tensor that sees nothing of the image: a constant, a parameter."""
    return Field(tuple(shape), np.full((4, *(1,) * len(shape)), EMPTY, np.int32), (STILL,) * len(shape), 0)
