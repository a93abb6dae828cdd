"""Sums of float32 numbers that do not depend on the order in which they are added.

Floating-point addition rounds, so the same numbers in another order, or in parts, give another sum. Here a float32 is
the whole number that it is in units of 2^-149, the smallest of them, spread over nine limbs of 32 bits, each of which
adds up by itself in an int64: whole numbers do not round. There is room for 2^31 numbers.
"""

from __future__ import annotations

import numpy as np

from .machine import compiled

LIMBS = 9
_UNIT = -149
_WEIGHTS = np.ldexp(1.0, 32 * np.arange(LIMBS) + _UNIT)


def limbs_of(values: np.ndarray) -> np.ndarray:
    """The sums over the first axis of finite float32 `[B, C]`, as int64 `[C, LIMBS]`, which add up.

    >>> numbers = np.array([[1e8], [0.25], [-1e8]], np.float32)
    >>> float(total(limbs_of(numbers))[0]), float(numbers.sum())
    (0.25, 0.0)
    """
    sums = np.zeros((values.shape[1], LIMBS), np.int64)
    _add(np.ascontiguousarray(values, np.float32).view(np.uint32), sums)
    return sums


@compiled
def _add(bits: np.ndarray, sums: np.ndarray) -> None:
    """Add up the numbers with these bits, uint32 `[B, C]`."""
    for row in bits:
        for channel in range(len(row)):
            number = np.int64(row[channel])
            exponent = (number >> 23) & 255
            normal = 1 if exponent > 0 else 0
            mantissa = (number & 0x7FFFFF) | (normal << 23)
            limb, place = divmod(exponent - normal, 32)  # the number is mantissa times 2^(32 limb + place - 149)
            shifted = mantissa << place
            sign = 1 - 2 * (number >> 31)
            sums[channel, limb] += sign * (shifted & 0xFFFFFFFF)
            sums[channel, limb + 1] += sign * (shifted >> 32)


def total(limbs: np.ndarray) -> np.ndarray:
    """The sums as float64, of limbs `[..., LIMBS]`."""
    result: np.ndarray = (limbs * _WEIGHTS).sum(axis=-1)
    return result
