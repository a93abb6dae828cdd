"""Whether anything ran that a file asked for: an audit hook on what starts programs, and on an import by name."""

from __future__ import annotations

import sys

import hostile

RAN: list[str] = []
_WATCHED = {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn"}


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if (event in _WATCHED and hostile.MARKER in str(arguments)) or (
        event == "import" and arguments[0] == "antigravity"
    ):
        RAN.append(event)


def begin() -> None:
    """From now on RAN says what has run; it is empty. An audit hook cannot be taken off again: there is one."""
    if not getattr(sys, "_fmap_watched", False):
        sys.addaudithook(_watch)
        sys._fmap_watched = True  # type: ignore[attr-defined]
    RAN.clear()
