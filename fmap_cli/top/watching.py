"""A layer's live output → what of it may be kept: every map read once, and places found only where needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..foreign.threads import threads_for
from ..network.axes import channel_maps
from ..network.records import Axes
from .excitations import GRID
from .keeping import Keeper
from .putting import places_in
from .searching import Found, Lists, judge, look, observe


def maps_of(output: Tensor, axes: Axes, images: int) -> Tensor:
    """The output as `[B, C, T, H, W]`, of so many images; complex numbers by their magnitude.

    Raises ModelError where the images of a batch cannot be told apart in it.
    """
    if output.is_quantized:
        output = output.dequantize()
    if output.layout != torch.strided:
        output = output.to_dense()
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
    `lost` says that some of their values are NaN. A frame of a map has `size` (height, width). `found` is what is known
    of those maps of which something may be kept, as `searching` has it.
    """

    images: np.ndarray
    priorities: Sequence[int]
    group: str
    size: tuple[int, int]
    maxima: np.ndarray
    valid: np.ndarray
    lost: bool
    found: Found

    def places(self, image: int) -> np.ndarray:
        """Of this image of the batch, all of whose units are known, where they stand: int32 `[C, 3]`."""
        places = np.zeros((self.maxima.shape[1], 3), np.int32)
        kinds, _, at, _ = self.found
        places_in(at[image], kinds[image], self.size, places)
        return places


def seen_in(
    maps: Tensor, images: Sequence[int], priorities: Sequence[int], group: str, known: Keeper, *, per_image: int
) -> Seen:
    """What these images show, whose maps are `[B, C, T, H, W]`, of what may be kept beside what is `known`."""
    count, channels, _, high, wide = maps.shape
    whole = maps.detach().reshape(count, channels, -1)
    if whole.is_cpu or whole.dtype is torch.float64:
        whole = whole.float()  # as which values are compared: merged parts know of no digits beyond
    rounds = min(per_image, whole.shape[2])
    found = (
        np.empty((count, channels), np.uint8),
        np.empty((count, channels, rounds), np.float32),
        np.empty((count, channels, rounds), np.int32),
        np.empty((count, channels, rounds, GRID, GRID), np.uint8),
    )
    pictured = np.array([known.pictured.wants(each) for each in priorities])
    lists = known.strongest.ends, known.weakest.ends
    size = high, wide
    lost, valid = False, _all_of(count, channels)
    if whole.is_cpu and whole.is_contiguous() and not whole.is_neg():
        maxima = np.empty((count, channels), np.float32)
        threads = threads_for(whole.numel(), torch.get_num_threads())
        lost = observe(whole.numpy(), pictured, *lists, size, maxima, found, threads)
    else:
        largest = whole.amax(dim=2).cpu()
        maxima = largest.float().numpy()
        lost = bool(np.isnan(maxima).any())
        if not lost:
            _search(whole, largest, valid, pictured, lists, size, found)
    if lost:
        whole, largest, valid = _without_nan(whole)
        maxima = largest.float().numpy()
        _search(whole, largest, valid, pictured, lists, size, found)
    return Seen(np.asarray(images, np.int64), priorities, group, size, maxima, valid, lost, found)


def _search(
    maps: Tensor,
    largest: Tensor,
    valid: np.ndarray,
    pictured: np.ndarray,
    lists: tuple[Lists, Lists],
    size: tuple[int, int],
    found: Found,
) -> None:
    """What `observe` does, of maps `[B, C, P]` without NaN on any device and of any float type; those that are searched
    are copied.
    """
    judge(largest.float().numpy(), valid, pictured, *lists, found[0])
    of = np.flatnonzero(found[0])
    if not len(of):
        return
    rows = maps.flatten(0, 1)[torch.from_numpy(of).to(maps.device)].float().cpu().numpy()
    look(rows, of, largest.float().flatten().numpy()[of], size, found)


@lru_cache(maxsize=1024)
def _all_of(count: int, channels: int) -> np.ndarray:
    """True for each, which nobody writes to."""
    return np.ones((count, channels), bool)


def _without_nan(maps: Tensor) -> tuple[Tensor, Tensor, np.ndarray]:
    """Maps `[B, C, P]` with -inf where they have NaN, their largest numbers `[B, C]`, and whether there is one."""
    nan = maps.isnan()
    numbers = torch.where(nan, -torch.inf, maps)
    return numbers, numbers.amax(dim=2).cpu(), ~nan.all(dim=2).cpu().numpy()
