"""The pictures of a page that need no script: the photo, the labelled photo, and a few tiles of each layer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import units
from ..answers.figure import LEGEND_ROWS, class_colours, class_legend, label_picture
from ..answers.names import background_class
from ..drawing.grid import Placement, draw_tiles, palette
from .planes import Codes, read

if TYPE_CHECKING:
    from .records import PageLayer, Pass

EXACT_PIXELS, MOST_EXACT_PIXELS = 1 << 19, 1 << 22
"""Photos of no more pixels stay as they are, as PNG, those that arithmetic reads up to the second number; larger ones
become JPEG.
"""

_TILES, _ACROSS = 16, 8
_TILE = 48


def is_kept_exactly(pixels: np.ndarray, *, is_read: bool) -> bool:
    """Whether a page has the very pixels of a photo, which the arithmetic of a convolution reads or not."""
    return pixels.shape[0] * pixels.shape[1] <= (MOST_EXACT_PIXELS if is_read else EXACT_PIXELS)


def picture_of(pixels: np.ndarray, exact: bool = True) -> tuple[bytes, str]:
    """A picture's file, and which kind of picture it is: a PNG where it is kept exactly, else a JPEG."""
    from PIL import Image

    held = io.BytesIO()
    if exact:
        Image.fromarray(pixels).save(held, "PNG")
        return held.getvalue(), "png"
    Image.fromarray(pixels).save(held, "JPEG", quality=90)
    return held.getvalue(), "jpeg"


def labelled_picture(one: Pass, labels: Sequence[str], *, plain: bool) -> tuple[bytes, list[dict[str, Any]]]:
    """The photo tinted by each pixel's class (`plain`: the classes' colours alone), and the classes by their share."""
    assert one.label_map is not None
    colours, background = class_colours(len(labels)), background_class(labels)
    photo = np.full_like(one.image.pixels, 255) if plain else one.image.pixels
    legend = [
        {"label": units.one_line(name), "share": share, "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for name, share, colour in class_legend(one.label_map, labels)[:LEGEND_ROWS]
    ]
    held = io.BytesIO()
    from PIL import Image

    Image.fromarray(label_picture(one.label_map, photo, colours, background)).save(held, "JPEG", quality=88)
    return held.getvalue(), legend


def contact_sheet(layer: PageLayer, codes: Codes) -> tuple[bytes, list[int]]:
    """The channels of the largest standard deviation as tiles, each with its own scale, and which these are."""
    from PIL import Image

    spread = np.where(np.isnan(layer.channels.std), -np.inf, layer.channels.std)
    channels = [int(each) for each in np.argsort(-spread, kind="stable")[:_TILES]]
    own = Codes(codes.values[channels, :1])
    reading = layer.reading
    part = type(reading)(reading.low[channels], reading.step[channels], reading.clamp, 0.0, 0.0)
    maps = read(own, part)[:, 0]
    height, width = maps.shape[1:]
    scale = _TILE / max(height, width)
    tile = (max(round(height * scale), 1), max(round(width * scale), 1))
    low, high = layer.channels.min[channels], layer.channels.max[channels]
    placement = Placement(len(channels), min(_ACROSS, len(channels)), tile, (2, 2))
    pixels = draw_tiles(maps, low, high, palette("viridis"), placement)
    held = io.BytesIO()
    Image.fromarray(pixels).quantize(128, dither=Image.Dither.NONE).save(held, "PNG")
    return held.getvalue(), channels
