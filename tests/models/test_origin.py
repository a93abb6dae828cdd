"""Where numbers come from: what weights are called, and what a session says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fmap_cli.models import load_model
from fmap_cli.models.records import ModelRequest, Weights, notes_about
from fmap_cli.session.opening import open_architecture, open_session


@pytest.mark.parametrize(
    ("weights", "label"),
    [
        (Weights("pretrained", "IMAGENET1K_V1"), "IMAGENET1K_V1"),
        (Weights("file", "net.pth"), "net.pth"),
        (Weights("program", "net.pt2"), "as in net.pt2"),
        (Weights("made", "net.py:make", 7), "as made by net.py:make (seed 7)"),
        (Weights("random", seed=0), "random (seed 0)"),
        (Weights("given"), "as given"),
        (Weights("none"), "architecture only"),
        (Weights("unknown", "what a run says"), "what a run says"),
    ],
)
def test_weights_as_text_are_the_label(weights: Weights, label: str) -> None:
    assert f"{weights}" == str(weights) == label
    assert weights.in_words == (label if weights.kind == "none" else f"weights: {label}")


def test_each_source_says_what_kind_its_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own_net.py").write_text("from torch import nn\ndef make(): return nn.Conv2d(3, 4, 1)\n")
    torch.save({"weight": torch.ones(4, 3, 1, 1), "bias": torch.zeros(4)}, "net.pth")
    program = torch.jit.trace(torch.nn.Conv2d(3, 4, 1), torch.zeros(1, 3, 8, 8))
    program.save("net.pt")

    def kind(*arguments: str, **more: object) -> tuple[str, int | None]:
        weights = load_model(*arguments, say=lambda _: None, **more).weights  # type: ignore[arg-type]
        return weights.kind, weights.seed

    assert kind("efficientnet_lite0") == ("pretrained", None)
    assert kind("efficientnet_lite0", "random", seed=2) == ("random", 2)
    assert kind("efficientnet_lite0", "random", initialise=False) == ("none", None)
    assert kind("squeezenet1_1", "random", seed=3) == ("random", 3)
    assert kind("own_net.py:make", seed=4) == ("made", 4)
    assert kind("own_net.py:make", "net.pth") == ("file", None)
    assert kind("net.pt") == ("program", None)


def test_a_session_says_where_its_results_come_from() -> None:
    session = open_session(ModelRequest("squeezenet1_1", "random", seed=5, size=64, dtype="float64"), lambda _: None)
    origin = session.origin
    assert (origin.model, origin.weights) == ("squeezenet1_1", Weights("random", seed=5))
    assert (origin.device, origin.dtype, origin.takes) == ("cpu", "float64", None)
    assert origin.preprocessing is session.model.preprocessing
    assert origin.fed_in_words == session.model.preprocessing.in_words
    assert origin.versions is not None
    assert origin.versions.torch == torch.__version__


def test_a_network_that_takes_no_picture_has_no_preprocessing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("vectors.py").write_text("from torch import nn\ndef make(): return nn.Linear(5, 2)\n")
    request = ModelRequest("vectors.py:make", input_shape=((5,),))
    origin = open_architecture(request, lambda _: None).origin
    assert (origin.preprocessing, origin.fed_in_words) == (None, "")
    assert origin.takes is not None
    assert origin.takes.shapes == ((5,),)


def test_what_is_left_unsaid_goes_by_what_a_note_is_about(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("half.py").write_text("from torch import nn\ndef make(): return nn.Conv2d(3, 4, 1).double()\n")
    all_said: list[str] = []
    session = open_session(ModelRequest("half.py:make"), all_said.append)
    assert all_said == list(session.model.notes)
    (feeding,), (dtype,) = notes_about(all_said, "feeding"), notes_about(all_said, "dtype")
    assert feeding.startswith("input assumed: ")
    assert "is made in float64" in dtype
    said: list[str] = []
    open_session(ModelRequest("half.py:make"), said.append, unsaid=("feeding", "dtype", "objects"))
    assert said == [each for each in all_said if each not in (feeding, dtype)]


def test_a_detector_without_weights_says_what_is_counted_for_one_object() -> None:
    said: list[str] = []
    session = open_architecture(ModelRequest("maskrcnn_resnet50_fpn"), said.append, unsaid=("objects",))
    assert said == []
    assert len(notes_about(session.model.notes, "objects")) == 1
