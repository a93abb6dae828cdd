"""The figure: everything on the page, nothing over anything else, and each tile the map its caption names."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from fmap_cli.drawing.files import figure_name
from fmap_cli.drawing.grid import CONSTANT_RGB, palette
from fmap_cli.drawing.raster import rasterise, write_image
from fmap_cli.drawing.scene import INK, WHITE, Box, Picture, Scene, Text, font, shorten, text_width, wrap
from fmap_cli.drawing.vector import write_vector
from fmap_cli.errors import OutputError
from fmap_cli.inputs.records import ImageInput
from fmap_cli.maps.figure import layer_figure
from fmap_cli.maps.raw import raw_canvas
from fmap_cli.maps.records import Drawing, FeatureMap, Look
from fmap_cli.models.records import Origin, Weights
from fmap_cli.network.axes import axes_by_rank, channel_maps
from fmap_cli.network.records import Axes, LayerRef
from fmap_cli.receptive.records import UnitBox
from fmap_cli.receptive.unit_boxes import unit_colour
from fmap_cli.statistics.reference import channel_stats, layer_stats


def origin_of(model: str, weights: str, device: str = "cpu", dtype: str = "float32") -> Origin:
    return Origin(model, Weights("unknown", weights), None, device, dtype)


ORIGIN = origin_of("efficientnet_lite0", "ImageNet")


def figure_of(
    feature_map: FeatureMap,
    image: ImageInput,
    origin: Origin,
    drawing: Drawing,
    *,
    labels: tuple[str, ...] | None = None,
    units: Sequence[tuple[tuple[int, int], UnitBox]] = (),
) -> Scene:
    look = Look(origin, image, (feature_map,), (), {}, labels=labels)
    return layer_figure(look, feature_map, drawing, units=units)


def image(height: int = 64, width: int = 64, name: str = "photo.png") -> ImageInput:
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    return ImageInput(name, "photo", ramp, torch.zeros(3, height, width))


def layer(
    shape: Sequence[int],
    *,
    name: str = "layer1.0.conv1",
    drawn: Sequence[int] | None = None,
    times: float = 1.0,
    axes: Axes | None = None,
) -> FeatureMap:
    """A layer whose output has this shape and random values `times` a normal distribution."""
    values = torch.tensor(np.random.default_rng(0).normal(0, 1, shape) * times).float()
    axes = axes or axes_by_rank(shape)
    maps = channel_maps(values, axes)
    channels = channel_stats(maps.reshape(len(maps), -1))
    chosen = np.arange(len(maps)) if drawn is None else np.array(drawn)
    return FeatureMap(
        layer=LayerRef(name, name, 0, "conv", "Conv2d", True, 1728),
        asked=name,
        shape=tuple(shape),
        dtype="float32",
        axes=axes,
        stats=layer_stats(values),
        channels=channels,
        drawn=chosen,
        maps=maps[torch.from_numpy(chosen)].numpy(),
        order="all channels, in order",
    )


def changed(feature_map: FeatureMap, values: np.ndarray) -> FeatureMap:
    """A layer with other maps `[C, H, W]`."""
    tensor = torch.from_numpy(np.asarray(values, np.float32))
    return replace(
        feature_map,
        shape=(1, *values.shape),
        stats=layer_stats(tensor),
        channels=channel_stats(tensor.flatten(1)),
        drawn=np.arange(len(values)),
        maps=tensor.numpy()[:, None],
    )


# -- where things are ----------------------------------------------------------------------------------------------

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom


def ink_of(item: Text) -> Rectangle:
    """Where a text's ink may be, by the font's own measure."""
    anchor = {"left": "la", "right": "ra", "middle": "ma"}[item.align]
    left, top, right, bottom = font(item.size, item.bold).getbbox(item.text, anchor=anchor)
    return item.x + left, item.y + top, item.x + right, item.y + bottom


def place_of(item: Text | Picture | Box) -> Rectangle:
    if isinstance(item, Text):
        return ink_of(item)
    if isinstance(item, Picture):
        return item.x, item.y, item.x + item.size[1], item.y + item.size[0]
    return item.x, item.y, item.x + item.width, item.y + item.height


_EDGE = 16  # nothing comes nearer to the edge of the page


def overlap(a: Rectangle, b: Rectangle) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > 0.5 and min(a[3], b[3]) - max(a[1], b[1]) > 0.5


def faults_of(scene: Scene) -> list[str]:
    """What runs off the page, and texts that lie over a picture or another text."""
    faults = []
    for item in scene.items:
        left, top, right, bottom = place_of(item)
        if min(left, top) < _EDGE or right > scene.width - _EDGE or bottom > scene.height - _EDGE:
            faults.append(f"off the page: {item if isinstance(item, Text) else place_of(item)}")
    inked = [(ink_of(item), item) for item in scene.items if isinstance(item, Text)]
    inked.sort(key=lambda each: each[0][1])
    pictures = [item for item in scene.items if isinstance(item, Picture)]
    tiles = [place_of(picture) for picture in pictures[1:]] + gaps_free_tiles(scene)
    left, top, right, bottom = np.array(tiles, float).reshape(-1, 4).T
    for at, (ink, text) in enumerate(inked):
        across = np.minimum(ink[2], right) - np.maximum(ink[0], left)
        along = np.minimum(ink[3], bottom) - np.maximum(ink[1], top)
        faults += [f"{text.text!r} lies over a picture"] * int(((across > 0.5) & (along > 0.5)).sum())
        for others, other in inked[at + 1 :]:
            if others[1] > ink[3]:
                break
            if overlap(ink, others):
                faults.append(f"{text.text!r} lies over {other.text!r}")
    return faults


def gaps_free_tiles(scene: Scene) -> list[Rectangle]:
    """The tiles on the canvas, which is one picture with white between them: found from the pixels.

    The canvas is the first item; a row or column that is white throughout lies between tiles.
    """
    canvas = scene.items[0]
    if not isinstance(canvas, Picture) or canvas.smooth:
        return []
    painted = (canvas.pixels != 255).any(axis=2)
    bands = []
    for axis in (1, 0):
        lines = np.concatenate([[False], painted.any(axis=axis), [False]])
        edges = np.flatnonzero(lines[1:] != lines[:-1])
        bands.append(list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)))
    return [
        (canvas.x + left, canvas.y + top, canvas.x + right, canvas.y + bottom)
        for top, bottom in bands[0]
        for left, right in bands[1]
        if painted[top:bottom, left:right].any()
    ]


LONG = "features.3.block.2.attention.projection.normalisation_layer" * 4
CASES: dict[str, Callable[[], tuple[FeatureMap, Drawing]]] = {  # made when a test asks: they are large
    "one channel": lambda: (layer((1, 1, 222, 222)), Drawing()),
    "three": lambda: (layer((1, 3, 224, 224)), Drawing()),
    "ten": lambda: (layer((1, 10, 7, 7)), Drawing()),
    "32 of 112": lambda: (layer((1, 32, 112, 112)), Drawing()),
    "64 of 56": lambda: (layer((1, 64, 56, 56)), Drawing()),
    "64 of 65": lambda: (layer((1, 65, 14, 14), drawn=range(64, 0, -1)), Drawing()),
    "512 of 7": lambda: (layer((1, 512, 7, 7)), Drawing()),
    "1280 of 7": lambda: (layer((1, 1280, 7, 7)), Drawing()),
    "a line": lambda: (layer((1, 8, 1, 300)), Drawing()),
    "64 lines": lambda: (layer((1, 64, 1, 300)), Drawing()),
    "a column": lambda: (layer((1, 8, 300, 1)), Drawing()),
    "64 columns": lambda: (layer((1, 64, 300, 1)), Drawing()),
    "wide": lambda: (layer((1, 20, 20, 200)), Drawing()),
    "tall": lambda: (layer((1, 20, 200, 20)), Drawing()),
    "two units": lambda: (layer((1, 6, 1, 2)), Drawing()),
    "larger than the page": lambda: (layer((1, 2, 3000, 2000)), Drawing()),
    "tiles of a pixel": lambda: (layer((1, 1280, 7, 7)), Drawing(tile=1)),
    "tiles of 500 pixels": lambda: (layer((1, 3, 7, 7)), Drawing(tile=500)),
    "a shared scale": lambda: (layer((1, 16, 28, 28)), Drawing(scale="layer")),
    "clipped": lambda: (layer((1, 16, 28, 28)), Drawing(clip=2.5)),
    "overlay": lambda: (layer((1, 16, 7, 7)), Drawing(overlay=True)),
    "overlay of lines": lambda: (layer((1, 8, 1, 300)), Drawing(overlay=True)),
    "huge values": lambda: (layer((1, 32, 14, 14), times=1e30), Drawing()),
    "tiny values": lambda: (layer((1, 32, 14, 14), times=1e-30), Drawing()),
    "a long name": lambda: (layer((1, 4, 14, 14), name=LONG), Drawing()),
    "a name of one word": lambda: (layer((1, 4, 14, 14), name="n" * 200), Drawing()),
    "a name with line breaks": lambda: (layer((1, 4, 14, 14), name="a\nb\tc"), Drawing()),
    "a clip": lambda: (layer((1, 16, 8, 14, 14)), Drawing()),
    "a clip of many": lambda: (layer((1, 64, 16, 7, 7)), Drawing()),
    "a clip of one": lambda: (layer((1, 1, 4, 56, 56)), Drawing()),
    "1000 values": lambda: (layer((1, 1000)), Drawing()),
    "one value": lambda: (layer(()), Drawing()),
    "5 values": lambda: (layer((5,)), Drawing()),
    "a million values": lambda: (layer((1, 1_003_520)), Drawing()),
    "tokens": lambda: (layer((1, 50, 768), axes=Axes(("B", "N", "C"), "test")), Drawing()),
    "many tokens": lambda: (layer((1, 3000, 2000), axes=Axes(("B", "N", "C"), "test")), Drawing()),
    "tokens of one channel": lambda: (layer((1, 3000), axes=Axes(("B", "N"), "test")), Drawing()),
    "negative values alone": lambda: (
        changed(layer((1, 4, 4, 4)), -np.ones((4, 4, 4)) - np.eye(4)),
        Drawing(scale="layer"),
    ),
    "not finite": lambda: (changed(layer((1, 3, 4, 4)), np.full((3, 4, 4), np.nan)), Drawing(scale="layer", clip=1)),
    "constant": lambda: (changed(layer((1, 3, 4, 4)), np.full((3, 4, 4), 2.5)), Drawing(scale="layer")),
}
NO_MAPS = {
    *("1000 values", "one value", "5 values", "a million values"),
    *("tokens", "many tokens", "tokens of one channel"),
}


@pytest.mark.parametrize("case", CASES)
def test_nothing_is_cut_and_nothing_lies_over_anything_else(case: str) -> None:
    feature_map, drawing = CASES[case]()
    assert feature_map.is_map == (case not in NO_MAPS)
    scene = figure_of(feature_map, image(), ORIGIN, drawing)
    assert faults_of(scene) == []
    assert max(scene.width, scene.height) < 20_000
    page = rasterise(scene)
    assert page.size == (scene.width, scene.height)


@pytest.mark.parametrize(
    "origin",
    [
        origin_of("m" * 300, "w" * 300),
        origin_of(
            "mymodels.networks:make " * 9, "as made by mymodels.networks:make (seed 0) " * 5, "cuda:1", "bfloat16"
        ),
        origin_of("[bold]x[/]", "naïve 😀 \x1b[31m \udcff\n", "mps", "float16"),
    ],
    ids=["one word", "many words", "strange signs"],
)
@pytest.mark.parametrize("name", ["p" * 250 + ".png", "a\nb.png", "[bold]x[/].png", "日本語 😀.png", "\udcff.png"])
def test_names_of_any_kind_stay_on_the_page(origin: Origin, name: str) -> None:
    scene = figure_of(layer((1, 6, 14, 14)), image(name=name), origin, Drawing())
    assert faults_of(scene) == []
    for text in (item.text for item in scene.items if isinstance(item, Text)):
        assert text.isprintable()


@pytest.mark.parametrize("size", [(10, 1000), (1000, 10), (1, 1), (2000, 1500)])
def test_photos_of_any_shape_stay_in_their_column(size: tuple[int, int]) -> None:
    scene = figure_of(layer((1, 6, 14, 14)), image(*size), ORIGIN, Drawing())
    assert faults_of(scene) == []


def test_that_guard_can_fail() -> None:
    scene = figure_of(layer((1, 6, 14, 14)), image(), ORIGIN, Drawing())
    canvas = scene.items[0]
    assert isinstance(canvas, Picture)
    assert len(gaps_free_tiles(scene)) == 6
    scene.add(Text(canvas.x + 5, canvas.y + 5, "over a tile", 13), Text(scene.width - 5, 5, "off the page", 13))
    faults = faults_of(scene)
    assert any("over a tile" in fault for fault in faults) and any("off the page" in fault for fault in faults)


def test_a_page_that_no_program_opens_is_refused() -> None:
    huge = layer((1, 1280, 7, 7))
    with pytest.raises(OutputError, match=r"pixels across and [\d,]+ down") as refused:
        figure_of(huge, image(), ORIGIN, Drawing(tile=2048))
    assert "--tile" in (refused.value.hint or "")
    with pytest.raises(OutputError, match="pixels across"):
        raw_canvas(huge, Drawing(tile=2048))


# -- tiles and captions --------------------------------------------------------------------------------------------


def captions(scene: Scene) -> dict[str, Text]:
    """The bold names under tiles, by name."""
    return {item.text: item for item in scene.items if isinstance(item, Text) and item.bold and item.size == 13}


@pytest.mark.parametrize(
    ("shape", "drawn"),
    [
        ((1, 1, 20, 20), None),
        ((1, 5, 20, 20), None),
        ((1, 32, 112, 112), None),
        ((1, 64, 7, 7), None),
        ((1, 80, 14, 14), [79, 3, 41, 0]),
        ((1, 8, 1, 300), None),
        ((1, 8, 300, 1), None),
        ((1, 3, 150, 250), [2, 0]),
    ],
)
def test_the_tile_over_a_channels_name_is_that_channels_map(shape: tuple[int, ...], drawn: list[int] | None) -> None:
    feature_map = layer(shape, drawn=drawn)
    scene = figure_of(feature_map, image(), ORIGIN, Drawing())
    page = np.asarray(rasterise(scene))
    tiles = {
        (round(left), round(bottom)): (left, top, right, bottom) for left, top, right, bottom in gaps_free_tiles(scene)
    }
    names = captions(scene)
    assert list(names) == [str(channel) for channel in feature_map.drawn]
    colours = palette("viridis")
    for index, (name, text) in enumerate(names.items()):
        over = [tiles[place] for place in tiles if place[0] == round(text.x) and 0 <= text.y - place[1] <= 10]
        assert len(over) == 1, name
        left, top, right, bottom = (round(edge) for edge in over[0])
        values = feature_map.maps[index, 0].astype(np.float64)
        levels = (values - values.min()) / (values.max() - values.min()) * 255
        expected = colours[np.rint(levels).astype(int)]
        rows = np.arange(bottom - top) * len(values) // (bottom - top)
        columns = np.arange(right - left) * values.shape[1] // (right - left)
        given = page[top:bottom, left:right].astype(int)
        assert np.abs(given - expected[rows][:, columns]).max() <= 4, name  # a neighbouring colour, at most


def test_a_tile_smaller_than_its_map_shows_means() -> None:
    values = np.kron(np.arange(16).reshape(4, 4), np.ones((2, 2)))[None]  # every 2 × 2 block is one value
    scene = figure_of(changed(layer((1, 1, 8, 8)), values), image(), ORIGIN, Drawing(tile=4))
    canvas = scene.items[0]
    assert isinstance(canvas, Picture)
    expected = palette("viridis")[np.rint(np.arange(16) / 15 * 255).astype(int)].reshape(4, 4, 3)
    assert (canvas.pixels == expected).all()


def test_a_whole_multiple_of_the_map_is_taken_where_one_is_near() -> None:
    scene = figure_of(layer((1, 64, 56, 56)), image(), ORIGIN, Drawing())
    left, top, right, bottom = gaps_free_tiles(scene)[0]
    assert (right - left, bottom - top) == (112, 112)


def test_ranges_are_those_of_the_channels_and_name_the_scale() -> None:
    feature_map = changed(layer((1, 2, 2, 2)), np.array([[[-1.5, 0], [0, 2.25]], [[3, 3], [3, 3]]]))
    texts = [item.text for item in figure_of(feature_map, image(), ORIGIN, Drawing()).items if isinstance(item, Text)]
    assert "-1.5 … 2.25" in texts and "= 3" in texts
    assert "channel's lowest" in texts and any("own scale" in text for text in texts)
    assert "constant over the whole map (1 of the tiles)" in texts
    scene = figure_of(feature_map, image(), ORIGIN, Drawing(scale="layer"))
    texts = [item.text for item in scene.items if isinstance(item, Text)]
    assert "-3" in texts and "3" in texts and "0" in texts, "both ends of the shared scale, and its middle"
    assert "channel's lowest" not in texts


def test_a_channel_without_a_number_is_not_called_constant() -> None:
    values = np.stack([np.full((4, 4), np.nan), np.full((4, 4), 1.0), np.eye(4)])
    texts = [
        item.text
        for item in figure_of(changed(layer((1, 3, 4, 4)), values), image(), ORIGIN, Drawing()).items
        if isinstance(item, Text)
    ]
    assert "constant over the whole map (1 of the tiles)" in texts
    assert "NaN" in texts and "no finite value" in texts and "infinite" not in texts


def test_a_constant_tile_has_its_own_gray() -> None:
    scene = figure_of(changed(layer((1, 1, 4, 4)), np.full((1, 4, 4), 7.0)), image(), ORIGIN, Drawing())
    canvas = scene.items[0]
    assert isinstance(canvas, Picture)
    assert {tuple(pixel) for pixel in canvas.pixels.reshape(-1, 3).tolist()} == {CONSTANT_RGB}


def test_a_stretched_tile_says_so_and_others_do_not() -> None:
    for shape, stretched in (((1, 8, 1, 300), True), ((1, 8, 7, 7), False), ((1, 8, 20, 60), False)):
        scene = figure_of(layer(shape), image(), ORIGIN, Drawing())
        words = " ".join(item.text for item in scene.items if isinstance(item, Text))
        assert ("stretched" in words) == stretched, shape


def test_every_fact_of_the_layer_is_on_the_page() -> None:
    feature_map = replace(layer((1, 6, 14, 14)), asked="conv2", order="6 of 99 channels, largest maximum first")
    scene = figure_of(feature_map, image(name="some/where/cat.png"), origin_of("net", "random (seed 3)"), Drawing())
    words = " ".join(item.text for item in scene.items if isinstance(item, Text))
    for fact in (
        "layer1.0.conv1",
        "(asked for as conv2)",
        "Conv2d",
        "[B, C, H, W] = [1, 6, 14, 14]",
        "net",
        "random (seed 3)",
        "cat.png",
        "64 × 64 px",
        "6 of 99 channels",
        "largest maximum first",
    ):
        assert fact in words, fact
    assert "some/where" not in words


def test_all_pictures_of_one_input_are_named_and_the_one_shown_is_called_the_first() -> None:
    both = replace(image(), name="a/cat.png b/cup.png", sources=("a/cat.png", "b/cup.png"))
    scene = figure_of(layer((1, 6, 14, 14)), both, ORIGIN, Drawing())
    words = [item.text for item in scene.items if isinstance(item, Text)]
    assert "cat.png and cup.png" in words
    assert "what the network saw, 64 × 64 px; the first of 2 inputs" in words


def test_device_and_dtype_are_named_where_they_are_not_the_usual() -> None:
    def words(origin: Origin) -> str:
        scene = figure_of(layer((1, 6, 14, 14)), image(), origin, Drawing())
        return " ".join(item.text for item in scene.items if isinstance(item, Text))

    assert "run on" not in words(ORIGIN)
    assert "cuda:0, float16" in words(origin_of("net", "random", "cuda:0", "float16"))


# -- captions in one size --------------------------------------------------------------------------------------------


def ranges(scene: Scene, feature_map: FeatureMap) -> list[Text]:
    """The texts under the tiles that are a range, told by what stands in them: `…`, `=` or `no finite value`."""
    left = min(text.x for text in captions(scene).values()) if captions(scene) else 0
    under = [item for item in scene.items if isinstance(item, Text) and item.x >= left and not item.bold]
    return [item for item in under if " … " in item.text or item.text.startswith("= ") or "no finite" in item.text]


@pytest.mark.parametrize("case", [name for name in CASES if name not in NO_MAPS])
def test_every_tile_has_its_range_and_all_ranges_have_one_size(case: str) -> None:
    feature_map, drawing = CASES[case]()
    found = ranges(figure_of(feature_map, image(), ORIGIN, drawing), feature_map)
    assert len(found) == len(feature_map.drawn)
    assert len({text.size for text in found}) == 1
    assert min(text.size for text in found) >= 11


def test_one_wide_range_among_narrow_ones_shrinks_none_of_them_alone() -> None:
    values = np.random.default_rng(0).normal(0, 1, (64, 7, 7))
    values[5] *= 1e-9
    feature_map = changed(layer((1, 64, 7, 7)), values)
    scene = figure_of(feature_map, image(), ORIGIN, Drawing())
    assert faults_of(scene) == []
    digits = {
        len(text.text.split(" … ")[0].lstrip("-0.").split("e")[0].replace(".", ""))
        for text in ranges(scene, feature_map)
    }
    assert max(digits) <= 3
    words = " ".join(item.text for item in scene.items if isinstance(item, Text))
    assert "tiny range, in this colour (1 of the tiles): under a thousandth of the layer's" in words
    assert "noise" not in words


@pytest.mark.parametrize("scale", ["channel", "layer"])
def test_a_channel_that_is_all_zero_is_crossed_out_and_other_constants_are_not(scale: str) -> None:
    values = np.stack([np.zeros((4, 4)), np.full((4, 4), 2.0), np.eye(4), np.full((4, 4), -1.0)])
    drawing = Drawing(scale=scale)  # type: ignore[arg-type]
    scene = figure_of(changed(layer((1, 4, 4, 4)), values), image(), ORIGIN, drawing)
    canvas = scene.items[0]
    assert isinstance(canvas, Picture)
    crossed = [
        (canvas.pixels[top - canvas.y : bottom - canvas.y, left - canvas.x : right - canvas.x] == (120, 30, 30)).all(-1)
        for left, top, right, bottom in gaps_free_tiles(scene)
    ]
    assert [bool(each.any()) for each in crossed] == [True, False, False, False]
    assert all(crossed[0][at, at] for at in range(0, len(crossed[0]), 5)), "from corner to corner"
    words = [item.text for item in scene.items if isinstance(item, Text)]
    assert "crossed out: exactly 0 everywhere (1 of the tiles)" in words
    assert ("constant over the whole map (2 of the tiles)" in words) == (scale == "channel")


def test_the_colour_bar_says_what_the_colour_is_right_over_it() -> None:
    scene = figure_of(layer((1, 3, 4, 4)), image(), ORIGIN, Drawing())
    bar = next(each for each in scene.items if isinstance(each, Picture) and each.pixels.shape[0] == 1)
    over = next(each for each in scene.items if isinstance(each, Text) and each.text.startswith("activation"))
    assert over.x == bar.x and 0 < bar.y - over.y <= 24
    assert faults_of(scene) == []


@pytest.mark.parametrize("size", [(900, 40), (60, 900), (64, 64)])
def test_the_classes_under_a_label_map_have_room_whatever_the_photo_s_shape(size: tuple[int, int]) -> None:
    feature_map = replace(layer((1, 4, 30, 30)), label_map=np.arange(900).reshape(30, 30) % 4)
    scene = figure_of(feature_map, image(*size), ORIGIN, Drawing(), labels=("background", "motorbike", "sofa", "train"))
    words = [item for item in scene.items if isinstance(item, Text)]
    assert {"motorbike", "sofa", "train"} <= {each.text for each in words}, "whole"
    assert all(ink_of(each)[0] >= 0 for each in words), "on the page"
    assert faults_of(scene) == []


def test_classes_of_a_segmentation_stay_under_their_tiles() -> None:
    shape = (21, 40, 60)
    feature_map = changed(layer((1, *shape)), np.random.default_rng(0).normal(0, 1e-7, shape))
    feature_map = replace(feature_map, label_map=np.zeros(shape[1:], int))
    labels = tuple(f"a class with quite a long name, number {at}" for at in range(21))
    scene = figure_of(feature_map, image(), ORIGIN, Drawing(), labels=labels)
    assert faults_of(scene) == []
    tiles = gaps_free_tiles(scene)
    widths = {right - left for left, _, right, _ in tiles}
    assert all(ink_of(text)[2] - text.x <= max(widths) + 1 for text in captions(scene).values())
    assert len(ranges(scene, feature_map)) == 21


# -- the page's shape ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(1, 1280, 7, 7), (1, 512, 14, 14), (1, 700, 1, 12), (1, 128, 8, 7, 7)])
def test_a_page_of_very_many_tiles_is_about_half_as_wide_again_as_high(shape: tuple[int, ...]) -> None:
    scene = figure_of(layer(shape), image(), ORIGIN, Drawing())
    assert scene.width / scene.height == pytest.approx(1.5, rel=0.15)


def test_channels_of_a_clip_stand_farther_apart_than_their_frames() -> None:
    scene = figure_of(layer((1, 12, 4, 14, 14)), image(), ORIGIN, Drawing())
    tiles = gaps_free_tiles(scene)
    row = [tile for tile in tiles if tile[1] == tiles[0][1]]
    gaps = [b[0] - a[2] for a, b in pairwise(row)]
    assert len(row) % 4 == 0 and len(row) > 4
    within, between = [gap for at, gap in enumerate(gaps, 1) if at % 4], gaps[3::4]
    assert 0 < max(within) < min(between) / 3
    assert "A channel's 4 frames stand in a row" in " ".join(
        item.text for item in scene.items if isinstance(item, Text)
    )


# -- values without a place ----------------------------------------------------------------------------------------


def test_the_strip_shows_every_value_and_the_bars_the_largest_with_their_names() -> None:
    values = np.linspace(-1, 2, 100)
    feature_map = replace(layer((1, 100)), maps=values.astype(np.float32).reshape(100, 1, 1, 1))
    labels = tuple(f"class {at:02}" for at in range(100))
    scene = figure_of(feature_map, image(), origin_of("net", "random"), Drawing(), labels=labels)
    strip = next(item for item in scene.items if isinstance(item, Picture) and not item.smooth)
    cells = strip.pixels.reshape(-1, 3)[:100]
    ends = np.rint((values + 2) / 4 * 255).astype(int)  # diverging: from -2 to 2
    assert np.abs(cells.astype(int) - palette("RdBu_r")[ends]).max() <= 8
    names = [item.text for item in scene.items if isinstance(item, Text) and item.text.startswith("class ")]
    assert names == [f"class {at}" for at in range(99, 79, -1)]


@pytest.mark.parametrize(("count", "first"), [(1000, 0), (1280, 0), (100, 7)])
def test_the_strips_rows_carry_the_number_of_their_first_channel(count: int, first: int) -> None:
    feature_map = layer((1, count), drawn=range(first, count))
    scene = figure_of(feature_map, image(), ORIGIN, Drawing())
    strip = next(item for item in scene.items if isinstance(item, Picture) and not item.smooth)
    numbers = [item for item in scene.items if isinstance(item, Text) and item.align == "right" and item.x < strip.x]
    beside = [item for item in numbers if strip.y - 5 <= item.y < strip.y + strip.size[0]]
    rows = strip.pixels.shape[0]
    assert [int(item.text) for item in beside] == [first + row * 64 for row in range(rows)]
    for row, item in enumerate(beside):
        top, bottom = ink_of(item)[1], ink_of(item)[3]
        assert (top + bottom) / 2 == pytest.approx(strip.y + (row + 0.5) * strip.size[0] / rows, abs=3)


def test_bars_are_as_long_as_their_values() -> None:
    feature_map = replace(layer((4,)), maps=np.array([3.0, -1.0, 1.5, 0.0], np.float32).reshape(4, 1, 1, 1))
    boxes = [item for item in figure_of(feature_map, image(), ORIGIN, Drawing()).items if isinstance(item, Box)]
    three, half, nothing, below = boxes[:4]
    assert three.width == pytest.approx(2 * half.width)
    assert below.width == pytest.approx(three.width / 3)
    assert nothing.width <= 1
    assert below.x + below.width == pytest.approx(three.x) == pytest.approx(half.x)


def test_thousands_of_values_are_averaged_and_that_is_said() -> None:
    scene = figure_of(CASES["a million values"]()[0], image(), ORIGIN, Drawing())
    words = " ".join(item.text for item in scene.items if isinstance(item, Text))
    assert "All 1,003,520 values" in words and "Each cell is the mean of 5" in words


# -- both ways of drawing ------------------------------------------------------------------------------------------


def test_a_pdf_and_an_svg_hold_every_word(tmp_path) -> None:
    scene = figure_of(layer((1, 4, 14, 14), name="a$b_c^d$.e%f"), image(name="x$y$.png"), ORIGIN, Drawing())
    for suffix in (".svg", ".pdf"):
        with (tmp_path / f"a{suffix}").open("wb") as file:
            write_vector(scene, file, suffix)
        assert (tmp_path / f"a{suffix}").stat().st_size > 1000
    written = (tmp_path / "a.svg").read_text()
    for text in ("a$b_c^d$.e%f", "efficientnet_lite0", "x$y$.png"):
        assert text in written, text


@pytest.mark.parametrize(("suffix", "most"), [(".webp", 16383), (".jpg", 65500)])
def test_a_picture_larger_than_its_format_is_refused(tmp_path, suffix: str, most: int) -> None:
    from PIL import Image

    with (tmp_path / "a").open("wb") as file:
        with pytest.raises(OutputError, match=f"ends at {most}"):
            write_image(Image.new("RGB", (2, most + 1)), file, suffix)
        write_image(Image.new("RGB", (2, most)), file, suffix)


# -- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["a few words that need some lines", "x" * 100, "", " ", "ein " + "y" * 70 + " ende"])
def test_wrapped_text_is_whole_and_no_wider_than_asked(text: str) -> None:
    lines = wrap(text, 120, 16)
    assert all(text_width(line, 16) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert len(lines) >= 1


def test_a_name_is_broken_at_its_dots() -> None:
    lines = wrap("encoder.layers.encoder_layer_11.self_attention.out_projection.weight", 200, 16)
    assert len(lines) > 2
    assert all(line.endswith((".", "_")) for line in lines[:-1]), lines


def test_shortened_text_fits_and_starts_the_same() -> None:
    assert shorten("short", 500, 16) == "short"
    cut = shorten("x" * 100, 200, 16)
    assert cut.endswith("…") and text_width(cut, 16) <= 200 < text_width(cut[:-1] + "xxx", 16)


def test_names_of_files_are_whole_where_they_can_be_and_never_too_long() -> None:
    assert figure_name("coffee", "resnet18", "layer1.0.conv1") == "coffee-resnet18-layer1.0.conv1.png"
    assert figure_name("a b/c", "x:y", "l") == "a_b_c-x_y-l.png"
    names = [figure_name("é" * 300, "m" * 300, "x" * 300 + str(at), number) for at in (1, 2) for number in (1, 2, 30)]
    assert len(set(names)) == len(names)
    assert all(len(name.encode()) <= 255 for name in names)


def test_channels_of_a_grid_stand_in_rows_of_one_length() -> None:
    for count in (8, 16, 24, 32, 40, 48, 64):
        scene = figure_of(layer((1, count, 28, 28)), image(), ORIGIN, Drawing())
        rows = sorted({text.y for text in captions(scene).values()})
        lengths = [sum(text.y == row for text in captions(scene).values()) for row in rows]
        assert len(set(lengths)) == 1, (count, lengths)
        assert all(math.isclose(b - a, rows[1] - rows[0]) for a, b in pairwise(rows))


# -- what each tile's strongest unit sees --------------------------------------------------------------------------


Span = tuple[int, int]


def seen(rows: Span | None, columns: Span | None) -> UnitBox:
    return UnitBox((rows, columns), (rows, columns))


def marked(scene: Scene, colour: tuple[int, int, int]) -> list[Box]:
    """The boxes with lines of this colour, outermost first."""
    found = [item for item in scene.items if isinstance(item, Box) and item.outline == colour]
    return sorted(found, key=lambda box: -box.width * box.height)


def test_a_units_box_on_the_photo_and_its_cell_on_the_tile_have_one_colour() -> None:
    feature_map = layer((1, 2, 8, 8))
    found = [((2, 5), seen((10, 19), (30, 49))), ((7, 0), seen((40, 63), (0, 9)))]
    scene = figure_of(feature_map, image(), ORIGIN, Drawing(), units=found)
    photo = next(item for item in scene.items[1:] if isinstance(item, Picture))
    tiles = gaps_free_tiles(scene)
    for index, ((row, column), box) in enumerate(found):
        left, top, right, bottom = tiles[index]
        lines = marked(scene, unit_colour(index))
        frame = next(each for each in lines if each.width > right - left)
        assert (frame.x, frame.y) == (left - 2, top - 2) and frame.height == bottom - top + 4
        cell = next(each for each in lines if left <= each.x < right and each.width < (right - left) / 4)
        side = (right - left) / 8
        assert (cell.x - 1, cell.y - 1) == (pytest.approx(left + column * side), pytest.approx(top + row * side))
        assert cell.width + 2 == pytest.approx(side)
        on_photo = next(each for each in lines if each.x < photo.x + photo.size[1])
        scale = photo.size[0] / 64
        rows, columns = box.seen
        assert rows is not None and columns is not None
        assert on_photo.x == pytest.approx(photo.x + columns[0] * scale, abs=1)
        assert on_photo.y == pytest.approx(photo.y + rows[0] * scale, abs=1)
        assert on_photo.height == pytest.approx((rows[1] - rows[0] + 1) * scale, abs=1)
        tag = next(
            item
            for item in scene.items
            if isinstance(item, Box) and item.fill == unit_colour(index) and item.height == 14
        )
        name = next(item for item in scene.items if isinstance(item, Text) and item.x == tag.x + 3)
        assert name.text == str(index)
    assert "Boxes: what each tile's strongest unit, marked on it, sees." in [
        item.text for item in scene.items if isinstance(item, Text)
    ]


@pytest.mark.parametrize(("count", "size"), [(1, 9), (12, 20), (12, 1), (64, 40), (80, 3)])
def test_names_at_boxes_stay_on_the_photo_and_apart(count: int, size: int) -> None:
    feature_map = layer((1, count, 14, 14))
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 64 - size, (count, 2))
    found = [
        ((int(y) // 5, int(x) // 5), seen((int(y), int(y) + size), (int(x), int(x) + size)))
        for y, x in corners.tolist()
    ]
    scene = figure_of(feature_map, image(), ORIGIN, Drawing(), units=found)
    photo = next(item for item in scene.items[1:] if isinstance(item, Picture))
    tags = [item for item in scene.items if isinstance(item, Box) and item.fill and item.height == 14]
    inside = place_of(photo)
    for tag in tags:
        left, top, right, bottom = place_of(tag)
        assert inside[0] <= left and inside[1] <= top and right <= inside[2] and bottom <= inside[3]
    for at, tag in enumerate(tags):
        assert not any(overlap(place_of(tag), place_of(other)) for other in tags[at + 1 :])
    assert len(tags) == count if count <= 12 else 5 < len(tags) <= count
    distinct = {item.outline for item in scene.items if isinstance(item, Box) and item.outline}
    assert len(distinct - {INK, WHITE}) == min(count, 12)
    others = [item for item in scene.items if not (isinstance(item, Text) and item.size == 11)]
    ranges_aside = Scene(scene.width, scene.height, others)
    assert [fault for fault in faults_of(ranges_aside) if "off the page" in fault] == []


def test_where_all_units_see_the_whole_image_that_is_said_and_nothing_is_framed() -> None:
    whole = UnitBox(((0, 63), (0, 63)), (None, None))
    feature_map = layer((1, 20, 7, 7))
    scene = figure_of(feature_map, image(), ORIGIN, Drawing(), units=[((3, 3), whole)] * 20)
    assert faults_of(scene) == []
    words = " ".join(item.text for item in scene.items if isinstance(item, Text))
    assert "Each tile's strongest unit, marked on it, sees the whole image." in words
    assert not any(marked(scene, unit_colour(index)) for index in range(12))
    assert len(marked(scene, INK)) == 40, "a mark of two pixels in each tile"
    some = [((3, 3), whole)] * 2 + [((0, 0), seen((0, 9), (0, 9)))] * 17 + [((1, 1), seen(None, None))]
    words = " ".join(
        item.text
        for item in figure_of(feature_map, image(), ORIGIN, Drawing(), units=some).items
        if isinstance(item, Text)
    )
    assert "12 colours, over again. Of 2 tiles it sees the whole image: no box." in words
    assert "Of 1 tile it sees nothing of it: no box." in words


def test_units_of_a_clip_are_marked_on_the_frame_with_the_largest_value() -> None:
    feature_map = layer((1, 2, 4, 8, 8))
    feature_map.maps[:, 2, 3, 5] = 99.0
    box = UnitBox(((0, 3), (10, 19), (30, 49)), ((0, 3), (10, 19), (30, 49)))
    scene = figure_of(feature_map, image(), ORIGIN, Drawing(), units=[((3, 5), box)] * 2)
    tiles = gaps_free_tiles(scene)
    for index in range(2):
        left, top, right, bottom = tiles[index * 4 + 2]
        cell = marked(scene, unit_colour(index))[-1]
        assert left + (right - left) * 5 / 8 <= cell.x and cell.x + cell.width <= left + (right - left) * 6 / 8 + 1
        assert top + (bottom - top) * 3 / 8 <= cell.y
