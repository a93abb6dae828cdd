"""What a network is trained towards, where nobody says: labels of the right shape, and a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .shortcuts import Shortcuts
from .tracing import mean_square

_OBJECTS = 16
"""How many objects an image of a detector's training has."""


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels for a batch: the `tensors` that lie in memory, `arguments` that the network itself is given, the loss."""

    tensors: tuple[Tensor, ...]
    arguments: tuple[Any, ...]
    loss: Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class Objective:
    """A loss by its name, and its targets at any batch."""

    name: str
    targets: Callable[[int], Targets]


def objective_for(module: nn.Module, inputs: tuple[Any, ...], input_kind: str, batch: int) -> Objective:
    """What networks with such an answer are usually trained towards.

    Cross entropy for one row of scores an image and for a map of scores a pixel, the network's own losses for
    detectors, the mean distance for optical flow, and the mean square for everything else. Whatever the network raises
    passes through.
    """
    if input_kind == "images":
        return Objective("the network's own losses", lambda count: _boxes(module, inputs, count))
    training = module.training
    module.train(batch > 1)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), Shortcuts():
            answer = module(*inputs)
    finally:
        module.train(training)
    if input_kind == "image_pair":
        return Objective("mean distance", lambda count: _flow(inputs, count))
    tensors = _answers(answer)
    if tensors and all(each.ndim == 2 and each.shape[1] > 1 for each in tensors):
        return Objective("cross entropy", lambda count: _classes((count,), count))
    if isinstance(answer, dict) and tensors and all(each.ndim == 4 for each in tensors):
        places = tuple(tensors[0].shape[2:])
        return Objective("cross entropy of pixels", lambda count: _classes((count, *places), count))
    return Objective("mean square", lambda count: Targets((), (), mean_square))


def _answers(answer: Any) -> list[Tensor]:
    if isinstance(answer, Tensor):
        return [answer]
    if isinstance(answer, dict):
        return [tensor for each in answer.values() for tensor in _answers(each)]
    if isinstance(answer, (tuple, list)):
        return [tensor for each in answer for tensor in _answers(each)]
    return []


def _classes(shape: tuple[int, ...], count: int) -> Targets:
    labels = torch.empty(shape, dtype=torch.int64, device="meta")

    def loss(answer: Any) -> Tensor:
        losses = [nn.functional.cross_entropy(each, labels) for each in _answers(answer)]
        total = losses[0]
        for each in losses[1:]:
            total = total + each
        return total

    return Targets((labels,), (), loss)


def _flow(inputs: tuple[Any, ...], count: int) -> Targets:
    wanted = inputs[0].new_empty((count, 2, *inputs[0].shape[2:]))

    def loss(answer: Any) -> Tensor:
        losses = [(each - wanted).abs().mean() for each in _answers(answer)]
        return torch.stack(losses).sum()

    return Targets((wanted,), (), loss)


def _boxes(module: nn.Module, inputs: tuple[Any, ...], count: int) -> Targets:
    """Objects with boxes, and masks and key points where the network has heads for them."""
    heads = getattr(module, "roi_heads", None)
    height, width = inputs[0][0].shape[1:]
    targets = []
    for _ in range(count):
        target = {
            "boxes": torch.empty((_OBJECTS, 4), device="meta"),
            "labels": torch.empty((_OBJECTS,), dtype=torch.int64, device="meta"),
        }
        if getattr(heads, "mask_head", None) is not None:
            target["masks"] = torch.empty((_OBJECTS, height, width), dtype=torch.uint8, device="meta")
        if getattr(heads, "keypoint_head", None) is not None:
            target["keypoints"] = torch.empty((_OBJECTS, 17, 3), device="meta")
        targets.append(target)
    tensors = tuple(each for target in targets for each in target.values())
    return Targets(tensors, (targets,), lambda answer: torch.stack([each.sum() for each in answer.values()]).sum())


