"""Maps as codes: what comes back, how far off, and which layers need no codes of their own."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmap_cli.report.planes import Bits, encode, follows, pack, read


def maps(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("bits", [8, 16])
def test_values_come_back_within_half_a_step(bits: Bits) -> None:
    given = maps(5, 1, 9, 7) * np.array([1, 10, 1e-6, 1e6, 0.1], np.float32).reshape(-1, 1, 1, 1)
    codes, reading = encode(given, bits)
    off = np.abs(read(codes, reading) - given).reshape(5, -1).max(1)
    spans = given.reshape(5, -1).max(1) - given.reshape(5, -1).min(1)
    assert (off <= reading.step / 2 * 1.0001).all()
    assert (reading.step <= spans / ((1 << bits) - 6)).all()
    assert reading.error == pytest.approx(off.max())
    assert reading.share == pytest.approx((off / spans).max())


def test_zero_stays_zero_and_what_is_no_number_stays_so() -> None:
    given = np.array([[[[-3.0, 0.0, 7.0]]], [[[0.0, 2.0, 0.0]]], [[[np.nan, np.inf, -np.inf]]], [[[5.0, 5.0, 5.0]]]])
    back = read(*encode(given, 8))
    assert back[0, 0, 0, 1] == 0 and back[1, 0, 0].tolist()[::2] == [0, 0]
    assert np.isnan(back[2, 0, 0, 0]) and back[2, 0, 0, 1:].tolist() == [np.inf, -np.inf]
    assert back[3].tolist() == given[3].tolist()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=32), min_size=2, max_size=12), st.sampled_from([8, 16]))
def test_any_numbers_are_encoded(values: list[float], bits: Bits) -> None:
    given = np.array(values, np.float32).reshape(1, 1, 1, -1)
    codes, reading = encode(given, bits)
    back = read(codes, reading)
    finite = np.isfinite(given)
    assert (np.isfinite(back) == finite).all()
    assert (np.abs(back[finite] - given[finite]) <= reading.step[0] / 2 * 1.001 + 1e-45).all()


def test_what_was_packed_is_what_a_browser_unpacks() -> None:
    """The reader's steps (`page/data.js`), written out in Python."""
    for values in (maps(3, 2, 8, 6), np.cumsum(maps(3, 1, 200, 200), 3)):
        codes, _ = encode(values)
        packed = pack(codes)
        content = np.frombuffer(zlib.decompress(packed[1:]), np.uint8)
        if codes.bits == 16:
            half = len(content) // 2
            content = content[:half].astype(np.uint16) << 8 | content[half:]
        found = content.reshape(codes.values.shape).copy()
        if packed[0] == 1:
            found = np.cumsum(found, axis=3, dtype=found.dtype)
        assert (found == codes.values).all()


def test_a_relu_and_a_batch_norm_read_the_codes_before_them() -> None:
    before = maps(4, 1, 40, 40)
    codes, reading = encode(before, 8)
    scale = np.array([2.0, -1.0, 0.5, 3.0], np.float32).reshape(-1, 1, 1, 1)
    line = before * scale + 0.25
    found = follows(line, before, codes, reading)
    assert found is not None and found.error <= np.abs(found.step).max() / 2 * 1.01
    cut = line.clip(0, 6)
    after = follows(cut, line, codes, found)
    assert after is not None and after.clamp in ((0.0, np.inf), (0.0, 6.0)) and after.error <= found.error
    assert np.abs(read(codes, after) - cut).max() == pytest.approx(after.error)


@pytest.mark.parametrize("other", [lambda x: x * x, lambda x: np.abs(x), lambda x: x[::-1], lambda x: x[:, :, ::-1]])
def test_what_is_no_straight_line_gets_codes_of_its_own(other: object) -> None:
    before = maps(4, 1, 40, 40)
    codes, reading = encode(before, 8)
    assert follows(other(before).copy(), before, codes, reading) is None  # type: ignore[operator]
