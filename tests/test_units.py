"""Numbers and names as people read them."""

from __future__ import annotations

import ast
import math
import re
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmap_cli import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1e-30, "1e-30"),
        (-1.5e30, "-1.5e+30"),
        (999.6, "1e+03"),
        (1000, "1000"),
        (99999.4, "99999"),
        (100_000, "1e+05"),
        (None, "–"),
        (math.nan, "–"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
    ],
)
def test_numbers(value: float | None, text: str) -> None:
    assert units.number(value) == text


@given(st.floats(-1e300, 1e300, allow_subnormal=False))
def test_a_number_reads_back_to_three_figures_and_is_short(value: float) -> None:
    text = units.number(value)
    assert math.isclose(float(text), value, rel_tol=5.1e-3)
    assert len(text) <= 10


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_a_range_of_one_value_is_that_value(digits: int) -> None:
    assert units.value_range(2.5, 2.5, digits).startswith("= ")
    assert " … " in units.value_range(-1.0, 2.5, digits)
    assert units.value_range(math.nan, math.nan) == "no finite value"


@given(st.floats(0, 1))
def test_only_nothing_is_0_percent_and_only_all_is_100(fraction: float) -> None:
    text = units.percent(fraction)
    assert (text == "0 %") == (fraction == 0)
    assert (text == "100 %") == (fraction == 1)
    assert text.endswith(" %")


@given(st.integers(0, 10**17))
def test_large_counts_keep_three_figures(value: int) -> None:
    amount, _, sign = units.scaled(value).partition(" ")
    factor = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}[sign]
    assert ("e" not in amount and float(amount.replace(",", "")) < 1000) or sign == "T"
    assert math.isclose(float(amount.replace(",", "")) * factor, value, rel_tol=5.1e-3, abs_tol=0)
    assert units.count(value).replace(",", "") == str(value)


@given(st.text())
def test_one_line_has_no_sign_that_moves_anything_and_leaves_printable_text_alone(text: str) -> None:
    line = units.one_line(text)
    assert not any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in line)
    assert len(line.splitlines()) <= 1
    line.encode()  # no lone surrogates
    assert units.one_line(line) == line
    if text.isprintable():
        assert line == text


def test_a_minus_is_the_one_that_can_be_pasted() -> None:
    """No text that the package prints or draws has U+2212; docstrings and comments, which are read, may have it."""
    found = []
    for file in Path(units.__file__).parent.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        if not re.search(r"\u2212|MINUS SIGN|(?i:u2212)", text):  # however it is written
            continue
        tree = ast.parse(text)
        docs = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
        for each in ast.walk(tree):
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and id(each) not in docs:
                found += [f"{file.name}:{each.lineno}"] * ("\N{MINUS SIGN}" in each.value and file.stem != "legible")
    assert found == []
