"""Attention rollout: the attention of all layers multiplied, each with the residual branch beside it (Abnar & Zuidema
2020, arXiv 2005.00928, section 3.1: A_l = 0.5 W_l + 0.5 I, and R_l = A_l R_{l−1})."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import LayerError
from .calls import AttentionCall
from .numbers import blocks, distances, entropy, far
from .placing import Placed, placed
from .querying import query_of
from .records import Asked, LayerAttention

_MOST_TOKENS = 8192


def rolled_out(calls: Sequence[AttentionCall], axes: str, sizes: dict[str, int], at: Asked | None) -> LayerAttention:
    """The rollout over these calls, after each of them: its `heads` are the layers. Raises LayerError."""
    from .gather import laid_out

    where, included, notes = _included(calls, axes, sizes)
    first = included[0]
    tokens = first.shape[-1]
    if tokens > _MOST_TOKENS:
        raise LayerError(
            f"a rollout over {tokens:,} tokens would lay out {tokens:,} × {tokens:,} weights.",
            hint=f"Give a smaller --size: up to {_MOST_TOKENS:,} tokens.",
        )
    query = query_of(first.name, where, tokens, at)
    apart = distances(where, axes, 0, tokens)
    cells = where.queries.cells
    counted = np.ones(tokens, bool) if cells is None or (cells < 0).all() else cells[0] >= 0
    together = torch.eye(tokens)
    rows, entropies, away = [], [], []
    for call in included:
        own = placed(call, axes, sizes)
        together = _step(call, own) @ together
        row = together[counted].mean(0) if query.index is None else together[query.index]
        rows.append(row)
        entropies.append(float(entropy(together)[counted].mean()))
        distance = far(together[None], apart)[0][counted]
        away.append(float(distance[~distance.isnan()].mean()) if (~distance.isnan()).any() else np.nan)
        call.scores = None
    names = tuple(each.name for each in included)
    return laid_out(
        Placed(torch.zeros(1, len(rows), dtype=torch.long), where.queries, where.keys),
        axes,
        query,
        (np.array(entropies), np.array(away)),
        torch.stack(rows)[None],
        name="rollout",
        type_name="",
        asked="",
        how="rollout",
        queries=tokens,
        unplaced="" if where.keys.grid is not None else "where its tokens come from cannot be followed",
        of_rollout=names,
        notes=tuple(notes),
    )


def _step(call: AttentionCall, where: Placed) -> Tensor:
    """Half the mean over heads, half the residual branch; each row adds up to 1."""
    assert call.scores is not None
    tokens = call.shape[-1]
    mean = torch.cat([piece[0].mean(0) for _, piece in blocks(call.scores, where, tokens, tokens)])
    mixed = 0.5 * mean + 0.5 * torch.eye(tokens)
    return mixed / mixed.sum(-1, keepdim=True)


def _included(
    calls: Sequence[AttentionCall], axes: str, sizes: dict[str, int]
) -> tuple[Placed, list[AttentionCall], list[str]]:
    """The calls in which the same tokens look at one another, which have to follow on one another."""
    places = [placed(each, axes, sizes) for each in calls]
    fits = [each.shape[-1] == each.shape[-2] and where.windows == 1 for each, where in zip(calls, places, strict=True)]
    if not any(fits):
        windowed = any(where.windows > 1 for where in places)
        why = "looks within windows" if windowed else "has other queries than keys"
        raise LayerError(
            f"a rollout needs layers in which the same tokens all look at one another, and {calls[0].name} {why}.",
            hint="Without --rollout each layer can be drawn by itself.",
        )
    start = fits.index(True)
    tokens = calls[start].shape[-1]
    end = start
    while end < len(calls) and fits[end] and calls[end].shape[-1] == tokens:
        end += 1
    later = [each.name for each, ok in zip(calls[end:], fits[end:], strict=True) if ok and each.shape[-1] == tokens]
    if later:
        raise LayerError(
            f"a rollout needs layers that follow on one another with the same tokens; between {calls[end - 1].name} and"
            f" {later[0]} there is {calls[end].name}, which has others.",
            hint="Name the layers with --layer.",
        )
    left = [each.name for each in (*calls[:start], *calls[end:])]
    notes = []
    if left:
        some = ", ".join(left[:3]) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        notes.append(f"over {end - start} of {len(calls)} attention layers: {some} have other tokens or windows")
    return places[start], list(calls[start:end]), notes
