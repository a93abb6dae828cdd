"""Every kind of odd, damaged and hostile input as a command of its own: what fmap is given, and in which files.

The cases are made on the spot. After each there is a result or one clear line, within 20 seconds and 2 GiB; nothing
that a file asks for has run, and nothing is left behind. `test_corpus.py` runs them.
"""

from __future__ import annotations

import functools
import io
import itertools
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import torch
from hostile import COMMAND, MARKER, TERA, Code
from misbehaving import GUESTS, SAID
from PIL import Image
from torch import nn

NETWORK = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

def numbers():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
"""
MODEL = ("-m", "net.py:make", "--size", "16,16")
# What a reader might start: each makes the marker.
PROGRAMS = ("gs", "gswin32c", "convert", "djpeg", "xdg-open")


@dataclass(frozen=True)
class Case:
    """`fmap COMMAND` in a folder with these files. `sound`: there has to be a result."""

    kind: str
    name: str
    command: tuple[str, ...]
    files: Mapping[str, bytes]
    sound: bool = False


def prepare(case: Case, folder: Path) -> dict[str, str]:
    """Put the case's files into an empty folder; returns the environment in which nothing else can start."""
    (folder / "net.py").write_text(NETWORK)
    (folder / "bin").mkdir()
    (folder / "temporary").mkdir()
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\ntouch '{folder / MARKER}'\n")
        program.chmod(0o755)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "BROWSER": f"touch {MARKER} %s",
        "TMPDIR": str(folder / "temporary"),
        "COLUMNS": "80",
    }


# --- Images -------------------------------------------------------------------------------------------

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


READING: tuple[tuple[str, ...], ...] = (
    ("predict", "FILE"),
    ("show", "FILE", "-o", "figure.png", "--overlay"),
    ("stats", "FILE", "--workers", "1"),
    ("embed", "FILE", "-l", "last", "-o", "vectors.npz"),
    ("compare", "FILE", "--vs-dtype", "bfloat16"),
    ("layers", "--image", "FILE"),
)


def images() -> Iterator[Case]:
    for number, (kind, name, content, sound) in enumerate(image_files()):
        command = READING[number % len(READING)]
        yield Case(kind, name, _about(command, name) + MODEL, {name: content}, sound)


def _about(command: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(name if word == "FILE" else word for word in command)


# --- Arrays -------------------------------------------------------------------------------------------


def header(shape: str, dtype: str = "'|u1'", order: str = "False", version: int = 1, more: str = "") -> bytes:
    """The beginning of an `.npy` file."""
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, {more}}}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text


def npy(array: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, **how)
    return buffer.getvalue()


def arrays() -> dict[str, bytes]:
    """Files that begin as `.npy` does, and those named so."""
    values = np.random.default_rng(0).random((16, 16, 3))
    files = {
        f"{kind}": npy((values * 200).astype(kind)) for kind in "u1 i1 u2 i2 u4 i4 u8 i8 f2 f4 f8 g ? c8 c16".split()
    }
    files |= {f"big-endian-{kind}": npy((values * 200).astype(f">{kind}")) for kind in ("u2", "i4", "f4", "f8")}
    files |= {f"axes-{count}": npy(np.zeros((2,) * count, np.uint8)) for count in range(9)}
    files |= {f"{shape}": npy(np.zeros(shape, np.uint8)) for shape in ((1, 1, 3), (1, 20_000), (20_000, 1), (0, 4, 3))}
    files |= {f"version-{version}": header("(2, 2, 3)", version=version) + b"\0" * 12 for version in (1, 2, 3, 4, 255)}
    odd = np.array([[np.nan, np.inf], [-np.inf, 1e300]])
    deep = "(" * 200 + ")" * 200
    return files | {
        "fortran": npy(np.asfortranarray(values)),
        "not-finite": npy(odd),
        "tiny": npy(values * 1e-300),
        "objects-code": npy(np.array([[Code()] * 4] * 4, object), allow_pickle=True),
        "objects": npy(np.array([[None] * 4] * 4, object), allow_pickle=True),
        "objects-header": header("(2, 2)", "'|O'") + pickle.dumps(Code()),
        "record": npy(np.zeros((4, 4), [("r", "u1"), ("g", "u1")])),
        "record-objects": header("(2, 2)", "[('a', '|O')]") + pickle.dumps(Code()),
        "text": npy(np.array([["ab", "cd"], ["é", "f"]])),
        "bytes": npy(np.array([[b"ab", b"cd"]])),
        "dates": npy(np.zeros((4, 4), "M8[s]")),
        "void": npy(np.zeros((4, 4), "V7")),
        "subarray": header("(2, 2)", "('<f8', (1000000, 1000000))"),
        "claims-10TB": header(f"({TERA}, 1, 3)"),
        "claims-10TB-float": header(f"(1, {TERA}, 3)", "'<f8'"),
        "claims-overflow": header("(4611686018427387904, 4, 3)", "'<f8'"),
        "claims-bytes": header("(3, 16, 16)", f"'|V{TERA}'"),
        "claims-text": header("(4, 4)", "'<U2000000000'"),
        "claims-more": header("(300, 400, 3)") + b"\0" * 99,
        "claims-below": header("(8000, 8000, 3)", "'<f8'"),
        "claims-batch": header(f"({TERA}, 16, 16, 3)"),
        "negative": header("(-5, 4, 3)"),
        "shape-no-number": header("(5, 4, 'x')"),
        "shape-float": header("(5.0, 4)"),
        "shape-true": header("(True, True, 3)") + b"\0" * 3,
        "shape-long": header("(" + "1, " * 5_000 + ")") + b"\0",
        "shape-digits": header("(" + "9" * 5_000 + ", 4)"),
        "code": header(f"({COMMAND}, 4)"),
        "code-dtype": header("(4, 4)", COMMAND),
        "code-dtype-text": header("(4, 4)", repr(COMMAND)),
        "code-name": header("(4, 4)", f"[({COMMAND!r}, '|u1')]") + b"\0" * 16,
        "deep": header(deep),
        "deeper": header("(" * 4_000 + ")" * 4_000),
        "signs": header("(" + "-" * 9_000 + "1,)"),
        "key-missing": b"\x93NUMPY\1\0\x10\0{'descr': '|u1'}",
        "key-more": header("(4, 4)", more="'other': 1") + b"\0" * 16,
        "no-dict": b"\x93NUMPY\1\0\x04\0{{{{",
        "header-4GB": b"\x93NUMPY\2\0" + struct.pack("<I", 2**32 - 1) + b"{",
        "header-16MB": b"\x93NUMPY\2\0" + struct.pack("<I", 16 << 20) + b" " * (16 << 20),
        "header-no-utf8": b"\x93NUMPY\3\0" + struct.pack("<I", 20) + b"\xff" * 20,
        "header-nul": header("(4, 4)\0"),
        "fortran-odd": header("(4, 4, 3)", order="3") + b"\0" * 48,
        "fortran-text": header("(4, 4, 3)", order="'yes'") + b"\0" * 48,
        "only-magic": b"\x93NUMPY",
        "trailing": npy(np.zeros((4, 4), np.uint8)) + b"more" * 1000,
    }


def npy_cases() -> Iterator[Case]:
    plain = npy(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    fortran = npy(np.asfortranarray(np.random.default_rng(0).random((16, 16, 3))))
    files = arrays()
    for seed, whole in enumerate((plain, fortran)):
        files |= {f"damaged-{seed}-{name}": broken for name, broken in hostile.damaged(whole, seed=seed, count=40)}
    # Most damage hits the numbers: here the header alone.
    for name, broken in hostile.damaged(plain[:128], seed=5, count=40):
        files[f"header-{name}"] = broken + plain[128:]
    for number, (name, content) in enumerate(files.items()):
        command = READING[number % len(READING)]
        yield Case("npy", name, _about(command, "a.npy") + MODEL, {"a.npy": content}, name in ("u1", "fortran"))
        numbers = ("predict", "a.npy", "-m", "net.py:numbers", "--input-shape", "3,2,2")
        yield Case("npy as it is", name, numbers, {"a.npy": content})


def npz_cases() -> Iterator[Case]:
    plain, code = npy(np.zeros((16, 16, 3), np.uint8)), npy(np.array([Code()], object), allow_pickle=True)
    name = "net/data.pkl"
    bad = bytearray(hostile.zipped({"aaaa.npy": plain}))
    for _ in range(2):
        at = bad.index(b"aaaa")
        bad[at : at + 4] = b"\xff\xfe\xfd\xfc"
    files = {
        "plain": hostile.zipped({"a.npy": plain}),
        "code": hostile.zipped({"a.npy": code}),
        "bomb": hostile.zipped({"a.npy": header("(1073741824,)") + b"\0" * (256 << 20)}, zipfile.ZIP_DEFLATED),
        "claims": hostile.zipped({"a.npy": header(f"({TERA},)")}),
        "names": bytes(bad),
        "empty": hostile.zipped({}),
        "weights": hostile.zipped({"0.weight.npy": npy(np.zeros((4, 3, 3, 3), np.float32))}),
        "beside": hostile.zipped({"a.npy": plain, name: pickle.dumps(Code(), 2)}),
    }
    files |= dict(hostile.damaged(files["plain"], seed=3, count=16))
    for name, content in files.items():
        for command in (("predict", "a.npz"), ("show", "-w", "a.npz", "-o", "figure.png")):
            yield Case("npz", f"{name} {command[0]}", (*command, *MODEL), {"a.npz": content})
        yield Case("npz", f"{name} run", ("stats", "--load", "a.npz"), {"a.npz": content})


# --- Weights ------------------------------------------------------------------------------------------


@functools.cache
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def sound_safetensors() -> bytes:
    from safetensors.torch import save

    return bytes(save(dict(network().state_dict()), {"note": "sound"}))


def safetensors_files() -> dict[str, bytes]:
    whole = sound_safetensors()
    length = struct.unpack("<Q", whole[:8])[0]
    table, content = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    first = next(name for name in table if name != "__metadata__")

    def changed(**fields: Any) -> bytes:
        return laid({**table, first: {**table[first], **fields}})

    def laid(table: Any, *, content: bytes = content) -> bytes:
        text = table if isinstance(table, bytes) else json.dumps(table).encode()
        return struct.pack("<Q", len(text)) + text + content

    no_utf8 = json.dumps({**table, "__metadata__": {"note": "QQ"}}).encode().replace(b"QQ", b"\xff\xfe")
    files = {
        "sound": whole,
        "metadata-command": laid({**table, "__metadata__": {"note": COMMAND, "factory": "antigravity:fly"}}),
        "metadata-number": laid({**table, "__metadata__": {"note": 3}}),
        "metadata-nested": laid({**table, "__metadata__": {"note": {"a": "b"}}}),
        "metadata-list": laid({**table, "__metadata__": []}),
        "metadata-huge": laid({**table, "__metadata__": {"note": "x" * (30 << 20)}}),
        "metadata-many": laid({**table, "__metadata__": {str(number): "x" for number in range(300_000)}}),
        "metadata-no-utf8": laid(no_utf8),
        "metadata-surrogate": laid({**table, "__metadata__": {"note": "\ud800\udfff\udcff"}}),
        "metadata-escapes": laid({**table, "__metadata__": {"note": "\x1b[2J\x07"}}),
        "name-escapes": laid({f"\x1b[2J{name}": row for name, row in table.items() if name != "__metadata__"}),
        "name-empty": laid({"": table[first]}),
        "name-long": laid({"n" * 1_000_000: table[first]}),
        "names-twice": laid(json.dumps(table).encode()[:-1] + b"," + json.dumps({first: table[first]}).encode()[1:]),
        "names-many": laid({f"{n}": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]} for n in range(200_000)}),
        "shape-10TB": changed(shape=[TERA]),
        "shape-overflow": changed(shape=[2**63, 4]),
        "shape-negative": changed(shape=[-4, 3, 3, 3]),
        "shape-float": changed(shape=[4.0, 3, 3, 3]),
        "shape-text": changed(shape="4,3,3,3"),
        "shape-long": changed(shape=[1] * 100_000),
        "dtype-unknown": changed(dtype="F128"),
        "dtype-code": changed(dtype=COMMAND),
        "dtype-other": changed(dtype="I8"),
        "dtype-f8": laid({"w": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}, content=b"\0\0"),
        "dtype-f4": laid({"w": {"dtype": "F4", "shape": [4], "data_offsets": [0, 2]}}, content=b"\0\0"),
        "dtype-complex": laid({"w": {"dtype": "C64", "shape": [1], "data_offsets": [0, 8]}}, content=b"\0" * 8),
        "offsets-10TB": changed(data_offsets=[0, 10 * TERA]),
        "offsets-turned": changed(data_offsets=[432, 0]),
        "offsets-overlap": changed(data_offsets=[4, 436]),
        "offsets-negative": changed(data_offsets=[-432, 0]),
        "offsets-missing": laid({first: {"dtype": "F32", "shape": [1]}}),
        "row-list": laid({first: [1, 2, 3]}),
        "header-list": laid([]),
        "header-number": laid(b"{3"),
        "header-empty": laid({}, content=b""),
        "header-deep": laid(b"{" + b'"a":{' * 100_000),
        "header-digits": laid(b'{"a":' + b"9" * 1_000_000 + b"}"),
        "header-99MB": struct.pack("<Q", 99_000_000) + b"{" + b" " * 98_999_999,
        "header-beyond": struct.pack("<Q", 1 << 60) + b"{}",
        "header-most": struct.pack("<Q", 2**64 - 1) + b"{}",
        "header-zero": struct.pack("<Q", 0) + b"{}",
        "trailing": whole + b"more",
        "cut-by-one": whole[:-1],
    }
    files |= {f"damaged-{name}": broken for name, broken in hostile.damaged(whole, seed=2, count=40)}
    for name, broken in hostile.damaged(whole[: 8 + length], seed=4, count=40):
        files[f"header-{name}"] = broken + content
    return files


def safetensors_cases() -> Iterator[Case]:
    for name, content in safetensors_files().items():
        yield _weights("safetensors", name, "w.safetensors", content, sound=name == "sound")


def _weights(kind: str, name: str, file: str, content: bytes, sound: bool = False) -> Case:
    return Case(kind, name, ("show", "-w", file, "-o", "figure.png", *MODEL), {file: content}, sound)


def trained() -> dict[str, bytes]:
    """Checkpoints as training scripts leave them, with other keys, and in every format. Each can be read."""
    state = network().state_dict()
    lightning = {
        "epoch": 3,
        "global_step": 1000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{key}": value for key, value in state.items()},
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 3}}}},
        "callbacks": {"ModelCheckpoint{'monitor': 'val'}": {"best_model_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]}],
        "lr_schedulers": [{"last_epoch": 3, "_step_count": 4}],
        "hyper_parameters": {"lr": 0.1, "layers": [1, 2]},
    }
    averaged = {"n_averaged": torch.tensor(9), **{f"module.{key}": value for key, value in state.items()}}
    history = [{"loss": number / 7, "epoch": number, "rate": (0.1, None)} for number in range(95_000)]
    return {
        **hostile.good_checkpoints(network()),
        "lightning": hostile.saved(lightning),
        "parallel": hostile.saved({f"module.{key}": value for key, value in state.items()}),
        "compiled": hostile.saved({f"_orig_mod.{key}": value for key, value in state.items()}),
        "parallel-compiled": hostile.saved({f"module._orig_mod.{key}": value for key, value in state.items()}),
        "average": hostile.saved({"model": state, "model_ema": state, "epoch": 3}),
        "averaged-model": hostile.saved(averaged),
        # Ten steps of the pickle an entry: just below the million that is read.
        "many-steps": hostile.saved({"model": state, "history": history}),
        "many-steps-legacy": hostile.saved({"model": state, "history": history}, _use_new_zipfile_serialization=False),
        "too-many-steps": hostile.saved({"model": state, "history": history * 2 + [dict(each) for each in history]}),
        "many-tensors": hostile.saved({"model": state, "more": [torch.zeros(2) for _ in range(3_000)]}),
        "bfloat16": hostile.saved({key: value.bfloat16() for key, value in state.items()}),
        "double": hostile.saved({key: value.double() for key, value in state.items()}),
        "gradients": hostile.saved(dict(network().named_parameters())),
        "protocol-3": hostile.saved(state, pickle_protocol=3),
        "protocol-4": hostile.saved(state, pickle_protocol=4),
        "protocol-5": hostile.saved(state, pickle_protocol=5),
    }


def odd_keys() -> dict[str, bytes]:
    """Weights whose names or values no network has."""
    state = network().state_dict()
    tensor = state["0.weight"]

    def other(**more: Any) -> bytes:
        return hostile.saved({**state, **more})

    return {
        "escapes": other(**{"\x1b[2J\x07": tensor}),
        "newlines": other(**{"a\nb\r\nTraceback (most recent call last):": tensor}),
        "surrogates": hostile.saved({"\udcff": tensor}, pickle_protocol=2),
        "nul": other(**{"a\0b": tensor}),
        "long": other(**{"k" * 1_000_000: tensor}),
        "dots": hostile.saved({f"{'.' * 3_000}": tensor}),
        "deep-names": hostile.saved({"a." * 5_000 + "weight": tensor}),
        "empty": hostile.saved({"": tensor}),
        "many": hostile.saved({f"layer{number}.weight": tensor for number in range(5_000)}),
        "bidi": other(**{"\u202eevil": tensor}),
        "own-names": hostile.saved({"__class__": tensor, "load_state_dict": tensor, "forward": tensor}),
        "numbers": hostile.saved({0: tensor, 1.5: tensor, None: tensor, (1, 2): tensor}),
        "no-values": hostile.saved({key: torch.zeros(0) for key in state}),
        "no-axes": hostile.saved({key: torch.zeros(()) for key in state}),
        "integers": hostile.saved({key: value.long() for key, value in state.items()}),
        "complex": hostile.saved({key: value.to(torch.complex64) for key, value in state.items()}),
        "bool": hostile.saved({key: value.bool() for key, value in state.items()}),
        "not-finite": hostile.saved({key: value * float("nan") for key, value in state.items()}),
        "quantized": hostile.saved({"0.weight": torch.quantize_per_tensor(tensor, 0.1, 0, torch.qint8)}),
        "float8": hostile.saved({key: value.to(torch.float8_e4m3fn) for key, value in state.items()}),
        "conjugate": hostile.saved({"0.weight": torch.view_as_complex(torch.rand(4, 2)).conj()}),
        "views": hostile.saved({"a": torch.rand(6).as_strided((5, 2), (1, 1)), "b": torch.rand(3, 4).t()}),
        "subclass": hostile.saved({"0.weight": nn.Parameter(tensor), "buffer": nn.Buffer(tensor)}),
        "optimizer-only": hostile.saved({"optimizer": {"state": {0: {"exp_avg": tensor}}, "param_groups": []}}),
        "whole-optimizer": hostile.saved(torch.optim.SGD(network().parameters(), 0.1)),
        "generator": hostile.saved({"state_dict": state, "generator": torch.Generator().get_state()}),
        "script": _scripted(),
    }


def checkpoint_cases() -> Iterator[Case]:
    for name, content in trained().items():
        sound = name not in ("protocol-4", "protocol-5", "too-many-steps")
        yield _weights("checkpoints of training", name, "w.pth", content, sound)
    for name, content in odd_keys().items():
        yield _weights("checkpoints with odd keys", name, "w.pth", content)
    for name, content in hostile.checkpoints().items():
        file = "w.safetensors" if name.startswith("safetensors") else "w.pth"
        yield _weights("checkpoints that ask for more", name, file, content)
    for form, content in (
        ("zip", hostile.saved(network().state_dict())),
        ("legacy", hostile.saved(network().state_dict(), _use_new_zipfile_serialization=False)),
    ):
        for name, broken in hostile.damaged(content, seed=1, count=60):
            yield _weights("checkpoints damaged", f"{form}-{name}", "w.pth", broken)


# --- Programs -----------------------------------------------------------------------------------------


@functools.cache
def _scripted() -> bytes:
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.trace(network().eval(), torch.rand(1, 3, 16, 16)), buffer)
    return buffer.getvalue()


exported = functools.cache(hostile.exported)


def program_cases() -> Iterator[Case]:
    whole = exported()

    def opened(kind: str, name: str, file: str, content: bytes, sound: bool = False) -> Case:
        return Case(kind, name, ("show", "-m", file, "--size", "16,16", "-o", "figure.png"), {file: content}, sound)

    yield opened("pt2", "sound", "net.pt2", whole, True)
    for name, content in hostile.programs(whole).items():
        yield opened("pt2", name, "net.pt2", content)
    for name, content in hostile.damaged(whole, seed=6, count=60):
        yield opened("pt2 damaged", name, "net.pt2", content)
    yield opened("TorchScript damaged", "sound", "net.pt", _scripted(), True)
    for name, content in hostile.damaged(_scripted(), seed=7, count=60):
        yield opened("TorchScript damaged", name, "net.pt", content)


# --- Saved runs ---------------------------------------------------------------------------------------


@functools.cache
def saved_run() -> bytes:
    import tempfile

    from small_runs import odd_run

    from fmap_cli.statistics.runs import save_run

    with tempfile.TemporaryDirectory() as folder:
        save_run(path := Path(folder) / "run.fmap", odd_run())
        return path.read_bytes()


def runs() -> dict[str, bytes]:
    """Saved runs whose text or numbers are others, and damaged ones."""
    whole = saved_run()
    length = struct.unpack("<Q", whole[:8])[0]
    table, content = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    begin, end = table["text"]["data_offsets"]
    text = json.loads(content[begin:end])

    def laid(other: Any, **rows: Any) -> bytes:
        """The run with another text; tensors keep their places, and the text comes last."""
        encoded = other if isinstance(other, bytes) else json.dumps(other).encode()
        moved = {}
        numbers = content[:begin] + content[end:]
        for name, row in table.items():
            if name not in ("__metadata__", "text"):
                places = [place - (end - begin) if place >= end else place for place in row["data_offsets"]]
                moved[name] = {**row, "data_offsets": places}
        at = len(numbers)
        moved["text"] = {"dtype": "U8", "shape": [len(encoded)], "data_offsets": [at, at + len(encoded)]}
        head = json.dumps({"__metadata__": table["__metadata__"], **moved, **rows}).encode()
        return struct.pack("<Q", len(head)) + head + numbers + encoded

    files = {"sound": whole, "sound-again": laid(text)}
    values: list[Any] = [
        None,
        -1,
        TERA,
        2**70,
        1.5,
        "x",
        COMMAND,
        "\x1b[2J",
        "\ud800",
        [],
        {},
        [[[]]],
        True,
        "n" * 10**6,
    ]
    rng = random.Random(8)
    for number, path in enumerate(_places(text)):
        for value in rng.sample(values, 2):
            files[f"text-{number}-{json.dumps(value)[:12]}"] = laid(_with(text, path, value))
    for name in table:
        if name not in ("text", "__metadata__"):
            row = {**table[name], "shape": [TERA]}
            files[f"claims-{name}"] = laid(text, **{name: row})
            files[f"without-{name}"] = laid(text, **{name: None})
    files |= {
        "text-nothing": laid(b""),
        "text-list": laid(b"[]"),
        "text-deep": laid(b"[" * 100_000),
        "text-no-utf8": laid(b"\xff\xfe"),
        "text-nan": laid(json.dumps(text).replace("4", "NaN", 1).encode()),
        "text-digits": laid(json.dumps(text).replace("4", "9" * 10_000, 1).encode()),
        "format-other": whole.replace(b"fmap-run", b"fmap-won"),
        "pickle": pickle.dumps(Code()),
        "checkpoint-code": hostile.saved({"w": Code()}),
    }
    files |= {f"damaged-{name}": broken for name, broken in hostile.damaged(whole, seed=9, count=60)}
    for name, broken in hostile.damaged(whole[: 8 + length], seed=10, count=40):
        files[f"header-{name}"] = broken + content
    return files


def _places(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand, lists by their first entry."""
    if path:
        yield path
    if isinstance(record, dict):
        for key in record:
            yield from _places(record[key], (*path, key))
    elif isinstance(record, list) and record:
        yield from _places(record[0], (*path, 0))


def _with(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    other = dict(record) if isinstance(record, dict) else list(record)
    other[path[0]] = _with(record[path[0]], path[1:], value)
    return other


def run_cases() -> Iterator[Case]:
    resumed = ("stats", "a.png", "--save", "run.fmap", "--resume", *MODEL)
    image = picture("png", "RGB") or b""
    for number, (name, content) in enumerate(runs().items()):
        sound = name.startswith("sound")
        yield Case("saved runs", name, ("stats", "--load", "run.fmap"), {"run.fmap": content}, sound)
        if number % 8 == 0:
            yield Case("runs to go on with", name, resumed, {"run.fmap.part": content, "a.png": image})
        if number % 8 == 1:
            drawn = ("stats", "--load", "run.fmap", "sound.fmap", "-o", "figure.png", "--json")
            yield Case("runs merged", name, drawn, {"run.fmap": content, "sound.fmap": saved_run()})


# --- Networks -----------------------------------------------------------------------------------------


def network_cases() -> Iterator[Case]:
    image = picture("png", "RGB") or b""
    commands: tuple[tuple[str, ...], ...] = (
        ("show", "a.png", "-o", "figure.png"),
        ("layers",),
        ("stats", "a.png", "--workers", "1"),
        ("memory", "--batch", "1"),
    )
    own = [line.split()[0] for line in GUESTS.splitlines() if line.startswith("p_")]
    files = {"guests.py": GUESTS.encode(), "a.png": image}
    for name in (*SAID, *own):
        if name != "p_thread":  # it does what it says: its thread runs for ten minutes, in one process
            for command in commands:
                arguments = (*command, "-m", f"guests.py:{name}", "--size", "16,16")
                yield Case(f"networks: {command[0]}", name, arguments, files)


KINDS: dict[str, Callable[[], Iterator[Case]]] = {
    "images": images,
    "npy": npy_cases,
    "npz": npz_cases,
    "safetensors": safetensors_cases,
    "checkpoints": checkpoint_cases,
    "programs": program_cases,
    "runs": run_cases,
    "networks": network_cases,
}
