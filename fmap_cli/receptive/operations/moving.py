"""Operations that move values about: views, permutations, parts, joining, padding, reading and writing by index."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...network.calls import tensors_in
from ..arranged import picked, rearranged, reordered, reshaped, side_by_side, written_into
from ..collected import made_unknown, window
from ..field import Field, spread
from .calls import Call, Rule, anywhere, called, everywhere
from .windows import slide


def viewed(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else reshaped(one, call.shape)


def permuted(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else reordered(one, call["dims"])


def transposed_axes(call: Call) -> Field | None:
    one = call.field("self")
    if one is None or len(one.shape) < 2:
        return one
    return reordered(one, call.swapped_axes(len(one.shape)))


def expanded(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else spread(one, call.shape)


def sliced(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    at, step = call.get("dim", 0) % len(one.shape), call.get("step", 1)
    start = call.get("start") or 0
    return part_of(one, at, start, call.shape[at], step)


def part_of(one: Field, at: int, start: int, new: int, step: int = 1) -> Field:
    old = one.shape[at]
    start = max(start + old, 0) if start < 0 else min(start, old)
    if (start, new, step) == (0, old, 1):
        return one
    return window(one, at, start + np.arange(new)[:, None] * step, (1, step))


def selected(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    at = call["dim"] % len(one.shape)
    index = call["index"] % one.shape[at]
    return reshaped(part_of(one, at, index, 1), call.shape)


def split(call: Call) -> list[Field | None] | None:
    """`split`, `chunk`, `unbind`: parts one behind the other along an axis."""
    one = call.field("self")
    if one is None:
        return None
    at = call.get("dim", 0) % len(one.shape)
    found: list[Field | None] = []
    start = 0
    for each in call.output:
        long = each.shape[at] if each.ndim == len(one.shape) else 1
        found.append(reshaped(part_of(one, at, start, long), tuple(each.shape)) if each.numel() else None)
        start += long
    return found


def joined_along(call: Call) -> Field | None:
    tensors = [each for each in call.get("tensors", call.get("qx")) if each.numel()]
    return side_by_side([call.of(each) for each in tensors], [each.shape for each in tensors], call["dim"])


def stacked(call: Call) -> Field | None:
    tensors = call["tensors"]
    at = call.get("dim", 0) % (tensors[0].ndim + 1)
    shape = (*tensors[0].shape[:at], 1, *tensors[0].shape[at:])
    parts = [None if (each := call.of(tensor)) is None else reshaped(each, shape) for tensor in tensors]
    return side_by_side(parts, [shape] * len(tensors), at)


def padded_with_zeros(call: Call) -> Field | None:
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


def mirrored(table: np.ndarray, length: int) -> np.ndarray:
    last = length - 1
    return last - np.abs(last - np.abs(table))


def held(table: np.ndarray, length: int) -> np.ndarray:
    return np.clip(table, 0, length - 1)


def padded_by(fold: Callable[[np.ndarray, int], np.ndarray]) -> Rule:
    def rule(call: Call) -> Field | None:
        one = call.field("self")
        return None if one is None else _padded(call, one, call["padding"], fold)

    return rule


def rolled_axes(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    if not call.get("dims"):
        rolled = reshaped(one, (call["self"].numel(),))
        return reshaped(rearranged(rolled, 0, np.roll(np.arange(rolled.shape[0]), call["shifts"])), one.shape)
    for at, shift in zip(call["dims"], call["shifts"], strict=True):
        one = rearranged(one, at % len(one.shape), np.roll(np.arange(one.shape[at]), shift))
    return one


def flipped(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    for at in call["dims"]:
        one = rearranged(one, at % len(one.shape), np.arange(one.shape[at])[::-1])
    return one


def strided(call: Call) -> Field | list[Field | None] | None:
    """A view by strides; told where the tensor lies in memory as its shape says."""
    one = call["self"]
    plain = one.is_contiguous() and one.storage_offset() == 0 and not call.get("storage_offset")
    return moved(call) if plain else everywhere(call, call.everything(made_unknown))


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
        sources = called(call.function, arguments)
    found = [picked(one, each.to(torch.int64).numpy()) for each in tensors_in([sources])]
    return found if len(found) > 1 else found[0]


def packed_sequence(call: Call) -> list[Field | None]:
    found = moved(call)
    return [found[0] if isinstance(found, list) else found, None]


def written(call: Call) -> Field | list[Field | None] | None:
    """`index_add`, `scatter`, `slice_scatter`, …: where values go is asked by reading the numbers of the places."""
    indices = [each for each in _indices(call) if isinstance(each, Tensor)]
    if any(call.of(each) is not None or each.is_meta for each in indices):
        return anywhere(call)
    name = call.function._schema.name.rpartition("::")[2].strip("_")
    source = next((call[each] for each in ("src", "source", "values", "value") if each in call.arguments), None)
    places = torch.arange(call["self"].numel()).reshape(call["self"].shape)
    with torch._C._DisableTorchDispatch():
        targets = _targets(name, call, places)
    other = call.of(source) if isinstance(source, Tensor) else None
    if other is not None and name.startswith("scatter"):  # the index may be smaller than what is written
        for at, length in enumerate(targets.shape):
            other = slide(other, at, length, 1, 1, 0, 1)
    adds = name in ("index_add", "index_reduce", "scatter_add", "scatter_reduce") or call.get("accumulate", False)
    over = not adds and call.get("reduce") is None
    return written_into(call.field("self"), other, targets.numpy(), call.shape, over=over)


def _indices(call: Call) -> Sequence[Any]:
    found = call.get("index", call.get("indices"))
    return found if isinstance(found, (list, tuple)) else [found]


def _targets(name: str, call: Call, places: Tensor) -> Tensor:
    if name == "slice_scatter":
        return torch.ops.aten.slice(places, call.get("dim", 0), call.get("start"), call.get("end"), call.get("step", 1))
    if name == "select_scatter":
        return places.select(call["dim"], call["index"])
    if name == "diagonal_scatter":
        return places.diagonal(call.get("offset", 0), call.get("dim1", 0), call.get("dim2", 1))
    if name == "put":
        return places.flatten()[call["index"]]
    if name in ("index_put", "index_put_impl"):
        return torch.ops.aten.index(places, call["indices"])
    if name.startswith("index"):
        return places.index_select(call["dim"], call["index"])
    return places.gather(call["dim"], call["index"])
