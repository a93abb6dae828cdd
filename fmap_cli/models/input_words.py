"""What a network's input is called, and what its places are called: of a signal they are steps, of a volume voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .records import InputKind, NetworkInput

WHOLE_IMAGE = "whole image"
"""The kind of a receptive field as JSON has it, whatever the input is."""


@dataclass(frozen=True, slots=True)
class InputWords:
    """`noun` is what a person calls one input, `place` one place in it, `unit` what stands behind a number of them."""

    noun: str
    place: str
    unit: str

    @property
    def places(self) -> str:
        return f"{self.place}s"

    @property
    def whole(self) -> str:
        return f"whole {self.noun}"

    @property
    def layer(self) -> str:
        """What one of those is called that lie behind one another: along the first of three axes."""
        return "frame" if self.is_picture else "slice"

    @property
    def depth(self) -> str:
        """What they lie behind one another in."""
        return "time" if self.is_picture else "depth"

    @property
    def axes(self) -> dict[str, str]:
        """What the axes mean, where it is not time, height and width as in pictures."""
        if self.is_picture:
            return {}
        return {"T": self.depth} if self is VOLUME else {"W": self.places}

    @property
    def is_picture(self) -> bool:
        """Whether it is a photo or some of them, as everything that fmap writes says unless told otherwise."""
        return self.unit == "px"

    def said(self, words: str) -> str:
        """Words about a field, with this input's own name for `whole image`."""
        return words.replace(WHOLE_IMAGE, self.whole)

    def size(self, size: Sequence[int]) -> str:
        """An input's size.

        >>> IMAGE.size((224, 320)), CLIP.size((16, 112, 112)), SIGNAL.size((4000,)), VOLUME.size((16, 32, 32))
        ('224 × 320 px', '16 frames of 112 × 112 px', '4000 steps', '16 × 32 × 32 voxels')
        """
        if len(size) == 3 and self.is_picture:
            return f"{size[0]} frames of {self.size(size[1:])}"
        return f"{' × '.join(map(str, size))} {self.unit}"


IMAGE = InputWords("image", "pixel", "px")
CLIP = InputWords("clip", "pixel", "px")
VOLUME = InputWords("volume", "voxel", "voxels")
SIGNAL = InputWords("signal", "step", "steps")
SEQUENCE = InputWords("sequence", "token", "tokens")
VECTOR = InputWords("vector", "value", "values")
ARRAY = InputWords("input", "value", "values")

BY_NOUN = {each.noun: each for each in (IMAGE, CLIP, VOLUME, SIGNAL, SEQUENCE, VECTOR, ARRAY)}


def input_words(kind: InputKind, takes: NetworkInput | None) -> InputWords:
    """The words for what a network takes; of several inputs those of the first with the most axes of places.

    Three channels along time, height and width are a clip's, one or any other number are a volume's. A signal has
    numbers along its one axis, a sequence tokens: indices, or vectors after one another.
    """
    if kind == "video" and takes is None:
        return CLIP
    if takes is None or kind in ("image", "images", "image_pair"):
        return IMAGE
    for places in ("THW", "HW", "W"):
        at = next((at for at, axes in enumerate(takes.axes) if set(places) <= set(axes)), None)
        if at is None:
            continue
        axes, shape = takes.axes[at], takes.shapes[at]
        if places == "THW":
            return CLIP if "C" in axes and shape[axes.index("C")] == 3 else VOLUME
        if places == "HW":
            return IMAGE
        return SEQUENCE if takes.integers[at] or axes == "WC" else SIGNAL
    return VECTOR if "C" in takes.axes else ARRAY
