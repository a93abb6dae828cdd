"""Which axis of an attention call is heads and which windows, and which cell of the picture each query and key is.

Heads look from the same places at the same places; windows do not. So calls that come from and look at the same places
are heads of one window, however the network folds both into its axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .calls import AttentionCall
from .origins import Planes
from .records import Grid


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """Queries or keys, `[windows, N]`: their places `[axes, windows, N]` with NaN for none, their cells (-1 for none)
    and the grid of these."""

    places: np.ndarray | None
    cells: np.ndarray | None
    grid: Grid | None


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """`order` `[windows, heads]` says where in the call's first axis each window's heads are."""

    order: Tensor
    queries: Tokens
    keys: Tokens

    @property
    def windows(self) -> int:
        return self.order.shape[0]

    @property
    def heads(self) -> int:
        return self.order.shape[1]


def placed(call: AttentionCall, axes: str, sizes: dict[str, int]) -> Placed:
    """`axes` are the letters of the coordinates, `sizes` the input's length along each."""
    order = _order(call, axes)
    first = order[:, 0]

    def tokens(planes: Planes | None) -> Tokens:
        if planes is None:
            return Tokens(None, None, None)
        places = np.stack([each[first.to(each.device)].cpu().numpy().astype(np.float64) for each in planes])
        return _tokens(places, axes, sizes)

    return Placed(order, tokens(call.queries), tokens(call.keys))


def _order(call: AttentionCall, axes: str) -> Tensor:
    count = int(np.prod(call.shape[:-2], dtype=np.int64))
    known = [planes for planes in (call.queries, call.keys) if planes is not None]
    if not known:
        heads = call.shape[-3] if len(call.shape) > 2 else 1
        return torch.arange(count).reshape(-1, heads)
    marks = torch.cat([plane.cpu() for planes in known for plane in planes], 1).nan_to_num(-1e6)
    _, group = torch.unique((marks * 8).round(), dim=0, return_inverse=True)
    members: dict[int, list[int]] = {}
    for at, each in enumerate(group.tolist()):
        members.setdefault(each, []).append(at)
    if "B" in axes:  # of several images the first
        at = axes.index("B")
        batch = [torch.stack([planes[at].cpu().nanmean(1) for planes in known]).nanmean(0)]
        members = {key: each for key, each in members.items() if not float(batch[0][each[0]]) > 0.25} or members
    least = min(map(len, members.values()))
    return torch.tensor([each[:least] for each in members.values()])


def _tokens(places: np.ndarray, axes: str, sizes: dict[str, int]) -> Tokens:
    """What lies outside the input is padding, which has no place."""
    inside = ~np.isnan(places).any(0)
    for at, letter in enumerate(axes):
        inside &= (places[at] > -0.75) & (places[at] < sizes[letter] - 0.25)
    places = np.where(inside, places, np.nan)
    if not inside.any():
        return Tokens(places, None, None)
    centres: dict[str, np.ndarray] = {}
    cells = np.zeros(places.shape[1:], np.int64)
    for letter, name in (("T", "frames"), ("H", "rows"), ("W", "columns")):
        # A sequence is a row of columns.
        at = axes.find(letter if letter != "W" or "W" in axes else next((x for x in axes if x in "NL"), "W"))
        own = np.zeros(1) if at < 0 else _centres(places[at][inside])
        centres[name] = own
        index = np.zeros(cells.shape, np.int64)
        if at >= 0:
            index[inside] = np.abs(places[at][inside][:, None] - own[None]).argmin(1)
        cells = cells * len(own) + index
    return Tokens(places, np.where(inside, cells, -1), Grid(**centres))


def _centres(values: np.ndarray) -> np.ndarray:
    """The different coordinates, of which those within half a pixel are one."""
    found = np.unique(values)
    return found[np.concatenate([[True], np.diff(found) > 0.25])]
