"""Maps laid over a photo in gray, which shows through where they say little."""

from __future__ import annotations

import numpy as np

from .grid import DIVERGING, TWO_HUES, blend, fit_codes, lookup, palette

OVERLAY_STRENGTH = 0.75  # of the most opaque colours
_BLACK, _GRAY_CONTRAST = 36, 0.72


def overlay(
    maps: np.ndarray, low: np.ndarray, high: np.ndarray, cmap: str, photo: np.ndarray, tile: tuple[int, int]
) -> np.ndarray:
    """Maps `[N, H, W]`, smoothly resized, over the photo in gray, `[N, tile height, tile width, 3]` uint8.

    The photo shows through where values are at the clear end of the scale, and least where they are at the other:
    `overlay_ends` says which ends these are. Units that are no number keep their hard edges.
    """
    import torch
    from torch.nn import functional as F

    finite = np.where(np.isfinite(maps), maps, low[:, None, None])
    tensor = torch.from_numpy(np.ascontiguousarray(finite, np.float32))[:, None]  # [N, 1, H, W]
    smooth = F.interpolate(tensor, tile, mode="bilinear", antialias=True)[:, 0].numpy()
    special = fit_codes(maps, low, high, tile)
    codes = np.where(special >= 256, special, fit_codes(smooth, *overlay_ends(cmap, low, high), tile))
    colours = lookup(palette(cmap))
    opacity = np.concatenate([overlay_opacity(cmap), np.full(len(colours) - 256, OVERLAY_STRENGTH)])
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
