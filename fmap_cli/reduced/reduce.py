"""Channels to one picture: components, clusters, a number over the channels, or the likeness to one unit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import LayerError
from .clusters import fit_clusters
from .components import Fit, fit_components, otsu
from .records import CLUSTERS, COLOURS, Alike, Asked, Basis, Clusters, Components, Foreground, ReducedMap

MOST_ALIKE = 5
"""How many of the most similar units are named, in each map."""
_NAMED = 3

Row = list[tuple[ReducedMap, Tensor]]
"""The layers of one image, each with its maps `[C, T, H, W]`."""


@dataclass(slots=True)
class _Group:
    """The maps that share a basis, as all their units `[N, C]` one below the other; `cuts` are how many each has."""

    maps: list[ReducedMap]
    units: Tensor
    cuts: list[int]
    finite: Tensor  # [N]
    edge: Tensor  # [N]: at the border of its map

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each.layer.name for each in self.maps))

    @property
    def names(self) -> str:
        return " and ".join(map(repr, self.layers)) if len(self.layers) < 3 else f"{len(self.layers)} layers"


def reduce_all(
    rows: Sequence[Row], asked: Asked
) -> tuple[tuple[tuple[ReducedMap, ...], ...], tuple[Basis, ...], list[str]]:
    """The rows with each map reduced, what the colours mean, and what the user should know.

    Components and clusters are found once for all layers of as many channels (or for each layer, as `asked.basis`
    says) and all images; a number over the channels has a scale for each layer; likeness has one for all.
    """
    notes: list[str] = []
    if asked.similar is not None:
        found, basis = _similar(rows, asked.similar)
        return found, (basis,), notes
    keys = [[_key(each, maps, asked) for each, maps in row] for row in rows]
    order = list(dict.fromkeys(key for row in keys for key in row))
    places = {
        key: [(at, n) for at, row in enumerate(keys) for n, each in enumerate(row) if each == key] for key in order
    }
    done: dict[tuple[int, int], ReducedMap] = {}
    bases = []
    for number, key in enumerate(order):
        group = _group([rows[at][n] for at, n in places[key]])
        reduced, basis = _METHODS[asked.method](group, asked, notes)
        bases.append(basis)
        done |= {place: replace(each, basis=number) for place, each in zip(places[key], reduced, strict=True)}
    if len(bases) > 1 and asked.basis != "layer" and asked.method in ("pca", "kmeans"):
        counts = ", ".join(str(each.channel_count) for each in bases)
        notes.append(
            f"the layers have {counts} channels: only layers of as many channels share a basis, so there are"
            f" {len(bases)}, and a colour of one means nothing in another."
        )
    return tuple(tuple(done[at, n] for n in range(len(row))) for at, row in enumerate(rows)), tuple(bases), notes


def _key(found: ReducedMap, maps: Tensor, asked: Asked) -> tuple[object, ...]:
    """What maps of one basis have in common."""
    if asked.method in ("pca", "kmeans"):
        return (len(maps), found.layer.name if asked.basis == "layer" else "")
    return (found.layer.name,)


def _group(several: Sequence[tuple[ReducedMap, Tensor]]) -> _Group:
    units = [maps.flatten(1).T for _, maps in several]
    together = torch.cat(units).contiguous() if len(units) > 1 else units[0].contiguous()
    finite = torch.isfinite(together).all(1)
    edges = []
    for _, maps in several:
        edge = torch.zeros(maps.shape[1:], dtype=torch.bool)
        for axis in (1, 2):
            if edge.shape[axis] > 1:
                edge.select(axis, 0)[:] = True
                edge.select(axis, edge.shape[axis] - 1)[:] = True
        edges.append(edge.flatten())
    return _Group([found for found, _ in several], together, [len(each) for each in units], finite, torch.cat(edges))


def _spread(group: _Group, values: Tensor) -> list[np.ndarray]:
    """Values `[N, K]` of all units as each map's `[K, T, H, W]`."""
    parts = values.float().split(group.cuts)
    return [
        part.T.reshape(-1, *found.values.shape[1:]).contiguous().numpy()
        for part, found in zip(parts, group.maps, strict=True)
    ]


def _span(values: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The smallest and the largest finite value of each column of `[N, K]`; NaN where there is none."""
    known = torch.isfinite(values)
    low = torch.where(known, values, torch.inf).amin(0)
    high = torch.where(known, values, -torch.inf).amax(0)
    some = known.any(0)
    nan = torch.tensor(float("nan"))
    return tuple(torch.where(some, low, nan).tolist()), tuple(torch.where(some, high, nan).tolist())


# -- components --------------------------------------------------------------------------------------------------


def _finite_units(group: _Group) -> Tensor:
    if not group.finite.any():
        raise LayerError(
            f"every unit of layer {group.names} has a value that is NaN or infinite: there is nothing to reduce.",
            hint="`fmap stats --check` says in which layer that begins.",
        )
    return group.units if group.finite.all() else group.units[group.finite]


def _kept(group: _Group, asked: Asked, notes: list[str]) -> tuple[Tensor, Foreground | None]:
    """Which units `[N]` a basis is fitted to: the finite ones, or those of them that are foreground."""
    if not asked.foreground:
        return group.finite, None
    units = _finite_units(group)
    fit = fit_components(units, 1)
    if not len(fit.directions):
        notes.append(f"all units of layer {group.names} are the same: there is no foreground to tell apart.")
        return group.finite, None
    scores = fit.scores(units)[:, 0]
    threshold = otsu(scores)
    above = scores > threshold
    edge = group.edge[group.finite]
    at_edge = float(above[edge].double().mean()) if edge.any() else 0.0
    share = float(above.double().mean())
    is_above = at_edge <= share  # the foreground is rarer at the border than in all of the maps
    chosen = torch.zeros_like(group.finite)
    chosen[group.finite] = above if is_above else ~above
    return chosen, Foreground(
        threshold, is_above, share if is_above else 1 - share, at_edge if is_above else 1 - at_edge
    )


def _background(group: _Group, chosen: Tensor) -> list[np.ndarray]:
    return [each[0] > 0 for each in _spread(group, (group.finite & ~chosen)[:, None])]


def _pca(group: _Group, asked: Asked, notes: list[str]) -> tuple[list[ReducedMap], Basis]:
    _finite_units(group)
    chosen, foreground = _kept(group, asked, notes)
    units = group.units if chosen.all() else group.units[chosen]
    fit = fit_components(units)
    if not len(fit.directions):
        of = "the foreground of " if foreground is not None else ""
        notes.append(f"all units of {of}layer {group.names} are the same: its picture is of one colour.")
    scores = fit.scores(group.units)
    scores[~chosen] = float("nan")
    low, high = _span(scores)
    shares = tuple((fit.variances / fit.total).tolist()) if fit.total else ()
    basis = Basis(
        group.layers,
        group.units.shape[1],
        len(units),
        low,
        high,
        int((~group.finite).sum()),
        Components(fit.mean.numpy(), fit.directions.numpy(), shares, fit.total),
        foreground=foreground,
    )
    behind = _background(group, chosen) if foreground is not None else [None] * len(group.maps)
    own = [_own_shares(part, kept, fit) for part, kept in _parts(group, chosen)]
    reduced = [
        replace(found, values=values, background=mask, shares=mine)
        for found, values, mask, mine in zip(group.maps, _spread(group, scores), behind, own, strict=True)
    ]
    return reduced, basis


def _parts(group: _Group, chosen: Tensor) -> list[tuple[Tensor, Tensor]]:
    return list(zip(group.units.split(group.cuts), chosen.split(group.cuts), strict=True))


def _own_shares(units: Tensor, chosen: Tensor, fit: Fit) -> tuple[float, ...]:
    """The components' parts of the variance of one map's units around their own mean."""
    units = units if chosen.all() else units[chosen]
    if len(units) < 2 or not len(fit.directions):
        return ()
    variance = float(units.var(0).double().sum())
    return tuple((fit.scores(units).double().var(0) / variance).tolist()) if variance > 0 else ()


# -- clusters ----------------------------------------------------------------------------------------------------


def _kmeans(group: _Group, asked: Asked, notes: list[str]) -> tuple[list[ReducedMap], Basis]:
    _finite_units(group)
    chosen, foreground = _kept(group, asked, notes)
    units = group.units if chosen.all() else group.units[chosen]
    count = CLUSTERS if asked.clusters is None else asked.clusters
    if count > len(units):
        of = "the foreground of " if foreground is not None else ""
        raise LayerError(
            f"{count} clusters were asked for, and {of}layer {group.names} has {len(units)} units.",
            hint=f"Ask for at most {min(len(units), len(COLOURS))}, take a layer with a larger map, or more images.",
        )
    centres, labels, inertia = fit_clusters(units, count)
    if len(centres) < count:
        notes.append(
            f"the units of layer {group.names} make {len(centres)} clusters and not {count}: others are alike."
        )
    values = torch.full((len(group.units), 1), float("nan"))
    values[chosen, 0] = labels.float()
    spread = units.std(0).double() if len(units) > 1 else torch.zeros(units.shape[1])
    above = torch.where(spread > 0, (centres - units.mean(0, dtype=torch.float64)) / spread, 0.0)
    named = above.topk(min(_NAMED, above.shape[1]), 1)
    channels = tuple(
        tuple(at for at, by in zip(places, sizes, strict=True) if by > 0)
        for places, sizes in zip(named.indices.tolist(), named.values.tolist(), strict=True)
    )
    sizes = tuple(torch.bincount(labels, minlength=len(centres)).tolist())
    low, high = _span(values)
    basis = Basis(
        group.layers,
        group.units.shape[1],
        len(units),
        low,
        high,
        int((~group.finite).sum()),
        clusters=Clusters(centres.numpy(), sizes, inertia, channels),
        foreground=foreground,
    )
    behind = _background(group, chosen) if foreground is not None else [None] * len(group.maps)
    reduced = [
        replace(found, values=each, background=mask, sizes=_sizes(each, len(centres)))
        for found, each, mask in zip(group.maps, _spread(group, values), behind, strict=True)
    ]
    return reduced, basis


def _sizes(labels: np.ndarray, count: int) -> tuple[int, ...]:
    known = labels[~np.isnan(labels)].astype(int)
    return tuple(np.bincount(known, minlength=count).tolist())


# -- a number over the channels ----------------------------------------------------------------------------------


def _over_channels(
    of: Callable[[Tensor], Tensor],
) -> Callable[[_Group, Asked, list[str]], tuple[list[ReducedMap], Basis]]:
    def reduced(group: _Group, asked: Asked, notes: list[str]) -> tuple[list[ReducedMap], Basis]:
        values = of(group.units)[:, None]
        values = torch.where(group.finite[:, None], values, float("nan"))
        low, high = _span(values)
        missing = int((~group.finite).sum())
        basis = Basis(group.layers, group.units.shape[1], int(group.finite.sum()), low, high, missing)
        found = zip(group.maps, _spread(group, values), strict=True)
        return [replace(each, values=own) for each, own in found], basis

    return reduced


_METHODS = {
    "pca": _pca,
    "kmeans": _kmeans,
    "mean": _over_channels(lambda units: units.mean(1, dtype=torch.float64)),
    "max": _over_channels(lambda units: units.amax(1)),
    "std": _over_channels(lambda units: units.std(1)),
}


# -- likeness ----------------------------------------------------------------------------------------------------


def _similar(rows: Sequence[Row], at: tuple[int, ...]) -> tuple[tuple[tuple[ReducedMap, ...], ...], Basis]:
    """The cosine of every unit to one of the first image's, layer by layer."""
    references = {found.layer.name: _reference(found, maps, at) for found, maps in rows[0]}
    reduced, everything, missing = [], [], 0
    for number, row in enumerate(rows):
        mine = []
        for found, maps in row:
            name = found.layer.name
            if name not in references or len(references[name]) != len(maps):
                raise LayerError(
                    f"layer {name!r} has no unit in the first image to compare with: it did not run there, or had"
                    " another number of channels."
                )
            cosines = cosine(maps.flatten(1).T, references[name])
            missing += int(cosines.isnan().sum())
            everything.append(cosines)
            values = cosines.float().reshape(1, *maps.shape[1:]).numpy()
            skip = _place(at, found) if number == 0 else None
            mine.append(replace(found, values=values, alike=_most_alike(values[0], skip)))
        reduced.append(tuple(mine))
    low, high = _span(torch.cat(everything)[:, None])
    channels = len(rows[0][0][1])
    units = sum(len(each) for each in everything)
    return tuple(reduced), Basis(tuple(references), channels, units - missing, low, high, missing)


def cosine(units: Tensor, reference: Tensor) -> Tensor:
    """The cosine of each unit `[N, C]` to one `[C]`, float64; NaN for one of zeros or with a value that is not finite.

    >>> cosine(torch.tensor([[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]), torch.tensor([1.0, 0.0]))
    tensor([1., 0., nan], dtype=torch.float64)
    """
    units, reference = units.double(), reference.double()
    lengths = units.norm(dim=1) * reference.norm()
    found = units @ reference / lengths
    return torch.where(torch.isfinite(found), found.clamp(-1, 1), float("nan"))


def _place(at: tuple[int, ...], found: ReducedMap) -> tuple[int, int, int]:
    """Frame, row and column."""
    return (0, *at) if len(at) == 2 else at  # type: ignore[return-value]


def _reference(found: ReducedMap, maps: Tensor, at: tuple[int, ...]) -> Tensor:
    """The unit's values, one a channel. Raises LayerError for one that is not there or has no direction."""
    name = found.layer.name
    _, frames, height, width = maps.shape
    size = f"{height} × {width}" if frames == 1 else f"{frames} frames of {height} × {width}"
    if len(at) == 3 and frames == 1:
        raise LayerError(
            f"a unit of layer {name!r} is a row and a column, not {_written(at)}: its map has no frames.",
            hint=f"The map is {size}: the first unit is 0,0, the last {height - 1},{width - 1}.",
        )
    frame, row, column = _place(at, found)
    if not (frame < frames and row < height and column < width):
        last = f"{height - 1},{width - 1}" if frames == 1 else f"{frames - 1},{height - 1},{width - 1}"
        raise LayerError(
            f"unit {_written(at)} is outside the map of layer {name!r}, which is {size}.",
            hint=f"Give row and column from 0, at most {last}" + ("." if frames == 1 else ", the frame first."),
        )
    unit = maps[:, frame, row, column]
    if not torch.isfinite(unit).all() or not unit.any():
        why = "zero in all channels" if torch.isfinite(unit).all() else "not finite in some channels"
        raise LayerError(
            f"unit {_written(at)} of layer {name!r} is {why}: it has no direction to compare with.",
            hint="Take another unit, or the layer before the activation.",
        )
    return unit


def _written(at: Sequence[int]) -> str:
    return ",".join(map(str, at))


def _most_alike(cosines: np.ndarray, skip: tuple[int, int, int] | None) -> tuple[Alike, ...]:
    """The units of the largest cosine in a map `[T, H, W]`, but for one; those named first of equal ones."""
    values = np.where(np.isnan(cosines), -np.inf, cosines).astype(np.float64)
    if skip is not None:
        values[skip] = -np.inf
    order = np.argsort(-values.ravel(), kind="stable")[:MOST_ALIKE]
    places = [tuple(int(each) for each in np.unravel_index(at, cosines.shape)) for at in order]
    clip = cosines.shape[0] > 1
    return tuple(Alike(at if clip else at[1:], float(cosines[at])) for at in places if np.isfinite(values[at]))
