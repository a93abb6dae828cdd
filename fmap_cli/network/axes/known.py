"""Axes that need no look at the network: by the layer's class, by what the user says, by their number."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt

from torch import nn

from ...errors import LayerError
from ..records import Axes

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


OVER_MAPS = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
)
"""What torch.nn's own layers over maps of any number of axes are subclasses of."""

_CHANNELS_SECOND = (*OVER_MAPS, nn.GroupNorm, nn.LocalResponseNorm)


def has_known_axes(module: nn.Module | None) -> bool:
    """Whether torch.nn documents the axes of what a module of this class puts out, of maps and volumes."""
    return isinstance(module, _CHANNELS_SECOND)


def axes_by_module(module: nn.Module | None, shape: Sequence[int]) -> Axes | None:
    """What torch.nn documents of a module's output; None for a module that takes any layout.

    >>> axes_by_module(nn.Conv2d(3, 8, 3), [1, 8, 5, 5]).names, axes_by_module(nn.ReLU(), [1, 8, 5, 5])
    (('B', 'C', 'H', 'W'), None)
    """
    if has_known_axes(module) and len(shape) in (4, 5):
        return Axes(_BY_RANK[len(shape)], f"by {type(module).__name__}'s definition")
    return None


def axes_by_layout(layout: str, layer: str, shape: Sequence[int]) -> Axes:
    """The axes a user names, one letter each: `BHWC`. Tokens (`N`) that are a square, or one more, form a grid.

    Raises LayerError where they do not fit the output.

    >>> axes_by_layout("BHWC", "norm", [1, 7, 7, 96]).names
    ('B', 'H', 'W', 'C')
    """
    names = tuple(layout.upper())
    strange = [name for name in names if name not in "BCTHWN?"]
    if strange:
        raise LayerError(
            f"--layout {layout} has a letter that names no axis: {strange[0]}.",
            hint="Give one letter for each axis: B batch, C channel, T time, H height, W width, N tokens, ? anything.",
        )
    if len(names) != len(shape):
        raise LayerError(
            f"--layout {layout} names {len(names)} axes, and the output of layer {layer!r} has {len(shape)}:"
            f" {list(shape)}.",
            hint="Give one letter for each axis: B batch, C channel, T time, H height, W width, N tokens.",
        )
    if "N" in names:
        usual = axes_by_rank([1, shape[names.index("N")], 1])
        return Axes(names, "as --layout says", usual.grid, usual.prefix)
    return Axes(names, "as --layout says")
