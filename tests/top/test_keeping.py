"""What is kept of maps, batch after batch, against NumPy's sorting of all of them and torch's pooling."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import adaptive_max_pool2d

import fmap_cli as fmap
from fmap_cli.running.going import origin_of
from fmap_cli.running.plan import plan_run
from fmap_cli.session.opening import read_image
from fmap_cli.top.excitations import GRID, Excitations, Picks, Sample
from fmap_cli.top.gather import Gatherer
from fmap_cli.top.keeping import Keeper, Rows, take_all
from fmap_cli.top.records import Looking
from fmap_cli.top.watching import seen_in

STRONGEST = 5


def quiet(_: str) -> None: ...


def drawn_maps(dtype: torch.dtype, *, lost: bool) -> Tensor:
    """Maps `[30, 6, 2, 5, 9]` of few different values, so that many are equal; of the third channel all are 0."""
    random = np.random.default_rng(3)
    maps = torch.from_numpy(random.integers(-4, 7, (30, 6, 2, 5, 9))).to(dtype) / 2
    maps[:, 2] = 0
    if lost:
        maps[torch.from_numpy(random.random(maps.shape) < 0.3)] = torch.nan
        maps[4:6, :3] = torch.nan  # no number at all
        maps[7, 3, 0, 0, 0] = torch.inf
    return maps


def kept_of(maps: Tensor, batch: int, per_image: int) -> Excitations:
    keeper = Keeper(Excitations.none(maps.shape[1], STRONGEST))
    for start in range(0, len(maps), batch):
        images = range(start, min(start + batch, len(maps)))
        keeper.take(seen_in(maps[start : start + batch], images, list(images), "", keeper, per_image=per_image))
    return keeper.excitations()


def units_of(maps: Tensor, channel: int, per_image: int) -> list[tuple[float, int, int, int, int]]:
    """The largest values of each image's map, each with its image and place; -inf is none but as an image's first."""
    found = []
    for image, one in enumerate(maps[:, channel].double().numpy()):
        values = np.where(np.isnan(one), -np.inf, one).reshape(-1)
        if np.isnan(one).all():
            continue
        for at in np.argsort(-values, kind="stable")[:per_image]:
            frame, row, column = np.unravel_index(at, one.shape)
            found.append((float(values[at]), image, int(frame), int(row), int(column)))
    return found


def listed(picks: Picks, channel: int) -> list[tuple[Any, ...]]:
    there = picks.image[channel] >= 0
    columns = picks.value[channel], picks.image[channel], *picks.place[channel].T
    return list(zip(*(each[there].tolist() for each in columns), strict=True))


@pytest.mark.parametrize("per_image", [1, 3])
@pytest.mark.parametrize("lost", [False, True], ids=["numbers", "nan"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
def test_lists_are_what_sorting_all_units_gives(dtype: torch.dtype, lost: bool, per_image: int) -> None:
    maps = drawn_maps(dtype, lost=lost)
    found = kept_of(maps, 7, per_image)
    for channel in range(maps.shape[1]):
        units = units_of(maps, channel, per_image)
        order = sorted(units, key=lambda unit: (-unit[0], *unit[1:]))
        assert listed(found.strongest, channel) == order[:STRONGEST]
        firsts = sorted({unit[1]: unit for unit in reversed(units)}.values())
        assert listed(found.weakest, channel) == firsts[:3]
        assert found.without[channel] == len(maps) - len(firsts)
        for at, image in enumerate(found.pictured.image):
            expected = [unit[2:] for unit in units if unit[1] == image][:1] or [(0, 0, 0)]
            assert tuple(found.pictured.place[at, channel]) == expected[0]
    assert found.pictured.value.shape == (30, 6) and found.images == 30


def test_values_that_differ_beyond_float32_are_equal_and_parts_merge_to_one_run() -> None:
    maps = drawn_maps(torch.float64, lost=False) + 1
    beyond = maps * (1 + 1e-12 * torch.from_numpy(np.random.default_rng(1).random(maps.shape)))
    assert (beyond != maps).any() and torch.equal(beyond.float(), maps.float())
    whole, exact = kept_of(beyond, 7, 3), kept_of(maps, 7, 3)
    parts = kept_of(beyond[:13], 7, 3).joined(kept_of(beyond[13:], 7, 3).renumbered(13))
    for channel in range(maps.shape[1]):
        order = sorted(units_of(maps, channel, 3), key=lambda unit: (-unit[0], *unit[1:]))[:STRONGEST]
        assert listed(whole.strongest, channel) == order
        assert listed(parts.strongest, channel) == order
        assert listed(parts.weakest, channel) == listed(whole.weakest, channel) == listed(exact.weakest, channel)


@pytest.mark.parametrize("lost", [False, True], ids=["numbers", "nan"])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (9, 9)], ids=str)
def test_zero_has_no_sign_whichever_zero_a_map_holds(size: tuple[int, int], lost: bool) -> None:
    maps = torch.where(torch.from_numpy(np.random.default_rng(2).random((12, 4, 1, *size)) < 0.8), -0.0, 0.0)
    if lost:
        maps[5, 1] = torch.nan
    for batch in (1, 5):
        found = kept_of(maps, batch, 2)
        for values in (found.strongest.value, found.weakest.value, found.spread.value, found.pictured.value):
            assert not np.signbit(values[values == 0]).any() and (values == 0).any()


@pytest.mark.parametrize("size", [(1, 1), (5, 9), (8, 8), (14, 14), (32, 3)], ids=str)
def test_coarse_maps_are_torchs_pooling_as_shares_of_the_value(size: tuple[int, int]) -> None:
    maps = torch.from_numpy(np.random.default_rng(5).normal(size=(4, 3, 1, *size)).astype(np.float32))
    found = kept_of(maps, 4, 1)
    for channel in range(3):
        for value, image, drawn in zip(
            found.strongest.value[channel], found.strongest.image[channel], found.strongest.map[channel], strict=True
        ):
            if image < 0 or value <= 0:
                assert not drawn.any()
                continue
            pooled = adaptive_max_pool2d(maps[image, channel], GRID)[0].numpy()
            assert np.array_equal(drawn, ((pooled / value).clip(0, 1) * 255).round().astype(np.uint8))
            assert drawn.max() == 255


def test_what_was_handed_out_stays_as_it_was() -> None:
    maps = drawn_maps(torch.float32, lost=False)
    keeper = Keeper(Excitations.none(6, STRONGEST))
    keeper.take(seen_in(maps[:10], range(10), list(range(10)), "a", keeper, per_image=1))
    early = keeper.excitations()
    before = [early.fired.copy(), early.strongest.value.copy(), early.classes.limbs.copy(), early.spread.value.copy()]
    copied = keeper.copy()
    keeper.take(seen_in(maps[10:], range(10, 30), list(range(10, 30)), "a", keeper, per_image=1))
    now = [early.fired, early.strongest.value, early.classes.limbs, early.spread.value]
    assert all(map(np.array_equal, before, now)) and early.images == 10
    assert not np.array_equal(keeper.excitations().fired, early.fired)
    assert np.array_equal(copied.excitations().fired, early.fired)


class Sometimes(nn.Module):
    """A container that puts out its layer's tensor, or another one where it is `other`."""

    def __init__(self) -> None:
        super().__init__()
        self.other = False
        self.layer = nn.Conv2d(3, 4, 3, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.layer(images)
        return found + 100 if self.other else found


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.part = Sometimes()

    def forward(self, images: Tensor) -> Tensor:
        found: Tensor = self.part(images).mean(dim=(2, 3))
        return found


def test_layers_that_share_a_tensor_for_some_images_part_where_they_do_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Net().eval()
    values = [torch.rand(3, size, size) for size in (12, 12, 16, 12, 12, 16)]
    for at in range(6):
        Image.new("RGB", (12, 12)).save(tmp_path / f"{at}.png")
    session = fmap.load_model(net, size=12, mean=0, std=1, say=quiet)
    plan = plan_run(session, [str(tmp_path)])
    read = [read_image(session, str(name), quiet) for name in plan.entries]
    images = [(at, replace(each, tensor=values[at])) for at, each in enumerate(read)]
    steps = ((0, 3, False), (3, 5, True), (5, 6, False))  # the first of two sizes
    with Gatherer(session, plan, Looking(("part", "part.layer")), None, None) as gatherer:
        for first, last, net.part.other in steps:
            gatherer.add(images[first:last])
        run = gatherer.run(origin_of(session, digest=False), plan, (), 6)
    found = {each.layer.name: each.found for each in run.layers}
    for name, more in (("part", 100), ("part.layer", 0)):
        with torch.no_grad():
            maxima = torch.stack([net.part.layer(each[None])[0].amax(dim=(1, 2)) for each in values]).numpy()
        maxima[3:5] += more
        record = found[name]
        assert record.images == 6
        assert np.allclose(record.spread.value, maxima, rtol=1e-6, atol=1e-6)
        assert np.array_equal(record.strongest.image[:, :6], np.argsort(-maxima.T, axis=1))


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 7), (14, 14), (40, 40)], ids=str)
@pytest.mark.parametrize("per_image", [1, 3])
def test_threads_find_what_one_finds(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], per_image: int) -> None:
    random = np.random.default_rng(7)
    maps = torch.from_numpy(random.integers(-9, 9, (20, 30, 1, *size)).astype(np.float32))
    alone = kept_of(maps, 8, per_image)
    monkeypatch.setattr("fmap_cli.foreign.threads.WORTH_A_THREAD", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    together = kept_of(maps, 8, per_image)
    for one, other in zip((alone.strongest, alone.weakest), (together.strongest, together.weakest), strict=True):
        assert all(map(np.array_equal, one.arrays, other.arrays))
    assert np.array_equal(alone.pictured.place, together.pictured.place)
    maps[3, 4, 0, 0, 0] = torch.nan  # found by whichever thread it was
    keeper = Keeper(Excitations.none(30, STRONGEST))
    assert seen_in(maps[:8], range(8), list(range(8)), "", keeper, per_image=per_image).lost


def test_a_sample_goes_on_from_what_it_handed_out() -> None:
    rows = Rows(Sample.none(2, places=True), 3)
    handed = []
    for image, priority in enumerate([5, 9, 9, 1, 7, 9]):
        if rows.wants(priority):
            place = np.full((2, 3), image, np.int32)
            rows.add(priority, image, np.full(2, image, np.float32), place)
        handed.append(rows.sample())
    assert [each.image.tolist() for each in handed] == [[0], [0, 1], [0, 1, 2], [0, 1, 3], [0, 3, 4], [0, 3, 4]]
    assert all(
        (each.value == each.image[:, None]).all() and (each.place[:, 0, 0] == each.image).all() for each in handed
    )


def test_a_failure_of_one_layer_is_raised_when_all_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []

    def take(keeper: Keeper, seen: Any) -> None:
        if seen == 3:
            raise ValueError("three")
        taken.append(seen)

    monkeypatch.setattr(Keeper, "take", take)
    keeper = Keeper(Excitations.none(1, STRONGEST))
    with ThreadPoolExecutor(1) as helpers, pytest.raises(ValueError, match="three"):
        take_all([(keeper, each) for each in range(10)], helpers, 2)  # type: ignore[misc]
    assert sorted(taken) == [0, 1, 2, *range(4, 10)]


def test_a_tensor_that_is_negative_in_name_alone_is_read_as_its_values() -> None:
    maps = torch._neg_view(torch.randn(4, 3, 1, 5, 5, generator=torch.Generator().manual_seed(1)))
    assert maps.is_neg() and maps.is_contiguous()
    lazy, plain = (kept_of(each, 4, 1) for each in (maps, maps.resolve_neg()))
    assert all(map(np.array_equal, lazy.strongest.arrays, plain.strongest.arrays))
    assert np.array_equal(lazy.strongest.value[:, 0], maps.amax(dim=(0, 2, 3, 4)).numpy())
