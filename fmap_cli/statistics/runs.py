"""Runs as files. `docs/run-files.md` describes the format.

A file is a safetensors file: its metadata says that it is a run and of which version, one tensor holds all that is
text as JSON (`run_text`), the others hold the numbers of all layers one after another. Nothing in it is ever run.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..documents import in_one_order
from ..errors import FmapError
from ..files import write_file
from ..running.safe import FileKind, array_in, read_safely
from ..running.text import LARGEST, DamagedError
from .channels import FIELDS, ChannelStats, Extent, cut_apart
from .moments import BIN_EDGES, BINS
from .records import ClassRun, LayerRecord, Run
from .run_text import Description, decoded, encoded

if TYPE_CHECKING:
    from pathlib import Path

KIND = FileKind("fmap-run", 1, "a saved run", "fmap stats --save")

_WIDTHS: dict[str, type[np.integer[Any]]] = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "I64": np.int64}


# -- writing -----------------------------------------------------------------------------------------------------


def save_run(path: Path, run: Run) -> None:
    """Write a run that `load_run` reads back exactly. What was there before stays where that fails (OutputError)."""
    from safetensors.numpy import save

    content = in_one_order(save(_tensors(run), metadata=KIND.metadata))
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
    return read_safely(path, KIND, lambda file: _read(path, file))


def _read(path: Path, file: Any) -> Run:
    text = decoded(array_in(file, "text", ("U8",), (None,)).tobytes())
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


def _numbers_of(file: Any, name: str, channels: int) -> np.ndarray:
    """A field's numbers of all records' channels; NaN where this file is older than the field."""
    if not FIELDS[name].is_moment:
        return _integers(file, name, channels)
    if FIELDS[name].new and name not in set(file.keys()):
        return np.full(channels, np.nan)
    return array_in(file, name, ("F32", "F64"), (channels,)).astype(np.float64, copy=False)


def _integers(file: Any, name: str, length: int | None) -> np.ndarray:
    values = array_in(file, name, _WIDTHS, (length,)).astype(np.int64, copy=False)
    if values.size and not (values.min() >= 0 and values.max() < LARGEST):
        raise DamagedError(f"{name!r} has counts outside 0 to 2^53")
    return values


def _histograms(path: Path, file: Any, rows: int) -> np.ndarray:
    """All histograms, int64 `[rows, K]`: a bit a cell says which are not zero, and these are counted in order."""
    if not rows:
        return np.zeros((0, BINS), np.int64)
    edges = array_in(file, "histogram_edges", ("F64",), (None,))
    if not np.array_equal(edges, BIN_EDGES):
        found = len(edges) - 1
        other = f"{found} cells" if found != BINS else f"{found} cells with other edges"
        raise FmapError(
            f"{path} has histograms of {other}; this fmap's have {BINS}.",
            hint="Read it with the fmap that wrote it, or make the run again.",
        )
    bits = array_in(file, "histogram_cells", ("U8",), (rows, -(-BINS // 8)))
    full = np.unpackbits(bits, axis=1, count=BINS, bitorder="little").view(bool)
    counts = _integers(file, "histogram_counts", int(full.sum()))
    histograms = np.zeros((rows, BINS), np.int64)
    histograms[full] = counts
    return histograms
