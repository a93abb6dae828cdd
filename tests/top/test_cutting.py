"""Patches are the same whichever way they are held, joined, chosen among, written and read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import Tensor, nn

import fmap_cli as fmap
from fmap_cli.top.cutting import AS_IT_IS, CUT, Cutting, Patches
from fmap_cli.top.figure import _title
from fmap_cli.top.merging import merge_dossiers
from fmap_cli.top.records import Dossiers, Patch
from fmap_cli.top.saved import load_dossiers


def quiet(_: str) -> None: ...


def picture(seed: int, high: int = 40, wide: int = 30) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (high, wide, 3), dtype=np.uint8)


def units_at(boxes: np.ndarray, layer: int = 0, image: int = 0) -> np.ndarray:
    """Units of channels 0, 1, …, each with its box."""
    units = np.zeros((len(boxes), 7), np.int32)
    units[:, 0], units[:, 1], units[:, 2], units[:, 6] = layer, np.arange(len(boxes)), image, boxes
    return units


def alike(one: Patch, other: Patch) -> bool:
    first, second = ((each.rows, each.columns, each.size, each.whole) for each in (one, other))
    return first == second and np.array_equal(one.pixels, other.pixels)


@pytest.mark.parametrize("count", [3, 200])
def test_a_patch_is_its_rows_and_columns_however_it_is_held(count: int) -> None:
    pixels = picture(0)
    random = np.random.default_rng(1)
    first = random.integers(-9, 25, (count, 2))
    none = np.zeros(count, np.int64)
    spans = np.stack([first[:, 0], first[:, 0] + 8, first[:, 1], first[:, 1] + 5, none, none], axis=1)
    cutting = Cutting()
    patches = cutting.patches({"a": 0}, units_at(cutting.cut(pixels, spans)))
    assert set(patches.boxes[:, 7]) == ({AS_IT_IS} if count == 3 else {CUT})
    assert patches.nbytes - patches.units.nbytes - patches.boxes.nbytes <= pixels.nbytes
    around = np.pad(pixels, ((50, 50), (50, 50), (0, 0)), constant_values=160)
    for channel, (top, bottom, left, right, *_) in enumerate(spans.tolist()):
        patch = patches["a", channel, 0, 0, 0, 0]
        crop = around[top + 50 : bottom + 51, left + 50 : right + 51]
        assert alike(patch, Patch((top, bottom), (left, right), (40, 30), crop))
    assert len(patches) == count == len(list(patches)) and ("b", 0, 0, 0, 0, 0) not in patches


def test_large_fields_and_pictures_are_held_in_small() -> None:
    pixels = picture(2, 300, 200)
    spans = np.array([[0, 127, 10, 73, 4, 5], [-5, 320, -5, 320, 4, 5]])
    cutting = Cutting()
    few = cutting.patches({"a": 0}, units_at(cutting.cut(pixels, spans)))
    expected = (
        Image.fromarray(pixels[:128, 10:74]).resize((32, 64), Image.Resampling.BOX),
        Image.fromarray(pixels).resize((75, 112), Image.Resampling.BOX),
    )
    for channel in (0, 1):
        patch = few["a", channel, 0, 0, 0, 0]
        assert (
            patch.cells == (4, 5)
            and patch.whole == (channel == 1)
            and np.array_equal(patch.pixels, np.asarray(expected[channel]))
        )


def test_joined_patches_keep_layers_apart_that_share_a_tensor_on_one_side_only() -> None:
    def made(seed: int, layers: dict[str, int]) -> Patches:
        cutting = Cutting()
        boxes = cutting.cut(picture(seed), np.array([[0, 4, 0, 4, 0, 0], [3, 9, 3, 9, 0, 0]]))
        units = [units_at(boxes[::-1] if number else boxes, number) for number in sorted({*layers.values()})]
        return cutting.patches(layers, np.concatenate(units))

    one, other = made(1, {"block": 0, "block.relu": 0}), made(2, {"block": 0, "block.relu": 1, "more": 1})
    for both, (first, second) in ((one.joined(other, 10), (one, other)), (other.joined(one, 10), (other, one))):
        assert {*both} == {*first} | {(name, channel, 10, *place) for name, channel, _, *place in second}
        for name, channel, number, *place in both:
            side = first if number == 0 else second
            assert alike(both[name, channel, number, *place], side[name, channel, 0, *place])
        asked = {name: at for at, name in enumerate(both.layers)}
        wanted = np.array([(asked["block.relu"], 1, 10, 0, 0, 0), (asked["block"], 1, 10, 0, 0, 7)], np.int32)
        kept = both.only({"block.relu": [0, 1]}).of(asked, wanted)
        assert list(kept) == [("block.relu", 1, 10, 0, 0, 0)] and len(kept.pixels) == 1
        assert alike(kept["block.relu", 1, 10, 0, 0, 0], second["block.relu", 1, 0, 0, 0, 0])


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.relu = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.relu(self.conv(images))
        return found


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Dossiers:
    folder = tmp_path_factory.mktemp("photos")
    for at in range(6):
        Image.fromarray(picture(at, 20, 20)).save(folder / f"{at}.png")
    torch.manual_seed(0)
    session = fmap.load_model(nn.Sequential(Block(), nn.Conv2d(4, 5, 3)).eval(), size=20, mean=0, std=1, say=quiet)
    return fmap.top(session, folder, "*", workers=0, say=quiet)


def same(one: Dossiers, other: Dossiers) -> bool:
    return {*one.patches} == {*other.patches} and all(
        alike(one.patches[key], other.patches[key]) for key in one.patches
    )


def test_layers_of_one_tensor_are_written_once(found: Dossiers, tmp_path: Path) -> None:
    found.save(tmp_path / "d.fmap")
    names = [each.layer.name for each in found.layers]
    assert found["0"].found is found["0.relu"].found and names.index("0.relu") < names.index("0")
    written = load_file(tmp_path / "d.fmap")
    assert f"{names.index('0.relu')}.fired" in written and f"{names.index('0')}.fired" not in written
    loaded = load_dossiers(tmp_path / "d.fmap")
    assert loaded["0"].found is loaded["0.relu"].found and same(loaded, found)
    merged = merge_dossiers([("a", loaded), ("b", replace(loaded, images=5))])
    assert merged["0"].found is merged["0.relu"].found and merged["0.conv"].found is not merged["0"].found


def test_some_layers_and_channels_alone_are_saved_with_their_patches(found: Dossiers, tmp_path: Path) -> None:
    assert [each.layer.name for each in found.only("0.relu").layers] == ["0.relu"]
    part = found.only(["1", "0.relu"], [1, 3])
    part.save(tmp_path / "part.fmap")
    loaded = load_dossiers(tmp_path / "part.fmap")
    assert [each.layer.name for each in loaded.layers] == [each.layer.name for each in part.layers]
    assert {(key[0], key[1]) for key in loaded.patches} == {(name, at) for name in ("1", "0.relu") for at in (1, 3)}
    assert all(alike(loaded.patches[key], found.patches[key]) for key in loaded.patches)


def test_files_of_the_first_version_are_read(found: Dossiers, tmp_path: Path) -> None:
    """They held each patch's pixels, units as int64 in any order, and the arrays of every layer."""
    kept = found.only(["1"])
    kept.save(tmp_path / "new.fmap")
    arrays = load_file(tmp_path / "new.fmap")
    patches = [kept.patches[key] for key in kept.patches if key[0] == "1"]
    units = arrays["patch.units"].astype(np.int64)[::-1].copy()
    units[:, 6] = np.arange(len(units))[::-1]
    arrays["patch.units"] = units
    arrays["patch.boxes"] = np.array(
        [[*each.rows, *each.columns, *each.size, at, each.whole] for at, each in enumerate(patches)], np.int64
    )
    arrays["patch.shapes"] = np.array([each.pixels.shape[:2] for each in patches], np.int64)
    arrays["patch.pixels"] = np.concatenate([each.pixels.reshape(-1) for each in patches])
    arrays["text"] = np.frombuffer(arrays["text"].tobytes().replace(b',"same_as":null', b""), np.uint8)
    save_file(arrays, tmp_path / "old.fmap", metadata={"format": "fmap-top", "version": "1"})
    old = load_dossiers(tmp_path / "old.fmap")
    assert len(old.patches) and same(old, load_dossiers(tmp_path / "new.fmap"))


def test_the_sheet_of_one_channel_says_which_it_is(found: Dossiers) -> None:
    one = replace(found.layers[0], channels=np.array([2]))
    assert _title(found, one, 1, "index")[0].startswith("What excites channel 2 of ")
