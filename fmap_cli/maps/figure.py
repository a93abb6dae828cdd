"""One labelled figure a layer: the picture on the left, what the layer makes of it on the right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil

import numpy as np

from .. import units
from ..answers.figure import draw_boxes, draw_label_map
from ..drawing.grid import CONSTANT_RGB, INF_RGB, NAN_RGB, TWO_HUES, blend, cross, palette
from ..drawing.grid import place as join
from ..drawing.overlay import overlay_opacity
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TOP,
    Key,
    draw_colour_bar,
    draw_facts,
    draw_legend,
    draw_paragraph,
    draw_title,
    fit,
)
from ..drawing.scene import GRAY, INK, WHITE, Colour, Picture, Scene, Text, shorten, text_width
from ..inputs.records import ImageInput
from ..models.input_words import InputWords
from ..receptive.records import UnitBox
from ..receptive.unit_boxes import draw_unit_boxes, mark_units
from .layout import CAPTION_TOP, LINE, SIDE, Captions, lay_out, tile_aspect
from .records import Drawing, FeatureMap, Look
from .tiles import Scale, check_page, overlay_colours, scale_of, tile_colours
from .values_figure import draw_values

_MIDDLE_UP = np.linspace(128, 255, 256).astype(int)  # the warm half of two hues
_TINY_SHARE = 1e-3
_TINY_INK: Colour = (176, 60, 40)


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
    if len(look.seen_by(feature_map)) > 1:  # there is no one photo to lay it over, or to box its units on
        drawing, units = replace(drawing, overlay=False), ()
    scale = scale_of(feature_map, drawing)
    right = MARGIN * 2 + SIDE
    top = TOP
    if feature_map.is_map:
        bottom, edge = _draw_tiles(scene, look, feature_map, scale, drawing, top, right, units)
    else:
        bottom, edge = draw_values(scene, look, feature_map, top, right)
    bottom = max(bottom, _draw_side(scene, look, feature_map, scale, drawing, top, units))
    scene.width = max(edge, right + 560) + MARGIN
    scene.height = bottom + MARGIN
    _draw_title(scene, look, feature_map)
    return scene


# -- words -------------------------------------------------------------------------------------------------------


def _draw_title(scene: Scene, look: Look, feature_map: FeatureMap) -> None:
    """Two lines over the page's whole width; what is too long for it stands in full in the left column."""
    extent = _extent(feature_map, look.origin.called)
    line = f"{extent} from {_file_name(look.image)}, as {look.origin.model} computes them"
    draw_title(scene, units.layer_name(feature_map.layer.name), [line], _what(feature_map))


def _what(feature_map: FeatureMap) -> str:
    layer = feature_map.layer
    if layer.kind in ("input", "output"):
        return "what the network is given" if layer.kind == "input" else feature_map.role or "the network's answer"
    words = layer.type_name if layer.is_module else f"operation {layer.type_name}"
    return f"{words}, call {layer.call + 1}" if layer.call else words


def _file_name(image: ImageInput) -> str:
    return units.one_line(image.short_name)


def _extent(feature_map: FeatureMap, called: InputWords) -> str:
    channels = units.count(feature_map.channel_count)
    plural = "s" if feature_map.channel_count != 1 else ""
    _, frames, height, width = feature_map.maps.shape
    if not feature_map.is_map:
        places = "tokens" if "N" in feature_map.axes.names else "steps"
        return (
            f"{channels} channel{plural} of {units.count(frames)} {places}"
            if frames > 1
            else f"{channels} value{plural}"
        )
    time = f" in {frames} {called.layer}s" if frames > 1 else ""
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
    image, *others = look.seen_by(feature_map)
    height, width = image.pixels.shape[:2]
    shown = fit((height, width), (SIDE, SIDE), whole=False)
    y = _draw_photo(scene, image, top)
    for each in others:
        y = _draw_photo(scene, each, y + 10)
    draw_boxes(scene, look.detections, (height, width), (top, MARGIN), shown)
    names = [str(channel) for channel in feature_map.drawn]
    said = draw_unit_boxes(scene, strongest if feature_map.is_map else (), names, (height, width), (top, MARGIN), shown)
    y = draw_paragraph(scene, said, MARGIN, y, SIDE)
    y += 16
    if feature_map.label_map is not None and look.labels is not None:
        y = draw_label_map(scene, feature_map.label_map, image.pixels, look.labels, (y, MARGIN), shown, SIDE) + 16
    y = draw_facts(scene, _facts(look, feature_map), MARGIN, y, SIDE)
    if feature_map.is_map:
        y = _draw_scale(scene, feature_map, scale, drawing, y + 16, look.origin.called)
    return y


def _draw_photo(scene: Scene, image: ImageInput, top: int) -> int:
    """A picture with its caption. Returns where it ends."""
    shown = fit((image.pixels.shape[0], image.pixels.shape[1]), (SIDE, SIDE), whole=False)
    scene.add(Picture(MARGIN, top, image.pixels, shown, smooth=True))
    return draw_paragraph(scene, image.caption, MARGIN, top + shown[0] + 6, SIDE)


def _facts(look: Look, feature_map: FeatureMap) -> list[tuple[str, str]]:
    origin, stats = look.origin, feature_map.stats
    axes = ", ".join(feature_map.axes.names)
    sizes = ", ".join(str(size) for size in feature_map.shape)
    asked = f" (asked for as {feature_map.asked})" if _is_other_name(feature_map) else ""
    facts = [
        ("model", origin.model),
        ("weights", str(origin.weights)),
        (look.origin.called.noun, _file_name(look.image)),
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


def _draw_scale(
    scene: Scene, feature_map: FeatureMap, scale: Scale, drawing: Drawing, y: int, called: InputWords
) -> int:
    """The colour bars with the values at their ends, and what they mean. Returns where they end."""
    for ends, middle, colours in _bars(scale, drawing):
        y = draw_colour_bar(scene, colours, ends, MARGIN, y, SIDE, quantity=_quantity(feature_map), middle=middle) + 2
    words = _scale_in_words(scale, drawing)
    if not called.is_picture:
        words = words.replace("over the photo", "over the input")
    shape = (feature_map.maps.shape[2], feature_map.maps.shape[3])
    if not drawing.overlay and shape[1] / shape[0] != tile_aspect(shape):
        words += " Tiles are stretched: a unit is not drawn square."
    frames = feature_map.maps.shape[1]
    if frames > 1:
        words += f" A channel's {frames} {called.layer}s stand in a row, the first on the left."
    y = draw_paragraph(scene, words, MARGIN, y, SIDE)
    return _draw_special_colours(scene, feature_map, scale, y + 6)


def _quantity(feature_map: FeatureMap) -> str:
    """What a colour is."""
    if feature_map.layer.kind == "input":
        return "value that enters the network"
    return "score of the class" if feature_map.label_map is not None else "activation: value of the layer's output"


def _bars(scale: Scale, drawing: Drawing) -> list[tuple[tuple[str, str], str, np.ndarray]]:
    """For each colour bar what stands at its ends and in its middle, and its 256 colours."""
    colours = palette(scale.cmap)
    if drawing.overlay:  # as they look over a photo of middling gray
        gray = np.full((1, 1, 3), 128, np.uint8)
        colours = blend(colours[None, None], gray, overlay_opacity(scale.cmap)[None, None])[0, 0]
    if scale.shared and len(scale.low):
        low, high = float(scale.low[0]), float(scale.high[0])
        ends = units.number(low, 4), units.number(high, 4)
        signed = low == -high
        if scale.cmap == TWO_HUES and not signed:
            colours = colours[_MIDDLE_UP]
        return [(ends, "0" if signed else "", colours)]
    lowest, highest = "channel's lowest", "channel's highest"
    if scale.clipped:
        lowest, highest = f"{scale.clipped:g}th percentile", f"{100 - scale.clipped:g}th percentile"
    if scale.cmap != TWO_HUES:
        return [((lowest, highest), "", colours)]
    signed_tiles = (scale.low < 0) & (scale.high > 0)
    bars = []
    if signed_tiles.any():
        bars.append((("-max |value|", "max |value|"), "0", colours))
    if not signed_tiles.all():
        bars.append(((lowest, highest), "", colours[_MIDDLE_UP]))
    return bars


def _scale_in_words(scale: Scale, drawing: Drawing) -> str:
    if scale.shared:
        words = "One scale for the whole layer: the same colour is the same value in every tile."
    elif scale.cmap == TWO_HUES:
        words = "Each tile has its own scale: colours show where a channel responds, not which channel responds more."
    else:
        words = "Each tile has its own scale, from its channel's lowest value to its highest (the numbers under it): "
        words += "colours show where a channel responds, not which channel responds more."
    if scale.shared or scale.cmap == TWO_HUES:
        words += " Under each tile: its channel, and from which to which value it goes."
    if scale.clipped:
        words += f" {scale.clipped:g} % of the values at either end take the end's colour."
    if drawing.overlay:
        words += " Maps are resized smoothly and laid over the photo in gray"
        if scale.cmap == TWO_HUES:
            signed = (scale.low < 0) & (scale.high > 0)
            if signed.any():
                words += ": warm above zero, blue below, the more opaque the farther from zero"
                words += "" if signed.all() else "; where all values have one sign, clear at the lowest"
            else:
                words += ", the more opaque the higher the value"
        words += "."
    return words


def _draw_special_colours(scene: Scene, feature_map: FeatureMap, scale: Scale, y: int) -> int:
    drawn = feature_map.drawn
    channels = feature_map.channels
    zero = int(is_all_zero(feature_map).sum())
    constant = int((scale.high == scale.low).sum()) - (0 if scale.shared else zero)
    tiny = sum(is_tiny(feature_map, int(channel)) for channel in drawn)
    if tiny and not scale.shared:
        words = f"tiny range, in this colour ({tiny} of the tiles): under a thousandth of the layer's"
        y = draw_paragraph(scene, words, MARGIN, y, SIDE, colour=_TINY_INK) + 6
    if zero:
        words = f"crossed out: exactly 0 everywhere ({zero} of the tiles)"
        background = CONSTANT_RGB if not scale.shared else WHITE
        y = draw_legend(scene, [Key(words, background, "crossed")], MARGIN, y, MARGIN + SIDE)
    special = (
        (constant, f"constant over the whole map ({constant} of the tiles)", CONSTANT_RGB),
        (channels.nan[drawn].any(), "NaN", NAN_RGB),
        (channels.inf[drawn].any(), "infinite", INF_RGB),
    )
    keys = [Key(words, colour) for present, words, colour in special if present]
    return draw_legend(scene, keys, MARGIN, y, MARGIN + SIDE)


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
    photo = look.seen_by(feature_map)[0].pixels
    size = (photo.shape[0], photo.shape[1])
    shape = size if drawing.overlay else (feature_map.maps.shape[2], feature_map.maps.shape[3])
    placement, captions = lay_out(feature_map, shape, drawing.tile, _names(look, feature_map))
    check_page(feature_map, placement)
    if drawing.overlay:
        colours = overlay_colours(feature_map, scale, photo, placement.tile)
    else:
        colours = tile_colours(feature_map, scale, placement.tile)
    zero = np.repeat(is_all_zero(feature_map), feature_map.maps.shape[1])
    colours[zero] = cross(colours[zero])
    edge = left + placement.size[1]
    for index in range(placement.count):
        corner = placement.corner(index)
        place = left + corner[1], top + corner[0] + placement.cell[0] + CAPTION_TOP
        edge = max(edge, _draw_caption(scene, feature_map, captions, index, place, placement.cell[1]))
    mark_units(scene, strongest, feature_map.maps, size, placement, (top, left))
    scene.items.insert(0, Picture(left, top, join(colours, placement, WHITE), placement.size))
    return top + placement.size[0] + captions.height, edge


def _names(look: Look, feature_map: FeatureMap) -> list[str]:
    """What each tile is called: its channel, of a segmentation's answer with the class, and with its effect where
    channels are ranked by it.
    """
    if feature_map.effects is not None:
        unit = feature_map.effect_unit
        return [f"{each}: {units.signed(float(feature_map.effects[each]), 2)} {unit}" for each in feature_map.drawn]
    labels = look.labels if feature_map.label_map is not None else None
    numbers = [int(channel) for channel in feature_map.drawn]
    return [f"{each} {units.one_line(labels[each].strip('_'))}" if labels else str(each) for each in numbers]


def _draw_caption(
    scene: Scene, feature_map: FeatureMap, captions: Captions, index: int, place: tuple[int, int], width: int
) -> int:
    """A tile's name under it, and its range at the right or in a line of its own. Returns where they end."""
    (x, y), words, size = place, captions.ranges[index], captions.size
    name = (
        shorten(captions.names[index], max(width, 1), SMALL_SIZE, bold=True)
        if captions.below and feature_map.effects is None
        else captions.names[index]
    )
    if feature_map.effects is None and text_width(str(feature_map.drawn[index]), SMALL_SIZE, bold=True) > width:
        name = str(feature_map.drawn[index])  # under narrow tiles there is room for the channel's number
    colour = _TINY_INK if is_tiny(feature_map, int(feature_map.drawn[index])) else GRAY
    scene.add(Text(x, y, name, SMALL_SIZE, INK, bold=True))
    y += SMALL_SIZE - size
    if captions.below:
        scene.add(Text(x, y + LINE, words, size, colour))
        return ceil(x + max(text_width(words, size), text_width(name, SMALL_SIZE, bold=True)))
    scene.add(Text(x + width, y, words, size, colour, align="right"))
    return x + width


def is_all_zero(feature_map: FeatureMap) -> np.ndarray:
    """Which of the channels drawn are exactly 0 everywhere, `[N]`."""
    drawn, channels = feature_map.drawn, feature_map.channels
    finite = (channels.nan[drawn] == 0) & (channels.inf[drawn] == 0)
    zero: np.ndarray = (channels.min[drawn] == 0) & (channels.max[drawn] == 0) & finite
    return zero


def is_tiny(feature_map: FeatureMap, channel: int) -> bool:
    """Whether a channel varies, but by less than a thousandth of the layer's range.

    What its tile shows may be rounding noise or a clear picture: this says how large its values are, no more.
    """
    stats = feature_map.stats
    span = float(feature_map.channels.max[channel] - feature_map.channels.min[channel])
    if stats.min is None or stats.max is None:
        return False
    return 0 < span < _TINY_SHARE * (stats.max - stats.min)
