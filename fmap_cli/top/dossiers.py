"""A layer's record → what is said of each of its channels, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..arguments import names_of
from ..errors import FmapError, LayerError
from .exact import total
from .excitations import Excitations, Picks
from .records import QUANTILES, SORTS, Answer, Dossier, Dossiers, LayerDossiers, Sort, Unit, patch_key

_ANSWERS = 5


def class_means(found: Excitations) -> np.ndarray:
    """The mean of each channel's maxima by class, float64 `[G, C]`; NaN where there are none."""
    counts = found.classes.counts
    means: np.ndarray = np.where(counts > 0, total(found.classes.limbs) / np.maximum(counts, 1), np.nan)
    return means


def mean_of(found: Excitations) -> np.ndarray:
    """The mean of each channel's maxima over images, float64 `[C]`; NaN where there is none."""
    counts = found.classes.counts.sum(axis=0)
    sums = total(found.classes.limbs.sum(axis=0))
    mean: np.ndarray = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)
    return mean


def selectivity_by_class(means: np.ndarray) -> np.ndarray:
    """(m - r) / (m + r), float64 `[C]`: m is the largest of a channel's means by class, r the mean of the others; means
    below zero count as zero, for such a class does not excite the channel.

    It is 0 for a channel that answers to all classes alike and 1 for one that answers to a single one. NaN where there
    are fewer than two classes, and where none of them has a mean above zero. This is Morcos et al.'s class selectivity
    index ("On the importance of single directions for generalization", 2018), of each image's maximum in place of the
    mean over the map.
    """
    known = ~np.isnan(means)
    count = known.sum(axis=0)
    above = np.where(known, np.maximum(means, 0), 0)
    best = above.max(axis=0, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rest = (above.sum(axis=0) - best) / (count - 1)
        index: np.ndarray = (best - rest) / (best + rest)
    return np.where((count > 1) & (best > 0), np.where(best == rest, 0.0, index), np.nan)


def sparseness(values: np.ndarray) -> np.ndarray:
    """(1 - mean² / mean of squares) / (1 - 1/n) over n images, of what is above zero; float64 `[C]` of `[n, C]`.

    It is 0 for a channel that answers to all images alike and 1 for one that answers to a single one; NaN where it
    never does or there is one image. Vinje and Gallant, "Sparse coding and decorrelation in primary visual cortex
    during natural vision", 2000.
    """
    values = np.where(np.isnan(values), 0, np.maximum(values, 0)).astype(np.float64)
    count = len(values)
    largest = values.max(axis=0, initial=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        scaled = values / largest  # squares of large and small numbers stay numbers
        share = scaled.mean(axis=0) ** 2 / (scaled**2).mean(axis=0)
        found: np.ndarray = (1 - share) / (1 - 1 / count) if count > 1 else np.full(values.shape[1], np.nan)
    found = np.where(found < 1e-12, 0.0, found)  # what rounding leaves of equal values
    return np.where((largest > 0) & np.isfinite(largest), found, np.nan)


def selectivity(dossiers: Dossiers, layer: LayerDossiers) -> np.ndarray:
    """How choosy each channel is: by class where classes are told apart, else over images. NaN where unknown."""
    if dossiers.by_class:
        return selectivity_by_class(class_means(layer.found))
    return sparseness(layer.found.spread.value)


def above(layer: LayerDossiers) -> np.ndarray:
    """The share of the images whose maximum is smaller than the value at the place asked about, float64 `[C]`; NaN
    where that is not known.
    """
    spread = layer.found.spread.value
    known = ~np.isnan(spread)
    if layer.here is None:
        return np.full(layer.found.channels, np.nan)
    with np.errstate(invalid="ignore"):
        share: np.ndarray = (known & (spread < layer.here)).sum(axis=0) / known.sum(axis=0)
    return np.where(np.isnan(layer.here), np.nan, share)


def fires(found: Excitations) -> np.ndarray:
    """The share of the images in which each channel has a value above zero, float64 `[C]`."""
    seen = found.images - found.without
    share: np.ndarray = np.where(seen > 0, found.fired / np.maximum(seen, 1), np.nan)
    return share


def ordered(dossiers: Dossiers, layer: LayerDossiers, sort: Sort, reverse: bool, top: int | None) -> list[int]:
    """The channels' numbers as they are shown; those of which the number is not known come last."""
    found = layer.found
    if sort not in SORTS:
        raise FmapError(f"channels cannot be sorted by {sort!r}.", hint=f"They can by {', '.join(SORTS)}.")
    if sort == "like":
        if layer.here is None:
            raise FmapError("channels are sorted by a place that is asked about: give an image and a place of it.")
        with np.errstate(invalid="ignore", divide="ignore"):
            share = layer.here / found.strongest.value[:, 0]
        answers = layer.here > 0  # what is not above zero is no answer, though it be the largest
        keys = [np.where(answers, np.nan_to_num(each, nan=-np.inf), -np.inf) for each in (above(layer), share)]
        chosen = np.lexsort((layer.channels, *(each if reverse else -each for each in reversed(keys))))
    elif sort == "index":
        chosen = np.argsort(layer.channels, kind="stable")
        chosen = chosen[::-1] if reverse else chosen
    else:
        largest = np.where(found.strongest.image[:, 0] >= 0, found.strongest.value[:, 0], np.nan)
        numbers = {"max": largest, "fires": fires(found), "selectivity": selectivity(dossiers, layer)}[sort]
        numbers = numbers.astype(np.float64)
        key = numbers if reverse else -numbers
        chosen = np.lexsort((layer.channels, np.where(np.isnan(key), np.inf, key)))
    return [int(layer.channels[at]) for at in chosen[:top]]


def restricted(
    dossiers: Dossiers, patterns: Sequence[str], channels: Sequence[int] | None, kinds: Sequence[str]
) -> Dossiers:
    """These with the layers and channels asked for alone. Raises LayerError where there are none."""
    from ..network.selection import pick_names

    layers = dossiers.layers
    if patterns or kinds:
        kinds_of = {each.layer.name: each.layer.kind for each in layers}
        names = pick_names(kinds_of, names_of(patterns), names_of(kinds), among="these dossiers")
        layers = tuple(each for each in layers if each.layer.name in names)
    if channels is not None:
        layers = tuple(_with(each, channels) for each in layers)
    return replace(dossiers, layers=layers)


def _with(layer: LayerDossiers, channels: Sequence[int]) -> LayerDossiers:
    missing = sorted({*channels} - {int(each) for each in layer.channels})
    if missing:
        raise LayerError(
            f"there is no dossier of channel {missing[0]} of layer {layer.layer.name!r}.",
            hint=f"There are {len(layer.channels)}, from {layer.channels[0]} to {layer.channels[-1]}.",
        )
    rows = np.searchsorted(layer.channels, np.unique(np.array(channels, np.int64)))
    found = layer.found
    kept = replace(
        found,
        fired=found.fired[rows],
        without=found.without[rows],
        strongest=found.strongest.of(rows),
        weakest=found.weakest.of(rows),
        spread=found.spread.of(rows),
        pictured=found.pictured.of(rows),
        classes=replace(found.classes, counts=found.classes.counts[:, rows], limbs=found.classes.limbs[:, rows]),
    )
    here = None if layer.here is None else layer.here[rows]
    return replace(layer, channels=layer.channels[rows], found=kept, here=here)


def quantiles_of(found: Excitations) -> np.ndarray:
    """`QUANTILES` of each channel's maxima, float32 `[Q, C]`: each a value that occurs; NaN where there is none."""
    values = np.sort(found.spread.value, axis=0)  # NaN last
    count = (~np.isnan(values)).sum(axis=0)
    rows = [np.clip(np.ceil(q * count).astype(np.int64) - 1, 0, None) for q in QUANTILES]
    if not len(values):
        return np.full((len(QUANTILES), found.channels), np.nan, np.float32)
    return np.stack([values[each, np.arange(found.channels)] for each in rows])


def examples_of(found: Excitations) -> Picks:
    """For each of `QUANTILES` a pictured image of its own: the nearest maximum, of equally near ones the first."""
    wanted, sample = quantiles_of(found), found.pictured
    if not len(sample.image):
        return Picks.none(found.channels, 0)
    with np.errstate(invalid="ignore"):
        away = np.abs(sample.value[None].astype(np.float64) - wanted[:, None])  # [Q, S, C]
    away = np.where(np.isnan(away), np.inf, away)
    at = np.arange(found.channels)
    rows = np.zeros((len(QUANTILES), found.channels), np.int64)
    missing = np.zeros(rows.shape, bool)
    for turn in range(len(QUANTILES)):
        rows[turn] = away[turn].argmin(axis=0)
        missing[turn] = np.isinf(away[turn, rows[turn], at])
        away[turn + 1 :, rows[turn], at] = np.inf  # each image once
    rows, at = rows.T, at[:, None]
    value = np.where(missing.T, np.nan, sample.value[rows, at])
    image = np.where(np.isnan(value), -1, sample.image[rows])
    none = np.zeros((*value.shape, 0, 0), np.uint8)
    return Picks(np.where(np.isnan(value), 0, value), image, sample.place[rows, at], none)


def shown_units(found: Excitations) -> list[tuple[Literal["strongest", "weakest", "quantile"], Picks]]:
    """The units that are shown of each channel, by what they are examples of."""
    return [("strongest", found.strongest), ("quantile", examples_of(found)), ("weakest", found.weakest)]


Frame = tuple[float, float, float, float]


def frame_of(layer: LayerDossiers, place: tuple[int, int], cells: tuple[int, int] | None = None) -> Frame | None:
    """Where a cell of the layer's map lies, were the map spread over the whole picture: top, left, height and width as
    shares of the picture's sides. None where the map has one cell. `cells` is how large it is of this picture, where
    that is known; else as large as of the first one.
    """
    if (cells or layer.cells) == (1, 1):
        return None
    high, wide = (max(length, at + 1) for length, at in zip(cells or layer.cells, place, strict=True))
    return place[0] / high, place[1] / wide, 1 / high, 1 / wide


def frame_of_unit(layer: LayerDossiers, unit: Unit) -> Frame | None:
    """The frame of a unit in its patch; None where that is no whole picture, and where all is 0, of which none is the
    strongest.
    """
    if unit.patch is None or not unit.patch.whole or not unit.value:
        return None
    return frame_of(layer, unit.place[1:], unit.patch.cells)


def dossier_of(dossiers: Dossiers, layer: LayerDossiers, channel: int) -> Dossier:
    """One channel's. Raises LayerError where there is none."""
    one = _with(layer, [channel])
    found = one.found
    units: list[Unit] = []
    for kind, picks in shown_units(found):
        for at in range(picks.value.shape[1]):
            number = int(picks.image[0, at])
            if number < 0:
                continue
            place: Any = tuple(int(each) for each in picks.place[0, at])
            patch = dossiers.patches.get(patch_key(layer.layer.name, channel, number, place))
            rank = QUANTILES[at] if kind == "quantile" else at + 1
            name = dossiers.names[number]
            coarse = picks.map[0, at] if picks.map[0, at].any() else None
            units.append(Unit(kind, rank, float(picks.value[0, at]), name, number, place, patch, coarse))
    spread = found.spread.value[:, 0]
    spread = np.sort(spread[~np.isnan(spread)])
    return Dossier(
        channel=channel,
        images=found.images - int(found.without[0]),
        fires=_number(fires(found)[0]),
        max=float(found.strongest.value[0, 0]) if found.strongest.image[0, 0] >= 0 else None,
        min=float(found.weakest.value[0, 0]) if found.weakest.image[0, 0] >= 0 else None,
        mean=_number(mean_of(found)[0]),
        quantiles=tuple(float(each) for each in quantiles_of(found)[:, 0]) if len(spread) else (),
        selectivity=_number(selectivity(dossiers, one)[0]),
        classes=_answers(found) if dossiers.by_class else (),
        units=tuple(units),
        spread=spread,
        here=None if one.here is None else _number(one.here[0]),
        above=_number(above(one)[0]),
    )


def _answers(found: Excitations) -> tuple[Answer, ...]:
    means = class_means(found)[:, 0]
    order = [at for at in np.argsort(-means, kind="stable") if not np.isnan(means[at])][:_ANSWERS]
    names, counts = found.classes.names, found.classes.counts
    return tuple(Answer(names[at], float(means[at]), int(counts[at, 0])) for at in order)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
