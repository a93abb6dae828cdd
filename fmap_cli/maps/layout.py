"""How a layer's tiles stand on the page: how many across, how large, and what is written under each, in one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log

from .. import units
from ..drawing.grid import Placement, fit_columns
from ..drawing.page import MARGIN, SMALL_SIZE, TOP
from ..drawing.scene import text_width
from .records import FeatureMap

SIDE = 380  # width of the left column
AREA = (1120, 1240)  # height and width that the tiles fill where they can
CAPTION_TOP = 3  # from a tile down to its caption
LINE = 16  # height of a caption's line

_SMALLEST_TILE, _LARGEST_TILE = 76, 620
_LOWEST_TILE = 16
_ASPECTS = (1 / 4, 8)  # width / height of the narrowest and the widest tile; maps beyond are stretched into it
_BESIDE, _BELOW = 22, 22 + LINE  # height of a caption that has the range beside the name, and below it
_GAP, _FRAME_GAP, _CLIP_GAP = 10, 2, 18
_APART = 8  # from a name to the range on the same line
_PAGE = 3 / 2  # width / height of a page whose tiles do not fit into the area
_RANGES = ((3, SMALL_SIZE), (3, SMALL_SIZE - 1), (3, SMALL_SIZE - 2))
_RANGES_BELOW = (*_RANGES, (2, SMALL_SIZE - 2))


@dataclass(frozen=True, slots=True)
class Captions:
    """What stands under the tiles, in order: a name in bold and a range of `size`, `below` it or at its right."""

    names: tuple[str, ...]
    ranges: tuple[str, ...]
    size: int
    below: bool

    @property
    def height(self) -> int:
        return _BELOW if self.below else _BESIDE


def lay_out(
    feature_map: FeatureMap, shape: tuple[int, int], asked: int | None, names: Sequence[str]
) -> tuple[Placement, Captions]:
    """Where the tiles stand, each `shape` (height, width) units or `asked` pixels high, and what is written under them.

    All ranges have one size and one number of digits: as large and as precise as there is room for beside the widest
    name. Where there is none for all, they stand below the names; where tiles are narrower still, they stand apart.
    """
    count, frames = feature_map.maps.shape[:2]
    whole = feature_map.effects is not None  # an effect that is cut says nothing
    kept = names if whole else [str(channel) for channel in feature_map.drawn]
    name_width = max((text_width(name, SMALL_SIZE, bold=True) for name in kept), default=0)
    placement = _place(count, frames, shape, asked, ceil(name_width), _BESIDE)
    for digits, size in _RANGES:
        ranges = _ranges(feature_map, digits)
        pairs = zip(names, ranges, strict=True)
        needed = max(
            (_width(name, SMALL_SIZE, True) + _APART + _width(words, size) for name, words in pairs), default=0
        )
        if needed <= placement.cell[1]:
            return placement, Captions(tuple(names), ranges, size, below=False)
    for digits, size in _RANGES_BELOW:
        ranges = _ranges(feature_map, digits)
        needed = max(_width(words, size) for words in ranges)
        placement = _place(count, frames, shape, asked, ceil(name_width), _BELOW)
        if needed <= placement.cell[1] + placement.gap[1] - 6:
            break
    else:
        placement = _place(count, frames, shape, asked, ceil(max(name_width, needed)), _BELOW)
    return placement, Captions(tuple(names), ranges, size, below=True)


def _width(words: str, size: int, bold: bool = False) -> float:
    return text_width(words, size, bold)


def _ranges(feature_map: FeatureMap, digits: int) -> tuple[str, ...]:
    low, high = feature_map.channels.min[feature_map.drawn], feature_map.channels.max[feature_map.drawn]
    return tuple(units.value_range(float(a), float(b), digits) for a, b in zip(low, high, strict=True))


def tile_aspect(shape: tuple[int, int]) -> float:
    """A tile's width / height: its map's, but for those that would be lines."""
    return min(max(shape[1] / shape[0], _ASPECTS[0]), _ASPECTS[1])


def _place(
    count: int, frames: int, shape: tuple[int, int], asked: int | None, caption_width: int, caption: int
) -> Placement:
    """How many tiles across, and a tile's size: a whole multiple of the map where one is near what fits."""
    aspect = tile_aspect(shape)
    down, across = caption + _GAP // 2, _GAP if frames == 1 else _CLIP_GAP

    def room_with(columns: int) -> float:
        """How high a tile may be."""
        rows = ceil(count / columns)
        strip = (AREA[1] - (columns - 1) * across) / columns - (frames - 1) * _FRAME_GAP
        return min((AREA[0] - (rows - 1) * down) / rows, strip / frames / aspect)

    columns = fit_columns(count, aspect * frames, AREA, (down, across))
    if count <= AREA[1]:  # full rows look better than the largest tiles
        enough = 0.85 * room_with(columns)
        fitting = [each for each in range(1, count + 1) if room_with(each) >= enough > 0]
        columns = min(fitting or [columns], key=lambda each: (-count % each, abs(each - columns)))
    room = room_with(columns)
    height = min(max(room, _SMALLEST_TILE / aspect, _LOWEST_TILE), _LARGEST_TILE)
    if asked is not None:
        height = asked
        tile = (asked, max(round(asked * aspect), 1))
    else:
        tile = (_near_multiple(height, shape[0]), _near_multiple(height * aspect, shape[1]))
    cell = frames * (tile[1] + _FRAME_GAP) - _FRAME_GAP
    across = max(across, caption_width + 6 - cell)  # what is under a narrow tile needs room too
    most = max(min((AREA[1] + across) // (cell + across), count), 1)
    if height <= room and asked is None:  # rounding left room to spare: take it where that fills the last row
        columns = min(range(columns, max(most, columns) + 1), key=lambda each: (-count % each, each))
    elif ceil(count / most) * (tile[0] + down) <= AREA[0]:
        columns = most
    else:
        columns = _for_page(count, (tile[0] + down, cell + across), most)
    return Placement(count, columns, tile, (down, across), frames, _FRAME_GAP if frames > 1 else 0)


def _for_page(count: int, pitch: tuple[int, int], least: int) -> int:
    """How many tiles across make a page of the usual shape; `pitch` is from one to the next, down and across."""

    def off(columns: int) -> float:
        width = 3 * MARGIN + SIDE + columns * pitch[1]
        height = TOP + MARGIN + ceil(count / columns) * pitch[0]
        return abs(log(width / height / _PAGE))

    return min(range(least, count + 1), key=lambda columns: (off(columns), columns))


def _near_multiple(size: float, units_across: int) -> int:
    """A whole number of pixels a unit where that is near `size`, so that all units are drawn alike."""
    for pixels in (size // units_across, size // units_across + 1):
        if pixels and 0.85 <= pixels * units_across / size <= 1.15:
            return int(pixels) * units_across
    return max(round(size), 1)
