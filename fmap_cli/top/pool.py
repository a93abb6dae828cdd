"""What the network saw, as pictures: those that are held in memory for the patches at the end of a run."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
from torch import Tensor

from ..models.records import Preprocessing

_BYTES = 8 << 20


def pixels_of(tensor: Tensor, preprocessing: Preprocessing) -> np.ndarray:
    """What the network saw as a picture, uint8 `[H, W, 3]`: the tensor before it was normalised."""
    shape = (-1, 1, 1)
    mean = torch.tensor(preprocessing.mean).reshape(shape)
    std = torch.tensor(preprocessing.std).reshape(shape)
    values = tensor.float() * std + mean
    if len(values) != 3:
        values = values.mean(dim=0, keepdim=True).expand(3, -1, -1)
    pixels: np.ndarray = (values.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    return pixels


class Pool:
    """The pictures of a run's first images, by the images' numbers; those beyond 8 MB are read again.

    They lie in one block of memory. As arrays of their own, made while the run goes, they would lie between what each
    batch takes and gives back, and keep that from being used again.
    """

    def __init__(self) -> None:
        self.pictures: dict[int, np.ndarray] = {}
        self._block = np.empty(0, np.uint8)
        self._used = 0

    def add(self, number: int, tensor: Tensor, preprocessing: Preprocessing) -> None:
        """Hold the picture of an image `[C, H, W]`, if there is room for it."""
        shape = (*tensor.shape[-2:], 3)
        stop = self._used + prod(shape)
        if stop > _BYTES:
            return
        if not self._used:
            self._block = np.empty(_BYTES, np.uint8)
        self.pictures[number] = self._block[self._used : stop].reshape(shape)
        self.pictures[number][:] = pixels_of(tensor, preprocessing)
        self._used = stop
