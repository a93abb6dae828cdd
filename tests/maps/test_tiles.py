"""The tiles of a layer: which values stand at the ends of its colours, and the pixels that follow."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fmap_cli.drawing.grid import CONSTANT_RGB, INF_RGB, NAN_RGB, TWO_HUES, palette
from fmap_cli.drawing.overlay import OVERLAY_STRENGTH, gray_photo
from fmap_cli.maps.records import Drawing, FeatureMap
from fmap_cli.maps.tiles import (
    DIVERGING,
    SEQUENTIAL,
    Scale,
    frames_of,
    overlay_colours,
    scale_of,
    tile_colours,
)
from fmap_cli.network.axes import axes_by_rank
from fmap_cli.network.records import LayerRef
from fmap_cli.statistics.reference import channel_stats, layer_stats


def feature_map(output: np.ndarray | list, drawn: list[int] | None = None) -> FeatureMap:
    """A layer whose `[C, H, W]` output is this, with the channels `drawn` (all) to be shown."""
    values = torch.tensor(np.asarray(output, np.float32))
    channels = channel_stats(values.flatten(1))
    chosen = np.arange(len(values)) if drawn is None else np.array(drawn)
    return FeatureMap(
        layer=LayerRef("conv1", "conv1", 0, "conv", "Conv2d", True),
        asked="conv1",
        shape=(1, *values.shape),
        dtype="float32",
        axes=axes_by_rank((1, *values.shape)),
        stats=layer_stats(values),
        channels=channels,
        drawn=chosen,
        maps=values.numpy()[chosen][:, None],
        order="",
    )


SIGNED = feature_map([[[-1.0, 2.0]], [[0.5, 1.0]], [[-3.0, 0.0]]])
POSITIVE = feature_map([[[1.0, 2.0]], [[0.0, 8.0]]])


def ends(scale: Scale) -> list[tuple[float, float]]:
    return list(zip(scale.low.tolist(), scale.high.tolist(), strict=True))


# -- the scale -----------------------------------------------------------------------------------------------------


def test_by_default_each_channels_own_minimum_and_maximum_stand_at_the_ends() -> None:
    scale = scale_of(SIGNED, Drawing())
    assert ends(scale) == [(-1, 2), (0.5, 1), (-3, 0)]
    assert (scale.cmap, scale.shared, scale.clipped) == (SEQUENTIAL, False, 0)


def test_the_ends_follow_the_channels_in_the_order_drawn() -> None:
    scale = scale_of(feature_map(SIGNED.maps[:, 0], drawn=[2, 0]), Drawing())
    assert ends(scale) == [(-3, 0), (-1, 2)]


def test_a_shared_scale_that_reaches_below_zero_is_symmetric_and_diverging() -> None:
    scale = scale_of(SIGNED, Drawing(scale="layer"))
    assert ends(scale) == [(-3, 3)] * 3
    assert (scale.cmap, scale.shared) == (DIVERGING, True)
    wider_above = scale_of(feature_map([[[-1.0, 5.0]]]), Drawing(scale="layer"))
    assert ends(wider_above) == [(-5, 5)]


def test_zero_is_the_neutral_middle_of_a_symmetric_scale() -> None:
    scale = scale_of(SIGNED, Drawing(scale="layer"))
    white = tile_colours(SIGNED, scale, (1, 2))[2, 0, 1]
    assert white.tolist() == palette(DIVERGING)[128].tolist()
    assert white.min() > 240


def test_a_shared_scale_without_negative_values_spans_what_there_is() -> None:
    scale = scale_of(POSITIVE, Drawing(scale="layer"))
    assert ends(scale) == [(0, 8)] * 2
    assert scale.cmap == SEQUENTIAL
    assert ends(scale_of(feature_map([[[2.0, 3.0]]]), Drawing(scale="layer"))) == [(2, 3)]


def test_a_shared_scale_spans_channels_that_are_not_drawn_too() -> None:
    assert ends(scale_of(feature_map(SIGNED.maps[:, 0], drawn=[1]), Drawing(scale="layer"))) == [(-3, 3)]


def test_a_map_that_was_asked_for_is_kept_and_only_the_diverging_one_is_centred() -> None:
    scale = scale_of(SIGNED, Drawing(scale="layer", cmap="gray"))
    assert (scale.cmap, ends(scale)[0]) == ("gray", (-3, 2))
    assert scale_of(SIGNED, Drawing(cmap="magma")).cmap == "magma"


def test_a_channel_of_no_number_has_no_ends_and_does_not_disturb_a_shared_scale() -> None:
    broken = feature_map([[[math.nan, math.nan]], [[1.0, 2.0]], [[math.inf, 0.0]]])
    per_channel = scale_of(broken, Drawing())
    assert np.isnan([per_channel.low[0], per_channel.high[0]]).all()
    assert ends(per_channel)[1:] == [(1, 2), (0, 0)]
    assert ends(scale_of(broken, Drawing(scale="layer"))) == [(0, 2)] * 3


def test_a_layer_of_no_number_at_all_has_a_shared_scale_without_ends() -> None:
    scale = scale_of(feature_map([[[math.nan]], [[math.inf]]]), Drawing(scale="layer"))
    assert np.isnan(scale.low).all()
    assert np.isnan(scale.high).all()
    assert scale.cmap == SEQUENTIAL


def test_clipping_puts_percentiles_at_the_ends() -> None:
    ramp = feature_map(np.arange(101.0).reshape(1, 1, 101))
    assert ends(scale_of(ramp, Drawing(clip=5))) == [(5, 95)]
    assert ends(scale_of(ramp, Drawing(clip=5, scale="layer"))) == [(5, 95)]
    assert scale_of(ramp, Drawing(clip=5)).clipped == 5


def test_clipping_looks_at_each_channel_by_itself_and_passes_over_what_is_no_number() -> None:
    ramp = np.arange(101.0)
    high = np.append(ramp, math.inf)
    low = np.append(ramp * 2, math.nan)
    none = np.full(102, math.nan)
    scale = scale_of(feature_map(np.stack([high, low, none])[:, None]), Drawing(clip=10))
    assert ends(scale)[:2] == [(10, 90), (20, 180)]
    assert np.isnan([scale.low[2], scale.high[2]]).all()


def test_an_outlier_no_longer_takes_the_colours_once_it_is_clipped() -> None:
    values = np.linspace(0, 1, 1000)
    values[0] = 1e6
    outlier = feature_map(values.reshape(1, 10, 100))
    assert ends(scale_of(outlier, Drawing()))[0][1] == 1e6
    assert ends(scale_of(outlier, Drawing(clip=1)))[0][1] < 1


@settings(deadline=None)
@given(arrays(np.float32, (3, 2, 2), elements=st.floats(-1e3, 1e3, width=32)))
def test_a_shared_scale_holds_every_value_and_is_symmetric_exactly_when_it_diverges(output: np.ndarray) -> None:
    scale = scale_of(feature_map(output), Drawing(scale="layer"))
    low, high = ends(scale)[0]
    assert low <= output.min()
    assert output.max() <= high
    assert (scale.cmap == DIVERGING) == (output.min() < 0)
    assert (low == -high) == (output.min() < 0 or not output.any())


# -- pixels --------------------------------------------------------------------------------------------------------


def test_each_unit_has_the_colour_of_its_place_in_its_channel() -> None:
    colours = tile_colours(SIGNED, scale_of(SIGNED, Drawing()), (1, 2))
    viridis = palette(SEQUENTIAL)
    assert colours.shape == (3, 1, 2, 3)
    assert (colours[:, 0, 0] == viridis[0]).all()  # each channel's first value is its smallest
    assert (colours[:, 0, 1] == viridis[255]).all()


def test_constant_channels_and_what_is_no_number_have_colours_of_their_own() -> None:
    special = feature_map([[[2.0, 2.0]], [[0.0, math.nan]], [[-math.inf, 1.0]]])
    colours = tile_colours(special, scale_of(special, Drawing()), (1, 2))
    assert colours[0, 0].tolist() == [list(CONSTANT_RGB)] * 2
    assert colours[1, 0, 1].tolist() == list(NAN_RGB)
    assert colours[2, 0, 0].tolist() == list(INF_RGB)


def test_a_constant_channel_is_in_a_shared_scale_a_value_like_any_other() -> None:
    mixed = feature_map([[[0.0, 0.0]], [[0.0, 4.0]]])
    colours = tile_colours(mixed, scale_of(mixed, Drawing(scale="layer")), (1, 2))
    assert colours[0, 0].tolist() == palette(SEQUENTIAL)[[0, 0]].tolist()


def test_frames_of_a_clip_are_tiles_of_their_own_on_their_channels_scale() -> None:
    clip = np.arange(12, dtype=np.float32).reshape(2, 3, 1, 2)  # [C, T, H, W]
    video = replace(feature_map(clip.reshape(2, 1, 6)), maps=clip)
    scale = scale_of(video, Drawing())
    maps, low, high = frames_of(video, scale)
    assert maps.shape == (6, 1, 2)
    assert low.tolist() == [0, 0, 0, 6, 6, 6]
    assert high.tolist() == [5, 5, 5, 11, 11, 11]
    assert maps[4].tolist() == [[8, 9]]
    assert tile_colours(video, scale, (2, 4)).shape == (6, 2, 4, 3)


PHOTO = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)


def over(values: np.ndarray | list, photo: np.ndarray = PHOTO, **drawing: Any) -> np.ndarray:
    """The overlay's only tile of a map as large as the photo, as floats."""
    net = feature_map(values)
    return overlay_colours(net, scale_of(net, Drawing(overlay=True, **drawing)), photo, photo.shape[:2])[0].astype(
        float
    )


GRAY = gray_photo(PHOTO, (8, 8))
STEP = 1.5  # of rounding, and of a palette's level


def test_an_overlay_shows_the_photo_in_gray_where_values_are_lowest_and_is_warm_where_they_are_highest() -> None:
    values = np.zeros((1, 8, 8))
    values[0, 2, 3], values[0, 5, 6] = 5.0, 2.5
    drawn = over(values)
    least = OVERLAY_STRENGTH / 255  # the clear end is no farther than a level from clear
    assert np.abs(drawn[0, 0] - GRAY[0, 0]).max() <= 255 * least + STEP
    red, green, blue = drawn[2, 3]
    assert red > green > blue + 50
    highest = palette(TWO_HUES)[255] * OVERLAY_STRENGTH + GRAY[2, 3] * (1 - OVERLAY_STRENGTH)
    assert np.abs(drawn[2, 3] - highest).max() <= STEP
    half = palette(TWO_HUES)[191] * OVERLAY_STRENGTH / 2 + GRAY[5, 6] * (1 - OVERLAY_STRENGTH / 2)
    assert np.abs(drawn[5, 6] - half).max() <= STEP + 1
    luma = 0.299 * PHOTO[..., 0] + 0.587 * PHOTO[..., 1] + 0.114 * PHOTO[..., 2]
    assert np.corrcoef(GRAY[..., 0].ravel(), luma.ravel())[0, 1] > 0.999
    assert (GRAY.min(axis=2) == GRAY.max(axis=2)).all()


def test_an_overlay_of_values_of_both_signs_has_two_hues_and_is_clear_at_zero() -> None:
    flat = np.full((8, 8, 3), 128, np.uint8)
    gray = gray_photo(flat, (8, 8))[0, 0, 0]
    values = np.zeros((1, 8, 8))
    values[0, 1, 1], values[0, 2, 2], values[0, 6, 6], values[0, 6, 1] = 4.0, 2.0, -4.0, -2.0
    drawn = over(values, flat)
    assert np.abs(drawn[0, 0] - gray).max() <= STEP
    for (row, column), warm in (((1, 1), True), ((2, 2), True), ((6, 6), False), ((6, 1), False)):
        red, _, blue = drawn[row, column]
        assert (red - blue > 40) == warm and (blue - red > 40) == (not warm)
    # The same distance from zero is the same opacity, whatever the farthest value of the other sign.
    assert np.abs(drawn[1, 1] - gray).max() > np.abs(drawn[2, 2] - gray).max() + 20
    small = np.zeros((1, 8, 8))
    small[0, 0, 0], small[0, 7, 7] = -0.25, 10.0
    assert np.abs(over(small, flat)[0, 0] - gray).max() < 15, "a small dip below zero stays pale"


def test_an_overlay_of_negative_values_alone_is_clear_at_the_lowest() -> None:
    flat = np.full((8, 8, 3), 128, np.uint8)
    values = np.full((1, 8, 8), -5.0)
    values[0, 3, 3] = -1.0
    drawn = over(values, flat)
    assert np.abs(drawn[0, 0] - gray_photo(flat, (8, 8))[0, 0]).max() <= STEP
    assert drawn[3, 3, 0] > drawn[3, 3, 2] + 80


def test_an_overlay_of_a_shared_scale_gives_the_same_value_the_same_colour() -> None:
    flat = np.full((8, 8, 3), 128, np.uint8)
    maps = np.zeros((2, 8, 8))
    maps[0, 0, 0], maps[1, 0, 0], maps[1, 7, 7] = 3.0, 3.0, -6.0
    net = feature_map(maps)
    drawn = overlay_colours(net, scale_of(net, Drawing(overlay=True, scale="layer")), flat, (8, 8))
    assert (drawn[0, 0, 0] == drawn[1, 0, 0]).all()
    assert (drawn[0, 4, 4] == drawn[1, 4, 4]).all()


def test_an_overlay_in_colours_that_were_asked_for_has_them_and_is_clear_at_the_low_end() -> None:
    drawn = over(np.linspace(0, 1, 64).reshape(1, 8, 8), cmap="magma")
    assert np.abs(drawn[0, 0] - GRAY[0, 0]).max() <= STEP
    expected = palette("magma")[255] * OVERLAY_STRENGTH + GRAY[7, 7] * (1 - OVERLAY_STRENGTH)
    assert np.abs(drawn[7, 7] - expected).max() <= STEP


def test_an_overlay_is_smooth_between_units_and_fits_the_photo_to_the_tile() -> None:
    net = feature_map([[[0.0, 1.0]]])
    flat = np.full((50, 30, 3), 77, np.uint8)
    drawn = overlay_colours(net, scale_of(net, Drawing(overlay=True)), flat, (4, 8))
    assert drawn.shape == (1, 4, 8, 3)
    warmth = drawn[0, 0, :, 0].astype(int) - drawn[0, 0, :, 2]
    assert (np.diff(drawn[0, 0, :, 0].astype(int)) >= 0).all()
    assert abs(warmth[0]) <= 2 and len(set(warmth.tolist())) > 3


def test_an_overlay_keeps_the_hard_edges_of_what_is_no_number() -> None:
    drawn = over(np.kron([[0.0, math.nan], [math.inf, 1.0]], np.ones((4, 4)))[None])
    for at, colour in ((np.s_[:4, 4:], NAN_RGB), (np.s_[4:, :4], INF_RGB)):
        expected = np.array(colour) * OVERLAY_STRENGTH + GRAY[at] * (1 - OVERLAY_STRENGTH)
        assert np.abs(drawn[at] - expected).max() <= STEP


@pytest.mark.parametrize("tile", [(4, 4), (8, 8), (13, 9)])
def test_an_overlay_of_a_constant_channel_has_the_constants_colour(tile: tuple[int, int]) -> None:
    net = feature_map(np.full((1, 8, 8), 2.0))
    black = np.zeros((8, 8, 3), np.uint8)
    drawn = overlay_colours(net, scale_of(net, Drawing(overlay=True)), black, tile)
    expected = np.array(CONSTANT_RGB) * OVERLAY_STRENGTH + gray_photo(black, tile) * (1 - OVERLAY_STRENGTH)
    assert np.abs(drawn - expected).max() <= STEP
