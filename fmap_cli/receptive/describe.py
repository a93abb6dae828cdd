"""Fields of a layer's output, value by value → size, stride and start for people, and the box of any unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod
from typing import Any

import numpy as np
import torch

from ..network.axes import channel_maps
from ..network.records import Axes
from . import field as fields
from .field import Field
from .records import FieldAxis, FieldGroup, ReceptiveField, UnitBox
from .steps import regular_step, repeats

_PLACES = {"T": 2, "H": 3, "W": 4}
"""Where an axis stands in `[4, C, T, H, W]`."""

_PRODUCTS = ("addmm", "mm", "bmm", "baddbmm", "addmv", "mv", "dot", "matmul", "linear")
"""What torch calls a matrix product, as a linear layer makes one."""

_MOST_GROUPS = 64
_MOST_CHANNELS = 1 << 16
_AT_ONCE = 1 << 15
"""Channels whose numbers fit into the processor's cache."""


def describe(
    found: Sequence[Field | None] | None, axes: Axes, shape: Sequence[int], names: Sequence[str], sizes: Sequence[int]
) -> ReceptiveField:
    """What a layer's units see of an input whose axes `names` are `sizes` long.

    `found` is what `Follower.fields_of` has of its output, `axes` are those of the output of this `shape`.

    >>> from .field import pixels
    >>> shape = (1, 3, 8, 6)
    >>> found = [pixels(shape, 2), pixels(shape, 3)]
    >>> seen = describe(found, Axes(("B", "C", "H", "W"), ""), shape, ("H", "W"), (8, 6))
    >>> [(each.axis, each.kind, each.size, int(each.stride), each.start) for each in seen.axes], seen.cells
    ([('H', 'exact', 1, 1, 0), ('W', 'exact', 1, 1, 0)], (8, 6))
    """
    return Describer(names, sizes).describe(found, axes, shape)


class Describer:
    """Says what layers' units see of an input whose axes `names` are `sizes` long.

    What is asked for again is not worked out again: a normalisation and a ReLU see what the convolution before them
    does, and most channels of joined maps are those of earlier ones. Who asks keeps the fields, whose causes tell them
    apart.
    """

    def __init__(self, names: Sequence[str], sizes: Sequence[int]) -> None:
        self.names = names
        self.sizes = sizes
        self._layers: dict[Any, ReceptiveField] = {}
        self._axes: dict[Any, FieldAxis] = {}

    def describe(self, found: Sequence[Field | None] | None, axes: Axes, shape: Sequence[int]) -> ReceptiveField:
        """What a layer's units see: of its output of this `shape` `Follower.fields_of` has `found`, and `axes` are
        those of the output.
        """
        told_by = (
            tuple(_told_by(each) for each in found or ()),
            (axes.names, axes.grid, axes.prefix),
            tuple(shape),
        )
        known = self._layers.get(told_by)
        if known is None:
            known = self._layers[told_by] = self._described(found or [None] * len(self.names), axes, shape)
        return known

    def _described(self, listed: Sequence[Field | None], axes: Axes, shape: Sequence[int]) -> ReceptiveField:
        whole = [fields.nothing(shape) if each is None else each for each in listed]
        run = _common_run(whole, axes)
        extents = tuple(_arranged(each, axes, run) for each in whole)
        steps = [_own_step(each, axes, name) for each, name in zip(whole, self.names, strict=True)]
        cells = _cells(axes, shape, self.names)

        count, ranges = _alike(extents, run)
        merged = not cells and (count != 1 or any(_differs(each) for each in whole))

        blind = _some_see_nothing(extents, self.sizes)

        def along_axes(parts: Sequence[np.ndarray]) -> tuple[FieldAxis, ...]:
            return tuple(
                self._along(name, part, step, _causes(each), bool(cells), merged, blind)
                for name, part, step, each in zip(self.names, parts, steps, whole, strict=True)
            )

        groups: tuple[FieldGroup, ...] = ()
        if count > 1:
            groups = tuple(
                FieldGroup(each, along_axes([_of_channel(part, each[0][0]) for part in extents])) for each in ranges
            )
        return ReceptiveField(along_axes(extents), groups, count, cells, _share(extents, self.sizes), extents, run)

    def _along(
        self,
        name: str,
        extent: np.ndarray,
        step: fields.Step | None,
        causes: _Causes,
        has_places: bool,
        merged: bool,
        blind: bool,
    ) -> FieldAxis:
        if extent.shape[1] > 1:
            extent = extent.max(axis=1, keepdims=True)
        if extent.size > _MOST_COMPARED:
            return _axis(name, extent, step, causes, has_places, merged=merged, blind=blind)
        told_by = name, _contents(extent), step, tuple(map(id, causes)), has_places, merged, blind
        known = self._axes.get(told_by)
        if known is None:
            known = _axis(name, extent, step, causes, has_places, merged=merged, blind=blind)
            self._axes[told_by] = known
        return known


_MOST_COMPARED = 1 << 18
"""Numbers up to which arrays are told to be alike by what they hold, and beyond by being the same one."""


def _contents(values: np.ndarray) -> Any:
    """Something that is equal for equal arrays only, as long as they are kept."""
    return (values.shape, values.tobytes()) if values.size <= _MOST_COMPARED else id(values)


def _told_by(one: Field | None) -> Any:
    """Something that is equal for fields of which the same is to be said."""
    if one is None:
        return None
    return one.shape, one.steps, _contents(one.held), tuple(map(id, _own_causes(one))), _told_by(one.rest)


_Causes = tuple[fields.Cause | None, ...]
"""One of each kind in `fields.CAUSES`."""


def _own_causes(one: Field) -> _Causes:
    return tuple(getattr(one, kind) for kind in fields.CAUSES)


def _causes(one: Field) -> _Causes:
    """The first of each kind among all parts."""
    kinds = zip(*map(_own_causes, one.parts), strict=True)
    return tuple(next((cause for cause in each if cause), None) for each in kinds)


def box_of(seen: ReceptiveField, channel: int | None, place: tuple[int, int, int]) -> UnitBox:
    """The box of one unit of a layer, or of all its channels together; `place` is its frame, row and column."""
    inside: list[tuple[int, int] | None] = []
    outside: list[tuple[int, int] | None] = []
    for extent in seen.extents:
        if channel is None:
            extent = extent.max(axis=1, keepdims=True)
        first, last, *unclipped = _read_at(extent, np.array([(channel or 0, *place)]), seen.run)[:, 0].tolist()
        inside.append(None if last == fields.EMPTY else (-first, last))
        outside.append((-unclipped[0], unclipped[1]) if abs(unclipped[1]) < fields.FAR else None)
    return UnitBox(tuple(inside), tuple(outside))


def spans_of(seen: ReceptiveField, units: np.ndarray) -> np.ndarray:
    """The unclipped boxes of units, `[N, 4]` of channel, frame, row and column: first and last pixel along each axis,
    int64 `[N, axes, 2]`. Along an axis where a unit sees all, or nothing, the last one comes before the first.
    """
    found = np.empty((len(units), len(seen.extents), 2), np.int64)
    for axis, extent in enumerate(seen.extents):
        _, _, first, last = _read_at(extent, units, seen.run)
        finite = np.abs(last) < fields.FAR
        found[:, axis] = np.where(finite[:, None], np.stack([-first, last], axis=1), (0, -1))
    return found


def _read_at(extent: np.ndarray, units: np.ndarray, run: int) -> np.ndarray:
    """Of an extent `[4, C / run, T, H, W]` the numbers of units `[N, 4]`, int64 `[4, N]`; on axes of length 1 all are
    one."""
    at = np.minimum(units // (run, 1, 1, 1), np.array(extent.shape[1:]) - 1)
    return extent[:, at[:, 0], at[:, 1], at[:, 2], at[:, 3]].astype(np.int64)


# -- from the output's axes to channels and places ---------------------------------------------------------------


def _common_run(listed: Sequence[Field], axes: Axes) -> int:
    """Of how many neighbouring channels one has the numbers of all, in each of these fields."""
    if axes.names != ("C",):
        return 1
    runs = {part.run for each in listed for part in each.parts if part.held.size > 4}
    return runs.pop() if len(runs) == 1 else 1


def _arranged(one: Field, axes: Axes, run: int) -> np.ndarray:
    """`[4, C / run, T, H, W]` of the first item of the batch, of length 1 where all is alike.

    Of a layer without a map it is what any place sees, for each channel if there is an axis of channels.
    """
    if not prod(one.shape):
        return np.full((4, 1, 1, 1, 1), fields.EMPTY, np.int32)
    joined: np.ndarray | None = None
    for part in one.parts:
        laid_out = _as_maps(part, axes) if _has_places(axes) else _as_channels(part, axes, run)
        joined = laid_out if joined is None else np.maximum(joined, laid_out)
    assert joined is not None
    for axis in range(1, 5):
        if joined.shape[axis] > 1 and repeats(joined, axis):
            joined = joined.take([0], axis=axis)
    return joined


def _has_places(axes: Axes) -> bool:
    """Whether the output is a map or a sequence: places of it are places in the image along one axis at least."""
    return axes.spatial or any(name in axes.names for name in _PLACES)


def _as_maps(part: Field, axes: Axes) -> np.ndarray:
    if axes.names.count("C") == 1 and not {*axes.names} & {"N", "?"}:
        return _as_plain_maps(part, axes)
    rows = []
    for row in torch.from_numpy(part.values.copy()):
        maps = channel_maps(row.expand(part.shape), axes)
        rows.append(maps[tuple(slice(0, 1) if step == 0 else slice(None) for step in maps.stride())])
    return torch.stack(rows).numpy()


def _as_plain_maps(part: Field, axes: Axes) -> np.ndarray:
    """What `channel_maps` makes of each of the four numbers where there are channels and places alone."""
    order = [axes.names.index(name) if name in axes.names else None for name in "CTHW"]
    where = tuple(slice(None) if at in order else slice(0, 1) for at in range(len(part.shape)))
    values = part.values[(slice(None), *where)]  # the first item of the batch
    lengths = [1 if at is None else values.shape[at + 1] for at in order]
    others = [at + 1 for at in range(len(part.shape)) if at not in order]
    values = values.transpose(0, *(at + 1 for at in order if at is not None), *others)
    return values.reshape(4, *lengths)  # [4, C, T, H, W]


def _as_channels(part: Field, axes: Axes, run: int) -> np.ndarray:
    values = part.values if run == 1 else part.held
    named = len(axes.names) == len(part.shape)
    for at, name in enumerate(axes.names if named else ()):
        if name.startswith("B"):
            values = values.take([0], axis=at + 1)
    kept = axes.names.index("C") + 1 if named and axes.names.count("C") == 1 else None
    others = tuple(axis for axis in range(1, values.ndim) if axis != kept)
    if any(values.shape[axis] != 1 for axis in others):
        values = values.max(axis=others, keepdims=True)
    return values.reshape(4, -1, 1, 1, 1)


def _differs(one: Field) -> bool:
    """Whether values see differently."""
    return one.rest is not None or any(
        length > 1 and bool((one.held != one.held.take([0], axis=axis)).any())
        for axis, length in enumerate(one.held.shape)
        if axis
    )


def _own_step(one: Field, axes: Axes, name: str) -> fields.Step | None:
    """How the field moves along the output's axis of that name: known even where the map has one cell."""
    if name not in axes.names or len(axes.names) != len(one.shape):
        return None
    step = one.steps[axes.names.index(name)]
    return None if step == fields.STILL else step


def _cells(axes: Axes, shape: Sequence[int], names: Sequence[str]) -> tuple[int, ...]:
    if not _has_places(axes):
        return ()
    sizes = dict(zip(axes.names, shape, strict=True))
    if axes.grid is not None:
        sizes["H"], sizes["W"] = axes.grid
    return tuple(sizes.get(name, 1) for name in names)


def _alike(extents: Sequence[np.ndarray], run: int = 1) -> tuple[int, list[tuple[tuple[int, int], ...]]]:
    """How many kinds of channels there are, those that see alike being one; and each kind's channels as ranges.

    Extents have one channel for `run` of them. Kinds are in the order of their first channels, and listed where they
    are not too many. 0 is for too many to count.
    """
    count = max(extent.shape[1] for extent in extents)
    if count == 1:
        return 1, [((0, 0),)]
    if count * run > _MOST_CHANNELS:  # a detector's scores of every place
        return 0, []
    rows = [
        extent[fields.UNCLIPPED].swapaxes(0, 1).reshape(count, -1) for extent in extents if extent.shape[1] > 1
    ]  # [C, ...]
    # Joined maps are runs of channels that see alike: of each the first stands for all.
    starts = np.flatnonzero(np.r_[True, _any_differs(rows)])
    kind = np.zeros(len(starts), np.int64)
    for columns in rows:
        columns = columns[starts]
        # One number after the other: sorting numbers is many times quicker than sorting rows of them.
        for column in columns[:, (columns != columns[:1]).any(axis=0)].T:
            _, rank = np.unique(column, return_inverse=True)
            _, kind = np.unique(kind * (int(rank.max()) + 1) + rank, return_inverse=True)
    number = int(kind.max()) + 1
    if number > _MOST_GROUPS:
        return number, []
    kind = np.repeat(kind, np.diff(np.r_[starts, count]))
    order = np.argsort(np.unique(kind, return_index=True)[1])
    return number, [_ranges(np.flatnonzero(kind == each)) for each in order]


def _any_differs(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Which rows differ from those before them, in any of the tables `[C, ...]`; `[C - 1]`."""
    found: np.ndarray | None = None
    for table in rows:
        differs = (table[1:] != table[:-1]).any(axis=1)
        found = differs if found is None else found | differs
    assert found is not None
    return found


def _ranges(channels: np.ndarray) -> tuple[tuple[int, int], ...]:
    """Runs of neighbours.

    >>> _ranges(np.array([0, 1, 2, 5, 7, 8]))
    ((0, 2), (5, 5), (7, 8))
    """
    breaks = np.flatnonzero(np.diff(channels) > 1)
    starts, ends = channels[np.r_[0, breaks + 1]], channels[np.r_[breaks, len(channels) - 1]]
    return tuple((int(start), int(end)) for start, end in zip(starts, ends, strict=True))


def _of_channel(extent: np.ndarray, channel: int) -> np.ndarray:
    at = min(channel, extent.shape[1] - 1)
    return extent[:, at : at + 1]


def _share(extents: Sequence[np.ndarray], sizes: Sequence[int]) -> float:
    """The largest part of the input that a unit sees, axis by axis for each channel."""
    count = max(extent.shape[1] for extent in extents)
    largest = 0.0
    for at in range(0, count, _AT_ONCE):
        share = np.ones(1)
        for extent, size in zip(extents, sizes, strict=True):
            seen = extent[:2, at : at + _AT_ONCE] if extent.shape[1] > 1 else extent[:2]
            along = np.where(seen[1] == fields.EMPTY, 0, seen[1] + seen[0] + 1)
            if prod(along.shape[1:]) != 1:
                along = along.max(axis=(1, 2, 3), initial=0)
            share = share * along.reshape(-1) / size  # [C]
        largest = max(largest, float(share.max(initial=0)))
    return largest


# -- one axis ----------------------------------------------------------------------------------------------------


def _axis(
    name: str,
    extent: np.ndarray,
    step: fields.Step | None,
    causes: _Causes,
    has_places: bool,
    *,
    merged: bool,
    blind: bool,
) -> FieldAxis:
    """What units see along an axis; `extent` is `[4, 1, T, H, W]`.

    Of a layer without a map, `merged` says that its values see differently, and `extent` is for all of them together.
    `blind` says that nothing reaches some unit though its unclipped field has pixels in the image.
    """
    unclipped = extent[fields.UNCLIPPED]
    whole, unknown, bound = causes
    if (unclipped == fields.EMPTY).all():
        return FieldAxis(name, "nothing")
    if (unclipped == fields.UNKNOWN).any():
        return _because(FieldAxis(name, "unknown"), unknown, "fmap does not follow {}")
    if (unclipped == fields.WHOLE).any():
        if bound is not None:
            return _because(FieldAxis(name, "upper bound"), bound, "which cells {} reads depends on values")
        return _because(FieldAxis(name, "whole image"), whole, "{} takes in the whole map")
    sees = unclipped[1] != fields.EMPTY
    first, last = -unclipped[0], unclipped[1]
    spans = (last - first + 1)[sees]
    size, least = int(spans.max()), int(spans.min())
    evenly, stride = _stride(unclipped, _PLACES[name], step) if has_places else (True, None)
    axis = FieldAxis(name, "exact", size, stride, int(first[sees][0]), least)
    if bound is not None:
        return _because(replace(axis, kind="upper bound"), bound, "which cells {} reads depends on values")
    reasons = {
        "that of all its values together; each sees a part": merged,
        f"units see {least} to {size} px": size != least,
        "some units see nothing": not sees.all() or blind,
        "some units see less": _some_see_less(extent),
        "units are unevenly spaced": not evenly or (stride is not None and stride.denominator > 1),
    }
    why = next((words for words, holds in reasons.items() if holds), "")
    return replace(axis, kind="upper bound", why=why) if why else axis


def _some_see_nothing(extents: Sequence[np.ndarray], sizes: Sequence[int]) -> bool:
    """Whether nothing reaches a unit whose unclipped field has pixels in the image."""
    if not any((extent[1] == fields.EMPTY).any() for extent in extents):
        return False
    shape = np.broadcast_shapes(*(extent.shape[1:] for extent in extents))
    blind, inside = np.zeros(shape, bool), np.ones(shape, bool)
    for extent, size in zip(extents, sizes, strict=True):
        blind |= extent[1] == fields.EMPTY
        inside &= (-extent[2] < size) & (extent[3] >= 0) & (extent[3] != fields.EMPTY)
    return bool((blind & inside).any())


def _some_see_less(extent: np.ndarray) -> bool:
    """Whether a unit away from the border of what the layer sees at all sees less, or more, than its unclipped field.

    At the border maps end, and fields with them.
    """
    sees = extent[1] != fields.EMPTY
    if not sees.any():
        return False
    first, last = -extent[0], extent[1]
    inside = sees & (-extent[2] >= first[sees].min()) & (extent[3] <= last[sees].max())
    inside &= np.abs(extent[3]) < fields.FAR
    less = (extent[0] != extent[2]) | (extent[1] != extent[3])
    beyond = sees & ((first < -extent[2]) | (last > extent[3]))
    return bool((inside & less).any() or beyond.any())


def _stride(unclipped: np.ndarray, place: int, step: fields.Step | None) -> tuple[bool, Fraction | None]:
    """Whether the field moves along its own axis alone and from each unit alike; and how far, on average."""
    for axis in range(1, unclipped.ndim):
        if axis != place and unclipped.shape[axis] > 1 and regular_step(unclipped, axis) != fields.STILL:
            return False, None
    if unclipped.shape[place] == 1:
        return True, None if step is None else Fraction(step[1], step[0])
    told = regular_step(unclipped, place, [step])
    if told is None:
        return False, None if step is None else Fraction(step[1], step[0])
    return told[0] == 1, Fraction(told[1], told[0])


def _because(axis: FieldAxis, cause: fields.Cause | None, words: str) -> FieldAxis:
    if cause is None:
        return axis
    what = f"a matrix product ({cause.what})" if cause.what in _PRODUCTS else cause.what
    return replace(axis, by=cause.layer, why=cause.why or words.format(what))
