"""A record with what several checks ask of it, and the words they share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np

from fmap_cli.statistics.channels import ChannelStats, whole
from fmap_cli.statistics.moments import type_of
from fmap_cli.statistics.records import Finding, LayerRecord
from fmap_cli.units import count

from .thresholds import Thresholds

Severity = Literal["note", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("note", "warning", "error")

# A type's name is that of a module's class or of an operation.
SIGMOID = frozenset(["sigmoid", "logsigmoid"])
SOFTMAX = frozenset(["softmax", "softmax2d", "logsoftmax", "gumbelsoftmax", "softmin"])
# Values that are moved or copied as they are: nothing begins here.
_MOVES = frozenset(
    "adaptivepad2d broadcastto cat chunk clone concat concatenate constantpad2d contiguous detach dropout dropout2d "
    "expand expandas flatten flip float float16 getitem half identity index indexselect interpolate movedim narrow "
    "pad permute pixelshuffle pixelunshuffle reflectionpad2d repeat repeatinterleave replicationpad2d reshape roll "
    "select split squeeze stack stochasticdepth swapaxes tensorsplit tile to transpose type unbind unflatten unfold "
    "unsqueeze upsample upsamplingbilinear2d upsamplingnearest2d view viewas zeropad2d channelshuffle".split()
)


def _for_all(sampled: np.ndarray, finite: int) -> np.ndarray:
    """How many of all finite values are in each cell, where the histogram may hold a share of them."""
    counted = sampled.sum()
    return np.rint(sampled * (finite / counted)).astype(np.int64) if counted else sampled


class Seen:
    """A record with what several checks ask of it.

    `noun` is what an input is called. `dead` says which channels are, `acts` whether the layer is an activation, by
    name or by what it does (`moments.dead_channels`); `constant` marks channels with one value, seen more than once.
    """

    def __init__(
        self, record: LayerRecord, dead: np.ndarray | None, thresholds: Thresholds, noun: str = "image"
    ) -> None:
        self.noun = noun
        self.record = record
        self.name = record.layer.name
        self.kind = record.layer.kind
        self.type = type_of(record.layer)
        self.channels: ChannelStats = record.channels
        self.is_input = self.kind == "input"
        self.is_real = record.dtype.startswith(("float", "bfloat", "complex"))
        self.width = len(record.channels.mean)
        self.acts = self.kind == "act" or dead is not None
        self.dead = np.zeros(self.width, bool) if dead is None else dead
        one = whole(record.channels)
        self.values = int(one.count)
        self.finite = int(one.finite[0])
        self.rms = float(one.rms[0])
        self.min, self.max = float(one.min[0]), float(one.max[0])
        self.sampled = None if one.histogram is None else one.histogram[0]
        self.histogram = None if one.histogram is None else _for_all(one.histogram[0], self.finite)
        self.still = _of_one_value(self.channels, thresholds.constant_spread)
        # Operations make constants on purpose (an empty canvas, a flow of zero to start from).
        self.constant = self.still if self.acts or self.kind != "op" else np.zeros(self.width, bool)

    @property
    def images(self) -> int:
        return self.record.images

    @property
    def seen_in(self) -> str:
        """In how many inputs it was seen: `5 images`."""
        return counted(self.images, self.noun)

    @property
    def places(self) -> float:
        """Values a channel has for one image; 1 for a vector."""
        return self.channels.count / max(self.images, 1)

    @property
    def moves(self) -> bool:
        """Whether it only hands on what it reads, moved or summed up, so that no channel falls silent here."""
        return self.type in _MOVES or self.kind == "pool"

    @property
    def is_depthwise(self) -> bool:
        """Whether a convolution has one square filter a channel, by its number of parameters."""
        per_channel, rest = divmod(self.record.layer.parameters, self.width) if self.width else (0, 1)
        one_filter = {area + bias for area in (9, 25, 49, 81, 121, 169, 961) for bias in (0, 1)}
        return self.kind == "conv" and rest == 0 and per_channel in one_filter

    @property
    def is_finite(self) -> bool:
        """Whether there are values and none is NaN or infinite."""
        return 0 < self.values == self.finite

    @property
    def everywhere(self) -> str:
        """In what all of a channel's values were seen, in words: `everywhere in all 5 images`."""
        if self.places > 1:
            return "everywhere in " + (f"this {self.noun}" if self.images == 1 else f"all {self.seen_in}")
        return f"for this {self.noun}" if self.images == 1 else f"in all {self.seen_in}"

    def severity(self, part: int, share: float, few: int, sure: int) -> Severity:
        """How bad it is that `part` of the channels say nothing.

        All of a map's channels are an error whatever the sample, because no image that is not plain does so to a layer
        that works; those of a vector, with one value an image, need `sure` images. `share` of the channels are a
        warning over `few` images.
        """
        if part == self.width > 1:
            return "error" if self.places > 1 or self.images >= sure else "warning"
        return "warning" if part >= share * self.width and self.images >= few else "note"

    def told(
        self,
        check: str,
        severity: Severity,
        what: str,
        advice: str,
        channels: Iterable[int] = (),
        sample: str = "",
        caution: str = "",
    ) -> Finding:
        if not sample:
            sample = f"over {self.seen_in}, {counted(self.channels.count, 'value')} a channel"
        return Finding(self.name, check, severity, what, sample, advice, tuple(int(each) for each in channels), caution)


def _of_one_value(channels: ChannelStats, spread: float) -> np.ndarray:
    """Channels of more than one value, all finite, that differ by no more than this share; bool `[C]`."""
    with np.errstate(invalid="ignore"):
        size = np.fmax(np.abs(channels.min), np.abs(channels.max))
        alike = channels.max - channels.min <= spread * size
    return np.asarray((channels.count > 1) & (channels.finite == channels.count) & alike)


def counted(value: int, noun: str) -> str:
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def further(others: Sequence[Seen], most: int = 3) -> str:
    """Names of the layers, as many as a line holds."""
    named = ", ".join(each.name for each in others[:most])
    return named if len(others) <= most else f"{named} and {counted(len(others) - most, 'other')}"


def also(later: Sequence[Seen], one: str, many: str) -> str:
    """A sentence that the same holds for later layers, with a space before it; empty where there are none."""
    verb = one if len(later) == 1 else many
    return f" {counted(len(later), 'later layer')} ({further(later)}) {verb} too." if later else ""
