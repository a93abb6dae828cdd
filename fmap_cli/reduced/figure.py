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
    Key,
    draw_colour_bar,
    draw_facts,
    draw_legend,
    draw_paragraph,
    draw_sentence_title,
)
from ..drawing.scene import GRAY, INK, Scene, Text, shorten
from ..inputs.records import ImageInput
from .colours import colour_of, component_bar, ends_of, over_gray, paint
from .columns import brighter_in_words, cluster_rows, component_rows
from .grid import draw_grid, lay_out, refuse_large_page
from .records import Basis, Drawing, Reduced
from .words import about, basis_in_words, colours_in_words, foreground_in_words, headline

_SIDE = 380
_APART = 14
_SHOWN_BASES = 12


def reduced_figure(reduced: Reduced, drawing: Drawing) -> Scene:
    """The whole page."""
    scene = Scene()
    left = 2 * MARGIN + _SIDE
    grid = lay_out(reduced, drawing)
    scene.width = left + max(grid.size[1], 560) + MARGIN
    refuse_large_page(reduced, scene.width, grid.size[0])
    top = draw_sentence_title(scene, headline(reduced), [about(reduced)]) + 6
    draw_grid(scene, reduced, drawing, grid, top, left)
    scene.height = max(top + grid.size[0], _draw_side(scene, reduced, drawing, top)) + MARGIN
    return scene


def pictures(reduced: Reduced, overlay: bool, size: Callable[[ImageInput], tuple[int, int]]) -> list[list[np.ndarray]]:
    """For each image the first frame's picture of each layer, without any text, `[height, width, 3]` uint8."""
    ends = [ends_of(reduced, number, Drawing(overlay=overlay)) for number in range(len(reduced.bases))]
    return [
        [paint(each, ends[each.basis], reduced.method, image.pixels, size(image), overlay)[0] for each in row]
        for image, row in zip(reduced.images, reduced.maps, strict=True)
    ]


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
        facts.append((origin.called.noun, units.one_line(reduced.images[0].short_name)))
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
    if reduced.method == "pca" and len(reduced.bases) > 1:
        y = _draw_short_bars(scene, basis, ends.low.tolist(), ends.high.tolist(), drawing, y)
    elif reduced.method == "pca":
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
            y = draw_paragraph(scene, units.layer_name(basis.layers[0]), MARGIN, y, _SIDE, colour=INK) + 2
        y = _draw_single(scene, ends.low[0], ends.high[0], ends.cmap, drawing, _QUANTITIES[reduced.method], y)
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
        for words in (
            f"component {row.number}: {units.percent(row.share)}, and its strongest channels",
            brighter_in_words(row),
        ):
            scene.add(Text(MARGIN, y, shorten(words, _SIDE, SMALL_SIZE), SMALL_SIZE, GRAY))
            y += 18
        ends = units.number(low[at]), units.number(high[at])
        colours = over_gray(colours) if drawing.overlay else colours
        y = draw_colour_bar(scene, colours, ends, MARGIN, y, _SIDE, quantity="") + 2
    return y


def _draw_short_bars(scene: Scene, basis: Basis, low: list[float], high: list[float], drawing: Drawing, y: int) -> int:
    """The bars of all components side by side, each with its values at both ends."""
    width, below = (_SIDE - 2 * _APART) // 3, y
    for row in component_rows(basis):
        at = row.number - 1
        colours = component_bar(at, len(basis.low))
        colours = over_gray(colours) if drawing.overlay else colours
        ends = units.number(low[at], 2), units.number(high[at], 2)
        below = draw_colour_bar(
            scene, colours, ends, MARGIN + at * (width + _APART), y, width, quantity=f"component {row.number}"
        )
    return below


_QUANTITIES = {
    "similar": "cosine similarity, -1 to 1",
    "mean": "mean activation over the channels",
    "max": "largest activation of the channels",
    "std": "standard deviation over the channels",
}


def _draw_single(scene: Scene, low: float, high: float, cmap: str, drawing: Drawing, quantity: str, y: int) -> int:
    """The bar of a single value."""
    colours = palette(cmap)
    signed = low == -high
    if drawing.overlay:
        colours = blend(colours[None, None], np.full((1, 1, 3), 128, np.uint8), overlay_opacity(cmap)[None, None])[0, 0]
        if cmap == TWO_HUES and not signed:
            colours = colours[np.linspace(128, 255, 256).astype(int)]
    ends = units.number(low, 4), units.number(high, 4)
    return draw_colour_bar(scene, colours, ends, MARGIN, y, _SIDE, quantity=quantity, middle="0" if signed else "")
