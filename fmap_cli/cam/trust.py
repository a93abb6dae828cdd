"""How far to trust a map: the number when the places of most evidence are taken away first, or brought back first.

Insertion and deletion are those of Petsiuk, Das and Saenko, "RISE" (BMVC 2018), section 4.2. Two things differ, so that
the comparison is fair: both go between the same two images, the picture and a strongly blurred one; and places are
tiles of the picture, for the map's order as for the random orders that it is held against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional as F

from ..answers.records import Target
from ..answers.target import probability_of, value_of
from ..errors import FmapError
from ..foreign import allocation
from ..inputs.records import ImageInput
from ..session.opening import Session
from ..session.passes import run
from .records import Trust

if TYPE_CHECKING:
    from torch import Tensor

_TILES = 14  # along the shorter side
_RANDOM = 3
_SEED = 0
_BATCH = 16
_BLUR = 1 / 10
"""The blur's standard deviation, as a share of the picture's shorter side."""


@allocation.kept()
def curves(
    session: Session,
    image: ImageInput,
    target: Target,
    evidence: np.ndarray,
    steps: int,
    advanced: Callable[..., None],
) -> Trust:
    """Insertion and deletion by this `evidence` `[h, w]`, which lies over the whole picture, in so many steps."""
    frames = [image.tensor, *image.more]  # each [C, H, W]
    height, width = image.tensor.shape[-2:]
    across = max(1, min(ceil(width / min(height, width) * _TILES), 2 * _TILES, width))
    down = max(1, min(ceil(height / min(height, width) * _TILES), 2 * _TILES, height))
    blurred = [_blurred(each) for each in frames]
    cells = torch.from_numpy(evidence)[None, None]
    fine = F.interpolate(cells, (down * 4, across * 4), mode="bilinear", align_corners=False)
    order = F.adaptive_avg_pool2d(fine, (down, across)).flatten().argsort(descending=True, stable=True)
    random = torch.Generator().manual_seed(_SEED)
    orders = [torch.randperm(down * across, generator=random) for _ in range(_RANDOM)]
    counts = [round(down * across * step / steps) for step in range(steps + 1)]

    def shown(first: Tensor, count: int) -> ImageInput:
        """The picture at the first so many tiles of an order, blurred elsewhere."""
        tiles = torch.zeros(down * across)
        tiles[first[:count]] = 1
        rows = torch.arange(height) * down // height
        columns = torch.arange(width) * across // width
        mask = tiles.view(down, across)[rows][:, columns].bool()
        mixed = [torch.where(mask, sharp, soft) for sharp, soft in zip(frames, blurred, strict=True)]
        return replace(image, tensor=mixed[0], more=tuple(mixed[1:]))

    inner = counts[1:-1]
    wanted = [(order, 0), (order, down * across)]
    wanted += [(order, count) for count in inner]
    wanted += [(order.flip(0), down * across - count) for count in inner]
    wanted += [(each, count) for each in orders for count in inner]
    numbers = _numbers(session, target, (shown(*each) for each in wanted), len(wanted), advanced)
    none, whole = numbers[0], numbers[1]
    rows = np.asarray(numbers[2:]).reshape(2 + _RANDOM, len(inner))
    insertion = np.concatenate([[none], rows[0], [whole]])
    deletion = np.concatenate([[whole], rows[1], [none]])
    others = np.stack([np.concatenate([[none], each, [whole]]) for each in rows[2:]])
    quantity = "score" if target.kind == "object" else "value" if target.probability is None else "probability"
    return Trust(np.asarray(counts) / (down * across), deletion, insertion, others, (down, across), quantity)


def _blurred(picture: Tensor) -> Tensor:
    """`[C, H, W]` under a Gaussian so wide that no thing is left; the border is mirrored."""
    sigma = max(min(picture.shape[-2:]) * _BLUR, 0.5)
    found = picture[None].float()
    for axis in (2, 3):
        reach = min(int(3 * sigma), found.shape[axis] - 1)
        if reach < 1:
            continue
        places = torch.arange(-reach, reach + 1, dtype=torch.float32)
        kernel = torch.exp(-(places**2) / (2 * sigma**2))
        shape = [1, 1, 1, 1]
        shape[axis] = len(places)
        padding = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
        padded = F.pad(found, padding, mode="reflect")
        channels = padded.transpose(0, 1)  # [C, 1, H, W]
        found = F.conv2d(channels, (kernel / kernel.sum()).view(shape)).transpose(0, 1)
    return found[0].to(picture.dtype)


def _numbers(
    session: Session, target: Target, images: Iterator[ImageInput], count: int, advanced: Callable[..., None]
) -> list[float]:
    """The probability of the target's class, or its number where there are no classes, of each image."""
    found: list[float] = []
    size = _BATCH
    advanced(0, count)
    batch: list[ImageInput] = []
    for at, each in enumerate(images, start=1):
        batch.append(each)
        if len(batch) < size and at < count:
            continue
        try:
            found += _read(session, target, batch)
        except FmapError:
            if len(batch) == 1:
                raise
            size = 1  # a network that takes one image at a time
            for one in batch:
                found += _read(session, target, [one])
        batch = []
        advanced(len(found), count)
    return found


def _read(session: Session, target: Target, batch: Sequence[ImageInput]) -> list[float]:
    with torch.no_grad():
        answer: Any = run(session, batch, lambda layer: None, operations=False, paths=frozenset())
        numbers = probability_of(target, answer)
        numbers = value_of(target, answer) if numbers is None else numbers
    found: list[float] = numbers.double().cpu().tolist()
    if len(found) != len(batch):
        raise FmapError(f"{session.model.name} gives {len(found)} answers for {len(batch)} images.")
    return found
