"""A network's forward without its arithmetic: convolutions and matrix products give zeros of the right shape.

Everything else gives what it always does, on real tensors, so control flow that reads values (detection's proposals)
goes its way, and what the weights hold does not matter; what makes zeros of zeros is not computed (`zeros`). For
shapes, axes and counts; tens of times quicker than the real thing. The meta device does the same for networks that
read no values, and takes a millisecond of Python an operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from .zeros import Zeros, zeros

_aten = torch.ops.aten


@contextmanager
def blank_arithmetic() -> Iterator[Blank]:
    """Inside, convolutions and matrix products give zeros, and torch computes in one thread.

    What it yields counts the operations.

    (What is left to compute takes microseconds; where others use the cores, waiting for a second thread takes longer.)

    >>> with blank_arithmetic():
    ...     output = torch.conv2d(torch.ones(1, 3, 9, 9), torch.ones(8, 3, 3, 3), stride=2)
    >>> output.shape, output.abs().sum()
    (torch.Size([1, 8, 4, 4]), tensor(0.))
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with Blank() as blank:
            yield blank
    finally:
        torch.set_num_threads(threads)


class Blank(TorchDispatchMode):
    """Convolutions and matrix products without arithmetic; `steps` is how many operations there were."""

    supports_higher_order_operators = True
    steps = 0

    def __init__(self) -> None:
        super().__init__()
        self._zeros = Zeros()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.steps += 1
        blank = _BLANK.get(getattr(func, "_overloadpacket", func))
        if blank is not None:
            return self._zeros.note(blank(*args, **(kwargs or {})))
        return self._zeros.run(func, args, kwargs or {})


def _convolution(
    images: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    output_padding: list[int],
    groups: int,
) -> Tensor:
    _of_one_format(images, weight)
    sizes = []
    places = len(images.shape) - 2
    for at in range(places):
        # torch takes one value for all axes, too
        step, pad, gap, extra = (each[at % len(each)] for each in (stride, padding, dilation, output_padding))
        reach = gap * (weight.shape[2 + at] - 1)
        if transposed:
            sizes.append((images.shape[2 + at] - 1) * step - 2 * pad + reach + extra + 1)
        else:
            sizes.append((images.shape[2 + at] + 2 * pad - reach - 1) // step + 1)
    if min(sizes) < 1 or images.shape[1] != (weight.shape[0] if transposed else weight.shape[1] * groups):
        raise RuntimeError(
            f"a convolution with a kernel of shape {list(weight.shape)} does not fit an input of {list(images.shape)}"
        )
    channels = weight.shape[1] * groups if transposed else weight.shape[0]
    output = zeros(images, (images.shape[0], channels, *sizes))
    last = {2: torch.channels_last, 3: torch.channels_last_3d}.get(places)
    if last is not None and any(
        each.is_contiguous(memory_format=last) and not each.is_contiguous() for each in (images, weight)
    ):
        output = output.contiguous(memory_format=last)
    return output


def _mm(left: Tensor, right: Tensor) -> Tensor:
    _fits(left, right)
    return left.new_zeros((left.shape[0], right.shape[1]))


def _addmm(bias: Tensor, left: Tensor, right: Tensor, **scales: Any) -> Tensor:
    return _mm(left, right)


def _bmm(left: Tensor, right: Tensor) -> Tensor:
    _fits(left, right)
    return left.new_zeros((left.shape[0], left.shape[1], right.shape[2]))


def _baddbmm(bias: Tensor, left: Tensor, right: Tensor, **scales: Any) -> Tensor:
    return _bmm(left, right)


def _of_one_format(left: Tensor, right: Tensor) -> None:
    if left.dtype != right.dtype:
        raise RuntimeError(f"expected operands of one dtype, not {left.dtype} and {right.dtype}")


def _fits(left: Tensor, right: Tensor) -> None:
    _of_one_format(left, right)
    if left.shape[-1] != right.shape[-2]:
        raise RuntimeError(f"a matrix product of shapes {list(left.shape)} and {list(right.shape)}")


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    batch, heads, places, _ = query.shape
    same = value.shape[-1] == query.shape[-1]
    output = torch.zeros_like(query) if same else query.new_zeros((batch, heads, places, value.shape[-1]))
    return output, query.new_zeros((batch, heads, places), dtype=torch.float32)


def _self_attention(
    query: Tensor, key: Tensor, value: Tensor, width: int, heads: int, *args: Any, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    needs_weights = args[5] if len(args) > 5 else kwargs.get("need_weights", True)
    averaged = args[6] if len(args) > 6 else kwargs.get("average_attn_weights", True)
    across = () if averaged else (heads,)
    weights = query.new_zeros((query.shape[0], *across, query.shape[1], key.shape[1])) if needs_weights else None
    return torch.zeros_like(query), weights


def _encoder_layer(tokens: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return torch.zeros_like(tokens)


_BLANK: dict[Any, Callable[..., Any]] = {
    _aten.convolution: _convolution,
    _aten.mm: _mm,
    _aten.addmm: _addmm,
    _aten.bmm: _bmm,
    _aten.baddbmm: _baddbmm,
    _aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    _aten._native_multi_head_attention: _self_attention,
    _aten._transformer_encoder_layer_fwd: _encoder_layer,
}
