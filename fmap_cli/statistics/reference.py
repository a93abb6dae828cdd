"""Tensors to records: moments, extremes, counts and histograms of their channels, in float64.

`channel_stats` takes tensors of any kind on any device, a piece at a time. `reduce` makes the records of float32 on the
CPU at the speed of memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from .channels import MOMENTS, TALLIES, ChannelStats, merge
from .moments import BIN_OF_CODE, BINS, SHARE_OFFSETS, SHARE_PERIOD, SHARE_STRIDE, as_numbers
from .records import LayerStats

if TYPE_CHECKING:
    from torch import Tensor

_PIECE = 1 << 20
"""How many values are turned into float64 at once on the CPU, so that a piece stays in the cache; a GPU takes more."""
_PIECE_ELSEWHERE = 1 << 24


def channel_stats(values: Tensor, histogram: str | None = None, share: bool = False) -> ChannelStats:
    """What is known of each row of `values` `[C, n]`, of any dtype; complex values count by their magnitude.

    `histogram` is None, `layer` for one of all rows together or `channel` for one of each; `share` counts
    about a tenth of the values in it.

    >>> stats = channel_stats(torch.tensor([[0.0, 2.0, 4.0], [1.0, float("nan"), 1.0]]))
    >>> stats.mean.tolist(), stats.std.tolist(), stats.nan.tolist()
    ([2.0, 1.0], [2.0, 0.0], [0, 1])
    """
    values = values.detach()
    if values.is_complex():
        values = values.abs()
    rows, length = values.shape
    most = _PIECE if values.device.type == "cpu" else _PIECE_ELSEWHERE
    length_of_piece = max(1, most // max(rows, 1) // SHARE_PERIOD) * SHARE_PERIOD
    pieces = [
        _piece(values[:, at : at + length_of_piece], histogram, share) for at in range(0, length, length_of_piece)
    ]
    if not pieces:
        return nothing(rows, histogram)
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = merge(whole, piece)
    return whole


def _piece(values: Tensor, histogram: str | None, share: bool) -> ChannelStats:
    wide = values.to(torch.float64) if values.device.type != "mps" else values.to("cpu", torch.float64)
    low, high = wide.amin(1), wide.amax(1)
    usual = bool((low.isfinite() & high.isfinite()).all())  # NaN and infinity would be among the extremes
    finite = _everywhere(wide) if usual else wide.isfinite()

    def only(numbers: Tensor, instead: float = 0.0) -> Tensor:
        return numbers if usual else torch.where(finite, numbers, instead)

    nan, inf = (torch.zeros_like(low, dtype=torch.int64),) * 2 if usual else (wide.isnan().sum(1), wide.isinf().sum(1))
    known = wide.shape[1] - nan - inf  # [C]
    mean = only(wide).sum(1) / known  # 0 / 0 is NaN, as it should be
    # Twice, because a mean rounded to float64 leaves a rest where all values are alike.
    mean = mean + only(wide - mean[:, None]).sum(1) / known
    m2 = only(wide - mean[:, None]).square_().sum(1)
    none = known == 0
    if not usual:
        low, high = only(wide, torch.inf).amin(1), only(wide, -torch.inf).amax(1)
    found = {
        "mean": mean,
        "m2": m2,
        "min": torch.where(none, torch.nan, low),
        "max": torch.where(none, torch.nan, high),
        "zeros": (wide == 0).sum(1),
        "nan": nan,
        "inf": inf,
    }
    # One transfer for all moments and one for all tallies: from a GPU each would wait for what runs there.
    moments, tallies = (torch.stack([found[name] for name in names]).cpu().numpy() for names in (MOMENTS, TALLIES))
    by_row = histogram == "channel"
    if share:  # each row begins elsewhere, so that what is counted does not stand in columns of a map
        rows, places = (torch.arange(size, device=wide.device) for size in wide.shape)
        place = (places - SHARE_STRIDE * rows[:, None]) % SHARE_PERIOD
        finite = finite & torch.isin(place, torch.tensor(SHARE_OFFSETS, device=wide.device))
    cells = None if histogram is None else _histogram(wide, finite, per_row=by_row)
    return ChannelStats.of_rows(values.shape[1], moments, tallies, cells)


def _everywhere(wide: Tensor) -> Tensor:
    return torch.ones((), dtype=torch.bool, device=wide.device).expand(wide.shape)


def _histogram(wide: Tensor, finite: Tensor, per_row: bool) -> np.ndarray:
    limit = torch.finfo(torch.float32).max
    codes = (wide.clamp(-limit, limit).float().view(torch.int32) >> 20) & 4095
    bins = torch.from_numpy(BIN_OF_CODE.astype(np.int64)).to(wide.device)[codes.long()]
    bins = torch.where(finite, bins, BINS)
    rows = len(wide) if per_row else 1
    if per_row:
        bins = bins + torch.arange(rows, device=wide.device)[:, None] * (BINS + 1)
    counted = torch.bincount(bins.flatten(), minlength=rows * (BINS + 1))
    return counted.reshape(rows, BINS + 1)[:, :BINS].cpu().numpy().copy()


def nothing(rows: int, histogram: str | None = None) -> ChannelStats:
    """The record of `rows` channels of which no value has been seen."""
    cells = None if histogram is None else np.zeros((rows if histogram == "channel" else 1, BINS), np.int64)
    return ChannelStats.of_nothing(rows, cells)


def layer_stats(output: Tensor) -> LayerStats:
    """Moments of a whole output, of any shape.

    >>> layer_stats(torch.tensor([0.0, 0.0, 0.0, 2.0, float("inf")]))
    LayerStats(count=5, mean=0.5, std=1.0, rms=1.0, min=0.0, max=2.0, zero_fraction=0.6, nan=0, inf=1)
    """
    return as_numbers(channel_stats(output.reshape(1, -1)))
