"""What there is to say of a head in numbers, from its weights some rows at a time."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .placing import Placed
from .records import HeadNumbers
from .scores import Scores

_VALUES = 1 << 22  # that are laid out at a time


def blocks(scores: Scores, placed: Placed, queries: int, keys: int) -> Iterator[tuple[int, Tensor]]:
    """The first query of each piece, and its weights `[windows, heads, n, keys]` on the CPU."""
    step = max(_VALUES // max(placed.order.numel() * keys, 1), 1)
    for first in range(0, queries, step):
        rows = scores.rows(first, min(first + step, queries))
        yield first, rows.cpu()[placed.order]


def entropy(weights: Tensor) -> Tensor:
    """−Σ p log2 p along the last axis, in bits."""
    return torch.special.entr(weights.double()).sum(-1) / np.log(2)


def distances(placed: Placed, axes: str, first: int, end: int) -> Tensor | None:
    """How far each key is from each query, `[windows, n, keys]` in pixels; NaN where either has no place."""
    if placed.queries.places is None or placed.keys.places is None:
        return None
    along = [at for at, letter in enumerate(axes) if letter in "HW"] or [
        at for at, letter in enumerate(axes) if letter in "TNL"
    ]
    if not along:
        return None
    total = torch.zeros(())
    for at in along:
        query = torch.from_numpy(placed.queries.places[at][:, first:end])
        key = torch.from_numpy(placed.keys.places[at])
        total = total + (query[:, :, None] - key[:, None]) ** 2
    return total.sqrt()


def far(weights: Tensor, apart: Tensor | None) -> Tensor:
    """The mean distance by weight along the last axis, of the keys that have a place; NaN where there is none."""
    if apart is None:
        return torch.full(weights.shape[:-1], torch.nan, dtype=torch.float64)
    apart = apart.expand(weights.shape)
    known = torch.where(apart.isnan(), 0.0, weights.double())
    return (known * apart.nan_to_num(0.0)).sum(-1) / torch.where(apart.isnan().all(-1), torch.nan, known.sum(-1))


def numbers(
    means: tuple[np.ndarray, np.ndarray], rows: np.ndarray, apart: np.ndarray | None, placeless: np.ndarray
) -> HeadNumbers:
    """Numbers a head: `means` of entropy and distance over all queries, and of the drawn `rows` `[heads, keys]`."""
    weights = torch.from_numpy(rows)
    placed_rows = rows if placeless.all() else np.where(placeless, -1.0, rows)
    return HeadNumbers(
        entropy=means[0],
        distance=means[1],
        own_entropy=entropy(weights).numpy(),
        own_distance=far(weights, None if apart is None else torch.from_numpy(apart)).numpy(),
        nowhere=rows[:, placeless].sum(1, dtype=np.float64),
        peak=placed_rows.max(1).astype(np.float64),
        peak_key=placed_rows.argmax(1),
    )
