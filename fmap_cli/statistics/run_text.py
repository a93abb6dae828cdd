"""The text of a run file: all that is no number of a channel, as JSON, written and read back.

These names are the format's: later versions add names and never change these. Anything may stand in a file, so every
value's type is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, cast, get_args

from ..models.document import preprocessing_row
from ..models.records import Interpolation, Preprocessing, Weights
from ..network.records import Axes, LayerKind, LayerRef
from .records import LayerRecord, Progress, Run, RunOrigin

LARGEST = 2**53
"""Counts stay below: far from where sums of them leave int64, and exact in readers whose numbers are all float64."""


class DamagedError(Exception):
    """What does not fit, as a part of a sentence; `load_run` adds the file's name."""


@dataclass(frozen=True, slots=True)
class Description:
    """All of a layer's record but its numbers: an entry of the text's `layers`."""

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    dtype: str
    same_as: str | None
    varies: bool
    channels: int
    histograms: int | None

    @staticmethod
    def of(record: LayerRecord) -> Description:
        _, channels, histograms = record.channels.extent
        return Description(
            record.layer,
            record.shape,
            record.axes,
            record.dtype,
            record.same_as,
            record.varies,
            channels,
            histograms,
        )


@dataclass(frozen=True, slots=True)
class RunText:
    """What the text says of a run; `lengths` are how many records the whole run has, and each class."""

    origin: RunOrigin
    sources: tuple[str, ...]
    images: int
    layers: tuple[Description, ...]
    classes: tuple[tuple[str, int], ...]
    lengths: tuple[int, ...]
    failures: tuple[tuple[str, str], ...]
    progress: Progress | None


# -- writing -----------------------------------------------------------------------------------------------------


def encoded(run: Run, layers: Iterable[Description]) -> bytes:
    """The text of a run whose records refer to these layers: ASCII, in which odd bytes of file names are escaped."""
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
        "layers": [_layer_row(each) for each in layers],
        "classes": [{"name": each.name, "images": each.images, "records": len(each.layers)} for each in run.classes],
        "progress": None if run.progress is None else asdict(run.progress),
    }
    return json.dumps(text, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _layer_row(each: Description) -> dict[str, Any]:
    layer, axes = each.layer, each.axes
    return {
        "name": layer.name,
        "path": layer.path,
        "call": layer.call,
        "kind": layer.kind,
        "type": layer.type_name,
        "is_module": layer.is_module,
        "parameters": layer.parameters,
        "shape": each.shape,
        "axes": {"names": axes.names, "how": axes.how, "grid": axes.grid, "prefix": axes.prefix},
        "dtype": each.dtype,
        "same_as": each.same_as,
        "varies": each.varies,
        "channels": each.channels,
        "histograms": each.histograms,
    }


# -- reading -----------------------------------------------------------------------------------------------------


def decoded(content: bytes) -> RunText:
    """What a file's text says. Raises DamagedError for whatever `encoded` does not write."""
    try:
        text = _Fields(json.loads(content), "text")
    except (ValueError, RecursionError):
        raise DamagedError("its text is not JSON") from None
    classes = [_Fields(each, "classes") for each in text.list("classes")]
    return RunText(
        origin=_origin(_Fields(text.get("origin"), "origin")),
        sources=tuple(_string(each, "sources") for each in text.list("sources")),
        images=text.count("images"),
        layers=tuple(_layer(each) for each in text.list("layers")),
        classes=tuple((each.string("name"), each.count("images")) for each in classes),
        lengths=(text.count("records"), *(each.count("records") for each in classes)),
        failures=tuple(_failure(each) for each in text.list("failures")),
        progress=None if text.get("progress") is None else _progress(_Fields(text.get("progress"), "progress")),
    )


class _Fields:
    """A JSON object, read with the types expected."""

    def __init__(self, content: object, where: str) -> None:
        if not isinstance(content, dict):
            raise DamagedError(f"{where!r} is not an object")
        self._content, self._where = content, where

    def get(self, name: str) -> object:
        if name not in self._content:
            raise DamagedError(f"{self._where!r} has no {name!r}")
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
            raise DamagedError(f"{name!r} is neither true nor false")
        return value


def _list(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise DamagedError(f"{name!r} is not a list")
    return value


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise DamagedError(f"{name!r} is not text")
    return value


def _count(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LARGEST:
        raise DamagedError(f"{name!r} is not a number from 0 to 2^53")
    return value


def _layer(content: object) -> Description:
    row = _Fields(content, "layers")
    axes = _Fields(row.get("axes"), "axes")
    grid = axes.get("grid")
    if grid is not None and len(_list(grid, "grid")) != 2:
        raise DamagedError("'grid' is not a pair")
    kind: Any = row.string("kind")
    channels = row.count("channels")
    histograms = None if row.get("histograms") is None else row.count("histograms")
    if histograms not in (None, 1, channels):
        raise DamagedError(f"a layer of {channels} channels has {histograms} histograms")
    return Description(
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
        raise DamagedError(f"{interpolation!r} is not an interpolation")
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
        raise DamagedError("'range' is not a pair of numbers")
    return numbers[0], numbers[1]


def _pair(value: object, name: str) -> tuple[int, int]:
    sides = [_count(each, name) for each in _list(value, name)]
    if len(sides) != 2:
        raise DamagedError(f"{name!r} is not a pair of numbers")
    return sides[0], sides[1]


def _numbers(values: list[Any], name: str) -> tuple[float, ...]:
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values):
        raise DamagedError(f"{name!r} is not a list of numbers")
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
        raise DamagedError("its progress is beyond its end")
    return progress


def _failure(content: object) -> tuple[str, str]:
    pair = _list(content, "failures")
    if len(pair) != 2:
        raise DamagedError("'failures' has what is not a pair")
    return _string(pair[0], "failures"), _string(pair[1], "failures")
