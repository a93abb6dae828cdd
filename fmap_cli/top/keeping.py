"""The record of a layer's channels while a run is going: what each batch shows is put where it belongs, in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from .exact import count_in
from .excitations import PICTURED, SPREAD, Classes, Excitations, Picks, Sample
from .searching import STRONG, WEAK, insert_all

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
        full = len(self.priority) == self.size
        if full:  # of equal priorities the first image stays
            last = self.size - 1 - self.priority[::-1].index(self.last)
            del self.priority[last], self.image[last], self.value[last], self.place[last]
        self.priority.append(priority)
        self.image.append(image)
        self.value.append(value)
        self.place.append(place)
        self.last = max(self.priority) if full else max(self.last, priority)

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

    def take(self, seen: Seen) -> None:
        """Put in what a batch shows."""
        if self.record is not None:  # which is handed out: from here on these arrays are another state's
            self._part()
        self.images += len(seen.images)
        at = self._class_of(seen.group)
        of_class = self.classes.counts[at], self.classes.limbs[at]
        count_in(seen.maxima, seen.valid, self.fired, self.without, *of_class)
        self._insert(seen)
        for at, priority in enumerate(seen.priorities):
            if not self.spread.wants(priority):  # nor then the smaller sample
                continue
            image = int(seen.images[at])
            value = (
                np.where(seen.valid[at], seen.maxima[at], np.float32(np.nan)) if seen.lost else seen.maxima[at].copy()
            )
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

    def _class_of(self, group: str) -> int:
        """The row of a class in the sums, which is made where there is none."""
        if group not in self.classes.names:
            self.classes = self.classes.joined(Classes.none(len(self.fired), (group,)))
        return self.classes.names.index(group)

    def _insert(self, seen: Seen) -> None:
        units = seen.channel, seen.images[seen.image], seen.value, seen.at, seen.coarse
        if len(seen.kinds):
            insert_all(self.strongest.arrays, units, seen.kinds, STRONG, seen.size, 1)
            insert_all(self.weakest.arrays, units, seen.kinds, WEAK, seen.size, -1)
