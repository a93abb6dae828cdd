"""One value explained on a page: the photo, patch × filter = contribution, the sum as a waterfall, and what follows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import BLUE, OTHER, PLAIN, RED, points, rgb, write
from ..drawing.grid import (
    DIVERGING,
    INF_RGB,
    NAN_RGB,
    SEQUENTIAL,
    fit_codes,
    lookup,
    palette,
)
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TINY_SIZE,
    TITLE_SIZE,
    TOP,
    Key,
    draw_colour_bar,
    draw_facts,
    draw_heading,
    draw_legend,
    draw_outline,
    draw_paragraph,
    draw_title,
    fit,
)
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Picture, Plot, Scene, Text, shorten, text_width
from ..receptive.unit_figure import draw_photo, file_name, model_in_words
from .tree_figure import draw_tree
from .words import (
    added_up,
    apart,
    channel_name,
    input_in_words,
    mixture,
    not_numbers,
    plain,
    shares,
    signed,
    symbols,
    unit_name,
    with_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .records import Explanation, Term

_GAP = 44
_PHOTO = (380, 380)
_MAP = 84  # the tile of an input channel's map,
_SMALL_MAP = 56  # where no windows stand beside it
_WINDOWS = {1: 190, 2: 132, 3: 132}  # the tile of a window, by how many terms there are
_WINDOW = 84
_CELL = 36  # pixels of a cell in which its number has room
_MOST_ROWS = 6
_CHART = (230, 700)
_BARS = 8
_RIGHT = 760  # width of the part with the terms, at least


def explanation_figure(found: Explanation) -> Scene:
    """The page: left what the unit sees and its channel's map, right its terms, below the sum and what follows."""
    scene = Scene()
    top = TOP + 32
    left_end, edge = _draw_left(scene, found, top)
    left = max(edge, MARGIN + _PHOTO[1]) + _GAP
    layout = _layout_of(found)
    scene.width = left + layout.width + MARGIN
    y = _draw_terms(scene, found, layout, left, top) + 20
    if len(found.contributions) > 1 or found.bias:
        y = _draw_waterfall(scene, found, left, y) + 16
    if found.through:
        y = _draw_steps(scene, found, left, y)
    y = max(y, left_end) + 8
    if found.recipe is not None:
        y, right = draw_tree(scene, found.recipe, y + 16)
        scene.width = max(scene.width, right + MARGIN)
    scene.height = y + MARGIN
    _draw_head(scene, found)
    return scene


def _draw_head(scene: Scene, found: Explanation) -> None:
    where = _place_in_words(found)
    label = f" ({found.label})" if found.label else ""
    line = f"Why channel {found.channel}{label}{where} is {plain(found.value, 5)} on {file_name(found.image)}"
    name = unit_name(found)
    terms = mixture(found) if found.settings.pointwise and len(found.contributions) > 1 else added_up(found)
    draw_title(scene, found.layer.name, [line, f"{name} = {terms} = {plain(found.total, 6)}"], found.settings.in_words)


def _place_in_words(found: Explanation) -> str:
    names = {1: ["step"], 2: ["row", "column"], 3: ["frame", "row", "column"]}.get(len(found.place), [])
    words = ", ".join(f"{name} {at}" for name, at in zip(names, found.place, strict=True))
    return f" at {words}" if words else ""


# -- the left: photo, map, facts ---------------------------------------------------------------------------------


def _draw_left(scene: Scene, found: Explanation, top: int) -> tuple[int, int]:
    y, edge = top, MARGIN + _PHOTO[1]
    if found.box is not None and found.origin.takes is None and len(found.box.seen) >= 2:
        y, edge = draw_photo(scene, found.box, found.image, top, MARGIN, _PHOTO)
        y += 14
    if found.map is not None and found.map.size > 1:
        y = draw_heading(scene, f"Channel {found.channel}", "its map, and where the unit is", MARGIN, y, _PHOTO[1])
        y = _draw_map(scene, found.map, found.place, MARGIN, y, (260, _PHOTO[1])) + 14
    facts = [
        ("formula", symbols(found.settings)),
        ("here", f"{unit_name(found)} = {with_numbers(found)}"),
        ("sum", f"{plain(found.total, 8)}; {apart(found)}"),
        ("picked", found.picked),
        ("shape", f"[{', '.join(found.axes.names)}] = {units.shape(found.shape)}"),
        ("X is", input_in_words(found)),
        ("model", model_in_words(found.origin)),
        *([("fed", fed)] if (fed := found.origin.fed_in_words) else []),
        *(("note", each) for each in found.notes),
    ]
    return draw_facts(scene, facts, MARGIN, y, _PHOTO[1], names=72), edge


def _draw_map(
    scene: Scene, values: np.ndarray, place: tuple[int, ...], left: int, y: int, area: tuple[int, int]
) -> int:
    """A map with the cell marked, on its own scale; returns where the scale under it ends."""
    size = fit((values.shape[0], values.shape[1]), area)
    low, high, cmap = _scale(values)
    scene.add(Picture(left, y, coloured(values, low, high, cmap, size), size))
    row, column = ((0, *place) if len(place) == 1 else place[-2:]) if place else (0, 0)
    if place:
        draw_outline(scene, _cell((row, column), values.shape, left, y, size), ((-3, WHITE), (-2, INK), (-1, INK)))
    y += size[0] + 8
    return draw_colour_bar(
        scene, cmap, (plain(low), plain(high)), left, y, max(size[1], 180), middle="0" if cmap == DIVERGING else ""
    )


def _cell(
    cell: tuple[int, int], shape: tuple[int, ...], left: int, top: int, size: tuple[int, int], least: int = 6
) -> tuple[float, float, float, float]:
    down, across = size[0] / shape[0], size[1] / shape[1]
    x, y = left + cell[1] * across, top + cell[0] * down
    grow_x, grow_y = max(least - across, 0) / 2, max(least - down, 0) / 2
    return round(x - grow_x), round(y - grow_y), round(x + across + grow_x), round(y + down + grow_y)


def _scale(values: np.ndarray) -> tuple[float, float, str]:
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


# -- the terms ---------------------------------------------------------------------------------------------------


def _flat(values: np.ndarray) -> np.ndarray:
    """A window as a plane: a sequence's is one row, a clip's frames stand side by side."""
    if values.ndim < 2:
        return values.reshape(1, -1)
    return values if values.ndim == 2 else np.concatenate([*values], axis=-1)


@dataclass(frozen=True, slots=True)
class _Layout:
    """What stands beside each other in a term's row: columns by their heading, the tiles' sizes, and a row's height."""

    columns: dict[str, int]
    map: int
    window: int
    row: int
    width: int


_MAPS, _NAME = "input channel's map", "input channel"
_PATCH, _FILTER, _PRODUCT, _SINGLE = "patch X", "filter W", "product W · X", "W × X"
_ADDS = "contribution"


def _layout_of(found: Explanation) -> _Layout:
    terms = found.terms[:_MOST_ROWS]
    windows = bool(terms) and terms[0].kernel.size > 1
    has_maps = any((values := found.maps.get(each.channel)) is not None and values.size > 1 for each in terms)
    map_ = (_MAP if windows else _SMALL_MAP) if has_maps else 0
    window = _WINDOWS.get(len(terms), _WINDOW) if windows else 0
    columns, x = {_MAPS if has_maps else _NAME: 0}, map_ + 136
    for name in (_PATCH, _FILTER, _PRODUCT) if windows else (_SINGLE,):
        columns[name] = x
        x += window + 40 if windows else 190
    columns[_ADDS] = x
    return _Layout(columns, map_, window, max(map_, window, 14) + 16, max(x + 200, _RIGHT))


def _draw_terms(scene: Scene, found: Explanation, layout: _Layout, left: int, top: int) -> int:
    terms = found.terms[:_MOST_ROWS]
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
        words = f"{left_out:,} more terms add {plain(other, 4)} together."
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
    layout: _Layout,
    left: int,
    y: int,
    reach: tuple[float, ...],
    most: float,
) -> None:
    middle = y + (layout.row - 16) // 2 - 9
    name = channel_name(found, term.channel)
    map_ = found.maps.get(term.channel)
    if map_ is not None and layout.map:
        size = fit((map_.shape[0], map_.shape[1]), (layout.map, layout.map), whole=False)
        low, high, cmap = _scale(map_)
        top = y + (layout.row - 16 - size[0]) // 2
        scene.add(Picture(left, top, coloured(map_, low, high, cmap, size), size))
        _mark_window(scene, found, map_, left, top, size)
    x = left + layout.map + 12 * bool(layout.map)
    scene.add(Text(x, middle - 10 * bool(layout.map), name, TEXT_SIZE, bold=True))
    if layout.map and term.share is not None:
        scene.add(Text(x, middle + 12, units.percent(term.share), SMALL_SIZE, GRAY))
    if layout.window:
        for column, sign, values, end in zip((_PATCH, _FILTER, _PRODUCT), "×=Σ", _windows(term), reach, strict=True):
            x = left + layout.columns[column]
            _draw_window(scene, values, end, x, y, layout.window)
            scene.add(Text(x + layout.window + 20, middle - 4, sign, 20, GRAY, align="middle"))
    else:
        weight, value = float(term.kernel.reshape(-1)[0]), float(term.patch.reshape(-1)[0])
        scene.add(Text(left + layout.columns[_SINGLE], middle, f"{plain(weight, 4)} × {plain(value, 4)}", TEXT_SIZE))
    _draw_bar(scene, term, left + layout.columns[_ADDS], middle, most)


def _draw_window(scene: Scene, values: np.ndarray, end: float, x: int, y: int, tile: int) -> None:
    """A window as cells on a scale about 0, with their numbers where there is room."""
    size = fit((values.shape[0], values.shape[1]), (tile, tile), whole=False)
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
    """A cell's number in two digits, or to two decimals where these are shorter."""
    words = plain(value, 2)
    return words if text_width(words, 11) <= room else shorten(plain(round(value, 2), 2), room, 11)


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


def _draw_scales(scene: Scene, layout: _Layout, reach: tuple[float, ...], left: int, y: int) -> int:
    bottom = y
    for name, end in zip((_PATCH, _FILTER, _PRODUCT), reach, strict=True):
        ends = plain(-end, 2), plain(end, 2)
        bottom = draw_colour_bar(scene, DIVERGING, ends, left + layout.columns[name], y, layout.window)
    return bottom


# -- the sum -----------------------------------------------------------------------------------------------------


def _draw_waterfall(scene: Scene, found: Explanation, left: int, y: int) -> int:
    y = draw_heading(scene, "Sum", "from the bias to the value, one term after another", left, y, _RIGHT)
    height, width = _CHART
    scene.add(Plot("sum", left + 54, y + 8, (height, width - 54), partial(_waterfall, found=found)))
    return y + height + 62


def _waterfall(axes: Axes, found: Explanation) -> None:
    terms = list(found.terms[:_BARS])
    names = [channel_name(found, each.channel).removeprefix("channel ") for each in terms]
    steps = [each.contribution for each in terms]
    if found.bias:
        names.insert(0, "bias")
        steps.insert(0, found.bias)
    left = found.order[len(terms) :]
    if len(left):
        names.append(f"{len(left):,}\nmore")
        steps.append(float(found.contributions[left].sum()))
    finite = [each if np.isfinite(each) else 0.0 for each in steps]
    ends = np.cumsum(finite)
    starts = ends - finite
    total = float(ends[-1])
    colours = [rgb(RED if each > 0 else BLUE) for each in finite]
    at = np.arange(len(names))
    axes.bar(at, finite, 0.66, starts, color=colours, zorder=2)
    axes.bar(len(names), total, 0.66, color=rgb(OTHER), zorder=2)
    axes.hlines(ends, at + 0.33, at + 1 - 0.33, colors=rgb(GRAY), linewidth=points(1), zorder=1)
    axes.axhline(0, color=rgb(INK), linewidth=points(1), zorder=3)
    names.append("value")
    axes.set_xticks(range(len(names)), names, **PLAIN)
    axes.set_xlim(-0.7, len(names) - 0.3)
    low, high = min(0.0, *starts, *ends), max(0.0, *starts, *ends)
    axes.set_ylim(low - 0.04 * (high - low or 1), high + 0.14 * (high - low or 1))
    for place, (start, end, step) in enumerate(zip(starts, ends, steps, strict=True)):
        above = max(start, end)
        write(axes, plain(step), (place, above), (0, 3), ha="center", size=TINY_SIZE, colour=INK)
    write(
        axes,
        plain(found.total, 4),
        (len(names) - 1, max(total, 0)),
        (0, 3),
        ha="center",
        size=TINY_SIZE,
        colour=INK,
        weight="bold",
    )
    axes.set_xlabel("input channel", fontsize=points(SMALL_SIZE), color=rgb(GRAY))


# -- what follows ------------------------------------------------------------------------------------------------


def _draw_steps(scene: Scene, found: Explanation, left: int, y: int) -> int:
    y = draw_heading(scene, "What follows", "what becomes of the value in the rest of its block", left, y, _RIGHT)
    x = left
    for words, value in [("value", found.value), *((each.operation, each.after) for each in found.steps)]:
        number = plain(value, 4)
        wide = round(max(text_width(number, TITLE_SIZE - 6, bold=True), text_width(words, SMALL_SIZE))) + 24
        if x + wide > left + _RIGHT and x > left:
            x, y = left, y + 74
        if x > left:
            scene.add(Text(x - 22, y + 14, "→", 20, GRAY, align="middle"))
        scene.add(Box(x, y, wide, 58, None, FAINT))
        scene.add(Text(x + wide / 2, y + 6, number, TITLE_SIZE - 6, bold=True, align="middle"))
        scene.add(Text(x + wide / 2, y + 37, shorten(words, wide - 8, SMALL_SIZE), SMALL_SIZE, GRAY, align="middle"))
        x += wide + 44
    y += 72
    for step in found.steps:
        note = f" ({step.note})" if step.note else ""
        y = draw_paragraph(scene, f"{step.operation}: {step.formula} = {plain(step.after, 5)}{note}", left, y, _RIGHT)
    return draw_paragraph(scene, found.stopped, left, y + 2, _RIGHT)
