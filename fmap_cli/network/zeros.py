"""Which tensors of a pass hold nothing but zeros, and what of its operations need not be done for that.

A pass without its arithmetic (`blank`) has zeros from every convolution on. Normalising, adding and cutting off maps of
sixty megabytes that hold zeros is most of what is left to compute of a detector's pass, and gives zeros again.
"""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Callable
from contextlib import suppress
from math import isfinite
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .calls import is_written, storage_of, tensors_in

_aten = torch.ops.aten

_LARGE = 1 << 16
_HUGE = 1 << 22  # bytes from which large pages pay, as NumPy has it
_NUMPY = {torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16}


def zeros(like: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Zeros of this shape, on the same device and in the same number format.

    Large ones are memory that the system has not given out yet, where torch writes every one. Of a detector's maps that
    nobody reads that is most of a convolution's time.
    """
    count = 1
    for length in shape:
        count *= length
    kind = _NUMPY.get(like.dtype) if count >= _LARGE and like.device.type == "cpu" else None
    return like.new_zeros(shape) if kind is None else torch.from_numpy(_untouched(shape, count, kind))


def _untouched(shape: tuple[int, ...], count: int, kind: Any) -> np.ndarray:
    """An array of zeros in pages of its own, which the system fills with zeros when somebody first reads them.

    (NumPy's own zeros are that as well, as long as the C library asks the system for them. It does not where it keeps
    memory that was given back, and writes zeros into that.)
    """
    if hasattr(mmap, "MAP_ANONYMOUS"):
        length = count * np.dtype(kind).itemsize
        with suppress(OSError):  # too many pieces of memory
            memory = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            if length >= _HUGE and hasattr(mmap, "MADV_HUGEPAGE"):
                with suppress(OSError):  # not in this system
                    memory.madvise(mmap.MADV_HUGEPAGE)
            return np.ndarray(shape, kind, memory)
    return np.zeros(shape, kind)


class Zeros:
    """Notes down which tensors hold zeros alone, keeps none of them alive, and runs operations with that in mind.

    What an operation gives is what it would give anyway, but for the sign of a zero.

    >>> known = Zeros()
    >>> map = known.note(torch.zeros(1, 2, 4, 4))
    >>> output = known.run(torch.ops.aten.relu.default, (map,), {})
    >>> known.has(output), known.has(known.run(torch.ops.aten.add_.Tensor, (output, 1.0), {}))
    (True, False)
    """

    def __init__(self) -> None:
        self._held: dict[int, tuple[weakref.ref[Tensor], int]] = {}  # id -> the tensor, and its memory
        self._inside: dict[int, set[int]] = {}  # memory -> the ids of tensors in it

    def note(self, output: Any) -> Any:
        """Every tensor in this result of an operation holds zeros."""
        for tensor in (output,) if isinstance(output, Tensor) else tensors_in(output or ()):
            key, memory = id(tensor), storage_of(tensor)

            def gone(reference: weakref.ref[Tensor], key: int = key) -> None:
                if key in self._held and self._held[key][0] is reference:
                    self._drop(key)

            self._held[key] = weakref.ref(tensor, gone), memory
            self._inside.setdefault(memory, set()).add(key)
        return output

    def has(self, tensor: Any) -> bool:
        reference, _ = self._held.get(id(tensor), (None, 0))
        return reference is not None and reference() is tensor

    def run(self, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """The operation's result, by rule where it is known to be zeros."""
        if not self._held:
            return function(*args, **kwargs)
        rule = _RULES.get(getattr(function, "_overloadpacket", function)) if "out" not in kwargs else None
        if rule is not None and (output := rule(self, *args, **kwargs)) is not NotImplemented:
            return output
        output = function(*args, **kwargs)
        writes, is_view = _nature(function)
        if writes:
            for tensor in tensors_in((*args, *kwargs.values())):
                for key in tuple(self._inside.get(storage_of(tensor), ())):
                    self._drop(key)
        elif is_view and args and self.has(args[0]):
            self.note(output)
        return output

    def _drop(self, key: int) -> None:
        _, memory = self._held.pop(key)
        self._inside[memory].discard(key)
        if not self._inside[memory]:
            del self._inside[memory]

    # -- what the rules ask ------------------------------------------------------------------------------------------

    def plain(self, tensor: Any) -> bool:
        """Whether it holds zeros and lies in memory in the order of its axes, as what is made of it does then."""
        return self.has(tensor) and tensor.is_contiguous() and tensor.is_floating_point()

    def like(self, tensor: Tensor) -> Tensor:
        made: Tensor = self.note(zeros(tensor, tuple(tensor.shape)))
        return made

    def are_finite(self, values: Any) -> bool:
        if isinstance(values, Tensor):
            return self.has(values) or (values.numel() <= _FEW and bool(values.isfinite().all()))
        return isfinite(values)

    def are_zero(self, values: Any) -> bool:
        if isinstance(values, Tensor):
            return self.has(values) or (values.numel() <= _FEW and not values.any())
        return not values


_FEW = 1 << 13
"""Values up to which it pays to look."""

_NATURES: dict[Any, tuple[bool, bool]] = {}


def _nature(function: Any) -> tuple[bool, bool]:
    """Whether an operation writes to what it is given, or may; and whether its result lies in the same memory."""
    if function not in _NATURES:
        schema = getattr(function, "_schema", None)
        if schema is None:
            _NATURES[function] = True, False
        else:
            writes = any(map(is_written, schema.arguments))
            views = any(each.alias_info is not None for each in schema.returns)
            _NATURES[function] = writes, views and not writes
    return _NATURES[function]


# -- rules: the result where it is zeros, NotImplemented where that is not known ----------------------------------


def _value_by_value(known: Zeros, values: Tensor, *_: Any, **__: Any) -> Any:
    """Of functions that are zero at zero."""
    return known.like(values) if known.plain(values) else NotImplemented


def _in_place(known: Zeros, values: Tensor, *_: Any, **__: Any) -> Any:
    return values if known.has(values) else NotImplemented


def _holds_zero(low: Any = -1, high: Any = 1) -> bool:
    return bool(low <= 0 <= high)


def _cut_off(known: Zeros, values: Tensor, *ends: Any) -> Any:
    return _value_by_value(known, values) if _holds_zero(*ends) else NotImplemented


def _cut_off_in_place(known: Zeros, values: Tensor, *ends: Any) -> Any:
    return _in_place(known, values) if _holds_zero(*ends) else NotImplemented


def _keeps_kind(values: Tensor, other: Any) -> bool:
    """Whether what is computed of both has the shape and the number format of the first, and lies in memory as it."""
    if not isinstance(other, Tensor):
        return isinstance(other, (int, float))
    if other.dtype != values.dtype or other.device != values.device or other.ndim > values.ndim:
        return False
    if not other.is_contiguous():
        return False
    behind = values.shape[values.ndim - other.ndim :]
    return all(length in (1, whole) for length, whole in zip(other.shape, behind, strict=True))


def _product(known: Zeros, one: Any, other: Any) -> Any:
    for values, factor in ((one, other), (other, one)):
        if known.plain(values) and _keeps_kind(values, factor) and known.are_finite(factor):
            return known.like(values)
    return NotImplemented


def _product_in_place(known: Zeros, values: Tensor, factor: Any) -> Any:
    return values if known.has(values) and known.are_finite(factor) else NotImplemented


def _sum(known: Zeros, one: Any, other: Any, alpha: Any = 1) -> Any:
    for values, added in ((one, other), (other, one)):
        if known.plain(values) and _keeps_kind(values, added) and known.are_zero(added) and isfinite(alpha):
            return known.like(values)
    return NotImplemented


def _sum_in_place(known: Zeros, values: Tensor, added: Any, alpha: Any = 1) -> Any:
    return values if known.has(values) and known.are_zero(added) and isfinite(alpha) else NotImplemented


def _side_by_side(known: Zeros, tensors: Any, dim: int = 0) -> Any:
    first = tensors[0]
    if not isinstance(dim, int) or not all(
        known.plain(each) and each.ndim == first.ndim and each.dtype == first.dtype for each in tensors
    ):
        return NotImplemented
    at = dim % first.ndim
    if any(each.shape[:at] != first.shape[:at] or each.shape[at + 1 :] != first.shape[at + 1 :] for each in tensors):
        return NotImplemented
    shape = (*first.shape[:at], sum(each.shape[at] for each in tensors), *first.shape[at + 1 :])
    return known.note(zeros(first, shape))


def _copy(known: Zeros, values: Tensor, memory_format: Any = None) -> Any:
    usual = memory_format in (None, torch.preserve_format, torch.contiguous_format)
    return known.like(values) if usual and known.plain(values) else NotImplemented


def _normalised(
    known: Zeros, values: Tensor, weight: Any, bias: Any, mean: Any, variance: Any, training: bool, _: float, eps: float
) -> Any:
    """BatchNorm in eval mode and InstanceNorm, where they move no channel away from zero."""
    if not known.plain(values):
        return NotImplemented
    if training and mean is None and weight is None and bias is None:
        channels = values.shape[1]
        return known.like(values), values.new_zeros(channels), values.new_full((channels,), eps**-0.5)
    if training or mean is None or variance is None or mean.dtype != values.dtype:
        return NotImplemented
    moved = mean * (variance + eps).rsqrt()
    if weight is not None:
        moved = moved * weight
    if (moved if bias is None else bias - moved).any():  # also where something is NaN
        return NotImplemented
    return known.like(values), values.new_empty(0), values.new_empty(0)


_RULES: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys((_aten.relu, _aten.silu, _aten.gelu, _aten.hardswish, _aten.tanh), _value_by_value),
    **dict.fromkeys((_aten.relu_, _aten.silu_, _aten.hardswish_, _aten.tanh_), _in_place),
    _aten.hardtanh: _cut_off,
    _aten.hardtanh_: _cut_off_in_place,
    _aten.mul: _product,
    _aten.mul_: _product_in_place,
    _aten.add: _sum,
    _aten.add_: _sum_in_place,
    _aten.cat: _side_by_side,
    _aten.clone: _copy,
    _aten.native_batch_norm: _normalised,
}
