"""A layer's live output → what of it may be kept: one reduction over every map, and places only where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..network.axes import channel_maps
from ..network.records import Axes
from .excitations import GRID
from .keeping import Keeper
from .searching import draw_coarse, find_largest

_LARGEST_MAP = 32 * 32
"""Of maps of more places none is kept beside the strongest units."""


def maps_of(output: Tensor, axes: Axes, images: int) -> Tensor:
    """The output as `[B, C, T, H, W]`, float, of so many images.

    Raises ModelError where the images of a batch cannot be told apart in it.
    """
    if output.is_quantized:
        output = output.dequantize()
    if output.is_complex():
        output = output.abs()
    if axes.names == ("B", "C", "H", "W"):
        return output[:, :, None]
    if axes.names == ("B", "C"):
        return output[:, :, None, None, None]
    if images == 1:
        return channel_maps(output, axes)[None]
    of_batch = [at for at, name in enumerate(axes.names) if name.startswith("B")]
    if len(of_batch) != 1 or output.shape[of_batch[0]] % images:
        raise ModelError("the images of a batch cannot be told apart in a layer.", hint="Give --batch 1.")
    parts = output.unflatten(of_batch[0], (images, -1)).unbind(of_batch[0])
    return torch.stack([channel_maps(each, axes) for each in parts])


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What a layer's channels answer to a batch of images, as far as it may be kept.

    `maxima` float32 `[B, C]` are the largest numbers of the maps, `valid` bool `[B, C]` whether there is one, and
    `lost` says that some of their values are NaN. A frame of a map has `size` (height, width). Of `N` maps, in the
    order of their images, the units are known: `image` and `channel` int64 `[N]`, `value` float32 and `at` int64
    `[N, R]`, the place in the map or -1, and `coarse` uint8 `[N, R, GRID, GRID]`; `strong` and `weak`, bool `[N]`, say
    for which lists they come into question.
    """

    images: np.ndarray
    priorities: Sequence[int]
    group: str
    size: tuple[int, int]
    maxima: np.ndarray
    valid: np.ndarray
    lost: bool
    image: np.ndarray
    channel: np.ndarray
    value: np.ndarray
    at: np.ndarray
    coarse: np.ndarray
    strong: np.ndarray
    weak: np.ndarray

    def places(self, image: int) -> np.ndarray:
        """Of this image of the batch, all of whose units are known, where they stand: int32 `[C, 3]`."""
        first, last = np.searchsorted(self.image, (image, image + 1))
        found = np.zeros((self.maxima.shape[1], 3), np.int32)
        frame, cell = np.divmod(self.at[first:last, 0], self.size[0] * self.size[1])
        found[self.channel[first:last]] = np.stack([frame, *np.divmod(cell, self.size[1])], axis=-1)
        return found


def seen_in(
    maps: Tensor, images: Sequence[int], priorities: Sequence[int], group: str, known: Keeper, *, per_image: int
) -> Seen:
    """What these images show, whose maps are `[B, C, T, H, W]`, of what may be kept beside what is `known`."""
    count, channels, _, high, wide = maps.shape
    whole = maps.detach().reshape(count, channels, -1)
    largest, valid, flat = _maxima(whole)
    maxima = largest.float().numpy()
    strong, weak = valid & known.may_be_strong(maxima), valid & known.may_be_weak(maxima)
    pictured = np.array([known.pictured.wants(each) for each in priorities])
    image, channel = np.nonzero(strong | weak | (valid & pictured[:, None]))
    strong, weak = strong[image, channel], weak[image, channel]
    rounds = min(per_image, flat.shape[2])
    value = np.zeros((len(image), rounds), np.float32)
    at = np.full((len(image), rounds), -1, np.int64)
    coarse = np.zeros((len(image), rounds, GRID, GRID), np.uint8)
    if len(image):
        rows, of = _rows(flat, image, channel)
        known_largest = largest.numpy()[image, channel] if rows.dtype == np.float64 else maxima[image, channel]
        find_largest(rows, of, known_largest, np.where(strong, rounds, 1), value, at)
        if high * wide <= _LARGEST_MAP:
            draw_coarse(rows, of, np.where(strong, rounds, 0), value, at, (high, wide), coarse)
    numbers = np.asarray(images, np.int64)
    size = high, wide
    lost = flat is not whole
    return Seen(numbers, priorities, group, size, maxima, valid, lost, image, channel, value, at, coarse, strong, weak)


def _rows(flat: Tensor, image: np.ndarray, channel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maps `[M, P]` in the processor's memory, and which of them are asked for: all of the batch's, or the chosen ones
    alone where they have to be copied.
    """
    rows = flat.flatten(0, 1)
    of = image * flat.shape[1] + channel
    if rows.device.type == "cpu" and rows.dtype in (torch.float32, torch.float64):
        return rows.numpy(), of
    picked = rows[torch.from_numpy(of).to(rows.device)]
    picked = picked if picked.dtype == torch.float64 else picked.float()
    return picked.cpu().numpy(), np.arange(len(of))


def _maxima(flat: Tensor) -> tuple[Tensor, np.ndarray, Tensor]:
    """The largest number of each map `[B, C]`, whether there is one, since NaN is none, and the maps with -inf where
    they have NaN.
    """
    largest = flat.amax(dim=2).cpu()
    lost = largest.isnan().numpy()
    if not lost.any():
        return largest, np.ones_like(lost), flat
    numbers = torch.where(flat.isnan(), -torch.inf, flat)
    return numbers.amax(dim=2).cpu(), ~flat.isnan().all(dim=2).cpu().numpy(), numbers
