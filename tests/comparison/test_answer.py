"""Whether B's answer is A's: of a classifier, a detector, a segmentation, flow, and of any other network."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import fmap_cli as fmap
from fmap_cli.comparison.words import answer_in_words


class Says(nn.Module):
    """Answers with `made` of its one scale, whatever the picture."""

    def __init__(self, made: Callable[[torch.Tensor], Any], scale: float) -> None:
        super().__init__()
        self.conv, self.made = nn.Conv2d(3, 2, 1), made
        self.scale = nn.Parameter(torch.tensor(scale))

    def forward(self, x: torch.Tensor) -> Any:
        self.conv(x)
        return self.made(self.scale)


def compared(made: Callable[[torch.Tensor], Any], a: float, b: float, labels: list[str] | None = None) -> Any:
    said: Any = {"size": 8, "labels": labels, "say": str}
    one, other = (fmap.load_model(Says(made, scale).eval(), **said) for scale in (a, b))
    return fmap.compare(one, torch.zeros(3, 8, 8).numpy(), vs=other, say=str)


def scores(scale: torch.Tensor) -> torch.Tensor:
    return torch.stack([scale, 1 - scale, torch.zeros(())])[None] * 2


def test_a_classifiers_classes_are_held_against_each_other() -> None:
    answer = (found := compared(scores, 0.75, 0.25, ["cat", "dog", "cup"])).answer
    shares = scores(torch.tensor(0.75)).softmax(1)[0]
    assert answer.changed and [each.label for each in answer.classes[0]] == ["cat", "dog", "cup"]
    assert answer.classes[0][0].probability == pytest.approx(float(shares[0]))
    assert answer_in_words(found)[0] == "answer: cat 62.9 % → dog 62.9 % (changed)"
    same = compared(scores, 0.75, 0.7, ["cat", "dog", "cup"])
    assert answer_in_words(same)[0] == "answer: cat 62.9 % → 59.0 % (unchanged: the same class)"
    document = same.document()["answer"]
    assert document["kind"] == "class" and document["changed"] is False
    assert document["a"][0] == {"index": 0, "label": "cat", "probability": pytest.approx(float(shares[0]))}


def boxes(scale: torch.Tensor) -> Any:
    """A cat that moves by a pixel, a dog that A alone is sure of, a cup that B alone is."""
    scale = scale.detach()
    where = torch.tensor([[0.0, 0, 4, 4], [4, 4, 8, 8], [0, 4, 4, 8]]) + torch.tensor([0, 0, float(scale), 0])
    return [
        {"boxes": where, "labels": torch.tensor([0, 1, 2]), "scores": torch.stack([scale * 0 + 0.9, 1 - scale, scale])}
    ]


def test_a_detectors_objects_are_matched_lost_and_new() -> None:
    from fmap_cli.answers.reading import detections
    from fmap_cli.comparison.answer import Answered, held_against

    labels = ("cat", "dog", "cup")
    a, b = (
        Answered(labels, (), detections(boxes(torch.tensor(each)), labels, 0.5), None, None) for each in (0.25, 0.75)
    )
    found = held_against(a, b, 0.1)
    assert found is not None and found.changed
    assert [one.label for one, _ in found.matched] == ["cat"]
    assert [each.label for each in found.lost] == ["dog"] and [each.label for each in found.added] == ["cup"]
    same = held_against(a, a, 0.1)
    assert same is not None and not same.changed and len(same.matched) == 2


def test_a_segmentations_pixels_of_another_class_are_counted() -> None:
    def maps(scale: torch.Tensor) -> dict[str, torch.Tensor]:
        ramp = torch.arange(16.0).reshape(1, 1, 4, 4) / 16
        return {"out": torch.cat([ramp, scale.expand(1, 1, 4, 4), ramp - 9], 1)}

    found = compared(maps, 0.5, 0.75, ["sky", "sea", "sand"])
    # Above the ramp's 0.5 are 7 of 16 pixels (0.5 itself ties), above 0.75 3: sky becomes sea in the others.
    sky = [int((maps(torch.tensor(each))["out"].argmax(1) == 0).sum()) for each in (0.5, 0.75)]
    assert found.answer.pixels == (sky[0] - sky[1]) / 16 == 0.25
    assert found.answer.moves == (("sky", "sea", 0.25),)
    assert answer_in_words(found)[0] == "answer: 25.0 % of the pixels get another class in B (changed)"


def test_any_other_answer_is_compared_by_its_values() -> None:
    def features(scale: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.ones(()), scale]).reshape(1, 1, 1, 2).expand(1, 3, 2, 2)

    a, b = (features(torch.tensor(each)).flatten() for each in (0.0, 1.0))
    found = compared(features, 0.0, 1.0)
    assert found.answer.kind == "values" and found.answer.changed
    assert found.answer.difference.cosine == pytest.approx(float(torch.cosine_similarity(a, b, 0)))
    assert answer_in_words(compared(features, 0.5, 0.5)) == ["answer: the same in all values (unchanged)"]
    number = compared(lambda scale: scale.reshape(1, 1), 0.5, 0.25)
    assert answer_in_words(number) == ["answer: 0.5 → 0.25 (changed)"]


def test_containers_that_repeat_a_layer_are_listed_when_asked_for(
    fmap: Callable[..., Any], samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    photos = (samples / "coffee.png", samples / "chelsea.png")
    ran = fmap("compare", *photos)
    assert ran.out.startswith("answer: espresso 95.1 % → tiger cat 39.5 % (changed)\n")
    assert "130 containers not listed: they repeat the output of a layer that is" in " ".join(ran.out.split())
    assert "\nfeatures.8 " not in ran.out and "\nfeatures.8.2 " in ran.out
    everything = fmap("compare", *photos, "--layer", "*")
    assert "\nfeatures.8 " in everything.out and "not listed" not in everything.out
