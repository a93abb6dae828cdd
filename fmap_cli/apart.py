"""A function in a process of its own: whatever happens there, this process goes on and says what it was.

An exception in the middle of autograd's backward can abort a process. The child talks through a pipe: sentences for the
user as they come, at the end a result or an error.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from .errors import FmapError

# Forking costs nothing, where it is safe: the parent has loaded no torch yet, and has no threads.
_METHOD = "fork" if sys.platform == "linux" else "spawn"


def run_apart(module: str, function: str, *arguments: Any, say: Callable[[str], None]) -> Any:
    """What `module.function(*arguments, say)` returns, run in a process of its own.

    An FmapError from there is raised here. So is one where the process fails in another way, or ends without a word;
    it says how.
    """
    context: Any = multiprocessing.get_context(_METHOD)
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(theirs, os.getpid(), module, function, arguments), daemon=True)
    child.start()
    theirs.close()
    try:
        while True:
            try:
                what, value = ours.recv()
            except (EOFError, OSError):
                child.join()
                raise FmapError(_ended(child.exitcode)) from None
            if what == "say":
                say(value)
            elif what == "error":
                kind, message, hint = value
                raise kind(message, hint=hint)
            else:
                return value
    finally:
        ours.close()
        child.join(5 if sys.exc_info()[0] is None else 0.2)
        if child.is_alive():
            child.kill()
            child.join()


def _ended(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        killed = " (the machine may be out of memory)" if name == "SIGKILL" else ""
        return f"the process that makes the estimate was ended by {name}{killed}; there is no result."
    return f"the process that makes the estimate ended with code {code} and no result."


def _work(pipe: Connection, parent: int, module: str, function: str, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    # What a network prints is a remark; standard output is for results.
    sys.stdout = sys.stderr
    os.dup2(2, 1)
    if "torch" in sys.modules:  # forked from a process whose pool of threads is not here
        sys.modules["torch"].set_num_threads(1)
    try:
        call = getattr(importlib.import_module(module), function)
        result = call(*arguments, lambda sentence: pipe.send(("say", sentence)))
        pipe.send(("result", result))
    except FmapError as error:
        pipe.send(("error", (type(error), error.message, error.hint)))
    except BaseException as error:
        lines = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
        hint = "If the network's own code raised this, run one forward of it by itself to see where."
        pipe.send(("error", (FmapError, f"the estimate failed: {what}", hint)))
    finally:
        pipe.close()


def _end_with(parent: int) -> None:
    """End this process when the one that it works for is gone: a signal may have ended that without a word."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
