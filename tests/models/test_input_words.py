"""What an input is called: a network on signals, vectors, tokens or volumes is told of those and not of pictures."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fmap_cli as fmap
from fmap_cli.drawing.scene import Text


def _head(channels: int, pool: nn.Module) -> list[nn.Module]:
    return [pool, nn.Flatten(), nn.Linear(channels, 2)]


class _Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.emb, self.conv, self.fc = nn.Embedding(20, 6), nn.Conv1d(6, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.conv(self.emb(x).transpose(1, 2)).mean(2))


NETS = {
    "signal": (
        lambda: nn.Sequential(nn.Conv1d(1, 4, 5, stride=2), *_head(4, nn.AdaptiveAvgPool1d(1))),
        (1, 64),
        "steps",
    ),
    "sequence": (_Tokens, (12,), "tokens"),
    "vector": (lambda: nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 2)), (20,), "values"),
    "volume": (lambda: nn.Sequential(nn.Conv3d(1, 4, 3), *_head(4, nn.AdaptiveAvgPool3d(1))), (1, 8, 16, 16), "voxels"),
    "clip": (lambda: nn.Sequential(nn.Conv3d(3, 4, 3), *_head(4, nn.AdaptiveAvgPool3d(1))), (3, 8, 16, 16), "pixels"),
    "image": (lambda: nn.Sequential(nn.Conv2d(4, 4, 3), *_head(4, nn.AdaptiveAvgPool2d(1))), (4, 16, 16), "pixels"),
}


@pytest.mark.parametrize("noun", NETS)
def test_an_input_and_its_places_have_their_own_names(noun: str, tmp_path: Path) -> None:
    make, shape, places = NETS[noun]
    model = fmap.load_model(make().eval(), input_shape=shape)
    fields = fmap.receptive_fields(model)
    assert f"In {places} of the input" in fields.table()
    others = {"signal", "sequence", "vector", "volume", "clip", "image"} - {noun}
    assert not any(f"whole {each}" in fields.table() for each in others)
    fields.figure().save(str(tmp_path / "growth.png"))  # also with one axis of places
    width, height = Image.open(tmp_path / "growth.png").size
    assert width > 500 and height > 500
    values = np.zeros(shape, np.int64) if noun == "sequence" else np.random.default_rng(0).random(shape, np.float32)
    np.save(tmp_path / "in.npy", values)
    look = fmap.feature_maps(model, str(tmp_path / "in.npy"))
    assert f"{noun}: " in " ".join(look.table().split())
    # Only an array that is read as a picture is resized and normalised.
    assert ("input: resize" in look.table()) == (noun == "image")
    run = fmap.stats(model, str(tmp_path / "in.npy"))
    assert f"1 {noun} from " in " ".join(run.table().split()) and ("input: resize" in run.table()) == (noun == "image")
    embedded = fmap.embed(model, [str(tmp_path / "in.npy")] * 2)
    assert any(line.split() == [noun, "dimension", "norm"] for line in embedded.table().splitlines())
    answers = fmap.predict(model, [str(tmp_path / "in.npy")] * 2)
    assert any(line.split()[:2] == [noun, "top"] for line in answers.table().splitlines())
    for table in (run.table(), embedded.table(), answers.table()):
        assert noun == "image" or "image" not in table


@pytest.mark.parametrize(("axes", "words"), [(1, "→ 1"), (2, "→ 1×1"), (3, "→ 1×1×1")])
def test_what_pools_to_one_place_has_as_many_sizes_as_the_map_has_axes(axes: int, words: str) -> None:
    conv, pool = getattr(nn, f"Conv{axes}d"), getattr(nn, f"AdaptiveAvgPool{axes}d")
    listing = fmap.layers(fmap.load_model(nn.Sequential(conv(1, 2, 3), pool(1)), input_shape=(1, *[8] * axes)))
    (row,) = [each for each in listing.table(200).splitlines() if "AdaptiveAvgPool" in each]
    assert f" {words} " in row


def test_a_volumes_fields_are_in_its_own_words_and_its_slice_keeps_its_size(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), *_head(4, nn.AdaptiveAvgPool3d(1)))
    model = fmap.load_model(net, input_shape=(1, 8, 16, 12))
    np.save(tmp_path / "in.npy", np.random.default_rng(0).random((1, 8, 16, 12), np.float32))
    unit = fmap.unit(model, str(tmp_path / "in.npy"), "0", at=(5, 7))
    assert unit.image.pixels.shape[:2] == (16, 12)  # 16 rows of a map are not made 32, as those of a strip are
    field = fmap.effective_field(model, [str(tmp_path / "in.npy")], "0")
    assert "slice 4, row 5, column 7" in unit.table() and "rows 4 to 6" in " ".join(unit.table().split())
    assert "90 % of what moves the unit is in 3 × 3 voxels" in " ".join(field.table().split())
    for result in (unit, field):
        words = " ".join(item.text for item in result.figure().scene.items if isinstance(item, Text))
        assert "3 × 3 voxels" in words.replace("\N{NO-BREAK SPACE}", " ")
        assert not re.search(r"\b(px|pixels?|images?|frames?)\b", words + result.table())


def test_a_whole_layer_of_a_volume_has_slices_and_its_array_was_not_resized(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), *_head(4, nn.AdaptiveAvgPool3d(1)))
    model = fmap.load_model(net, input_shape=(1, 8, 16, 16))
    np.save(tmp_path / "in.npy", np.random.default_rng(0).random((1, 8, 16, 16), np.float32))
    reduced = fmap.feature_maps(model, str(tmp_path / "in.npy"), "0", reduce="pca")
    drawn = " ".join(item.text for item in reduced.figure().scene.items if isinstance(item, Text))
    for words in (drawn, reduced.table(160)):
        assert "8 slices of 16 × 16" in words and "resize" not in words
    assert "volume: " in reduced.table(160)
