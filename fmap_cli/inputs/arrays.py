"""A `.npy` file as a picture or as values: its header first, then which axis is which."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ImageError
from ..models.records import Preprocessing
from .limits import pixel_limit, too_large
from .modes import as_network_mode, as_values, to_pillow
from .ranges import check_finite, to_unit
from .streams import damaged, first_bytes, opened

if TYPE_CHECKING:
    import numpy as np

    from .records import Picture

LAYOUTS = ("HWC", "CHW", "NHWC", "NCHW", "HW")
NPY_MAGIC = b"\x93NUMPY"


def load_array(source: str, shape: Sequence[int], value_range: tuple[float, float] | None = None) -> np.ndarray | None:
    """The numbers in an `.npy` file, if they are of this shape, but for axes of one at any place; else None.

    They are as they are in the file, unless `value_range` says which of them become 0 and 1.
    Raises ImageError for a file that cannot be read, and for what is no array of real, finite numbers.
    """

    with opened(source, source, None) as stream:
        if not first_bytes(stream, source).startswith(NPY_MAGIC):
            return None
        found, dtype = _npy_header(stream, source)
        if _but_ones(found) != _but_ones(shape) or dtype.hasobject or dtype.kind not in "buif":
            return None
        array = _npy_values(stream, source)
    if dtype.kind == "f":
        check_finite(array, source)
    if value_range is not None:
        array, _ = to_unit(array, source, value_range)
    return array.reshape(tuple(shape))


def _but_ones(shape: Sequence[int]) -> list[int]:
    return [length for length in shape if length != 1]


def shape_held(source: str) -> tuple[int, ...] | None:
    """The shape of the array in an `.npy` file; None for any other file. Raises ImageError."""
    with opened(source, source, None) as stream:
        return _npy_header(stream, source)[0] if first_bytes(stream, source).startswith(NPY_MAGIC) else None


def read_array(
    stream: BinaryIO, label: str, layout: str | None, preprocessing: Preprocessing
) -> tuple[Picture, list[str]]:
    channels = preprocessing.channels
    array = _load_npy(stream, label, channels)
    planes, note = _to_chw(array, layout, label, channels)
    notes = [note]
    if preprocessing.value_range is None and channels in (1, 3):
        values, said = to_unit(planes, label)
        if values.dtype == "uint8":
            # The same bytes as a picture's take the picture's way, and give the same tensor.
            notes += said
            return as_network_mode(to_pillow(values), channels, notes, label), notes
    return as_values(planes, preprocessing, notes, label), notes


def _load_npy(stream: BinaryIO, label: str, channels: int) -> np.ndarray:
    import numpy as np

    shape, dtype = _npy_header(stream, label)
    _check_npy(shape, dtype, label, channels)
    promised = int(np.prod(shape, dtype=object)) * dtype.itemsize
    start = stream.tell()
    held = stream.seek(0, io.SEEK_END) - start
    if held < promised:
        raise damaged(
            label, f"its header promises {promised:,} bytes of {dtype} {list(shape)}, the file holds {held:,}"
        )
    return _npy_values(stream, label)


def _npy_header(stream: BinaryIO, label: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype as the header tells them, before anything is allocated."""
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        # Version 3 differs from 2 in the names of fields alone, which no picture has.
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        if any(length < 0 or isinstance(length, bool) for length in shape):
            raise ValueError(f"no length in {shape}")
    except Exception as error:  # numpy parses the header as Python text: whatever that raises
        raise damaged(label, f"not a .npy header ({error})") from None
    return shape, dtype


def _npy_values(stream: BinaryIO, label: str) -> np.ndarray:
    import numpy as np

    stream.seek(0)
    try:
        return np.asarray(np.load(stream, allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise damaged(label, str(error)) from None


def _check_npy(shape: tuple[int, ...], dtype: np.dtype[Any], label: str, channels: int) -> None:
    import numpy as np

    if dtype.hasobject:
        raise ImageError(
            f"{label} holds Python objects, which need pickle to be read, and pickle can run code.",
            hint="Save numbers: np.save('image.npy', np.asarray(image, dtype='uint8'))",
        )
    if dtype.kind not in "buif":
        raise ImageError(
            f"{label} holds {dtype} values; expected bool, integers or floats.",
            hint="Save real numbers, for example uint8 in 0..255 or float32 in 0..1.",
        )
    if 0 in shape:
        raise ImageError(f"{label} has no pixels: the array's shape is {list(shape)}.")
    if len(shape) == 4 and shape[0] != 1:
        counts = _channel_counts(channels)
        if shape[0] in counts and shape[1] not in counts and shape[3] not in counts:
            raise ImageError(
                f"{label} is {list(shape)}, as a volume or a clip of {shape[0]} channels is; expected a picture.",
                hint="Save one slice as a picture, for example the first: np.save('slice.npy', array[:, 0])"
                + _or_whole(shape),
            )
        raise ImageError(
            f"{label} holds {shape[0]} images, {list(shape)}; fmap takes one a file.",
            hint="Save one of them, for example the first: np.save('first.npy', array[0])" + _or_whole(shape),
        )
    if not 2 <= len(shape) <= 4:
        several = f"Save one of them: np.save('first.npy', array[0]){_or_whole(shape[1:])}" if len(shape) > 4 else None
        one = f"If the network takes arrays of this shape: --input-shape {_listed(shape[len(shape) > 4 :])}."
        raise ImageError(
            f"{label} has {len(shape)} {'axis' if len(shape) == 1 else 'axes'}, {list(shape)}; expected one of"
            f" {', '.join(LAYOUTS)}.",
            hint=None if not shape else several if len(shape) > 4 and shape[0] != 1 else one,
        )
    limit = pixel_limit()
    values = int(np.prod(shape, dtype=object))
    if limit is not None and values > limit * max(4, channels):
        raise too_large(label, f"an array of {list(shape)}")


def _to_chw(array: np.ndarray, layout: str | None, label: str, channels: int) -> tuple[np.ndarray, str]:
    """The array as a view of `[C, H, W]`, and the sentence that says how it was read."""
    shape = list(array.shape)
    layout = _find_layout(array.shape, label, channels) if layout is None else _checked(layout, array.shape, label)
    if layout.startswith("N"):
        array = array[0]
    if layout == "HW":
        array = array[None]  # [1, H, W]
    elif layout.endswith("HWC"):
        array = array.transpose(2, 0, 1)  # [C, H, W]
    what = "" if str(shape) in label else f"array {shape} "  # what is in memory is called by its shape
    if len(array) not in _channel_counts(channels):
        raise ImageError(
            f"{label} has {len(array)} channels ({what}read as {layout}); the network takes {channels}.",
            hint="If the axes are meant otherwise, say so with --layout HWC or --layout CHW" + _or_whole(shape),
        )
    permuted = ", permuted to CHW" if layout.endswith("HWC") else ""
    return array, f"{what}read as {layout}{permuted}"


def _channel_counts(channels: int) -> tuple[int, ...]:
    """How many channels an array may have: gray, RGB and RGBA fit a network for pictures, else its own."""
    return (1, 3, 4) if channels in (1, 3) else (channels,)


def _find_layout(shape: tuple[int, ...], label: str, channels: int) -> str:
    if len(shape) == 2:
        return "HW"
    counts = _channel_counts(channels)
    first, last = shape[-3] in counts, shape[-1] in counts
    batch = "N" if len(shape) == 4 else ""
    if first != last:
        return batch + ("CHW" if first else "HWC")
    lengths = " or ".join(str(count) for count in counts)
    found = f"the first and the last axis both have {lengths}" if first else f"no axis at either end has {lengths}"
    raise ImageError(
        f"{label}: cannot tell which axis of {list(shape)} holds the channels: {found} entries.",
        hint=f"Say it with --layout {batch}HWC or --layout {batch}CHW" + _or_whole(shape),
    )


def _or_whole(shape: Sequence[int]) -> str:
    """How a hint about axes ends: what has four of them may be a volume or a clip, whole and without a batch."""
    if len(shape) < 4:
        return "."
    return f"; where the network takes volumes or clips of this shape, --input-shape {_listed(shape)}."


def _listed(shape: Sequence[int]) -> str:
    return ",".join(map(str, shape))


def _checked(layout: str, shape: tuple[int, ...], label: str) -> str:
    layout = layout.upper()
    if layout not in LAYOUTS:
        raise ImageError(f"unknown layout {layout}; expected one of {', '.join(LAYOUTS)}.")
    if len(layout) != len(shape):
        raise ImageError(
            f"{label} has {len(shape)} axes, {list(shape)}; --layout {layout} names {len(layout)}.",
            hint="Leave --layout out, or give one of "
            + ", ".join(name for name in LAYOUTS if len(name) == len(shape))
            + _or_whole(shape),
        )
    return layout
