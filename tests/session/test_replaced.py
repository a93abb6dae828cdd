"""A session's answer with something else in a layer's place."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import fmap_cli as fmap
from fmap_cli.errors import ModelError
from fmap_cli.network.records import LayerRef
from fmap_cli.session.opening import read_image
from fmap_cli.session.passes import run, run_replaced

LAYER = LayerRef("1", "1", 0, "norm", "BatchNorm2d", is_module=True)


def opened(*more: nn.Module) -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), *more
    )
    session = fmap.load_model(net.requires_grad_(False), size=16, say=lambda _: None)
    return session, read_image(session, None, lambda _: None)


def test_the_gradient_for_what_goes_in_is_the_classifiers_weight_where_relu_lets_it_through() -> None:
    session, image = opened(nn.Linear(4, 2))
    kept: list[Tensor] = []

    def leaf(output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[0].clone()

    answer = run_replaced(session, image, LAYER, leaf, gradients=True)
    (gradient,) = torch.autograd.grad(answer[0, 1], kept[0])
    weight = session.model.module[5].weight[1].view(1, 4, 1, 1)
    assert torch.allclose(gradient, weight * (kept[0] > 0) / 14**2)
    assert torch.equal(run(session, image, lambda _: None), answer.detach())


def test_a_layer_that_does_not_run_again_is_an_error_in_words() -> None:
    session, image = opened()
    with pytest.raises(ModelError, match="ran without layer 'gone'"):
        run_replaced(session, image, LayerRef("gone", "gone", 0, "op", "add"), lambda output: output)


def test_a_fault_of_the_function_is_not_the_networks() -> None:
    session, image = opened()
    with pytest.raises(ZeroDivisionError):
        run_replaced(session, image, LAYER, lambda output: output / (1 // 0))
