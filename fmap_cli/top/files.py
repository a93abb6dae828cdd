"""The contact sheets' files of `fmap top`: one a layer, under names made of model and layer."""

from __future__ import annotations

from pathlib import Path

from ..drawing.files import FreeNames
from ..files import make_directory
from .records import Dossiers, Sort


def write_sheets(
    found: Dossiers, file: Path | None, directory: Path | None, *, sort: Sort, reverse: bool, top: int | None
) -> list[str]:
    """Draw each layer into one `file`, or into a directory, the current one unless it is named. Raises OutputError."""
    if directory is not None:
        make_directory(directory)
    names, written = FreeNames(directory or Path()), []
    for each in found.layers:
        path = file or names.path("top", found.origin.model, each.layer.name)
        found.figure(each.layer.name, sort=sort, reverse=reverse, top=top).save(path)
        written.append(str(path))
    return written
