"""The contact sheets' files of `fmap top`: one a layer, under names made of model and layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..results import write_each
from .records import Dossiers, Sort


def write_sheets(
    found: Dossiers, file: Path | None, directory: Path | None, *, sort: Sort, reverse: bool, top: int | None
) -> list[str]:
    """Draw each layer into one `file`, or into a directory, the current one unless it is named. Raises OutputError."""
    draw = partial(found.figure, sort=sort, reverse=reverse, top=top)
    names = [each.layer.name for each in found.layers]
    figures = ((("top", found.origin.model, name), partial(draw, name)) for name in names)
    return write_each(figures, file, directory)
