"""The contact sheet of `fmap top`: a channel a row, with the patches that excite it most, others for comparison, and
the distribution of its maxima.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import BLUE, ORANGE, points, rgb
from ..drawing.page import (
    LINE_SIZE,
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TINY_SIZE,
    draw_paragraph,
    draw_sentence_title,
    fit,
)
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Colour, Picture, Plot, Scene, Text, shorten, text_width
from .dossiers import Frame, frame_of, frame_of_unit
from .records import Dossier, Dossiers, LayerDossiers, Sort, Unit
from .words import examples_in_words, firing, here_in_words, image_names, order_in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 224
_TILE = 92
_GAP = 8
_PART = 26  # between the strongest, the others and the distribution
_CHART = (74, 190)
_NARROWEST = 300
_ROW = _TILE + 44
_HEADINGS = {
    "strongest": "strongest, with value and image",
    "quantile": "for comparison: at quantiles of its maxima",
    "weakest": "weakest",
    "chart": "maxima of the images",
}
_MARK: Colour = (255, 255, 255)
_DIM = 0.4  # how bright a picture is where the channel is silent
_SMOOTH = 24  # patches of fewer pixels are drawn as squares


def sheet(found: Dossiers, layer: LayerDossiers, channels: list[int], sort: Sort, reverse: bool = False) -> Scene:
    """The page of one layer: these channels, from top to bottom."""
    dossiers = [found.dossier(layer.layer.name, each) for each in channels]
    if found.images <= found.strongest:  # the strongest are all there are
        dossiers = [replace(each, units=each.of("strongest")) for each in dossiers]
    called = image_names(found)
    dossiers = [
        replace(each, units=tuple(replace(unit, image=called(unit.image)) for unit in each.units if _is_example(unit)))
        for each in dossiers
    ]
    columns = _columns(dossiers)
    scene = Scene(columns.pop("end") + MARGIN)
    y = draw_sentence_title(scene, *_title(found, layer, len(channels), order_in_words(found, layer, sort, reverse)))
    y = max(_legend(scene, found, layer, dossiers, y), _asked(scene, found, layer, y))
    _headings(scene, columns, y)
    y += 26
    reach = _reach(dossiers)
    for dossier in dossiers:
        scene.add(Box(MARGIN, y - 6, scene.width - 2 * MARGIN, 1, FAINT))
        _draw_row(scene, layer, dossier, columns, y, reach)
        y += _ROW
    scene.height = y + MARGIN // 2
    return scene


def _is_example(unit: Unit) -> bool:
    """What does not excite a channel is none of its strongest, however few images there are."""
    return unit.kind != "strongest" or unit.value > 0


def _columns(dossiers: list[Dossier]) -> dict[str, int]:
    """Where each part that there is begins, from left to right, and where the last one ends."""
    left, places = MARGIN + _SIDE, {}
    for kind in ("strongest", "quantile", "weakest"):
        most = max((len(each.of(kind)) for each in dossiers), default=0)
        if most or kind == "strongest":
            places[kind] = left
            heading = text_width(_HEADINGS[kind], SMALL_SIZE, bold=True)
            left += max(most * (_TILE + _GAP), ceil(heading), _NARROWEST if kind == "strongest" else 0) + _PART
    if any(len(each.spread) > 1 for each in dossiers):
        places["chart"] = left + 30
        left += 30 + max(_CHART[1], ceil(text_width(_HEADINGS["chart"], SMALL_SIZE, bold=True)))
    return {**places, "end": left}


# -- words -------------------------------------------------------------------------------------------------------


def _title(found: Dossiers, layer: LayerDossiers, shown: int, order: str) -> tuple[str, list[str]]:
    count = len(layer.channels)
    many = "image" if found.images == 1 else "images"
    which = f"{shown} of {units.count(count)} channels" if shown < count else f"{units.count(count)} channels"
    if count == 1:
        which = f"channel {layer.channels[0]}"
    name = layer.layer.name if not layer.layer.name.isdigit() else f"layer {layer.layer.name}"
    title = f"What excites {which} of {name}"
    if found.like is not None:
        row, column = found.like.place
        place = f"{Path(found.like.image).name} at row {row}, column {column}"
        title = f"Which channels of {name} answer to {place}"
    over = f"{found.origin.model}, {found.origin.weights.in_words}; {units.count(found.images)} {many}"
    return title, [f"{over}; {order}"]


def _legend(scene: Scene, found: Dossiers, layer: LayerDossiers, dossiers: list[Dossier], y: int) -> int:
    """What the parts of the page are, and what cannot be concluded."""
    shown = [unit for each in dossiers if not each.never_fires for unit in each.units]
    patches = [unit.patch for unit in shown if unit.patch is not None]
    left = MARGIN if found.like is None else MARGIN + _SIDE
    width = min(scene.width - left - MARGIN, 1400)
    words: list[str] = []
    if any(each.whole for each in patches):
        words.append(
            "Where a unit's field is as large as the picture, the whole picture is shown: a frame marks the unit, and"
        )
        words.append("what it does not see is pale.")
    if any(unit.map is not None and unit.patch is not None and unit.patch.whole for unit in shown):
        words.append("Of the strongest, what does not excite the channel is dark.")
    if any(not each.whole for each in patches):
        words.append("A patch is what the unit sees, no more and no less; gray is beyond the picture's border.")
    others = any(each.of("weakest") for each in dossiers)
    if found.images > 1 or found.per_image > 1:
        words.append(examples_in_words(found.per_image, others=others))
    if any(len(each.spread) > 1 for each in dossiers):
        words.append("Orange lines mark the quantiles of the maxima.")
    for sentence in (" ".join(words), *found.notes):
        y = draw_paragraph(scene, sentence, left, y, width, TEXT_SIZE - 2)
    return y + 14


def _asked(scene: Scene, found: Dossiers, layer: LayerDossiers, y: int) -> int:
    """The picture that is asked about, with a frame at the place."""
    if found.like is None:
        return y
    pixels = found.like.pixels
    height, width = fit((pixels.shape[0], pixels.shape[1]), (150, _SIDE - 24), whole=False)
    scene.add(Picture(MARGIN, y, np.ascontiguousarray(pixels), (height, width), smooth=True))
    _frame(scene, frame_of(layer, found.like.place), MARGIN, y, (height, width))
    return y + height + 20


def _headings(scene: Scene, columns: dict[str, int], y: int) -> None:
    for kind, left in columns.items():
        scene.add(Text(left, y, _HEADINGS[kind], SMALL_SIZE, GRAY, bold=True))


# -- a row -------------------------------------------------------------------------------------------------------


def _draw_row(
    scene: Scene,
    layer: LayerDossiers,
    dossier: Dossier,
    columns: dict[str, int],
    y: int,
    reach: tuple[float, float] | None,
) -> None:
    scene.add(Text(MARGIN, y, f"channel {dossier.channel}", LINE_SIZE, bold=True))
    below = y + 26
    if not dossier.never_fires:
        for words in filter(None, (here_in_words(dossier), firing(dossier))):
            below = draw_paragraph(scene, words, MARGIN, below, _SIDE - 20, SMALL_SIZE, INK)
        if dossier.selectivity is not None:
            words = f"selectivity {dossier.selectivity:.2f}"
            below = draw_paragraph(scene, words, MARGIN, below, _SIDE - 20)
        for each in dossier.classes[:2]:
            line = shorten(f"{each.name} {each.mean:.3g}", _SIDE - 20, SMALL_SIZE)
            below = draw_paragraph(scene, line, MARGIN, below, _SIDE - 10)
    else:
        width = min(scene.width - MARGIN - columns["strongest"], 620)
        sentence = f"It {firing(dossier)}. No patch is shown, since none excites it."
        draw_paragraph(scene, sentence, columns["strongest"], y + 30, width, TEXT_SIZE, INK)
    for kind in ("strongest", "quantile", "weakest"):
        for at, unit in enumerate(() if dossier.never_fires else dossier.of(kind)):
            left = columns[kind] + at * (_TILE + _GAP)
            _draw_unit(scene, layer, unit, left, y)
    if len(dossier.spread) > 1:
        draw = partial(_draw_spread, dossier=dossier, reach=reach)
        scene.add(Plot(f"maxima-{dossier.channel}", columns["chart"], y, _CHART, draw))


def _draw_unit(scene: Scene, layer: LayerDossiers, unit: Unit, left: int, y: int) -> None:
    if unit.patch is None:
        scene.add(Box(left, y, _TILE, _TILE, WHITE, FAINT))
        scene.add(Text(left + _TILE / 2, y + _TILE / 2 - 8, "no picture", TINY_SIZE, GRAY, align="middle"))
    else:
        height, width = fit(unit.patch.pixels.shape[:2], (_TILE, _TILE), whole=False)
        top, inner = y + (_TILE - height) // 2, left + (_TILE - width) // 2
        smooth = max(unit.patch.pixels.shape[:2]) >= _SMOOTH
        scene.add(Picture(inner, top, _seen(unit), (height, width), smooth=smooth))
        scene.add(Box(inner - 1, top - 1, width + 2, height + 2, None, FAINT))
        _frame(scene, frame_of_unit(layer, unit), inner, top, (height, width))
    words = units.number(unit.value, 3)
    if unit.kind == "quantile":
        words = f"{unit.rank:.0%}: {words}"
    scene.add(Text(left, y + _TILE + 3, shorten(words, _TILE, SMALL_SIZE), SMALL_SIZE, INK))
    scene.add(Text(left, y + _TILE + 19, shorten(unit.image, _TILE, TINY_SIZE), TINY_SIZE, GRAY))


def _seen(unit: Unit) -> np.ndarray:
    """The patch's pixels; of a whole picture what the unit does not see is pale, and the rest is the darker, the less
    the channel answers there: dark where nothing of it excites the channel.
    """
    patch, coarse = unit.patch, unit.map
    assert patch is not None
    if not patch.whole:
        return np.ascontiguousarray(patch.pixels)
    lit = patch.pixels if coarse is None else (patch.pixels * _light(coarse, patch.pixels.shape[:2])[..., None])
    height, width = patch.pixels.shape[:2]
    pale = np.ones((height, width), bool)
    spans: list[slice] = []
    sides = (patch.rows, patch.size[0], height), (patch.columns, patch.size[1], width)
    for (first, last), length, shown in sides:
        spans.append(slice(max(first, 0) * shown // length, -(-(min(last, length - 1) + 1) * shown // length)))
    pale[tuple(spans)] = False
    pixels = np.where(pale[..., None], patch.pixels // 3 + 170, lit).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def _light(coarse: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """How bright a picture of this size is, float32, where the channel's map is this: `_DIM` to 1."""
    from PIL import Image

    spread = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    light: np.ndarray = _DIM + (1 - _DIM) * np.asarray(spread, np.float32) / 255
    return light


def _frame(scene: Scene, frame: Frame | None, left: int, top: int, size: tuple[int, int]) -> None:
    """A frame in a picture, where there is one to be drawn."""
    if frame is None:
        return
    box = []
    for first, share, length in zip(frame[:2], frame[2:], size, strict=True):
        side = max(length * share, 6)
        start = min(max((first + share / 2) * length - side / 2, 0), length - side)
        box.append((start, side))
    (dy, high), (dx, wide) = box
    scene.add(Box(left + dx - 1, top + dy - 1, wide + 2, high + 2, None, INK))
    scene.add(Box(left + dx, top + dy, wide, high, None, _MARK))


def _reach(dossiers: list[Dossier]) -> tuple[float, float] | None:
    """The least and the largest maximum on the page, so that all distributions have one axis; None without any."""
    finite = [each.spread[np.isfinite(each.spread)] for each in dossiers]
    values = np.concatenate([each for each in finite if each.size] or [np.zeros(0)])
    if not values.size or values.min() == values.max():
        return None
    return float(values.min()), float(values.max())


def _draw_spread(axes: Axes, dossier: Dossier, reach: tuple[float, float] | None) -> None:
    values = dossier.spread[np.isfinite(dossier.spread)]
    low, high = reach or ((float(values.min()) - 1, float(values.max()) + 1) if values.size else (-1, 1))
    axes.hist(values, bins=24, range=(low, high), color=rgb(BLUE))
    for value in dossier.quantiles:
        axes.axvline(value, color=rgb(ORANGE), linewidth=points(1.5))
    axes.set_xlim(low, high)
    axes.set_yticks([])
    axes.locator_params(axis="x", nbins=4)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
