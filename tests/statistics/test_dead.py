"""A channel is dead in the table, in JSON and CSV and in the findings, or in none of them."""

from __future__ import annotations

import csv
import io

import numpy as np
import torch
from torch import nn

import fmap_cli as fmap


def quietly(_sentence: str) -> None:
    pass


def shut(channels: tuple[int, ...]) -> nn.Module:
    """GELU(x) is exactly zero for x = -100; these channels of its input are that everywhere."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GELU(), nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        for channel in channels:
            net[0].weight[channel] = 0
            net[0].bias[channel] = -100.0  # type: ignore[index]
    return net


def test_a_zero_channel_of_a_gelu_is_dead_wherever_it_is_spoken_of() -> None:
    images = [np.random.default_rng(seed).integers(0, 256, (16, 16, 3), np.uint8) for seed in range(3)]
    model = fmap.load_model(shut((1,)), size=16, say=quietly)
    run = fmap.stats(model, images, say=quietly)
    (row,) = [each for each in run.document()["layers"] if each["name"] == "1"]
    assert row["dead_channels"] == 1
    (line,) = [each for each in csv.DictReader(io.StringIO(run.csv())) if each["name"] == "1"]
    assert line["dead_channels"] == "1"
    assert any("GELU" in each and "1/4" in each for each in run.table(120).splitlines())
    found = {each.check: each.channels for each in fmap.findings(run) if each.layer == "1"}
    assert found.get("dead-channels") == (1,)
    assert "constant-channels" not in found


def test_a_gelu_whose_channels_are_all_zero_is_dead_as_a_whole() -> None:
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    run = fmap.stats(fmap.load_model(shut((0, 1, 2, 3)), size=16, say=quietly), image, say=quietly)
    (row,) = [each for each in run.document()["layers"] if each["name"] == "1"]
    assert row["dead_channels"] == 4
    assert any("GELU" in each and "4/4" in each for each in run.table(120).splitlines())
    assert all(each.check != "constant-channels" for each in fmap.findings(run))


def test_a_layer_without_a_finite_value_has_neither_zeros_nor_dead_channels_and_flatten_has_none() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with torch.no_grad():
        net[0].weight[1], net[0].bias[1] = 0, -1
    picture = np.random.default_rng(0).integers(0, 255, (12, 12, 3), dtype=np.uint8)

    def layers() -> dict[str, dict]:
        document = fmap.stats(fmap.load_model(net, size=12, say=lambda _: None), picture).document()
        return {each["name"]: each for each in document["layers"]}

    found = layers()
    assert [found[at]["dead_channels"] for at in ("0", "1", "2", "3")] == [None, 1, None, None]
    with torch.no_grad():
        net[0].weight.fill_(float("nan"))
    found = layers()
    assert (found["1"]["zero_fraction"], found["1"]["mean"]) == (None, None)
    assert found["input"]["zero_fraction"] is not None
