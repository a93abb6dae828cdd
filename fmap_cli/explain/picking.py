"""Which unit is asked about: its channel and place, and where that is in the layer's output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from ..errors import LayerError
from ..network.axes import channel_maps
from ..network.records import Axes
from .records import AS_ASKED, Place
from .tape import Shown

if TYPE_CHECKING:
    from torch import Tensor

Asked = Place | Literal["max", "min"]


@dataclass(frozen=True, slots=True, eq=False)
class Unit:
    """The unit that is asked about: its layer, and where it is in the layer's output, by channel and place and by
    index."""

    shown: Shown
    shape: tuple[int, ...]
    axes: Axes
    maps: Tensor  # [C, T, H, W]
    channel: int
    cell: tuple[int, int, int]
    place: Place
    index: int
    picked: str


def unit_of(shown: Shown, output: Tensor, axes: Axes, at: Asked, channel: int | None) -> Unit:
    name, shape = shown.layer.name, tuple(output.shape)
    maps = channel_maps(output, axes)  # [C, T, H, W]
    if not maps.numel():
        raise LayerError(f"layer {name!r} has an empty output here, so there is no unit.", hint="Give another --size.")
    count = len(maps)
    if channel is not None and not 0 <= channel < count:
        raise LayerError(
            f"layer {name!r} has {count} channels; there is no channel {channel}.",
            hint=f"--channel takes 0 to {count - 1} here.",
        )
    chosen = maps.to(torch.float64) if channel is None else maps[channel : channel + 1].to(torch.float64)
    cells = axes_with_places(axes)
    if at in ("max", "min"):
        found, cell = _extreme(name, chosen, at)
        which = "largest" if at == "max" else "smallest"
        of = "the layer" if channel is None else f"channel {channel}"
        picked = f"the {which} value of {of}" if chosen.numel() > 1 else AS_ASKED  # of one value there is no largest
        if axes.grid is not None and axes.prefix:
            left = "the class token is" if axes.prefix == 1 else f"{axes.prefix} tokens before them are"
            picked += f", of the map's places; {left} left out"
    else:
        assert not isinstance(at, str)
        cell = _cell_of(name, at, cells, maps.shape[1:])
        found, _ = _extreme(name, chosen[:, cell[0], cell[1], cell[2]].reshape(-1, 1, 1, 1), "max")
        picked = AS_ASKED if channel is not None else "the largest value that a channel has at this place"
    channel = found if channel is None else channel
    labels = channel_maps(torch.arange(output.numel()).reshape(shape), axes)
    place = tuple(each for each, axis in zip(cell, "THW", strict=True) if axis in cells)
    return Unit(shown, shape, axes, maps, channel, cell, place, int(labels[(channel, *cell)]), picked)


def axes_with_places(axes: Axes) -> str:
    """Which of time, height and width a map has: tokens without a grid are a sequence, along `T`."""
    if "H" in axes.names or "W" in axes.names or axes.grid is not None:
        return "".join(each for each in "THW" if each in axes.names or (axes.grid is not None and each in "HW"))
    return "T" if "T" in axes.names or "N" in axes.names else ""


def _extreme(name: str, maps: Tensor, which: str) -> tuple[int, tuple[int, int, int]]:
    worst = -torch.inf if which == "max" else torch.inf
    known = torch.where(torch.isnan(maps), worst, maps)
    if torch.isnan(maps).all():
        if maps.numel() == 1:  # asked for by channel and place
            return 0, (0, 0, 0)
        raise LayerError(
            f"layer {name!r} has no value here that is a number, so none is the strongest.",
            hint="Give --channel and --at to see the terms of one of them; `fmap stats` says where NaN begins.",
        )
    at = int(known.argmax() if which == "max" else known.argmin())
    channel, frame, high, wide = (int(each) for each in np.unravel_index(at, tuple(maps.shape)))
    return channel, (frame, high, wide)


_AXES = {"T": "frames", "H": "rows", "W": "columns"}


def _cell_of(name: str, place: Place, cells: str, lengths: Sequence[int]) -> tuple[int, int, int]:
    """A place as (frame, row, column). Without its frame a clip's is the middle one; a sequence's may have 0 before
    it."""
    given = list(place)
    by_axis = dict(zip("THW", lengths, strict=True))
    if len(given) == len(cells) - 1 and cells[:1] == "T":
        given.insert(0, by_axis["T"] // 2)
    while cells and len(given) > len(cells) and given[0] == 0:
        del given[0]
    if not cells and given in ([0], []):
        return 0, 0, 0
    sizes = [by_axis[each] for each in cells]
    if len(given) == len(cells) and all(0 <= each < size for each, size in zip(given, sizes, strict=True)):
        found = dict(zip(cells, given, strict=True))
        return found.get("T", 0), found.get("H", 0), found.get("W", 0)
    asked = ",".join(map(str, place))
    if not cells:
        raise LayerError(
            f"layer {name!r} gives a vector: its values have a channel and no place {asked}.",
            hint="Leave --at out, or give --at max or min.",
        )
    words = [
        f"{'steps' if len(cells) == 1 else _AXES[each]} 0 to {size - 1}"
        for each, size in zip(cells, sizes, strict=True)
    ]
    raise LayerError(
        f"there is no place {asked} in the map of layer {name!r}, which is {' × '.join(map(str, sizes))}.",
        hint=f"--at takes {', '.join(words)}; or max, or min.",
    )
