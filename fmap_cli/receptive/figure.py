"""How the receptive field grows from the input to the answer: each layer's size and stride on a logarithmic axis.

The axis counts doublings, because sizes go from one pixel to thousands and strides mostly are powers of two. Layers
that take in the whole image stand in a band above it: they have no size.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log2
from typing import TYPE_CHECKING

from .. import units
from ..drawing.along import BAND, ELSE, KINDS, draw_bands, draw_names, mixed
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Box, Colour, Scene, Text, shorten, text_width, wrap
from .effective_figure import effective_figure
from .unit_figure import unit_figure

if TYPE_CHECKING:
    from .records import FieldAxis, FieldListing, FieldRow

__all__ = ["effective_figure", "growth_figure", "unit_figure"]

_MARGIN = 36
_LEFT = 110  # up to the axis
_RIGHT = 150  # beyond the last layer, where the input's lines are named
_PLOT = (520, 1400)  # height and width; many layers need more of the width
_SLOT = (5, 64)  # pixels that a layer takes
_LEAST_PAGE = 1000
_TITLE_SIZE, _LINE_SIZE, _TEXT_SIZE, _SMALL_SIZE, _TINY_SIZE = 30, 18, 16, 13, 12
_WHOLE_BAND = 24  # height of the band for the whole image
_STRIP = 12
_LEAST_OCTAVE = 22  # pixels from one labelled power of two to the next
_MOST_REASONS = 4

_LIMIT: Colour = (190, 60, 30)
_LINE: Colour = (178, 178, 186)
_STRIDE: Colour = (150, 175, 205)
_TIME: Colour = (204, 121, 167)
_WHOLE: Colour = (240, 228, 66)
_WHOLE_PALE: Colour = (250, 245, 190)
_UNKNOWN: Colour = (213, 94, 0)
_NOTHING: Colour = (150, 150, 158)

_Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer as drawn."""

    row: FieldRow

    @property
    def name(self) -> str:
        return units.one_line(self.row.layer.name)

    @property
    def kind(self) -> tuple[str, Colour]:
        return KINDS.get(self.row.layer.kind, ELSE)

    @property
    def plane(self) -> tuple[FieldAxis, FieldAxis]:
        """Height and width."""
        height, width = self.row.field.axes[-2:]
        return height, width

    @property
    def time(self) -> FieldAxis | None:
        return self.row.field.axes[0] if len(self.row.field.axes) == 3 else None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels along height and width, of those that are a number."""
        return tuple(each.size for each in self.plane if each.size is not None)

    @property
    def span(self) -> tuple[int, int] | None:
        """The fewest and the most pixels that any channel or unit sees along height or width."""
        if not self.sizes:
            return None
        ends = [*self.sizes, *(each.least for each in self.plane if each.least is not None)]
        for group in self.row.field.groups:
            for each in group.axes[-2:]:
                ends += [size for size in (each.size, each.least) if size is not None]
        return min(ends), max(ends)

    def has(self, kind: str) -> bool:
        return any(each.kind == kind for each in self.plane)

    @property
    def is_whole(self) -> bool:
        """Whether it stands in the band: height or width has no end but the image's."""
        return any(
            each.kind == "whole image" or (each.kind == "upper bound" and each.size is None) for each in self.plane
        )

    @property
    def is_bound(self) -> bool:
        return self.has("upper bound")


def growth_figure(listing: FieldListing) -> Scene:
    """The figure of these layers: sizes and strides in pixels, layer by layer in execution order.

    A mark is a layer's size, hollow where it is only an upper bound, and a bar goes from the fewest to the most pixels
    where height and width, or the channels, see differently. The fainter line is the stride. Lines lie at the input's
    size, and layers that see the whole image stand in the band above.
    """
    layers = [_Layer(row) for row in listing.layers]
    scene = Scene()
    slot = min(max(_PLOT[1] // max(len(layers), 1), _SLOT[0]), _SLOT[1])
    width = slot * len(layers)
    scene.width = max(_LEFT + width + _RIGHT, _LEAST_PAGE)
    y = _draw_head(scene, listing, layers)
    if not layers:
        scene.add(Text(_MARGIN, y, "No layer to draw.", _TEXT_SIZE, GRAY))
        scene.height = y + 40 + _MARGIN
        return scene
    whole = any(each.is_whole for each in layers)
    begin = y + 18
    top = begin + (18 + _WHOLE_BAND + 8 if whole else 0)
    low, high = _ends(layers, listing)

    def y_of(value: float) -> float:
        return top + _PLOT[0] * (high - log2(value)) / (high - low)

    bottom = top + _PLOT[0]
    strips = [
        (words, colour, [each.has(kind) for each in layers])
        for kind, words, colour in (("unknown", "unknown", _UNKNOWN), ("nothing", "no pixel", _NOTHING))
        if any(each.has(kind) for each in layers)
    ]
    end = bottom + 14 + len(strips) * (_STRIP + 8)
    shaded = draw_bands(scene, [each.name for each in layers], slot, _LEFT, begin, end)
    if whole:
        _draw_whole(scene, layers, slot, begin, width)
    _draw_axis(scene, (low, high), y_of, width, len(listing.size) == 3)
    limits = _draw_limits(scene, listing, y_of, width)
    _draw_strides(scene, layers, slot, y_of)
    _draw_time(scene, layers, slot, y_of)
    marks = _draw_sizes(scene, layers, slot, y_of)
    _draw_numbers(scene, layers, listing, slot, marks, limits, shaded)
    y = bottom + 14
    for words, colour, here in strips:
        scene.add(Text(_LEFT - 10, y - 2, words, _TINY_SIZE, INK, align="right"))
        for at, marked in enumerate(here):
            if marked:
                scene.add(Box(_LEFT + at * slot + (slot > 8), y, slot - 2 * (slot > 8), _STRIP, colour))
        y += _STRIP + 8
    end = draw_names(scene, [each.name for each in layers], slot, _LEFT, end + 6)
    scene.height = _draw_reasons(scene, layers, end + 18) + _MARGIN
    return scene


def _ends(layers: Sequence[_Layer], listing: FieldListing) -> tuple[float, float]:
    """The axis' ends in doublings of a pixel."""
    values: list[float] = [1, 2, *listing.size]
    for each in layers:
        values += each.span or ()
        values += [float(axis.stride) for axis in each.plane if axis.stride]
        values += [each.time.size] if each.time is not None and each.time.size else []
    return log2(min(values)) - 0.25, log2(max(values)) + 0.45


# -- what stands around the plot ---------------------------------------------------------------------------------


def _draw_head(scene: Scene, listing: FieldListing, layers: Sequence[_Layer]) -> int:
    """Title, where this comes from, the answer in words, what the marks mean. Returns where the plot begins."""
    room = scene.width - 2 * _MARGIN
    title = shorten(
        units.one_line(f"{listing.origin.model}: receptive fields through depth"), room, _TITLE_SIZE, bold=True
    )
    count = len(layers)
    of = f" of {listing.count}" if count != listing.count else ""
    line = listing.origin.weights.in_words
    line += f" · input of {size_in_words(listing.size)}"
    line += f" · {count}{of} layer{'s' * (listing.count != 1)} in execution order"
    scene.add(Text(_MARGIN, _MARGIN - 6, title, _TITLE_SIZE, bold=True))
    scene.add(Text(_MARGIN, _MARGIN + 36, shorten(units.one_line(line), room, _LINE_SIZE), _LINE_SIZE, GRAY))
    y = _MARGIN + 70
    if not layers:
        return y + 14
    for words in wrap(answer(listing), room, _TEXT_SIZE):
        scene.add(Text(_MARGIN, y, words, _TEXT_SIZE))
        y += 22
    return _draw_legend(scene, layers, y + 10) + 10


def size_in_words(size: Sequence[int]) -> str:
    """An input's size.

    >>> size_in_words((224, 320)), size_in_words((16, 112, 112))
    ('224 × 320 px', '16 frames of 112 × 112 px')
    """
    frames = f"{size[0]} frames of " if len(size) == 3 else ""
    return f"{frames}{size[-2]} × {size[-1]} px"


def answer(listing: FieldListing) -> str:
    """In a sentence, where units see as much as the input is large, and where all of it."""
    layers = [_Layer(row) for row in listing.layers]
    height, width = listing.size[-2:]
    parts = []
    sized = [each for each in layers if len(each.sizes) == 2]
    enough = next((each for each in sized if each.sizes[0] >= height and each.sizes[1] >= width), None)
    if enough is not None:
        fewer = any(each.sizes[0] < height or each.sizes[1] < width for each in sized[sized.index(enough) :])
        where = f", first at {enough.name}" if fewer else f" from {enough.name} on"
        bound = " (an upper bound)" if enough.is_bound else ""
        parts.append(f"a unit sees as many pixels as the input has{where}{bound}")
    if sized:
        largest = max(sized, key=lambda each: each.sizes[0] * each.sizes[1])
        parts.append(f"the largest size is {_numbers(largest)} px, at {largest.name}")
        if enough is None:
            parts[-1] += ", less than the input"
    first = next((each for each in layers if each.has("whole image")), None)
    if first is not None:
        parts.append(f"the whole image {_where_whole(layers, first)}")
    elif not sized:
        parts.append("no layer's field has a size")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _where_whole(layers: Sequence[_Layer], first: _Layer) -> str:
    """From which layer on units see the whole image, and why; "first at" where later ones do not."""
    why = next(each.why for each in first.plane if each.kind == "whole image")
    after = layers[layers.index(first) :]
    on = f"from {first.name} on" if not any(each.sizes for each in after) else f"first at {first.name}"
    return f"{on} ({units.one_line(why)})" if why else on


def _draw_legend(scene: Scene, layers: Sequence[_Layer], top: int) -> int:
    """What the marks mean, of those that occur. Returns where it ends."""
    entries: list[tuple[str, Colour, str]] = []
    kinds = {each.kind for each in layers if each.sizes}
    for words, colour in dict.fromkeys([*KINDS.values(), ELSE]):
        if (words, colour) in kinds:
            entries.append(("mark", colour, words))
    spans = [(each, each.span) for each in layers]
    if any(each.is_bound and each.sizes for each in layers):
        entries.append(("hollow", INK, "upper bound"))
    if any(span is not None and span[0] < span[1] for _, span in spans):
        differ = [
            words
            for words, found in (
                ("height and width", any(len(set(each.sizes)) == 2 for each in layers)),
                ("channels", any(each.row.field.group_count > 1 and each.sizes for each in layers)),
                ("units", any(axis.least != axis.size for each in layers for axis in each.plane)),
            )
            if found
        ]
        entries.append(("bar", INK, f"fewest to most, where {' or '.join(differ)} differ"))
    if any(axis.stride is not None for each in layers for axis in each.plane):
        entries.append(("line", _STRIDE, "stride: from one unit's field to the next"))
    if any(each.time is not None and each.time.size is not None for each in layers):
        entries.append(("line", _TIME, "size in time, in frames"))
    if any(each.has("whole image") for each in layers):
        entries.append(("mark", _WHOLE, "whole image"))
    if any(each.is_whole and not each.has("whole image") for each in layers):
        entries.append(("mark", _WHOLE_PALE, "at most the whole image"))
    if any(each.has("unknown") for each in layers):
        entries.append(("mark", _UNKNOWN, "unknown"))
    if any(each.has("nothing") for each in layers):
        entries.append(("mark", _NOTHING, "does not depend on the image"))
    x, y = float(_MARGIN), top
    for glyph, colour, words in entries:
        needed = 22 + text_width(words, _SMALL_SIZE)
        if x > _MARGIN and x + needed > scene.width - _MARGIN:
            x, y = float(_MARGIN), y + 22
        if glyph == "line":
            scene.add(Box(x, y + 7, 15, 3, colour))
        elif glyph == "bar":
            scene.add(
                Box(x + 4, y + 1, 7, 3, colour), Box(x + 6, y + 1, 3, 15, colour), Box(x + 4, y + 13, 7, 3, colour)
            )
        else:
            scene.add(Box(x + 1, y + 2, 13, 13, colour))
        if glyph == "hollow":
            scene.add(Box(x + 3, y + 4, 9, 9, WHITE))
        scene.add(Text(x + 22, y, words, _SMALL_SIZE, GRAY))
        x += needed + 22
    return y + 24


def _draw_whole(scene: Scene, layers: Sequence[_Layer], slot: int, top: int, width: int) -> None:
    """The band of layers that see the whole image, and over it from where on and why."""
    y = top + 18
    scene.add(Box(_LEFT, y, width, _WHOLE_BAND, None, FAINT))
    for words, line in (("whole", y - 2), ("image", y + 11)):
        scene.add(Text(_LEFT - 10, line, words, _TINY_SIZE, INK, align="right"))
    for at, each in enumerate(layers):
        if each.is_whole:
            colour = _WHOLE if each.has("whole image") else _WHOLE_PALE
            gap = slot > 8
            scene.add(Box(_LEFT + at * slot + gap, y + 1, slot - 2 * gap, _WHOLE_BAND - 2, colour))
    first = next((each for each in layers if each.has("whole image")), None)
    if first is None:
        return
    x = _LEFT + layers.index(first) * slot
    words = _where_whole(layers, first)
    others = {axis.by for each in layers for axis in each.plane if axis.kind == "whole image"} - {
        axis.by for axis in first.plane
    }
    if others:
        words += f", and by {len(others)} more layer{'s' * (len(others) > 1)}"
    room = scene.width - _MARGIN - x, x - _MARGIN
    rightwards = text_width(words, _SMALL_SIZE) <= room[0] or room[0] >= room[1]
    words = shorten(words, room[0] if rightwards else room[1], _SMALL_SIZE)
    scene.add(Box(x, y - 14, 1, 14, GRAY))
    scene.add(
        Text(x + (4 if rightwards else -4), y - 18, words, _SMALL_SIZE, INK, align="left" if rightwards else "right")
    )


def _draw_axis(
    scene: Scene, ends: tuple[float, float], y_of: Callable[[float], float], width: int, in_time: bool
) -> None:
    """Lines at powers of two, as many as their labels have room for."""
    step = ceil(_LEAST_OCTAVE / (y_of(1) - y_of(2)))
    for power in range(ceil(ends[0]), floor(ends[1]) + 1):
        y = round(y_of(2.0**power))
        if power % step == 0:
            scene.add(Box(_LEFT, y, width, 1, FAINT))
            words = f"{2**power}" if power >= 0 else f"1/{2**-power}"
            scene.add(Text(_LEFT - 10, y - 8, words, _SMALL_SIZE, GRAY, align="right"))
    middle = y_of(2 ** ((ends[0] + ends[1]) / 2))
    words = f"size and stride in pixels{' (in time: frames)' if in_time else ''}, logarithmic axis"
    scene.add(Text(_MARGIN - 6, middle, words, _SMALL_SIZE, GRAY, align="middle", turned=True))


def _draw_limits(scene: Scene, listing: FieldListing, y_of: Callable[[float], float], width: int) -> list[int]:
    """A line at the input's size, named right of the plot. Returns where they lie."""
    height, across = listing.size[-2:]
    limits = [(height, f"the input: {height} px", _LIMIT)]
    if height != across:
        limits = [
            (height, f"the input: {height} px high", _LIMIT),
            (across, f"the input: {across} px wide", _LIMIT),
        ]
    if len(listing.size) == 3:
        limits.append((listing.size[0], f"the clip: {listing.size[0]} frames", _TIME))
    free = float("inf")
    lines = []
    for size, words, colour in sorted(limits):  # the lowest line first, so labels move up to make room
        y = round(y_of(size))
        lines.append(y)
        scene.add(Box(_LEFT, y, width, 1, colour))
        at = min(y - 8.0, free - 16)
        free = at
        scene.add(Text(_LEFT + width + 8, at, shorten(words, _RIGHT - 12, _TINY_SIZE), _TINY_SIZE, colour))
    return lines


# -- layers ------------------------------------------------------------------------------------------------------


def _draw_steps(
    scene: Scene, values: Sequence[float | None], slot: int, y_of: Callable[[float], float], colour: Colour, thick: int
) -> None:
    """A line that goes on level through each layer's slot, and up or down between two; gaps where there is no value."""
    start = 0
    while start < len(values):
        value = values[start]
        end = start + 1
        while end < len(values) and values[end] == value:
            end += 1
        if value is not None:
            y = round(y_of(value))
            scene.add(Box(_LEFT + start * slot, y - thick // 2, (end - start) * slot, thick, colour))
            before = values[start - 1] if start else None
            if before is not None:
                other = round(y_of(before))
                upper, lower = min(y, other), max(y, other)
                scene.add(Box(_LEFT + start * slot, upper - thick // 2, thick, lower - upper + thick, colour))
        start = end


def _draw_strides(scene: Scene, layers: Sequence[_Layer], slot: int, y_of: Callable[[float], float]) -> None:
    lines = [
        [None if (stride := each.plane[axis].stride) is None else float(stride) for each in layers] for axis in (0, 1)
    ]
    for line in lines if lines[0] != lines[1] else lines[:1]:
        _draw_steps(scene, line, slot, y_of, _STRIDE, 3)


def _draw_time(scene: Scene, layers: Sequence[_Layer], slot: int, y_of: Callable[[float], float]) -> None:
    sizes = [each.time.size if each.time is not None else None for each in layers]
    _draw_steps(scene, sizes, slot, y_of, _TIME, 3)


def _draw_sizes(
    scene: Scene, layers: Sequence[_Layer], slot: int, y_of: Callable[[float], float]
) -> list[tuple[float, float] | None]:
    """A mark for each layer's size. Returns top and bottom of what is drawn in each slot."""
    mark = max(min(slot * 2 // 3, 11), 4)
    _draw_steps(scene, [max(each.sizes, default=None) for each in layers], slot, y_of, _LINE, 1)
    drawn: list[tuple[float, float] | None] = []
    for at, each in enumerate(layers):
        span = each.span
        if span is None:
            drawn.append(None)
            continue
        colour = each.kind[1]
        x = _LEFT + at * slot + (slot - mark) // 2
        low, high = round(y_of(span[0])), round(y_of(span[1]))
        if low > high:
            thick = 3 if slot >= 12 else 1
            middle = x + (mark - thick) / 2
            scene.add(Box(middle, high, thick, low - high + 1, mixed(colour, 0.55)))
            scene.add(Box(x, low - 1, mark, 2, mixed(colour, 0.55)))
        for size in sorted(set(each.sizes)):
            y = round(y_of(size)) - mark // 2
            scene.add(Box(x, y, mark, mark, colour))
            if each.is_bound:
                inset = 2 if mark > 6 else 1
                scene.add(Box(x + inset, y + inset, mark - 2 * inset, mark - 2 * inset, WHITE))
        drawn.append((high - mark / 2, low + mark / 2))
    return drawn


def _numbers(layer: _Layer) -> str:
    """Height and width, or the one number of both."""
    return str(layer.sizes[0]) if len(set(layer.sizes)) == 1 else " × ".join(str(size) for size in layer.sizes)


def _draw_numbers(
    scene: Scene,
    layers: Sequence[_Layer],
    listing: FieldListing,
    slot: int,
    marks: Sequence[tuple[float, float] | None],
    limits: Sequence[int],
    shaded: Sequence[tuple[int, int]],
) -> None:
    """Sizes over the marks where they change, as many as have room: first where the input's size is reached."""
    height, width = listing.size[-2:]
    sized = [at for at, each in enumerate(layers) if each.sizes]
    changes = [
        at
        for before, at in zip([None, *sized], sized, strict=False)
        if before is None or layers[before].sizes != layers[at].sizes
    ]
    enough = [at for at in changes if layers[at].sizes[0] >= height and layers[at].sizes[-1] >= width]
    largest = max(changes, key=lambda at: layers[at].sizes, default=None)
    first = [*enough[:1], *([] if largest is None else [largest])]
    taken: list[_Rectangle] = []
    for at in dict.fromkeys([*first, *changes]):
        words = _numbers(layers[at])
        needed = text_width(words, _TINY_SIZE)
        mark = marks[at]
        assert mark is not None
        x, y = _LEFT + (at + 0.5) * slot - needed / 2, mark[0] - 16
        place = (x - 3, y, x + needed + 3, y + 14)
        slots = range(max(int((place[0] - _LEFT) // slot), 0), min(int((place[2] - _LEFT) // slot) + 1, len(layers)))
        near = [(top, bottom) for each in slots if (span := marks[each]) is not None for top, bottom in [span]]
        hits = any(top < place[3] and bottom > place[1] for top, bottom in near)
        hits |= any(a[0] < place[2] and place[0] < a[2] and a[1] < place[3] and place[1] < a[3] for a in taken)
        if hits:
            continue
        taken.append(place)
        if any(place[1] <= line <= place[3] for line in limits):
            here = any(begin <= place[0] and place[2] <= end for begin, end in shaded)
            scene.add(Box(place[0], y, needed + 6, 14, BAND if here else WHITE))
        scene.add(Text(x, y, words, _TINY_SIZE, INK))


def _draw_reasons(scene: Scene, layers: Sequence[_Layer], y: int) -> int:
    """A line for each reason why fields are unknown: where from, and at how many layers. Returns where they end."""
    reasons: dict[str, list[str]] = {}
    for each in layers:
        for why in dict.fromkeys(axis.why for axis in each.plane if axis.kind == "unknown"):
            reasons.setdefault(why, []).append(each.name)
    room = scene.width - 2 * _MARGIN - 20
    for why, names in list(reasons.items())[:_MOST_REASONS]:
        words = f"unknown from {names[0]} on ({len(names)} layer{'s' * (len(names) > 1)}): {units.one_line(why)}"
        scene.add(Box(_MARGIN, y + 2, 12, 12, _UNKNOWN))
        scene.add(Text(_MARGIN + 20, y, shorten(words, room, _SMALL_SIZE), _SMALL_SIZE, GRAY))
        y += 22
    return y
