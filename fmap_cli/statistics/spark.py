"""A distribution in a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text

from .moments import BIN_EDGES, BINS, spread

if TYPE_CHECKING:
    from .channels import ChannelStats

_LEAST = 1e-6  # a height below which there is no bar
BEYOND = "░"
"""Stands for values so far from zero that the histogram does not tell them apart."""


def spark(channels: ChannelStats, cells: int, channel: int | None = None) -> Text:
    """The distribution of all channels, or of one, from its minimum to its maximum, `cells` characters wide.

    A `│` stands at zero where zero is in between. Exact zeros are left out: half of what a ReLU puts out would leave
    nothing of the other half to be seen. Empty without a histogram or without a finite value.

    >>> import torch
    >>> from fmap_cli.statistics.reference import channel_stats
    >>> spark(channel_stats(torch.tensor([[0.0, 0.0, 0.0, 0.5, 0.5, 1.0, 2.0]]), "layer"), 8).plain
    '│ █ ▆  ▆'
    """
    if channels.histogram is None or not len(channels.mean):
        return Text()
    which = slice(None) if channel is None else slice(channel, channel + 1)
    known = channels.finite[which] > 0
    if not known.any():
        return Text()
    low = float(channels.min[which][known].min())
    high = float(channels.max[which][known].max())
    counts = channels.histogram.sum(0) if channel is None else channels.histogram[channel].copy()
    counts[BINS // 2] -= channels.zeros[which].sum()
    if low == high:
        return Text("│" if low == 0 else "█")
    below = round((cells - 1) * -low / (high - low)) if low < 0 < high else 0
    below = min(max(below, 1), cells - 2) if low < 0 < high else 0
    if low < 0 < high:
        edges = np.concatenate([np.linspace(low, 0, below + 1), np.linspace(0, high, cells - below)[1:]])
    else:
        edges = np.linspace(low, high, cells + 1 - (low <= 0 <= high))
    dense = spread(np.maximum(counts, 0), edges) / np.diff(edges)
    beyond = np.minimum(np.abs(edges[:-1]), np.abs(edges[1:])) >= BIN_EDGES[-2]
    heights = np.sqrt(dense / (dense.max() or 1.0))
    bars = [BEYOND if far and share > _LEAST else _bar(share) for far, share in zip(beyond, heights, strict=True)]
    text = Text("".join(bars))
    if low < 0 < high:
        return Text.assemble((text.plain[:below], "cyan"), ("│", "dim"), text.plain[below:])
    if low == 0:
        return Text.assemble(("│", "dim"), text)
    return Text.assemble((text.plain, "cyan"), ("│" if high == 0 else "", "dim")) if high <= 0 else text


def _bar(share: float) -> str:
    return " ▁▂▃▄▅▆▇█"[min(int(np.ceil(share * 8)), 8) if share > _LEAST else 0]
