"""Axes after arithmetic: value by value, over whole axes, products and attention."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from . import factors
from .calls import Call, Rule, broadcast, fitted
from .factors import NOTHING, PLACES, UNKNOWN, Axis, FactoredAxes

# -- value by value ----------------------------------------------------------------------------------------------


def pointwise(call: Call) -> list[FactoredAxes | None]:
    given = [factored for each in call.tensors() if (factored := call.of(each)) is not None]
    return [broadcast(given, tuple(each.shape)) for each in call.outputs]


# -- over whole axes ---------------------------------------------------------------------------------------------


def reduction(call: Call) -> list[FactoredAxes | None]:
    """A sum, mean, maximum, … along axes, kept at length 1 or dropped."""
    if isinstance(call.get("other"), Tensor):  # `max(x, y)` is value by value
        return pointwise(call)
    one = call.first
    if one is None:
        return []
    over = call.named_axes(len(one))
    kept = tuple(factors.resized(axis, 1) if at in over else axis for at, axis in enumerate(one))
    dropped = tuple(axis for at, axis in enumerate(one) if at not in over)
    return [kept if each.ndim == len(one) else dropped if each.ndim == len(dropped) else None for each in call.outputs]


def _mixes(one: Axis, others: Sequence[Axis], length: int) -> Axis:
    """The axis that a linear layer over this one puts out, beside others.

    Of channels it makes channels, and of anything where there are no others. As many tokens or places as before are
    those (a mixer's); of how many others there are nothing is known.
    """
    channels = any(each.kind == "C" for other in others for each in other.factors)
    if "C" in one.kinds or not channels:
        return factors.axis("C", length)
    if one.length == length and one.kinds and one.kinds <= PLACES | {"N"}:
        return one
    return factors.axis(UNKNOWN, length)


def linear(call: Call) -> FactoredAxes | None:
    one = call.first
    return None if one is None else (*one[:-1], _mixes(one[-1], one[:-1], call.shape[-1]))


def product(left: str, right: str) -> Rule:
    """A matrix product: rows are the left side's, columns the right side's."""

    def rule(call: Call) -> FactoredAxes | None:
        a, b = call.of(call[left]), call.of(call[right])
        found: FactoredAxes
        if a is None and b is None:
            return call.of(call.tensors()[0])  # what a product of weights is added to
        if b is None:
            assert a is not None
            found = (*a[:-1], _mixes(a[-1], a[:-1], call.shape[-1])) if call[right].ndim > 1 else a[:-1]
        elif a is None:
            rows = () if call[left].ndim == 1 else (_mixes(b[-2], (*b[:-2], b[-1]), call.shape[-2]),)
            found = (*b[:-2], *rows, b[-1]) if len(b) > 1 else rows
        else:
            batch = broadcast([a[:-2], b[:-2]], call.shape[:-2]) if len(call.shape) > 2 else ()
            found = (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
        return fitted(found, call.shape)

    return rule


def distances(call: Call) -> FactoredAxes | None:
    a, b = call.of(call["x1"]), call.of(call["x2"])
    rows = a[-2] if a is not None else factors.axis(UNKNOWN, call.shape[-2])
    columns = b[-2] if b is not None else factors.axis(UNKNOWN, call.shape[-1])
    rest = broadcast([each[:-2] for each in (a, b) if each is not None], call.shape[:-2])
    return (*rest, rows, columns)


def attention(call: Call) -> list[FactoredAxes | None]:
    """`[B, heads, N, D]`: a query's places, a value's numbers."""
    query, value = call.of(call["query"]), call.of(call["value"])
    if query is None or value is None:
        return [fitted(query or value, call.shape)]
    return [fitted((*query[:-1], value[-1]), call.shape)]


def whole_attention(call: Call) -> list[FactoredAxes | None]:
    """torch's fused layer of attention: `[B, N, C]`, and, where asked for, weights `[B, N, N]`."""
    one = call.first
    if one is None:
        return []
    tokens = one[-2]
    found: list[FactoredAxes | None] = []
    for at, each in enumerate(call.outputs):
        if at == 0:
            found.append((*one[:-1], factors.axis("C", each.shape[-1])))
        elif each.ndim == 3:
            found.append((one[0], tokens, tokens))
        else:
            found.append((one[0], factors.axis(UNKNOWN, each.shape[1]), tokens, tokens) if each.ndim == 4 else None)
    return found


def with_statistics(call: Call) -> list[FactoredAxes | None]:
    """A norm: the values in their axes; what else comes out is statistics."""
    one = call.first
    return [
        one if at == 0 and one is not None and each.ndim == len(one) else None for at, each in enumerate(call.outputs)
    ]


def recurrent(call: Call) -> list[FactoredAxes | None]:
    """`[steps, B, C]` or `[B, steps, C]`: the steps stay, and the last axis is the state's numbers."""
    one = call.first
    if one is None:
        return []
    batch = next((axis for axis in one[:-1] if "B" in axis.kinds), NOTHING)
    found: list[FactoredAxes | None] = [(*one[:-1], factors.axis("C", call.shape[-1]))]
    for state in call.outputs[1:]:  # of each layer and direction
        found.append(
            fitted(
                (
                    *(factors.axis(UNKNOWN, each) for each in state.shape[:-2]),
                    batch,
                    factors.axis("C", state.shape[-1]),
                ),
                state.shape,
            )
            if state.ndim > 1
            else None
        )
    return found
