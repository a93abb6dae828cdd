"""Processes that start with all imported: a new interpreter needs two seconds for that, a fork thirty milliseconds.

`Popen` and `run` are as those of `subprocess`, for `python -m fmap_cli …`, the program `fmap …` and `python -c …`. One
process, started when first needed, has imported torch and all of fmap and done nothing else: no thread runs in it and
no backward pass has. It forks for each command; what is forked becomes a child of the process that asked, with streams,
folder, environment and session as asked for. What a test holds about how an interpreter starts and ends (its imports,
its encodings, the memory that it takes) needs `subprocess` itself.
"""

from __future__ import annotations

import array
import atexit
import ctypes
import gc
import importlib
import inspect
import os
import pickle
import pkgutil
import signal
import socket
import subprocess
import sys
import threading
import time
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).parent.parent
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER: orphans below this process become its own children
_asked: socket.socket | None = None
started: set[int] = set()
"""The number of the process that forks, once there is one."""


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """A `subprocess.Popen` whose process is forked instead of started; elsewhere than on Linux it is started."""

    def _execute_child(self, *arguments: Any, **named: Any) -> None:
        if sys.platform != "linux":
            super()._execute_child(*arguments, **named)  # type: ignore[misc]
            return
        asked = inspect.signature(super()._execute_child).bind(*arguments, **named).arguments  # type: ignore[misc]
        assert asked["preexec_fn"] is None and not asked["shell"], "not offered here"
        pipes = [asked[name] for name in ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")]
        streams = [own if given == -1 else given for own, given in enumerate((pipes[0], pipes[3], pipes[5]))]
        task = {
            "arguments": [os.fsdecode(each) for each in asked["args"]],
            "folder": os.fsdecode(asked["cwd"] or Path.cwd()),
            "environment": dict(os.environ if asked["env"] is None else asked["env"]),
            "session": asked["start_new_session"],
            "masked": [int(each) for each in signal.pthread_sigmask(signal.SIG_BLOCK, ())],
            "parent": os.getpid(),
        }
        self.pid = _fork(task, streams)
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined]


def run(arguments: Sequence[object], *, input: Any = None, timeout: float = 120, **options: Any) -> Any:
    """`subprocess.run` with what the process prints captured."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    if input is not None:
        streams["stdin"] = subprocess.PIPE
    with Popen(arguments, **streams | options) as process:
        try:
            out, err = process.communicate(input, timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


# -- this side: asking ---------------------------------------------------------------------------------------------


def _fork(task: dict[str, Any], streams: list[int]) -> int:
    libc = ctypes.CDLL(None)
    server = _server()
    libc.prctl(_SUBREAPER, 1, 0, 0, 0)
    try:
        message = pickle.dumps(task)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))
        server.sendmsg([len(message).to_bytes(4, "big")], [rights])
        server.sendall(message)
        return int.from_bytes(_exactly(server, 4), "big")
    finally:
        libc.prctl(_SUBREAPER, 0, 0, 0, 0)


def _server() -> socket.socket:
    global _asked
    if _asked is None:
        _asked, theirs = socket.socketpair()
        with theirs:
            process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=os.environ | {"OMP_NUM_THREADS": "1"},
                cwd=ROOT,
            )
        started.add(process.pid)
        atexit.register(_end, process)
    return _asked


def _end(process: subprocess.Popen[bytes]) -> None:
    assert _asked is not None
    _asked.close()
    process.wait(30)


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        more = connection.recv(size - len(found))
        if not more:
            raise EOFError("the process that forks has ended")
        found += more
    return found


# -- the other side: a process that forks --------------------------------------------------------------------------


def _serve(number: int) -> None:
    # Ctrl-C is for what is forked, which gets it as soon as it is ready: ignored in between, it would be lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    server = socket.socket(fileno=number)
    sys.path[0] = str(ROOT)
    import_all()
    while True:
        size, rights, _, _ = server.recvmsg(4, socket.CMSG_SPACE(3 * 4))
        if not size:
            return
        streams = array.array("i", rights[0][2])
        task = pickle.loads(_exactly(server, int.from_bytes(size, "big")))
        heard, told = os.pipe()
        between = os.fork()
        if between == 0:
            child = os.fork()
            if child:  # ends at once, so that the child's parent is the process that asked
                os.write(told, child.to_bytes(4, "big"))
                os._exit(0)
            server.close()
            os.close(heard)
            os.close(told)
            ended(_become, task, streams)
        os.waitpid(between, 0)
        server.sendall(os.read(heard, 4))
        for each in (heard, told, *streams):
            os.close(each)


def import_all() -> None:
    """What commands import when they are called: imported once, before any of them, and never looked through by
    Python's collector, which would copy all of it in each fork.
    """
    from fmap_cli.frameworks import load_torchvision

    load_torchvision()
    import fmap_cli

    for module in pkgutil.walk_packages(fmap_cli.__path__, "fmap_cli."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    for name in ("rich.table", "rich.console", "matplotlib.figure", "matplotlib.backends.backend_svg", "PIL.Image"):
        importlib.import_module(name)
    sys.modules["PIL.Image"].init()
    gc.collect()
    gc.freeze()


def ended(run: Callable[..., object], *arguments: Any) -> NoReturn:
    """Run this and end the process as an interpreter does: threads are waited for, what is registered for the end is
    called, streams are flushed. Only its modules are not taken apart first, which takes a fork 0.4 seconds.
    """
    code: object = None
    try:
        run(*arguments)
    except SystemExit as asked:
        code = asked.code
    if not (code is None or isinstance(code, int)):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
    except OSError as error:
        print(f"Exception ignored in: {sys.stdout!r}\n{type(error).__name__}: {error}", file=sys.stderr)
        code = 120
    sys.stderr.flush()
    os._exit(int(code or 0) & 0xFF)


def _become(task: dict[str, Any], streams: Sequence[int]) -> None:
    """Do in this fork what a new interpreter would do with these arguments, to its end."""
    deadline = time.monotonic() + 10
    while os.getppid() != task["parent"] and time.monotonic() < deadline:
        time.sleep(0.001)
    if task["session"]:
        os.setsid()
    for number, each in enumerate(streams):
        os.dup2(each, number)
    for each in streams:
        os.close(each)
    os.chdir(task["folder"])
    os.environ.clear()
    os.environ.update(task["environment"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, task["masked"])
    sys.stdin = sys.__stdin__ = open(0, closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stdout = sys.__stdout__ = open(1, "w", closefd=False)  # type: ignore[misc]  # noqa: SIM115
    sys.stderr = sys.__stderr__ = open(2, "w", errors="backslashreplace", closefd=False, buffering=1)  # type: ignore[misc]  # noqa: SIM115
    program, *rest = task["arguments"]
    sys.path.insert(0, "")
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    if program == sys.executable and rest[0] == "-c":
        sys.argv = ["-c", *rest[2:]]
        exec(compile(rest[1], "<string>", "exec"), vars(main))
        return
    assert program != sys.executable or rest[:2] == ["-m", "fmap_cli"], task["arguments"]
    sys.argv = [str(ROOT / "fmap_cli" / "__main__.py"), *rest[2:]] if program == sys.executable else [program, *rest]
    from fmap_cli.cli import main as fmap

    fmap()


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
