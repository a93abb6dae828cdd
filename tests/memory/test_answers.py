"""What a network answers with, and the heads that it is trained with: the estimate against a real step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from memory.real_run import training_step
from torch import nn

from fmap_cli.errors import ModelError
from fmap_cli.memory.request import MemoryRequest
from fmap_cli.memory.step import trace_of
from fmap_cli.memory.subject import open_subject
from fmap_cli.models.records import ModelRequest

_NETWORKS = """
from dataclasses import dataclass
import torch
from torch import nn

@dataclass
class Answer:
    logits: torch.Tensor
    extra: object = None

class Net(nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.body, self.answer = nn.Conv2d(3, 4, 3), answer
    def forward(self, x):
        y = self.body(x)
        return self.answer(y)

def record(): return Net(lambda y: Answer(y.mean((2, 3)), {"map": Answer(y)}))
def nothing(): return Net(lambda y: None)
def choice(): return Net(lambda y: y.argmax(1))
def wave(): return Net(lambda y: torch.fft.fft(y))
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("answers") / "answers.py"
    file.write_text(_NETWORKS)
    return file


def _request(model: str, **more: object) -> MemoryRequest:
    return MemoryRequest(ModelRequest(model), batch=2, size=(64, 64), **more)  # type: ignore[arg-type]


def _kept(model: str) -> int:
    subject = open_subject(_request(model), lambda _: None)
    found = trace_of(subject, _request(model), "train", target="cpu")
    return int(found.sizes[found.saved].sum())


def test_googlenet_is_counted_with_the_heads_it_is_trained_with() -> None:
    network = torchvision.models.googlenet(weights=None, init_weights=False)
    labels = torch.zeros(2, dtype=torch.int64)

    def loss(answer: tuple[torch.Tensor, ...]) -> torch.Tensor:
        return torch.stack([nn.functional.cross_entropy(each, labels) for each in answer]).sum()

    real = training_step(network, (torch.zeros(2, 3, 64, 64),), loss)
    # Each loss keeps its scores and the sum of its weights; stacking them in the loop above keeps nothing.
    assert _kept("googlenet") == real.saved


def test_a_record_is_trained_by_the_tensors_in_it(networks: Path) -> None:
    """A dataclass with another inside: the map and its mean, squared."""
    batch, places = 2, 62 * 62
    image, weights, maps, means = 2 * 3 * 64 * 64, 4 * 27, batch * 4 * places, batch * 4
    assert _kept(f"{networks}:record") == 4 * (image + weights + maps + means)


def test_complex_answers_are_trained_by_both_parts(networks: Path) -> None:
    class Wave(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.fft.fft(self.body(x))

    real = training_step(Wave(), (torch.zeros(2, 3, 64, 64),), lambda y: torch.view_as_real(y).square().mean())
    assert _kept(f"{networks}:wave") == real.saved


@pytest.mark.parametrize("name", ["nothing", "choice"])
def test_an_answer_without_a_number_to_train_is_said(networks: Path, name: str) -> None:
    with pytest.raises(ModelError, match="cannot be trained: there is no floating-point tensor") as caught:
        open_subject(_request(f"{networks}:{name}"), lambda _: None)
    assert "--inference" in str(caught.value.hint)
    inference = _request(f"{networks}:{name}", modes=("inference",))
    found = trace_of(open_subject(inference, lambda _: None), inference, "inference")
    assert found.sizes.sum() >= 4 * 2 * 4 * 62 * 62
