"""Which pixels really reach a value, found by torch's autograd: the oracle for receptive fields.

With positive weights and inputs nothing cancels, and with activations, norms and maxima made transparent nothing is
shut, so that the gradient of a value with respect to the input is not zero exactly at the pixels it sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fmap_cli.network.capture import capture


def transparent(module: nn.Module) -> nn.Module:
    """The network in float64 and eval mode, with averages for filters and nothing that shuts or normalises."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if (
                type(child).__module__ == "torch.nn.modules.activation" and not isinstance(child, nn.MultiheadAttention)
            ) or isinstance(child, (nn.modules.batchnorm._BatchNorm, nn.LayerNorm)):
                setattr(parent, name, nn.Identity())
    module = module.double().eval()
    with torch.no_grad():
        for each in module.modules():
            if isinstance(each, (nn.modules.conv._ConvNd, nn.Linear)):
                each.weight.fill_(1 / each.weight[0].numel())
                if each.bias is not None:
                    each.bias.zero_()
    return module


@contextmanager
def transparent_functions() -> Iterator[None]:
    """Maxima are means inside."""

    def pooled(images: Tensor, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *_, **__) -> Tensor:
        kernels, steps, pads, gaps = (
            [each] * (images.ndim - 2) if isinstance(each, int) else list(each)
            for each in (kernel_size, stride or kernel_size, padding, dilation)
        )
        filters = torch.zeros(images.shape[1], 1, *(g * (k - 1) + 1 for g, k in zip(gaps, kernels, strict=True)))
        filters[(slice(None), slice(None), *(slice(None, None, gap) for gap in gaps))] = 1
        convolve = {3: F.conv1d, 4: F.conv2d, 5: F.conv3d}[images.ndim]
        if ceil_mode:  # as many more zeros behind as the last window may reach over the edge
            images = F.pad(
                images, [n for p, s in zip(reversed(pads), reversed(steps), strict=True) for n in (p, p + s - 1)]
            )
            pads = [0] * len(pads)
        return convolve(images, filters.double(), None, steps, pads, 1, images.shape[1])

    own = {name: getattr(F, name) for name in ("max_pool1d", "max_pool2d", "max_pool3d")}
    try:
        for name in own:
            setattr(F, name, pooled)
        yield
    finally:
        for name, function in own.items():
            setattr(F, name, function)


def outputs_of(module: nn.Module, image: Tensor) -> dict[str, Tensor]:
    """A copy of every layer's output, with its history."""
    kept: dict[str, Tensor] = {}

    def watch(layer: Any) -> Any:
        return lambda output: kept.update({layer.name: output.clone()})

    with transparent_functions(), torch.enable_grad():
        capture(module, (image,), watch, as_it_stands=True)
    return kept


def support(value: Tensor, image: Tensor) -> tuple[np.ndarray, ...] | None:
    """The first and last place along each of the image's axes `[B, C, …]` that a value depends on; None for none."""
    (gradient,) = torch.autograd.grad(value, image, retain_graph=True, allow_unused=True)
    if gradient is None or not (gradient != 0).any():
        return None
    reached = (gradient != 0).flatten(0, 1).any(dim=0)
    ends = []
    for axis in range(reached.ndim):
        others = [at for at in range(reached.ndim) if at != axis]
        along = reached.amax(dim=others) if others else reached
        places = along.nonzero().ravel()
        ends.append(np.array([int(places[0]), int(places[-1])]))
    return tuple(ends)
