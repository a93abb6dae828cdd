"""What a network is trained towards, where nobody says: labels of the right shape, and a loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..network.nested import leaves
from .emulation import as_on
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
    targets: Callable[[int, torch.device], Targets]


def objective_for(module: nn.Module, inputs: tuple[Any, ...], input_kind: str, batch: int) -> Objective | None:
    """What networks with such an answer are usually trained towards; None where there is nothing in it to train.

    Cross entropy for one row of scores an image and for a map of scores a pixel, the network's own losses for
    detectors, the mean distance for optical flow, and the mean square for everything else. Whatever the network raises
    passes through.
    """
    if input_kind == "images":
        return Objective("the network's own losses", partial(_boxes, module, tuple(inputs[0][0].shape[1:])))
    training = module.training
    module.train(batch > 1)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), as_on("cuda"), Shortcuts():
            answer = module(*inputs)
    finally:
        module.train(training)
    if input_kind == "image_pair":
        return Objective("mean distance", partial(_flow, inputs[0]))
    tensors = _answers(answer)
    if not any(each.is_floating_point() or each.is_complex() for each in tensors):
        return None
    if tensors and all(each.ndim == 2 and each.shape[1] > 1 for each in tensors):
        return Objective("cross entropy", partial(_classes, ()))
    if isinstance(answer, dict) and tensors and all(each.ndim == 4 for each in tensors):
        places = tuple(tensors[0].shape[2:])
        return Objective("cross entropy of pixels", partial(_classes, places))
    return Objective("mean square", lambda count, device: Targets((), (), mean_square))


def _answers(answer: Any) -> list[Tensor]:
    return [each for each in leaves(answer) if isinstance(each, Tensor)]


def _classes(places: tuple[int, ...], count: int, device: torch.device) -> Targets:
    labels = torch.zeros((count, *places), dtype=torch.int64, device=device)

    def loss(answer: Any) -> Tensor:
        losses = [nn.functional.cross_entropy(each, labels) for each in _answers(answer)]
        total = losses[0]
        for each in losses[1:]:
            total = total + each
        return total

    return Targets((labels,), (), loss)


def _flow(images: Tensor, count: int, device: torch.device) -> Targets:
    wanted = torch.zeros((count, 2, *images.shape[2:]), dtype=images.dtype, device=device)

    def loss(answer: Any) -> Tensor:
        losses = [(each - wanted).abs().mean() for each in _answers(answer)]
        return torch.stack(losses).sum()

    return Targets((wanted,), (), loss)


def _boxes(module: nn.Module, size: tuple[int, int], count: int, device: torch.device) -> Targets:
    """Objects with boxes, and masks and key points where the network has heads for them."""
    heads = getattr(module, "roi_heads", None)
    height, width = size
    targets = []
    for _ in range(count):
        target = {
            "boxes": torch.tensor([[0.0, 0.0, width / 2, height / 2]] * _OBJECTS, device=device),
            "labels": torch.ones((_OBJECTS,), dtype=torch.int64, device=device),
        }
        if getattr(heads, "mask_head", None) is not None:
            target["masks"] = torch.ones((_OBJECTS, height, width), dtype=torch.uint8, device=device)
        if getattr(heads, "keypoint_head", None) is not None:
            target["keypoints"] = torch.ones((_OBJECTS, 17, 3), device=device)
        targets.append(target)
    tensors = tuple(each for target in targets for each in target.values())
    return Targets(tensors, (targets,), lambda answer: torch.stack([each.sum() for each in answer.values()]).sum())
