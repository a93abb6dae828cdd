"""`fmap attention` as a command: what it prints, writes and refuses."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, Ran
from pages import faults, texts

import fmap_cli as fmap_package

Run = Callable[..., Ran]
HEADS = ["--model", str(ROOT / "tests" / "attention" / "vits.py") + ":vit"]
COFFEE = str(ROOT / "sample_images" / "coffee.png")


def test_it_says_what_it_looked_at_and_writes_the_figure_and_the_weights(fmap: Run, tmp_path: Path) -> None:
    ran = fmap("attention", COFFEE, *HEADS, "-o", str(tmp_path / "a.png"), "--save", str(tmp_path / "a.npz"))
    assert ran.code == 0
    assert "encoder.layers.encoder_layer_1.self_attention  4 heads, 17 queries × 17 keys" in ran.out
    assert "The class token." in ran.out
    assert (tmp_path / "a.png").stat().st_size > 10_000
    arrays = np.load(tmp_path / "a.npz")
    name = "encoder.layers.encoder_layer_1.self_attention"
    assert arrays[name].shape == (1, 4, 17, 17)
    np.testing.assert_allclose(arrays[name].sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(arrays[f"{name}.maps"].reshape(4, 16), arrays[name][0, :, 0, 1:])


def test_json_and_csv_have_a_row_a_head(fmap: Run, tmp_path: Path) -> None:
    every = ["attention", COFFEE, *HEADS, "--layer", "encoder", "--at", "1,2", "--out-dir", str(tmp_path)]
    document = fmap(*every, "--json").json
    assert [len(each["heads"]) for each in document["layers"]] == [4, 4]
    assert document["layers"][0]["query"]["pixels"] == [23.5, 39.5]
    rows = list(csv.DictReader(io.StringIO(fmap(*every, "--csv").out)))
    assert [row["head"] for row in rows] == [*"0123"] * 2
    want = [head["entropy"] for layer in document["layers"] for head in layer["heads"]]
    assert [float(row["entropy"]) for row in rows] == pytest.approx(want, rel=1e-4)
    assert len(list(tmp_path.glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("given", "says", "code"),
    [
        (["--layer", "conv_proj"], "no attention call ran in a layer 'conv_proj'", 1),
        (["--at", "9,9"], "--at takes rows 0 to 3, columns 0 to 3", 1),
        (["--at", "left"], "'left' is not a cell", 2),
        (["--layer", "encoder", "-o", "x.png"], "2 layers match: use --out-dir", 2),
    ],
)
def test_what_cannot_be_is_one_or_two_lines(fmap: Run, given: list[str], says: str, code: int) -> None:
    ran = fmap("attention", COFFEE, *HEADS, *given)
    ran.refused(says, code=code)


def test_a_network_of_convolutions_has_none(fmap: Run) -> None:
    ran = fmap("attention", COFFEE)
    ran.refused("no attention call ran in", "rf --effective")


@pytest.mark.parametrize("asked", [{}, {"at": (1, 2)}, {"at": "mean"}, {"rollout": True}])
def test_a_page_has_all_words_within_it(asked: dict[str, Any]) -> None:
    found = fmap_package.attention(HEADS[1], COFFEE, **asked, say=lambda _: None)
    scene = found.figure().scene
    assert faults(scene) == []
    assert not [each for each in texts(scene) if each.endswith("…")], "what is said under the title is whole"
    words = " ".join(texts(scene))
    numbers = found.layers[0].numbers
    one = asked.get("at") != "mean" and "rollout" not in asked  # else the means over all queries
    for entropy in numbers.own_entropy if one else numbers.entropy:
        assert f"{entropy:.2f} bits" in words
