"""What networks take, found by running: each expectation is what torch itself accepts."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from fmap_cli.errors import ModelError
from fmap_cli.models import load_model
from fmap_cli.models.preprocessing import FOUND, NOT_FOUND, SAID

NETS = """
import torch, torch.nn as nn, torch.nn.functional as F

class Focus(nn.Module):  # two by two pixels become four channels
    def __init__(self, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(4 * channels, 8, 3, padding=1)
    def forward(self, x):
        return self.conv(F.pixel_unshuffle(x, 2))

def gray_focus(): return Focus(1)

class Coordinates(nn.Module):
    def __init__(self, channels=3):
        super().__init__()
        self.conv = nn.Conv2d(channels + 2, 8, 3)
    def forward(self, x):
        return self.conv(torch.cat([x, torch.zeros_like(x[:, :1]), torch.ones_like(x[:, :1])], 1))

def thirteen(): return Coordinates(13)

class HeadFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Conv2d(16, 1, 1)
        self.stem = nn.Conv2d(3, 16, 3)
    def forward(self, x):
        return self.head(self.stem(x))

class GrayInside(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3)
    def forward(self, x):
        return self.conv((x * x.new_tensor([.3, .6, .1]).view(1, 3, 1, 1)).sum(1, keepdim=True))

class Repeated(nn.Module):  # takes gray, repeats it
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
    def forward(self, x):
        return self.conv(x.repeat(1, 3, 1, 1))

class Attention(nn.Module):  # over channels, by a convolution in one dimension
    def __init__(self):
        super().__init__()
        self.eca = nn.Conv1d(1, 1, 3, padding=1)
        self.conv = nn.Conv2d(3, 8, 3)
    def forward(self, x):
        y = self.conv(x)
        return y * self.eca(y.mean((2, 3)).unsqueeze(1)).transpose(1, 2).unsqueeze(-1)

class InnerVolume(nn.Module):
    def __init__(self):
        super().__init__()
        self.deep = nn.Conv3d(1, 4, 3, padding=1)
        self.conv = nn.Conv2d(12, 8, 1)
    def forward(self, x):
        return self.conv(self.deep(x.unsqueeze(1)).flatten(1, 2))

def flat(): return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
def flat_colour(): return nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
def vector(): return nn.Sequential(nn.Linear(784, 10))

class Viewed(nn.Module):  # runs on any number of values, and mixes up the images of a batch
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)
    def forward(self, x):
        return self.fc(x.view(-1, 784))

class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.fc = nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), nn.Linear(400, 10)
    def forward(self, x):
        return self.fc(F.max_pool2d(self.two(F.max_pool2d(self.one(x), 2)), 2).view(-1, 400))

class Patches(nn.Module):  # no convolution, and the usual size
    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.zeros(1, 196, 8))
        self.fc = nn.Linear(768, 8)
    def forward(self, x):
        return self.fc(F.unfold(x, 16, stride=16).transpose(1, 2)) + self.places

def bands(): return nn.Conv2d(13, 8, 3)
def atari(): return nn.Sequential(nn.Conv2d(4, 8, 8, 4), nn.Flatten(), nn.Linear(3200, 5))
def clip(): return nn.Sequential(nn.Conv3d(3, 4, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())
def scan(): return nn.Conv3d(1, 4, 3)
def two_channels_of_volume(): return nn.Conv3d(2, 4, 3)
def audio(): return nn.Sequential(nn.Conv1d(1, 8, 9, 4), nn.AdaptiveAvgPool1d(1), nn.Flatten())
def table(): return nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2))
def generator(): return nn.Sequential(nn.ConvTranspose2d(100, 8, 4), nn.ReLU(), nn.ConvTranspose2d(8, 3, 4, 2, 1))
def encoder(): return nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 16, batch_first=True), 1)

class Last(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(40, 8, batch_first=True)
    def forward(self, x):
        return self.rnn(x)[0][:, -1]

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(50, 8)
    def forward(self, x):
        return self.words(x).mean(1)

class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, left, right):
        return self.conv(left) - self.conv(right)

class Masked(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3)
    def forward(self, image, mask):
        return self.conv(torch.cat([image, mask], 1))

class Conditioned(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(10, 4)
    def forward(self, image, about):
        return self.conv(image) + self.fc(about)[:, :, None, None]

class AtATime(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.times = nn.Conv2d(3, 4, 3), nn.Embedding(1000, 4)
    def forward(self, image, time):
        return self.conv(image) + self.times(time)[:, :, None, None]

class Wrong(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x).nothing()

class Counting(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.runs = nn.Conv2d(3, 4, 3), 0
        self.register_buffer("ran", torch.zeros(()))
    def forward(self, x):
        self.runs += 1
        self.ran += 1
        print("running")
        return self.conv(x) + torch.rand(())
"""

PICTURE = ((3, 224, 224),)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "shapes", "axes", "kind"),
    [
        ("Focus", PICTURE, ("CHW",), "image"),
        ("gray_focus", ((1, 224, 224),), ("CHW",), "image"),
        ("Coordinates", PICTURE, ("CHW",), "image"),
        ("thirteen", ((13, 224, 224),), ("CHW",), "image"),
        ("HeadFirst", PICTURE, ("CHW",), "image"),
        ("GrayInside", PICTURE, ("CHW",), "image"),
        ("Repeated", ((1, 224, 224),), ("CHW",), "image"),
        ("Attention", PICTURE, ("CHW",), "image"),
        ("InnerVolume", PICTURE, ("CHW",), "image"),
        ("flat", ((1, 28, 28),), ("CHW",), "image"),
        ("flat_colour", ((3, 32, 32),), ("CHW",), "image"),
        ("vector", ((784,),), ("C",), "arrays"),
        ("Viewed", ((1, 28, 28),), ("CHW",), "image"),
        ("LeNet", ((3, 32, 32),), ("CHW",), "image"),
        ("Patches", PICTURE, ("CHW",), "image"),
        ("bands", ((13, 224, 224),), ("CHW",), "image"),
        ("atari", ((4, 84, 84),), ("CHW",), "image"),
        ("clip", ((3, 16, 224, 224),), ("CTHW",), "video"),
        ("scan", ((1, 16, 224, 224),), ("CTHW",), "video"),
        ("two_channels_of_volume", ((2, 16, 224, 224),), ("CTHW",), "video"),
        ("audio", ((1, 1024),), ("CW",), "arrays"),
        ("table", ((20,),), ("C",), "arrays"),
        ("generator", ((100, 1, 1),), ("CHW",), "image"),
        ("encoder", ((128, 32),), ("WC",), "arrays"),
        ("Last", ((128, 40),), ("WC",), "arrays"),
        ("Words", ((16,),), ("W",), "arrays"),
        ("Siamese", PICTURE * 2, ("CHW", "CHW"), "arrays"),
        ("Masked", ((3, 224, 224), (1, 224, 224)), ("CHW", "CHW"), "arrays"),
        ("Conditioned", ((3, 224, 224), (10,)), ("CHW", "C"), "arrays"),
        ("AtATime", ((3, 224, 224), ()), ("CHW", ""), "arrays"),
    ],
)
def test_what_a_network_takes_is_found_by_running(
    name: str, shapes: tuple[tuple[int, ...], ...], axes: tuple[str, ...], kind: str
) -> None:
    model = load_model(f"nets.py:{name}")
    assert model.takes is not None
    assert (model.takes.shapes, model.takes.axes, model.input_kind) == (shapes, axes, kind)
    assert model.takes.how == FOUND
    assert model.notes[0].startswith(f"input assumed: {model.takes.words} (found by running)")
    assert "--input-shape" in model.notes[0]
    if kind == "video":
        return  # what is written here is checked above: a clip of this size takes a second
    inputs = [
        torch.zeros((2, *shape), dtype=torch.int64 if whole else torch.float32)
        for shape, whole in zip(model.takes.shapes, model.takes.integers, strict=True)
    ]
    with torch.no_grad():
        assert len(model.module(*inputs)) == 2


@pytest.mark.parametrize("name", ["Focus", "HeadFirst", "GrayInside", "LeNet", "Viewed", "audio"])
def test_programs_are_asked_in_the_same_way(name: str, folder: Path) -> None:
    eager = load_model(f"nets.py:{name}")
    assert eager.takes is not None
    example = torch.zeros(1, *eager.takes.shapes[0])
    torch.jit.trace(eager.module, example).save(str(folder / "net.pt"))
    takes = load_model(str(folder / "net.pt")).takes
    assert takes is not None
    assert (takes.shapes, takes.axes) == (eager.takes.shapes, eager.takes.axes)


def test_the_users_size_and_channels_come_first() -> None:
    assert load_model("nets.py:flat", size=28).takes.shapes == ((1, 28, 28),)  # type: ignore[union-attr]
    assert load_model("nets.py:Focus", size=(32, 64)).takes.shapes == ((3, 32, 64),)  # type: ignore[union-attr]
    assert load_model("nets.py:Focus", size=32, mean=(0.1, 0.2, 0.3), std=(1.0,)).notes == ()


def test_a_shape_given_is_taken() -> None:
    model = load_model("nets.py:Focus", shapes=((3, 32, 64),))
    assert model.takes is not None
    assert (model.takes.shapes, model.takes.how) == (((3, 32, 64),), SAID)
    assert (model.preprocessing.resize, model.preprocessing.crop) == ((32, 64), (32, 64))
    assert load_model("nets.py:Words", shapes=((9,),)).takes.integers == (True,)  # type: ignore[union-attr]
    assert load_model("nets.py:scan", shapes=((1, 8, 20, 30),)).frames == 8
    assert load_model("nets.py:Last", shapes=((12, 40),)).takes.axes == ("WC",)  # type: ignore[union-attr]


def test_a_network_that_nothing_runs_on_is_given_a_picture_and_that_is_said() -> None:
    model = load_model("nets.py:Wrong")
    assert model.takes is not None
    assert (model.takes.shapes, model.takes.how) == (PICTURE, NOT_FOUND)
    assert NOT_FOUND in model.notes[0]


def test_looking_leaves_no_trace(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_rng_state()
    module: nn.Module = load_model("nets.py:Counting").module
    assert module.runs == 0
    assert module.ran == 0
    assert torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        (((1, 64, 64),), "takes 3,H,W, not input_shape 1,64,64"),
        (((3, 64, 64), (3, 64, 64)), "takes 3,H,W, not input_shape 3,64,64 input_shape 3,64,64"),
        (((100,),), "takes pictures"),
    ],
)
def test_a_model_with_a_name_takes_what_it_takes(shapes: tuple[tuple[int, ...], ...], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        load_model("squeezenet1_1", "random", shapes=shapes, initialise=False)


def test_a_model_with_a_name_is_fed_the_size_that_a_shape_says() -> None:
    assert load_model("squeezenet1_1", "random", shapes=((3, 64, 64),)).preprocessing.crop == (64, 64)
    clips = load_model("r3d_18", "random", shapes=((3, 8, 64, 64),), initialise=False)
    assert (clips.frames, clips.preprocessing.crop) == (8, (64, 64))
    assert load_model("raft_small", "random", shapes=((3, 128, 128),), initialise=False).preprocessing.resize == (
        128,
        128,
    )
