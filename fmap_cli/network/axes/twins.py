"""Copies of a network to run in its place, so that its counters, caches and buffers stay as they are."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..copying import copied


class _ToMeta(TorchFunctionMode):
    """While it is on, a copied tensor is one of the same shape on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            with torch._C.DisableTorchFunction():
                memo[id(tensor)] = torch.empty_like(tensor.detach(), device="meta")
        return memo[id(tensor)]


def twin_of(module: nn.Module) -> nn.Module:
    """A copy of the module that shares its parameters and nothing else."""
    return copied(module, {id(parameter): parameter for parameter in module.parameters()})


def meta_twin(module: nn.Module) -> nn.Module:
    """A copy of the module on the meta device: the same shapes, no data. Also tensors that are no buffers.

    >>> meta_twin(nn.Linear(2, 3)).weight.device
    device(type='meta')
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():  # their own copying asks no function mode
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    with _ToMeta():
        return copied(module, memo)
