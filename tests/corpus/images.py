"""Odd, damaged and hostile pictures."""

from __future__ import annotations

import functools
import io
import itertools
import pickle
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import hostile
import numpy as np
from hostile import COMMAND, MARKER, Code
from PIL import Image

from corpus.cases import MODEL, READING, Case, about

MODES = "1 L LA La P PA RGB RGBA RGBa RGBX CMYK YCbCr LAB HSV I I;16 I;16B F".split()


FORMATS = "png jpg webp tif bmp gif ppm tga ico jp2 avif dds pcx sgi im qoi icns msp xbm spi palm blp".split()


@functools.cache
def picture(suffix: str, mode: str, size: tuple[int, int] = (24, 17), **options: Any) -> bytes | None:
    """A picture of noise; None where the format has no such mode."""
    try:
        noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        image = Image.fromarray(noise)
        image = image.convert(mode) if mode in ("L", "P", "CMYK", "YCbCr", "LAB", "HSV", "RGBA") else _in(image, mode)
        buffer = io.BytesIO()
        kind = {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000", "spi": "SPIDER"}.get(suffix, suffix.upper())
        image.save(buffer, kind, **options)
    except Exception:  # Pillow's writers refuse in many ways
        return None
    return buffer.getvalue()


def _in(image: Image.Image, mode: str) -> Image.Image:
    gray = image.convert("L")
    if mode in ("RGBa", "RGBX", "La", "LA", "PA"):
        with_alpha = image.convert("RGBA") if mode.startswith("RGB") else gray.convert("LA")
        return with_alpha.convert(mode)
    return gray.convert("I").convert(mode) if mode.startswith("I") or mode == "F" else image.convert(mode)


def png(width: int, height: int, bits: int, colour: int, content: bytes, more: bytes = b"") -> bytes:
    """A PNG file with this header around the compressed content."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + more + _chunk(b"IDAT", zlib.compress(content)) + _chunk(b"IEND", b"")


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def image_files() -> Iterator[tuple[str, str, bytes, bool]]:
    """Kind, name, content, and whether it has to be read."""
    for suffix, mode in itertools.product(FORMATS, MODES):
        content = picture(suffix, mode)
        if content is not None:
            yield "image modes", f"{mode}.{suffix}", content, False
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
    for colour, depths in {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}.items():
        palette = _chunk(b"PLTE", bytes(range(256)) * 3) if colour == 3 else b""
        for bits in depths:
            row = b"\0" + bytes(range(-(-9 * bits * channels[colour] // 8)))
            yield "image modes", f"png-{colour}-{bits}.png", png(9, 7, bits, colour, row * 7, palette), True
    for suffix, orientation in itertools.product(("jpg", "png", "webp", "tif"), (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 60_000)):
        exif = Image.Exif()
        exif[0x0112] = orientation
        content = picture(suffix, "RGB", exif=exif.tobytes())
        if content is not None:
            yield "image orientations", f"{orientation}.{suffix}", content, True
    for suffix, size in itertools.product(
        ("png", "jpg", "webp", "tif", "bmp", "gif", "ppm"), ((1, 1), (1, 20_000), (20_000, 1), (2, 3), (1, 65_000))
    ):
        content = picture(suffix, "RGB", size)
        if content is not None:
            yield "image sizes", f"{size[0]}x{size[1]}.{suffix}", content, size in ((1, 1), (2, 3))
    for suffix in FORMATS:
        whole = next((found for mode in ("RGB", "L", "RGBA", "1", "P", "F") if (found := picture(suffix, mode))), None)
        for name, broken in hostile.damaged(whole, seed=11, count=12) if whole else ():
            yield "images damaged", f"{name}.{suffix}", broken, False
    yield from (("image bombs", name, content, False) for name, content in image_bombs().items())
    yield from (("images that are none", name, content, False) for name, content in no_images().items())


def image_bombs() -> dict[str, bytes]:
    """Pictures that claim more than anybody has, or that grow when they are read."""
    zeros = zlib.compress(b"\0" * (100 << 20))
    text = _chunk(b"zTXt", b"Comment\0\0" + zeros)
    profile = _chunk(b"iCCP", b"icc\0\0" + zeros)
    frames = [Image.new("P", (4000, 4000), number % 2) for number in range(12)]
    gif = io.BytesIO()
    frames[0].save(gif, "GIF", save_all=True, append_images=frames[1:])
    jpeg, bitmap = bytearray(picture("jpg", "RGB") or b""), bytearray(picture("bmp", "RGB") or b"")
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_535, 65_535)
    negative = bytearray(bitmap)
    negative[18:26] = struct.pack("<ii", -(2**31), -(2**31))
    bitmap[18:26] = struct.pack("<ii", 2**31 - 1, 2**31 - 1)
    return {
        "claims-900-million.png": png(30_000, 30_000, 8, 2, b""),
        "claims-90-million.png": png(9_500, 9_500, 8, 2, b""),
        "claims-most.png": png(2**31 - 1, 2**31 - 1, 16, 6, b""),
        "just-below.png": png(9_000, 9_000, 1, 0, (b"\0" + b"\0" * 1125) * 9_000),
        "just-below-16.png": png(9_000, 9_000, 16, 6, b""),
        "text.png": png(2, 2, 8, 0, b"\0ab" * 2, text),
        "many-texts.png": png(2, 2, 8, 0, b"\0ab" * 2, text * 40),
        "profile.png": png(2, 2, 8, 0, b"\0ab" * 2, profile),
        "more-than-claimed.png": png(2, 2, 8, 0, b"\0" * (200 << 20)),
        "frames.gif": gif.getvalue(),
        "claims.gif": b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0x80, 0, 0) + b"\0" * 6 + b",\0\0\0\0",
        "claims.jpg": bytes(jpeg),
        "claims.bmp": bytes(bitmap),
        "negative.bmp": bytes(negative),
        "claims.ppm": b"P6 99999999 99999999 255\n",
        "digits.ppm": b"P6 " + b"9" * 100_000 + b" 1 255\n",
        "comment.ppm": b"P6 #" + b"x" * 5_000_000,
        "strips.tif": _tiff({256: 65_535, 257: 65_535, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: 1, 279: 2**32 - 1}),
        "samples.tif": _tiff({256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 65_535, 279: 4}),
        "itself.tif": _tiff({256: 4, 257: 4, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 279: 16}, following=8),
    }


def _tiff(tags: Mapping[int, int], following: int = 0) -> bytes:
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<I", following) + b"\0" * 64


def no_images() -> dict[str, bytes]:
    """What stands under an image's name, programs among it."""
    eps = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 40\n%%EndComments\n"
    pipe = f"(%pipe%touch {MARKER}) (w) file\nshowpage\n%%EOF\n"
    dos = struct.pack("<IIIII", 0xC6D3D0C5, 30, len(eps + pipe), 0, 0) + b"\0" * 10
    return {
        "a.eps": (eps + pipe).encode(),
        "eps.png": (eps + pipe).encode(),
        "dos.eps": dos + (eps + pipe).encode(),
        "a.svg": f'<svg xmlns="http://www.w3.org/2000/svg"><script>{COMMAND}</script></svg>'.encode(),
        "a.mvg": f"push graphic-context\nfill 'url(https://a\"|touch {MARKER}\")'\n".encode(),
        "a.html": b"<html><body>404</body></html>",
        "pickle.png": pickle.dumps(Code()),
        "zip.png": hostile.zipped({"a.png": b""}),
        "empty.png": b"",
        "zeros.jpg": b"\0" * 100_000,
        "text.png": "Kein Bild, ein Text: äöü\n".encode("latin-1") * 1000,
        "only-magic.png": b"\x89PNG\r\n\x1a\n",
        "only-magic.jpg": b"\xff\xd8\xff",
        "a.pdf": b"%PDF-1.7\n1 0 obj<</OpenAction<</S/Launch>>>>endobj",
        "a.wmf": b"\xd7\xcd\xc6\x9a" + b"\0" * 100,
        "a.fits": b"SIMPLE  =                    T".ljust(80) + b"END".ljust(80),
        "a.h5": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
        "a.xpm": b'/* XPM */ static char*a[]={"99999 99999 99999 9",' + b"};",
        "a.xbm": b"#define a_width 99999999\n#define a_height 99999999\nstatic char a_bits[] = {\n",
        "a.mp4": b"\0\0\0\x20ftypisom" + b"\0" * 64,
    }


def images() -> Iterator[Case]:
    for number, (kind, name, content, sound) in enumerate(image_files()):
        command = READING[number % len(READING)]
        yield Case(kind, name, about(command, name) + MODEL, {name: content}, sound)
