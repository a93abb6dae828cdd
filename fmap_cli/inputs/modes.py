"""Pictures and arrays of any mode in the number of channels that the network takes; transparency laid on white."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ImageError
from ..models.records import Preprocessing
from .ranges import alpha_to_unit, to_unit

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def as_values(planes: np.ndarray, preprocessing: Preprocessing, notes: list[str], label: str) -> np.ndarray:
    """`[C, H, W]` of any numbers as float32 in 0..1 with the network's channels; adds what was done to `notes`."""
    import numpy as np

    channels = preprocessing.channels
    if len(planes) in (2, 4) and len(planes) != channels:
        notes.append("transparency laid on white")
        alpha = alpha_to_unit(planes[-1])
        planes = planes[:-1]
    else:
        alpha = None
    values, said = to_unit(planes, label, preprocessing.value_range)
    notes += said
    if values.dtype == np.uint8:
        values = values.astype(np.float32) / np.float32(255)
    if alpha is not None:
        values = values * alpha + (1 - alpha)
    if channels == 1 and len(values) > 1:
        notes.append("converted to gray: the network takes one channel")
    return _fit_channels(values, channels)


@contextmanager
def quiet_pillow() -> Iterator[None]:
    """Keeps Pillow's remarks on odd metadata off stderr; its warning of a decompression bomb is an error."""
    from PIL import Image

    logger, silence = logging.getLogger("PIL"), logging.NullHandler()
    logger.addHandler(silence)  # without a handler, logging prints errors on stderr as a last resort
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            yield
    finally:
        logger.removeHandler(silence)


def as_network_mode(image: Image.Image, channels: int, notes: list[str], label: str) -> Image.Image:
    """The picture in mode RGB, or L where the network takes one channel; adds what was done to `notes`."""
    from PIL import ImageChops

    try:
        with quiet_pillow():
            image = _flatten(image, notes)
    except (ValueError, OSError) as error:  # a mode or a palette that Pillow has no way to RGB for
        raise ImageError(
            f"{label} cannot be turned into RGB from mode {image.mode}: {error}.",
            hint="Save it as an RGB picture.",
        ) from None
    if channels == 3:
        return image
    gray = image.convert("L")
    if ImageChops.difference(image, gray.convert("RGB")).getbbox():
        notes.append("converted to gray: the network takes one channel")
    return gray


def _flatten(image: Image.Image, notes: list[str]) -> Image.Image:
    """The picture in RGB; where it is transparent, white shows through."""
    from PIL import Image

    if image.mode in ("La", "RGBa"):  # colours stored multiplied by alpha
        image = image.convert("LA" if image.mode == "La" else "RGBA")
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    if image.getchannel("A").getextrema()[0] == 255:
        return image.convert("RGB")
    notes.append("transparent pixels laid on white")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def to_pillow(values: np.ndarray) -> Image.Image:
    """`[C, H, W]` uint8 of 1, 3 or 4 channels as a picture in mode L, RGB or RGBA."""
    import numpy as np
    from PIL import Image

    channels_last = values[0] if len(values) == 1 else values.transpose(1, 2, 0)  # [H, W] or [H, W, C]
    return Image.fromarray(np.ascontiguousarray(channels_last))


def _fit_channels(values: np.ndarray, channels: int) -> np.ndarray:
    """`[C, H, W]` float32 in 0..1 with the network's number of channels: luma for gray, gray repeated."""
    import numpy as np

    if len(values) == channels:
        return values
    if channels == 1 and len(values) == 3:
        weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # ITU-R BT.601 luma, as Pillow's mode L
        values = (weights[:, None, None] * values).sum(0, keepdims=True)  # [1, H, W]
    return np.broadcast_to(values, (channels, *values.shape[1:]))
