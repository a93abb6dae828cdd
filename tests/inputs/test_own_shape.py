"""Arrays for a network whose input's size was only assumed: they are given in their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import fmap_cli as fmap
from fmap_cli import errors


def signals(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv1d(channels, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 3))


def maps(channels: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))


@pytest.mark.parametrize(
    ("module", "held", "given"),
    [
        (signals(1), (1, 200), (1, 200)),
        (signals(1), (200,), (1, 200)),
        (signals(1), (1, 1, 200), (1, 200)),
        (signals(2), (2, 77), (2, 77)),
        (maps(4), (4, 40, 50), (4, 40, 50)),
        (maps(4), (40, 50, 4), (4, 40, 50)),
    ],
)
def test_an_array_of_another_length_is_given_as_it_is(
    tmp_path: Path, module: nn.Module, held: tuple[int, ...], given: tuple[int, ...]
) -> None:
    module.eval()
    array = np.random.default_rng(0).random(held, np.float32)
    np.save(tmp_path / "a.npy", array)
    planes = torch.from_numpy(array.transpose(2, 0, 1).copy() if held[-1] == 4 else array.reshape(given))
    first = next(module.children())
    wanted = first((planes if len(given) == 2 else (planes - 0.5) / 0.5)[None]).detach().numpy()
    found = fmap.feature_maps(module, str(tmp_path / "a.npy"), "0")
    assert np.allclose(found.arrays["0"].numpy(), wanted, atol=1e-5)


def test_an_array_that_the_network_does_not_run_on_is_named_by_its_shape(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 200), np.float32))
    with pytest.raises(errors.ImageError) as caught:
        fmap.feature_maps(signals(1), str(tmp_path / "a.npy"), "0")
    assert "an array of shape [2, 200], does not fit" in caught.value.message
    assert "does not run on this" in caught.value.message


def test_a_size_that_is_said_is_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.random.default_rng(0).random((4, 40, 50), np.float32))
    found = fmap.feature_maps(fmap.load_model(maps(4), size=32), str(tmp_path / "a.npy"), "0")
    assert tuple(found.arrays["0"].shape) == (1, 4, 30, 30)
