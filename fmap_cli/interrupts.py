"""Ctrl-C and SIGTERM: as the end of the program, from its first moment to its last, or as a request to stop."""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

from .errors import DONE, INTERRUPTED, ended_by

_PATIENCE_SECONDS = 3.0
"""So long after Ctrl-C may what runs go on: longer, and it is code that does not hear of it."""
_LEAVE_SECONDS = 5.0
"""So long may what a network has started (threads, its own business at exit) keep a program that is done."""
_WAITS = b"note: stopping after this batch; Ctrl-C again ends at once.\n"

_GLANCE_SECONDS = 0.2

_came = False
_ending = threading.Event()


def came() -> bool:
    """Whether the program was told to end: some libraries turn a KeyboardInterrupt into an error of their own."""
    return _came


# -- the end of the program --------------------------------------------------------------------------------------


def answer() -> None:
    """From now on SIGINT ends this program within seconds, whatever runs: for the program alone, not in a library.

    Python tells the main thread of a signal when that comes back from machine code, and any code may catch a
    KeyboardInterrupt. So a thread is told as well, and ends the program where nothing else does.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # started in the background: not meant
        return
    signal.signal(signal.SIGINT, _end)
    sys.unraisablehook = _unraisable
    with suppress(AttributeError, OSError, ValueError):
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=lambda: signal.set_wakeup_fd(-1))
        threading.Thread(target=_watch, args=(read,), daemon=True).start()


def leave(code: int) -> NoReturn:
    """End the program, whose results are out: nothing that a network has left running keeps it.

    Whoever runs the program inside another one (a profiler, `coverage run`) is told first, as by any `sys.exit`.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _ending.set()
    threading.Thread(target=_cut_off, args=(code,), daemon=True).start()
    atexit.register(_end_process, code)
    sys.exit(code)


def _end_process(code: int) -> None:
    """The end of a process without taking torch's libraries down, which takes 0.2 s and changes nothing.

    Before it everything else that is registered for the end runs, and what was written to open files gets there. Where
    that fails the interpreter ends as it always does, and says so.
    """
    atexit.unregister(_end_process)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    for each in gc.get_objects():
        if type(each) in (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom) and not each.closed:
            each.flush()
    if "ctypes" in sys.modules:  # what machine code has written by way of C's own streams
        with suppress(AttributeError, OSError, TypeError):
            sys.modules["ctypes"].CDLL(None).fflush(None)
    os._exit(code)


def _end(_number: int, _frame: FrameType | None) -> None:
    global _came
    _came = True
    raise KeyboardInterrupt


def _unraisable(args: Any) -> None:
    if not isinstance(args.exc_value, KeyboardInterrupt):
        sys.__unraisablehook__(args)


def _watch(pipe: int) -> None:
    """Waits for signals; ends the program where it has been told to end, and has not for a while."""
    while True:
        try:
            number = os.read(pipe, 1)
        except OSError:  # closed by a network that closes all there is
            return
        if number not in (bytes([signal.SIGINT]), bytes([signal.SIGTERM])):
            continue
        request = _requests[-1] if _requests else None
        if request is not None and not request.told:
            request.told = True
            os.write(2, _WAITS)
        elif not _ending.wait(_PATIENCE_SECONDS):
            os.write(2, b"fmap: interrupted.\n")
            os._exit(INTERRUPTED)


def _cut_off(code: int) -> None:
    time.sleep(_LEAVE_SECONDS)
    os._exit(code)


def end_with_parent() -> None:
    """In a process that another one has started: it ends when that one has, however that was.

    A process that is killed tells nobody. One that waits for it, or for room in a pipe that nobody reads, waits on.
    """
    import multiprocessing

    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, os.getppid()), daemon=True).start()


def _end_with(parent: Any, number: int) -> None:
    while parent.is_alive() and os.getppid() == number:
        time.sleep(_GLANCE_SECONDS)
    os._exit(1)


# -- a request to stop ----------------------------------------------------------------------------------------------


class StopRequest:
    """Whether somebody wishes the run to stop, and by which signal."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.told = False  # that the run goes on to the end of its batch

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a program that this signal ended."""
        return DONE if self.signal is None else ended_by(self.signal)


_requests: list[StopRequest] = []


@contextmanager
def stoppable() -> Iterator[StopRequest]:
    """Inside, the first SIGINT or SIGTERM only sets the request; the second ends the program at once, as ever.

    Outside the main thread, where Python lets nobody handle signals, they do what they did before.
    """
    request = StopRequest()
    before: dict[signal.Signals, Any] = {}

    def noted(number: int, frame: FrameType | None) -> None:
        if request.signal is not None:
            _end(number, frame)
        request.signal = number

    try:
        for each in (signal.SIGINT, signal.SIGTERM):
            before[each] = signal.signal(each, noted)
    except ValueError:
        pass
    _requests.append(request)
    try:
        yield request
    finally:
        _requests.remove(request)
        for each, handler in before.items():
            signal.signal(each, handler)
