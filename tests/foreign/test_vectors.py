"""What is written out in LLVM's terms, against NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from fmap_cli.foreign.vectors import WIDE, before_first, largest
from fmap_cli.foreign.vectors import at_index as address


@pytest.fixture(scope="module")
def compiled() -> tuple[object, object]:
    """Both as functions that are compiled for numbers alone, as their users are."""

    @njit(fastmath={"nnan", "nsz", "reassoc"})
    def top(values):  # type: ignore[no-untyped-def]
        return largest(address(values, 0), len(values))

    @njit(fastmath={"nnan", "nsz", "reassoc"})
    def first(values, start, number):  # type: ignore[no-untyped-def]
        return before_first(values, start, number)

    return top, first


@pytest.mark.parametrize("length", [*range(WIDE, 4 * WIDE + 2), 196, 1000])
def test_the_largest_of_any_length_and_whether_one_is_nan(compiled, length: int) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(length)
    values = random.normal(-3, 1, length).astype(np.float32)
    for at in range(length):
        one = values.copy()
        one[at] = 5
        assert compiled[0](one) == (5, False)
        one[at] = np.nan
        assert compiled[0](one)[1]
        one[at] = -np.inf
        assert compiled[0](one) == (one.max(), False)
    assert compiled[0](np.full(length, -np.inf, np.float32)) == (-np.inf, False)
    assert compiled[0](np.append(values[1:], np.float32(np.inf))) == (np.inf, False)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_first_that_equals_a_number_from_any_start(compiled, kind: type) -> None:  # type: ignore[no-untyped-def]
    values = np.random.default_rng(2).integers(0, 9, 77).astype(kind)
    for start in range(77):
        for number in range(10):
            there = start + np.flatnonzero(values[start:] == number)
            found = compiled[1](values, start, kind(number))
            whole = start + (77 - start) // WIDE * WIDE  # from here on nothing is looked at
            assert found == (there[0] if len(there) and there[0] < whole else whole)
