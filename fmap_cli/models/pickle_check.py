"""What a pickle would do, found without doing it: names it calls, tensors it claims, how deep it nests.

A pickle is a program for a small machine with a stack. Here that machine runs with inert values: nothing is imported,
called or allocated. What torch's reader gets afterwards calls nothing but what rebuilds tensors and plain data, claims
no more bytes than the file has, and does not contain itself.
"""

from __future__ import annotations

import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any

from fmap_cli.models.archive import RefusedError, shown

_MOST_STEPS = 1_000_000  # a tensor takes about twelve
_MOST_BYTES = 64 << 20
_DEEPEST = 100
# A view that repeats its few values (`expand`) may be larger than its storage, up to here.
_MOST_REPEATED_BYTES = 64 << 20

_ITEM_BYTES = {
    **dict.fromkeys(("Byte", "Char", "Bool", "Untyped", "QUInt8", "QInt8", "QUInt4x2", "QUInt2x4"), 1),
    **dict.fromkeys(("Short", "Half", "BFloat16"), 2),
    **dict.fromkeys(("Int", "Float", "QInt32"), 4),
    **dict.fromkeys(("Long", "Double", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
# Calls that make plain data of plain data, whatever they are given.
_PLAIN = {
    "collections.OrderedDict",
    "collections.Counter",
    "builtins.set",
    "builtins.complex",
    "__builtin__.set",
    "__builtin__.complex",
    "torch.Size",
    "torch.device",
    "torch.serialization._get_layout",
    "_codecs.encode",
    "argparse.Namespace",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray.scalar",
    "torch._utils._rebuild_meta_tensor_no_storage",
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_parameter_with_state",
    "torch.nn.parameter.Parameter",
}
_OF_STORAGE = {
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
    "torch._utils._rebuild_tensor_v3",  # of a storage of bytes: that it has enough of them torch checks
    "torch._utils._rebuild_qtensor",
}
_BUILT = {"argparse.Namespace", "collections.OrderedDict", "torch.nn.parameter.Parameter"}


class CodeError(RefusedError):
    """A pickle calls what is neither tensor nor plain data; `name` says what."""

    def __init__(self, name: str) -> None:
        super().__init__(f"it would run code to load ({shown(name)})")
        self.name = name


class NestedError(RefusedError):
    """A pickle holds nested tensors, which torch rebuilds without checking them."""


class UnwrittenError(RefusedError):
    """A pickle that `torch.save` does not write."""


class ProtocolError(RefusedError):
    """A pickle in a later format (`torch.save(…, pickle_protocol=4)`): torch's reader of tensors does not know it."""

    def __init__(self, protocol: int) -> None:
        super().__init__(f"its pickle is of protocol {protocol}, and torch reads tensors alone from protocols 2 and 3")
        self.protocol = protocol


@dataclass(slots=True)
class _Name:
    """A class or function, by name alone."""

    name: str


@dataclass(slots=True)
class _Storage:
    """A tensor's numbers: how many there are, of how many bytes each."""

    count: int
    item_bytes: int


@dataclass(slots=True)
class _Made:
    """A value with values inside; `by` names what makes it."""

    by: str
    inside: list[Any] = field(default_factory=list)


_MARK = object()


class Limited:
    """A stream that gives a limited number of bytes, whatever a pickle claims."""

    def __init__(self, stream: IO[bytes], most_bytes: int = _MOST_BYTES) -> None:
        self._stream = stream
        self._left = most_bytes

    def read(self, count: int = -1) -> bytes:
        """As a file's `read`. Raises ValueError beyond the limit."""
        if count < 0 or count > self._left:
            raise ValueError("more bytes are claimed than are read")
        self._left -= count
        return self._stream.read(count)

    def readline(self) -> bytes:
        """As a file's `readline`. Raises ValueError beyond the limit."""
        line = self._stream.readline(min(self._left, 10_000))
        self._left -= len(line)
        return line

    def tell(self) -> int:
        """The position in the file."""
        return self._stream.tell()


def check(stream: Any, storage_bytes: Callable[[str, int], int], *, program: bool = False) -> Any:
    """Runs one pickle off `stream` with inert values and returns its value, made of those.

    `storage_bytes(key, claimed)` is how many bytes the file has for a storage. In a TorchScript `program` names are the
    program's own classes, which torch makes without Python. Raises RefusedError, as CodeError for what would run code.
    """
    machine = _Machine(storage_bytes, program)
    try:
        value = machine.run(stream)
    except RefusedError:
        raise
    except Exception as error:  # what pickletools raises on damaged pickles, and what an empty stack gives
        if isinstance(error, ValueError) and re.search(r"exhausted|not enough data|only \d+ remain", str(error)):
            raise RefusedError("its pickle ends too early") from error
        raise UnwrittenError("it is a pickle that torch.save did not write, or damaged") from error
    _check_depth(value)
    return value


class _Machine:
    def __init__(self, storage_bytes: Callable[[str, int], int], program: bool) -> None:
        self.storage_bytes = storage_bytes
        self.program = program
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}

    def run(self, stream: Any) -> Any:
        for steps, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
            if steps > _MOST_STEPS:
                raise RefusedError(f"its pickle takes over {_MOST_STEPS:,} steps")
            name = opcode.name
            if name == "STOP":
                (value,) = self.stack
                return value
            if name in _CONSTANTS:
                self.stack.append(argument if name in _WITH_ARGUMENT else _CONSTANTS[name]())
            else:
                step = _STEPS.get(name)
                if step is None:
                    raise UnwrittenError("it is a pickle that torch.save did not write, or damaged")
                step(self, argument)
        raise UnwrittenError("it is a pickle that torch.save did not write, or damaged")

    def protocol(self, argument: int) -> None:
        if argument in (4, 5):
            raise ProtocolError(argument)
        if argument not in (2, 3):
            raise ValueError("no such protocol")

    def name(self, argument: str) -> None:
        self.stack.append(_Name(argument.replace(" ", ".", 1)))

    def mark(self, _: Any) -> None:
        self.stack.append(_MARK)

    def marked(self) -> list[Any]:
        """What lies above the last mark; that is taken off too."""
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("no mark")
        items = self.stack[at + 1 :]
        del self.stack[at:]
        return items

    def put(self, argument: int) -> None:
        self.memo[argument] = self.stack[-1]

    def get(self, argument: int) -> None:
        self.stack.append(self.memo[argument])

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        self.stack[-1].inside.append(item)

    def extend(self, _: Any) -> None:
        items = self.marked()
        self.stack[-1].inside.extend(items)

    def set_item(self, _: Any) -> None:
        items = [self.stack.pop(), self.stack.pop()]
        self.stack[-1].inside.extend(items)

    def tuple(self, _: Any) -> None:
        self.stack.append(tuple(self.marked()))

    def tuple_of(self, count: int) -> None:
        items = tuple(self.stack[-count:])
        if len(items) < count or _MARK in items:
            raise ValueError("too few values")
        self.stack[-count:] = [items]

    def persistent(self, _: Any) -> None:
        kind, *rest = self.stack.pop()
        if kind != "storage":
            raise CodeError(f"persistent {kind}")
        of, key, _location, count = rest[:4]
        item = _ITEM_BYTES.get(of.name.rpartition(".")[2].removesuffix("Storage"))
        if item is None or type(count) is not int or count < 0:
            raise UnwrittenError("a storage in it has no known type or size")
        available = self.storage_bytes(str(key), count * item)
        if count * item > available:
            raise RefusedError(
                f"its storage {shown(str(key))} claims {count * item:,} bytes, and the file has {available:,}"
            )
        self.stack.append(_Storage(count, item))

    def reduce(self, _: Any) -> None:
        arguments = self.stack.pop()
        function = self.stack.pop()
        self.stack.append(self.called(function.name, arguments))

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        made = self.stack[-1]
        by = made.by if isinstance(made, _Made) else type(made).__name__
        if by == "numpy.dtype":
            _check_dtype_state(state)
        elif by not in _BUILT and not self.program:
            raise CodeError(by)
        made.inside.append(state)

    def called(self, name: str, arguments: Any) -> Any:
        """The inert value of a call."""
        if not isinstance(arguments, tuple):
            raise UnwrittenError("a call in it has no arguments")
        if name in _OF_STORAGE:
            _check_view(*arguments[:4])
        elif name == "torch._tensor._rebuild_from_type_v2":
            function, of, inner = arguments[:3]
            if of.name not in ("torch.Tensor", "torch.nn.parameter.Parameter"):
                raise CodeError(of.name)
            return _Made(name, [self.called(function.name, inner), *arguments[3:]])
        elif name == "numpy.dtype":
            if not isinstance(arguments[0], str) or not re.fullmatch(r"[<>|=]?[biufc]\d{1,2}|\?", arguments[0]):
                raise CodeError(f"numpy.dtype of {arguments[0]!r}"[:60])
        elif name in ("builtins.bytearray", "__builtin__.bytearray"):
            if arguments and not isinstance(arguments[0], _Made | str):
                raise CodeError(name)
        elif name == "torch._utils._rebuild_nested_tensor":
            raise NestedError("it holds nested tensors")
        elif name not in _PLAIN and not self.program:
            raise CodeError(name)
        return _Made(name, list(arguments))


def _check_view(storage: Any, offset: Any, size: Any, stride: Any) -> None:
    """A tensor lies within its storage."""
    sizes, strides = _whole_numbers(size), _whole_numbers(stride)
    if not isinstance(storage, _Storage) or type(offset) is not int or len(sizes) != len(strides):
        raise UnwrittenError("a tensor in it is damaged")
    if offset < 0 or min([*sizes, *strides], default=0) < 0 or len(sizes) > 64:
        raise RefusedError("a tensor in it has a negative size")
    last = offset + sum((length - 1) * step for length, step in zip(sizes, strides, strict=True))
    if math.prod(sizes) > 0 and last >= storage.count:
        raise RefusedError(f"a tensor of {' × '.join(map(str, sizes)) or '1'} claims more than its storage has")
    if math.prod(sizes) > max(storage.count, _MOST_REPEATED_BYTES // storage.item_bytes):
        raise RefusedError(f"a tensor of {' × '.join(map(str, sizes))} repeats the few values of its storage")


def _whole_numbers(value: Any) -> list[int]:
    items = value.inside[0] if isinstance(value, _Made) and value.by == "torch.Size" else value
    items = items.inside if isinstance(items, _Made) else items
    if not isinstance(items, tuple | list) or any(type(item) is not int for item in items):
        raise UnwrittenError("a tensor in it has no sizes")
    return list(items)


def _check_dtype_state(state: Any) -> None:
    """That of a number's type: version, byte order, and nothing of fields."""
    plain = isinstance(state, tuple) and len(state) in (8, 9)
    if not plain or any(each is not None for each in state[2:5]) or not all(type(each) is int for each in state[5:8]):
        raise CodeError("numpy.dtype with fields")


def _check_depth(value: Any) -> None:
    """No value contains itself, and none is nested deeper than a hundred levels."""
    heights: dict[int, int] = {}
    open_: set[int] = set()
    todo: list[tuple[Any, bool]] = [(value, False)]
    while todo:
        item, seen = todo.pop()
        inside = item.inside if isinstance(item, _Made) else item if isinstance(item, tuple) else ()
        if seen:
            open_.discard(id(item))
            heights[id(item)] = 1 + max((heights.get(id(each), 0) for each in inside), default=0)
            if heights[id(item)] > _DEEPEST:
                raise RefusedError(f"it is nested deeper than {_DEEPEST} levels")
        elif id(item) in open_:
            raise RefusedError("it contains itself")
        elif inside and id(item) not in heights:
            open_.add(id(item))
            todo.append((item, True))
            todo.extend((each, False) for each in inside if isinstance(each, _Made | tuple) and id(each) not in heights)


_WITH_ARGUMENT = {
    "BININT",
    "BININT1",
    "BININT2",
    "LONG1",
    "BINFLOAT",
    "BINUNICODE",
    "SHORT_BINSTRING",
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    **dict.fromkeys(_WITH_ARGUMENT, lambda: None),
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": lambda: _Made("list"),
    "EMPTY_DICT": lambda: _Made("dict"),
    "EMPTY_SET": lambda: _Made("set"),
}
_STEPS: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _Machine.protocol,
    "GLOBAL": _Machine.name,
    "MARK": _Machine.mark,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.extend,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.extend,
    "TUPLE": _Machine.tuple,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "BINPERSID": _Machine.persistent,
    "REDUCE": _Machine.reduce,
    "NEWOBJ": _Machine.reduce,
    "BUILD": _Machine.build,
}
