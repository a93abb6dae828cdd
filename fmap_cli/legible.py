"""Text for terminals and files that cannot show all of it: ASCII, Latin-1, cp437, cp1252.

A sign that the encoding lacks becomes the nearest one that everybody can read: `×` an `x`, `→` an arrow of two signs,
a letter with an accent the letter, anything else its number. Nothing that is printed fails for its signs.
"""

from __future__ import annotations

import codecs
import contextlib
import sys
import unicodedata
from collections.abc import Iterator
from typing import Any

_INSTEAD = {
    **dict.fromkeys("–—−‐‑", "-"),
    **dict.fromkeys("·•", "*"),
    **dict.fromkeys("‘’′", "'"),
    **dict.fromkeys("“”„″", '"'),
    **dict.fromkeys("─━╸╺┄═", "-"),
    **dict.fromkeys("│┃║‖▏▕", "|"),
    **dict.fromkeys("█▇▆▓▀▄", "#"),
    **dict.fromkeys("▅▃", "="),
    **dict.fromkeys("▂▁", "_"),
    **dict.fromkeys("░▒", ":"),
    **dict.fromkeys("┌┐└┘├┤┬┴┼╭╮╯╰", "+"),
    **dict.fromkeys("⌊⌈", "["),
    **dict.fromkeys("⌋⌉", "]"),
    "×": "x",
    "…": "...",
    "→": "->",
    "←": "<-",
    "◂": "<",
    "↑": "^",
    "↓": "v",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
    "±": "+-",
    "σ": "std",
    "Σ": "sum",
    "Δ": "d",
    "Φ": "Phi",
    "α": "alpha",
    "ρ": "rho",
    "ω": "omega",
    "∂": "d",
    "√": "sqrt",
    "⁻": "-",
    "½": "1/2",
    "µ": "u",
    "μ": "u",
    "∞": "inf",
}


def substitute(sign: str) -> str:
    r"""What stands for a sign where it cannot be shown, in ASCII.

    >>> [substitute(sign) for sign in "×≤é²→日"]
    ['x', '<=', 'e', '2', '->', '\\u65e5']
    """
    if sign in _INSTEAD:
        return _INSTEAD[sign]
    plain = unicodedata.normalize("NFKD", sign).encode("ascii", "ignore").decode("ascii")
    return plain or sign.encode("ascii", "backslashreplace").decode("ascii")


def unreadable(text: str, encoding: str) -> set[str]:
    """The signs of a text that an encoding lacks.

    >>> sorted(unreadable("3×3 → é", "latin-1")), unreadable("3×3 → é", "utf-8")
    (['→'], set())
    """
    if text.isascii():
        return set()
    return {sign for sign in set(text) if not _is_in(sign, encoding)}


def legible(text: str, encoding: str) -> str:
    """The text with what the encoding lacks replaced.

    >>> legible("mean ± σ of 3×3", "ascii"), legible("mean ± σ of 3×3", "latin-1")
    ('mean +- std of 3x3', 'mean ± std of 3×3')
    """
    for sign in unreadable(text, encoding):
        text = text.replace(sign, substitute(sign))
    return text


def encoding_of(stream: Any) -> str:
    """The stream's encoding; one without any takes every sign."""
    name = getattr(stream, "encoding", None)
    return name if isinstance(name, str) else "utf-8"


def takes_unicode(stream: Any) -> bool:
    """Whether the stream's encoding has every sign there is."""
    return encoding_of(stream).lower().replace("-", "").startswith("utf")


@contextlib.contextmanager
def legible_streams() -> Iterator[None]:
    """Inside, standard output and error take any text.

    Who has said what is to be done with signs that cannot be shown (PYTHONIOENCODING=ascii:replace) is obeyed.
    """
    changed: list[tuple[Any, Any]] = []
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in _DEFAULTS and hasattr(stream, "reconfigure"):
            changed.append((stream, stream.errors))
            stream.reconfigure(errors="fmap.legible")
    try:
        yield
    finally:
        for stream, errors in changed:
            with contextlib.suppress(OSError, ValueError):  # full or closed in between
                stream.reconfigure(errors=errors)


_DEFAULTS = ("strict", "surrogateescape", "backslashreplace")


def _is_in(sign: str, encoding: str) -> bool:
    try:
        sign.encode(encoding)
    except (UnicodeError, LookupError):
        return False
    return True


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(substitute, error.object[error.start : error.end])), error.end


codecs.register_error("fmap.legible", _replaced)
