"""k-means against scikit-learn's, on real maps."""

from __future__ import annotations

import pytest
import torch

import fmap_cli as fmap
from fmap_cli.reduced.clusters import fit_clusters


@pytest.mark.parametrize("layer", ["features.3", "features.8"])
def test_the_inertia_is_no_worse_than_that_of_scikit_learn(layer: str) -> None:
    from sklearn.cluster import KMeans  # a second, for the one worker that runs this

    units = fmap.feature_maps(layer=layer, say=str).arrays[layer][0].flatten(1).T.contiguous()
    for count in (3, 6, 10):
        centres, labels, inertia = fit_clusters(units, count)
        other = KMeans(count, n_init="auto", random_state=0).fit(units.double().numpy())
        assert inertia <= 1.02 * other.inertia_
        distances = torch.cdist(units.double(), centres)
        assert float(distances.min(1).values.square().sum()) == pytest.approx(inertia, rel=1e-4)
        assert float((distances.gather(1, labels[:, None])[:, 0] - distances.min(1).values).max()) < 1e-3
        assert labels.bincount(minlength=count).diff().le(0).all(), "the largest cluster comes first"


def test_clusters_that_lie_apart_are_found_and_are_the_same_each_time() -> None:
    places = torch.tensor([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]])
    sizes = [40, 30, 20, 10]
    noise = 0.1 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    units = places.repeat_interleave(torch.tensor(sizes), 0) + noise
    centres, labels, inertia = fit_clusters(units, 4)
    assert labels.tolist() == [at for at, size in enumerate(sizes) for _ in range(size)]
    assert centres.tolist() == [pytest.approx(each, abs=0.1) for each in places.tolist()]
    state = torch.random.get_rng_state()
    again = fit_clusters(units, 4)
    assert torch.equal(again[1], labels) and again[2] == inertia
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("rows", [[[1.0, 2.0]] * 5, [[1.0, 2.0]] * 3 + [[5.0, 6.0]] * 2])
def test_there_are_no_more_clusters_than_units_that_differ(rows: list[list[float]]) -> None:
    centres, labels, inertia = fit_clusters(torch.tensor(rows), 4)
    different = len({tuple(row) for row in rows})
    assert len(centres) == different and inertia == pytest.approx(0, abs=1e-9)
    assert labels.tolist() == sorted(labels.tolist()) and set(labels.tolist()) == set(range(different))
