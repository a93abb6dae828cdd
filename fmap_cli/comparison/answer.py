"""What the network answers on either side, and whether that is the same answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..answers.reading import class_scores, detections, items, plain, predictions, score_map
from ..answers.records import Detection, Prediction
from ..answers.target import SAME_BOX
from ..session.opening import Session
from .measures import differ, real_numbers
from .records import Answer

LEAST_SCORE = 0.5
"""Objects of at least this score are a detector's answer, as in `fmap show`."""
_LIKELIEST = 3


@dataclass(frozen=True, slots=True)
class Answered:
    """One side's answer, in copies of its own: of these the first that there is says what the network is for.

    `classes` are a classifier's likeliest, `objects` a detector's, None where it is none; `pixels` `[H, W]` each
    pixel's class, and `values` all values of any other answer, or of these too, `[N]`.
    """

    labels: tuple[str, ...] | None
    classes: tuple[Prediction, ...]
    objects: tuple[Detection, ...] | None
    pixels: np.ndarray | None
    values: Tensor | None
    flow: bool = False


def answered(session: Session, output: Any) -> Answered:
    """What is compared of this answer for one image."""
    model = session.model
    labels = model.labels
    if model.input_kind == "images":
        return Answered(labels, (), detections(output, labels, LEAST_SCORE), None, None)
    flow = model.input_kind == "image_pair"
    classes = () if flow else predictions(output, labels, _LIKELIEST, model.module)
    return Answered(labels, classes, None, None if flow else _pixels(output, labels), _values(output, flow), flow)


def _pixels(output: Any, labels: Sequence[str] | None) -> np.ndarray | None:
    """Each pixel's class, where the maps of the answer are known to be scores of classes."""
    scores = score_map(output)
    if scores is None or len(scores) != 1 or class_scores(output, labels) is not None:
        return None
    named = isinstance(output, Mapping) and ("out" in output or "logits" in output)  # as segmentation networks do
    if not named and (labels is None or len(labels) != scores.shape[1]):
        return None
    found: np.ndarray = plain(scores)[0].argmax(0).cpu().numpy()
    return found


def _values(output: Any, flow: bool) -> Tensor | None:
    """All numbers of an answer in a row, `[N]` on the CPU; of optical flow's estimates those of the last, the best."""
    found = list(_tensors(output))
    found = found[-1:] if flow else found
    parts = [real_numbers(each).flatten().to(torch.float64) for each in found]
    return torch.cat(parts) if parts and sum(map(len, parts)) else None


def _tensors(output: Any, depth: int = 0) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output.detach()
    elif depth < 16:
        for _, each in items(output):
            yield from _tensors(each, depth + 1)


def held_against(a: Answered, b: Answered, threshold: float) -> Answer | None:
    """Whether B's answer is A's; None where one is of another kind or shape than the other, or there is none.

    Classes are the same by their names, where both sides have such, or else by their numbers. Objects are the same
    where they are of one class and their boxes overlap by half (intersection over union), the surest first.
    """
    if a.objects is not None and b.objects is not None:
        return _objects(a, b)
    if a.classes and b.classes:
        changed = not _same(a.classes[0], b.classes[0])
        return Answer("class", changed, classes=(a.classes, b.classes))
    if a.pixels is not None and b.pixels is not None:
        return _of_pixels(a, b)
    if a.values is None or b.values is None or a.values.shape != b.values.shape:
        return None
    difference = differ(a.values, b.values)
    numbers = (float(a.values[0]), float(b.values[0])) if len(a.values) == 1 else None
    apart = None
    if a.flow and b.flow:
        steps = (a.values - b.values).reshape(2, -1)  # horizontal and vertical
        apart = float(steps.square().sum(0).sqrt().mean())
    over = difference.relative_l2 > threshold
    neither = bool(a.values.numel()) and not bool(a.values.isfinite().any() or b.values.isfinite().any())
    kind: Literal["number", "values"] = "number" if numbers else "values"
    return Answer(kind, over, difference=difference, numbers=numbers, endpoint_px=apart, no_numbers=neither)


def _same(a: Prediction | Detection, b: Prediction | Detection) -> bool:
    if a.label is not None and b.label is not None:
        return a.label == b.label
    return a.index == b.index


def _objects(a: Answered, b: Answered) -> Answer:
    left = list(b.objects or ())
    matched: list[tuple[Detection, Detection]] = []
    lost: list[Detection] = []
    for one in a.objects or ():
        near = max((each for each in left if _same(one, each)), key=lambda each: _overlap(one, each), default=None)
        if near is not None and _overlap(one, near) >= SAME_BOX:
            left.remove(near)
            matched.append((one, near))
        else:
            lost.append(one)
    changed = bool(lost or left)
    return Answer("objects", changed, matched=tuple(matched), lost=tuple(lost), added=tuple(left))


def _overlap(a: Detection, b: Detection) -> float:
    """Intersection over union of two boxes.

    >>> one, other = (Detection((0, 0, 2, right), 1, None, 0.9) for right in (2, 4))
    >>> _overlap(one, other)
    0.5
    """
    top, left, bottom, right = (
        *(max(a.box[at], b.box[at]) for at in (0, 1)),
        *(min(a.box[at], b.box[at]) for at in (2, 3)),
    )
    shared = max(bottom - top, 0) * max(right - left, 0)
    areas = [(each.box[2] - each.box[0]) * (each.box[3] - each.box[1]) for each in (a, b)]
    return shared / (sum(areas) - shared) if sum(areas) > shared else 0.0


def _of_pixels(a: Answered, b: Answered) -> Answer:
    """Which classes most pixels have on either side; of maps of one size also how many get another one, and which."""
    assert a.pixels is not None and b.pixels is not None
    areas = _areas(a.pixels, a.labels), _areas(b.pixels, b.labels)
    if a.pixels.shape != b.pixels.shape:
        there = [{name for name, _ in side} for side in areas]
        return Answer("pixels", there[0] != there[1], areas=(areas[0][:_LIKELIEST], areas[1][:_LIKELIEST]))
    other = a.pixels != b.pixels
    pairs, counts = np.unique(np.stack([a.pixels[other], b.pixels[other]]), axis=1, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:_LIKELIEST]
    moves = tuple(
        (_label(a.labels, int(pairs[0, at])), _label(b.labels, int(pairs[1, at])), float(counts[at] / other.size))
        for at in most
    )
    return Answer(
        "pixels",
        bool(other.any()),
        pixels=float(other.mean()),
        moves=moves,
        areas=(areas[0][:_LIKELIEST], areas[1][:_LIKELIEST]),
    )


def _areas(classes: np.ndarray, labels: Sequence[str] | None) -> tuple[tuple[str, float], ...]:
    """The classes that pixels have, with their shares of them, the largest first."""
    found, counts = np.unique(classes, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple((_label(labels, int(found[at])), float(counts[at] / classes.size)) for at in order)


def _label(labels: Sequence[str] | None, index: int) -> str:
    return labels[index] if labels is not None and index < len(labels) else f"class {index}"
