"""What a user can cause, and what to do about it; and the exit codes that tell a shell how fmap ended.

Anything a user can cause raises a subclass of `FmapError`; anything else is a bug and keeps its traceback.
This room knows nothing of the command line: `cli` turns an `FmapError` into one or two lines and `FAILED`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

# How fmap ends; docs/exit-codes.md says the same in a table.
DONE = 0
FAILED = 1
"""Something the user can mend, in a line or two on stderr; or one of several images gave no result."""
MISUSED = 2
"""A wrong command line; Click's own code for it."""
CHECK_FAILED = 3
"""`--check` found what it was to look for."""
INTERRUPTED = 130
"""Ctrl-C: 128 and the number of SIGINT."""
NOT_READ = 141
"""Whoever read standard output has stopped: 128 and the number of SIGPIPE."""


def ended_by(signal: int) -> int:
    """What a shell expects of a program that a signal ended.

    >>> ended_by(2) == INTERRUPTED, ended_by(15)
    (True, 143)
    """
    return 128 + signal


class FmapError(Exception):
    """A failure the user can mend.

    `message` says what was received and what was expected, in one line; `hint` says what to try next.

    >>> print(FmapError("no such file: cat.jpg", hint="Without an image, the sample is taken."))
    no such file: cat.jpg
    Without an image, the sample is taken.
    """

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        # One line each, whatever text of a library or a file name went into them.
        self.message = _one_line(message)
        self.hint = _one_line(hint) if hint else None
        super().__init__(self.message)

    def bare(self) -> FmapError:
        """What it says, to be kept: an error that was raised keeps alive all that its frames hold, a whole photo."""
        return type(self)(self.message, hint=self.hint)

    def __str__(self) -> str:
        """Both lines for who called a function; the command line prints `message` and `hint` as they are."""
        return in_python(f"{self.message}\n{self.hint}" if self.hint else self.message)


def _one_line(text: str) -> str:
    return " ".join(text.split())


_VERBS = {"show": "feature_maps", "rf": "receptive_fields", "models": "list_models"}
"""The functions whose commands have other names."""

_ARGUMENTS = {"class": "class_", "inference": "modes='inference'", "range": "value_range"}
"""What options are called in Python where that is not their own name."""


def in_python(text: str) -> str:
    """A sentence that speaks of commands and options, in the words of who calls functions.

    >>> in_python("Try another --size, or --memory-format contiguous: `fmap layers` lists them.")
    'Try another size, or memory_format contiguous: `layers` lists them.'
    >>> in_python("`fmap rf IMAGE --layer L --at max` draws it; `--weights random` needs no download.")
    '`unit(image, layer="L", at="max")` draws it; `weights="random"` needs no download.'
    >>> in_python("`fmap models 'resnet*'` lists them.")
    '`list_models("resnet*")` lists them.'
    """
    text = re.sub(r"`([^`]*)`", lambda found: f"`{_call(found[1])}`", text)
    return re.sub(r"(?<![\w-])--([a-z][a-z-]*)", lambda found: _argument(found[1]), text)


def _argument(option: str) -> str:
    return _ARGUMENTS.get(option, option.replace("-", "_"))


def _call(command: str) -> str:
    """A command line, or options alone, as a call or its arguments; anything else as it is."""
    try:
        words = shlex.split(command)
    except ValueError:  # an apostrophe
        words = command.split()
    verb = words[1] if words[:1] == ["fmap"] and len(words) > 1 else ""
    if not verb and not command.startswith("--"):
        return command
    if not verb and len(words) == 1:
        return _argument(words[0][2:])
    given: list[str] = []
    rest = words[2:] if verb else words
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            given.append(word.lower() if word.isupper() else f'"{word}"')
        elif rest and not rest[0].startswith("--"):
            values = [_value(rest.pop(0))]
            while rest[:1] == [word] and len(rest) > 1:  # an option that is given several times
                values.append(_value(rest[1]))
                del rest[:2]
            value = values[0] if len(values) == 1 else f"[{', '.join(values)}]"
            given.append(f"{_argument(word[2:])}={value}")
        else:
            given.append(f"{_argument(word[2:])}=True")
    if verb == "rf" and "--effective" in words:
        verb, given = "effective_field", [each for each in given if each != "effective=True"]
    elif verb == "rf" and "--at" in words:
        verb = "unit"
    called = _VERBS.get(verb, verb)
    return ", ".join(given) if not verb else f"{called}({', '.join(given)})" if given else called


def _value(text: str) -> str:
    """What an option is given, as Python has it: a number, several, or text.

    >>> _value("28"), _value("3,28,28"), _value("random")
    ('28', '(3, 28, 28)', '"random"')
    """
    if re.fullmatch(r"-?\d+(\.\d+)?(,-?\d+(\.\d+)?)*", text):
        return f"({text.replace(',', ', ')})" if "," in text else text
    return f'"{text}"'


class ImageError(FmapError):
    """An image that cannot be read, or does not fit the model."""


class ModelError(FmapError):
    """A model that is unknown, cannot be built, or fails when it runs."""


class WeightsError(FmapError):
    """Weights that are unknown, cannot be fetched or read, or do not fit the model."""


class LayerError(FmapError):
    """A layer pattern that names nothing, or a layer that cannot be shown as asked."""


class DeviceError(FmapError):
    """A device or dtype that is absent, or refuses the model."""


class OutputError(FmapError):
    """A file that cannot be written."""


class ImagesFailedError(FmapError):
    """Of several images none gave a result. `failures` names each with its reason."""

    def __init__(self, failures: Sequence[tuple[str, FmapError]]) -> None:
        self.failures = tuple(failures)
        name, reason = self.failures[0]
        super().__init__(f"none of the {len(failures)} images gave a result; the first, {name}: {reason.message}")

    def bare(self) -> FmapError:
        return ImagesFailedError(self.failures)
