"""Runs as files, and several runs as one. `docs/run-files.md` describes the format.

A file is a safetensors file: its metadata says that it is a run and of which version, one tensor holds all that is
text as JSON, the others hold the numbers of all layers one after another. Nothing in it is ever run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast, get_args

import numpy as np

from ..documents import in_one_order
from ..errors import FmapError
from ..files import write_file
from ..models.document import preprocessing_row
from ..models.records import Interpolation, Preprocessing, Weights
from ..network.records import Axes, LayerKind, LayerRef
from . import moments
from .channels import FIELDS, ChannelStats, Extent, cut_apart, merge
from .records import ClassRun, LayerRecord, Progress, Run, RunOrigin

if TYPE_CHECKING:
    from pathlib import Path

FORMAT = "fmap-run"
VERSION = 1

_WIDTHS: dict[str, type[np.integer[Any]]] = {"U8": np.uint8, "U16": np.uint16, "U32": np.uint32, "I64": np.int64}
_LARGEST = 2**53
"""Counts stay below: far from where sums of them leave int64, and exact in readers whose numbers are all float64."""

_AGAIN = "Copy the file again from where it was made, or make the run again."
_ALIKE = "Runs merge where model, weights, dtype, input and layers are alike: make both with the same options."


# -- writing -----------------------------------------------------------------------------------------------------


def save_run(path: Path, run: Run) -> None:
    """Write a run that `load_run` reads back exactly. What was there before stays where that fails (OutputError)."""
    from safetensors.numpy import save

    content = in_one_order(save(_tensors(run), metadata={"format": FORMAT, "version": str(VERSION)}))
    write_file(path, lambda file: file.write(content))


def _tensors(run: Run) -> dict[str, np.ndarray]:
    records = [*run.layers, *(record for each in run.classes for record in each.layers)]
    # A run by class has each layer once a class: what they have in common is written once.
    table: dict[tuple[Any, ...], int] = {}
    places = [table.setdefault(_described(record), len(table)) for record in records]
    text = {
        "origin": {
            "model": run.origin.model,
            "weights": str(run.origin.weights),
            "digest": run.origin.digest,
            "dtype": run.origin.dtype,
            "input": run.origin.input,
            "preprocessing": preprocessing_row(run.origin.preprocessing),
        },
        "sources": run.sources,
        "failures": run.failures,
        "images": run.images,
        "records": len(run.layers),
        "layers": [_layer_row(*each) for each in table],
        "classes": [{"name": each.name, "images": each.images, "records": len(each.layers)} for each in run.classes],
        "progress": None
        if run.progress is None
        else {
            "done": run.progress.done,
            "total": run.progress.total,
            "digest": run.progress.digest,
            "rank": run.progress.rank,
            "ranks": run.progress.ranks,
        },
    }
    # ASCII, so that file names in no encoding (lone surrogates) are escaped.
    encoded = json.dumps(text, ensure_ascii=True, separators=(",", ":")).encode("ascii")
    tensors = {
        "text": np.frombuffer(encoded, np.uint8),
        "layer": _narrow(np.array(places, np.int64)),
        "images": _narrow(np.array([record.images for record in records], np.int64)),
        "count": _narrow(np.array([record.channels.count for record in records], np.int64)),
        "histogram_edges": moments.BIN_EDGES,
    }
    for name, each in FIELDS.items():
        tensors[name] = _narrow(_joined([getattr(record.channels, name) for record in records], each.dtype))
    cells, counts = [], []
    for record in records:
        if record.channels.histogram is not None:
            histogram = record.channels.histogram
            if histogram.shape[1] != moments.BINS:
                raise ValueError(f"a histogram of {histogram.shape[1]} cells, expected {moments.BINS}")
            full = histogram != 0
            cells.append(np.packbits(full, axis=1, bitorder="little"))
            counts.append(histogram[full])
    width = -(-moments.BINS // 8)
    tensors["histogram_cells"] = np.concatenate(cells) if cells else np.zeros((0, width), np.uint8)
    tensors["histogram_counts"] = _narrow(_joined(counts, np.int64))
    return tensors


def _described(record: LayerRecord) -> tuple[Any, ...]:
    """All of a record but its numbers, in the order that `_layer_row` takes it."""
    histogram = record.channels.histogram
    rows = None if histogram is None else len(histogram)
    return (
        record.layer,
        record.shape,
        record.axes,
        record.dtype,
        record.same_as,
        record.varies,
        len(record.channels.mean),
        rows,
    )


def _layer_row(
    layer: LayerRef,
    shape: tuple[int, ...],
    axes: Axes,
    dtype: str,
    same_as: str | None,
    varies: bool,
    channels: int,
    histograms: int | None,
) -> dict[str, Any]:
    """One entry of `layers`. These names are the format's: later versions add names and never change these."""
    return {
        "name": layer.name,
        "path": layer.path,
        "call": layer.call,
        "kind": layer.kind,
        "type": layer.type_name,
        "is_module": layer.is_module,
        "parameters": layer.parameters,
        "shape": shape,
        "axes": {"names": axes.names, "how": axes.how, "grid": axes.grid, "prefix": axes.prefix},
        "dtype": dtype,
        "same_as": same_as,
        "varies": varies,
        "channels": channels,
        "histograms": histograms,
    }


def _joined(pieces: Sequence[np.ndarray], dtype: type[np.generic]) -> np.ndarray:
    return np.concatenate(pieces, dtype=dtype) if pieces else np.zeros(0, dtype)


def _narrow(values: np.ndarray) -> np.ndarray:
    """The same values in the narrowest of the format's types that holds them all exactly."""
    if values.dtype == np.float64:
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        return single if np.array_equal(single, values, equal_nan=True) else values
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    fitting = (kind for kind in _WIDTHS.values() if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max)
    return values.astype(next(fitting))


# -- reading -----------------------------------------------------------------------------------------------------


class _DamagedError(Exception):
    """What does not fit, as a part of a sentence; `load_run` adds the file's name."""


def load_run(path: Path) -> Run:
    """The run that `save_run` wrote. Raises FmapError for whatever else stands at `path`; nothing is ever run."""
    from safetensors import SafetensorError, safe_open

    _check_start(path)
    try:
        with safe_open(path, framework="numpy") as file:
            about = file.metadata() or {}
            _check_version(path, about)
            return _read(path, file)
    except _DamagedError as error:
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
            raise FmapError(f"{path} is no regular file.", hint="Copy it into a file first.")
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
            f"{path} is no saved run: it does not start as a safetensors file.",
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
            f"{path} is no saved run: it is a safetensors file of something else.",
            hint="Expected: a file that `fmap stats --save` wrote.",
        )
    version = about.get("version", "")
    if not (version.isascii() and version.isdigit() and len(version) < 10 and int(version) > 0):
        raise _DamagedError(f"its version is {version!r}, expected a number")
    if int(version) > VERSION:
        raise FmapError(
            f"{path} was written by a newer fmap (version {version}); this one reads {VERSION}.",
            hint="Update fmap: `pip install --upgrade fmap-cli`.",
        )


def _read(path: Path, file: Any) -> Run:
    text = _text(_array(file, "text", ("U8",), (None,)))
    rows = [_layer(each) for each in text.list("layers")]
    classes = [_Fields(each, "classes") for each in text.list("classes")]
    lengths = [text.count("records"), *(each.count("records") for each in classes)]
    total = sum(lengths)
    places = _integers(file, "layer", total).tolist()
    images = _integers(file, "images", total).tolist()
    counts = _integers(file, "count", total)
    if places and max(places) >= len(rows):
        raise _DamagedError(f"'layer' names layer {max(places)} of {len(rows)}")
    # Summed up as Python's integers: the numbers may be anything until the arrays' lengths have proved them.
    described = [rows[place] for place in places]
    channels = [row.channels for row in described]
    numbers = {name: _numbers_of(file, name, sum(channels)) for name in FIELDS}
    histograms = _histograms(path, file, sum(row.histograms or 0 for row in described))
    end_to_end = ChannelStats(
        np.repeat(counts, np.array(channels, np.int64)),  # type: ignore[arg-type]
        **numbers,
        histogram=histograms,
    )
    if (end_to_end.zeros > end_to_end.finite).any():
        raise _DamagedError("a channel has more zeros, NaN and Inf than values")
    extents = map(Extent, counts.tolist(), channels, (row.histograms for row in described))
    records = [
        LayerRecord(row.layer, row.shape, row.axes, row.dtype, ran, part, row.same_as, varies=row.varies)
        for row, ran, part in zip(described, images, cut_apart(end_to_end, extents), strict=True)
    ]
    parts = _split(records, lengths)
    return Run(
        origin=_origin(_Fields(text.get("origin"), "origin")),
        sources=tuple(_string(each, "sources") for each in text.list("sources")),
        images=text.count("images"),
        layers=next(parts),
        failures=tuple(_failure(each) for each in text.list("failures")),
        classes=tuple(
            ClassRun(each.string("name"), each.count("images"), part) for each, part in zip(classes, parts, strict=True)
        ),
        progress=None if text.get("progress") is None else _progress(_Fields(text.get("progress"), "progress")),
    )


def _split(records: list[LayerRecord], lengths: list[int]) -> Iterator[tuple[LayerRecord, ...]]:
    at = 0
    for length in lengths:
        yield tuple(records[at : at + length])
        at += length


# Tensors: type and shape are compared before anything is read, so that no header makes us reserve what is not there.


def _array(file: Any, name: str, types: Iterable[str], shape: tuple[int | None, ...]) -> np.ndarray:
    if name not in set(file.keys()):
        raise _DamagedError(f"it has no {name!r}")
    view = file.get_slice(name)
    if view.get_dtype() not in types:
        raise _DamagedError(f"{name!r} is {view.get_dtype()}, expected {' or '.join(types)}")
    found = view.get_shape()
    fits = len(found) == len(shape) and all(want in (None, have) for want, have in zip(shape, found, strict=True))
    if not fits:
        expected = ["any" if want is None else want for want in shape]
        raise _DamagedError(f"{name!r} has the shape {found}, expected [{', '.join(map(str, expected))}]")
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
    if values.size and not (values.min() >= 0 and values.max() < _LARGEST):
        raise _DamagedError(f"{name!r} has counts outside 0 to 2^53")
    return values


def _histograms(path: Path, file: Any, rows: int) -> np.ndarray:
    """All histograms, int64 `[rows, K]`: a bit a cell says which are not zero, and these are counted in order."""
    if not rows:
        return np.zeros((0, moments.BINS), np.int64)
    edges = _array(file, "histogram_edges", ("F64",), (None,))
    if not np.array_equal(edges, moments.BIN_EDGES):
        found = len(edges) - 1
        other = f"{found} cells" if found != moments.BINS else f"{found} cells with other edges"
        raise FmapError(
            f"{path} has histograms of {other}; this fmap's have {moments.BINS}.",
            hint="Read it with the fmap that wrote it, or make the run again.",
        )
    bits = _array(file, "histogram_cells", ("U8",), (rows, -(-moments.BINS // 8)))
    full = np.unpackbits(bits, axis=1, count=moments.BINS, bitorder="little").view(bool)
    counts = _integers(file, "histogram_counts", int(full.sum()))
    histograms = np.zeros((rows, moments.BINS), np.int64)
    histograms[full] = counts
    return histograms


# Text: every value's type is looked at, since anything may stand in a file.


@dataclass(frozen=True, slots=True)
class _Row:
    """One entry of the file's `layers`."""

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    dtype: str
    same_as: str | None
    varies: bool
    channels: int
    histograms: int | None


class _Fields:
    """A JSON object, read with the types expected."""

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, dict):
            raise _DamagedError(f"{where!r} is no object")
        self._content, self._where = content, where

    def get(self, name: str) -> object:
        if name not in self._content:
            raise _DamagedError(f"{self._where!r} has no {name!r}")
        return self._content[name]

    def has(self, name: str) -> bool:
        return name in self._content

    def list(self, name: str) -> list[Any]:
        return _list(self.get(name), name)

    def string(self, name: str) -> str:
        return _string(self.get(name), name)

    def count(self, name: str) -> int:
        return _count(self.get(name), name)

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if not isinstance(value, bool):
            raise _DamagedError(f"{name!r} is neither true nor false")
        return value


def _text(content: np.ndarray) -> _Fields:
    try:
        return _Fields(json.loads(content.tobytes()), "text")
    except (ValueError, RecursionError):
        raise _DamagedError("its text is no JSON") from None


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise _DamagedError(f"{name!r} is no list")
    return value


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise _DamagedError(f"{name!r} is no text")
    return value


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST:
        raise _DamagedError(f"{name!r} is no number from 0 to 2^53")
    return value


def _layer(content: object) -> _Row:
    row = _Fields(content, "layers")
    axes = _Fields(row.get("axes"), "axes")
    grid = axes.get("grid")
    if grid is not None and len(_list(grid, "grid")) != 2:
        raise _DamagedError("'grid' is no pair")
    kind: Any = row.string("kind")
    channels = row.count("channels")
    histograms = None if row.get("histograms") is None else row.count("histograms")
    if histograms not in (None, 1, channels):
        raise _DamagedError(f"a layer of {channels} channels has {histograms} histograms")
    return _Row(
        layer=LayerRef(
            name=row.string("name"),
            path=row.string("path"),
            call=row.count("call"),
            kind=kind if kind in get_args(LayerKind) else "other",
            type_name=row.string("type"),
            is_module=row.flag("is_module"),
            parameters=row.count("parameters"),
        ),
        shape=tuple(_count(each, "shape") for each in row.list("shape")),
        axes=Axes(
            names=tuple(_string(each, "names") for each in axes.list("names")),
            how=axes.string("how"),
            grid=None if grid is None else (_count(grid[0], "grid"), _count(grid[1], "grid")),  # type: ignore[index]
            prefix=axes.count("prefix"),
        ),
        dtype=row.string("dtype"),
        same_as=None if row.get("same_as") is None else row.string("same_as"),
        varies=row.flag("varies"),
        channels=channels,
        histograms=histograms,
    )


def _origin(row: _Fields) -> RunOrigin:
    return RunOrigin(
        model=row.string("model"),
        weights=Weights("unknown", row.string("weights")),
        digest=row.string("digest"),
        dtype=row.string("dtype"),
        input=row.string("input"),
        preprocessing=_preprocessing(row),
    )


def _preprocessing(origin: _Fields) -> Preprocessing | None:
    """How the pictures were made what the network saw; None in files written before that was kept."""
    if not origin.has("preprocessing") or origin.get("preprocessing") is None:
        return None
    row = _Fields(origin.get("preprocessing"), "preprocessing")
    interpolation = row.string("interpolation")
    if interpolation not in get_args(Interpolation):
        raise _DamagedError(f"{interpolation!r} is no interpolation")
    resize, crop = row.get("resize"), row.get("crop")
    return Preprocessing(
        resize=_pair(resize, "resize") if isinstance(resize, list) else None if resize is None else row.count("resize"),
        crop=None if crop is None else _pair(crop, "crop"),
        interpolation=cast(Interpolation, interpolation),
        antialias=row.flag("antialias"),
        mean=_numbers(row.list("mean"), "mean"),
        std=_numbers(row.list("std"), "std"),
        channels=row.count("channels"),
        multiple_of=row.count("multiple_of"),
        source="" if row.get("source") is None else row.string("source"),
        value_range=_value_range(row.get("range")) if row.has("range") else None,
    )


def _value_range(value: object) -> tuple[float, float] | None:
    if value is None:
        return None
    numbers = _numbers(_list(value, "range"), "range")
    if len(numbers) != 2:
        raise _DamagedError("'range' is no pair of numbers")
    return numbers[0], numbers[1]


def _pair(value: object, name: str) -> tuple[int, int]:
    sides = [_count(each, name) for each in _list(value, name)]
    if len(sides) != 2:
        raise _DamagedError(f"{name!r} is no pair of numbers")
    return sides[0], sides[1]


def _numbers(values: list[Any], name: str) -> tuple[float, ...]:
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values):
        raise _DamagedError(f"{name!r} is no list of numbers")
    return tuple(float(each) for each in values)


def _progress(row: _Fields) -> Progress:
    progress = Progress(
        done=row.count("done"),
        total=row.count("total"),
        digest=row.string("digest"),
        rank=row.count("rank"),
        ranks=row.count("ranks"),
    )
    if progress.done > progress.total or progress.rank >= progress.ranks:
        raise _DamagedError("its progress is beyond its end")
    return progress


def _failure(content: object) -> tuple[str, str]:
    pair = _list(content, "failures")
    if len(pair) != 2:
        raise _DamagedError("'failures' has what is no pair")
    return _string(pair[0], "failures"), _string(pair[1], "failures")


# -- merging -----------------------------------------------------------------------------------------------------


def merge_runs(runs: Sequence[tuple[str, Run]], *, disjoint: bool = False) -> Run:
    """All runs, each with a name for messages, as one: the record of one run over all their images.

    Layers stand in the first run's order, and what there can be only one of (the weights' name, a layer's shape) is
    the first's. One run alone is returned as it is. Raises FmapError for runs that are unlike, and for images that
    would be counted twice: a run that is given again, or another state of an unfinished one. That is not asked where
    the caller knows the images to be `disjoint`.
    """
    whole = runs[0][1]
    if len(runs) == 1:
        return whole
    if not disjoint:
        _check_counted_once(runs)
    # "Alike" is not transitive where a digest or all layers are absent: the first run that has them is held against
    # those that follow, too.
    held = [runs[0]]
    for each in runs[1:]:
        for other in held:
            check_mergeable(other, each)
        news = each[1].origin.digest and not any(run.origin.digest for _, run in held)
        if news or (each[1].layers and not any(run.layers for _, run in held)):
            held.append(each)
    for name, run in runs[1:]:
        whole = _merged(whole, run, name)
    return whole


def notes(name: str, run: Run) -> tuple[str, ...]:
    """What a person should know before relying on this run.

    >>> from fmap_cli.models.records import Weights
    >>> origin = RunOrigin("resnet18", Weights("unknown", "IMAGENET1K_V1"))
    >>> notes("a.fmap", Run(origin, ("photos",), 319, (), progress=Progress(320, 500, "")))
    ('a.fmap is of an unfinished run: 320 of 500 images.',)
    """
    how_far = run.progress
    if how_far is None or how_far.done >= how_far.total:
        return ()
    process = f" of process {how_far.rank + 1} of {how_far.ranks}" if how_far.ranks > 1 else ""
    return (f"{name} is of an unfinished run: {how_far.done} of {how_far.total} images{process}.",)


def check_mergeable(a: tuple[str, Run], b: tuple[str, Run]) -> None:
    """Raise FmapError where the two runs' networks, inputs or layers differ, with both values of the first that does.

    Weights are alike where their digests are; where either is absent, where their names are. A run that has seen
    nothing (no image, no layer) has no layers to compare.
    """
    (first, one), (second, other) = a, b
    _check_origin(first, one.origin, second, other.origin)
    if not all(run.images or run.layers for run in (one, other)):
        return
    ours, theirs = _by_name(one.layers), _by_name(other.layers)
    for has, present, lacks, absent in ((first, ours, second, theirs), (second, theirs, first, ours)):
        missing = next((layer for layer in present if layer not in absent), None)
        if missing is not None:
            raise FmapError(
                f"{first} and {second} are of different layers: {missing[0]} is in {has} "
                f"({_counted(len(present), 'layer')}) and not in {lacks} ({_counted(len(absent), 'layer')}).",
                hint=_ALIKE,
            )
    for key, record in ours.items():
        _check_channels(first, record, second, theirs[key])


def _check_origin(first: str, one: RunOrigin, second: str, other: RunOrigin) -> None:
    both = f"{first} and {second}"
    ours, theirs = str(one.weights), str(other.weights)
    if one.model != other.model:
        raise FmapError(f"{both} are of different models: {one.model} and {other.model}.", hint=_ALIKE)
    if one.digest and other.digest:
        if one.digest != other.digest and ours != theirs:
            raise FmapError(f"{both} are of different weights: {ours} and {theirs}.", hint=_ALIKE)
        if one.digest != other.digest:
            raise FmapError(
                f"{both} are of different weights, though both are named {ours}: "
                f"their digests are {one.digest[:12]} and {other.digest[:12]}.",
                hint=_ALIKE,
            )
    elif ours != theirs:
        raise FmapError(f"{both} are of different weights: {ours} and {theirs}.", hint=_ALIKE)
    if one.dtype != other.dtype:
        raise FmapError(f"{both} are of different dtypes: {one.dtype} and {other.dtype}.", hint=_ALIKE)
    if one.input != other.input:
        raise FmapError(f"{both} took their images differently: {one.input} and {other.input}.", hint=_ALIKE)


def _check_channels(first: str, one: LayerRecord, second: str, other: LayerRecord) -> None:
    ours, theirs = len(one.channels.mean), len(other.channels.mean)
    if ours != theirs:
        raise FmapError(
            f"{one.layer.name} has {_counted(ours, 'channel')} in {first} and {theirs} in {second}.", hint=_ALIKE
        )


def _check_counted_once(runs: Sequence[tuple[str, Run]]) -> None:
    contents: dict[str, str] = {}
    lists: dict[tuple[str, int, int], tuple[str, Progress]] = {}
    for name, run in runs:
        if not run.images:
            continue
        # The moments of other images are other numbers, unless a layer puts out the same whatever it is given.
        if any((record.channels.m2 > 0).any() for record in run.layers):
            content = _content(run)
            if content in contents:
                raise FmapError(
                    f"{contents[content]} and {name} are the same run: its images would count twice.",
                    hint="Give each run once.",
                )
            contents[content] = name
        how_far = run.progress
        if how_far is not None:
            key = (how_far.digest, how_far.rank, how_far.ranks)
            if key in lists:
                other, before = lists[key]
                raise FmapError(
                    f"{other} and {name} are of one run, after {before.done} and {how_far.done} of {how_far.total} "
                    "images: those in both would count twice.",
                    hint="Give the later one alone.",
                )
            lists[key] = (name, how_far)


def _content(run: Run) -> str:
    """A digest of what a run has counted."""
    digest = hashlib.sha256(
        repr((run.origin.identity, run.sources, run.images, run.failures, run.progress)).encode("utf-8")
    )
    for record in run.layers:
        digest.update(repr((record.layer.name, record.images, record.channels.count)).encode("utf-8"))
        for name in FIELDS:
            digest.update(getattr(record.channels, name).tobytes())
    return digest.hexdigest()


def _merged(whole: Run, run: Run, name: str) -> Run:
    classes = {each.name: each for each in whole.classes}
    for each in run.classes:
        before = classes.get(each.name, ClassRun(each.name, 0, ()))
        layers = _merged_layers(before.layers, each.layers, name)
        classes[each.name] = ClassRun(each.name, before.images + each.images, layers)
    return Run(
        origin=_merged_origin(whole.origin, run.origin),
        sources=whole.sources + run.sources,
        images=whole.images + run.images,
        layers=_merged_layers(whole.layers, run.layers, name),
        failures=whole.failures + run.failures,
        classes=tuple(classes.values()),
    )


def _merged_origin(first: RunOrigin, second: RunOrigin) -> RunOrigin:
    """That of both; what only one of them knows, or what differs, is not known of the whole."""
    return replace(
        first,
        digest=first.digest or second.digest,
        device=first.device if first.device == second.device else "",
        versions=first.versions if first.versions == second.versions else None,
    )


def _merged_layers(
    first: tuple[LayerRecord, ...], second: tuple[LayerRecord, ...], name: str
) -> tuple[LayerRecord, ...]:
    """The layers of both; one that only one has (a class in which it did not run) stands after the others."""
    layers = _by_name(first)
    for key, record in _by_name(second).items():
        if key in layers:
            _check_channels("the runs before it", layers[key], name, record)
            layers[key] = _merged_records(layers[key], record)
        else:
            layers[key] = record
    return tuple(layers.values())


def _merged_records(first: LayerRecord, second: LayerRecord) -> LayerRecord:
    channels = merge(first.channels, second.channels)
    if not (first.images and second.images):  # one has seen nothing and knows nothing of shapes
        known = first if first.images else second
        return replace(known, channels=channels)
    return replace(
        first,
        images=first.images + second.images,
        channels=channels,
        same_as=first.same_as if first.same_as == second.same_as else None,
        varies=first.varies or second.varies or first.shape != second.shape,
    )


def _by_name(layers: Iterable[LayerRecord]) -> dict[tuple[str, int], LayerRecord]:
    """Layers by their name, and by which of that name where a file has one twice."""
    seen: dict[str, int] = {}
    named = {}
    for record in layers:
        at = seen[record.layer.name] = seen.get(record.layer.name, -1) + 1
        named[record.layer.name, at] = record
    return named


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
