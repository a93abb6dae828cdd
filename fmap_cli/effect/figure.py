"""The figure of `fmap effect`: the channels that push the answer up and those that push it down, each with its map over
the photo and its effect as a bar; below them all at once beside the sum of their single effects.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from .. import units
from ..drawing.charts import BLUE, RED, mixed
from ..drawing.grid import SEQUENTIAL
from ..drawing.overlay import overlay
from ..drawing.page import (
    LINE_SIZE,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TINY_SIZE,
    draw_colour_bar,
    draw_facts,
    draw_heading,
    draw_paragraph,
    draw_sentence_title,
    fit,
)
from ..drawing.scene import FAINT, GRAY, INK, Box, Colour, Picture, Scene, Text, shorten
from ..units import signed
from .columns import class_name, points
from .records import Effects
from .words import about, about_signs, about_weights, flipped, headline, how, together

_SIDE = 380
_COLUMN = 560
_GAP = 40
_TILE = (104, 132)  # the most that a map takes, height and width
_ROW = 118
_LABEL = 64  # the channel's number
_NUMBER = 92  # its effect
_UP: Colour = RED  # as evidence for and against in `fmap cam`
_DOWN: Colour = BLUE
_LEAST_ROW = 40
_STRIP = 12  # of a layer without places


@dataclass(frozen=True, slots=True)
class _Bars:
    """How long a bar is: `reach` is the largest effect on the page, `room` its length in pixels."""

    reach: float
    room: float

    def length(self, value: float) -> float:
        if not isfinite(value) or not self.reach:
            return 0.0
        return max(min(abs(value) / self.reach, 1.0) * self.room, 1.0 if value else 0.0)


def effects_figure(found: Effects) -> Scene:
    """One page."""
    left = MARGIN + _SIDE + _GAP
    scene = Scene(left + 2 * _COLUMN + _GAP + MARGIN)
    top = draw_sentence_title(scene, headline(found), [_subtitle(found)]) + 8
    up, down = _sides(found)
    tile, tiles = _tiles(found, [*up, *down])
    row = max(tile[0] + 14, _LEAST_ROW) if tiles is not None else _LEAST_ROW
    spread = np.zeros(len(found.effects)) if found.spread is None else np.nan_to_num(found.spread)
    shown = [abs(float(found.effects[at])) + float(spread[at]) for at in (*up, *down)]
    reach = max((each for each in shown if isfinite(each)), default=0.0)
    bottoms = [_draw_side(scene, found, top)]
    beside = left
    for places, words, colour in ((up, "push the answer up", _UP), (down, "push it down", _DOWN)):
        bottoms.append(_draw_column(scene, found, places, words, colour, reach, tiles, tile, row, beside, top, len(up)))
        beside += _COLUMN + _GAP
    bottom = _draw_sums(scene, found, left, max(bottoms[1:]) + 18, scene.width - MARGIN - left)
    scene.height = max(bottoms[0], bottom) + MARGIN
    return scene


def _subtitle(found: Effects) -> str:
    images = (
        found.images[0].image.short_name if not found.several else f"{len(found.images)} {found.origin.called.noun}s"
    )
    one = found.images[0].target
    value = "" if found.several else f", {units.number(one.value, 4)} with all channels"
    if not found.several and one.probability is not None and one.quantity not in ("probability", "score"):
        value += f" ({units.percent(one.probability)})"
    layer = units.layer_name(found.layer.name)
    return f"{layer} of {found.origin.model}, {images}: what each channel does to {about(found)}{value}"


def _sides(found: Effects) -> tuple[list[int], list[int]]:
    """Those to draw that push up and those that push down, the strongest first: half of `top` each, where there are."""
    order = [int(each) for each in found.order]
    up = [each for each in order if found.effects[each] > 0]
    down = [each for each in order if found.effects[each] < 0]
    half = (found.top + 1) // 2
    many_up = min(len(up), max(half, found.top - len(down)))
    return up[:many_up], down[: found.top - many_up]


def _tiles(found: Effects, places: list[int]) -> tuple[tuple[int, int], np.ndarray | None]:
    """The maps over the photo, one a place; None for a layer without places."""
    photo = found.images[0].image.pixels
    tile = fit((photo.shape[0], photo.shape[1]), _TILE, whole=False)
    if found.maps is None or not places:
        return tile, None
    maps = found.maps[places]
    finite = np.where(np.isfinite(maps), maps, np.nan)
    with np.errstate(all="ignore"):
        low = np.nan_to_num(np.nanmin(finite.reshape(len(maps), -1), axis=1))
        high = np.nan_to_num(np.nanmax(finite.reshape(len(maps), -1), axis=1))
    return tile, overlay(maps, low, high, SEQUENTIAL, photo, tile)  # orange and blue are the effects' own colours


# -- the left side -----------------------------------------------------------------------------------------------


def _draw_side(scene: Scene, found: Effects, top: int) -> int:
    photo = found.images[0].image.pixels
    size = fit((photo.shape[0], photo.shape[1]), (300, _SIDE), whole=False)
    scene.add(Picture(MARGIN, top, photo, size, smooth=True))
    y = top + size[0] + 6
    y = draw_paragraph(scene, found.images[0].image.short_name, MARGIN, y, _SIDE) + 8
    y = draw_facts(scene, _facts(found), MARGIN, y, _SIDE) + 10
    up, down = _sides(found)
    words = [about_weights(found), flipped(found), how(found), _meaning(found), about_signs(found, [*up, *down])]
    for sentence in filter(None, words):
        y = draw_paragraph(scene, sentence, MARGIN, y, _SIDE) + 8
    if found.maps is not None:
        ends = "channel's lowest", "channel's highest"
        colours = overlay(*_ramp(), SEQUENTIAL, np.full((1, 256, 3), 128, np.uint8), (1, 256))[0, 0]
        y = draw_colour_bar(scene, colours, ends, MARGIN, y + 4, _SIDE, quantity="activation, over gray")
    return y


def _ramp() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A map `[1, 1, 256]` of all values from 0 to 1, and its ends."""
    return np.linspace(0, 1, 256)[None, None], np.zeros(1), np.ones(1)


def _facts(found: Effects) -> list[tuple[str, str]]:
    one = found.images[0]
    kind = found.layer.type_name if found.layer.is_module else f"operation {found.layer.type_name}"
    facts = [
        ("model", found.origin.model),
        ("weights", str(found.origin.weights)),
        ("layer", f"{units.layer_name(found.layer.name)}, {kind}"),
        ("shape", f"{units.shape(found.shape)}, {' '.join(found.axes.names)}"),
        ("asked", about(found)),
    ]
    if not found.several:
        facts.append(("answer", class_name(one, one.answer)))
    some = "" if len(found.channels) == found.total else f" of {units.count(found.total)}"
    facts.append(("channels", f"{units.count(len(found.channels))}{some}, each taken away alone"))
    if found.fast:
        facts[-1] = ("channels", f"{units.count(len(found.channels))}{some}, estimated")
    return facts


def _meaning(found: Effects) -> str:
    words = "A bar is the number with the channel minus without it."
    if found.several:
        many = f"{len(found.images)} {found.origin.called.noun}s"
        words += f" It is the mean over {many}; the thin line is one standard deviation either way;"
        words += " ◂: it goes on beyond 0, to the other side."
    if found.maps is not None:
        called = found.origin.called
        photo = "the photo" if called.is_picture else f"the {called.noun}"
        words += f" Colours over {photo} are the channel's own map, each on its own scale: where it responds"
        words += ", from its lowest value (clear) to its highest (yellow); they say nothing of for and against."
        if found.several:
            words += " They are of the first one."
    return words


# -- the columns -------------------------------------------------------------------------------------------------


def _draw_column(
    scene: Scene,
    found: Effects,
    places: list[int],
    words: str,
    colour: Colour,
    reach: float,
    tiles: np.ndarray | None,
    tile: tuple[int, int],
    row: int,
    left: int,
    top: int,
    first: int,
) -> int:
    """One side: a row a channel, with its map, its number and a bar. Returns where it ends."""
    count = int((found.effects > 0).sum() if colour == _UP else (found.effects < 0).sum())
    listed = (
        f"the {len(places)} strongest; bars: change of the {found.images[0].target.quantity}"
        if len(places) < count
        else ""
    )
    listed = listed or f"bars: change of the {found.images[0].target.quantity}"
    y = draw_heading(scene, f"{units.count(count)} {words}", listed, left, top, _COLUMN)
    scene.add(Box(left, y, _COLUMN, 2, colour))
    y += 12
    if not places:
        return draw_paragraph(scene, "None does.", left, y, _COLUMN, TEXT_SIZE)
    start = left + (tile[1] + 16 if tiles is not None else 0) + _LABEL
    bars = _Bars(reach, left + _COLUMN - start - _NUMBER)
    for at, place in enumerate(places):
        middle = y + row / 2 - 7
        if tiles is not None:
            pixels = tiles[at + (0 if colour == _UP else first)]
            scene.add(Picture(left, y, pixels, tile))
        scene.add(Text(start - _LABEL, middle - 10, str(int(found.channels[place])), LINE_SIZE, INK, bold=True))
        effect = float(found.effects[place])
        length = bars.length(effect)
        scene.add(Box(start, middle - 11, length, 22, colour))
        if found.spread is not None and isfinite(float(found.spread[place])):
            _draw_spread(scene, bars, start, middle, abs(effect), float(found.spread[place]))
        if found.several:  # a line may go on behind the bar
            scene.add(Text(left + _COLUMN, middle - 10, signed(effect), TEXT_SIZE, INK, bold=True, align="right"))
        else:
            scene.add(Text(start + length + 8, middle - 10, signed(effect), TEXT_SIZE, INK, bold=True))
        _draw_consequence(scene, found, place, start, middle + 15, left + _COLUMN - start)
        y += row
    return y


def _draw_spread(scene: Scene, bars: _Bars, start: float, middle: float, effect: float, spread: float) -> None:
    """One standard deviation either way; an arrow's point where it goes on beyond no effect."""
    first, last = (bars.length(max(each, 0.0)) for each in (effect - spread, effect + spread))
    scene.add(Box(start + first, middle - 1, max(last - first, 1), 2, INK))
    if effect < spread:
        scene.add(Text(start - 9, middle - 9, "◂", TINY_SIZE, INK))


def _draw_consequence(scene: Scene, found: Effects, place: int, left: float, y: float, room: float) -> None:
    """What becomes of the probability and of the answer without the channel."""
    parts, colour = [], GRAY
    if found.probabilities is not None and found.images[0].target.quantity != "probability":
        parts.append(f"{points(float(found.probabilities[place]))} points of probability")
    one = found.images[0]
    if found.flips is not None and found.flips[place]:
        colour = INK
        if found.several:
            parts.append(f"flips {int(found.flips[place])} of {len(found.images)} answers")
        else:
            assert one.answers is not None
            parts.append(f"without it: {class_name(one, int(one.answers[place]))}")
    if parts:
        scene.add(Text(left, y, shorten(", ".join(parts), room, SMALL_SIZE), SMALL_SIZE, colour))


# -- parts and whole ---------------------------------------------------------------------------------------------


def _draw_sums(scene: Scene, found: Effects, left: int, y: int, width: int) -> int:
    """All at once beside the sum of their single effects, on one scale around zero."""
    y = draw_heading(scene, "Parts and whole", f"change of {about(found)}", left, y, width)
    sums = [
        ("all at once", found.together, INK),
        ("estimated singly" if found.fast else "single effects", found.sum_of_singles, mixed(INK, 0.4)),
    ]
    names, numbers = 140, 110
    values = [each for _, each, _ in sums if isfinite(each)]
    low, high = min([0.0, *values]), max([0.0, *values])
    room = width - names - 2 * numbers
    unit = room / (high - low) if high > low else 0.0
    zero = left + names + numbers + (0 - low) * unit
    for name, value, colour in sums:
        scene.add(Text(left, y + 3, name, TEXT_SIZE, GRAY))
        length = abs(value) * unit if isfinite(value) else 0.0
        scene.add(Box(zero if value >= 0 else zero - length, y, max(length, 1), 24, colour))
        if value < 0:
            scene.add(Text(zero - length - 8, y + 3, signed(value), TEXT_SIZE, INK, bold=True, align="right"))
        else:
            scene.add(Text(zero + length + 8, y + 3, signed(value), TEXT_SIZE, INK, bold=True))
        y += 34
    scene.add(Box(zero, y - 74, 1, 78, FAINT))
    return draw_paragraph(scene, together(found), left, y + 6, width, TEXT_SIZE)
