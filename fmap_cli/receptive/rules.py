"""What every operation of torch does to the fields of its arguments: a rule an operation, an axis of the image a call.

An operation without a rule here is not guessed at: what it puts out is marked unknown. Formulas are torch's own, as
documented with the modules of `torch.nn` and `torch.nn.functional.interpolate`; those of convolutions and poolings are
also in Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), sections 2 to 5.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor, gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..network.operators import POINTWISE, QUANTIZED
from . import field as fields
from .field import Cause, Field, gathered, hull, made_bound, over_all, picked, reordered, reshaped, spread, window


@dataclass(eq=False, slots=True)
class Call:
    """One call of an operation: its arguments by their names in torch's schema, what it returned, and the fields.

    `of` gives a tensor's field along the axis of the image in question, None where it sees nothing. `because` is what
    a field that the call makes the whole image, unknown or a bound is put down to.
    """

    function: Any
    arguments: dict[str, Any]
    output: Any
    of: Callable[[Any], Field | None]
    because: Cause

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.arguments.get(name, default)

    def field(self, name: str) -> Field | None:
        return self.of(self.arguments[name])

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the (first) tensor returned."""
        return tuple(self.first.shape)

    @property
    def first(self) -> Tensor:
        output = self.output
        while not isinstance(output, Tensor):
            output = output[0]
        return output

    def tensors(self) -> list[Tensor]:
        return [each for each in flattened(self.arguments.values()) if isinstance(each, Tensor)]

    def everything(self, take: Callable[[Field, Cause], Field]) -> Field | None:
        """What any value of any argument sees, as one value, taken together by `take`."""
        parts = [take(each, self.because) for each in map(self.of, self.tensors()) if each is not None]
        return hull([reshaped(each, ()) for each in parts])


Rule = Callable[[Call], "Field | list[Field | None] | None"]
"""The field of every tensor the call returned that has the shape of the first, or a list, one for each."""


def flattened(values: Any) -> list[Any]:
    """The items of nested lists and tuples."""
    found: list[Any] = []
    for each in values:
        if isinstance(each, (list, tuple)):
            found += flattened(each)
        else:
            found.append(each)
    return found


def _each(value: Any, places: int) -> list[int]:
    """A number for each axis of the map: torch takes one for all, too."""
    values = [int(each) for each in value] if isinstance(value, (list, tuple)) else [int(value)]
    return values * places if len(values) == 1 else values


# -- value by value ----------------------------------------------------------------------------------------------


def pointwise(call: Call) -> Field | None:
    joined = hull([call.of(each) for each in call.tensors()])
    return None if joined is None else spread(joined, call.shape)


def written_over(call: Call) -> Field | None:
    """`x.copy_(y)`, `x.fill_(y)`: what was there before is gone."""
    source = call.get("src", call.get("value"))
    found = call.of(source)
    return None if found is None else spread(found, call.shape)


def no_field(call: Call) -> None:
    """Of new tensors that take no more than a shape from an old one."""


def _same(call: Call) -> Field | None:
    found = call.of(call.tensors()[-1])  # `set_` takes over another tensor's memory
    return found if found is not None and found.shape == call.shape else None


# -- convolutions and poolings -----------------------------------------------------------------------------------


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
    return replace(one, shape=shape, values=values, _varies={})


def _convolved(call: Call, one: Field, weight: Any, plan: tuple[Any, ...]) -> Field:
    stride, padding, dilation, transposed, groups = plan
    places = weight.ndim - 2
    first = len(one.shape) - places
    go = slide_apart if transposed else slide
    numbers = zip(*(_each(each, places) for each in (stride, padding, dilation)), strict=True)
    for at, (step, pad, gap) in enumerate(numbers):
        one = go(one, first + at, call.shape[first + at], int(weight.shape[2 + at]), step, pad, gap)
    return mixed_channels(one, first - 1, call.shape[first - 1], groups)


def _convolution(call: Call) -> Field | None:
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
    windows = list(zip(*(_each(each, places) for each in numbers), strict=True))
    for each in outputs_of(call)[1:]:
        POOLED[each] = windows
    for at, (size, step, pad, gap) in enumerate(windows):
        one = slide(one, first + at, call.shape[first + at], size, step, pad, gap)
    return one


def _adaptive_pooling(call: Call) -> Field | None:
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


# -- resizing ----------------------------------------------------------------------------------------------------


def _resizing(taps: Callable[[Fraction, Fraction, int], list[int]]) -> Rule:
    """A rule for `upsample_…`: `taps` lists the old places that one new place takes from.

    It is given where the new place's centre lies on the old axis, in places from the centre of the first, and the
    scale: how many old places a new one is.
    """

    def rule(call: Call) -> Field | None:
        one = call.of(call.tensors()[0])
        if one is None:
            return None
        places = len(one.shape) - 2
        factors = call.get("scale_factors") or _given_scales(call, places)
        for at in range(places):
            axis = 2 + at
            old, new = one.shape[axis], call.shape[axis]
            if call.get("align_corners"):
                scale = Fraction(old - 1, new - 1) if new > 1 else Fraction(0)
                centres = [scale * place for place in range(new)]
            else:
                scale = _scale(old, new, factors[at] if factors else None)
                centres = [scale * (place + Fraction(1, 2)) - Fraction(1, 2) for place in range(new)]
            if old == new and scale == 1:
                continue
            if scale == 0:
                one = window(one, axis, np.zeros((new, 1), np.int64), (1, 1))
                continue
            rows = [taps(centre, scale, old) for centre in centres]
            most = max(map(len, rows))
            table = np.array([row + row[-1:] * (most - len(row)) for row in rows])
            one = window(one, axis, table, (scale.denominator, scale.numerator))
        return one

    return rule


def _given_scales(call: Call, places: int) -> list[float | None] | None:
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}[places]
    scales = [call.get(name) for name in names]
    return scales if any(scale is not None for scale in scales) else None


def _scale(old: int, new: int, factor: float | None) -> Fraction:
    """How many old places a new one is: by the sizes, unless a factor is given that they are only rounded from."""
    if factor is None or factor <= 0 or factor * old == new:
        return Fraction(old, new)
    return 1 / Fraction(factor).limit_denominator(1 << 16)


def _nearest(call: Call) -> Field | None:
    """Torch rounds in the number format of its scale, not exactly: so it is asked, by resizing the places' numbers."""
    one = call.of(call.tensors()[0])
    if one is None:
        return None
    source = call.tensors()[0]
    exact = source.dtype == torch.float64
    for axis in range(2, len(one.shape)):
        old, new = one.shape[axis], call.shape[axis]
        lengths = [1 if at < 2 else length for at, length in enumerate(source.shape)]
        places = torch.arange(old, dtype=torch.float64 if exact else torch.float32)
        numbers = places.reshape([old if at == axis else 1 for at in range(source.ndim)]).expand(lengths)
        arguments = {name: numbers if value is source else value for name, value in call.arguments.items()}
        with torch._C._DisableTorchDispatch():
            moved = _called(call.function, arguments)
        table = moved.movedim(axis, 0).reshape(new, -1)[:, :1].to(torch.int64).numpy()
        shared = gcd(old, new)
        even = not _given_scales(call, len(one.shape) - 2) or new % old == 0
        one = window(one, axis, table, (new // shared, old // shared) if even else (new, old))
    return one


def _linear(centre: Fraction, scale: Fraction, old: int) -> list[int]:
    return sorted({floor(centre), ceil(centre)})


def _cubic(centre: Fraction, scale: Fraction, old: int) -> list[int]:
    place = floor(centre)
    return [place] if centre == place else list(range(place - 1, place + 3))


def _filtered(reach: int) -> Callable[[Fraction, Fraction, int], list[int]]:
    """With antialiasing the filter is as many times wider as the map shrinks.

    It is zero at its very ends, and at every whole distance but 0 (both filters interpolate).
    """

    def taps(centre: Fraction, scale: Fraction, old: int) -> list[int]:
        wider = max(scale, Fraction(1))
        near = range(floor(centre - reach * wider), ceil(centre + reach * wider) + 1)
        return [tap for tap in near if (away := abs(tap - centre) / wider) < reach and away != 1]

    return taps


# -- over whole axes ---------------------------------------------------------------------------------------------


def _axes_of(call: Call, count: int) -> list[int]:
    given = call.get("dim", call.get("dims"))
    if given is None or given == []:
        return list(range(count))
    return [int(each) % count for each in (given if isinstance(given, (list, tuple)) else [given])] if count else []


def reduction(call: Call) -> Field | list[Field | None] | None:
    """A sum, mean, maximum, … along axes, kept at length 1 or dropped."""
    if isinstance(call.get("other"), Tensor):  # `max(x, y)` is value by value
        return pointwise(call)
    one = call.of(call.tensors()[0])
    if one is None:
        return None
    done = gathered(one, _axes_of(call, len(one.shape)), call.because)
    return [reshaped(done, tuple(each.shape)) for each in outputs_of(call)]


def along(call: Call) -> list[Field | None]:
    """Each value may depend on all along an axis (softmax, sorting), whose length may change."""
    one = call.of(call.tensors()[0])
    if one is None:
        return []
    done = gathered(one, [call.get("dim", -1)], call.because)
    return [spread(done, tuple(each.shape)) for each in outputs_of(call)]


def cumulative(call: Call) -> list[Field | None]:
    """A running sum, product or maximum: each place sees those up to it."""
    one = call.of(call.tensors()[0])
    if one is None:
        return []
    done = fields.accumulated(one, call["dim"] % len(one.shape)) if one.shape else one
    return [done for _ in outputs_of(call)]


def outputs_of(call: Call) -> list[Tensor]:
    output = call.output
    return [each for each in flattened([output]) if isinstance(each, Tensor)]


def product(left: str, right: str) -> Rule:
    """A matrix product: the inner axis is summed over, rows are the left side's and columns the right side's."""

    def rule(call: Call) -> Field | None:
        parts: list[Field | None] = []
        a, b = call.field(left), call.field(right)
        if a is not None:
            parts.append(gathered(a, [-1], call.because))
        if b is not None:
            row = gathered(b, [0 if len(b.shape) == 1 else -2], call.because)
            parts.append(reshaped(row, (1,)) if len(b.shape) == 1 else row)
        sides = hull(parts, None)
        if sides is not None and len(call.shape) < len(sides.shape):  # a matrix by a vector
            sides = reshaped(sides, call.shape)
        added = call.field("self") if left != "self" else None
        joined = hull([sides, added])
        return None if joined is None else spread(joined, call.shape)

    return rule


def _dot(call: Call) -> Field | None:
    return call.everything(over_all)


def linear_map(call: Call) -> Field | None:
    """`linear` where torch does not take it apart, and on quantized values."""
    one = call.of(call.tensors()[0])
    return None if one is None else spread(gathered(one, [-1], call.because), call.shape)


def _attention(call: Call) -> Field | None:
    """Each query's row sees the query, and all keys and values: `[B, heads, N, D]`."""
    query, key, value = (call.field(name) for name in ("query", "key", "value"))
    parts: list[Field | None] = []
    if query is not None:
        parts.append(gathered(query, [-1], call.because))
    parts += [gathered(each, [-2, -1], call.because) for each in (key, value) if each is not None]
    joined = hull(parts)
    if joined is not None and (call.get("is_causal") or call.get("attn_mask") is not None):
        joined = made_bound(joined, Cause(why="a mask may leave out pairs of tokens"))
    return None if joined is None else spread(joined, call.shape)


def _whole_attention(call: Call) -> list[Field | None]:
    """torch's fused layer of attention: `[B, N, C]`, and, where asked for, weights `[B, N, N]`."""
    query = call.of(call.tensors()[0])
    rows = None if query is None else gathered(query, [-1], call.because)
    others = [
        gathered(each, [1, 2], call.because)
        for name in ("query", "key", "value", "src")
        if isinstance(call.get(name), Tensor) and (each := call.field(name)) is not None
    ]
    joined = hull([rows, *others])
    return [
        spread(joined, tuple(each.shape)) if joined is not None and each.ndim == 3 and each.numel() else None
        for each in outputs_of(call)
    ]


def _layer_norm(call: Call) -> list[Field | None] | None:
    one = call.field("input")
    if one is None:
        return None
    axes = range(len(one.shape) - len(call["normalized_shape"]), len(one.shape))
    return _with_statistics(call, one, gathered(one, list(axes), call.because))


def _group_norm(call: Call) -> list[Field | None] | None:
    """Over the channels of a group and all places: `[B, C, …]` as `[B, groups, C / groups, …]`."""
    one = call.field("input")
    if one is None:
        return None
    batch, channels, *places = one.shape
    grouped = reshaped(one, (batch, call["group"], channels // call["group"], *places))
    over = gathered(grouped, range(2, len(grouped.shape)), call.because)
    return _with_statistics(call, one, reshaped(spread(over, grouped.shape), one.shape))


def _batch_norm(call: Call) -> list[Field | None] | None:
    """Channel by channel; over all places and the batch where it takes its statistics from them."""
    one = call.of(call.tensors()[0])
    if one is None:
        return None
    training = call.get("training", call.get("train", False))
    if call.get("running_mean") is None:
        training = True
    if not training:
        return _with_statistics(call, one, None)
    return _with_statistics(call, one, gathered(one, [0, *range(2, len(one.shape))], call.because))


def _with_statistics(call: Call, one: Field, over: Field | None) -> list[Field | None]:
    joined = hull([one, over])
    return [joined if joined is not None and tuple(each.shape) == joined.shape else None for each in outputs_of(call)]


# -- moving ------------------------------------------------------------------------------------------------------


def _view(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else reshaped(one, call.shape)


def _permute(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else reordered(one, call["dims"])


def _transpose(call: Call) -> Field | None:
    one = call.field("self")
    if one is None or len(one.shape) < 2:
        return one
    order = list(range(len(one.shape)))
    first, second = (call[name] % len(order) for name in ("dim0", "dim1")) if call.get("dim0") is not None else (0, 1)
    order[first], order[second] = order[second], order[first]
    return reordered(one, order)


def _expand(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else spread(one, call.shape)


def _slice(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    at, step = call.get("dim", 0) % len(one.shape), call.get("step", 1)
    start = call.get("start") or 0
    return _part(one, at, start, call.shape[at], step)


def _part(one: Field, at: int, start: int, new: int, step: int = 1) -> Field:
    old = one.shape[at]
    start = max(start + old, 0) if start < 0 else min(start, old)
    if (start, new, step) == (0, old, 1):
        return one
    return window(one, at, start + np.arange(new)[:, None] * step, (1, step))


def _select(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    at = call["dim"] % len(one.shape)
    index = call["index"] % one.shape[at]
    return reshaped(_part(one, at, index, 1), call.shape)


def _parts(call: Call) -> list[Field | None] | None:
    """`split`, `chunk`, `unbind`: parts one behind the other along an axis."""
    one = call.field("self")
    if one is None:
        return None
    at = call.get("dim", 0) % len(one.shape)
    found: list[Field | None] = []
    start = 0
    for each in call.output:
        long = each.shape[at] if each.ndim == len(one.shape) else 1
        found.append(reshaped(_part(one, at, start, long), tuple(each.shape)) if each.numel() else None)
        start += long
    return found


def _cat(call: Call) -> Field | None:
    tensors = [each for each in call.get("tensors", call.get("qx")) if each.numel()]
    return fields.side_by_side([call.of(each) for each in tensors], [each.shape for each in tensors], call["dim"])


def _stack(call: Call) -> Field | None:
    tensors = call["tensors"]
    at = call.get("dim", 0) % (tensors[0].ndim + 1)
    shape = (*tensors[0].shape[:at], 1, *tensors[0].shape[at:])
    parts = [None if (each := call.of(tensor)) is None else reshaped(each, shape) for tensor in tensors]
    return fields.side_by_side(parts, [shape] * len(tensors), at)


def _pad(call: Call) -> Field | None:
    """Zeros around: nothing to see there, and what is unclipped goes on. Negative numbers cut off."""
    one = call.field("self")
    return None if one is None else _padded(call, one, call["pad"], None)


def _padded(call: Call, one: Field, pad: Sequence[int], fold: Callable[[np.ndarray, int], np.ndarray] | None) -> Field:
    for pair in range(len(pad) // 2):
        at = len(one.shape) - 1 - pair
        before = int(pad[2 * pair])
        if before or pad[2 * pair + 1]:
            table = (np.arange(call.shape[at]) - before)[:, None]
            one = window(one, at, table, (1, 1), inside=None if fold is None else fold(table, one.shape[at]))
    return one


def _mirrored(table: np.ndarray, length: int) -> np.ndarray:
    last = length - 1
    return last - np.abs(last - np.abs(table))


def _held(table: np.ndarray, length: int) -> np.ndarray:
    return np.clip(table, 0, length - 1)


def _padding(fold: Callable[[np.ndarray, int], np.ndarray]) -> Rule:
    def rule(call: Call) -> Field | None:
        one = call.field("self")
        return None if one is None else _padded(call, one, call["padding"], fold)

    return rule


def _roll(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    if not call.get("dims"):
        rolled = reshaped(one, (call["self"].numel(),))
        return reshaped(fields.rearranged(rolled, 0, np.roll(np.arange(rolled.shape[0]), call["shifts"])), one.shape)
    for at, shift in zip(call["dims"], call["shifts"], strict=True):
        one = fields.rearranged(one, at % len(one.shape), np.roll(np.arange(one.shape[at]), shift))
    return one


def _flip(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    for at in call["dims"]:
        one = fields.rearranged(one, at % len(one.shape), np.arange(one.shape[at])[::-1])
    return one


def _gate(call: Call) -> Field | None:
    """`glu`: one half of an axis times a function of the other."""
    one = call.field("self")
    if one is None:
        return None
    at = call.get("dim", -1) % len(one.shape)
    half = one.shape[at] // 2
    return hull([_part(one, at, 0, half), _part(one, at, half, half)])


def moved(call: Call) -> Field | list[Field | None] | None:
    """Any operation that only moves values about: it is asked where by moving their numbers, counted from 1.

    Where it takes indices that depend on the image, or that have no values here, each place may be any.
    """
    tensors = call.tensors()
    one = call.of(tensors[0])
    if one is None and all(call.of(each) is None for each in tensors[1:]):
        return None
    unsure = any(call.of(each) is not None or each.is_meta for each in tensors[1:])
    if unsure:
        return anywhere(call)
    numbers = torch.arange(1, tensors[0].numel() + 1, dtype=torch.float64).reshape(tensors[0].shape)
    arguments = {name: numbers if value is tensors[0] else value for name, value in call.arguments.items()}
    with torch._C._DisableTorchDispatch():
        sources = _called(call.function, arguments)
    found = [picked(one, each.to(torch.int64).numpy()) for each in flattened([sources]) if isinstance(each, Tensor)]
    return found if len(found) > 1 else found[0]


def _called(function: Any, arguments: dict[str, Any]) -> Any:
    schema = function._schema.arguments
    positional = [arguments[each.name] for each in schema if not each.kwarg_only and each.name in arguments]
    # what only named arguments say (dtype, device) would not fit the numbers
    return function(*positional)


def anywhere(call: Call) -> list[Field | None]:
    """Which places are read depends on values: any may be."""
    return everywhere(call, call.everything(fields.maybe_all))


def unknown(call: Call) -> list[Field | None]:
    """For an operation without a rule."""
    return everywhere(call, call.everything(fields.made_unknown))


def everywhere(call: Call, found: Field | None) -> list[Field | None]:
    return [
        None if found is None or not each.numel() else spread(found, tuple(each.shape)) for each in outputs_of(call)
    ]


# -- which operation goes by which rule --------------------------------------------------------------------------

_BY_NAME: dict[str, Rule] = {}


def register(names: str, rule: Rule, home: str = "aten") -> None:
    """The operations of these names go by this rule."""
    _BY_NAME.update((f"{home}::{name}", rule) for name in names.split())


register("convolution _convolution cudnn_convolution miopen_convolution mkldnn_convolution", _convolution)
register(
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices"
    " avg_pool1d avg_pool2d avg_pool3d quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d lp_pool2d"
    " mkldnn_max_pool2d mkldnn_max_pool3d",
    pooling,
)
register(
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
    " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d mkldnn_adaptive_avg_pool2d",
    _adaptive_pooling,
)
register(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d"
    " _upsample_nearest_exact3d",
    _nearest,
)
register("upsample_linear1d upsample_bilinear2d upsample_trilinear3d", _resizing(_linear))
register("upsample_bicubic2d", _resizing(_cubic))
register("_upsample_bilinear2d_aa", _resizing(_filtered(1)))
register("_upsample_bicubic2d_aa", _resizing(_filtered(2)))
register(
    "mean sum amax amin aminmax max min prod var std var_mean std_mean norm linalg_vector_norm logsumexp any all"
    " argmax argmin median nanmedian mode nansum count_nonzero",
    reduction,
)
register("_softmax _log_softmax softmax log_softmax _safe_softmax sort topk argsort kthvalue", along)
register("cumsum cumprod logcumsumexp cummax cummin", cumulative)
register("mm bmm matmul", product("self", "mat2"))
register("mv", product("self", "vec"))
register("addmm", product("mat1", "mat2"))
register("baddbmm", product("batch1", "batch2"))
register("addmv", product("mat", "vec"))
register("dot vdot", _dot)
register("linear", linear_map)
register(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
    " _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention scaled_dot_product_attention",
    _attention,
)
register("_native_multi_head_attention _transformer_encoder_layer_fwd", _whole_attention)
register("native_layer_norm _fused_rms_norm rms_norm layer_norm", _layer_norm)
register("native_group_norm", _group_norm)
register(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm"
    " miopen_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm quantized_batch_norm",
    _batch_norm,
)
register(
    "view reshape _unsafe_view _reshape_alias flatten unflatten squeeze unsqueeze view_copy squeeze_copy"
    " unsqueeze_copy _reshape_copy squeeze_ unsqueeze_",
    _view,
)
register("permute permute_copy", _permute)
register("t transpose swapaxes transpose_copy t_copy transpose_ t_", _transpose)
register("expand expand_copy broadcast_to", _expand)
register("slice slice_copy", _slice)
register("select select_copy", _select)
register("split split_with_sizes chunk unbind unsafe_split unsafe_chunk unsafe_split_with_sizes tensor_split", _parts)
register("cat concat", _cat)
register("stack", _stack)
register("constant_pad_nd", _pad)
register("reflection_pad1d reflection_pad2d reflection_pad3d", _padding(_mirrored))
register("replication_pad1d replication_pad2d replication_pad3d", _padding(_held))
register(
    "repeat pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col unfold index"
    " index_select gather take tile rot90 diagonal diagonal_copy diag_embed tril triu movedim unfold_copy"
    " repeat_interleave embedding take_along_dim",
    moved,
)
register("roll", _roll)
register("flip", _flip)
register("glu", _gate)
register("nonzero _unique2 unique_dim masked_select grid_sampler_2d grid_sampler_3d grid_sampler bincount", anywhere)
register("masked_scatter", anywhere)
register("copy_ fill_ copy", written_over)
register(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty new_full"
    " new_empty_strided zero_ bernoulli_ uniform_ normal_ random_ arange",
    no_field,
)
register("as_strided_ set_", _same)
register(" ".join([*POINTWISE, "rrelu_with_noise"]), pointwise)
_BY_NAME.update((f"torchvision::{name}", anywhere) for name in ("nms", "roi_align", "roi_pool", "ps_roi_align"))
_quantized = {"convolution": quantized_convolution, "linear": linear_map, "pointwise": pointwise, "cat": _cat}
for _what, _rule in _quantized.items():
    _BY_NAME.update(dict.fromkeys(QUANTIZED[_what], _rule))


def rule_for(function: Any) -> Rule | None:
    """The rule of an operator; None where there is none."""
    name = function._schema.name
    rule = _BY_NAME.get(name)
    if rule is not None:
        return rule
    if torch.Tag.pointwise in function.tags:
        return pointwise
    if name.endswith("_"):  # in place, which not all are marked for
        home, _, own = name.rstrip("_").partition("::")
        packet = getattr(getattr(torch.ops, home), own, None)
        there = [] if packet is None else packet.overloads()
        return rule_for(getattr(packet, there[0])) if there else None
    return None
