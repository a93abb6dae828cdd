"""Class names from a file: one a line, or JSON: a list, numbers to names, or names to numbers. Nothing in it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import ModelError

_MOST_BYTES = 16 << 20
_EXPECTED = "a text file with a class a line, or JSON: a list of names, or {number: name}"


def read_labels(path: str | Path) -> tuple[str, ...]:
    """The names of the classes in order. Raises ModelError for a file that does not say them.

    In JSON numbers may stand for names or names for numbers (`class_to_idx`), and a name may be the last of several
    (`["n01440764", "tench"]`).
    """
    try:
        content = _text(Path(path))
    except OSError as error:
        raise ModelError(f"cannot read the labels {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise ModelError(f"{path} holds no labels: {error}", hint=f"Expected {_EXPECTED}.") from error
    try:
        names = _of_json(json.loads(content)) if content.lstrip()[:1] in ("[", "{") else _of_lines(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} holds no labels: {error}", hint=f"Expected {_EXPECTED}.") from error
    return tuple(names)


def _text(file: Path) -> str:
    with file.open("rb") as stream:
        raw = stream.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ValueError("it is larger than 16 MiB")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is not text in UTF-8") from None


def _of_lines(content: str) -> list[str]:
    names = [line.strip() for line in content.rstrip().splitlines()]
    if not names:
        raise ValueError("it is empty")
    empty = next((at for at, name in enumerate(names, start=1) if not name), None)
    if empty is not None:
        raise ValueError(f"line {empty} is empty")
    if any("\0" in name for name in names):
        raise ValueError("it is not text")
    return names


def _of_json(content: Any) -> list[str]:
    if isinstance(content, list):
        named = dict(enumerate(content))
    elif all(isinstance(value, int) for value in content.values()):
        named = {number: name for name, number in content.items()}
        if len(named) < len(content):
            raise ValueError("two names have one number")
    else:
        named = {_number(key): value for key, value in content.items()}
    if not named:
        raise ValueError("it is empty")
    missing = next((number for number in range(len(named)) if number not in named), None)
    if missing is not None:
        raise ValueError(f"it has no name for class {missing}, and {len(named)} names in all")
    return [_name(number, named[number]) for number in range(len(named))]


def _number(key: str) -> int:
    try:
        return int(key)
    except ValueError:
        raise ValueError(f"{key[:40]!r} is not a number of a class") from None


def _name(number: int, value: Any) -> str:
    if isinstance(value, list) and value:
        value = value[-1]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"the name of class {number} is {type(value).__name__ if value else 'empty'}, not text")
    return value.strip()
