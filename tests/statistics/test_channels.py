"""What is counted of each channel: whatever fills, joins, keeps and says it goes by one declaration."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import INF, NAN, normal, record, run_of

from fmap_cli.network.records import Axes
from fmap_cli.statistics import channels
from fmap_cli.statistics.channels import (
    FIELDS,
    MOMENTS,
    TALLIES,
    ChannelStats,
    cut_apart,
    end_to_end,
    merge,
    merge_rows,
    whole,
)
from fmap_cli.statistics.document import stats_csv, stats_document
from fmap_cli.statistics.reduce import reduce
from fmap_cli.statistics.reference import channel_stats
from fmap_cli.statistics.runs import load_run, save_run

ROWS = torch.tensor([[1.0, 2.0, 0.0, -4.0], [NAN, NAN, INF, -INF], [0.0, -0.0, INF, 3.0], [5.0, 5.0, 5.0, 5.0]])
EXPECTED = {  # by hand
    "mean": [-0.25, NAN, 1.0, 5.0],
    "m2": [20.75, 0.0, 6.0, 0.0],
    "min": [-4.0, NAN, 0.0, 5.0],
    "max": [2.0, NAN, 3.0, 5.0],
    "zeros": [1, 0, 2, 0],
    "nan": [0, 2, 0, 0],
    "inf": [0, 2, 1, 0],
}


@pytest.mark.parametrize("shape", [(1, 4, 4), (4, 4, 1)], ids=["planes", "columns"])
def test_machine_code_and_torch_fill_each_field_with_its_own_number(shape: tuple[int, ...]) -> None:
    assert set(EXPECTED) == set(FIELDS) == {*MOMENTS, *TALLIES}
    values = ROWS[None] if shape[0] == 1 else ROWS.T[..., None].contiguous()
    for stats in (channel_stats(ROWS), reduce(values, Axes(("B", "C", "W"), "said"))):
        for name, field in FIELDS.items():
            found = getattr(stats, name)
            assert found.dtype == field.dtype
            assert np.array_equal(found, EXPECTED[name], equal_nan=field.is_moment), name


@pytest.mark.parametrize("at", range(5))
def test_joining_and_taking_together_are_the_numbers_of_all_values(at: int) -> None:
    """Also with parts in which nothing is finite, or nothing at all."""
    first, second = ROWS[:, :at], ROWS[:, at:]
    both = merge(channel_stats(first), channel_stats(second))
    for name, field in FIELDS.items():
        assert getattr(both, name) == pytest.approx(EXPECTED[name], nan_ok=field.is_moment), name
    one, of_all = whole(both), channel_stats(ROWS.reshape(1, -1))
    for name in FIELDS:
        assert getattr(one, name) == pytest.approx(getattr(of_all, name)), name


def test_nothing_is_what_joining_leaves_as_it_is() -> None:
    stats = channel_stats(ROWS)
    for both in (merge(stats, ChannelStats.of_nothing(4, None)), merge(ChannelStats.of_nothing(4, None), stats)):
        for name, field in FIELDS.items():
            assert np.array_equal(getattr(both, name), getattr(stats, name), equal_nan=field.is_moment), name


@pytest.mark.parametrize("histogram", [None, "layer", "channel"])
def test_records_end_to_end_are_cut_apart_again_and_join_as_each_alone(histogram: str | None) -> None:
    sizes = ((3, 5), (1, 7), (0, 4), (4, 2))
    many, others = ([channel_stats(normal(*size, seed=seed), histogram) for size in sizes] for seed in (0, 1))
    row = merge(end_to_end(many), end_to_end(others))
    for found, one, other in zip(cut_apart(row, (each.extent for each in many)), many, others, strict=True):
        alone = merge(one, other)
        for name in FIELDS:
            assert np.array_equal(getattr(found, name), getattr(alone, name)), name
        assert (found.histogram is None) == (alone.histogram is None)
        assert alone.histogram is None or np.array_equal(found.histogram, alone.histogram)
        assert not len(one.mean) or found.count == alone.count


def test_what_follows_from_the_fields_is_torchs() -> None:
    values = normal(5, 40, scale=3.0) + 2
    stats, wide = channel_stats(values), values.double()
    assert stats.std == pytest.approx(wide.std(1).numpy())
    assert stats.l2 == pytest.approx(wide.norm(dim=1).numpy())
    assert stats.rms == pytest.approx(wide.square().mean(1).sqrt().numpy())
    assert np.isnan(channel_stats(torch.full((2, 3), NAN)).rms).all()
    some = torch.tensor([[3.0, NAN, -4.0, INF]])  # over the finite values
    assert channel_stats(some).rms == pytest.approx(12.5**0.5)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e30])
def test_the_root_mean_square_of_parts_is_that_of_all_values(scale: float) -> None:
    values = normal(5, 40, scale) + torch.arange(5)[:, None] * scale
    merged = merge(channel_stats(values[:, :13]), channel_stats(values[:, 13:]))
    wide = values.double()
    assert merged.rms == pytest.approx(wide.square().mean(1).sqrt().numpy(), rel=1e-12, abs=0)
    assert whole(merged).rms[0] == pytest.approx(wide.square().mean().sqrt().item(), rel=1e-12, abs=0)


SAID = {name: name for name in ("mean", "std", "rms", "min", "max")}
SAID |= {"zero_count": "zeros", "nan_count": "nan", "inf_count": "inf"}


def test_json_and_csv_say_each_number_under_its_name() -> None:
    run = run_of(record("conv", ROWS))
    stats = run.layers[0].channels
    said = stats_document(run, (), channels=True)["layers"][0]["channels"]
    head, *rows = (line.split(",") for line in stats_csv(run, channels=True).splitlines())
    for key, name in SAID.items():
        expected = [None if value != value else value for value in getattr(stats, name).tolist()]
        assert said[key] == expected
        assert [float(row[head.index(key)]) if row[head.index(key)] else None for row in rows] == expected
    assert json.loads(json.dumps(said)) == said
    unsaid = set(FIELDS) - set(SAID.values())
    assert unsaid == {"m2"}  # std says it


def test_a_moment_that_a_file_is_too_old_for_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(record("conv", ROWS[[0, 3]]))
    monkeypatch.setitem(FIELDS, "m2", FIELDS["m2"]._replace(new=True))
    with monkeypatch.context() as older:
        older.delitem(FIELDS, "m2")
        save_run(tmp_path / "old.fmap", run)
    old = load_run(tmp_path / "old.fmap").layers[0].channels
    assert np.isnan(old.m2).all()
    assert old.mean.tolist() == [-0.25, 5.0]
    both = merge(old, run.layers[0].channels)
    assert np.isnan(both.m2).all()  # of all values it is not known
    assert both.mean.tolist() == [-0.25, 5.0]


@pytest.mark.parametrize("holes", [False, True])
def test_rows_are_joined_as_their_records_are_whatever_stood_in_the_third(
    holes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces of three channels: of some all have values, in others a channel has none in one or the other."""
    monkeypatch.setattr(channels, "_PIECE", 3)
    generator = torch.Generator().manual_seed(2)

    def some(width: int, without: int) -> ChannelStats:
        values = torch.randn(width, 20, generator=generator)
        if holes:
            values[without] = torch.nan
        return channel_stats(values, "layer")

    first, second = ([some(width, (width * at) % width) for width in (1, 4, 2, 7)] for at in (2, 3))
    row, other = end_to_end(first), end_to_end(second)
    into = end_to_end([some(width, 0) for width in (1, 4, 2, 7)])
    merge_rows(row, other, into)
    for found, one, two in zip(cut_apart(into, [each.extent for each in first]), first, second, strict=True):
        whole = merge(one, two)
        for name in ("mean", "m2", "min", "max", "zeros", "nan", "inf", "histogram"):
            assert np.array_equal(getattr(found, name), getattr(whole, name), equal_nan=True), name
    assert np.array_equal(into.count, np.full(14, 40))
