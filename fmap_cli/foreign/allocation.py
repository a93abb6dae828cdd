"""Memory that a pass gives back is kept by the process for the next one.

A network's outputs are tens of megabytes each. GNU's C library gives such memory back to the system at once and asks
for it again a layer later; the system then clears it, page by page, which takes half of MobileNetV2's time for eight
images. Kept, it is there. The process is then as large as at its largest moment until it ends: a program that runs one
network may be that. A notebook is somebody else's process, and is left alone.
"""

from __future__ import annotations

import os
import sys

_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1  # names of the parameters in malloc.h
_KEPT = 1 << 30
"""Blocks up to this size are taken from memory that the process has, and so much of it is kept when all is free."""


_MOST_BEFORE = 1 << 25
"""The largest such size that the C library took before it took any (glibc's HEAP_MAX_SIZE / 2)."""


def keep() -> None:
    """From now on; nothing where the user has set how memory is kept, or where the C library is another one."""
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return
    if "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return
    import ctypes

    try:
        parameter = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    parameter(_TRIM_THRESHOLD, _KEPT)
    if not parameter(_MMAP_THRESHOLD, _KEPT):
        parameter(_MMAP_THRESHOLD, _MOST_BEFORE)
