"""Matrix products, linear layers and attention."""

from __future__ import annotations

import torch
from torch import Tensor

from ..arranged import reordered, reshaped
from ..collected import gathered, made_bound, over_all
from ..field import Cause, Field, hull, spread
from .calls import Call, Rule, outputs_of


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


def dot(call: Call) -> Field | None:
    return call.everything(over_all)


def linear_map(call: Call) -> Field | None:
    """`linear` where torch does not take it apart, and on quantized values."""
    one = call.of(call.tensors()[0])
    return None if one is None else spread(gathered(one, [-1], call.because), call.shape)


def summed_batch(call: Call) -> Field | None:
    """`addbmm`: the batch is summed over, too."""
    left, right = call.field("batch1"), call.field("batch2")
    parts = [
        None if left is None else reshaped(gathered(left, [0, -1], call.because), (left.shape[1], 1)),
        None if right is None else reshaped(gathered(right, [0, -2], call.because), (1, right.shape[2])),
        call.field("self"),
    ]
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


def outer(call: Call) -> Field | None:
    left, right = call.field("vec1"), call.field("vec2")
    parts = [
        None if left is None else reshaped(left, (left.shape[0], 1)),
        None if right is None else reshaped(right, (1, right.shape[0])),
        call.field("self"),
    ]
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


def trilinear(call: Call) -> Field | None:
    """`nn.Bilinear`: three tensors brought to one shape, multiplied and summed over some of its axes."""
    shapes = []
    for number in ("1", "2", "3"):
        tensor = call[f"i{number}"]
        for at in call[f"expand{number}"]:
            tensor = torch.empty(tensor.shape, device="meta").unsqueeze(at)
        shapes.append(tuple(tensor.shape))
    full = torch.broadcast_shapes(*shapes)
    parts = []
    for number, shape in zip(("1", "2", "3"), shapes, strict=True):
        one = call.field(f"i{number}")
        if one is not None:
            parts.append(gathered(spread(reshaped(one, shape), full), call["sumdim"], call.because))
    joined = hull(parts)
    return None if joined is None else reshaped(joined, call.shape)


def distances(call: Call) -> Field | None:
    left, right = call.field("x1"), call.field("x2")
    parts: list[Field | None] = [None if left is None else gathered(left, [-1], call.because)]
    if right is not None:
        order = [*range(len(right.shape) - 2), -1, -2]
        parts.append(reordered(gathered(right, [-1], call.because), order))
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


def attention(call: Call) -> Field | None:
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


def whole_attention(call: Call) -> list[Field | None]:
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
