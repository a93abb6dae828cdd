"""Figures of receptive fields: boxes and lines lie where the records say, words hold the numbers, nothing is cut."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes as Chart
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from matplotlib.patches import StepPatch
from matplotlib.text import Annotation
from pages import chart_words, drawn, faults, labels, place_of, texts

from fmap_cli.drawing.files import write_scene
from fmap_cli.drawing.grid import palette
from fmap_cli.drawing.raster import rasterise
from fmap_cli.drawing.scene import Box, Picture, Scene, Text
from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import Origin, Weights
from fmap_cli.network.records import Axes, LayerKind, LayerRef
from fmap_cli.receptive.effective_figure import cut_sides, held_by_size
from fmap_cli.receptive.figure import effective_figure, growth_figure, unit_figure
from fmap_cli.receptive.records import (
    EffectiveField,
    FieldAxis,
    FieldGroup,
    FieldListing,
    FieldRow,
    ReceptiveField,
    UnitBox,
    UnitView,
)

ORIGIN = Origin("net", Weights("unknown", "V1"))

BLUE = (0, 114, 178)
WHOLE = (240, 228, 66)
MARK, HATCHED = (213, 58, 0), (226, 176, 158)

Span = tuple[int, int]


# -- what is drawn ---------------------------------------------------------------------------------------------------


def exact(axis: str, size: int, stride: int = 1) -> FieldAxis:
    return FieldAxis(axis, "exact", size, Fraction(stride), -(size // 2), size)


def whole(axis: str, by: str = "pool", why: str = "mean takes in the whole map") -> FieldAxis:
    return FieldAxis(axis, "whole image", by=by, why=why)


def row(
    name: str,
    axes: Sequence[FieldAxis],
    *,
    kind: LayerKind = "conv",
    groups: Sequence[FieldGroup] = (),
    cells: tuple[int, ...] = (8, 8),
) -> FieldRow:
    field = ReceptiveField(tuple(axes), tuple(groups), max(len(groups), 1), cells, 0.1, ())
    layer = LayerRef(name, name, 0, kind, "Conv2d", True)
    return FieldRow(layer, (1, 4, *cells), Axes(("B", "C", "H", "W"), "test"), field)


def square(name: str, size: int, stride: int = 1) -> FieldRow:
    return row(name, [exact("H", size, stride), exact("W", size, stride)])


def listing(*rows: FieldRow, size: tuple[int, ...] = (64, 64)) -> FieldListing:
    return FieldListing(ORIGIN, rows, len(rows), (1, 3, *size), size)


def growth(*rows: FieldRow, size: tuple[int, ...] = (64, 64)) -> Scene:
    return growth_figure(listing(*rows, size=size))


def photo(height: int = 60, width: int = 80, name: str = "photo.png") -> ImageInput:
    ramp = np.linspace(1, 200, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    return ImageInput(name, "photo", ramp, torch.zeros(3, height, width))


def unit(
    seen: tuple[Span | None, Span | None],
    unclipped: tuple[Span | None, Span | None] | None = None,
    *,
    image: ImageInput | None = None,
    values: np.ndarray | None = None,
    place: tuple[int, int, int] = (0, 2, 5),
    of: FieldRow | None = None,
) -> UnitView:
    values = np.arange(64, dtype=np.float32).reshape(8, 8) if values is None else values
    return UnitView(
        origin=ORIGIN,
        row=of or square("layer1.conv", 9, 4),
        channel=3,
        channels=32,
        place=place,
        picked="the strongest unit of channel 3",
        value=float(values[place[1], place[2]]),
        map=values,
        box=UnitBox(seen, seen if unclipped is None else unclipped),
        image=image or photo(),
    )


def field(
    energy: np.ndarray,
    seen: tuple[Span | None, Span | None],
    unclipped: tuple[Span | None, Span | None] | None = None,
    *,
    holds: tuple[tuple[float, int, int], ...] = (),
    image: ImageInput | None = None,
) -> EffectiveField:
    ends = seen if unclipped is None else unclipped
    centre = tuple(
        (length - 1) / 2 if span is None else sum(span) / 2 for span, length in zip(ends, energy.shape, strict=True)
    )
    total = energy.sum()
    return EffectiveField(
        origin=ORIGIN,
        row=square("layer1.conv", 9, 4),
        channel=None,
        place=(0, 4, 4),
        box=UnitBox(seen, ends),
        energy=energy / total if total else energy,
        centre=(centre[0], centre[1]),
        holds=holds,
        count=16,
        source="Gaussian noise (seed 0)",
        image=image,
    )


# -- where it is -----------------------------------------------------------------------------------------------------


def said(scene: Scene) -> str:
    """All words, wrapped lines joined."""
    return " ".join(texts(scene)).replace("\N{NO-BREAK SPACE}", " ")


def boxes(scene: Scene, colour: tuple[int, int, int], *, outlined: bool = False) -> list[Box]:
    items = [item for item in scene.items if isinstance(item, Box)]
    return [item for item in items if (item.outline if outlined else item.fill) == colour]


# -- growth through depth --------------------------------------------------------------------------------------------


def chart(*rows: FieldRow, size: tuple[int, ...] = (64, 64)) -> Chart:
    return drawn(growth(*rows, size=size))["growth"]


def marks(axes: Chart, name: str = "size") -> list[tuple[float, float]]:
    """Layer and size of each mark."""
    found = [each for each in axes.collections if isinstance(each, PathCollection) and each.get_label() == name]
    return [(float(at), float(size)) for each in found for at, size in np.asarray(each.get_offsets())]


def steps(axes: Chart, name: str) -> list[float | None]:
    """A line's value at each layer; None where it breaks."""
    (found,) = [each for each in axes.patches if isinstance(each, StepPatch) and each.get_label() == name]
    return [None if np.isnan(value) else float(value) for value in found.get_data().values]


def levels(axes: Chart) -> list[float]:
    """Where lines go through the whole chart."""
    return [float(line.get_ydata()[0]) for line in axes.lines]  # type: ignore[index]


def test_a_mark_lies_at_the_size_and_each_doubling_takes_the_same_height() -> None:
    axes = chart(square("a", 3, 2), square("b", 12, 2), square("c", 48, 8))
    assert marks(axes) == [(0, 3), (1, 12), (2, 48)]
    assert steps(axes, "sizes") == [3, 12, 48]
    assert labels(axes) == {float(2**power): str(2**power) for power in range(7)}
    heights = axes.transData.transform([(0, value) for value in labels(axes)])[:, 1]
    assert np.diff(heights) == pytest.approx(heights[1] - heights[0])
    assert {"3", "12", "48"} == {word.get_text() for word in axes.texts if word.get_text().isdigit()}


def test_a_shortcut_lies_off_the_line_and_is_paler() -> None:
    rows = [square("a", 3), square("conv", 11), square("downsample", 3), square("add", 11), square("b", 19)]
    axes = chart(*rows)
    assert steps(axes, "sizes") == [3, 11, 11, 11, 19]
    assert marks(axes) == [(0, 3), (1, 11), (2, 3), (3, 11), (4, 19)]
    (found,) = [each for each in axes.collections if each.get_label() == "size"]
    light = np.asarray(found.get_facecolor())[:, :3].sum(1)  # type: ignore[attr-defined]
    assert light[2] > light[1] + 0.3 and np.ptp(light[[0, 1, 3, 4]]) < 1e-6
    assert "paler, off the line" in said(growth(*rows))
    assert "paler" not in said(growth(*rows[:2]))


def test_the_stride_is_a_line_of_its_own_that_breaks_where_there_is_none() -> None:
    unknown = row("b", [FieldAxis("H", "exact", 9, None, 0, 9), FieldAxis("W", "exact", 9, None, 0, 9)])
    scene = growth(square("a", 3, 2), unknown, square("c", 48, 8))
    assert steps(drawn(scene)["growth"], "stride down") == [2, None, 8]
    assert any("stride" in words for words in texts(scene))
    uneven = chart(row("a", [exact("H", 9, 1), exact("W", 9, 4)]))
    assert (steps(uneven, "stride down"), steps(uneven, "stride across")) == ([1], [4])


def test_strides_under_a_pixel_have_their_labels() -> None:
    finer = FieldAxis("H", "exact", 9, Fraction(1, 4), 0, 9)
    axes = chart(row("a", [finer, finer]))
    assert {0.25: "0.25", 0.5: "0.5", 1: "1"}.items() <= labels(axes).items()
    assert steps(axes, "stride down") == [0.25]


def test_the_input_is_a_line_at_its_size_and_the_first_layer_to_reach_it_is_named() -> None:
    scene = growth(square("a", 3), square("b", 64), square("c", 90))
    axes = drawn(scene)["growth"]
    assert levels(axes) == [64]
    (word,) = [each for each in axes.texts if each.get_text() == "the input: 64 px"]
    assert isinstance(word, Annotation) and word.xy == (1, 64) and word.xyann[1] == 0
    assert "as large as the input from b on; the largest is 90 px, at c" in said(scene)
    assert "smaller than the input" in said(growth(square("a", 3)))
    assert "at b, though not in every layer after it;" in said(growth(square("a", 3), square("b", 80), square("c", 20)))


def test_an_input_that_is_not_square_has_two_lines_with_labels_apart() -> None:
    scene = growth(square("a", 3), size=(60, 66))
    assert levels(drawn(scene)["growth"]) == [60, 66]
    places = dict(chart_words(scene))
    high, wide = places["the input: 60 px high"], places["the input: 66 px wide"]
    assert high[1] - wide[1] >= 15
    assert "as large as" not in said(growth(square("a", 3), square("b", 62), size=(60, 66)))


def test_layers_that_see_the_whole_image_stand_in_a_band_that_says_where_it_begins_and_why() -> None:
    after = [row(name, [whole("H"), whole("W")], kind="pool", cells=(1, 1)) for name in ("pool", "fc")]
    scene = growth(square("a", 3), square("b", 9), *after)
    axes = drawn(scene)
    assert bars(axes["whole image"]) == {2: WHOLE, 3: WHOLE}
    assert axes["whole image"].bbox.y0 > axes["growth"].bbox.y1
    assert "from pool on (mean takes in the whole map)" in texts(scene)
    assert "The largest is 9 px, at b, smaller than the input; units see the whole image from pool on" in said(scene)
    assert not any("whole" in words for words in texts(growth(square("a", 3))))
    again = growth(square("a", 3), *after, square("side", 5))
    assert "first at pool (mean takes in the whole map)" in texts(again), "one after it does not"


def bars(axes: Chart) -> dict[int, tuple[int, ...]]:
    """The colour at each layer that a strip marks."""
    (found,) = axes.collections
    assert isinstance(found, LineCollection)
    colours = [tuple(round(255 * part) for part in to_rgb(each)) for each in found.get_edgecolor()]
    return {round(line[0][0]): colour for line, colour in zip(found.get_segments(), colours, strict=True)}


def test_upper_bounds_are_hollow() -> None:
    bound = FieldAxis("H", "upper bound", 9, Fraction(1), 0, 9, why="units are unevenly spaced")
    scene = growth(square("a", 9), row("b", [bound, bound]))
    axes = drawn(scene)["growth"]
    assert (marks(axes), marks(axes, "upper bound")) == ([(0, 9)], [(1, 9)])
    page = np.asarray(rasterise(scene)).astype(int)
    places = axes.transData.transform([(0, 9), (1, 9)])
    middles = [tuple(page[round(scene.height - y), round(x)]) for x, y in places]
    assert middles == [BLUE, (255, 255, 255)]
    assert "upper bound" in texts(scene) and "upper bound" not in texts(growth(square("a", 9)))


def test_where_height_and_width_or_channels_differ_a_bar_goes_from_the_fewest_to_the_most() -> None:
    uneven = row("b", [exact("H", 8), exact("W", 32)])
    groups = [
        FieldGroup(((0, 1),), (exact("H", 4), exact("W", 4))),
        FieldGroup(((2, 3),), (exact("H", 32), exact("W", 32))),
    ]
    scene = growth(square("a", 3), uneven, row("c", [exact("H", 32), exact("W", 32)], groups=groups))
    axes = drawn(scene)["growth"]
    (found,) = [each for each in axes.collections if each.get_label() == "span"]
    assert isinstance(found, LineCollection)
    assert [each.tolist() for each in found.get_segments()] == [[[1, 8], [1, 32]], [[2, 4], [2, 32]]]
    assert "8 × 32" in texts(scene)
    assert any("height and width or channels differ" in words for words in texts(scene))
    assert marks(axes) == [(0, 3), (1, 8), (1, 32), (2, 32)], "both ends of the uneven one"


def test_a_clip_has_a_line_for_its_frames() -> None:
    clip = row("a", [exact("T", 4), exact("H", 16), exact("W", 16)], cells=(2, 8, 8))
    scene = growth_figure(replace(listing(clip, size=(8, 32, 32)), origin=replace(ORIGIN, input_kind="video")))
    axes = drawn(scene)["growth"]
    assert steps(axes, "time") == [4] and levels(axes) == [8, 32]
    assert "the clip: 8 frames" in texts(scene) and "8 frames of 32 × 32 px" in said(scene)


def test_unknown_and_nothing_have_marks_of_their_own_and_the_reason_is_told() -> None:
    unknown = FieldAxis("H", "unknown", by="fft", why="fmap does not follow fft")
    none = FieldAxis("H", "nothing")
    scene = growth(square("a", 3), row("fft", [unknown, unknown]), row("bias", [none, none], cells=()))
    axes = drawn(scene)
    assert (bars(axes["unknown"]), bars(axes["no pixel"])) == ({1: (213, 94, 0)}, {2: (150, 150, 158)})
    assert {"unknown", "no pixel", "does not depend on the image"} <= {*texts(scene)}
    assert "unknown from fft on (1 layer): fmap does not follow fft" in texts(scene)


def many(count: int) -> list[FieldRow]:
    rows = [square(f"layer{at // 40}.{at % 40}.conv", 1 + 6 * at, 1 << min(at // 30, 5)) for at in range(count - 1)]
    return [*rows, row("pool", [whole("H", why="w" * 300), whole("W", why="w" * 300)], cells=(1, 1))]


@pytest.mark.parametrize("count", [1, 2, 5, 40, 150])
def test_nothing_is_cut_and_no_words_lie_over_others(count: int) -> None:
    scene = growth(*many(count), size=(224, 224))
    assert faults(scene) == []
    assert scene.height < 1300
    odd = growth_figure(replace(listing(*many(count)), origin=Origin("m" * 300, Weights("unknown", "w" * 300))))
    assert [each for each in faults(odd) if "off the page" in each] == []


def test_a_thousand_layers_take_a_few_pixels_each() -> None:
    scene = growth(*many(1500), size=(224, 224))
    assert 4200 <= scene.width <= 4600
    assert growth_figure(listing()).height < 300


# -- one unit --------------------------------------------------------------------------------------------------------


def pictures(scene: Scene) -> list[Picture]:
    return [item for item in scene.items if isinstance(item, Picture)]


def the_photo(scene: Scene, image: ImageInput) -> Picture:
    return next(item for item in pictures(scene) if item.pixels.shape == image.pixels.shape)


def test_the_line_goes_round_the_pixels_that_the_unit_sees() -> None:
    view = unit(((10, 19), (30, 49)))
    scene = unit_figure(view)
    drawn = the_photo(scene, view.image)
    scale = drawn.size[0] / 60
    outer = max(boxes(scene, MARK, outlined=True), key=lambda box: box.width)
    assert outer.x + 2 == pytest.approx(drawn.x + 30 * scale, abs=1)
    assert outer.y + 2 == pytest.approx(drawn.y + 10 * scale, abs=1)
    assert outer.width - 4 == pytest.approx(20 * scale, abs=1)
    assert outer.height - 4 == pytest.approx(10 * scale, abs=1)
    assert (drawn.pixels[10:20, 30:50] == view.image.pixels[10:20, 30:50]).all()
    assert (drawn.pixels[0:10] > view.image.pixels[0:10]).all(), "paler where it does not see"
    assert {"rows 10 to 19", "columns 30 to 49"} <= {*texts(scene)}
    crop = next(item for item in pictures(scene) if item.pixels.shape == (10, 20, 3))
    assert (crop.pixels == view.image.pixels[10:20, 30:50]).all()
    assert crop.size[0] / 10 == pytest.approx(crop.size[1] / 20)
    assert faults(scene) == []


def hatched(scene: Scene) -> np.ndarray:
    """Where the page has hatching, by pixel."""
    return (np.asarray(rasterise(scene)) == HATCHED).all(axis=2)


@pytest.mark.parametrize(
    ("unclipped", "beyond"),
    [
        (((10, 19), (30, 49)), set()),
        (((-9, 19), (30, 49)), {"top"}),
        (((10, 19), (-7, 49)), {"left"}),
        (((10, 65), (30, 91)), {"bottom", "right"}),
        (((-9, 70), (-7, 90)), {"top", "left", "bottom", "right"}),
    ],
)
def test_hatching_is_where_the_box_leaves_the_image_and_nowhere_else(
    unclipped: tuple[Span, Span], beyond: set[str]
) -> None:
    rows, columns = unclipped
    seen = (max(rows[0], 0), min(rows[1], 59)), (max(columns[0], 0), min(columns[1], 79))
    view = unit(seen, unclipped)
    scene = unit_figure(view)
    lines = hatched(scene)
    left, top, right, bottom = (round(each) for each in place_of(the_photo(scene, view.image)))
    sides = {"top": lines[:top], "left": lines[:, :left], "bottom": lines[bottom:], "right": lines[:, right:]}
    assert {side for side, part in sides.items() if part.any()} == beyond
    assert not lines[top:bottom, left:right].any()
    scale = (bottom - top) / 60
    ys, xs = np.nonzero(lines)
    if beyond:
        assert ys.min() >= top + rows[0] * scale - 1 and ys.max() <= top + (rows[1] + 1) * scale + 1
        assert xs.min() >= left + columns[0] * scale - 1 and xs.max() <= left + (columns[1] + 1) * scale + 1
    assert ("Hatched" in said(scene)) == bool(beyond) == ("full field" in texts(scene))
    assert faults(scene) == []


def test_a_box_that_goes_on_far_beyond_the_image_is_cut_and_says_how_far() -> None:
    view = unit(((0, 59), (0, 79)), ((-135, 59), (0, 279)))
    scene = unit_figure(view)
    drawn = the_photo(scene, view.image)
    assert {"↑ goes on 105 px further", "↓ goes on 160 px further"} <= {*texts(scene)}
    paper = pictures(scene)[0]
    scale = drawn.size[0] / 60
    assert paper.size[0] == pytest.approx(90 * scale, abs=2) and paper.size[1] == pytest.approx(120 * scale, abs=2)
    assert "rows -135 to 59, columns 0 to 279: 195 × 280 px" in texts(scene)
    assert faults(scene) == []


def test_the_unclipped_box_is_dashed_where_it_is_larger_than_what_is_seen() -> None:
    view = unit(((10, 19), (30, 49)), ((8, 21), (28, 51)))
    scene = unit_figure(view)
    drawn = the_photo(scene, view.image)
    left, top = drawn.x, drawn.y
    scale = drawn.size[0] / 60
    dashes = [box for box in boxes(scene, MARK) if box.height == 2 and box.y == round(top + 8 * scale) - 2]
    assert len(dashes) > 5
    assert min(box.x for box in dashes) == pytest.approx(left + 28 * scale, abs=1)
    assert max(box.x + box.width for box in dashes) == pytest.approx(left + 52 * scale, abs=9)
    assert not hatched(scene).any() and "Dashed" in said(scene) and "Hatched" not in said(scene)
    assert "Dashed" not in said(unit_figure(unit(((10, 19), (30, 49)))))


def test_the_whole_image_is_outlined_and_the_layer_that_made_it_so_is_named() -> None:
    of = row("fc", [whole("H"), whole("W")], cells=())
    view = unit(((0, 59), (0, 79)), (None, None), of=of, values=np.full((1, 1), 2.5, np.float32), place=(0, 0, 0))
    scene = unit_figure(view)
    drawn = the_photo(scene, view.image)
    assert (drawn.pixels == view.image.pixels).all()
    outer = max(boxes(scene, MARK, outlined=True), key=lambda box: box.width)
    assert (outer.width, outer.height) == (drawn.size[1] + 4, drawn.size[0] + 4)
    assert "whole image by pool: mean takes in the whole map" in texts(scene)
    assert "2.5" in texts(scene) and len(pictures(scene)) == 1, "neither a crop nor a map of one value"


def test_a_unit_that_sees_nothing_says_so() -> None:
    scene = unit_figure(unit((None, None)))
    assert "would be the same for any image" in said(scene)
    assert boxes(scene, MARK, outlined=True) == [] and not hatched(scene).any()
    assert faults(scene) == []


def test_the_cell_is_marked_on_the_map_and_the_scale_has_its_ends() -> None:
    values = np.arange(64, dtype=np.float32).reshape(8, 8) / 4
    scene = unit_figure(unit(((10, 19), (30, 49)), values=values))
    tile = max(pictures(scene), key=lambda item: item.x)
    outline = max(boxes(scene, (26, 26, 30), outlined=True), key=lambda box: box.width)
    cell = tile.size[0] / 8
    assert outline.x + 2 == pytest.approx(tile.x + 5 * cell, abs=1)
    assert outline.y + 2 == pytest.approx(next(p.y for p in pictures(scene) if p.x == tile.x) + 2 * cell, abs=1)
    assert {"0", "15.75"} <= {*texts(scene)}
    assert {"5.25", "row 2, column 5 of channel 3 (32 in all)", "the strongest unit of channel 3"} <= {*texts(scene)}
    signed = unit_figure(unit(((10, 19), (30, 49)), values=values - 4))
    assert {"-11.75", "0", "11.75"} <= {*texts(signed)} and "about zero" in said(signed)
    constant = unit_figure(unit(((10, 19), (30, 49)), values=values * 0))
    assert "constant: every cell is 0" in texts(constant)


@pytest.mark.parametrize("size", [(1, 1), (300, 20), (20, 300), (520, 780)])
@pytest.mark.parametrize("name", ["p" * 250 + ".png", "a\nb.png"])
def test_images_and_names_of_any_kind_stay_on_the_page(size: tuple[int, int], name: str) -> None:
    height, width = size
    view = unit(((0, height - 1), (0, width // 2)), ((-height, height + 3), (-9, width // 2)), image=photo(*size, name))
    scene = unit_figure(replace(view, origin=Origin("m" * 200, Weights("unknown", "w" * 200))))
    assert faults(scene) == []
    assert all(words.isprintable() for words in texts(scene))


# -- the effective field ---------------------------------------------------------------------------------------------


def bump(height: int = 60, width: int = 80) -> np.ndarray:
    """Energy within the box of rows 10 to 40 and columns 20 to 50, most of it in the middle."""
    energy = np.zeros((height, width))
    rows, columns = np.mgrid[10:41, 20:51]
    energy[10:41, 20:51] = np.exp(-((rows - 25) ** 2 + (columns - 35) ** 2) / 30)
    return energy


HOLDS = ((0.5, 9, 9), (0.9, 15, 15), (0.99, 21, 21))


def test_boxes_that_hold_shares_lie_around_the_middle_and_are_told_in_pixels_and_shares() -> None:
    found = field(bump(), ((10, 40), (20, 50)), holds=HOLDS)
    scene = effective_figure(found)
    heat = pictures(scene)[0]
    scale = heat.size[0] / heat.pixels.shape[0]
    for colour, side in (((86, 180, 233), 15), ((0, 190, 120), 21), (MARK, 31)):
        line = max(boxes(scene, colour, outlined=True), key=lambda box: box.width)
        assert line.width == pytest.approx(side * scale, abs=1.5) and line.height == pytest.approx(
            side * scale, abs=1.5
        )
        middle = line.x + line.width / 2 - heat.x, line.y + line.height / 2 - heat.y
        # The heat map shows four rows and columns more than the box on each side.
        assert middle == (
            pytest.approx((15 + 4 + 0.5) * scale, abs=1.5),
            pytest.approx((15 + 4 + 0.5) * scale, abs=1.5),
        )
    assert {"50 %", "90 %", "99 %", "in 9 × 9 px", "in 15 × 15 px", "in 21 × 21 px"} <= {*texts(scene)}
    assert "23.4 % of what it can see" in texts(scene), "15 · 15 of 31 · 31 pixels"
    assert "90 % of what moves the unit is in 15 × 15 px, 23.4 % of what it can see" in said(scene)
    assert "mean over 16 inputs: Gaussian noise (seed 0)" in said(scene)
    assert faults(scene) == []


@pytest.mark.parametrize(
    ("spans", "sides"),
    [
        (((0, 59), (0, 79)), (False, False, False, False)),
        (((-1, 59), (0, 79)), (False, True, False, False)),
        (((3, 60), (-5, 90)), (True, False, True, True)),
    ],
)
def test_a_box_is_cut_where_it_goes_on_beyond_what_is_drawn(
    spans: tuple[Span, Span], sides: tuple[bool, bool, bool, bool]
) -> None:
    found = cut_sides(spans, ((0, 59), (0, 79)))
    assert (found.left, found.top, found.right, found.bottom) == sides


def test_an_edge_is_dashed_where_the_picture_s_border_cuts_the_box_and_nowhere_else() -> None:
    words = "dashed: the box goes on beyond this edge"
    whole_box = effective_figure(field(bump(), ((10, 40), (20, 50)), holds=HOLDS))
    assert words not in texts(whole_box)
    cut = field(bump(), ((0, 40), (20, 50)), ((-12, 40), (20, 50)), holds=HOLDS[:1])
    scene = effective_figure(cut)
    heat = pictures(scene)[0]
    dashes = [each for each in boxes(scene, MARK) if each.height == 2 and each.y == heat.y]
    assert words in said(scene) and len(dashes) > 5
    left, right = min(each.x for each in dashes), max(each.x + each.width for each in dashes)
    line = max(boxes(scene, MARK, outlined=True), key=lambda box: box.width)
    assert left == pytest.approx(line.x, abs=2) and right == pytest.approx(line.x + line.width, abs=20)
    assert not [each for each in boxes(scene, MARK) if each.width == 2], "left and right it is whole"
    assert faults(scene) == []


def test_colours_follow_the_root_and_zero_has_its_own() -> None:
    energy = np.zeros((20, 20))
    energy[5:15, 5:15] = 1.0
    energy[5, 5] = 9.0
    scene = effective_figure(field(energy, ((5, 14), (5, 14))))
    colours = palette("magma")
    heat = pictures(scene)[0].pixels
    inset = 1  # the heat map shows a pixel more than the box
    assert tuple(heat[0, 0]) == (205, 212, 218)
    assert (heat[inset, inset] == colours[255]).all() and (heat[inset + 1, inset + 1] == colours[85]).all()
    assert "exactly zero: the pixel does not count" in texts(scene) and "Square-root scale" in said(scene)


def test_a_clipped_box_is_compared_with_the_part_inside_the_image() -> None:
    found = field(bump()[10:, :], ((0, 30), (20, 50)), ((-30, 30), (5, 65)), holds=((0.9, 61, 61),))
    scene = effective_figure(found)
    assert "100 % of what it can see" in texts(scene)
    assert "61 × 61 px, of which 31 × 31 px are in the image" in said(scene)


def test_the_curve_rises_from_nothing_to_all_and_even_pixels_hold_their_area() -> None:
    found = field(bump(), ((10, 40), (20, 50)))
    held, even = held_by_size(found, np.array([0.0, 1 / 31, 15 / 31, 1.0]))
    assert held[0] == even[0] == 0 and held[-1] == pytest.approx(1) and even[-1] == pytest.approx(1)
    assert even[1] == pytest.approx(1 / 31**2) and even[2] == pytest.approx((15 / 31) ** 2)
    assert held[2] == pytest.approx(found.energy[18:33, 28:43].sum())


def test_the_curve_and_its_marks_are_what_boxes_hold() -> None:
    found = field(bump(), ((10, 40), (20, 50)), holds=HOLDS)
    axes = drawn(effective_figure(found))["held"]
    curves = {str(line.get_label()): np.asarray(line.get_xydata()) for line in axes.lines}
    for name, expected in zip(("held", "even"), held_by_size(found, curves["held"][:, 0] / 31), strict=True):
        assert curves[name][:, 1] == pytest.approx(expected)
    assert curves["held"][0].tolist() == [0, 0] and curves["held"][-1, 0] >= 31
    (holds,) = [each for each in axes.collections if each.get_label() == "holds"]
    assert np.asarray(holds.get_offsets()).tolist() == [[9, 0.5], [15, 0.9], [21, 0.99]]
    assert labels(axes) == {0: "0 %", 0.25: "25 %", 0.5: "50 %", 0.75: "75 %", 1: "100 %"}
    assert {f"{value:g}": value for value in labels(axes, "x")} == {word: at for at, word in labels(axes, "x").items()}


@pytest.mark.parametrize("image", [None, photo()])
@pytest.mark.parametrize(
    ("seen", "unclipped"),
    [
        (((10, 40), (20, 50)), None),
        (((0, 59), (0, 79)), (None, None)),
        (((0, 59), (0, 79)), ((-500, 500), (-500, 500))),
        (((25, 25), (30, 30)), None),
        ((None, None), None),
    ],
)
def test_effective_fields_of_any_kind_stay_on_the_page(
    image: ImageInput | None, seen: tuple[Span, Span], unclipped: tuple[Span, Span] | None
) -> None:
    found = field(bump(), seen, unclipped, holds=HOLDS, image=image)
    scene = effective_figure(replace(found, origin=Origin("m" * 200, Weights("unknown", "V1"))))
    assert faults(scene) == []
    assert len(pictures(scene)) == (3 if image else 2)
    held = drawn(scene)["held"]
    assert held.get_xlim()[0] == 0 and held.get_ylim() == (0, 1)


def test_no_energy_is_said() -> None:
    scene = effective_figure(field(np.zeros((20, 20)), ((5, 14), (5, 14))))
    assert "No pixel moves this unit." in texts(scene)


# -- and all of them -------------------------------------------------------------------------------------------------


def test_figures_are_written_in_pixels_and_in_vectors() -> None:
    scenes = [
        growth(*many(12)),
        unit_figure(unit(((0, 19), (30, 49)), ((-9, 19), (30, 49)))),
        effective_figure(field(bump(), ((10, 40), (20, 50)), holds=HOLDS, image=photo())),
    ]
    for scene in scenes:
        assert rasterise(scene).size == (scene.width, scene.height)
        for suffix, start in ((".png", b"\x89PNG"), (".pdf", b"%PDF")):
            file = io.BytesIO()
            write_scene(scene, file, suffix)
            assert file.getvalue().startswith(start)


def test_these_guards_can_fail() -> None:
    scene = unit_figure(unit(((10, 19), (30, 49))))
    drawn = pictures(scene)[0]
    scene.add(Text(drawn.x + 9, drawn.y + 9, "over it", 13), Text(scene.width - 20, 300, "off the page", 13))
    scene.add(Text(drawn.x + 12, drawn.y + 9, "over that", 13))
    found = faults(scene)
    assert any("over a picture" in each for each in found)
    assert any("off the page" in each for each in found)
    assert any("'over it' lies over 'over that'" in each for each in found)
