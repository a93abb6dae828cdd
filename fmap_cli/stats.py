"""Moments of a layer's output, in float64 over its finite values."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .records import ChannelStats, LayerStats

if TYPE_CHECKING:
    from torch import Tensor


def channel_stats(values: Tensor) -> ChannelStats:
    """Moments of each row of `values` `[C, n]`.

    >>> stats = channel_stats(torch.tensor([[0.0, 2.0, 4.0], [1.0, float("nan"), 1.0]]))
    >>> stats.mean.tolist(), stats.std.tolist(), stats.nan.tolist()
    ([2.0, 1.0], [2.0, 0.0], [0, 1])
    """
    wide = _as_float64(values)  # [C, n]
    nan = wide.isnan()
    inf = wide.isinf()
    finite = ~(nan | inf)
    known = finite.sum(1).double()  # [C]
    clean = torch.where(finite, wide, 0.0)
    mean = clean.sum(1) / known  # 0 / 0 is NaN, as it should be
    deviation = torch.where(finite, wide - mean[:, None], 0.0)
    variance = deviation.square().sum(1) / (known - 1)
    std = torch.where(known > 1, variance.sqrt(), torch.nan)
    empty = known == 0
    low = torch.where(empty, torch.nan, _extreme(torch.where(finite, wide, torch.inf), "min"))
    high = torch.where(empty, torch.nan, _extreme(torch.where(finite, wide, -torch.inf), "max"))
    l2 = torch.linalg.vector_norm(clean, dim=1) if wide.shape[1] else torch.zeros(len(wide), dtype=torch.float64)
    return ChannelStats(
        count=values.shape[1],
        mean=mean.numpy(),
        std=std.numpy(),
        min=low.numpy(),
        max=high.numpy(),
        l2=l2.numpy(),
        zeros=(wide == 0).sum(1).numpy(),
        nan=nan.sum(1).numpy(),
        inf=inf.sum(1).numpy(),
    )


def layer_stats(output: Tensor) -> LayerStats:
    """Moments of a whole output, of any shape.

    >>> layer_stats(torch.tensor([0.0, 1.0, 2.0, float("inf")]))
    LayerStats(count=4, mean=1.0, std=1.0, min=0.0, max=2.0, zero_fraction=0.25, nan=0, inf=1)
    """
    one = channel_stats(output.reshape(1, -1))

    def known(value: float) -> float | None:
        return None if value != value else float(value)

    return LayerStats(
        count=one.count,
        mean=known(one.mean[0]),
        std=known(one.std[0]),
        min=known(one.min[0]),
        max=known(one.max[0]),
        zero_fraction=float(one.zeros[0]) / one.count if one.count else 0.0,
        nan=int(one.nan[0]),
        inf=int(one.inf[0]),
    )


def _as_float64(values: Tensor) -> Tensor:
    if values.is_complex():
        values = values.abs()
    return values.detach().to("cpu", torch.float64)


def _extreme(values: Tensor, which: str) -> Tensor:
    if not values.shape[1]:
        return torch.full((len(values),), torch.nan, dtype=torch.float64)
    return values.amin(1) if which == "min" else values.amax(1)
