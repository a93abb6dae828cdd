"""A record read back without torch: quantiles and cells against the values themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from small_runs import INF, NAN, normal, record
from torch import Tensor

from fmap_cli.statistics.moments import dead_channels, quantiles, spread
from fmap_cli.statistics.reference import channel_stats

FRACTIONS = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [1e-7, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("shape", ["normal", "relu", "uniform", "shifted", "few"])
def test_quantiles_are_numpys_to_a_cells_width(shape: str, scale: float, seed: int) -> None:
    values = normal(4, 3 if shape == "few" else 2000, seed=seed)
    if shape == "relu":
        values = values.relu()
    elif shape == "uniform":
        values = torch.rand(4, 2000, generator=torch.Generator().manual_seed(seed))
    elif shape == "shifted":
        values = values * 0.1 + 5
    values = values * scale
    found = quantiles(channel_stats(values, "layer"), FRACTIONS)
    sample = values.double().numpy().ravel()
    # From 2⁻⁶ to 2⁸ a cell is an eighth as wide as its edge nearer to zero, elsewhere as wide; 2⁻²³ around zero.
    near = [np.quantile(sample, FRACTIONS, method=method) for method in ("lower", "higher")]
    size = np.abs(near).max(0)
    room = np.where((size > 2.0**-6) & (size < 2.0**8), size / 8, size) + 2.0**-23
    assert (found >= near[0] - room).all() and (found <= near[1] + room).all()
    assert found[0] == sample.min() and found[-1] == sample.max()
    assert (np.diff(found) >= 0).all()


def test_quantiles_of_many_values_are_close() -> None:
    values = normal(1, 200_000) * 3
    found = quantiles(channel_stats(values, "layer"), FRACTIONS[1:-1])
    assert found == pytest.approx(np.quantile(values.numpy(), FRACTIONS[1:-1]), abs=0.02)


def test_quantiles_beyond_the_cells_go_by_mean_and_std() -> None:
    values = normal(1, 10_000).abs() * 1e4 + 1e9
    found = quantiles(channel_stats(values, "layer"), (0.25, 0.5, 0.75))
    assert found == pytest.approx(np.quantile(values.double().numpy(), (0.25, 0.5, 0.75)), rel=1e-5)


def test_of_nothing_there_are_no_quantiles() -> None:
    for values in (torch.zeros(2, 0), torch.full((2, 3), NAN)):
        assert np.isnan(quantiles(channel_stats(values, "layer"), FRACTIONS)).all()
    assert np.isnan(quantiles(channel_stats(torch.ones(2, 3)), FRACTIONS)).all()
    assert quantiles(channel_stats(torch.full((2, 3), 7.3), "layer"), FRACTIONS).tolist() == [
        pytest.approx(7.3, rel=1e-6)
    ] * len(FRACTIONS)
    assert quantiles(channel_stats(torch.zeros(2, 3), "layer"), FRACTIONS).tolist() == [0.0] * len(FRACTIONS)


@pytest.mark.parametrize("cells", [1, 7, 16])
def test_spreading_keeps_the_count(cells: int) -> None:
    values = normal(3, 500, 40)
    stats = channel_stats(values, "layer")
    assert stats.histogram is not None
    edges = np.linspace(float(stats.min.min()), float(stats.max.max()), cells + 1)
    spread_out = spread(stats.histogram[0], edges)
    assert spread_out.sum() == pytest.approx(1500)
    assert (spread_out >= 0).all()


def test_a_channel_is_dead_when_every_value_of_an_activation_is_zero() -> None:
    values = torch.tensor([[0.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [NAN, NAN], [0.0, NAN], [0.0, INF]])
    layers = [
        record("conv", values),
        record("relu", values, "act", "ReLU"),
        record("gelu", values, "act", "GELU"),
        record("gate", values, "act", "Hardsigmoid"),
        record("signed", values, "block", "Sequential"),
        record("block", values.abs(), "block", "Sequential"),
    ]
    found = {name: channels.tolist() for name, channels in dead_channels(layers).items()}
    first_alone = [True, False, False, False, False, False]
    assert found == {"relu": first_alone, "gelu": first_alone, "block": first_alone}


@pytest.mark.parametrize(
    "rectify",
    [
        lambda x: torch.maximum(x, torch.zeros(())),
        lambda x: x * (x > 0),
        lambda x: torch.where(x > 0, x, 0.0),
        lambda x: x.masked_fill(x < 0, 0),
        lambda x: (x + x.abs()) / 2,
        lambda x: torch.minimum(torch.maximum(x, torch.zeros(())), x.max() * 0.9),
    ],
)
def test_an_operation_that_does_what_a_relu_does_is_an_activation(rectify: Callable[[Tensor], Tensor]) -> None:
    before = normal(6, 50, 3)
    before[2] -= 1000
    layers = [record("conv", before), record("other", normal(6, 50, 4)), record("op", rectify(before), "op", "mul")]
    assert {name: channels.tolist() for name, channels in dead_channels(layers).items()} == {
        "op": [False, False, True, False, False, False]
    }


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.abs(),
        lambda x: torch.nn.functional.one_hot(x.argmax(0), len(x)).T.double(),
        lambda x: (x > 0).double(),
        lambda x: x.square(),
        lambda x: x * 0,
        lambda x: x.softmax(0),
    ],
)
def test_other_operations_are_none(work: Callable[[Tensor], Tensor]) -> None:
    before = normal(6, 50, 3)
    before[2] -= 1000
    assert dead_channels([record("conv", before), record("op", work(before), "op", "mul")]) == {}
