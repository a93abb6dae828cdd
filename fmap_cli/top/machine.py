"""Loops as machine code, which is made at the first call and kept on disk where there is a place for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from numba import njit

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
