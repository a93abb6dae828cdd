"""`fmap compare`: identical is exactly zero, differences are those on paper, and other people's functions agree."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pages import texts
from PIL import Image

import fmap_cli
from fmap_cli.cli import run
from fmap_cli.comparison.figure import _most_telling, comparison_figure
from fmap_cli.comparison.measures import THRESHOLDS, differ, differ_runs, real_numbers, total_variation
from fmap_cli.comparison.pairs import compare
from fmap_cli.comparison.records import ComparedLayer, ComparedRecord, Comparison, Side
from fmap_cli.comparison.saved_runs import compare_runs
from fmap_cli.comparison.words import verdict
from fmap_cli.errors import LayerError
from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import LoadedModel, Origin, Preprocessing, Weights
from fmap_cli.network.records import Axes, LayerRef
from fmap_cli.session.opening import Session
from fmap_cli.statistics.records import LayerRecord, Run, RunOrigin
from fmap_cli.statistics.reference import channel_stats
from fmap_cli.statistics.runs import save_run

Fmap = Callable[..., Any]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Networks that differ from `plain` in one thing each; give them as `f"{tiny}:doubled"`."""
    file = tmp_path_factory.mktemp("tiny") / "tiny.py"
    file.write_text(_TINY)
    return str(file)


ORIGIN = Origin("net", Weights("unknown", "w"))

_TINY = '''
import torch
from torch import nn


class Net(nn.Module):
    """Two convolutions without bias, a ReLU that overwrites the second's output, a mean, a classifier."""

    def __init__(self, second=1.0, classes=2, hole=None, silent=False, extra=False):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 1, bias=False), nn.Conv2d(4, 4, 1, bias=False)
        self.relu, self.fc = nn.ReLU(inplace=True), nn.Linear(4, classes, bias=False)
        self.hole, self.extra = hole, nn.Identity() if extra else None
        with torch.no_grad():
            weights = torch.arange(1.0, 13.0).reshape(4, 3, 1, 1) / 8  # eighths and halves: exact in float32
            self.one.weight.copy_(0 * weights if silent else weights)
            self.two.weight.copy_(second * torch.eye(4).flip(0)[:, :, None, None] / 2 - second / 8)
            self.fc.weight.copy_(torch.ones(classes, 4) / 4)

    def forward(self, x):
        y = self.one(x)
        if self.hole is not None:
            y = y.clone()
            y[0, 0, 0, 0] = self.hole
        y = self.relu(self.two(y)).mean((2, 3))
        return self.fc(y if self.extra is None else self.extra(y))


def plain(): return Net()
def doubled(): return Net(second=2.0)
def three(): return Net(classes=3)
def nan(): return Net(hole=float("nan"))
def inf(): return Net(hole=float("inf"))
def silent(): return Net(silent=True)
def longer(): return Net(extra=True)
def stranger(): return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
def random():
    class Random(nn.Module):
        def forward(self, image): return image + torch.rand_like(image)
    return Random()
def other_random():
    import random
    import numpy
    class Random(nn.Module):
        def forward(self, image): return image + random.random() + numpy.random.rand()
    return Random()
class Counting(nn.Module):
    """Each pass changes a buffer in place, puts another tensor in another's place, and fills a third that was none."""
    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(1))
        self.register_buffer("replaced", torch.zeros(1), persistent=False)
        self.register_buffer("absent", None)
        self.scale = nn.Parameter(torch.ones(1))
    def forward(self, image):
        self.passes += 1
        self.replaced = self.replaced + 1
        if self.absent is not None:
            image = image * 2
        self.absent = torch.ones(1)
        self.scale.data.mul_(2)
        return image * self.scale + self.passes + self.replaced
class Remembering(nn.Module):
    """What it counts is no buffer."""
    passes = 0
    def forward(self, image):
        self.passes += 1
        return image + self.passes
'''


def rows_of(ran: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in ran.json["layers"]}


def zero_everywhere(ran: Any) -> None:
    document = ran.json
    assert document["over_count"] == 0
    assert document["first_over"] is None
    assert document["layers"]
    for row in document["layers"]:
        assert (row["max_abs"], row["relative_l2"], row["unlike"], row["channel"]) == (0, 0, 0, None), row
        assert row["cosine"] in (1, None), row
        assert row["correlation"] in (1, None), row


# -- identical sides -----------------------------------------------------------------------------------------------


def test_the_same_photo_twice_differs_by_exactly_zero_in_every_layer_of_the_embedded_model(
    fmap: Fmap, samples: Path
) -> None:
    photo = samples / "chelsea.png"
    asked = ("compare", photo, photo, "--size", 64)
    ran = fmap(*asked, "--json", "--check")
    assert ran.code == 0
    zero_everywhere(ran)
    listed = fmap("layers", "--image", photo, "--size", 64, "--json").json["layers"]
    assert [row["name"] for row in ran.json["layers"]] == [row["name"] for row in listed]
    assert "A and B are identical: all 149 layers differ by exactly zero" in fmap(*asked).out


def test_two_loads_of_one_network_differ_by_exactly_zero(fmap: Fmap) -> None:
    ran = fmap("compare", "--vs-seed", 1, "--size", 64, "--json")  # trained weights need no seed
    zero_everywhere(ran)
    assert "note: --vs-seed 1 changes nothing: B's weights are not random, but ImageNet" in ran.err


def test_another_seed_is_another_network_and_the_same_seed_is_not(fmap: Fmap, samples: Path) -> None:
    asked = ("compare", samples / "coffee.png", "--model", "resnet18", "--weights", "random", "--size", 64, "--json")
    other = fmap(*asked, "--vs-seed", 1, "--check")
    assert (other.code, other.json["first_over"]) == (3, "conv1")
    assert "changes nothing" not in other.err
    zero_everywhere(fmap(*asked, "--vs-seed", 0))


def test_a_network_that_draws_random_numbers_draws_the_same_on_both_sides(fmap: Fmap, tiny: str, samples: Path) -> None:
    photo = samples / "coffee.png"
    zero_everywhere(fmap("compare", photo, photo, "--model", f"{tiny}:random", "--size", 8, "--json"))


def test_numbers_drawn_by_python_and_numpy_are_the_same_on_both_sides(fmap: Fmap, tiny: str, samples: Path) -> None:
    photo = samples / "coffee.png"
    zero_everywhere(fmap("compare", photo, photo, "--model", f"{tiny}:other_random", "--size", 8, "--json"))


def test_a_network_that_changes_its_buffers_starts_both_passes_alike(fmap: Fmap, tiny: str, samples: Path) -> None:
    photo = samples / "coffee.png"
    zero_everywhere(fmap("compare", photo, photo, "--model", f"{tiny}:Counting", "--size", 8, "--json"))
    # What is no buffer cannot be put back, as docs/compare.md says.
    ran = fmap("compare", photo, photo, "--model", f"{tiny}:Remembering", "--size", 8, "--json")
    assert ran.json["over_count"] > 0


def test_nan_in_the_same_place_of_both_is_no_difference(fmap: Fmap, nets: str, tiny: str, samples: Path) -> None:
    photo = samples / "coffee.png"
    zero_everywhere(fmap("compare", photo, photo, "-m", f"{nets}:odd", "--size", 16, "--json"))
    ran = fmap("compare", "-m", f"{tiny}:nan", "--vs-model", f"{tiny}:nan", "--vs-seed", 1, "--size", 4, "--json")
    zero_everywhere(ran)


# -- differences on paper --------------------------------------------------------------------------------------------


def test_a_doubled_convolution_parts_there_by_once_its_norm(fmap: Fmap, tiny: str, samples: Path) -> None:
    ran = fmap(
        *("compare", samples / "coffee.png", "-m", f"{tiny}:plain", "--vs-model", f"{tiny}:doubled"),
        *("--size", 8, "--json", "--check"),
    )
    assert ran.code == 3
    assert ran.json["first_over"] == "two"
    rows = rows_of(ran)
    assert (rows["one"]["max_abs"], rows["one"]["relative_l2"], rows["one"]["over"]) == (0, 0, False)
    # 2x - x = x, so ‖a - b‖ = ‖a‖; they point the same way; the ReLU, the mean and the classifier keep the factor.
    for name in ("two", "relu", "mean", "fc"):
        assert rows[name]["relative_l2"] == 1, rows[name]
        assert rows[name]["cosine"] == 1, rows[name]
        assert rows[name]["over"] is True
    assert rows["two"]["correlation"] == 1
    # The in-place ReLU came after: `two` is still the pre-activation, and has negative values that `relu` has not.
    assert rows["two"]["max_abs"] > 0
    assert rows["two"]["same_as"] is None
    assert rows["relu"]["same_as"] is None
    assert rows["relu"]["max_abs"] < rows["two"]["max_abs"]


def test_the_reference_is_a(fmap: Fmap, tiny: str) -> None:
    """From 2x to x it is half of A's norm."""
    ran = fmap("compare", "-m", f"{tiny}:doubled", "--vs-model", f"{tiny}:plain", "--size", 8, "--json")
    assert rows_of(ran)["two"]["relative_l2"] == 0.5


def test_something_against_nothing_is_infinite_and_nothing_against_nothing_zero(fmap: Fmap, tiny: str) -> None:
    ran = fmap(
        *("compare", "-m", f"{tiny}:silent", "--vs-model", f"{tiny}:plain", "--size", 8, "--threshold", 1e30),
        *("--json", "--check"),
    )
    row = rows_of(ran)["one"]
    assert (row["relative_l2"], row["over"], row["cosine"], row["correlation"]) == (None, True, None, None)
    assert row["max_abs"] > 0
    assert (ran.code, ran.json["first_over"]) == (3, "one")
    both = fmap("compare", "-m", f"{tiny}:silent", "--vs-seed", 1, "--size", 8, "--json")
    assert rows_of(both)["one"] | {"relative_l2": 0, "cosine": None} == rows_of(both)["one"]
    text = fmap("compare", "-m", f"{tiny}:silent", "--vs-model", f"{tiny}:plain", "--size", 8).out
    assert " inf " in next(line for line in text.splitlines() if line.startswith("one "))


@pytest.mark.parametrize("hole", ["nan", "inf"])
def test_nan_or_infinity_on_one_side_alone_is_always_over(fmap: Fmap, tiny: str, hole: str) -> None:
    asked = ("compare", "-m", f"{tiny}:plain", "--vs-model", f"{tiny}:{hole}", "--size", 4, "--threshold", 1e30)
    ran = fmap(*asked, "--check", "--json")
    assert ran.code == 3
    rows = rows_of(ran)
    assert rows["two"]["unlike"] == 4  # one place, mixed into all four channels
    assert rows["two"]["over"] is True
    assert rows["two"]["relative_l2"] is rows["two"]["max_abs"] is None
    assert rows["two"]["cosine"] == pytest.approx(1)  # over the places where both are finite
    assert ran.json["only_b"][:1] == ["clone"]
    assert "NaN or Inf" in fmap(*asked).out


# -- other people's functions ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "axis", "dtype"),
    [
        ((1, 7, 5, 6), 1, "float32"),
        ((1, 5, 6, 7), 3, "float32"),
        ((2, 9, 4), 2, "float64"),
        ((3, 4, 8, 8), 1, "bfloat16"),
    ],
)
def test_numbers_agree_with_torch_and_numpy(shape: tuple[int, ...], axis: int, dtype: str) -> None:
    torch.manual_seed(3)
    a, b = torch.randn(shape), torch.randn(shape) * 2 + 0.3
    a, b = a.to(getattr(torch, dtype)), (a + b / 10).to(getattr(torch, dtype))
    found = differ(a, b, axis)
    x, y = a.double(), b.double()
    flat = x.flatten(), y.flatten()
    assert found.max_abs == float(np.abs(flat[0].numpy() - flat[1].numpy()).max())
    expected = np.linalg.norm(flat[0].numpy() - flat[1].numpy()) / np.linalg.norm(flat[0].numpy())
    assert found.relative_l2 == pytest.approx(float(expected), rel=1e-12)
    assert found.cosine == pytest.approx(float(torch.nn.functional.cosine_similarity(*flat, dim=0)), abs=1e-12)
    rows = [each.movedim(axis, 0).flatten(1) for each in (x, y)]
    by_channel = [float(torch.corrcoef(torch.stack(pair))[0, 1]) for pair in zip(*rows, strict=True)]
    assert found.correlation == pytest.approx(sum(by_channel) / len(by_channel), abs=1e-12)
    assert found.correlated == shape[axis]
    np.testing.assert_allclose(found.channels, (rows[0] - rows[1]).norm(dim=1).numpy(), rtol=1e-12)
    assert found.channel == int(np.argmax(found.channels))


def test_one_value_a_channel_is_correlated_over_the_channels() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(1, 50), torch.randn(1, 50)
    found = differ(a, b, 1)
    assert found.correlation == pytest.approx(float(torch.corrcoef(torch.cat([a, b]).double())[0, 1]), abs=1e-12)
    assert found.correlated is None


def test_channels_that_do_not_vary_have_no_correlation() -> None:
    a = torch.tensor([[1.0, 2.0, 3.0], [0.1, 0.1, 0.1], [4.0, 4.0, 5.0]])
    b = torch.tensor([[3.0, 2.0, 1.0], [1.0, 2.0, 3.0], [0.0, 0.0, 0.0]])
    found = differ(a, b, 0)
    assert (found.correlation, found.correlated) == (-1, 1)
    assert differ(b[1:], a[1:], 0).correlation is None


def test_an_offset_changes_the_norm_and_no_correlation() -> None:
    a = torch.tensor([[1.0, 2.0, 4.0], [0.0, 8.0, 0.0]])
    found = differ(a, a + 100, 0)
    assert found.correlation == pytest.approx(1)
    assert found.max_abs == 100


def test_many_channels_are_summed_in_pieces_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(1)
    a, b = torch.randn(1, 10, 3, 3), torch.randn(1, 10, 3, 3)
    whole = differ(a, b, 1)
    monkeypatch.setattr("fmap_cli.comparison.measures._PIECE", 9)
    pieces = differ(a, b, 1)
    assert pieces.relative_l2 == pytest.approx(whole.relative_l2, rel=1e-14)
    assert pieces.correlation == pytest.approx(whole.correlation, rel=1e-14)
    np.testing.assert_array_equal(pieces.channels, whole.channels)


@pytest.mark.parametrize("size", [1e-300, 1e-38, 1e30, 1e300])
def test_very_large_and_very_small_values_are_compared_like_any(size: float) -> None:
    a = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    b = torch.tensor([[3.0, 4.0], [1.0, 0.0]], dtype=torch.float64)
    found = differ(a * size, b * size, 0)
    assert found.relative_l2 == pytest.approx(0.2, rel=1e-12)
    assert found.cosine == pytest.approx(25 / math.sqrt(25 * 26), rel=1e-12)
    assert found.max_abs == pytest.approx(size, rel=1e-12)
    assert found.channels.tolist() == [0, pytest.approx(size, rel=1e-12)]


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.tensor(2.5),
        lambda: torch.tensor([True, False]),
        lambda: torch.arange(6).reshape(1, 2, 3),
        lambda: torch.tensor([[1 + 2j, 3 - 1j]]),
        lambda: torch.empty(1, 0, 4),
        lambda: torch.empty(1, 4, 0),
        lambda: torch.quantize_per_tensor(torch.tensor([[0.5, 1.0]]), 0.5, 0, torch.qint8),
        lambda: torch.eye(3).to_sparse(),
    ],
    ids=["scalar", "bool", "int", "complex", "no channels", "no places", "quantized", "sparse"],
)
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_whatever_a_layer_puts_out_equals_itself(make: Callable[[], torch.Tensor]) -> None:
    values = make()
    axis = 1 if values.ndim > 1 else None
    found = differ(values, values.clone(), axis)
    assert (found.max_abs, found.relative_l2, found.unlike) == (0, 0, 0)
    assert found.count == real_numbers(values).numel()


def test_complex_values_differ_by_their_phase_too() -> None:
    assert differ(torch.tensor([[1 + 0j]]), torch.tensor([[0 + 1j]]), 1).relative_l2 == pytest.approx(math.sqrt(2))


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=2, max_size=12), st.floats(-4, 4, width=32))
def test_scaling_one_side_scales_the_difference_and_turns_nothing(values: list[float], factor: float) -> None:
    a = torch.tensor([values], dtype=torch.float64)
    found = differ(a, a * factor, 0)
    if not a.any():
        assert (found.relative_l2, found.cosine) == (0, None)
        return
    assert found.relative_l2 == pytest.approx(abs(factor - 1), abs=1e-9)
    if factor and found.cosine is not None and abs(factor) > 1e-6:
        assert found.cosine == pytest.approx(math.copysign(1, factor), abs=1e-9)


def test_places_that_are_not_finite_are_alike_where_they_are_the_same() -> None:
    nan, inf = math.nan, math.inf
    a = torch.tensor([[nan, inf, -inf, inf, nan, 1.0, 2.0]])
    b = torch.tensor([[nan, inf, -inf, -inf, inf, 1.0, nan]])
    found = differ(torch.cat([a, a * 0]), torch.cat([b, b * 0]), 0)
    assert (found.unlike, found.channel, found.channels[0]) == (4, 0, math.inf)
    assert differ(a, b, 0).unlike == 3
    assert differ(a[:, :3], b[:, :3], 0).relative_l2 == 0


# -- variants of the embedded model ------------------------------------------------------------------------------------


def test_bfloat16_stays_within_its_threshold_and_its_first_layer_over_a_lower_one_is_found(
    fmap: Fmap, samples: Path
) -> None:
    asked = ("compare", samples / "coffee.png", "--size", 96, "--vs-dtype", "bfloat16", "--check", "--json")
    ran = fmap(*asked)
    assert (ran.code, ran.json["threshold"], ran.json["over_count"]) == (0, THRESHOLDS["bfloat16"], 0)
    rows = ran.json["layers"]
    later = [row for row in rows if row["kind"] in ("conv", "norm", "act")]
    # bfloat16 has 8 bits: one rounding is up to 2⁻⁹ of a value, and some dozens of layers make that grow.
    assert all(2**-10 < row["relative_l2"] < 0.1 for row in later)
    assert all(row["cosine"] > 0.995 for row in later)
    assert {(row["dtype_a"], row["dtype_b"]) for row in later} == {("float32", "bfloat16")}
    lower = fmap(*asked, "--threshold", 0.01)
    assert lower.code == 3
    over = [row["name"] for row in rows if row["relative_l2"] > 0.01]
    assert lower.json["first_over"] == over[0]
    assert lower.json["over_count"] == len(over)


def test_channels_last_rounds_otherwise_and_no_more(fmap: Fmap, samples: Path) -> None:
    ran = fmap(
        "compare", samples / "rocket.jpg", "--size", 96, "--vs-memory-format", "channels_last", "--check", "--json"
    )
    assert (ran.code, ran.json["threshold"], ran.json["b"]["memory_format"]) == (0, 1e-4, "channels_last")
    shares = [row["relative_l2"] for row in ran.json["layers"]]
    assert max(shares) < 1e-5
    assert all(row["shape"][1] == 32 for row in ran.json["layers"] if row["name"] == "features.0.0")


def test_float64_is_the_finer_side(fmap: Fmap) -> None:
    ran = fmap("compare", "--dtype", "float64", "--vs-dtype", "float32", "--size", 96, "-k", "linear", "--json")
    (row,) = ran.json["layers"]
    assert ran.json["threshold"] == 1e-4
    assert 0 < row["relative_l2"] < 1e-5


def test_two_photos_differ_from_the_input_on(fmap: Fmap, samples: Path) -> None:
    ran = fmap("compare", samples / "coffee.png", samples / "chelsea.png", "--size", 64, "--json", "--check")
    assert (ran.code, ran.json["first_over"]) == (3, "x")
    assert [ran.json[side]["source"].rsplit("/")[-1] for side in "ab"] == ["coffee.png", "chelsea.png"]
    assert len(ran.json["layers"]) == ran.json["layer_count"] == 279


def test_a_layer_is_what_show_saves(fmap: Fmap, samples: Path, workdir: Path) -> None:
    """The numbers of one layer against the arrays that `fmap show` writes."""
    arrays = []
    for name in ("coffee", "chelsea"):
        fmap("show", samples / f"{name}.png", "-l", "conv5", "--size", 96, "--save", f"{name}.npz")
        arrays.append(np.load(workdir / f"{name}.npz"))
    ran = fmap("compare", samples / "coffee.png", samples / "chelsea.png", "-l", "conv5", "--size", 96, "--json")
    (row,) = ran.json["layers"]
    a, b = (each[row["name"]].astype(np.float64) for each in arrays)
    assert row["max_abs"] == np.abs(a - b).max()
    assert row["relative_l2"] == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), rel=1e-12)


def test_a_detector_is_compared_layer_by_layer(fmap: Fmap, samples: Path) -> None:
    asked = ("-m", "fasterrcnn_mobilenet_v3_large_320_fpn", "--weights", "random", "--size", 96, "--json")
    ran = fmap("compare", samples / "coffee.png", samples / "coffee.png", *asked)
    zero_everywhere(ran)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_an_exported_program_is_the_network_it_was_made_from(fmap: Fmap, samples: Path, workdir: Path) -> None:
    """What --weights is for A is not asked of a program: its weights are in the file."""
    from torchvision import models

    torch.manual_seed(5)
    network = models.resnet18().eval()
    torch.save(network.state_dict(), workdir / "net.pth")
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 64, 64),)), workdir / "net.pt2")
    asked = ("compare", samples / "coffee.png", "-m", "resnet18", "-w", "net.pth", "--size", 64)
    ran = fmap(*asked, "--vs-model", "net.pt2", "--json", "--check")
    assert ran.code == 0
    assert {"conv1", "layer3.0.downsample.0", "fc"} <= {row["name"] for row in ran.json["layers"]}
    assert "layer1.0.add" in ran.json["only_a"]  # torch.export has another name for it
    assert max(row["relative_l2"] for row in ran.json["layers"]) < 1e-5
    assert "only A has 9 layers: x, layer1.0.add" in fmap(*asked, "--vs-model", "net.pt2").out


@pytest.mark.parametrize(("model", "layer"), [("swin_t", "features.3.1.add"), ("r3d_18", "layer2.0.conv1.0")])
def test_channels_are_those_of_the_layout(fmap: Fmap, samples: Path, model: str, layer: str) -> None:
    """Swin's are on the last axis, a clip's before its time: as many as can be correlated."""
    asked = ("compare", samples / "coffee.png", "-m", model, "-w", "random", "--size", 64, "--vs-seed", 1, "--json")
    (row,) = fmap(*asked, "-l", layer).json["layers"]
    assert row["correlated_channels"] == row["shape"][-1 if model == "swin_t" else 1]


# -- which layers ------------------------------------------------------------------------------------------------------


def test_patterns_and_kinds_choose(fmap: Fmap) -> None:
    asked = ("compare", "--vs-dtype", "bfloat16", "--size", 64, "--json")
    assert [row["name"] for row in fmap(*asked, "-l", "conv1", "-l", "avgpool").json["layers"]] == [
        "features.0.0",
        "avgpool",
    ]
    assert {row["kind"] for row in fmap(*asked, "-k", "norm").json["layers"]} == {"norm"}
    assert [row["name"] for row in fmap(*asked, "-l", "last").json["layers"]] == ["features"]
    fmap(*asked, "-l", "features.99").refused("no layer 'features.99'")
    fmap(*asked, "-l", "conv1", "-k", "norm").refused("no layer of kind norm")


def test_layers_of_one_side_and_other_shapes_are_said_and_the_rest_compared(fmap: Fmap, tiny: str) -> None:
    asked = ("compare", "-m", f"{tiny}:plain", "--size", 8)
    ran = fmap(*asked, "--vs-model", f"{tiny}:three", "--json", "--check")
    assert ran.json["unlike_shapes"] == [{"name": "fc", "shape_a": [1, 2], "shape_b": [1, 3]}]
    assert (ran.json["over_count"], ran.code) == (0, 3)
    assert "other shapes, not compared: fc [1, 2] and [1, 3]" in fmap(*asked, "--vs-model", f"{tiny}:three").out
    ran = fmap(*asked, "--vs-model", f"{tiny}:longer", "--json", "--check")
    assert (ran.json["only_b"], ran.json["only_a"], ran.code) == (["extra"], [], 0)
    assert "only B has 1 layer: extra" in fmap(*asked, "--vs-model", f"{tiny}:longer").out
    back = fmap(
        "compare", "-m", f"{tiny}:longer", "--size", 8, "--vs-model", f"{tiny}:plain", "-l", "extra", "-l", "fc"
    )
    assert "only A has 1 layer: extra" in back.out


def test_another_size_of_input_leaves_the_vectors_to_compare(fmap: Fmap, tiny: str) -> None:
    ran = fmap("compare", "-m", f"{tiny}:plain", "--size", 8, "--vs-size", 9, "--json")
    assert [row["name"] for row in ran.json["layers"]] == ["mean", "fc"]
    assert ran.json["unlike_shapes"][0] == {"name": "x", "shape_a": [1, 3, 8, 8], "shape_b": [1, 3, 9, 9]}
    assert "A and B get different input" in ran.err


def test_networks_with_nothing_in_common_are_one_line(fmap: Fmap, tiny: str) -> None:
    ran = fmap("compare", "-m", f"{tiny}:plain", "--vs-model", f"{tiny}:stranger", "--size", 8)
    ran.refused("nothing to compare", "no layer of the same name")


# -- what is asked for -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), "nothing to compare: give two images"),
        (("{photo}",), "there is nothing to compare the image with: give two images"),
        (("{photo}", "{photo}", "{photo}"), "compare takes two, A and B, and 3 were given"),
        (("a.fmap", "{photo}"), "a saved run can only be compared with another saved run"),
        (("a.fmap",), "a saved run can only be compared with another saved run"),
        (("a.fmap", "b.fmap", "--vs-dtype", "float16"), "--vs-dtype changes how images run"),
        (("a.fmap", "b.fmap", "--model", "resnet18"), "--model changes how images run"),
        (("a.fmap", "b.fmap", "--draw", "conv1", "-o", "x.png"), "saved runs have none"),
        (("{photo}", "--vs-seed", "1", "--draw", "conv1"), "--draw chooses the layer of the figure: add --out FILE"),
        (("{photo}", "--vs-seed", "1", "--json", "--csv"), "exclude each other"),
        (("{photo}", "--vs-seed", "1", "--threshold", "nan"), "not a number"),
        (("{photo}", "--vs-seed", "1", "--threshold", "inf"), "not in the range"),
        (("{photo}", "--vs-seed", "1", "-o", "x.txt"), "has to end in"),
    ],
)
def test_what_makes_no_two_sides_is_a_usage_error(
    fmap: Fmap, samples: Path, arguments: tuple[str, ...], words: str
) -> None:
    ran = fmap("compare", *(each.format(photo=samples / "coffee.png") for each in arguments))
    ran.refused(words, code=2)
    assert len(ran.err.splitlines()) <= 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nowhere.png", "{photo}"), "nowhere.png"),
        (("{photo}", "--vs-weights", "nowhere.pth"), "nowhere.pth"),
        (("{photo}", "--vs-device", "nowhere"), "unknown device"),
        (("-", "-"), "standard input can be read only once"),
        (("{photo}", "--vs-seed", "1", "-o", "nowhere/x.png"), "no directory"),
        (("{photo}", "--vs-seed", "1", "--size", "64", "-o", "x.png", "--draw", "classifier.1"), "no height and width"),
        (
            ("{photo}", "--vs-seed", "1", "--size", "64", "-o", "x.png", "--draw", "nope"),
            "not among the layers compared",
        ),
        (("a.fmap", "b.fmap"), "a.fmap"),
    ],
)
def test_failures_are_a_line_and_a_hint(fmap: Fmap, samples: Path, arguments: tuple[str, ...], words: str) -> None:
    fmap("compare", *(each.format(photo=samples / "coffee.png") for each in arguments)).refused(words)


def test_an_image_from_a_pipe_is_read_once_for_both(installed: Fmap, samples: Path) -> None:
    ran = installed(
        "compare", "-", "--vs-dtype", "float16", "-k", "linear", "--json", stdin=(samples / "coffee.png").open()
    )
    assert ran.code == 0
    assert ran.json["a"]["source"] == ran.json["b"]["source"] == "-"


def test_two_checkpoints(fmap: Fmap, tiny: str, workdir: Path) -> None:
    import importlib.util

    spec = importlib.util.spec_from_file_location("tiny", tiny)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in ("plain", "doubled"):
        torch.save(getattr(module, name)().state_dict(), workdir / f"{name}.pth")
    ran = fmap(
        "compare", "-m", f"{tiny}:plain", "-w", "plain.pth", "--vs-weights", "doubled.pth", "--size", 8, "--json"
    )
    assert ran.json["first_over"] == "two"
    assert [ran.json[side]["weights"] for side in "ab"] == ["plain.pth", "doubled.pth"]


# -- how it is told ----------------------------------------------------------------------------------------------------


def test_json_is_strict_and_csv_has_the_same_rows(fmap: Fmap, tiny: str) -> None:
    asked = ("compare", "-m", f"{tiny}:silent", "--vs-model", f"{tiny}:nan", "--size", 4)
    ran = fmap(*asked, "--json")
    document = json.loads(ran.out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    rows = list(csv.DictReader(io.StringIO(fmap(*asked, "--csv").out)))
    assert [row["name"] for row in rows] == [row["name"] for row in document["layers"]]
    two = next(row for row in rows if row["name"] == "two")
    assert (two["relative_l2"], two["over"], two["cosine"]) == ("inf", "true", "")
    assert float(two["unlike"]) == 4
    assert ran.err.count("preprocessing assumed") <= 1


@pytest.mark.parametrize("columns", [80, 120, 160])
def test_tables_keep_to_the_terminal(fmap: Fmap, monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    out = fmap("compare", "--vs-dtype", "bfloat16", "--threshold", 0.05, "-l", "features.5.2*", "-l", "classifier*").out
    table = out[out.index("layer") :].splitlines()
    assert max(map(len, table[:-1])) <= columns, out
    assert "features.5.2.block.1.0" in out  # in one piece
    assert ("output shape  " in out) == (columns >= 160)
    assert ("not enough room for: output shape" in out) == (columns < 160)
    assert [line for line in table if line.rstrip().endswith(" over")]
    assert "\nA and B part at features.5.2" in out


def test_headings_on_one_line_keep_their_spaces(fmap: Fmap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    out = fmap("compare", "--vs-dtype", "bfloat16", "-l", "features.5.2*").out
    assert "  max |B - A|  relative L2  " in out


def test_a_figure_of_runs_over_other_photos_shows_the_first_convolution(fmap: Fmap, workdir: Path) -> None:
    for at, name in enumerate("ab"):
        layers = [record(each, torch.randn(3, 9) + at, kind=each) for each in ("input", "norm", "conv")]
        save_run(workdir / f"{name}.fmap", run_of(*layers))
    assert fmap("compare", "a.fmap", "b.fmap", "--threshold", 0, "-o", "runs.svg").code == 0
    a, b = (
        run_of(*(record(each, torch.ones(3, 9) + at, kind=each) for each in ("input", "norm", "conv"))) for at in (0, 1)
    )
    chosen = _most_telling(compare_runs(a, b, ("a", "b")))
    assert chosen is not None
    assert chosen.layer.kind == "conv"


def test_what_both_have_is_said_once(fmap: Fmap) -> None:
    lines = fmap("compare", "--vs-dtype", "float16", "--size", 64, "-k", "linear").out.split("\n\n")[1].splitlines()
    assert lines[0].startswith("efficientnet_lite0 · weights: ImageNet")
    assert lines[1:3] == ["A  float32", "B  float16"]
    assert "A and B are the same" in fmap("compare", "--vs-dtype", "float32", "--size", 64, "-k", "linear").out


@pytest.mark.parametrize(
    ("option", "value", "a", "b"),
    [
        ("--vs-size", "9", "8 × 8 px", "9 × 9 px"),
        ("--vs-mean", "0.5", "mean 0.25", "mean 0.5"),
        ("--vs-std", "0.5,0.25,0.5", "std 0.125", "std 0.5, 0.25, 0.5"),
    ],
)
def test_what_is_other_of_how_the_sides_are_fed_is_said(
    fmap: Fmap, tiny: str, workdir: Path, option: str, value: str, a: str, b: str
) -> None:
    asked = ("compare", "-m", f"{tiny}:plain", "--size", 8, "--mean", 0.25, "--std", 0.125, option, value)
    ran = fmap(*asked, "-o", "fed.svg")
    assert [f"A  {a}", f"B  {b}"] == ran.out.split("\n\n")[1].splitlines()[1:3]
    assert "get different input, as --vs-size, --vs-mean or --vs-std ask" in ran.err
    assert "as its weights want" not in ran.err
    drawn = (workdir / "fed.svg").read_text()
    assert a in drawn
    assert b.split(",")[0] in drawn
    sides = [fmap(*asked, "--json").json[side] for side in "ab"]
    assert sides[0] | {"size": [8, 8], "resize": 8, "mean": [0.25] * 3, "std": [0.125] * 3} == sides[0]
    field = option.removeprefix("--vs-")
    assert sides[1][field] == {"size": [9, 9], "mean": [0.5] * 3, "std": [0.5, 0.25, 0.5]}[field]


def test_a_picture_of_one_size_may_be_a_smaller_part_of_the_photo(fmap: Fmap) -> None:
    """The embedded model crops 224 px out of 256; asked for 224, it takes all of the shorter side."""
    ran = fmap("compare", "--vs-size", 224, "-k", "linear")
    assert ran.out.split("\n\n")[1].splitlines()[1:3] == ["A  shorter side to 256", "B  shorter side to 224"]
    runs = fmap("compare", "--vs-size", 224, "-k", "linear", "--json").json
    assert (runs["a"]["size"], runs["a"]["resize"], runs["b"]["resize"]) == ([224, 224], 256, 224)


def test_names_are_no_markup(fmap: Fmap, nets: str) -> None:
    assert "[bold]x[/]" in fmap("compare", "-m", f"{nets}:markup", "--vs-seed", 1, "--size", 8).out


def test_figures_are_written_in_every_format(fmap: Fmap, tiny: str, samples: Path, workdir: Path) -> None:
    asked = ("compare", samples / "coffee.png", "--size", 96, "--vs-dtype", "bfloat16", "-k", "conv")
    ran = fmap(*asked, "-o", "apart.png")
    assert ran.code == 0
    assert "→ apart.png" in ran.out
    model, other = (
        fmap_cli.load_model(f"{tiny}:plain", dtype=each, size=96, say=print) for each in ("float32", "bfloat16")
    )
    found = fmap_cli.compare(model, image=samples / "coffee.png", vs=other, kind="conv", say=print)
    for suffix in ("jpg", "webp", "pdf", "svg"):
        found.save(f"apart.{suffix}")
    for suffix, start in (
        ("png", b"\x89PNG"),
        ("jpg", b"\xff\xd8"),
        ("webp", b"RIFF"),
        ("pdf", b"%PDF"),
        ("svg", b"<?x"),
    ):
        content = (workdir / f"apart.{suffix}").read_bytes()
        assert content.startswith(start)
        assert len(content) > 20_000
    with Image.open("apart.png") as picture:
        assert picture.width == 1636
        assert 900 < picture.height < 1500
    text = Path("apart.svg").read_text()
    assert "less than 0.1 of A apart" in text
    assert "B - A" in text


def test_a_figure_shows_the_strongest_channels_of_the_layer_asked_for(fmap: Fmap, samples: Path) -> None:
    from fmap_cli.comparison.sides import open_sides, read_sides
    from fmap_cli.models.records import ModelRequest

    request = ModelRequest("efficientnet_lite0", size=64)
    a, b = open_sides(request, request, lambda _: None)
    images = read_sides(a, b, [str(samples / "coffee.png"), str(samples / "chelsea.png")], lambda _: None)
    b, images = replace(b), (images[0], replace(images[1], name=images[0].name))  # one image, fed in two ways
    comparison = compare(a, images[0], b, images[1], draw="features.2.1.add", keep_maps=True)
    pair = comparison.pair
    assert pair is not None
    row = next(each for each in comparison.layers if each.layer.name == "features.2.1.add")
    assert isinstance(row, ComparedLayer)
    assert pair.drawn == tuple(np.argsort(-row.difference.channels)[:8])
    norms = np.linalg.norm((pair.b.astype(np.float64) - pair.a).reshape(8, -1), axis=1)
    np.testing.assert_allclose(norms, row.difference.channels[list(pair.drawn)], rtol=1e-6)
    # Where the input differs already, what is drawn by itself is the first convolution.
    chosen = compare(a, images[0], b, images[1], keep_maps=True).pair
    assert chosen is not None
    assert chosen.layer.name == "features.0.0.conv2d"


@pytest.mark.parametrize(
    ("pattern", "drawn"),
    [("[12]*", "1"), ("*", ""), ("[0-9]*", "0"), ("4*", None), ("last", "1"), ("first", "0")],
)
def test_of_several_layers_to_draw_it_is_the_first_that_can_be(pattern: str, drawn: str | None) -> None:
    from torch import nn

    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    session = Session(
        LoadedModel(net.eval(), "net", Weights("given"), Preprocessing(None, None)), torch.device("cpu"), torch.float32
    )
    images = [ImageInput(str(at), "x", np.zeros((4, 4, 3), np.uint8), torch.rand(3, 4, 4)) for at in range(2)]
    if drawn is None:
        with pytest.raises(LayerError, match="no height and width"):
            compare(session, images[0], session, images[1], draw=pattern, keep_maps=True)
        return
    shared = compare(session, images[0], session, images[1], draw=pattern, keep_maps=True).shared
    one_image = replace(images[1], name=images[0].name)
    pair = compare(session, images[0], replace(session), one_image, draw=pattern, keep_maps=True).pair
    assert shared is not None and pair is not None
    assert shared.layer.path == pair.layer.path == drawn


def test_a_clips_figure_says_which_frame_is_drawn(fmap: Fmap, samples: Path, workdir: Path) -> None:
    asked = ("compare", samples / "coffee.png", "-m", "r3d_18", "-w", "random", "--size", 64, "--vs-dtype", "bfloat16")
    assert fmap(*asked, "-o", "clip.svg", "-l", "stem.0").code == 0
    assert "; frame 9 of 16" in (workdir / "clip.svg").read_text()


@pytest.mark.parametrize("name", ["nan", "silent", "three", "plain"])
def test_odd_comparisons_have_figures_too(fmap: Fmap, tiny: str, workdir: Path, name: str) -> None:
    ran = fmap("compare", "-m", f"{tiny}:silent", "--vs-model", f"{tiny}:{name}", "--size", 8, "-o", "odd.png")
    assert ran.code == 0, ran.err
    assert (workdir / "odd.png").stat().st_size > 10_000


def test_a_figure_of_vectors_alone_has_the_curve(fmap: Fmap, workdir: Path) -> None:
    assert fmap("compare", "--vs-dtype", "bfloat16", "--size", 64, "-k", "linear", "-o", "curve.png").code == 0
    with Image.open(workdir / "curve.png") as picture:
        assert picture.height > 400


# -- memory ------------------------------------------------------------------------------------------------------------


def test_an_output_of_a_is_let_go_once_it_is_compared() -> None:
    """While B runs, what is kept of A shrinks: after the last layer nothing is left."""
    import weakref

    from torch import nn

    net = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(4))).eval()
    model = LoadedModel(net, "net", Weights("given"), Preprocessing(None, None))
    session = Session(model, torch.device("cpu"), torch.float32)
    image = ImageInput("x", "x", np.zeros((4, 4, 3), np.uint8), torch.rand(3, 4, 4))
    kept: list[weakref.ref[torch.Tensor]] = []
    alive: list[int] = []
    import fmap_cli.comparison.pairs as pairs

    plain_differ = pairs.differ

    def watched(a: torch.Tensor, b: torch.Tensor, axis: int | None = None) -> Any:
        kept.append(weakref.ref(a))
        alive.append(sum(each() is not None for each in kept))
        return plain_differ(a, b, axis)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairs, "differ", watched)
        compare(session, image, session, image)
    assert len(alive) == 5 + 1  # each layer, and what both are fed
    assert max(alive) <= 2  # the one at hand, and at most the one before it


# -- saved runs --------------------------------------------------------------------------------------------------------


def record(name: str, values: torch.Tensor, images: int = 1, kind: Any = "conv") -> LayerRecord:
    """The record of a layer whose channels have these values, `[C, n]`."""
    layer = LayerRef(name, name, 0, kind, "Conv2d", is_module=True)
    axes = Axes(("B", "C", "H", "W"), "")
    return LayerRecord(
        layer, (1, len(values), 1, values.shape[1]), axes, "float32", images, channel_stats(values, "layer")
    )


def run_of(*layers: LayerRecord, model: str = "net", images: int = 1, dtype: str = "float32") -> Run:
    return Run(RunOrigin(model, Weights("unknown", "w"), dtype=dtype), ("photos",), images, layers)


def test_a_run_against_itself_is_exactly_zero(fmap: Fmap, workdir: Path) -> None:
    run = run_of(record("a", torch.randn(3, 50)), record("b", torch.randn(4, 50)))
    save_run(workdir / "a.fmap", run)
    ran = fmap("compare", "a.fmap", "a.fmap", "--check", "--json", "-o", "same.png")
    assert ran.code == 0
    for row in ran.json["layers"]:
        assert [row[key] for key in ("mean_shift", "std_shift", "min_shift", "max_shift", "relative_l2", "moved")] == [
            0
        ] * 6
        assert row["cosine"] == 1
    assert "A and B are identical: all 2 layers" in fmap("compare", "a.fmap", "a.fmap").out


def test_shifts_of_runs_on_paper() -> None:
    """Channels [0, 2] and [1, 3]: means 1 and 2, both of std √2, pooled √((2 + 2) / 2) = √2; min and max move by 1."""
    found = differ_runs(record("x", torch.tensor([[0.0, 2.0]])), record("x", torch.tensor([[1.0, 3.0]])))
    assert found.mean_shift == pytest.approx(1 / math.sqrt(2))
    assert (found.std_shift, found.min_shift, found.max_shift) == (0, 1, 1)
    assert (found.relative_l2, found.channel) == (1, 0)  # means 1 and 2
    assert found.moved == 1  # no value in common
    wider = differ_runs(record("x", torch.tensor([[0.0, 2.0]])), record("x", torch.tensor([[-1.0, 3.0]])))
    assert wider.mean_shift == 0
    # m2 of 2 and 8 over 2 degrees: pooled √5; stds √2 and √8.
    assert wider.std_shift == pytest.approx((math.sqrt(8) - math.sqrt(2)) / math.sqrt(5))


def test_vectors_of_means_agree_with_torch() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(20, 30), torch.randn(20, 30) + 0.5
    found = differ_runs(record("x", a), record("x", b))
    x, y = (each.double().mean(1) for each in (a, b))
    assert found.cosine == pytest.approx(float(torch.nn.functional.cosine_similarity(x, y, dim=0)), abs=1e-12)
    assert found.correlation == pytest.approx(float(torch.corrcoef(torch.stack([x, y]))[0, 1]), abs=1e-12)
    assert found.relative_l2 == pytest.approx(float((x - y).norm() / x.norm()), rel=1e-12)


def test_constant_channels_that_move_are_infinitely_far_in_their_own_spread() -> None:
    found = differ_runs(record("x", torch.tensor([[1.0, 1.0]])), record("x", torch.tensor([[2.0, 2.0]])))
    assert found.mean_shift == math.inf
    assert differ_runs(record("x", torch.ones(1, 2)), record("x", torch.ones(1, 2))).mean_shift == 0


def test_null_of_a_shift_is_infinite_and_not_always_over(fmap: Fmap, workdir: Path) -> None:
    """A channel that is constant in both runs and moved by a rounding: as docs/compare.md has it."""
    save_run(workdir / "a.fmap", run_of(record("x", torch.tensor([[1.0, 1.0], [1.0, 2.0]]))))
    save_run(workdir / "b.fmap", run_of(record("x", torch.tensor([[1.0 + 2**-23] * 2, [1.0, 2.0]]))))
    ran = fmap("compare", "a.fmap", "b.fmap", "--check", "--json")
    (row,) = ran.json["layers"]
    assert (ran.code, ran.json["parts"]) == (0, False)
    assert (row["mean_shift"], row["std_shift"], row["over"], row["channel"]) == (None, 0, False, 0)
    assert fmap("compare", "a.fmap", "b.fmap", "--csv").out.splitlines()[1].split(",")[6] == "inf"
    assert "is infinite without being over" in PAGE.replace("\n", " ")


def test_nan_in_one_run_alone_is_always_over() -> None:
    odd = torch.tensor([[1.0, math.nan], [1.0, 2.0]])
    fine = torch.tensor([[1.0, 1.0], [1.0, 2.0]])
    comparison = compare_runs(run_of(record("x", fine)), run_of(record("x", odd)), ("a", "b"), threshold=1e30)
    assert comparison.first is not None
    assert comparison.first.difference.unlike == 1
    same = compare_runs(run_of(record("x", odd)), run_of(record("x", odd)), ("a", "b"))
    assert same.first is None


def test_histograms_by_channel_and_of_the_layer_are_compared_alike() -> None:
    whole = np.array([[1, 1, 2]])
    split = np.array([[1, 0, 1], [0, 1, 1]])
    assert total_variation(whole, split) == 0
    assert total_variation(whole, np.array([[4, 0, 0]])) == 0.75
    assert total_variation(None, whole) is total_variation(whole * 0, whole) is None


def test_saved_runs_are_compared_by_name_with_their_images_counted(fmap: Fmap, workdir: Path) -> None:
    torch.manual_seed(0)
    a = run_of(record("one", torch.randn(3, 50), 2), record("two", torch.randn(3, 50), 2), images=2)
    b = run_of(record("one", torch.randn(3, 50) + 1, 5), record("three", torch.randn(3, 50), 5), images=5)
    save_run(workdir / "a.fmap", a)
    save_run(workdir / "b.fmap", b)
    ran = fmap("compare", "a.fmap", "b.fmap", "--json", "--check", "-o", "runs.svg")
    assert ran.code == 3
    (row,) = ran.json["layers"]
    assert (row["images_a"], row["images_b"], row["channels"]) == (2, 5, 3)
    assert (ran.json["only_a"], ran.json["only_b"]) == (["two"], ["three"])
    assert (ran.json["a"]["images"], ran.json["b"]["images"]) == (2, 5)
    out = fmap("compare", "a.fmap", "b.fmap").out
    assert "A  run: a.fmap · 2 images" in out
    assert "only A has 1 layer: two" in out
    assert "whose mean moved most" in (workdir / "runs.svg").read_text()
    assert fmap("compare", "a.fmap", "b.fmap", "--csv").out.splitlines()[1].startswith("one,conv,Conv2d,3,2,5,")
    fmap("compare", "a.fmap", "b.fmap", "-l", "nope").refused("no layer 'nope' in these runs")
    fmap("compare", "a.fmap", "b.fmap", "-k", "norm").refused("no layer of kind norm", "conv")
    fmap("compare", "a.fmap", "b.fmap", "-l", "t*").refused("nothing to compare")


@pytest.fixture(scope="module")
def saved(samples: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """What `fmap stats` saves of the embedded model for each of two photos."""
    folder = tmp_path_factory.mktemp("saved")
    files = folder / "coffee.fmap", folder / "chelsea.fmap"
    for file in files:
        assert run(["stats", str(samples / f"{file.stem}.png"), "--size", "64", "--save", str(file)]) == 0
    return files


def test_what_stats_saves_is_compared(fmap: Fmap, samples: Path, saved: tuple[Path, Path]) -> None:
    """Two photos as two runs: the channels' means are those of the outputs that the same command compares itself."""
    ran = fmap("compare", *saved, "--json", "-k", "linear")
    (row,) = ran.json["layers"]
    direct = fmap("compare", samples / "coffee.png", samples / "chelsea.png", "--size", 64, "--json", "-l", row["name"])
    # A classifier puts out one value a channel, which is its mean.
    for key in ("relative_l2", "cosine", "correlation"):
        assert row[key] == pytest.approx(direct.json["layers"][0][key], rel=1e-6)
    assert fmap("compare", saved[0], saved[0], "--check").code == 0


def test_layers_of_runs_that_put_out_the_same_tensors_are_one_point_of_the_curve(
    fmap: Fmap, samples: Path, workdir: Path, saved: tuple[Path, Path]
) -> None:
    """As of the two photos themselves."""
    runs = fmap("compare", *saved, "--json", "-o", "runs.svg")
    direct = fmap("compare", samples / "coffee.png", samples / "chelsea.png", "--size", 64, "--json").json["layers"]
    assert [(row["name"], row["same_as"]) for row in runs.json["layers"]] == [
        (row["name"], row["same_as"]) for row in direct
    ]
    repeats = sum(row["same_as"] is not None for row in direct)
    assert (
        f"{len(direct) - repeats} layers in the order they run; {repeats} containers that"
        in (workdir / "runs.svg").read_text()
    )


def test_runs_of_unlike_networks_are_refused_in_a_line(fmap: Fmap, workdir: Path) -> None:
    layers = record("one", torch.randn(3, 5)), record("two", torch.randn(3, 5))
    save_run(workdir / "a.fmap", run_of(*layers))
    save_run(workdir / "b.fmap", run_of(layers[0], model="other"))
    save_run(workdir / "c.fmap", run_of(*layers, model="other"))
    save_run(workdir / "d.fmap", run_of(layers[0], record("two", torch.randn(4, 5))))
    fmap("compare", "a.fmap", "b.fmap").refused("a run of net and b.fmap of other", "Compare runs of one architecture")
    assert fmap("compare", "a.fmap", "c.fmap").code == 0
    assert "other shapes, not compared: two" in fmap("compare", "a.fmap", "d.fmap").out


def test_runs_without_a_layer_of_common_shape_part(fmap: Fmap, workdir: Path) -> None:
    for channels in (4, 8):
        save_run(workdir / f"w{channels}.fmap", run_of(record("conv", torch.randn(channels, 5)), images=3))
    asked = ("compare", "w4.fmap", "w8.fmap", "--check")
    ran = fmap(*asked, "-o", "w.svg")
    assert ran.code == 3
    assert "A  run: w4.fmap" in ran.out
    assert "3 images" in ran.out
    assert ran.out.splitlines()[0] == "no layer has the same shape on both sides"
    drawn = (workdir / "w.svg").read_text()
    assert "No layer has the same shape in A and B" in drawn
    assert "agree" not in drawn
    document = fmap(*asked, "--json").json
    assert (document["parts"], document["layers"], document["a"]["images"]) == (True, [], 3)


def test_what_check_decides_is_in_json(fmap: Fmap, tiny: str) -> None:
    for other, code in (("plain", 0), ("doubled", 3), ("three", 3), ("longer", 0)):
        asked = ("compare", "-m", f"{tiny}:plain", "--vs-model", f"{tiny}:{other}", "--vs-seed", 1, "--size", 8)
        ran = fmap(*asked, "--check", "--json")
        assert (ran.code, ran.json["parts"]) == (code, code == 3), other
        assert ran.json["a"]["images"] is None


@pytest.mark.parametrize("columns", [80, 160])
def test_tables_of_runs_keep_to_the_terminal(
    fmap: Fmap, workdir: Path, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    for name in "ab":
        save_run(workdir / f"{name}.fmap", run_of(record("features.6.3.block.1.0.conv2d", torch.randn(3, 50) * 1e4)))
    monkeypatch.setenv("COLUMNS", str(columns))
    out = fmap("compare", "a.fmap", "b.fmap").out
    table = out[out.index("\nlayer") if "\nlayer" in out else 0 :].split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= columns, out


# -- in words ----------------------------------------------------------------------------------------------------------


def layer_at(name: str, share: float, over: bool) -> ComparedLayer:
    torch.manual_seed(0)
    a = torch.ones(1, 2, 2, 2)
    layer = LayerRef(name, name, 0, "conv", "Conv2d", is_module=True)
    return ComparedLayer(layer, (1, 2, 2, 2), ("float32", "float32"), differ(a, a * (1 + share), 1), over)


@pytest.mark.parametrize(
    ("layers", "words"),
    [
        (
            (layer_at("a", 0, False), layer_at("b", 0.5, True)),
            "A and B part at b: relative L2 0.5, the first over 0.1; 1 of 2 layers is over",
        ),
        ((layer_at("a", 0, False),), "A and B are identical: the one layer differs by exactly zero"),
        (
            (layer_at("a", 0.0625, False), layer_at("b", 0.03125, False)),
            "A and B agree: of 2 layers none is over 0.1, the farthest apart is a (relative L2 0.0625)",
        ),
    ],
)
def test_the_verdict_is_a_sentence(layers: tuple[ComparedLayer, ...], words: str) -> None:
    side = Side("cat.png", ORIGIN)
    assert verdict(Comparison(side, side, 0.1, layers)) == words


@pytest.mark.parametrize(
    ("layers", "words", "title"),
    [
        ((), "no layer has the same shape on both sides", "No layer has the same shape in A and B"),
        (
            (layer_at("a", 0, False),),
            "1 layer has different shapes in A and B; the one layer with the same shape differs by exactly zero",
            "Layers of A and B differ in shape",
        ),
        (
            (layer_at("a", 0.0625, False), layer_at("b", 0.03125, False)),
            "1 layer has different shapes in A and B; of 2 layers with the same shape none is over 0.1, the farthest"
            " apart is a (relative L2 0.0625)",
            "Layers of A and B differ in shape",
        ),
        (
            (layer_at("a", 0, False), layer_at("b", 0.5, True)),
            "A and B part at b: relative L2 0.5, the first over 0.1; 1 of 2 layers is over",
            "A and B part at b",
        ),
    ],
)
def test_layers_of_other_shapes_are_never_called_the_same(
    layers: tuple[ComparedLayer, ...], words: str, title: str
) -> None:
    side = Side("cat.png", ORIGIN)
    comparison = Comparison(side, side, 0.1, layers, unlike_shapes=(("fc", (1, 2), (1, 3)),))
    assert comparison.parts
    assert verdict(comparison) == words
    said = texts(comparison_figure(comparison))
    assert said[0] == title
    assert ("threshold\n0.1" in said) == bool(layers)  # no curve without a layer


def test_records_of_runs_carry_what_a_figure_draws() -> None:
    a, b = record("x", torch.randn(3, 9)), record("x", torch.randn(3, 9))
    (row,) = compare_runs(run_of(a), run_of(b), ("a", "b")).layers
    assert isinstance(row, ComparedRecord)
    assert row.records == (a, b)


# -- the page ----------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "compare.md").read_text(encoding="utf-8")


def test_the_pages_example_is_what_the_command_prints(
    fmap: Fmap, samples: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for digits: processors round bfloat16's sums in different orders."""
    (workdir / "sample_images").symlink_to(samples)
    monkeypatch.setenv("COLUMNS", "80")
    line = PAGE.split("<!-- compare-example -->\n```sh\n")[1].split("\n")[0]
    shown = PAGE.split("<!-- compare-output -->\n```\n")[1].split("\n```")[0].splitlines()
    printed = [each.rstrip() for each in fmap(*shlex.split(line)[1:]).out.splitlines()]
    assert len(printed) == len(shown)
    start = next(at for at, each in enumerate(shown) if each.startswith("──"))
    assert printed[5 : start + 1] == shown[5 : start + 1]
    assert printed[start + 10 :] == shown[start + 10 :]
    assert shown[start + 10].startswith("not enough room for: output shape, pooled cosine")
    for one, other in zip(printed[start + 1 : start + 10], shown[start + 1 : start + 10], strict=True):
        assert one.split()[0] == other.split()[0]
        shares = [float(each.split()[2]) for each in (one, other)]
        assert shares[0] == pytest.approx(shares[1], rel=0.5)


def test_the_page_names_every_field_and_every_default(fmap: Fmap, tiny: str, workdir: Path) -> None:
    save_run(workdir / "a.fmap", run_of(record("a", torch.randn(3, 5))))
    rows = fmap("compare", "-m", f"{tiny}:plain", "--vs-seed", 1, "--size", 4, "--json").json["layers"]
    rows += fmap("compare", "a.fmap", "a.fmap", "--json").json["layers"]
    assert [name for row in rows for name in row if f"`{name}`" not in PAGE] == []
    table = PAGE.split("| format |")[1].split("\n\n")[0]
    said = {
        line.split("|")[1].split(",")[0].strip().lower(): float(line.split("|")[3]) for line in table.splitlines()[2:]
    }
    assert said == THRESHOLDS


# -- what the two are fed ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A network whose weights' entry resizes to 232, as a TorchScript program, which says nothing of the kind."""
    from fmap_cli.models import load_model

    net = load_model("mobilenet_v2", "random").module
    path = tmp_path_factory.mktemp("exported") / "net.pt"
    with torch.no_grad():
        torch.jit.save(torch.jit.trace(net, torch.zeros(1, 3, 224, 224)), str(path))
    return str(path)


@pytest.mark.parametrize("program_first", [False, True])
def test_an_export_is_fed_as_the_network_it_was_made_of(
    fmap: Fmap, exported: str, samples: Path, program_first: bool
) -> None:
    sides = ["-m", "mobilenet_v2", "-w", "random", "--vs-model", exported]
    if program_first:
        sides = ["-m", exported, "--vs-model", "mobilenet_v2", "--vs-weights", "random"]
    ran = fmap("compare", samples / "coffee.png", *sides, "-l", "features.0.0", "-l", "classifier.1", "--json")
    assert ran.json["inputs"] == {"alike": True, "max_abs": 0.0, "relative_l2": 0.0}
    assert [ran.json[side]["preprocessing"]["resize"] for side in "ab"] == [232, 232]
    assert [row["max_abs"] for row in ran.json["layers"]] == [0.0, 0.0]
    assert "does not say how images are prepared for it: it gets what" in ran.err
    assert "preprocessing assumed" not in ran.err


def test_what_the_user_says_of_b_overrules_and_the_inputs_distance_stands_first(
    fmap: Fmap, exported: str, samples: Path
) -> None:
    asked = ("compare", samples / "coffee.png", "-m", "mobilenet_v2", "-w", "random", "--vs-model", exported,
             "--vs-mean", 0.5, "-l", "features.0.0")  # fmt: skip
    ran = fmap(*asked, "--json")
    # (x - 0.5) / s against (x - m) / s: each channel is off by (0.5 - m) / s.
    means, stds = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    assert ran.json["inputs"]["max_abs"] == pytest.approx(float(((0.5 - means) / stds).max()), rel=1e-4)
    assert not ran.json["inputs"]["alike"]
    out = fmap(*asked).out
    assert "A and B get different input: " in out
    assert out.index("A and B get different input") < out.index("\nfeatures.0.0 ")


def test_two_photos_are_said_to_be_apart_and_one_is_not(fmap: Fmap, samples: Path) -> None:
    asked = ("-l", "features.0.0", "--size", 32)
    apart = fmap("compare", samples / "coffee.png", samples / "chelsea.png", *asked)
    assert "A and B get different input: " in apart.out
    assert "different input" not in fmap("compare", samples / "coffee.png", "--vs-dtype", "bfloat16", *asked).out


def test_what_has_no_numbers_is_not_called_equal(tmp_path: Path) -> None:
    torch.manual_seed(0)
    nets = [torch.nn.Sequential(torch.nn.Conv2d(3, 2, 3), torch.nn.ReLU()).eval() for _ in range(3)]
    nets[1][0].weight.data.fill_(torch.nan)
    sessions = [fmap_cli.load_model(each, size=8, say=lambda _: None) for each in nets]
    pictures = [torch.rand(3, 8, 8) for _ in range(2)]
    runs = [fmap_cli.stats(each, pictures, workers=0, say=lambda _: None) for each in sessions[:2]]
    found = {each.layer.name: each.difference for each in compare_runs(*runs, ("a", "b")).layers}
    assert all(map(math.isnan, (found["0"].mean_shift, found["0"].std_shift, found["0"].min_shift)))
    assert found["0"].relative_l2 == math.inf and found["0"].channel is None and found["input"].mean_shift == 0
    of_images = fmap_cli.compare(sessions[1], pictures, say=lambda _: None)
    assert of_images.answer is not None and of_images.answer.no_numbers and of_images.shared is None
    assert "answer: NaN or infinite in all values of both" in " ".join(of_images.table().split())
    other = fmap_cli.load_model(nets[2], size=8, say=lambda _: None)
    apart = fmap_cli.compare(sessions[0], pictures[0], vs=other, say=lambda _: None)
    assert "A and B go by the same name; their values differ" in apart.table()
