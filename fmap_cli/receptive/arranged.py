"""Fields of values in another arrangement: reordered, reshaped, picked, laid side by side, written into others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from ..network.shapes import blocks
from .field import CAUSES, EMPTY, STILL, UNCLIPPED, Field, Step, common_step, nothing, spread
from .steps import regular_step, settled


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
    return settled(laid_out, range(len(shape)), {step for each in there for step in each.steps})


def reordered(one: Field, order: Sequence[int]) -> Field:
    """Axes in another order: `[B, H, W, C]` of `[B, C, H, W]` by `(0, 2, 3, 1)`."""
    order = [at % len(one.shape) for at in order]
    return one.with_values(
        one.values.transpose(0, *(at + 1 for at in order)),
        shape=tuple(one.shape[at] for at in order),
        steps=tuple(one.steps[at] for at in order),
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
    done = _in_runs(one, shape) if told == [0] and len(shape) == 1 else None
    if done is None:
        values = np.broadcast_to(one.values, (4, *lengths)).reshape(4, *new_lengths)
        done = one.with_values(values, shape=shape, steps=tuple(steps))
    return settled(done, told, one.steps) if told else done


_LONG = 1 << 16
"""Values in a row up to which each has numbers of its own."""


def _in_runs(one: Field, shape: tuple[int, ...]) -> Field | None:
    """All values in one row, held once for all neighbours that see alike; None where there are few, or none do."""
    last = len(one.shape)
    while last and one.held.shape[last] == 1:
        last -= 1
    run = prod(one.shape[last:])
    if run == 1 or shape[0] <= _LONG:
        return None
    held = np.broadcast_to(one.held, (4, *one.shape[:last], *one.held.shape[last + 1 :])).reshape(4, -1)
    return one.with_values(held, run=run, shape=shape, steps=(None,))


def rearranged(one: Field, at: int, order: np.ndarray) -> Field:
    """The places along an axis in another order."""
    if one.values.shape[at + 1] == 1:
        return one
    values = one.values.take(order, axis=at + 1)
    step = one.steps[at]
    if step != STILL:
        step = regular_step(values[UNCLIPPED], at + 1, [step, None if step is None else (step[0], -step[1])])
    return one.with_values(values, steps=(*one.steps[:at], step, *one.steps[at + 1 :]))


def picked(one: Field | None, sources: np.ndarray, candidates: Iterable[Step | None] = ()) -> Field | None:
    """The values of a tensor in any new arrangement: `sources` holds for each new place the old one, counted from 1.

    0 stands for a place that sees nothing. `candidates` are steps that the axes may move by.
    """
    if one is None:
        return None
    laid_out = np.broadcast_to(one.values, (4, *one.shape)).reshape(4, -1)
    with_none = np.concatenate([np.full((4, 1), EMPTY, np.int32), laid_out], axis=1)
    values = with_none[:, sources.ravel()].reshape(4, *sources.shape)
    empty = one.with_values(values, shape=sources.shape, steps=(None,) * sources.ndim)
    done = settled(empty, range(sources.ndim), {*one.steps, *candidates})
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
    steps = [common_step(parts, axis) for axis in range(len(shape))]
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
