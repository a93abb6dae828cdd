"""Moments of a layer's output, held against torch's own reductions in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor

from fmap_cli.statistics.channels import ChannelStats
from fmap_cli.statistics.reference import channel_stats, layer_stats

MOMENTS = ("mean", "std", "min", "max", "l2")
COUNTS = ("zeros", "nan", "inf")


def by_torch(row: Tensor) -> dict[str, float]:
    """Moments of one row, by torch's reductions over its finite values."""
    wide = row.double()
    finite = wide[wide.isfinite()]
    some = len(finite) > 0
    return {
        "mean": finite.mean().item(),
        "std": finite.std().item() if len(finite) > 1 else math.nan,
        "rms": finite.square().mean().sqrt().item(),
        "min": finite.amin().item() if some else math.nan,
        "max": finite.amax().item() if some else math.nan,
        "l2": finite.square().sum().sqrt().item(),
        "zeros": int((wide == 0).sum()),
        "nan": int(wide.isnan().sum()),
        "inf": int(wide.isinf().sum()),
    }


def agree(stats: ChannelStats, values: Tensor) -> None:
    assert stats.count == values.shape[1]
    for channel, row in enumerate(values):
        expected = by_torch(row)
        for name in COUNTS:
            assert getattr(stats, name)[channel] == expected[name], name
        for name in ("min", "max"):  # no arithmetic: exactly
            assert np.array_equal(getattr(stats, name)[channel], expected[name], equal_nan=True), name
        size = row.double()[row.isfinite()].abs().max().item() if row.isfinite().any() else 0.0
        for name in ("mean", "std", "l2"):
            assert getattr(stats, name)[channel] == pytest.approx(
                expected[name], rel=1e-9, abs=1e-12 * size, nan_ok=True
            ), name


floats = st.floats(width=32, min_value=-(2.0**60), max_value=2.0**60) | st.just(0.0)
anything = floats | st.sampled_from([math.nan, math.inf, -math.inf])


@settings(deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=floats))
def test_moments_are_those_of_torchs_reductions_in_float64(values: np.ndarray) -> None:
    agree(channel_stats(torch.from_numpy(values)), torch.from_numpy(values))


@settings(deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=anything))
def test_moments_are_over_the_finite_values_and_the_others_are_counted(values: np.ndarray) -> None:
    agree(channel_stats(torch.from_numpy(values)), torch.from_numpy(values))


@settings(deadline=None)
@given(arrays(np.float32, (6, 9), elements=anything), st.permutations(range(6)))
def test_permuting_channels_permutes_their_statistics(values: np.ndarray, order: list[int]) -> None:
    straight, permuted = channel_stats(torch.from_numpy(values)), channel_stats(torch.from_numpy(values[order]))
    for name in (*MOMENTS, *COUNTS):
        assert np.array_equal(getattr(straight, name)[order], getattr(permuted, name), equal_nan=True), name


@settings(max_examples=40, deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=0, max_dims=5, max_side=5), elements=anything))
def test_a_layers_moments_are_those_of_all_its_values(values: np.ndarray) -> None:
    stats = layer_stats(torch.from_numpy(values))
    expected = by_torch(torch.from_numpy(values.reshape(-1)))
    assert stats.count == values.size
    assert (stats.nan, stats.inf) == (expected["nan"], expected["inf"])
    assert stats.zero_fraction == expected["zeros"] / values.size
    for name in ("mean", "std", "rms", "min", "max"):
        ours = getattr(stats, name)
        if math.isnan(expected[name]):
            assert ours is None, name
        else:
            assert ours == pytest.approx(expected[name], rel=1e-9, abs=1e-12 * 2.0**60 * (name in ("mean", "std")))


def test_the_arithmetic_of_one_channel_fits_on_paper() -> None:
    stats = channel_stats(torch.tensor([[1.0, 2.0, 3.0, 0.0]]))
    assert stats.mean[0] == (1 + 2 + 3 + 0) / 4
    assert stats.std[0] == math.sqrt((0.25 + 0.25 + 2.25 + 2.25) / 3)
    assert stats.l2[0] == math.sqrt(1 + 4 + 9)
    assert (stats.min[0], stats.max[0], stats.zeros[0]) == (0, 3, 1)


def test_the_standard_deviation_divides_by_one_less_as_torch_std_does() -> None:
    values = torch.randn(4, 10)
    assert np.allclose(channel_stats(values).std, values.double().std(1))
    assert not np.allclose(channel_stats(values).std, values.double().std(1, correction=0))


def test_a_large_mean_does_not_swallow_a_small_spread() -> None:
    generator = torch.Generator().manual_seed(0)
    wide = 1000 + 0.01 * torch.randn(1, 100_000, dtype=torch.float64, generator=generator)
    values = wide.float()
    naive = (values.square().mean() - values.mean().square()).abs().sqrt().item()  # what float32 makes of it
    assert abs(naive - 0.01) > 1e-3
    assert channel_stats(values).std[0] == pytest.approx(values.double().std().item(), rel=1e-12)
    assert channel_stats(values).std[0] == pytest.approx(0.01, rel=0.02)


def test_a_channel_without_a_finite_value_has_no_moments() -> None:
    stats = channel_stats(torch.tensor([[math.nan, math.nan], [math.inf, -math.inf], [math.nan, math.inf]]))
    for name in ("mean", "std", "min", "max"):
        assert np.isnan(getattr(stats, name)).all(), name
    assert stats.nan.tolist() == [2, 0, 1]
    assert stats.inf.tolist() == [0, 2, 1]
    assert stats.zeros.tolist() == [0, 0, 0]


def test_one_finite_value_has_a_mean_and_no_standard_deviation() -> None:
    stats = channel_stats(torch.tensor([[5.0], [math.nan]]))
    assert (stats.mean[0], stats.min[0], stats.max[0]) == (5, 5, 5)
    assert np.isnan(stats.std).all()
    among_others = channel_stats(torch.tensor([[5.0, math.nan, math.inf]]))
    assert among_others.mean[0] == 5
    assert np.isnan(among_others.std[0])


def test_a_constant_channel_has_a_standard_deviation_of_zero() -> None:
    assert channel_stats(torch.full((1, 7), 0.1)).std[0] == pytest.approx(0, abs=1e-15)


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (0, 0)])
def test_emptiness_has_counts_and_no_moments(shape: tuple[int, int]) -> None:
    stats = channel_stats(torch.empty(shape))
    assert stats.count == shape[1]
    for name in ("mean", "std", "min", "max"):
        assert len(getattr(stats, name)) == shape[0]
        assert np.isnan(getattr(stats, name)).all()
    whole = layer_stats(torch.empty(shape))
    assert (whole.count, whole.mean, whole.std, whole.rms, whole.min, whole.max) == (0, *[None] * 5)
    assert (whole.zero_fraction, whole.nan, whole.inf) == (0.0, 0, 0)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_half_precision_is_summed_in_float64(dtype: torch.dtype) -> None:
    values = torch.full((1, 100_000), 3.0, dtype=dtype)  # their sum is beyond float16
    assert channel_stats(values).mean[0] == 3
    random = torch.randn(3, 50, generator=torch.Generator().manual_seed(1)).to(dtype)
    agree(channel_stats(random), random)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.int32])
def test_integers_have_moments(dtype: torch.dtype) -> None:
    assert layer_stats(torch.tensor([0, 1, 2], dtype=dtype)).mean == 1


def test_truths_are_ones_and_zeros() -> None:
    stats = layer_stats(torch.tensor([True, False, False, True]))
    assert (stats.mean, stats.min, stats.max, stats.zero_fraction) == (0.5, 0, 1, 0.5)


def test_complex_values_count_by_their_magnitude() -> None:
    stats = layer_stats(torch.tensor([3 + 4j, 0j]))
    assert (stats.mean, stats.max, stats.zero_fraction) == (2.5, 5, 0.5)


def test_minus_zero_is_zero() -> None:
    assert layer_stats(torch.tensor([-0.0, 0.0, 1.0])).zero_fraction == 2 / 3


def test_values_at_the_ends_of_float32_do_not_overflow() -> None:
    largest = torch.finfo(torch.float32).max
    stats = layer_stats(torch.tensor([largest, -largest]))
    assert (stats.mean, stats.min, stats.max) == (0, -largest, largest)
    assert stats.std == pytest.approx(largest * math.sqrt(2), rel=1e-12)


def test_a_tensor_with_a_gradient_or_strides_of_its_own_is_read_as_it_is() -> None:
    values = torch.arange(12.0).reshape(3, 4).requires_grad_()
    assert np.allclose(channel_stats(values.T).mean, [4, 5, 6, 7])
    assert channel_stats(values.expand(3, 4)).count == 4


def test_statistics_do_not_change_the_tensor() -> None:
    values = torch.tensor([[1.0, math.nan, math.inf]])
    before = values.clone()
    channel_stats(values)
    assert torch.equal(values.nan_to_num(9, 8), before.nan_to_num(9, 8))
