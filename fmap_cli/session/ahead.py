"""Reads images while the network runs on those before them."""

from __future__ import annotations

import ctypes
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

import torch

from ..errors import FmapError, ImageError
from ..inputs.records import ImageInput
from .opening import Session, read_image

Say = Callable[[str], None]
Source = str | Sequence[str] | None


def read_ahead(
    session: Session, sources: Sequence[Source], say: Say, layout: str | None, ahead: int
) -> Iterator[tuple[Source, ImageInput | FmapError]]:
    """Each source with what was read of it, or why nothing was, in their order; up to `ahead` are read in advance.

    A thread reads them: decoding and resizing let others run. What there is to say of an image is said when its
    turn comes. One image, and standard input, is read in the caller's thread.
    """
    if len(sources) < 2 or "-" in sources:
        for source in sources:
            yield source, _read(session, source, say, layout)
        return

    def read(source: Source) -> tuple[list[str], ImageInput | FmapError]:
        said: list[str] = []
        return said, _read(session, source, said.append, layout)

    waiting: deque[tuple[Source, Future[tuple[list[str], ImageInput | FmapError]]]] = deque()
    left = iter(sources)
    with ThreadPoolExecutor(1, thread_name_prefix="fmap-read", initializer=without_team) as pool:
        try:
            for source in left:
                waiting.append((source, pool.submit(read, source)))
                if len(waiting) > ahead:
                    yield _next(waiting, say)
            while waiting:
                yield _next(waiting, say)
        finally:  # whoever asked stops early: what nobody waits for is not read
            pool.shutdown(wait=True, cancel_futures=True)


def _next(
    waiting: deque[tuple[Source, Future[tuple[list[str], ImageInput | FmapError]]]], say: Say
) -> tuple[Source, ImageInput | FmapError]:
    source, future = waiting.popleft()
    said, found = future.result()
    for sentence in said:
        say(sentence)
    return source, found


def _read(session: Session, source: Source, say: Say, layout: str | None) -> ImageInput | FmapError:
    try:
        return read_image(session, source, say, layout)
    except ImageError as error:
        return error.bare()  # what was raised would keep its pixels until its turn comes


def without_team() -> None:
    """Keep torch's operations in this thread to this thread: a second team of OpenMP threads would spin beside the
    network's. (`torch.set_num_threads` would hold for the whole process.)
    """
    torch.get_num_threads()  # torch sets a thread's number when it is first asked
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libgomp.so.1", mode=os.RTLD_NOLOAD).omp_set_num_threads(1)
