"""Small pictures and arrays on disk, and what holds of all images that are read or refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from fmap_cli.errors import ImageError
from fmap_cli.inputs.images import load_image
from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import Preprocessing

SAMPLES = Path(__file__).parents[2] / "sample_images"


# Nothing but 0..1: the tensor is pixels / 255.
PLAIN = Preprocessing(resize=None, crop=None, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


GRAY = Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,), channels=1)


# A 2 × 3 picture, every pixel another colour.
COLOURS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 0], [10, 20, 30], [200, 100, 50]]], dtype=np.uint8
)


def preprocessing(channels: int) -> Preprocessing:
    return Preprocessing(resize=None, crop=None, mean=(0.0,), std=(1.0,), channels=channels)


def saved(path: Path, image: Image.Image, **options: object) -> str:
    image.save(path, **options)
    return str(path)


def saved_array(path: Path, array: np.ndarray) -> str:
    np.save(path, array)
    return str(path)


def gray_pixels(*values: int) -> list[list[list[int]]]:
    return [[[value] * 3 for value in values]]


def refusal(source: str, preprocessing: Preprocessing = PLAIN, **options: object) -> ImageError:
    """The ImageError that `load_image` raises, checked for what holds of all of them: one line, no more."""
    with pytest.raises(ImageError) as caught:
        load_image(source, preprocessing, **options)
    assert "\n" not in caught.value.message
    assert len(str(caught.value).splitlines()) <= 2
    return caught.value


def assert_same_picture(image: ImageInput, pixels: np.ndarray) -> None:
    """Pixels as given, and the tensor (under PLAIN) the same numbers divided by 255."""
    assert image.pixels.dtype == np.uint8
    np.testing.assert_array_equal(image.pixels, pixels)
    expected = torch.from_numpy(pixels.transpose(2, 0, 1).astype(np.float32)) / 255
    assert torch.equal(image.tensor, expected)


def png_bytes(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
