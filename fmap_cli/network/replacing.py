"""What goes on in a layer's place: replacements of the tensors in an output, which leave the network's own alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .nested import named_fields
from .records import LayerRef
from .reporting import ReportingFields


@dataclass(frozen=True, slots=True)
class Replacement:
    """What a watcher answers instead of a sink where a layer's output is to be another: `function(output)`.

    The function is called with the live output and returns the tensor that the rest of the network reads instead, of
    the same shape unless the network takes another there. It may write to nothing that it is given.
    """

    function: Callable[[Tensor], Tensor]


def replacing(layer: LayerRef, function: Callable[[Tensor], Tensor]) -> Callable[[LayerRef], Replacement | None]:
    """A watcher that puts `function(output)` in the place of this layer's output, and leaves all others.

    The layer is known again by its name, so the pass must watch as much as the one that it was found in: operations
    too, but for the first call of a module, whose name is its path.

    >>> from torch import nn
    >>> from .capture import capture
    >>> first = LayerRef("0", "0", 0, "other", "Identity", is_module=True)
    >>> net = nn.Sequential(nn.Identity(), nn.ReLU(inplace=True))
    >>> capture(net, (torch.ones(1, 2),), replacing(first, lambda output: output * 3))
    tensor([[3., 3.]])
    """
    wanted = Replacement(function)
    return lambda each: wanted if each.name == layer.name else None


class Argument:
    """The first argument of a call under way, which tells whether the call wrote over it."""

    __slots__ = ("_value", "_version")

    def __init__(self, value: Any) -> None:
        self._value: Tensor | None = None
        self._version = 0
        if isinstance(value, Tensor):
            with torch._C.DisableTorchFunction():  # asked by nobody that a mode should hear
                if not value.is_inference():
                    self._value, self._version = value, value._version

    def is_written(self, output: Any) -> bool:
        """Whether what the call puts out is this very argument with other values. Inference mode counts no writing."""
        if self._value is None or output is not self._value:
            return False
        with torch._C.DisableTorchFunction():
            return bool(self._value._version != self._version)


def put_in_place(output: Tensor, new: Tensor, written: bool) -> Tensor:
    """The tensor that goes on in the place of `output`.

    What an operation wrote over its own argument (an in-place ReLU) is read under the argument's name, too: it is
    written over once more.
    """
    if new is output or not written or new.shape != output.shape:
        return new
    return output.copy_(new)


def rebuilt(value: Any, replace: Callable[[Any], Any]) -> Any:
    """A nested output with `replace(each)` in the place of each leaf; the very object where that changes nothing.

    Containers that change are copies of their own class, so what a network keeps for itself stays as it is.

    >>> from collections import namedtuple
    >>> Pair = namedtuple("Pair", "a b")
    >>> rebuilt({"x": Pair(1, [2, 3])}, lambda number: number * 10)
    {'x': Pair(a=10, b=[20, 30])}
    """
    return _rebuilt(value, replace, frozenset())


def _rebuilt(value: Any, replace: Callable[[Any], Any], within: frozenset[int]) -> Any:
    if isinstance(value, (Tensor, torch.Size)) or id(value) in within:
        return replace(value) if isinstance(value, Tensor) else value
    within |= {id(value)}
    if isinstance(value, dict):
        return _with_items(value, {key: _rebuilt(each, replace, within) for key, each in value.items()})
    if isinstance(value, (tuple, list)):
        held = list(tuple.__iter__(value) if isinstance(value, tuple) else list.__iter__(value))
        new = [_rebuilt(each, replace, within) for each in held]
        if all(own is each for own, each in zip(held, new, strict=True)):
            return value
        if isinstance(value, tuple) and type(value) is ReportingFields:
            return ReportingFields.of(type(value._original)(new))
        return type(value)(*new) if hasattr(value, "_fields") else type(value)(new)
    fields = named_fields(value)
    if fields is None and isinstance(getattr(value, "tensors", None), Tensor):  # torchvision's ImageList
        fields = {"tensors": value.tensors}
    if fields is None:
        return replace(value)
    changed = copy.copy(value)
    for name, each in fields.items():
        new_one = _rebuilt(each, replace, within)
        if new_one is not each:
            object.__setattr__(changed, name, new_one)
    return changed


def _with_items(value: dict[Any, Any], items: dict[Any, Any]) -> dict[Any, Any]:
    if all(value[key] is each for key, each in items.items()):
        return value
    changed = copy.copy(value)  # of its own class, which may do more than hold items
    for key, each in items.items():
        changed[key] = each
    return changed
