"""Weights of a sum over a tensor's values: nearly all of them are 0, so only the box around the others is held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Weights:
    """A weight for each value of a tensor of this `shape`: `values` (float64) in the box that begins at `start`, 0
    outside.

    >>> one = Weights.of(torch.tensor([[0.0, 0.0, 0.0], [0.0, 2.0, 3.0]]))
    >>> one.start, one.values.tolist(), one.sum(torch.ones(2, 3))
    ((1, 1), [[2.0, 3.0]], 5.0)
    """

    shape: tuple[int, ...]
    start: tuple[int, ...]
    values: Tensor

    @staticmethod
    def of(dense: Tensor) -> Weights:
        """The weights that a whole tensor holds."""
        return Weights(tuple(dense.shape), (0,) * dense.ndim, dense.to(torch.float64)).shrunk()

    @staticmethod
    def at(shape: Sequence[int], index: Sequence[int]) -> Weights:
        """1 at one place."""
        return Weights(tuple(shape), tuple(index), torch.ones((1,) * len(shape), dtype=torch.float64))

    def shrunk(self) -> Weights:
        """The same weights in the smallest box."""
        start, values = list(self.start), self.values
        for axis in range(values.ndim):
            others = [each for each in range(values.ndim) if each != axis]
            used = ((values != 0).sum(others) if others else values != 0).nonzero().flatten()
            if not len(used):
                return Weights(self.shape, self.start, values.new_zeros((0,) * values.ndim))
            first, last = int(used[0]), int(used[-1])
            start[axis] += first
            values = values.narrow(axis, first, last - first + 1)
        return Weights(self.shape, tuple(start), values)

    @property
    def nothing(self) -> bool:
        """Whether all are 0."""
        return not bool(self.values.count_nonzero())

    @property
    def box(self) -> tuple[slice, ...]:
        return tuple(slice(at, at + n) for at, n in zip(self.start, self.values.shape, strict=True))

    def crop(self, tensor: Tensor) -> Tensor:
        """A tensor's values in the box, float64; one that is laid over such a tensor (a number a channel) likewise."""
        box = self.box[len(self.box) - tensor.ndim :]
        sizes = self.shape[len(self.shape) - tensor.ndim :]
        own = [each if n == size else slice(None) for each, n, size in zip(box, tensor.shape, sizes, strict=True)]
        cut = tensor.detach()[tuple(own)]
        return cut.to(torch.float64) if cut.is_floating_point() else cut

    def dense(self) -> Tensor:
        whole = torch.zeros(self.shape, dtype=torch.float64)
        whole[self.box] = self.values
        return whole

    def sum(self, tensor: Tensor) -> float:
        """Σ weight · value over a tensor of the whole shape."""
        return float(self.times(tensor).sum())

    def times(self, tensor: Tensor) -> Tensor:
        """weight · value in the box. A value that is infinite or no number adds nothing where the weight is 0."""
        return torch.where(self.values == 0, 0.0, self.values * self.crop(tensor))

    def with_values(self, values: Tensor) -> Weights:
        """Other values in the same box."""
        return Weights(self.shape, self.start, values)

    def plus(self, other: Weights) -> Weights:
        start = tuple(map(min, self.start, other.start))
        ends = [max(a.stop, b.stop) for a, b in zip(self.box, other.box, strict=True)]
        values = torch.zeros([end - at for at, end in zip(start, ends, strict=True)], dtype=torch.float64)
        for each in (self, other):
            values[tuple(slice(b.start - at, b.stop - at) for b, at in zip(each.box, start, strict=True))] += (
                each.values
            )
        return Weights(self.shape, start, values)

    def only(self) -> tuple[int, ...] | None:
        """The one place with a weight; None where there are several."""
        places = self.values.nonzero().tolist()
        return tuple(at + n for at, n in zip(self.start, places[0], strict=True)) if len(places) == 1 else None

    def by_channel(self, axis: int) -> Iterator[tuple[int, Weights]]:
        """The weights of each channel that has any."""
        axis %= len(self.shape)
        for at in range(self.values.shape[axis]):
            start = tuple(each + at * (n == axis) for n, each in enumerate(self.start))
            own = Weights(self.shape, start, self.values.narrow(axis, at, 1))
            if not own.nothing:
                yield start[axis], own
