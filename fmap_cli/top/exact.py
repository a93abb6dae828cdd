"""Sums of float32 numbers that do not depend on the order in which they are added.

Floating-point addition rounds, so the same numbers in another order, or in parts, give another sum. Here a float32 is
the whole number that it is in units of 2^-149, the smallest of them, spread over nine limbs of 32 bits, each of which
adds up by itself in an int64: whole numbers do not round. There is room for 2^31 numbers.
"""

from __future__ import annotations

import numpy as np

LIMBS = 9
_UNIT = -149
_WEIGHTS = np.ldexp(1.0, 32 * np.arange(LIMBS) + _UNIT)


def limbs_of(values: np.ndarray) -> np.ndarray:
    """The sums over the first axis of finite float32 `[B, C]`, as int64 `[C, LIMBS]`, which add up.

    >>> numbers = np.array([[1e8], [0.25], [-1e8]], np.float32)
    >>> float(total(limbs_of(numbers))[0]), float(numbers.sum())
    (0.25, 0.0)
    """
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.int64)
    exponent = (bits >> 23) & 255
    mantissa = (bits & 0x7FFFFF) | ((exponent > 0).astype(np.int64) << 23)
    place = np.maximum(exponent, 1) - 1  # the number is mantissa times 2^(place - 149)
    sign = 1 - 2 * (bits >> 31)
    limb, shifted = place // 32, mantissa << (place % 32)
    low, high = sign * (shifted & 0xFFFFFFFF), sign * (shifted >> 32)
    sums = np.zeros((values.shape[1], LIMBS), np.int64)
    for at in range(int(limb.min()), int(limb.max()) + 1) if limb.size else ():
        here = limb == at
        sums[:, at] += np.where(here, low, 0).sum(axis=0)
        sums[:, at + 1] += np.where(here, high, 0).sum(axis=0)
    return sums


def total(limbs: np.ndarray) -> np.ndarray:
    """The sums as float64, of limbs `[..., LIMBS]`."""
    result: np.ndarray = (limbs * _WEIGHTS).sum(axis=-1)
    return result
