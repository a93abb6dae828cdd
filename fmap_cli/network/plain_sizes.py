"""torch's kernels for the meta device without SymPy: what they ask about symbolic sizes, answered for plain ones.

These kernels ask `torch.fx.experimental.symbolic_shapes` whether a condition on sizes holds, and SymPy whether a number
is one of its expressions. The first question imports all of SymPy, to be told that True is True; that is more than a
step of ResNet-50 takes. While `plain_sizes` is on, stand-ins have the places of these modules. They answer for plain
numbers as the real ones do and hand everything else to them; whoever asks for another name, or imports a part of SymPy,
gets the real module, which has its place again from then on.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ..frameworks import asked_first

_SHAPES = "torch.fx.experimental.symbolic_shapes"
_SYMPY = "sympy"


@contextmanager
def plain_sizes() -> Iterator[None]:
    """Inside, kernels for the meta device import no SymPy as long as all sizes are plain numbers.

    >>> import torch
    >>> with plain_sizes():
    ...     torch.conv2d(torch.empty(1, 3, 9, 9, device="meta"), torch.empty(8, 3, 3, 3, device="meta")).shape
    torch.Size([1, 8, 7, 7])
    """
    if _SHAPES in sys.modules or _SYMPY in sys.modules:  # imported or stood in for: nothing to save
        yield
        return
    importlib.import_module(_SHAPES.rpartition(".")[0])
    shapes, sympy = _StandIn(_SHAPES), _StandIn(_SYMPY)
    for name in _TRUTHS:
        setattr(shapes, name, shapes.giving_back(name))
    for name, (holds, answer) in _ANSWERS.items():
        setattr(shapes, name, shapes.answering(name, holds, answer))
    sympy.Basic = _Basic  # type: ignore[attr-defined]
    sympy.__path__ = []
    try:
        with asked_first(_PartsOf(sympy)):
            shapes.take_place()
            sympy.take_place()
            yield
    finally:
        shapes.withdraw()
        sympy.withdraw()


class _StandIn(ModuleType):
    """A module as far as plain numbers go."""

    def take_place(self) -> None:
        sys.modules[self.__name__] = self
        parent, _, name = self.__name__.rpartition(".")
        if parent:
            setattr(sys.modules[parent], name, self)

    def withdraw(self) -> None:
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        parent, _, name = self.__name__.rpartition(".")
        if parent and vars(sys.modules[parent]).get(name) is self:
            delattr(sys.modules[parent], name)

    def real(self) -> ModuleType:
        self.withdraw()
        return importlib.import_module(self.__name__)

    def answering(self, name: str, holds: Callable[..., bool], answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return answer(*args) if not kwargs and holds(*args) else getattr(self.real(), name)(*args, **kwargs)

        return call

    def giving_back(self, name: str) -> Callable[..., Any]:
        """For what True is True; a pass asks it a hundred thousand times."""

        def call(value: Any, *args: Any, **kwargs: Any) -> Any:
            plain = (value is True or value is False) and not args and not kwargs
            return value if plain else getattr(self.real(), name)(value, *args, **kwargs)

        return call

    def __getattr__(self, name: str) -> Any:
        if name[:2] == "__":  # `from ... import` asks for a path each time
            raise AttributeError(name)
        return getattr(self.real(), name)


class _PartsOf(MetaPathFinder):
    """Finds the parts of a module that is stood in for: the real module first, which then has them."""

    def __init__(self, stand_in: _StandIn) -> None:
        self._stand_in = stand_in

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> Any:
        name = self._stand_in.__name__
        if not fullname.startswith(f"{name}.") or sys.modules.get(name) is not self._stand_in:
            return None
        self._stand_in.real()
        return ModuleSpec(fullname, _AsItIs(importlib.import_module(fullname)))


class _AsItIs(Loader):
    """Loads a module that is there. (The import system would load it anew by its own specification, if it had one.)"""

    def __init__(self, module: ModuleType) -> None:
        self._module, self._spec = module, module.__spec__
        module.__spec__ = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return self._module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._spec


class _Expressions(type):
    def __instancecheck__(cls, value: Any) -> bool:
        real = getattr(sys.modules.get(_SYMPY), "Basic", cls)
        return real is not cls and isinstance(value, real)


class _Basic(metaclass=_Expressions):
    """SymPy's base class as far as `isinstance` goes: nothing is an expression of a package that is not imported."""


def _truth(*values: Any) -> bool:
    return all(type(each) is bool for each in values)


def _whole(*values: Any) -> bool:
    return all(type(each) in (int, bool) for each in values)


def _number(*values: Any) -> bool:
    return all(type(each) in (int, bool, float) for each in values)


def _sizes(*values: Any) -> bool:
    """Whether these are whole numbers or lists of such, all the same way."""
    if all(isinstance(each, (tuple, list)) for each in values):
        return all(_whole(*each) for each in values)
    return _whole(*values)


def _numbers(value: Any) -> bool:
    return _number(*value) if isinstance(value, (tuple, list)) else _number(value)


def _itself(value: Any) -> Any:
    return value


def _equal(first: Any, second: Any) -> bool:
    return list(first) == list(second) if isinstance(first, (tuple, list)) else first == second


def _no_symbols(_value: Any) -> Any:
    from torch.utils._ordered_set import OrderedSet

    return OrderedSet()


_TRUTHS = (
    "expect_true",
    "guard_bool",
    "guard_or_false",
    "guard_or_true",
    "guard_size_oblivious",
    "statically_known_true",
)
_ANSWERS: dict[str, tuple[Callable[..., bool], Callable[..., Any]]] = {
    "statically_known_false": (_truth, lambda value: not value),
    "sym_and": (_truth, lambda *values: all(values)),
    "sym_or": (_truth, lambda *values: any(values)),
    "sym_eq": (_sizes, _equal),
    "guarding_hint_or_throw": (_whole, _itself),
    "has_guarding_hint": (_number, lambda _: True),
    "is_nested_int": (_number, lambda _: False),
    "free_symbols": (_numbers, _no_symbols),
    "free_unbacked_symbols": (_numbers, _no_symbols),
    "has_free_symbols": (_numbers, lambda _: False),
    "has_free_unbacked_symbols": (_numbers, lambda _: False),
}
"""Of what plain values each is answered here, and how: as torch does for these."""
