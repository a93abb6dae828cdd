"""A picture, for the eye and for the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    where several were given together; `shown` says which of them the picture is. `inputs` are those of a network
    that takes several, each by itself. `is_picture` says that there are places in it, by height and width. `described`
    is what stands under it where it is not a photo. `own_size` says that an array kept its size where others are
    brought to one.
    """

    name: str
    stem: str
    pixels: np.ndarray
    tensor: torch.Tensor
    notes: tuple[str, ...] = ()
    more: tuple[torch.Tensor, ...] = ()
    framing: Framing | None = None
    sources: tuple[str, ...] = ()
    inputs: tuple[ImageInput, ...] = ()
    shown: int = 0
    is_picture: bool = True
    described: str = ""
    own_size: bool = False

    @property
    def prepared(self) -> bool:
        """Whether anything was resized, cropped or normalised: an array may have been given as it is."""
        return self.framing is not None or any(each.framing is not None for each in self.inputs)

    @property
    def differs(self) -> bool:
        """Whether there is more than one picture among the inputs."""
        pictures = [each for each in self.inputs if each.is_picture]
        return any(
            each.pixels.shape != pictures[0].pixels.shape or (each.pixels != pictures[0].pixels).any()
            for each in pictures[1:]
        )

    def showing(self, number: int) -> ImageInput:
        """These inputs with the picture of the one of this number for the eye."""
        one = self.inputs[number]
        return replace(self, pixels=one.pixels, framing=one.framing, shown=number, described=one.described)

    @property
    def shown_name(self) -> str:
        """The name of the picture, without folders: of several inputs the one that is shown."""
        return Path(self.sources[self.shown]).name if self.shown < len(self.sources) else self.short_name

    @property
    def short_name(self) -> str:
        """The name without folders, of all pictures where several are one input."""
        return " and ".join(Path(each).name for each in self.sources or (self.name,))

    @property
    def caption(self) -> str:
        """What stands under the picture in a figure: its size, and what of it the network saw where that is unusual."""
        words = self.described or caption((self.pixels.shape[0], self.pixels.shape[1]), self.framing)
        if len(self.sources) < 2:
            return words
        number = ("first", "second", "third", "fourth")[self.shown] if self.shown < 4 else f"{self.shown + 1}th"
        return f"{words}; the {number} of {len(self.sources)} inputs"
