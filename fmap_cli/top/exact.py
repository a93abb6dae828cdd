"""Sums of float32 numbers that do not depend on the order in which they are added.

Floating-point addition rounds, so the same numbers in another order, or in parts, give another sum. Here a float32 is
the whole number that it is in units of 2^-149, the smallest of them, spread over nine limbs of 32 bits, each of which
adds up by itself in an int64: whole numbers do not round. There is room for 2^31 numbers.
"""

from __future__ import annotations

import numpy as np

from ..foreign.compiling import compiled

LIMBS = 9
_UNIT = -149
_WEIGHTS = np.ldexp(1.0, 32 * np.arange(LIMBS) + _UNIT)


_MAGNITUDE = 0x7FFFFFFF
_INFINITE = 0x7F800000


@compiled
def count_in(
    values: np.ndarray,
    valid: np.ndarray,
    above: np.ndarray,
    without: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Count in the `values` float32 `[B, C]`, of which some are `valid` bool `[B, C]`, by channel.

    Added to, all int64: `above` `[C]` how many are above zero, `without` `[C]` how many are not valid, `counts` `[C]`
    how many are finite, and `sums` `[C, LIMBS]` their sums, in limbs.

    >>> values = np.array([[1e8], [0.25], [-1e8], [np.inf]], np.float32)
    >>> above, without, counts, sums = (np.zeros((1, *more), np.int64) for more in ((), (), (), (LIMBS,)))
    >>> count_in(values, np.ones((4, 1), bool), above, without, counts, sums)
    >>> int(above[0]), int(counts[0]), float(total(sums)[0]), float(values[:3].sum())
    (3, 3, 0.25, 0.0)
    """
    for image in range(len(values)):
        bits = values[image].view(np.int32)
        for channel in range(values.shape[1]):
            if not valid[image, channel]:
                without[channel] += 1
                continue
            above[channel] += values[image, channel] > 0
            number = np.int64(bits[channel])
            if number & _MAGNITUDE >= _INFINITE:
                continue
            counts[channel] += 1
            exponent = (number >> 23) & 255
            normal = 1 if exponent > 0 else 0
            mantissa = (number & 0x7FFFFF) | (normal << 23)
            limb, place = divmod(exponent - normal, 32)  # the number is mantissa times 2^(32 limb + place - 149)
            shifted = mantissa << place
            sign = -1 if number < 0 else 1
            sums[channel, limb] += sign * (shifted & 0xFFFFFFFF)
            sums[channel, limb + 1] += sign * (shifted >> 32)


def total(limbs: np.ndarray) -> np.ndarray:
    """The sums as float64, of limbs `[..., LIMBS]`."""
    result: np.ndarray = (limbs * _WEIGHTS).sum(axis=-1)
    return result
