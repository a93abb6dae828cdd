"""A trace as the events of two steps in a row, at any batch: how much lives at each, and how much a batch may be.

The first step makes the optimiser's state, the second is like all that follow. Between them the answer, the loss and
the gradients go, as `zero_grad` lets go of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from .records import MemoryTrace


@dataclass(frozen=True, slots=True)
class Program:
    """Two steps (or one inference) as events over storages, int32, a storage's number plus one, negative at its end.

    `origin` is the storage of the trace that each is an instance of, `sizes` the bytes of each, `places` the layer at
    work at each event, `phases` the index in `names` of the part of the step.
    """

    events: np.ndarray
    sizes: np.ndarray
    origin: np.ndarray
    places: np.ndarray
    phases: np.ndarray
    names: tuple[str, ...]

    @property
    def steady(self) -> int:
        """The first event of the last step."""
        last = len(self.names) - 1 - self.names[::-1].index("forward")
        return int(np.searchsorted(self.phases, last))

    def live(self) -> np.ndarray:
        """The bytes alive after each event."""
        at = np.abs(self.events) - 1
        return np.cumsum(np.where(self.events > 0, self.sizes[at], -self.sizes[at]))


def program(trace: MemoryTrace) -> Program:
    """The events of a trace in the order in which two steps would run them."""
    parts = _parts(trace)
    count = len(trace.sizes)
    events: list[np.ndarray] = []
    places: list[np.ndarray] = []
    names: list[str] = []

    def add(name: str, which: np.ndarray, where: np.ndarray) -> None:
        names.append(name)
        events.append(which)
        places.append(where)

    def nowhere(which: np.ndarray) -> np.ndarray:
        return np.full(len(which), -1, np.int32)

    for name in ("setup", "forward", "backward", "step"):
        if name in parts:
            add(name, *parts[name])
    clones = np.arange(count, dtype=np.int32)
    if "backward" in parts:
        one = np.concatenate(events)
        alive = np.zeros(count, bool)
        alive[one[one > 0] - 1] = True
        alive[-one[one < 0] - 1] = False
        gone = -parts["end"][0] - 1
        gone = gone[alive[gone]]
        gradients = np.array([kind == "gradients" for kind in trace.kinds], bool) & alive
        gone = np.concatenate([gone, np.flatnonzero(gradients)]).astype(np.int32)
        add("zero", -gone - 1, nowhere(gone))
        twice = [parts[name][0] for name in ("forward", "backward")]
        made = np.concatenate(twice)
        made = made[made > 0] - 1
        temporary = ~np.isin(made, np.flatnonzero(alive)) | np.isin(made, gone)
        made = made[temporary]
        clones[made] = count + np.arange(len(made), dtype=np.int32)
        ours = np.zeros(count, bool)
        ours[made] = True
        for name in ("forward", "backward"):
            which, where = parts[name]
            keep = ours[np.abs(which) - 1]
            which, where = which[keep], where[keep]
            add(name, (np.sign(which) * (clones[np.abs(which) - 1] + 1)).astype(np.int32), where)
        if "second step" in parts:
            add("step", *parts["second step"])
        origin = np.concatenate([np.arange(count, dtype=np.int32), made.astype(np.int32)])
    else:
        origin = np.arange(count, dtype=np.int32)
    phases = np.concatenate([np.full(len(each), at, np.int8) for at, each in enumerate(events)])
    return Program(
        events=np.concatenate(events),
        sizes=trace.sizes[origin],
        origin=origin,
        places=np.concatenate(places),
        phases=phases,
        names=tuple(names),
    )


def _parts(trace: MemoryTrace) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    starts = [start for _, start in trace.sections] + [len(trace.events)]
    return {
        name: (trace.events[start:end], trace.places[start:end])
        for (name, start), end in zip(trace.sections, starts[1:], strict=True)
    }


@dataclass(frozen=True, slots=True)
class AnyBatch:
    """A step whose storages have `fixed + per_item * batch` bytes each, from traces at two batches."""

    program: Program
    fixed: np.ndarray
    per_item: np.ndarray

    def at(self, batch: int) -> Program:
        return replace(self.program, sizes=(self.fixed + self.per_item * batch)[self.program.origin])

    def at_least(self, batch: int) -> int:
        """The most bytes of tensors alive at once, which no allocator stays below and which grow with the batch."""
        return int(self.at(batch).live().max())


def for_any_batch(first: MemoryTrace, batch: int, second: MemoryTrace, other: int) -> AnyBatch | None:
    """The step at any batch out of two traces; None where their events differ, or bytes are no whole number an item."""
    if not np.array_equal(first.events, second.events) or first.kinds != second.kinds:
        return None
    grown = second.sizes - first.sizes
    if (grown % (other - batch)).any():
        return None
    per_item = grown // (other - batch)
    return AnyBatch(program(first), first.sizes - per_item * batch, per_item)


_MOST_BATCH = 1 << 24


def largest(
    bytes_of: Callable[[int], int],
    budget: int,
    guess: int = 1,
    *,
    at_least: Callable[[int], int] | None = None,
    window: int = 3,
) -> int:
    """The largest batch that fits in a budget, or 0: it fits, one more does not, nor any up to `window` more.

    What an allocator takes does not always grow with the batch, so where one more does not fit, two more may.
    `at_least` is a bound from below on `bytes_of` that does grow and is quickly found: what lies above the budget by it
    need not be tried, and where its last batch within the budget is at most `window` more, no larger one fits at all.
    A `guess` saves trials where it is near.

    >>> tried = []
    >>> largest(lambda batch: tried.append(batch) or 100 + 7 * batch, 200, guess=13, window=1)
    14
    >>> tried
    [13, 14, 16, 15]
    >>> largest(lambda batch: 30 if batch in (3, 7, 9) else 10 * batch, 30, at_least=lambda batch: 3 * batch, window=9)
    9
    """

    known: dict[int, bool] = {}

    def fits(batch: int) -> bool:
        if batch not in known:
            known[batch] = batch < 1 or (batch <= _MOST_BATCH and bytes_of(batch) <= budget)
        return known[batch]

    low = _border(fits, guess)
    while True:
        top = low + window
        if at_least is not None:
            top = min(top, _border(partial(_may_fit, at_least, budget, low), low))
        further = next((batch for batch in range(top, low + 1, -1) if fits(batch)), None)
        if further is None:
            return low
        low = _border(fits, further)


def _may_fit(at_least: Callable[[int], int], budget: int, known: int, batch: int) -> bool:
    return batch <= known or (batch <= _MOST_BATCH and at_least(batch) <= budget)


def _border(fits: Callable[[int], bool], guess: int) -> int:
    """A batch that fits while one more does not; 0, where none is found, counts as one that fits."""
    low = high = max(min(guess, _MOST_BATCH), 1)
    step = 1
    if fits(low):
        while fits(high := low + step):
            low, step = high, step * 2
    else:
        while not fits(low := max(high - step, 0)):
            high, step = low, step * 2
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
