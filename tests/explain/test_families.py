"""On every convolution and linear layer of whole networks the sum is the value that the network computed."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision_oracle import weights_laid_out

import fmap_cli as fmap
from fmap_cli.errors import LayerError
from fmap_cli.explain.asking import path_to_product
from fmap_cli.explain.tape import Tape
from fmap_cli.explain.unit import sum_of
from fmap_cli.network.capture import Sink, capture
from fmap_cli.network.records import LayerRef

SMALL = ("resnet18", "mobilenet_v3_small", "swin_t", "convnext_tiny")
FAMILIES: dict[str, tuple[int, ...]] = {
    **dict.fromkeys(("alexnet", "vgg11_bn", "resnext50_32x4d", "squeezenet1_1", "densenet121"), (3, 96, 96)),
    **dict.fromkeys(("mobilenet_v2", "mnasnet0_5", "shufflenet_v2_x0_5", "efficientnet_b0"), (3, 96, 96)),
    **dict.fromkeys(("efficientnet_v2_s", "regnet_y_400mf", "googlenet", "lraspp_mobilenet_v3_large"), (3, 96, 96)),
    **dict.fromkeys(("fcn_resnet50", "deeplabv3_mobilenet_v3_large"), (3, 96, 96)),
    **dict.fromkeys(("vit_b_32", "maxvit_t", "swin_v2_t"), (3, 224, 224)),
    "inception_v3": (3, 299, 299),
    "r3d_18": (3, 8, 64, 64),
}


def network(name: str) -> nn.Module:
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), weights_laid_out():
        warnings.simplefilter("ignore")
        torch.manual_seed(0)
        more: dict[str, Any] = {}
        if name.startswith(("fcn", "deeplab", "lraspp")):
            more["weights_backbone"] = None
        if name in ("googlenet", "inception_v3"):
            more["init_weights"] = False
        net: nn.Module = torchvision.models.get_model(name, weights=None, **more)
    return net


def walk(net: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> int:
    """Check three units of every layer with weights of its own: the one of largest magnitude, and two at random.

    The difference is measured by the magnitudes of all products that are added up, as rounding goes; of the
    largest unit by its value as well. Returns how many layers there were.
    """
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    generator = torch.Generator().manual_seed(1)
    image = torch.randn((1, *shape), generator=generator).to(dtype)
    tape = Tape(range(1_000_000))
    tape.start(image)

    def watch(layer: LayerRef) -> Sink:
        return lambda output: tape.show(layer, output)

    net = net.to(dtype)
    with tape, torch.no_grad():
        capture(net, (image,), watch, calls=tape.call)
    checked = 0
    for name, shown in tape.shown.items():
        if not (shown.layer.is_module and shown.layer.kind in ("conv", "linear")):
            continue
        if shown.value is None:  # a layer over constants, as Swin v2's positions
            with pytest.raises(LayerError, match="does not depend on the image"):
                path_to_product(tape, shown)
            continue
        _, operation = path_to_product(tape, shown)
        values = tape.values[shown.value].reshape(-1)
        largest = int(values.abs().argmax())
        for index in (largest, *torch.randint(values.numel(), (2,), generator=generator).tolist()):
            _, found, _ = sum_of(tape, operation, shown, index)
            magnitude = abs(found.patches * found.kernels).sum() + abs(found.bias)
            difference = abs(found.total - float(values[index]))
            assert difference <= tolerance * magnitude, (name, index, found.total, float(values[index]))
            if index == largest:
                assert difference <= tolerance * abs(float(values[index])), name
        checked += 1
    return checked


@pytest.mark.parametrize("name", SMALL)
def test_the_sum_is_the_value(name: str) -> None:
    assert walk(network(name), (3, 64, 64), torch.float32) > 20


@pytest.mark.parametrize("name", SMALL[:2])
def test_in_float64_the_sum_is_the_value_to_twelve_digits(name: str) -> None:
    assert walk(network(name), (3, 64, 64), torch.float64) > 20


def test_the_sum_is_the_value_in_the_trained_network() -> None:
    net = fmap.load_model(say=lambda _: None).model.module
    assert walk(net, (3, 96, 96), torch.float32) == 50


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", FAMILIES)
def test_the_sum_is_the_value_in_twenty_families(name: str, dtype: torch.dtype) -> None:
    assert walk(network(name), FAMILIES[name], dtype) >= 8
