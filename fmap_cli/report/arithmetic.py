"""Which convolutions a page can do the arithmetic of: those that read what is on the page, with few enough weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..inputs.records import ImageInput
from ..models.same_padding import SamePadConv2d
from ..network.records import LayerRef
from ..session.opening import Session
from .records import Arithmetic

MOST_WEIGHTS = 1 << 16
"""A page holds the weights of convolutions with no more than these: a quarter of a megabyte each."""

_NEAR = 1e-4


def arithmetic_of(
    module: nn.Module, layer: LayerRef, output: Tensor, values: Mapping[str, Tensor]
) -> Arithmetic | None:
    """What it takes to do a convolution's arithmetic, where it is torch's own of one of these `values` (by layer, the
    picture under the empty name): tried, and held against what the network put out. Else None.
    """
    if layer.kind != "conv" or not layer.is_module or layer.call != 0:
        return None
    own: Any = dict(module.named_modules()).get(layer.path)
    if type(own) not in (nn.Conv2d, SamePadConv2d) or own.weight.numel() > MOST_WEIGHTS:
        return None
    weight = own.weight.detach().float().cpu()
    bias = torch.zeros(len(weight)) if own.bias is None else own.bias.detach().float().cpu()
    inputs = weight.shape[1] * own.groups
    for name in reversed(list(values)):
        read = values[name].float()
        if read.shape[1] != inputs:
            continue
        pads = _padding(own, read.shape[2:])
        if pads is None:
            return None
        with torch.no_grad():
            made = F.conv2d(F.pad(read, pads), weight, bias, own.stride, 0, own.dilation, own.groups)
        if made.shape == output.shape and _near(made, output):
            stride, dilation = _two(own.stride), _two(own.dilation)
            return Arithmetic(name, weight.numpy(), bias.numpy(), stride, dilation, (pads[2], pads[0]), int(own.groups))
    return None


def picture_values(session: Session, image: ImageInput) -> Tensor | None:
    """What the network read of a picture, computed from its pixels, `[C, H, W]`; None where that is something else."""
    own = session.model.feeding
    if own is None or session.model.input_kind != "image" or own.channels != 3 or image.more:
        return None
    pixels = torch.from_numpy(image.pixels.copy()).permute(2, 0, 1).double() / 255
    mean, std = (torch.tensor(each, dtype=torch.float64).reshape(-1, 1, 1) for each in (own.mean, own.std))
    values = (pixels - mean) / std
    if values.shape != image.tensor.shape or float((values - image.tensor).abs().max()) > 1e-5:
        return None  # 16 bits, floats: the pixels are rounded
    return values


def _padding(own: Any, size: Any) -> tuple[int, int, int, int] | None:
    """Left, right, top, bottom; None where it is no padding with zeros."""
    if isinstance(own, SamePadConv2d):
        (top, bottom), (left, right) = (own._padding_of_axis(axis, int(size[axis])) for axis in (0, 1))
        return left, right, top, bottom
    if own.padding_mode != "zeros":
        return None
    left, right, top, bottom = own._reversed_padding_repeated_twice
    return left, right, top, bottom


def _near(one: Tensor, other: Tensor) -> bool:
    other = other.float()
    return bool(((one - other).abs().max() <= _NEAR * other.abs().max().clamp(min=1e-30)).item())


def _two(given: Any) -> tuple[int, int]:
    return int(given[0]), int(given[1])
