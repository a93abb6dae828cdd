"""What `fmap effect` says of each channel: the list that table, JSON and CSV read."""

from __future__ import annotations

from dataclasses import dataclass

from .. import units
from ..tables.columns import Column
from ..units import signed
from .records import Effects, ImageEffects


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """One channel: `at` is its place among those ablated; `one` is an image, None stands for the mean over all."""

    found: Effects
    at: int
    one: ImageEffects | None = None

    @property
    def _only(self) -> ImageEffects | None:
        """The image that the row is of, if it is of one."""
        return self.one or (None if self.found.several else self.found.images[0])

    @property
    def channel(self) -> int:
        return int(self.found.channels[self.at])

    @property
    def effect(self) -> float:
        return float((self.found.effects if self.one is None else self.one.effects)[self.at])

    @property
    def std(self) -> float | None:
        spread = self.found.spread
        return None if self.one is not None or spread is None else float(spread[self.at])

    @property
    def probability(self) -> float | None:
        known = self.found.probabilities if self.one is None else self.one.probabilities
        return None if known is None else float(known[self.at])

    @property
    def answer(self) -> int | None:
        """The class answered without the channel, where that is another."""
        one = self._only
        if one is None or one.answers is None or one.answers[self.at] == one.answer:
            return None
        return int(one.answers[self.at])

    @property
    def flips(self) -> int | None:
        """For how many of the images the answer is another."""
        if self.one is not None:
            return None if self.one.answers is None else int(self.one.answers[self.at] != self.one.answer)
        return None if self.found.flips is None else int(self.found.flips[self.at])


def channel_rows(found: Effects) -> list[ChannelRow]:
    """A row a channel, the largest effect first."""
    return [ChannelRow(found, int(at)) for at in found.order]


def points(value: float | None) -> str:
    """A difference of probabilities in percentage points.

    >>> points(0.034), points(-0.25), points(0.00001)
    ('+3.4', '-25.0', '0.0')
    """
    if value is None:
        return "–"
    text = f"{100 * value:+.1f}"
    return "0.0" if float(text) == 0 else text


def class_name(one: ImageEffects, index: int | None) -> str:
    """What a class is called; where the object is found no more, that."""
    if index is None:
        return ""
    if one.target.kind == "object" and index < 0:
        return "not found"
    if one.target.index is None:
        return "below 0" if index == 0 else "above 0"
    labels = one.target.labels
    kind = "output channel" if one.target.assumed else "class"
    return units.one_line(labels[index]) if labels and index < len(labels) else f"{kind} {index}"


def _answer(row: ChannelRow) -> str:
    return class_name(row.one or row.found.images[0], row.answer)


def _flips(row: ChannelRow) -> str:
    return f"{row.flips} of {len(row.found.images)}" if row.flips else "–" if row.flips is None else "0"


CHANNELS: tuple[Column[ChannelRow], ...] = (
    Column("channel", "channel", lambda row: row.channel, right=True),
    Column("effect", "effect", lambda row: row.effect, signed, right=True),
    Column("std", "± std", lambda row: row.std, units.number, right=True, optional=True),
    Column("probability", "probability", lambda row: row.probability, points, right=True, optional=True, priority=2),
    Column("flips", None, lambda row: row.flips),
    Column("answer", None, lambda row: row.answer),
    Column("answer_label", None, lambda row: _answer(row) or None),
)
"""These names are the schema's: later versions add names and never change these."""

ONE = (*CHANNELS, Column(title="answer without it", cell=lambda row: _answer(row) or "the same"))
MANY = (*CHANNELS, Column(title="answers flipped", cell=_flips, right=True))
CSV = (Column("image", None, lambda row: None if row.one is None else row.one.image.name), *CHANNELS)
