"""What was found out about a network in hand, kept for as long as the network lives and is what it was.

Nobody tells fmap that a network has changed, so each time the whole of it is looked through: the classes of its
modules and their methods, all attributes of all modules down to numbers and names (training flags and hooks are among
them), and of tensors which they are, their shapes and how often torch's operations wrote to them. For ResNet-50 that
takes 2 ms; running it takes 60 (two cores). What cannot be looked through (an object written in C, an array) might
change unseen: of such a network nothing is kept.

Two changes are not seen: of values that are written past torch (`tensor.data`, or an array that shares the memory),
and of what stands outside the network, in the globals of the module that defines it. What is kept goes by the network's
structure, so only a network whose structure goes by such values is answered wrongly.
"""

from __future__ import annotations

import enum
import functools
import types
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

_Found = TypeVar("_Found")
_kept: weakref.WeakKeyDictionary[nn.Module, tuple[list[Any], dict[Hashable, Any]]] = weakref.WeakKeyDictionary()

_MOST = 200_000
"""So many notes about one network are taken; a larger one is looked at anew each time."""


def remembered(
    module: nn.Module,
    key: Hashable,
    find: Callable[[], _Found],
    *,
    is_lasting: Callable[[_Found], bool] = lambda _: True,
) -> _Found:
    """What `find` answers, or answered under this key when the network was as it is now.

    The answer must go by the network's structure and by `key` alone, and nobody may change it. One that is not
    `is_lasting` is not kept.
    """
    answers = _answers_on(module)
    if answers is None:
        return find()
    if key in answers:
        return answers[key]
    found = find()
    if is_lasting(found):
        answers[key] = found
    return found


def recalled(module: nn.Module, key: Hashable) -> Any:
    """What is `remembered` under this key of the network as it is now; None where nothing is."""
    return (_answers_on(module) or {}).get(key)


def _answers_on(module: nn.Module) -> dict[Hashable, Any] | None:
    """What is known of the network as it is now, by key; None for one of which nothing can be kept."""
    try:
        now = _notes_on(module)
        state, answers = _kept.get(module, (None, {}))
        if state != now:
            _kept[module] = now, (answers := {})
    except (_UnseenError, RecursionError, TypeError):  # a network without a hash of its own has no place here, either
        return None
    return answers


class _UnseenError(Exception):
    """Something about the network cannot be looked through."""


def _notes_on(module: nn.Module) -> list[Any]:
    """Notes that are equal as long as the network is what it was. They keep nothing of it alive."""
    notes = _Notes()
    notes.take(module)
    for name, of_all_networks in vars(nn.modules.module).items():
        if name.startswith("_global"):
            notes.take(of_all_networks)
    return [*notes.taken, torch.get_default_dtype(), str(torch.get_default_device()), torch.is_autocast_enabled("cpu")]


_PLAIN = frozenset((bool, int, float, complex, str, bytes, types.NoneType, torch.dtype, torch.device))
_TENSORS = frozenset((Tensor, nn.Parameter, nn.Buffer))
_IN_ORDER = frozenset((list, tuple, torch.Size))
_BY_KEY = frozenset((dict, OrderedDict))


class _Notes:
    def __init__(self) -> None:
        self.taken: list[Any] = []
        self.met: dict[int, int] = {}  # what was looked through -> when
        self.kinds: set[type] = set()

    def take(self, value: Any) -> None:
        kind = type(value)
        taken = self.taken
        if kind in _PLAIN:
            taken += (kind, value)
            return
        if id(value) in self.met:
            taken.append(self.met[id(value)])
            return
        self.met[id(value)] = len(self.met)
        if len(taken) > _MOST:
            raise _UnseenError
        if kind in _BY_KEY:
            taken += (kind, len(value))
            for key, each in value.items():
                if type(key) is str:
                    taken.append(key)
                else:
                    self.take(key)
                inner = type(each)
                if inner in _PLAIN:
                    taken += (inner, each)
                elif inner in _BY_KEY and not each:
                    taken.append(inner)
                else:
                    self.take(each)
        elif kind in _IN_ORDER:
            taken += (kind, len(value))
            for each in value:
                self.take(each)
        elif kind in _TENSORS:
            self._tensor(value)
        elif kind is set or kind is frozenset:
            taken += (kind, len(value))
            for each in sorted(value, key=repr):
                self.take(each)
        elif isinstance(value, type):
            self._class(value)
        elif isinstance(value, enum.Enum):
            taken += (id(kind), value.name)
        elif kind is types.FunctionType:
            taken.append(value.__code__)
            for each in (value.__defaults__, value.__kwdefaults__, value.__dict__):
                self.take(each)
            for cell in value.__closure__ or ():
                self.take(_inside(cell))
        elif kind is types.MethodType:
            self.take(value.__func__)
            self.take(value.__self__)
        elif kind is types.BuiltinFunctionType and (value.__self__ is None or type(value.__self__) is types.ModuleType):
            taken.append(value)
        elif kind is functools.partial:
            for each in (value.func, value.args, value.keywords):
                self.take(each)
        elif _is_open(kind):
            self._class(kind)
            self.take(vars(value))
        else:
            raise _UnseenError

    def _tensor(self, tensor: Tensor) -> None:
        if tensor.is_inference() or tensor.layout != torch.strided:
            raise _UnseenError
        place = tensor.data_ptr()
        about = (id(tensor), tensor._version, place, tensor.shape, tensor.stride(), tensor.dtype, tensor.device)
        self.taken += (*about, tensor.requires_grad)
        if place and tensor.numel() == 1 and tensor.device.type == "cpu":  # a counter, or a flag
            self.taken.append(str(tensor.item()))
        if tensor.__dict__:
            self.take(tensor.__dict__)

    def _class(self, kind: type) -> None:
        """Which class it is, and what stands in it now: somebody may have given it another forward."""
        self.taken.append(id(kind))
        if kind in self.kinds:
            return
        self.kinds.add(kind)
        for each in kind.__mro__:
            if each is nn.Module or each is object:
                break
            for name, own in vars(each).items():
                if type(own) is types.FunctionType:  # by its code as well: the place of an old one may be taken
                    self.taken += (id(own), own.__code__)
                elif name.startswith("__"):  # what Python notes there itself
                    continue
                elif type(own) in _PLAIN or type(own) in _IN_ORDER or type(own) in _BY_KEY:
                    self.take(own)
                else:
                    self.taken.append(id(own))


def _is_open(kind: type) -> bool:
    """Whether objects of a class are what their `__dict__` holds and nothing else, as those of nn.Module are."""
    return (
        bool(kind.__flags__ & _MADE_AS_IT_RAN)
        and (kind.__basicsize__, kind.__itemsize__, kind.__dictoffset__) == _SIZES
    )


_SIZES = nn.Module.__basicsize__, nn.Module.__itemsize__, nn.Module.__dictoffset__
_MADE_AS_IT_RAN = 1 << 9
"""Python's flag of classes with a `class` statement (Py_TPFLAGS_HEAPTYPE), which few of those in C have."""


def _inside(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # nothing yet
        return None
