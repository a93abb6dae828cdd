"""Networks of two pictures: each layer is drawn over the picture that it is made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Ran
from PIL import Image
from torch import nn

import fmap_cli as fmap
from fmap_cli.drawing.scene import Picture
from fmap_cli.maps.records import Drawing

NETS = """
import torch
from torch import nn

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.fc = nn.Linear(8, 2)

    def forward(self, a, b):
        both = torch.cat([self.left(a), self.right(b)], 1).relu()
        return self.fc(both.mean((2, 3)))

def two():
    return Two()
"""
SHAPES = ("--input-shape", "3,32,32", "--input-shape", "3,32,32")


@pytest.fixture
def pictures(workdir: Path) -> list[str]:
    """A red and a blue picture, and two more."""
    (workdir / "nets.py").write_text(NETS)
    colours = {"red.png": (200, 0, 0), "blue.png": (0, 0, 200), "green.png": (0, 200, 0), "gray.png": (90, 90, 90)}
    for name, colour in colours.items():
        Image.new("RGB", (32, 32), colour).save(workdir / name)
    return list(colours)


def photos(look: Any, layer: str) -> list[tuple[int, ...]]:
    """The colours of the photos on a layer's page, from above."""
    scene = look.figure(layer, Drawing()).scene
    found = [each for each in scene.items if isinstance(each, Picture) and each.pixels.shape[:2] == (32, 32)]
    return [tuple(int(value) for value in each.pixels[0, 0]) for each in found if np.ptp(each.pixels[..., 0]) == 0]


def test_a_layer_stands_beside_the_pictures_that_it_is_made_of(pictures: list[str]) -> None:
    namespace: dict[str, Any] = {}
    exec(NETS, namespace)
    torch.manual_seed(0)
    session = fmap.load_model(namespace["two"](), input_shape=[(3, 32, 32), (3, 32, 32)], say=lambda _: None)
    look = fmap.feature_maps(session, pictures[:2], ["left", "right", "cat"], say=lambda _: None)
    red, blue = (200, 0, 0), (0, 0, 200)
    assert [photos(look, layer)[-n:] for layer, n in (("left", 1), ("right", 1), ("cat", 2))] == [
        [red],
        [blue],
        [red, blue],
    ]
    alone = fmap.feature_maps(session, pictures[0], ["cat"], say=lambda _: None)  # it stands for both
    assert alone.maps[0].pictures == ()


def test_what_is_made_of_both_is_laid_over_neither(fmap: Callable[..., Ran], pictures: list[str]) -> None:
    model = ("--model", "nets.py:two", *SHAPES)
    ran = fmap("show", *pictures[:2], *model, "--layer", "cat", "--overlay", "-o", "cat.png")
    assert ran.code == 0
    assert "cat is made of red.png and blue.png: laid over neither of them" in ran.err
    assert "laid over" not in fmap("show", *pictures[:2], *model, "--layer", "right", "--overlay", "-o", "r.png").err
    fmap("rf", *pictures[:2], *model, "--layer", "cat", "--at", "max").refused("'cat' is made of 2 pictures")
    assert fmap("rf", *pictures[:2], *model, "--layer", "right", "--at", "max").code == 0
    said = fmap("explain", *pictures[:2], *model, "--layer", "right").out
    assert "the input b, blue.png, as the network gets it" in said


def test_compare_takes_the_inputs_of_either_side(fmap: Callable[..., Ran], pictures: list[str]) -> None:
    model = ("--model", "nets.py:two", *SHAPES)
    fmap("compare", *pictures[:2], *model).refused("Give 4, A's 2 and then B's")
    ran = fmap("compare", "red.png", "blue.png", "red.png", "green.png", *model, "--json")
    rows = {row["name"]: row["max_abs"] for row in ran.json["layers"]}
    assert rows["left"] == 0 < rows["right"]
    assert "input [1, 3, 32, 32] and [1, 3, 32, 32]" in fmap("layers", *model).out


def test_descent_holds_for_writes_in_place_and_views() -> None:
    from fmap_cli.network.descent import Descent

    class Writes(nn.Module):
        def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            held = torch.zeros(2, 4)
            held[0].copy_(a)
            view = b.view(2, 2)
            return held.mul_(2), view.add_(1)

    descent, a, b = Descent(), torch.ones(4), torch.ones(4)
    descent.start(a, 0)
    descent.start(b, 1)
    with descent:
        of_a, of_b = Writes()(a, b)
    assert (descent.inputs_of(of_a), descent.inputs_of(of_b)) == ({0}, {1})


def test_a_signal_of_another_length_is_told_the_option_that_takes_it(fmap: Callable[..., Ran], workdir: Path) -> None:
    (workdir / "nets.py").write_text(
        "from torch import nn\nnet = nn.Sequential(nn.Conv1d(1, 4, 9), nn.AdaptiveAvgPool1d(1), nn.Flatten())\n"
    )
    np.save(workdir / "sound.npy", np.zeros((1, 4000), np.float32))
    model = ("--model", "nets.py:net", "--layer", "0")
    fmap("show", "sound.npy", *model, "--input-shape", "1,3000").refused("[1, 3000]", "--input-shape 1,4000")
    assert fmap("show", "sound.npy", *model, "--input-shape", "1,4000", "-o", "out.png").code == 0


def test_the_picture_of_a_volume_says_which_slice_it_is(workdir: Path) -> None:
    net = nn.Sequential(nn.Conv3d(1, 2, 3), nn.AdaptiveAvgPool3d(1), nn.Flatten())
    session = fmap.load_model(net, input_shape=(1, 16, 9, 9), say=lambda _: None)
    np.save(workdir / "volume.npy", np.arange(16, dtype=np.float32)[None, :, None, None] * np.ones((1, 16, 9, 9)))
    image = fmap.feature_maps(session, "volume.npy", ["0"], say=lambda _: None).image
    assert image.caption == "what the network was given, [1, 16, 9, 9]: slice 9 of 16"
