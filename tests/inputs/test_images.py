"""Reading pictures: every expectation is arithmetic on a few pixels, or torchvision's own answer."""

from __future__ import annotations

import io
import logging
import os
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from fmap_cli.errors import ImageError
from fmap_cli.inputs import images
from fmap_cli.inputs.images import load_image, sample_path
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


# Formats and modes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.png", "a.tiff", "a.bmp", "a.ppm", "a.tga"])
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, name: str) -> None:
    image = load_image(saved(tmp_path / name, Image.fromarray(COLOURS)), PLAIN)
    assert_same_picture(image, COLOURS)
    assert image.notes == ()


def test_lossless_webp(tmp_path: Path) -> None:
    image = load_image(saved(tmp_path / "a.webp", Image.fromarray(COLOURS), lossless=True), PLAIN)
    assert_same_picture(image, COLOURS)


@pytest.mark.parametrize("name", ["a.jpg", "a.webp"])
def test_lossy_formats_come_close(tmp_path: Path, name: str) -> None:
    flat = np.full((16, 24, 3), (200, 100, 50), dtype=np.uint8)
    image = load_image(saved(tmp_path / name, Image.fromarray(flat), quality=95), PLAIN)
    assert image.pixels.shape == (16, 24, 3)
    assert np.abs(image.pixels.astype(int) - flat).max() <= 4


def test_a_cmyk_jpeg_keeps_its_colour(tmp_path: Path) -> None:
    flat = Image.new("RGB", (16, 16), (200, 100, 50)).convert("CMYK")
    image = load_image(saved(tmp_path / "a.jpg", flat, quality=95), PLAIN)
    assert np.abs(image.pixels.astype(int) - (200, 100, 50)).max() <= 4


def test_a_cmyk_tiff_is_turned_into_rgb(tmp_path: Path) -> None:
    # C, M, Y and K are subtracted from white: R = 255 - C where K is 0.
    image = load_image(saved(tmp_path / "a.tif", Image.new("CMYK", (1, 1), (0, 255, 100, 0))), PLAIN)
    assert image.pixels.tolist() == [[[255, 0, 155]]]


def test_a_ycbcr_tiff_is_turned_into_rgb(tmp_path: Path) -> None:
    # Cb = Cr = 128 is no colour: R = G = B = Y.
    picture = Image.new("YCbCr", (16, 16), (77, 128, 128))
    image = load_image(saved(tmp_path / "a.tif", picture, compression="jpeg"), PLAIN)
    assert np.abs(image.pixels.astype(int) - 77).max() <= 1


def test_grayscale_is_repeated_to_rgb(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.fromarray(np.array([[0, 7, 255]], dtype=np.uint8)))
    image = load_image(source, PLAIN)
    assert_same_picture(image, np.array(gray_pixels(0, 7, 255), dtype=np.uint8))
    assert image.notes == ()


def test_one_bit_is_black_and_white(tmp_path: Path) -> None:
    bits = Image.fromarray(np.array([[0, 255]], dtype=np.uint8)).convert("1")
    assert load_image(saved(tmp_path / "a.png", bits), PLAIN).pixels.tolist() == gray_pixels(0, 255)


def palette_picture() -> Image.Image:
    image = Image.new("P", (2, 1))
    image.putpalette([255, 0, 0, 0, 0, 255])
    image.putdata([0, 1])
    return image


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    image = load_image(saved(tmp_path / "a.png", palette_picture()), PLAIN)
    assert image.pixels.tolist() == [[[255, 0, 0], [0, 0, 255]]]
    assert image.notes == ()


@pytest.mark.parametrize("name", ["a.png", "a.gif"])
def test_a_palettes_transparent_entry_shows_white(tmp_path: Path, name: str) -> None:
    image = load_image(saved(tmp_path / name, palette_picture(), transparency=1), PLAIN)
    assert image.pixels.tolist() == [[[255, 0, 0], [255, 255, 255]]]
    assert image.notes == ("transparent pixels laid on white",)


def test_a_palettes_alpha_table_is_blended(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", palette_picture(), transparency=bytes([255, 51]))
    # Blue with alpha 51 / 255 = 0.2 on white: 0.8 × 255 = 204 of red and green.
    assert load_image(source, PLAIN).pixels.tolist() == [[[255, 0, 0], [204, 204, 255]]]


def test_rgba_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    image = load_image(saved(tmp_path / "a.png", Image.fromarray(pixels)), PLAIN)
    # Opaque; fully transparent; black with alpha 0.2 on white: 0.8 × 255 = 204.
    assert image.pixels.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]
    assert image.notes == ("transparent pixels laid on white",)


def test_la_is_laid_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 255], [10, 0], [0, 51]]], dtype=np.uint8)
    image = load_image(saved(tmp_path / "a.png", Image.fromarray(pixels, "LA")), PLAIN)
    assert image.pixels.tolist() == gray_pixels(10, 255, 204)
    assert image.notes == ("transparent pixels laid on white",)


def test_nothing_is_said_of_an_alpha_that_hides_nothing(tmp_path: Path) -> None:
    image = load_image(saved(tmp_path / "a.png", Image.fromarray(COLOURS).convert("RGBA")), PLAIN)
    assert_same_picture(image, COLOURS)
    assert image.notes == ()


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bit_gray_is_scaled_not_clipped(tmp_path: Path, name: str) -> None:
    # 65535 / 257 = 255; 32896 / 257 = 128; 300 / 257 = 1.17; 128 / 257 = 0.498; 129 / 257 = 0.502.
    values = np.array([[65535, 32896, 300, 128, 129, 0]], dtype=np.uint16)
    file = tmp_path / name
    if name == "a.pgm":  # which Pillow writes from mode I alone
        file.write_bytes(b"P5 6 1 65535\n" + values.astype(">u2").tobytes())
    else:
        Image.fromarray(values).save(file)
    image = load_image(str(file), PLAIN)
    assert image.pixels.tolist() == gray_pixels(255, 128, 1, 0, 1, 0)
    assert image.tensor[0].numpy() == pytest.approx(values / 65535, rel=1e-6)  # no value is rounded to 8 bits
    assert image.notes == ("uint16 values 0..65535 divided by 65535",)


def test_dark_16_bit_gray_stays_dark(tmp_path: Path) -> None:
    # The format says 16 bits: 200 of 65535 is black, whatever the largest value.
    source = saved(tmp_path / "a.png", Image.fromarray(np.array([[0, 200]], dtype=np.uint16)))
    assert load_image(source, PLAIN).pixels.tolist() == gray_pixels(0, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 257, 65535], [0, 1, 255]),
    ],
)
def test_32_bit_integers_are_scaled_by_the_range_they_use(
    tmp_path: Path, values: list[int], expected: list[int]
) -> None:
    source = saved(tmp_path / "a.tif", Image.fromarray(np.array([values], dtype=np.int32)))
    assert load_image(source, PLAIN).pixels.tolist() == gray_pixels(*expected)


@pytest.mark.parametrize("values", [[-1, 5], [0, 70000]])
def test_32_bit_integers_outside_any_range_are_refused(tmp_path: Path, values: list[int]) -> None:
    source = saved(tmp_path / "a.tif", Image.fromarray(np.array([values], dtype=np.int32)))
    error = refusal(source)
    assert f"holds int32 values {values[0]}..{values[1]}; expected 0..255 or 0..65535." in error.message
    assert f"--range {values[0]},{values[1]}" in str(error.hint)


def signed_tiff_bytes(values: np.ndarray) -> bytes:
    """A little-endian TIFF of signed integers `[H, W]`, which Pillow reads and does not write."""
    height, width = values.shape
    tags = {256: width, 257: height, 258: 8 * values.itemsize, 259: 1, 262: 1}  # uncompressed, black is zero
    tags |= {273: 0, 277: 1, 278: height, 279: values.nbytes, 339: 2}  # one strip, one sample, signed
    tags[273] = 8 + 2 + 12 * len(tags) + 4  # header, count, entries, no next page
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0" * 4 + values.tobytes()


def test_signed_16_bit_integers_are_scaled_by_the_range_they_use(tmp_path: Path) -> None:
    file = tmp_path / "a.tif"
    file.write_bytes(signed_tiff_bytes(np.array([[0, 100, 255]], dtype="<i2")))
    assert load_image(str(file), PLAIN).pixels.tolist() == gray_pixels(0, 100, 255)


@pytest.mark.parametrize("mode", ["La", "RGBa"])
def test_colours_stored_multiplied_by_alpha_are_laid_on_white(mode: str) -> None:
    # Opaque; white; black with alpha 0.2 on white: 0.8 × 255 = 204. Few files hold these modes.
    pixels = np.array([[[9, 255], [255, 51], [0, 51]]], dtype=np.uint8)
    stored = Image.fromarray(pixels, "LA").convert("LA" if mode == "La" else "RGBA").convert(mode)
    notes: list[str] = []
    assert np.asarray(images._flatten(stored, notes)).tolist() == gray_pixels(9, 255, 204)
    assert notes == ["transparent pixels laid on white"]


@pytest.mark.parametrize(("kind", "values"), [(2, [65535, 0, 0x1234]), (6, [65535, 0, 0x1234, 65535])])
def test_16_bit_colours_stay_whole(tmp_path: Path, kind: int, values: list[int]) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png_bytes(1, 1, 16, kind, b"\0" + struct.pack(f">{len(values)}H", *values)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = load_image(str(file), PLAIN)
    assert image.pixels.tolist() == [[[255, 0, 0x12]]]
    assert image.tensor.flatten().tolist() == pytest.approx([1, 0, 0x1234 / 65535], rel=1e-6)
    assert image.notes[-1] == "uint16 values 0..65535 divided by 65535"


def test_16_bit_colours_that_only_pillow_reads_are_reduced_and_said(tmp_path: Path, monkeypatch) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png_bytes(1, 1, 16, 2, b"\0" + struct.pack(">3H", 65535, 0, 0x1234)))
    monkeypatch.setattr(images, "_deep_colours", lambda *_: None)
    image = load_image(str(file), PLAIN)
    assert image.pixels.tolist() == [[[255, 0, 0x12]]]
    assert image.notes == ("16-bit values reduced to 8 bits: a .npy array or a PNG keeps them",)


def test_transparency_of_16_bits_is_laid_on_white(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png_bytes(1, 1, 16, 4, b"\0" + struct.pack(">2H", 13107, 26214)))  # gray 0.2, alpha 0.4
    image = load_image(str(file), PLAIN)
    assert image.tensor.flatten().tolist() == pytest.approx([0.2 * 0.4 + 0.6] * 3, rel=1e-6)
    assert image.notes[0] == "transparency laid on white"


def test_a_ct_keeps_its_grey_levels(tmp_path: Path) -> None:
    """256 of them, 16 apart, over a sixteenth of what 16 bits hold: 8 bits would leave 17."""
    levels = np.arange(0, 4096, 16, dtype=np.uint16).reshape(16, 16)
    source = saved(tmp_path / "a.png", Image.fromarray(levels))
    whole = load_image(source, PLAIN)
    assert len(whole.tensor[0].unique()) == 256
    assert whole.tensor[0].numpy() == pytest.approx(levels / 65535, rel=1e-6)
    assert whole.notes == (
        "uint16 values 0..4080 divided by 65535: dark, 6.2 % of the range; --range 0,4095 spreads it",
    )
    spread = load_image(source, replace(PLAIN, value_range=(0, 4095)))
    assert spread.tensor[0].numpy() == pytest.approx(levels / 4095, rel=1e-6)
    assert spread.pixels[..., 0].tolist() == np.rint(levels / 4095 * 255).tolist()
    assert spread.notes == ("uint16 values 0..4080: 0..4095 mapped to 0..1",)


def test_16_bits_are_resized_as_numbers(tmp_path: Path) -> None:
    """Held against torch's own antialiased interpolation of the numbers; 8-bit pictures go Pillow's way, as before."""
    values = np.random.default_rng(0).integers(0, 4096, (37, 53), dtype=np.uint16)
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(values / 4095).float()[None, None], (16, 22), mode="bilinear", antialias=True
    )
    own = replace(PLAIN, resize=(16, 22), value_range=(0.0, 4095.0))
    for name in ("a.png", "a.tif"):
        image = load_image(saved(tmp_path / name, Image.fromarray(values)), own)
        torch.testing.assert_close(image.tensor[:1], expected[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "stored",
    [
        np.array([[-1000, 0, 400, 3000]], np.int16),
        np.array([[-1000, 0, 400, 3000]], np.int32),
        np.array([[-1000, 0, 400, 3000]], np.float32),
        np.array([[-1000, 0, 400, 3000]], np.float64),
    ],
    ids=lambda stored: str(stored.dtype),
)
def test_a_range_says_what_is_black_and_white(tmp_path: Path, stored: np.ndarray) -> None:
    assert "--range -1000,3000" in str(refusal(saved_array(tmp_path / "a.npy", stored)).hint)
    window = replace(PLAIN, value_range=(-1000.0, 1000.0))
    files = [saved_array(tmp_path / "a.npy", stored)]
    if stored.dtype.itemsize == 2:
        (tmp_path / "a.tif").write_bytes(signed_tiff_bytes(stored))
        files.append(str(tmp_path / "a.tif"))
    elif stored.dtype != np.float64:
        files.append(saved(tmp_path / "a.tif", Image.fromarray(stored)))
    for file in files:
        image = load_image(file, window)
        assert image.tensor[0].flatten().tolist() == pytest.approx([0, 0.5, 0.7, 1])
        assert "-1000..1000 mapped to 0..1, 25 % of them outside and cut off" in image.notes[-1]


def test_a_range_holds_for_8_bit_pictures_too(tmp_path: Path) -> None:
    pixels = np.array([[[0, 51, 102]]], np.uint8)
    for source in (saved(tmp_path / "a.png", Image.fromarray(pixels)), saved_array(tmp_path / "a.npy", pixels)):
        image = load_image(source, replace(PLAIN, value_range=(0.0, 102.0)), layout="HWC")
        assert image.tensor.flatten().tolist() == pytest.approx([0, 0.5, 1])


def test_normalised_values_reach_the_network_as_they_are(tmp_path: Path) -> None:
    """What maps -3..3 to 0..1 is undone by mean 1/2 and std 1/6."""
    values = np.array([[-2.5, 0.0, 1.25]], np.float32)
    own = replace(PLAIN, value_range=(-3.0, 3.0), mean=(0.5,) * 3, std=(1 / 6,) * 3)
    assert load_image(saved_array(tmp_path / "a.npy", values), own).tensor[0].numpy() == pytest.approx(values, abs=1e-6)


def test_a_float_tiff_is_read_as_it_is(tmp_path: Path) -> None:
    values = np.array([[0.0, 0.25, 1.0]], dtype=np.float32)
    image = load_image(saved(tmp_path / "a.tif", Image.fromarray(values)), PLAIN)
    assert image.tensor.tolist() == [values.tolist()] * 3  # not rounded to 8 bits
    assert image.pixels.tolist() == gray_pixels(0, 64, 255)


def test_a_float_tiff_of_0_to_255_is_divided(tmp_path: Path) -> None:
    values = np.array([[0.0, 51.0, 255.0]], dtype=np.float32)
    image = load_image(saved(tmp_path / "a.tif", Image.fromarray(values)), PLAIN)
    assert image.pixels.tolist() == gray_pixels(0, 51, 255)
    assert image.notes == ("float32 values 0..255 read as 0..255, divided by 255",)


@pytest.mark.parametrize(("name", "what"), [("a.gif", "frame"), ("a.tif", "page"), ("a.png", "frame")])
def test_the_first_of_several_frames_is_read_and_said(tmp_path: Path, name: str, what: str) -> None:
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "lime", "blue")]
    source = saved(tmp_path / name, frames[0], save_all=True, append_images=frames[1:])
    image = load_image(source, PLAIN)
    assert image.pixels.tolist() == [[[255, 0, 0]] * 2] * 2
    assert image.notes == (f"first {what} of 3",)


def test_damage_behind_the_first_frame_does_no_harm(tmp_path: Path) -> None:
    frames = [Image.effect_noise((64, 64), 90).convert("P") for _ in range(3)]
    file = tmp_path / "a.gif"
    frames[0].save(file, save_all=True, append_images=frames[1:])
    whole = load_image(str(file), PLAIN)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    np.testing.assert_array_equal(load_image(str(file), PLAIN).pixels, whole.pixels)


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.webp"])
@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda stored: stored),
        (2, lambda stored: stored[:, ::-1]),
        (3, lambda stored: stored[::-1, ::-1]),
        (4, lambda stored: stored[::-1]),
        (5, lambda stored: stored.transpose(1, 0, 2)),
        (6, lambda stored: np.rot90(stored, k=-1)),
        (7, lambda stored: np.rot90(stored, k=2).transpose(1, 0, 2)),
        (8, lambda stored: np.rot90(stored, k=1)),
    ],
)
def test_exif_orientation_is_applied(tmp_path: Path, name: str, orientation: int, turn) -> None:
    # Four flat quarters of unlike brightness, 16 × 32, survive JPEG.
    stored = np.repeat(np.repeat([[0, 80], [160, 240]], 16, axis=1), 8, axis=0).astype(np.uint8)
    stored = np.stack([stored] * 3, axis=-1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = saved(tmp_path / name, Image.fromarray(stored), exif=exif, quality=95)
    pixels = load_image(source, PLAIN).pixels
    expected = turn(stored)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= 4


def test_damaged_exif_data_is_no_reason_to_refuse_a_picture(tmp_path: Path, capfd) -> None:
    source = saved(tmp_path / "a.jpg", Image.new("RGB", (8, 8)), exif=b"Exif\0\0" + b"MM\0*\0\0\0\x08\xff\xff\0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = load_image(source, PLAIN)
    assert image.pixels.shape == (8, 8, 3)
    assert capfd.readouterr().err == ""


def test_exif_data_that_raises_is_said(tmp_path: Path, monkeypatch) -> None:
    def raising(self: Image.Image) -> None:
        raise SyntaxError("not a TIFF file")

    source = saved(tmp_path / "a.png", Image.fromarray(COLOURS))
    monkeypatch.setattr(Image.Image, "getexif", raising)
    image = load_image(source, PLAIN)
    assert_same_picture(image, COLOURS)
    assert image.notes == ("damaged EXIF data: the picture is shown as it is stored, unrotated",)


def test_the_bytes_decide_not_the_name(tmp_path: Path) -> None:
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.npy")
    assert_same_picture(load_image(str(tmp_path / "a.npy"), PLAIN), COLOURS)


# Networks that take other than three channels -------------------------------------------------------------


def test_a_gray_network_gets_luma(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.fromarray(COLOURS))
    image = load_image(source, GRAY)
    # ITU-R BT.601: 0.299 R + 0.587 G + 0.114 B.
    luma = [[76, 150, 29], [226, 18, 124]]
    assert (image.tensor * 255).round().tolist() == [luma]
    assert image.pixels.tolist() == [[[value] * 3 for value in row] for row in luma]
    assert image.notes == ("converted to gray: the network takes one channel",)


def test_nothing_is_said_where_there_was_no_colour(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.new("RGB", (2, 2), (7, 7, 7)))
    image = load_image(source, GRAY)
    assert image.tensor.shape == (1, 2, 2)
    assert image.notes == ()


def test_rgb_moments_are_averaged_for_a_gray_network(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.new("L", (1, 1), 255))
    image = load_image(source, Preprocessing(None, None, mean=(0.2, 0.3, 0.4), std=(0.1, 0.2, 0.6), channels=1))
    # (1 - 0.3) / 0.3
    assert image.tensor.item() == pytest.approx(0.7 / 0.3)


def test_one_moment_serves_all_channels(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.new("RGB", (1, 1), (255, 0, 51)))
    image = load_image(source, Preprocessing(None, None, mean=(0.5,), std=(0.25,)))
    # (1 - 0.5) / 0.25, (0 - 0.5) / 0.25, (0.2 - 0.5) / 0.25
    assert image.tensor.flatten().tolist() == pytest.approx([2.0, -2.0, -1.2])


def test_moments_that_do_not_fit_are_refused() -> None:
    error = refusal(str(sample_path()), Preprocessing(None, None, mean=(0.5, 0.5), std=(1.0,)))
    assert error.message == "mean has 2 values; the network takes 3 channels."
    assert "--mean" in error.hint
    assert "std holds a zero" in refusal(str(sample_path()), Preprocessing(None, None, std=(0.0,))).message


def test_a_picture_does_not_fit_a_network_of_five_channels() -> None:
    error = refusal(str(sample_path()), preprocessing(5))
    assert "the network takes 5" in error.message
    assert ".npy array with 5 channels" in error.hint


# torchvision as the oracle --------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", ["coffee.png", "chelsea.png", "rocket.jpg", "astronaut.png", "camera.png"])
@pytest.mark.parametrize(
    "weights",
    [
        models.ResNet18_Weights.IMAGENET1K_V1,  # bilinear, 256 → 224
        models.ResNet50_Weights.IMAGENET1K_V2,  # bilinear, 232 → 224
        models.EfficientNet_B0_Weights.IMAGENET1K_V1,  # bicubic, 256 → 224
        models.EfficientNet_B1_Weights.IMAGENET1K_V2,  # bilinear, 255 → 240
        models.Inception_V3_Weights.IMAGENET1K_V1,  # bilinear, 342 → 299
        models.ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1,  # bicubic, 384 → 384
        models.EfficientNet_V2_S_Weights.IMAGENET1K_V1,  # bilinear, 384 → 384
    ],
    ids=lambda weights: str(weights).split("_Weights")[0],
)
def test_the_tensor_equals_torchvisions(weights, sample: str) -> None:
    transform = weights.transforms()
    image = load_image(
        str(SAMPLES / sample),
        Preprocessing(
            resize=transform.resize_size[0],
            crop=tuple(transform.crop_size * 2),
            interpolation=transform.interpolation.value,
            antialias=transform.antialias,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        ),
    )
    picture = Image.open(SAMPLES / sample).convert("RGB")
    assert torch.equal(image.tensor, transform(picture))
    # The pixels are the same crop: normalising them by hand gives the tensor.
    values = torch.from_numpy(image.pixels).permute(2, 0, 1) / 255
    mean, std = torch.tensor(transform.mean)[:, None, None], torch.tensor(transform.std)[:, None, None]
    assert torch.equal((values - mean) / std, image.tensor)


def test_without_antialiasing_the_tensor_equals_torchvisions_video_preset() -> None:
    transform = models.video.R3D_18_Weights.KINETICS400_V1.transforms()
    image = load_image(
        str(SAMPLES / "coffee.png"),
        Preprocessing(
            resize=tuple(transform.resize_size),
            crop=tuple(transform.crop_size),
            antialias=False,
            mean=tuple(transform.mean),
            std=tuple(transform.std),
        ),
    )
    frame = torch.from_numpy(np.array(Image.open(SAMPLES / "coffee.png"))).permute(2, 0, 1)
    assert torch.equal(image.tensor, transform(frame[None])[:, 0])


def test_segmentation_and_detection_presets_too() -> None:
    picture = Image.open(SAMPLES / "rocket.jpg")
    transform = models.segmentation.FCN_ResNet50_Weights.DEFAULT.transforms()
    image = load_image(str(SAMPLES / "rocket.jpg"), Preprocessing(resize=520, crop=None))
    assert torch.equal(image.tensor, transform(picture))
    transform = models.detection.FasterRCNN_ResNet50_FPN_Weights.DEFAULT.transforms()
    assert torch.equal(load_image(str(SAMPLES / "rocket.jpg"), PLAIN).tensor, transform(picture))


@pytest.mark.parametrize("layout", ["HWC", "CHW", "NHWC", "NCHW"])
def test_an_8_bit_array_gives_the_pictures_own_tensor(tmp_path: Path, layout: str) -> None:
    imagenet = Preprocessing(resize=256, crop=(224, 224), interpolation="bicubic")
    array = np.array(Image.open(SAMPLES / "coffee.png"))
    array = array.transpose(2, 0, 1) if "CHW" in layout else array
    array = array[None] if "N" in layout else array
    from_array = load_image(saved_array(tmp_path / "a.npy", array), imagenet, layout=layout)
    from_file = load_image(str(SAMPLES / "coffee.png"), imagenet)
    assert torch.equal(from_array.tensor, from_file.tensor)
    np.testing.assert_array_equal(from_array.pixels, from_file.pixels)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_a_float_array_equals_torchvision_on_the_tensor(tmp_path: Path, interpolation: str) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    values = np.random.default_rng(0).random((3, 40, 60), dtype=np.float32)
    image = load_image(
        saved_array(tmp_path / "a.npy", values),
        Preprocessing(resize=32, crop=(24, 20), interpolation=interpolation),
    )
    expected = F.resize(torch.from_numpy(values), [32], InterpolationMode(interpolation), antialias=True)
    expected = F.center_crop(expected, [24, 20]).clamp(0, 1)
    normal = F.normalize(expected, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    assert torch.equal(image.tensor, normal)
    np.testing.assert_array_equal(image.pixels, (expected.double() * 255).round().permute(1, 2, 0))


def test_bicubic_overshoot_stays_within_what_a_picture_holds(tmp_path: Path) -> None:
    edge = np.zeros((1, 16, 16), dtype=np.float32)
    edge[..., 8:] = 1
    source = saved_array(tmp_path / "a.npy", edge)
    image = load_image(source, Preprocessing(64, None, "bicubic", mean=(0.0,), std=(1.0,)))
    assert (image.tensor.min(), image.tensor.max()) == (0, 1)


# Resizing and cropping ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("resize", "crop", "multiple_of", "expected"),
    [
        (None, None, 1, (400, 600)),
        (200, None, 1, (200, 300)),
        ((50, 70), None, 1, (50, 70)),
        (200, (100, 120), 1, (100, 120)),
        (None, None, 32, (384, 576)),  # 12 × 32, 18 × 32
        (200, (100, 120), 16, (96, 112)),
    ],
)
def test_sizes_are_height_before_width(resize, crop, multiple_of: int, expected: tuple[int, int]) -> None:
    image = load_image(str(sample_path()), Preprocessing(resize, crop, multiple_of=multiple_of))
    assert image.tensor.shape == (3, *expected)
    assert image.pixels.shape == (*expected, 3)
    assert image.notes == ()


def test_cropping_to_a_multiple_keeps_the_middle(tmp_path: Path) -> None:
    ramp = np.arange(6, dtype=np.uint8)[:, None].repeat(4, axis=1)  # [6, 4]
    source = saved(tmp_path / "a.png", Image.fromarray(ramp))
    image = load_image(source, Preprocessing(None, None, multiple_of=4))
    assert image.pixels[:, 0, 0].tolist() == [1, 2, 3, 4]


def test_a_picture_below_the_multiple_is_refused(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.new("RGB", (40, 30)))
    error = refusal(source, Preprocessing(None, None, multiple_of=32))
    assert error.message.endswith("is 30 × 40; the network takes multiples of 32.")


def test_a_picture_below_the_crop_is_padded_and_said(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.new("RGB", (3, 1), "white"))
    image = load_image(source, Preprocessing(None, (3, 3)))
    assert image.pixels[:, :, 0].tolist() == [[0, 0, 0], [255, 255, 255], [0, 0, 0]]
    assert image.notes == ("the picture, 1 × 3, is smaller than the crop, 3 × 3: padded with black",)


# Arrays ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "note"),
    [
        ((5, 6, 3), "array [5, 6, 3] read as HWC, permuted to CHW"),
        ((3, 5, 6), "array [3, 5, 6] read as CHW"),
        ((1, 5, 6, 3), "array [1, 5, 6, 3] read as NHWC, permuted to CHW"),
        ((1, 3, 5, 6), "array [1, 3, 5, 6] read as NCHW"),
        ((5, 6), "array [5, 6] read as HW"),
        ((5, 6, 1), "array [5, 6, 1] read as HWC, permuted to CHW"),
        ((1, 5, 6), "array [1, 5, 6] read as CHW"),
    ],
)
def test_an_arrays_layout_is_found_and_said(tmp_path: Path, shape: tuple[int, ...], note: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    image = load_image(saved_array(tmp_path / "a.npy", array), PLAIN)
    assert image.notes == (note,)
    planes = array.squeeze()  # [5, 6], [5, 6, 3] or [3, 5, 6]
    if planes.ndim == 2:
        planes = np.stack([planes] * 3, axis=-1)
    assert_same_picture(image, planes.transpose(1, 2, 0) if planes.shape[0] == 3 else planes)


@pytest.mark.parametrize("shape", [(3, 5, 3), (1, 3, 5, 3), (4, 6, 3), (1, 5, 3)])
def test_an_ambiguous_layout_is_asked_for(tmp_path: Path, shape: tuple[int, ...]) -> None:
    source = saved_array(tmp_path / "a.npy", np.zeros(shape, dtype=np.uint8))
    error = refusal(source)
    assert f"where are the channels of {list(shape)}?" in error.message
    assert "--layout" in error.hint
    batch = "N" if len(shape) == 4 else ""
    assert load_image(source, PLAIN, layout=f"{batch}HWC").pixels.shape[:2] == shape[-3:-1]
    if shape[-3] != 5:
        assert load_image(source, PLAIN, layout=f"{batch}chw").pixels.shape[:2] == shape[-2:]


def test_channels_that_are_nowhere_are_asked_for(tmp_path: Path) -> None:
    source = saved_array(tmp_path / "a.npy", np.zeros((5, 6, 7), dtype=np.uint8))
    assert "Of length 1 or 3 or 4, neither the first nor the last axis is." in refusal(source).message
    error = refusal(source, layout="HWC")
    assert "has 7 channels (array [5, 6, 7] read as HWC); the network takes 3." in error.message


def test_a_layout_has_to_fit_the_array(tmp_path: Path) -> None:
    source = saved_array(tmp_path / "a.npy", np.zeros((5, 6, 3), dtype=np.uint8))
    error = refusal(source, layout="NCHW")
    assert "has 3 axes, [5, 6, 3]; --layout NCHW names 4." in error.message
    assert "HWC, CHW" in error.hint
    assert "unknown layout WHC" in refusal(source, layout="whc").message


@pytest.mark.parametrize(
    ("array", "expected", "note"),
    [
        (np.array([[0, 51, 255]], dtype=np.uint8), [0, 0.2, 1], None),
        (np.array([[False, True]]), [0, 1], None),
        (
            np.array([[0, 13107, 65535]], dtype=np.uint16),
            [0, 0.2, 1],
            "uint16 values 0..65535 divided by 65535",
        ),
        (
            np.array([[0, 200]], dtype=np.uint16),
            [0, 200 / 65535],
            "uint16 values 0..200 divided by 65535: dark, 0.31 % of the range; --range 0,255 spreads it",
        ),
        (np.array([[0, 0.2, 1]], dtype=np.float64), [0, 0.2, 1], None),
        (np.array([[0, 0.5, 1]], dtype=np.float16), [0, 0.5, 1], None),
        (np.array([[0, 0.2, 1]], dtype=">f4"), [0, 0.2, 1], None),
        (
            np.array([[0, 51, 255]], dtype=np.float32),
            [0, 0.2, 1],
            "float32 values 0..255 read as 0..255, divided by 255",
        ),
        (
            np.array([[0.25, 51]], dtype=np.float16),
            [0.25 / 255, 0.2],
            "float16 values 0.25..51 read as 0..255, divided by 255",
        ),
        (np.array([[0, 51, 255]], dtype=np.int64), [0, 0.2, 1], "int64 values 0..255 read as 0..255"),
        (np.array([[3, 51]], dtype=np.int8), [3 / 255, 0.2], "int8 values 3..51 read as 0..255"),
    ],
    ids=lambda value: str(value.dtype) if isinstance(value, np.ndarray) else "",
)
def test_an_arrays_values(tmp_path: Path, array: np.ndarray, expected: list[float], note: str | None) -> None:
    image = load_image(saved_array(tmp_path / "a.npy", array), GRAY)
    torch.testing.assert_close(
        image.tensor.flatten(), torch.tensor(expected, dtype=torch.float32), rtol=1e-7, atol=1e-8
    )
    assert image.pixels[0, :, 0].tolist() == [round(value * 255) for value in expected]
    layout = f"array {list(array.shape)} read as HW"
    assert image.notes == ((layout, note) if note else (layout,))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.array([[-0.5, 1.5]]), "holds float64 values -0.5..1.5; expected 0..1 or 0..255."),
        (np.array([[0, 256.0]]), "holds float64 values 0..256; expected 0..1 or 0..255."),
        (np.array([[-1, 5]]), "holds int64 values -1..5; expected 0..255, or uint16 in 0..65535."),
        (np.array([[0, 256]]), "holds int64 values 0..256; expected 0..255, or uint16 in 0..65535."),
        (
            np.array([[0, np.nan, np.inf, -np.inf]]),
            "holds 1 NaN and 2 infinite values among 4.",
        ),
        (np.array([[1j]]), "holds complex128 values; expected bool, integers or floats."),
        (np.array([["red"]]), "holds <U3 values; expected bool, integers or floats."),
        (np.zeros((2, 2), dtype="datetime64[s]"), "holds datetime64[s] values"),
        (np.zeros((2, 2), dtype=[("r", "u1")]), "expected bool, integers or floats."),
        (np.array([[{}]]), "holds Python objects, which need pickle to be read, and pickle can run code."),
        (np.zeros((0, 5, 3)), "has no pixels: the array's shape is [0, 5, 3]."),
        (np.zeros((8, 3, 5, 5)), "holds 8 images, [8, 3, 5, 5]; fmap takes one a file."),
        (np.float64(3), "has 0 axes, []; expected one of HWC, CHW, NHWC, NCHW, HW."),
        (np.zeros(3), "has 1 axes, [3]"),
        (np.zeros((1, 1, 1, 5, 5)), "has 5 axes, [1, 1, 1, 5, 5]"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.dtype}{list(value.shape)}",
)
def test_arrays_that_are_no_picture(tmp_path: Path, array: np.ndarray, message: str) -> None:
    assert message in refusal(saved_array(tmp_path / "a.npy", array)).message


def test_several_images_in_an_array_come_with_the_way_out(tmp_path: Path) -> None:
    error = refusal(saved_array(tmp_path / "a.npy", np.zeros((8, 3, 5, 5))))
    assert error.hint == "Save one of them, for example the first: np.save('first.npy', array[0])"


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_an_rgba_array_is_laid_on_white(tmp_path: Path, dtype: type) -> None:
    scale = 255 if dtype is np.uint8 else 1
    # Opaque red; transparent red; black with alpha 0.2.
    array = (np.array([[[1, 0, 0, 1], [1, 0, 0, 0], [0, 0, 0, 0.2]]]) * scale).astype(dtype)
    source = saved_array(tmp_path / "a.npy", array)
    image = load_image(source, PLAIN, layout="HWC")
    assert image.pixels.tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_colour_array_for_a_gray_network(tmp_path: Path, dtype: type) -> None:
    scale = 255 if dtype is np.uint8 else 1
    array = (np.array([[[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0, 0, 0]]]) * scale).astype(dtype)
    image = load_image(saved_array(tmp_path / "a.npy", array), GRAY, layout="HWC")
    # 0.299, 0.587, 0.114 of 255
    assert image.pixels[0, :, 0].tolist() == [76, 150, 29, 255, 0]
    assert image.notes[1:] == ("converted to gray: the network takes one channel",)


@pytest.mark.parametrize("channels", [2, 4, 5])
def test_an_array_of_the_networks_own_channels(tmp_path: Path, channels: int) -> None:
    array = np.stack([np.full((6, 7), 0.1 * channel, dtype=np.float32) for channel in range(channels)])
    image = load_image(saved_array(tmp_path / "a.npy", array), preprocessing(channels))
    assert torch.equal(image.tensor, torch.from_numpy(array))
    mean = 0.1 * (channels - 1) / 2
    assert image.pixels.shape == (6, 7, 3)
    assert np.unique(image.pixels).tolist() == [round(mean * 255)]
    assert image.notes[-1] == f"the picture shows the mean over {channels} channels as gray"


def test_an_array_of_other_channels_than_the_networks(tmp_path: Path) -> None:
    source = saved_array(tmp_path / "a.npy", np.zeros((6, 7, 3), dtype=np.uint8))
    error = refusal(source, preprocessing(5), layout="HWC")
    assert "has 3 channels (array [6, 7, 3] read as HWC); the network takes 5." in error.message
    assert "Of length 5, neither" in refusal(source, preprocessing(5)).message


def test_a_uint8_array_of_five_channels(tmp_path: Path) -> None:
    source = saved_array(tmp_path / "a.npy", np.full((6, 7, 5), 51, dtype=np.uint8))
    image = load_image(source, preprocessing(5))
    assert image.tensor.unique().tolist() == pytest.approx([0.2])
    assert np.unique(image.pixels).tolist() == [51]


def test_fortran_order_and_version_2_headers(tmp_path: Path) -> None:
    array = np.asfortranarray(COLOURS)
    assert_same_picture(load_image(saved_array(tmp_path / "f.npy", array), PLAIN, layout="HWC"), COLOURS)
    for version in [(2, 0), (3, 0)]:
        with (tmp_path / "v.npy").open("wb") as file:
            np.lib.format.write_array(file, COLOURS, version=version)
        assert_same_picture(load_image(str(tmp_path / "v.npy"), PLAIN, layout="HWC"), COLOURS)


# Standard input, names ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "npy"])
def test_standard_input(kind: str) -> None:
    stream = io.BytesIO()
    if kind == "png":
        Image.fromarray(COLOURS).save(stream, "PNG")
    else:
        np.save(stream, COLOURS)
    image = load_image("-", PLAIN, stdin=io.BytesIO(stream.getvalue()), layout="HWC")
    assert_same_picture(image, COLOURS)
    assert (image.name, image.stem) == ("-", "stdin")


def test_standard_input_of_the_process(monkeypatch) -> None:
    data = sample_path().read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert load_image("-", PLAIN).pixels.shape == (400, 600, 3)


def test_standard_input_with_nothing_on_it(monkeypatch) -> None:
    error = refusal("-", stdin=io.BytesIO())
    assert error.message == "standard input is empty (0 bytes)."
    assert "fmap show - < photo.jpg" in error.hint
    monkeypatch.setattr(sys, "stdin", None)
    assert refusal("-").message == "no image on standard input."


def test_a_terminal_is_not_waited_for() -> None:
    master, terminal = os.openpty()
    try:
        with os.fdopen(terminal, "rb", buffering=0) as stream:
            assert refusal("-", stdin=stream).message == "no image on standard input."
    finally:
        os.close(master)


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = threading.Thread(target=lambda: fifo.write_bytes(sample_path().read_bytes()))
    writer.start()
    image = load_image(str(fifo), PLAIN)
    writer.join()
    assert image.pixels.shape == (400, 600, 3)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("cat.jpg", "cat"),
        ("my cat (1).final.png", "my_cat_1_.final"),
        (".hidden", "hidden"),
        ("Katze-äöü.png", "Katze-äöü"),
        ("$(rm).png", "rm"),
        ("???.png", "image"),
        ("x" * 200 + ".png", "x" * 80),
    ],
)
def test_name_and_stem(tmp_path: Path, name: str, stem: str) -> None:
    file = tmp_path / name
    file.write_bytes(sample_path("camera.png").read_bytes())
    image = load_image(str(file), PLAIN)
    assert (image.name, image.stem) == (str(file), stem)


# Samples --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["camera.png", "coffee.png", "chelsea.png", "rocket.jpg", "astronaut.png"])
def test_every_sample_is_readable_and_described(name: str) -> None:
    image = load_image(str(sample_path(name)), PLAIN)
    height, width = image.pixels.shape[:2]
    rows = [line for line in (SAMPLES / "README.md").read_text().splitlines() if f"| `{name}` |" in line]
    assert len(rows) == 1
    assert f"{width} × {height}" in rows[0]
    assert "CC0" in rows[0] or "public domain" in rows[0]


def test_the_default_sample_and_an_unknown_one() -> None:
    assert sample_path() == sample_path("coffee.png")
    with pytest.raises(ImageError) as caught:
        sample_path("dog.png")
    assert caught.value.message == "no bundled sample named dog.png."
    assert caught.value.hint == "There are astronaut.png, camera.png, chelsea.png, coffee.png, rocket.jpg."


def test_an_installed_package_finds_its_samples_inside(tmp_path: Path, monkeypatch) -> None:
    inside = tmp_path / "fmap_cli" / "sample_images"
    inside.mkdir(parents=True)
    (inside / "coffee.png").touch()
    monkeypatch.setattr(images, "__file__", str(tmp_path / "fmap_cli" / "inputs" / "images.py"))
    assert sample_path() == inside / "coffee.png"


# Bad input ------------------------------------------------------------------------------------------------


def png_bytes(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_missing_file() -> None:
    error = refusal("nowhere/cat.jpg")
    assert error.message == "no such file: nowhere/cat.jpg"
    assert error.hint == "Check the path and the name's spelling."


def test_an_address_is_answered_with_the_way_to_read_it() -> None:
    error = refusal("https://example.org/cat.jpg")
    assert error.hint.endswith("curl -sL https://example.org/cat.jpg | fmap show -")


def test_a_directory(tmp_path: Path) -> None:
    assert refusal(str(tmp_path)).message == f"{tmp_path} is a directory, not an image."


def test_an_unreadable_file(tmp_path: Path, monkeypatch) -> None:
    def refusing(self: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    file = tmp_path / "a.png"
    file.touch()
    monkeypatch.setattr(Path, "open", refusing)
    error = refusal(str(file))
    assert error.message == f"{file} cannot be read: permission denied."
    assert error.hint == f"Look at its permissions: ls -l {file}"


def test_a_file_that_opens_and_cannot_be_read(tmp_path: Path, monkeypatch) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError(5, "Input/output error")

    file = tmp_path / "a.png"
    file.touch()
    monkeypatch.setattr(Path, "open", lambda self, mode: Failing())
    assert refusal(str(file)).message == f"{file} cannot be read: Input/output error."
    assert refusal("-", stdin=Failing()).message == "standard input cannot be read: Input/output error."


@pytest.mark.parametrize(("name", "reason"), [("a" * 300 + ".png", "File name too long"), ("a\0b", "null")])
def test_a_name_no_file_can_have(name: str, reason: str) -> None:
    assert reason in refusal(name).message


def test_an_empty_file(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.touch()
    assert refusal(str(file)).message == f"{file} is empty (0 bytes)."


def test_a_device() -> None:
    assert refusal("/dev/null").message == "/dev/null is empty (0 bytes)."


def test_a_device_without_an_end(monkeypatch) -> None:
    monkeypatch.setattr(images, "_STREAM_LIMIT_BYTES", 1 << 22)
    assert refusal("/dev/zero").message == "/dev/zero gives more than 4,194,304 bytes: too much for an image."


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"not an image\n", "fmap reads JPEG, PNG"),
        (b"\0" * 100, "fmap reads JPEG, PNG"),
        (b"PK\x03\x04" + b"\0" * 100, "np.save"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 100, "HEIC"),
    ],
)
def test_a_file_that_is_no_image(tmp_path: Path, content: bytes, hint: str) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(content)
    error = refusal(str(file))
    assert error.message == f"{file} is not an image."
    assert hint in error.hint


def test_eps_never_reaches_ghostscript(tmp_path: Path, monkeypatch) -> None:
    source = saved(tmp_path / "a.eps", Image.fromarray(COLOURS))
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was run"))
    assert "is an EPS drawing" in refusal(source).message


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.tif", "a.bmp", "a.gif"])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.9])
def test_a_truncated_image(tmp_path: Path, name: str, fraction: float, capfd) -> None:
    file = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * fraction)])
    assert "truncated" in refusal(str(file)).message
    assert capfd.readouterr() == ("", "")


def test_what_pillow_logs_stays_off_stderr(monkeypatch, capsys) -> None:
    monkeypatch.setattr(logging.root, "handlers", [])  # as in a program that sets up no logging
    logging.getLogger("PIL.TiffImagePlugin").error("heard")
    with images._quiet_pillow():
        logging.getLogger("PIL.TiffImagePlugin").error("unheard")
    assert capsys.readouterr().err == "heard\n"


def test_what_libtiff_prints_stays_off_stderr(tmp_path: Path, capfd) -> None:
    file = tmp_path / "a.tif"
    Image.effect_noise((64, 64), 90).save(file, compression="tiff_lzw")
    data = bytearray(file.read_bytes())
    data[20:400] = b"\xff" * 380
    file.write_bytes(data)
    assert "damaged" in refusal(str(file)).message
    os.write(2, b"stderr is back")
    assert capfd.readouterr().err == "stderr is back"


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    small = Preprocessing(resize=16, crop=(16, 16))
    outcomes = set()
    for name in ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "NPY"]:
        stream = io.BytesIO()
        noise = rng.integers(0, 256, (12, 14, 3)).astype(np.uint8)
        np.save(stream, noise) if name == "NPY" else Image.fromarray(noise).save(stream, name)
        for _ in range(40):
            data = np.frombuffer(stream.getvalue(), dtype=np.uint8).copy()
            data[rng.integers(0, min(len(data), 200), 3)] = rng.integers(0, 256, 3)
            try:
                load_image("-", small, stdin=io.BytesIO(data.tobytes()))
                outcomes.add("read")
            except ImageError:
                outcomes.add("refused")
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("side", [9_500, 30_000])  # Pillow warns of the one and refuses the other
def test_a_decompression_bomb(tmp_path: Path, side: int) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(png_bytes(side, side, 8, 2, b""))
    limit = Image.MAX_IMAGE_PIXELS
    error = refusal(str(file))
    assert error.message == f"{file} is too large: {side * side:,} pixels; the limit is {limit:,} pixels."


def test_an_extreme_aspect_ratio_is_refused_before_it_is_resized(tmp_path: Path) -> None:
    source = saved(tmp_path / "a.png", Image.new("L", (20_000, 1)))
    error = refusal(source, Preprocessing(resize=256, crop=(224, 224)))
    # 20000 × 256 = 5,120,000 wide, times 256
    assert "1 × 20000, resized to 256 × 5120000 is too large: 1,310,720,000 pixels" in error.message
    assert load_image(source, PLAIN).pixels.shape == (1, 20_000, 3)


def test_absurd_sizes_asked_for_are_refused() -> None:
    error = refusal(str(sample_path()), Preprocessing(None, (20_000, 20_000)))
    assert "the crop 20000 × 20000 is too large" in error.message
    error = refusal(str(sample_path()), Preprocessing((20_000, 20_000), None))
    assert "resized to 20000 × 20000 is too large" in error.message


def npy_header(shape: str, dtype: str = "|u1") -> bytes:
    text = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            npy_header("(300, 400, 3)") + b"\0" * 99,
            "its header promises 360,000 bytes of uint8 [300, 400, 3], the file holds 99",
        ),
        (npy_header("(10000000, 10000000, 3)"), "too large: an array of [10000000, 10000000, 3]"),
        (npy_header("(4611686018427387904, 4, 3)", "<f8"), "too large"),
        (npy_header("(-5, 4, 3)"), "is truncated or damaged: not a .npy header"),
        (npy_header("(5, 4, 'x')"), "is truncated or damaged: not a .npy header"),
        (npy_header("(5, 4, 3)", "nonsense"), "is truncated or damaged: not a .npy header"),
        (b"\x93NUMPY\x01\x00\x76", "is truncated or damaged: not a .npy header"),
        (b"\x93NUMPY\x09\x00" + b"\0" * 50, "is truncated or damaged: not a .npy header"),
        (b"\x93NUMPY\x01\x00\x04\x00{{{{", "is truncated or damaged: not a .npy header"),
    ],
    ids=range(9),
)
def test_damaged_npy_files(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(content)
    assert message in refusal(str(file)).message


def test_the_npy_headers_made_here_are_sound(tmp_path: Path) -> None:
    file = tmp_path / "a.npy"
    file.write_bytes(npy_header("(2, 3, 3)") + COLOURS.tobytes())
    assert_same_picture(load_image(str(file), PLAIN, layout="HWC"), COLOURS)


# Imports --------------------------------------------------------------------------------------------------


def test_importing_and_refusing_need_no_torch(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from fmap_cli.inputs.images import load_image, sample_path, ImageError\n"
        "from fmap_cli.models.records import Preprocessing\n"
        "sample_path()\n"
        "assert not {'torch', 'torchvision', 'PIL', 'numpy'} & set(sys.modules)\n"
        "try:\n"
        "    load_image(sys.argv[1], Preprocessing(None, None))\n"
        "except ImageError as error:\n"
        "    assert 'is not an image' in error.message\n"
        "print('torch' in sys.modules)\n"
        "load_image(str(sample_path()), Preprocessing(None, None))\n"
        "print('torch' in sys.modules)\n"
    )
    file = tmp_path / "a.png"
    file.write_text("no image")
    ran = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]
    assert ran.stderr == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "ct.npy", "-l", "conv", "-o", "o.png"],
        ["predict", "ct.npy"],
        ["embed", "ct.npy"],
        ["stats", "ct.npy"],
        ["compare", "ct.npy", "--vs-dtype", "bfloat16"],
        ["layers", "--image", "ct.npy"],
        ["rf", "ct.npy", "-l", "conv", "--at", "3,3", "-o", "o.png"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_every_command_takes_a_range(fmap, workdir: Path, arguments: list[str]) -> None:
    """Without one the file is refused."""
    np.save("ct.npy", np.linspace(-1000, 3000, 32 * 32, dtype=np.float32).reshape(32, 32))
    (workdir / "net.py").write_text(
        "import collections\nfrom torch import nn\n"
        "def net(): return nn.Sequential(collections.OrderedDict(conv=nn.Conv2d(3, 4, 3),"
        " pool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(4, 5)))\n"
    )
    run = [*arguments, "-m", "net.py:net", "--size", "32,32"]
    assert "holds float32 values -1000..3000" in fmap(*run).err
    told = fmap(*run, "--range", "-1000,3000")
    assert (told.code, "-1000..3000 mapped to 0..1" in told.err) == (0, True), told
    if arguments[0] in ("show", "predict", "embed", "stats"):
        document = fmap(*run, "--range", "-1000,3000", "--json").json
        assert document["preprocessing"]["range"] == [-1000, 3000]
    assert fmap(*run, "--range", "5,5").code == 2
    assert "the first value has to be the smaller one" in fmap(*run, "--range", "5,5").err


def test_what_would_end_torchvisions_reader_does_not_reach_it(tmp_path: Path) -> None:
    """Pillow stops where the picture is complete; libpng looks at what follows, and torchvision does not survive it."""
    whole = png_bytes(9, 7, 16, 6, bytes(73) * 7)
    at = whole.index(b"IDAT") + 8
    file = tmp_path / "a.png"
    junk = whole.replace(b"\0\0\0\0IEND", whole[at:-12] * 10 + b"\0\0\0\0IEND")
    for broken in (junk, whole[:-20], whole[: at + 2] + b"\xff" + whole[at + 3 :]):
        assert images._sound_png(broken) is None
    assert images._sound_png(whole) is not None
    file.write_bytes(whole)
    assert load_image(str(file), PLAIN).pixels.shape == (7, 9, 3)
