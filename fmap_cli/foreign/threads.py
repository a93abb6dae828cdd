"""Machine code in several threads at once: those that torch has already, where it lends them."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

WORTH_A_THREAD = 1 << 17
"""So many values for each thread, 20 µs of work, which is about what handing a part to another thread takes."""
_PARTS = 3


def threads_for(values: int, most: int) -> int:
    """In how many threads so many values are worth reading, of those that there are."""
    return min(most, max(1, values // WORTH_A_THREAD))


def parts_for(threads: int, most: int) -> int:
    """Into how many parts a task is cut that so many threads share, and that has no more than `most`.

    More parts than threads: who is kept from its core by another program then keeps the others waiting for less.
    """
    return min(_PARTS * threads if threads > 1 else 1, most)


def in_threads(made: Any) -> Callable[[int, int], None]:
    """How to call a `numba.cfunc` that takes one pointer: with the address that it gets, in so many threads at once."""
    team = _torch_team()
    call: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.address)

    def run(address: int, threads: int) -> None:
        if threads == 1:
            call(address)
        elif team is not None:
            team(made.address, address, threads, 0)
        else:
            waiting = [_pool(threads - 1).submit(call, address) for _ in range(threads - 1)]
            try:
                call(address)
            finally:  # what lies at the address is in use until all have ended
                for each in waiting:
                    each.result()

    return run


@cache
def _torch_team() -> Any:
    """GNU OpenMP's `GOMP_parallel(function, data, threads, flags)` from the library that torch has loaded.

    Between two operations torch's threads wait for the next one by spinning; threads of our own would have to share the
    cores with them. None where torch uses another library: then threads of our own it is.
    """
    if not sys.platform.startswith("linux"):
        return None
    try:
        parallel = ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD).GOMP_parallel
    except (OSError, AttributeError):
        return None
    parallel.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    parallel.restype = None
    return parallel


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="fmap-kernels")
