"""The figure's part for two images: how alike the network finds them, and the channels they share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import add_layers, along, points, rgb
from ..drawing.grid import TWO_HUES, fit_codes, lookup, palette
from ..drawing.overlay import overlay, overlay_ends
from ..drawing.page import SMALL_SIZE, TEXT_SIZE, draw_heading, draw_paragraph, fit
from ..drawing.scene import GRAY, INK, Colour, Picture, Plot, Scene, Text
from .records import ComparedLayer, Comparison, SharedChannels
from .words import cosine, pooled_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CURVE_HEIGHT = 240
_EDGE, _LABEL = 76, 66  # right and left of the curve
_COLUMNS = 9
_GAP, _GROUP_GAP = 8, 34
_ALIKE: Colour = (59, 82, 139)
_STEM: Colour = (214, 218, 230)
_GROUPS = ("strong in both", "strong only in A", "strong only in B")


def draw_pooled(scene: Scene, comparison: Comparison, top: int, left: int, width: int) -> int:
    """The pooled cosine of each layer, in the order they run. Returns where it ends."""
    layers = pooled_layers(comparison)
    words = "Does the network see the same things? Cosine of the channels' means over all places, 1 is alike"
    top = draw_heading(scene, "Pooled cosine through depth", words, left, top, width) + 22
    x0, across = left + _LABEL, width - _LABEL - _EDGE
    draw = partial(_draw_cosines, layers=layers)
    scene.add(Plot("pooled", x0, top, (_CURVE_HEIGHT, across), draw))
    names = [units.one_line(each.layer.name) for each in layers]
    return add_layers(scene, names, across / len(layers), x0, top, top + _CURVE_HEIGHT) + 8


def _draw_cosines(axes: Axes, layers: Sequence[ComparedLayer]) -> None:
    shares = np.array([each.difference.pooled_cosine for each in layers], float)
    along(axes, len(layers))
    axes.set_ylim(min(0.0, float(shares.min()) * 1.05), 1.0)
    slot = axes.bbox.width / len(layers)
    where = np.arange(len(layers))
    axes.vlines(where, 0, shares, rgb(_STEM), linewidth=points(min(max(slot * 0.4, 1), 4)), zorder=2)
    size = points(min(max(slot * 0.7, 3), 9)) ** 2
    axes.scatter(
        where, shares, s=size, color=rgb(_ALIKE), marker="s", linewidths=0, zorder=3, clip_on=False, label="pooled"
    )


def draw_shared(scene: Scene, comparison: Comparison, shared: SharedChannels, top: int, left: int, width: int) -> int:
    """Each group's strongest channels, their maps laid over A and under it over B. Returns where it ends."""
    assert comparison.pictures is not None and shared.a is not None and shared.b is not None
    compared = next(each for each in comparison.layers if each.layer.name == shared.layer.name)
    words = f"{units.one_line(shared.layer.type_name)} {units.shape(shared.shape)}"
    if isinstance(compared, ComparedLayer):
        words += f", pooled cosine {cosine(compared.difference.pooled_cosine)}"
    words += f"; {shared.note}" if shared.note else ""
    y = draw_heading(scene, units.layer_name(shared.layer.name), words, left, top, width) + 8
    room = (width - _LABEL - 2 * _GROUP_GAP - (_COLUMNS - 3) * _GAP) // _COLUMNS
    tiles = [_tile(shared, photo, room) for photo in comparison.pictures]
    sides = _tiles(shared, comparison.pictures, tiles)
    rows = [y + 50, y + 50 + tiles[0][0] + 30]
    for letter, row, tile in zip("AB", rows, tiles, strict=True):
        scene.add(Text(left, row + tile[0] // 2 - 12, letter, 20, bold=True))
    found = (shared.both, shared.only_a, shared.only_b)
    x, at = left + _LABEL, 0
    for name, channels, drawn in zip(_GROUPS, found, shared.drawn, strict=True):
        scene.add(
            Text(x, y, f"{name}: {units.count(len(channels)) if channels else 'none'}", TEXT_SIZE, INK, bold=True)
        )
        for place, channel in enumerate(drawn):
            here = x + place * (room + _GAP)
            scene.add(Text(here, y + 28, str(channel), SMALL_SIZE, INK, bold=True))
            for side, (row, tile) in enumerate(zip(rows, tiles, strict=True)):
                scene.add(Picture(here, row, np.ascontiguousarray(sides[side][at]), tile))
                mean = units.number(float(shared.means[side, at]), 2)
                scene.add(Text(here, row + tile[0] + 5, f"mean {mean}", SMALL_SIZE, GRAY))
            at += 1
        x += 3 * (room + _GAP) - _GAP + _GROUP_GAP
    noun = comparison.a.origin.called.noun
    photos = "photos" if noun == "image" else f"{noun}s"
    where = f"over the two {photos} in gray, on one scale for both: what is clear is zero"
    told = (
        f"Each channel's map {where if shared.on_photo else 'on one scale for both'}. Strong: the mean"
        " over all places is at least the root mean square of all channels' means. Only in one: at most a third as"
        " strong in the other."
    )
    return draw_paragraph(scene, told, left + _LABEL, rows[1] + tiles[1][0] + 34, width - _LABEL, SMALL_SIZE, GRAY)


def _tile(shared: SharedChannels, photo: np.ndarray, room: int) -> tuple[int, int]:
    """Height and width of a map's picture."""
    assert shared.a is not None
    shape = photo.shape if shared.on_photo else shared.a.shape[1:]
    return fit((shape[0], shape[1]), (2 * room, room))


def _tiles(shared: SharedChannels, photos: Sequence[np.ndarray], tiles: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """A's and B's maps in colour, a channel on one scale for both that holds zero."""
    assert shared.a is not None and shared.b is not None
    both = np.stack([shared.a, shared.b])
    finite = np.isfinite(both)
    low = np.where(finite, both, np.inf).min((0, 2, 3), initial=0)
    high = np.where(finite, both, -np.inf).max((0, 2, 3), initial=0)
    if not shared.on_photo:
        colours = lookup(palette(TWO_HUES))
        ends = overlay_ends(TWO_HUES, low, high)
        return [colours[fit_codes(maps, *ends, tile)] for maps, tile in zip(both, tiles, strict=True)]
    return [
        overlay(maps, low, high, TWO_HUES, photo, tile) for maps, photo, tile in zip(both, photos, tiles, strict=True)
    ]
