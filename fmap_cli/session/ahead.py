"""Reads images while the network runs on those before them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from ..errors import ImageError
from ..inputs.records import ImageInput
from .opening import Session, read_image

Say = Callable[[str], None]
Source = str | Sequence[str] | None
_MOST_THREADS = 8


def read_ahead(
    session: Session, sources: Sequence[Source], say: Say, layout: str | None, ahead: int
) -> Iterator[tuple[Source, ImageInput | ImageError]]:
    """Each source with what was read of it, or why nothing was, in their order; up to `ahead` are read in advance.

    Threads read them: decoding and resizing let other threads run. What there is to say of an image is said when its
    turn comes. One image, and standard input, is read in the caller's thread.
    """
    if len(sources) < 2 or "-" in sources:
        for source in sources:
            yield source, _read(session, source, say, layout)
        return

    def read(source: Source) -> tuple[list[str], ImageInput | ImageError]:
        said: list[str] = []
        return said, _read(session, source, said.append, layout)

    waiting: deque[tuple[Source, Future[tuple[list[str], ImageInput | ImageError]]]] = deque()
    left = iter(sources)
    with ThreadPoolExecutor(_threads(), thread_name_prefix="fmap-read") as pool:
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
    waiting: deque[tuple[Source, Future[tuple[list[str], ImageInput | ImageError]]]], say: Say
) -> tuple[Source, ImageInput | ImageError]:
    source, future = waiting.popleft()
    said, found = future.result()
    for sentence in said:
        say(sentence)
    return source, found


def _read(session: Session, source: Source, say: Say, layout: str | None) -> ImageInput | ImageError:
    try:
        return read_image(session, source, say, layout)
    except ImageError as error:
        return error


def _threads() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_THREADS, cores)
