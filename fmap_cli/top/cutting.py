"""The fields of units in their pictures, kept in little memory and cut when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .records import Patch, PatchKey, patch_key

CROPPED, WHOLE = 64, 112
"""The longest side of a patch, and of a whole picture."""
BEYOND = 160
"""The gray of what lies beyond the picture's border."""

AS_IT_IS, ALL, CUT = 0, 1, 2
"""What a patch is of the pixels that it has: just these, all of the picture in small, or a part of the picture."""

BOX = 10
"""So many numbers say what a patch is."""
_LAYER, _CHANNEL, _IMAGE, _PLACE, _BOX = 0, 1, 2, slice(3, 6), 6


@dataclass(frozen=True, slots=True, eq=False)
class Patches(Mapping[PatchKey, Patch]):
    """The patches of units, by `patch_key`.

    A picture of which many patches are shown is held whole, and each of them is cut out when it is asked for; of others
    the patches are held, whichever takes less memory.

    `layers` says which number a layer has; layers that put out one tensor have the same one. `units` int32 `[U, 7]` are
    layer, channel, image, frame, row, column and box, in the order of layer and channel. `boxes` int64 `[P, 10]`
    are first and last row, first and last column, the picture's height and width, which of the `pixels`, what the patch
    is of these, and height and width of the layer's map of this picture, 0 where they are not known. `pixels` are
    uint8 `[h, w, 3]`.
    """

    layers: Mapping[str, int]
    units: np.ndarray
    boxes: np.ndarray
    pixels: Sequence[np.ndarray]

    @classmethod
    def none(cls) -> Patches:
        return cls({}, np.zeros((0, 7), np.int32), np.zeros((0, BOX), np.int64), ())

    def __getitem__(self, key: PatchKey) -> Patch:
        layer, channel, *unit = key
        units = _with(_with(self.units, _LAYER, self.layers.get(layer, -1)), _CHANNEL, channel)
        found = np.flatnonzero((units[:, 2:6] == unit).all(axis=1))
        if not len(found):
            raise KeyError(key)
        return self._patch(int(units[found[0], _BOX]))

    def __len__(self) -> int:
        return sum(len(_with(self.units, _LAYER, number)) for number in self.layers.values())

    def __iter__(self) -> Iterator[PatchKey]:
        for name, number in self.layers.items():
            for _, channel, image, *place, _ in _with(self.units, _LAYER, number).tolist():
                yield patch_key(name, channel, image, place)

    @property
    def nbytes(self) -> int:
        return self.units.nbytes + self.boxes.nbytes + sum(each.nbytes for each in self.pixels)

    def _patch(self, at: int) -> Patch:
        top, bottom, left, right, height, width, which, what, *cells = self.boxes[at].tolist()
        pixels = self.pixels[which]
        if what == ALL:
            pixels = in_small(pixels, WHOLE)
        elif what == CUT:
            pixels = in_small(cut_out(pixels, (top, bottom), (left, right)), CROPPED)
        of_map = (cells[0], cells[1]) if cells[0] else None
        return Patch((top, bottom), (left, right), (height, width), pixels, what == ALL, of_map)

    def only(self, layers: Mapping[str, Iterable[int]]) -> Patches:
        """Those of these layers' channels alone."""
        numbers = {name: at for name, at in self.layers.items() if name in layers}
        parts = [np.zeros((0, 7), np.int32)]
        for at, name in sorted({at: name for name, at in numbers.items()}.items()):
            of_layer = _with(self.units, _LAYER, at)
            parts.append(of_layer[np.isin(of_layer[:, _CHANNEL], np.fromiter(layers[name], np.int64))])
        return self._of_units(numbers, np.concatenate(parts))

    def of_images(self, images: Iterable[int]) -> Patches:
        """Those of these images alone."""
        return self._of_units(self.layers, self.units[np.isin(self.units[:, _IMAGE], np.fromiter(images, np.int64))])

    def of(self, layers: Mapping[str, int], units: np.ndarray) -> Patches:
        """Those of these units int32 `[U, 6]` alone, in which the layers have these numbers."""
        own = self.numbered({name: layers[name] for name in self.layers})
        _, which = different_rows(np.concatenate([own.units[:, :_BOX], units]))
        wanted = np.isin(which[: len(own.units)], which[len(own.units) :])
        return own._of_units(own.layers, own.units[wanted])

    def _of_units(self, layers: Mapping[str, int], units: np.ndarray) -> Patches:
        """These of the units, and the boxes and pixels that they have."""
        units = units.copy()
        used, units[:, _BOX] = np.unique(units[:, _BOX], return_inverse=True)
        boxes = self.boxes[used]
        pixels, boxes[:, 6] = np.unique(boxes[:, 6], return_inverse=True)
        return Patches(layers, units, boxes, [self.pixels[at] for at in pixels])

    def joined(self, other: Patches, offset: int) -> Patches:
        """Both, of which the other's images are numbered from `offset` on."""
        found: dict[tuple[int | None, int | None], int] = {}  # layers of one tensor here may be of two there
        numbers = {
            name: found.setdefault((self.layers.get(name), other.layers.get(name)), len(found))
            for name in {**self.layers, **other.layers}
        }
        units = [np.zeros((0, 7), np.int32)]
        for (ours, theirs), number in found.items():
            units += [self._of_layer(ours, number), other._of_layer(theirs, number)]
            units[-1][:, _IMAGE] += offset
            units[-1][:, _BOX] += len(self.boxes)
        boxes = other.boxes.copy()
        boxes[:, 6] += len(self.pixels)
        both = np.concatenate([self.boxes, boxes])
        return Patches(numbers, in_order(np.concatenate(units)), both, [*self.pixels, *other.pixels])

    def numbered(self, layers: Mapping[str, int]) -> Patches:
        """The same with these numbers for the layers; those that have one number there have the same patches here."""
        sources: dict[int, int] = {}
        for name, at in self.layers.items():
            sources.setdefault(layers[name], at)
        units = [np.zeros((0, 7), np.int32), *(self._of_layer(at, number) for number, at in sources.items())]
        numbers = {name: layers[name] for name in self.layers}
        return replace(self, layers=numbers, units=in_order(np.concatenate(units)))

    def _of_layer(self, at: int | None, number: int) -> np.ndarray:
        """A copy of the units of the layer that has the number `at`, with another one."""
        units = _with(self.units, _LAYER, -1 if at is None else at).copy()
        units[:, _LAYER] = number
        return units


def _with(units: np.ndarray, column: int, number: int) -> np.ndarray:
    """Those with this number, of units that are in the order of the column."""
    start, stop = (int(np.searchsorted(units[:, column], number, side)) for side in ("left", "right"))
    return units[start:stop]


def in_order(units: np.ndarray) -> np.ndarray:
    """Units in the order of layer and channel."""
    code = units[:, _LAYER].astype(np.int64) << 32 | units[:, _CHANNEL]
    return units if (np.diff(code) >= 0).all() else units[np.argsort(code, kind="stable")]


class Cutting:
    """Gathers the patches of units, picture by picture."""

    def __init__(self) -> None:
        self._boxes: list[np.ndarray] = []
        self._count = 0
        self._pixels: list[np.ndarray] = []

    def cut(self, pixels: np.ndarray, spans: np.ndarray) -> np.ndarray:
        """The boxes int64 `[N]` of a picture's units, whose fields are `spans` int64 `[N, 6]`: first and last row, and
        first and last column, both counted, also beyond the border; and height and width of the map, or 0.

        Of a field as large as the picture, or larger, the whole picture is taken: a crop would be mostly border.
        """
        height, width = pixels.shape[:2]
        different, box = different_rows(spans)
        high, wide = different[:, 1] - different[:, 0] + 1, different[:, 3] - different[:, 2] + 1
        whole = (high >= height) & (wide >= width)
        crops = _bytes_of(high[~whole], wide[~whole], CROPPED).sum()
        in_all = crops + (_bytes_of(np.array([height]), np.array([width]), WHOLE)[0] if whole.any() else 0)
        boxes = np.zeros((len(different), BOX), np.int64)
        boxes[:, :4], boxes[:, 8:] = different[:, :4], different[:, 4:]
        boxes[:, 4:6] = height, width
        boxes[:, 6] = len(self._pixels)
        if in_all >= pixels.nbytes:
            boxes[:, 7] = np.where(whole, ALL, CUT)
            self._pixels.append(pixels)
        else:
            boxes[:, 7] = np.where(whole, ALL, AS_IT_IS)
            if whole.any():
                self._pixels.append(in_small(pixels, WHOLE))
            for at in np.flatnonzero(~whole):
                top, bottom, left, right, *_ = different[at].tolist()
                boxes[at, 6] = len(self._pixels)
                self._pixels.append(in_small(cut_out(pixels, (top, bottom), (left, right)), CROPPED))
        first = self._count
        self._boxes.append(boxes)
        self._count += len(boxes)
        return box + first

    def patches(self, layers: Mapping[str, int], units: np.ndarray) -> Patches:
        """Those of these units, in their order, each with its box."""
        boxes = np.concatenate(self._boxes) if self._boxes else np.zeros((0, BOX), np.int64)
        return Patches(layers, units, boxes, self._pixels)


def different_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rows that differ, in order, and which of them each row is."""
    order = np.lexsort(rows.T[::-1])
    ordered = rows[order]
    new = np.ones(len(rows), bool)
    new[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    which = np.empty(len(rows), np.int64)
    which[order] = np.cumsum(new) - 1
    return ordered[new], which


def _bytes_of(high: np.ndarray, wide: np.ndarray, side: int) -> np.ndarray:
    """About how much memory pictures of these sizes take in small; an array takes some of its own."""
    scale = np.minimum(side / np.maximum(high, wide), 1)
    found: np.ndarray = (np.maximum(high * scale, 1) * np.maximum(wide * scale, 1) * 3).astype(np.int64) + 128
    return found


def cut_out(pixels: np.ndarray, rows: tuple[int, int], columns: tuple[int, int]) -> np.ndarray:
    """These rows and columns, both ends included, of a picture `[H, W, 3]`, also beyond its border."""
    patch = np.full((rows[1] - rows[0] + 1, columns[1] - columns[0] + 1, 3), BEYOND, np.uint8)
    top, left = max(rows[0], 0), max(columns[0], 0)
    seen = pixels[top : max(rows[1] + 1, 0), left : max(columns[1] + 1, 0)]
    patch[top - rows[0] : top - rows[0] + seen.shape[0], left - columns[0] : left - columns[0] + seen.shape[1]] = seen
    return patch


def in_small(pixels: np.ndarray, side: int) -> np.ndarray:
    """The picture with no side longer than this."""
    longest = max(pixels.shape[:2])
    if longest <= side:
        return pixels
    from PIL import Image

    size = [max(round(each * side / longest), 1) for each in (pixels.shape[1], pixels.shape[0])]
    return np.asarray(Image.fromarray(pixels).resize((size[0], size[1]), Image.Resampling.BOX))
