"""A picture, for the eye and for the network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .framing import Framing, caption

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
    what follows the picture, of the same shape: the further frames of a clip, the second picture of a pair. `framing`
    is how the picture was resized and cropped, None for what is not a picture. `sources` are the names of all inputs
    where several were given together; the picture is the first.
    """

    name: str
    stem: str
    pixels: np.ndarray
    tensor: torch.Tensor
    notes: tuple[str, ...] = ()
    more: tuple[torch.Tensor, ...] = ()
    framing: Framing | None = None
    sources: tuple[str, ...] = ()

    @property
    def short_name(self) -> str:
        """The name without folders, of all pictures where several are one input."""
        return " and ".join(Path(each).name for each in self.sources or (self.name,))

    @property
    def caption(self) -> str:
        """What stands under the picture in a figure: its size, and what of it the network saw where that is unusual."""
        words = caption((self.pixels.shape[0], self.pixels.shape[1]), self.framing)
        return words if len(self.sources) < 2 else f"{words}; the first of {len(self.sources)} inputs"
