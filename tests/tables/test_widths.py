"""Every command's table at 80, 120 and 160 columns: no wider than the terminal, no longer where it is wider."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

import fmap_cli as fmap
from fmap_cli.models.table import print_models
from fmap_cli.tables.columns import Column, Short, of_cells
from fmap_cli.tables.table import held_console, print_rows

WIDTHS = (80, 120, 160)
UNDER = ("not enough room", "pooled cosine:", "max |B", "distribution:", "dead:", "=:", "…:")


def at(width: int, show: Callable[[], object]) -> list[str]:
    with held_console(width) as out:
        show()
    return [line.rstrip() for line in out.export_text(styles=False).splitlines()]


def rows_in(lines: list[str]) -> list[str]:
    """The lines under the first table's rule, as far as the table goes."""
    start = next(at for at, line in enumerate(lines) if line and set(line) == {"─"}) + 1
    end = next((at for at in range(start, len(lines)) if not lines[at] or lines[at].startswith(UNDER)), len(lines))
    return lines[start:end]


def silent(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def nets() -> dict[str, Any]:
    """Networks with short and with long names, at a size that runs quickly."""
    return {
        "lite0": fmap.load_model(size=64, say=silent),
        "swin": fmap.load_model("swin_t", weights="random", size=64, say=silent),
    }


MADE: dict[str, Callable[[dict[str, Any], list[str]], Any]] = {
    "layers": lambda nets, _: fmap.layers("swin_t", say=silent),
    "layers of a video": lambda nets, _: fmap.layers("r3d_18", say=silent),
    "rf": lambda nets, _: fmap.receptive_fields(nets["swin"], layer="features.[013].*", say=silent),
    "stats": lambda nets, photos: fmap.stats(nets["lite0"], photos[:1], layer="features.[01]*", say=silent),
    "stats of long names": lambda nets, photos: fmap.stats(
        nets["swin"], photos[:1], layer="features.[01].*", say=silent
    ),
    "compare": lambda nets, photos: fmap.compare(
        nets["lite0"], *photos[:2], layer="features.[0-2]*", keep_maps=False, say=silent
    ),
    "compare long names": lambda nets, photos: fmap.compare(
        nets["swin"], *photos[:2], layer="features.[01].*", keep_maps=False, say=silent
    ),
    "show": lambda nets, photos: fmap.feature_maps(
        nets["swin"], photos[0], ["features.0.0", "features.1.0.attn"], say=silent
    ),
    "predict": lambda nets, photos: fmap.predict(nets["lite0"], photos, say=silent),
    "embed": lambda nets, photos: fmap.embed(nets["lite0"], photos, similar=2, say=silent),
    "memory": lambda nets, _: fmap.memory("resnet18", 2, say=silent),
}
SLOW = ("layers of a video", "stats of long names", "compare long names")


def fits(lines: dict[int, list[str]]) -> None:
    for width, shown in lines.items():
        assert max(map(cell_len, shown)) <= width, max(shown, key=cell_len)
    heights = [len(rows_in(shown)) for shown in lines.values()]
    assert heights == sorted(heights, reverse=True), dict(zip(lines, heights, strict=True))


@pytest.mark.usefixtures("estimates_here")
@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in MADE])
def test_a_wider_terminal_never_has_the_longer_table(nets: dict[str, Any], samples: Path, name: str) -> None:
    found = MADE[name](nets, [str(samples / f"{each}.png") for each in ("coffee", "chelsea", "camera")])
    fits({width: found.table(width).splitlines() for width in WIDTHS})


@pytest.mark.parametrize("pattern", [None, "resnet*", "swin*"])
def test_models_too(pattern: str | None) -> None:
    entries = fmap.list_models(pattern)
    fits({width: at(width, lambda: print_models(entries)) for width in WIDTHS})


def test_numbers_in_units_have_no_exponent() -> None:
    out = "\n".join(at(160, lambda: print_models(fmap.list_models(None))))
    assert "1.02 T" in out and not re.search(r"\de[+-]\d", out)


def test_no_heading_is_broken_inside_a_word() -> None:
    from fmap_cli.comparison import columns as compare
    from fmap_cli.layers import columns as layers
    from fmap_cli.memory import columns as memory
    from fmap_cli.models import columns as models
    from fmap_cli.receptive import columns as fields
    from fmap_cli.statistics import columns as stats

    found = [
        column
        for module in (compare, layers, memory, models, fields, stats)
        for each in vars(module).values()
        for column in (each if isinstance(each, tuple | list) else [each])
        if isinstance(column, Column)
    ]
    titles = [title for each in found for title in (each.title, each.short.title if each.short else None) if title]
    assert len(titles) > 40
    assert [title for title in titles if re.search(r"\w-\n", title)] == []


def test_what_the_layers_signs_mean_stands_below_where_they_occur() -> None:
    listing = fmap.layers("swin_t", say=silent)
    wide = listing.table(250)
    assert "≤: at most, an upper bound" in wide and "whole: the whole input" in wide and "? not known" in wide
    assert "at most" not in listing.table(80)


@given(
    st.lists(st.tuples(st.text("ab._", min_size=1, max_size=70), st.text("cd", max_size=30)), min_size=1, max_size=8),
    st.integers(20, 90),
)
def test_a_table_of_any_names_is_no_longer_in_a_terminal_a_third_wider(rows: list[tuple[str, str]], width: int) -> None:
    columns = of_cells(
        Column(title="name", least=(12, 8)),
        Column(title="type", least=6, cut="middle", short=Short(2, "t")),
        Column(title="note", priority=1),
        Column(title="word", priority=3, least=5),
    )
    cells = [(name, kind, kind[:9], name[:20]) for name, kind in rows]
    narrow, wide = (
        rows_in(at(each, lambda: print_rows(console_of(), columns, cells))) for each in (width, width * 4 // 3 + 1)
    )
    assert len(wide) <= len(narrow)


def console_of() -> Any:
    from fmap_cli.tables.table import console

    return console()


def test_what_has_gone_comes_back_where_something_wider_went() -> None:
    columns = of_cells(
        Column(title="name"), Column(title="a", priority=1), Column(title="wide", priority=2), Column(title="kept")
    )
    lines = at(20, lambda: print_rows(console_of(), columns, [("conv1", "x", "w" * 30, "7")]))
    assert lines[0].split() == ["name", "a", "kept"]
    assert lines[3] == "not enough room for:"
