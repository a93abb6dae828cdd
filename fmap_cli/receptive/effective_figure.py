"""How much each pixel in a unit's theoretical box really counts: the effective receptive field."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import LINE, points, rgb
from ..drawing.grid import NAN_RGB, colour_codes, lookup, palette
from ..drawing.page import (
    LINE_SIZE,
    MARGIN,
    TEXT_SIZE,
    TOP,
    Key,
    Sides,
    View,
    draw_colour_bar,
    draw_dashed_edges,
    draw_facts,
    draw_legend,
    draw_outline,
    draw_paragraph,
    fit,
)
from ..drawing.scene import GRAY, INK, WHITE, Box, Colour, Picture, Plot, Scene, Text, wrap
from .records import cell_in_words
from .unit_figure import (
    Span,
    box_facts,
    draw_layer_title,
    field_in_words,
    file_name,
    length_of,
    model_in_words,
    plane,
    size_in_words,
    whole_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..inputs.records import ImageInput
    from .records import EffectiveField

_GAP = 44  # between columns
_AREA = (640, 700)  # height and width of the heat map
_CURVE_SIZE = (280, 440)
_PHOTO = (340, 380)
_ROOM = 0.12  # of the box's sides, drawn around it
_TABLE = (26, 84, 246)  # where the columns of the shares' table begin
_LEAST_FACTS = 560  # width

_MARK: Colour = (213, 58, 0)
_HEAT = "magma"
_ZERO_RGB: Colour = (205, 212, 218)
_HOLDS: tuple[Colour, ...] = (WHITE, (86, 180, 233), (0, 190, 120))
_CURVE: Colour = (140, 41, 129)
_CURVE_FILL: Colour = (236, 220, 234)


def effective_figure(found: EffectiveField) -> Scene:
    """How much each pixel moves one unit, inside its theoretical box, and the boxes that hold most of it.

    Colours follow the square root of the mean absolute gradient, so that the faint rim shows beside the peak; pixels
    that do not count at all have a colour of their own. The curve says how much the boxes of any size hold.
    """
    scene = Scene()
    top = TOP + 6
    bottom, edge = _draw_heat(scene, found, top, MARGIN)
    left = edge + _GAP
    y = _draw_holds(scene, found, top, left)
    right = left + _CURVE_SIZE[1]
    if found.energy.sum() > 0:
        y = _draw_curve(scene, found, y + 16, left)
    if found.image is not None:
        beside = right + _GAP
        right = beside + _PHOTO[1]
        y = max(y, _draw_where(scene, found, found.image, top, beside))
    right = max(right, left + _LEAST_FACTS)
    y = draw_facts(scene, _effective_facts(found), left, y + 18, right - left)
    scene.width = right + MARGIN
    scene.height = max(bottom, y) + MARGIN
    draw_layer_title(scene, found.row, f"effective receptive field of {_whose(found)}")
    return scene


def _whose(found: EffectiveField) -> str:
    channel = "all channels' sum" if found.channel is None else f"channel {found.channel}"
    return f"{cell_in_words(found.row, found.place, found.origin.called)} of {channel}"


def _theory(found: EffectiveField) -> tuple[int, int]:
    """Height and width of the theoretical box; of the image where it has no end of its own."""
    unclipped = found.box.unclipped[-2:]
    sizes = [
        length if span is None else length_of(span) for span, length in zip(unclipped, found.energy.shape, strict=True)
    ]
    return sizes[0], sizes[1]


def _effective_facts(found: EffectiveField) -> list[tuple[str, str]]:
    height, width = found.energy.shape
    inputs = f"{units.count(found.count)} input{'s' * (found.count != 1)}: {found.source}"
    if found.source == "images":
        inputs = f"{units.count(found.count)} {found.origin.called.noun}{'s' * (found.count != 1)}"
    if found.image is not None and found.count == 1:
        inputs = file_name(found.image)
    called = found.origin.called
    summed = f"channels and {called.layer}s" if len(found.box.seen) == 3 else "channels"
    over = f"mean over {inputs}" if found.count != 1 else f"for {inputs}"
    return [
        ("unit", _whose(found)),
        (
            "measured",
            f"absolute gradient of the unit by each {called.place}, summed over the input's {summed}, {over}",
        ),
        *box_facts(found.box, (height, width), called),
        ("field", field_in_words(found.row, called)),
        ("input", called.size((height, width))),
        ("model", model_in_words(found.origin)),
        *([("fed", fed)] if (fed := found.origin.fed_in_words) else []),
    ]


def _draw_heat(scene: Scene, found: EffectiveField, top: int, left: int) -> tuple[int, int]:
    """The heat map with the boxes on it and its scale. Returns bottom and right edge."""
    shape = (found.energy.shape[0], found.energy.shape[1])
    seen = plane(found.box.seen)
    rows, columns = _with_room(seen, shape)
    size = fit((length_of(rows), length_of(columns)), _AREA)
    view = View(rows, columns, left, top, size)
    part = found.energy[rows[0] : rows[1] + 1, columns[0] : columns[1] + 1]
    peak = float(np.nanmax(found.energy, initial=0.0))
    scene.add(Picture(left, top, _heat_pixels(part, peak), size))
    cut = _draw_boxes(scene, found, view)
    y = top + size[0] + 10
    edge = left + max(size[1], 420)
    if peak > 0:
        middle = _share_of(peak / 4) if size[1] >= 300 else ""
        y = draw_colour_bar(
            scene,
            _HEAT,
            ("0", _share_of(peak)),
            left,
            y,
            size[1],
            quantity=f"share of the gradient over all {found.origin.called.places}",
            middle=middle,
        )
    called = found.origin.called
    words = f"How much each {called.place} moves the unit, as a share of all together. Square-root scale: half-way "
    words += "along the colours is a quarter of the peak."
    y = draw_paragraph(scene, words if peak > 0 else f"No {called.place} moves this unit.", left, y, edge - left) + 4
    if cut:
        y = draw_legend(scene, [Key("dashed: the box goes on beyond this edge", _MARK, "dashed")], left, y, edge)
    special = (
        (bool((part == 0).any()), f"exactly zero: the {called.place} does not count", _ZERO_RGB),
        (bool(np.isnan(part).any()), "NaN", NAN_RGB),
    )
    keys = [Key(words, colour) for present, words, colour in special if present]
    return draw_legend(scene, keys, left, y, edge), edge


def _share_of(value: float) -> str:
    """A pixel's share of all, which may be tiny."""
    return f"{units.number(value * 100, 2)} %"


def _heat_pixels(energy: np.ndarray, peak: float) -> np.ndarray:
    """Energies `[h, w]` as colours `[h, w, 3]` on a square-root scale; exactly zero has its own."""
    codes = colour_codes(np.sqrt(np.maximum(energy, 0))[None], np.zeros(1), np.array([peak**0.5]))[0]
    pixels = lookup(palette(_HEAT))[codes]
    pixels[energy == 0] = _ZERO_RGB
    return np.ascontiguousarray(pixels)


def _with_room(seen: tuple[Span, Span] | None, shape: tuple[int, int]) -> tuple[Span, Span]:
    """The rows and columns that the heat map shows: the box and a little around it, within the image."""
    if seen is None:
        return (0, shape[0] - 1), (0, shape[1] - 1)
    spans = []
    for span, length in zip(seen, shape, strict=True):
        room = max(round(length_of(span) * _ROOM), 1)
        spans.append((max(span[0] - room, 0), min(span[1] + room, length - 1)))
    return spans[0], spans[1]


def _draw_boxes(scene: Scene, found: EffectiveField, view: View) -> bool:
    """The theoretical box and those that hold most, dashed where they are cut; whether one is.

    The picture's border cuts them, and the view: what is drawn of the picture is the theoretical box with some room.
    """
    shown, cut = (view.rows, view.columns), False
    boxes = [
        (found.around(height, width), colour) for (_, height, width), colour in zip(found.holds, _HOLDS, strict=False)
    ]
    seen, unclipped = plane(found.box.seen), plane(found.box.unclipped)
    if seen is not None:
        boxes.append((unclipped if unclipped is not None else seen, _MARK))
    for spans, colour in reversed(boxes):
        place = view.place(*_clipped(spans, shown))
        _draw_line(scene, place, colour)
        edges = cut_sides(spans, shown)
        if edges:
            draw_dashed_edges(scene, place, colour, edges)
            cut = True
    return cut


def cut_sides(spans: tuple[Span, Span], shown: tuple[Span, Span]) -> Sides:
    """On which sides a box of these rows and columns goes on beyond those that are drawn."""
    (rows, columns), (down, across) = spans, shown
    return Sides(columns[0] < across[0], rows[0] < down[0], columns[1] > across[1], rows[1] > down[1])


def _clipped(spans: tuple[Span, Span], within: tuple[Span, Span]) -> tuple[Span, Span]:
    rows, columns = (
        (min(max(span[0], most[0]), most[1]), max(min(span[1], most[1]), most[0]))
        for span, most in zip(spans, within, strict=True)
    )
    return rows, columns


def _draw_line(scene: Scene, place: tuple[int, int, int, int], colour: Colour) -> None:
    """A coloured line of two pixels just inside a place, between two dark ones: it shows on any colour."""
    draw_outline(scene, place, ((-1, INK), (0, colour), (1, colour), (2, INK)))


def _draw_holds(scene: Scene, found: EffectiveField, top: int, left: int) -> int:
    """The answer in words, and for each box its colour, what it holds and its size. Returns where they end."""
    theory, called = _theory(found), found.origin.called
    y = top
    for line in wrap(_headline(found), _CURVE_SIZE[1], LINE_SIZE, bold=True):
        scene.add(Text(left, y, line, LINE_SIZE, bold=True))
        y += 25
    y += 8
    for (share, height, width), colour in zip(found.holds, _HOLDS, strict=False):
        scene.add(Box(left, y + 1, 16, 16, INK), Box(left + 1, y + 2, 14, 14, colour))
        scene.add(Text(left + _TABLE[0], y, units.percent(share).replace(".0 ", " "), TEXT_SIZE, bold=True))
        scene.add(Text(left + _TABLE[1], y, f"in {called.size((height, width))}", TEXT_SIZE))
        of = units.percent(_part_seen(found, height, width))
        scene.add(Text(left + _TABLE[2], y, f"{of} of what it can see", TEXT_SIZE, GRAY))
        y += 25
        if inside := inside_in_words(found, height, width):
            scene.add(Text(left + _TABLE[1], y - 4, inside, TEXT_SIZE, GRAY))
            y += 21
    scene.add(Box(left, y + 1, 16, 16, INK), Box(left + 1, y + 2, 14, 14, _MARK))
    seen = plane(found.box.seen)
    words = "it can see the theoretical box" if _is_finite(found) else f"it can see the {called.whole}"
    words += f", {called.size(theory)}"
    if seen is not None and (length_of(seen[0]), length_of(seen[1])) != theory:
        words += f", of which {size_in_words(seen, called)} are in the {called.noun}"
    return draw_paragraph(scene, words, left + _TABLE[0], y, _CURVE_SIZE[1] - _TABLE[0], TEXT_SIZE, INK) + 3


def inside_in_words(found: EffectiveField, height: int, width: int) -> str:
    """How much of a box around the middle is in the picture, where its border cuts it; else empty."""
    inside = found.inside(height, width)
    called = found.origin.called
    return "" if inside == (height, width) else f"of which {called.size(inside)} are in the {called.noun}"


def _is_finite(found: EffectiveField) -> bool:
    return None not in found.box.unclipped[-2:]


def _part_seen(found: EffectiveField, height: int, width: int) -> float:
    """Of the pixels that can reach the unit, the share that lies in a box of this size around the middle."""
    seen = plane(found.box.seen)
    if seen is None:
        return 0.0
    share = 1.0
    for span, within in zip(found.around(height, width), seen, strict=True):
        share *= max(min(span[1], within[1]) - max(span[0], within[0]) + 1, 0) / length_of(within)
    return share


def _headline(found: EffectiveField) -> str:
    """The answer; spaces inside a size do not break."""
    holds = {share: (height, width) for share, height, width in found.holds}
    if 0.9 not in holds:
        return f"No {found.origin.called.place} moves this unit."
    height, width = holds[0.9]
    box = found.origin.called.size((height, width)).replace(" ", "\N{NO-BREAK SPACE}")
    of = units.percent(_part_seen(found, height, width)).replace(" ", "\N{NO-BREAK SPACE}")
    return f"90\N{NO-BREAK SPACE}% of what moves the unit is in {box}, {of} of what it can see"


def held_by_size(found: EffectiveField, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What boxes around the middle hold, by their sides as shares of the theoretical box's: of the energy, and of the
    pixels that are inside the theoretical box and the image, which is what they would hold if all pixels counted alike.
    """
    theory = _theory(found)
    far = [
        (np.abs(np.arange(length) - middle) + 0.5) / (side / 2)
        for length, middle, side in zip(found.energy.shape, found.centre, theory, strict=True)
    ]
    distance = np.maximum(far[0][:, None], far[1][None])  # [H, W]
    order = np.argsort(distance, axis=None, kind="stable")
    ranked = distance.ravel()[order]
    even = np.zeros(found.energy.shape)
    seen = plane(found.box.seen)
    if seen is not None:
        even[seen[0][0] : seen[0][1] + 1, seen[1][0] : seen[1][1] + 1] = 1
    counts = np.searchsorted(ranked, sizes + 1e-9, side="right")
    shares = []
    for values in (found.energy, even):
        summed = np.concatenate([[0.0], np.cumsum(values.ravel()[order])])
        shares.append(summed[counts] / (summed[-1] or 1.0))
    return shares[0], shares[1]


def _draw_curve(scene: Scene, found: EffectiveField, top: int, left: int) -> int:
    """How much of the gradient a box holds, by its size. Returns where it ends."""
    height, width = _CURVE_SIZE[0], _CURVE_SIZE[1] - 52
    scene.add(Text(left, top, "Held by a box around the middle, by its size", TEXT_SIZE, bold=True))
    scene.add(Plot("held", left + 52, top + 34, (height, width), partial(_draw_held, found=found)))
    theory, places = _theory(found), found.origin.called.places
    words = f"the box's side in {places}"
    if theory[0] != theory[1]:
        words = f"the box's height in {places}, its width in proportion"
    words += "; gray: if all it can see counted alike"
    return draw_paragraph(scene, words, left + 52, top + height + 60, width)


def _draw_held(axes: Axes, found: EffectiveField) -> None:
    """The share that boxes of each size hold, those of `holds` marked, and what even pixels would hold."""
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    height = _theory(found)[0]
    sizes = np.linspace(0, _most_needed(found) * 1.03, round(axes.bbox.width))
    held, even = held_by_size(found, sizes)
    axes.fill_between(sizes * height, held, step="post", facecolor=rgb(_CURVE_FILL), linewidth=0)
    axes.step(sizes * height, even, where="post", color=rgb(LINE), linewidth=points(1), label="even")
    axes.step(sizes * height, held, where="post", color=rgb(_CURVE), linewidth=points(2), label="held", clip_on=False)
    sides, shares = [side for _, side, _ in found.holds], [share for share, _, _ in found.holds]
    axes.vlines(sides, 0, shares, rgb(INK), linewidth=points(1), zorder=3)
    axes.scatter(
        sides,
        shares,
        s=points(10) ** 2,
        c=[rgb(colour) for colour, _ in zip(_HOLDS, sides, strict=False)],
        marker="s",
        edgecolors=rgb(INK),
        linewidths=points(1),
        label="holds",
        clip_on=False,
        zorder=4,
    )
    axes.set_xlim(0, sizes[-1] * height)
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))


def _most_needed(found: EffectiveField) -> float:
    """The side of the box around the middle that holds all the unit can see, as a share of the theoretical one's."""
    seen = plane(found.box.seen)
    if seen is None:
        return 1.0
    return max(
        (max(middle - span[0], span[1] - middle) + 0.5) / (side / 2)
        for span, middle, side in zip(seen, found.centre, _theory(found), strict=True)
    )


def _draw_where(scene: Scene, found: EffectiveField, image: ImageInput, top: int, left: int) -> int:
    """The photo with the theoretical box and those that hold most. Returns where it ends."""
    height, width = image.pixels.shape[:2]
    whole = whole_of(image)
    size = fit((height, width), _PHOTO)
    view = View(*whole, left, top, size)
    scene.add(Picture(left, top, image.pixels, size, smooth=True))
    _draw_boxes(scene, found, view)
    y = top + size[0] + 6
    return draw_paragraph(scene, f"the same boxes on {image.caption}", left, y, _PHOTO[1])
