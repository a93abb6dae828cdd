"""Arrays in .npy files: their axes, values and damage."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from inputs.made import (
    COLOURS,
    GRAY,
    PLAIN,
    assert_same_picture,
    preprocessing,
    refusal,
    saved_array,
)

from fmap_cli.inputs.images import load_image

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
    assert f"cannot tell which axis of {list(shape)} holds the channels" in error.message
    assert "--layout" in error.hint
    whole = f"--input-shape {','.join(map(str, shape))}"  # of a volume that has no batch
    assert (whole in error.hint) == (len(shape) == 4)
    batch = "N" if len(shape) == 4 else ""
    assert load_image(source, PLAIN, layout=f"{batch}HWC").pixels.shape[:2] == shape[-3:-1]
    if shape[-3] != 5:
        assert load_image(source, PLAIN, layout=f"{batch}chw").pixels.shape[:2] == shape[-2:]


def test_channels_that_are_nowhere_are_asked_for(tmp_path: Path) -> None:
    source = saved_array(tmp_path / "a.npy", np.zeros((5, 6, 7), dtype=np.uint8))
    assert "holds the channels: no axis at either end has 1 or 3 or 4 entries." in refusal(source).message
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
        (np.zeros(3), "has 1 axis, [3]"),
        (np.zeros((1, 1, 1, 5, 5)), "has 5 axes, [1, 1, 1, 5, 5]"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.dtype}{list(value.shape)}",
)
def test_arrays_that_are_no_picture(tmp_path: Path, array: np.ndarray, message: str) -> None:
    assert message in refusal(saved_array(tmp_path / "a.npy", array)).message


def test_several_images_in_an_array_come_with_the_way_out(tmp_path: Path) -> None:
    error = refusal(saved_array(tmp_path / "a.npy", np.zeros((8, 3, 5, 5))))
    assert error.hint.startswith("Save one of them, for example the first: np.save('first.npy', array[0])")


@pytest.mark.parametrize(
    ("shape", "option"),
    [((3,), "3"), ((3, 16, 32, 32), "3,16,32,32"), ((8, 3, 5, 5), "8,3,5,5"), ((1, 3, 16, 32, 32), "3,16,32,32"),
     ((2, 3, 16, 32, 32), "3,16,32,32"), ((1, 2, 3, 4, 5, 6), "2,3,4,5,6")],
)  # fmt: skip
def test_what_may_be_no_picture_comes_with_the_option_that_takes_it(
    tmp_path: Path, shape: tuple[int, ...], option: str
) -> None:
    error = refusal(saved_array(tmp_path / "a.npy", np.zeros(shape)))
    assert f"--input-shape {option}." in error.hint
    assert ("16 images" in error.message or "3 images" in error.message) is False
    first = shape[0] not in (1, 3) and len(shape) > 3  # one of several comes first
    assert ("array[0]" in error.hint) == first


def test_a_layout_of_fewer_axes_than_a_volume_has_names_the_option(tmp_path: Path) -> None:
    for layout in ("CHW", "HWC"):
        error = refusal(saved_array(tmp_path / "a.npy", np.zeros((1, 16, 32, 32))), layout=layout)
        assert "--input-shape 1,16,32,32." in error.hint


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
    assert "no axis at either end has 5 entries" in refusal(source, preprocessing(5)).message


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


# Bad input ------------------------------------------------------------------------------------------------


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
