"""`fmap layers`: every layer of one pass, without weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torchvision import models
from torchvision.models.feature_extraction import get_graph_node_names

Run = Callable[..., Any]


def test_the_layers_of_resnet18_are_torchvisions_nodes_with_their_shapes_and_parameters(
    fmap: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetched(*_: object, **__: object) -> None:
        raise AssertionError("something was downloaded")

    monkeypatch.setattr("torch.hub.download_url_to_file", fetched)
    document = fmap("layers", "resnet18", "--json").json
    rows = {row["name"]: row for row in document["layers"]}
    network = models.resnet18().eval()
    nodes = get_graph_node_names(network)[1]
    assert [name for name in rows if name in nodes] == nodes
    assert document["parameters"] == sum(p.numel() for p in network.parameters())
    for name, row in rows.items():
        module = dict(network.named_modules()).get(name)
        if module is not None and name:
            assert row["parameters"] == sum(p.numel() for p in module.parameters()), name
            assert row["type"] == type(module).__name__
    assert rows["layer1.0.conv1"]["shape"] == [1, 64, 56, 56]
    assert rows["layer1.0.add"]["kind"] == "op"
    assert rows["fc"]["shape"] == [1, 1000]


def test_the_model_is_named_by_argument_or_option(fmap: Run, nets: str) -> None:
    named = fmap("layers", f"{nets}:inplace", "--size", 16, "--json")
    assert named.json["layers"] == fmap("layers", "-m", f"{nets}:inplace", "--size", 16, "--json").json["layers"]
    assert [row["name"] for row in named.json["layers"]][:4] == ["x", "conv1", "bn1", "relu"]
    assert fmap("layers", "--json").json["model"] == "efficientnet_lite0"


def test_shapes_are_those_of_the_asked_size(fmap: Run, nets: str) -> None:
    rows = fmap("layers", f"{nets}:inplace", "--size", "20,31", "--json").json["layers"]
    assert {row["name"]: row["shape"] for row in rows}["conv1"] == [1, 8, 18, 29]


def test_patterns_choose(fmap: Run) -> None:
    rows = fmap("layers", "resnet18", "--layer", "layer?.0.conv1", "-l", "fc", "--json").json["layers"]
    assert [row["name"] for row in rows] == [*(f"layer{at}.0.conv1" for at in (1, 2, 3, 4)), "fc"]
    ran = fmap("layers", "resnet18", "-l", "layer1.0.conv9")
    ran.refused("no layer 'layer1.0.conv9'", "Did you mean layer1.0.conv1")


def test_outputs_without_axes_are_listed(fmap: Run, nets: str) -> None:
    rows = fmap("layers", f"{nets}:flat", "--size", 16, "--json").json["layers"]
    shapes = {row["name"]: row["shape"] for row in rows}
    assert (shapes["two"], shapes["one"], shapes["none"]) == ([1, 4], [4], [])


def test_listing_changes_nothing_in_the_random_state(fmap: Run, nets: str) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fmap("layers", f"{nets}:inplace", "--size", 16)
    assert torch.equal(torch.rand(3), expected)


def test_at_a_depth_the_bars_are_those_of_the_containers_shown(fmap: Any) -> None:
    lines = fmap("layers", "--model", "resnet18", "--depth", "1").out.splitlines()
    bars = {line.split()[0]: line.count("█") for line in lines if line.startswith(("conv1", "layer", "fc"))}
    assert bars["layer1"] == max(bars.values()) == 8 and bars["fc"] == 0 < bars["conv1"] < bars["layer1"]
    whole = fmap("layers", "--model", "resnet18").out.splitlines()
    assert [line.count("█") for line in whole if line.split()[:1] == ["layer1"]] == [0]  # its parts are listed


@pytest.mark.parametrize("command", ["layers", "rf"])
def test_one_pass_tells_axes_fields_and_costs(fmap: Any, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    passes = []
    forward = models.ResNet.forward
    monkeypatch.setattr(models.ResNet, "forward", lambda self, images: passes.append(1) or forward(self, images))
    rows = fmap(command, "--model", "resnet18", "--json").json["layers"]
    added = next(row for row in rows if row["name"] == "layer1.0.add")
    assert len(passes) == 1
    assert added["axes"] == ["B", "C", "H", "W"] if command == "layers" else added["axes"][0]["size"] == 27
