"""Sums, norms and transforms: what takes whole axes together."""

from __future__ import annotations

from torch import Tensor

from ..arranged import reshaped
from ..collected import accumulated, gathered, over_all
from ..field import Field, hull, spread
from .calls import Call, everywhere, outputs_of
from .pointwise import pointwise


def reduction(call: Call) -> Field | list[Field | None] | None:
    """A sum, mean, maximum, … along axes, kept at length 1 or dropped."""
    if isinstance(call.get("other"), Tensor):  # `max(x, y)` is value by value
        return pointwise(call)
    one = call.of(call.tensors()[0])
    if one is None:
        return None
    done = gathered(one, call.named_axes(len(one.shape)), call.because)
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
    done = accumulated(one, call["dim"] % len(one.shape)) if one.shape else one
    return [done for _ in outputs_of(call)]


def layer_norm(call: Call) -> list[Field | None] | None:
    one = call.field("input")
    if one is None:
        return None
    axes = range(len(one.shape) - len(call["normalized_shape"]), len(one.shape))
    return _with_statistics(call, one, gathered(one, list(axes), call.because))


def group_norm(call: Call) -> list[Field | None] | None:
    """Over the channels of a group and all places: `[B, C, …]` as `[B, groups, C / groups, …]`."""
    one = call.field("input")
    if one is None:
        return None
    batch, channels, *places = one.shape
    grouped = reshaped(one, (batch, call["group"], channels // call["group"], *places))
    over = gathered(grouped, range(2, len(grouped.shape)), call.because)
    return _with_statistics(call, one, reshaped(spread(over, grouped.shape), one.shape))


def batch_norm(call: Call) -> list[Field | None] | None:
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


def matrices(call: Call) -> list[Field | None]:
    """What takes a matrix apart, or solves it: each number sees the whole of it, the last two axes."""
    parts = []
    for each in map(call.of, call.tensors()):
        if each is not None:
            axes = [-1, -2] if len(each.shape) > 1 else [-1]
            done = gathered(each, axes, call.because)
            parts.append(reshaped(done, done.shape[: -len(axes)]))
    joined = hull(parts)
    found: list[Field | None] = []
    for output in outputs_of(call):
        inner = output.ndim - (0 if joined is None else len(joined.shape))
        found.append(None if joined is None else spread(reshaped(joined, (*joined.shape, *(1,) * inner)), output.shape))
    return found


def along_axes(call: Call) -> Field | None:
    """A Fourier transform, a cross product: each value sees all along some axes, whose length may change."""
    dim = call["dim"]
    axes = list(dim) if isinstance(dim, (list, tuple)) else [dim]
    parts = [gathered(each, axes, call.because) for each in map(call.of, call.tensors()) if each is not None]
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


def seen_whole(call: Call) -> list[Field | None]:
    return everywhere(call, call.everything(over_all))
