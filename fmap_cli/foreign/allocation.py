"""Memory that a pass gives back is kept by the process for the next one.

A network's outputs are tens of megabytes each. GNU's C library gives such memory back to the system at once and asks
for it again a layer later; the system then clears it, page by page, which takes half of MobileNetV2's time for eight
images. Kept, it is there. A program that runs one network may keep it until it ends (`keep`). A notebook is somebody
else's process: there it is kept for as long as a run of many passes takes, and then given back (`kept`).
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of the parameters in malloc.h
_KEPT = 1 << 30
"""Blocks up to this size are taken from memory that the process has, and so much of it is kept when all is free."""

_MOST = 1 << 25
"""The largest such size to which the C library goes by itself, and the largest that it took before it took any
(glibc's HEAP_MAX_SIZE / 2)."""

_lock = threading.Lock()
_runs = 0
"""How many of this process's threads are in `kept`; or in `keep`, which none of them leaves."""


def keep() -> None:
    """From now on; nothing where the user has set how memory is kept, or where the C library is another one."""
    _begin()


@contextmanager
def kept(wanted: bool = True) -> Iterator[None]:
    """Keep memory inside, where that is wanted; afterwards give back what is free, unless the program, or another
    thread, goes on keeping it.

    The library's limits cannot be read. Untouched, they follow the blocks that a process gives back: from one pass on
    whose outputs are large they are the highest of their own, and so they are left here.
    """
    library = _begin() if wanted else None
    try:
        yield
    finally:
        if library is not None:
            _end(library)


def _begin() -> Any:
    """The C library, told to keep memory; None where it is not to be told."""
    global _runs
    library = _own_library()
    if library is not None:
        with _lock:
            _runs += 1
            if _runs == 1:
                library.mallopt(_TRIM_THRESHOLD, _KEPT)
                if not library.mallopt(_MMAP_THRESHOLD, _KEPT):
                    library.mallopt(_MMAP_THRESHOLD, _MOST)
    return library


def _end(library: Any) -> None:
    global _runs
    with _lock:
        _runs -= 1
        if not _runs:
            library.mallopt(_MMAP_THRESHOLD, _MOST)
            library.mallopt(_TRIM_THRESHOLD, 2 * _MOST)
            library.malloc_trim(0)


def _own_library() -> Any:
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return None
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return None
    import ctypes

    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError):
        return None
