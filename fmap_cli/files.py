"""The one place that writes files: each appears whole or not at all, whoever else writes it and whenever it is killed.

A file is written beside its target under a name of its own (`.NAME-xxxxxxxx.fmap-part`) and renamed into place. While
it is written it is locked. So what a killed run has left can be told from what another is at work on: it is locked by
nobody, and the next run that writes into the folder removes it.
"""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from .errors import OutputError

try:
    import fcntl
except ImportError:  # Windows: nothing is locked there, and nothing cleared away
    fcntl = None  # type: ignore[assignment]

Write = Callable[[IO[bytes]], object]
_PART, _LOCK = ".fmap-part", ".fmap-lock"
_LEFT_BEHIND = re.compile(rf"\..*(-[a-z0-9_]{{8}}{_PART}|{_LOCK})", re.DOTALL)
_cleared: set[tuple[int, int]] = set()
"""The folders in which this process has looked for what was left."""


def write_file(path: Path, write: Write) -> None:
    """Let `write` fill a file that appears at `path` whole or not at all.

    An error leaves what was there before. What is not a regular file (a pipe, a device) is written to as it is. Raises
    OutputError with what failed.
    """
    write_files([(path, write)])


def write_files(files: Sequence[tuple[Path, Write]]) -> None:
    """Write files that belong together: all are written before the first appears, and no other fmap's come between."""
    parts: list[_Part] = []
    try:
        for path, write in files:
            with _explained(path) as watched:
                target = _target(path)
                if target.exists() and not target.is_file():
                    if target.is_dir():
                        raise OutputError(f"cannot write {path}: it is a directory.", hint="Give a file's name.")
                    with target.open("wb") as file:
                        write(watched(file))
                    continue
                part = _Part(path, target)
                parts.append(part)
                write(watched(part.file))
                part.finish()
        with _alone(parts[0].target.parent if len(parts) > 1 else None):
            for part in parts:
                with _explained(part.path):
                    part.publish()
    finally:
        for part in parts:
            part.discard()


def check_folder(path: Path) -> None:
    """Raises OutputError where `path` cannot become a file: to be asked before the work is done."""
    with _explained(path):
        target = _target(path)
    if not path.parent.is_dir():
        raise OutputError(f"cannot write {path}: there is no directory {path.parent}.")
    if target.is_dir():
        raise OutputError(f"cannot write {path}: it is a directory.", hint="Give a file's name.")


def make_directory(path: Path) -> None:
    """Create a directory for outputs, with its parents. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot create the directory {path}: {error.strerror or error}.") from error


@contextmanager
def sole_writer(path: Path) -> Iterator[int | None]:
    """Inside, no other process that asks is the writer of `path`; yields the other's number where there is one.

    That is 0 where it is not known. Where nothing can be locked, nobody is kept away.
    """
    lock = path.with_name(f".{path.name}{_LOCK}")
    handle: int | None = None
    other: int | None = None
    with suppress(OSError):
        handle, other = _take(lock)
    try:
        yield other
    finally:
        if handle is not None:
            with suppress(OSError):
                lock.unlink()  # before it is free: who waits for it finds it gone, and makes one anew
            os.close(handle)


# -- parts -------------------------------------------------------------------------------------------------------


class _Part:
    """A file in the making beside its target; no other process takes it for one that was left."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path, self.target = path, target
        _clear(target.parent)
        while True:
            handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}-", suffix=_PART, dir=target.parent)
            self.temporary = Path(name)
            _lock(handle, wait=True)
            if os.fstat(handle).st_nlink:
                break
            os.close(handle)  # taken for a left one before it was locked
        self.file = os.fdopen(handle, "wb")

    def finish(self) -> None:
        """All of it is on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.temporary.chmod(_mode(self.target))

    def publish(self) -> None:
        self.temporary.replace(self.target)

    def discard(self) -> None:
        """Let go of it; unless it is published, it is gone."""
        self.temporary.unlink(missing_ok=True)
        with suppress(OSError):  # what could not be written is tried once more, in vain
            self.file.close()


class _Watched(io.BufferedIOBase):
    """A file that remembers what went wrong when it was written to: some libraries say it in words of their own.

    It has no descriptor, past which they could write.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, data: Any) -> int:
        return self._noting(self._file.write, data)

    def flush(self) -> None:
        self._noting(self._file.flush)

    def seek(self, *place: int) -> int:
        return self._noting(self._file.seek, *place)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return self._file.seekable()

    def writable(self) -> bool:
        return True

    def close(self) -> None:
        """Whoever opened the file closes it."""

    def _noting(self, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except OSError as error:
            if not isinstance(error, io.UnsupportedOperation):
                self.failure = self.failure or error
            raise


@contextmanager
def _explained(path: Path) -> Iterator[Callable[[IO[bytes]], Any]]:
    """What goes wrong inside as an OutputError; yields what makes a file a watched one."""
    watched: list[_Watched] = []

    def watch(file: IO[bytes]) -> _Watched:
        watched.append(_Watched(file))
        return watched[-1]

    try:
        yield watch
    except Exception as error:
        failure = next((each.failure for each in watched if each.failure is not None), error)
        if not isinstance(failure, OSError):
            raise
        if not path.parent.is_dir():
            raise OutputError(f"cannot write {path}: there is no directory {path.parent}.") from error
        raise OutputError(f"cannot write {path}: {failure.strerror or failure}.") from error


def _target(path: Path) -> Path:
    """Where a link leads."""
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
    return target


def _mode(target: Path) -> int:
    """The permissions of the file replaced, or those a new file gets here."""
    if target.exists():
        return stat.S_IMODE(target.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


# -- locks -------------------------------------------------------------------------------------------------------


def _lock(handle: int, *, wait: bool = False) -> bool:
    """Lock an open file; whether that worked. The lock goes with the file's last descriptor."""
    if fcntl is None:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def _clear(folder: Path) -> None:
    """Remove what killed runs have left in this folder; once a process, for folders may be large."""
    with suppress(OSError):
        found = folder.stat()
        if fcntl is None or (found.st_dev, found.st_ino) in _cleared:
            return
        _cleared.add((found.st_dev, found.st_ino))
        for name in os.listdir(folder):  # noqa: PTH208 - no Path for each of a million files
            if _LEFT_BEHIND.fullmatch(name):
                _remove_unlocked(folder / name)


def _remove_unlocked(path: Path) -> None:
    with suppress(OSError):
        handle = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if path.name.endswith(_LOCK):
                fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            elif _lock(handle):
                path.unlink()
        finally:
            os.close(handle)


@contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """No other fmap publishes files that belong together in this folder meanwhile."""
    handle = None
    if folder is not None and fcntl is not None:
        handle = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        _lock(handle, wait=True)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def _take(lock: Path) -> tuple[int | None, int | None]:
    """The lock file's descriptor, locked; or the number of the process that has locked it.

    The lock is of the process and not of the descriptor: processes that this one has started do not keep it.
    """
    if fcntl is None:
        return None, None
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            said = os.read(handle, 20).decode(errors="ignore")
            os.close(handle)
            return None, int(said) if said.isdecimal() else 0
        except OSError:
            os.close(handle)
            raise
        with suppress(OSError):
            if os.fstat(handle).st_ino == lock.stat().st_ino:
                os.truncate(handle, 0)
                os.write(handle, str(os.getpid()).encode())
                return handle, None
        os.close(handle)  # whoever had it has just removed it
