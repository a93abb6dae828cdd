"""The figure of `fmap compare`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import ceil, floor, inf, isfinite, log10
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import units
from ..drawing.charts import ABOVE, LINE, add_layers, along, name_line, points, rgb, write, write_powers
from ..drawing.grid import CONSTANT_RGB, DIVERGING, INF_RGB, NAN_RGB, SEQUENTIAL, fit_codes, lookup, palette
from ..drawing.page import (
    MARGIN,
    SMALL_SIZE,
    TEXT_SIZE,
    Key,
    draw_colour_bar,
    draw_heading,
    draw_legend,
    draw_paragraph,
    draw_sentence_title,
    fit,
)
from ..drawing.scene import GRAY, INK, Colour, Picture, Plot, Scene, Text, shorten, text_width
from ..inputs.framing import caption
from .records import ComparedRecord, Comparison, DrawnPair
from .shared_figure import draw_pooled, draw_shared
from .vector import draw_vector
from .words import (
    Compared,
    answer_in_words,
    farthest,
    has_more,
    identical,
    inputs_in_words,
    is_run,
    pooled_layers,
    remarks,
    shared_in_words,
    sides,
    verdict,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIDE = 312
_AREA = 1216  # width of what is right of it
_CURVE_HEIGHT = 300
_GAP = 10
_INDENT = 56  # of what stands behind A, B and both
_EDGE = 76  # right of the curve
_LABEL = 66  # left of the curve and of the tiles
_MOST_DECADES = 12
_FAR_BELOW = 100
_UNDER: Colour = (59, 82, 139)
_OVER: Colour = (196, 60, 40)
_STEM: Colour = (214, 218, 230)
_STEM_OVER: Colour = (242, 214, 208)
_RANGE_SIZES = (SMALL_SIZE, 12, 11, 10)  # of what stands under the tiles, the same for all
_MOST_CHANNELS = 16
_CHANNEL = 27  # height of a channel's two bars


def comparison_figure(comparison: Comparison) -> Scene:
    """The pictures on the left; right of them the relative difference through depth, and one layer side by side."""
    scene = Scene(width=MARGIN * 3 + _SIDE + _AREA)
    top = _draw_title(scene, comparison)
    left = MARGIN * 2 + _SIDE
    bottom = _draw_pictures(scene, comparison, top)
    y = _draw_depth(scene, comparison, top, left)
    record = _most_telling(comparison)
    if comparison.shared is not None and comparison.shared.a is not None:
        y = draw_shared(scene, comparison, comparison.shared, y, left, _AREA)
    elif comparison.pair is not None:
        y = _draw_pair(scene, comparison, comparison.pair, y, left)
    elif record is not None:
        y = _draw_channels(scene, record, y, left)
    elif comparison.vector is not None and comparison.shared is None:
        y = draw_vector(scene, comparison.vector, y, left, _AREA)
    scene.height = max(y, bottom) + MARGIN
    return scene


def _draw_depth(scene: Scene, comparison: Comparison, top: int, left: int) -> int:
    """The curve through depth, where there is one: a single layer's pooled cosine stands in the headline."""
    if comparison.of_images and (pooled := pooled_layers(comparison)):
        return draw_pooled(scene, comparison, top, left, _AREA) + 34 if len(pooled) > 1 else top
    return _draw_curve(scene, comparison, top, left) + 34 if comparison.layers else top


def _draw_title(scene: Scene, comparison: Comparison) -> int:
    first, number = comparison.first, _number_of(comparison)
    if comparison.of_images and comparison.shared is not None:
        title = shared_in_words(comparison.shared)
        title = title[0].upper() + title[1:]
    elif comparison.of_images and pooled_layers(comparison):
        title = "How alike A and B are to the network"
    elif first is not None and first.layer.kind == "input":
        title = "A and B already get different input"
    elif first is not None:
        title = f"A and B part at {units.layer_name(first.layer.name)}"
    elif not comparison.layers:
        title = "No layer has the same shape in A and B"
    elif comparison.unlike_shapes:
        title = "Layers of A and B differ in shape"
    elif identical(comparison):
        title = "A and B are identical" + (" where both can be compared" if has_more(comparison) else "")
    else:
        title = f"A and B agree: at every layer they are less than {number(comparison.threshold)} of A apart"
    apart = verdict(comparison, number).removeprefix(f"{title}: ")  # the title says where already
    sentences = (*answer_in_words(comparison)[:1], apart, *remarks(comparison))
    return draw_sentence_title(scene, title, [each[0].upper() + each[1:] for each in sentences]) + 16


def _draw_pictures(scene: Scene, comparison: Comparison, top: int) -> int:
    """What the networks saw, once where it is the same, and what each side is. Returns where it ends."""
    y = top
    common, only_a, only_b = sides(_by_file_names(comparison))
    pictures = list(comparison.pictures or ())
    same = len(pictures) == 2 and np.array_equal(pictures[0], pictures[1])
    about = [("A", only_a), ("B", only_b)]
    for at, pixels in enumerate(pictures[:1] if same else pictures):
        height, width = pixels.shape[:2]
        shown = fit((height, width), (_SIDE if same else 230, _SIDE), whole=False)
        scene.add(Picture(MARGIN, y, pixels, shown, smooth=True))
        y += shown[0] + 8
        framing = comparison.framings[at]
        if same:
            y = draw_paragraph(scene, caption((height, width), framing, "both"), MARGIN, y, _SIDE) + 12
        else:
            y = _draw_words(scene, *about[at], y) + 12
            if framing is not None and framing.in_words:
                words = caption((height, width), framing)
                y = draw_paragraph(scene, words, MARGIN + _INDENT, y - 12, _SIDE - _INDENT) + 12
    if not pictures or same:
        for letter, words in about:
            y = _draw_words(scene, letter, words or "the same", y)
    if common:
        y = _draw_words(scene, "both", common, y + 6)
    if fed := inputs_in_words(comparison):
        y = _draw_words(scene, "", fed, y + 6)
    return y


def _by_file_names(comparison: Comparison) -> Comparison:
    """With files called by their names alone, unless that makes two the same."""
    a, b = (replace(each, source=Path(each.source).name) for each in (comparison.a, comparison.b))
    told_apart = a.source != b.source or comparison.a.source == comparison.b.source
    return replace(comparison, a=a, b=b) if told_apart else comparison


def _draw_words(scene: Scene, letter: str, words: str, y: int) -> int:
    scene.add(Text(MARGIN, y, letter, TEXT_SIZE, bold=True))
    for part in words.split(" · "):
        y = draw_paragraph(scene, part, MARGIN + _INDENT, y, _SIDE - _INDENT, TEXT_SIZE - 1, INK)
    return y + 5


def _draw_curve(scene: Scene, comparison: Comparison, top: int, left: int) -> int:
    """Each layer's relative difference on a logarithmic scale, the threshold as a line. Returns where it ends."""
    layers = [each for each in comparison.layers if each.same_as is None]
    shares = [each.difference.relative_l2 for each in layers]
    what = "‖mean B - mean A‖ / ‖mean A‖ over the channels" if is_run(comparison) else "‖B - A‖ / ‖A‖"
    repeats = len(comparison.layers) - len(layers)
    note = f"; {repeats} containers that repeat a layer are not drawn" if repeats else ""
    words = f"{what}, {len(layers)} layer{'s' * (len(layers) != 1)} in the order they run{note}"
    top = draw_heading(scene, "Relative L2 difference through depth", words, left, top, _AREA) + 32
    low, high = _decades(shares, comparison.threshold)
    x0, width = left + _LABEL, _AREA - _LABEL - _EDGE
    shown = comparison.threshold >= 10.0**low  # else it lies far below everything
    draw = partial(_draw_difference, comparison=comparison, layers=layers, decades=(low, high), shown=shown)
    scene.add(Plot("difference", x0, top, (_CURVE_HEIGHT, width), draw))
    names = [units.one_line(each.layer.name) for each in layers]
    y = add_layers(scene, names, width / len(layers), x0, top, top + _CURVE_HEIGHT) + 8
    if not shown:
        words = f"the threshold, {_number_of(comparison)(comparison.threshold)}, lies below the scale"
        y = draw_paragraph(scene, words, x0, y, width, SMALL_SIZE, _OVER)
    keys = []
    if inf in shares:
        keys.append(Key("NaN or infinite on one side only, or A is zero everywhere", NAN_RGB))
    if any(0 < share < 10.0**low for share in shares):
        keys.append(Key("on the base line: below the scale", _UNDER))
    if 0 in shares:
        keys.append(Key("on the base line: exactly zero", GRAY))
    return draw_legend(scene, keys, x0, y, x0 + width)


def _draw_difference(
    axes: Axes, comparison: Comparison, layers: Sequence[Compared], decades: tuple[int, int], shown: bool
) -> None:
    """A stem and a mark at each layer's difference; those beyond the scale at its ends, exactly zero on its base."""
    low, high = (10.0**each for each in decades)
    along(axes, len(layers))
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    write_power = _number_of(comparison)
    axes.yaxis.set_major_formatter(lambda value, _: write_power(value))
    axes.spines["bottom"].set_visible(True)
    where = np.arange(len(layers))
    shares = np.array([each.difference.relative_l2 for each in layers])
    over = np.array([each.over for each in layers], bool)
    heights = np.clip(shares, low, high)
    slot = axes.bbox.width / len(layers)
    mark, stem = min(max(slot * 0.7, 3), 9), min(max(slot * 0.4, 1), 4)
    colours = np.array([rgb(_OVER if each else _UNDER) for each in over])
    colours[np.isinf(shares)] = rgb(NAN_RGB)
    some = shares > 0
    stems = [rgb(_STEM_OVER if each else _STEM) for each in over[some]]
    axes.vlines(where[some], low, heights[some], stems, linewidth=points(stem), zorder=2)
    size = points(mark) ** 2
    axes.scatter(
        where[some],
        heights[some],
        s=size,
        c=colours[some],
        marker="s",
        zorder=3,
        clip_on=False,
        linewidths=0,
        label="apart",
    )
    zeros = where[~some]
    axes.scatter(
        zeros,
        np.full(len(zeros), low),
        s=size,
        color=rgb(GRAY),
        marker="_",
        zorder=3,
        clip_on=False,
        linewidths=points(2),
        label="equal",
    )
    if shown:
        name_line(axes, comparison.threshold, f"threshold\n{write_power(comparison.threshold)}", _OVER)
    at = next((at for at, each in enumerate(layers) if each is comparison.first), None)
    if at is not None:
        name = shorten(units.one_line(layers[at].layer.name), 360, SMALL_SIZE, bold=True)
        rightwards = (at + 0.5) * slot + text_width(name, SMALL_SIZE, bold=True) < axes.bbox.width
        axes.axvline(at, 0, 1 + 20 / _CURVE_HEIGHT, color=rgb(_OVER), linewidth=points(1), clip_on=False, zorder=1)
        offset, ha = (-3, "left") if rightwards else (3, "right")
        write(axes, name, (at, 1), (offset, 22), ABOVE, _OVER, ha=ha, weight="bold")


def _number_of(comparison: Comparison) -> Callable[[float], str]:
    """How the page writes the threshold and the powers of its axis: both in one way."""
    shares = [each.difference.relative_l2 for each in comparison.layers if each.same_as is None]
    return write_powers([10.0**each for each in _decades(shares, comparison.threshold)])


def _decades(shares: Sequence[float], threshold: float) -> tuple[int, int]:
    """The powers of ten at both ends of the scale."""
    known = sorted(share for share in shares if share > 0 and isfinite(share))
    usual = known[
        len(known) // 20 :
    ]  # a few far below, such as an input that is merely rounded, would squeeze the rest
    if known and usual[0] / known[0] > _FAR_BELOW:
        known = usual
    if not known or (threshold > 0 and threshold >= min(known) / 100):
        known = [*known, threshold or 1.0]
    high = ceil(log10(max(known)) + 1e-9)
    low = max(floor(log10(min(known))), high - _MOST_DECADES)
    return min(low, high - 2), high


def _draw_pair(scene: Scene, comparison: Comparison, pair: DrawnPair, top: int, left: int) -> int:
    """A's channels, B's under them and the difference, the strongest-differing channel first."""
    if len(pair.drawn) < pair.count:
        which = f"the {len(pair.drawn)} of {pair.count} channels that differ most, farthest first"
    else:
        which = f"all {pair.count} channels, farthest first" if pair.count > 1 else "its only channel"
    kind = units.one_line(pair.layer.type_name)
    share = next(each for each in comparison.layers if each.layer.name == pair.layer.name).difference.relative_l2
    words = f"{kind} {units.shape(pair.shape)}, relative L2 {units.number(share)}: {which}"
    words += f"; {pair.note}" if pair.note else ""
    y = draw_heading(scene, units.layer_name(pair.layer.name), words, left, top, _AREA) + 6
    count = len(pair.drawn)
    height, width = pair.a.shape[1:]
    room = _AREA - _LABEL
    aspect = min(max(width / height, 1 / 4), 8)
    across = min((room - (count - 1) * _GAP) / count, 190.0 * max(aspect, 1))
    tile = (max(round(across / aspect), 1), max(round(across), 1))
    with np.errstate(invalid="ignore", over="ignore"):
        difference = pair.b.astype(np.float64) - pair.a
    low, high = _shared_ends(pair)
    most = np.abs(difference[np.isfinite(difference)]).max(initial=0.0)
    ends = np.full(count, most)
    plain, diverging = lookup(palette(SEQUENTIAL)), lookup(palette(DIVERGING))
    rows = [
        ("A", plain[fit_codes(pair.a, low, high, tile)]),
        ("B", plain[fit_codes(pair.b, low, high, tile)]),
        ("B - A", diverging[fit_codes(difference, -ends, ends, tile)]),
    ]
    said = {
        "B": [units.value_range(float(a), float(b)) for a, b in zip(low, high, strict=True)],
        "B - A": [_farthest_in_words(each) for each in difference],
    }
    longest = [max(text_width(each, size) for row in said.values() for each in row) for size in _RANGE_SIZES]
    size = next((size for size, width in zip(_RANGE_SIZES, longest, strict=True) if width <= tile[1]), _RANGE_SIZES[-1])
    for at, channel in enumerate(pair.drawn):
        scene.add(Text(left + _LABEL + at * (tile[1] + _GAP), y, str(channel), SMALL_SIZE, INK, bold=True))
    y += 20
    for letter, tiles in rows:
        scene.add(Text(left, y + tile[0] // 2 - 12, letter, 20, bold=True))
        for at in range(count):
            x = left + _LABEL + at * (tile[1] + _GAP)
            scene.add(Picture(x, y, np.ascontiguousarray(tiles[at]), tile))
        y += tile[0] + 6
        if letter == "A":
            continue
        for at in range(count):
            scene.add(Text(left + _LABEL + at * (tile[1] + _GAP), y, said[letter][at], size, GRAY))
        y += 24
    return _draw_legend(scene, pair, difference, most, y + 4, left + _LABEL)


def _farthest_in_words(difference: np.ndarray) -> str:
    """How far apart a channel's values are at most; not of what is no number on either side."""
    finite = np.abs(difference[np.isfinite(difference)])
    if not finite.size:
        return "not finite"
    return f"up to ±{units.number(float(finite.max()))}" if finite.any() else "no difference"


def _shared_ends(pair: DrawnPair) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest finite value of each channel over both sides, `[N]`."""
    both = np.concatenate([each.reshape(len(each), -1) for each in (pair.a, pair.b)], axis=1).astype(np.float64)
    finite = np.isfinite(both)
    low, high = np.where(finite, both, np.inf).min(1), np.where(finite, both, -np.inf).max(1)
    none = ~finite.any(1)
    return np.where(none, np.nan, low), np.where(none, np.nan, high)


def _draw_legend(scene: Scene, pair: DrawnPair, difference: np.ndarray, most: float, y: int, left: int) -> int:
    """What the colours mean."""
    bar = 260
    for cmap, ends, quantity, words in (
        (
            SEQUENTIAL,
            ("channel's lowest", "channel's highest"),
            "activation",
            "A and B: each channel has one scale for both",
        ),
        (
            DIVERGING,
            (f"-{units.number(most)}", units.number(most)),
            "difference of activations",
            "B - A: one scale for all, red where B is larger, blue where A is, white is zero",
        ),
    ):
        scene.add(Text(left + bar + 18, y + 18, words, SMALL_SIZE, GRAY))
        y = draw_colour_bar(scene, cmap, ends, left, y, bar, quantity=quantity)
    values = np.concatenate([pair.a.ravel(), pair.b.ravel(), difference.ravel()])
    low, high = _shared_ends(pair)
    special = (
        ((low == high).any() or not most, "constant", CONSTANT_RGB),
        (np.isnan(values).any(), "NaN", NAN_RGB),
        (np.isinf(values).any(), "infinite", INF_RGB),
    )
    keys = [Key(words, colour) for present, words, colour in special if present]
    return draw_legend(scene, keys, left, y, left + _AREA - _LABEL)


def _most_telling(comparison: Comparison) -> ComparedRecord | None:
    """The first layer over the threshold, or the one that differs most; None where there is no difference.

    Where the input differs all that follows does: then it is the first convolution over, as of two images.
    """
    layers = [each for each in comparison.layers if each.layer.kind != "input"]
    if not layers:
        return None
    other_input = any(each.over for each in comparison.layers if each.layer.kind == "input")
    over = (each for each in layers if each.over and (not other_input or each.layer.kind == "conv"))
    chosen = next(over, None) or farthest(layers)
    return chosen if isinstance(chosen, ComparedRecord) and chosen.difference.channel is not None else None


def _draw_channels(scene: Scene, record: ComparedRecord, top: int, left: int) -> int:
    """Mean and standard deviation of the channels that moved most, A's and B's one above the other."""
    a, b = (each.channels for each in record.records)
    means = np.stack([a.mean, b.mean])
    spreads = np.nan_to_num(np.stack([a.std, b.std]))
    degrees = np.maximum(a.finite + b.finite - 2, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shifts = np.abs(means[1] - means[0]) / np.sqrt((a.m2 + b.m2) / degrees)
    shifts = np.where(np.isnan(shifts), 0.0, shifts)
    drawn = [int(at) for at in np.argsort(-shifts, kind="stable")[:_MOST_CHANNELS] if np.isfinite(means[:, at]).all()]
    words = f"the {len(drawn)} of {len(a.mean)} channels whose mean moved most: mean (line) ± standard deviation"
    y = draw_heading(scene, units.layer_name(record.layer.name), words, left, top, _AREA)
    x0, width = left + _LABEL, _AREA - _LABEL - 110
    y = draw_legend(scene, [Key("A", LINE), Key("B", _UNDER)], x0, y + 2, x0 + width) + 6
    draw = partial(_draw_moved, drawn=drawn, means=means[:, drawn], spreads=spreads[:, drawn], shifts=shifts[drawn])
    height = _CHANNEL * max(len(drawn), 1)
    scene.add(Plot("channels", x0, y, (height, width), draw))
    return y + height + 26


def _draw_moved(axes: Axes, drawn: Sequence[int], means: np.ndarray, spreads: np.ndarray, shifts: np.ndarray) -> None:
    """For each channel A's mean and spread over B's, and how far the mean moved. `means` and `spreads` are `[2, N]`."""
    where = np.arange(len(drawn))
    for side, name, colour in ((0, "A", LINE), (1, "B", _UNDER)):
        middle = where + (side - 0.5) * 0.37
        axes.barh(middle, 2 * spreads[side], 0.34, means[side] - spreads[side], color=rgb(colour), label=name)
        axes.vlines(means[side], middle - 0.2, middle + 0.2, rgb(INK), linewidth=points(2), label=f"mean of {name}")
    axes.set_ylim(len(drawn) - 0.5, -0.5)
    axes.margins(x=0.01)
    axes.set_yticks(where, [str(each) for each in drawn], color=rgb(INK), weight="bold")
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    beside = 1 + 100 / axes.bbox.width, axes.get_yaxis_transform()
    axes.text(beside[0], -0.6, "Δmean / σ", ha="right", va="bottom", transform=beside[1], color=rgb(GRAY))
    for at, shift in enumerate(shifts):
        axes.text(beside[0], at, units.number(float(shift), 2), ha="right", va="center", transform=beside[1])
