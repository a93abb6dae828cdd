"""The fields of the units that are shown, and the pictures they are of: those still in hand, else read once more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import FmapError, ModelError
from ..inputs.records import ImageInput
from ..receptive import spans_of
from ..receptive.records import FieldRow
from ..receptive.survey import receptive_fields
from ..session.batches import Say
from ..session.opening import Session, read_image
from .cutting import Cutting, Patches
from .pool import pixels_of
from .records import Dossiers
from .shown import units_shown

_AT_ONCE = 64
"""So many pictures' units are looked up at a time."""


def with_patches(
    session: Session, found: Dossiers, pool: Mapping[int, np.ndarray], layout: str | None, say: Say
) -> Dossiers:
    """The dossiers with the patches of all units that they may show.

    What cannot be read again is said, and has none.
    """
    layers, units = units_shown(found.layers)
    names = {number: name for name, number in reversed(layers.items())}
    fields: dict[tuple[int, int], dict[str, FieldRow]] = {}
    lost: list[str] = []
    cutting = Cutting()
    order = np.argsort(units[:, 2], kind="stable")
    numbers, counts = np.unique(units[order, 2], return_counts=True)
    parts = dict(zip(numbers.tolist(), np.split(order, np.cumsum(counts)), strict=False))  # a last one is empty
    box = np.full(len(units), -1, np.int64)
    for first in range(0, len(numbers), _AT_ONCE):
        by_size: dict[tuple[int, int], dict[int, np.ndarray]] = {}
        for number in numbers[first : first + _AT_ONCE].tolist():
            pixels = pool.get(number)
            if pixels is None or pixels.shape[:2] not in fields:
                try:
                    image = _read(session, found.names[number], layout)
                except FmapError:
                    lost.append(found.names[number])
                    continue
                pixels = pixels_of(image.tensor, session.model.preprocessing)
                if pixels.shape[:2] not in fields:
                    fields[pixels.shape[0], pixels.shape[1]] = _fields(session, image, list(names.values()))
            by_size.setdefault((pixels.shape[0], pixels.shape[1]), {})[number] = pixels
        for size, pictures in by_size.items():
            rows = np.concatenate([parts[number] for number in pictures])
            spans = np.split(
                _spans(fields[size], names, units[rows], size), np.cumsum([len(parts[n]) for n in pictures])
            )
            for (number, pixels), span in zip(pictures.items(), spans, strict=False):
                box[parts[number]] = cutting.cut(pixels, span)
    if lost:
        say(f"{len(lost)} images could not be read a second time, for their patches; the first is {lost[0]}.")
    there = box >= 0
    whole = np.concatenate([units[there], box[there, None].astype(np.int32)], axis=1)
    return replace(found, patches=cutting.patches(layers, whole) if len(whole) else Patches.none())


def _read(session: Session, name: str, layout: str | None) -> ImageInput:
    return read_image(session, None if name == "bundled sample" else name, lambda _: None, layout)


def _fields(session: Session, image: ImageInput, names: Sequence[str]) -> dict[str, FieldRow]:
    """What the layers see of an input of this size; nothing where their fields cannot be followed."""
    try:
        listing = receptive_fields(session, tuple(_literal(each) for each in names), image=image)
    except ModelError:
        return {}
    return {each.layer.name: each for each in listing.layers}


def _literal(name: str) -> str:
    return name.replace("[", "[[]")


def _spans(
    fields: Mapping[str, FieldRow], names: Mapping[int, str], units: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The units' fields, int64 `[N, 6]`: first and last row, first and last column, beyond the border where they reach
    there; those of the picture where a unit sees all of it, or where it is not known what it sees. Then height and
    width of the layer's map, 0 where they are not known.
    """
    high, wide = size
    found = np.empty((len(units), 6), np.int64)
    found[:] = 0, high - 1, 0, wide - 1, 0, 0
    for number in np.unique(units[:, 0]).tolist():
        row = fields.get(names[number])
        if row is None:
            continue
        of_layer = np.flatnonzero(units[:, 0] == number)
        found[of_layer, 4:] = row.field.cells[-2:] or 0
        if row.field.kind == "unknown":
            continue
        spans = spans_of(row.field, units[of_layer][:, [1, 3, 4, 5]])[:, -2:]
        known = (spans[:, :, 0] <= spans[:, :, 1]).all(axis=1)
        covers = (spans[:, :, 0] <= 0).all(axis=1) & (spans[:, :, 1] >= (high - 1, wide - 1)).all(axis=1)
        there = known & ~covers
        found[of_layer[there], :4] = spans[there].reshape(-1, 4)
    return found
