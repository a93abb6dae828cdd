"""Pillow's limit of pixels, held against what is read and against what resizing would make of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ImageError
from ..models.records import Preprocessing

if TYPE_CHECKING:
    from .records import Picture


def check_sizes(size: tuple[int, int], preprocessing: Preprocessing, label: str) -> None:
    """Refuses, before anything is allocated, what resizing or cropping would blow up beyond Pillow's limit.

    A 1 × 20000 picture whose shorter side becomes 256 is 256 × 5120000.
    """
    height, width = _resized(size, preprocessing.resize)
    _check_limit(f"{label}, {size[0]} × {size[1]}, resized to {height} × {width}", height * width)
    if preprocessing.crop is not None:
        crop_height, crop_width = preprocessing.crop
        _check_limit(f"the crop {crop_height} × {crop_width}", crop_height * crop_width)


def _resized(size: tuple[int, int], resize: int | tuple[int, int] | None) -> tuple[int, int]:
    """Height and width after torchvision's `resize`.

    >>> _resized((400, 600), 256)
    (256, 384)
    """
    if resize is None:
        return size
    if not isinstance(resize, int):
        return resize
    longer = int(resize * max(size) / min(size))
    return (resize, longer) if size[0] <= size[1] else (longer, resize)


def _check_limit(what: str, pixels: int) -> None:
    limit = pixel_limit()
    if limit is not None and pixels > limit:
        raise too_large(what, f"{pixels:,} pixels")


def too_large(what: str, size: str) -> ImageError:
    return ImageError(
        f"{what} is too large: {size}; the limit is {pixel_limit():,} pixels.",
        hint="Crop or shrink the picture first.",
    )


def pixel_limit() -> int | None:
    from PIL import Image

    return Image.MAX_IMAGE_PIXELS


def height_width(picture: Picture) -> tuple[int, int]:
    import numpy as np

    if isinstance(picture, np.ndarray):
        return picture.shape[-2], picture.shape[-1]
    return picture.height, picture.width
