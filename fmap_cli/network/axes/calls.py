"""One call of an operation, as its rule sees it; axes of tensors laid over each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .. import calls
from . import factors
from .factors import NEW, NOTHING, UNKNOWN, Axis, FactoredAxes


@dataclass(eq=False, slots=True)
class Call(calls.Call):
    """One call of an operation: its arguments, what it returned, and the axes.

    `of` gives a tensor's axes, None where it does not descend from the image.
    """

    outputs: list[Tensor]
    of: Callable[[Any], FactoredAxes | None]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.outputs[0].shape)

    @property
    def first(self) -> FactoredAxes | None:
        """The axes of the first tensor among the arguments."""
        return self.of(self.tensors()[0])


Rule = Callable[[Call], "FactoredAxes | list[FactoredAxes | None] | None"]
"""The axes of every tensor the call returned, or a list, one for each; None where they are not known."""


def fitted(factored: FactoredAxes | None, shape: Sequence[int]) -> FactoredAxes | None:
    """The axes with the lengths that they came out with; None where their number is another."""
    if factored is None or len(factored) != len(shape):
        return None
    return tuple(factors.resized(one, length) for one, length in zip(factored, shape, strict=True))


# -- value by value ----------------------------------------------------------------------------------------------


def broadcast(given: Sequence[FactoredAxes], shape: Sequence[int]) -> FactoredAxes:
    """The axes of tensors laid over each other, the last ones on the last."""
    found: list[Axis] = []
    for at in range(-len(shape), 0):
        ones = [factored[at] for factored in given if len(factored) >= -at]
        fits = [one for one in ones if one.length == shape[at]]
        best = sorted(fits, key=_doubt)
        if best:
            found.append(best[0])
        else:
            found.append(factors.resized(sorted(ones, key=_doubt)[0], shape[at]) if ones else _made(shape[at]))
    return tuple(found)


def _made(length: int) -> Axis:
    return NOTHING if length == 1 else factors.axis(NEW, length)


def _doubt(one: Axis) -> int:
    """How little is known of an axis."""
    kinds = one.kinds
    return 3 if not kinds else 2 if UNKNOWN in kinds else 1 if NEW in kinds else 0
