"""Maps enlarged or reduced: which old places a new one takes from."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import ceil, floor, gcd

import numpy as np
import torch

from ..collected import window
from ..field import Field
from .calls import Call, Rule, called


def resizing(taps: Callable[[Fraction, Fraction, int], list[int]]) -> Rule:
    """A rule for `upsample_…`: `taps` lists the old places that one new place takes from.

    It is given where the new place's centre lies on the old axis, in places from the centre of the first, and the
    scale: how many old places a new one is.
    """

    def rule(call: Call) -> Field | None:
        one = call.of(call.tensors()[0])
        if one is None:
            return None
        places = len(one.shape) - 2
        factors = call.get("scale_factors") or _given_scales(call, places)
        for at in range(places):
            axis = 2 + at
            old, new = one.shape[axis], call.shape[axis]
            if call.get("align_corners"):
                scale = Fraction(old - 1, new - 1) if new > 1 else Fraction(0)
                centres = [scale * place for place in range(new)]
            else:
                scale = _scale(old, new, factors[at] if factors else None)
                centres = [scale * (place + Fraction(1, 2)) - Fraction(1, 2) for place in range(new)]
            if old == new and scale == 1:
                continue
            if scale == 0:
                one = window(one, axis, np.zeros((new, 1), np.int64), (1, 1))
                continue
            rows = [taps(centre, scale, old) for centre in centres]
            most = max(map(len, rows))
            table = np.array([row + row[-1:] * (most - len(row)) for row in rows])
            one = window(one, axis, table, (scale.denominator, scale.numerator))
        return one

    return rule


def _given_scales(call: Call, places: int) -> list[float | None] | None:
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}[places]
    scales = [call.get(name) for name in names]
    return scales if any(scale is not None for scale in scales) else None


def _scale(old: int, new: int, factor: float | None) -> Fraction:
    """How many old places a new one is: by the sizes, unless a factor is given that they are only rounded from."""
    if factor is None or factor <= 0 or factor * old == new:
        return Fraction(old, new)
    return 1 / Fraction(factor).limit_denominator(1 << 16)


def nearest(call: Call) -> Field | None:
    """Torch rounds in the number format of its scale, not exactly: so it is asked, by resizing the places' numbers."""
    one = call.of(call.tensors()[0])
    if one is None:
        return None
    source = call.tensors()[0]
    exact = source.dtype == torch.float64
    for axis in range(2, len(one.shape)):
        old, new = one.shape[axis], call.shape[axis]
        lengths = [1 if at < 2 else length for at, length in enumerate(source.shape)]
        places = torch.arange(old, dtype=torch.float64 if exact else torch.float32)
        numbers = places.reshape([old if at == axis else 1 for at in range(source.ndim)]).expand(lengths)
        arguments = {name: numbers if value is source else value for name, value in call.arguments.items()}
        with torch._C._DisableTorchDispatch():
            moved = called(call.function, arguments)
        table = moved.movedim(axis, 0).reshape(new, -1)[:, :1].to(torch.int64).numpy()
        shared = gcd(old, new)
        even = not _given_scales(call, len(one.shape) - 2) or new % old == 0
        one = window(one, axis, table, (new // shared, old // shared) if even else (new, old))
    return one


def linear(centre: Fraction, scale: Fraction, old: int) -> list[int]:
    return sorted({floor(centre), ceil(centre)})


def cubic(centre: Fraction, scale: Fraction, old: int) -> list[int]:
    place = floor(centre)
    return [place] if centre == place else list(range(place - 1, place + 3))


def filtered(reach: int) -> Callable[[Fraction, Fraction, int], list[int]]:
    """With antialiasing the filter is as many times wider as the map shrinks.

    It is zero at its very ends, and at every whole distance but 0 (both filters interpolate).
    """

    def taps(centre: Fraction, scale: Fraction, old: int) -> list[int]:
        wider = max(scale, Fraction(1))
        near = range(floor(centre - reach * wider), ceil(centre + reach * wider) + 1)
        return [tap for tap in near if (away := abs(tap - centre) / wider) < reach and away != 1]

    return taps
