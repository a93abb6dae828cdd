"""What an error says, in the words of the command line."""

from __future__ import annotations

from fmap_cli.errors import FmapError


def both_lines(error: FmapError) -> str:
    """Both lines, as the command line prints them; `str(error)` has them in the words of who calls functions."""
    return f"{error.message}\n{error.hint}" if error.hint else error.message
