"""Tables in terminals of every width: nothing is lost, and nothing is read as markup."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from fmap_cli.models import catalog
from fmap_cli.models.table import print_models
from fmap_cli.tables.columns import SPARE, Column, Short, csv_table, in_table, json_row
from fmap_cli.tables.folding import folded
from fmap_cli.tables.table import console, print_rows

Run = Callable[..., Any]
ANSI = re.compile(r"\x1b\[[0-9;]*m")


def printed(width: int, columns: list[Column[Any]], rows: list[list[str | Text]], **options: Any) -> list[str]:
    """The lines of a table of which the n-th column is each row's n-th entry."""
    out = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False, **options)
    numbered = [replace(column, cell=lambda row, at=at: row[at]) for at, column in enumerate(columns)]
    print_rows(out, numbered, rows)
    return [line.rstrip() for line in out.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def titled(title: str, **options: Any) -> Column[Any]:
    return Column(title, title, **options)


COLUMNS = [titled("layer"), titled("type", least=6), titled("shape", right=True), titled("mean", right=True)]
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
        assert max(cell_len(line) for line in lines[:3]) <= width


def test_columns_share_a_line_where_there_is_room() -> None:
    assert len(printed(160, COLUMNS, ROWS)) == 2 + 2
    wide = printed(160, COLUMNS, ROWS)[0]
    assert wide.split() == ["layer", "type", "shape", "mean"]


def test_numbers_stand_under_one_another_in_the_narrow_table_too() -> None:
    lines = printed(50, COLUMNS, ROWS)
    numbers = [line for line in lines if line.endswith(("-1.05e+30", " 0", "mean"))]
    assert len(numbers) == 3 and len({len(line) for line in numbers}) == 1


def test_wide_signs_count_as_two() -> None:
    lines = printed(30, [titled("層"), titled("mean", right=True)], [["日本語", "1.5"], ["x", "22.5"]])
    assert len({cell_len(line) for line in lines[2:]}) == 1


def test_names_are_folded_after_signs_that_part_them() -> None:
    name = "features.1.0.attn.shifted_window_attention"
    lines = folded(Text(name), 20).plain.split("\n")
    assert "".join(lines) == name
    assert all(line.endswith((".", "_")) for line in lines[:-1])
    assert [len(line) for line in folded(Text("n" * 50), 20).plain.split("\n")] == [20, 20, 10]


def test_a_name_too_long_for_its_column_has_a_line_of_its_own_and_is_never_broken() -> None:
    long = "features.2.1.stochastic_depth.stochastic_depth"
    columns = [titled("layer", least=8), titled("type"), titled("shape", right=True)]
    rows: list[list[str | Text]] = [["conv1", "convolution", "[1, 16, 112, 112]"], [long, "pad", "[1]"], [long, "", ""]]
    lines = printed(60, columns, rows)
    assert [lines[-3], lines[-1]] == [long, long]
    assert lines[-2].split() == ["pad", "[1]"] and lines[-2].index("pad") == lines[0].index("type")


@pytest.mark.parametrize("width", [12, 80])
def test_markup_in_names_is_text(width: int) -> None:
    rows: list[list[str | Text]] = [["[bold]x[/]", ":smile:", "[/red]", "1"]]
    text = "\n".join(printed(width, COLUMNS, rows))
    assert "[bold]x[/]" in text and "[/red]" in text and ":smile:" in text


# -- what there is no room for ------------------------------------------------------------------------------------

SEVEN = ["features.0", "a note", "words", "12,345,678", "0.5", "", "–"]
NAMES = [
    titled("layer", least=8, cut="start"),
    titled("note", priority=1),
    titled("word", priority=2),
    titled("count", right=True, short=Short(3, "n", lambda row: "12.3 M")),
    titled("mean", right=True, priority=6),
    titled("NaN", right=True, optional=True),
    titled("Inf", right=True, optional=True),
]


@pytest.mark.parametrize(
    ("width", "gap", "columns", "left_out"),
    [
        (47, 3, {"layer": 10, "note": 6, "word": 5, "count": 10, "mean": 4}, ""),
        (46, 2, {"layer": 10, "note": 6, "word": 5, "count": 10, "mean": 4}, ""),
        (41, 2, {"layer": 8, "note": 6, "word": 5, "count": 10, "mean": 4}, ""),  # a name has 8 at least
        (40, 3, {"layer": 10, "word": 5, "count": 10, "mean": 4}, "note; --json has it"),
        (37, 2, {"layer": 10, "word": 5, "count": 10, "mean": 4}, "note; --json has it"),
        (33, 2, {"layer": 8, "word": 5, "count": 10, "mean": 4}, "note; --json has it"),
        (32, 3, {"layer": 10, "count": 10, "mean": 4}, "note, word; --json has them"),
        (26, 2, {"layer": 8, "count": 10, "mean": 4}, "note, word; --json has them"),
        (25, 2, {"layer": 10, "n": 6, "mean": 4}, "note, word; --json has them"),  # in millions
        (22, 2, {"layer": 8, "n": 6, "mean": 4}, "note, word; --json has them"),
        (21, 1, {"layer": 9, "n": 6, "mean": 4}, "note, word; --json has them"),
        (19, 3, {"layer": 10, "n": 6}, "note, word, mean; --json has them"),
        (12, 1, {"layer": 5, "n": 6}, "note, word, mean; --json has them"),
    ],
)
def test_what_matters_least_goes_first_and_is_named(
    width: int, gap: int, columns: dict[str, int], left_out: str
) -> None:
    lines = printed(width, NAMES, [list(SEVEN)])
    right = ("count", "mean", "n")
    heads = [name.rjust(room) if name in right else name.ljust(room) for name, room in columns.items()]
    assert lines[0] == (" " * gap).join(heads)
    assert " ".join(lines[3:]) == (f"not enough room for: {left_out}" if left_out else "")
    assert max(cell_len(line) for line in lines[:3]) <= width


@pytest.mark.parametrize("width", range(10, 61))
def test_a_spare_column_changes_nothing_where_there_is_no_room_for_all(width: int) -> None:
    """Neither is a name cut for it nor does another column go; it is named beside the others."""
    without = printed(width, NAMES, [list(SEVEN)])
    having = printed(width, [*NAMES, titled("rms", right=True, priority=SPARE)], [[*SEVEN, "1.5"]])
    if width >= 35 + 3 + 5 * 2:  # all whole, 2 between
        assert having[0].split() == [*without[0].split(), "rms"]
        assert all(each in having[2] for each in SEVEN if each not in ("", "–"))
    else:
        assert having[:3] == without[:3]
        assert "rms;" in " ".join(having[3:])


def test_a_column_that_json_has_not_is_not_promised_there() -> None:
    columns = [titled("layer"), Column(title="share", priority=1)]
    assert printed(9, columns, [["conv1", "12.5 %"]])[-1].endswith("room: share; a wider terminal has it".split()[-1])
    assert "json" not in " ".join(printed(9, columns, [["conv1", "12.5 %"]]))


def test_one_list_makes_the_table_json_and_csv() -> None:
    columns = [
        Column("name", "layer", lambda row: row[0]),
        Column("shape", None, lambda row: row[1]),
        Column("mean", "mean", lambda row: row[2], "{:.1f}".format),
        Column("axes", "axes", lambda row: None, after="name"),
        Column(title="bar", cell=lambda row: "█"),
    ]
    row = ("conv1", [1, 64], float("inf"))
    assert json_row(columns, row) == {"name": "conv1", "shape": [1, 64], "mean": None, "axes": None}
    assert csv_table(columns, [row]) == "name,shape,mean,axes\nconv1,1 64,inf,\n"
    assert [each.write(row) for each in in_table(columns)] == ["conv1", "–", "inf", "█"]


# -- the commands --------------------------------------------------------------------------------------------------


def at_width(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_models_lose_no_name_and_say_what_else_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: int
) -> None:
    at_width(monkeypatch, width)
    for pattern in ("resnet*", None):
        entries = catalog(pattern)
        print_models(entries)
        out = capsys.readouterr().out
        lines = [line.rstrip() for line in out.splitlines()]
        left_out = next((line for line in lines if line.startswith("not enough room")), "")
        together = re.sub(r"\s", "", out)
        for entry in entries:
            assert any(re.search(rf"(^| ){re.escape(entry.name)}( |$)", line) for line in lines), entry.name
            for weights in entry.weights[:1] if width < 160 else entry.weights:
                assert weights.split("_")[0] in together or "weights" in left_out
            if entry.input_size:
                assert f"{entry.input_size[0]} × {entry.input_size[1]}" in out or "input" in left_out
        assert width < 160 or left_out == ""
        assert max(map(cell_len, lines)) <= width
        assert any(re.match(rf"{len(entries)} models[;.]", line) for line in lines)


@pytest.mark.parametrize("width", [80, 160])
def test_layers_are_listed_whole(fmap: Run, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    at_width(monkeypatch, width)
    rows = fmap("layers", "--json").json["layers"]
    lines = fmap("layers").out.splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    start = next(at for at, line in enumerate(lines) if set(line) == {"─"}) + 1
    end = next(at for at in range(start, len(lines)) if not lines[at] or lines[at].startswith("not enough room"))
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
