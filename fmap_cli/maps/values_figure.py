"""A layer without height and width: all values as one strip of cells, the largest as labelled bars."""

from __future__ import annotations

from math import ceil

import numpy as np

from .. import units
from ..drawing.grid import BACKGROUND, DIVERGING, SEQUENTIAL, colour_codes, lookup, palette
from ..drawing.page import TEXT_SIZE, TINY_SIZE
from ..drawing.scene import FAINT, GRAY, Box, Colour, Picture, Scene, Text, shorten, text_width
from .layout import AREA
from .records import FeatureMap, Look

_BAR: Colour = (59, 82, 139)
_BAR_BELOW: Colour = (178, 76, 56)
_NUMBERS = 60  # width of what stands left of the strip: each row's first channel, or its token
_NUMBER_STEP = 16  # from one row's number to the next, at least
_STRIP = AREA[1] - _NUMBERS


def draw_values(scene: Scene, look: Look, feature_map: FeatureMap, top: int, left: int) -> tuple[int, int]:
    """A layer without height and width: all values as one strip, the largest as labelled bars."""
    values = feature_map.maps.reshape(len(feature_map.maps), -1)  # [N, T]
    y = _draw_strip(scene, feature_map, values, top, left)
    if values.shape[1] == 1 and len(values):
        y = _draw_bars(scene, feature_map, values[:, 0], look.labels, y + 24, left)
    return y, left + AREA[1]


def _draw_strip(scene: Scene, feature_map: FeatureMap, values: np.ndarray, top: int, left: int) -> int:
    """Every value as a cell, in rows; where each channel has several (tokens), a row each."""
    whole = values.shape
    in_rows = 1 in whole  # one axis alone: laid out in rows, as a text is
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (float("nan"), float("nan"))
    cmap = SEQUENTIAL
    if low < 0:
        cmap, high = DIVERGING, max(high, -low)
        low = -high
    values, share = _thinned(values.reshape(-1, 1) if in_rows else values)
    codes = colour_codes(values.T[None], np.array([low]), np.array([high]))[0]  # [T, N]
    if in_rows:
        across = min(len(values), 64 if len(values) <= 64 * 210 else _STRIP // 2)
        padded = np.full(ceil(len(values) / across) * across, BACKGROUND, np.uint16)
        padded[: len(values)] = codes[0]
        codes = padded.reshape(-1, across)
        what, number = ("values", "channel") if whole[1] == 1 else ("tokens", "token")
        words = f"All {units.count(max(whole))} {what}"
        if len(codes) > 1:
            words += f", {across * share[0]} a row, the number of its first {number} before it"
        firsts = np.arange(len(codes)) * across * share[0]
        numbers = feature_map.drawn[firsts] if whole[1] == 1 else firsts
    else:
        numbers = np.arange(len(codes)) * share[1]
        words = f"{whole[1]} tokens (down) by {whole[0]} channels (across)"
    cell = max(min(_STRIP // codes.shape[1], 40), 1)
    down = max(min(cell, 420 // codes.shape[0]), 1)
    size = (int(codes.shape[0]) * down, int(codes.shape[1]) * cell)
    words += f": {units.number(low)} {'blue' if low < 0 else 'dark'} to {units.number(high)} "
    words += "red, white is zero." if low < 0 else "bright."
    if share != (1, 1):
        words += f" Each cell is the mean of {share[0] * share[1]}."
    scene.add(Text(left, top, shorten(words, AREA[1], TEXT_SIZE), TEXT_SIZE, GRAY))
    pixels = np.ascontiguousarray(lookup(palette(cmap))[codes])
    scene.add(Picture(left + _NUMBERS, top + 30, pixels, size))
    step = ceil(_NUMBER_STEP / down)
    for row in range(0, len(numbers), step) if len(numbers) > 1 else ():
        y = top + 30 + row * down + down / 2 - 8
        scene.add(Text(left + _NUMBERS - 8, y, str(numbers[row]), TINY_SIZE, GRAY, align="right"))
    return top + 30 + size[0]


def _thinned(values: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Values `[N, T]` few enough to have a pixel each, and of how many along either axis each is the mean."""
    most = (_STRIP, 840) if values.shape[1] > 1 else (_STRIP // 2 * 420, 1)
    share = (ceil(values.shape[0] / most[0]), ceil(values.shape[1] / most[1]))
    for axis, step in enumerate(share):
        if step > 1:
            starts = np.arange(0, values.shape[axis], step)
            counts = np.diff([*starts, values.shape[axis]])
            with np.errstate(invalid="ignore", over="ignore"):
                sums = np.add.reduceat(values.astype(np.float64), starts, axis=axis)
                values = sums / np.expand_dims(counts, 1 - axis)
    return values, share


def _draw_bars(
    scene: Scene,
    feature_map: FeatureMap,
    values: np.ndarray,
    labels: tuple[str, ...] | None,
    top: int,
    left: int,
) -> int:
    """The largest values as bars, with the classes' names where the layer has one value a class."""
    ranked = np.argsort(-np.where(np.isnan(values), -np.inf, values), kind="stable")[:20]
    named = labels is not None and len(labels) == len(values)
    names = [labels[feature_map.drawn[i]] if named and labels else str(feature_map.drawn[i]) for i in ranked]
    column = min(max(text_width(units.one_line(name), TEXT_SIZE) for name in names) + 16, 360)
    finite = values[ranked][np.isfinite(values[ranked])]
    low = min(finite.min(initial=0.0), 0.0)
    span = (max(finite.max(initial=0.0), 0.0) - low) or 1.0
    room = AREA[1] - column - 120
    zero = left + column + room * (-low / span)
    scene.add(Text(left, top, f"The {len(ranked)} largest", TEXT_SIZE, GRAY))
    y = top + 32
    for name, index in zip(names, ranked, strict=True):
        value = float(values[index])
        scene.add(
            Text(left + column - 12, y, shorten(units.one_line(name), column - 12, TEXT_SIZE), TEXT_SIZE, align="right")
        )
        length = abs(value) / span * room if np.isfinite(value) else 0.0
        start = zero - length if value < 0 else zero
        scene.add(Box(start, y + 1, max(length, 1), 18, _BAR_BELOW if value < 0 else _BAR))
        end = zero + (length if value >= 0 else 0)
        scene.add(Text(end + 8, y, units.number(value, 4), TEXT_SIZE, GRAY))
        y += 28
    scene.add(Box(zero, top + 30, 1, y - top - 34, FAINT))
    return y
