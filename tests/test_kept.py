"""What tests share is what each would have had of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import fmap_cli
from fmap_cli.models import load_model
from fmap_cli.models.preprocessing import InputOverrides
from fmap_cli.session import axes
from fmap_cli.session.opening import read_image


@pytest.mark.parametrize("name", ["squeezenet1_1", "shufflenet_v2_x0_5"])
def test_kept_weights_are_those_that_the_seed_draws(name: str, random_weights_drawn_once: Callable[..., Any]) -> None:
    drawn = random_weights_drawn_once(name, 7, InputOverrides(), True).module.state_dict()
    for _ in range(2):
        state = load_model(name, "random", seed=7).module.state_dict()
        assert list(state) == list(drawn)
        assert all(torch.equal(state[each], drawn[each]) for each in drawn)
        for tensor in state.values():
            tensor.zero_()  # the next one has a copy of its own


def test_the_embedded_weights_are_copies() -> None:
    weights = [load_model("efficientnet_lite0").module.state_dict()["classifier.1.weight"] for _ in range(2)]
    assert torch.equal(*weights)
    assert weights[0].data_ptr() != weights[1].data_ptr()


def test_kept_axes_are_those_that_are_followed(embedded_axes_followed_once: Callable[..., Any], samples: Path) -> None:
    session = fmap_cli.load_model(size=64, say=lambda _: None)
    image = read_image(session, str(samples / "coffee.png"), print)
    followed = embedded_axes_followed_once(session, image)
    assert [axes._follow_axes(session, image) for _ in range(2)] == [followed, followed]
    session.model.module.classifier = torch.nn.Identity()
    assert axes._follow_axes(session, image) == embedded_axes_followed_once(session, image) != followed
