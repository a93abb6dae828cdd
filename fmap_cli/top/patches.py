"""The fields of the units that are shown, cut out of the pictures: of those still in hand, else read once more."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import FmapError, ModelError
from ..inputs.records import ImageInput
from ..receptive import box_of
from ..receptive.records import FieldRow
from ..receptive.survey import receptive_fields
from ..session.batches import Say
from ..session.opening import Session, read_image
from .dossiers import shown_units
from .gather import pixels_of
from .records import Dossiers, Patch, PatchKey, patch_key

CROPPED, WHOLE = 64, 112
"""The longest side of a patch that is kept, and of a whole picture."""
BEYOND = 160
"""The gray of what lies beyond the picture's border."""


def with_patches(
    session: Session, found: Dossiers, pool: Mapping[int, np.ndarray], layout: str | None, say: Say
) -> Dossiers:
    """The dossiers with the patches of all units that they show. What cannot be read again is said, and has none."""
    wanted: dict[int, list[PatchKey]] = {}
    for layer in found.layers:
        for _, picks in shown_units(layer.found):
            for row, at in zip(*np.nonzero(picks.image >= 0), strict=True):
                number = int(picks.image[row, at])
                key = patch_key(layer.layer.name, int(layer.channels[row]), number, picks.place[row, at])
                wanted.setdefault(number, []).append(key)
    fields: dict[tuple[int, int], dict[str, FieldRow]] = {}
    names = [each.layer.name for each in found.layers]
    patches: dict[PatchKey, Patch] = {}
    lost = []
    for number in sorted(wanted):
        pixels = pool.get(number)
        image = None
        size = None if pixels is None else (pixels.shape[0], pixels.shape[1])
        if pixels is None or size not in fields:
            try:
                name = found.names[number]
                image = read_image(session, None if name == "bundled sample" else name, lambda _: None, layout)
            except FmapError:
                lost.append(found.names[number])
                continue
            pixels = pixels_of(image.tensor, session.model.preprocessing)
            size = pixels.shape[0], pixels.shape[1]
        assert size is not None
        if size not in fields:
            assert image is not None
            fields[size] = _fields(session, image, names)
        cut: dict[tuple[tuple[int, int], tuple[int, int]], Patch] = {}
        small = _smaller(pixels, WHOLE)
        for key in wanted[number]:
            rows, columns = _box(fields[size].get(key[0]), key, size)
            if (rows, columns) not in cut:
                cut[rows, columns] = cut_out(pixels, rows, columns, small)
            patches[key] = cut[rows, columns]
    if lost:
        say(f"{len(lost)} images could not be read a second time, for their patches; the first is {lost[0]}.")
    return replace(found, patches=patches)


def _fields(session: Session, image: ImageInput, names: list[str]) -> dict[str, FieldRow]:
    """What the layers see of an input of this size; nothing where their fields cannot be followed."""
    try:
        listing = receptive_fields(session, tuple(_literal(each) for each in names), image=image)
    except ModelError:
        return {}
    return {each.layer.name: each for each in listing.layers}


def _literal(name: str) -> str:
    return name.replace("[", "[[]")


def _box(row: FieldRow | None, key: PatchKey, size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The unit's field as rows and columns, beyond the border where it reaches there; those of the picture where the
    unit sees all of it, or where it is not known what it sees.
    """
    whole = (0, size[0] - 1), (0, size[1] - 1)
    if row is None:
        return whole
    box = box_of(row.field, key[1], (key[3], key[4], key[5]))
    rows, columns = box.unclipped[-2:]
    if rows is None or columns is None or row.field.kind == "unknown":
        return whole
    covers = all(each[0] <= 0 and each[1] >= length - 1 for each, length in zip((rows, columns), size, strict=True))
    return whole if covers else (rows, columns)


def cut_out(pixels: np.ndarray, rows: tuple[int, int], columns: tuple[int, int], small: np.ndarray) -> Patch:
    """These rows and columns, both ends included, of a picture `[H, W, 3]`, also beyond its border.

    Of a field that is as large as the picture, or larger, the whole picture is taken, which is `small`: a crop would be
    mostly border.
    """
    height, width = pixels.shape[:2]
    if rows[1] - rows[0] + 1 >= height and columns[1] - columns[0] + 1 >= width:
        return Patch(rows, columns, (height, width), small, whole=True)
    patch = np.full((rows[1] - rows[0] + 1, columns[1] - columns[0] + 1, 3), BEYOND, np.uint8)
    top, left = max(rows[0], 0), max(columns[0], 0)
    seen = pixels[top : rows[1] + 1, left : columns[1] + 1]
    patch[top - rows[0] : top - rows[0] + seen.shape[0], left - columns[0] : left - columns[0] + seen.shape[1]] = seen
    return Patch(rows, columns, (height, width), _smaller(patch, CROPPED))


def _smaller(pixels: np.ndarray, side: int) -> np.ndarray:
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    from PIL import Image

    size = [max(round(each * side / longest), 1) for each in (pixels.shape[1], pixels.shape[0])]
    return np.asarray(Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BOX))
