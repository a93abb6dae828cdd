"""Maps as planes of codes: the one encoding from which both a page's pictures and its values on hover come.

A value is `low + code · step`, with a `low` and a `step` a channel, and may be cut off below and above (`clamp`). The
last three codes stand for NaN, +∞ and −∞. Zero is a value of its own wherever a channel reaches to both sides of it, so
that what is zero stays so. Layers that are a straight line of an earlier one, channel by channel (a BatchNorm), or
cut it off (a ReLU), take its codes with a `low`, a `step` and a `clamp` of their own: most pre-activations cost
nothing.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Bits = Literal[8, 16]

SMALL = 1 << 16
"""Layers of no more values than this get 16 bits a value unless told otherwise: they cost little."""

_SPECIAL = 3
_LEVEL = 6  # zlib's: 9 takes five times as long for a hundredth
_TRIED = 12
_CLOSE = 1e-5
"""Such a share of a channel's range may a layer differ from a straight line of another one: rounding, and no more."""


@dataclass(frozen=True, slots=True, eq=False)
class Codes:
    """The codes of a layer's maps `[C, T, H, W]`, uint8 or uint16."""

    values: np.ndarray

    @property
    def bits(self) -> Bits:
        return 8 if self.values.dtype == np.uint8 else 16

    @property
    def finite(self) -> int:
        """Codes below this are numbers; then come NaN, +∞ and −∞."""
        return (1 << self.bits) - _SPECIAL


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """How codes are read as one layer's values: `low` and `step` are float64 `[C]`.

    `error` is the largest distance of a value read from the layer's own, measured over all of them, and `share` the
    largest in units of its channel's range.
    """

    low: np.ndarray
    step: np.ndarray
    clamp: tuple[float, float] | None
    error: float
    share: float


def encode(maps: np.ndarray, bits: Bits | None = None) -> tuple[Codes, Reading]:
    """The codes of maps `[C, T, H, W]` and how they are read.

    >>> codes, reading = encode(np.array([[[[-1.0, 0.0, 3.0, np.nan]]]]), 8)
    >>> read(codes, reading)[0, 0, 0].round(2).tolist(), reading.error < 0.01
    ([-1.0, 0.0, 3.0, nan], True)
    """
    bits = bits or (16 if maps.size <= SMALL else 8)
    dtype: Any = np.uint8 if bits == 8 else np.uint16
    most = (1 << bits) - 1 - _SPECIAL
    rows = maps.reshape(len(maps), -1)
    finite = np.isfinite(rows)
    everywhere = bool(finite.all())
    low = rows.min(1, initial=np.inf, where=finite).astype(np.float64)
    high = rows.max(1, initial=-np.inf, where=finite).astype(np.float64)
    low, high = np.where(low > high, 0.0, low), np.where(low > high, 0.0, high)
    both = (low < 0) & (high > 0)
    with np.errstate(over="ignore", invalid="ignore"):
        step = high / np.where(both, most - 1, most) - low / np.where(both, most - 1, most)
        below = np.ceil(np.divide(-low, step, out=np.zeros_like(low), where=both))
    low = np.where(both, -below * step, low)
    scale = np.divide(1.0, step, out=np.zeros_like(step), where=step > 0)
    plain = rows if everywhere else np.where(finite, rows, low[:, None])
    codes = np.rint((plain - low[:, None]) * scale[:, None]).clip(0, most).astype(dtype)
    if not everywhere:
        codes[np.isnan(rows)] = most + 1
        codes[np.isposinf(rows)] = most + 2
        codes[np.isneginf(rows)] = most + 3
    made = Codes(codes.reshape(maps.shape))
    return made, measured(made, low, step, None, maps)


def read(codes: Codes, reading: Reading) -> np.ndarray:
    """The values, float64 `[C, T, H, W]`."""
    shape = (-1, 1, 1, 1)
    values = reading.low.reshape(shape) + codes.values * reading.step.reshape(shape)
    if reading.clamp is not None:
        values = values.clip(*reading.clamp)
    if codes.values.size and codes.values.max() >= codes.finite:
        for at, special in enumerate((np.nan, np.inf, -np.inf)):
            values[codes.values == codes.finite + at] = special
    return values


def measured(
    codes: Codes, low: np.ndarray, step: np.ndarray, clamp: tuple[float, float] | None, maps: np.ndarray
) -> Reading:
    """The reading with its error, measured against the layer's own values."""
    plain = Reading(low, step, clamp, 0.0, 0.0)
    if not maps.size:
        return plain
    finite = np.isfinite(maps)
    off = np.zeros(maps.shape)
    np.subtract(read(codes, plain), maps, where=finite, out=off)
    off = np.abs(off).reshape(len(maps), -1).max(1)
    spread = maps.reshape(len(maps), -1)
    known = finite.reshape(len(maps), -1)
    span = spread.max(1, initial=-np.inf, where=known) - spread.min(1, initial=np.inf, where=known)
    shares = np.divide(off, span, out=np.zeros_like(off), where=span > 0)
    return Reading(low, step, clamp, float(off.max()), float(shares.max()))


def follows(maps: np.ndarray, before: np.ndarray, codes: Codes, reading: Reading) -> Reading | None:
    """How the codes of an earlier layer are read as this one's values, where it cuts that one off or is a straight line
    of it, channel by channel; else None.
    """
    if maps.shape != before.shape or not maps.size or reading.clamp is not None:
        return None
    with np.errstate(invalid="ignore"):
        if maps.min() >= 0:
            for top in (np.inf, 6.0):
                if np.array_equal(maps, before.clip(0, top)):
                    return measured(codes, reading.low, reading.step, (0.0, top), maps)
    return _straight(maps, before, codes, reading)


def _straight(maps: np.ndarray, before: np.ndarray, codes: Codes, reading: Reading) -> Reading | None:
    y, x = (each.reshape(len(each), -1) for each in (maps, before))
    channels = np.arange(len(x))
    least, most = x.argmin(1), x.argmax(1)
    x0, x1 = x[channels, least].astype(np.float64), x[channels, most].astype(np.float64)
    y0, y1 = y[channels, least].astype(np.float64), y[channels, most].astype(np.float64)
    span = x1 - x0
    if not (np.isfinite(span).all() and np.isfinite(y0).all() and np.isfinite(y1).all()):
        return None
    slope = np.divide(y1 - y0, span, out=np.zeros_like(span), where=span > 0)
    shift = y0 - slope * x0
    sample = slice(None, None, max(x.shape[1] // 64, 1))  # most layers are no straight line, and that shows at once
    for part in (sample, slice(None)):
        off = np.abs(slope[:, None] * x[:, part] + shift[:, None] - y[:, part]).max(1)
        if not (off <= _CLOSE * np.maximum(np.abs(y1 - y0), np.maximum(np.abs(y0), np.abs(y1)) * 1e-2)).all():
            return None
    return measured(codes, slope * reading.low + shift, slope * reading.step, None, maps)


# -- bytes -------------------------------------------------------------------------------------------------------


def packed(parts: Sequence[np.ndarray]) -> bytes:
    """Arrays one after another in little-endian order, deflated with zlib's head."""
    return zlib.compress(b"".join(each.astype(each.dtype.newbyteorder("<")).tobytes() for each in parts), _LEVEL)


def pack(codes: Codes) -> bytes:
    """A byte that says how the codes are written, then the codes, deflated.

    0: as they are. 1: each as the difference from the one on its left, which smooth maps make small. Of 16 bits the
    upper bytes of all come first, then the lower ones. Which is shorter is told by some of the channels.
    """
    values = codes.values
    some = values[:: max(len(values) // _TRIED, 1)]
    way = int(len(_deflated(_changed(some))) < len(_deflated(some)))
    return bytes([way]) + _deflated(_changed(values) if way else values)


def _changed(values: np.ndarray) -> np.ndarray:
    changed = values.copy()
    changed[..., 1:] -= values[..., :-1]
    return changed


def _deflated(values: np.ndarray) -> bytes:
    if values.dtype == np.uint8:
        return zlib.compress(values.tobytes(), _LEVEL)
    halves = np.concatenate([(values >> 8).astype(np.uint8).ravel(), (values & 255).astype(np.uint8).ravel()])
    return zlib.compress(halves.tobytes(), _LEVEL)
