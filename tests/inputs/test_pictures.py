"""Files of pictures: formats, modes, bits, transparency, orientation; damage."""

from __future__ import annotations

import io
import logging
import os
import struct
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from inputs.made import (
    COLOURS,
    PLAIN,
    assert_same_picture,
    gray_pixels,
    png_bytes,
    refusal,
    saved,
    saved_array,
)
from PIL import Image

from fmap_cli.errors import ImageError
from fmap_cli.inputs import modes, pictures, png
from fmap_cli.inputs.images import load_image
from fmap_cli.models.records import Preprocessing

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
    assert np.asarray(modes._flatten(stored, notes)).tolist() == gray_pixels(9, 255, 204)
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
    monkeypatch.setattr(pictures, "sixteen_bit_colours", lambda *_: None)
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


# Bad input ------------------------------------------------------------------------------------------------


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
    with modes.quiet_pillow():
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


# Imports --------------------------------------------------------------------------------------------------


def test_what_would_end_torchvisions_reader_does_not_reach_it(tmp_path: Path) -> None:
    """Pillow stops where the picture is complete; libpng looks at what follows, and torchvision does not survive it."""
    whole = png_bytes(9, 7, 16, 6, bytes(73) * 7)
    at = whole.index(b"IDAT") + 8
    file = tmp_path / "a.png"
    junk = whole.replace(b"\0\0\0\0IEND", whole[at:-12] * 10 + b"\0\0\0\0IEND")
    for broken in (junk, whole[:-20], whole[: at + 2] + b"\xff" + whole[at + 3 :]):
        assert png._sound_png(broken) is None
    assert png._sound_png(whole) is not None
    file.write_bytes(whole)
    assert load_image(str(file), PLAIN).pixels.shape == (7, 9, 3)
