"""One unit of a layer: its value, its box in the image, and how much each pixel of the input moves it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from ..errors import ImageError, LayerError, ModelError
from ..foreign import raised
from ..inputs.feeds import feed_of
from ..inputs.records import ImageInput
from ..network.axes import channel_maps
from ..network.records import LayerRef
from ..session.fed import picture_behind
from ..session.passes import network_inputs, run
from . import box_of, gradient_energy, holding_boxes
from .records import EffectiveField, FieldRow, UnitBox, UnitView
from .survey import receptive_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from ..network.capture import Sink
    from ..session.opening import Session

Place = tuple[int, ...]
"""A cell of a map: (row, column), or (frame, row, column)."""


def unit_view(
    session: Session,
    image: ImageInput,
    patterns: Sequence[str],
    place: Place | Literal["max", "min"],
    channel: int | None = None,
    *,
    layout: str | None = None,
) -> UnitView:
    """A unit of the one layer that the patterns pick: its value for this image, its channel's map, its box.

    `max` is the strongest unit, of the channel or of all, and `min` the one with the smallest value; without a channel
    a place has that of the largest value there. Raises LayerError where the layer has no map, or no such cell or
    channel, ModelError where the network fails.
    """
    _check_picture(session, "--at")
    row = _one_map(session, image, patterns, layout)
    seen = picture_behind(session, image, row.layer.name)
    maps = _maps(session, image, row)  # [C, T, H, W]
    _check_channel(row, channel, len(maps))
    chosen = maps if channel is None else maps[channel : channel + 1]
    if isinstance(place, str):
        at = _strongest(row, chosen if place == "max" else -chosen)
        which = "the strongest unit" if place == "max" else "the unit with the smallest value"
        picked = f"{which} of the layer" if channel is None else f"{which} of channel {channel}"
    else:
        cell = cell_of(row, place, maps.shape[1:])
        at = (_strongest(row, chosen[:, cell[0], cell[1], cell[2]][:, None, None, None])[0], *cell)
        picked = "as asked" if channel is not None else "the channel strongest at this cell"
    channel = at[0] if channel is None else channel
    cell = (at[1], at[2], at[3])
    return UnitView(
        origin=session.origin_of(seen),
        row=row,
        channel=channel,
        channels=len(maps),
        place=cell,
        picked=picked,
        value=float(maps[(channel, *cell)]),
        map=maps[channel, cell[0]],
        box=box_of(row.field, channel, cell),
        image=seen,
    )


def _check_picture(session: Session, option: str) -> None:
    """Raises ModelError where the first input has no height and width to mark anything on."""
    if feed_of(session.model).axes[-2:] != ("H", "W"):
        takes = session.model.takes
        raise ModelError(
            f"{option} marks a box of rows and columns, and the input of {session.model.name} has none: it takes"
            f" {takes.words if takes else 'none'}.",
            hint="`fmap rf` without it lists what each layer sees.",
        )


def strongest_units(maps: np.ndarray, channels: Iterable[int], row: FieldRow) -> list[tuple[tuple[int, int], UnitBox]]:
    """The strongest unit of each map `[N, T, H, W]`, as its row and column and its box; `channels` are the maps'."""
    found = []
    for channel, each in zip(channels, maps, strict=True):
        place = np.unravel_index(int(np.argmax(np.where(np.isnan(each), -np.inf, each))), each.shape)
        frame, high, wide = (int(index) for index in place)
        found.append(((high, wide), box_of(row.field, int(channel), (frame, high, wide))))
    return found


def cell_of(row: FieldRow, place: Place, cells: Sequence[int]) -> tuple[int, int, int]:
    """A place as (frame, row, column), checked against the map's `cells` `[T, H, W]`.

    Without a frame it is the middle one.
    """
    frames, high, wide = cells
    frame, y, x = (frames // 2, *place)[-3:] if len(place) > 1 else (0, high, wide)
    if not (frame < frames and y < high and x < wide):
        size = f"{high} × {wide}" if frames == 1 else f"{frames} frames of {high} × {wide}"
        asked = ",".join(map(str, place))
        clip = f"frames 0 to {frames - 1}, " if frames > 1 else ""
        raise LayerError(
            f"there is no cell {asked} (row, column): the map of layer {row.layer.name!r} has {size} cells.",
            hint=f"--at takes {clip}rows 0 to {high - 1} and columns 0 to {wide - 1}, or max or min.",
        )
    return frame, y, x


def effective_field(
    session: Session,
    images: Sequence[ImageInput],
    patterns: Sequence[str],
    *,
    noise: int = 0,
    seed: int = 0,
    place: Place | None = None,
    channel: int | None = None,
    layout: str | None = None,
    say: Callable[[int], None] | None = None,
) -> EffectiveField:
    """How much each input pixel moves one unit of the one layer that the patterns pick, on average over inputs.

    The inputs are the images, or, where `noise` is not 0, as many of Gaussian noise (mean 0, standard deviation 1,
    after preprocessing, drawn from `seed`) of the first image's size. Without a place it is the unit in the middle.
    Without a channel the gradient is that of the sum over channels, as in the paper. `say` is told after each input how
    many are done. Raises ImageError, LayerError and ModelError.
    """
    _check_picture(session, "--effective")
    row = _one_map(session, images[0], patterns, layout)
    if session.model.input_kind == "images":
        raise ModelError(
            f"{session.model.name} is a detector: it resizes its input by itself and gives no gradient to average.",
            hint="Use its backbone as a network of its own, or a classifier.",
        )
    seen = images[0] if noise else picture_behind(session, images[0], row.layer.name)
    cells = (1, *row.field.cells) if len(row.field.cells) == 2 else row.field.cells
    cell = cell_of(row, (cells[0] // 2, cells[1] // 2, cells[2] // 2) if place is None else place, cells)
    total = np.zeros(images[0].pixels.shape[:2])
    count = noise or len(images)
    generator = torch.Generator().manual_seed(seed)
    for done in range(count):
        image = images[0] if noise else images[done]
        if image.tensor.shape != images[0].tensor.shape:
            sizes = [" × ".join(map(str, each.tensor.shape[1:])) for each in (images[0], image)]
            raise ImageError(
                f"{image.name} is {sizes[1]} px where {images[0].name} is {sizes[0]}: gradients have no mean then.",
                hint="Give --size H,W to bring them to one.",
            )
        if noise:
            drawn = torch.randn(image.tensor.shape, generator=generator)
            image = replace(image, tensor=drawn, more=tuple(drawn if m.shape == drawn.shape else m for m in image.more))
        total += _energy(session, image, row, cell, channel)
        if not np.isfinite(total).all():
            raise ModelError(
                f"the gradient of {row.layer.name!r} for {'noise' if noise else image.name} is not finite.",
                hint="`fmap stats` says where NaN or infinity begins.",
            )
        if say is not None:
            say(done + 1)
    box = box_of(row.field, channel, cell)
    centre, proportions = _frame_of(box, cell, cells, total.shape)
    return EffectiveField(
        origin=session.origin_of(images[0]),
        row=row,
        channel=channel,
        place=cell,
        box=box,
        energy=total / total.sum() if total.sum() > 0 else total,
        centre=centre,
        holds=holding_boxes(total, centre, proportions),
        count=count,
        source=f"Gaussian noise (seed {seed})" if noise else "images",
        image=None if noise or len(images) > 1 else seen,
        stem="noise" if noise else images[0].stem,
    )


def _energy(
    session: Session, image: ImageInput, row: FieldRow, cell: tuple[int, int, int], channel: int | None
) -> np.ndarray:
    inputs = network_inputs(session, [image])
    seen = tuple(each.requires_grad_() for each in inputs if each.shape[2:] == inputs[0].shape[2:])
    energy: list[np.ndarray | None] = []

    def differentiate(output: Tensor) -> None:
        maps = channel_maps(output, row.axes)
        _check_channel(row, channel, len(maps))
        units = maps[(slice(None), *cell)]
        energy.append(gradient_energy(units.sum() if channel is None else units[channel], seen))

    try:
        run(session, image, _only(row.layer, differentiate), inputs=inputs, gradients=True, **_reach(row.layer))
    except RuntimeError as error:
        raise ModelError(
            f"no gradient of {row.layer.name!r} can be computed: {raised.first_line(error)}",
            hint="Quantized networks and programs without gradients have none.",
        ) from error
    if not energy or energy[0] is None:
        raise ModelError(
            f"no gradient of {row.layer.name!r} reaches the input.",
            hint="Quantized networks, and those that run without gradients, have no effective field to measure.",
        )
    return energy[0]


def _frame_of(
    box: UnitBox, cell: tuple[int, int, int], cells: Sequence[int], size: Sequence[int]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The middle of a unit's field, and half its height and width; without ends it is the cell's place in the image."""
    middles, halves = [], []
    for ends, at, count, length in zip(box.unclipped[-2:], cell[1:], cells[1:], size, strict=True):
        if ends is None:
            middles.append((at + 0.5) / count * length - 0.5)
            halves.append(length / 2)
        else:
            middles.append((ends[0] + ends[1]) / 2)
            halves.append((ends[1] - ends[0] + 1) / 2)
    return (middles[0], middles[1]), (halves[0], halves[1])


def _one_map(session: Session, image: ImageInput, patterns: Sequence[str], layout: str | None) -> FieldRow:
    listing = receptive_fields(session, patterns, image=image, layout=layout)
    if len(listing.layers) != 1:
        names = ", ".join(each.layer.name for each in listing.layers[:3])
        raise LayerError(
            f"{len(listing.layers)} layers match ({names}, …), and a unit belongs to one layer.",
            hint="Name one with --layer; `fmap layers` lists them.",
        )
    row = listing.layers[0]
    if not row.field.cells:
        raise LayerError(
            f"layer {row.layer.name!r} has the output {list(row.shape)}, values without height and "
            f"width: --at cannot name a cell of it.",
            hint=f"`fmap rf --layer {row.layer.name}` says what they see; --at takes a layer with height and width.",
        )
    return row


def _maps(session: Session, image: ImageInput, row: FieldRow) -> np.ndarray:
    """The layer's whole output for this image, `[C, T, H, W]` float32."""
    kept: list[np.ndarray] = []

    def keep(output: Tensor) -> None:
        values = output.dequantize() if output.is_quantized else output
        values = values.abs() if values.is_complex() else values
        kept.append(channel_maps(values, row.axes).detach().to("cpu", torch.float32, copy=True).numpy())

    run(session, image, _only(row.layer, keep), **_reach(row.layer))
    return kept[0]


def _only(layer: LayerRef, sink: Sink) -> Callable[[LayerRef], Sink | None]:
    return lambda each: sink if each.name == layer.name else None


def _reach(layer: LayerRef) -> dict[str, Any]:
    """How little of the network has to be watched to see this layer."""
    if layer.is_module and layer.call == 0 and layer.name == layer.path:
        return {"operations": False, "paths": frozenset([layer.path])}
    return {}


def _check_channel(row: FieldRow, channel: int | None, count: int) -> None:
    if channel is not None and channel >= count:
        raise LayerError(
            f"layer {row.layer.name!r} has {count} channels; there is no channel {channel}.",
            hint=f"--channel takes 0 to {count - 1} here.",
        )


def _strongest(row: FieldRow, maps: np.ndarray) -> tuple[int, int, int, int]:
    """Channel, frame, row and column of the largest value."""
    if np.isnan(maps).all():
        raise LayerError(
            f"layer {row.layer.name!r} has no value here that is a number, so none is the strongest.",
            hint="`fmap stats` says where NaN begins.",
        )
    found = np.unravel_index(int(np.argmax(np.where(np.isnan(maps), -np.inf, maps))), maps.shape)
    channel, frame, high, wide = (int(index) for index in found)
    return channel, frame, high, wide
