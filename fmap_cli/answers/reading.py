"""What a network's answer says: classes, labelled pixels, boxes. Pure functions of its output."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .records import Detection, Prediction

_SCORES = ("logits", "class_logits", "cls_logits", "scores", "class_scores", "probabilities", "probs", "output")
"""What an answer of several tensors calls its classes' scores, in the order of preference."""
_EMBEDDINGS = ("pooler_output", "image_embeds", "embeddings", "embedding", "x_norm_clstoken", "features")
"""What it calls its embedding."""
_LONGEST_EMBEDDING = 4096
"""An answer without known classes that is longer is no embedding, but the scores of classes that nobody has named."""


def items(output: Any) -> Iterator[tuple[str, Any]]:
    """What an answer holds, by name, or by number where it has none; nothing of a tensor.

    Mappings, dataclasses, named tuples, lists and tuples, and objects whose attributes hold tensors.

    >>> [name for name, _ in items({"logits": torch.zeros(1, 2), "loss": None})]
    ['logits', 'loss']
    """
    if isinstance(output, Tensor):
        return
    if isinstance(output, Mapping):
        yield from ((str(key), value) for key, value in output.items())
    elif isinstance(output, (tuple, list)):
        names = getattr(output, "_fields", range(len(output)))
        yield from ((str(name), value) for name, value in zip(names, output, strict=True))
    elif dataclasses.is_dataclass(output) and not isinstance(output, type):
        yield from ((each.name, getattr(output, each.name)) for each in dataclasses.fields(output))
    elif hasattr(output, "__dict__") and not isinstance(output, (type, torch.nn.Module)):
        yield from vars(output).items()


def tensors(output: Any) -> dict[str, Tensor]:
    """The tensors that an answer holds, by name; a tensor by itself has the name ``.

    >>> list(tensors({"logits": torch.zeros(1, 2), "loss": None}))
    ['logits']
    """
    if isinstance(output, Tensor):
        return {"": output}
    return {name: value for name, value in items(output) if isinstance(value, Tensor)}


def class_scores(output: Any, labels: Sequence[str] | None, depth: int = 0) -> Tensor | None:
    """The classes' scores, `[B, K]` with K ≥ 2, where the answer is a classifier's; else None.

    That is a tensor of this shape (`[B, K, 1, 1]` is one), alone or the only thing in what holds it; of several
    tensors the one by a usual name (`logits`), or the only one with as many values as there are `labels`. An answer
    that is known to be no list of classes (no labels: features) is none, unless it is longer than embeddings are.

    >>> class_scores({"logits": torch.zeros(1, 10), "hidden_states": torch.zeros(1, 7, 32)}, None).shape
    torch.Size([1, 10])
    """
    if isinstance(output, Tensor):
        scores = output.flatten(1) if output.ndim > 2 and set(output.shape[2:]) == {1} else output
        if scores.ndim != 2 or scores.shape[1] < 2:
            return None
        return None if labels is not None and not labels and scores.shape[1] <= _LONGEST_EMBEDDING else scores
    held = {name: value for name, value in items(output) if value is not None}
    if len(held) == 1:
        # Nothing that answers is wrapped so often; what is may hold itself.
        return class_scores(next(iter(held.values())), labels, depth + 1) if depth < 16 else None
    found = {name: class_scores(value, labels) for name, value in held.items() if isinstance(value, Tensor)}
    rows = {name: scores for name, scores in found.items() if scores is not None}
    named = next((rows[name] for name in _SCORES if name in rows), None)
    if named is not None or labels is None:
        return named
    fitting = [scores for scores in rows.values() if scores.shape[1] == len(labels)]
    return fitting[0] if len(fitting) == 1 else None


def embedding_in(output: Any) -> tuple[str, Tensor] | None:
    """The name and value of the tensor that sums up an answer without classes: the only one; of several the one by a
    usual name (`pooler_output`), else the last, which of a backbone's maps is the deepest. None where there is none.

    >>> embedding_in([torch.zeros(1, 8, 28, 28), torch.zeros(1, 16, 14, 14)])[1].shape
    torch.Size([1, 16, 14, 14])
    """
    held = {name: value for name, value in items(output) if value is not None}
    if len(held) == 1 and not isinstance(output, Tensor):
        return embedding_in(next(iter(held.values())))
    found = {name: value for name, value in tensors(output).items() if value.ndim > 1}
    if not found:
        return None
    name = next((name for name in _EMBEDDINGS if name in found), list(found)[-1])
    return name, found[name]


def role(output: Any, key: str, refined: bool = False) -> str:
    """What the tensor called `key` is of an answer that holds several, in words.

    Of a mapping the answer is `out`, or what has another usual name; `aux` is there for training. `refined` says that
    the tensors are estimates, each better than the one before, as of optical flow.

    >>> answer = {"out": torch.zeros(1, 21, 4, 4), "aux": torch.zeros(1, 21, 4, 4)}
    >>> role(answer, "out"), role(answer, "aux")
    ("the network's answer", 'an auxiliary head, which only training reads; the answer is out')
    >>> role([torch.zeros(1, 2, 4, 4)] * 12, "0", refined=True)
    'estimate 1 of 12 of the answer; the last is the answer'
    """
    found = list(tensors(output))
    if key not in found:
        return "part of the network's answer"
    if len(found) == 1:
        return "the network's answer"
    place, count = found.index(key) + 1, len(found)
    if isinstance(output, Mapping):
        main = next((name for name in ("out", *_SCORES, *_EMBEDDINGS) if name in found), None)
        if key == main:
            return "the network's answer"
        if key.startswith("aux"):
            return "an auxiliary head, which only training reads" + (f"; the answer is {main}" if main else "")
    elif refined:
        if place == count:
            return f"the network's answer, the last of {count} estimates"
        return f"estimate {place} of {count} of the answer; the last is the answer"
    return f"{place} of the {count} tensors of the network's answer"


_SIGMOIDS = (nn.Sigmoid, nn.Hardsigmoid)
_MANY = 16
"""So many scores that all lie from 0 to 1 come of a sigmoid, whatever the network's last module is."""


def by_sigmoid(module: nn.Module, scores: Tensor) -> bool:
    """Whether scores, of which some do not add up to 1, come of a sigmoid each: by the last module or their range.

    A score of exactly 0 is a ReLU's, as at the end of SqueezeNet, and no sigmoid's that is not the last module.
    """
    if not bool(((scores >= 0) & (scores <= 1)).all()) or bool(scores.min() == scores.max()):
        return False  # a head that starts at zero gives one value
    last = next((each for each in reversed(list(module.modules())) if not any(each.children())), None)
    return isinstance(last, _SIGMOIDS) or (scores.numel() >= _MANY and bool((scores > 0).all()))


def score_kind(scores: Tensor, module: nn.Module | None) -> Literal["probability", "score", "logit"]:
    """What the scores `[K]` of one image are: probabilities of classes that exclude one another, which add up to 1,
    a sigmoid's for each class alone, or logits, of which softmax makes probabilities.
    """
    if bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < 1e-3:
        return "probability"
    return "score" if module is not None and by_sigmoid(module, scores) else "logit"


def predictions(
    output: Any, labels: Sequence[str] | None, count: int = 5, module: nn.Module | None = None
) -> tuple[Prediction, ...]:
    """The likeliest classes of one image, most likely first, where `class_scores` finds scores; else nothing.

    Scores become probabilities by softmax in float64, unless they are probabilities already: because they add up to 1,
    or because the `module` ends in a sigmoid. Labels that are not as many as the scores name nothing.

    >>> [(p.label, round(p.probability, 3)) for p in predictions(torch.tensor([[0.0, 2.0]]), ["cat", "dog"])]
    [('dog', 0.881), ('cat', 0.119)]
    """
    rows = class_scores(output, labels)
    if rows is None or len(rows) != 1:
        return ()
    scores = plain(rows)[0].double().cpu()
    if not scores.isfinite().all():
        return ()
    names = labels if labels is not None and len(labels) == len(scores) else None
    kind = score_kind(scores, module)
    chances = scores.softmax(0) if kind == "logit" else scores
    values, indices = chances.topk(min(count, len(chances)))
    return tuple(
        Prediction(int(i), names[int(i)] if names is not None else None, float(p), kind == "score")
        for p, i in zip(values, indices, strict=True)
    )


def label_map(output: Tensor, labels: Sequence[str] | None) -> np.ndarray | None:
    """The class of the largest score in each cell, `[H, W]` int64, where `[1, K, H, W]` has a map for each class.

    >>> label_map(torch.tensor([[[[0.0, 2.0]], [[1.0, 1.0]]]]), ["sky", "sea"]).tolist()
    [[1, 0]]
    """
    if labels is None or output.ndim != 4 or len(output) != 1 or output.shape[1] != len(labels):
        return None
    classes: np.ndarray = plain(output)[0].argmax(0).cpu().numpy()
    return classes


def score_map(output: Any) -> Tensor | None:
    """The classes' scores at each place, `[B, K, H, W]`, where the answer is a map, alone or the main one; else None.

    >>> score_map({"out": torch.zeros(1, 21, 4, 4), "aux": torch.zeros(1, 21, 4, 4)}).shape
    torch.Size([1, 21, 4, 4])
    """
    held = tensors(output)
    main = next((name for name in ("", "out", *_SCORES) if name in held), next(iter(held), None))
    found = held.get(main) if main is not None and (len(held) == 1 or main in ("out", *_SCORES)) else None
    return found if found is not None and found.ndim == 4 and found.shape[1] > 1 else None


def detections(
    output: Any, labels: Sequence[str] | None, least_score: float, scale: tuple[float, float] = (1.0, 1.0)
) -> tuple[Detection, ...]:
    """The objects of a detector's answer, `[{boxes [n, 4], labels [n], scores [n]}]`, best first; else nothing.

    `scale` (height, width) takes the boxes' pixels to those of the picture shown. Objects scored below `least_score`
    are left out.
    """
    if not (isinstance(output, (list, tuple)) and len(output) == 1 and isinstance(output[0], dict)):
        return ()
    answer = output[0]
    if not all(isinstance(answer.get(key), Tensor) for key in ("boxes", "labels", "scores")):
        return ()
    found = []
    for box, index, score in zip(
        answer["boxes"].double().tolist(), answer["labels"].tolist(), answer["scores"].double().tolist(), strict=True
    ):
        if score >= least_score:
            left, top, right, bottom = box  # torchvision puts width first
            place = (top * scale[0], left * scale[1], bottom * scale[0], right * scale[1])
            label = labels[index] if labels is not None and index < len(labels) else None
            found.append(Detection(place, index, label, score))
    return tuple(sorted(found, key=lambda each: -each.score))


def plain(output: Tensor) -> Tensor:
    """An output as ordinary numbers: a quantized tensor's values, a complex one's magnitudes."""
    values = laid_out(output)
    return values.abs() if values.is_complex() else values


def laid_out(output: Tensor) -> Tensor:
    """An output's values in ordinary memory, complex ones as they are."""
    if output.is_quantized:
        return output.dequantize()
    if output.layout != torch.strided:
        return laid_out(output.to_dense())
    return output.resolve_conj().resolve_neg()
