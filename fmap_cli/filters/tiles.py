"""Weights to pixels: a filter's tiles side by side, or all filters as one matrix."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from ..drawing.grid import BACKGROUND, DIVERGING, INF_RGB, NAN_RGB, colour_codes, cross, lookup, palette
from .records import Drawing, Kernels

GAP = 3  # between the tiles of a filter
_FRAME_GAP = 1  # between the frames of a kernel
_EDGE = (200, 200, 205)  # a line round each tile: zero is as white as the page
_BARS = 24  # half the height of the bars of a kernel of one axis
_MATRIX_CLIP = 0.5
_BLOCK = 4_000_000  # weights at once
_CUT, _INFINITE = 14, 0x7F800000  # bits of a float32 that make no difference to a percentile, and infinity's


@dataclass(frozen=True, slots=True)
class Ends:
    """The magnitude at both ends of the colours for each filter drawn, `[N]`; `shared` where all have the same."""

    most: np.ndarray
    shared: bool
    clipped: float


def ends_of(kernels: Kernels, drawing: Drawing) -> Ends:
    """The scale that `drawing` asks for. A shared one spans all filters of the layer, not only those drawn."""
    shared = (drawing.scale or ("layer" if kernels.is_matrix else "channel")) == "layer"
    clip = drawing.clip if drawing.clip is not None else _MATRIX_CLIP if kernels.is_matrix else 0.0
    if shared:
        return Ends(np.full(len(kernels.drawn), _most(kernels.weight, clip)), True, clip)
    return Ends(np.array([_most(kernels.weight[at], clip) for at in kernels.drawn]), False, clip)


def _most(weight: np.ndarray, clip: float) -> float:
    """The largest magnitude, or that which so many percent at either end are beyond, to a five-hundredth of itself.

    Magnitudes are counted by the leading bits of their float32 numbers: a linear layer may have a hundred million, too
    many to sort.

    >>> weight = np.linspace(-1, 1, 2001, dtype=np.float32)
    >>> _most(weight, 0.0), round(_most(weight, 5.0), 2)
    (1.0, 0.9)
    """
    flat = weight.reshape(-1)
    blocks = [flat[at : at + _BLOCK] for at in range(0, len(flat), _BLOCK)]
    if not clip:
        return max((float(np.abs(each[np.isfinite(each)]).max(initial=0.0)) for each in blocks), default=0.0)
    counts = np.zeros(1 << 32 - _CUT, np.int64)
    for each in blocks:
        bits = np.abs(each.astype(np.float32)).view(np.uint32)
        counts += np.bincount(bits[bits < _INFINITE] >> _CUT, minlength=len(counts))
    total = np.cumsum(counts)
    last = int(np.searchsorted(total, (1 - 2 * clip / 100) * total[-1]))
    return float(np.array([(last + 1) << _CUT], np.uint32).view(np.float32)[0]) if total[-1] else 0.0


@dataclass(frozen=True, slots=True)
class Strips:
    """A filter's tiles in a row, for each filter drawn.

    `pixels` is `[N, h, w, 3]` uint8; `tile` the height and width of one of the tiles, `lefts` where each begins,
    `inputs` `[N, tiles]` the input channel that each is of, None where tiles are in red, green and blue.
    """

    pixels: np.ndarray
    tile: tuple[int, int]
    lefts: tuple[int, ...]
    inputs: np.ndarray | None


def is_dead(kernels: Kernels) -> np.ndarray:
    """Which filters are all zero, `[O]`: without a weight that is NaN or infinite either."""
    numbers = kernels.numbers
    dead: np.ndarray = (numbers.norm == 0) & (numbers.nan == 0) & (numbers.inf == 0)
    return dead


def tile_count(kernels: Kernels, drawing: Drawing) -> int:
    """How many tiles a filter has."""
    return 1 if kernels.reads_picture else min(drawing.inputs, kernels.weight.shape[1])


def cell_size(kernels: Kernels, pixels: int) -> tuple[int, int]:
    """Height and width of one tile where a weight is so many pixels across; frames stand side by side."""
    size = kernels.kernel
    if len(size) == 1:
        return 2 * _BARS + 1 + 2, size[0] * pixels + 2
    frames = size[0] if len(size) == 3 else 1
    return size[-2] * pixels + 2, (size[-1] * pixels + 2) * frames + _FRAME_GAP * (frames - 1)


def strips(kernels: Kernels, drawing: Drawing, ends: Ends, pixels: int) -> Strips:
    """The tiles of each filter drawn, a weight `pixels` across."""
    drawn = kernels.weight[kernels.drawn]  # [N, I, *kernel]
    if kernels.reads_picture:
        inputs, tiles = None, _in_colour(drawn, ends)  # [N, 1, F, h, w, 3]
    else:
        places, inputs = _strongest(kernels, drawn, drawing.inputs)
        chosen = np.take_along_axis(drawn, places.reshape(*places.shape, *(1,) * (drawn.ndim - 2)), axis=1)
        tiles = _signed(chosen, ends, drawing.cmap or DIVERGING)
    return _side_by_side(tiles, kernels, inputs, pixels)


def _strongest(kernels: Kernels, drawn: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of its input channels each filter shows, as places in its weight and as the layer's input channels."""
    count = drawn.shape[1]
    if count <= most:
        places = np.tile(np.arange(count), (len(drawn), 1))
    else:
        sizes = np.square(np.where(np.isfinite(drawn), drawn, 0).astype(np.float64)).reshape(*drawn.shape[:2], -1)
        places = np.argsort(-sizes.sum(2), axis=1, kind="stable")[:, :most]
    firsts = np.array([kernels.inputs_of(int(at))[0] for at in kernels.drawn], np.int64)
    return places, places + firsts[:, None]


def _in_colour(drawn: np.ndarray, ends: Ends) -> np.ndarray:
    """Filters `[N, 3, (T,) h, w]` in red, green and blue, mid-gray being zero: `[N, 1, T, h, w, 3]` uint8."""
    weight = np.moveaxis(drawn, 1, -1)  # [N, (T,) h, w, 3]
    if weight.ndim == 4:
        weight = weight[:, None]
    most = np.where(ends.most > 0, ends.most, 1.0).reshape(-1, 1, 1, 1, 1)
    with np.errstate(invalid="ignore", over="ignore"):
        share = np.clip(np.where(np.isfinite(weight), weight, 0) / most, -1, 1)
    colours = np.rint(127.5 + 127.5 * share).astype(np.uint8)
    colours[np.isnan(weight).any(-1)] = NAN_RGB
    colours[np.isinf(weight).any(-1)] = INF_RGB
    return colours[:, None]


def _signed(chosen: np.ndarray, ends: Ends, cmap: str) -> np.ndarray:
    """Kernels `[N, C, *kernel]` in colours around zero: `[N, C, T, h, w, 3]` uint8; those of one axis as bars."""
    count, tiles, *size = chosen.shape
    low = np.repeat(-ends.most, tiles)
    if len(size) == 1:
        codes = _bars(chosen.reshape(-1, size[0]), -low)  # [N * C, h, w]
        frames, height, width = 1, codes.shape[1], size[0]
    else:
        frames, height, width = size[0] if len(size) == 3 else 1, size[-2], size[-1]
        codes = colour_codes(chosen.reshape(count * tiles, frames * height, width), low, -low)
    return lookup(palette(cmap))[codes].reshape(count, tiles, frames, height, width, 3)


def _bars(kernels: np.ndarray, most: np.ndarray) -> np.ndarray:
    """Kernels `[N, k]` as bars up and down from a line, in the colour of their weight: codes `[N, h, k]`."""
    codes = colour_codes(kernels[:, None], -most, most)  # [N, 1, k]
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.clip(np.nan_to_num(kernels / most[:, None], nan=0.0), -1, 1)
    share = np.where(np.isfinite(kernels), share, 1.0)  # what is no number is a whole bar of its colour
    lengths = np.rint(share * _BARS)[:, None]  # [N, 1, k]
    rows = np.arange(_BARS, -_BARS - 1, -1)[None, :, None]  # from the top down
    filled = ((rows > 0) & (rows <= lengths)) | ((rows < 0) & (rows >= lengths)) | (rows == 0)
    strong = np.where(codes < 256, np.where(codes >= 128, np.maximum(codes, 215), np.minimum(codes, 40)), codes)
    return np.where(filled, np.where(rows == 0, 256, strong), BACKGROUND).astype(np.uint16)


def _side_by_side(tiles: np.ndarray, kernels: Kernels, inputs: np.ndarray | None, pixels: int) -> Strips:
    """Enlarge, frame and place the tiles `[N, C, T, h, w, 3]`."""
    count, across, frames = tiles.shape[:3]
    large = tiles if len(kernels.kernel) == 1 else np.repeat(tiles, pixels, axis=3)
    large = np.repeat(large, pixels, axis=4)
    down, wide = large.shape[3:5]
    framed = np.empty((count, across, frames, down + 2, wide + 2, 3), np.uint8)
    framed[:] = _EDGE
    framed[:, :, :, 1:-1, 1:-1] = large
    tile = cell_size(kernels, pixels)
    dead = is_dead(kernels)[kernels.drawn]
    inner = framed[dead].reshape(-1, down + 2, wide + 2, 3)
    framed[dead] = cross(inner).reshape(framed[dead].shape)
    strip = np.full((count, tile[0], across * (tile[1] + GAP) - GAP, 3), 255, np.uint8)
    lefts = tuple(at * (tile[1] + GAP) for at in range(across))
    for at, left in enumerate(lefts):
        for frame in range(frames):
            start = left + frame * (wide + 2 + _FRAME_GAP)
            strip[:, :, start : start + wide + 2] = framed[:, at, frame]
    return Strips(strip, tile, lefts, inputs)


# -- matrices ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Matrix:
    """All filters as rows of one picture; a pixel is the strongest of `share` (rows, columns) weights."""

    pixels: np.ndarray
    cell: tuple[int, int]
    share: tuple[int, int]


def matrix(kernels: Kernels, drawing: Drawing, ends: Ends, area: tuple[int, int], most: int) -> Matrix:
    """The filters drawn, a row each, with their input channels across, within an area (height, width)."""
    rows = kernels.drawn
    share = (ceil(len(rows) / area[0]), ceil(kernels.inputs / area[1]))
    cell = tuple(
        max(min(area[axis] // ceil(n / share[axis]), most), 1) for axis, n in enumerate((len(rows), kernels.inputs))
    )
    colours = lookup(palette(drawing.cmap or DIVERGING))
    lines = []
    for start in range(0, len(rows), share[0]):
        block = _full_rows(kernels, rows[start : start + share[0]])  # [r, I]
        with np.errstate(invalid="ignore", divide="ignore"):
            block = block / np.where(ends.most > 0, ends.most, 1.0)[start : start + share[0], None]
        lines.append(_strongest_of(block, share[1]))
    values = np.stack(lines)  # [rows, columns]
    absent = np.isneginf(values) if kernels.groups > 1 else np.zeros(values.shape, bool)
    codes = colour_codes(values[None], np.array([-1.0]), np.array([1.0]))[0]
    pixels = colours[codes]
    pixels[absent] = (236, 236, 240)
    return Matrix(np.ascontiguousarray(pixels), (cell[0], cell[1]), share)


def _full_rows(kernels: Kernels, rows: np.ndarray) -> np.ndarray:
    """Filters over all input channels `[r, inputs]`; minus infinity where a group does not read one."""
    own = kernels.weight[rows].reshape(len(rows), -1).astype(np.float64)
    if kernels.groups == 1:
        return own
    whole = np.full((len(rows), kernels.inputs), -np.inf)
    for at, row in enumerate(rows):
        inputs = kernels.inputs_of(int(row))
        whole[at, inputs[0] : inputs[-1] + 1] = own[at]
    return whole


def _strongest_of(block: np.ndarray, share: int) -> np.ndarray:
    """Of each `share` columns of all rows the value of the largest magnitude, `[ceil(I / share)]`."""
    if block.shape[0] == 1 and share == 1:
        return block[0]
    padded = np.full((block.shape[0], ceil(block.shape[1] / share) * share), -np.inf)
    padded[:, : block.shape[1]] = block
    cells = np.moveaxis(padded.reshape(block.shape[0], -1, share), 1, 0).reshape(padded.shape[1] // share, -1)
    known = np.where(np.isneginf(cells), 0.0, np.abs(np.nan_to_num(cells, nan=np.inf)))
    return np.take_along_axis(cells, known.argmax(1)[:, None], axis=1)[:, 0]
