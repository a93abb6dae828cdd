"""The tiles of one layer: which values stand at the ends of the colours, and the pixels that follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .. import units
from ..drawing.grid import DIVERGING, SEQUENTIAL, TWO_HUES, Placement, blend, fit_codes, lookup, palette
from ..errors import OutputError
from .records import Drawing, FeatureMap

OVERLAY_STRENGTH = 0.75  # of the most opaque colours
_BLACK, _GRAY_CONTRAST = 36, 0.72
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
    maps, low, high = frames_of(feature_map, scale)
    return lookup(palette(scale.cmap))[fit_codes(maps, low, high, tile)]


def overlay_colours(feature_map: FeatureMap, scale: Scale, photo: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """Every tile, smoothly resized, over the photo in gray, `[N * T, tile height, tile width, 3]` uint8.

    The photo shows through where values are at the clear end of the scale, and least where they are at the other:
    `overlay_ends` says which ends these are. Units that are no number keep their hard edges.
    """
    import torch
    from torch.nn import functional as F

    maps, low, high = frames_of(feature_map, scale)
    finite = np.where(np.isfinite(maps), maps, low[:, None, None])
    tensor = torch.from_numpy(np.ascontiguousarray(finite, np.float32))[:, None]  # [N, 1, H, W]
    smooth = F.interpolate(tensor, tile, mode="bilinear", antialias=True)[:, 0].numpy()
    special = fit_codes(maps, low, high, tile)
    codes = np.where(special >= 256, special, fit_codes(smooth, *overlay_ends(scale.cmap, low, high), tile))
    colours = lookup(palette(scale.cmap))
    opacity = np.concatenate([overlay_opacity(scale.cmap), np.full(len(colours) - 256, OVERLAY_STRENGTH)])
    return blend(colours[codes], gray_photo(photo, tile), opacity[codes])


def overlay_ends(cmap: str, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The values at both ends of an overlay's colours, of maps whose own ends are `low` and `high` `[N]`.

    In two hues the middle is clear. It stands for zero where a map has values to either side of it, and for the map's
    lowest value where it has not. Other colours are clear at their lower end, and go from `low` to `high`.
    """
    if cmap != TWO_HUES:
        return low, high
    with np.errstate(invalid="ignore", over="ignore"):
        signed = (low < 0) & (high > 0)
        far = np.maximum(-low, high)
        return np.where(signed, -far, low - (high - low)), np.where(signed, far, high)


def overlay_opacity(cmap: str) -> np.ndarray:
    """How much of each of a map's 256 colours hides the photo, 0..1."""
    places = np.linspace(0, 1, 256)
    return OVERLAY_STRENGTH * (np.abs(2 * places - 1) if cmap in (TWO_HUES, DIVERGING) else places)


def gray_photo(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The photo `[h, w, 3]` in gray, resized, and with neither black nor white: colours over it are seen everywhere."""
    from PIL import Image

    resized = Image.fromarray(photo).convert("L").resize((size[1], size[0]), Image.Resampling.BILINEAR)
    return np.repeat((np.asarray(resized, np.float32) * _GRAY_CONTRAST + _BLACK)[..., None], 3, axis=2)
