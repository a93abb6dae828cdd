"""What is said beside the figures: of networks that chance decides in, and of blocks that cannot be computed again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fmap_cli.memory.forecast import forecast
from fmap_cli.memory.records import Forecast
from fmap_cli.memory.request import MemoryRequest
from fmap_cli.models.records import ModelRequest

BY_CHANCE = "forward differs from run to run"

NETWORK = """
import random
import torch
from torch import nn

class Block(nn.Sequential):
    pass

class Net(nn.Module):
    def __init__(self, draw=None):
        super().__init__()
        self.draw = draw
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        self.one, self.two = (
            Block(*(nn.Sequential(nn.Conv2d(64, 64, 3, padding=1), nn.Sigmoid()) for _ in range(3))) for _ in range(2)
        )
        self.head = nn.Linear(64, 4)

    def forward(self, image):
        maps = self.stem(image)
        if self.draw is not None:
            for _ in range(16):
                maps = maps.sigmoid() if self.draw() else maps.exp().sin()
        maps = self.two(self.one(maps))
        return self.head(maps.mean((2, 3)))

class Changing(Block):
    def forward(self, maps):
        if torch._C._current_autograd_node() is not None:  # in the backward pass it is nothing
            return maps
        return super().forward(maps)

def plain():
    return Net()

def by_torch():
    return Net(lambda: int(torch.randint(2, ())))

def by_python():
    return Net(lambda: random.randrange(2))

def fails():
    net = Net()
    net.one, net.two = Changing(*net.one), Changing(*net.two)
    return net

def fails_outside():
    net = Net()
    net.one, net.two = Changing(net.one, net.two), nn.Identity()
    return net
"""


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("remarks") / "networks.py"
    path.write_text(NETWORK)
    return path


def asked(file: Path, factory: str, **more: Any) -> Forecast:
    model = ModelRequest(f"{file}:{factory}")
    given = {"size": (16, 16), **more}
    return forecast(MemoryRequest(model, batch=2, modes=("train",), **given), lambda _: None)


@pytest.mark.parametrize("factory", ["by_torch", "by_python"])
def test_a_budget_for_a_network_of_chance_says_so(network_file: Path, factory: str) -> None:
    found = asked(network_file, factory, budget=30_000_000)
    assert sum(BY_CHANCE in note for note in found.notes) == 1
    assert found.largest[0].batch


def test_a_budget_for_any_other_says_nothing(network_file: Path) -> None:
    assert not asked(network_file, "plain", budget=30_000_000).notes


def test_mixed_precision_can_be_computed_again(network_file: Path) -> None:
    found = asked(network_file, "plain", checkpoint="auto", dtype="amp", size=(64, 64))
    assert found.checkpointed == ("one", "two")
    assert not found.notes


def test_blocks_that_cannot_be_computed_again_are_not_said_to_lower_nothing(network_file: Path) -> None:
    found = asked(network_file, "fails", checkpoint="auto")
    assert not found.checkpointed
    (note,) = found.notes
    assert note.startswith("no set of blocks can be computed again (one, two: ")
    assert "CheckpointError: " in note
    assert note.endswith(": nothing is checkpointed")
    (what_if,) = (each for each in asked(network_file, "fails", what_if=True).what_ifs if "checkpoint" in each.name)
    assert "CheckpointError" in (what_if.reason or "")


def test_a_set_of_blocks_that_cannot_be_computed_again_is_named(network_file: Path) -> None:
    found = asked(network_file, "fails_outside", checkpoint="auto", size=(64, 64))
    assert found.checkpointed == ("one.0", "one.1")
    (note,) = found.notes
    assert note.startswith("1 of 2 sets of blocks cannot be computed again (one: ")
