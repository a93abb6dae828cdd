"""Batch normalisations that multiply channels by far too much, or move them far off zero: which of the two."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from fmap_cli.statistics.records import Finding
from fmap_cli.units import count, number

from .seen import Seen, also, counted
from .thresholds import Thresholds

_FAR_OFF = 3
"""Standard deviations that a channel's mean is from 0 where its offset decides: whatever the distribution, at most
one value in ten then has the other sign (Cantelli's inequality, 1 / (1 + 3²))."""


def norms(layers: Sequence[Seen], thresholds: Thresholds) -> Iterator[Finding]:
    """Batch normalisations of which channels are blown up or shifted far off zero; the first of each is told."""
    lines = [
        (each, *_line(before, each))
        for before, each in pairwise(layers)
        if each.kind == "norm" and "batchnorm" in each.type and before.width == each.width
    ]
    blown = [
        (each, gain, many)
        for each, gain, _ in lines
        if (many := np.flatnonzero(_is_blown(each, gain, thresholds))).size
    ]
    if blown:
        yield _gain_finding(*blown[0], [each for each, *_ in blown[1:]], thresholds)
    moved = [
        (each, offset, many)
        for each, _, offset in lines
        if (many := np.flatnonzero(_is_shifted(each, offset, thresholds))).size
    ]
    if moved:
        yield _offset_finding(*moved[0], [each for each, *_ in moved[1:]], thresholds)


def blown_up(before: Seen, each: Seen, thresholds: Thresholds) -> np.ndarray:
    """Channels that this layer multiplies by far too much, where it is a batch normalisation; bool `[C]`."""
    if each.kind != "norm" or "batchnorm" not in each.type or before.width != each.width:
        return np.zeros(each.width, bool)
    return _is_blown(each, _line(before, each)[0], thresholds)


def _is_blown(each: Seen, gain: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.asarray((gain >= thresholds.norm_gain) & (each.channels.std >= thresholds.norm_gain))


def shifted(before: Seen | None, each: Seen, thresholds: Thresholds) -> np.ndarray:
    """Channels that an offset of this layer holds far off zero, by `before`, the layer before it; bool `[C]`.

    Of a convolution or linear layer the offset is not known apart, and that the channel lies far off says it.
    """
    if each.kind not in ("conv", "linear", "norm"):
        return np.zeros(each.width, bool)
    if "batchnorm" not in each.type:
        return _is_far_off(each, thresholds)
    if before is None or before.width != each.width:
        return np.zeros(each.width, bool)
    return _is_shifted(each, _line(before, each)[1], thresholds)


def _is_shifted(each: Seen, offset: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """Channels far off zero of which the offset makes most, and not an input that is far off itself; bool `[C]`."""
    mean = each.channels.mean
    with np.errstate(invalid="ignore", over="ignore"):
        return _is_far_off(each, thresholds) & np.asarray(offset * mean > mean**2 / 2)


def _is_far_off(layer: Seen, thresholds: Thresholds) -> np.ndarray:
    found = layer.channels
    with np.errstate(invalid="ignore"):
        size = np.abs(found.mean)
        return np.asarray((size >= thresholds.norm_offset) & (size >= _FAR_OFF * found.std) & (found.std > 0))


def _line(before: Seen, each: Seen) -> tuple[np.ndarray, np.ndarray]:
    """The factor (its magnitude) and the offset by which each channel is made of the one before; float64 `[C]`.

    In eval mode a batch normalisation is y = gain · x + offset, so the gain is the ratio of the standard deviations,
    and where both extremes lie on the line the layer before is what was read. NaN where that is not so, and where a
    channel has one value: of a vector over one image nothing can be said.
    """
    if before.channels.count != each.channels.count:
        return np.full(each.width, np.nan), np.full(each.width, np.nan)
    x, y = before.channels, each.channels
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        gain = np.where(before.still, np.nan, y.std / x.std)
        offset = np.full(each.width, np.nan)
        rounding = 1e-5 if each.record.dtype in ("float32", "float64") else 2.0**-7
        near = 0.01 * (y.max - y.min) + rounding * np.fmax(np.abs(y.min), np.abs(y.max))
        for sign in (1, -1):
            own = y.mean - sign * gain * x.mean
            low, high = (x.min, x.max) if sign > 0 else (x.max, x.min)
            fits = (np.abs(sign * gain * low + own - y.min) <= near) & (
                np.abs(sign * gain * high + own - y.max) <= near
            )
            offset = np.where(fits & np.isnan(offset), own, offset)
    return np.where(np.isnan(offset), np.nan, gain), offset


# -- in words ----------------------------------------------------------------------------------------------------


def _gain_finding(
    each: Seen, gain: np.ndarray, channels: np.ndarray, later: Sequence[Seen], thresholds: Thresholds
) -> Finding:
    most = channels[np.argmax(gain[channels])]
    std = each.channels.std[most]
    return each.told(
        "norm-gain",
        "warning",
        f"this normalisation multiplies {_many(each, channels)} by {number(thresholds.norm_gain)} or more, the most by "
        f"{number(gain[most])}: channel {most} has a standard deviation of {number(std / gain[most])} before it and of "
        f"{number(std)} after it.{also(later, 'does so', 'do so')}",
        "Look for a running variance near zero (in training: channels that were constant, or statistics never updated) "
        "or a weight far above 1; a normalised channel has a standard deviation around 1.",
        channels,
    )


def _offset_finding(
    each: Seen, offset: np.ndarray, channels: np.ndarray, later: Sequence[Seen], thresholds: Thresholds
) -> Finding:
    most = channels[np.argmax(np.abs(offset[channels]))]
    below = int((each.channels.max[channels] <= 0).sum())
    silenced = ""
    if below:
        one = "It" if len(channels) == 1 else "One of them"
        who = f"{one} never comes" if below == 1 else f"{count(below)} of them never come"
        silenced = f" {who} above 0, so that a ReLU after this layer puts out nothing but 0 there."
    return each.told(
        "norm-offset",
        "warning" if len(channels) >= thresholds.dead_share * each.width else "note",
        f"an offset moves {_many(each, channels)} by {number(thresholds.norm_offset)} or more away from 0, the "
        f"furthest by {number(offset[most])}: {lies_around(each, int(most))}.{silenced}"
        + also(later, "does so", "do so"),
        "Look at this layer's bias at these channels, and at its running mean: a normalised channel lies around 0.",
        channels,
    )


def lies_around(layer: Seen, channel: int) -> str:
    """Where a channel's values are, in words: `channel 5 lies around -50.2, with a standard deviation of 1.1`."""
    found = layer.channels
    mean, std = number(found.mean[channel]), number(found.std[channel])
    return f"channel {channel} lies around {mean}, with a standard deviation of {std}"


def _many(each: Seen, channels: np.ndarray) -> str:
    many = "all" if len(channels) == each.width > 1 else f"{count(len(channels))} of"
    return f"{many} {counted(each.width, 'channel')}"
