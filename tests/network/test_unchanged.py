"""What was found out about a network is kept as long as it is what it was, and no longer."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fmap_cli as fmap
from fmap_cli.models import probing
from fmap_cli.network.unchanged import remembered


class Settings:
    def __init__(self) -> None:
        self.pool = 2
        self.steps = [1, 2]


class Net(nn.Module):
    """Has something of all that a forward may go by."""

    width = 3
    table = {"a": [1]}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.settings = Settings()
        self.names = {"first": ["conv"], "rest": {"norm"}}
        self.act: Callable[[Tensor], Tensor] = partial(nn.functional.leaky_relu, negative_slope=0.1)
        self.register_buffer("flag", torch.tensor(1.0))
        self.hidden = [nn.Linear(2, 2)]

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return self.act(nn.functional.avg_pool2d(x, self.settings.pool))


def other_forward(self: Net, x: Tensor) -> Tensor:
    return self.conv(x)


def _hook(seen: list[int]) -> Callable[..., None]:
    def hook(*_told: Any) -> None:
        seen.append(1)

    return hook


CHANGES: dict[str, Callable[[Net], Any]] = {
    "a training step": lambda net: torch.optim.SGD(net.parameters(), 0.1).step(_with_gradients(net)),
    "loaded weights": lambda net: net.load_state_dict(Net().state_dict()),
    "other weights": lambda net: setattr(net.conv.weight, "data", torch.zeros(4, 3, 3, 3)),
    "the number format": lambda net: net.half(),
    "training mode": lambda net: net.train(not net.training),
    "the mode of one layer": lambda net: net.norm.train(not net.norm.training),
    "another layer": lambda net: setattr(net, "conv", nn.Conv2d(3, 4, 5)),
    "one more layer": lambda net: net.add_module("more", nn.ReLU()),
    "no layer": lambda net: setattr(net, "norm", nn.Identity()),
    "a number": lambda net: setattr(net.conv, "stride", (2, 2)),
    "an attribute": lambda net: setattr(net, "note", None),
    "an object": lambda net: setattr(net.settings, "pool", 3),
    "a list in an object": lambda net: net.settings.steps.append(3),
    "a list in a dictionary": lambda net: net.names["first"].append("norm"),
    "a set": lambda net: net.names["rest"].add("more"),
    "a function": lambda net: setattr(net, "act", torch.relu),
    "what a function is given": lambda net: net.act.keywords.update(negative_slope=0.2),  # type: ignore[attr-defined]
    "a counter": lambda net: net.flag.data.add_(1),
    "a layer in a list": lambda net: net.hidden.append(nn.Linear(2, 2)),
    "a forward of its own": lambda net: setattr(net, "forward", partial(other_forward, net)),
    "a hook": lambda net: net.conv.register_forward_hook(_hook([])),
    "what a hook has seen": lambda net: net(torch.zeros(1, 3, 9, 9)),
    "a class": lambda net: setattr(net, "__class__", type("Other", (Net,), {})),
}


def _with_gradients(net: Net) -> Callable[[], None]:
    net.conv.weight.grad = torch.ones_like(net.conv.weight)
    return lambda: None


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_found_out_again(change: str) -> None:
    net = Net()
    if change == "what a hook has seen":
        net.eval().norm.register_forward_hook(_hook([]))
    answers = iter(range(9))
    assert [remembered(net, "key", lambda: next(answers)) for _ in range(3)] == [0, 0, 0]
    CHANGES[change](net)
    assert [remembered(net, "key", lambda: next(answers)) for _ in range(2)] == [1, 1]


def test_what_stands_in_a_class_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    net, answers = Net(), iter(range(9))
    assert remembered(net, "key", lambda: next(answers)) == 0
    for name, value in (("forward", other_forward), ("width", 4), ("table", {"a": [1, 2]})):
        monkeypatch.setattr(Net, name, value)
        before = remembered(net, "other key", lambda: next(answers))
        assert remembered(net, "other key", lambda: next(answers)) == before
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: x)
    assert remembered(net, "key", lambda: next(answers)) == 4
    assert remembered(net, "key", lambda: next(answers)) == 4


def test_what_two_keys_ask_is_kept_apart() -> None:
    net = Net()
    assert [remembered(net, key, lambda key=key: key) for key in ("a", ("b", 1), "a")] == ["a", ("b", 1), "a"]


@pytest.mark.parametrize(
    "unseen",
    [np.zeros(2), threading.Lock(), iter([1]), SimpleNamespace(a=1), torch.zeros(2).to_sparse()],
    ids=lambda value: type(value).__name__,
)
def test_of_what_cannot_be_looked_through_nothing_is_kept(unseen: Any) -> None:
    net, answers = Net(), iter(range(9))
    net.unseen = [unseen]  # type: ignore[assignment, list-item]
    assert [remembered(net, "key", lambda: next(answers)) for _ in range(2)] == [0, 1]


def test_nothing_keeps_the_network_alive() -> None:
    net = Net()
    net.hook = _hook([net])  # type: ignore[assignment, list-item]
    net.bound = net.forward
    remembered(net, "key", lambda: 1)
    gone = weakref.ref(net)
    del net
    gc.collect()
    assert gone() is None


class Switched(nn.Module):
    """Takes gray pictures or coloured ones, and has places or none, by its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.last_axis = False

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x.permute(0, 2, 3, 1).relu() if self.last_axis else x.relu()


def _seen(net: nn.Module) -> list[Any]:
    rows = fmap.layers(net, say=lambda _: None).layers
    return [(row.layer.name, row.shape, row.axes.names, row.layer.parameters) for row in rows]


def test_a_verb_sees_the_network_as_it_is_now() -> None:
    net = Switched().eval()
    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: setattr(net, "last_axis", True),
        lambda: setattr(net, "conv", nn.Conv2d(1, 6, 3)),
        lambda: setattr(net, "last_axis", False),
        lambda: setattr(net.conv, "stride", (2, 2)),
    ]
    for change in changes:
        change()
        assert _seen(net) == _seen(net) == _seen(copy.deepcopy(net))  # of the copy nothing is known yet


def test_a_network_in_hand_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    run = probing._Search.run
    monkeypatch.setattr(probing._Search, "run", lambda *each: tries.append(each) or run(*each))
    net = Switched().eval()
    _seen(net)
    first = len(tries)
    fmap.stats(net, torch.rand(3, 224, 224), say=lambda _: None)
    assert len(tries) == first > 0
    net.conv.weight.data = net.conv.weight.data * 2
    _seen(net)
    assert len(tries) == 2 * first


class ByValues(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.more = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        return self.more(y) if x.max() > 0.9 else y


def test_what_goes_by_the_picture_is_found_out_for_each() -> None:
    net = fmap.load_model(ByValues(), mean=0.0, std=1.0, say=lambda _: None)
    listed = {}
    for value in (0.0, 1.0, 0.0):
        found = fmap.layers(net, image=torch.full((3, 224, 224), value), say=lambda _: None)
        assert found.notes
        listed[value] = [row.layer.name for row in found.layers]
        assert ("more" in listed[value]) == (value == 1.0)
