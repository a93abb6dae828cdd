"""One value explained on a page: the photo, patch × filter = contribution, the sum as a waterfall, and what follows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import BLUE, OTHER, PLAIN, RED, points, rgb, write
from ..drawing.grid import (
    DIVERGING,
)
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TINY_SIZE,
    TITLE_SIZE,
    TOP,
    draw_colour_bar,
    draw_facts,
    draw_heading,
    draw_outline,
    draw_paragraph,
    draw_title,
)
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Picture, Plot, Scene, Text, shorten, text_width
from ..receptive.unit_figure import draw_photo, file_name, model_in_words
from .terms_figure import LEAST_WIDTH, MOST_ROWS, coloured, draw_terms, layout_of, scale_of, size_of
from .tree_figure import draw_tree
from .words import (
    added_up,
    apart,
    channel_name,
    input_in_words,
    mixture,
    plain,
    subject,
    symbols,
    unit_name,
    with_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .records import Explanation

_GAP = 44
_PHOTO = (380, 380)
_CHART = (230, 700)


def explanation_figure(found: Explanation) -> Scene:
    """The page: left what the unit sees and its channel's map, right its terms, below the sum and what follows."""
    scene = Scene()
    top = TOP + 32
    left_end, edge = _draw_left(scene, found, top)
    left = max(edge, MARGIN + _PHOTO[1]) + _GAP
    layout = layout_of(found)
    scene.width = left + layout.width + MARGIN
    y = draw_terms(scene, found, layout, left, top) + 20
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
    line = f"Why {subject(found)}{where} is {plain(found.value, 5)} on {file_name(found.image)}"
    name = unit_name(found)
    terms = mixture(found) if found.settings.pointwise and len(found.contributions) > 1 else added_up(found)
    draw_title(
        scene,
        units.layer_name(found.layer.name),
        [line, f"{name} = {terms} = {plain(found.total, 6)}"],
        found.settings.in_words,
    )


def _place_in_words(found: Explanation) -> str:
    names = {1: ["step"], 2: ["row", "column"], 3: ["frame", "row", "column"]}.get(len(found.place), [])
    words = ", ".join(f"{name} {at}" for name, at in zip(names, found.place, strict=True))
    return f" at {words}" if words else ""


# -- the left: photo, map, facts ---------------------------------------------------------------------------------


def _draw_left(scene: Scene, found: Explanation, top: int) -> tuple[int, int]:
    y, edge = top, MARGIN + _PHOTO[1]
    axes = () if found.row is None else tuple(each.axis for each in found.row.field.axes)
    if found.box is not None and axes[-2:] == ("H", "W"):
        y, edge = draw_photo(scene, found.box, found.image, found.origin.called, top, MARGIN, _PHOTO)
        y += 14
    if found.map is not None and found.map.size > 1:
        y = draw_heading(scene, f"Channel {found.channel}", "its map, and where the unit is", MARGIN, y, _PHOTO[1])
        y = _draw_map(scene, found.map, found.place, MARGIN, y, (260, _PHOTO[1])) + 14
    facts = [
        ("formula", symbols(found.settings)),
        ("here", f"{unit_name(found)} = {with_numbers(found)}"),
        ("sum", f"{plain(found.total, 8)}; {apart(found)}"),
        ("chosen", found.picked),
        ("shape", f"[{', '.join(found.axes.names)}] = {units.shape(found.shape)}"),
        ("X is", input_in_words(found)),
        ("model", model_in_words(found.origin)),
        *([("input", fed)] if (fed := found.origin.fed_in_words) else []),
        *(("note", each) for each in found.notes),
    ]
    return draw_facts(scene, facts, MARGIN, y, _PHOTO[1], names=72), edge


def _draw_map(
    scene: Scene, values: np.ndarray, place: tuple[int, ...], left: int, y: int, area: tuple[int, int]
) -> int:
    """A map with the cell marked, on its own scale; returns where the scale under it ends."""
    size = size_of(values, area)
    low, high, cmap = scale_of(values)
    scene.add(Picture(left, y, coloured(values, low, high, cmap, size), size))
    row, column = ((0, *place) if len(place) == 1 else place[-2:]) if place else (0, 0)
    if place:
        draw_outline(scene, _cell((row, column), values.shape, left, y, size), ((-3, WHITE), (-2, INK), (-1, INK)))
    y += size[0] + 8
    return draw_colour_bar(
        scene,
        cmap,
        (plain(low), plain(high)),
        left,
        y,
        max(size[1], 180),
        quantity="value of the channel",
        middle="0" if cmap == DIVERGING else "",
    )


def _cell(
    cell: tuple[int, int], shape: tuple[int, ...], left: int, top: int, size: tuple[int, int], least: int = 6
) -> tuple[float, float, float, float]:
    down, across = size[0] / shape[0], size[1] / shape[1]
    x, y = left + cell[1] * across, top + cell[0] * down
    grow_x, grow_y = max(least - across, 0) / 2, max(least - down, 0) / 2
    return round(x - grow_x), round(y - grow_y), round(x + across + grow_x), round(y + down + grow_y)


# -- the sum -----------------------------------------------------------------------------------------------------


def _draw_waterfall(scene: Scene, found: Explanation, left: int, y: int) -> int:
    start = "from the bias" if found.bias else "from 0"
    y = draw_heading(scene, "Sum", f"{start} to the value, one term after another", left, y, LEAST_WIDTH)
    height, width = _CHART
    scene.add(Plot("sum", left + 54, y + 8, (height, width - 54), partial(_waterfall, found=found)))
    return y + height + 62


def _waterfall(axes: Axes, found: Explanation) -> None:
    terms = list(found.terms[:MOST_ROWS])
    names = [channel_name(found, each.channel).removeprefix("channel ") for each in terms]
    steps = [each.contribution for each in terms]
    if found.bias:
        names.insert(0, "bias")
        steps.insert(0, found.bias)
    left = found.order[len(terms) :]
    if len(left):
        names.append(f"{len(left):,}\nothers")
        steps.append(float(found.contributions[left].sum()))
    finite = [each if np.isfinite(each) else 0.0 for each in steps]
    ends = np.cumsum(finite)
    starts = ends - finite
    total = float(ends[-1])
    colours = [rgb(RED if each > 0 else BLUE) for each in finite]
    at = np.arange(len(names))
    axes.bar(at, finite, 0.66, starts, color=colours, zorder=2)
    if np.isfinite(found.total):
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
        (len(names) - 1, max(total, 0) if np.isfinite(found.total) else 0),
        (0, 3),
        ha="center",
        size=TINY_SIZE,
        colour=INK,
        weight="bold",
    )
    axes.set_xlabel("input channel", fontsize=points(SMALL_SIZE), color=rgb(GRAY))


# -- what follows ------------------------------------------------------------------------------------------------


def _draw_steps(scene: Scene, found: Explanation, left: int, y: int) -> int:
    y = draw_heading(scene, "What follows", "what becomes of the value in the rest of its block", left, y, LEAST_WIDTH)
    x = left
    for words, value in [("value", found.value), *((each.operation, each.after) for each in found.steps)]:
        number = plain(value, 4)
        wide = round(max(text_width(number, TITLE_SIZE - 6, bold=True), text_width(words, SMALL_SIZE))) + 24
        if x + wide > left + LEAST_WIDTH and x > left:
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
        y = draw_paragraph(
            scene, f"{step.operation}: {step.formula} = {plain(step.after, 5)}{note}", left, y, LEAST_WIDTH
        )
    return draw_paragraph(scene, found.stopped, left, y + 2, LEAST_WIDTH)
