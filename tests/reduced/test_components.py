"""Principal components against scikit-learn's, on real maps; their signs; Otsu's threshold."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import fmap_cli as fmap
from fmap_cli.reduced.components import fit_components, otsu


@pytest.fixture(scope="module")
def outputs() -> dict[str, torch.Tensor]:
    """Real layers, of more units than channels and of fewer, as `[N, C]`."""
    look = fmap.feature_maps(layer=["features.0.0", "features.3", "features.8"], say=str)
    return {name: output[0].flatten(1).T.contiguous() for name, output in look.arrays.items()}


@pytest.mark.parametrize("name", ["features.0.0", "features.3", "features.8"])
def test_components_are_those_of_scikit_learn_up_to_sign(outputs: dict[str, torch.Tensor], name: str) -> None:
    from sklearn.decomposition import PCA  # a second, for the one worker that runs this

    units = outputs[name]
    other = PCA(3, svd_solver="full").fit(units.double().numpy())
    fit = fit_components(units)
    signs = np.sign((fit.directions.numpy() * other.components_).sum(1))
    assert set(np.abs(signs)) == {1.0}
    assert (fit.variances / fit.total).numpy() == pytest.approx(other.explained_variance_ratio_, rel=1e-5)
    assert fit.variances.numpy() == pytest.approx(other.explained_variance_, rel=1e-5)
    assert fit.directions.numpy() * signs[:, None] == pytest.approx(other.components_, abs=1e-4)
    scores = other.transform(units.double().numpy())
    assert fit.scores(units).numpy() * signs == pytest.approx(scores, abs=1e-5 * np.abs(scores).max())


@pytest.mark.parametrize("shape", [(300, 8), (8, 300), (20, 20)])
def test_the_longer_tail_is_positive_whatever_the_sign_of_the_values(shape: tuple[int, int]) -> None:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0)).exp()  # a tail to one side
    fit, turned = fit_components(values), fit_components(-values)
    for each, of in ((fit, values), (turned, -values)):
        assert bool((each.scores(of).double().pow(3).sum(0) >= 0).all())
    np.testing.assert_allclose(fit.directions.numpy(), -turned.directions.numpy(), atol=1e-6)
    shuffled = fit_components(values[torch.randperm(len(values))])
    np.testing.assert_allclose(fit.directions.numpy(), shuffled.directions.numpy(), atol=1e-4)


def test_units_on_a_line_have_one_component_and_equal_ones_none() -> None:
    line = torch.arange(5.0)[:, None] * torch.tensor([3.0, 0.0, 4.0])
    fit = fit_components(line)
    assert fit.directions.abs().tolist() == [pytest.approx([0.6, 0.0, 0.8])]
    assert float(fit.variances[0]) == pytest.approx(25 * 2.5)  # 5 · n has 25 times the variance of 0 … 4
    assert float(fit.total) == pytest.approx(25 * 2.5)
    assert len(fit_components(torch.ones(6, 4)).directions) == 0
    assert len(fit_components(torch.ones(1, 4)).directions) == 0


@pytest.mark.parametrize("factor", [1e-30, 1.0, 1e37])
def test_huge_and_tiny_values_have_the_components_of_usual_ones(factor: float) -> None:
    values = torch.randn(50, 6, generator=torch.Generator().manual_seed(1)) * torch.tensor([9.0, 4, 2, 1, 1, 1])
    fit, scaled = fit_components(values), fit_components(values * factor)
    np.testing.assert_allclose(scaled.directions.numpy(), fit.directions.numpy(), atol=1e-4)
    np.testing.assert_allclose(
        (scaled.variances / scaled.total).numpy(), (fit.variances / fit.total).numpy(), rtol=1e-4
    )


def test_otsu_parts_two_heaps_where_a_search_of_all_thresholds_does() -> None:
    generator = torch.Generator().manual_seed(2)
    values = torch.cat([torch.randn(40, generator=generator), 6 + torch.randn(15, generator=generator)])

    def apart(threshold: float) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        return float(len(low) * len(high) * (low.mean() - high.mean()) ** 2)

    best = max(values.tolist()[:-1], key=lambda each: apart(each) if (values > each).any() else -1.0)
    assert (values > otsu(values)).tolist() == (values > best).tolist()


@pytest.mark.parametrize("decay", [0.9, 0.99, 0.0])
def test_the_largest_components_of_many_channels_are_those_of_all(decay: float) -> None:
    # Of 500 channels not all are found: spectra that fall quickly, slowly, and all of noise, where few do not suffice.
    noise = torch.randn((900, 500), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sizes = torch.tensor(decay or 1.0, dtype=torch.float64) ** torch.arange(500)
    units = noise * sizes
    wanted = torch.linalg.svd(units - units.mean(0), full_matrices=False)
    fit = fit_components(units)
    assert fit.variances.numpy() == pytest.approx((wanted.S[:3] ** 2 / 899).numpy(), rel=1e-9)
    assert (fit.directions * wanted.Vh[:3]).sum(1).abs().numpy() == pytest.approx(np.ones(3), abs=1e-9)
