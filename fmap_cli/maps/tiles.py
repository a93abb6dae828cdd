"""The tiles of one layer: which values stand at the ends of the colours, and the pixels that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import units
from ..drawing.grid import DIVERGING, SEQUENTIAL, TWO_HUES, Placement, fit_colours, lookup, palette
from ..drawing.overlay import overlay
from ..errors import OutputError
from .records import Drawing, FeatureMap

_LARGEST_PAGE_PX = 170_000_000  # more than this, few programs open


@dataclass(frozen=True, slots=True)
class Scale:
    """The values at both ends of the colours for each drawn map, `[N]`; `shared` where all have the same."""

    low: np.ndarray
    high: np.ndarray
    cmap: str
    shared: bool
    clipped: float


def scale_of(feature_map: FeatureMap, drawing: Drawing) -> Scale:
    """The scale that `drawing` asks for.

    A shared scale spans all channels of the layer, not only those drawn (with `clip`, those drawn). Where it reaches
    below zero it is made symmetric, so that the middle of the diverging colours is zero.
    """
    count = len(feature_map.maps)
    channels = feature_map.channels
    plain, diverging = (TWO_HUES, TWO_HUES) if drawing.overlay else (SEQUENTIAL, DIVERGING)
    if drawing.scale == "channel":
        low, high = channels.min[feature_map.drawn], channels.max[feature_map.drawn]
        if drawing.clip:
            low, high = _clipped(feature_map.maps.reshape(count, -1), drawing.clip)
        return Scale(low, high, drawing.cmap or plain, False, drawing.clip)
    known = ~np.isnan(channels.min)
    bottom = channels.min[known].min() if known.any() else np.nan
    top = channels.max[known].max() if known.any() else np.nan
    if drawing.clip and count:
        lows, highs = _clipped(feature_map.maps.reshape(1, -1), drawing.clip)
        bottom, top = lows[0], highs[0]
    cmap = drawing.cmap or plain
    if bottom < 0:
        cmap = drawing.cmap or diverging
        if cmap in (DIVERGING, TWO_HUES):
            top = max(top, -bottom)
            bottom = -top
    return Scale(np.full(count, bottom), np.full(count, top), cmap, True, drawing.clip)


def _clipped(values: np.ndarray, percent: float) -> tuple[np.ndarray, np.ndarray]:
    """The `percent` and `100 - percent` percentiles of each row's finite values."""
    finite = np.where(np.isfinite(values), values, np.nan)
    ends = np.full((2, len(values)), np.nan)
    some = ~np.isnan(finite).all(axis=1)
    if some.any():
        ends[:, some] = np.nanpercentile(finite[some].astype(np.float64), [percent, 100 - percent], axis=1)
    return ends[0], ends[1]


def check_page(feature_map: FeatureMap, placement: Placement) -> None:
    """Raises OutputError where the tiles make a page of a size that fills the memory, and that no program opens."""
    height, width = placement.size
    if height * width > _LARGEST_PAGE_PX:
        raise OutputError(
            f"the tiles of layer {feature_map.layer.name!r} would take"
            f" {units.count(width)} pixels across and {units.count(height)} down.",
            hint="Draw fewer channels (--top, --channels) or smaller tiles (--tile).",
        )


def frames_of(feature_map: FeatureMap, scale: Scale) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Each channel's frames as maps of their own, `[N * T, H, W]`, with their ends of scale."""
    count, frames, height, width = feature_map.maps.shape
    maps = feature_map.maps.reshape(count * frames, height, width)
    return maps, np.repeat(scale.low, frames), np.repeat(scale.high, frames)


def tile_colours(feature_map: FeatureMap, scale: Scale, tile: tuple[int, int]) -> np.ndarray:
    """Every tile in colour, `[N * T, tile height, tile width, 3]` uint8."""
    return fit_colours(*frames_of(feature_map, scale), lookup(palette(scale.cmap)), tile)


def overlay_colours(feature_map: FeatureMap, scale: Scale, photo: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """Every tile, smoothly resized, over the photo in gray, `[N * T, tile height, tile width, 3]` uint8."""
    return overlay(*frames_of(feature_map, scale), scale.cmap, photo, tile)
