"""Feature maps to pixels: every tile of a layer in one array operation."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from .viridis import viridis

DIVERGING = "RdBu_r"
SEQUENTIAL = "viridis"
TWO_HUES = (
    "fmap-two-hues"  # for maps laid over a gray photo: cold below the middle, warm above it, brighter to the ends
)

# Colours of their own for what no colour map can say; codes follow the 256 of the palette.
CONSTANT, NAN, INF, BACKGROUND = 256, 257, 258, 259
CONSTANT_RGB = (205, 205, 205)
NAN_RGB = (255, 0, 255)
INF_RGB = (0, 255, 255)

_LEVELS = 256


@dataclass(frozen=True, slots=True)
class Placement:
    """Where tiles go on a canvas: `count` cells, `columns` across, `gap` (down, across) pixels apart.

    A cell is a tile of `tile` (height, width) pixels, or a strip of `frames` of them, `frame_gap` pixels apart.
    """

    count: int
    columns: int
    tile: tuple[int, int]
    gap: tuple[int, int]
    frames: int = 1
    frame_gap: int = 0

    @property
    def rows(self) -> int:
        return ceil(self.count / self.columns) if self.count else 0

    @property
    def cell(self) -> tuple[int, int]:
        """Height and width of a cell."""
        return self.tile[0], self.frames * (self.tile[1] + self.frame_gap) - self.frame_gap

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        down, across = self.gap
        return (
            max(self.rows * (self.cell[0] + down) - down, 0),
            max(min(self.columns, self.count) * (self.cell[1] + across) - across, 0),
        )

    def corner(self, index: int, frame: int = 0) -> tuple[int, int]:
        """Top and left pixel of a cell, or of one of its frames."""
        row, column = divmod(index, self.columns)
        left = column * (self.cell[1] + self.gap[1]) + frame * (self.tile[1] + self.frame_gap)
        return row * (self.cell[0] + self.gap[0]), left


_WARM = ((150, 20, 10), (235, 60, 0), (255, 150, 0), (255, 235, 90))
_COLD = ((15, 30, 130), (0, 80, 220), (0, 165, 255), (130, 240, 255))


def palette(name: str) -> np.ndarray:
    """Matplotlib's colour map `name`, or `TWO_HUES`, as `[256, 3]` uint8. Raises KeyError for an unknown name."""
    if name == SEQUENTIAL:
        return viridis()
    if name == TWO_HUES:
        stops = np.array([*reversed(_COLD), *_WARM], np.float64)
        places = np.concatenate([np.linspace(0, 0.5, len(_COLD)), np.linspace(0.5, 1, len(_WARM))])
        places[len(_COLD) - 1] -= 0.5 / (_LEVELS - 1)  # the hue changes between the two levels in the middle
        places[len(_COLD)] += 0.5 / (_LEVELS - 1)
        levels = np.linspace(0.0, 1.0, _LEVELS)
        return np.rint(np.stack([np.interp(levels, places, hue) for hue in stops.T], axis=1)).astype(np.uint8)
    from matplotlib import colormaps

    colours: Any = colormaps[name](np.linspace(0.0, 1.0, _LEVELS))
    return np.rint(colours[:, :3] * 255).astype(np.uint8)


def colour_codes(maps: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Each value as an index into the palette, or the code of a special colour.

    `maps` is `[N, H, W]`; `low` and `high` `[N]` are the values at both ends of the palette; values beyond take the
    end's colour. A map whose ends are the same is CONSTANT throughout; NaN and Inf have codes of their own.

    Returns `[N, H, W]` uint16.

    >>> colour_codes(np.array([[[0.0, 1.0, np.nan]], [[3.0, 3.0, 3.0]]]), np.array([0, 3]), np.array([1, 3])).tolist()
    [[[0, 255, 257]], [[256, 256, 256]]]
    """
    low = np.asarray(low, np.float64)
    span = np.asarray(high, np.float64) - low
    constant = ~(span > 0)  # also where there is no finite value
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        scale = np.where(constant, 0.0, (_LEVELS - 1) / np.where(constant, 1.0, span))
        levels = (maps - low[:, None, None]) * scale[:, None, None]
        finite = np.isfinite(maps)
        levels = np.rint(np.clip(np.where(finite, levels, 0.0), 0, _LEVELS - 1)).astype(np.uint16)
    levels[constant] = CONSTANT
    if not finite.all():
        levels[np.isnan(maps)] = NAN
        levels[np.isinf(maps)] = INF
    return levels


def lookup(colours: np.ndarray, background: tuple[int, int, int] = (255, 255, 255)) -> np.ndarray:
    """The palette with the special colours behind it: `[260, 3]` uint8."""
    return np.vstack([colours, np.array([CONSTANT_RGB, NAN_RGB, INF_RGB, background], np.uint8)])


def draw_tiles(
    maps: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    colours: np.ndarray,
    placement: Placement,
    background: tuple[int, int, int] = (255, 255, 255),
) -> np.ndarray:
    """All maps as tiles on one canvas, `[height, width, 3]` uint8.

    `maps` is `[N, H, W]` with the values at both ends of the palette in `low` and `high` `[N]`. A tile larger than
    its map repeats each unit's pixel; a smaller one shows the mean of the units under each pixel.

    >>> draw_tiles(np.eye(2)[None], np.zeros(1), np.ones(1), palette("gray"), Placement(1, 1, (4, 4), (0, 0)))[:, :, 0]
    array([[255, 255,   0,   0],
           [255, 255,   0,   0],
           [  0,   0, 255, 255],
           [  0,   0, 255, 255]], dtype=uint8)
    """
    return place(fit_colours(maps, low, high, lookup(colours, background), placement.tile), placement, background)


def fit_codes(maps: np.ndarray, low: np.ndarray, high: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """Colour codes of each map at the size of a tile, `[N, tile height, tile width]` uint16."""
    return _enlarge(_codes_within(maps, low, high, tile), tile)


def fit_colours(
    maps: np.ndarray, low: np.ndarray, high: np.ndarray, colours: np.ndarray, tile: tuple[int, int]
) -> np.ndarray:
    """Each map in the `colours` of `lookup` at the size of a tile, `[N, tile height, tile width, 3]` uint8."""
    return _enlarge(colours.take(_codes_within(maps, low, high, tile), axis=0), tile)  # few units, many pixels


def _codes_within(maps: np.ndarray, low: np.ndarray, high: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """Colour codes of each map, shrunk to the size of a tile where it is larger."""
    height, width = maps.shape[1:]
    if tile[0] < height or tile[1] < width:
        maps = shrink(maps, (min(tile[0], height), min(tile[1], width)))
    return colour_codes(maps, low, high)


def _enlarge(tiles: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Tiles `[N, h, w, …]` at a larger `size`: each pixel is repeated, first along its row, then whole rows are."""
    height, width = tiles.shape[1:3]
    if width != size[1]:
        tiles = tiles.take(np.arange(size[1]) * width // size[1], axis=2)
    if height != size[0]:
        tiles = tiles.take(np.arange(size[0]) * height // size[0], axis=1)
    return tiles


def place(tiles: np.ndarray, placement: Placement, background: Any = BACKGROUND) -> np.ndarray:
    """Tiles `[N, h, w]` or `[N, h, w, 3]`, a cell's frames in a row, on one canvas `[height, width]` or with colour."""
    _, height, width, *colour = tiles.shape
    row = np.full((placement.size[1], *colour), background, tiles.dtype)
    canvas = np.full((*placement.size, *colour), row)
    for index, tile in enumerate(tiles):
        top, left = placement.corner(*divmod(index, placement.frames))
        canvas[top : top + height, left : left + width] = tile
    return canvas


def shrink(maps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Maps `[N, H, W]` at a smaller `size`: each new unit is the mean of the units it covers."""
    import torch
    from torch.nn import functional as F

    tensor = torch.from_numpy(np.ascontiguousarray(maps, np.float32))
    return F.adaptive_avg_pool2d(tensor, size).numpy()


_CROSS_RGB = (120, 30, 30)


def cross(tiles: np.ndarray) -> np.ndarray:
    """Tiles `[N, h, w, 3]` crossed out from corner to corner: all that they show is zero.

    >>> cross(np.full((1, 3, 3, 3), 255, np.uint8))[0, :, :, 1].tolist()
    [[30, 255, 30], [255, 30, 255], [30, 255, 30]]
    """
    crossed, (height, width) = tiles.copy(), tiles.shape[1:3]
    steps = np.linspace(0, 1, 2 * max(height, width, 2))
    rows, columns = np.rint(steps * (height - 1)).astype(int), np.rint(steps * (width - 1)).astype(int)
    for thick in range(1 + (min(height, width) >= 40)):
        beside = np.minimum(columns + thick, width - 1)
        crossed[:, rows, beside] = _CROSS_RGB
        crossed[:, rows[::-1], beside] = _CROSS_RGB
    return crossed


def blend(tiles: np.ndarray, photo: np.ndarray, strength: float | np.ndarray) -> np.ndarray:
    """Tiles `[N, h, w, 3]` over a photo `[h, w, 3]`; `strength`, one or `[N, h, w]`, is the tile's share, 0..1."""
    strength = np.asarray(strength, np.float32)[..., None]
    mixed = tiles.astype(np.float32) * strength + photo.astype(np.float32)[None] * (1 - strength)
    return np.rint(mixed).astype(np.uint8)


def fit_columns(count: int, aspect: float, area: tuple[int, int], gap: tuple[int, int]) -> int:
    """How many columns make `count` tiles of this `aspect` (width / height) largest within `area` (height, width)."""

    def tile_height(columns: int) -> float:
        rows = ceil(count / columns)
        height = (area[0] - (rows - 1) * gap[0]) / rows
        width = (area[1] - (columns - 1) * gap[1]) / columns
        return min(height, width / aspect)

    return max(range(1, count + 1), key=lambda columns: (tile_height(columns), -columns)) if count else 1
