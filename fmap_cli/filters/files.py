"""The figures' files of `fmap filters`: one a layer, under names made of model and layer."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ..results import write_each
from .records import Drawing, Filters


def write_figures(found: Filters, drawing: Drawing, file: Path | None, directory: Path | None) -> list[str]:
    """Draw each layer into one `file`, or into a directory, the current one unless it is named. Raises OutputError."""
    names = [each.layer.name for each in found.layers]
    figures = ((("filters", found.origin.model, name), partial(found.figure, name, drawing)) for name in names)
    return write_each(figures, file, directory)
