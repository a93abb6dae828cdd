"""Tables in terminals of every width: nothing is lost, and nothing is read as markup."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fmap_cli.models import catalog
from fmap_cli.models.table import print_models
from fmap_cli.tables.table import Column, console, folded, print_table

Run = Callable[..., Any]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def printed(width: int, columns: list[Column], rows: list[list[str | Text]], **options: Any) -> list[str]:
    out = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False, **options)
    print_table(out, columns, rows)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]  # type: ignore[attr-defined]


COLUMNS = [Column("layer"), Column("type", least=6), Column("shape", right=True), Column("mean", right=True)]
ROWS: list[list[str | Text]] = [
    ["features.1.0.conv", "Conv2dNormActivation", "[1, 64, 112, 112]", "-1.05e+30"],
    ["x", "add", "[1]", "0"],
]


@pytest.mark.parametrize("width", [20, 40, 50, 55, 60, 66, 72, 80, 160])
def test_whatever_the_width_names_and_numbers_are_whole_and_on_one_line(width: int) -> None:
    lines = printed(width, COLUMNS, ROWS)
    text = "\n".join(lines)
    for word in ("features.1.0.conv", "[1, 64, 112, 112]", "-1.05e+30"):
        assert word in text, word
    assert any("[1, 64, 112, 112]" in line and "-1.05e+30" in line for line in lines), "a layer's numbers on one line"
    assert re.search(r"Conv2d.*Norm.*Activa.*tion", text, re.DOTALL)
    if width >= 55:  # narrower than a row of numbers, lines may be longer
        assert max(cell_len(line) for line in lines) <= width


def test_columns_share_a_line_where_there_is_room() -> None:
    assert len(printed(160, COLUMNS, ROWS)) == 2 + 2
    wide = printed(160, COLUMNS, ROWS)[0]
    assert wide.split() == ["layer", "type", "shape", "mean"]


def test_numbers_stand_under_one_another_in_the_narrow_table_too() -> None:
    lines = printed(50, COLUMNS, ROWS)
    numbers = [line for line in lines if line.endswith(("-1.05e+30", " 0", "mean"))]
    assert len(numbers) == 3 and len({len(line) for line in numbers}) == 1


def test_wide_signs_count_as_two() -> None:
    lines = printed(30, [Column("層"), Column("mean", right=True)], [["日本語", "1.5"], ["x", "22.5"]])
    assert len({cell_len(line) for line in lines[2:]}) == 1


def test_names_are_folded_after_signs_that_part_them() -> None:
    name = "features.1.0.attn.shifted_window_attention"
    lines = folded(Text(name), 20).plain.split("\n")
    assert "".join(lines) == name
    assert all(line.endswith((".", "_")) for line in lines[:-1])
    assert [len(line) for line in folded(Text("n" * 50), 20).plain.split("\n")] == [20, 20, 10]


@pytest.mark.parametrize("width", [12, 80])
def test_markup_in_names_is_text(width: int) -> None:
    rows: list[list[str | Text]] = [["[bold]x[/]", ":smile:", "[/red]", "1"]]
    text = "\n".join(printed(width, COLUMNS, rows))
    assert "[bold]x[/]" in text and "[/red]" in text and ":smile:" in text


# -- the commands --------------------------------------------------------------------------------------------------


def at_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_models_lose_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int) -> None:
    at_width(monkeypatch, width)
    for pattern in ("resnet*", None):
        entries = catalog(pattern)
        print_models(entries)
        out = capsys.readouterr().out
        lines = [line.rstrip() for line in out.splitlines()]
        together = re.sub(r"\s", "", out)
        for entry in entries:
            assert any(re.search(rf"(^| ){re.escape(entry.name)}( |$)", line) for line in lines), entry.name
            for weights in entry.weights:
                assert weights.split("_")[0] in together
            if entry.input_size:
                assert f"{entry.input_size[0]} × {entry.input_size[1]}" in out
        if width >= 80 and pattern is not None:
            assert max(map(cell_len, lines)) <= width
        assert lines[-1].startswith(f"{len(entries)} models;")


@pytest.mark.parametrize("width", [80, 160])
def test_layers_are_listed_whole(fmap: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    at_width(monkeypatch, width)
    rows = fmap("layers", "--json").json["layers"]
    lines = fmap("layers").out.splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    start = next(at for at, line in enumerate(lines) if set(line) == {"─"}) + 1
    end = lines.index("", start)
    # A folded name goes on in the next line: the first words together are all names, whole and in order.
    assert "".join(line.split(" ")[0] for line in lines[start:end]) == "".join(row["name"] for row in rows)
    shapes = [f"[{', '.join(map(str, row['shape']))}]" for row in rows]
    assert re.findall(r"\[[\d, ]+\]", "\n".join(lines[start:end])) == shapes


@pytest.mark.parametrize("width", [80, 160])
def test_shows_numbers_stay_on_one_line(fmap: Run, nets: str, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    at_width(monkeypatch, width)
    for model, layer, name in (("odd", "out", "out"), ("long", "n*", "n" * 200), ("markup", "*bold*", "[bold]x[/]")):
        ran = fmap("show", "-m", f"{nets}:{model}", "--size", 16, "-l", layer, "-o", "a.png", "--json")
        row = ran.json["layers"][0]
        out = fmap("show", "-m", f"{nets}:{model}", "--size", 16, "-l", layer, "-o", "a.png").out
        assert name in out
        line = next(line for line in out.splitlines() if str(row["shape"]) in line)
        assert len(line.split("]")[-1].split()) >= 6, line
        assert line.rstrip().endswith("%") or str(row["inf_count"]) in line.split()


def test_no_color_is_honoured_and_colours_come_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, coloured in (("NO_COLOR", "1", False), ("FORCE_COLOR", "1", True)):
        monkeypatch.delenv("NO_COLOR", raising=False)
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        monkeypatch.setenv(name, value)
        monkeypatch.setenv("TERM", "xterm-256color")
        out = console()
        with out.capture() as captured:
            out.print(Text("bar", "blue"))
        assert bool(ANSI.search(captured.get())) == coloured


def test_a_pipe_gets_no_escape_sequences(fmap: Run) -> None:
    assert "\x1b" not in fmap("show").out + fmap("models", "resnet18").out


def test_without_a_terminal_there_is_room_for_all_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width == 160
    at_width(monkeypatch, 77)
    assert console().width == 77
