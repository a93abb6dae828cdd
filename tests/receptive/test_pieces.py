"""What is worked out a piece at a time, or without being laid out, against numbers that fit on paper."""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

from fmap_cli.network.records import Axes
from fmap_cli.receptive import Follower
from fmap_cli.receptive.describe import Describer, _alike, _share, box_of, spans_of
from fmap_cli.receptive.field import EMPTY, STILL, WHOLE, Cause, Field, pixels
from fmap_cli.receptive.steps import _beyond, regular_step

LONG = 300_000  # many pieces


def row(advance: int, period: int) -> np.ndarray:
    """Unclipped values `[2, LONG]` that move by `advance` every `period` places."""
    first = np.arange(LONG, dtype=np.int32) // period * advance
    return np.stack([-first, first + 2])


@pytest.mark.parametrize(("advance", "period"), [(1, 1), (4, 1), (3, 5), (-2, 1)])
def test_a_long_row_moves_evenly(advance, period):
    assert regular_step(row(advance, period), 1) == (period, advance)


def test_a_long_row_that_stands_still():
    assert regular_step(row(0, 1), 1) == STILL


@pytest.mark.parametrize("at", [0, 1, LONG // 2, 65_535, 65_536, LONG - 1])
@pytest.mark.parametrize("advance", [0, 4])
def test_one_place_out_of_step_tells_wherever_it_is(at, advance):
    values = row(advance, 1)
    values[1, at] += 1
    assert regular_step(values, 1) is None


def test_places_nobody_knows_are_passed_over():
    values = row(4, 1)
    values[:, ::7] = EMPTY
    values[0, 1:70_000] = WHOLE
    assert regular_step(values, 1) == (1, 4)
    values[:] = EMPTY
    assert regular_step(values, 1) is None


def test_the_largest_share_is_found_in_any_piece():
    seen = np.zeros((4, LONG, 1, 1, 1), np.int32)  # one pixel, at 0
    high, wide = seen.copy(), seen.copy()
    high[1, LONG - 2], wide[1, LONG - 2] = 9, 4  # the last pixel that it sees: 10 and 5 of them
    high[1, 5] = 11  # a taller one that is one pixel wide
    assert _share((high, wide), (20, 10)) == 10 / 20 * 5 / 10
    assert _share((high, wide[:, :1]), (20, 10)) == 12 / 20 * 1 / 10


@pytest.mark.parametrize("run", [1, 3])
def test_channels_that_see_alike_are_found_whatever_their_order(run):
    kinds = np.repeat(np.random.default_rng(1).integers(0, 5, 60), run)
    extents = []
    for table in ([0, 4, 0, 4, 8], [7, 7, 5, 5, 5]):  # kinds 0 to 4 differ in the one, the other or both
        last = np.array(table, np.int32)[kinds].reshape(1, -1, 1, 1, 1)
        extents.append(np.concatenate([0 * last, last, 0 * last, last]))
    count, ranges = _alike(extents)
    first = list(dict.fromkeys(kinds.tolist()))
    assert count == len(first) == 5
    found = [[at for start, end in each for at in range(start, end + 1)] for each in ranges]
    assert found == [np.flatnonzero(kinds == each).tolist() for each in first]


def test_fields_alike_but_for_their_causes_are_told_apart():
    axes, shape = Axes(("B", "C", "H", "W"), ""), (1, 3, 8, 6)
    rows, columns = pixels(shape, 2), pixels(shape, 3)
    bounds = [Cause(why=each, layer=each) for each in ("one", "other")]
    describer = Describer(("H", "W"), (8, 6))

    def told(bound: Cause | None) -> tuple[str, str, int]:
        field = Field(shape, rows.values.copy(), rows.steps, rows.extent, bound=bound)
        seen = describer.describe([field, columns], axes, shape)
        return seen.axes[0].kind, seen.axes[0].by, id(seen)

    assert [told(each)[:2] for each in (None, *bounds)] == [
        ("exact", ""),
        ("upper bound", "one"),
        ("upper bound", "other"),
    ]
    assert told(bounds[0])[2] == told(bounds[0])[2]  # worked out once


def test_memory_is_laid_out_where_a_part_is_written():
    """Written whole, a tensor's memory is a few numbers; a part written later is told apart from the rest."""
    follower = Follower()
    image = torch.zeros(1, 1, 6, 4)
    follower.start(image, (2, 3))
    with follower:
        page = torch.zeros(1, 1, 6, 4)
        page.copy_(image)
        room = sys.modules["fmap_cli.receptive.follow"]
        whole = [each for each in follower._laid_out.values() if isinstance(each, room._Storage)]
        before = [each.whole is not None and max(value.size for value in each.values) for each in whole]
        seen = [each.values[1].ravel().tolist() for each in follower.fields_of(page)]
        page[:, :, 4:] = image[:, :, :2]
        after = [each.values[1, 0, 0, :, 0].tolist() for each in follower.fields_of(page)[:1]]
    assert before == [4 * 6]
    assert seen == [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3]]
    assert after == [[0, 1, 2, 3, 0, 1]]


@pytest.mark.parametrize("classes", [1, 7])
def test_of_a_row_of_scores_one_stands_for_all_of_its_place(monkeypatch: pytest.MonkeyPatch, classes: int) -> None:
    """Whether one value is held for a place's classes or each has its own, the same is said of every layer and unit."""
    image = torch.zeros(1, 3, 202, 202)

    def followed() -> dict[str, tuple[Field, ...]]:
        follower = Follower()
        follower.start(image, (2, 3))
        with follower:
            maps = torch.conv2d(image, torch.ones(classes, 3, 3, 3), stride=2)  # [1, classes, 100, 100]
            row = maps.permute(0, 2, 3, 1).reshape(1, -1, classes)[0].flatten()  # [10000 · classes]
            tensors = {
                "row": row,
                "compared": row > 0.5,
                "two": row + maps.permute(0, 3, 2, 1).reshape(-1),
                "picked": row[::5],
                "chosen": row[row > -1],
                "joined": torch.cat([row, row]),
                "back": row.reshape(100, 100, classes),
                "sum": row.sum(),
                "running": row.cumsum(0),
            }
            return {name: follower.fields_of(each) for name, each in tensors.items()}

    room = sys.modules["fmap_cli.receptive.arranged"]
    monkeypatch.setattr(room, "_LONG", 1 << 30)
    laid_out = followed()
    monkeypatch.setattr(room, "_LONG", 1 << 10)
    held = followed()
    assert [each.run for each in held["row"]] == [classes, classes]
    assert held["compared"][0].held.shape == (4, 10_000)
    assert all(part.run == 1 for each in laid_out.values() for field in each for part in field.parts)
    monkeypatch.setattr(sys.modules["fmap_cli.receptive.describe"], "_MOST_CHANNELS", 1 << 10)
    units = np.array([[at, 0, 0, 0] for at in (0, 1, classes, 4_321 * classes - 1, 10_000 * classes - 1)])
    for name, fields in laid_out.items():
        shape = fields[0].shape
        axes = Axes(("C",) if len(shape) == 1 else ("?",) * len(shape), "")
        seen, same = (Describer("HW", (202, 202)).describe(each, axes, shape) for each in (fields, held[name]))
        for one, other in zip(fields, held[name], strict=True):
            assert (one.steps, one.shape) == (other.steps, other.shape), name
            for part, twin in zip(one.parts, other.parts, strict=True):
                assert np.array_equal(
                    np.broadcast_to(part.values, (4, *shape)), np.broadcast_to(twin.values, (4, *shape))
                )
        assert (seen.axes, seen.groups, seen.group_count, seen.share) == (
            same.axes,
            same.groups,
            same.group_count,
            same.share,
        )
        if name in ("row", "compared"):
            assert same.run == classes and same.extents[0].shape[1] == 10_000
            assert np.array_equal(spans_of(seen, units), spans_of(same, units))
            boxes = [[box_of(each, at, (0, 0, 0)) for at in units[:, 0].tolist()] for each in (seen, same)]
            assert boxes[0] == boxes[1] and len(set(boxes[0])) > 2


@pytest.mark.parametrize("run", [2, 91])
def test_a_row_held_in_runs_moves_as_it_does_laid_out(run: int) -> None:
    chance = np.random.default_rng(3)
    for advance, period in ((0, 1), (4, 1), (3, 5), (-2, 2)):
        rows = row(advance, period)[:, : LONG // run]
        for at in (None, 0, LONG // run - 1, int(chance.integers(LONG // run))):
            values = rows.copy()
            values[:, 20:24] = EMPTY
            if at is not None:
                values[1, at] += 1
            steps = [None, (run, advance), (period * run, advance)]
            told = regular_step(np.repeat(values, run, axis=1), 1, steps)
            assert regular_step(values, 1, steps, run) == told
            assert (told is None) == (at is not None), "all of the row is read"


def _tokens_written(steps: Callable[[torch.Tensor, torch.Tensor], None]) -> tuple[list[Field | None], list[int]]:
    """What tokens see after some were written over, and how many neighbours have one number in their memory."""
    follower = Follower()
    image = torch.zeros(1, 3, 16, 16)
    follower.start(image, (2, 3))
    with follower:
        maps = torch.conv2d(image, torch.ones(6, 3, 4, 4), stride=4)  # [1, 6, 4, 4]
        tokens = maps.flatten(2).transpose(1, 2).contiguous()  # [1, 16, 6]
        tokens = torch.cat([torch.zeros(1, 1, 6), tokens], 1)  # [1, 17, 6]
        steps(tokens, maps)
    # Outside, nobody follows how one channel is cut out: it is read from memory.
    found = [*follower.fields_of(tokens), *follower.fields_of(tokens[:, 3:, 2])]
    return found, [each.grain for each in follower._laid_out.values()]


def _whole_tokens(tokens: torch.Tensor, maps: torch.Tensor) -> None:
    tokens[:, 1:] += maps.flatten(2).transpose(1, 2).roll(1, 1)
    tokens[:, :3] = tokens[:, 5:8]


def _some_channels(tokens: torch.Tensor, maps: torch.Tensor) -> None:
    _whole_tokens(tokens, maps)
    tokens[:, 2:9, 1:3] = maps.flatten(2)[:, 1:3, 4:11].transpose(1, 2)


def _unlike_channels(tokens: torch.Tensor, maps: torch.Tensor) -> None:
    tokens[:, 1:] += maps.flatten(2).transpose(1, 2)
    tokens[:, :6] += maps[0, 0, 0].new_zeros(6, 6) + torch.nn.functional.pad(maps[0, :, 0, :], (1, 1))  # by channels


def _one_row(tokens: torch.Tensor, maps: torch.Tensor) -> None:
    tokens[0, 4] = 0
    tokens.view(-1)[7:20] = maps.reshape(-1)[:13]


@pytest.mark.parametrize("steps", [_whole_tokens, _some_channels, _unlike_channels, _one_row])
def test_memory_of_whole_tokens_has_a_number_a_token(
    monkeypatch: pytest.MonkeyPatch, steps: Callable[[torch.Tensor, torch.Tensor], None]
) -> None:
    found, grains = _tokens_written(steps)
    monkeypatch.setattr(sys.modules["fmap_cli.receptive.follow"], "_in_grains", lambda layout, grain: False)
    laid_out, ones = _tokens_written(steps)
    assert ones == [1] * len(ones) and ones
    assert grains == [1], "the last question was for one channel"
    assert len(found) == len(laid_out) == 4
    for one, other in zip(found, laid_out, strict=True):
        assert one is not None and other is not None
        assert (one.shape, one.steps, one.extent) == (other.shape, other.steps, other.extent)
        assert np.array_equal(*np.broadcast_arrays(one.values, other.values))


def test_tokens_are_held_once_as_long_as_they_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    room = sys.modules["fmap_cli.receptive.follow"]
    sizes: list[int] = []
    own = room._Storage.write

    def write(self: object, *arguments: object) -> None:
        own(self, *arguments)
        sizes.append(max(each.size for each in self.values))  # type: ignore[attr-defined]

    monkeypatch.setattr(room._Storage, "write", write)
    _tokens_written(_whole_tokens)
    assert max(sizes) == 4 * 17
    _tokens_written(_some_channels)
    assert max(sizes) == 4 * 17 * 6


def test_beyond_a_map_that_is_shorter_than_its_period_fields_are_rounded_outwards() -> None:
    """Six pixels every four cells, and only two cells are there: one cell further is 1.5 pixels further."""
    values = np.array([[[0, 2]], [[5, 7]]])  # [what, C, cells]: how far before pixel 0 each begins, and where it ends
    found, known = _beyond(values, 2, np.array([-1, 2]), (4, 6))
    assert not known
    assert found.tolist() == [[[0 + 2, 2 - 1]], [[5 - 1, 7 + 2]]]
