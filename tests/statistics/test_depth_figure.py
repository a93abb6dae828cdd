"""The figure through depth: where values are is where boxes are, everything on the page, in pixels and in vectors."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from small_runs import FINDINGS, NAN, normal, odd_run, record, run_of

from fmap_cli.drawing.along import stages
from fmap_cli.drawing.files import write_scene
from fmap_cli.drawing.raster import rasterise
from fmap_cli.drawing.scene import Box, Picture, Scene, Text, text_width
from fmap_cli.network.records import LayerKind
from fmap_cli.statistics.figure import SymmetricLog, lay_out_depth
from fmap_cli.statistics.records import Finding, LayerRecord, Run

BLUE, ORANGE, GREEN, GREY = (0, 114, 178), (230, 159, 0), (0, 158, 115), (125, 125, 134)
BAD = (253, 226, 214)


def figure(*records: LayerRecord, findings: Sequence[Finding] = ()) -> Scene:
    return lay_out_depth(run_of(*records), findings, records)


def deep_run(count: int, factor: float = 1.0) -> Run:
    """So many layers, each `factor` times as large as the one before."""
    kinds: list[tuple[LayerKind, str]] = [("conv", "Conv2d"), ("norm", "BatchNorm2d"), ("act", "ReLU")]
    layers = []
    for at in range(count):
        values = normal(4, 200, factor**at, seed=at)
        kind, type_name = kinds[at % 3]
        layers.append(record(f"layer{at // 12}.{at % 12}.x", values.relu() if at % 3 == 2 else values, kind, type_name))
    return run_of(*layers)


def texts(scene: Scene) -> list[str]:
    return [item.text for item in scene.items if isinstance(item, Text)]


def boxes(scene: Scene, colour: tuple[int, int, int]) -> list[Box]:
    """The boxes of a colour that are in the plot: not those of the legend."""
    return [
        item for item in scene.items if isinstance(item, Box) and item.fill == colour and item.x >= 150 and item.y > 130
    ]


def extent(item: Text | Picture | Box) -> tuple[float, float, float, float]:
    """Left, top, right, bottom."""
    if isinstance(item, Box):
        return item.x, item.y, item.x + item.width, item.y + item.height
    assert isinstance(item, Text)
    length, height = text_width(item.text, item.size, item.bold), item.size * 1.2
    start = {"left": 0.0, "middle": length / 2, "right": length}[item.align]
    if item.turned:
        top = item.y - (length - start)
        return item.x, top, item.x + height, top + length
    return item.x - start, item.y, item.x - start + length, item.y + height


@pytest.mark.parametrize("count", [1, 2, 20, 60, 200, 500])
@pytest.mark.parametrize("factor", [0.8, 1.0, 1.3])
def test_all_is_on_the_page_whatever_there_is_to_draw(count: int, factor: float) -> None:
    run = deep_run(count, factor)
    many = [Finding(each.layer.name, "a-check", "note", "words. " * 99, "", "") for each in run.layers]
    scene = lay_out_depth(run, many, run.layers)
    for item in scene.items:
        left, top, right, bottom = extent(item)
        assert left >= 0 and top >= 0 and right <= scene.width and bottom <= scene.height, item
    assert scene.width <= max(1800, 5 * count + 400) and scene.height <= 1300


def test_odd_layers_are_drawn_and_their_page_too() -> None:
    run = odd_run()
    scene = lay_out_depth(run, FINDINGS, run.layers)
    page = rasterise(scene)
    assert page.size == (scene.width, scene.height)
    assert any("17 layers" in words for words in texts(scene)), "the block that repeats is left out"


def test_a_box_is_as_high_as_the_middle_half_and_lies_where_its_values_are() -> None:
    uniform = torch.linspace(-3, 5, 8001)[None]
    scene = figure(record("a", uniform), record("b", uniform * 10))
    first, second = sorted(boxes(scene, BLUE), key=lambda box: box.x)
    labels = {item.text: item.y + 9 for item in scene.items if isinstance(item, Text) and item.align == "right"}
    decade = labels["1"] - labels["10"]
    # The quartiles are -1 and 3.
    assert first.y + first.height - 1 == pytest.approx(labels["-1"], abs=2)
    assert first.y == pytest.approx(labels["1"] - decade * np.log10(3), abs=2)
    assert second.height > first.height
    assert second.y == pytest.approx(first.y - decade, abs=2)


def test_one_layer_out_of_all_proportion_does_not_hide_the_others() -> None:
    usual = [record(name, normal(2, 99)) for name in "abc"]
    for size in (1e-30, 1e30):
        scene = figure(*usual, record("d", normal(2, 99, size)))
        assert min(box.height for box in sorted(boxes(scene, BLUE), key=lambda box: box.x)[:3]) >= 10


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_shrinking_and_growing_show(factor: float) -> None:
    run = deep_run(30, factor)
    scene = lay_out_depth(run, (), run.layers)
    heights = [box.height for box in sorted(boxes(scene, BLUE), key=lambda box: box.x)]
    assert len(heights) == 10
    assert heights == sorted(heights, reverse=factor < 1)
    assert max(heights) > 4 * min(heights)


def test_kinds_have_colours_and_the_legend_names_those_there_are() -> None:
    run = deep_run(6)
    scene = lay_out_depth(run, (), run.layers)
    assert [len(boxes(scene, colour)) for colour in (BLUE, ORANGE, GREEN, GREY)] == [2, 2, 2, 0]
    assert {"convolution, linear", "normalisation", "activation"} <= {*texts(scene)}
    assert "other" not in texts(scene)


def test_the_title_says_model_weights_and_images() -> None:
    run = deep_run(3)
    title, line, *_ = texts(lay_out_depth(run, (), run.layers))
    assert title.startswith("efficientnet_lite0")
    assert line == "weights: ImageNet · 4 images from photos · 3 layers in execution order"


def test_every_layer_is_named_where_there_is_room_and_names_keep_their_end() -> None:
    for count, step in ((20, 1), (60, 1), (200, 3)):
        run = deep_run(count)
        turned = [
            item.text
            for item in lay_out_depth(run, (), run.layers).items
            if isinstance(item, Text) and item.turned and not item.bold
        ]
        assert turned == [each.layer.name for each in run.layers[::step]]
    long = record("backbone." * 20 + "conv", normal(2, 9))
    assert any(words.startswith("…") and words.endswith("backbone.conv") for words in texts(figure(long)))


def test_names_do_not_touch_one_another() -> None:
    run = deep_run(200)
    names = [item for item in lay_out_depth(run, (), run.layers).items if isinstance(item, Text) and item.turned]
    for one, other in pairwise(names):
        assert extent(one)[2] <= extent(other)[0] + 1


def test_float16s_limits_are_lines_where_the_axis_reaches_them() -> None:
    assert not any("float16" in words for words in texts(figure(record("a", normal(2, 99)))))
    wide = texts(figure(record("a", normal(2, 99)), record("b", normal(2, 99, 1e6)), record("c", normal(2, 99, 1e-6))))
    assert wide.count("float16 ends") == 2 and "float16 loses digits" in wide


def test_layers_that_are_not_finite_have_a_red_column_and_their_count_once() -> None:
    layers = [record(name, [[1.0, 2.0]]) for name in "ab"]
    layers += [record(name, [[NAN, NAN, 1.0]]) for name in "cd"]
    layers += [record("e", [[NAN, float("inf")]])]
    scene = figure(*layers)
    assert len(boxes(scene, BAD)) == 3
    assert [words for words in texts(scene) if "NaN" in words] == ["2 NaN"]


def test_shares_of_zeros_and_dead_channels_are_bars_in_proportion() -> None:
    half = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    scene = figure(record("relu", half, "act", "ReLU"), record("none", torch.ones(2, 2), "act", "ReLU"))
    (zeros,) = boxes(scene, (110, 120, 150))
    (dead,) = boxes(scene, (213, 94, 0))
    assert (zeros.height, dead.height) == (33, 22)  # 3/4 and 1/2 of 44 px
    assert {"zeros", "dead", "100 %", "0 %"} <= {*texts(scene)}


def test_findings_have_a_row_a_check_and_are_told_once_each() -> None:
    layers = [record(name, normal(2, 9)) for name in "abcd"]
    found = [Finding(name, "nearly-zero", "warning", f"{name} is small. More words.", "", "") for name in "dbc"]
    found.append(Finding("c", "[red]", "error", "it is bad.", "", ""))
    said = texts(figure(*layers, findings=found))
    assert "b: b is small; and 2 more layers" in said, "the first by depth, its first sentence"
    assert said.count("nearly-zero") == 2 and said.count("[red]") == 2
    last = [words for words in said if words in ("nearly-zero", "[red]")][-2:]
    assert last == ["[red]", "nearly-zero"], "the gravest first"


def test_without_layers_the_page_says_so() -> None:
    scene = lay_out_depth(run_of(), (), ())
    assert "No layer has values to draw." in texts(scene)
    rasterise(scene)


def test_a_layer_without_a_histogram_has_its_line_alone() -> None:
    scene = figure(record("a", normal(2, 99), histogram=None))
    assert boxes(scene, BLUE) == []
    assert any(box.height > 100 and box.width <= 2 for box in scene.items if isinstance(box, Box))


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_figure_is_written_the_same_twice(suffix: str) -> None:
    run = deep_run(20)
    written = []
    for _ in range(2):
        file = io.BytesIO()
        write_scene(lay_out_depth(run, (), run.layers), file, suffix)
        written.append(file.getvalue())
    assert written[0] == written[1] and len(written[0]) > 1000
    if suffix == ".svg":
        assert b"rotate(-90)" in written[0]


# -- its parts -----------------------------------------------------------------------------------------------------


def test_a_turned_text_reads_upwards_from_where_it_is_put() -> None:
    scene = Scene(100, 200)
    scene.add(Text(20, 150, "upwards", 20, (0, 0, 0), turned=True))
    level = Scene(200, 100)
    level.add(Text(0, 0, "upwards", 20, (0, 0, 0)))
    dark = 255 - np.asarray(rasterise(scene).convert("L")).astype(int)
    rows, columns = np.nonzero(dark > 128)
    assert rows.max() <= 150 and rows.min() >= 150 - text_width("upwards", 20) - 1
    assert columns.min() >= 20 and columns.max() <= 20 + 24
    expected = 255 - np.asarray(rasterise(level).convert("L")).astype(int)
    turned_back = np.asarray(Image.fromarray(dark.astype(np.uint8)).transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert turned_back.sum() == pytest.approx(expected.sum(), rel=0.01)


def test_an_axis_keeps_the_order_and_the_sign_and_does_not_jump() -> None:
    axis = SymmetricLog(1e-3)
    values = np.concatenate([-np.logspace(3, -9, 200), [0.0], np.logspace(-9, 3, 200)])
    heights = [axis(float(value)) for value in values]
    assert (np.diff(heights) > 0).all()
    assert heights == pytest.approx([-height for height in reversed(heights)])
    assert axis(1e-3 * (1 - 1e-9)) == pytest.approx(axis(1e-3 * (1 + 1e-9)))
    assert axis(1.0) - axis(0.1) == pytest.approx(1.0)


def test_stages_cover_all_layers_in_their_order_or_there_are_none() -> None:
    names = [each.layer.name for each in deep_run(60).layers]
    assert stages(names) == [(f"layer{at}", 12) for at in range(5)]
    assert stages([]) == []
    assert stages(list("abcdef")) == []
    assert stages(["a.b.c.d.e"] * 5) == []
