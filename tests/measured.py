"""A command run and measured: how it ended, its time, its memory, and what it left running."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked

ROOT = Path(__file__).parent.parent
MOST_ADDRESSES = (24 << 30, 24 << 30)  # the machine is not for one command alone
GRACE_SECONDS = 4  # in which a command's other processes may end after it


@dataclass(frozen=True)
class Measured:
    """`code` is as a shell tells it: negative for a signal."""

    code: int
    out: str
    err: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    orphans: tuple[str, ...]


def run_warm(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> Measured:
    """`fmap ARGUMENTS` in a folder, in a fork of a process that has imported torch. A command that takes longer is
    killed. A fork's peak counts what it shares with its parent, as an interpreter of its own would have it.
    """
    started = time.monotonic()
    with (folder / ".out").open("wb") as out, (folder / ".err").open("wb") as err:
        process = forked.Popen(
            ["fmap", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=folder,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
            start_new_session=True,
        )
    resource.prlimit(process.pid, resource.RLIMIT_AS, MOST_ADDRESSES)
    ended = _waited(process.pid, started, seconds)
    process.returncode = ended["code"]
    return _measured(ended, folder)


def run_cold(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], seconds: float) -> Measured:
    """`fmap ARGUMENTS` in a new interpreter, as a user starts it."""
    started = time.monotonic()
    number = os.fork()
    if number == 0:
        _enter(folder, {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment})
        os.execv(sys.executable, [sys.executable, "-m", "fmap_cli", *arguments])
    return _measured(_waited(number, started, seconds), folder)


def _measured(row: dict[str, Any], folder: Path) -> Measured:
    texts = [(folder / name).read_bytes().decode(errors="replace") for name in (".out", ".err")]
    return Measured(row["code"], *texts, row["seconds"], row["cpu"], row["peak"], tuple(row["orphans"]))


def _enter(folder: Path, environment: Mapping[str, str]) -> None:
    """Make this fork the command's: a session, folder, streams and environment of its own."""
    os.setsid()
    os.chdir(folder)
    os.environ.update(environment)
    for number, file, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, ".out", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, ".err", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        handle = os.open(file, mode, 0o600)
        os.dup2(handle, number)
        os.close(handle)
    resource.setrlimit(resource.RLIMIT_AS, MOST_ADDRESSES)


def _waited(number: int, started: float, seconds: float) -> dict[str, Any]:
    while True:
        ended, status, usage = os.wait4(number, os.WNOHANG)
        if ended:
            break
        if time.monotonic() - started > seconds:
            os.killpg(number, signal.SIGKILL)
        time.sleep(0.01)
    taken = time.monotonic() - started
    deadline = time.monotonic() + GRACE_SECONDS
    while (left := processes_of(number)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for each in left:
        os.kill(int(each.split()[0]), signal.SIGKILL)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "seconds": taken,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak": usage.ru_maxrss * 1024,
        "orphans": left,
    }


def processes_of(session: int) -> list[str]:
    """The processes of a session that run, each as its number and its command."""
    found = []
    for each in Path("/proc").iterdir():
        if each.name.isdecimal():
            try:
                words = (each / "stat").read_text().rpartition(")")[2].split()
                if int(words[3]) == session and words[0] != "Z":
                    found.append(f"{each.name} {(each / 'cmdline').read_text()[:80]}")
            except OSError:
                continue
    return found
