"""A layer's live output → its record of excitations: one reduction over every map, and places only where needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import ModelError
from ..network.axes import channel_maps
from ..network.records import Axes
from .exact import limbs_of
from .excitations import GRID, PICTURED, SPREAD, Classes, Excitations, Picks, Sample

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


def excitations_of(
    maps: Tensor,
    images: Sequence[int],
    priorities: Sequence[int],
    group: str,
    known: Excitations | None,
    *,
    strongest: int,
    per_image: int,
) -> Excitations:
    """The record of these images, whose maps are `[B, C, T, H, W]`, joined to what was `known` before.

    Images come in the order of their numbers, so of equal values those known go before.
    """
    count, channels, _, high, wide = maps.shape
    flat = maps.reshape(count, channels, -1)
    found = Excitations.none(channels, strongest) if known is None else known
    maxima, valid, flat = _maxima(flat)
    drawn = [at for at, each in enumerate(priorities) if found.pictured.wants(each, PICTURED)]
    spread = [at for at, each in enumerate(priorities) if found.spread.wants(each, SPREAD)]
    strong = valid & ((maxima > found.strongest.value[:, -1]) | (found.strongest.image[:, -1] < 0))
    weak = valid & ((maxima < found.weakest.value[:, -1]) | (found.weakest.image[:, -1] < 0))
    needed = strong | weak
    needed[drawn] |= valid[drawn]
    rounds = min(per_image, flat.shape[2])
    value, at = _units(flat, needed, strong, rounds)  # [B, C, R]
    frame, cell = np.divmod(np.maximum(at, 0), high * wide)
    place = np.stack([frame, *np.divmod(cell, wide)], axis=-1).astype(np.int32)  # [B, C, R, 3]
    numbers = np.asarray(images, np.int64)
    none = np.zeros((count, channels, rounds, 0, 0), np.uint8)

    def picks(chosen: np.ndarray, rounds: int, coarse: np.ndarray) -> Picks:
        """The units of the images chosen, `[C, B * R]`, with a coarse map each."""
        image = np.where(chosen[..., None] & (at[..., :rounds] >= 0), numbers[:, None, None], -1)
        parts = value[..., :rounds], image, place[..., :rounds, :], coarse[..., :rounds, :, :]
        return Picks(*(each.swapaxes(0, 1).reshape(channels, count * rounds, *each.shape[3:]) for each in parts))

    kept = np.where(valid, maxima, np.nan)
    finite = valid & np.isfinite(maxima)
    order = np.asarray(priorities, np.int64)
    return found.joined(
        Excitations(
            count,
            (valid & (maxima > 0)).sum(axis=0),
            (~valid).sum(axis=0),
            picks(strong, rounds, _coarse(maps, strong, value, frame)),
            picks(weak, 1, none),
            Sample(order[spread], numbers[spread], kept[spread], np.zeros((len(spread), 0, 3), np.int32)),
            Sample(order[drawn], numbers[drawn], kept[drawn], place[drawn, :, 0]),
            Classes((group,), finite.sum(axis=0)[None], limbs_of(np.where(finite, maxima, 0))[None]),
        )
    )


def _coarse(maps: Tensor, chosen: np.ndarray, value: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Of the maps chosen the largest values in `GRID` × `GRID` parts, as shares of the unit's value; uint8
    `[B, C, R, GRID, GRID]`. All 0 of large maps, whose units hardly ever see the whole picture.
    """
    found = np.zeros((*value.shape, GRID, GRID), np.uint8)
    if maps.shape[3] * maps.shape[4] > _LARGEST_MAP:
        return found
    image, channel = np.nonzero(chosen)
    for turn in range(value.shape[2] if len(image) else 0):
        index = image, channel, frame[image, channel, turn]
        picked = maps[tuple(torch.from_numpy(each).to(maps.device) for each in index)]
        parts = torch.nn.functional.adaptive_max_pool2d(picked.float()[:, None], GRID)[:, 0].cpu().numpy()
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            share = parts / value[image, channel, turn][:, None, None]
        share = np.where(value[image, channel, turn][:, None, None] > 0, np.nan_to_num(share), 0)
        found[image, channel, turn] = (share.clip(0, 1) * 255).round()
    return found


def _maxima(flat: Tensor) -> tuple[np.ndarray, np.ndarray, Tensor]:
    """The largest number of each map, float32 `[B, C]`, whether there is one, since NaN is none, and the maps with -inf
    where they have NaN.
    """
    maxima = flat.amax(dim=2).to("cpu", torch.float32).numpy()
    lost = np.isnan(maxima)
    if not lost.any():
        return maxima, np.ones_like(lost), flat
    numbers = torch.where(flat.isnan(), -torch.inf, flat)
    valid = ~flat.isnan().all(dim=2).cpu().numpy()
    return numbers.amax(dim=2).to("cpu", torch.float32).numpy(), valid, numbers


def _units(flat: Tensor, needed: np.ndarray, several: np.ndarray, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the maps needed the largest values, one or, of `several`, so many; and where they stand in the map.

    `[B, C, R]`, where none is asked for with a place of -1. Of equal values the first place is taken.
    """
    value = np.zeros((*needed.shape, rounds), np.float32)
    at = np.full((*needed.shape, rounds), -1, np.int64)
    asked = needed
    left: Tensor | None = None
    for turn in range(rounds):
        if not asked.any():
            break
        where = np.nonzero(asked)
        if left is None:
            index = tuple(torch.from_numpy(each).to(flat.device) for each in where)
            left = flat[index] if not asked.all() else flat.reshape(-1, flat.shape[2])
        place = left.argmax(dim=1, keepdim=True)
        value[..., turn][where] = left.gather(1, place)[:, 0].to("cpu", torch.float32).numpy()
        at[..., turn][where] = place[:, 0].cpu().numpy()
        if turn:  # a map of fewer numbers has no further one
            at[np.isneginf(value[..., turn]), turn] = -1
        if turn + 1 < rounds:
            left = left.scatter(1, place, -torch.inf)
            kept = several[where]
            left, asked = left[torch.from_numpy(kept).to(left.device)], asked & several
    return value, at
