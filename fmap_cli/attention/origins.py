"""Where on the input the values of a pass come from: coordinates that are carried along with every tensor.

Each value of a tensor that descends from the input has a place for each axis of the input: the centre, in pixels, of
what it was made of. Moves (views, permutations, rolls, windows, paddings) move the coordinates as they move the values;
products average them over what is added up; convolutions and poolings step over them. A class token has none: NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..network.calls import TensorNotes, tensors_in
from ..network.operators import OPERATORS

Planes = tuple[Tensor, ...]
"""Coordinates, one tensor for each axis of the input, each of the shape of the tensor that they belong to."""


@dataclass(frozen=True, slots=True, eq=False)
class Note:
    """What is known of a tensor: where its values come from, and of a table of scores where its columns do.

    `places` are those of the values, of a table's rows; None where they do not come from the input. `columns` are None
    for what is no table. `scores` says that it is a product of two things that depend on the image, or a query with no
    place of its own; `weights` are the softmax that it came from.
    """

    places: Planes | None
    columns: Planes | None = None
    scores: bool = False
    weights: Any = None


_VIEWS = frozenset(f"{OPERATORS['view']} contiguous clone".split())
_MOVES = frozenset(
    " ".join(OPERATORS[each] for each in ("squeeze", "unsqueeze", "permute", "transpose", "expand", "slice", "select"))
    .replace("_ ", " ")
    .split()
) | frozenset(
    (
        f"{OPERATORS['split']} flip roll rot90 repeat tile unfold pixel_shuffle pixel_unshuffle channel_shuffle index"
        " index_select gather repeat_interleave diagonal movedim narrow take_along_dim col2im_backward"
    ).split()
)
_PRODUCTS = {
    "mm": ("self", "mat2"),
    "bmm": ("self", "mat2"),
    "matmul": ("self", "other"),
    "addmm": ("mat1", "mat2"),
    "_addmm_activation": ("mat1", "mat2"),
    "baddbmm": ("batch1", "batch2"),
}
_REDUCTIONS = frozenset("mean sum amax amin max min std var logsumexp linalg_vector_norm prod any all".split())


class Origins:
    """Carries the notes of a pass. `lost` is the last operation that has no rule.

    >>> origins = Origins()
    >>> image = torch.zeros(1, 3, 4, 6)
    >>> origins.start(image, "BCHW")
    >>> note = origins.of(image)
    >>> [plane[0, 0, 1, 2].item() for plane in note.places]
    [1.0, 2.0]
    """

    def __init__(self) -> None:
        self._notes: TensorNotes[Note] = TensorNotes()
        self.axes = ""
        self.lost = ""
        self.tables = 0  # that were applied to values without a softmax

    def start(self, tensor: Tensor, axes: str) -> None:
        """Follow a tensor whose axes have these letters; places are along T, H, W, N and L, and B where it is long."""
        places = []
        followed = [letter for letter in axes if letter in "THWNL" or (letter == "B" and len(tensor) > 1)]
        self.axes = "".join(followed)
        for letter in followed:
            at = axes.index(letter)
            shape = [1] * tensor.ndim
            shape[at] = tensor.shape[at]
            places.append(torch.arange(tensor.shape[at], dtype=torch.float32).reshape(shape).expand(tensor.shape))
        self._notes.set(tensor, Note(tuple(each.to(tensor.device) for each in places)))

    def of(self, tensor: Any) -> Note | None:
        return self._notes.get(tensor) if isinstance(tensor, Tensor) else None

    def set(self, tensor: Tensor, note: Note | None) -> None:
        if note is None or (note.places is None and note.columns is None and note.weights is None):
            self._notes.drop(tensor)
        else:
            self._notes.set(tensor, note)

    def carry(self, name: str, func: Any, args: Any, kwargs: Any, given: dict[str, Any], output: Any) -> None:
        """Note down what an operation made. `given` are its arguments by name."""
        outputs = list(tensors_in([output]))
        noted = [each for each in tensors_in(given.values()) if self.of(each) is not None]
        if not noted or not outputs:
            for each in outputs:
                self._notes.drop(each)
            return
        try:
            found = self._rule(name, func, args, kwargs, given, noted, outputs)
        except (RuntimeError, IndexError, TypeError, ValueError):  # a way to call it that the rule has not heard of
            found = [None] * len(outputs)
        for each, note in zip(outputs, found, strict=True):
            self.set(each, note)
        if found[0] is None and outputs[0].is_floating_point():
            self.lost = name

    def _rule(
        self,
        name: str,
        func: Any,
        args: Any,
        kwargs: Any,
        given: dict[str, Any],
        noted: Sequence[Tensor],
        outputs: list[Tensor],
    ) -> list[Note | None]:
        first = outputs[0]
        if name in _VIEWS:
            return [_mapped(self.of(noted[0]), lambda plane: plane.reshape(first.shape))]
        if name in _MOVES:
            return self._moved(func, args, kwargs, given.get("self", noted[0]), outputs)
        if name in ("cat", "concat", "stack"):
            return [self._joined(func, given, first)]
        if name in _PRODUCTS:
            left, right = (given[each] for each in _PRODUCTS[name])
            return [self.product(left, right, first, batched=name in ("bmm", "baddbmm"))]
        if name == "linear":
            return [self.product(given["input"], given["weight"].t(), first, batched=False)]
        if name == "embedding":
            return [_mapped(self.of(given["indices"]), lambda plane: plane.unsqueeze(-1).expand(first.shape))]
        if name in _REDUCTIONS and first.shape != noted[0].shape:
            return [self._reduced(given, noted[0], first), *[None] * (len(outputs) - 1)]
        centres = _centres(name, given, noted[0], first)
        if centres is not None:
            note = self.of(noted[0])
            assert note is not None
            one = _mapped(Note(note.places), lambda plane: _stepped(plane, first, centres, name))
            return [one if each.shape == first.shape else None for each in outputs]
        if name == "im2col":
            return [_mapped(self.of(noted[0]), lambda plane: _columns(plane, given))]
        return [self._same(noted, each) for each in outputs]

    def _moved(self, func: Any, args: Any, kwargs: Any, tensor: Tensor, outputs: list[Tensor]) -> list[Note | None]:
        note = self.of(tensor)
        if note is None:
            return [None] * len(outputs)

        def move(plane: Tensor) -> list[Tensor]:
            swapped = [plane.detach() if each is tensor else each for each in args]
            named = {key: plane.detach() if each is tensor else each for key, each in kwargs.items()}
            return list(tensors_in([func(*swapped, **named)]))

        places = None if note.places is None else [move(each) for each in note.places]
        columns = None if note.columns is None else [move(each) for each in note.columns]
        return [
            replace(
                note,
                places=None if places is None else tuple(each[at] for each in places),
                columns=None if columns is None else tuple(each[at] for each in columns),
            )
            for at in range(len(outputs))
        ]

    def _joined(self, func: Any, given: dict[str, Any], output: Tensor) -> Note:
        tensors = [each for each in given["tensors"] if each.ndim == given["tensors"][-1].ndim]
        notes = [self.of(each) for each in tensors]
        dim = given.get("dim", 0)

        def join(which: str) -> Planes | None:
            known: list[Planes | None] = [None if each is None else getattr(each, which) for each in notes]
            count = next((len(each) for each in known if each is not None), 0)
            parts = [
                [
                    _nowhere(tensor) if planes is None else planes[at]
                    for tensor, planes in zip(tensors, known, strict=True)
                ]
                for at in range(count)
            ]
            return tuple(func(each, dim) for each in parts) or None

        return Note(join("places"), join("columns"), any(each is not None and each.scores for each in notes))

    def product(self, left: Tensor, right: Tensor, output: Tensor, *, batched: bool) -> Note | None:
        """A matrix product's note: rows from the left factor, columns from the right one where both depend on the
        image."""
        one, other = self.of(left), self.of(right)
        shape = output.shape

        def rows(planes: Planes | None) -> Planes | None:
            return None if planes is None else tuple(mean_over(p, -1).unsqueeze(-1).expand(shape) for p in planes)

        def across(planes: Planes | None) -> Planes | None:
            return None if planes is None else tuple(mean_over(p, -2).unsqueeze(-2).expand(shape) for p in planes)

        if one is not None and one.weights is not None and other is not None:
            return Note(rows(one.places) or self.nowhere(output))
        if other is not None and other.weights is not None and one is not None:
            return Note(across(other.places) or self.nowhere(output))
        if one is not None and other is not None:
            if one.columns is not None or other.columns is not None:  # a table is applied to values: linear attention
                self.tables += 1
                return Note(rows(one.places))
            return Note(rows(one.places), across(other.places), scores=True)
        if one is not None:
            return Note(rows(one.places), rows(one.columns), _are_scores(one, batched), one.weights)
        if other is not None:
            return Note(across(other.places), across(other.columns), _are_scores(other, batched), other.weights)
        return None

    def nowhere(self, tensor: Tensor) -> Planes:
        """The places of what depends on the image and has none of its own: what learned queries gathered."""
        return (_nowhere(tensor),) * len(self.axes)

    def _reduced(self, given: dict[str, Any], tensor: Tensor, output: Tensor) -> Note | None:
        dim = given.get("dim")
        dims = (
            list(range(tensor.ndim)) if dim is None or dim == [] else dim if isinstance(dim, (list, tuple)) else [dim]
        )
        axes = sorted((each % tensor.ndim for each in dims), reverse=True)

        def reduce(plane: Tensor) -> Tensor:
            for axis in axes:
                plane = mean_over(plane, axis)
            return plane.reshape(output.shape)

        note = self.of(tensor)
        return None if note is None else _mapped(Note(note.places), reduce)

    def _same(self, noted: Sequence[Tensor], output: Tensor) -> Note | None:
        """What makes each value of one of each input, or mixes within a token, leaves them where they are."""
        best: tuple[bool, ...] = ()
        found: Note | None = None
        for each in noted:
            note = self.of(each)
            if note is None or each.ndim > output.ndim:
                continue
            pairs = zip(reversed(each.shape), reversed(output.shape), strict=False)
            if not all(size in (1, wanted) for size, wanted in pairs):
                continue
            rank = (note.weights is not None, note.columns is not None, note.scores, each.shape == output.shape)
            if rank > best:
                best, found = rank, _mapped(note, lambda plane: plane.expand(output.shape))
        return found


def _are_scores(note: Note, batched: bool) -> bool:
    """Whether a product with what does not depend on the image makes scores: a mixture of heads does, of scores, and a
    product with queries that are learned, which come for each image of a batch.
    """
    return (note.scores and note.columns is not None) or batched


def mean_over(plane: Tensor, axis: int) -> Tensor:
    """The mean of the coordinates that there are along an axis, which is gone afterwards."""
    if plane.shape[axis] == 1 or plane.stride(axis) == 0:
        return plane.select(axis, 0)
    return plane.nanmean(axis)


def _mapped(note: Note | None, change: Callable[[Tensor], Tensor]) -> Note | None:
    if note is None:
        return None
    return replace(
        note,
        places=None if note.places is None else tuple(change(each) for each in note.places),
        columns=None if note.columns is None else tuple(change(each) for each in note.columns),
    )


def _nowhere(tensor: Tensor) -> Tensor:
    return torch.full((), torch.nan, device=tensor.device).expand(tensor.shape)


# -- what steps over a map ---------------------------------------------------------------------------------------


def _centres(name: str, given: dict[str, Any], tensor: Tensor, output: Tensor) -> list[Tensor] | None:
    """For each axis of a map, where the centre of each output's window is, in cells of the input; None for others."""
    if name in OPERATORS["convolution"].split():
        count = given["weight"].ndim - 2
        kernel: Sequence[int] = given["weight"].shape[2:]
        stride, padding, dilation = (_each(given, key, count) for key in ("stride", "padding", "dilation"))
        steps = zip(stride, padding, dilation, kernel, output.shape[-count:], strict=True)
        if given.get("transposed"):
            return [(torch.arange(n) + p - d * (k - 1) / 2) / s for s, p, d, k, n in steps]
        return [torch.arange(n) * s - p + d * (k - 1) / 2 for s, p, d, k, n in steps]
    if name in OPERATORS["pooling"].split():
        count = int(name[name.index("pool") + 4])
        kernel = _each(given, "kernel_size", count)
        stride = _each(given, "stride", count) if given.get("stride") else kernel
        padding = _each(given, "padding", count)
        steps = zip(stride, padding, [1] * count, kernel, output.shape[-count:], strict=True)
        return [torch.arange(n) * s - p + (k - 1) / 2 for s, p, _, k, n in steps]
    resizing = " ".join(OPERATORS[each] for each in ("adaptive pooling", "nearest", "linear resizing"))
    if name in f"{resizing} upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa".split():
        count = output.ndim - 2
        sizes = zip(tensor.shape[-count:], output.shape[-count:], strict=True)
        return [(torch.arange(n) + 0.5) * m / n - 0.5 for m, n in sizes]
    if name == "constant_pad_nd" or name in OPERATORS["reflection padding"] + OPERATORS["replication padding"]:
        pads = given.get("pad", given.get("padding"))
        assert pads is not None
        befores = list(reversed(pads[::2]))
        return [torch.arange(n) - p for n, p in zip(output.shape[-len(befores) :], befores, strict=True)]
    return None


def _each(given: dict[str, Any], key: str, count: int) -> list[int]:
    value = given.get(key) or [0 if key == "padding" else 1]
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    return values * count if len(values) == 1 else values


def _stepped(plane: Tensor, output: Tensor, centres: list[Tensor], name: str) -> Tensor:
    """Coordinates at these cells of a map: exact where they go on evenly, as on a map; else those of the nearest cell.

    What lies beyond a map that does not go on evenly (rolled, or with cells from nowhere) comes from nowhere.
    """
    count = len(centres)
    padded = name == "constant_pad_nd"
    if not padded and plane.ndim > count:  # what a window adds up over the channels
        axis = plane.ndim - count - 1
        plane = mean_over(plane, axis).unsqueeze(axis)
    for at, where in enumerate(centres):
        axis = plane.ndim - count + at
        size = plane.shape[axis]
        where = where.to(plane.device, torch.float32)
        if padded and size == len(where):
            continue
        steps = plane.diff(dim=axis)
        even = size > 1 and bool((steps - steps.narrow(axis, 0, 1)).abs().nan_to_num(1e9).max() < 1e-2)
        shape = [1] * plane.ndim
        shape[axis] = len(where)
        if even:
            plane = plane.narrow(axis, 0, 1) + steps.narrow(axis, 0, 1) * where.reshape(shape)
            continue
        outside = ((where < -0.5) | (where > size - 0.5)).reshape(shape)
        plane = plane.index_select(axis, where.round().long().clamp(0, size - 1))
        plane = torch.where(outside, torch.nan, plane) if padded else plane
    return plane.expand(output.shape)


def _columns(plane: Tensor, given: dict[str, Any]) -> Tensor:
    down, across = given["padding"]
    padded = torch.nn.functional.pad(plane, (across, across, down, down), value=torch.nan)
    return torch.nn.functional.unfold(padded, given["kernel_size"], given["dilation"], 0, given["stride"])
