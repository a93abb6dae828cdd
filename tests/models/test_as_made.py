"""Networks of the user's own are run as they are made: lazy layers, number formats, torchvision's classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

from fmap_cli.inputs.images import load_image, sample_path
from fmap_cli.models import load_model
from fmap_cli.models.records import ModelRequest
from fmap_cli.models.torchvision_classes import name_by_class
from fmap_cli.session.opening import open_session, read_image
from fmap_cli.session.passes import network_inputs

NETS = """
import torch, torch.nn as nn
from torchvision.models import detection

class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.fc = nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.LazyLinear(5)
    def forward(self, x):
        return self.fc(torch.relu(self.norm(self.conv(x))).flatten(1))

class Inside(nn.Module):  # a part that computes in float64, and casts by itself
    def __init__(self):
        super().__init__()
        self.exact = nn.Linear(4, 2).double()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.exact(self.conv(x).mean((2, 3)).double())

def half(): return nn.Conv2d(3, 4, 3).half()
def double(): return nn.Conv2d(3, 4, 3).double()

def detector():
    net = detection.fasterrcnn_mobilenet_v3_large_320_fpn(weights=None, weights_backbone=None)
    net.roi_heads.box_predictor = detection.faster_rcnn.FastRCNNPredictor(1024, 3)
    return net

class Wrapped(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = detector()
    def forward(self, images, targets=None):
        return self.net(images, targets)
"""


@pytest.fixture(autouse=True)
def folder(workdir: Path) -> Path:
    (workdir / "nets.py").write_text(NETS)
    return workdir


def own(name: str) -> Any:
    scope: dict[str, Any] = {}
    exec(NETS, scope)
    return scope[name]


# --- Lazy layers -----------------------------------------------------------------------------------------


def test_lazy_layers_draw_what_torch_draws_after_the_seed() -> None:
    torch.manual_seed(3)
    expected = own("Lazy")().eval()
    with torch.no_grad():
        expected(torch.zeros(1, 3, 16, 16))
    found = load_model("nets.py:Lazy", seed=3, size=16).module
    assert type(found.conv) is nn.Conv2d
    for name, value in expected.state_dict().items():
        assert torch.equal(found.state_dict()[name], value), name


def test_a_lazy_networks_state_dict_decides_its_shapes(folder: Path) -> None:
    net = own("Lazy")()
    net(torch.zeros(2, 3, 20, 20))
    torch.save(net.state_dict(), folder / "lazy.pth")
    model = load_model("nets.py:Lazy", "lazy.pth")
    assert model.preprocessing.crop == (20, 20)  # the only size that the file's linear layer takes
    for name, value in net.state_dict().items():
        assert torch.equal(model.module.state_dict()[name], value), name


def test_a_lazy_network_is_the_same_on_both_sides(fmap: Callable[..., Any]) -> None:
    ran = fmap("compare", "--model", "nets.py:Lazy", "--size", 16, "--vs-memory-format", "channels_last", "--json")
    assert ran.code == 0
    assert ran.json["parts"] is False


def test_a_file_of_lazy_layers_that_have_not_run_is_a_line(folder: Path, fmap: Callable[..., Any]) -> None:
    torch.save(own("Lazy")().state_dict(), folder / "unmade.pth")
    fmap("show", "--model", "nets.py:Lazy", "--weights", "unmade.pth").refused()


# --- Number formats --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "dtype"), [("half", torch.float16), ("double", torch.float64)])
def test_a_network_keeps_the_format_it_is_made_in_unless_told(name: str, dtype: torch.dtype) -> None:
    said: list[str] = []
    session = open_session(ModelRequest(f"nets.py:{name}", size=16), said.append)
    assert session.dtype == session.model.module.weight.dtype == dtype
    assert any("runs as it is made" in sentence for sentence in said)
    cast = open_session(ModelRequest(f"nets.py:{name}", size=16, dtype="float32"), lambda _: None)
    assert cast.dtype == cast.model.module.weight.dtype == torch.float32


def test_parts_in_another_format_stay_in_it(fmap: Callable[..., Any]) -> None:
    ran = fmap("layers", "nets.py:Inside", "--size", 16, "--json")
    assert {layer["name"]: layer["dtype"] for layer in ran.json["layers"]} == {
        "x": "float32",
        "conv": "float32",
        "mean": "float32",
        "double": "float64",
        "exact": "float64",
    }
    assert "made in float32 and float64" in ran.err


# --- torchvision's classes -------------------------------------------------------------------------------


def test_an_own_detector_is_normalised_once_by_itself() -> None:
    session = open_session(ModelRequest("nets.py:detector"), lambda _: None)
    image = read_image(session, str(sample_path()), lambda _: None)
    (given,) = network_inputs(session, [image])
    picture = torchvision.transforms.functional.pil_to_tensor(__import__("PIL.Image").Image.open(sample_path()))
    assert torch.equal(given[0], picture.float() / 255)
    assert session.model.input_kind == "images"
    assert session.model.labels is None


def test_one_that_wraps_a_detector_is_one() -> None:
    model = load_model("nets.py:Wrapped")
    assert model.input_kind == "images"
    assert model.preprocessing == load_model("nets.py:detector").preprocessing


def test_an_own_detector_trains_on_its_own_losses(fmap: Callable[..., Any], estimates_here: None) -> None:
    found = fmap("memory", "nets.py:detector", "--batch", 1, "--size", 64, "--train", "--json").json
    assert found["loss"] == "the network's own losses"
    assert found["inputs"] == [[3, 64, 64]]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("retinanet_resnet50_fpn", "images"),
        ("fcos_resnet50_fpn", "images"),
        ("ssdlite320_mobilenet_v3_large", "images"),
        ("lraspp_mobilenet_v3_large", "image"),
        ("deeplabv3_mobilenet_v3_large", "image"),
        ("raft_small", "image_pair"),
        ("r2plus1d_18", "video"),
        ("mvit_v2_s", "video"),
        ("swin3d_t", "video"),
        ("s3d", "video"),
    ],
)
def test_a_class_of_torchvisions_is_fed_like_the_model_of_that_name(name: str, kind: str) -> None:
    by_name = load_model(name, "random", initialise=False)
    assert by_name.input_kind == kind
    like = name_by_class(by_name.module)
    assert like is not None
    assert load_model(like, "random", initialise=False).input_kind == kind
    subclass = type("Own", (type(by_name.module),), {})
    by_name.module.__class__ = subclass
    assert name_by_class(by_name.module) == like


# --- What is not a picture ----------------------------------------------------------------------------------

OTHERS = """
import torch, torch.nn as nn

def vector(): return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2))
def bands(): return nn.Sequential(nn.Conv2d(5, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
def scan(): return nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
def audio(): return nn.Sequential(nn.Conv1d(1, 4, 9, 4), nn.AdaptiveAvgPool1d(1), nn.Flatten())

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(10, 4)
    def forward(self, image, about):
        return self.conv(image).mean((2, 3)) + self.fc(about)
"""


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("vector", [[20]]),
        ("bands", [[5, 32, 32]]),
        ("scan", [[1, 4, 16, 16]]),
        ("audio", [[1, 200]]),
        ("Both", [[3, 32, 32], [10]]),
    ],
)
def test_arrays_of_the_shape_reach_the_network_as_they_are(
    name: str, shapes: list[list[int]], folder: Path, fmap: Callable[..., Any]
) -> None:
    (folder / "others.py").write_text(OTHERS)
    generator = np.random.default_rng(0)
    arrays = [generator.random(shape, np.float32) for shape in shapes]
    files = []
    for at, array in enumerate(arrays):
        files.append(f"{at}.npy")
        np.save(files[-1], array)
    shape_options = [part for shape in shapes for part in ("--input-shape", ",".join(map(str, shape)))]
    ran = fmap("predict", *files, "--model", "others.py:" + name, *shape_options, "--mean", 0, "--std", 1, "--json")
    assert ran.code == 0, ran
    module = load_model("others.py:" + name, shapes=tuple(map(tuple, shapes))).module
    with torch.no_grad():
        scores = module(*(torch.from_numpy(array)[None] for array in arrays))[0].softmax(0)
    found = {each["index"]: each["probability"] for each in ran.json["predictions"]}
    assert found == pytest.approx({at: float(score) for at, score in enumerate(scores)}, abs=1e-6)
    # And without any file, whatever the command.
    for command in (["layers"], ["rf"], ["stats"], ["show", "-o", "o.png"], ["compare", "--vs-dtype", "float64"]):
        told = fmap(*command, "--model", "others.py:" + name, *shape_options, "--json")
        assert told.code == 0, told
        document = json.loads(told.out)
        assumed = (document["a"] if command[0] == "compare" else document)["assumed_input"]
        assert assumed == {"shapes": [[1, *shape] for shape in shapes], "how": "as --input-shape says"}


def test_what_does_not_fit_is_told_what_does(folder: Path, fmap: Callable[..., Any]) -> None:
    (folder / "others.py").write_text(OTHERS)
    fmap("show", sample_path(), "--model", "others.py:vector").refused("takes [20]", "--input-shape", ".npy")
    np.save("long.npy", np.zeros(30, np.float32))
    refused = fmap("show", "long.npy", "--model", "others.py:vector")
    refused.refused("an array of shape [30]", "found to run on [20]", "--input-shape")
    fmap("show", "long.npy", "--model", "others.py:vector", "--size", 3, "--input-shape", "30").refused("one", code=2)


def test_a_photo_still_is_what_an_ordinary_network_gets(folder: Path) -> None:
    (folder / "plain.py").write_text("from torch import nn\ndef make(): return nn.Conv2d(3, 4, 3)\n")
    session = open_session(ModelRequest("plain.py:make", input_shape=((3, 32, 48),)), lambda _: None)
    image = read_image(session, None, lambda _: None)
    (batch,) = network_inputs(session, [image])
    assert batch.shape == (1, 3, 32, 48)
    assert torch.equal(batch[0], load_image(str(sample_path()), session.model.preprocessing).tensor)
