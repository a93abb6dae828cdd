"""Code of the user's own runs in this process: whatever it changes here is as before when it has returned.

A factory or a forward may print, close descriptors, change the directory, the handlers of signals, or what torch takes
for a default. What it prints is a remark and goes to standard error; standard output is for results.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

_HIGH = 1 << 17
"""Kept descriptors have numbers just below this, or below the hard limit: code that closes all that the soft limit
allows does not reach them."""
_kept: dict[int, int] = {}


def keep_streams() -> None:
    """From now on standard output and error are fmap's own, however the descriptors 0 to 2 fare in guests' hands.

    For the program alone: in somebody else's process the streams are theirs. Does nothing where there are no such
    descriptors to be duplicated.
    """
    _open_closed()
    try:
        import fcntl
    except ImportError:
        return
    with _high_numbers() as first:
        for number in range(3):
            with contextlib.suppress(OSError, ValueError):
                _kept[number] = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, first)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        if number in _kept and isinstance(stream, io.TextIOWrapper) and stream.fileno() == number:
            own = open(  # noqa: SIM115 - for as long as the program runs
                _kept[number],
                "w",
                encoding=stream.encoding,
                errors=stream.errors,
                buffering=1 if stream.line_buffering else -1,
                closefd=False,
            )
            setattr(sys, name, own)
            setattr(sys, f"__{name}__", own)


@contextlib.contextmanager
def _high_numbers() -> Iterator[int]:
    """A number from which on nobody else has descriptors. Inside they may be had; afterwards the limit is as before.

    A descriptor stays good when the soft limit sinks below it.
    """
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = _HIGH if hard == resource.RLIM_INFINITY else min(hard, _HIGH)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(most, soft), hard))
    except (OSError, ValueError):
        most = soft
    try:
        yield max(most - 16, 0)
    finally:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _open_closed() -> None:
    """Where a stream was closed from the start (`fmap >&-`), what is written there goes nowhere.

    And no file that is opened gets its descriptor.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere == number and getattr(sys, name) is None:
                setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


@contextlib.contextmanager
def guest_code() -> Iterator[None]:
    """Code of the user's own runs inside. It sees no arguments: a parser of its own must not read fmap's options."""
    streams = sys.stdin, sys.stdout, sys.stderr
    arguments = sys.argv
    sys.argv = arguments[:1]
    handlers = _handlers()
    folder = _folder()
    defaults = _torch_defaults()
    if 1 in _kept and 2 in _kept:
        os.dup2(_kept[2], 1)
    sys.stdout = sys.stderr = _Lent(sys.stderr)
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams
        sys.argv = arguments
        for number, copy in _kept.items():
            with contextlib.suppress(OSError):
                os.dup2(copy, number)
        _mend_errors()
        for each, handler in handlers.items():
            if signal.getsignal(each) is not handler:
                signal.signal(each, handler)
        if folder is not None and _folder() != folder:
            with contextlib.suppress(OSError):
                os.chdir(folder)
        if defaults is not None:
            _restore(*defaults)


def _mend_errors() -> None:
    """Where even the kept descriptors were closed, and standard error was not: that can still be written to."""
    if 2 in _kept:
        try:
            os.fstat(_kept[2])
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(2, _kept[2])


class _Lent:
    """A stream that can be written to and not closed: its owner goes on with it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def close(self) -> None:
        pass

    def detach(self) -> Any:
        raise io.UnsupportedOperation("the stream is lent")


def _handlers() -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    found = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    return {each: handler for each, handler in found.items() if handler is not None}


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a path of no text must come back as it was
    except OSError:
        return None


def _torch_defaults() -> tuple[Any, Any, bool] | None:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return None
    return torch.get_default_dtype(), torch.get_default_device(), torch.is_grad_enabled()


def _restore(dtype: Any, device: Any, gradients: bool) -> None:
    torch: Any = sys.modules["torch"]
    if torch.get_default_dtype() != dtype:
        torch.set_default_dtype(dtype)
    if torch.get_default_device() != device:
        torch.set_default_device(None if device.type == "cpu" else device)
    if torch.is_grad_enabled() != gradients:
        torch.set_grad_enabled(gradients)
