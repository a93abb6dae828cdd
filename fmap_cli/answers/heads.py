"""What makes a network's answer: its classifier, told by its values in one pass, and the layer that it reads.

The last linear layer in the order of execution need not be a classifier: in a network without a head it lies inside a
block. It is one only where the network's answer is its output, after nothing but what classifiers are followed by.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

import torch
from torch import Tensor, nn

from ..network.capture import Sink
from ..network.records import LayerRef
from .reading import plain

NEAR = 1e-3
"""Such a share of its largest value may an answer differ between two ways to the same numbers."""
_REMEMBERED = 24
"""How many outputs before a classifier its input is looked for among."""
_CANDIDATES = 8
"""How many of the last layers with weights may be classifiers."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A layer with weights that may be a classifier: what it put out, and the outputs of the layers before it.

    `position` is how many layers had run before it.
    """

    layer: LayerRef
    output: Tensor
    channel: int
    before: Sequence[tuple[LayerRef, Tensor]]
    position: int

    @property
    def path(self) -> str:
        return self.layer.path


class Recorder:
    """Watches one pass over one image: every layer with its shape, the last outputs, the last layers with weights."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.modules = dict(module.named_modules())
        self.layers: list[tuple[LayerRef, tuple[int, ...]]] = []
        self.recent: deque[tuple[LayerRef, Tensor]] = deque(maxlen=_REMEMBERED)
        self.candidates: deque[Candidate] = deque(maxlen=_CANDIDATES)

    def watch(self, layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            copied = output.detach().clone()
            if self._may_classify(layer, copied):
                channel = 1 if layer.kind == "conv" else copied.ndim - 1
                position = len(self.layers)
                self.candidates.append(Candidate(layer, copied, channel, list(self.recent), position))
            self.layers.append((layer, tuple(output.shape)))
            self.recent.append((layer, copied))

        return sink

    def _may_classify(self, layer: LayerRef, output: Tensor) -> bool:
        if layer.kind == "linear":
            return layer.is_module or bool(layer.path)  # a product inside a module of the user's own
        if layer.kind != "conv" or not layer.is_module:
            return False
        kernel = getattr(self.modules.get(layer.path), "kernel_size", (0,))
        return prod(kernel) == 1 or (output.ndim > 2 and prod(output.shape[2:]) == 1)

    def layer_that_is(self, answer: Tensor) -> LayerRef | None:
        """The last layer whose output is this tensor, value by value."""
        same = (layer for layer, output in reversed(self.recent) if _distance(output, answer) == 0)
        return next(same, None)


Answer = Callable[[Callable[[LayerRef], Sink | None]], Tensor | None]
"""One more pass over the image with this watcher; what it gives are the answer's scores, `[1, K]`."""


def classifiers(recorder: Recorder, answer: Tensor, again: Answer) -> list[Candidate]:
    """The layers whose output is the answer, `[1, K]`: one, or several of which it is the mean or the sum; else none.

    After a classifier may come an activation (SqueezeNet's), a mean over places, softmax, log-softmax, a sigmoid, or
    one factor. Scaling to length 1 may not, nor a norm: that is what embeddings are followed by. Values that happen to
    be alike prove nothing, as where activations near zero are nearly straight lines; so other values are put in the
    place of the layers' output, in a second pass, and have to come out.
    """
    if len(answer) != 1:
        return []
    for group in _groups(list(recorder.candidates)):
        if not _makes(group, answer) or any(_is_normed(recorder, each) for each in group):
            continue
        if _comes_out(group, again):
            return group
    return []


def _groups(candidates: list[Candidate]) -> Iterator[list[Candidate]]:
    """Each by itself from the last on, then neighbours of one shape."""
    for each in reversed(candidates):
        yield [each]
    for count in range(2, len(candidates) + 1):
        for at in range(len(candidates) - count, -1, -1):
            group = candidates[at : at + count]
            if len({each.output.shape for each in group}) == 1:
                yield group


def _makes(group: Sequence[Candidate], answer: Tensor) -> bool:
    wanted = plain(answer).flatten().double()
    for outputs in zip(*(_ways(each) for each in group), strict=False):
        if outputs[0].shape != wanted.shape:
            continue
        total = torch.stack(outputs).sum(0)
        if _is_the_answer(total, wanted) or _is_the_answer(total / len(group), wanted):
            return True
        if len(group) > 1 and any(
            _near(torch.stack([post(each) for each in outputs]).mean(0), wanted) for post in _AFTER
        ):
            return True
    return False


def _is_normed(recorder: Recorder, candidate: Candidate) -> bool:
    """Whether a norm reads the output. One that has not been trained yet changes nothing."""
    return any(
        layer.is_module
        and layer.kind == "norm"
        and _distance(_answer_of(recorder.modules[layer.path], candidate.output), output) <= NEAR
        for layer, output in recorder.recent
    )


def _comes_out(group: Sequence[Candidate], again: Answer) -> bool:
    """Whether other values, put in the place of these outputs while the network runs, make the answer as they did."""
    random = torch.Generator().manual_seed(0)
    put: dict[str, Tensor] = {}

    def watch(layer: LayerRef) -> Sink | None:
        if layer.name not in names:
            return None

        def sink(output: Tensor) -> None:
            with suppress(RuntimeError):  # an output that cannot be written to shows nothing
                output.copy_(2 * torch.randn(output.shape, generator=random))
                put[layer.name] = output.detach().clone()

        return sink

    names = {each.layer.name for each in group}
    answer = again(watch)
    if answer is None or put.keys() != names:
        return False
    return _makes([replace(each, output=put[each.layer.name]) for each in group], answer)


_AFTER = (
    lambda scores: scores.softmax(0),
    lambda scores: scores.log_softmax(0),
    torch.sigmoid,
)


def _ways(candidate: Candidate) -> Iterator[Tensor]:
    """The candidate's output as one value a channel, with what may come between it and that."""
    output = plain(candidate.output).double()
    if len(output) != 1:
        return
    values = output.movedim(candidate.channel, 1).flatten(2)[0] if output.ndim > 2 else output.flatten()[:, None]
    yield values.mean(1)  # [K]
    if values.shape[1] > 1:
        yield values.amax(1)
        yield values.relu().mean(1)


def _is_the_answer(scores: Tensor, wanted: Tensor) -> bool:
    return any(_near(each, wanted) for each in (scores, *(post(scores) for post in _AFTER))) or _is_scaled(
        scores, wanted
    )


def _is_scaled(scores: Tensor, wanted: Tensor) -> bool:
    """Whether the one is a multiple of the other, and was not scaled to length 1."""
    length, other = float(scores.norm()), float(wanted.norm())
    if not (0 < length < inf and 0 < other < inf) or abs(other - 1) < NEAR:
        return False
    return _near(scores * (other / length), wanted)


def _near(one: Tensor, other: Tensor) -> bool:
    return _distance(one, other) <= NEAR


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference, as a share of the largest value."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return inf
    found, expected = (plain(each).double().nan_to_num() for each in (one, other))
    if not found.numel():
        return 0.0
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-300))


def read_by(recorder: Recorder, candidate: Candidate) -> tuple[LayerRef, Tensor] | None:
    """The layer whose output the classifier reads: the first that, given to it, gives its output again; or None."""
    module, expected = recorder.modules[candidate.path], candidate.output
    before = candidate.before
    if not candidate.layer.is_module:
        # A product inside a module of the user's own: the classifier is the module, from where it begins.
        before = [each for each in before if not f"{each[0].path}.".startswith(f"{candidate.path}.")]
        whole = (output for layer, output in recorder.recent if layer.is_module and layer.path == candidate.path)
        expected = next(whole, expected)
    far = [_distance(_answer_of(module, output), expected) for _, output in before]
    least = min(far, default=inf)
    if least > NEAR:
        return None
    # One that has not been trained may put out the same for all of them: then it is what came last that it read.
    alike = [each for each, distance in zip(before, far, strict=True) if distance == least]
    return next(each for each in alike if _distance(each[1], alike[-1][1]) == 0)


def likely_classifier(recorder: Recorder, classes: int) -> Candidate | None:
    """The last layer with one output for each class, of a network that is known to have so many; None without one."""
    fitting = (each for each in reversed(recorder.candidates) if plain(each.output).numel() == classes)
    return next(fitting, None)


def _answer_of(module: nn.Module, value: Tensor) -> Tensor:
    """What the module makes of this value; nothing where it does not take it."""
    answer: Any = None
    with torch.no_grad(), suppress(Exception):  # most values have another shape
        answer = module(value.clone())
    return answer if isinstance(answer, Tensor) else torch.empty(0)


def scores_in(held: Mapping[str, Tensor]) -> list[Tensor]:
    """Those of an answer's tensors that a classifier may have made: `[1, K]`, or `[1, K, 1, 1]`."""
    return [each for each in held.values() if each.ndim > 1 and len(each) == 1 and prod(each.shape[2:]) == 1]
