"""The page of reduced layers: a row an image, a column a layer, and what the colours mean beside them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .. import units
from ..drawing.grid import NAN_RGB, TWO_HUES, blend, palette
from ..drawing.overlay import overlay_opacity
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    Key,
    View,
    draw_colour_bar,
    draw_facts,
    draw_legend,
    draw_outline,
    draw_paragraph,
    draw_sentence_title,
    fit,
)
from ..drawing.scene import GRAY, INK, WHITE, Colour, Picture, Scene, Text, end_of, shorten
from ..errors import OutputError
from ..inputs.records import ImageInput
from .colours import basis_name, colour_of, component_bar, ends_of, over_gray, paint
from .columns import alike_in_words, channels_in_words, cluster_rows, component_rows, map_size, shares_in_words
from .records import Basis, Drawing, Reduced, ReducedMap
from .words import basis_in_words, colours_in_words, foreground_in_words, headline

_SIDE = 380
_AREA = (1060, 1240)  # height and width that the pictures fill where they can
_LARGEST, _SMALLEST = 560, 112
_GAP, _FRAME_GAP = 14, 2
_HEAD, _CAPTION = 62, 26
_SHOWN_BASES = 6
_LARGEST_PAGE_PX = 170_000_000  # more than this, few programs open
_MARK: Colour = (255, 0, 200)


def reduced_figure(reduced: Reduced, drawing: Drawing) -> Scene:
    """The whole page."""
    scene = Scene()
    left = 2 * MARGIN + _SIDE
    heights, widths = _sizes(reduced, drawing)
    grid = sum(widths) + _GAP * (len(widths) - 1)
    scene.width = left + max(grid, 560) + MARGIN
    height = sum(heights) + len(heights) * (_CAPTION + _GAP)
    if scene.width * height > _LARGEST_PAGE_PX:
        raise OutputError(
            f"{len(heights)} images of {len(widths) - 1} layers would take {units.count(scene.width)} pixels across and"
            f" {units.count(height)} down.",
            hint="Draw fewer layers or images, or smaller pictures (--tile).",
        )
    top = draw_sentence_title(scene, headline(reduced), [_about(reduced)]) + 6
    bottom = max(
        _draw_grid(scene, reduced, drawing, heights, widths, top, left), _draw_side(scene, reduced, drawing, top)
    )
    scene.height = bottom + MARGIN
    return scene


def _about(reduced: Reduced) -> str:
    images = reduced.images[0].short_name if len(reduced.images) == 1 else f"{len(reduced.images)} images"
    return f"{units.one_line(images)}, as {reduced.origin.model} sees {'it' if len(reduced.images) == 1 else 'them'}"


def pictures(reduced: Reduced, overlay: bool, size: Callable[[ImageInput], tuple[int, int]]) -> list[list[np.ndarray]]:
    """For each image the first frame's picture of each layer, without any text, `[height, width, 3]` uint8."""
    ends = [ends_of(reduced, number, Drawing(overlay=overlay)) for number in range(len(reduced.bases))]
    return [
        [paint(each, ends[each.basis], reduced.method, image.pixels, size(image), overlay)[0] for each in row]
        for image, row in zip(reduced.images, reduced.maps, strict=True)
    ]


# -- the grid ----------------------------------------------------------------------------------------------------


def _frames(reduced: Reduced) -> list[int]:
    """How many frames stand side by side in each layer's column."""
    return [
        max(each.units[0] for row in reduced.maps for each in row if each.layer.name == name) for name in reduced.layers
    ]


def _sizes(reduced: Reduced, drawing: Drawing) -> tuple[list[int], list[int]]:
    """The height of each row's pictures, and the width of each column, the photo's first."""
    frames = [1, *_frames(reduced)]
    room = (
        (_AREA[0] - len(reduced.images) * (_CAPTION + _GAP)) // len(reduced.images),
        (_AREA[1] - (len(frames) - 1) * _GAP) // sum(frames),
    )
    cell = tuple(min(max(each, _SMALLEST), _LARGEST) for each in room)
    if drawing.tile is not None:
        cell = (drawing.tile, 4 * drawing.tile)
    sizes = [fit((each.pixels.shape[0], each.pixels.shape[1]), (cell[0], cell[1])) for each in reduced.images]
    width = max(size[1] for size in sizes)
    return [size[0] for size in sizes], [count * (width + _FRAME_GAP) - _FRAME_GAP for count in frames]


def _draw_grid(
    scene: Scene, reduced: Reduced, drawing: Drawing, heights: list[int], widths: list[int], top: int, left: int
) -> int:
    """The photos in the first column, beside them the pictures. Returns where they end."""
    columns = {name: left + sum(widths[: at + 1]) + _GAP * (at + 1) for at, name in enumerate(reduced.layers)}
    scene.add(Text(left, top, "what the network saw", SMALL_SIZE, GRAY))
    heads = {each.layer.name: each for row in reversed(reduced.maps) for each in row}
    for at, name in enumerate(reduced.layers):
        _draw_head(scene, reduced, heads[name], columns[name], top, widths[at + 1])
    ends = [ends_of(reduced, number, drawing) for number in range(len(reduced.bases))]
    y = top + _HEAD
    for number, (image, row, height) in enumerate(zip(reduced.images, reduced.maps, heights, strict=True)):
        size = (height, widths[0])
        size = fit((image.pixels.shape[0], image.pixels.shape[1]), size, whole=False)
        scene.add(Picture(left, y, image.pixels, size, smooth=True))
        name = shorten(units.one_line(image.short_name), widths[0], SMALL_SIZE)
        scene.add(Text(left, y + height + 4, name, SMALL_SIZE, INK))
        for each in row:
            x = columns[each.layer.name]
            frames = paint(each, ends[each.basis], reduced.method, image.pixels, size, drawing.overlay)
            for frame, pixels in enumerate(frames):
                scene.add(Picture(x + frame * (size[1] + _FRAME_GAP), y, pixels, size))
            _draw_marks(scene, reduced, each, number, (x, left), y, size)
            room = widths[reduced.layers.index(each.layer.name) + 1]
            scene.add(Text(x, y + height + 4, shorten(_caption(reduced, each), room, SMALL_SIZE), SMALL_SIZE, GRAY))
        y += height + _CAPTION + _GAP
    return y - _GAP


def _draw_head(scene: Scene, reduced: Reduced, found: ReducedMap, x: int, y: int, width: int) -> None:
    """A layer's name over its column, its map's size, and which basis its colours are of."""
    scene.add(Text(x, y, end_of(units.one_line(found.layer.name), width, TEXT_SIZE), TEXT_SIZE, INK, bold=True))
    channels = reduced.bases[found.basis].channel_count
    if reduced.method == "similar":
        channels = 0
    words = map_size(found) + (f", {units.count(channels)} channels" if channels else "")
    scene.add(Text(x, y + 21, shorten(words, width, SMALL_SIZE), SMALL_SIZE, GRAY))
    if reduced.method in ("pca", "kmeans") and len(reduced.bases) > 1:
        scene.add(Text(x, y + 38, f"basis {basis_name(found.basis)}", SMALL_SIZE, GRAY))


def _caption(reduced: Reduced, found: ReducedMap) -> str:
    """What stands under a picture."""
    if reduced.method == "pca":
        if sum(each.basis == found.basis for row in reduced.maps for each in row) == 1:
            return ""  # the legend says it
        return f"{shares_in_words(found.shares)} of its variance" if found.shares else "no variance"
    if reduced.method == "kmeans":
        return ""
    if reduced.method == "similar":
        return f"nearest {alike_in_words(found.alike[0])}" if found.alike else "no other unit"
    values = found.values[found.values == found.values]
    return units.value_range(float(values.min()), float(values.max())) if values.size else "no finite value"


def _draw_marks(
    scene: Scene,
    reduced: Reduced,
    found: ReducedMap,
    number: int,
    lefts: tuple[int, int],
    y: int,
    size: tuple[int, int],
) -> None:
    """The unit asked for, outlined on the map and the photo of the first image; on all others the one most like it."""
    asked = reduced.asked.similar
    if asked is None:
        return
    _, height, width = found.units
    at = asked if number == 0 else found.alike[0].at if found.alike else None
    if at is None:
        return
    frame, row, column = (0, *at) if len(at) == 2 else at
    for left in lefts if len(reduced.layers) == 1 or number == 0 else lefts[:1]:
        x = left + frame * (size[1] + _FRAME_GAP) if left == lefts[0] else left
        place = View((0, height - 1), (0, width - 1), x, y, size).place((row, row), (column, column))
        draw_outline(
            scene, place, ((-2, WHITE), (-1, _MARK), (0, _MARK), (1, WHITE)) if number == 0 else ((-1, WHITE), (0, INK))
        )


# -- the side ----------------------------------------------------------------------------------------------------


def _draw_side(scene: Scene, reduced: Reduced, drawing: Drawing, top: int) -> int:
    """Facts, the colours with what they mean, and remarks. Returns where they end."""
    y = draw_facts(scene, _facts(reduced), MARGIN, top, _SIDE) + 10
    clipped = ends_of(reduced, 0, drawing).clipped
    y = draw_paragraph(scene, colours_in_words(reduced, clipped, overlay=drawing.overlay), MARGIN, y, _SIDE) + 10
    for number in range(min(len(reduced.bases), _SHOWN_BASES)):
        y = _draw_basis(scene, reduced, number, drawing, y) + 8
    if len(reduced.bases) > _SHOWN_BASES:
        words = f"{len(reduced.bases) - _SHOWN_BASES} more bases: the table and --json say what theirs hold."
        y = draw_paragraph(scene, words, MARGIN, y, _SIDE) + 8
    for note in reduced.notes:
        y = draw_paragraph(scene, f"{note[0].upper()}{note[1:]}", MARGIN, y, _SIDE) + 6
    return y


def _facts(reduced: Reduced) -> list[tuple[str, str]]:
    origin = reduced.origin
    facts = [("model", origin.model), ("weights", str(origin.weights))]
    if len(reduced.images) == 1:
        facts.append(("image", units.one_line(reduced.images[0].short_name)))
        facts.append(("", reduced.images[0].caption))
    if origin.fed_in_words:
        facts.append(("fed", origin.fed_in_words))
    if (origin.device, origin.dtype) != ("cpu", "float32"):
        facts.append(("run on", f"{origin.device}, {origin.dtype}"))
    notes = dict.fromkeys(note for row in reduced.maps for each in row for note in each.notes)
    return facts + [("note", note) for note in notes]


def _draw_basis(scene: Scene, reduced: Reduced, number: int, drawing: Drawing, y: int) -> int:
    """A basis's legend: a bar a component, a box a cluster, or the bar of a single value."""
    basis = reduced.bases[number]
    ends = ends_of(reduced, number, drawing)
    if reduced.method in ("pca", "kmeans"):
        y = draw_paragraph(scene, basis_in_words(reduced, number), MARGIN, y, _SIDE, colour=INK) + 6
    if reduced.method == "pca":
        y = _draw_bars(scene, basis, ends.low.tolist(), ends.high.tolist(), drawing, y)
    elif reduced.method == "kmeans":
        for row in cluster_rows(basis):
            colour = colour_of(row.number - 1)
            if drawing.overlay:
                red, green, blue = over_gray(np.array([colour], np.uint8))[0].tolist()
                colour = red, green, blue
            words = f"{row.number} {row.colour}, {units.percent(row.share)}"
            if row.channels:
                words += f": channels {', '.join(map(str, row.channels))}"
            y = draw_legend(scene, [Key(words, colour)], MARGIN, y, MARGIN + _SIDE)
    else:
        if len(reduced.bases) > 1:
            y = draw_paragraph(scene, basis.layers[0], MARGIN, y, _SIDE, colour=INK) + 2
        y = _draw_single(scene, ends.low[0], ends.high[0], ends.cmap, drawing, y)
    words = foreground_in_words(basis)
    y = draw_paragraph(scene, words, MARGIN, y + 4, _SIDE) if words else y
    if basis.not_finite:
        what = "no direction (all zero) or not finite" if reduced.method == "similar" else "NaN or infinite"
        key = Key(f"{what}: {units.count(basis.not_finite)} units", NAN_RGB)
        y = draw_legend(scene, [key], MARGIN, y + 2, MARGIN + _SIDE)
    return y


def _draw_bars(scene: Scene, basis: Basis, low: list[float], high: list[float], drawing: Drawing, y: int) -> int:
    """A bar for each component, with its values at both ends, its share and the channels that make most of it."""
    for row in component_rows(basis):
        at = row.number - 1
        colours = component_bar(at, len(basis.low))
        words = f"component {row.number}: {units.percent(row.share)}, channels {channels_in_words(row)}"
        scene.add(Text(MARGIN, y, shorten(words, _SIDE, SMALL_SIZE), SMALL_SIZE, GRAY))
        ends = units.number(low[at]), units.number(high[at])
        y = draw_colour_bar(scene, over_gray(colours) if drawing.overlay else colours, ends, MARGIN, y + 18, _SIDE) + 2
    return y


def _draw_single(scene: Scene, low: float, high: float, cmap: str, drawing: Drawing, y: int) -> int:
    """The bar of a single value."""
    colours = palette(cmap)
    signed = low == -high
    if drawing.overlay:
        colours = blend(colours[None, None], np.full((1, 1, 3), 128, np.uint8), overlay_opacity(cmap)[None, None])[0, 0]
        if cmap == TWO_HUES and not signed:
            colours = colours[np.linspace(128, 255, 256).astype(int)]
    ends = units.number(low, 4), units.number(high, 4)
    return draw_colour_bar(scene, colours, ends, MARGIN, y, _SIDE, middle="0" if signed else "")
