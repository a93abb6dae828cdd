"""What every verb returns: a record that prints itself, draws itself and writes itself.

A subject's records inherit from `Result` or `Drawn` and name their own table, document and figure; nothing of that is
imported before it is asked for.
"""

from __future__ import annotations

import html
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .errors import OutputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from .drawing.scene import Scene

FIGURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".pdf", ".svg")
ARRAY_SUFFIXES = (".npz", ".safetensors", ".pt")
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
            raise OutputError(f"{path} is not a figure's file: it has to end in {', '.join(FIGURE_SUFFIXES)}.")
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


def write_each(
    figures: Iterable[tuple[tuple[str, str, str], Callable[[], Figure]]], file: Path | None, directory: Path | None
) -> list[str]:
    """Write figures, each drawn when its turn comes, into one `file`, or into a directory, the current one unless it is
    named, under names made of the three parts that come with each. Raises OutputError.
    """
    from .drawing.files import FreeNames
    from .files import make_directory

    if directory is not None:
        make_directory(directory)
    names, written = FreeNames(directory or Path()), []
    for parts, draw in figures:
        written.append(str(draw().save(file or names.path(*parts))))
    return written


class Result:
    """A record that a verb returns."""

    __slots__ = ()

    FILES: ClassVar[tuple[str, ...]] = (".json", ".csv")
    """The suffixes of the files that `save` writes."""

    def document(self) -> dict[str, Any]:
        """What `--json` prints, as Python's own dicts, lists, numbers and strings."""
        raise NotImplementedError

    def csv(self) -> str:
        """What `--csv` prints; of results that are no list of rows there is none, which raises OutputError."""
        raise OutputError(
            f"{type(self).__name__} is not a list of rows: there is no CSV of it.", hint="Use document()."
        )

    def print(self) -> None:
        """Print the table that the command prints, on standard output."""
        raise NotImplementedError

    def table(self, width: int = _WIDTH, **how: Any) -> str:
        """The table that the command prints in a terminal of so many columns, as plain text.

        `how` are the arguments of this result's `print`.
        """
        from .tables.table import held_console

        with held_console(width) as out:
            self.print(**how)
        return out.export_text(styles=False)

    def save(self, path: str | Path) -> Path:
        """Write a file of the form that its suffix says, one of `FILES`: whole, or not at all. Raises OutputError."""
        path = Path(path)
        suffix = path.suffix.lower()
        if suffix not in self.FILES:
            raise OutputError(
                f"{path}: there is no such file of {type(self).__name__}.",
                hint=f"Its name has to end in {', '.join(self.FILES[:-1])} or {self.FILES[-1]}.",
            )
        self._write(path, suffix)
        return path

    def _write(self, path: Path, suffix: str) -> None:
        from .documents import dumps, utf8
        from .files import write_file

        text = f"{dumps(self.document())}\n" if suffix == ".json" else self.csv()
        write_file(path, lambda file: file.write(utf8(text)))

    def __repr__(self) -> str:
        """One line: which network it is of, and how many entries its lists have."""
        origin = getattr(self, "origin", None)
        of = f" of {origin.model}" if origin is not None else ""
        sizes = []
        for name in ("maps", "layers", "images", "bills"):
            found = getattr(self, name, 0)
            count = found if isinstance(found, int) else len(found)
            if count:
                sizes.append(f"{count} {name.removesuffix('s') if count == 1 else name}")
        return f"<{type(self).__name__}{of}{': ' if sizes else ''}{', '.join(sizes)}>"

    def _repr_html_(self) -> str:
        """What a notebook shows: the table."""
        style = "font-family: monospace; line-height: 1.3; white-space: pre; overflow-x: auto"
        return f'<pre style="{style}">{html.escape(self.table())}</pre>'


class Drawn(Result):
    """A result that a figure shows best: a notebook shows that."""

    __slots__ = ()

    FILES: ClassVar[tuple[str, ...]] = (".json", ".csv", *FIGURE_SUFFIXES)

    def figure(self) -> Figure:
        """The figure that the command draws."""
        raise NotImplementedError

    def _write(self, path: Path, suffix: str) -> None:
        if suffix in FIGURE_SUFFIXES:
            self.figure().save(path)
        else:
            super()._write(path, suffix)

    def _repr_png_(self) -> bytes:
        return self.figure()._repr_png_()

    _repr_html_ = None  # type: ignore[assignment] # a notebook would take it over the picture
