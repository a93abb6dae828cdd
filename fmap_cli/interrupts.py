"""Ctrl-C and SIGTERM as a wish to stop at the next good place."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class Wish:
    """Whether somebody wishes the run to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that a signal ended: 128 and its number."""
        return 128 + self.signal if self.signal is not None else 0


@contextmanager
def stoppable() -> Iterator[Wish]:
    """Inside, the first SIGINT or SIGTERM only sets the wish; the second ends the program at once, as ever.

    Outside the main thread, where Python lets nobody handle signals, they do what they did before.
    """
    wish = Wish()
    before: dict[signal.Signals, Any] = {}

    def noted(number: int, _frame: FrameType | None) -> None:
        if wish.signal is not None:
            raise KeyboardInterrupt
        wish.signal = number

    try:
        for each in (signal.SIGINT, signal.SIGTERM):
            before[each] = signal.signal(each, noted)
    except ValueError:
        pass
    try:
        yield wish
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
