"""The figures' files of `fmap attention`: one a layer, under names made of image, model and layer."""

from __future__ import annotations

from pathlib import Path

from ..drawing.files import FreeNames
from ..files import make_directory
from .records import Attention


def write_figures(found: Attention, file: Path | None, directory: Path | None) -> list[str]:
    """Draw each layer into one `file`, or into a directory, the current one unless it is named. Raises OutputError."""
    if directory is not None:
        make_directory(directory)
    names, written = FreeNames(directory or Path()), []
    for each in found.layers:
        path = file or names.path(found.image.stem, found.origin.model, f"{each.name}-attention")
        found.figure(each.name).save(path)
        written.append(str(path))
    return written
