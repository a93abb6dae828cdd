"""What is said of reduced maps, of components and of clusters: the lists that table, JSON and CSV read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .. import units
from ..models.input_words import InputWords
from ..tables.columns import Column
from .colours import HUES, basis_name
from .records import COLOURS, Alike, Basis, ReducedMap

_NAMED = 3


@dataclass(frozen=True, slots=True)
class MapRow:
    """A reduced map, the name of its image, how it was reduced, and what an input is called."""

    image: str
    found: ReducedMap
    method: str
    called: InputWords


@dataclass(frozen=True, slots=True)
class ComponentRow:
    """One component of a basis, counted from 1."""

    basis: Basis
    number: int

    @property
    def colour(self) -> str:
        return HUES[len(self.basis.low)][self.number - 1]

    @property
    def share(self) -> float:
        assert self.basis.components is not None
        return self.basis.components.shares[self.number - 1]

    @property
    def channels(self) -> list[tuple[int, float]]:
        """The channels that have most part in it, each with its weight, the largest first."""
        assert self.basis.components is not None
        direction = self.basis.components.directions[self.number - 1]
        order = (-abs(direction)).argsort(kind="stable")[:_NAMED].tolist()
        return [(at, float(direction[at])) for at in order]


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster of a basis, counted from 1, the largest first."""

    basis: Basis
    number: int

    @property
    def colour(self) -> str:
        return COLOURS[self.number - 1][0]

    @property
    def size(self) -> int:
        assert self.basis.clusters is not None
        return self.basis.clusters.sizes[self.number - 1]

    @property
    def share(self) -> float:
        return self.size / self.basis.units

    @property
    def channels(self) -> list[int]:
        assert self.basis.clusters is not None
        return list(self.basis.clusters.channels[self.number - 1])


def component_rows(basis: Basis) -> list[ComponentRow]:
    return [] if basis.components is None else [ComponentRow(basis, at + 1) for at in range(len(basis.low))]


def cluster_rows(basis: Basis) -> list[ClusterRow]:
    if basis.clusters is None:
        return []
    return [ClusterRow(basis, at + 1) for at in range(len(basis.clusters.sizes))]


def shares_in_words(shares: tuple[float, ...]) -> str:
    """The parts and what they come to.

    >>> shares_in_words((0.5, 0.25, 0.125)), shares_in_words((0.9,)), shares_in_words(())
    ('50.0 + 25.0 + 12.5 = 87.5 %', '90.0 %', '–')
    """
    if not shares:
        return "–"
    parts = " + ".join(f"{100 * each:.1f}" for each in shares)
    return f"{parts} %" if len(shares) == 1 else f"{parts} = {100 * sum(shares):.1f} %"


def place_in_words(at: tuple[int, ...]) -> str:
    return ",".join(map(str, at))


def alike_in_words(found: Alike) -> str:
    return f"{place_in_words(found.at)}: {found.cosine:.3f}"


def map_size(found: ReducedMap, called: InputWords) -> str:
    frames, height, width = found.units
    return f"{height} × {width}" if frames == 1 else f"{frames} {called.layer}s of {height} × {width}"


def _span(row: MapRow) -> tuple[float | None, float | None]:
    """The smallest and the largest value of a map of single values."""
    values = row.found.values[row.found.values == row.found.values]
    if row.method in ("pca", "kmeans") or not values.size:
        return None, None
    return float(values.min()), float(values.max())


def _range_in_words(row: MapRow) -> str:
    low, high = _span(row)
    return "" if low is None or high is None else units.value_range(low, high)


def _mean(row: MapRow) -> float | None:
    values = row.found.values[row.found.values == row.found.values]
    return None if row.method in ("pca", "kmeans") or not values.size else float(values.mean(dtype=float))


def _alike(row: MapRow) -> list[dict[str, Any]]:
    return [{"at": list(each.at), "cosine": each.cosine} for each in row.found.alike]


def _background(row: MapRow) -> float | None:
    return None if row.found.background is None else float(row.found.background.mean())


MAPS: tuple[Column[MapRow], ...] = (
    Column("image", "image", lambda row: row.image, units.one_line, least=16, cut="start"),
    Column("name", "layer", lambda row: row.found.layer.name, units.one_line, least=(24, 16)),
    Column("kind", None, lambda row: row.found.layer.kind),
    Column("type", None, lambda row: row.found.layer.type_name),
    Column("call", None, lambda row: row.found.layer.call),
    Column("shape", "shape", lambda row: list(row.found.shape), units.shape, right=True, priority=2),
    Column("dtype", None, lambda row: row.found.dtype),
    Column("map", None, lambda row: list(row.found.units)),
    Column(title="map", cell=lambda row: map_size(row.found, row.called), right=True, priority=3),
    Column("basis", "basis", lambda row: row.found.basis, basis_name, priority=4),
    Column("min", None, lambda row: _span(row)[0]),
    Column("max", None, lambda row: _span(row)[1]),
    Column(title="range", cell=_range_in_words, right=True, optional=True),
    Column("mean", None, _mean),
    Column("variance_shares", None, lambda row: list(row.found.shares)),
    Column(
        title="of its own variance",
        cell=lambda row: shares_in_words(row.found.shares) if row.method == "pca" else "",
        right=True,
        optional=True,
    ),
    Column("cluster_sizes", None, lambda row: list(row.found.sizes)),
    Column("background_fraction", None, _background),
    Column(
        title="background",
        cell=lambda row: "" if row.found.background is None else units.percent(_background(row) or 0.0),
        right=True,
        optional=True,
    ),
    Column("most_similar", None, _alike),
    Column(
        title="most similar",
        cell=lambda row: alike_in_words(row.found.alike[0]) if row.found.alike else "",
        right=True,
        optional=True,
    ),
)
"""These names are the schema's: later versions add names and never change these."""

COMPONENTS: tuple[Column[ComponentRow], ...] = (
    Column("component", "component", lambda row: row.number, right=True),
    Column("colour", "colour", lambda row: row.colour),
    Column("variance_share", "of the variance", lambda row: row.share, units.percent, right=True),
    Column("low", None, lambda row: row.basis.low[row.number - 1]),
    Column("high", None, lambda row: row.basis.high[row.number - 1]),
    Column("channels", None, lambda row: [{"channel": at, "weight": weight} for at, weight in row.channels]),
    Column(title="strongest channels", cell=lambda row: brighter_in_words(row), priority=1),
)

CLUSTERS: tuple[Column[ClusterRow], ...] = (
    Column("cluster", "cluster", lambda row: row.number, right=True),
    Column("colour", "colour", lambda row: row.colour),
    Column("unit_count", "units", lambda row: row.size, units.count, right=True),
    Column("share", "share", lambda row: row.share, units.percent, right=True),
    Column(
        "channels",
        "channels most above the mean",
        lambda row: row.channels,
        lambda at: ", ".join(map(str, at)),
        priority=1,
    ),
)


def brighter_in_words(row: ComponentRow) -> str:
    """What the strongest channels do to the component's colour: `brighter with 12 and 7, darker with 55`."""
    with_ = {
        words: [str(at) for at, weight in row.channels if (weight < 0) == (words == "darker")]
        for words in ("brighter", "darker")
    }
    return ", ".join(
        f"{words} with {' and '.join(filter(None, [', '.join(found[:-1]), found[-1]]))}"
        for words, found in with_.items()
        if found
    )
