"""What the axes of a layer's output mean, and the output as maps of its channels."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import TYPE_CHECKING

from .records import Axes

if TYPE_CHECKING:
    from torch import Tensor

_BY_RANK = {
    0: (),
    1: ("C",),
    2: ("B", "C"),
    4: ("B", "C", "H", "W"),
    5: ("B", "C", "T", "H", "W"),
}


def axes_by_rank(shape: Sequence[int]) -> Axes:
    """The usual meaning of an output of this shape in PyTorch: `[B, C, H, W]` and its kin.

    Three axes are tokens, `[B, N, C]`; they form a grid where N or N - 1 (a class token first) is a square.

    >>> axes_by_rank([1, 64, 112, 112]).names, axes_by_rank([1, 197, 768]).grid
    (('B', 'C', 'H', 'W'), (14, 14))
    """
    how = "by the number of axes"
    if len(shape) == 3:
        tokens = shape[1]
        for prefix in (0, 1):
            side = isqrt(max(tokens - prefix, 0))
            if side > 1 and side * side == tokens - prefix:
                return Axes(("B", "N", "C"), how, grid=(side, side), prefix=prefix)
        return Axes(("B", "N", "C"), how)
    return Axes(_BY_RANK.get(len(shape), ("?",) * len(shape)), how)


def channel_maps(output: Tensor, axes: Axes) -> Tensor:
    """The first item of the batch as `[C, T, H, W]`: what each channel looks like.

    T is 1 but for video; an output without spatial axes gives `[C, T, 1, 1]`, one value a channel (and token).
    Tokens before the grid are left out. Axes of unknown meaning count as channels.
    """
    names = list(axes.names)
    if "B" in names:
        output = output.select(names.index("B"), 0)
        names.remove("B")
    if "N" in names:
        at = names.index("N")
        if axes.grid is not None:
            output = output.narrow(at, axes.prefix, output.shape[at] - axes.prefix).unflatten(at, axes.grid)
            names[at : at + 1] = ["H", "W"]
        else:
            names[at] = "T"
    channels = [at for at, name in enumerate(names) if name in ("C", "?")]
    others = [names.index(name) for name in ("T", "H", "W") if name in names]
    output = output.permute(*channels, *others)
    output = output.reshape(-1, *output.shape[len(channels) :])  # [C, ...]
    for at, name in enumerate(("T", "H", "W"), start=1):
        if name not in names:
            output = output.unsqueeze(at)
    return output  # [C, T, H, W]
