"""One labelled figure a layer: the picture on the left, what the layer makes of it on the right."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np

from .. import units
from ..answers.figure import draw_boxes, draw_label_map
from ..drawing.grid import (
    BACKGROUND,
    CONSTANT_RGB,
    DIVERGING,
    INF_RGB,
    NAN_RGB,
    SEQUENTIAL,
    Placement,
    colour_codes,
    fit_columns,
    lookup,
    palette,
    place,
)
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TOP,
    Key,
    draw_colour_bar,
    draw_facts,
    draw_legend,
    draw_paragraph,
    draw_title,
    fit,
)
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Colour, Picture, Scene, Text, shorten, text_width
from ..inputs.records import ImageInput
from ..receptive.marks import draw_unit_boxes, mark_units
from ..receptive.records import UnitBox
from .records import Drawing, FeatureMap, Look
from .tiles import Scale, check_page, overlay_colours, scale_of, tile_colours

_SIDE = 380  # width of the left column
_AREA = (1120, 1240)  # height and width that the tiles fill where they can
_SMALLEST_TILE, _LARGEST_TILE = 76, 620
_LOWEST_TILE = 16
_ASPECTS = (1 / 4, 8)  # width / height of the narrowest and the widest tile; maps beyond are stretched into it
_CAPTION = 22
_GAP = 10
_FAINT_SHARE = 1e-3
_FAINT_INK: Colour = (176, 60, 40)
_BAR: Colour = (59, 82, 139)
_BAR_BELOW: Colour = (178, 76, 56)


def layer_figure(
    look: Look,
    feature_map: FeatureMap,
    drawing: Drawing,
    *,
    units: Sequence[tuple[tuple[int, int], UnitBox]] = (),
) -> Scene:
    """The figure of one of the look's layers; a detector's boxes are drawn on the image.

    `units` holds for each tile, in order, the cell (row, column) of its strongest unit and what that sees: both are
    marked in one colour, the cell on the tile and the box on the image.
    """
    scene = Scene()
    scale = scale_of(feature_map, drawing)
    right = MARGIN * 2 + _SIDE
    top = TOP
    if feature_map.is_map:
        bottom, edge = _draw_tiles(scene, look, feature_map, scale, drawing, top, right, units)
    else:
        bottom, edge = _draw_values(scene, look, feature_map, scale, top, right)
    bottom = max(bottom, _draw_side(scene, look, feature_map, scale, drawing, top, units))
    scene.width = max(edge, right + 560) + MARGIN
    scene.height = bottom + MARGIN
    _draw_title(scene, look, feature_map)
    return scene


# -- words -------------------------------------------------------------------------------------------------------


def _draw_title(scene: Scene, look: Look, feature_map: FeatureMap) -> None:
    """Two lines over the page's whole width; what is too long for it stands in full in the left column."""
    line = f"{_extent(feature_map)} from {_file_name(look.image)}, as {look.origin.model} computes them"
    draw_title(scene, feature_map.layer.name, [line], _what(feature_map))


def _what(feature_map: FeatureMap) -> str:
    layer = feature_map.layer
    if layer.kind in ("input", "output"):
        return "what the network is given" if layer.kind == "input" else feature_map.role or "the network's answer"
    words = layer.type_name if layer.is_module else f"operation {layer.type_name}"
    return f"{words}, call {layer.call + 1}" if layer.call else words


def _file_name(image: ImageInput) -> str:
    return units.one_line(Path(image.name).name)


def _extent(feature_map: FeatureMap) -> str:
    channels = units.count(feature_map.channel_count)
    plural = "s" if feature_map.channel_count != 1 else ""
    _, frames, height, width = feature_map.maps.shape
    if not feature_map.is_map:
        return (
            f"{channels} channel{plural} of {units.count(frames)} tokens" if frames > 1 else f"{channels} value{plural}"
        )
    time = f" in {frames} frames" if frames > 1 else ""
    return f"{channels} channel{plural} of {height} × {width}{time}"


def _draw_side(
    scene: Scene,
    look: Look,
    feature_map: FeatureMap,
    scale: Scale,
    drawing: Drawing,
    top: int,
    strongest: Sequence[tuple[tuple[int, int], UnitBox]],
) -> int:
    """The left column: the crop, the facts, the scale. Returns where it ends."""
    image = look.image
    height, width = image.pixels.shape[:2]
    shown = fit((height, width), (_SIDE, _SIDE), whole=False)
    scene.add(Picture(MARGIN, top, image.pixels, shown, smooth=True))
    y = top + shown[0] + 6
    scene.add(Text(MARGIN, y, f"what the network saw, {height} × {width} px", SMALL_SIZE, GRAY))
    y += 18
    draw_boxes(scene, look.detections, (height, width), (top, MARGIN), shown)
    names = [str(channel) for channel in feature_map.drawn]
    said = draw_unit_boxes(scene, strongest if feature_map.is_map else (), names, (height, width), (top, MARGIN), shown)
    y = draw_paragraph(scene, said, MARGIN, y, _SIDE)
    y += 16
    if feature_map.label_map is not None and look.labels is not None:
        y = draw_label_map(scene, feature_map.label_map, image.pixels, look.labels, (y, MARGIN), shown) + 16
    y = draw_facts(scene, _facts(look, feature_map), MARGIN, y, _SIDE)
    if feature_map.is_map:
        y = _draw_scale(scene, feature_map, scale, drawing, y + 16)
    return y


def _facts(look: Look, feature_map: FeatureMap) -> list[tuple[str, str]]:
    origin, stats = look.origin, feature_map.stats
    axes = ", ".join(feature_map.axes.names)
    sizes = ", ".join(str(size) for size in feature_map.shape)
    asked = f" (asked for as {feature_map.asked})" if _is_other_name(feature_map) else ""
    facts = [
        ("model", origin.model),
        ("weights", str(origin.weights)),
        ("image", _file_name(look.image)),
        *([("fed", origin.fed_in_words)] if origin.fed_in_words else []),
        ("layer", feature_map.layer.name + asked),
        ("kind", f"{_what(feature_map)} ({feature_map.layer.kind})"),
        ("shape", f"[{axes}] = [{sizes}], axes {feature_map.axes.how}"),
        ("mean", units.number(stats.mean, 4)),
        ("std", units.number(stats.std, 4)),
        ("range", f"{units.number(stats.min, 4)} … {units.number(stats.max, 4)}"),
        ("zeros", units.percent(stats.zero_fraction)),
    ]
    if feature_map.strides and not _is_contiguous(feature_map.shape, feature_map.strides):
        facts.append(("strides", f"[{', '.join(str(stride) for stride in feature_map.strides)}] in memory"))
    if stats.nan or stats.inf:
        facts.append(("not finite", f"{units.count(stats.nan)} NaN, {units.count(stats.inf)} Inf"))
    if (origin.device, origin.dtype) != ("cpu", "float32"):
        facts.append(("run on", f"{origin.device}, {origin.dtype}"))
    facts.append(("drawn", feature_map.order))
    facts += [("note", note) for note in feature_map.notes]
    return facts


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether values lie in memory in the order of the axes; axes of length 1 do not count."""
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length != 1 and stride != expected:
            return False
        expected *= length
    return True


def _is_other_name(feature_map: FeatureMap) -> bool:
    asked = feature_map.asked
    return asked != feature_map.layer.name and not any(sign in asked for sign in "*?[")


def _draw_scale(scene: Scene, feature_map: FeatureMap, scale: Scale, drawing: Drawing, y: int) -> int:
    """The colour bar with the values at its ends, and what it means. Returns where it ends."""
    if scale.shared and len(scale.low):
        ends = units.number(float(scale.low[0]), 4), units.number(float(scale.high[0]), 4)
    else:
        ends = "channel's lowest", "channel's highest"
        if scale.clipped:
            ends = f"{scale.clipped:g}th percentile", f"{100 - scale.clipped:g}th percentile"
    middle = "0" if scale.shared and len(scale.low) and scale.low[0] == -scale.high[0] else ""
    y = draw_colour_bar(scene, scale.cmap, ends, MARGIN, y, _SIDE, middle=middle) + 2
    words = _scale_in_words(scale, drawing)
    shape = (feature_map.maps.shape[2], feature_map.maps.shape[3])
    if not drawing.overlay and shape[1] / shape[0] != _tile_aspect(shape):
        words += " Tiles are stretched: a unit is not drawn square."
    y = draw_paragraph(scene, words, MARGIN, y, _SIDE)
    return _draw_special_colours(scene, feature_map, scale, y + 6)


def _scale_in_words(scale: Scale, drawing: Drawing) -> str:
    if scale.shared:
        words = "One scale for the whole layer: the same colour is the same value in every tile."
    else:
        words = "Each tile has its own scale, from its channel's lowest value to its highest (the numbers under it): "
        words += "colours show where a channel responds, not which channel responds more."
    if scale.clipped:
        words += f" {scale.clipped:g} % of the values at either end take the end's colour."
    if drawing.overlay:
        words += " Maps are resized smoothly and laid over the photo."
    return words


def _draw_special_colours(scene: Scene, feature_map: FeatureMap, scale: Scale, y: int) -> int:
    drawn = feature_map.drawn
    channels = feature_map.channels
    constant = int((scale.high == scale.low).sum())
    faint = sum(is_faint(feature_map, int(channel)) for channel in drawn)
    if faint and not scale.shared:
        words = f"range in this colour ({faint} of the tiles): under a thousandth of the layer's, mostly rounding noise"
        y = draw_paragraph(scene, words, MARGIN, y, _SIDE, colour=_FAINT_INK) + 6
    special = (
        (constant, f"constant over the whole map ({constant} of the tiles)", CONSTANT_RGB),
        (channels.nan[drawn].any(), "NaN", NAN_RGB),
        (channels.inf[drawn].any(), "infinite", INF_RGB),
    )
    keys = [Key(words, colour) for present, words, colour in special if present]
    return draw_legend(scene, keys, MARGIN, y, MARGIN + _SIDE)


# -- maps --------------------------------------------------------------------------------------------------------


def _draw_tiles(
    scene: Scene,
    look: Look,
    feature_map: FeatureMap,
    scale: Scale,
    drawing: Drawing,
    top: int,
    left: int,
    strongest: Sequence[tuple[tuple[int, int], UnitBox]],
) -> tuple[int, int]:
    """The grid of tiles with their captions. Returns the bottom and right edge."""
    image = look.image
    count, frames = feature_map.maps.shape[:2]
    name_width = max((text_width(str(channel), SMALL_SIZE, bold=True) for channel in feature_map.drawn), default=0)
    placement = _layout(count, frames, _drawn_shape(feature_map, image, drawing), drawing.tile, ceil(name_width))
    tile = placement.tile
    check_page(feature_map, placement)
    if drawing.overlay:
        colours = overlay_colours(feature_map, scale, image.pixels, tile)
    else:
        colours = tile_colours(feature_map, scale, tile)
    for index in range(count):
        first = placement.corner(index * frames)
        last = placement.corner(index * frames + frames - 1)
        width = last[1] - first[1] + tile[1] - (0 if frames == 1 else _GAP)
        _draw_caption(scene, look, feature_map, index, left + first[1], top + first[0] + tile[0] + 3, width)
    mark_units(
        scene, strongest, feature_map.maps, (image.pixels.shape[0], image.pixels.shape[1]), placement, (top, left)
    )
    height, width = placement.size
    scene.items.insert(0, Picture(left, top, place(colours, placement, WHITE), (height, width)))
    return top + height + _CAPTION, left + max(width, width - tile[1] + ceil(name_width))


def _drawn_shape(feature_map: FeatureMap, image: ImageInput, drawing: Drawing) -> tuple[int, int]:
    """Height and width of what a tile shows: the map, or the photo under it."""
    height, width = image.pixels.shape[:2] if drawing.overlay else feature_map.maps.shape[2:]
    return height, width


def _tile_aspect(shape: tuple[int, int]) -> float:
    """A tile's width / height: its map's, but for those that would be lines."""
    return min(max(shape[1] / shape[0], _ASPECTS[0]), _ASPECTS[1])


def _layout(count: int, frames: int, shape: tuple[int, int], asked: int | None, name_width: int) -> Placement:
    """How many tiles across, and a tile's size: a whole multiple of the map where one is near what fits."""
    aspect = _tile_aspect(shape)
    down, across = _CAPTION + _GAP // 2, _GAP

    def room_with(columns: int) -> float:
        """How high a tile may be."""
        rows = ceil(count / columns)
        return min(
            (_AREA[0] - (rows - 1) * down) / rows,
            (_AREA[1] - (columns - 1) * across) / columns / frames / aspect,
        )

    groups = fit_columns(count, aspect * frames, _AREA, (down, across))  # channels across
    if count <= _AREA[1]:  # full rows look better than the largest tiles
        enough = 0.85 * room_with(groups)
        fitting = [columns for columns in range(1, count + 1) if room_with(columns) >= enough > 0]
        groups = min(fitting or [groups], key=lambda columns: (-count % columns, abs(columns - groups)))
    room = room_with(groups)
    height = min(max(room, _SMALLEST_TILE / aspect, _LOWEST_TILE), _LARGEST_TILE)
    if asked is not None:
        height = asked
        tile = (asked, max(round(asked * aspect), 1))
    else:
        tile = (_near_multiple(height, shape[0]), _near_multiple(height * aspect, shape[1]))
    # The name under a narrow tile needs room too.
    across = max(_GAP if frames == 1 else 2, ceil((name_width + 6) / frames) - tile[1])
    most = max(min(int((_AREA[1] + across) // ((tile[1] + across) * frames)), count), 1)
    if height <= room and asked is None:  # rounding left room to spare: take it where that fills the last row
        groups = min(range(groups, max(most, groups) + 1), key=lambda columns: (-count % columns, columns))
    else:
        groups = most
    return Placement(count * frames, groups * frames, tile, (down, across))


def _near_multiple(size: float, units_across: int) -> int:
    """A whole number of pixels a unit where that is near `size`, so that all units are drawn alike."""
    for pixels in (size // units_across, size // units_across + 1):
        if pixels and 0.85 <= pixels * units_across / size <= 1.15:
            return int(pixels) * units_across
    return max(round(size), 1)


def _draw_caption(scene: Scene, look: Look, feature_map: FeatureMap, index: int, x: int, y: int, width: int) -> None:
    """A tile's channel on the left under it, its range on the right, as precisely as there is room."""
    channel = int(feature_map.drawn[index])
    low, high = float(feature_map.channels.min[channel]), float(feature_map.channels.max[channel])
    name = str(channel)
    if feature_map.label_map is not None and look.labels is not None:
        name = shorten(f"{channel} {look.labels[channel].strip('_')}", width - 60, SMALL_SIZE, bold=True)
    scene.add(Text(x, y, name, SMALL_SIZE, INK, bold=True))
    room = width - text_width(name, SMALL_SIZE, bold=True) - 8
    colour = _FAINT_INK if is_faint(feature_map, channel) else GRAY
    for digits, size in ((3, SMALL_SIZE), (3, SMALL_SIZE - 2), (2, SMALL_SIZE - 2), (1, SMALL_SIZE - 3)):
        words = units.value_range(low, high, digits)
        if text_width(words, size) <= room:
            scene.add(Text(x + width, y + (SMALL_SIZE - size), words, size, colour, align="right"))
            return


def is_faint(feature_map: FeatureMap, channel: int) -> bool:
    """Whether a channel varies, but by less than a thousandth of the layer's range: its tile shows little of note."""
    stats = feature_map.stats
    span = float(feature_map.channels.max[channel] - feature_map.channels.min[channel])
    if stats.min is None or stats.max is None:
        return False
    return 0 < span < _FAINT_SHARE * (stats.max - stats.min)


# -- values without a place --------------------------------------------------------------------------------------


def _draw_values(
    scene: Scene, look: Look, feature_map: FeatureMap, scale: Scale, top: int, left: int
) -> tuple[int, int]:
    """A layer without height and width: all values as one strip, the largest as labelled bars."""
    values = feature_map.maps.reshape(len(feature_map.maps), -1)  # [N, T]
    y = _draw_strip(scene, feature_map, values, top, left)
    if values.shape[1] == 1 and len(values):
        y = _draw_bars(scene, feature_map, values[:, 0], look.labels, y + 24, left)
    return y, left + _AREA[1]


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
        across = min(len(values), 64 if len(values) <= 64 * 210 else _AREA[1] // 2)
        padded = np.full(ceil(len(values) / across) * across, BACKGROUND, np.uint16)
        padded[: len(values)] = codes[0]
        codes = padded.reshape(-1, across)
        what = "values" if whole[1] == 1 else "tokens"
        words = f"All {units.count(max(whole))} {what}, {across * share[0]} a row"
        words += f" from channel {feature_map.drawn[0]}"
    else:
        words = f"{whole[1]} tokens (down) by {whole[0]} channels (across)"
    cell = max(min(_AREA[1] // codes.shape[1], 40), 1)
    down = max(min(cell, 420 // codes.shape[0]), 1)
    size = (int(codes.shape[0]) * down, int(codes.shape[1]) * cell)
    words += f": {units.number(low)} {'blue' if low < 0 else 'dark'} to {units.number(high)} "
    words += "red, white is zero." if low < 0 else "bright."
    if share != (1, 1):
        words += f" Each cell is the mean of {share[0] * share[1]}."
    scene.add(Text(left, top, shorten(words, _AREA[1], TEXT_SIZE), TEXT_SIZE, GRAY))
    pixels = np.ascontiguousarray(lookup(palette(cmap))[codes])
    scene.add(Picture(left, top + 30, pixels, size))
    return top + 30 + size[0]


def _thinned(values: np.ndarray) -> tuple[np.ndarray, tuple[int, int]]:
    """Values `[N, T]` few enough to have a pixel each, and of how many along either axis each is the mean."""
    most = (_AREA[1], 840) if values.shape[1] > 1 else (_AREA[1] // 2 * 420, 1)
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
    room = _AREA[1] - column - 120
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
