"""What may be asked for together, and what may not: the same from the shell and from Python."""

from __future__ import annotations

from typing import Any

from ..arguments.checks import whole
from ..errors import FmapError
from .records import COLOURS, Asked, Drawing


def contradiction(asked: Asked, *, of_channels: bool) -> str | None:
    """Why what is asked for does not fit together, in one sentence; None where it does.

    `of_channels` says that something was asked for that is of single channels' maps, or of boxes.
    """
    fitted = asked.reduce in ("pca", "kmeans")
    if asked.reduce is not None and asked.similar is not None:
        return "--reduce and --similar make two different pictures of a layer: give one of them."
    if of_channels and (asked.reduce is not None or asked.similar is not None):
        return (
            "--reduce and --similar take all channels and draw no boxes: --channels, --top, --by, --all, --scale,"
            " --score and --rf do not go with them."
        )
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


def drawing_of(*, overlay: bool, clip: float | None, cmap: str | None, tile: int | None) -> Drawing:
    """How reduced maps become colours; FmapError for a percentage, a colour map or a height that there is not."""
    from matplotlib import colormaps

    if clip is not None and (isinstance(clip, bool) or not isinstance(clip, (int, float)) or not 0 <= clip < 50):
        raise FmapError(f"clip is {clip!r}: it has to be a percentage from 0 to less than 50.")
    if cmap is not None and cmap not in colormaps:
        raise FmapError(f"cmap is {cmap!r}: Matplotlib has no colour map of that name.", hint="viridis, for one.")
    if tile is not None and not 1 <= (whole(tile) or 0) <= 2048:
        raise FmapError(f"tile is {tile!r}: it has to be a whole number of pixels from 1 to 2048.")
    return Drawing(clip, cmap, tile, overlay)
