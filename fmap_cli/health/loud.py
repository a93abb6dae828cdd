"""Channels beside which the others of their layer hardly count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fmap_cli.statistics.records import Finding
from fmap_cli.units import number, percent

from .norms import blown_up
from .seen import Seen, counted
from .thresholds import Thresholds

_FEWEST = 8
"""Channels that vary, for their median to be what is usual in a layer."""
_NEARLY_ALL = 0.99
"""Share of a layer's variance from which on its loud channels carry nearly everything."""


def loud(layers: Sequence[Seen], thresholds: Thresholds) -> Iterator[Finding]:
    """Layers with weights of which a few channels vary far more than the usual one; each where it begins.

    What a normalisation evens out straight away is no fault; what one blows up is `norm-gain`.
    """
    marked = [_loud(each, thresholds) for each in layers]
    for at, each in enumerate(layers):
        channels = marked[at]
        if each.kind not in ("conv", "linear", "norm"):
            continue
        if at and layers[at - 1].width == each.width:
            channels = channels & ~marked[at - 1] & ~blown_up(layers[at - 1], each, thresholds)
        after = layers[at + 1] if at + 1 < len(layers) else None
        if after is not None and after.kind == "norm" and after.width == each.width:
            channels = channels & marked[at + 1]
        if channels.any():
            yield _finding(each, np.flatnonzero(channels), thresholds)


def _varying(layer: Seen) -> np.ndarray:
    return np.asarray(~layer.still & np.isfinite(layer.channels.std) & (layer.channels.std > 0))


def _loud(layer: Seen, thresholds: Thresholds) -> np.ndarray:
    """Channels whose standard deviation is `loud_ratio` times the median channel's or more; bool `[C]`."""
    varying = _varying(layer)
    if layer.channels.count < thresholds.copied_values or varying.sum() < _FEWEST:
        return np.zeros(layer.width, bool)
    std = layer.channels.std
    with np.errstate(invalid="ignore"):
        return np.asarray(varying & (std >= thresholds.loud_ratio * np.median(std[varying])))


def _finding(layer: Seen, channels: np.ndarray, thresholds: Thresholds) -> Finding:
    std = layer.channels.std
    varying = _varying(layer)
    usual = float(np.median(std[varying]))
    most = int(channels[np.argmax(std[channels])])
    scaled = std[varying] / std[most]  # squares of 1e200 stay finite
    share = float(((std[channels] / std[most]) ** 2).sum() / (scaled**2).sum())
    are = "varies" if len(channels) == 1 else "vary"
    return layer.told(
        "loud-channels",
        "warning" if share >= _NEARLY_ALL else "note",
        f"{len(channels)} of {counted(layer.width, 'channel')} {are} {number(thresholds.loud_ratio)} times as much as "
        f"the median channel or more: the most channel {most}, with a standard deviation of "
        f"{number(float(std[most]))}, {number(float(std[most]) / usual)} times the median's {number(usual)}. "
        f"{'It carries' if len(channels) == 1 else 'They carry'} {percent(share)} of the layer's variance.",
        "Compare these channels' weights with the others' (`fmap filters` lists norms): a scale that ran away, or "
        "weights multiplied by mistake. What reads this layer sees little of its other channels.",
        channels,
    )
