"""Which axes of two shapes hold the same values: what a `view` or `reshape` does to each axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod


def blocks(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Axes of the old and the new shape that hold the same values, in the smallest blocks there are.

    >>> blocks((1, 6, 8), (1, 2, 3, 8))
    [([0], [0]), ([1], [1, 2]), ([2], [3])]
    """
    found: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(old) or j < len(new):
        left, right = [], []
        if i < len(old):
            left.append(i)
            i += 1
        if j < len(new):
            right.append(j)
            j += 1
        while prod(old[at] for at in left) != prod(new[at] for at in right):
            if prod(old[at] for at in left) < prod(new[at] for at in right):
                left.append(i)
                i += 1
            else:
                right.append(j)
                j += 1
        found.append((left, right))
    return found


def split_layout(layout: str | None) -> tuple[str | None, str | None]:
    """What `--layout` says of arrays, and what of layers' outputs, which begins with the batch.

    >>> split_layout("HWC"), split_layout("BHWC")
    (('HWC', None), (None, 'BHWC'))
    """
    return (None, layout) if layout is not None and layout[:1].upper() == "B" else (layout, None)
