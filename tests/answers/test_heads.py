"""Which vector sums up an image: what the classifier reads, where there is one; else the network's own answer.

Expected is what the network itself computes, in a plain pass of torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fmap_cli.embedding import embed as many
from fmap_cli.models.records import ModelRequest
from fmap_cli.network.capture import watching
from fmap_cli.session.opening import Session, open_session, read_image

Run = Callable[..., Any]

NETS = '''
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

class Net(nn.Module):
    """Eight values, `vector`, that the last layers may read; a test finds them here after the pass."""
    def __init__(self, last):
        super().__init__()
        self.conv, self.act = nn.Conv2d(3, 8, 5, stride=4), nn.ReLU()
        self.inner = nn.Linear(8, 8)
        self.last = last

    def forward(self, x):
        self.maps = self.act(self.conv(x))
        y = self.maps.mean((2, 3))
        self.vector = y + self.inner(y).tanh()
        return self.last(self)

def net(last, **parts):
    def make():
        made = Net(last)
        for name, part in parts.items():
            made.add_module(name, part())
        return made
    return make

def fc():
    return nn.Linear(8, 10)

class Cosine(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(10, 8))
    def forward(self, x):
        return 16 * F.linear(F.normalize(x), F.normalize(self.weight))

# with a classifier: it reads `vector`
plain = net(lambda n: n.fc(n.vector), fc=fc)
softmax = net(lambda n: n.fc(n.vector).softmax(1), fc=fc)
log_softmax = net(lambda n: n.fc(n.vector).log_softmax(-1), fc=fc)
tempered = net(lambda n: n.fc(n.vector) * 0.07, fc=fc)
named = net(lambda n: {"logits": n.fc(n.vector), "features": n.vector}, fc=fc)
auxiliary = net(lambda n: (n.fc(n.vector), n.aux(n.vector)), fc=fc, aux=lambda: nn.Linear(8, 5))
cosine = net(lambda n: n.fc(n.vector), fc=Cosine)
dropped = net(lambda n: n.drop(n.fc(n.vector)), fc=fc, drop=lambda: nn.Dropout(0.5))
places = net(lambda n: n.fc(n.vector[..., None, None]).flatten(1), fc=lambda: nn.Conv2d(8, 10, 1))
mean_of_two = net(lambda n: (n.fc(n.vector) + n.other(n.vector)) / 2, fc=fc, other=fc)
mean_chance = net(lambda n: (n.fc(n.vector).softmax(1) + n.other(n.vector).softmax(1)) / 2, fc=fc, other=fc)

# without: the answer is the embedding
headless = net(lambda n: n.vector)
squashed = net(lambda n: n.inner(n.vector).tanh())
batchnorm_after = net(lambda n: n.bn(n.fc(n.vector)), fc=fc, bn=lambda: nn.BatchNorm1d(10))
normalised = net(lambda n: F.normalize(n.fc(n.vector)), fc=fc)
residual = net(lambda n: n.vector + n.small(n.vector), small=lambda: nn.Linear(8, 8))
nearly_straight = net(lambda n: F.hardswish(n.point(n.maps) * 1e-3).mean((2, 3)), point=lambda: nn.Conv2d(8, 12, 1))

last_activated = net(lambda n: n.small(n.vector).relu(), small=lambda: nn.Linear(8, 8))
attention_pooled = net(lambda n: n.small(n.maps.flatten(2).transpose(1, 2))[:, 0], small=lambda: nn.Linear(8, 6))

# without, and no vector
a_map = net(lambda n: n.maps)
maps = net(lambda n: [n.maps, F.avg_pool2d(n.maps, 2)])
hidden = net(lambda n: {"last_hidden_state": n.maps, "pooler_output": n.vector})

# two halves, each with a classifier of its own
halves = net(lambda n: n.fc(n.act(n.vector)) + n.other(n.vector.sin()), fc=fc, other=fc)

# more than one classifier's output, and no mean (VOLO)
def on_tokens(n):
    return n.other(n.maps.flatten(2).transpose(1, 2)).amax(1)

uneven = net(lambda n: n.fc(n.vector) + 0.5 * on_tokens(n), fc=fc, other=fc)

def blind():
    made = net(lambda n: n.fc(n.act(n.vector - 1)), fc=fc)()
    nn.init.zeros_(made.fc.weight)
    return made

def resnet():
    made = torchvision.models.resnet18()
    made.fc = nn.Identity()
    return made

def mobilenet():
    made = torchvision.models.mobilenet_v3_small()
    made.classifier = nn.Identity()
    return made

def vit(pool="token"):
    return timm.create_model("test_vit", num_classes=0, global_pool=pool)

def tokens():
    return vit("")
'''


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("nets") / "nets.py"
    file.write_text(NETS)
    return str(file)


def fed(nets: str, samples: Path, net: str, size: int = 64) -> tuple[Session, Any]:
    session = open_session(ModelRequest(f"{nets}:{net}", size=(size, size)), lambda _: None)
    return session, read_image(session, str(samples / "coffee.png"), lambda _: None)


def vector_of(session: Session, image: Any) -> tuple[many.Place, np.ndarray]:
    place = many.find_place(session, image, None, None)
    with watching(session.model.module, **place.watched) as through:
        return place, many._vectors(session, [image], place, through)


def answer_of(session: Session, image: Any) -> Any:
    with torch.no_grad():
        return session.model.module(image.tensor[None])


CLASSIFIERS = "plain softmax log_softmax tempered named auxiliary cosine dropped places mean_of_two mean_chance".split()


@pytest.mark.parametrize("net", CLASSIFIERS)
def test_what_the_classifier_reads_whatever_follows_it(nets: str, samples: Path, net: str) -> None:
    session, image = fed(nets, samples, net)
    place, found = vector_of(session, image)
    assert (place.is_answer, place.note, place.entered is not None) == (False, None, True)
    answer_of(session, image)
    assert found == pytest.approx(session.model.module.vector.numpy())


HEADLESS = (
    "headless squashed batchnorm_after normalised residual nearly_straight last_activated attention_pooled"
    " resnet mobilenet vit"
).split()


@pytest.mark.parametrize("net", HEADLESS)
def test_without_a_classifier_the_answer_is_the_embedding(nets: str, samples: Path, net: str) -> None:
    session, image = fed(nets, samples, net, 160 if net == "vit" else 64)
    place, found = vector_of(session, image)
    expected = answer_of(session, image)
    assert (place.is_answer, place.entered) == (True, None)
    assert found.shape == tuple(expected.shape)
    assert found == pytest.approx(expected.numpy(), rel=1e-5)
    assert place.note == (
        f"{nets}:{net} has no classifier (no last linear layer makes its answer):"
        f" the answer, {list(expected.shape)}, is the embedding."
    )


@pytest.mark.parametrize(
    ("net", "expected", "words"),
    [
        (
            "a_map",
            lambda answer: answer.mean((2, 3)),
            "the answer, [1, 8, 15, 15], is the embedding; its mean",
        ),
        ("maps", lambda answer: answer[1].mean((2, 3)), "1, [1, 8, 7, 7], of its answer is the embedding; its mean"),
        ("hidden", lambda answer: answer["pooler_output"], "pooler_output, [1, 8], of its answer is the embedding."),
        ("tokens", lambda answer: answer[:, 0], "of its tokens the class token is taken"),
    ],
)
def test_an_answer_that_is_no_vector_is_pooled_and_that_is_said(
    nets: str, samples: Path, net: str, expected: Callable[[Any], torch.Tensor], words: str
) -> None:
    session, image = fed(nets, samples, net, 160 if net == "tokens" else 64)
    place, found = vector_of(session, image)
    assert found == pytest.approx(expected(answer_of(session, image)).numpy(), abs=1e-6)
    assert words in str(place.note)


def test_of_two_classifiers_what_both_read(nets: str, samples: Path) -> None:
    session, image = fed(nets, samples, "halves")
    place, found = vector_of(session, image)
    answer_of(session, image)
    vector = session.model.module.vector
    assert found == pytest.approx(torch.cat([vector.relu(), vector.sin()], 1).numpy(), abs=1e-6)
    assert (place.name, place.entered) == ("act_1 + sin", "fc + other")
    assert "has 2 classifiers that read different layers" in str(place.note)
    assert str(place.note).endswith("one after the other (act_1 + sin); --layer act_1 takes one alone.")


def test_a_network_that_is_known_to_classify_has_a_classifier(nets: str, samples: Path) -> None:
    session, image = fed(nets, samples, "uneven")
    assert vector_of(session, image)[0].is_answer
    known = replace(session, model=replace(session.model, labels=tuple("abcdefghij")))
    place, found = vector_of(known, image)
    assert (place.is_answer, place.entered) == (False, "fc")
    assert "one output for each of the 10 classes; the answer is more than its output" in str(place.note)
    answer_of(session, image)
    assert found == pytest.approx(session.model.module.vector.numpy())


def test_an_untrained_classifier_that_ignores_what_it_reads(nets: str, samples: Path) -> None:
    """With weights of zero every vector before it makes its output again; it reads the last."""
    session, image = fed(nets, samples, "blind")
    place, _ = vector_of(session, image)
    assert (place.name, place.entered) == ("act_1", "fc")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["timm:crossvit_9_240", "timm:deit_tiny_distilled_patch16_224"])
def test_timms_networks_with_two_heads(fmap: Run, samples: Path, workdir: Path, model: str) -> None:
    told = fmap("embed", samples / "coffee.png", "-m", model, "-w", "random", "-o", "v.npz")
    assert "has 2 classifiers that read different layers" in told.err
    session = open_session(ModelRequest(model, "random"), lambda _: None)
    network: Any = session.model.module
    image = read_image(session, str(samples / "coffee.png"), lambda _: None)
    with torch.no_grad():
        tokens = network.forward_features(image.tensor[None])
    read = [each[:, 0] for each in tokens] if "crossvit" in model else [tokens[:, 0], tokens[:, 1]]
    with np.load("v.npz") as archive:
        assert archive["embeddings"] == pytest.approx(torch.cat(read, 1).numpy(), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch16_dinov3", "resnet50_clip.openai"])
def test_timms_networks_without_classes(samples: Path, name: str) -> None:
    session = open_session(ModelRequest(f"timm:{name}", "random", size=224), lambda _: None)
    image = read_image(session, str(samples / "coffee.png"), lambda _: None)
    assert vector_of(session, image)[1] == pytest.approx(answer_of(session, image).numpy(), abs=1e-6)
