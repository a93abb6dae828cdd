"""The figures' files of `fmap filters`: one a layer, under names made of model and layer."""

from __future__ import annotations

from pathlib import Path

from ..drawing.files import FreeNames
from ..files import make_directory
from .records import Drawing, Filters


def write_figures(found: Filters, drawing: Drawing, file: Path | None, directory: Path | None) -> list[str]:
    """Draw each layer into one `file`, or into a directory, the current one unless it is named. Raises OutputError."""
    if directory is not None:
        make_directory(directory)
    names, written = FreeNames(directory or Path()), []
    for each in found.layers:
        path = file or names.path("filters", found.origin.model, each.layer.name)
        found.figure(each.layer.name, drawing).save(path)
        written.append(str(path))
    return written
