"""The terms of one value on a page: for each input channel its map, patch × filter = product, and what it adds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import BLUE, RED
from ..drawing.grid import DIVERGING, INF_RGB, NAN_RGB, SEQUENTIAL, fit_codes, lookup, palette
from ..drawing.page import (
    SMALL_SIZE,
    TEXT_SIZE,
    Key,
    draw_colour_bar,
    draw_heading,
    draw_legend,
    draw_outline,
    draw_paragraph,
    fit,
)
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Picture, Scene, Text, shorten, text_width
from .words import channel_name, not_numbers, plain, shares, signed

if TYPE_CHECKING:
    from .records import Explanation, Term

LEAST_WIDTH = 760
_MAP = 84  # the tile of an input channel's map,
_SMALL_MAP = 56  # where no windows stand beside it
_WINDOWS = {1: 190, 2: 132, 3: 132}  # the tile of a window, by how many terms there are
_WINDOW = 84
_CELL = 36  # pixels of a cell in which its number has room
MOST_ROWS = 12  # of the terms that the table lists


def _flat(values: np.ndarray) -> np.ndarray:
    """A window as a plane: a sequence's is one row, a clip's frames stand side by side."""
    if values.ndim < 2:
        return values.reshape(1, -1)
    return values if values.ndim == 2 else np.concatenate([*values], axis=-1)


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands beside each other in a term's row: columns by their heading, the tiles' sizes, and a row's height."""

    columns: dict[str, int]
    map: int
    window: int
    row: int
    width: int


_MAPS, _NAME = "input channel's map", "input channel"
_PATCH, _FILTER, _PRODUCT, _SINGLE = "patch X", "filter W", "product W · X", "W · X"
_ADDS, _SHARE = "contribution", "share"


def layout_of(found: Explanation) -> Layout:
    terms = found.terms[:MOST_ROWS]
    windows = bool(terms) and terms[0].kernel.size > 1
    has_maps = any((values := found.maps.get(each.channel)) is not None and values.size > 1 for each in terms)
    map_ = (_MAP if windows else _SMALL_MAP) if has_maps else 0
    window = _WINDOWS.get(len(terms), _WINDOW) if windows else 0
    columns, x = {_MAPS if has_maps else _NAME: 0}, map_ + 136
    for name in (_PATCH, _FILTER, _PRODUCT) if windows else (_SINGLE,):
        columns[name] = x
        x += window + 40 if windows else 190
    columns[_ADDS] = x
    columns[_SHARE] = x + 214
    return Layout(columns, map_, window, max(map_, window, 14) + 16, max(x + 270, LEAST_WIDTH))


def draw_terms(scene: Scene, found: Explanation, layout: Layout, left: int, top: int) -> int:
    terms = found.terms[:MOST_ROWS]
    many = len(found.contributions)
    what = (
        f"the {len(terms)} largest of {many:,}" if many > len(terms) else "all of them" if many > 1 else "the only one"
    )
    how = "patch × filter" if layout.window else "weight × value"
    y = draw_heading(scene, "Terms", f"{what}: {how} = contribution, by input channel", left, top, layout.width)
    for words, x in layout.columns.items():
        scene.add(Text(left + x, y, words, SMALL_SIZE, GRAY))
    y += 22
    reach = _reaches(terms)
    most = max((abs(each.contribution) for each in terms if np.isfinite(each.contribution)), default=1.0) or 1.0
    for term in terms:
        _draw_term(scene, found, term, layout, left, y, reach, most)
        y += layout.row
    y += 2
    if layout.window:
        y = _draw_scales(scene, layout, reach, left, y)
    left_out = many - len(terms)
    if left_out:
        other = float(found.contributions[found.order[len(terms) :]].sum())
        words = (
            f"The other {left_out:,} terms add up to {plain(other, 4)}."
            if left_out > 1
            else f"The other term is {plain(other, 4)}."
        )
        y = draw_paragraph(scene, words, left, y + 2, layout.width, SMALL_SIZE, INK)
    y = draw_paragraph(scene, _sentence(shares(found)), left, y + 2, layout.width)
    if found.not_finite:
        y = draw_paragraph(scene, _sentence(not_numbers(found)), left, y + 2, layout.width, SMALL_SIZE, (190, 40, 0))
    special = (("NaN", NAN_RGB, np.isnan), ("infinite", INF_RGB, np.isinf))
    shown = (found.patches, found.kernels)
    present = [Key(name, colour) for name, colour, is_so in special if any(is_so(each).any() for each in shown)]
    return draw_legend(scene, present, left, y + 4, left + layout.width)


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _windows(term: Term) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    with np.errstate(all="ignore"):
        return _flat(term.patch), _flat(term.kernel), _flat(term.patch * term.kernel)


def _reaches(terms: tuple[Term, ...]) -> tuple[float, ...]:
    """How far the three scales go to both sides of 0: of patches, filters and products, over the terms drawn."""

    def reach(arrays: tuple[np.ndarray, ...]) -> float:
        values = abs(np.concatenate([each.reshape(-1) for each in arrays]))
        return float(values[np.isfinite(values)].max(initial=0.0)) or 1.0

    return tuple(reach(each) for each in zip(*(_windows(term) for term in terms), strict=True))


def _draw_term(
    scene: Scene,
    found: Explanation,
    term: Term,
    layout: Layout,
    left: int,
    y: int,
    reach: tuple[float, ...],
    most: float,
) -> None:
    middle = y + (layout.row - 16) // 2 - 9
    name = channel_name(found, term.channel)
    map_ = found.maps.get(term.channel)
    if map_ is not None and layout.map:
        size = size_of(map_, (layout.map, layout.map))
        low, high, cmap = scale_of(map_)
        top = y + (layout.row - 16 - size[0]) // 2
        scene.add(Picture(left, top, coloured(map_, low, high, cmap, size), size))
        _mark_window(scene, found, map_, left, top, size)
    x = left + layout.map + 12 * bool(layout.map)
    scene.add(Text(x, middle, name, TEXT_SIZE, bold=True))
    if layout.window:
        for column, sign, values, end in zip((_PATCH, _FILTER, _PRODUCT), "×=Σ", _windows(term), reach, strict=True):
            x = left + layout.columns[column]
            _draw_window(scene, values, end, x, y, layout.window)
            scene.add(Text(x + layout.window + 20, middle - 4, sign, 20, GRAY, align="middle"))
    else:
        weight, value = float(term.kernel.reshape(-1)[0]), float(term.patch.reshape(-1)[0])
        scene.add(Text(left + layout.columns[_SINGLE], middle, f"{plain(weight, 4)} × {plain(value, 4)}", TEXT_SIZE))
    _draw_bar(scene, term, left + layout.columns[_ADDS], middle, most)
    if term.share is not None:
        scene.add(Text(left + layout.columns[_SHARE], middle, units.percent(term.share), TEXT_SIZE))


def _draw_window(scene: Scene, values: np.ndarray, end: float, x: int, y: int, tile: int) -> None:
    """A window as cells on a scale about 0, with their numbers where there is room."""
    size = size_of(values, (tile, tile))
    y += (tile - size[0]) // 2
    scene.add(Picture(x, y, coloured(values, -end, end, DIVERGING, size), size))
    draw_outline(scene, (x, y, x + size[1], y + size[0]), ((-1, FAINT),))
    wide, high = size[1] / values.shape[1], size[0] / values.shape[0]
    if wide < _CELL or high < 16:
        return
    for row, line in enumerate(values):
        for column, value in enumerate(line.tolist()):
            colour = WHITE if abs(value) > 0.62 * end else INK
            at = x + (column + 0.5) * wide, y + (row + 0.5) * high - 6
            scene.add(Text(*at, _short(value, wide - 2), 11, colour, align="middle"))


def _short(value: float, room: float) -> str:
    """A cell's number in two digits, or to two decimals where these are shorter; in one digit where that would be 0."""
    words = plain(value, 2)
    if text_width(words, 11) <= room:
        return words
    rounded = round(value, 2)
    for words in (plain(value, 1), f"{value:.0e}".replace("e-0", "e-")) if not rounded else ():
        if text_width(words, 11) <= room:
            return words
    return shorten(plain(rounded or value, 2), room, 11)


def _draw_bar(scene: Scene, term: Term, x: int, y: int, most: float) -> None:
    """The contribution in figures, and as a bar to the left or right of 0."""
    scene.add(Text(x, y, signed(term.contribution, 4), TEXT_SIZE, bold=True))
    if not np.isfinite(term.contribution):
        return
    room = 50
    zero = x + 96 + room
    wide = max(round(room * abs(term.contribution) / most), 1)
    colour = RED if term.contribution > 0 else BLUE
    scene.add(
        Box(zero if term.contribution > 0 else zero - wide, y + 2, wide, 14, colour), Box(zero, y - 2, 1, 22, GRAY)
    )


def _mark_window(scene: Scene, found: Explanation, map_: np.ndarray, left: int, y: int, size: tuple[int, int]) -> None:
    """The places under the kernel, on an input channel's map."""
    spans = [(min(each), max(each)) for each in found.reads[-2:] if each]
    if not spans or len(spans) < min(len(found.reads), 2):
        return
    rows, columns = spans if len(spans) == 2 else ((0, 0), spans[0])
    if map_.shape != tuple(found.input_places[-2:]) and len(found.input_places) > 1:
        return
    down, across = size[0] / map_.shape[0], size[1] / map_.shape[1]
    box = (
        max(left + columns[0] * across, left) - 1,
        max(y + rows[0] * down, y) - 1,
        min(left + (columns[1] + 1) * across, left + size[1]) + 1,
        min(y + (rows[1] + 1) * down, y + size[0]) + 1,
    )
    left_, top, right, bottom = box
    grow_x, grow_y = max(7 - (right - left_), 0) / 2, max(7 - (bottom - top), 0) / 2
    place = (round(left_ - grow_x), round(top - grow_y), round(right + grow_x), round(bottom + grow_y))
    draw_outline(scene, place, ((-2, WHITE), (-1, INK), (0, INK)))


def _draw_scales(scene: Scene, layout: Layout, reach: tuple[float, ...], left: int, y: int) -> int:
    bottom = y
    for name, end in zip((_PATCH, _FILTER, _PRODUCT), reach, strict=True):
        ends = plain(-end, 2), plain(end, 2)
        bottom = draw_colour_bar(
            scene, DIVERGING, ends, left + layout.columns[name], y, layout.window, quantity=name.split()[0]
        )
    return bottom


# -- maps in colours ------------------------------------------------------------------------------------------------


_STRIP = 16  # the height of what has one row


def size_of(values: np.ndarray, area: tuple[int, int]) -> tuple[int, int]:
    """The size at which a map is drawn within an area; a sequence is a strip that is high enough to be seen."""
    height, width = fit((values.shape[0], values.shape[1]), area, whole=False)
    return (max(height, _STRIP) if len(values) == 1 else height), width


def scale_of(values: np.ndarray) -> tuple[float, float, str]:
    """Both ends of the scale and its colours: about 0 where there are negative values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0, SEQUENTIAL
    low, high = float(finite.min()), float(finite.max())
    if low >= 0:
        return low, high, SEQUENTIAL
    reach = max(high, -low)
    return -reach, reach, DIVERGING


def coloured(values: np.ndarray, low: float, high: float, cmap: str, size: tuple[int, int]) -> np.ndarray:
    """A map's pixels, `[height, width, 3]` uint8."""
    codes = fit_codes(values.astype(np.float32)[None], np.array([low]), np.array([high]), size)
    return np.ascontiguousarray(lookup(palette(cmap))[codes[0]])
