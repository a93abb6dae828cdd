"""Channels that are copies of one another."""

from __future__ import annotations

import numpy as np

from fmap_cli.statistics.channels import FIELDS
from fmap_cli.statistics.records import Finding
from fmap_cli.units import number

from .seen import Seen, Severity, counted
from .thresholds import Thresholds

_SAME_SHAPE = 5e-6
"""How far extremes and mean of two channels, in standard deviations, may be apart for one to be the other's multiple.

Sums of float32 products in two channels that are such differ by some 1e-6 of the largest; other channels of a layer
with 1000 are all three so close with a probability of 1e-6.
"""


def copies(layer: Seen, thresholds: Thresholds) -> np.ndarray:
    """For each channel the first with the very same numbers, its own index where there is none; int `[C]`."""
    groups = np.arange(layer.width)
    channels = layer.channels
    judged = np.flatnonzero(_is_judged(layer, thresholds))
    means = np.asarray(channels.mean, np.float64)[judged].view(np.int64)
    _, which, often = np.unique(means, return_inverse=True, return_counts=True)
    likely = judged[often[which] > 1]  # hardly any: what is left is compared one by one
    if not likely.size:
        return groups
    table = np.stack([np.asarray(getattr(channels, name), np.float64)[likely] for name in FIELDS], 1)  # [K, fields]
    by_channel = (
        channels.histogram if channels.histogram is not None and len(channels.histogram) == layer.width else None
    )
    first: dict[bytes, int] = {}
    for row, channel in zip(table, likely.tolist(), strict=True):
        key = row.tobytes() + (b"" if by_channel is None else by_channel[channel].tobytes())
        groups[channel] = first.setdefault(key, channel)
    return groups


def _is_judged(layer: Seen, thresholds: Thresholds) -> np.ndarray:
    """Channels of enough different values for equal numbers to mean equal channels; bool `[C]`."""
    channels = layer.channels
    finite = channels.finite
    if channels.count < thresholds.copied_values:
        return np.zeros(layer.width, bool)
    with np.errstate(invalid="ignore", over="ignore"):
        # The largest spread there is has all values at the two ends (Bhatia and Davis 2000): two values, of which a
        # clipped or hardly active channel may well share the number with another.
        two_valued = channels.m2 >= (1 - 1e-9) * finite * (channels.max - channels.mean) * (
            channels.mean - channels.min
        )
    return np.asarray(~layer.still & ~two_valued & (finite > 0))


def scaled_copies(
    layer: Seen, groups: np.ndarray, carried: np.ndarray, thresholds: Thresholds
) -> list[tuple[int, int, float]]:
    """Channels that are an earlier one times a positive number other than 1, each with that one and the number.

    Of layers with weights alone; pairs that are in one of the `carried` groups were told before.
    """
    channels = layer.channels
    if layer.kind not in ("conv", "linear", "norm") or not layer.is_finite:
        return []
    own = np.flatnonzero(_is_judged(layer, thresholds) & (groups == np.arange(layer.width)))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        std = channels.std
        shape = np.stack([channels.min, channels.max, channels.mean], 1)[own] / std[own, None]  # [K, 3]
    known = np.isfinite(shape).all(1)
    own, shape = own[known], shape[known]
    order = np.argsort(shape[:, 0], kind="stable")
    found = []
    near = (np.abs(np.diff(shape[order], axis=0)) <= _SAME_SHAPE).all(1)
    for place in np.flatnonzero(near):
        at, other = order[place], order[place + 1]
        first, channel = sorted((int(own[at]), int(own[other])))
        factor = float(std[channel] / std[first])
        if carried[first] != carried[channel] and abs(factor - 1) > 10 * _SAME_SHAPE:
            found.append((channel, first, factor))
    return sorted(found)


def fresh_groups(groups: np.ndarray, carried: np.ndarray) -> list[list[int]]:
    """The groups of copies that were no copies before."""
    found: dict[int, list[int]] = {}
    copied = np.isin(groups, groups[groups != np.arange(len(groups))])
    for channel in np.flatnonzero(copied).tolist():
        found.setdefault(int(groups[channel]), []).append(channel)
    return [
        members for members in found.values() if len(members) > 1 and len({int(carried[each]) for each in members}) > 1
    ]


def copied_finding(
    layer: Seen,
    groups: list[list[int]],
    multiples: list[tuple[int, int, float]],
    thresholds: Thresholds,
    most: int = 4,
) -> Finding:
    same = sum(len(members) - 1 for members in groups)
    words = []
    if groups:
        shown = ["=".join(map(str, members[:6])) + ("=…" if len(members) > 6 else "") for members in groups[:most]]
        left = f" and {counted(len(groups) - most, 'other group')}" if len(groups) > most else ""
        are = "is a copy of another" if same == 1 else "are copies of others"
        words.append(f"{are}, identical to the last bit: {', '.join(shown)}{left}.")
    if multiples:
        shown = [f"{channel} = {number(factor)} × {first}" for channel, first, factor in multiples[:most]]
        left = f" and {len(multiples) - most} more" if len(multiples) > most else ""
        are = "is a multiple of another one" if len(multiples) == 1 else "are multiples of others"
        words.append(f"{are}: {', '.join(shown)}{left}.")
    amounts = [amount for amount in (same, len(multiples)) if amount]
    spare = sum(amounts)
    everything = spare == layer.width - 1 and layer.width > 2
    severity: Severity = "warning" if spare >= thresholds.copied_share * layer.width else "note"
    width = counted(layer.width, "channel")
    sentences = [f"{amount} of {width} {text}" for amount, text in zip(amounts, words, strict=True)]
    return layer.told(
        "copied-channels",
        "error" if everything else severity,
        " ".join(sentences),
        "Compare these filters' weights: filters that start alike stay alike, so look for a constant initialisation or "
        "weights copied by hand."
        + (
            " Copies can be merged if the next layer's weights for them are added up."
            if layer.images >= thresholds.dead_images
            else ""
        ),
        sorted({*(each for members in groups for each in members), *(each for pair in multiples for each in pair[:2])}),
    )
