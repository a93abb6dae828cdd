"""A function in a process of its own: whatever happens there, this process goes on and says what it was.

An exception in the middle of autograd's backward can abort a process. The other process is always a new interpreter and
never a fork: autograd refuses to work in the fork of a process that has run a backward pass, and a lock that another
thread held at that moment stays locked there for ever. A new interpreter takes thirty milliseconds, beside the seconds
in which it imports torch. It knows nothing of this one's `__main__`, so no script runs twice.

What to do goes to its standard input. Sentences for the user come back from its standard output as they arise, at the
end a result or an error. A process may be `made_ready` before it is known what it is to do: it imports torch meanwhile.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ..errors import FmapError
from . import raised


def run_isolated(module: str, function: str, *arguments: Any, say: Callable[[str], None]) -> Any:
    """What `module.function(*arguments, say)` returns, run in a process of its own.

    Arguments and result are pickled, and the module is found as here, by `sys.path`. An FmapError from there is raised
    here. So is one where the process fails in another way, or ends without a word; it says how.
    """
    with Isolated(module, function, *arguments) as other:
        return other.result(say)


_PURPOSE = "makes the estimate"

_ready: dict[str, subprocess.Popen[bytes]] = {}
"""Processes that have not been told what to do, by their module."""


@contextmanager
def made_ready(module: str) -> Iterator[None]:
    """Inside, a process that imports `module` is under way for the first `Isolated` that calls a function of it.

    Unless somebody has taken it, it is ended with the block.
    """
    with suppress(FmapError):  # who needs it tries again, and says why there is none
        _ready[module] = _start(module=module)
    try:
        yield
    finally:
        if module in _ready:
            unused = _ready.pop(module)
            unused.kill()
            unused.communicate()


class EndedError(FmapError):
    """The other process is gone without a result. `code` is its exit code, or minus the signal that ended it; `silent`
    is true where this process ended it because nothing was heard of it for too long.
    """

    def __init__(self, message: str, *, code: int, silent: bool) -> None:
        super().__init__(message)
        self.code = code
        self.silent = silent


class Isolated:
    """A function that runs in a process of its own from now until the end of the `with` block.

    `purpose` stands in messages: "the process that {purpose} was ended by …". What a `quiet` one writes on standard
    error is nobody's.
    """

    def __init__(
        self,
        module: str,
        function: str,
        *arguments: Any,
        purpose: str = _PURPOSE,
        quiet: bool = False,
    ) -> None:
        self._purpose = purpose
        self._child = _ready.pop(module) if module in _ready else _start(purpose, quiet)
        _tell(self._child, (_paths(), sys.argv, module, function, arguments))
        self._until: float | None = None
        self._silent = False
        self._answered = False

    def __enter__(self) -> Isolated:
        return self

    def __exit__(self, kind: Any, *_: Any) -> None:
        assert self._child.stdout is not None
        self._child.stdout.close()
        if self._answered:  # it is about to end, which takes a while with torch inside: nobody needs to wait for that
            threading.Thread(target=self._see_it_end, args=(5,), daemon=True).start()
        else:
            self._see_it_end(5 if kind is None else 0.2)

    def _see_it_end(self, patience: float) -> None:
        try:
            self._child.wait(patience)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def heard_within(self, seconds: float) -> None:
        """The process is ended unless something is heard of it for so long: a sentence or the result."""
        if self._until is None:
            threading.Thread(target=self._watch, daemon=True).start()
        self._until = time.monotonic() + seconds

    def _watch(self) -> None:
        while self._child.poll() is None:
            if self._until is not None and time.monotonic() > self._until:
                self._silent = True
                self._child.kill()
                return
            time.sleep(0.05)

    def result(self, say: Callable[[Any], None]) -> Any:
        """What the function returns, as soon as it has. Raises its FmapError, or EndedError."""
        assert self._child.stdout is not None
        while True:
            try:
                what, value = pickle.load(self._child.stdout)
            except (EOFError, OSError, pickle.UnpicklingError):
                code = self._child.wait()
                raise EndedError(_ended(code, self._purpose), code=code, silent=self._silent) from None
            if what == "say":
                say(value)
            elif what == "error":
                kind, message, hint = value
                raise kind(message, hint=hint)
            else:
                self._answered = True
                return value


def _paths() -> list[str]:
    return [each for each in sys.path if isinstance(each, str)]


def _start(purpose: str = _PURPOSE, quiet: bool = False, module: str = "") -> subprocess.Popen[bytes]:
    """A new interpreter that imports what this one can import, `module` first of all, and waits for its task."""
    code = f"import sys; sys.path[:] = {_paths()!a}; from fmap_cli.foreign.isolated import work_for"
    code += f"; work_for({os.getpid()}, {purpose!a}, {module!a})"
    # Ctrl-C is for both. The other process waits with it until it is ready to end without a traceback.
    masked = hasattr(signal, "pthread_sigmask")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if masked else ()
    try:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
        )
    except OSError as error:
        raise FmapError(f"the process that {purpose} could not be started: {error.strerror}.") from error
    finally:
        if masked:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tell(child: subprocess.Popen[bytes], task: Any) -> None:
    assert child.stdin is not None
    try:
        with child.stdin:
            pickle.dump(task, child.stdin)
    except BrokenPipeError:
        pass  # it has ended already; how, its exit code says


def _ended(code: int, purpose: str) -> str:
    if code < 0:
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        killed = " (the machine may be out of memory)" if name == "SIGKILL" else ""
        return f"the process that {purpose} was ended by {name}{killed}; there is no result."
    return f"the process that {purpose} ended with code {code} and no result."


def work_for(parent: int, purpose: str, module: str) -> None:
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
        if module:
            importlib.import_module(module)
        sys.path[:], sys.argv, module, function, arguments = pickle.load(sys.stdin.buffer)
        call = getattr(importlib.import_module(module), function)
        result = call(*arguments, lambda sentence: send("say", sentence))
        sys.stderr.flush()
        send("result", result)
    except FmapError as error:
        send("error", (type(error), error.message, error.hint))
    except BaseException as error:
        hint = "If the network's own code raised this, run one forward of it by itself to see where."
        send("error", (FmapError, f"the process that {purpose} failed: {raised.what(error)}", hint))
    sys.stderr.flush()
    os.closerange(0, 3)  # whoever reads what this process and the other one print need not wait for the rest
    os._exit(0)  # tearing torch down takes a while, and changes nothing


def _end_with(parent: int) -> None:
    """End this process when the one that it works for is gone: a signal may have ended that without a word."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
