"""Models that have names: all of them, those of a pattern, and those nearest to a name that there is not."""

from __future__ import annotations

import difflib
import fnmatch

from ..errors import ModelError
from .records import ModelEntry
from .sources import SOURCES, Source


def catalog(pattern: str | None = None) -> list[ModelEntry]:
    """Every model that has a name, the embedded one first, from metadata alone: no model is built.

    `pattern` is a glob or a part of the name, in any case; `timm:PATTERN` lists timm's models instead. Raises
    ModelError where nothing matches.

    >>> [entry.name for entry in catalog("resnet1?")]
    ['resnet18']
    """
    prefix = _prefix_of(pattern or "")
    bare = (pattern or "")[len(prefix) :]
    glob = bare.lower() if any(c in bare for c in "*?[") else f"*{bare.lower()}*"
    found = [
        source.names.entry(name)
        for source in _under(prefix)
        for name in source.names.names()
        if fnmatch.fnmatchcase(name.lower(), glob)
    ]
    if not found:
        whose = f"no model of {_owner(prefix)}'s" if prefix else "no model's name"
        raise ModelError(f"{whose} matches {bare!r}", hint=near(bare.strip("*?[]"), prefix))
    return found


def near(name: str, prefix: str = "") -> str:
    """The names most like this one, and where all are listed: what to try instead."""
    known = {each.lower(): each for source in _under(prefix) for each in source.names.names()}
    matches = [prefix + known[match] for match in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)]
    wished = f"Did you mean {' or '.join(matches)}? " if matches else ""
    if not prefix:
        return f"{wished}`fmap models` lists all; your own network is `--model path/to/file.py:factory`."
    return f"{wished}`fmap models '{prefix}PATTERN'` lists {_owner(prefix)}'s, say `fmap models '{prefix}resnet*'`."


def unknown(name: str) -> ModelError:
    """For a name without a prefix that no source has."""
    for source in SOURCES:
        if source.prefix and source.names.has(name):
            return ModelError(
                f"torchvision has no model {name!r}",
                hint=f"{_owner(source.prefix)} has: `--model {source.prefix}{name}`.",
            )
    return ModelError(f"unknown model {name!r}", hint=near(name))


def _prefix_of(pattern: str) -> str:
    return next((each.prefix for each in SOURCES if each.prefix and pattern.lower().startswith(each.prefix)), "")


def _under(prefix: str) -> list[Source]:
    return [source for source in SOURCES if source.prefix == prefix]


def _owner(prefix: str) -> str:
    return prefix.rstrip(":")
