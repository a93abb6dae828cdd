"""What every verb returns: a record that prints itself, draws itself and writes itself.

A subject's records inherit from `Result` or `Drawn` and name their own table, document and figure; nothing of that is
imported before it is asked for.
"""

from __future__ import annotations

import html
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from .drawing.scene import Scene

FIGURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
_WIDTH = 120
"""Columns of a table that goes to no terminal."""


class Figure:
    """A page as fmap draws it. A notebook shows it, `save` writes it, `image` is it as a Pillow image."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene

    def save(self, path: str | Path) -> Path:
        """Write the page as `.png`, `.jpg`, `.webp`, `.pdf` or `.svg`: whole, or not at all. Raises OutputError."""
        from .drawing.files import write_scene
        from .files import write_file

        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in FIGURE_SUFFIXES:
            raise OutputError(f"{path} is no figure's file: it has to end in {', '.join(FIGURE_SUFFIXES)}.")
        write_file(path, lambda file: write_scene(self.scene, file, suffix))
        return path

    def image(self) -> Image:
        """The page as an RGB image, `width` × `height` pixels."""
        from .drawing.raster import rasterise

        return rasterise(self.scene)

    def _repr_png_(self) -> bytes:
        from .drawing.raster import write_image

        held = io.BytesIO()
        write_image(self.image(), held, ".png")
        return held.getvalue()

    def __repr__(self) -> str:
        return f"<Figure, {self.scene.width} × {self.scene.height} px>"


class Result:
    """A record that a verb returns."""

    __slots__ = ()

    def document(self) -> dict[str, Any]:
        """What `--json` prints, as Python's own dicts, lists, numbers and strings."""
        raise NotImplementedError

    def csv(self) -> str:
        """What `--csv` prints; of results that are no list of rows there is none, which raises OutputError."""
        raise OutputError(f"{type(self).__name__} is no list of rows: there is no CSV of it.", hint="Use document().")

    def print(self) -> None:
        """Print the table that the command prints, on standard output."""
        raise NotImplementedError

    def table(self, width: int = _WIDTH) -> str:
        """The table that the command prints in a terminal of so many columns, as plain text."""
        from .tables.table import held_console

        with held_console(width) as out:
            self.print()
        return out.export_text(styles=False)

    def save(self, path: str | Path) -> Path:
        """Write the document (`.json`), the rows (`.csv`) or, where there is one, the figure: by the file's suffix."""
        from .documents import dumps, utf8
        from .files import write_file

        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in (".json", ".csv"):
            raise OutputError(f"{path}: there is no such file of {type(self).__name__}.", hint="Write .json or .csv.")
        text = f"{dumps(self.document())}\n" if suffix == ".json" else self.csv()
        write_file(path, lambda file: file.write(utf8(text)))
        return path

    def _repr_html_(self) -> str:
        """What a notebook shows: the table."""
        style = "font-family: monospace; line-height: 1.3; white-space: pre; overflow-x: auto"
        return f'<pre style="{style}">{html.escape(self.table())}</pre>'


class Drawn(Result):
    """A result that a figure shows best: a notebook shows that."""

    __slots__ = ()

    def figure(self) -> Figure:
        """The figure that the command draws."""
        raise NotImplementedError

    def save(self, path: str | Path) -> Path:
        if Path(path).suffix.lower() in FIGURE_SUFFIXES:
            return self.figure().save(path)
        return super().save(path)

    def _repr_png_(self) -> bytes:
        return self.figure()._repr_png_()

    _repr_html_ = None  # type: ignore[assignment] # a notebook would take it over the picture
