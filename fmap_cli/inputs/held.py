"""Images that are in memory, not in a file: a Pillow image, an array or a tensor becomes a source like a path."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ImageError

if TYPE_CHECKING:
    import numpy as np


class HeldImage(str):
    """A source whose bytes are in memory; its text is its name, on tables and figures."""

    content: bytes

    def __new__(cls, name: str, content: bytes) -> HeldImage:
        held = super().__new__(cls, name)
        held.content = content
        return held

    def __eq__(self, other: object) -> bool:
        """Whether it is the same picture: two that have one name may differ, and neither is a file of that name."""
        return isinstance(other, HeldImage) and str(self) == str(other) and self.content == other.content

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.content)

    def open(self) -> BinaryIO:
        return io.BytesIO(self.content)


def source_of(image: object, name: str | None = None) -> str:
    """What every verb reads an image from: a path stays a path, what is in memory becomes a `HeldImage`.

    A Pillow image keeps its pixels and its mode; an array or a tensor is read as the `.npy` file of it would be
    (`[H, W]`, `[H, W, C]`, `[C, H, W]`, or with a batch of one): integers in 0..255, floats in 0..1. Raises ImageError
    for anything else.

    >>> import numpy as np
    >>> source_of("cat.png"), source_of(np.zeros((8, 8, 3), np.uint8))
    ('cat.png', 'array [8, 8, 3]')
    """
    if isinstance(image, HeldImage):
        return image if name is None else HeldImage(name, image.content)
    if isinstance(image, (str, Path)):
        return str(image)
    if hasattr(image, "detach"):  # a tensor, of whatever device
        array = image.detach().cpu()
        array = (array.float() if array.dtype.is_floating_point else array).numpy()
        return HeldImage(name or f"tensor {[*array.shape]}", _npy(array))
    if hasattr(image, "save") and hasattr(image, "getbands"):
        return HeldImage(name or getattr(image, "filename", "") or "image", _picture(image))
    if hasattr(image, "__array__"):
        import numpy as np

        array = np.asarray(image)
        return HeldImage(name or f"array {[*array.shape]}", _npy(array))
    raise ImageError(
        f"{type(image).__name__} is not an image.", hint="Give a path, a Pillow image, a NumPy array or a tensor."
    )


def _npy(array: np.ndarray) -> bytes:
    import numpy as np

    if array.dtype.hasobject:
        raise ImageError(
            "an array of Python objects is not an image.", hint="Convert it to numbers, for example uint8."
        )
    held = io.BytesIO()
    np.save(held, array, allow_pickle=False)
    return held.getvalue()


def _picture(image: Any) -> bytes:
    """The picture as a TIFF without losses, which has all of Pillow's modes but palettes and colour spaces."""
    if image.mode in ("P", "PA", "YCbCr", "LAB", "HSV", "RGBX", "La", "RGBa"):
        image = image.convert("RGBA" if "A" in image.mode or "transparency" in image.info else "RGB")
    held = io.BytesIO()
    image.save(held, "TIFF")
    return held.getvalue()
