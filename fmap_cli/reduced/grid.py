"""The pictures of reduced layers: images down, layers across, in blocks where there are many of either."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import TypeVar

from .. import units
from ..drawing.page import SMALL_SIZE, TEXT_SIZE, View, draw_outline, fit
from ..drawing.scene import GRAY, INK, WHITE, Colour, Picture, Scene, Text, end_of, shorten, text_width
from ..errors import OutputError
from .colours import Ends, basis_name, ends_of, paint
from .columns import alike_in_words, map_size, shares_in_words
from .records import Drawing, Reduced, ReducedMap

_AREA = (1060, 1240)  # height and width that the pictures fill where they can
_LARGEST, _SMALLEST = 560, 112
_GAP, _APART, _FRAME_GAP = 14, 30, 2
_HEAD, _CAPTION = 62, 26
_MARK: Colour = (255, 0, 200)
_LARGEST_PAGE_PX = 170_000_000  # more than this, few programs open

_Some = TypeVar("_Some", range, tuple[str, ...])


@dataclass(frozen=True, slots=True)
class Block:
    """Some images down and some layers across: `images` by number, `layers` by name."""

    images: range
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """Where pictures stand: `blocks` below one another, or side by side.

    `sizes` are the height and width of each image's pictures, `widths` the widths of the layers' columns by name,
    `photo` that of the photos'.
    """

    blocks: tuple[Block, ...]
    side_by_side: bool
    sizes: tuple[tuple[int, int], ...]
    widths: dict[str, int]
    photo: int

    def of(self, block: Block) -> tuple[int, int]:
        """Height and width of a block."""
        down = _HEAD + sum(self.sizes[at][0] + _CAPTION + _GAP for at in block.images)
        return down, self.photo + sum(self.widths[name] + _GAP for name in block.layers)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of it all."""
        heights, widths = zip(*(self.of(block) for block in self.blocks), strict=True)
        if self.side_by_side:
            return max(heights), sum(widths) + _APART * (len(widths) - 1)
        return sum(heights), max(widths)


def lay_out(reduced: Reduced, drawing: Drawing) -> Grid:
    """The grid in as few blocks as leave pictures large: one more has to make them larger by more than a third.

    Many layers are cut into blocks below one another, many images into blocks side by side.
    """
    images, layers = range(len(reduced.images)), reduced.layers
    below = [[Block(images, part) for part in _cut(layers, count)] for count in range(1, len(layers) + 1)]
    beside = [[Block(part, layers) for part in _cut(images, count)] for count in range(2, len(images) + 1)]
    grids = [_grid(reduced, blocks, False, drawing) for blocks in below]
    grids += [_grid(reduced, blocks, True, drawing) for blocks in beside]
    return max(grids, key=lambda grid: (grid.sizes[0][0] * 0.72 ** len(grid.blocks), -len(grid.blocks)))


def _cut(several: _Some, count: int) -> list[_Some]:
    """A sequence in so many parts or fewer, all but the last of one length."""
    each = ceil(len(several) / count)
    return [several[at : at + each] for at in range(0, len(several), each)]


def _grid(reduced: Reduced, blocks: Sequence[Block], side_by_side: bool, drawing: Drawing) -> Grid:
    """These blocks, with pictures as large as the area has room for."""
    frames = {
        name: max(each.units[0] for row in reduced.maps for each in row if each.layer.name == name)
        for name in reduced.layers
    }
    beside, below = (len(blocks), 1) if side_by_side else (1, len(blocks))
    rows = max(len(block.images) for block in blocks)
    columns = [(len(block.layers), 1 + sum(frames[name] for name in block.layers)) for block in blocks]
    down = (_AREA[0] // below - _HEAD) // rows - _CAPTION - _GAP
    across = min(((_AREA[1] + _APART) // beside - _APART - gaps * _GAP) // cells for gaps, cells in columns)
    cell = min(max(down, _SMALLEST), _LARGEST), min(max(across, _SMALLEST), _LARGEST)
    if drawing.tile is not None:
        cell = drawing.tile, 4 * drawing.tile
    sizes = tuple(fit((image.pixels.shape[0], image.pixels.shape[1]), cell) for image in reduced.images)
    width = max(size[1] for size in sizes)
    widths = {name: of * (width + _FRAME_GAP) - _FRAME_GAP for name, of in frames.items()}
    return Grid(tuple(blocks), side_by_side, sizes, widths, width)


def refuse_large_page(reduced: Reduced, width: int, height: int) -> None:
    """Raises OutputError for a page that few programs would open."""
    if width * height > _LARGEST_PAGE_PX:
        raise OutputError(
            f"{len(reduced.images)} images of {len(reduced.layers)} layers would take {units.count(width)} pixels"
            f" across and {units.count(height)} down.",
            hint="Draw fewer layers or images, or smaller pictures (--tile).",
        )


def draw_grid(scene: Scene, reduced: Reduced, drawing: Drawing, grid: Grid, top: int, left: int) -> None:
    """Each block with the photos in its first column, beside them the pictures."""
    ends = [ends_of(reduced, number, drawing) for number in range(len(reduced.bases))]
    for block in grid.blocks:
        _draw_block(scene, reduced, drawing, grid, block, ends, top, left)
        height, width = grid.of(block)
        top, left = (top, left + width + _APART) if grid.side_by_side else (top + height, left)


def _draw_block(
    scene: Scene, reduced: Reduced, drawing: Drawing, grid: Grid, block: Block, ends: list[Ends], top: int, left: int
) -> None:
    heads = {each.layer.name: each for row in reversed(reduced.maps) for each in row}
    columns, x = {}, left + grid.photo + _GAP
    for name in block.layers:
        columns[name] = x
        _draw_head(scene, reduced, heads[name], x, top, grid.widths[name])
        x += grid.widths[name] + _GAP
    words = _first_fit(("what the network saw", "the input", ""), grid.photo)
    scene.add(Text(left, top, words, SMALL_SIZE, GRAY))
    y = top + _HEAD
    for number in block.images:
        image, size = reduced.images[number], grid.sizes[number]
        scene.add(Picture(left, y, image.pixels, size, smooth=True))
        name = shorten(units.one_line(image.short_name), grid.photo, SMALL_SIZE)
        scene.add(Text(left, y + size[0] + 4, name, SMALL_SIZE, INK))
        for found in (each for each in reduced.maps[number] if each.layer.name in columns):
            x = columns[found.layer.name]
            frames = paint(found, ends[found.basis], reduced.method, image.pixels, size, drawing.overlay)
            for frame, pixels in enumerate(frames):
                scene.add(Picture(x + frame * (size[1] + _FRAME_GAP), y, pixels, size))
            _draw_marks(scene, reduced, found, number, (x, left), y, size)
            words = _first_fit(_captions(reduced, found), grid.widths[found.layer.name])
            scene.add(Text(x, y + size[0] + 4, words, SMALL_SIZE, GRAY))
        y += size[0] + _CAPTION + _GAP


def _first_fit(several: tuple[str, ...], width: int) -> str:
    """The first of several ways to say something that fits, or the last cut off."""
    found = next((words for words in several if text_width(words, SMALL_SIZE) <= width), None)
    return shorten(several[-1], width, SMALL_SIZE) if found is None else found


def _draw_head(scene: Scene, reduced: Reduced, found: ReducedMap, x: int, y: int, width: int) -> None:
    """A layer's name over its column, its map's size, and which basis its colours are of."""
    name, size = units.layer_name(found.layer.name), TEXT_SIZE
    while text_width(name, size, bold=True) > width and size > SMALL_SIZE:
        size -= 1
    room = width * text_width(name, size) / text_width(name, size, bold=True)  # bold letters are wider
    scene.add(Text(x, y, end_of(name, room, size), size, INK, bold=True))
    channels = found.shape[found.axes.names.index("C")] if "C" in found.axes.names else 0
    of = map_size(found, reduced.origin.called)
    words = _first_fit((f"{of}, {units.count(channels)} channels", of) if channels else (of,), width)
    scene.add(Text(x, y + 21, words, SMALL_SIZE, GRAY))
    if reduced.method in ("pca", "kmeans") and len(reduced.bases) > 1:
        scene.add(Text(x, y + 38, f"basis {basis_name(found.basis)}", SMALL_SIZE, GRAY))


def _captions(reduced: Reduced, found: ReducedMap) -> tuple[str, ...]:
    """What stands under a picture, in more and in fewer words."""
    if reduced.method == "pca":
        if sum(each.basis == found.basis for row in reduced.maps for each in row) == 1:
            return ("",)  # the legend says it
        if not found.shares:
            return ("no variance",)
        total = f"{100 * sum(found.shares):.0f} %"
        return f"{shares_in_words(found.shares)} of its variance", f"{total} of its variance", f"holds {total}"
    if reduced.method == "kmeans":
        return ("",)
    if reduced.method == "similar":
        if not found.alike:
            return ("no other unit",)
        return f"most similar {alike_in_words(found.alike[0])}", alike_in_words(found.alike[0])
    values = found.values[found.values == found.values]
    return (units.value_range(float(values.min()), float(values.max())) if values.size else "no finite value",)


def _draw_marks(
    scene: Scene,
    reduced: Reduced,
    found: ReducedMap,
    number: int,
    lefts: tuple[int, int],
    y: int,
    size: tuple[int, int],
) -> None:
    """The unit asked for, outlined on the map and the photo of the first image; on all others the one most like it.

    On the photos of others it is marked where there is one layer: those of several would lie over one another.
    """
    asked = reduced.asked.similar
    at = asked if number == 0 else found.alike[0].at if found.alike else None
    if asked is None or at is None:
        return
    _, height, width = found.units
    frame, row, column = (0, *at) if len(at) == 2 else at
    lines = ((-2, WHITE), (-1, _MARK), (0, _MARK), (1, WHITE)) if number == 0 else ((-1, WHITE), (0, INK))
    starts = [lefts[0] + frame * (size[1] + _FRAME_GAP)]
    if number == 0 or len(reduced.layers) == 1:
        starts.append(lefts[1])
    for x in starts:
        draw_outline(
            scene, View((0, height - 1), (0, width - 1), x, y, size).place((row, row), (column, column)), lines
        )
