from __future__ import annotations

import pytest

from fmap_cli.errors import ModelError
from fmap_cli.models.preprocessing import InputOverrides, described
from fmap_cli.models.records import Preprocessing

CROPS = Preprocessing(resize=256, crop=(224, 224))
KEEPS_ALL = Preprocessing(resize=520, crop=None)


def test_no_override_changes_nothing() -> None:
    assert InputOverrides().over(CROPS) is CROPS


def test_a_number_is_the_shorter_side_and_the_crop_where_there_is_one() -> None:
    assert (InputOverrides(size=96).over(CROPS).resize, InputOverrides(size=96).over(CROPS).crop) == (96, (96, 96))
    assert (InputOverrides(size=96).over(KEEPS_ALL).resize, InputOverrides(size=96).over(KEEPS_ALL).crop) == (96, None)


def test_a_pair_is_the_exact_height_and_width() -> None:
    found = InputOverrides(size=(96, 128)).over(CROPS)
    assert (found.resize, found.crop) == ((96, 128), None)


def test_one_value_serves_all_channels() -> None:
    found = InputOverrides(mean=(0.5,), std=(0.25, 0.5, 1.0)).over(CROPS)
    assert (found.mean, found.std) == ((0.5, 0.5, 0.5), (0.25, 0.5, 1.0))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            InputOverrides(mean=(0.5, 0.1)),
            "mean has 2 values (0.5, 0.1), and the network takes 3 channels\nGive one value for all channels, or 3.",
        ),
        (InputOverrides(std=(0.0,)), "std must be above zero, not 0, 0, 0"),
        (InputOverrides(mean=(float("nan"),)), "mean must be finite numbers, not nan"),
        (InputOverrides(size=0), "the size must be at least one pixel, not 0"),
        (InputOverrides(size=(5, -1)), "the size must be at least one pixel, not 5×-1"),
    ],
)
def test_what_cannot_be(overrides: InputOverrides, message: str) -> None:
    with pytest.raises(ModelError) as caught:
        overrides.over(CROPS)
    assert str(caught.value) == message


def test_described() -> None:
    assert described(InputOverrides(size=(64, 96), mean=(0.5,), std=(0.5,)).over(CROPS)) == (
        "resized to 64×96, mean 0.5, 0.5, 0.5, std 0.5, 0.5, 0.5"
    )
