"""What `fmap layers` says of a network: rows, sums, stages and totals, at any width, for all of torchvision."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models

from fmap_cli.errors import LayerError
from fmap_cli.layers import inventory
from fmap_cli.layers.records import CountedLayer
from fmap_cli.layers.survey import survey
from fmap_cli.models import load_model
from fmap_cli.models.records import ModelRequest, Weights
from fmap_cli.network.records import Axes, LayerRef
from fmap_cli.session.opening import Session, open_architecture

Run = Callable[..., Any]

FIELDS = [
    *("name", "kind", "type", "call", "depth", "composite", "shape", "axes", "parameters", "multiply_adds"),
    *("own_multiply_adds", "kernel", "stride", "padding", "dilation", "groups", "dtype", "memory_format"),
    *("field_kind", "field_size", "field_stride", "field_start", "axes_how"),
]


def test_the_document_holds_every_column_and_adds_up(fmap: Run) -> None:
    document = fmap("layers", "resnet18", "--json").json
    rows = {row["name"]: row for row in document["layers"]}
    assert all(list(row) == [*FIELDS, "output_axes"] for row in document["layers"])
    assert document["weights"] == "architecture only"
    assert document["input_shape"] == [1, 3, 224, 224]
    assert document["parameters"] == 11_689_512
    assert document["multiply_adds"] == 1_814_073_344
    assert sum(row["own_multiply_adds"] for row in document["layers"]) == document["multiply_adds"]
    assert sum(row["multiply_adds"] for row in document["layers"] if row["depth"] == 1) == document["multiply_adds"]
    assert document["layer_count"] == len(document["layers"])
    assert document["convolutions"] == {"count": 20, "pointwise": 3, "depthwise": 0, "strided": 7}
    assert document["stages"] == [
        *([3, 224, 224], [64, 112, 112], [64, 56, 56], [128, 28, 28], [256, 14, 14], [512, 7, 7], [512, 1, 1]),
        [1000],
    ]
    first = rows["conv1"]
    assert first["multiply_adds"] == 64 * 3 * 7 * 7 * 112 * 112
    assert (first["kernel"], first["stride"], first["padding"]) == ([7, 7], [2, 2], [3, 3])
    assert (first["dilation"], first["groups"]) == ([1, 1], 1)
    assert (first["dtype"], first["memory_format"], first["axes"]) == ("float32", "contiguous", ["B", "C", "H", "W"])
    assert (rows["relu"]["kernel"], rows["relu"]["groups"], rows["relu"]["multiply_adds"]) == (None, None, 0)
    inside = [row for name, row in rows.items() if name.startswith("layer1.0.")]
    assert rows["layer1.0"]["composite"]
    assert rows["layer1.0"]["multiply_adds"] == sum(row["multiply_adds"] for row in inside)


def test_depth_cuts_where_modules_are_called_in_modules(fmap: Run) -> None:
    document = fmap("layers", "resnet18", "--depth", 1, "--json").json
    assert [row["name"] for row in document["layers"]] == [
        *("x", "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool", "flatten", "fc")
    ]
    assert sum(row["multiply_adds"] for row in document["layers"]) == document["multiply_adds"] == 1_814_073_344
    assert {row["depth"] for row in fmap("layers", "resnet18", "--depth", 2, "--json").json["layers"]} == {1, 2}


def test_kinds_choose_and_go_with_patterns(fmap: Run) -> None:
    rows = fmap("layers", "resnet18", "-k", "pool", "-k", "linear", "--json").json["layers"]
    assert [row["name"] for row in rows] == ["maxpool", "avgpool", "fc"]
    rows = fmap("layers", "resnet18", "-k", "conv", "-l", "layer4.1.*", "--json").json["layers"]
    assert [row["name"] for row in rows] == ["layer4.1.conv1", "layer4.1.conv2"]
    fmap("layers", "resnet18", "-k", "op", "-l", "fc").refused(
        "no layer of kind op among these.", "Their kinds are linear"
    )
    fmap("layers", "resnet18", "--depth", 1, "-l", "layer1.0.conv1").refused("no layer is left at --depth 1", "depth 3")
    fmap("layers", "resnet18", "-k", "convolution").refused("'convolution' is not one of", code=2)
    fmap("layers", "resnet18", "--depth", 0).refused(code=2)
    fmap("layers", "resnet18", "--json", "--csv").refused("--json and --csv exclude each other.", code=2)


def test_comma_separated_values_are_the_same_rows(fmap: Run) -> None:
    rows = fmap("layers", "squeezenet1_1", "--json").json["layers"]
    table = list(csv.DictReader(io.StringIO(fmap("layers", "squeezenet1_1", "--csv").out)))
    assert list(table[0]) == FIELDS
    assert [row["name"] for row in table] == [row["name"] for row in rows]
    for mine, theirs in zip(table, rows, strict=True):
        assert mine["shape"] == " ".join(map(str, theirs["shape"]))
        assert mine["kernel"] == " ".join(map(str, theirs["kernel"] or []))
        assert int(mine["multiply_adds"]) == theirs["multiply_adds"]
        assert mine["composite"] == str(theirs["composite"]).lower()


def test_nothing_is_drawn_for_an_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(*_: object, **__: object) -> None:
        raise AssertionError("random numbers were drawn")

    monkeypatch.setattr(Tensor, "normal_", drawn)
    monkeypatch.setattr(Tensor, "uniform_", drawn)
    for name in ("efficientnet_lite0", "resnet18", "swin_t"):
        assert load_model(name, "random", initialise=False).weights == Weights("none")


def test_a_detectors_architecture_is_the_one_with_weights() -> None:
    network = load_model("fasterrcnn_resnet50_fpn", "random", initialise=False).module
    assert sum(parameter.numel() for parameter in network.parameters()) == 41_755_286
    assert type(network.backbone.body.bn1).__name__ == "FrozenBatchNorm2d"


def test_weights_that_are_named_are_loaded_and_named(fmap: Run) -> None:
    assert fmap("layers", "resnet18", "--weights", "random", "--json").json["weights"] == "random (seed 0)"
    assert fmap("layers", "--weights", "default", "--json").json["weights"].startswith("ImageNet")


def test_heads_that_do_not_run_are_told_from_those_that_do(fmap: Run) -> None:
    document = fmap("layers", "inception_v3", "--size", 96, "--json").json
    auxiliary = models.inception_v3(weights=None, init_weights=False).AuxLogits
    assert document["idle_parameters"] == sum(parameter.numel() for parameter in auxiliary.parameters())
    assert (
        "3,326,696 of them in parts that did not run" in fmap("layers", "inception_v3", "--size", 96, "--depth", 1).out
    )
    assert (
        fmap("layers", "swin_t", "--json").json["idle_parameters"] == 0
    )  # its attention uses `qkv` without calling it


# -- the table -----------------------------------------------------------------------------------------------------


def test_eighty_columns_hold_a_row_a_layer(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = fmap("layers", "resnet18").out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    table = lines[next(at for at, line in enumerate(lines) if line.startswith("layer ")) + 2 :][:85]
    assert table[1].split() == ["conv1", "7×7", "/2", "[1,", "64,", "112,", "112]", "9.41", "k", "118", "M"]
    assert [line.split()[0] for line in table] == [
        row["name"] for row in fmap("layers", "resnet18", "--json").json["layers"]
    ]
    assert any(line.startswith("layer1 ") and "Σ 462 M" in line for line in table)
    assert "[3, 224, 224] → [64, 112, 112] → [64, 56, 56] → [128, 28, 28] → [256, 14, 14] →" in lines
    assert "[512, 7, 7] → [512, 1, 1] → [1000]" in lines


def test_a_pipe_gets_all_columns_and_the_totals(fmap: Run) -> None:
    out = fmap("layers", "mobilenet_v2").out
    lines = out.splitlines()
    assert lines[0] == "mobilenet_v2 · architecture only · input [1, 3, 224, 224]"
    depthwise = next(line for line in lines if line.startswith("features.2.conv.1.0 "))
    assert "Conv2d" in depthwise
    assert "3×3 dw /2" in depthwise
    assert "B C H W" in depthwise
    assert f"{96 * 9 * 56 * 56:,}" in depthwise
    assert "0.9 %" in depthwise
    assert depthwise.rstrip().endswith("float32   contiguous") or "contiguous" in depthwise
    assert "3,504,872 parameters in the model" in out
    assert "300,774,272 multiply-adds; FLOPs = 2 × that = 602 M" in out
    assert "52 convolutions: 34 are 1×1 (channel mixers), 17 depthwise, 5 strided" in out


PYRAMID = """
from torch import nn
class Pyramid(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList(nn.Conv2d(3 if at == 0 else 8, 8, 3, stride=2, padding=1) for at in range(5))
        self.head = nn.Conv2d(8, 4, 3, padding=1)
    def forward(self, x):
        answers = []
        for each in self.body:
            x = each(x)
            answers.append(self.head(x).mean((2, 3)))
        return sum(answers)
"""


def test_a_second_call_shares_its_parameters(fmap: Run, nets: str) -> None:
    lines = fmap("layers", f"{nets}:inplace", "--size", 16).out.splitlines()
    assert not any("shared" in line for line in lines)  # a ReLU has none to share
    Path("net.py").write_text(PYRAMID)
    ran = fmap("layers", "net.py:Pyramid", "--size", 64)
    assert sum("shared" in line for line in ran.out.splitlines()) == 4  # five levels, one head
    assert f"{3 * 8 * 9 + 8 + 4 * (8 * 8 * 9 + 8) + 8 * 4 * 9 + 4:,} parameters in the model" in ran.out


@pytest.mark.slow
def test_the_heads_of_a_detector_share_their_parameters(fmap: Run) -> None:
    lines = fmap("layers", "retinanet_resnet50_fpn", "-l", "head.regression_head.bbox_reg*").out.splitlines()
    assert sum("shared" in line for line in lines) == 4  # five levels, one head


# -- stages --------------------------------------------------------------------------------------------------------


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Conv2d(3, 4, 3, padding=1)
        self.down2 = nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.down3 = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(16, 8, 2, 2)
        self.up1 = nn.ConvTranspose2d(16, 4, 2, 2)
        self.out = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(a)
        y = torch.cat([self.up2(self.down3(b)), b], 1)
        return self.out(torch.cat([self.up1(y), a], 1))  # type: ignore[no-any-return]


class Squeezed(nn.Module):
    """Squeeze-and-excitation in a block that lowers the resolution."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.reduce = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 12, 3, stride=2, padding=1)
        self.squeeze, self.excite, self.project = nn.AdaptiveAvgPool2d(1), nn.Conv2d(12, 12, 1), nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.reduce(self.expand(x))
        return self.project(y * self.excite(self.squeeze(y)))  # type: ignore[no-any-return]


def session_of(module: nn.Module, size: int = 16) -> Session:
    from fmap_cli.models.records import LoadedModel, Preprocessing

    model = LoadedModel(module.eval(), "own", Weights("given"), Preprocessing(resize=size, crop=(size, size)))
    return Session(model, torch.device("cpu"), torch.float32)


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (UNet(), [(3, 16, 16), (4, 16, 16), (8, 8, 8), (16, 4, 4), (16, 8, 8), (2, 16, 16)]),
        (nn.Sequential(Squeezed(), nn.ReLU()), [(3, 16, 16), (5, 8, 8)]),
        (nn.Sequential(nn.Flatten(), nn.Linear(768, 7)), [(3, 16, 16), (7,)]),
        (nn.Sequential(nn.Conv2d(3, 3, 1)), [(3, 16, 16)]),
    ],
)
def test_stages_of_small_networks(module: nn.Module, expected: list[tuple[int, ...]]) -> None:
    assert list(survey(session_of(module)).stages) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_lite0", "16×112 24×56 40×28 112×14 1280×7 1280×1 1000"),
        ("vgg11", "64×224 128×112 256×56 512×28 512×14 512×7 1000"),
        ("swin_t", "96×56 192×28 384×14 768×7 768×1 1000"),  # [B, H, W, C] inside
        ("vit_b_32", "768×7 1000"),  # tokens
        ("inception_v3", "32×149 64×147 80×73 192×71 288×35 768×17 2048×8 2048×1 1000"),
        ("squeezenet1_1", "64×111 128×55 256×27 512×13 1000×1 1000"),
    ],
)
def test_stages_of_known_networks(name: str, expected: str) -> None:
    found = survey(open_architecture(ModelRequest(name), lambda sentence: None)).stages
    assert " ".join("×".join(map(str, each[:2])) for each in found[1:]) == expected
    assert all(len(each) in (1, 3) for each in found)


def test_layers_that_are_no_map_have_no_stage() -> None:
    def row(shape: tuple[int, ...], *names: str) -> CountedLayer:
        layer = LayerRef("x", "x", 0, "op", "x")
        return CountedLayer(layer, 0, shape, "float32", "contiguous", None, 1, False, 0, 0, axes=Axes(names, "told"))

    assert inventory.map_shape(row((2, 9, 9, 4), "B", "H", "W", "C")) == (4, 9, 9)
    assert inventory.map_shape(row((2, 4, 5, 9, 9), "B", "C", "T", "H", "W")) == (4, 5, 9, 9)
    assert inventory.map_shape(row((2, 16, 4), "B", "N", "C")) is None  # no grid
    assert inventory.map_shape(row((64, 49, 4), "B·N", "?", "C")) is None
    assert inventory.map_shape(row((2, 4), "B", "C")) is None
    assert inventory.stages([]) == ()


def test_a_bad_input_is_the_networks_own_words() -> None:
    with pytest.raises(Exception, match=r"own fails on an input of shape \[1, 3, 16, 16\]"):
        survey(session_of(nn.Sequential(nn.Conv2d(3, 2, 99))))
    with pytest.raises(LayerError, match="no layer 'nope'"):
        survey(session_of(nn.ReLU()), ["nope"])


# -- all of torchvision --------------------------------------------------------------------------------------------

# One of each kind of input, answer and arithmetic, small where it can be; under `-m slow` all of torchvision's.
FAMILIES = {
    "lraspp_mobilenet_v3_large": 64,
    "quantized_shufflenet_v2_x0_5": 64,
    "r3d_18": None,
    "raft_small": 128,
    "ssdlite320_mobilenet_v3_large": None,
    "swin_v2_t": 64,
    "vit_b_32": None,
}


def holds(fmap: Run, name: str, size: int | None = None) -> None:
    document = fmap("layers", name, *(["--size", size] if size else []), "--json").json
    rows = document["layers"]
    assert sum(row["own_multiply_adds"] or 0 for row in rows) == document["multiply_adds"] > 0
    assert len({row["name"] for row in rows}) == len(rows)
    assert all(len(row["axes"]) == len(row["shape"]) for row in rows)
    assert [
        row["name"] for row in rows if len(row["shape"]) == 4 and "C" not in row["axes"] and row["kind"] == "conv"
    ] == []
    assert len(document["stages"]) >= 2
    assert all(row["kernel"] for row in rows if row["kind"] == "conv")


@pytest.mark.parametrize(("name", "size"), FAMILIES.items())
def test_families_are_listed_whole(fmap: Run, name: str, size: int | None) -> None:
    holds(fmap, name, size)


@pytest.mark.slow
def test_all_of_torchvision_is_listed_in_three_minutes(fmap: Run) -> None:
    import time

    start = time.process_time()  # what other programs do on the machine is not fmap's time
    for name in models.list_models():
        holds(fmap, name)
    assert len(models.list_models()) >= 121
    assert time.process_time() - start < 180


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_pages_example_is_what_the_command_prints(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs" / "layers.md").read_text("utf-8")
    command = page.split("<!-- layers-example -->\n```sh\n")[1].split("\n```")[0]
    shown = page.split("<!-- layers-output -->\n```\n")[1].split("```")[0]
    monkeypatch.setenv("COLUMNS", "80")
    out = fmap(*command.split()[1:]).out
    assert [line.rstrip() for line in out.splitlines()] == shown.splitlines()


def test_the_page_names_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "layers.md").read_text("utf-8")
    assert [field for field in FIELDS if f"`{field}`" not in page] == []


def test_a_model_named_twice_is_wrong_usage(capsys):
    from fmap_cli.cli import run as run_fmap

    assert run_fmap(["layers", "resnet18", "--model", "vgg11"]) == 2
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.splitlines() == [
        "fmap: the model is named twice, resnet18 and --model vgg11: give one.",
        "      `fmap layers --help` lists what it takes.",
    ]


def test_an_nhwc_array_is_permuted_which_is_said(tmp_path, capsys):
    import json

    import numpy as np

    from fmap_cli.cli import run as run_fmap

    np.save(tmp_path / "array.npy", np.zeros((1, 520, 640, 3), np.float32))
    array = str(tmp_path / "array.npy")
    assert run_fmap(["layers", "fcn_resnet50", "--image", array, "--layer", "backbone.conv1", "--json"]) == 0
    written = capsys.readouterr()
    assert json.loads(written.out)["layers"][0]["shape"] == [1, 64, 260, 320]
    assert "array [1, 520, 640, 3] read as NHWC, permuted to CHW" in written.err
