"""What records of channels say: a layer in numbers, which channels are dead, a histogram read back. By NumPy alone."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from ..network.records import LayerRef
from .channels import ChannelStats, whole
from .records import LayerRecord, LayerStats

# -- cells of a histogram ----------------------------------------------------------------------------------------
#
# The same for every layer, model and run, so that any two histograms can be added. A cell's edges are powers of two and
# eighths of them: the upper bits of a float32 say which cell it is in. Round bounds (1, 6, 15/16 of 1) are edges.


def _positive_edges() -> list[float]:
    edges = [2.0**power for power in range(-24, -6)]  # one cell each from float16's smallest number on
    edges += [2.0**power * (1 + eighth / 8) for power in range(-6, 8) for eighth in range(8)]
    return edges + [2.0**power for power in range(8, 17)]  # from 2¹⁶ on, beyond float16, one for all


_POSITIVE = np.array(_positive_edges())
BIN_EDGES = np.concatenate([[-np.inf], -_POSITIVE[::-1], _POSITIVE, [np.inf]])
"""The K + 1 edges of the K cells, ascending. The middle cell is around zero; a cell has its edge nearer to zero."""
BINS = len(BIN_EDGES) - 1


def _bins_of_codes() -> np.ndarray:
    codes = np.arange(4096, dtype=np.uint32) << np.uint32(20)
    with np.errstate(invalid="ignore"):  # the codes of NaN
        values = codes.view(np.float32).astype(np.float64)  # the value nearest to zero with this code
    step = np.searchsorted(_POSITIVE, np.abs(values), side="right")  # 0 is the middle cell
    middle = len(_POSITIVE)
    bins = np.where(np.signbit(values), middle - step, middle + step)
    return np.where(np.isfinite(values), bins, BINS).astype(np.uint16)


BIN_OF_CODE = _bins_of_codes()
"""The cell of each value of a float32's upper 12 bits, uint16 `[4096]`; `BINS` for NaN and infinity."""


# Where counting every value into cells takes too long a share is counted: of every 41 values the first and those 9, 19
# and 30 further. Neither 41 nor the gaps between them divide the width of many maps, and each map begins elsewhere, so
# that they do not stand in columns.
SHARE_PERIOD = 41
SHARE_OFFSETS = (0, 9, 19, 30)
SHARE_STRIDE = 5
"""How much further the first period of a map begins than that of the map before."""


# -- records -----------------------------------------------------------------------------------------------------


def as_numbers(channels: ChannelStats) -> LayerStats:
    """All channels together as Python numbers; what does not exist is None."""
    one = whole(channels)

    def known(value: float) -> float | None:
        return None if value != value else float(value)

    return LayerStats(
        count=one.count,
        mean=known(one.mean[0]),
        std=known(one.std[0]),
        rms=known(one.rms[0]),
        min=known(one.min[0]),
        max=known(one.max[0]),
        zero_fraction=float(one.zeros[0]) / one.count if one.count else 0.0,
        nan=int(one.nan[0]),
        inf=int(one.inf[0]),
    )


# Probabilities and gates are no activations whose silence is death: a gate that is shut is `saturated`.
_GATES = frozenset("softmax softmax2d logsoftmax gumbelsoftmax softmin sigmoid logsigmoid hardsigmoid".split())


# Modules that hand on what they read, moved or some of it left out: nothing falls silent there.
_MOVERS = frozenset(
    "flatten unflatten identity dropout dropout1d dropout2d dropout3d alphadropout stochasticdepth channelshuffle "
    "pixelshuffle pixelunshuffle upsample unfold".split()
)


def type_of(layer: LayerRef) -> str:
    """A module's class or an operation's name in one spelling, for look-ups: `leakyrelu` of either."""
    return layer.type_name.lower().replace("_", "")


def dead_channels(layers: Sequence[LayerRecord]) -> dict[str, np.ndarray]:
    """Which channels are dead, of each layer that can have such: bool `[C]` by the layer's name.

    A channel is dead when every value seen of it is exactly 0 (so none is NaN or infinite), in the output of an
    activation: a module or operation of that kind; a block, or another module (not one that only moves values, such as
    Flatten), whose values never are below zero; an operation that does what a ReLU does (`torch.maximum(x, zero)`,
    `x * (x > 0)`), which `_rectifies` tells by its numbers. `layers` are in execution order. Gates and probabilities
    are left out.
    """
    found: dict[str, np.ndarray] = {}
    signed: list[ChannelStats] = []
    for record in layers:
        channels, kind = record.channels, record.layer.kind
        if not channels.count or not record.dtype.startswith(("float", "bfloat", "complex")):
            continue
        least = np.fmin.reduce(channels.min)
        rectified = kind in ("block", "other", "output") and type_of(record.layer) not in _MOVERS and least == 0
        if kind == "op":
            rectified = least == 0 and any(_rectifies(channels, before) for before in signed)
        if rectified or (kind == "act" and type_of(record.layer) not in _GATES):
            found[record.layer.name] = channels.zeros == channels.count
        elif least < 0 and not channels.nan.any() and not channels.inf.any():
            signed.append(channels)
    return found


def _rectifies(after: ChannelStats, before: ChannelStats) -> bool:
    """Whether `after` is `before` with all below zero (and maybe above a bound) cut off, by every channel's extremes.

    Extremes are exact, so another operation does not have them by chance, but for one that puts out nothing but
    zeros: that is a ReLU's doing where all it could have read is below zero.
    """
    if len(after.mean) != len(before.mean) or after.count != before.count:
        return False
    highest = after.max.max()
    if not highest > 0:
        return bool((before.max < 0).all())
    whole = (after.max > 0) & (after.max == before.max)
    return bool(
        whole.any()
        and np.array_equal(after.min, np.clip(before.min, 0, highest))
        and np.array_equal(after.max, np.clip(before.max, 0, highest))
    )


# -- a histogram read back ---------------------------------------------------------------------------------------
#
# Within a cell values are taken as spread evenly; cells end at the least and the greatest value seen.


def quantiles(channels: ChannelStats, fractions: Sequence[float]) -> np.ndarray:
    """The values of a layer that stand at these `fractions` of all its finite ones, float64 `[len(fractions)]`.

    Each is within a cell's width of a value seen, and exact at 0 and 1. In the two open cells, beyond ±2¹⁶, they are
    those of a normal distribution of this mean and std. NaN where there is no value or no histogram.

    >>> import torch
    >>> from fmap_cli.statistics.reference import channel_stats
    >>> quantiles(channel_stats(torch.linspace(-1, 3, 4001)[None], "layer"), [0, 0.25, 0.5, 1]).round(2).tolist()
    [-1.0, 0.0, 1.0, 3.0]
    """
    one = whole(channels)
    low, high = one.min[0], one.max[0]
    if one.histogram is None or not one.histogram.sum():
        return np.full(len(fractions), np.nan)
    counts = one.histogram[0]
    full = np.flatnonzero(counts)
    below = np.concatenate([[0], np.cumsum(counts[full])])  # values below each full cell
    rank = np.asarray(fractions, np.float64) * (below[-1] - 1) + 0.5  # a value stands in the middle of its rank
    at = np.clip(np.searchsorted(below, rank, side="right") - 1, 0, len(full) - 1)
    start, end = (np.clip(edges[full[at]], low, high) for edges in (BIN_EDGES[:-1], BIN_EDGES[1:]))
    values = start + (end - start) * (rank - below[at]) / counts[full[at]]
    open_cell = (full[at] == 0) | (full[at] == BINS - 1)
    if open_cell.any():
        normal = NormalDist(float(one.mean[0]), float(np.nan_to_num(one.std[0])) or 1.0)
        guess = [normal.inv_cdf(min(max(float(each), 1e-9), 1 - 1e-9)) for each in fractions]
        values = np.where(open_cell, np.clip(guess, start, end), values)
    if one.zeros[0]:
        values = np.where(full[at] == BINS // 2, 0.0, values)
    values = np.where(np.asarray(fractions) <= 0, low, values)
    result: np.ndarray = np.where(np.asarray(fractions) >= 1, high, values)
    return result


def spread(counts: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """A histogram of the fixed cells, `[K]`, as one of the cells between `edges`, `[len(edges) - 1]`.

    The first and the last edge are the least and the greatest value counted, so that the sum stays the same.

    >>> counts = np.zeros(BINS, np.int64)
    >>> counts[np.searchsorted(BIN_EDGES, 1.0, side="right") - 1] = 8  # from 1 to 1.125
    >>> spread(counts, np.linspace(1.0, 1.125, 5)).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    below = np.concatenate([[0.0], np.cumsum(counts, dtype=np.float64)])
    places = np.interp(edges, np.clip(BIN_EDGES, edges[0], edges[-1]), below)
    places[0], places[-1] = 0.0, below[-1]  # where rounding to float32 put a value beyond the last edge
    result: np.ndarray = np.diff(places)
    return result
