"""Sizes that a network runs on, near one that it fails on: each that is named is run by torch itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

import fmap_cli as fmap
from fmap_cli.commands.group import group
from fmap_cli.errors import ModelError
from fmap_cli.models import load_model
from fmap_cli.models.nearest import nearest
from fmap_cli.session import passes

NETS = """
import torch
from torch import nn
from torch.nn import functional as F

class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 32, 3, padding=1)
        self.fc = nn.Linear(32 * 7 * 7, 10)
    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        return self.fc(F.max_pool2d(F.relu(self.conv2(x)), 2).flatten(1))

class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down = nn.ModuleList([nn.Conv2d(3, 4, 3, padding=1), *(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))])
        self.up = nn.ModuleList(nn.ConvTranspose2d(4, 4, 2, 2) for _ in range(3))
    def forward(self, x):
        kept = []
        for conv in self.down:
            x = conv(x) if not kept else conv(F.max_pool2d(x, 2))
            kept.append(x)
        for up, skip in zip(self.up, kept[-2::-1]):
            x = up(x) + skip
        return x

class Vector(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 5))
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    (tmp_path / "nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    home: dict[str, Any] = {}
    exec(NETS, home)
    return home


def runs(net: nn.Module, *shape: int) -> bool:
    try:
        with torch.no_grad():
            net.eval()(torch.zeros(1, *shape))
    except RuntimeError:
        return False
    return True


def refusal(*arguments: str) -> ModelError:
    done = CliRunner().invoke(group, [str(each) for each in arguments])
    assert isinstance(done.exception, ModelError), done.output
    return done.exception


# --- The search ----------------------------------------------------------------------------------------------


@given(st.integers(2, 40), st.integers(20, 600), st.integers(20, 600))
@settings(max_examples=60, deadline=None)
def test_sizes_that_are_named_run_and_so_do_multiples(step: int, height: int, width: int) -> None:
    def works(size: tuple[int, int]) -> bool:
        return size[0] % step == 0 and size[1] % step == 0

    if works((height, width)):
        return
    found = nearest(works, (height, width))
    assert all(map(works, found.sizes))
    assert found.multiple in (None, step)


@given(st.integers(9, 300), st.data())
@settings(max_examples=60, deadline=None)
def test_the_smallest_size_is_found(least: int, data: st.DataObject) -> None:
    side = data.draw(st.integers(1, least - 1))
    found = nearest(lambda size: min(size) >= least, (side, side))
    assert (found.below, found.above, found.multiple) == (None, (least, least), None)


def test_where_nothing_runs_nothing_is_named() -> None:
    assert nearest(lambda size: False, (100, 100)).sizes == []


# --- Networks of one's own -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        ["show", "PHOTO"],
        ["layers"],
        ["rf"],
        ["stats", "PHOTO"],
        ["predict", "PHOTO"],
        ["embed", "PHOTO"],
        ["memory"],
        ["compare", "PHOTO", "--vs-dtype", "bfloat16"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_names_the_size_of_a_network_with_a_linear_layer(
    nets: dict[str, Any], samples: Path, command: list[str]
) -> None:
    net = nets["Digits"]()
    assert runs(net, 1, 28, 28)
    assert not runs(net, 1, 224, 224)
    if command[0] == "memory":  # runs apart, where nothing can be seen of the error's class
        with pytest.raises(ModelError) as caught:
            fmap.memory("nets.py:Digits", size=224)
        error = caught.value
    else:
        error = refusal(
            *(str(samples / "coffee.png") if each == "PHOTO" else each for each in command),
            "--model",
            "nets.py:Digits",
            "--size",
            "224",
        )
    assert error.message.startswith("nets.py:Digits does not run on pictures of 224×224: RuntimeError: ")
    assert error.hint == "It runs on 28×28: `--size 28`."


def test_multiples_are_named_as_what_they_are(nets: dict[str, Any]) -> None:
    net = nets["UNet"]()
    assert [side for side in range(240, 260) if runs(net, 3, side, side)] == [240, 248, 256]
    error = refusal("layers", "nets.py:UNet", "--size", "250")
    assert error.hint == "Height and width have to be multiples of 8: `--size 248` or `--size 256`."
    error = refusal("layers", "nets.py:UNet", "--size", "250,100")
    sizes = [tuple(map(int, each)) for each in re.findall(r"--size (\d+),(\d+)", str(error.hint))]
    assert sizes == [(248, 96), (256, 104)]
    assert all(runs(net, 3, *each) for each in sizes)


@pytest.mark.parametrize(
    ("net", "shape", "hint"),
    [
        ("UNet", "3,250,250", "multiples of 8: `--input-shape 3,248,248` or `--input-shape 3,256,256`."),
        ("Digits", "1,224,224", "It runs on 28×28: `--input-shape 1,28,28`."),
        ("Digits", "3,28,28", "It runs on [1, 1, 28, 28]: `--input-shape 1,28,28`."),
        ("Vector", "30", "It runs on [1, 20]: `--input-shape 20`."),
    ],
)
def test_a_shape_that_does_not_run_is_answered_with_one_that_does(
    nets: dict[str, Any], net: str, shape: str, hint: str
) -> None:
    error = refusal("layers", f"nets.py:{net}", "--input-shape", shape)
    assert str(error.hint).endswith(hint)
    for named in re.findall(r"--input-shape ([\d,]+)", hint):
        assert runs(nets[net](), *map(int, named.split(",")))


def test_a_live_module_is_answered_in_the_same_way(nets: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="Digits does not run on pictures of 32×32") as caught:
        fmap.load_model(nets["Digits"](), size=32, say=lambda sentence: None)
    assert str(caught.value).splitlines()[1] == "It runs on 28×28: `size=28`."
    shape = fmap.load_model(nets["Digits"](), input_shape=(1, 32, 32), say=lambda sentence: None)
    with pytest.raises(ModelError) as caught:
        fmap.layers(shape)
    assert str(caught.value).splitlines()[1] == "It runs on 28×28: `input_shape=(1, 28, 28)`."


def test_a_size_that_a_network_takes_is_as_it_was(nets: dict[str, Any]) -> None:
    assert load_model("nets.py:UNet", size=256).preprocessing.crop == (256, 256)


def test_sizes_are_looked_for_once_for_many_images(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    advice = passes.advice
    monkeypatch.setattr(passes, "advice", lambda *given: asked.append(given) or advice(*given))
    refusal("stats", str(samples), "--model", "alexnet", "--weights", "random", "--size", "60", "--batch", "1")
    assert len(asked) == 1


# --- Networks with names --------------------------------------------------------------------------------------


def test_the_smallest_input_of_a_named_network_is_found() -> None:
    import torchvision

    net = torchvision.models.alexnet()
    assert not runs(net, 3, 62, 62)
    assert runs(net, 3, 63, 63)
    assert refusal("layers", "alexnet", "--size", "32").hint == "It runs on 63×63: `--size 63`."


def test_a_network_that_is_built_for_one_size_names_those_it_can_be_built_for() -> None:
    error = refusal("layers", "vit_b_32", "--size", "50")
    assert error.message.startswith("torchvision cannot build vit_b_32: ")
    assert error.hint == "Height and width have to be multiples of 32: `--size 32` or `--size 64`."


def test_what_is_not_about_the_shape_is_not_answered_with_one() -> None:
    class Failing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if F.relu(x).sum() > 0:
                raise RuntimeError("not today")
            return self.conv(x)

    with pytest.raises(ModelError, match="not today") as caught:
        fmap.stats(fmap.load_model(Failing(), size=32, say=lambda sentence: None), say=lambda sentence: None)
    assert "It runs on" not in str(caught.value)
    assert "dtype float32" in str(caught.value)
