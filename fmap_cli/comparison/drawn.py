"""Which layer's maps a figure shows side by side, kept while the pass goes on."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import LayerError
from ..network.axes import channel_maps
from ..network.records import Axes
from ..network.selection import Selection
from .records import ComparedLayer, Difference, DrawnPair

DRAWN_CHANNELS = 8
"""How many channels a figure shows, those that differ most: as many as stand side by side on a slide."""


@dataclass(slots=True)
class Drawing:
    """Keeps the maps of the layer to draw while the pass goes on: the one asked for, the first over, the farthest."""

    asked: Selection | None
    frame: str = "frame"
    _first: DrawnPair | None = None
    _farthest: DrawnPair | None = None
    _asked: DrawnPair | None = None
    _most: float = 0.0
    _other_input: bool = False
    _why_not: str = "is not among the layers compared"

    def offer(self, compared: ComparedLayer, a: Tensor, b: Tensor, axes: Axes) -> None:
        difference = compared.difference
        if self.asked is not None:
            picked = self.asked.offer(compared.layer, compared.shape)
            if picked and (self._asked is None or "last" in self.asked.patterns):  # what is last may not stay it
                self._asked = _drawn_pair(compared, a, b, axes, self.frame) or self._asked
                self._why_not = "has no height and width to draw"
            return
        if compared.layer.kind == "input":  # the pictures stand beside it
            self._other_input |= compared.over
            return
        # Where the input differs all that follows does: the first convolution is what anybody can read.
        over = self._first is None and compared.over and (not self._other_input or compared.layer.kind == "conv")
        if over or difference.relative_l2 > self._most:
            pair = _drawn_pair(compared, a, b, axes, self.frame)
            if pair is None:
                return
            self._first = pair if over else self._first
            if difference.relative_l2 > self._most:
                self._farthest, self._most = pair, difference.relative_l2

    def chosen(self) -> DrawnPair | None:
        """Raises LayerError where the layer asked for cannot be drawn."""
        if self.asked is None:
            return self._first or self._farthest
        if self._asked is None:
            raise LayerError(
                f"--draw {self.asked.patterns[0]} {self._why_not}.",
                hint="Name a map that has the same shape on both sides.",
            )
        return self._asked


def _drawn_pair(compared: ComparedLayer, a: Tensor, b: Tensor, axes: Axes, frame: str) -> DrawnPair | None:
    """The channels that differ most, those of a clip in its middle frame; None for what is no map."""
    maps_a, maps_b = channel_maps(a, axes), channel_maps(b, axes)  # [C, T, H, W]
    difference: Difference = compared.difference
    count, frames, height, width = maps_a.shape
    if count != len(difference.channels) or not axes.spatial or height * width < 2:
        return None
    strongest = torch.from_numpy(difference.channels).argsort(descending=True, stable=True)[:DRAWN_CHANNELS]
    drawn = tuple(sorted(strongest.tolist(), key=lambda channel: -difference.channels[channel]))
    a_maps, b_maps = (
        maps[list(drawn), frames // 2].to(torch.float32, copy=True).numpy() for maps in (maps_a, maps_b)
    )  # [N, H, W]
    notes = [f"{frame} {frames // 2 + 1} of {frames}"] if frames > 1 else []
    if "B" in axes.names and compared.shape[axes.names.index("B")] > 1:
        notes.append(f"the first of {compared.shape[axes.names.index('B')]} items")
    return DrawnPair(compared.layer, compared.shape, drawn, count, a_maps, b_maps, ", ".join(notes))
