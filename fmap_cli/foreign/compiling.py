"""Loops as machine code, which is made at the first call and kept on disk where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import cfunc, njit, types
from numba.core.caching import FunctionCache

Function = TypeVar("Function", bound=Callable[..., Any])

# What is compared holds no NaN, so that comparisons may be made for several values at once.
_OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": {"nnan", "nsz", "reassoc"}}


def compiled(function: Function) -> Function:
    """The function, which takes numbers and arrays, as machine code."""
    try:
        made: Function = njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # nowhere to write to: made in each run
        made = njit(**_OPTIONS)(function)
    return made


def part(function: Function) -> Function:
    """The function as a part of others, which are kept; it is not kept by itself."""
    made: Function = njit(**_OPTIONS)(function)
    return made


def as_callback(function: Callable[[Any], None]) -> Any:
    """The function, which takes an array of addresses, as machine code that other libraries can call."""
    signature = types.void(types.CPointer(types.voidptr))
    try:
        try:
            return cfunc(signature, cache=True)(function)
        except (OSError, RuntimeError):
            raise
        except Exception:  # what is kept is damaged, and reading that raises anything: it is made anew
            FunctionCache(function).flush()
            return cfunc(signature, cache=True)(function)
    except Exception:  # nowhere to write to: compiled in each run
        return cfunc(signature)(function)
