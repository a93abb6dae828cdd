"""The record of a layer's channels while a run is going: what each batch shows is put where it belongs, in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .exact import limbs_of
from .excitations import PICTURED, SPREAD, Classes, Excitations, Picks, Sample

if TYPE_CHECKING:
    from .watching import Seen


@dataclass(slots=True)
class Rows:
    """A sample of the images that is being drawn: `Sample`, a row an image, of at most `size` images.

    Images come in the order of their numbers; `last` is the largest priority.
    """

    size: int
    priority: list[int] = field(default_factory=list)
    image: list[int] = field(default_factory=list)
    value: list[np.ndarray] = field(default_factory=list)
    place: list[np.ndarray] = field(default_factory=list)
    last: int = 0

    @classmethod
    def of(cls, sample: Sample, size: int) -> Rows:
        priority = sample.priority.tolist()
        rows = list(sample.value), list(sample.place)
        return cls(size, priority, sample.image.tolist(), *rows, max(priority, default=0))

    def wants(self, priority: int) -> bool:
        """Whether an image of this priority, after all that are here, belongs to the sample."""
        return len(self.priority) < self.size or priority < self.last

    def add(self, priority: int, image: int, value: np.ndarray, place: np.ndarray) -> None:
        if len(self.priority) == self.size:  # of equal priorities the first image stays
            last = self.size - 1 - self.priority[::-1].index(self.last)
            del self.priority[last], self.image[last], self.value[last], self.place[last]
        self.priority.append(priority)
        self.image.append(image)
        self.value.append(value)
        self.place.append(place)
        self.last = max(self.priority)

    def sample(self) -> Sample:
        """The images so far. The rows are then parts of its arrays, which are never changed."""
        value, place = np.stack(self.value), np.stack(self.place)
        self.value, self.place = list(value), list(place)
        return Sample(np.array(self.priority, np.int64), np.array(self.image, np.int64), value, place)


class Keeper:
    """A layer's channels after the batches so far. Images come in the order of their numbers."""

    def __init__(self, record: Excitations) -> None:
        self.record: Excitations | None = record
        self.images = record.images
        self.fired, self.without = record.fired, record.without
        self.strongest, self.weakest, self.classes = record.strongest, record.weakest, record.classes
        self.spread, self.pictured = Rows.of(record.spread, SPREAD), Rows.of(record.pictured, PICTURED)

    def copy(self) -> Keeper:
        return Keeper(self.excitations())

    def may_be_strong(self, maxima: np.ndarray) -> np.ndarray:
        """Which of the maxima `[B, C]` belong to the channels' strongest, whatever else is in the batch."""
        found: np.ndarray = (maxima > self.strongest.value[:, -1]) | (self.strongest.image[:, -1] < 0)
        return found

    def may_be_weak(self, maxima: np.ndarray) -> np.ndarray:
        """Which of the maxima `[B, C]` belong to the channels' weakest, whatever else is in the batch."""
        found: np.ndarray = (maxima < self.weakest.value[:, -1]) | (self.weakest.image[:, -1] < 0)
        return found

    def take(self, seen: Seen) -> None:
        """Put in what a batch shows."""
        if self.record is not None:  # which is handed out: from here on these arrays are another state's
            self._part()
        finite = seen.valid & np.isfinite(seen.maxima)
        self.images += len(seen.images)
        self.fired += (seen.valid & (seen.maxima > 0)).sum(axis=0)
        self.without += (~seen.valid).sum(axis=0)
        self._add_sums(seen.group, finite.sum(axis=0), limbs_of(np.where(finite, seen.maxima, 0)))
        self._insert(seen)
        for at, priority in enumerate(seen.priorities):
            if not self.spread.wants(priority):  # nor then the smaller sample
                continue
            image = int(seen.images[at])
            value = np.where(seen.valid[at], seen.maxima[at], np.float32(np.nan))
            self.spread.add(priority, image, value, np.zeros((0, 3), np.int32))
            if self.pictured.wants(priority):
                self.pictured.add(priority, image, value, seen.places(at))

    def excitations(self) -> Excitations:
        """The record so far, which what comes later leaves as it is."""
        if self.record is None:
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

    def _add_sums(self, group: str, counts: np.ndarray, limbs: np.ndarray) -> None:
        if group not in self.classes.names:
            self.classes = self.classes.joined(Classes((group,), counts[None], limbs[None]))
            return
        at = self.classes.names.index(group)
        self.classes.counts[at] += counts
        self.classes.limbs[at] += limbs

    def _insert(self, seen: Seen) -> None:
        from .searching import insert_all

        units = seen.channel, seen.images[seen.image], seen.value, seen.at, seen.coarse
        strong = seen.strong[:, None] & (seen.at >= 0)
        if strong.any():
            insert_all(self.strongest.arrays, units, strong, seen.size, 1)
        weak = np.zeros_like(strong)
        weak[:, 0] = seen.weak & (seen.at[:, 0] >= 0)
        if weak.any():
            insert_all(self.weakest.arrays, units, weak, seen.size, -1)
