"""torch's kernels for the meta device without SymPy: what they ask about symbolic sizes, answered for plain ones.

These kernels ask `torch.fx.experimental.symbolic_shapes` whether a condition on sizes holds, and the first question
imports it, with all of SymPy: half a second of computing, to be told that True is True. While `plain_sizes` is on, a
stand-in has that module's place. It answers for plain numbers as the real one does and hands everything else to it;
whoever asks for another name gets the real module's, which has its place again from then on.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

_PACKAGE = "torch.fx.experimental"
_NAME = "symbolic_shapes"
_MODULE = f"{_PACKAGE}.{_NAME}"


@contextmanager
def plain_sizes() -> Iterator[None]:
    """Inside, kernels for the meta device import no SymPy as long as all sizes are plain numbers.

    >>> import torch
    >>> with plain_sizes():
    ...     torch.conv2d(torch.empty(1, 3, 9, 9, device="meta"), torch.empty(8, 3, 3, 3, device="meta")).shape
    torch.Size([1, 8, 7, 7])
    """
    if _MODULE in sys.modules:
        yield
        return
    stand_in = _StandIn()
    try:
        stand_in.take_place()
        yield
    finally:
        stand_in.withdraw()


class _StandIn(ModuleType):
    """The module as far as plain numbers go."""

    def __init__(self) -> None:
        super().__init__(_MODULE)
        for name, (holds, answer) in _ANSWERS.items():
            setattr(self, name, self._answering(name, holds, answer))

    def take_place(self) -> None:
        parent = importlib.import_module(_PACKAGE)
        sys.modules[_MODULE] = self
        setattr(parent, _NAME, self)

    def withdraw(self) -> None:
        parent = sys.modules[_PACKAGE]
        if sys.modules.get(_MODULE) is self:
            del sys.modules[_MODULE]
        if getattr(parent, _NAME, None) is self:
            delattr(parent, _NAME)

    def _answering(self, name: str, holds: Callable[..., bool], answer: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return answer(*args) if not kwargs and holds(*args) else getattr(self._real(), name)(*args, **kwargs)

        return call

    def _real(self) -> ModuleType:
        self.withdraw()
        return importlib.import_module(_MODULE)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(f"module {_MODULE!r} has no attribute {name!r}")
        return getattr(self._real(), name)


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


_ANSWERS: dict[str, tuple[Callable[..., bool], Callable[..., Any]]] = {
    "expect_true": (_truth, _itself),
    "guard_bool": (_truth, _itself),
    "guard_or_false": (_truth, _itself),
    "guard_or_true": (_truth, _itself),
    "guard_size_oblivious": (_truth, _itself),
    "statically_known_true": (_truth, _itself),
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
