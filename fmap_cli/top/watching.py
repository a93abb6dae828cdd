"""A layer's live output → what of it may be kept: one reduction over every map, and places only where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..network.axes import channel_maps
from ..network.records import Axes
from .excitations import GRID
from .keeping import Keeper
from .searching import any_nan, judge, look, put_places

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
    `[N, R]`, the place in the map or -1, and `coarse` uint8 `[N, R, GRID, GRID]`; `kinds` int64 `[N]` are the sums of
    what they come into question for (`searching`).
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
    kinds: np.ndarray

    def places(self, image: int) -> np.ndarray:
        """Of this image of the batch, all of whose units are known, where they stand: int32 `[C, 3]`."""
        found = np.zeros((self.maxima.shape[1], 3), np.int32)
        put_places(self.image, self.channel, self.at, image, self.size, found)
        return found


def seen_in(
    maps: Tensor, images: Sequence[int], priorities: Sequence[int], group: str, known: Keeper, *, per_image: int
) -> Seen:
    """What these images show, whose maps are `[B, C, T, H, W]`, of what may be kept beside what is `known`."""
    count, channels, _, high, wide = maps.shape
    whole = maps.detach().reshape(count, channels, -1)
    flat, largest = whole, whole.amax(dim=2).cpu()
    maxima, valid = largest.float().numpy(), _all_of(count, channels)
    lost = any_nan(maxima)
    if lost:
        flat, largest, valid = _without_nan(whole)
        maxima = largest.float().numpy()
    image, channel, kinds = np.empty((3, count * channels), np.int64)
    pictured = np.array([known.pictured.wants(each) for each in priorities])
    found = judge(maxima, known.strongest.ends, known.weakest.ends, valid, pictured, image, channel, kinds)
    image, channel, kinds = image[:found], channel[:found], kinds[:found]
    rounds = min(per_image, flat.shape[2])
    value = np.zeros((found, rounds), np.float32)
    at = np.full((found, rounds), -1, np.int64)
    coarse = np.zeros((found, rounds, GRID, GRID), np.uint8)
    if found:
        rows, of = _rows(flat, image, channel)
        known_largest = largest.numpy()[image, channel] if rows.dtype == np.float64 else maxima[image, channel]
        look(rows, of, known_largest, kinds, (high, wide), high * wide <= _LARGEST_MAP, value, at, coarse)
    numbers = np.asarray(images, np.int64)
    return Seen(numbers, priorities, group, (high, wide), maxima, valid, lost, image, channel, value, at, coarse, kinds)


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


@lru_cache(maxsize=1024)
def _all_of(count: int, channels: int) -> np.ndarray:
    """True for each, which nobody writes to."""
    return np.ones((count, channels), bool)


def _without_nan(maps: Tensor) -> tuple[Tensor, Tensor, np.ndarray]:
    """Maps `[B, C, P]` with -inf where they have NaN, their largest numbers `[B, C]`, and whether there is one."""
    nan = maps.isnan()
    numbers = torch.where(nan, -torch.inf, maps)
    return numbers, numbers.amax(dim=2).cpu(), ~nan.all(dim=2).cpu().numpy()
