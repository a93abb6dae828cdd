"""Deep copies of networks, as `copy.deepcopy` makes them, in a third of the time.

A module of torch.nn has a dozen empty collections for hooks, and Python's own copying takes each of them apart and puts
it together again. Here what is empty or cannot change is handed on at once, and only what
is left goes to `copy.deepcopy`.
"""

from __future__ import annotations

import copy
import copyreg
from collections import OrderedDict
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

_UNCHANGING = frozenset((bool, int, float, complex, str, bytes, type(None), type, torch.dtype, torch.device))
_COLLECTIONS = (dict, list, set, OrderedDict)
_GETTERS = {nn.Module.__getstate__, object.__getstate__}
_STATES = {nn.Module.__setstate__, nn.modules.conv._ConvNd.__setstate__}
"""Ways of taking on a state that only fill in what a file of an earlier torch has not got."""


def copied(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    """`copy.deepcopy(module, memo)`: what `memo` has by its `id` stands for itself, all else is copied once.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    >>> twin = copied(net, {})
    >>> twin[1].running_mean is net[1].running_mean, twin[1].running_mean.equal(net[1].running_mean)
    (False, True)
    """
    if id(module) in memo:
        return memo[id(module)]
    kind: Any = type(module)
    if not _is_plain(kind) or "__deepcopy__" in module.__dict__:
        return copy.deepcopy(module, memo)
    twin: nn.Module = kind.__new__(kind)
    memo[id(module)] = twin
    state = twin.__dict__
    for key, value in module.__dict__.items():
        kind = type(value)
        if key == "_compiled_call_impl":  # stays behind, as torch has it
            continue
        if kind in _UNCHANGING:
            state[key] = value
        elif kind in _COLLECTIONS and not value:
            state[key] = memo.setdefault(id(value), kind())
        elif key == "_modules" and kind is dict:
            state[key] = memo[id(value)] = children = {}
            for name, child in value.items():
                children[name] = copied(child, memo) if isinstance(child, nn.Module) else copy.deepcopy(child, memo)
        elif key == "_buffers" and kind is dict:
            state[key] = memo[id(value)] = buffers = {}
            for name, tensor in value.items():
                buffers[name] = _copied_tensor(tensor, memo)
        else:
            state[key] = copy.deepcopy(value, memo)
    return twin


@cache
def _is_plain(kind: Any) -> bool:
    """Whether Python's own copying would make an empty object of the class and copy its attributes one by one."""
    return (
        kind.__setstate__ in _STATES
        and kind.__reduce_ex__ is object.__reduce_ex__
        and kind.__reduce__ is object.__reduce__
        and kind.__getstate__ in _GETTERS
        and kind not in copyreg.dispatch_table
        and not any(hasattr(kind, name) for name in ("__deepcopy__", "__getnewargs__", "__getnewargs_ex__"))
        and not any("__slots__" in vars(each) for each in kind.__mro__)
    )


def _copied_tensor(tensor: Any, memo: dict[int, Any]) -> Any:
    """A buffer's copy; tensors that lie in one storage do so in the copies as well, as with `copy.deepcopy`."""
    if id(tensor) in memo:
        return memo[id(tensor)]
    if (
        type(tensor) is not Tensor
        or tensor.device.type != "cpu"
        or tensor.layout != torch.strided
        or tensor.requires_grad
        or tensor.is_quantized
        or tensor.is_conj()
        or tensor.is_neg()
        or tensor.is_inference()
        or tensor.__dict__
        or torch._C._len_torch_function_stack()
        or torch._C._len_torch_dispatch_stack()
    ):
        return copy.deepcopy(tensor, memo)
    storage = tensor.untyped_storage()
    storages = memo.setdefault("torch", {})  # type: ignore[call-overload]  # where torch's own copying looks, too
    if storage._cdata not in storages:
        storages[storage._cdata] = storage.clone()
    twin = tensor.new_empty(0).set_(storages[storage._cdata], tensor.storage_offset(), tensor.shape, tensor.stride())
    memo[id(tensor)] = twin
    return twin
