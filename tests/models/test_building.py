from __future__ import annotations

import warnings

import pytest
import torch
from torch import nn

from fmap_cli.models import building


def test_seeded_leaves_the_generator_as_it_was() -> None:
    before = torch.random.get_rng_state()
    with building.seeded(5):
        first = torch.rand(3)
    with building.seeded(5):
        again = torch.rand(3)
    assert torch.equal(first, again)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_seeded_restores_it_after_a_failure() -> None:
    before = torch.random.get_rng_state()
    with pytest.raises(ValueError, match="no"), building.seeded(5):
        torch.rand(3)
        raise ValueError("no")
    assert torch.equal(torch.random.get_rng_state(), before)


def test_no_init_passes_over_initialisation_and_brings_it_back() -> None:
    own = nn.init.kaiming_uniform_
    with building.no_init():
        weight = torch.full((2, 2), 7.0)
        assert nn.init.kaiming_uniform_(weight) is weight
        assert weight.eq(7).all()
        # What a constructor computes itself is right all the same.
        assert nn.BatchNorm1d(2).num_batches_tracked.item() == 0
    assert nn.init.kaiming_uniform_ is own
    assert not nn.init.normal_(weight).eq(7).any()


def test_no_init_reaches_functions_imported_by_name() -> None:
    with building.no_init():
        state = torch.random.get_rng_state()
        nn.MultiheadAttention(8, 2)
        assert torch.equal(torch.random.get_rng_state(), state)


def test_settled_vectors_are_zero_and_matrices_are_left_alone() -> None:
    network = nn.Linear(2, 3)
    before = network.weight.clone()
    building.settle(network)
    assert torch.equal(network.weight, before)
    assert network.bias.tolist() == [0, 0, 0]


def test_unfilled_networks_take_no_state() -> None:
    network = nn.Linear(2, 3)
    with building.unfilled():
        network.load_state_dict({"nonsense": torch.zeros(1)})
    with pytest.raises(RuntimeError, match="nonsense"):
        network.load_state_dict({"nonsense": torch.zeros(1)})


def test_no_init_comes_back_after_a_failure() -> None:
    own = nn.init.normal_
    with pytest.raises(ValueError, match="no"), building.no_init():
        raise ValueError("no")
    assert nn.init.normal_ is own


def test_quiet_lets_no_warning_out() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with building.quiet():
            warnings.warn("for the author", FutureWarning, stacklevel=1)
