"""Resizing, cropping and normalising, against torchvision."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from inputs.made import (
    COLOURS,
    GRAY,
    PLAIN,
    SAMPLES,
    preprocessing,
    refusal,
    saved,
    saved_array,
)
from PIL import Image
from torchvision import models

from fmap_cli.inputs.images import load_image, sample_path
from fmap_cli.models.records import Preprocessing

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
    assert "std contains a zero" in refusal(str(sample_path()), Preprocessing(None, None, std=(0.0,))).message


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
    assert image.framing is not None and list(image.framing.unusual) == ["padded"]
    assert image.notes == ()
