"""What may be asked for together, and what may not: the same from the shell and from Python."""

from __future__ import annotations

from typing import Any

from ..arguments.checks import whole
from ..errors import FmapError
from .records import COLOURS, Asked


def contradiction(asked: Asked, *, of_channels: bool) -> str | None:
    """Why what is asked for does not fit together, in one sentence; None where it does.

    `of_channels` says that something was asked for that is of single channels' maps.
    """
    fitted = asked.reduce in ("pca", "kmeans")
    if asked.reduce is not None and asked.similar is not None:
        return "--reduce and --similar make two different pictures of a layer: give one of them."
    if of_channels and (asked.reduce is not None or asked.similar is not None):
        return "--channels, --top, --all and --rf are of single channels, --reduce and --similar take all: give one."
    if asked.clusters is not None and asked.reduce != "kmeans":
        return "--clusters says how many --reduce kmeans makes: give both."
    if asked.foreground and not fitted:
        return "--foreground says which units --reduce pca and kmeans are found from: give both."
    if asked.basis is not None and not fitted:
        return "--basis says which layers share the colours of --reduce pca and kmeans: give both."
    return None


def unit_place(name: str, given: Any) -> tuple[int, ...] | None:
    """A unit's row and column, or frame, row and column; FmapError for anything else."""
    if given is None:
        return None
    places = [] if isinstance(given, str) else list(given) if hasattr(given, "__iter__") else []
    found = [whole(each) for each in places]
    if len(found) not in (2, 3) or any(each is None or each < 0 for each in found):
        raise FmapError(
            f"{name} is {given!r}: it has to be a unit's row and column from 0 (of a clip the frame before)."
        )
    return tuple(each for each in found if each is not None)


def cluster_count(name: str, given: Any) -> int | None:
    """How many clusters, from 2 to as many as there are colours; FmapError for anything else."""
    number = whole(given)
    if given is not None and (number is None or not 2 <= number <= len(COLOURS)):
        raise FmapError(
            f"{name} is {given!r}: it has to be a whole number from 2 to {len(COLOURS)}.",
            hint="More colours could not be told apart.",
        )
    return number
