"""A source's bytes: a file, a pipe, standard input or memory as a stream that can go back to its start."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from ..errors import ImageError
from .held import HeldImage

if TYPE_CHECKING:
    pass


_STREAM_LIMIT_BYTES = 1 << 30  # a pipe or a device has no size to look at: /dev/zero would never end


@contextmanager
def opened(source: str, label: str, stdin: BinaryIO | None) -> Iterator[BinaryIO]:
    """A seekable stream at its start: a file as it is, a pipe or device read into memory."""
    if source == "-":
        yield _read_stdin(stdin)
        return
    if isinstance(source, HeldImage):
        yield source.open()
        return
    path = Path(source)
    try:
        if path.is_dir():
            raise ImageError(
                f"{label} is a directory, not an image.",
                hint=f"Name the files in it, for example {path / '*.jpg'}",
            )
        file = path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"no such file: {label}", hint=_missing_hint(source)) from None
    except PermissionError:
        raise ImageError(
            f"{label} cannot be read: permission denied.", hint=f"Look at its permissions: ls -l {label}"
        ) from None
    except (OSError, ValueError) as error:  # ValueError: a null byte in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageError(f"{label} cannot be read: {reason}.") from None
    with file:
        yield file if path.is_file() else _read_whole(file, label)


def _missing_hint(source: str) -> str:
    if re.match(r"https?://", source):
        return f"fmap reads files, not addresses: curl -sL {source} | fmap show -"
    if source and not re.search(r"[/\\]|\.\w*[a-z]\w*$", source):
        both = f"--model {source} or --layer {source}"
        return f"Is {source} a model or a layer? Then write {both}. Else check the path and the name's spelling."
    return "Check the path and the name's spelling."


def first_bytes(stream: BinaryIO, label: str) -> bytes:
    try:
        start = stream.read(32)
        stream.seek(0)
    except OSError as error:
        raise ImageError(f"{label} cannot be read: {error.strerror or error}.") from None
    if not start:
        raise ImageError(f"{label} is empty (0 bytes).", hint="Check the program or copy that wrote it.")
    return start


def _read_stdin(stdin: BinaryIO | None) -> BinaryIO:
    stream = stdin or getattr(sys.stdin, "buffer", None)
    hint = "Pipe an image into it, for example: fmap show - < photo.jpg"
    if stream is None or stream.isatty():
        raise ImageError("no image on standard input.", hint=hint)
    whole = _read_whole(stream, "standard input")
    if not whole.getbuffer().nbytes:
        raise ImageError("standard input is empty (0 bytes).", hint=hint)
    return whole


def _read_whole(stream: BinaryIO, label: str) -> io.BytesIO:
    whole = io.BytesIO()
    try:
        while chunk := stream.read(1 << 20):
            whole.write(chunk)
            if whole.tell() > _STREAM_LIMIT_BYTES:
                raise ImageError(
                    f"{label} gives more than {_STREAM_LIMIT_BYTES:,} bytes: too much for an image.",
                    hint="Name a file, or pipe in one image.",
                )
    except OSError as error:
        raise ImageError(f"{label} cannot be read: {error.strerror or error}.") from None
    whole.seek(0)
    return whole


def damaged(label: str, reason: str) -> ImageError:
    word = "truncated" if "truncated" in reason.lower() else "truncated or damaged"
    reason = reason.rstrip(".")
    return ImageError(
        f"{label} is {word}: {reason}." if reason else f"{label} is {word}.",
        hint="Copy or download it again; half a picture is refused, not shown.",
    )
