"""Values to colours and tiles to canvases: pixel by pixel, and against Matplotlib's own colours."""

from __future__ import annotations

import math
import subprocess
import sys

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import Normalize

from fmap_cli.drawing.grid import (
    BACKGROUND,
    CONSTANT,
    CONSTANT_RGB,
    INF,
    INF_RGB,
    NAN,
    NAN_RGB,
    Placement,
    blend,
    colour_codes,
    draw_tiles,
    fit_codes,
    fit_columns,
    lookup,
    palette,
    place,
    shrink,
)


def codes(values: list[float], low: float, high: float, dtype: type = np.float32) -> list[int]:
    row = np.array(values, dtype).reshape(1, 1, -1)
    return colour_codes(row, np.array([low]), np.array([high]))[0, 0].tolist()


# -- values to colours ---------------------------------------------------------------------------------------------


def test_a_value_is_coloured_by_its_place_between_the_ends() -> None:
    assert codes([0, 1, 2, 3, 4, 5], 0, 5) == [0, 51, 102, 153, 204, 255]  # 255 / 5 = 51
    assert codes([-1, 0, 1], -1, 1) == [0, 128, 255]  # 127.5 rounds to the even 128


def test_values_beyond_the_ends_take_the_ends_colours() -> None:
    assert codes([-10, 0, 1, 10], 0, 1) == [0, 0, 255, 255]


def test_each_map_has_ends_of_its_own() -> None:
    maps = np.array([[[0.0, 1.0]], [[10.0, 20.0]]])
    assert colour_codes(maps, np.array([0, 0]), np.array([1, 20])).tolist() == [[[0, 255]], [[128, 255]]]


def test_a_constant_map_has_a_code_of_its_own() -> None:
    assert codes([3, 3, 3], 3, 3) == [CONSTANT] * 3
    assert CONSTANT > 255


def test_what_is_no_number_has_codes_of_its_own_in_any_map() -> None:
    values = [0.0, math.nan, math.inf, -math.inf, 1.0]
    assert codes(values, 0, 1) == [0, NAN, INF, INF, 255]
    assert codes(values, 1, 1) == [CONSTANT, NAN, INF, INF, CONSTANT]
    assert codes([math.nan, math.inf], math.nan, math.nan) == [NAN, INF]


def test_ends_that_are_no_numbers_make_a_map_constant() -> None:
    assert codes([0, 1], math.nan, math.nan) == [CONSTANT, CONSTANT]


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (-float(np.finfo(np.float32).max), float(np.finfo(np.float32).max)),
        (-1e30, 1e30),
        (0.0, 1e-45),  # the smallest of float32's denormals
        (1e-40, 3e-40),
        (-1e-38, 1e-38),
        (1.0, float(np.nextafter(np.float32(1), np.float32(2)))),
        (float(np.float32(1e30)), float(np.nextafter(np.float32(1e30), np.float32(2e30)))),
    ],
)
@pytest.mark.filterwarnings("error")
def test_extreme_ranges_reach_from_one_end_of_the_palette_to_the_other(low: float, high: float) -> None:
    assert codes([low, high], low, high) == [0, 255]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("high", [1e-300, 1e300, 8e307])
def test_ranges_at_the_edge_of_float64_do_not_overflow_either(high: float) -> None:
    first, middle, last = codes([0.0, high / 2, high], 0.0, high, np.float64)
    assert (first, last) == (0, 255)
    assert middle in (127, 128)  # 127.5 but for rounding
    assert codes([-high, high], -high, high, np.float64) == [0, 255]


def test_the_middle_of_the_largest_range_is_the_middle_of_the_palette() -> None:
    largest = float(np.finfo(np.float32).max)
    assert codes([-largest, 0, largest], -largest, largest) == [0, 128, 255]


def test_small_differences_on_a_large_offset_are_not_lost_in_float32() -> None:
    values = (1000 + np.arange(5) / 4).astype(np.float32)
    assert codes(values.tolist(), 1000, 1001) == [0, 64, 128, 191, 255]


ends = st.floats(-1e6, 1e6, width=32)


@settings(deadline=None)
@given(arrays(np.float32, (3, 4, 5), elements=st.floats(-1e6, 1e6, width=32)), ends, ends)
def test_colours_are_those_of_matplotlibs_map_and_norm(maps: np.ndarray, one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    if not high - low > 1e-3:
        return
    ours = palette("viridis")[colour_codes(maps, np.full(3, low), np.full(3, high))]
    positions = np.asarray(Normalize(low, high, clip=True)(maps.astype(np.float64)))
    exact = np.clip(positions * 255, 0, 255)
    theirs = palette("viridis").astype(int)
    floor, ceiling = theirs[np.floor(exact).astype(int)], theirs[np.ceil(exact).astype(int)]
    assert (np.minimum(floor, ceiling) <= ours).all()
    assert (ours <= np.maximum(floor, ceiling)).all()
    bytes_of_matplotlib = matplotlib.colormaps["viridis"](positions, bytes=True)[..., :3].astype(int)
    one_level = np.abs(np.diff(theirs, axis=0)).max()
    assert np.abs(ours.astype(int) - bytes_of_matplotlib).max() <= one_level


@pytest.mark.parametrize("name", ["viridis", "RdBu_r", "gray", "turbo", "tab10"])
def test_a_palette_is_matplotlibs_at_256_places(name: str) -> None:
    colours = palette(name)
    assert colours.shape == (256, 3)
    assert colours.dtype == np.uint8
    exact = matplotlib.colormaps[name](np.linspace(0, 1, 256))[:, :3] * 255
    assert np.abs(colours - exact).max() <= 0.5


def test_an_unknown_palette_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        palette("no such map")


def test_the_lookup_ends_in_the_special_colours_and_the_background() -> None:
    table = lookup(palette("gray"), (1, 2, 3))
    assert table.shape == (260, 3)
    assert table[255].tolist() == [255, 255, 255]
    special = {CONSTANT: CONSTANT_RGB, NAN: NAN_RGB, INF: INF_RGB, BACKGROUND: (1, 2, 3)}
    assert {code: tuple(table[code].tolist()) for code in special} == special


def test_special_colours_are_in_no_usual_palette() -> None:
    for name in ("viridis", "RdBu_r", "gray", "magma", "inferno", "plasma", "cividis"):
        found = {tuple(colour) for colour in palette(name).tolist()}
        assert not found & {NAN_RGB, INF_RGB}
        assert name == "gray" or CONSTANT_RGB not in found


# -- tiles to a canvas ---------------------------------------------------------------------------------------------


def test_tiles_lie_row_by_row_with_gaps_between_and_none_around() -> None:
    tiles = np.arange(1, 6, dtype=np.uint16)[:, None, None] * np.ones((5, 2, 3), np.uint16)
    placement = Placement(5, 3, (2, 3), (1, 2))
    canvas = place(tiles, placement, 0)
    one, two, three, four, five = ([n] * 3 for n in range(1, 6))
    gap, none = [0, 0], [0, 0, 0]
    upper, lower = one + gap + two + gap + three, four + gap + five + gap + none
    assert canvas.tolist() == [upper, upper, [0] * 13, lower, lower]
    assert placement.size == canvas.shape == (5, 13)
    assert placement.rows == 2


def test_a_tiles_corner_is_where_its_first_pixel_lies() -> None:
    placement = Placement(7, 3, (4, 5), (2, 1))
    tiles = np.arange(1, 8, dtype=np.uint16)[:, None, None] * np.ones((7, 4, 5), np.uint16)
    canvas = place(tiles, placement, 0)
    for index in range(7):
        top, left = placement.corner(index)
        assert (canvas[top : top + 4, left : left + 5] == index + 1).all()
    assert (canvas == 0).sum() == canvas.size - 7 * 20


@given(
    st.integers(1, 20),
    st.integers(1, 8),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
@settings(deadline=None)
def test_every_tile_is_on_the_canvas_once_and_the_rest_is_background(
    count: int, columns: int, tile: tuple[int, int], gap: tuple[int, int]
) -> None:
    placement = Placement(count, columns, tile, gap)
    tiles = np.arange(count, dtype=np.uint16)[:, None, None] * np.ones((count, *tile), np.uint16)
    canvas = place(tiles, placement, 9999)
    assert canvas.shape == placement.size
    found, areas = np.unique(canvas[canvas != 9999], return_counts=True)
    assert found.tolist() == list(range(count))
    assert set(areas.tolist()) == {tile[0] * tile[1]}


def test_coloured_tiles_are_placed_as_coded_ones_are() -> None:
    placement = Placement(3, 2, (2, 2), (1, 1))
    tiles = np.random.default_rng(0).integers(0, 255, (3, 2, 2, 3), np.uint8)
    canvas = place(tiles, placement, 255)
    assert canvas.shape == (5, 5, 3)
    assert (canvas[:2, 3:] == tiles[1]).all()
    assert (canvas[2] == 255).all()


def test_no_tiles_are_an_empty_canvas() -> None:
    assert Placement(0, 4, (3, 3), (1, 1)).size == (0, 0)
    assert place(np.zeros((0, 3, 3), np.uint16), Placement(0, 4, (3, 3), (1, 1))).shape == (0, 0)


def test_a_tile_larger_than_its_map_repeats_each_units_pixel() -> None:
    maps = np.array([[[0.0, 1.0], [1.0, 0.0]]])
    tile = fit_codes(maps, np.zeros(1), np.ones(1), (4, 6))[0]
    assert tile.tolist() == np.kron([[0, 255], [255, 0]], np.ones((2, 3), int)).tolist()


def test_a_tile_that_is_no_multiple_of_its_map_keeps_every_unit_and_their_order() -> None:
    row = np.arange(4.0).reshape(1, 1, 4)
    assert fit_codes(row, np.zeros(1), np.full(1, 3.0), (1, 7))[0, 0].tolist() == [0, 0, 85, 85, 170, 170, 255]


def test_a_tile_of_its_maps_size_shows_every_unit_once() -> None:
    maps = np.random.default_rng(0).normal(size=(3, 5, 7)).astype(np.float32)
    low, high = maps.min((1, 2)), maps.max((1, 2))
    assert (fit_codes(maps, low, high, (5, 7)) == colour_codes(maps, low, high)).all()


def test_a_smaller_tile_shows_the_mean_of_the_units_under_each_pixel() -> None:
    maps = np.arange(16.0).reshape(1, 4, 4)
    assert shrink(maps, (2, 2)).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert fit_codes(maps, np.zeros(1), np.full(1, 15.0), (2, 2))[0].tolist() == [
        [round(2.5 * 17), round(4.5 * 17)],
        [round(10.5 * 17), round(12.5 * 17)],
    ]


def test_shrinking_by_a_whole_number_keeps_the_mean() -> None:
    maps = np.random.default_rng(0).normal(size=(2, 12, 8))
    assert np.allclose(shrink(maps, (3, 4)).mean((1, 2)), maps.mean((1, 2)), atol=1e-6)


def test_a_tile_may_be_smaller_one_way_and_larger_the_other() -> None:
    maps = np.array([[[0.0], [2.0], [4.0], [6.0]]])  # 4 × 1
    assert fit_codes(maps, np.zeros(1), np.full(1, 5.0), (2, 3))[0].tolist() == [[51] * 3, [255] * 3]


def test_what_is_no_number_stays_visible_in_a_smaller_tile() -> None:
    maps = np.zeros((1, 4, 4), np.float32)
    maps[0, 0, 0] = math.nan
    assert fit_codes(maps, np.zeros(1), np.ones(1), (2, 2))[0].tolist() == [[NAN, 0], [0, 0]]


def test_infinities_of_both_signs_do_not_become_ordinary_colours_in_a_smaller_tile() -> None:
    maps = np.zeros((1, 2, 4), np.float32)
    maps[0, 0, 0], maps[0, 1, 3] = math.inf, -math.inf
    assert fit_codes(maps, np.zeros(1), np.ones(1), (1, 2))[0].tolist() == [[INF, INF]]


def test_drawing_is_coding_placing_and_colouring() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 3, 3)).astype(np.float32)
    maps[4] = 7
    low, high = maps.min((1, 2)), maps.max((1, 2))
    placement = Placement(5, 2, (6, 6), (1, 1))
    canvas = draw_tiles(maps, low, high, palette("viridis"), placement, (9, 9, 9))
    assert canvas.shape == (*placement.size, 3)
    for index in range(5):
        top, left = placement.corner(index)
        expected = lookup(palette("viridis"))[fit_codes(maps, low, high, (6, 6))[index]]
        assert (canvas[top : top + 6, left : left + 6] == expected).all()
    assert (canvas[:6, 6] == 9).all()
    assert (canvas[14:, :6] == CONSTANT_RGB).all()


# -- photo, columns ------------------------------------------------------------------------------------------------


def test_a_blend_is_the_weighted_mean_of_tile_and_photo() -> None:
    tiles = np.array([[[[100, 0, 200]]]], np.uint8)
    photo = np.array([[[0, 50, 100]]], np.uint8)
    assert blend(tiles, photo, 0.6).tolist() == [[[[60, 20, 160]]]]
    assert blend(tiles, photo, 1.0).tolist() == tiles.tolist()
    assert blend(tiles, photo, 0.0)[0].tolist() == photo.tolist()


def test_a_blend_lays_every_tile_over_the_same_photo() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    photo = np.random.default_rng(1).integers(0, 256, (4, 5, 3), np.uint8)
    exact = 0.25 * tiles.astype(float) + 0.75 * photo.astype(float)
    assert np.abs(blend(tiles, photo, 0.25) - exact).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("count", "aspect", "area", "columns"),
    [
        (64, 1.0, (800, 800), 8),
        (16, 1.0, (100, 400), 8),
        (6, 1.0, (200, 300), 3),
        (6, 1.0, (300, 200), 2),
        (8, 2.0, (400, 400), 2),
        (1, 1.0, (100, 100), 1),
        (0, 1.0, (100, 100), 1),
    ],
)
def test_columns_make_the_tiles_as_large_as_can_be(
    count: int, aspect: float, area: tuple[int, int], columns: int
) -> None:
    assert fit_columns(count, aspect, area, (0, 0)) == columns


@given(st.integers(1, 40), st.floats(0.25, 4), st.tuples(st.integers(50, 900), st.integers(50, 900)))
@settings(deadline=None)
def test_no_other_number_of_columns_makes_larger_tiles(count: int, aspect: float, area: tuple[int, int]) -> None:
    def height(columns: int) -> float:
        rows = math.ceil(count / columns)
        return min((area[0] - 2 * (rows - 1)) / rows, (area[1] - 3 * (columns - 1)) / columns / aspect)

    chosen = fit_columns(count, aspect, area, (2, 3))
    assert 1 <= chosen <= count
    assert all(height(chosen) >= height(other) for other in range(1, count + 1))


def test_viridis_is_that_of_matplotlib():
    from matplotlib import colormaps

    theirs = colormaps["viridis"](np.linspace(0.0, 1.0, 256))
    assert (palette("viridis") == np.rint(theirs[:, :3] * 255)).all()


def test_maps_in_viridis_are_drawn_without_importing_matplotlib():
    lines = (
        "import sys",
        "from fmap_cli.drawing.grid import palette",
        "from fmap_cli.drawing.scene import text_width",
        "print(palette('viridis')[0].tolist(), text_width('features.2', 17) > 0, 'matplotlib' in sys.modules)",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout == "[68, 1, 84] True False\n"
