"""k-means of a layer's units: the same clusters each time.

The starts are k-means++ (D. Arthur and S. Vassilvitskii, 2007), each centre the best of a few drawn, as that paper
advises. Several are tried on some of the units and their strongest principal components alone, where a step costs
little; the best is finished among all units, first along these components, then in all channels.
"""

from __future__ import annotations

from math import log

import torch
from torch import Tensor

from .components import centre, fit_components

_SEED = 0
_FEW = 256
"""Of so few units steps cost nothing: more starts are tried, along all directions."""
_STARTS, _STARTS_OF_FEW = 6, 24
_DIRECTIONS, _SAMPLE = 16, 1024
_STEPS, _ROUGH_STEPS = 300, 20


def fit_clusters(units: Tensor, count: int) -> tuple[Tensor, Tensor, float]:
    """The centres `[k, C]`, the largest cluster's first, the cluster of each of the finite units `[N, C]`, and the
    inertia, the sum of squared distances.

    k is `count`, or less where fewer units differ.
    """
    few = len(units) <= _FEW
    fit = fit_components(units, len(units) if few else _DIRECTIONS)
    generator = torch.Generator().manual_seed(_SEED)
    centred, scale = centre(units, fit.mean)
    rough = centred @ fit.directions.to(units.dtype).T
    some = rough[torch.randperm(len(rough), generator=generator)[:_SAMPLE]] if len(rough) > _SAMPLE else rough
    labels = torch.zeros(len(units), dtype=torch.long)
    if len(fit.directions):
        starts = (_plus_plus(some, count, generator) for _ in range(_STARTS_OF_FEW if few else _STARTS))
        best = min((_lloyd(some, start, _ROUGH_STEPS) for start in starts), key=lambda found: found[2])
        labels = _lloyd(rough, best[1], _ROUGH_STEPS)[0]
    labels, centres, inertia = _lloyd(centred, _means(centred, labels, int(labels.max()) + 1), _STEPS)
    sizes = torch.bincount(labels, minlength=len(centres))
    order = sizes.argsort(descending=True, stable=True)[: int((sizes > 0).sum())]
    renumbered = torch.empty(len(centres), dtype=torch.long)
    renumbered[order] = torch.arange(len(order))
    return centres[order].double() * scale + fit.mean, renumbered[labels], inertia * scale**2


def _distances(units: Tensor, centres: Tensor, squares: Tensor) -> Tensor:
    """The squared distances `[N, k]`."""
    found = torch.addmm(squares[:, None] + centres.square().sum(1), units, centres.T, alpha=-2)
    return found.clamp_min_(0)


def _plus_plus(units: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Units as first centres, each drawn with a chance that goes by its squared distance to those there are.

    Fewer where no unit is apart from all of them.
    """
    squares = units.square().sum(1)
    first = int(torch.randint(len(units), (1,), generator=generator))
    chosen = [first]
    nearest = _distances(units, units[first : first + 1], squares)[:, 0]
    tried = 2 + int(log(count))
    floor = 1e-6 * float(squares.max())
    while len(chosen) < count:
        chance = torch.where(nearest > floor, nearest, 0.0).double().cumsum(0)
        if not float(chance[-1]) > 0:
            break
        drawn = torch.rand(tried, generator=generator, dtype=torch.float64) * chance[-1]
        at = torch.searchsorted(chance, drawn, right=True).clamp_max(len(units) - 1)
        after = torch.minimum(_distances(units, units[at], squares), nearest[:, None])
        best = int(after.sum(0).argmin())
        chosen.append(int(at[best]))
        nearest = after[:, best]
    return units[chosen]


def _means(units: Tensor, labels: Tensor, count: int) -> Tensor:
    """The mean of each cluster's units, `[k, C]`; zeros of one without units."""
    member = torch.zeros((count, len(units)), dtype=units.dtype)
    member[labels, torch.arange(len(units))] = 1
    return member @ units / member.sum(1, keepdim=True).clamp_min(1)


def _lloyd(units: Tensor, centres: Tensor, steps: int) -> tuple[Tensor, Tensor, float]:
    """Lloyd's algorithm until no unit changes its cluster: the clusters of the units, their centres and the inertia."""
    labels: Tensor | None = None
    for _ in range(steps):
        found = torch.addmm(centres.square().sum(1), units, centres.T, alpha=-2).argmin(1)
        if labels is not None and torch.equal(found, labels):
            break
        labels = found
        centres = _means(units, labels, len(centres))
        empty = torch.bincount(labels, minlength=len(centres)) == 0
        if empty.any():  # a centre without units goes to the unit that is worst off
            far = (units - centres[labels]).square().sum(1).topk(int(empty.sum())).indices
            centres[empty] = units[far]
    assert labels is not None
    inertia = float((units - centres[labels]).double().square().sum())
    return labels, centres, inertia
