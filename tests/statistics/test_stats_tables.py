"""What `fmap stats` prints: a row on one line at every width, numbers whole, and nothing read as markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from rich.cells import cell_len
from small_runs import FINDINGS, INF, NAN, normal, odd_run, record, run_of

from fmap_cli import units
from fmap_cli.statistics import columns
from fmap_cli.statistics.columns import SORTS
from fmap_cli.statistics.moments import as_numbers
from fmap_cli.statistics.records import ClassRun, Finding, Progress
from fmap_cli.statistics.reference import channel_stats
from fmap_cli.statistics.spark import spark
from fmap_cli.statistics.table import print_channels, print_classes, print_run

ANSI = re.compile(r"\x1b\[[0-9;]*m")
Printed = Callable[..., list[str]]


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Printed:
    """`printed(width, print_run, ...)`: the lines on standard output."""
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def lines(width: int, function: Callable[..., None], *arguments: Any, **options: Any) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        function(*arguments, **options)
        return capsys.readouterr().out.splitlines()

    return lines


def rule_of(lines: list[str]) -> int:
    """Where the line under the headings is."""
    return next(at for at, line in enumerate(lines) if set(line) == {"─"})


def row_of(lines: list[str], name: str) -> str:
    (row,) = [line for line in lines if line.startswith(f"{name} ")]
    return row


# -- a row a layer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [40, 50, 60, 72, 80, 100, 120, 160])
def test_no_line_is_wider_than_the_terminal(printed: Printed, width: int) -> None:
    run = odd_run(failures=(("bröken 画像.png", "it is not a picture " * 10),))
    run = replace(run, classes=(ClassRun("cats", 2, run.layers), ClassRun("犬" * 30, 2, run.layers)))
    for lines in (
        printed(width, print_run, run, FINDINGS, shown=run.layers, notes=["a note " * 30]),
        printed(width, print_channels, run, run.layers, sort="std", top=50),
        printed(width, print_classes, run, run.layers),
    ):
        assert max(map(cell_len, lines)) <= width
        assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_numbers_are_whole_and_a_row_is_one_line_in_the_order_of_execution(printed: Printed, width: int) -> None:
    run = odd_run()
    lines = printed(width, print_run, run, (), shown=run.layers)
    start = rule_of(lines) + 1
    rows = lines[start : start + len(run.layers)]
    for row, each in zip(rows, run.layers, strict=True):
        whole = as_numbers(each.channels)
        for name in ("mean", "std", "min", "max"):
            assert re.search(rf"(^| ){re.escape(units.number(getattr(whole, name)))}( |$)", row), (name, row)
        # Names keep their end, which is what layers differ in.
        assert each.layer.name[-2:] in row


@pytest.mark.parametrize("width", [80, 160])
def test_the_columns_add_up_to_the_totals(printed: Printed, width: int) -> None:
    layers = [record(f"layer{at}.relu", normal(at + 1, 32, seed=at).relu(), "act", "ReLU") for at in range(9)]
    layers[4].channels.zeros[:2] = layers[4].channels.count
    run = run_of(*layers)
    lines = printed(width, print_run, run, (), shown=run.layers)
    pairs = [re.search(r" (\d+)/(\d+)( |$)", row_of(lines, each.layer.name)) for each in layers]
    dead, channels = (sum(int(pair[at]) for pair in pairs if pair) for at in (1, 2))
    assert dead == 2
    assert lines[-1] == f"9 layers · {channels} channels · 4 images"
    assert channels == sum(range(1, 10))


def test_narrow_drops_type_and_shape_and_wide_has_them(printed: Printed) -> None:
    run = odd_run()
    for width, expected in (
        (160, "layer type shape mean std rms min max zeros dead distribution flags"),
        (80, "layer mean std min max zeros dead distrib. flags"),
    ):
        lines = printed(width, print_run, run, FINDINGS, shown=run.layers[:3])
        assert lines[rule_of(lines) - 1].split() == expected.split()


@pytest.mark.parametrize("width", [30, 40, 50, 60, 72, 80, 100, 120])
def test_what_there_is_no_room_for_is_said(printed: Printed, width: int) -> None:
    run = odd_run()
    short = {"distrib.": "distribution"}

    def titles(width: int) -> tuple[list[str], list[str]]:
        lines = printed(width, print_run, run, FINDINGS, shown=run.layers)
        rule = rule_of(lines)
        rest = " ".join(lines[rule:])
        said = re.search(r"not enough room for: ([\w, ]+); (--json|a wider)", rest)
        return [short.get(each, each) for each in lines[rule - 1].split()], said[1].split(", ") if said else []

    every, nothing = titles(300)
    assert nothing == []
    here, left_out = titles(width)
    assert left_out, "this terminal is too narrow for all"
    assert sorted([*here, *left_out]) == sorted(every)
    assert {"layer", "mean", "std"} <= set(here)
    assert "rms" in left_out


def test_what_does_not_apply_or_is_not_there_is_a_dash(printed: Printed) -> None:
    run = odd_run()
    lines = printed(160, print_run, run, (), shown=run.layers)
    assert re.search(r" 1/8 ", row_of(lines, "features.0.relu"))
    assert row_of(lines, "zeros").split()[-5:] == ["100", "%", "1/1", "│", "dead"], (
        "the flag of what is dead, with no finding"
    )
    for name in ("all_nan", "nothing"):
        dashes = row_of(lines, name).count("–")
        assert dashes == (6 if name == "all_nan" else 5), name  # four moments, the dead channels, zeros among NaN
    assert "~[1, 4, 64, 1]" in row_of(lines, "a_channel_each")


def test_nan_and_inf_have_columns_only_where_there_are_any(printed: Printed) -> None:
    bad = record("bad", [[NAN, 1.0, INF], [NAN, NAN, 1.0]])
    lines = printed(80, print_run, run_of(bad), (), shown=[bad])
    assert lines[rule_of(lines) - 1].split()[-3:] == ["NaN", "Inf", "distribution"]
    assert row_of(lines, "bad").split()[-3:-1] == ["3", "1"]
    fine = record("fine", [[1.0, 2.0]])
    assert "NaN" not in "".join(printed(80, print_run, run_of(fine), (), shown=[fine]))


def test_a_block_is_marked_and_its_distribution_not_drawn_twice(printed: Printed) -> None:
    run = odd_run()
    lines = printed(160, print_run, run, (), shown=run.layers)
    row = row_of(lines, "features.0 =")
    assert not set(row) & set("▁▂▃▄▅▆▇█")
    assert any(line.startswith("=: a container") for line in lines)
    alone = printed(160, print_run, run, (), shown=[run.layers[3]])  # without the layer that it repeats
    assert set(row_of(alone, "features.0 =")) & set("▁▂▃▄▅▆▇█")
    assert alone[-1].startswith("1 of 18 layers")


def test_a_long_name_loses_its_start_and_that_is_said(printed: Printed) -> None:
    run = odd_run()
    lines = printed(80, print_run, run, (), shown=run.layers)
    assert any(line.startswith("…") and line.split()[0].endswith("name.conv") for line in lines)
    assert "…: the start of the name is cut off." in lines
    assert "…" not in "".join(printed(80, print_run, run, (), shown=run.layers[:3]))


def test_names_files_and_findings_are_never_read_as_markup(printed: Printed) -> None:
    run = odd_run(failures=(("[red]x[/].png", "[bold]no"),))
    text = "\n".join(printed(160, print_run, run, FINDINGS, shown=run.layers, written=["[blue]a.png"]))
    for words in ("[red]markup[/red]", "[red]x[/].png: [bold]no", "[bold]-check", "[blue]text[/]", "→ [blue]a.png"):
        assert words in text, words


def test_control_signs_in_a_name_move_no_cursor(printed: Printed) -> None:
    layer = record("a\x1b[2Jb\nc", normal(2, 8))
    lines = printed(80, print_run, run_of(layer), (), shown=[layer], written=["x\ny.png"])
    assert any(line.startswith(r"a\x1b[2Jb\nc ") for line in lines)
    assert r"→ x\ny.png" in lines


@pytest.mark.parametrize("colour", [True, False])
def test_no_color_leaves_the_same_text_without_a_colour(
    printed: Printed, monkeypatch: pytest.MonkeyPatch, colour: bool
) -> None:
    run = odd_run()
    plain = printed(100, print_run, run, FINDINGS, shown=run.layers)
    monkeypatch.setenv("FORCE_COLOR", "1")
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    lines = printed(100, print_run, run, FINDINGS, shown=run.layers)
    assert [ANSI.sub("", line) for line in lines] == plain
    codes = {code for line in lines for each in ANSI.findall(line) for code in each[2:-1].split(";")}
    assert bool(codes & {str(code) for code in range(30, 38)}) is colour
    if colour:
        bad = next(line for line in lines if "some_nan" in line)
        assert "\x1b[1;31m1\x1b[0m" in bad, "one NaN, in red"


def test_an_empty_run_prints_no_row(printed: Printed) -> None:
    lines = printed(80, print_run, run_of(), (), shown=[])
    assert lines[-1] == "0 layers · 0 channels · 4 images"


def test_the_end_names_what_could_not_be_read_and_where_the_run_stopped(printed: Printed) -> None:
    run = odd_run(
        failures=tuple((f"{at}.png", "cut off") for at in range(7)),
        progress=Progress(120, 500, "x"),
    )
    lines = printed(80, print_run, run, (), shown=run.layers)
    end = lines.index("not read: 0.png: cut off")
    assert " ".join(lines[end - 2 : end]).endswith("· 7 could not be read · stopped after 120 of 500")
    assert lines[end + 4 :] == ["not read: 4.png: cut off", "and 2 more, named in --json"]


# -- findings ------------------------------------------------------------------------------------------------------


def test_findings_are_grouped_by_check_in_the_order_of_depth(printed: Printed) -> None:
    run = odd_run()
    lines = printed(100, print_run, run, FINDINGS, shown=run.layers)
    heads = [line for line in lines if re.match(r"(note|warning|error)  ", line)]
    assert heads == [
        "warning  nearly-zero",
        "warning  dead-channels  in 2 layers",
        "note  [bold]-check",
        "error  not-finite",
    ]
    at = lines.index(heads[1])
    assert lines[at + 1 : at + 5] == [
        "  features.0.relu: 1 of 8 channels is dead. Channel 3.",
        "  zeros: 1 of 8 channels is dead. Channel 3.",
        "  Seen over 4 images.",
        "  → Use LeakyReLU.",
    ]
    assert "No findings." in printed(80, print_run, run, (), shown=run.layers)


def test_many_findings_of_a_check_are_cut_and_it_says_how_to_see_them(printed: Printed) -> None:
    run = odd_run()
    many = [
        Finding(each.layer.name, "dead-channels", "note", "dead.", f"over {at} images", "")
        for at, each in enumerate(run.layers)
    ]
    lines = printed(100, print_run, run, many, shown=run.layers)
    assert "  and 12 more; --json lists all" in lines
    assert sum(line.startswith("  ") and "dead. Seen over" in line for line in lines) == 6, (
        "unlike samples: each its own"
    )


def test_flags_are_short_the_gravest_first_and_counted_where_there_is_no_room(printed: Printed) -> None:
    layer = record("conv", normal(4, 8))
    checks = {"dead-channels": "note", "float16-overflow": "warning", "not-finite": "error", "copied-channels": "note"}
    found = [Finding("conv", check, severity, "", "", "") for check, severity in checks.items()]  # type: ignore[arg-type]
    wide = row_of(printed(160, print_run, run_of(layer), found, shown=[layer]), "conv")
    narrow = row_of(printed(60, print_run, run_of(layer), found, shown=[layer]), "conv")
    assert wide.endswith(("NaN fp16 dead copies", "NaN fp16 copies dead"))
    assert narrow.endswith("NaN fp16 +2")


# -- spark lines ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [8, 16])
@pytest.mark.parametrize(
    "values",
    [
        [[1.0, 2.0, 3.0]],
        [[-1.0, 2.0]],
        [[-1e-30, 1e30]],
        [[-1e30, 1e-30]],
        [[0.0, 5.0]],
        [[-5.0, 0.0]],
        [[-70000.0, 1e5, 3e38]],
        [[NAN, 1.0, 2.0]],
        normal(3, 1000).tolist(),
    ],
)
def test_a_spark_line_has_as_many_signs_as_asked_for(values: list[list[float]], cells: int) -> None:
    drawn = spark(channel_stats(torch.tensor(values), "layer"), cells).plain
    assert len(drawn) == cells
    flat = torch.tensor(values).flatten()
    finite = flat[flat.isfinite()]
    assert ("│" in drawn) == bool(finite.min() <= 0 <= finite.max())


def test_a_spark_line_of_little_is_short() -> None:
    assert spark(channel_stats(torch.zeros(2, 5), "layer"), 8).plain == "│"
    assert spark(channel_stats(torch.full((2, 5), 3.0), "layer"), 8).plain == "█"
    assert spark(channel_stats(torch.full((2, 5), NAN), "layer"), 8).plain == ""
    assert spark(channel_stats(torch.zeros(2, 0), "layer"), 8).plain == ""
    assert spark(channel_stats(torch.ones(2, 5)), 8).plain == ""


def test_what_zeros_a_relu_puts_out_leaves_the_rest_to_be_seen() -> None:
    values = normal(4, 4000)
    with_zeros = spark(channel_stats(values.relu(), "layer"), 16).plain
    mostly_zeros = torch.cat([values.relu(), torch.zeros(4, 100_000)], 1)
    assert spark(channel_stats(mostly_zeros, "layer"), 16).plain == with_zeros
    assert with_zeros.startswith("│█")


def test_a_symmetric_distribution_is_drawn_symmetric() -> None:
    half = normal(1, 20_000).abs()
    drawn = spark(channel_stats(torch.cat([half, -half], 1), "layer"), 15).plain
    assert drawn[7] == "│" and drawn[:7] == drawn[:7:-1]


def test_beyond_the_cells_it_says_that_it_does_not_know(printed: Printed) -> None:
    layer = record("huge", normal(2, 100, 1e9))
    lines = printed(160, print_run, run_of(layer), (), shown=[layer])
    assert "░" in row_of(lines, "huge")
    assert any("░: values beyond ±65,536" in line for line in lines)


# -- a row a channel -----------------------------------------------------------------------------------------------


def values_of(lines: list[str], at: int) -> list[str]:
    start = rule_of(lines) + 1
    end = next(end for end in range(start, len(lines)) if lines[end].startswith("distribution: ") or not lines[end])
    return [line.split()[at] for line in lines[start:end]]


CHANNELS_VALUES = [[1.0, 3.0], [10.0, 10.0], [NAN, NAN], [-5.0, 0.0]]
CHANNELS = record("a", CHANNELS_VALUES, histogram="channel")
OTHERS = record("b", [[0.0, 0.0], [2.0, 7.0]])


@pytest.mark.parametrize(
    ("sort", "reverse", "expected"),
    [
        ("layer", False, ["a0", "a1", "a2", "a3", "b0", "b1"]),
        ("layer", True, ["b0", "b1", "a0", "a1", "a2", "a3"]),
        ("channel", False, ["a0", "b0", "a1", "b1", "a2", "a3"]),
        ("channel", True, ["a3", "a2", "a1", "b1", "a0", "b0"]),
        ("mean", False, ["a1", "b1", "a0", "b0", "a3", "a2"]),
        ("mean", True, ["a3", "b0", "a0", "b1", "a1", "a2"]),
        ("rms", False, ["a1", "b1", "a3", "a0", "b0", "a2"]),
        ("max", False, ["a1", "b1", "a0", "a3", "b0", "a2"]),
        ("zeros", False, ["b0", "a3", "a0", "a1", "b1", "a2"]),
        ("nan", False, ["a2", "a0", "a1", "a3", "b0", "b1"]),
    ],
)
def test_channels_are_sorted_by_any_column_either_way(
    printed: Printed, sort: str, reverse: bool, expected: list[str]
) -> None:
    run = run_of(CHANNELS, OTHERS)
    lines = printed(120, print_channels, run, run.layers, sort=sort, reverse=reverse)
    assert [a + b for a, b in zip(values_of(lines, 0), values_of(lines, 1), strict=True)] == expected
    first = printed(120, print_channels, run, run.layers, sort=sort, reverse=reverse, top=2)
    assert [a + b for a, b in zip(values_of(first, 0), values_of(first, 1), strict=True)] == expected[:2]
    assert any(line.startswith(f"2 of 6 channels, by {sort}, ") for line in first)
    assert not any(" of 6 channels" in line for line in lines)


@pytest.mark.parametrize("sort", sorted(set(SORTS) - {"inf"}))
def test_what_channels_are_sorted_by_is_shown_however_narrow_the_terminal(printed: Printed, sort: str) -> None:
    layer = record("a_rather_long.name_of.a_layer", CHANNELS_VALUES)
    lines = printed(36, print_channels, run_of(layer), [layer], sort=sort)
    assert sort in lines[rule_of(lines) - 1].lower().split()
    assert max(map(cell_len, lines)) <= 36


def test_every_sort_column_is_known_and_no_other(printed: Printed) -> None:
    run = run_of(CHANNELS, OTHERS)
    for sort in SORTS:
        printed(80, print_channels, run, run.layers, sort=sort)
    with pytest.raises(ValueError, match="sorted by one of"):
        print_channels(run, run.layers, sort="colour")


def test_a_channels_numbers_are_its_own(printed: Printed) -> None:
    run = run_of(CHANNELS)
    lines = printed(120, print_channels, run, run.layers)
    start = rule_of(lines) + 1
    assert lines[start].split()[1:8] == ["0", "2", "1.41", "2.24", "1", "3", "0"]
    assert lines[start + 2].split() == ["a", "2", *"––––––", "2"]
    assert "distribution" in lines[start - 2]
    assert "distribution" not in "".join(printed(120, print_channels, run_of(OTHERS), [OTHERS])), "one for the layer"


def test_permuting_channels_permutes_their_rows(printed: Printed) -> None:
    values = normal(6, 50)
    order = [3, 1, 5, 0, 2, 4]
    rows = []
    for each in (values, values[order]):
        layer = record("a", each, histogram="channel")
        rows.append(values_of(printed(120, print_channels, run_of(layer), [layer]), 2))
    assert rows[1] == [rows[0][at] for at in order]


# -- a row a class -------------------------------------------------------------------------------------------------


def test_classes_have_a_row_each_and_all_images_the_last(printed: Printed) -> None:
    cats, dogs = (record("relu", [values], "act", "ReLU", images=2) for values in ([0.0, 0.0], [1.0, 3.0]))
    both = record("relu", [[0.0, 0.0, 1.0, 3.0]], "act", "ReLU", images=4)
    run = run_of(both, classes=(ClassRun("cats", 2, (cats,)), ClassRun("[red]dogs", 2, (dogs,))))
    lines = printed(80, print_classes, run, [both])
    assert row_of(lines, "cats").split()[1:9] == ["2", "0", "0", "0", "0", "0", "100", "%"]
    assert row_of(lines, "cats").split()[9] == "1/1"
    assert row_of(lines, "[red]dogs").split()[1:6] == ["2", "2", "1.41", "2.24", "1"]
    assert row_of(lines, "all images").split()[2:4] == ["4", "1"]
    images = [int(row_of(lines, name).split()[at]) for name, at in (("cats", 1), ("[red]dogs", 1), ("all images", 2))]
    assert images[0] + images[1] == images[2]


def test_a_layer_that_a_class_never_ran_has_no_row_of_it(printed: Printed) -> None:
    layer = record("aux", normal(2, 8))
    run = run_of(layer, classes=(ClassRun("cats", 2, ()), ClassRun("dogs", 2, (layer,))))
    lines = printed(80, print_classes, run, [layer])
    assert not any(line.startswith("cats") for line in lines) and row_of(lines, "dogs")


# -- the checks above can fail -------------------------------------------------------------------------------------


def test_a_number_too_wide_would_be_noticed(printed: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [replace(each, format=lambda _: "9" * 80) if each.key == "mean" else each for each in columns.LAYERS]
    monkeypatch.setattr(columns, "LAYERS", wide)
    run = odd_run()
    assert max(map(cell_len, printed(80, print_run, run, (), shown=run.layers))) > 80
