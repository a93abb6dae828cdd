"""The values of a vector that differ most, and the one way in which a page of `fmap compare` writes numbers."""

from __future__ import annotations

import numpy as np
import torch

from fmap_cli.comparison.figure import _number_of
from fmap_cli.comparison.measures import differ
from fmap_cli.comparison.records import ComparedLayer, Comparison, Side
from fmap_cli.comparison.vector import drawn_vector
from fmap_cli.comparison.words import verdict
from fmap_cli.models.records import Origin, Weights
from fmap_cli.network.records import Axes, LayerRef


def scores(a: list[float], b: list[float]) -> ComparedLayer:
    difference = differ(torch.tensor([a]), torch.tensor([b]), 1)
    layer = LayerRef("fc", "fc", 0, "linear", "Linear")
    return ComparedLayer(layer, (1, len(a)), ("float32", "float32"), difference, True, None, Axes(("B", "C"), ""))


def test_the_scores_that_differ_most_come_first_under_their_classes() -> None:
    b = [1.0, 5.0, 0.0, 2.5]
    found = drawn_vector([scores([1.0, 2.0, 9.0, 2.0], b)], torch.tensor([b]), ["cat", "dog", "cup", "tray"])
    assert found is not None
    assert (found.drawn, found.labels, found.count) == ((2, 1, 3), ("cup", "dog", "tray"), 4)  # apart by 9, 3, 0.5, 0
    np.testing.assert_array_equal(found.values, [[9, 2, 2], [0, 5, 2.5]])


def test_a_vector_that_is_not_the_answer_has_no_classes() -> None:
    found = drawn_vector([scores([1.0, 2.0], [1.0, 5.0])], torch.tensor([[0.0, 5.0]]), ["cat", "dog"])
    assert found is not None and found.labels == ()
    assert drawn_vector([scores([1.0, 2.0], [1.0, 2.0])]) is None, "nothing differs"


def test_a_page_writes_the_threshold_as_its_axis_does() -> None:
    side = Side("cat.png", Origin("net", Weights("pretrained", "V1"), device="cpu"))
    for threshold, b, said in ((1e-4, 1 + 1e-6, "10⁻⁴"), (0.1, 1.05, "0.1")):
        comparison = Comparison(side, side, threshold, (scores([1.0, 1.0], [1.0, b]),))
        assert _number_of(comparison)(threshold) == said
        assert f", the first over {said}; 1 of 1 layer is over" in verdict(comparison, _number_of(comparison))
