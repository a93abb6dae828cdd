"""Reduced maps to pixels: which values stand at the ends of the colours, and the picture that follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..drawing.grid import DIVERGING, NAN_RGB, SEQUENTIAL, TWO_HUES, blend, fit_codes, lookup, palette
from ..drawing.overlay import gray_photo, overlay
from .records import CLIPPED, COLOURS, Drawing, Reduced, ReducedMap

OPACITY = 0.7
"""Of colours that are laid over the photo."""

_CHANNELS = {1: ((0, 1, 2),), 2: ((0,), (1, 2)), 3: ((0,), (1,), (2,))}
"""Which of red, green and blue each component is, by how many there are."""
Way = Literal["mean", "one unit", "smooth"]
HUES = {1: ("white",), 2: ("red", "cyan"), 3: ("red", "green", "blue")}


@dataclass(frozen=True, slots=True)
class Ends:
    """The values at both ends of the colours, one a component; `cmap` is the colour map of a single value."""

    low: np.ndarray
    high: np.ndarray
    cmap: str
    clipped: float


def ends_of(reduced: Reduced, number: int, drawing: Drawing) -> Ends:
    """The ends of a basis's colours, over all maps that share it.

    Of components each has its own, and one percent of the values at either end takes the end's colour. A single value
    that reaches below zero has diverging colours around zero; a cosine's end is 1.
    """
    method, basis = reduced.method, reduced.bases[number]
    clip = drawing.clip if drawing.clip is not None else CLIPPED if method == "pca" else 0.0
    low, high = np.array(basis.low), np.array(basis.high)
    if clip and len(low) and method != "kmeans":
        maps = [each.values.reshape(len(low), -1) for row in reduced.maps for each in row if each.basis == number]
        values = np.concatenate(maps, axis=1)
        if np.isfinite(values).all(0).any():
            low, high = clipped_ends(values, clip)
    if method in ("pca", "kmeans"):
        return Ends(low, high, "", clip)
    plain, diverging = (TWO_HUES, TWO_HUES) if drawing.overlay else (SEQUENTIAL, DIVERGING)
    if method == "similar":
        high = np.ones(1)
    if low[0] < 0 and drawing.cmap is None:
        far = np.maximum(high, -low)
        return Ends(-far, far, diverging, clip)
    return Ends(low, high, drawing.cmap or plain, clip)


def clipped_ends(values: np.ndarray, clip: float) -> tuple[np.ndarray, np.ndarray]:
    """The percentiles `clip` and 100 - `clip` of each row of `[K, N]`, over the columns that are finite."""
    known = values[:, np.isfinite(values).all(0)].astype(np.float64)
    low, high = np.percentile(known, [clip, 100 - clip], axis=1)
    return low, high


def paint(
    found: ReducedMap, ends: Ends, method: str, photo: np.ndarray, size: tuple[int, int], over: bool
) -> np.ndarray:
    """The picture of each frame, `[T, height, width, 3]` uint8: a unit is a rectangle.

    `over` lays it on the photo in gray, and components, where all are finite, are then drawn smoothly. Background is
    the photo in gray; units that are not finite are magenta. A picture of fewer pixels than units has their mean
    colours, but of clusters, and where some units are not finite, one unit's: such colours mean nothing when mixed.
    """
    if method not in ("pca", "kmeans"):
        return _one_value(found, ends, photo, size, over)
    if method == "pca":
        colours, known = component_colours(found.values, ends), np.isfinite(found.values).all(0)
    else:
        colours, known = cluster_colours(found.values[0]), np.isfinite(found.values[0])
    colours[~known] = NAN_RGB
    way: Way = "one unit" if method == "kmeans" or not known.all() else "smooth" if over else "mean"
    pages = np.stack([_resize(each, size, way) for each in colours])
    if over:
        pages = blend(pages, gray_photo(photo, size), OPACITY)
    if found.background is None:
        return pages
    hidden = np.stack([_resize(each.astype(np.uint8) * 255, size, "mean") > 127 for each in found.background])
    return np.where(hidden[..., None], np.rint(gray_photo(photo, size)).astype(np.uint8), pages)


def _one_value(found: ReducedMap, ends: Ends, photo: np.ndarray, size: tuple[int, int], over: bool) -> np.ndarray:
    maps = found.values[0]
    low, high = (np.repeat(end, len(maps)) for end in (ends.low, ends.high))
    if over:
        return overlay(maps, low, high, ends.cmap, photo, size)
    return lookup(palette(ends.cmap))[fit_codes(maps, low, high, size)]


def component_colours(values: np.ndarray, ends: Ends) -> np.ndarray:
    """Scores `[K, …]` as colours `[…, 3]` uint8: each component is how much there is of red, green or blue.

    Middling gray where there are no components at all: all units are the same.

    >>> ends = Ends(np.array([0.0, 0.0, -1.0]), np.array([1.0, 2.0, 1.0]), "", 0)
    >>> component_colours(np.array([1.0, 1.0, -3.0]), ends).tolist()
    [255, 128, 0]
    """
    colours = np.full((*values.shape[1:], 3), 128, np.uint8)
    for at, channels in enumerate(_CHANNELS.get(len(values), ())):
        span = ends.high[at] - ends.low[at]
        level = (values[at] - ends.low[at]) / span if span > 0 else np.full(values.shape[1:], 0.5)
        level = np.rint(np.clip(np.nan_to_num(level), 0, 1) * 255).astype(np.uint8)
        for channel in channels:
            colours[..., channel] = level
    return colours


def cluster_colours(labels: np.ndarray) -> np.ndarray:
    """The colours of clusters by number, `[…, 3]` uint8."""
    table = np.array([rgb for _, rgb in COLOURS], np.uint8)
    return table[np.nan_to_num(labels).astype(int)]


def component_bar(at: int, count: int) -> np.ndarray:
    """The 256 colours that a component goes through where the others are at their lowest."""
    colours = np.zeros((256, 3), np.uint8)
    for channel in _CHANNELS[count][at]:
        colours[:, channel] = np.arange(256)
    return colours


def over_gray(colours: np.ndarray) -> np.ndarray:
    """Colours `[N, 3]` as they look over a photo of middling gray."""
    return blend(colours[None, None], np.full((1, 1, 3), 128, np.uint8), OPACITY)[0, 0]


def _resize(picture: np.ndarray, size: tuple[int, int], way: Way) -> np.ndarray:
    """A picture at another size. Larger, a unit is a rectangle unless it is `smooth`; smaller, a pixel is the `mean` of
    the units that lie in it, or `one unit`.
    """
    from PIL import Image

    filters = {"mean": Image.Resampling.BOX, "one unit": Image.Resampling.NEAREST, "smooth": Image.Resampling.BILINEAR}
    return np.asarray(Image.fromarray(picture).resize((size[1], size[0]), filters[way]))


def basis_name(number: int) -> str:
    """`A`, `B`, … and on with numbers."""
    return chr(ord("A") + number) if number < 26 else str(number + 1)


def colour_of(number: int) -> tuple[int, int, int]:
    return COLOURS[number][1]
