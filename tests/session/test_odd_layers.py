"""Layers that put out what few networks do: each verb draws them, or says in words why it does not."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import fmap_cli as fmap


def some_constant(maps: Tensor) -> Tensor:
    maps = maps.clone()
    maps[:, 0], maps[:, 2, ::2] = 1, 1
    return maps


ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "all NaN": lambda maps: maps * torch.nan,
    "all -infinity": lambda maps: maps * 0 - torch.inf,
    "sparse": lambda maps: maps.to_sparse(),
    "one channel constant, one every second row": some_constant,
    "no rows": lambda maps: maps[:, :, :0],
    "no channels": lambda maps: maps[:, :0],
    "beyond float32": lambda maps: maps.double() * 1e200,
    "beyond what float64 squares": lambda maps: maps.double() * 1e300,
    "one value": lambda maps: maps[:, :1, :1, :1],
    "whole numbers": lambda maps: (maps * 9).to(torch.int16),
    "complex": lambda maps: maps + 1j,
}


class Odd(nn.Module):
    """An odd layer `p` beside the network's answer."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.p, self.last = nn.Conv2d(3, 4, 3, padding=1), Calls(function), nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        maps = self.conv(image)
        self.p(maps)
        answer: Tensor = self.last(maps.mean((2, 3)))
        return answer


class Calls(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, maps: Tensor) -> Tensor:
        return self.function(maps)


def quiet(_: str) -> None: ...


IMAGES = list(np.random.default_rng(0).integers(0, 256, (3, 40, 40, 3), np.uint8))
VERBS: dict[str, Callable[[Any], object]] = {
    "feature_maps": lambda net: fmap.feature_maps(net, IMAGES[0], "p", say=quiet).figure().image(),
    "reduce": lambda net: fmap.feature_maps(net, IMAGES[0], "p", reduce="mean", say=quiet).figure().image(),
    "stats": lambda net: fmap.stats(net, IMAGES, "p", say=quiet).figure().image(),
    "top": lambda net: fmap.top(net, IMAGES, "p", say=quiet).figure().image(),
    "embed": lambda net: fmap.embed(net, IMAGES, "p", say=quiet).document(),
    "compare": lambda net: fmap.compare(net, IMAGES[0], IMAGES[1], layer="p", say=quiet).document(),
    "receptive_fields": lambda net: fmap.receptive_fields(net, say=quiet).document(),
    "layers": lambda net: fmap.layers(net, say=quiet).document(),
    "effect": lambda net: fmap.effect(net, IMAGES[0], "p", say=quiet).figure().image(),
    "cam": lambda net: fmap.cam(net, IMAGES[0], "p", say=quiet).figure().image(),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("odd", ODD)
def test_a_verb_draws_an_odd_layer_or_says_why_not(odd: str, verb: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            assert VERBS[verb](Odd(ODD[odd]).eval()) is not None
        except fmap.errors.FmapError as error:
            assert len(str(error).splitlines()) <= 2
