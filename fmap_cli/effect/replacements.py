"""What takes a channel's place when it is taken away: zero, its mean, or its values from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import FmapError
from ..network.axes import channel_axes
from ..network.records import Axes
from .records import With

if TYPE_CHECKING:
    from ..statistics.records import Run


class Replacements:
    """For each image the layer's output as it is without any of its channels.

    `outputs` are the layer's, one an image. `mean` is over all places of all of them, or that of a saved `run`;
    `resample` is the output for another of the images, or, of a single one, its own values at other places.
    """

    def __init__(
        self, with_: With, outputs: Sequence[Tensor], axes: Axes, layer: str, run: Run | None, seed: int
    ) -> None:
        self.axes = axes
        self._with = with_
        self._outputs = outputs
        self._generator = torch.Generator().manual_seed(seed)
        self._means: Tensor | None = None
        self.source = "zero"
        if with_ == "mean":
            self._means = _of_run(run, layer, _by_channel(outputs[0], axes)) if run is not None else self._own_means()
            over = f"{run.images} images of a saved run" if run is not None else _images(len(outputs))
            self.source = f"the channel's mean over {over}"
        if with_ == "resample":
            alone = len(outputs) == 1 or len({each.shape for each in outputs}) > 1
            places = _by_channel(outputs[0], axes).shape[1]
            if alone and places == 1:
                raise FmapError(
                    f"resample has nothing to take from: a channel of layer {layer!r} has a single value.",
                    hint="Give several images of one size, or --with zero or mean.",
                )
            own = f"the channel's own values at other places (seed {seed})"
            self.source = own if alone else f"the channel's map in another of the images (seed {seed})"
            self._others = [] if alone else self._shifted(len(outputs))

    def of(self, image: int) -> Tensor:
        """What all channels are replaced by, in the shape of the image's output."""
        output = self._outputs[image]
        if self._with == "zero":
            return torch.zeros_like(output)
        if self._with == "resample":
            if self._others:
                return self._outputs[self._others[image]].clone()
            found = output.clone()
            rows = _by_channel(found, self.axes)
            for row in rows:
                row.copy_(row[torch.randperm(len(row), generator=self._generator).to(row.device)])
            return _laid_back(rows, output, self.axes)
        assert self._means is not None
        return _laid_back(self._means[:, None].expand_as(_by_channel(output, self.axes)), output, self.axes)

    def _own_means(self) -> Tensor:
        sums = [_by_channel(each, self.axes).double() for each in self._outputs]
        counts = sum(each.shape[1] for each in sums)
        total: Tensor = sum(each.sum(1) for each in sums) / counts  # type: ignore[assignment]
        return total.to(self._outputs[0].dtype)

    def _shifted(self, count: int) -> list[int]:
        """For each image another one: they are drawn in a row, and each takes the next."""
        drawn = torch.randperm(count, generator=self._generator).tolist()
        after = dict(zip(drawn, [*drawn[1:], drawn[0]], strict=True))
        return [after[each] for each in range(count)]


def _images(count: int) -> str:
    return "the image's places" if count == 1 else f"these {count} images"


def _order(output: Tensor, axes: Axes) -> list[int]:
    channels = channel_axes(axes)
    return [*channels, *(at for at in range(output.ndim) if at not in channels)]


def _by_channel(output: Tensor, axes: Axes) -> Tensor:
    """The output as `[C, values]`, a copy where its memory asks for one."""
    count = prod(output.shape[at] for at in channel_axes(axes))
    return output.permute(_order(output, axes)).reshape(count, -1)


def _laid_back(rows: Tensor, like: Tensor, axes: Axes) -> Tensor:
    order = _order(like, axes)
    back = [order.index(at) for at in range(like.ndim)]
    return rows.reshape([like.shape[at] for at in order]).permute(back).contiguous()


def _of_run(run: Run, layer: str, rows: Tensor) -> Tensor:
    """The channels' means of a saved run."""
    found = next((each for each in run.layers if each.layer.name == layer), None)
    if found is None:
        raise FmapError(
            f"the run has no layer {layer!r}.", hint=f"Count it: `fmap stats … --layer {layer} --save run.fmap`."
        )
    means = torch.from_numpy(found.channels.mean.copy())
    if len(means) != len(rows):
        raise FmapError(f"layer {layer!r} has {len(rows)} channels here, and {len(means)} in the run.")
    return means.to(rows)
