"""Sizes, tuples and lists that report what is done with them, so that it is counted as torch.fx counts it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor

from .nested import named_fields


class Recorder(Protocol):
    """The pass under way, as far as what reports to it needs it."""

    @property
    def recording(self) -> bool:
        """Operations are recorded now."""

    def count(self, operation: str) -> None:
        """Use up a counter."""

    def operation(self, operation: str, output: Any) -> Any:
        """Record one operation; returns its output, followed."""


class _UnderWay(threading.local):
    """The pass that this thread is in. What other threads compute meanwhile, be it with the same module, is no part."""

    recorder: Recorder | None = None


under_way = _UnderWay()


def _recording() -> Recorder | None:
    recorder = under_way.recorder
    return recorder if recorder is not None and recorder.recording else None


def _count(operation: str) -> None:
    recorder = _recording()
    if recorder is not None:
        recorder.count(operation)


class ReportingInt(int):
    """An int out of a tensor's size."""

    __slots__ = ()
    __hash__ = int.__hash__


def _counting(method: str, operation: str) -> Any:
    plain = getattr(int, method)

    def counted(self: ReportingInt, *args: Any) -> Any:
        result = plain(self, *args)
        if result is NotImplemented:
            return result
        _count(operation)
        return ReportingInt(result) if type(result) is int else result

    return counted


for _operation in ("add", "sub", "mul", "floordiv", "mod", "truediv", "pow"):
    setattr(ReportingInt, f"__{_operation}__", _counting(f"__{_operation}__", _operation))
    setattr(ReportingInt, f"__r{_operation}__", _counting(f"__r{_operation}__", _operation))
for _operation in ("eq", "ne", "lt", "le", "gt", "ge", "neg"):
    setattr(ReportingInt, f"__{_operation}__", _counting(f"__{_operation}__", _operation))


def _taken_out(item: Any) -> Any:
    """An item as it comes out of a tuple, recorded as the operation `getitem`."""
    recorder = _recording()
    return item if recorder is None else recorder.operation("getitem", item)


class ReportingTuple(tuple[Any, ...]):
    """A tuple out of an operation or a leaf module; taking an item is the operation `getitem`."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        return _taken_out(tuple.__getitem__(self, index))

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


class ReportingList(list[Any]):
    """A list whose items are noted as they are taken out."""

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        return _taken_out(list.__getitem__(self, index))

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))


class ReportingFields(ReportingTuple):
    """What `x.max(1)` and its kin return: a tuple whose items have names too, `.values` and `.indices`."""

    _original: Any

    @classmethod
    def of(cls, value: tuple[Any, ...]) -> ReportingFields:
        fields = cls(value)
        fields._original = value
        return fields

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        return type(self._original)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # `copy` and `pickle` ask before there is an original
            raise AttributeError(name)
        item = getattr(self._original, name)
        recorder = _recording()
        return item if recorder is None or callable(item) else recorder.operation("getattr", item)

    def __reduce__(self) -> Any:
        return self._original.__reduce__()

    def __repr__(self) -> str:
        return repr(self._original)


class ReportingSize(ReportingTuple):
    """A tensor's shape. It takes the place of a `torch.Size`, which cannot be subclassed, in every other way."""

    __slots__ = ()

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # `isinstance(x.shape, torch.Size)`
        return torch.Size

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return _taken_out(torch.Size(item) if isinstance(index, slice) else item)

    def __add__(self, other: Any) -> Any:
        return _combined("add", self, other)

    def __radd__(self, other: Any) -> Any:
        return _combined("add", other, self)

    def __mul__(self, times: Any) -> Any:
        _count("mul")
        return ReportingSize(tuple(_plain_items(self)) * times)

    __rmul__ = __mul__

    def numel(self) -> int:
        _count("numel")
        return ReportingInt(torch.Size(_plain_items(self)).numel())

    def __reduce__(self) -> Any:
        return torch.Size, (tuple(_plain_items(self)),)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(repr, _plain_items(self)))}])"


def _combined(operation: str, left: Any, right: Any) -> Any:
    if not isinstance(left, tuple) or not isinstance(right, tuple):
        return NotImplemented
    _count(operation)
    return ReportingSize((*_plain_items(left), *_plain_items(right)))


def _plain_items(value: tuple[Any, ...] | list[Any]) -> Iterator[Any]:
    """The items, without being seen to take them."""
    return tuple.__iter__(value) if isinstance(value, tuple) else list.__iter__(value)


def named_tensors(output: Any, prefix: str = "", within: frozenset[int] = frozenset()) -> Iterator[tuple[str, Tensor]]:
    """The tensors in a nested output with their keys joined by dots: `0`, `1.pool`, ...

    An output that holds itself is not looked into again.
    """
    if isinstance(output, Tensor):
        yield prefix, output
        return
    if isinstance(getattr(output, "tensors", None), Tensor):  # torchvision's ImageList: a padded batch
        yield prefix, output.tensors
        return
    record = named_fields(output)
    if isinstance(output, dict):
        items: Any = output.items()
    elif record is not None:
        items = record.items()
    elif isinstance(output, (tuple, list)) and not isinstance(output, (torch.Size, ReportingSize)):
        items = enumerate(_plain_items(output))
    else:
        return
    if id(output) in within:
        return
    for key, value in items:
        yield from named_tensors(value, f"{prefix}.{key}" if prefix else str(key), within | {id(output)})
