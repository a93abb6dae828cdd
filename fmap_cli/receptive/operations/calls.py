"""One call of an operation, as its rule sees it; and what a rule says where it cannot tell more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from ...network import calls
from ..arranged import reshaped
from ..collected import made_unknown, maybe_all
from ..field import Cause, Field, hull, spread


@dataclass(eq=False, slots=True)
class Call(calls.Call):
    """One call of an operation: its arguments, what it returned, and the fields.

    `of` gives a tensor's field along the axis of the image in question, None where it sees nothing. `because` is what
    a field that the call makes the whole image, unknown or a bound is put down to.
    """

    output: Any
    of: Callable[[Any], Field | None]
    because: Cause

    def field(self, name: str) -> Field | None:
        return self.of(self.arguments[name])

    @property
    def shape(self) -> tuple[int, ...]:
        """That of the (first) tensor returned."""
        return tuple(next(calls.tensors_in([self.output])).shape)

    def everything(self, take: Callable[[Field, Cause], Field]) -> Field | None:
        """What any value of any argument sees, as one value, taken together by `take`."""
        parts = [take(each, self.because) for each in map(self.of, self.tensors()) if each is not None]
        return hull([reshaped(each, ()) for each in parts])


Rule = Callable[[Call], "Field | list[Field | None] | None"]
"""The field of every tensor the call returned that has the shape of the first, or a list, one for each."""


def outputs_of(call: Call) -> list[Tensor]:
    return list(calls.tensors_in([call.output]))


def per_axis(value: Any, places: int) -> list[int]:
    """A number for each axis of the map: torch takes one for all, too."""
    values = [int(each) for each in value] if isinstance(value, (list, tuple)) else [int(value)]
    return values * places if len(values) == 1 else values


def everywhere(call: Call, found: Field | None) -> list[Field | None]:
    return [
        None if found is None or not each.numel() else spread(found, tuple(each.shape)) for each in outputs_of(call)
    ]


def anywhere(call: Call) -> list[Field | None]:
    """Which places are read depends on values: any may be."""
    return everywhere(call, call.everything(maybe_all))


def unknown(call: Call) -> list[Field | None]:
    """For an operation without a rule."""
    return everywhere(call, call.everything(made_unknown))


def called(function: Any, arguments: dict[str, Any]) -> Any:
    schema = function._schema.arguments
    positional = [arguments[each.name] for each in schema if not each.kwarg_only and each.name in arguments]
    # what only named arguments say (dtype, device) would not fit the numbers
    return function(*positional)
