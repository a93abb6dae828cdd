"""What the user overrides of the preprocessing, laid over what the model brings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fmap_cli.errors import ModelError
from fmap_cli.models.input_words import input_words
from fmap_cli.models.records import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    InputKind,
    LoadedModel,
    NetworkInput,
    Note,
    Preprocessing,
)


@dataclass(frozen=True, slots=True)
class InputOverrides:
    """`--size`, `--mean`, `--std` and `--input-shape`; None, or no shape, leaves the model's own."""

    size: int | tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    shapes: tuple[tuple[int, ...], ...] = ()

    @property
    def channels(self) -> int | None:
        """How many channels there are if mean or standard deviation has a value for each; else None."""
        return next((len(each) for each in (self.mean, self.std) if each is not None and len(each) > 1), None)

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size of the picture the network will see, where it is known beforehand."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def with_size_of_shapes(self, model: str) -> InputOverrides:
        """The size that the shapes say, for a model of pictures. Raises ModelError where they are none of pictures."""
        if not self.shapes:
            return self
        if any(len(shape) not in (3, 4) for shape in self.shapes):
            raise ModelError(
                f"{model} takes pictures, and --input-shape {_commas(self.shapes[0])} is none's.",
                hint="A picture's shape is C,H,W, a clip's C,T,H,W.",
            )
        height, width = self.shapes[0][-2:]
        return replace(self, size=height if height == width else (height, width))

    def over(self, own: Preprocessing) -> Preprocessing:
        """`own`, with what is overridden in its place.

        A number resizes the shorter side to it and crops the square in the middle, where the model's own
        preprocessing crops; a pair resizes to exactly (height, width) and crops nothing. A single mean or
        std serves all channels.

        >>> InputOverrides(size=96).over(Preprocessing(resize=256, crop=(224, 224))).crop
        (96, 96)
        >>> InputOverrides(size=(96, 128), mean=(0.5,)).over(Preprocessing(resize=256, crop=(224, 224))).mean
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
        given = [f"--{name}" for name in ("size", "mean", "std") if getattr(self, name) is not None]
        if given:
            rest = f", the rest {own.source}" if len(given) < 3 and own.source else ""
            known = 2 if len(given) == 3 else own.known
            result = replace(result, source=f"{' and '.join(given)} given{rest}", known=known)
        return result


def fed_as_said(model: LoadedModel, shapes: tuple[tuple[int, ...], ...]) -> LoadedModel:
    """A model that says what it takes, fed as the user says; raises ModelError where the two do not go together."""
    own = model.preprocessing
    wanted = (own.channels, "T", "H", "W") if model.input_kind == "video" else (own.channels, "H", "W")
    count = 2 if model.input_kind == "image_pair" else 1
    if len(shapes) not in (1, count) or len(set(shapes)) > 1 or len(shapes[0]) != len(wanted):
        fits = False
    else:
        fits = shapes[0][0] == own.channels
    if not fits:
        given = " ".join(f"--input-shape {_commas(shape)}" for shape in shapes)
        raise ModelError(
            f"{model.name} takes {_commas(wanted)}{', twice' if count == 2 else ''}, not {given}.",
            hint="Leave out --input-shape, or give the size alone with --size.",
        )
    size = shapes[0][-2], shapes[0][-1]
    if own.crop is None:
        own = replace(own, resize=size)
    return replace(
        model,
        preprocessing=own,
        frames=shapes[0][1] if model.input_kind == "video" else model.frames,
        takes=NetworkInput(
            shapes * (count // len(shapes)),
            ("CTHW" if model.input_kind == "video" else "CHW",) * count,
            SAID,
            (False,) * count,
        ),
    )


def _commas(lengths: Sequence[object]) -> str:
    return ",".join(map(str, lengths))


USUAL_SIZE_PX = 224


def assumed_preprocessing(channels: int, size: tuple[int, int], *, margin: bool = True) -> Preprocessing:
    """ImageNet's usual preprocessing for this size; values to -1..1 where there are other than three channels.

    The usual crop leaves out a `margin`; small pictures are usually taken whole.
    """
    shorter = round(size[0] * 256 / 224) if margin else size[0]
    resize = shorter if size[0] == size[1] else size
    if channels == 3:
        return Preprocessing(resize=resize, crop=size)
    return Preprocessing(resize=resize, crop=size, mean=(0.5,) * channels, std=(0.5,) * channels, channels=channels)


SAID = "as --input-shape says"
FOUND = "found by running"
NOT_FOUND = "no usual input makes the network run"
IN_FILE = "as in the file"


def usual_input(overrides: InputOverrides) -> NetworkInput:
    """A picture of the usual kind, for a network that runs on no input that was tried."""
    height, width = overrides.height_width or (USUAL_SIZE_PX, USUAL_SIZE_PX)
    return NetworkInput(((overrides.channels or 3, height, width),), ("CHW",), NOT_FOUND, (False,))


def fed(known: NetworkInput, overrides: InputOverrides) -> tuple[Preprocessing, InputKind, int, tuple[str, ...]]:
    """How a network is fed that says nothing of it, by what it takes: preprocessing, kind, frames, and what to say."""
    kinds: dict[tuple[str, ...], InputKind] = {("CHW",): "image", ("CTHW",): "video"}
    kind = "arrays" if any(known.integers) else kinds.get(known.axes, "arrays")
    pictures = [shape for shape, axes in zip(known.shapes, known.axes, strict=True) if axes in ("CHW", "CTHW")]
    channels, *frames, height, width = (pictures or [(3, USUAL_SIZE_PX, USUAL_SIZE_PX)])[0]
    own = assumed(
        assumed_preprocessing(channels, (height, width), margin=known.how == IN_FILE or height == USUAL_SIZE_PX)
    )
    preprocessing = (replace(overrides, size=None) if known.how == SAID else overrides).over(own)
    given = None not in (overrides.size, overrides.mean, overrides.std)
    guessed = known.how == FOUND and not (pictures and given and overrides.channels == channels)
    notes: tuple[str, ...] = ()
    if known.how == NOT_FOUND:
        notes += (f"input assumed: {known.words}: {known.how}; --input-shape says what it takes",)
        guessed = False
    if pictures and not given and input_words(kind, known).is_picture:
        shown = [found_input(known)] * guessed + [described(preprocessing)]
        options = "--input-shape, --size, --mean and --std" if guessed else "--size, --mean and --std"
        notes += (
            Note(
                f"{'input' if guessed else 'preprocessing'} assumed: {', '.join(shown)}; {options} change it", "feeding"
            ),
        )
    elif guessed:
        notes += (f"input assumed: {found_input(known)}; --input-shape changes it",)
    return preprocessing, kind, frames[0] if kind == "video" else 1, notes


def found_input(known: NetworkInput) -> str:
    """The shape that a network was found to take, and how."""
    return f"{known.words} ({known.how})"


def assumed(own: Preprocessing) -> Preprocessing:
    """`own` for weights that do not say how they are to be fed: a file's, or random ones.

    >>> assumed(Preprocessing(resize=232, crop=(224, 224), source="weights IMAGENET1K_V2")).source
    'assumed: that of weights IMAGENET1K_V2'
    """
    if own.source:
        return replace(own, source=f"assumed: that of {own.source}", known=1)
    return replace(own, source="assumed", known=0)


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
    # More channels than colours have mostly one value for all.
    mean, std = (each[:1] if len(each) > 3 and len(set(each)) == 1 else each for each in (own.mean, own.std))
    if (tuple(mean), tuple(std)) == (IMAGENET_MEAN, IMAGENET_STD):
        return ", ".join([*steps, "ImageNet's mean and std"])
    return ", ".join([*steps, f"mean {_numbers(mean)}", f"std {_numbers(std)}"])
