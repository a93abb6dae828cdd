"""Operations value by value, and those that overwrite."""

from __future__ import annotations

from ..arranged import reshaped
from ..field import Field, hull, spread
from .calls import Call
from .moving import part_of
from .windows import slide


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


def taken_over(call: Call) -> Field | None:
    found = call.of(call.tensors()[-1])  # `set_` takes over another tensor's memory
    return found if found is not None and found.shape == call.shape else None


def as_pairs(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else spread(reshaped(one, (*one.shape, 1)), call.shape)


def of_pairs(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    last = len(one.shape) - 1
    return hull([reshaped(slide(one, last, 1, 1, 1, -at, 1), call.shape) for at in (0, 1)])


def gated(call: Call) -> Field | None:
    """`glu`: one half of an axis times a function of the other."""
    one = call.field("self")
    if one is None:
        return None
    at = call.get("dim", -1) % len(one.shape)
    half = one.shape[at] // 2
    return hull([part_of(one, at, 0, half), part_of(one, at, half, half)])
