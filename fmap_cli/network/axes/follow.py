"""Follows one forward pass and says what the axes of every tensor are that descends from the image."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..calls import TensorNotes, arguments_by_name, storage_of, taken_apart, tensors_in
from . import factors
from .calls import Call
from .factors import UNKNOWN, FactoredAxes
from .mixing import pointwise
from .moving import cat, made_new
from .rules import rule_for


class AxisFollower(TorchDispatchMode):
    """While it is on, carries along with every tensor that descends from the image what its axes are made of.

    `start` names the image's axes; `axes_of` answers for any tensor at hand. It goes by operations and shapes alone.
    `lost` are the operations that have no rule, in the order met: of the axes of what they put out nothing is known.
    `waiting` are named tensors that do not descend from the image (a class token). One that is laid over or beside a
    tensor that does has the same axes: `adopted` holds them by name.

    >>> import torch
    >>> follower = AxisFollower()
    >>> image = torch.zeros(1, 3, 32, 32)
    >>> follower.start(image, "BCHW")
    >>> with follower:
    ...     tokens = torch.conv2d(image, torch.ones(8, 3, 4, 4), stride=4).flatten(2).transpose(1, 2)
    >>> factors.named(follower.axes_of(tokens)), factors.grid_of(follower.axes_of(tokens), "BNC")
    (('B', 'N', 'C'), ((8, 8), 0))
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._known: TensorNotes[FactoredAxes] = TensorNotes()
        self._written: dict[
            int, tuple[Any, dict[int, factors.Axis]]
        ] = {}  # storage -> the axes that were written, by stride
        self.lost: dict[str, None] = {}
        self.waiting: dict[int, tuple[weakref.ref[Tensor], str]] = {}
        self.adopted: dict[str, FactoredAxes] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def start(self, image: Tensor, names: Sequence[str]) -> None:
        """Follow this tensor, whose axes have these names."""
        self._known.set(
            image, tuple(factors.axis(name, length) for name, length in zip(names, image.shape, strict=True))
        )

    def axes_of(self, tensor: Any) -> FactoredAxes | None:
        """What a tensor's axes are made of; None where it does not descend from the image."""
        found = self._known.get(tensor)
        if found is not None:
            return found
        if self._written and isinstance(tensor, Tensor) and tensor.layout == torch.strided:
            _, by_stride = self._written.get(storage_of(tensor), (None, {}))
            if by_stride:
                return tuple(
                    factors.resized(by_stride[stride], length) if stride in by_stride and length > 1 else _made(length)
                    for stride, length in zip(tensor.stride(), tensor.shape, strict=True)
                )
        return None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if rule_for(func) is None and (output := taken_apart(self, func, args, kwargs)) is not NotImplemented:
            return output
        before = list(tensors_in((*args, *kwargs.values())))
        descends = any(self.axes_of(each) is not None for each in before)
        output = func(*args, **kwargs)
        if descends:
            self._follow(func, args, kwargs, list(tensors_in([output])))
        return output

    def _follow(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], outputs: list[Tensor]) -> None:
        schema = getattr(func, "_schema", None)
        if schema is None or not outputs:  # a higher-order operator runs its parts through here too
            return
        arguments, written = arguments_by_name(schema, args, kwargs)
        rule = rule_for(func)
        found: Any = None
        if rule is not None:
            try:
                found = rule(Call(func, arguments, outputs, self.axes_of))
            except Exception:  # a way to call it that the rule has not heard of is no fault of the network
                rule = None
        if rule is None:
            self.lost.setdefault(schema.name.rpartition("::")[2].strip("_"))
        listed = found if isinstance(found, list) else [found] * len(outputs)
        for tensor, factored in zip(outputs, [*listed, *[None] * len(outputs)], strict=False):
            if rule is made_new:
                self._known.drop(tensor)
                continue
            if factored is None or [one.length for one in factored] != list(tensor.shape):
                factored = factors.unknown(tensor.shape)
            factored = factors.settled(factored)
            if id(tensor) in written and self._known.get(tensor) is None:
                self._wrote(tensor, factored)
            self._known.set(tensor, factored)
        if self.waiting and (rule is pointwise or rule is cat):
            self._adopt(list(tensors_in(arguments.values())), outputs[0])

    def _adopt(self, tensors: Sequence[Tensor], output: Tensor) -> None:
        factored = self.axes_of(output)
        for each in tensors:
            reference, name = self.waiting.get(id(each), (None, ""))
            if factored is None or reference is None or reference() is not each or each.ndim != len(factored):
                continue
            del self.waiting[id(each)]
            self.adopted[name] = tuple(
                one if one.length == length else _alike(one, length)
                for one, length in zip(factored, each.shape, strict=True)
            )

    def _wrote(self, tensor: Tensor, factored: FactoredAxes) -> None:
        """A new tensor was written to: it may be a part of another one, whose axes are known by their strides."""
        if tensor.layout != torch.strided:
            return
        storage = tensor.untyped_storage()
        _, by_stride = self._written.setdefault(storage_of(tensor), (storage, {}))
        for stride, one in zip(tensor.stride(), factored, strict=True):
            if one.length > 1 and UNKNOWN not in one.kinds:
                by_stride.setdefault(stride, one)


def _alike(one: factors.Axis, length: int) -> factors.Axis:
    """The axis of a tensor that is laid beside one with this axis, and is of another length."""
    tokens = one.before + one.after or (one.kinds and one.kinds <= factors.PLACES | {"N"})
    return factors.axis(factors.opaque(one), length) if tokens or length != 1 else factors.NOTHING


def _made(length: int) -> factors.Axis:
    return factors.NOTHING if length == 1 else factors.axis(factors.NEW, length)
