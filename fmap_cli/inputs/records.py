"""A picture, for the eye and for the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image

    # What reading gives: an 8-bit picture (mode RGB or L), or float32 values in 0..1 as [C, H, W].
    Picture = Image.Image | np.ndarray


@dataclass(frozen=True, slots=True)
class ImageInput:
    """A picture twice: for the eye and for the network.

    `pixels` is `[H, W, 3]` uint8, exactly the crop the network saw, before normalisation.
    `tensor` is `[C, H, W]` float32, normalised. `name` is what to call it on outputs (a path, `-`, a sample's
    name), `stem` a short name for files. `notes` are sentences the user should read (first frame of a GIF,
    transparency laid on white, ...). `more` holds
    what follows the picture, of the same shape: the further frames of a clip, the second picture of a pair.
    """

    name: str
    stem: str
    pixels: np.ndarray
    tensor: torch.Tensor
    notes: tuple[str, ...] = ()
    more: tuple[torch.Tensor, ...] = ()
