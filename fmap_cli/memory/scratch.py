"""What operations take while they run and give back before they end, where torch's allocator serves it.

Operations that are made of others show what they take by themselves. These are kernels with buffers of their own whose
sizes follow from their arguments; what cuDNN and cuBLAS take does not.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor

from ..frameworks import load_torchvision

load_torchvision()  # registers torchvision's operators

_MOST_TOGETHER = 32  # torchvision/csrc/ops/*/deform_conv2d_kernel: kMaxParallelImgs


def scratch_of(function: Any, args: tuple[Any, ...]) -> list[Tensor]:
    """The buffers of one call, as tensors on `meta`; empty for most operations."""
    buffers = _BUFFERS.get(getattr(function, "_overloadpacket", None))
    return [] if buffers is None else buffers(*args)


def is_uneven(function: Any) -> bool:
    """Whether a call's buffers grow with the batch in no even way, so that it must be asked at each batch."""
    return getattr(function, "_overloadpacket", None) in _BUFFERS


def _deformable(images: Tensor, weight: Tensor, offset: Tensor, *args: Any) -> list[Tensor]:
    """The columns of as many images as are computed together, and the output twice before it is the output."""
    output = (images.shape[0], weight.shape[0], *offset.shape[2:])
    return [_columns(images, weight, offset), images.new_empty(output), images.new_empty(output)]


def _deformable_backward(gradient: Tensor, images: Tensor, weight: Tensor, offset: Tensor, *args: Any) -> list[Tensor]:
    """The columns, the gradient in another order, and the weight's gradient twice before it is that."""
    others = [gradient, weight, weight]
    return [_columns(images, weight, offset), *(each.new_empty(each.shape) for each in others)]


def _columns(images: Tensor, weight: Tensor, offset: Tensor) -> Tensor:
    batch = images.shape[0]
    together = max(each for each in range(1, _MOST_TOGETHER + 1) if batch % each == 0)
    return images.new_empty((images.shape[1] * prod(weight.shape[2:]), together * prod(offset.shape[2:])))


_BUFFERS: dict[Any, Callable[..., list[Tensor]]] = {
    torch.ops.torchvision.deform_conv2d: _deformable,
    torch.ops.torchvision._deform_conv2d_backward: _deformable_backward,
}
