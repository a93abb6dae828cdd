"""What is said of each channel, as columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..tables.columns import Column
from .records import QUANTILES, Dossier, Dossiers, LayerDossiers, Unit
from .words import image_names, share_in_words


@dataclass(frozen=True, slots=True)
class ChannelRow:
    """A channel of a layer."""

    layer: str
    dossier: Dossier
    called: Callable[[str], str]


def channel_rows(found: Dossiers, layer: LayerDossiers, channels: list[int]) -> list[ChannelRow]:
    called = image_names(found)
    return [ChannelRow(layer.layer.name, found.dossier(layer.layer.name, each), called) for each in channels]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _share(value: float | None) -> str:
    return "–" if value is None else share_in_words(value)


def _strongest(row: ChannelRow) -> Unit | None:
    return next(iter(row.dossier.of("strongest")), None)


def _strongest_in(row: ChannelRow) -> str:
    unit = None if row.dossier.never_fires else _strongest(row)
    return "–" if unit is None else row.called(unit.image)


def _classes(row: ChannelRow) -> str:
    return ", ".join(f"{each.name} {each.mean:.3g}" for each in row.dossier.classes[:3])


CHANNELS: list[Column[ChannelRow]] = [
    Column("layer", None, lambda row: row.layer),
    Column("channel", "channel", lambda row: row.dossier.channel, right=True),
    Column("image_count", None, lambda row: row.dossier.images),
    Column(
        "here",
        "here",
        lambda row: row.dossier.here,
        lambda value: "" if value is None else f"{value:.4g}",
        right=True,
        optional=True,
        priority=9,
    ),
    Column(
        "above",
        "above",
        lambda row: row.dossier.above,
        lambda value: "" if value is None else f"{share_in_words(value)} of images",
        right=True,
        optional=True,
        priority=9,
    ),
    Column("fires", "fires", lambda row: row.dossier.fires, _share, right=True, priority=9),
    Column("selectivity", "selectivity", lambda row: row.dossier.selectivity, _number, right=True, priority=8),
    Column("max", "max", lambda row: row.dossier.max, _number, right=True, priority=9),
    Column("mean", "mean of maxima", lambda row: row.dossier.mean, _number, right=True, priority=4),
    Column("min", "weakest", lambda row: row.dossier.min, _number, right=True, priority=3),
    *(
        Column(
            f"q{round(100 * q)}",
            "median" if q == 0.5 else None,
            lambda row, at=at: row.dossier.quantiles[at] if row.dossier.quantiles else None,  # type: ignore[misc]
            _number,
            right=True,
            priority=5,
        )
        for at, q in enumerate(QUANTILES)
    ),
    Column("strongest_image", None, lambda row: None if _strongest(row) is None else _strongest(row).image),  # type: ignore[union-attr]
    Column("strongest_at", None, lambda row: None if _strongest(row) is None else place_of(_strongest(row))),  # type: ignore[arg-type]
    Column("", "strongest in", cell=_strongest_in, least=12, cut="middle", priority=7),
    Column("best_class", None, lambda row: row.dossier.classes[0].name if row.dossier.classes else None),
    Column("", "classes (mean of maxima)", cell=_classes, optional=True, least=16, cut="items", priority=7),
]


def place_of(unit: Unit) -> list[int]:
    """The unit's row and column; a sequence's frame before them where there is one."""
    return [*unit.place] if unit.place[0] else [*unit.place[1:]]


def unit_row(unit: Unit) -> dict[str, Any]:
    patch = unit.patch
    return {
        "rank": unit.rank,
        "value": unit.value if abs(unit.value) < float("inf") else None,
        "image": unit.image,
        "number": unit.number,
        "at": place_of(unit),
        "box": None if patch is None else {"rows": [*patch.rows], "columns": [*patch.columns]},
        "whole_image": None if patch is None else patch.whole,
    }
