"""What the user wishes of the preprocessing, laid over what the model brings."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from fmap_cli.errors import ModelError
from fmap_cli.records import Preprocessing


@dataclass(frozen=True, slots=True)
class Wishes:
    """`--size`, `--mean` and `--std`; None leaves the model's own."""

    size: int | tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size of the picture the network will see, where it is known beforehand."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def over(self, own: Preprocessing) -> Preprocessing:
        """`own` with the wishes in its place.

        A number resizes the shorter side to it and crops the square in the middle, where the model's own
        preprocessing crops; a pair resizes to exactly (height, width) and crops nothing. A single mean or
        std serves all channels.

        >>> Wishes(size=96).over(Preprocessing(resize=256, crop=(224, 224))).crop
        (96, 96)
        >>> Wishes(size=(96, 128), mean=(0.5,)).over(Preprocessing(resize=256, crop=(224, 224))).mean
        (0.5, 0.5, 0.5)
        """
        result = own
        if self.size is not None:
            result = _resized(result, self.size)
        if self.mean is not None:
            result = replace(result, mean=_per_channel("mean", self.mean, own.channels))
        if self.std is not None:
            std = _per_channel("std", self.std, own.channels)
            if any(value <= 0 for value in std):
                raise ModelError(f"std must be above zero, not {_numbers(std)}")
            result = replace(result, std=std)
        return result


def _resized(own: Preprocessing, size: int | tuple[int, int]) -> Preprocessing:
    sides = (size,) if isinstance(size, int) else size
    if any(side < 1 for side in sides):
        raise ModelError(f"the size must be at least one pixel, not {'×'.join(map(str, sides))}")
    if isinstance(size, int):
        return replace(own, resize=size, crop=None if own.crop is None else (size, size))
    return replace(own, resize=size, crop=None)


def _per_channel(what: str, values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    if not all(math.isfinite(value) for value in values):
        raise ModelError(f"{what} must be finite numbers, not {_numbers(values)}")
    if len(values) == 1:
        return values * channels
    if len(values) != channels:
        raise ModelError(
            f"{what} has {len(values)} values ({_numbers(values)}), and the network takes {channels} channels",
            hint=f"Give one value for all channels, or {channels}.",
        )
    return values


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def described(own: Preprocessing) -> str:
    """The preprocessing in words.

    >>> described(Preprocessing(resize=256, crop=(224, 224), mean=(0.5,), std=(0.5,), channels=1))
    'shorter side to 256, centre crop 224×224, mean 0.5, std 0.5'
    """
    steps = []
    if isinstance(own.resize, int):
        steps.append(f"shorter side to {own.resize}")
    elif own.resize is not None:
        steps.append(f"resized to {own.resize[0]}×{own.resize[1]}")
    if own.crop is not None:
        steps.append(f"centre crop {own.crop[0]}×{own.crop[1]}")
    return ", ".join([*steps, f"mean {_numbers(own.mean)}", f"std {_numbers(own.std)}"])
