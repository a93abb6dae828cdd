"""torch.fx's names for operations."""

from __future__ import annotations

import dis
import re
from functools import lru_cache
from typing import Any

import torch

# `x += y` and `x.add_(y)` reach a mode as the same function; torch.fx sees `add` and `add_`.
IN_PLACE_OPERATORS = {
    "add_": "add",
    "sub_": "sub",
    "mul_": "mul",
    "div_": "truediv",
    "pow_": "pow",
    "remainder_": "mod",
    "floor_divide_": "floordiv",
}
IPOW = torch.Tensor.__ipow__  # the one operator that comes through a Python function of torch's
_OPERATOR_SYNONYMS = {"div": "truediv", "and": "and_", "or": "or_", "getattribute": "getattr", "get": "getattr"}
_REFLECTED = re.compile(r"__[ir](?=(add|sub|mul|truediv|div|floordiv|mod|pow|matmul|and|or|xor|lshift|rshift)__$)")
_COUNTER = re.compile(r"(.+?)_[0-9]+$")


def operation_name(func: Any) -> str:
    """torch.fx's name for a torch function or tensor method, without its counter.

    >>> [operation_name(f) for f in (torch.Tensor.__rsub__, torch.flatten, torch.Tensor.shape.__get__)]
    ['sub', 'flatten', 'getattr']
    """
    if isinstance(func, torch._ops.OpOverload):  # of an exported program: `aten.add.Tensor` is `add`
        func = func.overloadpacket
    return _spelled(getattr(func, "__name__", None) or type(func).__name__)


@lru_cache(maxsize=1024)
def _spelled(name: str) -> str:
    """torch.fx's spelling of a function's own name."""
    if name.startswith("__") and name.endswith("__"):
        name = _REFLECTED.sub("__", name)[2:-2]
        name = _OPERATOR_SYNONYMS.get(name, name)
    name = re.sub(r"(?<=[a-z])([A-Z])", r"_\1", name).lower()
    name = re.sub(r"[^0-9a-z_]+", "_", name)
    return without_counter(name)


def without_counter(name: str) -> str:
    """
    >>> without_counter("relu_1"), without_counter("relu")
    ('relu', 'relu')
    """
    counted = _COUNTER.match(name)
    return counted.group(1) if counted else name


_BINARY_OPERATION = dis.opmap["BINARY_OP"]


def called_by_operator(frame: Any) -> bool:
    """Whether the frame's running instruction is an operator (`+=`) rather than a call (`.add_()`)."""
    return bool(frame.f_code.co_code[frame.f_lasti] == _BINARY_OPERATION)
