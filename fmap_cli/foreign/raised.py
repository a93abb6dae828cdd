"""What code that is not fmap's raised, in words: which error, its first line, and the place in the user's own code.

An error may be of any class, and its text is made by code as strange as what raised it: that may raise again, take
many lines or none, or be a million characters long.
"""

from __future__ import annotations

import sysconfig
import traceback
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

_LONGEST = 300
"""So many characters of a message are shown."""
_SHORT = 50
"""A first line of fewer characters may be half a sentence, or a heading."""
_READ = 10_000
"""So many are looked at."""


def text(error: BaseException) -> str:
    """The error's message, or its beginning where it is long; empty where it has none.

    >>> text(ValueError("no such thing")), text(ValueError())
    ('no such thing', '')
    """
    try:
        return str.__getitem__(str(error), slice(_READ))
    except BaseException:  # whatever its own `__str__` raises
        return ""


def first_line(error: BaseException, otherwise: str = "no message") -> str:
    r"""The first line of the error's message; with it those that follow, as long as all that is short.

    >>> first_line(ValueError("\n  no such\nthing")), first_line(ValueError())
    ('no such thing', 'no message')
    >>> first_line(ValueError("a first line that is long enough to say all there is to say\nand more"))
    'a first line that is long enough to say all there is to say'
    """
    lines = [line.strip() for line in text(error).splitlines() if line.strip()]
    line = ""
    while lines and len(line) < _SHORT:
        line = f"{line} {lines.pop(0)}".strip()
    return (line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…") or otherwise


def what(error: BaseException) -> str:
    """The error's class and the first line of its message.

    >>> what(ValueError("no such thing")), what(KeyError()), what(SystemExit(3))
    ('ValueError: no such thing', 'KeyError', 'it called sys.exit(3)')
    """
    if isinstance(error, SystemExit):
        return f"it called sys.exit({_shown(error.code)})"
    if isinstance(error, SyntaxError):
        return f"{_name(error)}: {error.msg}"
    line = first_line(error, "")
    return f"{_name(error)}: {line}" if line else _name(error)


def told(error: BaseException) -> str:
    """Which error it is, and in brackets the file and line that raised it where one can be named.

    That is the innermost place in the user's own code; else in an installed package other than torch.
    """
    place = _place(error)
    return f"{what(error)} ({place})" if place else what(error)


def is_foreign(error: BaseException) -> bool:
    """Whether it is code of the user's own that failed, and none of fmap's that it called."""
    files = [_file(frame) for frame, _ in traceback.walk_tb(error.__traceback__)]
    return next((_is_own(file) for file in reversed(files) if _is_own(file) or _is_within(file, _HERE)), False)


def _name(error: BaseException) -> str:
    try:
        return str(type(error).__name__)
    except BaseException:  # a metaclass may say anything
        return "an error"


def _shown(value: object) -> str:
    try:
        return repr(value)[:_LONGEST]
    except BaseException:
        return "…"


# -- places ------------------------------------------------------------------------------------------------------


def _place(error: BaseException) -> str | None:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{_relative(error.filename)}:{error.lineno}"
    frames = [(_file(frame), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    own = [each for each in frames if _is_own(each[0])]
    installed = [each for each in frames if _is_installed(each[0]) and not _is_within(each[0], _torch())]
    found = own or installed
    return f"{_relative(found[-1][0])}:{found[-1][1]}" if found else None


def _file(frame: FrameType) -> str:
    name: Any = frame.f_code.co_filename
    return str(name)


def _is_own(file: str) -> bool:
    """Neither fmap's, nor Python's, nor of an installed package, nor of no file at all."""
    return not (file.startswith("<") or _is_installed(file) or _is_within(file, _HERE, *_pythons()))


def _is_installed(file: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts) and not _is_within(file, _HERE)


def _is_within(file: str, *folders: str) -> bool:
    return any(file.startswith(folder) for folder in folders if folder)


_HERE = f"{Path(__file__).parent.parent}/"


@cache
def _pythons() -> tuple[str, ...]:
    return tuple(f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib"))


def _torch() -> str:
    import sys

    file = getattr(sys.modules.get("torch"), "__file__", None)
    return f"{Path(file).parent}/" if file else ""


def _relative(file: str) -> str:
    """The path as the user would write it: relative where it is below the current directory."""
    try:
        return str(Path(file).relative_to(Path.cwd()))
    except (OSError, ValueError):
        return file
