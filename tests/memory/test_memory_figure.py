"""The figure of a step's memory: areas as high as the bytes alive, the peak marked, the largest layers as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import to_rgb
from pages import drawn, faults, labels, texts

from fmap_cli.drawing.scene import Scene
from fmap_cli.memory.figure import memory_figure
from fmap_cli.memory.records import Forecast, LayerMemory, MemoryBill, MemoryCourse, MemoryShare
from fmap_cli.models.records import Origin, Weights
from fmap_cli.network.records import LayerRef

MB = 10**6


def layer(name: str, put_out: int, kept: int) -> LayerMemory:
    ref = LayerRef(name, name, 0, "conv", "Conv2d", True)
    return LayerMemory(ref, (1, 8, 4, 4), "float32", 4, put_out, kept, 0)


def bill(
    alive: Sequence[Sequence[int]], layers: Sequence[LayerMemory], mode: Literal["train", "inference"] = "train"
) -> MemoryBill:
    """A bill of parameters, activations and temporaries, in MB at each operation."""
    kinds = ("parameters", "activations", "temporaries")
    values = np.array(alive, np.int64).reshape(3, -1) * MB
    total = values.sum(0)
    most, peak = int(total.max(initial=0)), int(total.argmax()) if total.size else 0
    phases = (("forward", 0), *((("backward", values.shape[1] // 2),) if mode == "train" else ()))
    course = MemoryCourse(kinds, values, phases, peak)
    shares = tuple(MemoryShare(kind, int(each.max(initial=0)), 0) for kind, each in zip(kinds, values, strict=True))
    return MemoryBill(mode, shares, most, most, most, 0, 0, "net.conv", "forward", tuple(layers), course)


def figure(*bills: MemoryBill, model: str = "net", unit: str = "MB", budget: int | None = None) -> Scene:
    forecast = Forecast(Origin(model, Weights("none")), 2, ((2, 3, 8, 8),), "float32", "sgd", "sum", 9, 0, bills)
    return memory_figure(replace(forecast, budget=budget), unit)


STEP = [[5, 5, 5, 5], [0, 20, 40, 10], [1, 0, 15, 0]]
LAYERS = [layer("small", 2 * MB, 3 * MB), layer("none", 0, 0), layer("large", 8 * MB, 6 * MB)]


def areas(axes: Axes) -> dict[str, tuple[float, float]]:
    """The lowest and highest point of each kind's area."""
    found = {}
    for each in axes.collections:
        if isinstance(each, PolyCollection):
            heights = each.get_paths()[0].vertices[:, 1]
            found[str(each.get_label())] = (float(heights.min()), float(heights.max()))
    return found


def test_areas_stand_on_one_another_as_high_as_what_is_alive() -> None:
    axes = drawn(figure(bill(STEP, LAYERS)))["train course"]
    assert areas(axes) == {"parameters": (0, 5), "activations": (5, 45), "temporaries": (5, 60)}
    assert axes.get_xlim() == (0, 4)
    assert labels(axes) == {10.0 * at: str(10 * at) for at in range(7)}
    in_gb = drawn(figure(bill(STEP, LAYERS), unit="GB"))["train course"]
    assert areas(in_gb)["activations"] == (0.005, 0.045)
    assert axes.get_ylabel() == "tensors in MB" and in_gb.get_ylabel() == "tensors in GB"


def test_the_peak_is_marked_where_most_is_alive() -> None:
    scene = figure(bill(STEP, LAYERS))
    axes = drawn(scene)["train course"]
    (mark,) = [each for each in axes.lines if each.get_label() == "peak"]
    assert mark.get_xydata().tolist() == [[2.5, 60]]  # type: ignore[union-attr]
    assert "peak: 60.0 MB of tensors, at net.conv, forward" in texts(scene)
    starts = [each.get_xdata()[0] for each in axes.lines if each is not mark]  # type: ignore[index]
    assert starts == [2] and {"forward", "backward"} <= {*texts(scene)}


def test_a_spike_is_seen_however_many_operations_there_are() -> None:
    alive = np.full((3, 20_000), 2)
    alive[2, 7_777] = 90
    axes = drawn(figure(bill(alive.tolist(), LAYERS)))["train course"]
    assert areas(axes)["temporaries"] == (4, 94)
    area = next(each for each in axes.collections if each.get_label() == "temporaries")
    points = area.get_paths()[0].vertices
    assert len(points) < 5000
    assert points[points[:, 1] == 94][:, 0].mean() == pytest.approx(7_777, abs=25)


@pytest.mark.parametrize(("mode", "kept"), [("train", [6, 3]), ("inference", [8, 2])])
def test_the_largest_layers_are_bars(mode: Literal["train", "inference"], kept: list[int]) -> None:
    scene = figure(bill(STEP, LAYERS, mode))
    axes = drawn(scene)[f"{mode} layers"]
    assert [each.get_width() for each in axes.patches] == kept  # type: ignore[attr-defined]
    assert labels(axes) == {0: "large", 1: "small"}
    colour = (0, 114, 178) if mode == "train" else (86, 180, 233)
    assert to_rgb(axes.patches[0].get_facecolor()) == pytest.approx([part / 255 for part in colour])
    shown = [f"{size:.1f} MB" for size in kept]
    assert [each.get_text() for each in axes.texts] == (
        shown if mode == "train" else [f"{each}  1·8·4·4" for each in shown]
    )


def test_repeated_blocks_are_one_bar_of_what_they_take_together() -> None:
    blocks = [layer(f"layer3.{at}.conv{which}", 2 * MB, 2 * MB) for at in range(1, 13) for which in (1, 2)]
    others = [layer("stem", 30 * MB, 30 * MB), layer("layer3.0.conv1", 3 * MB, 3 * MB), layer("conv7", 2 * MB, 2 * MB)]
    scene = figure(bill(STEP, [*others, *blocks]))
    axes = drawn(scene)["train layers"]
    assert labels(axes) == {
        0: "stem",
        1: "layer3.1…12.conv1 ×12",
        2: "layer3.1…12.conv2 ×12",
        3: "layer3.0.conv1",
        4: "conv7",
    }
    assert [each.get_width() for each in axes.patches] == [30, 24, 24, 3, 2]  # type: ignore[attr-defined]
    assert [each.get_text() for each in axes.texts][1].startswith("24.0 MB = 12 × 2.0")
    assert "kept for the backward pass, largest layers, repeated blocks together" in texts(scene)
    assert not any("together" in words for words in texts(figure(bill(STEP, LAYERS))))


def test_between_what_is_allocated_and_what_is_reserved_it_may_just_fit() -> None:
    tight = replace(bill(STEP, LAYERS), allocated=40 * MB)  # 60 MB are reserved
    for budget, words in ((39, "does not fit"), (40, "may just fit"), (59, "may just fit"), (60, "fits")):
        assert f"{words} in {budget}.0 MB" in texts(figure(tight, budget=budget * MB))


def test_300_layers_alike_are_a_few_bars() -> None:
    layers = [layer(f"{at}", MB, MB) for at in range(300)]
    axes = drawn(figure(bill(STEP, layers)))["train layers"]
    assert labels(axes) == {0: "0…299 ×300"}


@pytest.mark.parametrize(("budget", "fits"), [(50, False), (59, False), (61, True), (100, True), (5000, True)])
def test_the_budget_is_a_line_and_whether_it_is_enough_is_said(budget: int, fits: bool) -> None:
    scene = figure(bill(STEP, LAYERS), budget=budget * MB)  # 60 MB are reserved
    axes = drawn(scene)["train course"]
    level = [
        each.get_ydata()[0]
        for each in axes.lines
        if len({*np.asarray(each.get_ydata())}) == 1 and len(each.get_xdata()) == 2
    ]  # type: ignore[arg-type,index]
    said = texts(scene)
    assert (f"fits in {budget:,}.0 MB" in said) == fits and (f"does not fit in {budget:,}.0 MB" in said) != fits
    assert 60 in level
    if budget < 200:
        assert budget in level and axes.get_ylim()[1] > max(budget, 60)
        assert f"budget: {budget}.0 MB" in said
    else:
        assert axes.get_ylim()[1] < 100 and "budget: 5,000.0 MB, 83.3 times what is reserved" in said
    assert "reserved: 60.0 MB" in said
    assert faults(scene) == []
    assert not any("budget" in words for words in texts(figure(bill(STEP, LAYERS))))


def test_a_phase_of_a_few_operations_is_named_all_the_same() -> None:
    alive = [[5] * 300, [9] * 300, [1] * 300]
    made = bill(alive, LAYERS)
    short = replace(made, course=replace(made.course, phases=(("forward", 0), ("backward", 5), ("step", 297))))
    scene = figure(short)
    assert {"forward", "backward", "optimiser step"} <= {*texts(scene)}
    assert faults(scene) == []


def test_nothing_is_cut_or_covered() -> None:
    layers = [layer(f"{'$block_' * 30}{at}", (40 - at) * MB, (40 - at) * 12345) for at in range(40)]
    wide = [[5] * 300, [*range(150), *range(150, 0, -1)], [at % 7 for at in range(300)]]
    scene = figure(bill(wide, layers), bill(wide, layers, "inference"), model="m" * 300)
    assert faults(scene) == []
    assert len(drawn(scene)["train layers"].patches) == 20


def test_a_step_without_operations_has_an_empty_plot() -> None:
    scene = figure(bill([[], [], []], []))
    axes = drawn(scene)
    assert [*axes] == ["train course"] and areas(axes["train course"]) == {}
    assert faults(scene) == []
