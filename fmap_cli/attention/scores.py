"""The weights of an attention call, computed again in pieces: softmax(Q Kᵀ · scale + mask), over all its axes before
the tokens in one.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Protocol

import torch
from torch import Tensor


class Scores(Protocol):
    """The weights of a call, `[L, Nq, Nk]`, some rows at a time."""

    def rows(self, first: int, end: int) -> Tensor:
        """The weights of the queries from `first` to before `end`, `[L, end - first, Nk]` float32."""


@dataclass(frozen=True, slots=True, eq=False)
class Laid:
    """Weights that the network itself laid out: a copy of them."""

    weights: Tensor  # [L, Nq, Nk]

    @classmethod
    def copied(cls, weights: Tensor) -> Laid:
        return cls(weights.detach().reshape(-1, *weights.shape[-2:]).clone())

    def rows(self, first: int, end: int) -> Tensor:
        return self.weights[:, first:end].float()


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Weights that a fused kernel did not lay out: made of queries `[…, Nq, d]`, keys and mask."""

    query: Tensor
    key: Tensor
    mask: Tensor | None
    causal: bool
    scale: float

    @classmethod
    def copied(cls, query: Tensor, key: Tensor, mask: Tensor | None, causal: bool, scale: float | None) -> Scored:
        by = query.shape[-1] ** -0.5 if scale is None else scale
        wide = mask is not None and 0 in mask.stride()  # one that is laid out for all heads takes no memory for it
        kept = None if mask is None else mask.detach() if wide else mask.detach().clone()
        return cls(query.detach().clone(), key.detach().clone(), kept, causal, by)

    def rows(self, first: int, end: int) -> Tensor:
        query, key = self.query[..., first:end, :].float(), self.key.float()
        if query.ndim > 2 and key.shape[-3] != query.shape[-3]:  # several heads of queries share one of keys
            key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
        scores = query @ key.transpose(-1, -2) * self.scale
        if self.causal:
            at = torch.arange(first, end, device=scores.device)[:, None]
            scores = scores.masked_fill(torch.arange(key.shape[-2], device=scores.device) > at, -torch.inf)
        if self.mask is not None:
            mask = self.mask if self.mask.shape[-2] == 1 else self.mask[..., first:end, :]
            if mask.dtype == torch.bool:
                scores = scores.masked_fill(~mask, -torch.inf)
            else:
                scores = scores + mask[..., : key.shape[-2]].float()
        weights = scores.softmax(-1)
        weights = weights.masked_fill(scores.isneginf().all(-1, keepdim=True), 0.0)  # a query that may look nowhere
        return weights.reshape(prod(scores.shape[:-2]), *scores.shape[-2:])
