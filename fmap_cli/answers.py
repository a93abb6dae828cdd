"""What a network's answer says: classes, labelled pixels, boxes. Pure functions of its output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .records import Detection, Prediction


def predictions(output: Any, labels: Sequence[str] | None, count: int = 5) -> tuple[Prediction, ...]:
    """The likeliest classes where the output is `[1, K]` scores, most likely first; else nothing.

    An output of several tensors counts where it has `logits` or is one tensor by another name. Scores
    become probabilities by softmax in float64, unless they are probabilities already.

    >>> [(p.label, round(p.probability, 3)) for p in predictions(torch.tensor([[0.0, 2.0]]), ["cat", "dog"])]
    [('dog', 0.881), ('cat', 0.119)]
    """
    if isinstance(output, dict) and output:
        output = output.get("logits", next(iter(output.values())) if len(output) == 1 else None)
    elif isinstance(output, (tuple, list)) and len(output) == 1:
        output = output[0]
    if not isinstance(output, torch.Tensor) or output.ndim != 2 or len(output) != 1 or output.shape[1] < 2:
        return ()
    scores = plain(output)[0].double().cpu()
    if labels is not None and len(labels) != len(scores):
        return ()
    if not scores.isfinite().all():
        return ()
    already = bool((scores >= 0).all()) and abs(float(scores.sum()) - 1) < 1e-3
    chances = scores if already else scores.softmax(0)
    values, indices = chances.topk(min(count, len(chances)))
    return tuple(
        Prediction(int(i), labels[int(i)] if labels is not None else None, float(p))
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
    if output.is_quantized:
        return output.dequantize()
    if output.layout != torch.strided:
        return plain(output.to_dense())
    return output.abs() if output.is_complex() else output
