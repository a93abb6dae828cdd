"""The figure of a layer's kernels: the filters as tiles or as a matrix, beside them what they are."""

from __future__ import annotations

from math import ceil

import numpy as np

from .. import units
from ..drawing.grid import CONSTANT_RGB, DIVERGING, INF_RGB, NAN_RGB
from ..drawing.page import (
    LINE_SIZE,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TINY_SIZE,
    TOP,
    Key,
    draw_colour_bar,
    draw_facts,
    draw_heading,
    draw_legend,
    draw_paragraph,
    draw_title,
)
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Colour, Picture, Scene, Text, shorten, text_width
from ..errors import OutputError
from .columns import span
from .records import Drawing, Filters, Kernels
from .table import words_on
from .tiles import GAP, Ends, cell_size, ends_of, is_dead, matrix, strips, tile_count

_SIDE = 380
_AREA = (1120, 1240)
_CAPTION = 20
_LABEL = 15
_BETWEEN = (12, 14)  # between filters: down, across
_LARGEST_TILE, _LARGEST_BAR = 300, 24
_LEAST_WIDTH = {True: 24, False: 58}  # of a tile with a number over it, and of a filter's only one
_LEAST_HEIGHT = 17
_LARGEST_PAGE_PX = 170_000_000  # more than this, few programs open
_WARN: Colour = (176, 60, 40)
_AMBER: Colour = (150, 96, 0)
_INKS = {"note": GRAY, "warning": _AMBER, "error": _WARN}


def filters_figure(found: Filters, kernels: Kernels, drawing: Drawing) -> Scene:
    """The figure of one of the layers."""
    scene = Scene()
    ends = ends_of(kernels, drawing)
    right = MARGIN * 2 + _SIDE
    draw = _draw_matrix if kernels.is_matrix else _draw_tiles
    bottom, edge = draw(scene, kernels, drawing, ends, TOP, right)
    bottom = max(bottom, _draw_side(scene, found, kernels, drawing, ends, TOP))
    scene.width = max(edge, right + 560) + MARGIN
    scene.height = bottom + MARGIN
    line = _headline(kernels, scene.width - 2 * MARGIN)
    kind = kernels.layer.type_name if kernels.layer.is_module else f"operation {kernels.layer.type_name}"
    draw_title(scene, kernels.layer.name, [line], f"{kind}, its kernels")
    return scene


# -- words -------------------------------------------------------------------------------------------------------


def _extent(kernels: Kernels) -> str:
    many = f"{units.count(kernels.count)} filter{'s' if kernels.count != 1 else ''}"
    if kernels.is_matrix:
        return f"{many} of a weight for each of {units.count(kernels.weight.shape[1])} input channels"
    size = " × ".join(map(str, kernels.kernel))
    if kernels.reads_picture:
        return f"{many} of {size} over the picture's red, green and blue"
    if kernels.is_depthwise:
        return f"{many} of {size}, each over one input channel"
    each = units.count(kernels.weight.shape[1])
    of = f"{each} of {units.count(kernels.inputs)}" if kernels.groups > 1 else each
    return f"{many} of {size} over {of} input channel{'s' if kernels.inputs != 1 else ''}"


_SHORT = {
    "dead-filters": "dead",
    "large-filters": "large",
    "tiny-filters": "tiny",
    "constant-filters": "constant",
    "same-filters": "the same as another",
    "same-kernels": "with another's kernel",
    "near-filters": "nearly alike",
    "flipped-filters": "opposite to another",
    "nan": "with NaN",
    "inf": "with infinite weights",
}


def _headline(kernels: Kernels, room: int) -> str:
    """What the layer has and what was found, the gravest first: as many findings as the room has place for."""
    parts = [f"{units.count(len(each.channels))} {_SHORT[each.check]}" for each in kernels.findings]
    for shown in range(len(parts), 0, -1):
        more = [f"{len(parts) - shown} more below"] if shown < len(parts) else []
        words = f"{_extent(kernels)}, {'; '.join([*parts[:shown], *more])}"
        if text_width(words, LINE_SIZE) <= room:
            return words
    return _extent(kernels)


def _facts(found: Filters, kernels: Kernels) -> list[tuple[str, str]]:
    origin, numbers = found.origin, kernels.numbers
    asked = kernels.asked
    other = asked != kernels.layer.name and not any(sign in asked for sign in "*?[")
    sizes = ", ".join(str(size) for size in kernels.stored)
    low, high = span(numbers.norm)
    facts = [
        ("model", origin.model),
        ("weights", str(origin.weights)),
        ("layer", kernels.layer.name + (f" (asked for as {asked})" if other else "")),
        ("weight", f"[{sizes}], {kernels.dtype}, {kernels.how}"),
        ("reads", _reads(kernels)),
        ("L2 norms", "–" if low is None or high is None else units.value_range(low, high)),
        ("zeros", units.percent(_mean(numbers.zero))),
        ("tiny", f"{units.percent(_mean(numbers.near_zero))} of the weights: at most a thousandth of the largest"),
    ]
    if numbers.nan.any() or numbers.inf.any():
        facts.append(
            ("not finite", f"{units.count(int(numbers.nan.sum()))} NaN, {units.count(int(numbers.inf.sum()))} Inf")
        )
    if kernels.folded:
        facts.append(("folded", f"BatchNorm {kernels.folded}: this is what acts"))
    facts.append(("drawn", _drawn_in_words(kernels)))
    return facts


def _reads(kernels: Kernels) -> str:
    if kernels.reads_picture:
        return "the picture itself: red, green, blue"
    words = f"{units.count(kernels.inputs)} input channel{'s' if kernels.inputs != 1 else ''}"
    if kernels.is_depthwise:
        return f"{words}, one by each filter (depthwise)"
    if kernels.groups > 1:
        return f"{words} in {kernels.groups} groups, {units.count(kernels.weight.shape[1])} by each filter"
    return words


def _drawn_in_words(kernels: Kernels) -> str:
    shown, asked = len(kernels.drawn), len(kernels.order)
    if shown == asked:
        return kernels.order_in_words
    how = kernels.order_in_words.partition(", ")[2]
    return f"{shown} of {units.count(kernels.count)} filters, {how}; --all draws the rest"


def _mean(shares: np.ndarray) -> float:
    known = shares[~np.isnan(shares)]
    return float(known.mean()) if known.size else 0.0


def _draw_side(scene: Scene, found: Filters, kernels: Kernels, drawing: Drawing, ends: Ends, top: int) -> int:
    y = draw_facts(scene, _facts(found, kernels), MARGIN, top, _SIDE)
    y = _draw_scale(scene, kernels, drawing, ends, y + 16)
    words = [(GRAY, each) for each in words_on(kernels)]
    words += [(_INKS[each.severity], f"{each.what}.") for each in kernels.findings]
    if words:
        y = draw_heading(scene, "What stands out", "", MARGIN, y + 12, _SIDE)
    for colour, sentence in words:
        y = draw_paragraph(scene, sentence[0].upper() + sentence[1:], MARGIN, y, _SIDE, colour=colour) + 8
    return y


def _draw_scale(scene: Scene, kernels: Kernels, drawing: Drawing, ends: Ends, y: int) -> int:
    cmap = "gray" if kernels.reads_picture else drawing.cmap or DIVERGING
    if ends.shared and len(ends.most):
        most = float(ends.most[0])
        names = (units.number(-most, 4), units.number(most, 4))
    else:
        names = ("- largest", "+ largest") if not ends.clipped else ("- percentile", "+ percentile")
    y = draw_colour_bar(scene, cmap, names, MARGIN, y, _SIDE, quantity="weight", middle="0") + 2
    words = ""
    if kernels.reads_picture:
        words = "Each pixel is a weight for red, for green and for blue: mid-gray is zero, more of a colour a positive "
        words += "weight, less of it a negative one. "
    if ends.shared:
        words += "One scale for the whole layer: the same colour is the same weight everywhere."
    else:
        words += "Each filter has its own scale, up to its largest weight: the norm says how strong it is."
    if ends.clipped:
        words += f" {ends.clipped:g} % of the weights at either end take the end's colour."
    if not kernels.is_matrix:
        words += " Under each filter: its output channel and its L2 norm"
        words += ", below that its bias" if _has_biases(kernels) else ""
        words += ", over each tile its input channel." if tile_count(kernels, drawing) > 1 else "."
        shown, each = tile_count(kernels, drawing), kernels.weight.shape[1]
        if not kernels.reads_picture and shown < each:
            words += f" Of {units.count(each)} input channels the {shown} strongest are drawn, the strongest first."
        if len(kernels.kernel) == 3:
            words += f" The {kernels.kernel[0]} frames of a kernel stand side by side."
    y = draw_paragraph(scene, words, MARGIN, y, _SIDE) + 6
    drawn = kernels.drawn
    dead = bool(is_dead(kernels)[drawn].any()) and not kernels.is_matrix
    background = (128, 128, 128) if kernels.reads_picture else WHITE if ends.shared else CONSTANT_RGB
    if dead:
        words = "crossed out: all weights of the filter are exactly 0"
        y = draw_legend(scene, [Key(words, background, "crossed")], MARGIN, y, MARGIN + _SIDE)
    keys = [
        Key(words, colour)
        for there, words, colour in (
            (kernels.numbers.nan[drawn].any(), "NaN", NAN_RGB),
            (kernels.numbers.inf[drawn].any(), "infinite", INF_RGB),
            (kernels.is_matrix and kernels.groups > 1, "of another group", (236, 236, 240)),
        )
        if there
    ]
    return draw_legend(scene, keys, MARGIN, y, MARGIN + _SIDE)


# -- tiles -------------------------------------------------------------------------------------------------------


def _draw_tiles(scene: Scene, kernels: Kernels, drawing: Drawing, ends: Ends, top: int, left: int) -> tuple[int, int]:
    """The filters in rows and columns, each with its tiles in a row. Returns the bottom and right edge."""
    count = len(kernels.drawn)
    across = tile_count(kernels, drawing)
    label = _LABEL if across > 1 else 0
    pixels, columns = _layout(kernels, drawing, count, across, label)
    found = strips(kernels, drawing, ends, pixels)
    height, width = found.pixels.shape[1:3]
    step = (height + label + _caption_height(kernels) + _BETWEEN[0], max(width, _least_width(kernels)) + _BETWEEN[1])
    rows = ceil(count / columns)
    if rows * step[0] * columns * step[1] > _LARGEST_PAGE_PX:
        raise OutputError(
            f"the filters of layer {kernels.layer.name!r} would take {units.count(columns * step[1])} pixels across and"
            f" {units.count(rows * step[0])} down.",
            hint="Draw fewer filters (--top, --channels), fewer inputs (--inputs) or smaller kernels (--tile).",
        )
    for at in range(count):
        row, column = divmod(at, columns)
        x, y = left + column * step[1], top + row * step[0]
        if label and found.inputs is not None:
            for tile, start in zip(found.inputs[at], found.lefts, strict=True):
                middle = x + start + found.tile[1] / 2
                scene.add(Text(middle, y, str(tile), _label_size(kernels, found.tile[1]), GRAY, align="middle"))
        scene.add(Picture(x, y + label, found.pixels[at], (height, width)))
        _draw_caption(scene, kernels, int(kernels.drawn[at]), x, y + label + height + 2, step[1] - _BETWEEN[1])
    return top + rows * step[0] - _BETWEEN[0], left + columns * step[1] - _BETWEEN[1]


def _label_size(kernels: Kernels, room: int) -> int:
    """The size of an input channel's number: as large as fits a tile."""
    widest = str(max(kernels.inputs - 1, 0))
    return next((size for size in (TINY_SIZE, 11, 10, 9) if text_width(widest, size) <= room), 8)


def _least_width(kernels: Kernels) -> int:
    """What a caption needs: the channel's number and a norm."""
    return ceil(text_width(str(kernels.count - 1), SMALL_SIZE, bold=True)) + (64 if _has_biases(kernels) else 44)


def _has_biases(kernels: Kernels) -> bool:
    """Whether a filter's bias stands under it: where a BatchNorm is folded in, the bias is half of what acts."""
    return bool(kernels.folded) and kernels.bias is not None


def _caption_height(kernels: Kernels) -> int:
    return _CAPTION * (2 if _has_biases(kernels) else 1)


def _is_legible(tile: tuple[int, int], across: int) -> bool:
    return tile[1] >= _LEAST_WIDTH[across > 1] and tile[0] >= _LEAST_HEIGHT


def _layout(kernels: Kernels, drawing: Drawing, count: int, across: int, label: int) -> tuple[int, int]:
    """How many pixels a weight is across, and how many filters stand side by side."""

    def columns_with(pixels: int) -> int:
        width = across * (cell_size(kernels, pixels)[1] + GAP) - GAP
        return max((_AREA[1] + _BETWEEN[1]) // (max(width, _least_width(kernels)) + _BETWEEN[1]), 1)

    def fits(pixels: int, columns: int) -> bool:
        height, width = cell_size(kernels, pixels)
        if (height > _LARGEST_TILE and len(kernels.kernel) > 1) or width * across > _AREA[1]:
            return False
        return ceil(count / columns) * (height + label + _caption_height(kernels) + _BETWEEN[0]) <= _AREA[0]

    along = [size for size in kernels.kernel[-2:] if len(kernels.kernel) > 1]
    least = next(each for each in range(1, 99) if _is_legible(cell_size(kernels, each), across))
    if drawing.tile is not None and along:
        least = max(round(drawing.tile / along[0]), 1)
    largest = least if drawing.tile is not None else _LARGEST_BAR if not along else _LARGEST_TILE
    sizes = range(largest, least, -1)
    fitting = [(each, most) for each in sizes for most in range(1, columns_with(each) + 1) if fits(each, most)]
    if not fitting:
        most = min(columns_with(least), max(count, 1))
        return least, ceil(count / ceil(count / most)) if count else 1
    # Full rows look better than the largest tiles.
    enough = [(pixels, columns) for pixels, columns in fitting if pixels >= 0.8 * fitting[0][0] and columns <= count]
    return min(enough or fitting, key=lambda found: (-count % found[1], -found[0]))


def _draw_caption(scene: Scene, kernels: Kernels, channel: int, x: int, y: int, width: int) -> None:
    """A filter's output channel on the left, on the right its norm, or what is wrong with it."""
    numbers = kernels.numbers
    name = str(channel)
    scene.add(Text(x, y, name, SMALL_SIZE, INK, bold=True))
    words, colour = units.number(float(numbers.norm[channel])), GRAY
    if numbers.nan[channel] or numbers.inf[channel]:
        words, colour = "NaN" if numbers.nan[channel] else "Inf", _WARN
    elif is_dead(kernels)[channel]:
        words, colour = "dead", _WARN
    elif any(channel in each.channels for each in kernels.findings if each.check == "tiny-filters"):
        colour = _AMBER
    room = width - text_width(name, SMALL_SIZE, bold=True) - 8
    size = SMALL_SIZE if text_width(words, SMALL_SIZE) <= room else TINY_SIZE - 1
    scene.add(Text(x + width, y, shorten(words, max(room, 12), size), size, colour, align="right"))
    if _has_biases(kernels) and kernels.bias is not None:
        words = f"bias {units.number(float(kernels.bias[channel]), 2)}"
        size = next((size for size in (SMALL_SIZE, TINY_SIZE) if text_width(words, size) <= width), TINY_SIZE - 1)
        scene.add(Text(x + width, y + _CAPTION - 3, words, size, GRAY, align="right"))


# -- matrices ----------------------------------------------------------------------------------------------------

_LARGEST_CELL = 26
_MATRIX = (1060, 1320)  # height and width that a matrix fills where it can
_NAMED_FROM = (13, 32)  # pixels that a row needs for a number of its own, and from one number to the next


def _draw_matrix(scene: Scene, kernels: Kernels, drawing: Drawing, ends: Ends, top: int, left: int) -> tuple[int, int]:
    """Filters down, input channels across. Returns the bottom and right edge."""
    names = ceil(text_width(str(max(kernels.count - 1, 0)), TINY_SIZE)) + 10
    found = matrix(kernels, drawing, ends, _MATRIX, _LARGEST_CELL)
    height, width = found.pixels.shape[0] * found.cell[0], found.pixels.shape[1] * found.cell[1]
    words = (
        f"{units.count(len(kernels.drawn))} output channels down, {units.count(kernels.inputs)} input channels across"
    )
    if found.share != (1, 1):
        words += f"; a pixel is the strongest of {found.share[0]} × {found.share[1]} weights"
    x, y = left + names, draw_paragraph(scene, words, left, top, max(names + width, 560), TEXT_SIZE) + 8
    scene.add(Box(x - 1, y - 1, width + 2, height + 2, None, FAINT), Picture(x, y, found.pixels, (height, width)))
    for at in _named(len(kernels.drawn), found.cell[0], found.share[0]):
        place = y + (at // found.share[0]) * found.cell[0] + found.cell[0] / 2 - 8
        place = min(max(place, y - 3), y + height - 14)
        scene.add(Text(x - 6, place, *_row_name(kernels, int(kernels.drawn[at])), align="right"))
    _draw_columns(scene, kernels, found.cell[1], found.share[1], x, y + height + 4, width)
    return y + height + 26, x + width


def _row_name(kernels: Kernels, channel: int) -> tuple[str, int, Colour]:
    """A row's number, red where all its weights are zero."""
    return str(channel), TINY_SIZE, _WARN if is_dead(kernels)[channel] else GRAY


def _named(count: int, cell: int, share: int) -> list[int]:
    """Which rows have their number: all where there is room, else some at even steps."""
    if cell >= _NAMED_FROM[0] * share:
        return list(range(count))
    return list(range(0, count, _even(_NAMED_FROM[1] * share / cell)))


def _even(least: float) -> int:
    """The smallest of 1, 2, 5, 10, 20, … that is no smaller."""
    return next(each for power in range(12) for each in (10**power, 2 * 10**power, 5 * 10**power) if each >= least)


def _draw_columns(scene: Scene, kernels: Kernels, cell: int, share: int, x: int, y: int, width: int) -> None:
    """Numbers of input channels under the matrix, at even steps."""
    room = text_width(str(kernels.inputs), TINY_SIZE) + 14
    for at in range(0, kernels.inputs, _even(room * share / cell)):
        middle = x + (at // share) * cell + cell / 2
        scene.add(Text(min(middle, x + width - room / 3), y, str(at), TINY_SIZE, GRAY, align="middle"))
