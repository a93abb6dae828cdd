"""What a pass is fed: files and arrays become the network's arguments, in one way for each kind of input.

A feed knows four things of its kind: which sources belong to one pass (`groups`), how they are read (`read`), how what
was read becomes a batch (`batch`), and what a blank input of any size looks like (`blank`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ImageError
from ..models.input_words import input_words
from ..models.preprocessing import FOUND
from ..models.records import LoadedModel, NetworkInput, Preprocessing
from ..models.trying import takes_too
from .arrays import load_array, shape_held
from .images import load_image, sample_path
from .records import ImageInput
from .sources import image_sources

Say = Callable[[str], None]
Source = str | Sequence[str] | None
"""What one pass is read from: a path, several that belong together, or None for what is given where nothing is."""

NOISE_SEED = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where inputs lie, and as what."""

    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format | None = None

    def stacked(self, tensors: Iterable[Tensor]) -> Tensor:
        batch = torch.stack([self.put(each) for each in tensors])
        has_order = self.memory_format is not None and batch.ndim == (
            5 if self.memory_format == torch.channels_last_3d else 4
        )
        return batch.contiguous(memory_format=self.memory_format) if has_order and self.memory_format else batch

    def put(self, tensor: Tensor) -> Tensor:
        return tensor.to(self.device, self.dtype if tensor.is_floating_point() else tensor.dtype)

    def zeros(self, *shape: int) -> Tensor:
        return torch.zeros(shape, device=self.device, dtype=self.dtype)


def feed_of(model: LoadedModel) -> Feed:
    """How this model is fed."""
    kinds: dict[str, type[Feed]] = {
        "image": Pictures,
        "images": PicturesInAList,
        "video": Clips,
        "image_pair": Pairs,
        "arrays": Arrays,
    }
    return kinds[model.input_kind](model)


def source_name(source: Source) -> str:
    """What to call an input that could not be read: its path, or those of the images that belong together."""
    if source is None:
        return "bundled sample"
    return source if isinstance(source, str) else " ".join(source)


class Feed:
    """One tensor or several, made of pictures."""

    axes: tuple[str, ...] = ("H", "W")
    """Along which axes there are places in the input."""
    lead = 0
    """The argument that has them."""
    inputs = 1
    """How many files a pass may be given."""

    def __init__(self, model: LoadedModel) -> None:
        self.model = model

    def places(self, rank: int) -> list[int]:
        """Where `axes` stand in a tensor of the first argument, which has so many axes."""
        return list(range(rank - len(self.axes), rank))

    def groups(self, sources: Sequence[str]) -> list[Source]:
        """The sources of one pass each; a folder stands for the images in it. None is for want of any."""
        return list(image_sources(sources)) if sources else [None]

    def read(self, source: Source, say: Say, layout: str | None) -> ImageInput:
        """What one pass is given. Raises ImageError."""
        model = self.model
        if source is None and model.preprocessing.channels not in (1, 3):
            return self.noise(say)
        if source is None:
            image = self.picture(str(sample_path()), layout)
            image = replace(image, name=f"{sample_path().stem} (bundled sample)")
            say(f"no image given: showing the bundled sample, {sample_path().name}.")
        elif not isinstance(source, str):
            first, second = (self.picture(path, layout) for path in source)
            image = replace(followed_by(first, (second,)), sources=tuple(source), inputs=(first, second))
        else:
            image = self.picture(source, layout)
        for note in image.notes:
            say(f"{image.name}: {note}")
        if image.own_size:
            say(f"{image.name}: kept as large as it is: {_of_own_shape(self.model)}.")
        return image

    def picture(self, path: str, layout: str | None) -> ImageInput:
        return load_image(path, self.model.preprocessing, layout=layout, keeps=self.keeps)

    def keeps(self, size: tuple[int, int]) -> bool:
        """Whether an array of this height and width stays so: where it is no picture, and the size is only assumed."""
        own = self.model.preprocessing
        if own.channels in (1, 3) or own.has_given_size or own.crop == size or len(self.axes) > 2:
            return False
        return takes_too(self.model, (own.channels, *size))

    def noise(self, say: Say) -> ImageInput:
        """Gaussian noise for a network that takes no picture."""
        own = self.model.preprocessing
        height, width = own.crop or (own.resize if isinstance(own.resize, tuple) else (224, 224))
        return _of_arrays([_noise((own.channels, height, width))], self.model, say)

    def batch(self, images: Sequence[ImageInput], place: Place) -> tuple[Any, ...]:
        """What was read as the forward's arguments."""
        return (place.stacked(image.tensor for image in images),)

    def blank(self, batch: int, height: int, width: int, frames: int, place: Place) -> tuple[Any, ...]:
        """Zeros for an input of this size."""
        return (place.zeros(batch, self.model.preprocessing.channels, height, width),)

    def size_of(self, image: ImageInput) -> tuple[int, int]:
        """Height and width of an input, as `blank` takes them."""
        return image.tensor.shape[-2], image.tensor.shape[-1]


class Pictures(Feed):
    """`[B, C, H, W]`."""


class PicturesInAList(Feed):
    """A list of `[C, H, W]`, each of its own size: what detectors take."""

    def batch(self, images: Sequence[ImageInput], place: Place) -> tuple[Any, ...]:
        return ([place.put(image.tensor) for image in images],)


class Clips(Feed):
    """`[B, C, T, H, W]`: a folder's pictures, one picture again and again, or an array of that shape.

    A folder of such arrays is so many inputs.
    """

    axes = ("T", "H", "W")

    def groups(self, sources: Sequence[str]) -> list[Source]:
        found: list[Source] = []
        for each in sources:
            found += self._arrays_in(each) or [each]
        return found or [None]

    def _arrays_in(self, source: str) -> list[str]:
        """The files of a folder of arrays that are each a whole input; none of any other folder."""
        takes = self.model.takes
        if takes is None or source == "-" or not Path(source).is_dir():
            return []
        files = image_sources([source])
        shape = shape_held(files[0]) if files and all(each.endswith(".npy") for each in files) else None
        if shape is None:
            return []
        of_one = [[length for length in each if length != 1] for each in (shape, takes.shapes[0])]
        return files if len(shape) > 3 or of_one[0] == of_one[1] else []

    def read(self, source: Source, say: Say, layout: str | None) -> ImageInput:
        model = self.model
        if isinstance(source, str) and source != "-" and Path(source).is_dir():
            paths = _frames(source, model.frames)
            image = _clip(source, [self.picture(path, layout) for path in paths])
            there = len(set(paths))
            spaced = "evenly spaced over its pictures in the order of their names"
            if there < model.frames:
                spaced = f"of its {there} pictures in the order of their names, so that pictures are shown again"
            say(f"{source}: {model.frames} frames, {spaced}.")
            for note in image.notes:
                say(f"{image.name}: {note}")
            return image
        if model.takes is not None and isinstance(source, str) and source != "-":
            array = load_array(source, model.takes.shapes[0], model.preprocessing.value_range)
            if array is not None:
                return _clip_of(_given(array), source, model, say)
        image = super().read(source, say, layout)
        if not image.more:
            called, count = input_words(model.input_kind, model.takes), model.frames
            each = f"{count} {'still ' * called.is_picture}{called.layer}s"
            say(f"{model.name} takes {called.noun}s: the picture is repeated as {each}.")
        return image

    def noise(self, say: Say) -> ImageInput:
        own = self.model.preprocessing
        height, width = own.crop or (224, 224)
        return _clip_of(_noise((own.channels, self.model.frames, height, width)), None, self.model, say)

    def batch(self, images: Sequence[ImageInput], place: Place) -> tuple[Any, ...]:
        still = self.model.frames
        clips = [[image.tensor, *image.more] if image.more else [image.tensor] * still for image in images]
        return (place.stacked(torch.stack(clip, dim=1) for clip in clips),)  # [B, C, T, H, W]

    def blank(self, batch: int, height: int, width: int, frames: int, place: Place) -> tuple[Any, ...]:
        return (place.zeros(batch, self.model.preprocessing.channels, frames, height, width),)


class Pairs(Feed):
    """Two `[B, C, H, W]`: optical flow."""

    inputs = 2

    def groups(self, sources: Sequence[str]) -> list[Source]:
        found = super().groups(sources)
        if len(found) == 1:
            return found
        if len(found) % 2:
            raise ImageError(
                f"{self.model.name} takes images in pairs, and there are {len(found)}.",
                hint=f"Give two images: `fmap show first.png second.png --model {self.model.name}`.",
            )
        return [[each for each in found[at : at + 2] if isinstance(each, str)] for at in range(0, len(found), 2)]

    def read(self, source: Source, say: Say, layout: str | None) -> ImageInput:
        image = super().read(source, say, layout)
        if not image.more:
            say(f"{self.model.name} takes two pictures: the same one is given twice, so there is no motion to find.")
        return image

    def batch(self, images: Sequence[ImageInput], place: Place) -> tuple[Any, ...]:
        second = (image.more[0] if image.more else image.tensor for image in images)
        return (*super().batch(images, place), place.stacked(second))

    def blank(self, batch: int, height: int, width: int, frames: int, place: Place) -> tuple[Any, ...]:
        (blank,) = super().blank(batch, height, width, frames, place)
        return blank, blank


class Arrays(Feed):
    """Whatever the network's `NetworkInput` says: vectors, sequences, tokens, several inputs.

    A picture is taken for an input that has a picture's shape, an `.npy` array of an input's very shape for any; what
    is not given is Gaussian noise, or for indices evenly drawn ones.
    """

    def __init__(self, model: LoadedModel) -> None:
        super().__init__(model)
        assert model.takes is not None
        self.takes: NetworkInput = model.takes
        self.inputs = len(model.takes.shapes)
        ranked = ([at for at, axes in enumerate(self.takes.axes) if set(axes) & set(wanted)] for wanted in ("THW", "C"))
        self.lead = next((found[0] for found in ranked if found), 0)
        # A vector's features have no places; which of them are seen is followed as if they had.
        self.axes = tuple(letter for letter in self.takes.axes[self.lead] if letter in "THW") or ("W",)

    def places(self, rank: int) -> list[int]:
        found = [at for at, letter in enumerate(self.takes.axes[self.lead], start=1) if letter in "THW"]
        return found or [rank - 1]

    def groups(self, sources: Sequence[str]) -> list[Source]:
        found = super().groups(sources)
        count = len(self.takes.shapes)
        if len(found) == 1 or count == 1:
            return found
        if len(found) % count:
            raise ImageError(
                f"{self.model.name} takes {count} inputs, and {len(found)} were given.",
                hint=f"Give {count} for each pass, in the order of the forward's arguments: {self.takes.words}.",
            )
        return [
            [each for each in found[at : at + count] if isinstance(each, str)] for at in range(0, len(found), count)
        ]

    def read(self, source: Source, say: Say, layout: str | None) -> ImageInput:
        paths: list[str | None] = [source] if source is None or isinstance(source, str) else list(source)
        name = None if source is None else source_name(source)
        if source is None and self._pictures():
            paths = [str(sample_path()) if at == self._pictures()[0] else None for at in range(len(self.takes.shapes))]
            say(f"no image given: showing the bundled sample, {sample_path().name}.")
            name = f"{sample_path().stem} (bundled sample)"
        given = [self._read_one(at, path, say, layout) for at, path in enumerate(paths) if path is not None]
        by_place: dict[int, ImageInput | Tensor] = dict(
            zip([at for at, path in enumerate(paths) if path is not None], given, strict=True)
        )
        tensors = []
        inputs: list[ImageInput] = []
        again = made = 0
        for at, shape in enumerate(self.takes.shapes):
            found = by_place.get(at)
            if found is None and at in self._pictures():
                found = next((each for each in given if _tensor_of(each).shape == shape), None)
                again += found is not None
            if found is None and given:
                made += 1
            tensors.append(_tensor_of(found) if found is not None else self._noise(at))
            inputs.append(found if isinstance(found, ImageInput) else self._by_itself(at, tensors[at]))
        if again:
            say(f"{self.model.name} takes several pictures: the same one is given {again + 1} times.")
        if made:
            count = len(self.takes.shapes)
            say(f"{self.model.name} takes {count} inputs: those not given are noise (seed {NOISE_SEED}).")
        picture = next((each for each in given if isinstance(each, ImageInput)), None)
        if picture is not None:
            sources = tuple(path for path in paths if path is not None) if len(paths) > 1 and source is not None else ()
            name = name or picture.name
            picture = replace(picture, name=name, tensor=tensors[0], more=tuple(tensors[1:]), sources=sources)
            shown = next(at for at, each in enumerate(inputs) if each.framing is not None)
        else:
            picture, shown = _of_arrays(tensors, self.model, say, name), 0
            sources = tuple(path for path in paths if path is not None) if len(paths) > 1 else ()
            picture = replace(picture, sources=sources)
        return replace(picture, inputs=tuple(inputs), shown=shown) if len(inputs) > 1 else picture

    def _by_itself(self, at: int, tensor: Tensor) -> ImageInput:
        """An array that is one of the inputs, for the eye."""
        is_picture = "H" in self.takes.axes[at] and "W" in self.takes.axes[at]
        return ImageInput(
            f"input {at + 1}",
            "array",
            _for_the_eye(tensor),
            tensor,
            is_picture=is_picture,
            described=_described(tensor),
        )

    def _pictures(self) -> list[int]:
        """Which inputs a picture fits."""
        return [
            at
            for at, (axes, shape) in enumerate(zip(self.takes.axes, self.takes.shapes, strict=True))
            if axes == "CHW" and shape[0] in (1, 3)
        ]

    def _read_one(self, at: int, path: str, say: Say, layout: str | None) -> ImageInput | Tensor:
        shape = self._shape_for(at, path)
        value_range = None if self.takes.integers[at] else self.model.preprocessing.value_range
        held = () if path == "-" else shape_held(path) or ()
        exact = held in (shape, (1, *shape))
        array = load_array(path, shape, value_range) if exact or (held and at not in self._pictures()) else None
        if array is not None:
            how = "given as it is" if value_range is None else "{:g}..{:g} mapped to 0..1".format(*value_range)
            read = "" if exact else f", read as {list(shape)}"
            own = "" if shape == self.takes.shapes[at] else f": {_of_own_shape(self.model)}"
            say(f"{path}: array of shape {list(held if read else shape)}{read}, {how}{own}.")
            if self.takes.integers[at]:
                return torch.from_numpy(array.astype(np.int64))
            return _given(array)
        if at not in self._pictures():
            is_what = f"{path}, an array of shape {list(held)}," if held else path
            found = self.takes.how == FOUND and len(shape) == len(held) and len(self.takes.shapes) == 1
            takes = f"was found to run on {list(shape)}, and does not run on this" if found else f"takes {list(shape)}"
            raise ImageError(
                f"{is_what} does not fit: {self.model.name} {takes}"
                f"{'' if len(self.takes.shapes) == 1 else f' as input {at + 1}'}.",
                hint=f"Give an .npy array of shape {list(shape)}, or {self._option_for(at, None if found else path)};"
                " without a file it is fed noise.",
            )
        image = load_image(path, _preprocessing_for(self.model.preprocessing, shape), layout=layout)
        for note in image.notes:
            say(f"{image.name}: {note}")
        return image

    def _shape_for(self, at: int, path: str) -> tuple[int, ...]:
        """The shape as which a file is given: its own where the network takes that, too; else what was found first.

        A batch of one may stand before it, and of one channel its axis may be missing.
        """
        own, axes = self.takes.shapes[at], self.takes.axes[at]
        held = None if path == "-" or at in self._pictures() else shape_held(path)
        if held is None or held in (own, (1, *own)):
            return own
        channel = axes.find("C")
        candidates = [held, held[1:]] if held[:1] == (1,) else [held]
        if channel >= 0 and len(axes) > 1 and own[channel] == 1:
            candidates += [(*each[:channel], 1, *each[channel:]) for each in candidates]
        return next((each for each in candidates if each == own or takes_too(self.model, each)), own)

    def _option_for(self, at: int, path: str | None) -> str:
        """The `--input-shape` with which a file's array fits, where it has as many axes; with a batch of one or not."""
        shape, own = None if path in (None, "-") else shape_held(path), self.takes.shapes[at]
        if shape is not None and len(shape) == len(own) + 1 and shape[0] == 1:
            shape = shape[1:]
        if shape is None or len(shape) != len(own) or 0 in shape:
            return "--input-shape for what the network takes"
        shapes = [shape if place == at else each for place, each in enumerate(self.takes.shapes)]
        words = " ".join(f"--input-shape {','.join(map(str, each))}" for each in shapes)
        return f"{words} where the network takes this one, {list(shape)}"

    def _noise(self, at: int) -> Tensor:
        return _noise(self.takes.shapes[at], at, self.takes.indices if self.takes.integers[at] else None)

    def batch(self, images: Sequence[ImageInput], place: Place) -> tuple[Any, ...]:
        arguments = [[image.tensor, *image.more] for image in images]
        return tuple(place.stacked(each) for each in zip(*arguments, strict=True))

    def blank(self, batch: int, height: int, width: int, frames: int, place: Place) -> tuple[Any, ...]:
        """Zeros of the inputs' shapes; those that have the first one's places are as large as it is to be."""
        lengths = {"T": frames, "H": height, "W": width}
        shapes = [
            [lengths.get(letter, n) if self._alike(at) else n for letter, n in zip(axes, shape, strict=True)]
            for at, (axes, shape) in enumerate(zip(self.takes.axes, self.takes.shapes, strict=True))
        ]
        return tuple(
            torch.zeros((batch, *shape), device=place.device, dtype=torch.int64 if whole else place.dtype)
            for shape, whole in zip(shapes, self.takes.integers, strict=True)
        )

    def _alike(self, at: int) -> bool:
        """Whether an input has the axes and sizes of the one with places, but for its channels."""
        sizes = [dict(zip(*each, strict=True)) for each in zip(self.takes.axes, self.takes.shapes, strict=True)]
        first, other = ({**sizes[each], "C": 0} for each in (self.lead, at))
        return first == other

    def size_of(self, image: ImageInput) -> tuple[int, int]:
        given = (image.tensor, *image.more)[self.lead]
        sizes = dict(zip(self.takes.axes[self.lead], given.shape, strict=True))
        return sizes.get("H", 1), sizes.get("W", 1)


# -- arrays and clips --------------------------------------------------------------------------------------------


def _of_own_shape(model: LoadedModel) -> str:
    """That a network runs on an array as it is, though another shape was tried first."""
    assert model.takes is not None
    return f"the network runs on this shape as well, and {model.takes.words} was only assumed"


def _given(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


def _noise(shape: Sequence[int], at: int = 0, indices: int | None = None) -> Tensor:
    """Gaussian noise, or indices below a number, always the same for the argument at this place."""
    generator = torch.Generator().manual_seed(NOISE_SEED + at)
    if indices is not None:
        return torch.randint(0, max(indices, 1), tuple(shape), generator=generator)
    return torch.randn(tuple(shape), generator=generator)


def _tensor_of(found: ImageInput | Tensor) -> Tensor:
    return found.tensor if isinstance(found, ImageInput) else found


def _preprocessing_for(own: Preprocessing, shape: Sequence[int]) -> Preprocessing:
    """The model's preprocessing for an input of this shape; values to -1..1 where it has other channels."""
    channels, height, width = shape
    own = replace(own, crop=(height, width))
    if channels == own.channels:
        return own
    return replace(own, channels=channels, mean=(0.5,) * channels, std=(0.5,) * channels)


def _of_arrays(tensors: Sequence[Tensor], model: LoadedModel, say: Say, name: str | None = None) -> ImageInput:
    """Arrays as an input, with a picture of the first for the eye."""
    if name is None:
        shapes = " and ".join(str([1, *each.shape]) for each in tensors)
        noise = f"noise (seed {NOISE_SEED}) of shape {shapes}"
        channels = model.preprocessing.channels
        taken = (
            "of that shape is taken as it is" if model.input_kind != "image" else f"with {channels} channels is read"
        )
        say(f"no input given: {model.name} is fed {noise}; an .npy file {taken}.")
    return ImageInput(
        name=name or f"noise (seed {NOISE_SEED})",
        stem="noise" if name is None else Path(name.split(" ")[0]).stem or "array",
        pixels=_for_the_eye(tensors[0]),
        tensor=tensors[0],
        more=tuple(tensors[1:]),
        described=_described(tensors[0]),
    )


def _described(values: Tensor) -> str:
    """What is said of the picture of an array."""
    shape = list(values.shape)
    mean = ": the mean over its channels" if values.ndim == 3 and shape[0] > 1 else ""
    return f"what the network was given, {shape}{mean}"


def _clip_of(volume: Tensor, name: str | None, model: LoadedModel, say: Say) -> ImageInput:
    """An array `[C, T, H, W]` as a clip."""
    image = _of_arrays([volume], model, say, name)
    if name is not None:
        say(f"{name}: array of shape {list(volume.shape)}, given as it is.")
    frames = list(volume.unbind(1))
    middle = len(frames) // 2
    called = input_words(model.input_kind, model.takes)
    described = f"what the network was given, {list(volume.shape)}: {called.layer} {middle + 1} of {len(frames)}"
    image = replace(image, described=described)
    return replace(image, pixels=_for_the_eye(frames[middle]), tensor=frames[0], more=tuple(frames[1:]))


_STRIP_PX = 32


def _for_the_eye(values: Tensor) -> np.ndarray:
    """An array as a gray picture `[H, W, 3]`: a map's mean over channels, a sequence's channels as rows, a strip.

    A map's picture has its own height and width, which receptive fields are drawn in; of what has no height the rows
    are made high enough to be seen.
    """
    values, is_map = values.float(), values.ndim > 2
    while values.ndim > 3:
        values = values[:, values.shape[1] // 2]
    is_map = values.ndim == 3
    if is_map:
        values = values.mean(0)
    if values.ndim < 2:
        values = values.reshape(1, -1)
    low, high = (float(each) for each in (values.min(), values.max()))
    gray = ((values - low) / (high - low if high > low else 1.0) * 255).round().to(torch.uint8).numpy()
    tall = max(1, _STRIP_PX // gray.shape[0]) if prod(gray.shape) and not is_map else 1
    return np.ascontiguousarray(np.repeat(gray, tall, axis=0)[:, :, None].repeat(3, axis=2))


def _frames(folder: str, count: int) -> list[str]:
    """`count` of a folder's pictures, evenly spaced in the order of their names, repeated where there are fewer."""
    files = image_sources([folder])
    return [files[round(at * (len(files) - 1) / max(count - 1, 1))] for at in range(count)]


def _clip(folder: str, frames: Sequence[ImageInput]) -> ImageInput:
    middle = frames[len(frames) // 2]
    clip = followed_by(frames[0], frames[1:])
    return replace(clip, name=folder, stem=Path(folder).resolve().name, pixels=middle.pixels)


def followed_by(first: ImageInput, others: Sequence[ImageInput]) -> ImageInput:
    """A picture and those that belong to it. Raises ImageError where they differ in size."""
    for other in others:
        if other.tensor.shape != first.tensor.shape:
            sizes = [list(each.tensor.shape[1:]) for each in (first, other)]
            raise ImageError(
                f"{first.name} and {other.name} belong together and differ in size: {sizes[0]} and {sizes[1]}.",
                hint="Give pictures of the same size, or --size H,W to bring them to one.",
            )
    return replace(first, more=tuple(each.tensor for each in others))
