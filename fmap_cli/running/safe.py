"""Files that hold a run: safetensors files whose metadata says of what kind and version they are.

Nothing in them is ever run. Types and shapes are compared before anything is read, so that no header makes us reserve
what is not there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..errors import FmapError
from .text import DamagedError

_Read = TypeVar("_Read")
_AGAIN = "Copy the file again from where it was made, or make the run again."


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its name in the metadata, the newest version that this fmap reads, what it is called, and by
    which command it is written.
    """

    format: str
    version: int
    called: str
    written_by: str

    @property
    def metadata(self) -> dict[str, str]:
        return {"format": self.format, "version": str(self.version)}


def read_safely(path: Path, kind: FileKind, read: Callable[[Any], _Read]) -> _Read:
    """What `read` makes of an open file of this kind. Raises FmapError for whatever else stands at `path`."""
    from safetensors import SafetensorError, safe_open

    _check_start(path, kind)
    try:
        with safe_open(path, framework="numpy") as file:
            _check_version(path, kind, file.metadata() or {})
            return read(file)
    except DamagedError as error:
        raise FmapError(f"{path} is damaged: {error}.", hint=_AGAIN) from None
    except (SafetensorError, OSError) as error:
        raise FmapError(f"{path} is damaged: {error}.", hint=_AGAIN) from error
    except MemoryError as error:
        raise FmapError(f"{path} holds more than fits into memory.") from error


def _check_start(path: Path, kind: FileKind) -> None:
    """Tell what is no run, or only a part of one, by its first bytes and its length."""
    try:
        if path.is_dir():
            raise FmapError(f"{path} is a directory, not {kind.called}.", hint="Give a file's name.")
        if path.exists() and not path.is_file():
            raise FmapError(f"{path} is not a regular file.", hint="Copy it into a file first.")
        with path.open("rb") as stream:
            head = stream.read(9)
        size = path.stat().st_size
    except FileNotFoundError:
        raise FmapError(f"no such file: {path}", hint="Check the path and the name's spelling.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise FmapError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if not head:
        raise FmapError(f"{path} is empty.", hint=_AGAIN)
    # Eight bytes: the length of a JSON header, below 100 MB, that follows at once.
    header = int.from_bytes(head[:8], "little")
    if head[8:] not in (b"{", b"") or header > 100_000_000:
        raise FmapError(
            f"{path} is not {kind.called}: it does not start as a safetensors file.",
            hint=f"Expected: a file that `{kind.written_by}` wrote.",
        )
    if size < 8 or size < 8 + header or size < 8 + header + _data_length(path, header):
        raise FmapError(f"{path} is cut: its end is missing.", hint=_AGAIN)


def _data_length(path: Path, length: int) -> int:
    """How many bytes the header says come after it; 0 for a header that safetensors will refuse."""
    with path.open("rb") as stream:
        stream.seek(8)
        try:
            header = json.loads(stream.read(length))
            ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
            return max((end for end in ends if isinstance(end, int)), default=0)
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return 0


def _check_version(path: Path, kind: FileKind, about: dict[str, str]) -> None:
    if about.get("format") != kind.format:
        raise FmapError(
            f"{path} is not {kind.called}: it is a safetensors file of something else.",
            hint=f"Expected: a file that `{kind.written_by}` wrote.",
        )
    version = about.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):
        raise DamagedError(f"its version is {version!r}, expected a number")
    if int(version) > kind.version:
        raise FmapError(
            f"{path} was written by a newer fmap (version {version}); this one reads {kind.version}.",
            hint="Update fmap: `pip install --upgrade fmap-cli`.",
        )


def array_in(file: Any, name: str, types: Iterable[str], shape: tuple[int | None, ...]) -> np.ndarray:
    from safetensors import SafetensorError

    try:
        view = file.get_slice(name)
    except SafetensorError:  # asking for all names first takes longer than reading, where there are thousands
        raise DamagedError(f"it has no {name!r}") from None
    if view.get_dtype() not in types:
        raise DamagedError(f"{name!r} is {view.get_dtype()}, expected {' or '.join(types)}")
    found = view.get_shape()
    fits = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
    if not fits:
        expected = ["any" if want is None else want for want in shape]
        raise DamagedError(f"{name!r} has the shape {found}, expected [{', '.join(map(str, expected))}]")
    values: np.ndarray = file.get_tensor(name)
    return values
