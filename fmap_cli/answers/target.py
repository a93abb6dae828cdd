"""Which number of an answer is asked about, and that number of any answer, so that it can be differentiated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import FmapError, ModelError
from ..models.records import LoadedModel
from ..network.selection import near_names
from .classify import no_classifier
from .names import background_class, classes_called
from .reading import by_sigmoid, class_scores, plain, score_kind, score_map, tensors
from .records import Target

SAME_BOX = 0.5
"""Two boxes are of one object where their overlap (intersection over union) is at least this, as in PASCAL VOC."""


def target_of(
    model: LoadedModel, output: Any, wanted: str | int | None = None, box: int | None = None, image: str = "this image"
) -> Target:
    """The number that is asked about, of the answer for one image.

    `wanted` is a class by name or number; without it, it is the predicted one. Of a segmentation the predicted class is
    the one with the most pixels that is not the background; of a detector `box` is the object's rank by score, from 0,
    and `wanted` takes the surest object of that class. Raises FmapError where there is no such class or box, and
    ModelError for a network that scores no classes.
    """
    if box is not None and model.input_kind != "images":
        raise FmapError(
            f"box is for detectors, and {model.name} finds no objects.", hint="--class NAME asks about one."
        )
    if model.input_kind == "images":
        return _object(model, output, wanted, box, image)
    if model.input_kind == "image_pair":
        raise no_classifier(model, None)
    scores = class_scores(output, model.labels)
    if scores is not None:
        return _class(model, scores, wanted, image)
    held = _map_in(output)
    if held is not None and held.shape[1] > 1:
        named = isinstance(output, Mapping) and ("out" in output or "logits" in output)  # as segmentation networks do
        target = _pixels(model, held, wanted, image)
        if named or target.label is not None:
            return target
        return replace(target, assumed=True, quantity="mean", probability=None)
    number = _number(output) if held is None else held
    if number is None:
        raise no_classifier(model, output)
    if wanted is not None:
        what = "a single number" if held is None else "a single map"
        raise FmapError(f"{model.name} gives {what}, and has no classes.", hint="Leave --class out.")
    if held is not None:
        return _single_map(model, held, image)
    return Target("number", None, None, "value", float(number[0].detach()))


def value_of(target: Target, output: Any) -> Tensor:
    """The target's number of each item of an answer, `[B]`, of the answer's own dtype and with its gradient.

    Of a detector it is the score of the object of that class that overlaps the target's box most, 0 where none does by
    `SAME_BOX`: 0 has no gradient.
    """
    if target.kind == "object":
        return torch.stack([_score_of(target, each) for each in output])
    if target.kind == "number":
        found = _number(output)
        assert found is not None
        return found
    if target.kind == "pixels":
        return _over_pixels(target, _map_of(output)[:, target.index or 0])
    return _scores_of(target, output)[:, target.index]


def probability_of(target: Target, output: Any) -> Tensor | None:
    """The probability of the target's class for each item of an answer, `[B]`; None for a number without classes.

    Of pixels it is the mean over them; of an object its score. None also where softmax would make none of the scores:
    of maps that nothing calls classes, and of scores that a sigmoid put out.
    """
    if target.kind == "object":
        return value_of(target, output)
    if target.index is None or target.probability is None:
        return None
    if target.kind == "pixels":
        return _over_pixels(target, _map_of(output).softmax(1)[:, target.index])
    scores = _scores_of(target, output)
    return (scores if target.quantity == "probability" else scores.softmax(1))[:, target.index]


def answer_of(target: Target, output: Any) -> Tensor:
    """The class that each item is answered with, `[B]` int64, to see whether the answer flips.

    Of pixels it is the class that most of them are given; of an object its class, and −1 where it is found no more; of
    a network that gives one number, whether that is over 0.
    """
    if target.kind == "object":
        found = [target.index if bool(_score_of(target, each) > 0) else -1 for each in output]
        return torch.tensor(found, dtype=torch.int64)
    if target.index is None:
        return (value_of(target, output) > 0).long()
    if target.kind == "pixels":
        given = _map_of(output).argmax(1).flatten(1)  # [B, H·W]
        return given[:, _mask(target, given.device).flatten()].mode(1).values
    return _scores_of(target, output).argmax(1)


# -- classes -----------------------------------------------------------------------------------------------------


def class_index(model: LoadedModel, wanted: str | int, count: int) -> int:
    """The class of that name or number, of so many; FmapError where there is none, or several."""
    labels = model.labels if model.labels is not None and len(model.labels) == count else None
    found = classes_called(wanted, labels) if isinstance(wanted, str) else []
    if len(found) == 1:
        return found[0]
    if found:
        listed = " and ".join(map(str, found))
        raise FmapError(f"{len(found)} classes are called {wanted!r}: {listed}.", hint="Give one by its number.")
    text = str(wanted).strip()
    if text.isascii() and text.isdecimal() and int(text) < count:
        return int(text)
    if text.lstrip("-").isdecimal():
        raise FmapError(f"there is no class {text}: {model.name} has {count}, 0 to {count - 1}.")
    if labels is None:
        why = "their names are not known (--labels gives them)"
        raise FmapError(
            f"there is no class {wanted!r}: {model.name} has {count} classes, and {why}.",
            hint=f"Give a number, 0 to {count - 1}.",
        )
    near = near_names(text, labels)
    raise FmapError(
        f"{model.name} has no class {wanted!r}.",
        hint=(f"Did you mean {' or '.join(near)}? " if near else "")
        + f"There are {count}, by name or as 0 to {count - 1}.",
    )


def _label(model: LoadedModel, index: int, count: int | None = None) -> str | None:
    labels = model.labels
    fits = labels is not None and (index < len(labels) if count is None else len(labels) == count)
    return labels[index] if labels is not None and fits else None


def _class(model: LoadedModel, scores: Tensor, wanted: str | int | None, image: str) -> Target:
    row = plain(scores)[0].detach().double().cpu()
    _check_finite(model, row, image)
    predicted = int(row.argmax())
    index = predicted if wanted is None else class_index(model, wanted, len(row))
    kind = score_kind(row, model.module)
    return Target(
        "class",
        index,
        _label(model, index, len(row)),
        kind,
        float(row[index]),
        None if kind == "score" else float((row.softmax(0) if kind == "logit" else row)[index]),
        index == predicted,
        labels=model.labels,
    )


def _check_finite(model: LoadedModel, scores: Tensor, image: str) -> None:
    if not scores.isfinite().all():
        raise ModelError(
            f"{model.name} gives scores that are not finite for {image}.",
            hint="`fmap stats` on this image says at which layer NaN or infinity begins.",
        )


def _scores_of(target: Target, output: Any) -> Tensor:
    found = class_scores(output, target.labels)
    assert found is not None
    return plain(found)


def _number(output: Any) -> Tensor | None:
    """The one number of each item, `[B]`, where the answer is that."""
    held = tensors(output)
    if len(held) != 1:
        return None
    (found,) = held.values()
    alone = found.ndim > 0 and found.numel() == len(found) and found.is_floating_point()
    return plain(found).flatten() if alone else None


# -- pixels ------------------------------------------------------------------------------------------------------


def _pixels(model: LoadedModel, scores: Tensor, wanted: str | int | None, image: str) -> Target:
    scores = plain(scores)[0].detach().double().cpu()  # [K, H, W]
    _check_finite(model, scores, image)
    classes = scores.argmax(0)
    counts = classes.flatten().bincount(minlength=len(scores))
    foreground = counts.clone()
    behind = background_class(model.labels) if _label(model, 0, len(scores)) is not None else None
    if behind is not None:
        foreground[behind] = 0
    predicted = int((foreground if foreground.any() else counts).argmax())
    index = predicted if wanted is None else class_index(model, wanted, len(scores))
    label = _label(model, index, len(scores))
    mask = classes == index
    note = ""
    if not mask.any():
        note = f"no pixel is given to {label or f'class {index}'}: it is asked about over all pixels."
        mask = torch.ones_like(mask)
    apart = by_sigmoid(model.module, scores)
    return Target(
        "pixels",
        index,
        label,
        "mean score" if apart else "mean logit",
        float(scores[index][mask].mean()),
        None if apart else float(scores.softmax(0)[index][mask].mean()),
        index == predicted,
        mask=mask.numpy(),
        note=note,
        labels=model.labels,
    )


def _single_map(model: LoadedModel, values: Tensor, image: str) -> Target:
    """Of one map, as of a segmentation into two, the mean over the pixels where it is above 0; over all without one."""
    values = plain(values)[0, 0].detach().double().cpu()  # [H, W]
    _check_finite(model, values, image)
    mask = values > 0
    note = "" if mask.any() else "no pixel of the map is above 0: it is asked about over all pixels."
    mask = mask if mask.any() else torch.ones_like(mask)
    return Target("pixels", None, None, "mean", float(values[mask].mean()), mask=mask.numpy(), note=note)


def _map_in(output: Any) -> Tensor | None:
    """The answer as `[B, K, H, W]`, K = 1 where it is a single map."""
    found = score_map(output)
    if found is not None:
        return found
    held = tensors(output)
    only = next(iter(held.values())) if len(held) == 1 else None
    single = only is not None and only.ndim == 4 and only.shape[1] == 1 and only.shape[2:].numel() > 1
    return only if single else None


def _map_of(output: Any) -> Tensor:
    found = _map_in(output)
    assert found is not None
    return plain(found)


def _mask(target: Target, device: torch.device) -> Tensor:
    assert target.mask is not None
    return torch.from_numpy(target.mask).to(device)


def _over_pixels(target: Target, scores: Tensor) -> Tensor:
    """The mean of `[B, H, W]` over the target's pixels."""
    return scores.flatten(1)[:, _mask(target, scores.device).flatten()].mean(1)


# -- objects -----------------------------------------------------------------------------------------------------


def _object(model: LoadedModel, output: Any, wanted: str | int | None, box: int | None, image: str) -> Target:
    first = output[0] if isinstance(output, (list, tuple)) and output else None
    if not isinstance(first, dict) or not all(isinstance(first.get(each), Tensor) for each in ("boxes", "scores")):
        raise ModelError(f"{model.name} gives no boxes with a score each, so there is nothing to ask about.")
    scores, count = first["scores"].detach(), len(first["scores"])
    if not count:
        raise FmapError(f"{model.name} finds no object in {image}, so there is no score to ask about.")
    order = scores.argsort(descending=True, stable=True).tolist()
    classes = first["labels"].tolist() if isinstance(first.get("labels"), Tensor) else [0] * count
    if box is not None and box >= count:
        raise FmapError(
            f"there is no box {box}: {model.name} finds {count} object{'s' * (count != 1)} in {image}.",
            hint=f"--box takes 0 to {count - 1}, the surest first.",
        )
    number = 0 if box is None else box
    if wanted is not None:
        index = class_index(model, wanted, len(model.labels) if model.labels else max(classes) + 1)
        ranks = [rank for rank, each in enumerate(order) if classes[each] == index]
        there = ", ".join(
            dict.fromkeys(_label(model, classes[each]) or f"class {classes[each]}" for each in order[:20])
        )
        if box is not None and box not in ranks:
            named = _label(model, classes[order[box]]) or f"class {classes[order[box]]}"
            raise FmapError(f"box {box} is {named}, not {wanted}.", hint="Give --box or --class alone.")
        if not ranks:
            raise FmapError(f"{model.name} finds no {wanted} in {image}.", hint=f"It finds {there}.")
        number = ranks[0] if box is None else box
    at = order[number]
    left, top, right, bottom = first["boxes"][at].detach().double().tolist()  # torchvision puts width first
    score = float(scores[at])
    return Target(
        "object",
        classes[at],
        _label(model, classes[at]),
        "score",
        score,
        score,
        number == 0,
        box=(top, left, bottom, right),
        number=number,
    )


def _score_of(target: Target, found: dict[str, Tensor]) -> Tensor:
    """The score of the target's object among those of one image; 0 where it is found no more."""
    boxes, scores = found["boxes"].detach(), found["scores"]
    if not len(scores):
        return scores.new_zeros(())
    assert target.box is not None
    top, left, bottom, right = (boxes.new_tensor(each) for each in target.box)
    width = (torch.minimum(boxes[:, 2], right) - torch.maximum(boxes[:, 0], left)).clamp(min=0)
    height = (torch.minimum(boxes[:, 3], bottom) - torch.maximum(boxes[:, 1], top)).clamp(min=0)
    shared = width * height
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    overlap = shared / (areas + (bottom - top) * (right - left) - shared).clamp(min=1e-12)  # [N]
    if "labels" in found:
        overlap = overlap.masked_fill(found["labels"].ne(target.index or 0), -1.0)
    at = int(overlap.argmax())
    return scores[at] if float(overlap[at]) >= SAME_BOX else scores.new_zeros(())
