"""What one unit sees: its box on the photo, its place and value in its channel's map."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.grid import CONSTANT_RGB, DIVERGING, INF_RGB, NAN_RGB, SEQUENTIAL, fit_codes, lookup, palette
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TINY_SIZE,
    TITLE_SIZE,
    TOP,
    Key,
    Span,
    View,
    draw_colour_bar,
    draw_facts,
    draw_legend,
    draw_outline,
    draw_paragraph,
    draw_title,
    fit,
)
from ..drawing.scene import GRAY, INK, WHITE, Box, Colour, Picture, Scene, Text, shorten, text_width
from .records import cell_in_words

if TYPE_CHECKING:
    from ..inputs.records import ImageInput
    from ..models.input_words import InputWords
    from ..models.records import Origin
    from .records import FieldAxis, FieldRow, UnitBox, UnitView

_GAP = 44  # between columns
_AREA = (640, 700)  # height and width of the photo with what the box reaches beyond
_CROP = (380, 400)
_LEAST_FACTS = 560  # width
_LANE = 24  # outside the area, for a line of text
_FURTHEST, _FURTHEST_WHOLE = 0.5, 0.65  # of the photo's side is drawn beyond it; more where that is all there is
_HATCH_STEP = 9

_MARK: Colour = (213, 58, 0)
_HATCHED: Colour = (226, 176, 158)
_OUTSIDE: Colour = (247, 247, 249)


def unit_figure(view: UnitView) -> Scene:
    """The box of one unit on the photo that the network saw, and the unit's place and value in its channel's map.

    The photo is paler where the unit does not see it. A solid line goes round what really reaches the unit, a dashed
    one round its box as if the image did not end, where the two differ; what of that lies outside the image is hatched.
    """
    scene = Scene()
    top = TOP + 6
    bottom, edge = draw_photo(scene, view.box, view.image, view.origin.called, top, MARGIN)
    left = edge + _GAP
    seen = plane(view.box.seen)
    enlarges = seen is not None and seen != whole_of(view.image)
    beside = left + (_CROP[1] + _GAP if enlarges else 0)
    y = _draw_map(scene, view, top, beside) + 18
    right = max(beside + _CROP[1], left + _LEAST_FACTS)
    if seen is not None and enlarges:
        y = max(y, _draw_crop(scene, view, seen, top, left) + 18)
    y = draw_facts(scene, _unit_facts(view), left, y, right - left)
    scene.width = right + MARGIN
    scene.height = max(bottom, y) + MARGIN
    place = cell_in_words(view.row, view.place, view.origin.called)
    line = f"{place} of channel {view.channel}: what it sees of {file_name(view.image)}"
    draw_layer_title(scene, view.row, line)
    return scene


# -- in words ----------------------------------------------------------------------------------------------------


def draw_layer_title(scene: Scene, row: FieldRow, line: str) -> None:
    """The layer's name and what it is, and a line under it."""
    what = row.layer.type_name if row.layer.is_module else f"operation {row.layer.type_name}"
    draw_title(scene, row.layer.name, [line], what)


def file_name(image: ImageInput) -> str:
    return units.one_line(image.shown_name)


def span_in_words(span: Span) -> str:
    """First and last of a range, or the one there is.

    >>> span_in_words((3, 9)), span_in_words((4, 4))
    ('3 to 9', '4')
    """
    return f"{span[0]} to {span[1]}" if span[0] != span[1] else str(span[0])


def whole_of(image: ImageInput) -> tuple[Span, Span]:
    return (0, image.pixels.shape[0] - 1), (0, image.pixels.shape[1] - 1)


def plane(spans: Sequence[Span | None]) -> tuple[Span, Span] | None:
    """Rows and columns; None where there are none."""
    rows, columns = spans[-2:]
    return None if rows is None or columns is None else (rows, columns)


def length_of(span: Span) -> int:
    return span[1] - span[0] + 1


def size_in_words(box: tuple[Span, Span], called: InputWords) -> str:
    return called.size((length_of(box[0]), length_of(box[1])))


def box_facts(box: UnitBox, photo: tuple[int, int], called: InputWords) -> list[tuple[str, str]]:
    seen, unclipped = plane(box.seen), plane(box.unclipped)
    facts: list[tuple[str, str]] = []
    if seen is None:
        facts.append(("sees", f"nothing of this {called.noun}"))
    else:
        facts.append(
            ("sees", f"rows {span_in_words(seen[0])}, columns {span_in_words(seen[1])}: {size_in_words(seen, called)}")
        )
        share = length_of(seen[0]) * length_of(seen[1]) / (photo[0] * photo[1])
        of = f"each {called.layer}" if len(box.seen) == 3 else f"the {called.noun}"
        facts[-1] = ("sees", f"{facts[-1][1]}, {units.percent(share)} of {of}")
    if len(box.seen) == 3 and box.seen[0] is not None:
        facts.append((f"in {called.depth}", f"{called.layer}s {span_in_words(box.seen[0])}"))
    if unclipped is not None and unclipped != seen:
        where = f"rows {span_in_words(unclipped[0])}, columns {span_in_words(unclipped[1])}"
        words = f"{where}: {size_in_words(unclipped, called)}"
        facts.append(("full field", words))
    return facts


def field_in_words(row: FieldRow, called: InputWords) -> str:
    """What the layer's units see in general: size and stride, how that is known, and why it is no number."""
    (height, width), unit = row.field.axes[-2:], called.unit
    size = ""
    if height.size is not None and width.size is not None:
        size = called.size((height.size, width.size))
        if height.stride is not None and width.stride is not None:
            same = height.stride == width.stride
            size += f", stride {height.stride} {unit}" if same else f", stride {height.stride} × {width.stride} {unit}"
        size += ", "
    kinds = [_kind_in_words(each) for each in (height, width)]
    return size + (kinds[0] if kinds[0] == kinds[1] else f"height: {kinds[0]}; width: {kinds[1]}")


def _kind_in_words(axis: FieldAxis) -> str:
    words = str(axis.kind)
    if axis.by:
        words += f" by {axis.by}"
    return f"{words}: {axis.why}" if axis.why else words


def _unit_facts(view: UnitView) -> list[tuple[str, str]]:
    row, called = view.row, view.origin.called
    sizes = ", ".join(str(size) for size in row.shape)
    return [
        ("value", units.number(view.value, 5)),
        (
            "unit",
            f"{cell_in_words(row, view.place, called)} of channel {view.channel} ({units.count(view.channels)} in all)",
        ),
        ("picked", view.picked),
        *box_facts(view.box, (view.image.pixels.shape[0], view.image.pixels.shape[1]), called),
        ("field", field_in_words(row, called)),
        ("shape", f"[{', '.join(row.axes.names)}] = [{sizes}], axes {row.axes.how}"),
        (called.noun, file_name(view.image)),
        ("model", model_in_words(view.origin)),
        *([("fed", fed)] if (fed := view.origin.fed_in_words) else []),
    ]


def model_in_words(origin: Origin) -> str:
    return f"{origin.model}, {origin.weights.in_words}"


# -- the photo with the box --------------------------------------------------------------------------------------


def draw_photo(
    scene: Scene,
    box: UnitBox,
    image: ImageInput,
    called: InputWords,
    top: int,
    left: int,
    area: tuple[int, int] = _AREA,
) -> tuple[int, int]:
    """The photo, the box on it and what is beyond, in an area (height, width). Returns bottom and right edge."""
    height, width = image.pixels.shape[:2]
    whole = (0, height - 1), (0, width - 1)
    seen, unclipped = plane(box.seen), plane(box.unclipped)
    reach, further = _reach(unclipped, (height, width))
    lanes = _LANE * (seen is not None)
    before = lanes + _LANE * bool(further["left"])
    above = lanes + _LANE * bool(further["top"])
    rows, columns = reach
    size = fit((length_of(rows), length_of(columns)), area)
    view = View(rows, columns, left + before, top + above, size)
    if reach != whole:
        scene.add(Picture(view.left, view.top, _paper(view, unclipped, whole), size))
    photo_left, photo_top, photo_right, photo_bottom = view.place(*whole)
    pixels = image.pixels if seen is None or seen == whole else _faded(image.pixels, seen)
    shape = (photo_bottom - photo_top, photo_right - photo_left)
    scene.add(Picture(photo_left, photo_top, pixels, shape, smooth=True))
    if unclipped is not None and unclipped != seen:
        _draw_dashed(scene, view, unclipped)
    if seen is not None:
        draw_outline(scene, view.place(*seen), ((-3, WHITE), (-2, _MARK), (-1, _MARK)))
        _draw_brackets(scene, view, seen)
    y = _draw_further(scene, view, further, called) + 8
    edge = max(view.left + size[1], left + 360) + _LANE * bool(further["right"])
    return draw_paragraph(scene, _photo_in_words(box, image, called), left, y, edge - left), edge


def _photo_in_words(box: UnitBox, image: ImageInput, called: InputWords) -> str:
    seen, unclipped = plane(box.seen), plane(box.unclipped)
    photo = image.pixels.shape
    words = f"{image.caption[:1].upper()}{image.caption[1:]}. "
    whole = (0, photo[0] - 1), (0, photo[1] - 1)
    if seen is None:
        words += f"The unit sees nothing of it: its value would be the same for any {called.noun}."
    elif seen == whole:
        words += "The unit sees all of it."
    else:
        words += "The unit sees what is inside the line; the rest is paler."
    if unclipped is not None and unclipped != seen:
        words += f" Dashed: the full field, as if the {called.noun} had no border."
        if not _inside(unclipped, whole):
            words += " Hatched: the part of it outside, where the network reads padding."
    return words


def _inside(inner: tuple[Span, Span], outer: tuple[Span, Span]) -> bool:
    return all(out[0] <= each[0] and each[1] <= out[1] for each, out in zip(inner, outer, strict=True))


def _reach(unclipped: tuple[Span, Span] | None, photo: tuple[int, int]) -> tuple[tuple[Span, Span], dict[str, int]]:
    """Rows and columns that are drawn, and how many pixels the box goes on to each side."""
    whole = (0, photo[0] - 1), (0, photo[1] - 1)
    further = {"top": 0, "left": 0, "bottom": 0, "right": 0}
    if unclipped is None:
        return whole, further
    spans = []
    for names, span, length in zip((("top", "bottom"), ("left", "right")), unclipped, photo, strict=True):
        before, after = (_drawn_beyond(beyond, length) for beyond in (-span[0], span[1] - length + 1))
        first, last = -before, length - 1 + after
        further[names[0]] = max(first - span[0], 0)
        further[names[1]] = max(span[1] - last, 0)
        spans.append((first, last))
    return (spans[0], spans[1]), further


def _drawn_beyond(pixels: int, length: int) -> int:
    """How many of the pixels beyond one edge of a photo this long are drawn."""
    if pixels <= 0:
        return 0
    return pixels if pixels <= length * _FURTHEST_WHOLE else ceil(length * _FURTHEST)


def _paper(view: View, unclipped: tuple[Span, Span] | None, photo: tuple[Span, Span]) -> np.ndarray:
    """The page round the photo, hatched where the box lies: `[h, w, 3]` uint8."""
    height, width = view.size
    page = np.empty((height, width, 3), np.uint8)
    page[:] = _OUTSIDE
    if unclipped is not None:
        left, top, right, bottom = view.place(*unclipped)
        rows = slice(max(top - view.top, 0), max(bottom - view.top, 0))
        columns = slice(max(left - view.left, 0), max(right - view.left, 0))
        down, across = np.ogrid[:height, :width]
        lines = (down + across) % _HATCH_STEP < 2
        inside = np.zeros((height, width), bool)
        inside[rows, columns] = True
        page[inside & lines] = _HATCHED
        page[inside & ~lines] = WHITE
        # The photo covers its own part; without lines there, no format shows any through it.
        left, top, right, bottom = view.place(*photo)
        page[top - view.top : bottom - view.top, left - view.left : right - view.left] = _OUTSIDE
    return page


def _faded(pixels: np.ndarray, seen: tuple[Span, Span]) -> np.ndarray:
    """The photo, paler where the unit does not see it."""
    faded = np.rint(pixels * 0.48 + 255 * 0.52).astype(np.uint8)
    rows, columns = (slice(max(span[0], 0), max(span[1] + 1, 0)) for span in seen)
    faded[rows, columns] = pixels[rows, columns]
    return faded


def _draw_dashed(scene: Scene, view: View, spans: tuple[Span, Span]) -> None:
    """The outline of a box as dashes, where a solid one would be; sides beyond the area are not drawn."""
    left, top, right, bottom = view.place(*spans)
    end_x, end_y = view.left + view.size[1], view.top + view.size[0]
    dash, gap = 9, 6
    for y, shown in ((top - 2, top >= view.top), (bottom, bottom <= end_y)):
        for x in range(max(left, view.left), min(right, end_x) if shown else 0, dash + gap):
            scene.add(Box(x, y, min(dash, min(right, end_x) - x), 2, _MARK))
    for x, shown in ((left - 2, left >= view.left), (right, right <= end_x)):
        for y in range(max(top, view.top), min(bottom, end_y) if shown else 0, dash + gap):
            scene.add(Box(x, y, 2, min(dash, min(bottom, end_y) - y), _MARK))


def _draw_brackets(scene: Scene, view: View, seen: tuple[Span, Span]) -> None:
    """Which rows and columns, on the left of the area and above it."""
    left, top, right, bottom = view.place(*seen)
    x, y = view.left - 5, view.top - 5
    scene.add(Box(x, top, 2, max(bottom - top, 2), _MARK), Box(left, y, max(right - left, 2), 2, _MARK))
    words = f"columns {span_in_words(seen[1])}"
    half = text_width(words, TINY_SIZE) / 2
    middle = max((left + right) / 2, view.left + half)
    scene.add(Text(middle, y - 16, words, TINY_SIZE, _MARK, align="middle"))
    words = f"rows {span_in_words(seen[0])}"
    half = text_width(words, TINY_SIZE) / 2
    middle = min(max((top + bottom) / 2, view.top + half), view.top + view.size[0] - half)
    scene.add(Text(x - 17, middle, words, TINY_SIZE, _MARK, align="middle", turned=True))


def _draw_further(scene: Scene, view: View, further: dict[str, int], called: InputWords) -> int:
    """Outside the area, how far the box goes on. Returns where the words, or the area, end."""
    far = {side: f"goes on {units.count(pixels)} {called.unit} further" for side, pixels in further.items() if pixels}
    half = max((text_width(f"↑ {words}", TINY_SIZE) / 2 for words in far.values()), default=0.0)
    middle_x = max(view.left + view.size[1] / 2, MARGIN + half)
    turned = half if "left" in far or "right" in far else 0.0
    middle_y = view.top + max(view.size[0] / 2, turned)
    bottom = view.top + view.size[0]
    # Turned by a quarter to the left, an arrow up points left and one down points right.
    if "top" in far:
        scene.add(Text(middle_x, view.top - 2 * _LANE + 4, f"↑ {far['top']}", TINY_SIZE, _MARK, align="middle"))
    if "left" in far:
        x = view.left - 2 * _LANE + 2
        scene.add(Text(x, middle_y, f"↑ {far['left']}", TINY_SIZE, _MARK, align="middle", turned=True))
    if "right" in far:
        x = view.left + view.size[1] + 4
        scene.add(Text(x, middle_y, f"↓ {far['right']}", TINY_SIZE, _MARK, align="middle", turned=True))
    if "bottom" in far:
        scene.add(Text(middle_x, bottom + 4, f"↓ {far['bottom']}", TINY_SIZE, _MARK, align="middle"))
        bottom += _LANE
    return max(bottom, ceil(middle_y + turned))


# -- beside the photo --------------------------------------------------------------------------------------------


def _draw_crop(scene: Scene, view: UnitView, seen: tuple[Span, Span], top: int, left: int) -> int:
    """What the unit sees, enlarged. Returns where it ends."""
    scene.add(Text(left, top, "What it sees, enlarged", TEXT_SIZE, bold=True))
    y = top + 30
    (first, last), (start, end) = seen
    pixels = np.ascontiguousarray(view.image.pixels[first : last + 1, start : end + 1])
    size = fit((pixels.shape[0], pixels.shape[1]), _CROP)
    factor = size[0] / pixels.shape[0]
    scene.add(Picture(left, y, pixels, size, smooth=factor < 4))
    y += size[0] + 6
    grown = f", {factor:.3g} times as large" if factor > 1.05 else ""
    scene.add(Text(left, y, f"{size_in_words(seen, view.origin.called)}{grown}", SMALL_SIZE, GRAY))
    return y + 18


def _draw_map(scene: Scene, view: UnitView, top: int, left: int) -> int:
    """The channel's map with the cell marked and its scale. Returns where it ends."""
    height, width = view.map.shape
    finite = view.map[np.isfinite(view.map)].astype(np.float64)
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (float("nan"), float("nan"))
    if height * width == 1:
        scene.add(Text(left, top, f"Channel {view.channel} is one value", TEXT_SIZE, bold=True))
        scene.add(Text(left, top + 30, units.number(view.value, 5), TITLE_SIZE, bold=True))
        words = "Its map has one cell." if view.row.field.cells else "This layer has no map: there is no place to mark."
        scene.add(Text(left, top + 70, words, SMALL_SIZE, GRAY))
        return top + 88
    frame = f" in {view.origin.called.layer} {view.place[0]}" if len(view.row.field.cells) == 3 else ""
    words = f"Channel {view.channel}'s map{frame}, {height} × {width}"
    scene.add(Text(left, top, shorten(words, _CROP[1], TEXT_SIZE, bold=True), TEXT_SIZE, bold=True))
    y = top + 30
    size = fit((height, width), _CROP)
    cmap = SEQUENTIAL
    ends = low, high
    if low < 0:
        cmap = DIVERGING
        ends = -max(high, -low), max(high, -low)
    if low == high:  # nothing to tell apart
        codes = fit_codes(view.map[None], np.array([low]), np.array([high]), size)
    else:
        codes = fit_codes(view.map[None], np.array([ends[0]]), np.array([ends[1]]), size)
    scene.add(Picture(left, y, np.ascontiguousarray(lookup(palette(cmap))[codes[0]]), size))
    _, row, column = view.place
    cell = (
        left + column * size[1] / width,
        y + row * size[0] / height,
        left + (column + 1) * size[1] / width,
        y + (row + 1) * size[0] / height,
    )
    draw_outline(scene, _at_least(cell, 6), ((-3, WHITE), (-2, INK), (-1, INK)))
    y += size[0] + 8
    if low == high or not finite.size:
        words = f"constant: every cell is {units.number(low, 5)}" if finite.size else "no value is finite"
        scene.add(Text(left, y, words, SMALL_SIZE, GRAY))
        y += 18
    else:
        low_end, high_end = ends
        width = size[1] if size[1] >= 200 else _CROP[1]
        said = units.number(low_end, 4), units.number(high_end, 4)
        at = (view.value - low_end) / (high_end - low_end)
        middle = "0" if cmap == DIVERGING else ""
        y = draw_colour_bar(
            scene,
            cmap,
            said,
            left,
            y + 6,
            width,
            quantity="activation: value of the layer's output",
            middle=middle,
            at=at,
        )
        y = draw_paragraph(scene, _scale_in_words(cmap, (low, high)), left, y, _CROP[1])
    special = (
        (np.isnan(view.map).any(), "NaN", NAN_RGB),
        (np.isinf(view.map).any(), "infinite", INF_RGB),
        (bool(finite.size) and low == high, "constant", CONSTANT_RGB),
    )
    return draw_legend(
        scene, [Key(name, colour) for present, name, colour in special if present], left, y, left + _CROP[1]
    )


def _at_least(place: tuple[float, float, float, float], size: float) -> tuple[float, float, float, float]:
    """The place, or one of that size around its middle where it is smaller."""
    left, top, right, bottom = place
    grow_x, grow_y = max(size - (right - left), 0) / 2, max(size - (bottom - top), 0) / 2
    return round(left - grow_x), round(top - grow_y), round(right + grow_x), round(bottom + grow_y)


def _scale_in_words(cmap: str, ends: tuple[float, float]) -> str:
    if cmap == DIVERGING:
        reach = units.value_range(*ends)
        return f"One scale about zero, which is white; this map's values: {reach}. The tick is the unit."
    return "The map's own scale, from its lowest value to its highest. The tick is the unit."
