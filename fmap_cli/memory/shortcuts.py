"""The commonest operations on `meta` without torch's own kernels for it, which are Python and take milliseconds a call.

Each puts out tensors of the same shape, number format and strides as torch's would, or declines. That a trace with
them is one without is tested.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten


class Shortcuts(TorchDispatchMode):
    """Takes them, and sees nothing: for passes of which only the answer's shape counts."""

    supports_higher_order_operators = True

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """What `func` puts out, by a shortcut where there is one."""
    shortcut = _SHORTCUTS.get(func)
    if shortcut is not None:
        output = shortcut(*args, **kwargs)
        if output is not NotImplemented:
            return output
    return func(*args, **kwargs)


def _plain(*tensors: Any) -> bool:
    """Whether these are tensors on `meta` of one shape and number format that lie in memory in the usual order."""
    first = tensors[0]
    return all(
        isinstance(each, Tensor)
        and each.is_meta
        and each.dtype == first.dtype
        and each.shape == first.shape
        and each.is_contiguous()
        for each in tensors
    )


def _like(tensor: Tensor) -> Tensor:
    """An empty tensor such as this one (`empty_like` on `meta` is Python, too)."""
    if not _plain(tensor):
        return torch.empty_like(tensor)
    return torch.empty(tensor.shape, dtype=tensor.dtype, device="meta")


def _batch_norm(
    images: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> Any:
    if weight is None or images.ndim < 2 or not _plain(images):
        return NotImplemented
    channels = images.shape[1] if training else 0
    return (
        _like(images),
        images.new_empty((channels,), dtype=torch.float32),
        images.new_empty((channels,), dtype=torch.float32),
    )


def _batch_norm_backward(
    gradient: Tensor,
    images: Tensor,
    weight: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    saved_mean: Tensor | None,
    saved_deviation: Tensor | None,
    training: bool,
    eps: float,
    wanted: list[bool],
) -> Any:
    if not training or weight is None or not _plain(images):
        return NotImplemented
    return (
        _like(images) if wanted[0] else None,
        _like(weight) if wanted[1] else None,
        _like(weight) if wanted[2] else None,
    )


def _binary(first: Any, second: Any, **kwargs: Any) -> Any:
    return _like(first) if not kwargs.get("out") and _plain(first, second) else NotImplemented


def _binary_in_place(first: Any, second: Any, **kwargs: Any) -> Any:
    if isinstance(second, (int, float)) and first.is_meta and not first.is_complex():
        return first if isinstance(second, int) or first.is_floating_point() else NotImplemented
    return first if _plain(first, second) else NotImplemented


def _lists_in_place(first: list[Tensor], second: Any, **kwargs: Any) -> Any:
    if isinstance(second, (int, float)):
        return None if all(each.is_meta and each.is_floating_point() for each in first) else NotImplemented
    return None if len(first) == len(second) and all(map(_plain, first, second)) else NotImplemented


def _unary(values: Tensor, **kwargs: Any) -> Any:
    return _like(values) if _plain(values) and values.is_floating_point() else NotImplemented


def _unary_backward(gradient: Tensor, values: Tensor, **kwargs: Any) -> Any:
    return _like(values) if _plain(gradient, values) else NotImplemented


def _addmm(bias: Tensor, left: Tensor, right: Tensor, **kwargs: Any) -> Any:
    if not (left.is_meta and left.dtype == right.dtype == bias.dtype and left.shape[1] == right.shape[0]):
        return NotImplemented
    return left.new_empty((left.shape[0], right.shape[1]))


def _layer_norm_backward(
    gradient: Tensor,
    images: Tensor,
    shape: Any,
    mean: Tensor,
    deviation: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    wanted: list[bool],
) -> Any:
    if not _plain(gradient, images) or images.dtype != torch.float32:
        return NotImplemented
    return (
        _like(images) if wanted[0] else None,
        _like(weight) if wanted[1] and weight is not None else None,
        _like(bias) if wanted[2] and bias is not None else None,
    )


def _resize(images: Tensor, size: Any, *args: Any) -> Any:
    return images.new_empty((*images.shape[:2], *size)) if _plain(images) and min(size) > 0 else NotImplemented


def _threshold_backward(gradient: Tensor, answer: Tensor, threshold: Any) -> Any:
    return _like(answer) if _plain(gradient, answer) else NotImplemented


def _layer_norm(images: Tensor, shape: Any, weight: Tensor | None, bias: Tensor | None, eps: float) -> Any:
    if not _plain(images) or images.dtype != torch.float32:
        return NotImplemented
    outer = images.shape[: images.ndim - len(shape)]
    statistics = (*outer, *(1 for _ in shape))
    return _like(images), images.new_empty(statistics), images.new_empty(statistics)


def _grid_sampler(images: Tensor, grid: Tensor, *args: Any) -> Any:
    if not images.is_meta or not grid.is_meta or images.ndim != 4 or images.dtype != grid.dtype:
        return NotImplemented
    return images.new_empty((*images.shape[:2], *grid.shape[1:3]))


_SHORTCUTS: dict[Any, Any] = {
    _aten.native_batch_norm.default: _batch_norm,
    _aten.native_batch_norm_backward.default: _batch_norm_backward,
    _aten.native_layer_norm.default: _layer_norm,
    _aten.grid_sampler_2d.default: _grid_sampler,
    _aten.native_layer_norm_backward.default: _layer_norm_backward,
    _aten.addmm.default: _addmm,
    _aten.gelu.default: _unary,
    _aten.gelu_backward.default: _unary_backward,
    _aten.relu.default: _unary,
    _aten.upsample_bicubic2d.default: _resize,
    _aten.upsample_bilinear2d.default: _resize,
    _aten.sub.Tensor: _binary,
    _aten.add.Tensor: _binary,
    _aten.mul.Tensor: _binary,
    _aten.add_.Tensor: _binary_in_place,
    _aten.mul_.Tensor: _binary_in_place,
    _aten.threshold_backward.default: _threshold_backward,
    _aten._foreach_add_.List: _lists_in_place,
    _aten._foreach_add_.Scalar: _lists_in_place,
    _aten._foreach_mul_.Scalar: _lists_in_place,
}
