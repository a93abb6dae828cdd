"""Axes after what moves values about: views, permutations, parts, joining, reading and writing by index."""

from __future__ import annotations

import torch
from torch import Tensor

from . import factors
from .calls import Call, broadcast, fitted
from .factors import NEW, NOTHING, UNKNOWN, Axis, FactoredAxes

# -- value by value ----------------------------------------------------------------------------------------------


def first_axes(call: Call) -> list[FactoredAxes | None]:
    """The axes of the first tensor, which may have come out longer or shorter."""
    return [fitted(call.first, tuple(each.shape)) for each in call.outputs]


def made_new(call: Call) -> list[FactoredAxes | None]:
    """Of new tensors that take no more than a shape from an old one."""
    return []


def not_known(call: Call) -> list[FactoredAxes | None]:
    """Of lists of places, which are as long as values say."""
    return []


def put(call: Call) -> FactoredAxes | None:
    """Values put at some places of a tensor: its own axes, or, where it is new, the values'."""
    before = call.of(call.tensors()[0])
    values = call.of(call.get("values", call.get("src", call.get("source"))))
    return before if before is not None else fitted(values, call.shape)


def written_over(call: Call) -> FactoredAxes | None:
    """`x.copy_(y)`: what was there before is gone, but for the meaning of its axes."""
    source = call.get("src", call.get("value"))
    before = call.of(call.tensors()[0])
    found = call.of(source) if isinstance(source, Tensor) else None
    if found is None:
        return before
    return broadcast([found] if before is None else [found, before], call.shape)


# -- moving ------------------------------------------------------------------------------------------------------


def viewed(call: Call) -> list[FactoredAxes | None]:
    one = call.first
    if one is None:
        return []
    return [None if 0 in each.shape else factors.reshaped(one, tuple(each.shape)) for each in call.outputs]


def squeezed(call: Call) -> FactoredAxes | None:
    one = call.first
    if one is None:
        return None
    over = call.named_axes(len(one))
    return tuple(axis for at, axis in enumerate(one) if at not in over or axis.length != 1)


def unsqueezed(call: Call) -> FactoredAxes | None:
    one = call.first
    if one is None:
        return None
    at = call["dim"] % (len(one) + 1)
    return (*one[:at], NOTHING, *one[at:])


def permuted(call: Call) -> FactoredAxes | None:
    one = call.first
    return None if one is None else tuple(one[at] for at in call["dims"])


def transposed(call: Call) -> FactoredAxes | None:
    one = call.first
    if one is None or len(one) < 2:
        return one
    return tuple(one[at] for at in call.swapped_axes(len(one)))


def expanded(call: Call) -> FactoredAxes | None:
    one = call.first
    return None if one is None else broadcast([one], call.shape)


def sliced(call: Call) -> FactoredAxes | None:
    one = call.first
    if one is None:
        return None
    at = call.get("dim", 0) % len(one)
    return _part(one, at, call.get("start") or 0, call.shape[at], call.get("step", 1))


def _part(one: FactoredAxes, at: int, start: int, length: int, step: int = 1) -> FactoredAxes:
    old = one[at].length
    start = max(start + old, 0) if start < 0 else min(start, old)
    return (*one[:at], factors.sliced(one[at], start, length, step), *one[at + 1 :])


def selected(call: Call) -> FactoredAxes | None:
    one = call.first
    if one is None:
        return None
    at = call["dim"] % len(one)
    return (*one[:at], *one[at + 1 :])


def split(call: Call) -> list[FactoredAxes | None]:
    """`split`, `chunk`, `unbind`: parts one behind the other along an axis."""
    one = call.first
    if one is None:
        return []
    at = call.get("dim", 0) % len(one)
    found: list[FactoredAxes | None] = []
    start = 0
    for each in call.outputs:
        long = each.shape[at] if each.ndim == len(one) else 1
        part = _part(one, at, start, long)
        found.append(part if each.ndim == len(one) else (*part[:at], *part[at + 1 :]))
        start += long
    return found


def cat(call: Call) -> FactoredAxes | None:
    tensors = [each for each in call.get("tensors", call.get("qx")) if each.numel() or each.ndim > 1]
    known = [factored for each in tensors if (factored := call.of(each)) is not None]
    if not known:
        return None
    at = call.get("dim", 0) % len(call.shape)
    parts = []
    for each in tensors:
        factored = call.of(each)
        parts.append(factors.axis(UNKNOWN, each.shape[at]) if factored is None else factored[at])
    if len(known) == len(tensors):
        along = factors.joined(parts)
    else:  # a token that is learned, a row of zeros: it is what it is put beside
        along = factors.joined(
            [
                part if call.of(each) is not None else factors.resized(NOTHING, each.shape[at])
                for part, each in zip(parts, tensors, strict=True)
            ]
        )
    others = broadcast([(*factored[:at], NOTHING, *factored[at + 1 :]) for factored in known], call.shape)
    return (*others[:at], along, *others[at + 1 :])


def stacked(call: Call) -> FactoredAxes | None:
    tensors = call["tensors"]
    known = [factored for each in tensors if (factored := call.of(each)) is not None]
    if not known:
        return None
    at = call.get("dim", 0) % len(call.shape)
    one = broadcast(known, (*call.shape[:at], *call.shape[at + 1 :]))
    return (*one[:at], factors.axis(NEW, len(tensors)), *one[at:])


def indexed(call: Call) -> FactoredAxes | None:
    """`x[:, i]`: along indexed axes places may be in any order. Several indices, or one of several axes, are new."""
    one = call.first
    if one is None:
        return None
    indices = list(call["indices"])
    at = [place for place, index in enumerate(indices) if index is not None]
    widths = sum(
        index.ndim if index.dtype in (torch.bool, torch.uint8) else 1 for index in indices if index is not None
    )
    if len(at) == 1 and widths == 1 and len(call.shape) == len(one):
        axis = one[at[0]]
        return (*one[: at[0]], _picked(axis, call.shape[at[0]]), *one[at[0] + 1 :])
    together = at == list(range(at[0], at[-1] + 1))
    first = at[0] if together else 0
    count = len(call.shape) - (len(one) - widths)
    new = tuple(factors.axis(UNKNOWN, length) for length in call.shape[first : first + count])
    gone = set(range(at[0], at[0] + widths)) if together else set(at)
    rest = tuple(axis for place, axis in enumerate(one) if place not in gone)
    return fitted((*rest[:first], *new, *rest[first:]), call.shape)


def _picked(one: Axis, length: int) -> Axis:
    kind = factors.opaque(one)
    return factors.axis(kind if kind in ("C", "N", "B", "T") else UNKNOWN, length)


def index_selected(call: Call) -> FactoredAxes | None:
    one = call.first
    if one is None:
        return None
    at = call["dim"] % len(one)
    return (*one[:at], _picked(one[at], call.shape[at]), *one[at + 1 :])


def embedded(call: Call) -> FactoredAxes | None:
    indices = call.of(call["indices"])
    return None if indices is None else (*indices, factors.axis("C", call.shape[-1]))


def strided(call: Call) -> FactoredAxes | None:
    one = call.first
    return one if one is not None and len(one) == len(call.shape) else None


def real_and_imaginary(call: Call) -> FactoredAxes | None:
    one = call.first
    return None if one is None else (*one, factors.axis(NEW, 2))


def from_real(call: Call) -> FactoredAxes | None:
    one = call.first
    return None if one is None else one[:-1]
