"""The record of a layer's channels while a run is going: what each batch shows is put where it belongs, in place."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

import numpy as np

from .exact import count_in
from .excitations import PICTURED, SPREAD, Classes, Excitations, Picks, Sample
from .putting import put_in

if TYPE_CHECKING:
    from .watching import Seen


_ZERO = np.float32(0)
"""Adding it turns -0.0 into 0.0. The two compare equal, so which of them a search finds depends on how it is cut up."""


class Rows:
    """A sample of the images that is being drawn: `Sample`, of at most `size` images.

    Images come in the order of their numbers; `last` is the largest priority. Values and places lie in arrays that have
    room for all: as arrays of their own, made for each image, they would keep much freed memory from being used again.
    """

    def __init__(self, sample: Sample, size: int) -> None:
        self.size = size
        self.priority: list[int] = sample.priority.tolist()
        self.image: list[int] = sample.image.tolist()
        self.last = max(self.priority, default=0)
        self._sample: Sample | None = sample
        self._value = self._place = np.empty(0)
        self._rows: list[int] = []  # where the images are in these arrays, while there is no sample

    def wants(self, priority: int) -> bool:
        """Whether an image of this priority, after all that are here, belongs to the sample."""
        return len(self.priority) < self.size or priority < self.last

    def add(self, priority: int, image: int, value: np.ndarray, place: np.ndarray | None = None) -> None:
        if self._sample is not None:
            self._unfold(self._sample)
        full = len(self.priority) == self.size
        row = len(self._rows)
        if full:  # of equal priorities the first image stays
            last = self.size - 1 - self.priority[::-1].index(self.last)
            row = self._rows.pop(last)
            del self.priority[last], self.image[last]
        self.priority.append(priority)
        self.image.append(image)
        self._rows.append(row)
        self._value[row] = value
        if place is not None:
            self._place[row] = place
        self.last = max(self.priority) if full else max(self.last, priority)

    def sample(self) -> Sample:
        """The images so far, in arrays that are never changed."""
        if self._sample is None:
            value, place = self._value[self._rows] + _ZERO, self._place[self._rows]
            priority, image = np.array(self.priority, np.int64), np.array(self.image, np.int64)
            self._sample = Sample(priority, image, value, place)
            self._value = self._place = np.empty(0)
        return self._sample

    def _unfold(self, sample: Sample) -> None:
        count = len(sample.priority)
        self._value = np.empty((self.size, *sample.value.shape[1:]), np.float32)
        self._place = np.empty((self.size, *sample.place.shape[1:]), np.int32)
        self._value[:count], self._place[:count] = sample.value, sample.place
        self._rows = list(range(count))
        self._sample = None


def take_all(pairs: Sequence[tuple[Keeper, Seen]], helpers: Executor | None, threads: int) -> None:
    """Let each keeper take in what a batch shows of its layer, in so many threads, of which all but one are `helpers`'.

    Most of it is machine code, which lets other threads run.
    """
    left = iter(pairs)

    def some() -> None:
        for keeper, seen in left:
            keeper.take(seen)

    others = [] if helpers is None else [helpers.submit(some) for _ in range(min(threads, len(pairs)) - 1)]
    try:
        some()
    finally:
        for each in others:
            each.result()


class Keeper:
    """A layer's channels after the batches so far. Images come in the order of their numbers."""

    def __init__(self, record: Excitations) -> None:
        self.record: Excitations | None = record
        self.images = record.images
        self.fired, self.without = record.fired, record.without
        self.strongest, self.weakest, self.classes = record.strongest, record.weakest, record.classes
        self.spread, self.pictured = Rows(record.spread, SPREAD), Rows(record.pictured, PICTURED)

    def copy(self) -> Keeper:
        return Keeper(self.excitations())

    def take(self, seen: Seen) -> None:
        """Put in what a batch shows."""
        if self.record is not None:  # which is handed out: from here on these arrays are another state's
            self._part()
        self.images += len(seen.images)
        at = self._class_of(seen.group)
        of_class = self.classes.counts[at], self.classes.limbs[at]
        count_in(seen.maxima, seen.valid, self.fired, self.without, *of_class)
        put_in(self.strongest.arrays, self.weakest.arrays, seen.images, seen.size, seen.found)
        for at, priority in enumerate(seen.priorities):
            if not self.spread.wants(priority):  # nor then the smaller sample
                continue
            image = int(seen.images[at])
            value = np.where(seen.valid[at], seen.maxima[at], np.float32(np.nan)) if seen.lost else seen.maxima[at]
            self.spread.add(priority, image, value)
            if self.pictured.wants(priority):
                self.pictured.add(priority, image, value, seen.places(at))

    def excitations(self) -> Excitations:
        """The record so far, which what comes later leaves as it is."""
        if self.record is None:
            for picks in (self.strongest, self.weakest):
                np.add(picks.value, _ZERO, out=picks.value)
            self.record = Excitations(
                self.images,
                self.fired,
                self.without,
                self.strongest,
                self.weakest,
                self.spread.sample(),
                self.pictured.sample(),
                self.classes,
            )
        return self.record

    def _part(self) -> None:
        self.record = None
        self.fired, self.without = self.fired.copy(), self.without.copy()
        self.strongest, self.weakest = (Picks(*map(np.copy, each.arrays)) for each in (self.strongest, self.weakest))
        self.classes = Classes(self.classes.names, self.classes.counts.copy(), self.classes.limbs.copy())

    def _class_of(self, group: str) -> int:
        """The row of a class in the sums, which is made where there is none."""
        if group not in self.classes.names:
            self.classes = self.classes.joined(Classes.none(len(self.fired), (group,)))
        return self.classes.names.index(group)
