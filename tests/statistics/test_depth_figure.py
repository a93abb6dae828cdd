"""The figure through depth: where values are is where boxes are, everything on the page, in pixels and in vectors."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from pages import chart_words, drawn, faults, labels, texts
from PIL import Image
from small_runs import FINDINGS, NAN, normal, odd_run, record, run_of

from fmap_cli.drawing.charts import mixed, rgb, stages
from fmap_cli.drawing.files import write_scene
from fmap_cli.drawing.raster import rasterise
from fmap_cli.drawing.scene import Scene, Text, text_width
from fmap_cli.network.records import LayerKind
from fmap_cli.statistics.figure import depth_figure
from fmap_cli.statistics.records import Finding, LayerRecord, Run

BLUE, ORANGE, GREEN = (0, 114, 178), (230, 159, 0), (0, 158, 115)


def figure(*records: LayerRecord, findings: Sequence[Finding] = ()) -> Scene:
    return depth_figure(run_of(*records), findings, records)


def deep_run(count: int, factor: float = 1.0) -> Run:
    """So many layers, each `factor` times as large as the one before."""
    kinds: list[tuple[LayerKind, str]] = [("conv", "Conv2d"), ("norm", "BatchNorm2d"), ("act", "ReLU")]
    layers = []
    for at in range(count):
        values = normal(4, 200, factor**at, seed=at)
        kind, type_name = kinds[at % 3]
        layers.append(record(f"layer{at // 12}.{at % 12}.x", values.relu() if at % 3 == 2 else values, kind, type_name))
    return run_of(*layers)


def lines(axes: Axes, label: str) -> dict[int, tuple[float, float]]:
    """The ends of each layer's upright line of that name, by the layer's place."""
    (found,) = [each for each in axes.collections if isinstance(each, LineCollection) and each.get_label() == label]
    return {round(low[0]): (float(low[1]), float(high[1])) for low, high in found.get_segments()}


def heights(axes: Axes, ends: dict[int, tuple[float, float]]) -> list[float]:
    """How many pixels high each is."""
    return [float(np.diff(axes.transData.transform([(0, low), (0, high)])[:, 1])[0]) for low, high in ends.values()]


@pytest.mark.parametrize(("count", "factor"), [(1, 1.0), (2, 1.3), (60, 1.0), (60, 0.4), (200, 0.8), (500, 1.02)])
def test_all_is_on_the_page_whatever_there_is_to_draw(count: int, factor: float) -> None:
    run = deep_run(count, factor)
    many = [Finding(each.layer.name, "a-check", "note", "words. " * 99, "", "") for each in run.layers]
    scene = depth_figure(run, many, run.layers)
    assert faults(scene) == []
    assert scene.width <= max(1800, 5 * count + 400) and scene.height <= 1300


def test_odd_layers_are_drawn_and_their_page_too() -> None:
    run = odd_run()
    scene = depth_figure(run, FINDINGS, run.layers)
    page = rasterise(scene)
    assert page.size == (scene.width, scene.height)
    assert any("17 layers" in words for words in texts(scene)), "the block that repeats is left out"


def test_boxes_hold_the_middle_half_and_lines_all_of_the_values() -> None:
    uniform = torch.linspace(-3, 5, 8001)[None]
    axes = drawn(figure(record("a", uniform), record("b", uniform * 10)))["values"]
    assert lines(axes, "all") == {0: (-3, 5), 1: (-30, 50)}
    for name, low, high in (("half", -1.0, 3.0), ("98 %", -2.92, 4.92)):
        boxes = lines(axes, name)
        assert boxes[0] == (pytest.approx(low, rel=0.05), pytest.approx(high, rel=0.05))
        assert boxes[1] == (pytest.approx(10 * low, rel=0.05), pytest.approx(10 * high, rel=0.05))
    (medians,) = [each for each in axes.collections if each.get_label() == "median"]
    assert isinstance(medians, LineCollection)
    assert [each[0][1] for each in medians.get_segments()] == [pytest.approx(1, rel=0.05), pytest.approx(10, rel=0.05)]


def test_a_decade_is_as_high_anywhere_and_zero_in_the_middle_of_the_linear_part() -> None:
    axes = drawn(figure(record("a", normal(2, 999)), record("b", normal(2, 999, 1e-3))))["values"]
    said = labels(axes)
    assert {"-1", "-0.1", "0", "0.1", "1"} <= {*said.values()}
    assert list(said.values()) == [f"{value:g}" for value in said]
    y = {words: axes.transData.transform((0, value))[1] for value, words in said.items()}
    assert y["1"] - y["0.1"] == pytest.approx(y["0.1"] - y["0.01"]) == pytest.approx(y["-0.01"] - y["-0.1"])
    assert y["0"] - y["-1"] == pytest.approx(y["1"] - y["0"])
    assert min(np.diff(sorted(y.values()))) > 15


@pytest.mark.parametrize("size", [1e-300, 1e-30, 1e30])
def test_one_layer_out_of_all_proportion_does_not_hide_the_others(size: float) -> None:
    usual = [record(name, normal(2, 99)) for name in "abc"]
    odd = record("d", normal(2, 99).double() * size)
    axes = drawn(figure(*usual, odd))["values"]
    assert min(heights(axes, lines(axes, "half"))[:3]) >= 10
    assert 3 <= len(labels(axes)) <= 30


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_shrinking_and_growing_show(factor: float) -> None:
    run = deep_run(30, factor)
    axes = drawn(depth_figure(run, (), run.layers))["values"]
    high = heights(axes, lines(axes, "half"))[::3]
    assert len(high) == 10
    assert high == sorted(high, reverse=factor < 1)
    assert max(high) > 4 * min(high)


def test_kinds_have_colours_and_the_legend_names_those_there_are() -> None:
    run = deep_run(6)
    scene = depth_figure(run, (), run.layers)
    for name, share in (("half", 1.0), ("98 %", 0.38)):
        (found,) = [each for each in drawn(scene)["values"].collections if each.get_label() == name]
        colours = [rgb(mixed(colour, share)) for colour in (BLUE, ORANGE, GREEN)] * 2
        assert [to_rgb(each) for each in found.get_edgecolor()] == [pytest.approx(each) for each in colours]
    assert {"convolution, linear", "normalisation", "activation"} <= {*texts(scene)}
    assert "other" not in texts(scene)


def test_the_title_says_model_weights_and_images() -> None:
    run = deep_run(3)
    title, line, *_ = texts(depth_figure(run, (), run.layers))
    assert title.startswith("efficientnet_lite0")
    assert line == "efficientnet_lite0, weights: ImageNet · 4 images from photos · 3 layers in execution order"


def test_every_layer_is_named_where_there_is_room_and_names_keep_their_end() -> None:
    for count, step in ((20, 1), (60, 1), (200, 3)):
        run = deep_run(count)
        axes = drawn(depth_figure(run, (), run.layers))["layers"]
        shown = labels(axes, "x")
        assert shown == {at: run.layers[round(at)].layer.name for at in shown}
        assert {*range(0, count - step, step), count - 1} <= {*shown}, "every so many, and the last one always"
        assert min(np.diff(sorted(shown))) >= step
    long = record("backbone." * 20 + "conv", normal(2, 9))
    assert any(words.startswith("…") and words.endswith("backbone.conv") for words in texts(figure(long)))


def test_names_are_no_formulas() -> None:
    scene = figure(record("$x_1$", normal(2, 9)), record("a$b", normal(2, 9)), record("$\\frac$", normal(2, 9)))
    assert [*labels(drawn(scene)["layers"], "x").values()] == ["$x_1$", "a$b", "$\\frac$"]
    (place,) = [each for words, each in chart_words(scene) if words == "$x_1$"]
    assert place[3] - place[1] == pytest.approx(text_width("$x_1$", 12), abs=2)


def test_float16s_limits_are_lines_where_the_axis_reaches_them() -> None:
    assert not any("float16" in words for words in texts(figure(record("a", normal(2, 99)))))
    wide = texts(figure(record("a", normal(2, 99)), record("b", normal(2, 99, 1e6)), record("c", normal(2, 99, 1e-6))))
    assert wide.count("float16 ends") == 2 and "float16 loses digits" in wide


def test_layers_that_are_not_finite_have_a_red_column_and_their_count_once() -> None:
    layers = [record(name, [[1.0, 2.0]]) for name in "ab"]
    layers += [record(name, [[NAN, NAN, 1.0]]) for name in "cd"]
    layers += [record("e", [[NAN, float("inf")]])]
    scene = figure(*layers)
    columns = [each for each in drawn(scene)["values"].patches if each.get_label() == "not finite"]
    assert [each.get_x() for each in columns] == [1.5, 2.5, 3.5]  # type: ignore[attr-defined]
    assert [words for words in texts(scene) if "NaN" in words] == ["2 NaN"]


def test_shares_of_zeros_and_dead_channels_are_bars_in_proportion() -> None:
    half = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    scene = figure(record("relu", half, "act", "ReLU"), record("none", torch.ones(2, 2), "act", "ReLU"))
    axes = drawn(scene)
    for name, share in (("zeros", 0.75), ("dead", 0.5)):
        (bars,) = axes[name].collections
        assert isinstance(bars, LineCollection)
        assert [each.tolist() for each in bars.get_segments()] == [[[0, 0], [0, share]]]
        assert labels(axes[name]) == {0: "0 %", 1: "100 %"}
    assert {"zeros", "dead"} <= {*texts(scene)}


def test_findings_have_a_row_a_check_and_are_told_once_each() -> None:
    layers = [record(name, normal(2, 9)) for name in "abcd"]
    found = [Finding(name, "nearly-zero", "warning", f"{name} is small. More words.", "", "") for name in "dbc"]
    found.append(Finding("c", "[red]", "error", "it is bad.", "", ""))
    said = texts(figure(*layers, findings=found))
    assert "b: b is small; and 2 more layers" in said, "the first by depth, its first sentence"
    assert [words for words in said if words in ("nearly-zero", "[red]")] == ["[red]", "nearly-zero"] * 2, (
        "the gravest first, in the list and in the chart"
    )


def many_uniform() -> list[LayerRecord]:
    """120 layers whose values go evenly from -3 to 5 times the layer's number, by turns a convolution and a ReLU."""
    steps = torch.linspace(-3, 5, 801)[None]
    return [
        record(f"block{at // 10}.{at % 10}", steps * (at + 1), *(("conv", "Conv2d") if at % 2 else ("act", "ReLU")))
        for at in range(120)
    ]


def test_many_layers_are_bands_a_kind_each_through_their_quantiles() -> None:
    records = many_uniform()
    axes = drawn(figure(*records))
    assert "values" not in axes
    for name, first in (("values of activation", 0), ("values of convolution, linear", 1)):
        chart = axes[name]
        places = np.arange(first, 120, 2)
        for label, low, high in (("half", -1.0, 3.0), ("98 %", -2.92, 4.92)):
            (band,) = [each for each in chart.collections if each.get_label() == label]
            corners = band.get_paths()[0].vertices
            for at in (places[3], places[-4]):
                ends = sorted(y for x, y in corners.tolist() if x == at)
                assert (ends[0], ends[-1]) == pytest.approx((low * (at + 1), high * (at + 1)), rel=0.05)
        for label, share in (("median", 1.0), ("all", 5.0)):
            line = [each for each in chart.lines if each.get_label() == label][-1]
            assert np.asarray(line.get_xdata()).tolist() == places.tolist()
            assert np.asarray(line.get_ydata()) == pytest.approx(share * (places + 1), rel=0.05)
    # A decade is as high in each of them.
    steps = [np.diff(axes[name].transData.transform([(0, 10), (0, 100)])[:, 1])[0] for name in axes if "values" in name]
    assert steps == pytest.approx([steps[0]] * 2, rel=0.02)


def test_a_kind_of_few_layers_keeps_its_boxes_beside_bands() -> None:
    odd = record("pool", torch.linspace(-3, 5, 801)[None], "other", "MaxPool2d")
    chart = drawn(figure(*many_uniform(), odd))["values of other"]
    assert lines(chart, "half")[120] == (pytest.approx(-1, rel=0.05), pytest.approx(3, rel=0.05))


def test_the_gravest_finding_is_the_headline_and_nothing_of_it_is_cut() -> None:
    layers = [record(name, normal(2, 9)) for name in "abcd"]
    found = [Finding(name, "nearly-zero", "note", f"{name} is small.", "", "") for name in "dbc"]
    told = "it is bad, " * 30 + "and more. Of this no more"
    found.append(Finding("c", "a-check-with-quite-a-long-name", "error", told, "", ""))
    scene = figure(*layers, findings=found)
    title = " ".join(item.text for item in scene.items if isinstance(item, Text) and item.bold and item.size == 30)
    assert title == "c: " + "it is bad, " * 30 + "and more"
    assert not any("…" in words for words in texts(scene))
    assert "Of this no more" not in " ".join(texts(scene))
    assert faults(scene) == []
    assert texts(figure(*layers))[0] == "efficientnet_lite0: nothing to worry about in 4 layers"


def test_without_layers_the_page_says_so() -> None:
    scene = depth_figure(run_of(), (), ())
    assert "No layer has values to draw." in texts(scene)
    rasterise(scene)


def test_a_layer_without_a_histogram_has_its_line_alone() -> None:
    axes = drawn(figure(record("a", normal(2, 99), histogram=None)))["values"]
    assert lines(axes, "half") == lines(axes, "98 %") == {}
    assert heights(axes, lines(axes, "all"))[0] > 100


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_the_figure_is_written_the_same_twice(suffix: str) -> None:
    run = deep_run(20)
    written = []
    for _ in range(2):
        file = io.BytesIO()
        write_scene(depth_figure(run, (), run.layers), file, suffix)
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


def test_stages_cover_all_layers_in_their_order_or_there_are_none() -> None:
    names = [each.layer.name for each in deep_run(60).layers]
    assert stages(names) == [(f"layer{at}", 12) for at in range(5)]
    assert stages([]) == []
    assert stages(list("abcdef")) == []
    assert stages(["a.b.c.d.e"] * 5) == []
