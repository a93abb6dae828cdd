"""What is kept of a layer's channels while images go by, in bounded memory; two such records join into one exactly.

All of it is about one number for an image and a channel: the largest value of the channel's map. Kept are the images
with the strongest and the weakest of them, with the places where they stand; two samples of the images, drawn by their
names; how often the channel fires; and sums by class, which do not round (`exact`). Each of these is a function of the
set of images alone, so parts in any order give what one run gives.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .exact import LIMBS

SPREAD = 256
"""Of so many images every channel's maximum is kept, for its distribution: all there are, or a sample."""
PICTURED = 48
"""Of so many of these the place is kept as well, and the picture: examples of each quantile are taken from them."""
WEAKEST = 3
GRID = 8
"""So many cells a side has the map that is kept beside each of the strongest units."""


def priority_of(name: str) -> int:
    """By which images are drawn into samples: the lowest ones. It goes by the name alone, so that parts agree."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "big") >> 1


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """Some units of each channel, in order: value float32 `[C, N]`, image int64 `[C, N]` (-1 where there is none) and
    place int32 `[C, N, 3]`: frame, row, column.

    `map` uint8 `[C, N, GRID, GRID]` is the channel's whole map in that image, as coarse as that, from 0 to 255: the
    share of the unit's value. Where maps are not kept it is `[C, N, 0, 0]`.
    """

    value: np.ndarray
    image: np.ndarray
    place: np.ndarray
    map: np.ndarray

    @classmethod
    def none(cls, channels: int, count: int, grid: int = 0) -> Picks:
        return cls(
            np.zeros((channels, count), np.float32),
            np.full((channels, count), -1, np.int64),
            np.zeros((channels, count, 3), np.int32),
            np.zeros((channels, count, grid, grid), np.uint8),
        )

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        return self.value, self.image, self.place, self.map

    @property
    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The values and images, whose last columns say what another unit has to be beyond: `searching.Lists`."""
        return self.value, self.image

    def of(self, channels: np.ndarray) -> Picks:
        return Picks(*(each[channels] for each in self.arrays))

    def joined(self, other: Picks, *, largest: bool) -> Picks:
        """As many of both as there were in this: by value, of equal values by image, then by place."""
        changed = np.asarray((other.image >= 0).any(axis=1))
        if not changed.any():
            return self
        if not changed.all():
            whole = Picks(*(each.copy() for each in self.arrays))
            part = self.of(changed).joined(other.of(changed), largest=largest)
            for ours, theirs in zip(whole.arrays, part.arrays, strict=True):
                ours[changed] = theirs
            return whole
        pairs = zip(self.arrays, other.arrays, strict=True)
        both = Picks(*(np.concatenate(each, axis=1) for each in pairs))
        place, by_value = both.place, -both.value if largest else both.value
        order = np.lexsort((place[..., 2], place[..., 1], place[..., 0], both.image, by_value, both.image < 0), axis=1)
        rows, order = np.arange(len(order))[:, None], order[:, : self.value.shape[1]]
        return Picks(*(each[rows, order] for each in both.arrays))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Every channel's maximum over some images: those of the lowest priority, in the images' order.

    `priority` and `image` int64 `[S]`, `value` float32 `[S, C]` (NaN where an image has none), `place` int32
    `[S, C, 3]` or, of a sample of values alone, `[S, 0, 3]`.
    """

    priority: np.ndarray
    image: np.ndarray
    value: np.ndarray
    place: np.ndarray

    @classmethod
    def none(cls, channels: int, *, places: bool) -> Sample:
        return cls(
            np.zeros(0, np.int64),
            np.zeros(0, np.int64),
            np.zeros((0, channels), np.float32),
            np.zeros((0, channels if places else 0, 3), np.int32),
        )

    def of(self, channels: np.ndarray) -> Sample:
        return replace(
            self, value=self.value[:, channels], place=self.place[:, channels] if self.place.size else self.place
        )

    def joined(self, other: Sample, size: int) -> Sample:
        """Those of both that belong to a sample of this size."""
        if not len(other.priority):
            return self
        priority, image = (np.concatenate([getattr(self, n), getattr(other, n)]) for n in ("priority", "image"))
        kept = np.lexsort((image, priority))[:size]
        kept = kept[np.argsort(image[kept], kind="stable")]
        value = np.concatenate([self.value, other.value])[kept]
        return Sample(priority[kept], image[kept], value, np.concatenate([self.place, other.place])[kept])


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """The maxima's sums by class: `names`, how many finite ones int64 `[G, C]`, and their sums int64 `[G, C, LIMBS]`.

    Where classes are not told apart there is one, of no name.
    """

    names: tuple[str, ...]
    counts: np.ndarray
    limbs: np.ndarray

    @classmethod
    def none(cls, channels: int, names: tuple[str, ...] = ()) -> Classes:
        count = len(names)
        return cls(names, np.zeros((count, channels), np.int64), np.zeros((count, channels, LIMBS), np.int64))

    def joined(self, other: Classes) -> Classes:
        if self.names == other.names:
            return Classes(self.names, self.counts + other.counts, self.limbs + other.limbs)
        names = tuple(sorted({*self.names, *other.names}))
        counts = np.zeros((len(names), *self.counts.shape[1:]), np.int64)
        limbs = np.zeros((len(names), *self.limbs.shape[1:]), np.int64)
        for each in (self, other):
            at = [names.index(name) for name in each.names]
            counts[at] += each.counts
            limbs[at] += each.limbs
        return Classes(names, counts, limbs)


@dataclass(frozen=True, slots=True, eq=False)
class Excitations:
    """What is known of a layer's channels after `images` images in which it ran.

    int64 `[C]`: `fired`, the images in which a channel has a value above zero; `without`, those in which it has no
    number at all (NaN everywhere).
    """

    images: int
    fired: np.ndarray
    without: np.ndarray
    strongest: Picks
    weakest: Picks
    spread: Sample
    pictured: Sample
    classes: Classes

    @classmethod
    def none(cls, channels: int, strongest: int) -> Excitations:
        return cls(
            0,
            np.zeros(channels, np.int64),
            np.zeros(channels, np.int64),
            Picks.none(channels, strongest, GRID),
            Picks.none(channels, WEAKEST),
            Sample.none(channels, places=False),
            Sample.none(channels, places=True),
            Classes.none(channels),
        )

    @property
    def channels(self) -> int:
        return len(self.fired)

    @property
    def nbytes(self) -> int:
        """How much memory the arrays take."""
        arrays = [self.fired, self.without, self.classes.counts, self.classes.limbs]
        for each in (self.strongest, self.weakest, self.spread, self.pictured):
            arrays += each.arrays if isinstance(each, Picks) else [each.value, each.image, each.place]
        return sum(each.nbytes for each in arrays)

    def joined(self, other: Excitations) -> Excitations:
        """That of the images of both, which are others; images are numbered so that all of them differ."""
        return Excitations(
            self.images + other.images,
            self.fired + other.fired,
            self.without + other.without,
            self.strongest.joined(other.strongest, largest=True),
            self.weakest.joined(other.weakest, largest=False),
            self.spread.joined(other.spread, SPREAD),
            self.pictured.joined(other.pictured, PICTURED),
            self.classes.joined(other.classes),
        )

    def renumbered(self, offset: int) -> Excitations:
        """The same images, `offset` further on in a list."""

        def picks(one: Picks) -> Picks:
            return replace(one, image=np.where(one.image < 0, -1, one.image + offset))

        return replace(
            self,
            strongest=picks(self.strongest),
            weakest=picks(self.weakest),
            spread=replace(self.spread, image=self.spread.image + offset),
            pictured=replace(self.pictured, image=self.pictured.image + offset),
        )

    def named(self) -> set[int]:
        """The numbers of the images that are named in it."""
        found: Sequence[np.ndarray] = (self.strongest.image, self.weakest.image, self.pictured.image)
        return {int(each) for one in found for each in np.unique(one) if each >= 0}
