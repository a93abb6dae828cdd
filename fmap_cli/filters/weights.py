"""What weights a module has, and in one form whatever kind of layer it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..models.same_padding import SamePadConv2d
from ..network.kinds import module_kind

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_PLAIN = (SamePadConv2d, nn.Conv1d, nn.Conv2d, nn.Conv3d, *_TRANSPOSED, nn.Linear)
"""Layers whose forward multiplies by the attribute `weight` and by nothing else."""


_OTHERS = (nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.RNNCellBase, nn.PReLU, nn.MultiheadAttention)
"""Modules with parameters of several axes that are no kernels, or several of them."""


@dataclass(frozen=True, slots=True)
class Weights:
    """A layer's weights as it keeps them (`Product.weight` has their axes), and where they come from."""

    weight: Tensor
    bias: Tensor | None
    transposed: bool
    groups: int
    how: str = "as stored"


def may_have_kernels(module: nn.Module) -> bool:
    """Whether a module multiplies by weights of its own, as far as can be told without running it.

    >>> [may_have_kernels(each) for each in (nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.Linear(2, 2)))]
    [True, False, False]
    """
    kind = module_kind(module)
    if kind in ("conv", "linear"):
        return not isinstance(module, nn.Bilinear)
    if kind == "norm" or isinstance(module, _OTHERS):
        return False
    return any(each.ndim >= 2 for each in module.parameters(recurse=False))


def plain_weights(module: nn.Module) -> Weights | None:
    """The weights of a layer of which the class says how it uses them; None where only a pass can tell.

    Parametrizations (`torch.nn.utils.parametrize`) compute the attribute, so that it is the weight that acts. Where it
    is neither a parameter nor that, something writes it before the module runs (the older `weight_norm`, pruning).
    """
    own = next((each for each in _PLAIN if isinstance(module, each)), None)
    is_kept = "weight" in module._parameters or bool(_computed_by(module))
    if own is None or "forward" in vars(module) or not is_kept:
        return _quantized_weights(module)
    for name in ("forward", "_conv_forward"):
        if getattr(type(module), name, None) is not getattr(own, name, None):
            return _quantized_weights(module)
    weight, bias = module.weight, module.bias
    assert isinstance(weight, Tensor)
    return Weights(
        weight.detach(),
        bias.detach() if isinstance(bias, Tensor) else None,
        isinstance(module, _TRANSPOSED),
        int(getattr(module, "groups", 1)),
        _computed_by(module) or "as stored",
    )


def _computed_by(module: nn.Module) -> str:
    """Which parametrizations compute a module's weight, in words; empty where none does."""
    steps = getattr(getattr(module, "parametrizations", None), "weight", ())
    names = " and ".join(type(each).__name__.lstrip("_") for each in steps)
    return f"computed by {names}" if names else ""


def _quantized_weights(module: nn.Module) -> Weights | None:
    """The weights of a layer of torch.ao.nn.quantized, which are packed and put out by a method; else None."""
    weight: Any = getattr(module, "weight", None)
    bias: Any = getattr(module, "bias", None)
    if isinstance(weight, Tensor) or not callable(weight) or not type(module).__module__.startswith("torch.ao.nn"):
        return None
    offset = None if isinstance(bias, Tensor) or not callable(bias) else bias()
    return Weights(
        weight().detach(),
        None if offset is None else offset.detach(),
        "Transpose" in type(module).__name__,
        int(getattr(module, "groups", 1)),
        "as stored, integers times a scale",
    )


def stored_weights(module: nn.Module) -> Weights | None:
    """The attribute `weight`, whatever the module makes of it when it runs; None where there is none to show."""
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    if not isinstance(weight, Tensor) or weight.ndim < 2:
        return None
    return Weights(
        weight.detach(),
        bias.detach() if isinstance(bias, Tensor) and bias.ndim == 1 else None,
        bool(getattr(module, "transposed", False)),
        int(getattr(module, "groups", 1)),
    )


def in_one_form(given: Weights) -> tuple[np.ndarray, np.ndarray | None]:
    """The weight as `[O, I / groups, *kernel]` and the bias as `[O]`, both of their own memory, float32 or float64.

    >>> conv = nn.ConvTranspose2d(4, 6, 3, groups=2)
    >>> in_one_form(plain_weights(conv))[0].shape
    (6, 2, 3, 3)
    """
    weight = given.weight
    if given.transposed:
        inputs, each, *kernel = weight.shape
        weight = weight.reshape(given.groups, inputs // given.groups, each, *kernel).swapaxes(1, 2).flatten(0, 1)
    return _array(weight), None if given.bias is None else _array(given.bias)


def _array(tensor: Tensor) -> np.ndarray:
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    if tensor.layout != torch.strided:
        tensor = tensor.to_dense()
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    copied: np.ndarray = tensor.detach().to("cpu", wide, copy=True).contiguous().numpy()
    return copied
