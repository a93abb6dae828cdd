"""The number of an answer that is asked about: held against the answers themselves, laid out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from fmap_cli.answers.reading import predictions
from fmap_cli.answers.target import answer_of, probability_of, target_of, value_of
from fmap_cli.errors import FmapError, ModelError
from fmap_cli.models.records import LoadedModel, Preprocessing, Weights


def model(labels: tuple[str, ...] | None = None, kind: Any = "image") -> LoadedModel:
    return LoadedModel(nn.Identity(), "net", Weights("given"), Preprocessing(None, None), labels, kind)


PETS = ("cat", "tiger cat", "crane", "crane")


def test_a_classifiers_predicted_class_its_logit_and_its_probability() -> None:
    scores = torch.tensor([[0.0, 2.0, 1.0, -1.0]], requires_grad=True)
    found = target_of(model(PETS), scores)
    assert (found.kind, found.index, found.name, found.quantity, found.value) == ("class", 1, "tiger cat", "logit", 2.0)
    assert found.predicted
    assert found.in_words == "the logit of tiger cat"
    many = torch.cat([scores, scores.flip(1)])
    assert value_of(found, many).tolist() == [2.0, 1.0]
    (gradient,) = torch.autograd.grad(value_of(found, scores).sum(), scores)
    assert gradient.tolist() == [[0, 1, 0, 0]]
    probability = probability_of(found, many)
    assert probability is not None
    assert torch.equal(probability, many.softmax(1)[:, 1])
    assert answer_of(found, many).tolist() == [1, 2]
    assert found.probability == pytest.approx(float(scores.detach().softmax(1)[0, 1]))


def test_what_is_not_known_to_be_class_scores_has_no_probability() -> None:
    maps = torch.rand(1, 3, 4, 5) * 4 - 2
    found = target_of(model(), maps)
    mask = maps[0].argmax(0) == found.index
    assert found.value == pytest.approx(float(maps[0, found.index][mask].double().mean()))
    assert (found.quantity, found.probability, found.name) == ("mean", None, f"output channel {found.index}")
    assert "logit" not in found.in_words and probability_of(found, maps) is None
    assert target_of(model(), {"out": maps}).probability is not None
    assert target_of(model(("a", "b", "c")), maps).probability is not None


def test_scores_of_a_sigmoid_are_no_logits_and_softmax_makes_no_probability_of_them() -> None:
    torch.manual_seed(0)
    ends = LoadedModel(nn.Sequential(nn.Linear(2, 4), nn.Sigmoid()), "net", Weights("given"), Preprocessing(None, None))
    few, many = torch.rand(1, 4).sigmoid(), torch.randn(1, 20).sigmoid()
    for net, scores in ((ends, few), (model(), many)):
        found = target_of(net, scores)
        assert (found.quantity, found.probability) == ("score", None)
        assert found.value == pytest.approx(float(scores.max())) and found.index == int(scores.argmax())
        assert probability_of(found, scores) is None
    maps = torch.randn(1, 3, 4, 5).sigmoid()
    assert target_of(model(("a", "b", "c")), maps).quantity == "mean score"
    assert target_of(model(), torch.zeros(1, 20)).quantity == "logit"  # a head that starts at zero
    assert target_of(model(), torch.full((1, 20), 0.05)).quantity == "probability"
    averaged = torch.randn(1, 20, 9).relu().mean(2) * (torch.arange(20) > 2)  # as SqueezeNet ends
    assert target_of(model(), averaged).quantity == "logit"
    found = predictions(averaged, None, 20, nn.ReLU())
    chances = torch.tensor([each.probability for each in sorted(found, key=lambda each: each.index)])
    assert torch.allclose(chances, averaged[0].softmax(0)) and not any(each.alone for each in found)


@pytest.mark.parametrize(("wanted", "index"), [("Tiger_Cat", 1), ("cat", 0), (3, 3), ("2", 2)])
def test_a_class_is_asked_for_by_name_or_number(wanted: Any, index: int) -> None:
    found = target_of(model(PETS), torch.tensor([[0.0, 2.0, 1.0, -1.0]]), wanted)
    assert (found.index, found.predicted) == (index, index == 1)


@pytest.mark.parametrize(
    ("wanted", "labels", "words"),
    [
        ("tiger", PETS, "no class 'tiger'.\nDid you mean tiger cat?"),
        ("cat", ("castle", "Egyptian cat", "dog", "cow"), "no class 'cat'.\nDid you mean Egyptian cat?"),
        ("tigre cat", PETS, "no class 'tigre cat'.\nDid you mean tiger cat?"),
        ("crane", PETS, "2 classes are called 'crane': 2 and 3."),
        (4, PETS, "no class 4: net has 4, 0 to 3"),
        ("-1", PETS, "no class -1: net has 4, 0 to 3"),
        ("cat", None, "4 classes, and their names are not known"),
    ],
)
def test_a_class_that_does_not_exist_is_named_with_what_does(wanted: Any, labels: Any, words: str) -> None:
    with pytest.raises(FmapError) as raised:
        target_of(model(labels), torch.tensor([[0.0, 2.0, 1.0, -1.0]]), wanted)
    assert words in str(raised.value)


def test_an_answer_of_probabilities_has_no_logit() -> None:
    found = target_of(model(), torch.tensor([[0.25, 0.75]]))
    assert (found.quantity, found.value, found.probability) == ("probability", 0.75, 0.75)
    assert probability_of(found, torch.tensor([[0.5, 0.5]])).tolist() == [0.5]  # type: ignore[union-attr]


@pytest.mark.parametrize("output", [torch.zeros(1, 3, 8), (torch.zeros(1, 4), torch.zeros(1, 3))])
def test_an_answer_without_class_scores_is_an_error_in_words(output: Any) -> None:
    with pytest.raises(ModelError, match="net is not a classifier"):
        target_of(model(), output)


def test_a_networks_only_number_and_its_only_map() -> None:
    found = target_of(model(), torch.tensor([[-0.5]]))
    assert (found.kind, found.value, found.index) == ("number", -0.5, None)
    assert value_of(found, torch.tensor([[1.0], [2.0]])).tolist() == [1.0, 2.0]
    found = target_of(model(), torch.tensor([[[[-1.0, 3.0], [1.0, -2.0]]]]))
    assert (found.kind, found.value) == ("pixels", 2.0)
    assert value_of(found, torch.tensor([[[[0.0, 5.0], [7.0, 0.0]]]])).tolist() == [6.0]
    with pytest.raises(FmapError, match="gives a single number, and has no classes"):
        target_of(model(), torch.tensor([[-0.5]]), "cat")


def test_a_segmentations_class_is_asked_about_over_its_pixels() -> None:
    """Three pixels of four are background, one is a dog; the dog is asked about, at that pixel alone."""
    scores = torch.zeros(1, 3, 2, 2)
    scores[0, 0] = 1
    scores[0, 2, 1, 0] = 4
    labels = ("__background__", "cat", "dog")
    found = target_of(model(labels), {"out": scores, "aux": scores})
    assert (found.name, found.value, found.mask.tolist()) == ("dog", 4.0, [[False, False], [True, False]])  # type: ignore[union-attr]
    assert found.in_words == "the mean logit of dog over its 1 pixels"
    scores.requires_grad_()
    (gradient,) = torch.autograd.grad(value_of(found, scores).sum(), scores)
    assert gradient.nonzero().tolist() == [[0, 2, 1, 0]]
    assert answer_of(found, torch.cat([scores, scores * 0.1])).tolist() == [2, 2]
    cat = target_of(model(labels), scores, "cat")
    assert cat.value == 0
    assert "no pixel is given to cat" in cat.note


def detector(*found: tuple[list[float], int, float]) -> list[dict[str, torch.Tensor]]:
    boxes, classes, scores = zip(*found, strict=True) if found else ((), (), ())
    return [
        {
            "boxes": torch.tensor(boxes).reshape(-1, 4),
            "labels": torch.tensor(classes, dtype=torch.int64),
            "scores": torch.tensor(scores, requires_grad=True),
        }
    ]


def test_a_detectors_object_is_found_again_by_class_and_overlap() -> None:
    kind = model(("bg", "cat", "dog"), "images")
    before = detector(([0, 0, 10, 10], 1, 0.6), ([20, 20, 40, 40], 2, 0.9), ([0, 0, 10, 10], 2, 0.2))
    surest = target_of(kind, before)
    assert (surest.name, surest.number, surest.box) == ("dog", 0, (20, 20, 40, 40))
    cat = target_of(kind, before, "cat")
    assert (cat.number, cat.value, cat.predicted) == (1, pytest.approx(0.6), False)
    assert target_of(kind, before, box=1).index == 1
    # moved by 2 of 10 pixels it is the same cat: 80 of 120 shared; the dog in its place is not
    after = detector(([0, 0, 10, 10], 2, 0.95), ([2, 0, 12, 10], 1, 0.3))
    assert value_of(cat, before + after).tolist() == pytest.approx([0.6, 0.3])
    assert value_of(cat, detector(([6, 0, 16, 10], 1, 0.3))).tolist() == [0]
    assert value_of(cat, detector()).tolist() == [0]
    assert answer_of(cat, before + after + detector()).tolist() == [1, 1, -1]
    (gradient,) = torch.autograd.grad(value_of(cat, after).sum(), after[0]["scores"])
    assert gradient.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"box": 2}, "there is no box 2: net finds 2 objects in a.png"),
        ({"wanted": "bird"}, "finds no bird in a.png.\nIt finds dog, cat."),
        ({"wanted": "dgo"}, "no class 'dgo'.\nDid you mean dog?"),
        ({"wanted": "cat", "box": 0}, "box 0 is dog, not cat"),
    ],
)
def test_an_object_that_is_not_there_is_an_error_in_words(asked: Any, words: str) -> None:
    found = detector(([0, 0, 10, 10], 1, 0.6), ([20, 20, 40, 40], 2, 0.9))
    with pytest.raises(FmapError) as raised:
        target_of(model(("bg", "cat", "dog", "bird"), "images"), found, image="a.png", **asked)
    assert words in str(raised.value)


def test_no_object_and_no_detector_are_errors_in_words() -> None:
    with pytest.raises(FmapError, match=r"finds no object in a\.png"):
        target_of(model(None, "images"), detector(), image="a.png")
    with pytest.raises(FmapError, match="net finds no objects"):
        target_of(model(PETS), torch.zeros(1, 4), box=0)
    with pytest.raises(ModelError, match="not a classifier: its output is how each pixel moves"):
        target_of(model(None, "image_pair"), torch.zeros(1, 2, 4, 4))
