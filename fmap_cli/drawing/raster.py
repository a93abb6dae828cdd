"""A scene as pixels: with Pillow, and its charts with Matplotlib."""

from __future__ import annotations

import struct
from functools import lru_cache
from math import ceil, modf
from typing import IO, TYPE_CHECKING, Any
from zlib import crc32

import numpy as np

from ..errors import OutputError
from .charts import charts, style
from .scene import Box, Picture, Plot, Scene, Text, font

if TYPE_CHECKING:
    from PIL.Image import Image

_PNG_COMPRESSION = 1
"""ISA-L's level: a page takes a fifth of the time of zlib's level 1 or less, and its file is as large to 3 %."""
_PNG_BAND_BYTES = 1 << 22
_MOST_PX = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}  # of either side


def rasterise(scene: Scene) -> Image:
    """The scene as an RGB image."""
    from PIL import Image, ImageDraw

    page = Image.new("RGB", (scene.width, scene.height), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for item in scene.items:
        if isinstance(item, Text) and item.turned:
            _draw_turned(page, item)
        elif isinstance(item, Text):
            _draw_text(draw.draw, item)
        elif isinstance(item, Picture):
            picture = Image.fromarray(item.pixels)
            height, width = item.size
            if picture.size != (width, height):
                smooth = Image.Resampling.LANCZOS if item.smooth else Image.Resampling.NEAREST
                picture = picture.resize((width, height), smooth)
            page.paste(picture, (item.x, item.y))
        elif isinstance(item, Box):
            corners = (item.x, item.y, item.x + item.width - 1, item.y + item.height - 1)
            if corners[2] >= corners[0] and corners[3] >= corners[1]:
                draw.rectangle(corners, item.fill, item.outline)
    if any(isinstance(item, Plot) for item in scene.items):
        layer = _draw_charts(scene)
        page.paste(layer, (0, 0), layer)
    return page


def _draw_charts(scene: Scene) -> Image:
    """The page's charts, on nothing."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    with style():
        canvas = FigureCanvasAgg(charts(scene))
        canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba()))


def _draw_text(pen: Any, text: Text) -> None:
    """A text that reads from left to right, as `ImageDraw.text` draws it; `pen` is what that draws with."""
    (x_rest, x), (y_rest, y) = modf(text.x), modf(text.y)
    letters, (left, top) = _letters(text.text, text.size, text.bold, text.align, x_rest, y_rest)
    pen.draw_bitmap((int(x) + left, int(y) + top), letters, pen.draw_ink(text.colour))


@lru_cache(maxsize=1024)
def _letters(text: str, size: int, bold: bool, align: str, x: float, y: float) -> Any:
    """A text as a mask, and where its corner lies, when the text stands at this fraction of a pixel.

    Most of a figure's texts stand on the next one as well, and their letters are half of what a page takes to paint.
    """
    anchor = {"left": "la", "right": "ra", "middle": "ma"}[align]
    return font(size, bold).getmask2(text, "L", anchor=anchor, start=(x, y))


def _draw_turned(page: Image, text: Text) -> None:
    """A text that reads upwards: drawn level as a mask, turned, and painted through it."""
    from PIL import Image, ImageDraw

    letters = font(text.size, text.bold)
    size = (max(ceil(letters.getlength(text.text)), 1), sum(letters.getmetrics()))
    mask = Image.new("L", size)
    ImageDraw.Draw(mask).text((0, 0), text.text, 255, letters, "la")
    mask = mask.transpose(Image.Transpose.ROTATE_90)
    top = text.y - {"left": mask.height, "middle": mask.height / 2, "right": 0}[text.align]
    page.paste(text.colour, (round(text.x), round(top)), mask)


def write_image(image: Image, file: IO[bytes], suffix: str) -> None:
    """Encode an RGB image as the format of `suffix` (`.png`, `.jpg`, `.jpeg` or `.webp`).

    Raises OutputError where the format ends before the picture does.
    """
    most = _MOST_PX.get(suffix)
    if most is not None and max(image.size) > most:
        width, height = image.size
        raise OutputError(
            f"the picture is {width} pixels wide and {height} high, and {suffix} ends at {most}.",
            hint="Write .png, or draw less on one page.",
        )
    if suffix == ".png":
        _write_png(np.asarray(image), file)
    elif suffix == ".webp":
        image.save(file, "WEBP", lossless=True, quality=40)
    else:
        image.save(file, "JPEG", quality=92, subsampling=0)


def _write_png(pixels: np.ndarray, file: IO[bytes]) -> None:
    """Write `[height, width, 3]` uint8 as a PNG (ISO/IEC 15948), in which each row is what it adds to the one above.

    An enlarged map's rows repeat, so most of what is written are zeros. Pillow tries all five filters on every row,
    which takes several times as long as compressing them, for files a sixth smaller.
    """
    from isal import isal_zlib

    height, width, _ = pixels.shape
    rows = pixels.reshape(height, width * 3)
    file.write(b"\x89PNG\r\n\x1a\n")
    _write_chunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    packer = isal_zlib.compressobj(_PNG_COMPRESSION)
    above = np.zeros_like(rows[:1])
    step = max(_PNG_BAND_BYTES // max(width * 3, 1), 1)
    for start in range(0, height, step):
        band = rows[start : start + step]
        lines = np.full((len(band), width * 3 + 1), 2, np.uint8)  # a line begins with its filter: 2 is Up
        np.subtract(band, np.concatenate([above, band[:-1]]), out=lines[:, 1:])
        above = band[-1:]
        _write_chunk(file, b"IDAT", packer.compress(lines.data))
    _write_chunk(file, b"IDAT", packer.flush())
    _write_chunk(file, b"IEND", b"")


def _write_chunk(file: IO[bytes], kind: bytes, content: bytes) -> None:
    if content or kind == b"IEND":
        file.write(struct.pack(">I", len(content)) + kind + content + struct.pack(">I", crc32(content, crc32(kind))))
