"""A pass an image, of whose layers every unit is kept; then one reduction of all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..errors import FmapError, ImageError, ImagesFailedError, LayerError
from ..inputs.feeds import source_name
from ..inputs.framing import Framings
from ..inputs.records import ImageInput
from ..network.axes import channel_maps, undrawn_axes
from ..network.records import Axes, LayerRef
from ..network.shapes import split_layout
from ..session.opening import Session, dtype_name, groups, read_image
from ..session.picked import look_at_layers
from ..session.seen import picture_seen
from .records import Asked, Reduced, ReducedMap
from .reduce import reduce_all


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer's output for one image, whole: `maps` `[C, T, H, W]` float32 on the CPU, and what is known of it."""

    maps: Tensor
    found: ReducedMap


def reduce_layers(session: Session, sources: Sequence[str], asked: Asked, say: Callable[[str], None]) -> Reduced:
    """The layers that the patterns pick, in all images, each reduced to one picture.

    An image that cannot be read is one of the result's `failures`, unless it is the only one or the first of `similar`.
    Raises LayerError for layers that cannot be reduced as asked, ImageError where no image can be read, and ModelError
    where the network fails.
    """
    of_arrays, of_outputs = split_layout(asked.layout)
    framings = Framings()
    failures: list[tuple[str, FmapError]] = []
    images: list[ImageInput] = []
    rows: list[list[Layer]] = []
    given = groups(session, sources)
    for source in given:
        try:
            image = read_image(session, source, say, of_arrays)
        except ImageError as error:
            if len(given) == 1 or (asked.similar is not None and not images):
                raise
            failures.append((source_name(source), error.bare()))
            continue
        framings.add(image.name, image.framing)
        picked, _ = look_at_layers(session, image, asked.patterns or ("last",), whole, layout=of_outputs)
        rows.append([replace(each.found, found=replace(each.found.found, asked=each.asked)) for each in picked])
        images.append(picture_seen(session, image)[0])
    if not images:
        raise ImagesFailedError(failures)
    framings.say(say)
    maps, bases, notes = reduce_all([[(each.found, each.maps) for each in row] for row in rows], asked)
    for note in notes:
        say(note)
    return Reduced(session.origin_of(*images), asked, tuple(images), maps, bases, tuple(notes), tuple(failures))


def whole(layer: LayerRef, output: Tensor, axes: Axes) -> Layer:
    """A copy of a layer's output as maps. Raises LayerError for what has no channels or no places."""
    values = output.dequantize() if output.is_quantized else output
    values = values.to_dense() if values.layout != torch.strided else values
    values = values.abs() if values.is_complex() else values
    shape = tuple(output.shape)
    maps = channel_maps(values, axes)  # [C, T, H, W]
    if maps.shape[2] * maps.shape[3] == 1 and maps.shape[1] > 1 and "N" in axes.names:
        maps = maps.permute(0, 2, 3, 1)  # tokens without a grid are places in a row: [C, 1, 1, N]
    channels, frames, height, width = maps.shape
    what = f"layer {layer.name!r} has an output of {list(shape)}"
    if frames * height * width <= 1:
        words = "nothing here" if not maps.numel() else "a value a channel and no places"
        raise LayerError(
            f"{what}, {words}: there is no picture of it.",
            hint="Take a layer with height and width, or tokens; --layout says which axes they are, where that was not"
            " found; `fmap show` without --reduce draws values as a strip.",
        )
    if channels < 2:
        raise LayerError(
            f"{what}, {channels} channel at each place: there are no channels to put together.",
            hint="`fmap show` without --reduce draws it; --layout BHWC says which axis is the channels, if one is.",
        )
    notes = []
    for at in undrawn_axes(axes, shape):
        notes.append(f"only the first of the {shape[at]} items on axis {at + 1} is taken")
    if axes.prefix:
        notes.append(f"{axes.prefix} token{'s' if axes.prefix > 1 else ''} before the grid (class, registers) left out")
    kept = maps.detach().to("cpu", torch.float32, copy=True)
    return Layer(
        kept,
        ReducedMap(
            layer=layer,
            asked=layer.name,
            shape=shape,
            dtype=dtype_name(output.dtype),
            axes=axes,
            basis=0,
            values=np.zeros((0, *kept.shape[1:]), np.float32),
            notes=tuple(notes),
        ),
    )
