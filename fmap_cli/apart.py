"""A function in a process of its own: whatever happens there, this process goes on and says what it was.

An exception in the middle of autograd's backward can abort a process. The other process is always a new interpreter and
never a fork: autograd refuses to work in the fork of a process that has run a backward pass, and a lock that another
thread held at that moment stays locked there for ever. A new interpreter takes thirty milliseconds, beside the seconds
in which it imports torch. It knows nothing of this one's `__main__`, so no script runs twice.

What to do goes to its standard input. Sentences for the user come back from its standard output as they arise, at the
end a result or an error.
"""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from .errors import FmapError


def run_apart(module: str, function: str, *arguments: Any, say: Callable[[str], None]) -> Any:
    """What `module.function(*arguments, say)` returns, run in a process of its own.

    Arguments and result are pickled, and the module is found as here, by `sys.path`. An FmapError from there is raised
    here. So is one where the process fails in another way, or ends without a word; it says how.
    """
    child = _start((sys.argv, module, function, arguments))
    assert child.stdout is not None
    try:
        while True:
            try:
                what, value = pickle.load(child.stdout)
            except (EOFError, OSError, pickle.UnpicklingError):
                raise FmapError(_ended(child.wait())) from None
            if what == "say":
                say(value)
            elif what == "error":
                kind, message, hint = value
                raise kind(message, hint=hint)
            else:
                return value
    finally:
        child.stdout.close()
        try:
            child.wait(5 if sys.exc_info()[0] is None else 0.2)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _start(task: Any) -> subprocess.Popen[bytes]:
    """A new interpreter that imports what this one can import, and has been told its task."""
    path = [each for each in sys.path if isinstance(each, str)]
    code = f"import sys; sys.path[:] = {path!a}; from fmap_cli.apart import work_for; work_for({os.getpid()})"
    # Ctrl-C is for both. The other process waits with it until it is ready to end without a traceback.
    masked = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masked else ()
    try:
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    except OSError as error:
        raise FmapError(f"the process that makes the estimate could not be started: {error.strerror}.") from error
    finally:
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert child.stdin is not None
    try:
        with child.stdin:
            pickle.dump(task, child.stdin)
    except BrokenPipeError:
        pass  # it has ended already; how, its exit code says
    return child


def _ended(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        killed = " (the machine may be out of memory)" if name == "SIGKILL" else ""
        return f"the process that makes the estimate was ended by {name}{killed}; there is no result."
    return f"the process that makes the estimate ended with code {code} and no result."


def work_for(parent: int) -> None:
    """Read a task from standard input, carry it out, answer on standard output, and end this process."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as for what a shell script runs in the background
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    answers = os.fdopen(os.dup(1), "wb")
    # What a network prints is a remark; standard output is for results.
    sys.stdout = sys.stderr
    os.dup2(2, 1)

    def send(what: str, value: Any) -> None:
        answer = pickle.dumps((what, value))
        try:
            answers.write(answer)
            answers.flush()
        except OSError:  # nobody is there any more who would read it
            os._exit(1)

    try:
        sys.argv, module, function, arguments = pickle.load(sys.stdin.buffer)
        call = getattr(importlib.import_module(module), function)
        send("result", call(*arguments, lambda sentence: send("say", sentence)))
    except FmapError as error:
        send("error", (type(error), error.message, error.hint))
    except BaseException as error:
        lines = str(error).strip().splitlines()
        what = f"{type(error).__name__}: {lines[0][:300] if lines else 'no message'}"
        hint = "If the network's own code raised this, run one forward of it by itself to see where."
        send("error", (FmapError, f"the estimate failed: {what}", hint))
    sys.stderr.flush()
    os._exit(0)  # tearing torch down takes a while, and changes nothing


def _end_with(parent: int) -> None:
    """End this process when the one that it works for is gone: a signal may have ended that without a word."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
