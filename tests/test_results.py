"""What every verb returns: it prints, draws and writes itself, in a shell's words."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fmap_cli.drawing.scene import Picture, Scene
from fmap_cli.errors import OutputError
from fmap_cli.results import Drawn, Figure, Result
from fmap_cli.tables.columns import Column
from fmap_cli.tables.table import console, print_rows


@dataclass(frozen=True, slots=True)
class Rows(Result):
    rows: tuple[tuple[str, int], ...]

    def document(self) -> dict[str, Any]:
        return {"rows": [list(each) for each in self.rows]}

    def csv(self) -> str:
        return "".join(f"{name},{count}\n" for name, count in self.rows)

    def print(self) -> None:
        columns = [Column("name", "name", lambda row: row[0]), Column("count", "count", lambda row: row[1], right=True)]
        print_rows(console(), columns, self.rows)


@dataclass(frozen=True, slots=True)
class Square(Drawn):
    side: int

    def document(self) -> dict[str, Any]:
        return {"side": self.side}

    def print(self) -> None:
        console().print(self.side)

    def figure(self) -> Figure:
        scene = Scene(width=self.side)
        scene.items.append(Picture(0, 0, np.full((self.side, self.side, 3), 77, np.uint8), (self.side, self.side)))
        scene.height = self.side
        return Figure(scene)


ROWS = Rows((("<b>", 3), ("é", 4)))


def test_a_table_is_what_is_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    ROWS.print()
    assert capsys.readouterr().out == ROWS.table(120)
    assert capsys.readouterr().out == ""


def test_a_notebook_shows_names_as_text() -> None:
    shown = ROWS._repr_html_()
    assert "&lt;b&gt;" in shown and "<b>" not in shown


def test_files_are_written_by_their_suffix(tmp_path: Path) -> None:
    assert json.loads(ROWS.save(tmp_path / "a.json").read_text("utf-8")) == {"rows": [["<b>", 3], ["é", 4]]}
    assert ROWS.save(tmp_path / "a.csv").read_text("utf-8") == "<b>,3\né,4\n"
    for wrong in (tmp_path / "a.png", tmp_path / "a"):
        with pytest.raises(OutputError, match="no such file"):
            ROWS.save(wrong)
        assert not wrong.exists()


def test_a_figure_is_shown_and_written(tmp_path: Path) -> None:
    square = Square(9)
    assert square._repr_png_().startswith(b"\x89PNG")
    assert square._repr_html_ is None
    for suffix in (".png", ".webp"):
        with Image.open(square.save(tmp_path / f"a{suffix}")) as image:
            assert image.size == (9, 9)
            assert image.convert("RGB").getpixel((4, 4)) == (77, 77, 77)
    assert square.save(tmp_path / "a.svg").read_bytes().startswith(b"<?xml")
    with pytest.raises(OutputError, match="is not a list of rows"):
        square.save(tmp_path / "a.csv")
    assert square.figure().image().size == (9, 9)
    with pytest.raises(OutputError, match=r"has to end in \.png"):
        square.figure().save(tmp_path / "a.gif")
