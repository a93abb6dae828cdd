"""Which channels of a layer two images have in common, and which respond to one of them alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import LayerError
from ..network.axes import channel_maps
from ..network.records import Axes
from ..network.selection import Selection
from .records import ComparedLayer, SharedChannels

_WEAKER = 3
"""A channel is an image's alone where it is so many times weaker in the other one."""
_DRAWN = 3
"""How many channels of each group a figure shows."""


def shared_channels(means: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The channels strong in both, in A alone and in B alone, of their means `[2, C]`; `SharedChannels` says how.

    >>> shared_channels(np.array([[4.0, 5.0, 0.0, 0.1], [4.0, 0.0, 6.0, 0.2]]))
    ((0,), (1,), (2,))
    """
    known = np.isfinite(means).all(0)
    means = np.where(known, means, 0.0)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        usual = np.sqrt((means**2).sum(1) / max(int(known.sum()), 1))  # [2]
        a, b = np.nan_to_num(np.abs(means) / usual[:, None])  # 1 is as strong as the root mean square
    alike = np.sign(means[0]) == np.sign(means[1])
    groups = (
        ((a >= 1) & (b >= 1) & alike, np.minimum(a, b)),
        ((a >= 1) & (b * _WEAKER <= a), a - b),
        ((b >= 1) & (a * _WEAKER <= b), b - a),
    )
    both, only_a, only_b = (
        tuple(int(at) for at in np.argsort(-how_much, kind="stable") if chosen[at]) for chosen, how_much in groups
    )
    taken = {*both}
    return both, tuple(at for at in only_a if at not in taken), tuple(at for at in only_b if at not in taken)


@dataclass(slots=True)
class Sharing:
    """Finds the shared channels of a layer while the pass goes on: of the one asked for, or of the last map."""

    asked: Selection | None
    keep_maps: bool
    on_photo: bool = True
    frame: str = "frame"
    _found: SharedChannels | None = None
    _why_not: str = "is not among the layers compared"

    def offer(self, compared: ComparedLayer, a: Tensor, b: Tensor, axes: Axes) -> None:
        if self.asked is not None:
            picked = self.asked.offer(compared.layer, compared.shape)
            if picked and (self._found is None or "last" in self.asked.patterns):
                self._found = self._of(compared, a, b, axes) or self._found
                self._why_not = "has no height and width to draw"
        elif compared.same_as is None and compared.layer.kind not in ("input", "output"):
            self._found = self._of(compared, a, b, axes) or self._found

    def chosen(self) -> SharedChannels | None:
        """Raises LayerError where the layer asked for cannot be drawn."""
        if self.asked is not None and self._found is None:
            raise LayerError(
                f"--draw {self.asked.patterns[0]} {self._why_not}.",
                hint="Name a map that has the same shape on both sides.",
            )
        return self._found

    def _of(self, compared: ComparedLayer, a: Tensor, b: Tensor, axes: Axes) -> SharedChannels | None:
        means = compared.difference.means
        if means is None or not axes.spatial or not np.isfinite(means).any():
            return None
        maps_a, maps_b = channel_maps(a, axes), channel_maps(b, axes)  # [C, T, H, W]
        count, frames, height, width = maps_a.shape
        if count != means.shape[1] or height * width < 2:
            return None
        groups = shared_channels(means)
        drawn = (groups[0][:_DRAWN], groups[1][:_DRAWN], groups[2][:_DRAWN])
        shown = [channel for group in drawn for channel in group]
        kept = [
            maps[shown, frames // 2].to(torch.float32, copy=True).numpy() if self.keep_maps else None
            for maps in (maps_a, maps_b)
        ]  # [N, H, W]
        note = f"{self.frame} {frames // 2 + 1} of {frames}" if frames > 1 else ""
        return SharedChannels(
            compared.layer,
            compared.shape,
            count,
            *groups,
            drawn,
            means[:, shown],
            kept[0],
            kept[1],
            note,
            self.on_photo,
        )
