"""What really ran: the operations of one pass on tensors that descend from the input, in order, and their values.

A first pass writes down which operation made which value (`Tape`), and keeps no numbers. A question then says which
operations it needs, and a second pass keeps these alone, with copies of what they read and made (`Tape(keep=…)`).
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ..network.calls import TensorNotes, is_written, storage_of, taken_apart, tensors_in
from ..network.records import LayerRef


class Value(NamedTuple):
    """A tensor at one moment: what an operation in place makes of it is another value."""

    number: int


@dataclass(slots=True, eq=False)
class Operation:
    """One call of an operator, `convolution` or `add` (of `aten`, or as `torch.ops` has it).

    `reads` and `makes` are values that descend from the input. `layer` is the layer that the operation is part of.
    `arguments` are held by name: numbers always, tensors only where they were to be `kept`, values as `Value`.
    """

    index: int
    name: str
    reads: tuple[Value, ...]
    makes: tuple[Value, ...]
    overload: Any
    layer: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Shown:
    """A layer of the pass: the value it puts out, and the first operation since it began."""

    layer: LayerRef
    value: Value | None
    begins: int


class Tape(TorchDispatchMode):
    """While it is on, writes down every operation on what descends from the tensors that it was started with.

    `keep` are the operations, by index, of which arguments and values are kept: `values` has copies on the CPU.

    >>> tape = Tape()
    >>> image = torch.zeros(1, 3, 8, 8)
    >>> tape.start(image)
    >>> with tape:
    ...     output = torch.conv2d(image, torch.ones(4, 3, 3, 3)).relu_()
    >>> [(each.name, each.reads, each.makes) for each in tape.operations]
    [('convolution', (Value(number=0),), (Value(number=1),)), ('relu', (Value(number=1),), (Value(number=2),))]
    """

    supports_higher_order_operators = True

    def __init__(self, keep: Container[int] = ()) -> None:
        super().__init__()
        self.keep = keep
        self.operations: list[Operation] = []
        self.maker: list[Operation | None] = []  # value -> the operation that made it; None: given, or lost sight of
        self.values: dict[Value, Tensor] = {}
        self.shown: dict[str, Shown] = {}
        self.given: set[Value] = set()  # what the tape was started with
        self._known: TensorNotes[Value] = TensorNotes()
        self._views: dict[int, list[weakref.ref[Tensor]]] = {}  # storage -> the known tensors that lie in it
        self._written: dict[int, Any] = {}  # storages that were written in parts, held so that none takes their place
        self._paused = False
        self._unnamed = 0
        self._running: list[int] = []
        self._began: dict[str, int] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def start(self, tensor: Tensor) -> None:
        """Follow this tensor."""
        value = self._new(tensor, None)
        self.given.add(value)

    def value_of(self, tensor: Any) -> Value | None:
        """The value that a tensor at hand has now; None where it does not descend from the input."""
        value = self._known.get(tensor)
        if value is not None:
            return value
        if self._written and isinstance(tensor, Tensor) and _storage(tensor) in self._written:
            return self._new(tensor, None)
        return None

    def call(self, path: str, begins: bool) -> None:
        """A module's call begins or has ended."""
        if begins:
            self._running.append(len(self.operations))
        elif self._running:
            self._began[path] = self._running.pop()

    def show(self, layer: LayerRef, output: Tensor) -> None:
        """A layer's output was shown: what ran since the last one is part of it."""
        for each in self.operations[self._unnamed :]:
            each.layer = layer.name
        begins = self._began.get(layer.path, self._unnamed) if layer.is_module else self._unnamed
        if layer.is_module and layer.kind in ("conv", "linear"):  # of which operations inside may have had names
            for each in self.operations[begins:]:
                each.layer = layer.name
        self._unnamed = len(self.operations)
        self.shown[layer.name] = Shown(layer, self._known.get(output), begins)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What runs inside is not written down: it is no part of the network."""
        before, self._paused = self._paused, True
        try:
            yield
        finally:
            self._paused = before

    def readers(self) -> dict[Value, list[Operation]]:
        """The operations that read each value, in order."""
        found: dict[Value, list[Operation]] = {}
        for operation in self.operations:
            for value in dict.fromkeys(operation.reads):
                found.setdefault(value, []).append(operation)
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._paused:
            return func(*args, **kwargs)
        if (output := taken_apart(self, func, args, kwargs)) is not NotImplemented:
            return output
        schema = getattr(func, "_schema", None)
        if schema is None or not any(self.value_of(each) is not None for each in tensors_in((*args, *kwargs.values()))):
            return func(*args, **kwargs)
        given = {each.name: each.default_value for each in schema.arguments if each.has_default_value()}
        given.update(zip((each.name for each in schema.arguments), args, strict=False))
        given.update(kwargs)
        arguments = {name: self._noted(each) for name, each in given.items()}
        reads = tuple(_values(arguments.values()))
        index = len(self.operations)
        if index in self.keep:
            self._keep_what_is_read(given.values())
            arguments = {name: _unchanging(each) for name, each in arguments.items()}
        output = func(*args, **kwargs)
        if len(self.operations) != index:  # an operator that ran others through here
            return output
        operation = Operation(index, _plain_name(schema.name), reads, (), func)
        self.operations.append(operation)
        written = {id(given.get(each.name)) for each in schema.arguments if is_written(each)}
        operation.makes = tuple(
            self._made(each, operation, id(each) in written) for each in tensors_in([output]) if each.numel()
        )
        operation.kept = index in self.keep
        operation.arguments = arguments if operation.kept else {k: v for k, v in arguments.items() if _is_plain(v)}
        return output

    # -- which tensor is which value ---------------------------------------------------------------------------------

    def _made(self, tensor: Tensor, operation: Operation, in_place: bool) -> Value:
        if in_place:
            self._forget_views(tensor)
        value = self._new(tensor, operation)
        if operation.index in self.keep:
            self.values[value] = _copied(tensor)
        return value

    def _new(self, tensor: Tensor, operation: Operation | None) -> Value:
        value = Value(len(self.maker))
        self.maker.append(operation)
        self._known.set(tensor, value)
        if tensor.layout == torch.strided:
            views = self._views.setdefault(_storage(tensor), [])
            views[:] = [each for each in views if each() is not None and each() is not tensor]
            views.append(weakref.ref(tensor))
        return value

    def _forget_views(self, tensor: Tensor) -> None:
        """A tensor was written to: of the others that share its memory it is not known any more what they are."""
        if tensor.layout != torch.strided:
            return
        key = _storage(tensor)
        others = [each for ref in self._views.get(key, ()) if (each := ref()) is not None and each is not tensor]
        for each in others:
            self._known.drop(each)
        if others or tensor.numel() * tensor.element_size() < tensor.untyped_storage().nbytes():
            self._written[key] = tensor.untyped_storage()

    def _noted(self, argument: Any) -> Any:
        if isinstance(argument, Tensor):
            value = self.value_of(argument)
            return argument if value is None else value
        if isinstance(argument, (list, tuple)) and any(isinstance(each, Tensor) for each in argument):
            return [self._noted(each) for each in argument]
        return argument

    def _keep_what_is_read(self, arguments: Any) -> None:
        for tensor in tensors_in(arguments):
            value = self.value_of(tensor)
            if value is not None and value not in self.values:
                self.values[value] = _copied(tensor)


def _values(arguments: Any) -> Iterator[Value]:
    for each in arguments:
        if isinstance(each, Value):
            yield each
        elif isinstance(each, list):
            yield from _values(each)


def with_tensors(arguments: Mapping[str, Any], tensor: Callable[[Any], Any]) -> dict[str, Any]:
    """Arguments in which `tensor` has taken the place of every `Value` and every other tensor."""

    def put(each: Any) -> Any:
        if isinstance(each, (Value, Tensor)):
            return tensor(each)
        return [put(one) for one in each] if isinstance(each, list) else each

    return {name: put(each) for name, each in arguments.items()}


def _is_plain(argument: Any) -> bool:
    """Whether an argument is not a tensor and holds none."""
    if isinstance(argument, list | tuple):
        return all(_is_plain(each) for each in argument)
    return not isinstance(argument, Tensor)  # (a Value is a tuple of a number)


def _unchanging(argument: Any) -> Any:
    """Constants that are no parameters may be written to later on, or be views of what is."""
    if isinstance(argument, Tensor) and not isinstance(argument, torch.nn.Parameter):
        return _copied(argument)
    return [_unchanging(each) for each in argument] if isinstance(argument, list) else argument


def _copied(tensor: Tensor) -> Tensor:
    plain = tensor.dequantize() if tensor.is_quantized else tensor
    return plain.detach().to("cpu", copy=True)


def _plain_name(name: str) -> str:
    """`add` of `aten::add_`.

    >>> _plain_name("aten::add_"), _plain_name("aten::_softmax"), _plain_name("quantized::conv2d")
    ('add', '_softmax', 'quantized::conv2d')
    """
    home, _, own = name.rpartition("::")
    return own.removesuffix("_") if home == "aten" else name


def _storage(tensor: Tensor) -> int:
    return storage_of(tensor) if tensor.layout == torch.strided else 0
