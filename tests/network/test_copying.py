"""Copies of networks: what `copy.deepcopy` makes, attribute by attribute."""

from __future__ import annotations

import copy
from collections import OrderedDict
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fmap_cli.network.axes import meta_twin, twin_of
from fmap_cli.network.copying import copied


def _heard(*_told: Any) -> None:
    pass


class Odd(nn.Module):
    """Has what networks have beside layers: caches, buffers that share a storage, hooks, a way back to its parent."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding="same", padding_mode="circular")
        self.norm = nn.BatchNorm2d(4)
        self.twice = self.norm
        self.recurrent = nn.LSTM(4, 5)
        self.register_buffer("table", torch.arange(6.0))
        self.register_buffer("part", self.table[2:4])
        self.register_buffer("absent", None)
        self.cache: dict[str, Any] = {"seen": [torch.ones(2)], "none": {}}
        self.plain = torch.eye(2)
        self.same = self.cache["none"]
        self.owner = [self]
        self.counts = OrderedDict(a=1)
        self.conv.register_forward_hook(partial(_heard, self.cache))

    def forward(self, x: Tensor) -> Tensor:
        self.cache["seen"].append(x)
        self.norm.num_batches_tracked += 1
        return self.norm(self.conv(x))


class OwnWay(nn.Module):
    """Says itself how it is copied."""

    def __init__(self, made: str = "new") -> None:
        super().__init__()
        self.made = made

    def __deepcopy__(self, memo: dict[int, Any]) -> OwnWay:
        return OwnWay("copied")


def networks() -> list[nn.Module]:
    parametrised = nn.utils.parametrizations.weight_norm(nn.Conv2d(3, 4, 3))
    lazy = nn.Sequential(nn.LazyConv2d(3, 3))
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1)))
    traced = torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()))
    attention = nn.TransformerEncoderLayer(8, 2, batch_first=True)
    return [Odd(), nn.Sequential(Odd(), OwnWay(), nn.ReLU()), parametrised, lazy, scripted, traced, attention]


def same(one: Any, other: Any, met: dict[int, int]) -> None:
    """Asserts that two copies are made alike: types, values, and what in them is one object."""
    assert type(one).__name__ == type(other).__name__
    if isinstance(one, (nn.Module, Tensor, dict, list)):
        if id(one) in met:
            assert met[id(one)] == id(other)
            return
        met[id(one)] = id(other)
    if isinstance(one, Tensor):
        assert isinstance(one, nn.parameter.UninitializedTensorMixin) or torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for each in one:
            same(one[each], other[each], met)
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for mine, theirs in zip(one, other, strict=True):
            same(mine, theirs, met)
    elif isinstance(one, partial):
        same(one.args, other.args, met)
    elif isinstance(one, nn.Module):
        same(vars(one), vars(other), met)
    elif isinstance(one, (bool, int, float, str, set)):
        assert one == other


@pytest.mark.filterwarnings("ignore:.*torch.jit.*", "ignore:enable_nested_tensor", "ignore:Lazy modules")
@pytest.mark.parametrize("at", range(7))
def test_a_copy_is_that_of_the_standard_library(at: int) -> None:
    net = networks()[at]
    shared = {id(each): each for each in net.parameters()}
    if at == 3:
        shared = {}
    same(copied(net, dict(shared)), copy.deepcopy(net, dict(shared)), {})


def test_nothing_that_a_copy_writes_reaches_the_network() -> None:
    net = Odd().eval()
    before = copy.deepcopy(net)
    twin = twin_of(net)
    twin(torch.rand(1, 3, 5, 5))
    twin.table += 1
    twin.plain += 1
    twin.counts["a"] = 2
    twin.conv._forward_pre_hooks[0] = print
    twin.train()
    same(copy.deepcopy(net), before, {})
    assert twin.part.equal(torch.tensor([3.0, 4.0]))  # lies in `table`, as in the network
    assert twin.conv.weight is net.conv.weight


def test_a_copy_on_the_meta_device_has_no_tensor_elsewhere() -> None:
    twin = meta_twin(Odd())
    tensors = [*twin.parameters(), *twin.buffers(), twin.plain, twin.cache["seen"][0]]
    assert {each.device.type for each in tensors} == {"meta"}


def test_what_torch_compiles_a_call_to_stays_behind() -> None:
    net = nn.Sequential(nn.ReLU())
    net._compiled_call_impl = len  # what `net.compile()` leaves
    assert copied(net, {})._compiled_call_impl is None
