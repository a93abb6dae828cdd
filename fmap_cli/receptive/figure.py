"""How the receptive field grows from the input to the answer: each layer's size and stride on a logarithmic axis.

The axis counts doublings, because sizes go from one pixel to thousands and strides mostly are powers of two. Layers
that take in the whole image stand in a band above it: they have no size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil, floor, log2, prod
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import (
    ABOVE,
    BLUE,
    ELSE,
    KINDS,
    LINE,
    PINK,
    RED,
    add_layers,
    add_strip,
    along,
    draw_strip,
    mixed,
    name_line,
    points,
    rgb,
    write,
)
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    TINY_SIZE,
    Key,
    draw_legend,
    draw_paragraph,
    draw_title,
)
from ..drawing.scene import FAINT, GRAY, INK, WHITE, Colour, Plot, Scene, shorten, text_width
from .effective_figure import effective_figure
from .unit_figure import unit_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..models.input_words import InputWords
    from .records import FieldAxis, FieldListing, FieldRow

__all__ = ["effective_figure", "growth_figure", "unit_figure"]

_LEFT = 110  # up to the axis
_RIGHT = 150  # beyond the last layer, where the input's lines are named
_PLOT = (520, 1400)  # height and width; many layers need more of the width
_SLOT = (2.8, 64)  # pixels that a layer takes: whole ones where there are some to spare
_LEAST_PAGE = 1000
_WHOLE_BAND = 24  # height of the band for the whole image
_LEAST_OCTAVE = 22  # pixels from one labelled power of two to the next
_MOST_REASONS = 4

_LIMIT: Colour = (190, 60, 30)
_PALE = 0.4  # how much of its colour a mark off the line has
_LINE: Colour = (178, 178, 186)
_STRIDE: Colour = (150, 175, 205)
_WHOLE: Colour = (240, 228, 66)
_WHOLE_PALE: Colour = (250, 245, 190)

_Rectangle = tuple[float, float, float, float]  # left, bottom, right, top


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
    def plane(self) -> tuple[FieldAxis, ...]:
        """Height and width; of a signal, a sequence or a vector the one axis that there is."""
        return self.row.field.axes[-2:]

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
    slot = min(max(_PLOT[1] / max(len(layers), 1), _SLOT[0]), _SLOT[1])
    slot = floor(slot) if slot > 5 else slot
    width = round(slot * len(layers))
    scene.width = max(_LEFT + width + _RIGHT, _LEAST_PAGE)
    y = _draw_head(scene, listing, layers)
    if not layers:
        scene.height = draw_paragraph(scene, "No layer to draw.", MARGIN, y, scene.width, TEXT_SIZE) + 2 * MARGIN
        return scene
    begin = y + 28
    top = begin
    if any(each.is_whole for each in layers):
        draw = partial(_draw_whole, layers=layers, called=listing.origin.called, slot=slot, right=scene.width - MARGIN)
        scene.add(Plot(listing.origin.called.whole, _LEFT, top + 18, (_WHOLE_BAND, width), draw))
        top += 18 + _WHOLE_BAND + 8
    draw = partial(_draw_growth, layers=layers, listing=listing, slot=slot)
    scene.add(Plot("growth", _LEFT, top, (_PLOT[0], width), draw))
    y = top + _PLOT[0] + 14
    for kind, words, colour in (("unknown", "unknown", RED), ("nothing", f"no {listing.origin.called.place}", LINE)):
        marks = {at: (1.0, colour) for at, each in enumerate(layers) if each.has(kind)}
        if marks:
            y = add_strip(scene, words, marks, len(layers), slot, _LEFT, y)
    end = add_layers(scene, [each.name for each in layers], slot, _LEFT, begin, y)
    scene.height = _draw_reasons(scene, layers, end + 18) + MARGIN
    return scene


# -- what stands around the plot ---------------------------------------------------------------------------------


def _draw_head(scene: Scene, listing: FieldListing, layers: Sequence[_Layer]) -> int:
    """Title, where this comes from, the answer in words, what the marks mean. Returns where the plot begins."""
    count = len(layers)
    of = f" of {listing.count}" if count != listing.count else ""
    line = listing.origin.weights.in_words
    line += f" · input of {listing.origin.called.size(listing.size)}"
    line += f" · {count}{of} layer{'s' * (listing.count != 1)} in execution order"
    y = draw_title(scene, f"{listing.origin.model}: receptive fields through depth", [line])
    if not layers:
        return y
    y = draw_paragraph(scene, answer(listing), MARGIN, y, scene.width - 2 * MARGIN, TEXT_SIZE, INK)
    return draw_legend(scene, _keys(layers, listing.origin.called), MARGIN, y + 6, scene.width - MARGIN)


def answer(listing: FieldListing) -> str:
    """In a sentence, where fields are as large as the input, and where units see all of it."""
    layers = [_Layer(row) for row in listing.layers]
    called, limits = listing.origin.called, listing.size[-2:]
    parts = []
    sized = [each for each in layers if len(each.sizes) == len(limits)]
    enough = next((each for each in sized if _reaches(each, limits)), None)
    if enough is not None:
        fewer = not all(_reaches(each, limits) for each in sized[sized.index(enough) :])
        where = f" at {enough.name}, though not in every layer after it" if fewer else f" from {enough.name} on"
        bound = " (an upper bound)" if enough.is_bound else ""
        parts.append(f"receptive fields are as large as the input{where}{bound}")
    if sized:
        largest = max(sized, key=lambda each: prod(each.sizes))
        parts.append(f"the largest is {_numbers(largest)} {called.unit}, at {largest.name}")
        if enough is None:
            parts[-1] += ", smaller than the input"
    first = next((each for each in layers if each.has("whole image")), None)
    if first is not None:
        parts.append(f"units see the {called.whole} {_where_whole(layers, first)}")
    elif not sized:
        parts.append("no layer has a field of known size")
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _reaches(layer: _Layer, limits: Sequence[int]) -> bool:
    """Whether its fields are as large as the input."""
    return all(size >= limit for size, limit in zip(layer.sizes, limits, strict=False))


def _where_whole(layers: Sequence[_Layer], first: _Layer) -> str:
    """From which layer on units see the whole image, and why; "first at" where later ones do not."""
    why = next(each.why for each in first.plane if each.kind == "whole image")
    after = layers[layers.index(first) :]
    on = (
        f"from {units.layer_name(first.name)} on"
        if not any(each.sizes for each in after)
        else f"first at {units.layer_name(first.name)}"
    )
    return f"{on} ({units.one_line(why)})" if why else on


def _keys(layers: Sequence[_Layer], called: InputWords) -> list[Key]:
    """What the marks mean, of those that occur."""
    kinds = {each.kind for each in layers if each.sizes}
    keys = [Key(*each) for each in dict.fromkeys([*KINDS.values(), ELSE]) if each in kinds]
    if any(each.is_bound and each.sizes for each in layers):
        keys.append(Key("upper bound", INK, "hollow"))
    if any(span is not None and span[0] < span[1] for span in (each.span for each in layers)):
        differ = [
            words
            for words, found in (
                ("height and width", any(len(set(each.sizes)) == 2 for each in layers)),
                ("channels", any(each.row.field.group_count > 1 and each.sizes for each in layers)),
                ("units", any(axis.least != axis.size for each in layers for axis in each.plane)),
            )
            if found
        ]
        keys.append(Key(f"fewest to most, where {' or '.join(differ)} differ", INK, "bar"))
    if any(_is_beside(layers)):
        keys.append(Key("paler, off the line: a branch that sees less than was seen before it", mixed(BLUE, _PALE)))
    if any(axis.stride is not None for each in layers for axis in each.plane):
        keys.append(Key("stride: from one unit's field to the next", _STRIDE, "line"))
    if any(each.time is not None and each.time.size is not None for each in layers):
        keys.append(Key(f"size in {called.depth}, in {called.layer}s", PINK, "line"))
    if any(each.has("whole image") for each in layers):
        keys.append(Key(called.whole, _WHOLE))
    if any(each.is_whole and not each.has("whole image") for each in layers):
        keys.append(Key(f"at most the {called.whole}", _WHOLE_PALE))
    if any(each.has("unknown") for each in layers):
        keys.append(Key("unknown", RED))
    if any(each.has("nothing") for each in layers):
        keys.append(Key(f"does not depend on the {called.noun}", LINE))
    return keys


def _draw_whole(axes: Axes, layers: Sequence[_Layer], called: InputWords, slot: float, right: int) -> None:
    """The band of layers that see the whole image, and over it from where on and why."""
    colours = {
        at: _WHOLE if each.has("whole image") else _WHOLE_PALE for at, each in enumerate(layers) if each.is_whole
    }
    draw_strip(axes, f"whole\n{called.noun}", {at: (1.0, colour) for at, colour in colours.items()}, len(layers), slot)
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color(rgb(FAINT))
    first = next((each for each in layers if each.has("whole image")), None)
    if first is None:
        return
    words = _where_whole(layers, first)
    others = {axis.by for each in layers for axis in each.plane if axis.kind == "whole image"} - {
        axis.by for axis in first.plane
    }
    if others:
        words += f", and by {len(others)} more layer{'s' * (len(others) > 1)}"
    at = layers.index(first)
    x = _LEFT + at * slot
    room = right - x, x - MARGIN
    rightwards = text_width(words, SMALL_SIZE) <= room[0] or room[0] >= room[1]
    words = shorten(words, room[0] - 4 if rightwards else room[1] - 4, SMALL_SIZE)
    write(axes, words, (at - 0.5, 1), (4 if rightwards else -4, 3), ABOVE, INK, ha="left" if rightwards else "right")
    axes.axvline(at - 0.5, 1, 1 + 14 / _WHOLE_BAND, color=rgb(GRAY), linewidth=points(1), clip_on=False)


# -- layers ------------------------------------------------------------------------------------------------------


def _draw_growth(axes: Axes, layers: Sequence[_Layer], listing: FieldListing, slot: float) -> None:
    """Sizes and strides of the layers, lines at the input's size, and numbers where sizes change."""
    from matplotlib.ticker import FixedLocator, StrMethodFormatter

    called = listing.origin.called
    apart = "" if len(listing.size) < 3 else f" (in {called.depth}: {called.layer}s)"
    low, high = _axis_ends(layers, listing)
    along(axes, len(layers))
    axes.set_yscale("log", base=2)
    axes.set_ylim(2**low, 2**high)
    step = ceil(_LEAST_OCTAVE * (high - low) / _PLOT[0])
    powers = [each for each in range(ceil(low), floor(high) + 1) if each % step == 0]
    axes.yaxis.set_major_locator(FixedLocator([2.0**each for each in powers]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.7g}"))
    axes.set_ylabel(f"size and stride in {called.places}{apart}, logarithmic axis")
    limits = _draw_limits(axes, listing)
    strides = [tuple(None if axis.stride is None else float(axis.stride) for axis in each.plane) for each in layers]
    for name, values in zip(("stride down", "stride across"), dict.fromkeys(zip(*strides, strict=True)), strict=False):
        _draw_steps(axes, name, values, _STRIDE, 3)
    _draw_steps(axes, "time", [None if each.time is None else each.time.size for each in layers], PINK, 3)
    _draw_steps(axes, "sizes", _line(layers), _LINE, 1)
    mark = max(min(floor(slot * 2 / 3), 11), 4)
    _draw_sizes(axes, layers, mark, 3 if slot >= 12 else 1)
    _draw_numbers(axes, layers, listing, slot, mark, limits)


def _line(layers: Sequence[_Layer]) -> list[float | None]:
    """How much has been seen up to each layer: the largest size so far, level where a branch beside sees less."""
    line: list[float | None] = []
    most = 0
    for each in layers:
        most = max([most, *each.sizes])
        line.append(most if each.sizes else None)
    return line


def _is_beside(layers: Sequence[_Layer]) -> list[bool]:
    """Of each layer, whether it lies on a branch that sees less than was seen before it: a shortcut, as in ResNets."""
    seen = _line(layers)
    return [
        bool(each.sizes) and most is not None and max(each.sizes) < most
        for each, most in zip(layers, seen, strict=True)
    ]


def _axis_ends(layers: Sequence[_Layer], listing: FieldListing) -> tuple[float, float]:
    """The axis' ends in doublings of a pixel."""
    values: list[float] = [1, 2, *listing.size]
    for each in layers:
        values += each.span or ()
        values += [float(axis.stride) for axis in each.plane if axis.stride]
        values += [each.time.size] if each.time is not None and each.time.size else []
    return log2(min(values)) - 0.25, log2(max(values)) + 0.45


def _draw_limits(axes: Axes, listing: FieldListing) -> list[int]:
    """A line at the input's size, named right of the plot. Returns the sizes."""
    called, sizes = listing.origin.called, listing.size[-2:]
    ways = ("high", "wide") if len(set(sizes)) == 2 else ("",)
    limits = [
        (size, f"the input: {size} {called.unit} {way}".rstrip(), _LIMIT)
        for size, way in zip(sizes, ways, strict=False)
    ]
    if len(listing.size) == 3:
        limits.append((listing.size[0], f"the {called.noun}: {listing.size[0]} {called.layer}s", PINK))
    free = float("-inf")
    for size, words, colour in sorted(limits):  # the lowest line first, so labels move up to make room
        y = axes.transData.transform((0, size))[1]
        free = max(y, free + 16)
        name_line(axes, size, shorten(words, _RIGHT - 12, TINY_SIZE), colour, free - y)
    return [size for size, _, _ in limits]


def _draw_steps(axes: Axes, name: str, values: Sequence[float | None], colour: Colour, thick: int) -> None:
    """A line that goes on level through each layer's slot, and up or down between two; gaps where there is no value."""
    known = np.array([np.nan if value is None else value for value in values])
    edges = np.arange(len(values) + 1) - 0.5
    axes.stairs(known, edges, baseline=None, edgecolor=rgb(colour), linewidth=points(thick), label=name)


def _draw_sizes(axes: Axes, layers: Sequence[_Layer], mark: int, thick: int) -> None:
    """A mark for each layer's height and width, and a bar from the fewest to the most pixels where these differ."""
    spans = [(at, *each.span, rgb(mixed(each.kind[1], 0.55))) for at, each in enumerate(layers) if each.span]
    spans = [each for each in spans if each[1] < each[2]]
    if spans:
        where, low, high, colours = zip(*spans, strict=True)
        axes.vlines(where, low, high, colours, linewidth=points(thick), label="span", zorder=2)
        half = mark / 2 / axes.bbox.width * len(layers)
        axes.hlines(low, np.array(where) - half, np.array(where) + half, colours, linewidth=points(2), zorder=2)
    beside = _is_beside(layers)
    for name, hollow in (("size", False), ("upper bound", True)):
        marks = [
            (at, size, rgb(mixed(each.kind[1], _PALE if beside[at] else 1.0)))
            for at, each in enumerate(layers)
            if each.is_bound == hollow
            for size in sorted(set(each.sizes))
        ]
        if marks:
            where, sizes, colours = zip(*marks, strict=True)
            line = (2 if mark > 6 else 1) * hollow
            axes.scatter(
                where,
                sizes,
                s=points(mark - line) ** 2,
                c=[rgb(WHITE)] * len(marks) if hollow else colours,
                marker="s",
                edgecolors=colours,
                linewidths=points(line),
                label=name,
                zorder=3,
            )


def _numbers(layer: _Layer) -> str:
    """Height and width, or the one number of both."""
    return str(layer.sizes[0]) if len(set(layer.sizes)) == 1 else " × ".join(str(size) for size in layer.sizes)


def _draw_numbers(
    axes: Axes, layers: Sequence[_Layer], listing: FieldListing, slot: float, mark: int, limits: Sequence[int]
) -> None:
    """Sizes over the marks where they change, as many as have room: first where the input's size is reached."""
    from matplotlib.patheffects import withStroke

    sized = [at for at, each in enumerate(layers) if each.sizes]
    changes = [
        at
        for before, at in zip([None, *sized], sized, strict=False)
        if before is None or layers[before].sizes != layers[at].sizes
    ]
    enough = [at for at in changes if _reaches(layers[at], listing.size[-2:])]
    largest = max(changes, key=lambda at: layers[at].sizes, default=None)
    first = [*enough[:1], *([] if largest is None else [largest])]
    # From here on in pixels, from the chart's left end and from the page's bottom.
    spans = np.array([each.span or (np.nan, np.nan) for each in layers], float)
    ends = axes.transData.transform(np.stack([np.zeros(spans.size), spans.ravel()], 1))[:, 1].reshape(spans.shape)
    ends += [-mark / 2, mark / 2]
    lines = [axes.transData.transform((0, size))[1] for size in limits]
    taken: list[_Rectangle] = []
    for at in dict.fromkeys([*first, *changes]):
        words = _numbers(layers[at])
        half = text_width(words, TINY_SIZE) / 2 + 3
        middle, y = (at + 0.5) * slot, ends[at, 1] + 2
        place = (middle - half, y, middle + half, y + 14)
        near = ends[max(int(place[0] // slot), 0) : int(place[2] // slot) + 1]
        hits = bool(((near[:, 0] < place[3]) & (near[:, 1] > place[1])).any())
        if hits or any(a[0] < place[2] and place[0] < a[2] and a[1] < place[3] and place[1] < a[3] for a in taken):
            continue
        taken.append(place)
        top = float(spans[at, 1])
        word = write(axes, words, (at, top), (0, mark / 2 + 2), colour=INK, ha="center", size=TINY_SIZE)
        if any(place[1] <= line <= place[3] for line in lines):
            word.set_path_effects([withStroke(linewidth=points(5), foreground=rgb(WHITE))])


def _draw_reasons(scene: Scene, layers: Sequence[_Layer], y: int) -> int:
    """A line for each reason why fields are unknown: where from, and at how many layers. Returns where they end."""
    reasons: dict[str, list[str]] = {}
    for each in layers:
        for why in dict.fromkeys(axis.why for axis in each.plane if axis.kind == "unknown"):
            reasons.setdefault(why, []).append(each.name)
    for why, names in list(reasons.items())[:_MOST_REASONS]:
        many = f"{len(names)} layer{'s' * (len(names) > 1)}"
        words = f"unknown from {units.layer_name(names[0])} on ({many}): {units.one_line(why)}"
        y = draw_legend(scene, [Key(words, RED)], MARGIN, y, scene.width - MARGIN)
    return y
