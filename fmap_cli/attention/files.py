"""The figures' files of `fmap attention`: one a layer, under names made of image, model and layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..results import write_each
from .records import Attention


def write_figures(found: Attention, file: Path | None, directory: Path | None) -> list[str]:
    """Draw each layer into one `file`, or into a directory, the current one unless it is named. Raises OutputError."""
    start = found.image.stem, found.origin.model
    figures = (((*start, f"{each.name}-attention"), partial(found.figure, each.name)) for each in found.layers)
    return write_each(figures, file, directory)
