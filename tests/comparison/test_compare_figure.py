"""The figure of a comparison: marks lie at the differences, the threshold is a line, moved channels are in scale."""

from __future__ import annotations

from math import inf

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_rgb
from pages import drawn, faults, labels, texts
from small_runs import record, run_of

from fmap_cli.comparison.figure import comparison_figure
from fmap_cli.comparison.measures import differ
from fmap_cli.comparison.records import ComparedLayer, Comparison, DrawnPair, Side
from fmap_cli.comparison.saved_runs import compare_runs
from fmap_cli.drawing.scene import Plot, Scene, Text
from fmap_cli.models.records import Origin, Weights
from fmap_cli.network.records import LayerRef

SIDE = Side("cat.png", Origin("net", Weights("unknown", "w")))


def layer_at(name: str, share: float, over: bool) -> ComparedLayer:
    a = torch.ones(1, 2, 2, 2)
    b = a * (1 + share) if share < inf else a * torch.nan
    layer = LayerRef(name, name, 0, "conv", "Conv2d", is_module=True)
    return ComparedLayer(layer, (1, 2, 2, 2), ("float32", "float32"), differ(a, b, 1), over)


def figure(*shares: float, threshold: float = 0.1) -> Scene:
    layers = tuple(layer_at(f"net.{at}", share, share > threshold) for at, share in enumerate(shares))
    return comparison_figure(Comparison(SIDE, SIDE, threshold, layers))


def marks(axes: Axes, name: str) -> dict[int, float]:
    (found,) = [each for each in axes.collections if isinstance(each, PathCollection) and each.get_label() == name]
    return {round(at): float(height) for at, height in np.asarray(found.get_offsets())}


def colours(axes: Axes) -> list[tuple[int, ...]]:
    (found,) = [each for each in axes.collections if each.get_label() == "apart"]
    return [tuple(round(255 * part) for part in to_rgb(each)) for each in found.get_facecolor()]  # type: ignore[arg-type]


def test_marks_lie_at_the_differences_and_those_over_the_threshold_are_red() -> None:
    axes = drawn(figure(0.5, 0.0625, 0.0, 0.25))["difference"]
    assert marks(axes, "apart") == {0: 0.5, 1: 0.0625, 3: 0.25}
    low, high = axes.get_ylim()
    assert marks(axes, "equal") == {2: low} and (low, high) == (0.01, 1)
    over, under = (196, 60, 40), (59, 82, 139)
    assert colours(axes) == [over, under, over]
    assert labels(axes) == {0.01: "0.01", 0.1: "0.1", 1: "1"}
    (threshold,) = [line for line in axes.lines if line.get_ydata()[0] == 0.1]  # type: ignore[index]
    assert threshold.get_ydata() == [0.1, 0.1]
    assert "threshold\n0.1" in texts(figure(0.5)) and "1 layer in the order" in "".join(texts(figure(0.5)))


@pytest.mark.parametrize("threshold", [1e-4, 3e-4, 1e-5])
def test_the_threshold_is_written_as_the_axis_is(threshold: float) -> None:
    scene = figure(*[2.0**-at for at in range(20)], threshold=threshold)
    said = labels(drawn(scene)["difference"])
    raised = "⁰¹²³⁴⁵⁶⁷⁸⁹"
    assert len(said) > 3
    for value, words in said.items():
        power = round(-np.log10(value))
        assert words == (f"10⁻{raised[power]}" if power > 0 else "10" if power else "1")
    name = {1e-4: "10⁻⁴", 3e-4: "3 × 10⁻⁴", 1e-5: "10⁻⁵"}[threshold]
    assert f"threshold\n{name}" in texts(scene)
    assert not any("e-0" in words for words in [*said.values(), f"threshold\n{name}"])


def test_the_last_layer_is_named_however_many_there_are() -> None:
    for count in (2, 60, 149, 300):
        shown = labels(drawn(figure(*[0.5] * count))["layers"], "x")
        assert shown[count - 1] == f"net.{count - 1}"


def test_channels_without_a_difference_say_so_and_all_ranges_have_one_size() -> None:
    a = np.random.default_rng(0).normal(0, 1, (3, 6, 6)).astype(np.float32)
    b = a.copy()
    b[0] += 1e-7 * np.arange(36).reshape(6, 6) + 0.5
    b[2] = np.nan
    layer = layer_at("conv", 0.5, True)
    pair = DrawnPair(layer.layer, (1, 3, 6, 6), (0, 1, 2), 3, a, b)
    scene = comparison_figure(Comparison(SIDE, SIDE, 0.1, (layer,), pair=pair))
    said = [item for item in scene.items if isinstance(item, Text) and item.text in ("no difference", "not finite")]
    assert [item.text for item in said] == ["no difference", "not finite"]
    assert not any("±0" in words and "±0." not in words for words in texts(scene))
    under = [item for item in scene.items if isinstance(item, Text) and (" … " in item.text or "up to ±" in item.text)]
    assert len({item.size for item in [*under, *said]}) == 1
    assert faults(scene) == []


def test_stems_reach_from_the_base_to_the_marks() -> None:
    axes = drawn(figure(0.5, 0.0625))["difference"]
    (stems,) = [each for each in axes.collections if isinstance(each, LineCollection)]
    assert [each.tolist() for each in stems.get_segments()] == [[[0, 0.01], [0, 0.5]], [[1, 0.01], [1, 0.0625]]]


def test_what_is_beyond_the_scale_lies_at_its_ends_and_is_told() -> None:
    scene = figure(*[0.5] * 30, 2.0**-20, inf)
    axes = drawn(scene)["difference"]
    low, high = axes.get_ylim()
    found = marks(axes, "apart")
    assert (found[30], found[31]) == (low, high)
    assert colours(axes)[-1] == (255, 0, 255)
    said = texts(scene)
    assert "on the base line: below the scale" in said and any(each.startswith("NaN or infinite") for each in said)
    assert "on the base line: exactly zero" not in said and "on the base line: exactly zero" in texts(figure(0, 1))


def test_the_first_layer_over_is_named_and_marked() -> None:
    scene = figure(0.0625, 0.5, 0.75)
    axes = drawn(scene)["difference"]
    assert [line.get_xdata()[0] for line in axes.lines if line.get_ydata()[0] == 0] == [1]  # type: ignore[index]
    assert [word.get_text() for word in axes.texts if word.get_weight() == "bold"] == ["net.1"]
    assert labels(drawn(scene)["layers"], "x") == {0: "net.0", 1: "net.1", 2: "net.2"}
    assert not [word for word in drawn(figure(0.0625))["difference"].texts if word.get_weight() == "bold"]


def test_a_threshold_far_below_is_said_in_words() -> None:
    scene = comparison_figure(Comparison(SIDE, SIDE, 1e-12, (layer_at("a", 0.5, True),), only_a=("n",)))
    words = next(item for item in scene.items if isinstance(item, Text) and "below the scale" in item.text)
    assert words.text == "the threshold, 1e-12, lies below the scale"
    assert words.x == next(item.x for item in scene.items if isinstance(item, Plot))
    assert not any(each.startswith("threshold") for each in texts(scene))
    assert "Only A has 1 layer: n" in texts(scene)


def test_channels_that_moved_are_bars_of_mean_and_deviation() -> None:
    a = record("conv", [[1.0, 3.0], [0.0, 4.0], [5.0, 5.0]])
    b = record("conv", [[5.0, 9.0], [0.0, 4.0], [5.0, 6.0]])
    scene = comparison_figure(compare_runs(run_of(a), run_of(b), ("a", "b")))
    axes = drawn(scene)["channels"]
    # Of channel 0 the means are 2 and 7, the deviations √2 and 2√2: pooled √5, so it moved by 5 / √5 = 2.24.
    assert labels(axes)[0] == "0" and "2.2" in texts(scene)
    for name, mean, std in (("A", 2, 2**0.5), ("B", 7, 8**0.5)):
        (bars,) = [each for each in axes.containers if each.get_label() == name]
        first = bars.patches[0]  # type: ignore[attr-defined]
        assert (first.get_x(), first.get_width()) == (pytest.approx(mean - std), pytest.approx(2 * std))
        (means,) = [each for each in axes.collections if each.get_label() == f"mean of {name}"]
        assert means.get_segments()[0][0][0] == mean  # type: ignore[attr-defined]
    assert faults(scene) == []


@pytest.mark.parametrize("count", [1, 2, 40, 300])
def test_nothing_is_cut_or_covered(count: int) -> None:
    layers = tuple(
        layer_at(f"block{at // 40}.{'x' * (at % 9 * 8)}.{at}", 2.0 ** -(at % 9), at > 2) for at in range(count)
    )
    side = Side("c" * 300 + ".png", Origin("net" * 40, Weights("unknown", "w" * 200), device="cpu"), "contiguous")
    pictures = (np.zeros((300, 200, 3), np.uint8), np.ones((300, 200, 3), np.uint8))
    scene = comparison_figure(Comparison(side, side, 0.1, layers, pictures=pictures, only_a=("n" * 400,)))
    assert faults(scene) == []
