"""Calls of operations beneath a dispatch mode, for whoever carries something along with tensors by a rule an operation.

Operators come as overloads (`aten.add.Tensor`), with their arguments as positional or by name.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_Note = TypeVar("_Note")


@dataclass(eq=False, slots=True)
class Call:
    """One call of an operation: its arguments, by their names in torch's schema."""

    function: Any
    arguments: dict[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.arguments[name]

    def get(self, name: str, default: Any = None) -> Any:
        return self.arguments.get(name, default)

    def tensors(self) -> list[Tensor]:
        """All tensors among the arguments, those in lists as well."""
        return list(tensors_in(self.arguments.values()))

    def named_axes(self, count: int) -> list[int]:
        """The axes that `dim` or `dims` names, of a tensor with `count` of them; all where it names none."""
        given = self.get("dim", self.get("dims"))
        if given is None or given == []:
            return list(range(count))
        return [int(each) % count for each in (given if isinstance(given, (list, tuple)) else [given])] if count else []

    def swapped_axes(self, count: int) -> list[int]:
        """The order of axes after a transposition: by `dim0` and `dim1`, or of a matrix."""
        order = list(range(count))
        named = self.get("dim0") is not None
        first, second = (self[name] % count for name in ("dim0", "dim1")) if named else (0, 1)
        order[first], order[second] = order[second], order[first]
        return order


def tensors_in(values: Any) -> Iterator[Tensor]:
    """The tensors in nested lists and tuples."""
    for each in values:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, (list, tuple)):
            yield from tensors_in(each)


def arguments_by_name(schema: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[dict[str, Any], set[int]]:
    """A call's arguments, with those that have defaults; and the ids of those that are written to.

    What is only there for the result (`out=`) is left out: what it holds before does not count.
    """
    form = _form_of(schema)
    arguments = {**form.defaults, **dict(zip(form.names, args, strict=False)), **kwargs}
    written = {id(arguments.get(name)) for name in form.written}
    for name in form.outs:
        arguments.pop(name, None)
    return arguments, written


class _Form(NamedTuple):
    """What a schema says of an operation's arguments: torch makes new objects of all of it at every question."""

    schema: Any  # kept, so that no other takes its place
    names: tuple[str, ...]
    defaults: dict[str, Any]
    written: tuple[str, ...]
    outs: tuple[str, ...]


_FORMS: dict[int, _Form] = {}


def _form_of(schema: Any) -> _Form:
    form = _FORMS.get(id(schema))
    if form is None:
        listed = schema.arguments
        form = _FORMS[id(schema)] = _Form(
            schema,
            tuple(each.name for each in listed),
            {each.name: each.default_value for each in listed if each.has_default_value()},
            tuple(each.name for each in listed if is_written(each)),
            tuple(each.name for each in listed if each.is_out),
        )
    return form


def is_written(argument: Any) -> bool:
    """Whether an operator writes to this argument of its schema."""
    return argument.alias_info is not None and argument.alias_info.is_write


def taken_apart(mode: TorchDispatchMode, function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The result of an operator that torch takes apart into others, run under `mode`; `NotImplemented` for all others.

    Torch does so before a mode sees them, but for inference mode, in which it passes on some (`linear` and its kin).
    """
    if not torch.is_inference_mode_enabled() or not hasattr(function, "decompose"):
        return NotImplemented
    with mode:
        return function.decompose(*args, **kwargs)


class TensorNotes(Generic[_Note]):
    """What is noted down of tensors, each as long as it lives. It keeps none alive."""

    def __init__(self) -> None:
        self._notes: dict[int, tuple[weakref.ref[Tensor], _Note]] = {}

    def get(self, tensor: Any) -> _Note | None:
        reference, note = self._notes.get(id(tensor), (None, None))
        return note if reference is not None and reference() is tensor else None

    def set(self, tensor: Tensor, note: _Note) -> None:
        notes, key = self._notes, id(tensor)

        def forget(gone: weakref.ref[Tensor]) -> None:
            if key in notes and notes[key][0] is gone:
                del notes[key]

        notes[key] = weakref.ref(tensor, forget), note

    def drop(self, tensor: Tensor) -> None:
        self._notes.pop(id(tensor), None)


def storage_of(tensor: Tensor) -> int:
    """Where a tensor's memory is: the same number for all that share it."""
    return int(tensor.untyped_storage()._cdata)
