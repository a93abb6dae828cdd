"""What is counted of each channel, declared once: what it is, how two records of it join, what is derived from it.

Whoever makes or keeps these numbers goes by `FIELDS`: machine code (`kernels`) and torch (`reference`) fill a row each,
a run's layers stand end to end in them (`gather`), run files hold them (`runs`). A further field is an entry of
`ChannelStats`, and its arithmetic in `kernels` and in `reference`; what follows from the fields is a property. What of
it is shown, and under which name, is an entry of `columns`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Any, NamedTuple

import numpy as np

# -- how a field joins -------------------------------------------------------------------------------------------


class _Two(NamedTuple):
    """Two records of the same channels with what joining their moments takes, a number a channel."""

    first: ChannelStats
    second: ChannelStats
    counted: np.ndarray  # finite values of the first
    share: np.ndarray  # the second's part of all finite values
    delta: np.ndarray  # from the first's mean to the second's; 0 where one has none
    plain: bool  # whether every channel has finite values in both, which is cheaper


class _All(NamedTuple):
    """The channels of one record with what taking them together takes."""

    channels: ChannelStats
    finite: np.ndarray  # finite values of each
    known: np.ndarray  # where there are any
    mean: float  # of all of them, NaN where there is none
    apart: np.ndarray  # from that mean to each channel's; 0 where one has none


class _Way(NamedTuple):
    """How a field's numbers become one: those of two records, and those of all channels of one record."""

    join: Callable[[_Two, np.ndarray, np.ndarray], np.ndarray]
    fold: Callable[[_All, np.ndarray], Any]


# Chan, Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979), 2.1.
_AS_MEAN = _Way(
    lambda two, first, second: (
        first + two.delta * two.share if two.plain else np.where(two.counted > 0, first + two.delta * two.share, second)
    ),
    lambda every, _: every.mean,
)
_AS_SQUARES = _Way(
    lambda two, first, second: first + second + two.delta * two.delta * two.counted * two.share,
    lambda every, values: np.sum(values) + np.sum(every.apart * every.apart * every.finite),
)
_LEAST = _Way(
    lambda two, first, second: (np.minimum if two.plain else np.fmin)(first, second),
    lambda every, values: np.min(values[every.known]) if every.known.any() else np.nan,
)
_GREATEST = _Way(
    lambda two, first, second: (np.maximum if two.plain else np.fmax)(first, second),
    lambda every, values: np.max(values[every.known]) if every.known.any() else np.nan,
)
_SUM = _Way(lambda _, first, second: first + second, lambda _, values: np.sum(values))


# -- the declaration ---------------------------------------------------------------------------------------------


class Field(NamedTuple):
    """A number that is counted of each channel.

    A moment is float64 and over the finite values; a tally is int64 and among all values. `empty` is what it is where
    no value has been seen. A moment that is `new` may be missing from older run files, and is NaN then.
    """

    way: _Way
    is_moment: bool
    empty: float
    new: bool = False

    @property
    def dtype(self) -> type[np.generic]:
        return np.float64 if self.is_moment else np.int64


def _moment(way: _Way, empty: float = np.nan, *, new: bool = False) -> dict[str, Field]:
    return {"field": Field(way, True, empty, new)}


_TALLY = {"field": Field(_SUM, False, 0)}


@dataclass(frozen=True, slots=True)
class ChannelStats:
    """What is known of each of C channels after any number of images; `merge` joins two of them.

    Over the finite values, float64 `[C]`: `mean`, `m2` (sum of squared distances from the mean), `min` and `max`, NaN
    where no value is finite. int64 `[C]` among the channel's `count` values: `zeros`, `nan` and `inf` (both signs).
    `histogram` counts the finite values in the cells of `moments.BIN_EDGES`: int64 `[C, K]`, or `[1, K]` for all
    channels together; None where it was not asked for.
    """

    count: int
    mean: np.ndarray = field(metadata=_moment(_AS_MEAN))
    m2: np.ndarray = field(metadata=_moment(_AS_SQUARES, empty=0.0))
    min: np.ndarray = field(metadata=_moment(_LEAST))
    max: np.ndarray = field(metadata=_moment(_GREATEST))
    zeros: np.ndarray = field(metadata=_TALLY)
    nan: np.ndarray = field(metadata=_TALLY)
    inf: np.ndarray = field(metadata=_TALLY)
    histogram: np.ndarray | None = None

    @property
    def finite(self) -> np.ndarray:
        """How many of each channel's values are finite, int64 `[C]`."""
        finite: np.ndarray = self.count - self.nan - self.inf
        return finite

    @property
    def std(self) -> np.ndarray:
        """The standard deviation, divided by n - 1 as `torch.std` does; NaN where fewer than two values are finite."""
        finite = self.finite
        return np.sqrt(np.divide(self.m2, finite - 1, where=finite > 1, out=np.full(len(finite), np.nan)))

    @property
    @np.errstate(over="ignore")
    def l2(self) -> np.ndarray:
        """The root of the sum of squares of the finite values."""
        return np.sqrt(self.m2 + self.finite * np.where(self.finite > 0, self.mean, 0.0) ** 2)

    @property
    def rms(self) -> np.ndarray:
        """The root of the mean square of the finite values; NaN where there is none."""
        finite = self.finite
        return np.divide(self.l2, np.sqrt(finite), where=finite > 0, out=np.full(len(finite), np.nan))

    @property
    def extent(self) -> Extent:
        return Extent(self.count, len(self.mean), None if self.histogram is None else len(self.histogram))

    @staticmethod
    def of_rows(count: int, moments: np.ndarray, tallies: np.ndarray, histogram: np.ndarray | None) -> ChannelStats:
        """The record whose fields are the rows of these arrays, in the order of `MOMENTS` and of `TALLIES`."""
        return ChannelStats(count, *moments, *tallies, histogram=histogram)  # type: ignore[misc]

    @staticmethod
    def of_nothing(channels: int, histogram: np.ndarray | None) -> ChannelStats:
        """The record of so many channels of which no value has been seen."""
        empty = {name: np.full(channels, each.empty, each.dtype) for name, each in FIELDS.items()}
        return ChannelStats(0, **empty, histogram=histogram)


FIELDS: dict[str, Field] = {
    each.name: each.metadata["field"] for each in fields(ChannelStats) if "field" in each.metadata
}
MOMENTS = tuple(name for name, each in FIELDS.items() if each.is_moment)
TALLIES = tuple(name for name, each in FIELDS.items() if not each.is_moment)
"""Names of fields in the order of the rows that kernels fill."""
assert (*MOMENTS, *TALLIES) == (*FIELDS,), "moments are declared before tallies: `of_rows` takes them in that order"


# -- joining -----------------------------------------------------------------------------------------------------


def merge(first: ChannelStats, second: ChannelStats) -> ChannelStats:
    """The record of both runs' values, as of one run over all of them, to the rounding of float64.

    A histogram that only one has, or that one has by channel and the other for all together, is the coarser of the two.

    >>> import torch
    >>> from fmap_cli.statistics.reference import channel_stats
    >>> both = merge(channel_stats(torch.tensor([[0.0, 1.0]])), channel_stats(torch.tensor([[2.0, 6.0]])))
    >>> both.count, both.mean.tolist(), both.m2.tolist(), both.max.tolist(), both.zeros.tolist()
    (4, [2.25], [20.75], [6.0], [1])
    """
    joined = _joined(first, second)
    return ChannelStats(first.count + second.count, **joined, histogram=_added(first.histogram, second.histogram))


def _joined(first: ChannelStats, second: ChannelStats) -> dict[str, np.ndarray]:
    """The fields of both records' values, by name."""
    counted, added = first.finite, second.finite
    total = counted + added
    plain = bool(len(total)) and counted.min() > 0 and added.min() > 0
    with np.errstate(invalid="ignore", over="ignore"):
        if plain:
            share, delta = added / total, second.mean - first.mean
        else:
            share = np.divide(added, total, out=np.zeros(len(total)), where=total > 0)
            delta = np.where((counted > 0) & (added > 0), second.mean - first.mean, 0.0)
        two = _Two(first, second, counted, share, delta, plain)
        return {name: each.way.join(two, getattr(first, name), getattr(second, name)) for name, each in FIELDS.items()}


def _added(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    if first is None or second is None:
        return None
    if len(first) != len(second):
        first, second = first.sum(0, keepdims=True), second.sum(0, keepdims=True)
    return first + second


@np.errstate(invalid="ignore", over="ignore")
def whole(channels: ChannelStats) -> ChannelStats:
    """All channels as one: the record of the whole layer, with C = 1."""
    finite = channels.finite
    known = finite > 0
    total = finite.sum()
    mean = np.sum(np.where(known, channels.mean, 0.0) * finite) / total if total else np.nan
    apart = np.where(known, channels.mean - mean, 0.0) if total else np.zeros(len(finite))
    together = _All(channels, finite, known, mean, apart)
    histogram = channels.histogram
    return ChannelStats(
        channels.count * len(finite),
        **{name: np.array([each.way.fold(together, getattr(channels, name))]) for name, each in FIELDS.items()},
        histogram=None if histogram is None else histogram.sum(0, keepdims=True),
    )


class Extent(NamedTuple):
    """What a record takes in a row of many: so many channels of so many values each, and rows of histograms."""

    values: int
    channels: int
    histograms: int | None


def end_to_end(records: Sequence[ChannelStats]) -> ChannelStats:
    """The channels of many records one after another, which one `merge` joins with those of others.

    Its `count` is int64 `[C]`, each channel's own. `cut_apart` makes many of it again.
    """
    counts = np.repeat([each.count for each in records], [len(each.mean) for each in records])
    histograms = [each.histogram for each in records if each.histogram is not None]
    return ChannelStats(
        counts,  # type: ignore[arg-type]  # an array, for as long as the records are one
        **{name: np.concatenate([getattr(each, name) for each in records]) for name in FIELDS},
        histogram=np.concatenate(histograms) if histograms else None,
    )


_PIECE = 8192
"""So many channels of a row are joined at once: what that takes on the way stays in the cache."""


def merge_rows(first: ChannelStats, second: ChannelStats, into: ChannelStats) -> None:
    """`merge` of two rows of the same records, as `end_to_end` makes them, written over a third one.

    Memory that is there already costs less than new memory, which the system has to clear.
    """
    for at in range(0, len(first.mean), _PIECE):
        own = slice(at, at + _PIECE)
        some = [
            ChannelStats(row.count[own], **{name: getattr(row, name)[own] for name in FIELDS})  # type: ignore[index]
            for row in (first, second)
        ]
        for name, values in _joined(*some).items():
            getattr(into, name)[own] = values
    np.add(first.count, second.count, out=into.count)  # type: ignore[call-overload]
    if into.histogram is not None:
        np.add(first.histogram, second.histogram, out=into.histogram)  # type: ignore[arg-type]


def copy_of(row: ChannelStats) -> ChannelStats:
    """A row with arrays of its own."""
    own = {name: getattr(row, name).copy() for name in FIELDS}
    return replace(row, count=copy(row.count), **own, histogram=copy(row.histogram))


def cut_apart(row: ChannelStats, extents: Iterable[Extent]) -> Iterator[ChannelStats]:
    """The records that stand end to end in this row, each of them views of it."""
    channel = line = 0
    for values, channels, histograms in extents:
        own, lines = slice(channel, channel + channels), slice(line, line + (histograms or 0))
        yield ChannelStats(
            int(row.count[channel]) if channels else values,  # type: ignore[index]
            **{name: getattr(row, name)[own] for name in FIELDS},
            histogram=None if histograms is None or row.histogram is None else row.histogram[lines],
        )
        channel, line = own.stop, lines.stop
