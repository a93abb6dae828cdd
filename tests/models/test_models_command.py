"""`fmap models`: everything that has a name, from metadata alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torchvision import models

Run = Callable[..., Any]


def test_all_of_torchvisions_models_and_the_embedded_one_are_listed(fmap: Run) -> None:
    ran = fmap("models", "--json")
    assert (ran.code, ran.err) == (0, "")
    rows = {row["name"]: row for row in ran.json["models"]}
    assert next(iter(rows)) == "efficientnet_lite0"
    assert set(models.list_models()) <= set(rows)
    assert ran.json["schema_version"] == 1


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_small", "fcn_resnet50", "r3d_18"])
def test_a_row_says_what_torchvisions_own_metadata_say(fmap: Run, name: str) -> None:
    row = fmap("models", name, "--json").json["models"]
    (row,) = [each for each in row if each["name"] == name]
    enum = models.get_model_weights(name)
    best = enum.DEFAULT  # type: ignore[attr-defined]
    assert row["weights"] == [entry.name for entry in enum]
    assert row["default_weights"] == best.name
    assert row["parameters"] == best.meta["num_params"]
    assert row["multiply_adds"] == pytest.approx(best.meta["_ops"] * 1e9, rel=1e-3)
    metrics = next(iter(best.meta["_metrics"].values()))
    assert row["accuracy"]["value"] in metrics.values()


def test_no_model_is_built(fmap: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def built(*_: object, **__: object) -> None:
        raise AssertionError("a network was built")

    monkeypatch.setattr(torch.nn.Conv2d, "__init__", built)
    assert fmap("models").code == 0
    fmap("layers").refused("a network was built")


@pytest.mark.parametrize(
    ("pattern", "names"), [("resnet1*", {"resnet18", "resnet101", "resnet152"}), ("T_B_32", {"vit_b_32"})]
)
def test_a_pattern_is_a_glob_or_a_part_of_a_name(fmap: Run, pattern: str, names: set[str]) -> None:
    rows = fmap("models", pattern, "--json").json["models"]
    assert {row["name"] for row in rows} == names
    assert f"{len(names)} model" in fmap("models", pattern).out


def test_no_match_is_answered_with_near_names(fmap: Run) -> None:
    fmap("models", "resnet19").refused("resnet19", "Did you mean", "resnet18")


def test_the_table_marks_the_default_weights(fmap: Run) -> None:
    line = next(line for line in fmap("models", "resnet50").out.splitlines() if line.startswith("resnet50 "))
    for word in ("25.6 M", "4.09 G", "224 × 224", "80.86", "IMAGENET1K_V1", "IMAGENET1K_V2*"):
        assert word in line
