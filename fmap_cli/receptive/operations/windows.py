"""Convolutions, poolings and their ways back: each place sees a window of the old ones."""

from __future__ import annotations

from collections.abc import MutableMapping
from math import gcd
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from .. import field as fields
from ..arranged import reordered, reshaped
from ..collected import gathered, over_all, window
from ..field import Field, hull
from .calls import Call, anywhere, outputs_of, per_axis


def slide(one: Field, at: int, new: int, kernel: int, stride: int, padding: int, dilation: int) -> Field:
    """Place i sees places `i · stride - padding + k · dilation` for k below `kernel`."""
    if (kernel, stride, padding, new) == (1, 1, 0, one.shape[at]):
        return one
    starts = np.arange(new)[:, None] * stride - padding
    return window(one, at, starts + np.arange(kernel) * dilation, (1, stride))


def slide_apart(one: Field, at: int, new: int, kernel: int, stride: int, padding: int, dilation: int) -> Field:
    """A transposed convolution: place i sees those j for which `j · stride - padding + k · dilation` is i."""
    reach = np.arange(new)[:, None] + padding - np.arange(kernel) * dilation  # [new, kernel]
    return window(one, at, reach // stride, (stride, 1), taken=reach % stride == 0)


def mixed_channels(one: Field, at: int, channels: int, groups: int) -> Field:
    """What a convolution's output channels see, which mix all input channels of their group."""
    values = one.values
    if values.shape[at + 1] > 1:
        before, after = values.shape[1 : at + 1], values.shape[at + 2 :]
        values = values.reshape(4, *before, groups, -1, *after).max(axis=at + 2)
        if groups > 1:
            values = np.repeat(values, channels // groups, axis=at + 1)
    shape = (*one.shape[:at], channels, *one.shape[at + 1 :])
    return one.with_values(values, shape=shape)


def _convolved(call: Call, one: Field, weight: Any, plan: tuple[Any, ...]) -> Field:
    stride, padding, dilation, transposed, groups = plan
    places = weight.ndim - 2
    first = len(one.shape) - places
    go = slide_apart if transposed else slide
    numbers = zip(*(per_axis(each, places) for each in (stride, padding, dilation)), strict=True)
    for at, (step, pad, gap) in enumerate(numbers):
        one = go(one, first + at, call.shape[first + at], int(weight.shape[2 + at]), step, pad, gap)
    return mixed_channels(one, first - 1, call.shape[first - 1], groups)


def convolution(call: Call) -> Field | None:
    one, weight = call.field("input"), call["weight"]
    plan = tuple(call[name] for name in ("stride", "padding", "dilation", "transposed", "groups"))
    parts = [] if one is None else [_convolved(call, one, weight, plan)]
    for name in ("weight", "bias"):  # filters that were computed of the image: each of them goes everywhere
        each = call.field(name) if isinstance(call[name], Tensor) else None
        parts += [] if each is None else [reshaped(over_all(each, call.because), (1,) * len(call.shape))]
    return hull(parts, call.shape)


def quantized_convolution(call: Call) -> Field | None:
    """As its packed weights say; torch's own accessors."""
    one, packed = call.of(call.tensors()[0]), call["packed_weight"]
    if one is None:
        return None
    plan = (packed.stride(), packed.padding(), packed.dilation(), packed.transpose(), packed.groups())
    joined = _convolved(call, one, packed.unpack()[0], plan)
    extra = [call.of(each) for each in call.tensors()[1:]]  # `conv2d_add_relu` adds a tensor
    return hull([joined, *extra], call.shape)


def convolution_over_time(call: Call) -> Field | None:
    """`conv_tbc`: `[T, B, C]`."""
    one = call.field("self")
    if one is None:
        return None
    taps, channels = call["weight"].shape[0], call["weight"].shape[2]
    return mixed_channels(slide(one, 0, call.shape[0], taps, 1, call["pad"], 1), 2, channels, 1)


POOLED: MutableMapping[Tensor, list[tuple[int, ...]]] = WeakTensorKeyDictionary()
"""Indices out of a max-pooling → its kernel, stride, padding and dilation along each axis, while they live."""


def pooling(call: Call) -> Field | None:
    one = call.of(call.tensors()[0])
    if one is None:
        return None
    kernel = call["kernel_size"]
    named = [each for each in str(call.function).split("pool")[1][:1] if each.isdigit()]
    places = int(named[0]) if named else len(kernel)
    first = len(one.shape) - places
    strides = call.get("stride") or kernel
    numbers = (kernel, strides, call.get("padding", 0), call.get("dilation", 1))
    windows = list(zip(*(per_axis(each, places) for each in numbers), strict=True))
    for each in outputs_of(call)[1:]:
        POOLED[each] = windows
    for at, (size, step, pad, gap) in enumerate(windows):
        one = slide(one, first + at, call.shape[first + at], size, step, pad, gap)
    return one


def adaptive_pooling(call: Call) -> Field | None:
    """Place i sees those from `⌊i · old / new⌋` up to `⌈(i + 1) · old / new⌉`."""
    one = call.of(call.tensors()[0])
    if one is None:
        return None
    places = len(call["output_size"])
    for at in range(len(one.shape) - places, len(one.shape)):
        old, new = one.shape[at], call.shape[at]
        if new == old:
            continue
        starts = np.arange(new) * old // new
        ends = -(-(np.arange(new) + 1) * old // new)
        table = starts[:, None] + np.arange(int((ends - starts).max()))
        if new == 1:
            one = gathered(one, [at], call.because)
        else:
            shared = gcd(old, new)
            one = window(one, at, table, (new // shared, old // shared), taken=table < ends[:, None])
    return one


def unfolded_back(call: Call) -> Field | None:
    """`fold`: `[B, C · kh · kw, L]` to `[B, C, H, W]`; place i sums up the windows that reach over it, a tap each."""
    one = call.field("self")
    if one is None:
        return None
    batched = len(one.shape) == 3
    sizes, kernel = call["output_size"], call["kernel_size"]
    numbers = list(zip(sizes, kernel, call["dilation"], call["padding"], call["stride"], strict=True))
    counts = [(size + 2 * pad - gap * (taps - 1) - 1) // step + 1 for size, taps, gap, pad, step in numbers]
    batch = one.shape[0] if batched else 1
    one = reshaped(one, (batch, one.shape[-2] // (kernel[0] * kernel[1]), *kernel, *counts))
    for size, taps, gap, pad, step in numbers:  # [B, C, taps, (taps), windows, (windows)], one pair of axes at a time
        at = 2 + (len(one.shape) - 2) // 2
        parts = []
        for tap in range(taps):
            rest = (*one.shape[:2], *one.shape[3:])
            chosen = reshaped(slide(one, 2, 1, 1, 1, -tap, 1), rest)
            parts.append(slide_apart(chosen, at - 1, size, 1, step, pad - tap * gap, 1))
        joined = hull(parts)
        assert joined is not None
        joined = fields.flat(joined)
        # what is done goes behind what is not: [B, C, taps, windows, H], then [B, C, H, W]
        order = [axis for axis in range(len(joined.shape)) if axis != at - 1]
        one = reordered(joined, [*order, at - 1])
    return reshaped(one, call.shape)


def unpooled(call: Call) -> Field | list[Field | None] | None:
    """`max_unpool`: a value goes back to where its maximum stood, so to a place in its window."""
    told = POOLED.get(call["indices"])
    if told is None:
        return anywhere(call)
    joined = hull([call.field("self"), call.field("indices")])
    if joined is None:
        return None
    first = len(joined.shape) - len(told)
    parts = []
    for part in joined.parts:
        for at, (kernel, stride, padding, dilation) in enumerate(told, start=first):
            part = slide_apart(part, at, call.shape[at], kernel, stride, padding, dilation)
        parts.append(part)
    return hull(parts)
