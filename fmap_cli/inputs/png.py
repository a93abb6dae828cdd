"""The 16-bit colours of a PNG, which Pillow reduces to 8 bits."""

from __future__ import annotations

import itertools
import warnings
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image


def sixteen_bit_colours(stream: BinaryIO, image: Image.Image) -> np.ndarray | None:
    """The 16-bit colours of a PNG as `[C, H, W]` uint16, upright; None where they cannot be had.

    Pillow has no picture of more than 8 bits with colours, and torchvision reads one.
    """
    from ..frameworks import load_torchvision

    if image.mode not in ("RGB", "RGBA", "LA") or "transparency" in image.info:
        return None
    load_torchvision()
    import torch

    try:
        from torchvision.io import decode_image

        stream.seek(0)
        sound = _sound_png(stream.read())
        if sound is None:
            return None
        encoded = torch.frombuffer(bytearray(sound), dtype=torch.uint8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # where it is gone, Pillow's 8 bits are what there is
            values: np.ndarray = decode_image(encoded, apply_exif_orientation=True).numpy()
    except (RuntimeError, ImportError, OSError):  # a build of torchvision without its image library
        return None
    return values if values.dtype == "uint16" and values.shape[1:] == (image.height, image.width) else None


def _sound_png(content: bytes) -> bytes | None:
    """The parts of a PNG that make its picture, whole and undamaged; None where they are not.

    torchvision's reader may end the process over a damaged one: what libpng would refuse must not reach it.
    """
    import struct
    import zlib

    parts, data, at = [content[:8]], [], 8
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        name, end = content[at + 4 : at + 8], at + 12 + length
        if end > len(content) or zlib.crc32(content[at + 4 : end - 4]) != int.from_bytes(content[end - 4 : end], "big"):
            return None
        if name in (b"IHDR", b"IDAT", b"eXIf", b"IEND"):
            parts.append(content[at:end])
        if name == b"IDAT":
            data.append(content[at + 8 : end - 4])
        at = end
        if name == b"IEND":
            break
    else:
        return None
    width, height, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    pixel_bits = bits * {0: 1, 2: 3, 4: 2, 6: 4}.get(colour, 1)
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    rows = [0]  # the bytes of every row, with its filter's number before it
    for x, y, across, down in passes:
        columns = -(-(width - x) // across)
        if columns > 0:
            rows += [1 + -(-columns * pixel_bits // 8)] * max(0, -(-(height - y) // down))
    unpacking = zlib.decompressobj()
    try:
        raw = unpacking.decompress(b"".join(data), sum(rows) + 1)
    except zlib.error:
        return None
    starts = itertools.accumulate(rows[:-1])
    if len(raw) != sum(rows) or not unpacking.eof or any(raw[start] > 4 for start in starts):
        return None
    return b"".join(parts)


# The first pixel of each pass of an interlaced PNG, across and down, and the steps to the next ones.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
