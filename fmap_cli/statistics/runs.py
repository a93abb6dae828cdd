"""Runs as files. `docs/run-files.md` describes the format.

A file is a safetensors file: its metadata says that it is a run and of which version, one tensor holds all that is
text as JSON (`run_text`), the others hold the numbers of all layers one after another. Nothing in it is ever run.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..documents import in_one_order
from ..errors import FmapError
from ..files import write_file
from .channels import FIELDS, ChannelStats, Extent, cut_apart
from .moments import BIN_EDGES, BINS
from .records import ClassRun, LayerRecord, Run
from .run_text import LARGEST, DamagedError, Description, decoded, encoded

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "fmap-run"
VERSION = 1

_WIDTHS: dict[str, type[np.integer[Any]]] = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "I64": np.int64}
_AGAIN = "Copy the file again from where it was made, or make the run again."


# -- writing -----------------------------------------------------------------------------------------------------


def save_run(path: Path, run: Run) -> None:
    """Write a run that `load_run` reads back exactly. What was there before stays where that fails (OutputError)."""
    from safetensors.numpy import save

    content = in_one_order(save(_tensors(run), metadata={"format": FORMAT, "version": str(VERSION)}))
    write_file(path, lambda file: file.write(content))


def _tensors(run: Run) -> dict[str, np.ndarray]:
    records = [*run.layers, *(record for each in run.classes for record in each.layers)]
    # A run by class has each layer once a class: what they have in common is written once.
    table: dict[Description, int] = {}
    places = [table.setdefault(Description.of(record), len(table)) for record in records]
    tensors = {
        "text": np.frombuffer(encoded(run, table), np.uint8),
        "layer": _narrow(np.array(places, np.int64)),
        "images": _narrow(np.array([record.images for record in records], np.int64)),
        "count": _narrow(np.array([record.channels.count for record in records], np.int64)),
        "histogram_edges": BIN_EDGES,
    }
    for name, each in FIELDS.items():
        tensors[name] = _narrow(_joined([getattr(record.channels, name) for record in records], each.dtype))
    cells, counts = [], []
    for record in records:
        if record.channels.histogram is not None:
            histogram = record.channels.histogram
            if histogram.shape[1] != BINS:
                raise ValueError(f"a histogram of {histogram.shape[1]} cells, expected {BINS}")
            full = histogram != 0
            cells.append(np.packbits(full, axis=1, bitorder="little"))
            counts.append(histogram[full])
    width = -(-BINS // 8)
    tensors["histogram_cells"] = np.concatenate(cells) if cells else np.zeros((0, width), np.uint8)
    tensors["histogram_counts"] = _narrow(_joined(counts, np.int64))
    return tensors


def _joined(pieces: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(pieces, dtype=dtype) if pieces else np.zeros(0, dtype)


def _narrow(values: np.ndarray) -> np.ndarray:
    """Values in the narrowest of the format's types that holds them all exactly."""
    if values.dtype == np.float64:
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        return single if np.array_equal(single, values, equal_nan=True) else values
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    fitting = (kind for kind in _WIDTHS.values() if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fitting))


# -- reading -----------------------------------------------------------------------------------------------------


def load_run(path: Path) -> Run:
    """The run that `save_run` wrote. Raises FmapError for whatever else stands at `path`; nothing is ever run."""
    from safetensors import SafetensorError, safe_open

    _check_start(path)
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            _check_version(path, about)
            return _read(path, file)
    except DamagedError as error:
        raise FmapError(f"{path} is damaged: {error}.", hint=_AGAIN) from None
    except (SafetensorError, OSError) as error:
        raise FmapError(f"{path} is damaged: {error}.", hint=_AGAIN) from error
    except MemoryError as error:
        raise FmapError(f"{path} holds more than fits into memory.") from error


def _check_start(path: Path) -> None:
    """Tell what is no run, or only a part of one, by its first bytes and its length."""
    try:
        if path.is_dir():
            raise FmapError(f"{path} is a directory, not a saved run.", hint="Give a file's name.")
        if path.exists() and not path.is_file():
            raise FmapError(f"{path} is not a regular file.", hint="Copy it into a file first.")
        with path.open("rb") as stream:
            head = stream.read(9)
        size = path.stat().st_size
    except FileNotFoundError:
        raise FmapError(f"no such file: {path}", hint="Check the path and the name's spelling.") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise FmapError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}.") from error
    if not head:
        raise FmapError(f"{path} is empty.", hint=_AGAIN)
    # Eight bytes: the length of a JSON header, below 100 MB, that follows at once.
    header = int.from_bytes(head[:8], "little")
    if head[8:] not in (b"{", b"") or header > 100_000_000:
        raise FmapError(
            f"{path} is not a saved run: it does not start as a safetensors file.",
            hint="Expected: a file that `fmap stats --save` wrote.",
        )
    if size < 8 or size < 8 + header or size < 8 + header + _data_length(path, header):
        raise FmapError(f"{path} is cut: its end is missing.", hint=_AGAIN)


def _data_length(path: Path, length: int) -> int:
    """How many bytes the header says come after it; 0 for a header that safetensors will refuse."""
    with path.open("rb") as stream:
        stream.seek(8)
        try:
            header = json.loads(stream.read(length))
            ends = [row["data_offsets"][1] for name, row in header.items() if name != "__metadata__"]
            return max((end for end in ends if isinstance(end, int)), default=0)
        except (ValueError, RecursionError, TypeError, KeyError, IndexError, AttributeError):
            return 0


def _check_version(path: Path, about: dict[str, str]) -> None:
    if about.get("format") != FORMAT:
        raise FmapError(
            f"{path} is not a saved run: it is a safetensors file of something else.",
            hint="Expected: a file that `fmap stats --save` wrote.",
        )
    version = about.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):
        raise DamagedError(f"its version is {version!r}, expected a number")
    if int(version) > VERSION:
        raise FmapError(
            f"{path} was written by a newer fmap (version {version}); this one reads {VERSION}.",
            hint="Update fmap: `pip install --upgrade fmap-cli`.",
        )


def _read(path: Path, file: Any) -> Run:
    text = decoded(_array(file, "text", ("U8",), (None,)).tobytes())
    total = sum(text.lengths)
    places = _integers(file, "layer", total).tolist()
    images = _integers(file, "images", total).tolist()
    counts = _integers(file, "count", total)
    if places and max(places) >= len(text.layers):
        raise DamagedError(f"'layer' names layer {max(places)} of {len(text.layers)}")
    # Summed up as Python's integers: the numbers may be anything until the arrays' lengths have proved them.
    described = [text.layers[place] for place in places]
    channels = [row.channels for row in described]
    numbers = {name: _numbers_of(file, name, sum(channels)) for name in FIELDS}
    histograms = _histograms(path, file, sum(row.histograms or 0 for row in described))
    end_to_end = ChannelStats(
        np.repeat(counts, np.array(channels, np.int64)),  # type: ignore[arg-type]
        **numbers,
        histogram=histograms,
    )
    if (end_to_end.zeros > end_to_end.finite).any():
        raise DamagedError("a channel has more zeros, NaN and Inf than values")
    extents = map(Extent, counts.tolist(), channels, (row.histograms for row in described))
    records = [
        LayerRecord(row.layer, row.shape, row.axes, row.dtype, ran, part, row.same_as, varies=row.varies)
        for row, ran, part in zip(described, images, cut_apart(end_to_end, extents), strict=True)
    ]
    at = [0, *accumulate(text.lengths)]
    whole, *parts = (tuple(records[start:stop]) for start, stop in pairwise(at))
    return Run(
        origin=text.origin,
        sources=text.sources,
        images=text.images,
        layers=whole,
        failures=text.failures,
        classes=tuple(ClassRun(*each, part) for each, part in zip(text.classes, parts, strict=True)),
        progress=text.progress,
    )


# Tensors: type and shape are compared before anything is read, so that no header makes us reserve what is not there.


def _array(file: Any, name: str, types: Iterable[str], shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in set(file.keys()):
        raise DamagedError(f"it has no {name!r}")
    view = file.get_slice(name)
    if view.get_dtype() not in types:
        raise DamagedError(f"{name!r} is {view.get_dtype()}, expected {' or '.join(types)}")
    found = view.get_shape()
    fits = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
    if not fits:
        expected = ["any" if want is None else want for want in shape]
        raise DamagedError(f"{name!r} has the shape {found}, expected [{', '.join(map(str, expected))}]")
    values: np.ndarray = file.get_tensor(name)
    return values


def _numbers_of(file: Any, name: str, channels: int) -> np.ndarray:
    """A field's numbers of all records' channels; NaN where this file is older than the field."""
    if not FIELDS[name].is_moment:
        return _integers(file, name, channels)
    if FIELDS[name].new and name not in set(file.keys()):
        return np.full(channels, np.nan)
    return _array(file, name, ("F32", "F64"), (channels,)).astype(np.float64, copy=False)


def _integers(file: Any, name: str, length: int | None) -> np.ndarray:
    values = _array(file, name, _WIDTHS, (length,)).astype(np.int64, copy=False)
    if values.size and not (values.min() >= 0 and values.max() < LARGEST):
        raise DamagedError(f"{name!r} has counts outside 0 to 2^53")
    return values


def _histograms(path: Path, file: Any, rows: int) -> np.ndarray:
    """All histograms, int64 `[rows, K]`: a bit a cell says which are not zero, and these are counted in order."""
    if not rows:
        return np.zeros((0, BINS), np.int64)
    edges = _array(file, "histogram_edges", ("F64",), (None,))
    if not np.array_equal(edges, BIN_EDGES):
        found = len(edges) - 1
        other = f"{found} cells" if found != BINS else f"{found} cells with other edges"
        raise FmapError(
            f"{path} has histograms of {other}; this fmap's have {BINS}.",
            hint="Read it with the fmap that wrote it, or make the run again.",
        )
    bits = _array(file, "histogram_cells", ("U8",), (rows, -(-BINS // 8)))
    full = np.unpackbits(bits, axis=1, count=BINS, bitorder="little").view(bool)
    counts = _integers(file, "histogram_counts", int(full.sum()))
    histograms = np.zeros((rows, BINS), np.int64)
    histograms[full] = counts
    return histograms
