"""One value of a convolution or a linear layer as the sum that it is: bias + Σ W · X, by input channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .kinds import PRODUCTS
from .tape import Operation, Tape, Value
from .weights import Weights


@dataclass(frozen=True, slots=True, eq=False)
class Product:
    """A convolution or a linear layer as it ran: its arguments, whatever made them.

    `weight` is `[O, I / groups, …]` of a convolution, `[I, O / groups, …]` of a transposed one, `[O, I]` of a linear
    layer; where a layer multiplies each item of a batch by weights of its own, `[B, O, I]`. `bias` is `[O]` or None.
    """

    operation: Operation
    read: Value
    made: Value
    weight: Tensor
    bias: Tensor | None
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    transposed: bool = False
    output_padding: tuple[int, ...] = ()

    @property
    def is_linear(self) -> bool:
        return PRODUCTS[self.operation.name] == "linear"

    @property
    def outputs(self) -> int:
        return int(
            self.weight.shape[1] * self.groups if self.transposed else self.weight.shape[-2 if self.is_linear else 0]
        )

    @property
    def inputs_a_group(self) -> int:
        if self.is_linear:
            return int(self.weight.shape[-1])
        return int(self.weight.shape[0] // self.groups if self.transposed else self.weight.shape[1])

    @property
    def kernel(self) -> tuple[int, ...]:
        """Height and width of the kernel; empty of a linear layer."""
        return () if self.is_linear else tuple(self.weight.shape[2:])

    @property
    def channel_axis(self) -> int:
        """Where the channels stand in what it reads and makes."""
        return -1 if self.is_linear else 1

    def inputs_of(self, channel: int) -> range:
        """The input channels that an output channel reads: those of its group."""
        count = self.inputs_a_group
        first = channel // (self.outputs // self.groups) * count
        return range(first, first + count)

    def weights_of(self, channel: int, item: int = 0) -> Tensor:
        """An output channel's weights, float64 `[I / groups, …]`."""
        if self.is_linear:
            weight = self.weight[item, channel] if self.weight.ndim == 3 else self.weight[channel]
        elif self.transposed:
            inputs, a_group = self.inputs_of(channel), self.outputs // self.groups
            weight = self.weight[inputs.start : inputs.stop, channel % a_group]
        else:
            weight = self.weight[channel]
        return weight.detach().cpu().to(torch.float64)

    def bias_of(self, channel: int) -> float:
        return 0.0 if self.bias is None else float(self.bias.detach().reshape(-1)[channel])


def product(operation: Operation) -> Product | None:
    """A kept operation as a product; None where it is none that can be taken apart."""
    given = operation.arguments
    kind = PRODUCTS.get(operation.name)
    if kind is None or len(set(operation.reads)) != 1:
        return None
    if kind == "convolution":
        read, weight = given.get("input", given.get("self")), given.get("weight")
        if not isinstance(read, Value) or not isinstance(weight, Tensor):
            return None
        places = weight.ndim - 2

        def each(name: str, default: int) -> tuple[int, ...]:
            found = [int(one) for one in given.get(name) or (default,)]
            return tuple(found * places if len(found) == 1 else found)

        return Product(
            operation,
            read,
            operation.makes[0],
            weight,
            given.get("bias"),
            each("stride", 1),
            each("padding", 0),
            each("dilation", 1),
            int(given.get("groups") or 1),
            bool(given.get("transposed")),
            each("output_padding", 0),
        )
    return _linear(operation, given)


def _linear(operation: Operation, given: dict[str, Any]) -> Product | None:
    name = operation.name
    names = {"addmm": ("mat1", "mat2"), "mm": ("self", "mat2"), "bmm": ("self", "mat2")}
    names |= {"baddbmm": ("batch1", "batch2"), "linear": ("input", "weight")}
    read, weight = (given.get(each) for each in names[name])
    if not isinstance(read, Value) or not isinstance(weight, Tensor):
        return None
    if name != "linear":
        weight = weight.mT * float(given.get("alpha", 1))
    bias = given.get("self") if name in ("addmm", "baddbmm") else given.get("bias")
    if bias is not None:
        bias = bias * float(given.get("beta", 1))
        if not isinstance(bias, Tensor) or bias.numel() not in (1, weight.shape[-2]):
            return None
        bias = bias.reshape(-1).expand(weight.shape[-2])
    return Product(operation, read, operation.makes[0], weight, bias)


# -- one value ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Sum:
    """A value of a product: `bias` and, for each input channel, its patch `[I, …]`, its kernel and their product's sum.

    `places` are the places in the input, along each axis, that the kernel's cells lie on; a place outside is padding,
    0.
    """

    inputs: range
    patches: np.ndarray
    kernels: np.ndarray
    contributions: np.ndarray
    bias: float
    places: tuple[tuple[int, ...], ...]

    @property
    def total(self) -> float:
        with np.errstate(all="ignore"):
            return float(self.contributions.sum() + self.bias)


def sum_at(tape: Tape, one: Product, index: Sequence[int]) -> Sum:
    """The sum that one value of the output is; `index` is its place in the product's own output."""
    x = tape.values[one.read]
    channel = int(index[one.channel_axis])
    inputs = one.inputs_of(channel)
    if one.is_linear:
        patch = x[tuple(index[:-1])].to(torch.float64).numpy()
        kernel = one.weights_of(channel, int(index[0])).numpy()
        places: tuple[tuple[int, ...], ...] = ()
    else:
        taps = [_taps(one, axis, int(at)) for axis, at in enumerate(index[2:])]
        places = tuple(tuple(at for _, at in each) for each in taps)
        kernel = one.weights_of(channel).numpy()[np.ix_(range(len(inputs)), *([u for u, _ in each] for each in taps))]
        patch = _patch(x[int(index[0]), inputs.start : inputs.stop], places)
    with np.errstate(all="ignore"):
        contributions = (kernel * patch).reshape(len(inputs), -1).sum(1)
    return Sum(inputs, patch, kernel, contributions, one.bias_of(channel), places)


def _taps(one: Product, axis: int, at: int) -> list[tuple[int, int]]:
    """Which cell of the kernel meets which place of the input for the output's place `at`, along one axis.

    Of a transposed convolution an input place i puts the kernel's cell u at i · stride − padding + u · dilation.
    """
    stride, padding, dilation = one.stride[axis], one.padding[axis], one.dilation[axis]
    cells = range(one.kernel[axis])
    if not one.transposed:
        return [(u, at * stride - padding + u * dilation) for u in cells]
    reached = [(u, divmod(at + padding - u * dilation, stride)) for u in cells]
    return [(u, place) for u, (place, left) in reached if left == 0]


def _patch(x: Tensor, places: Sequence[Sequence[int]]) -> np.ndarray:
    """The values at these places `[I, …]`, 0 outside."""
    for axis, (each, length) in enumerate(zip(places, x.shape[1:], strict=True), start=1):
        at = torch.tensor([min(max(place, 0), length - 1) for place in each], dtype=torch.long)
        inside = torch.tensor([0 <= place < length for place in each], dtype=torch.bool)
        x = x.index_select(axis, at)
        x = torch.where(
            inside.reshape([-1 if n == axis else 1 for n in range(x.ndim)]), x, torch.zeros((), dtype=x.dtype)
        )
    return x.to(torch.float64).numpy()


# -- sums over values --------------------------------------------------------------------------------------------


_CONVOLVE = (F.conv1d, F.conv2d, F.conv3d)
_SPREAD = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def weights_before(tape: Tape, one: Product, weights: Weights, channel: int) -> Weights:
    """What a weighted sum over one output channel is over the input; `weights` has none for other channels.

    The box of the weights before has all input channels of the unit's group.
    """
    shape = tuple(tape.values[one.read].shape)
    if one.is_linear:
        return _linear_before(one, weights, channel, shape)
    inputs, kernel, rank = one.inputs_of(channel), one.weights_of(channel), len(one.kernel)
    start = [weights.start[0], inputs.start]
    if one.transposed:  # its derivative is a convolution of the weights, which has to see what the padding cut off
        plane = Weights(
            (len(weights.values), 1, *weights.shape[2:]), (0, 0, *weights.start[2:]), weights.values
        ).dense()
        room = [n for each in reversed(one.padding) for n in (each, each)]
        before = _CONVOLVE[rank - 1](F.pad(plane, room), kernel[:, None], None, one.stride, 0, one.dilation)
        return Weights(shape, (*start, *[0] * rank), before)
    before = _SPREAD[rank - 1](
        weights.values, kernel[None], None, one.stride, 0, 0, 1, one.dilation
    )  # [b, I / groups, …]
    for axis, at in enumerate(weights.start[2:]):
        begin = at * one.stride[axis] - one.padding[axis]
        first, last = max(begin, 0), min(begin + before.shape[axis + 2], shape[axis + 2])
        before = before.narrow(axis + 2, first - begin, max(last - first, 0))
        start.append(first)
    return Weights(shape, tuple(start), before)


def _linear_before(one: Product, weights: Weights, channel: int, shape: tuple[int, ...]) -> Weights:
    weight = one.weight if one.weight.ndim == 3 else one.weight[None]
    row = weight[:, channel].detach().cpu().to(torch.float64)  # [B or 1, I]
    if one.weight.ndim == 3:
        row = row[weights.box[0], None]
    return Weights(shape, (*weights.start[:-1], 0), weights.values * row)
