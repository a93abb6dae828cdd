"""The text of a file that holds a run: JSON, written and read back.

Anything may stand in a file, so every value's type is looked at.
"""

from __future__ import annotations

from typing import Any, cast, get_args

from ..models.document import preprocessing_row
from ..models.records import Interpolation, Preprocessing, Weights
from ..network.records import Axes, LayerKind, LayerRef
from .records import Progress, RunOrigin

LARGEST = 2**53
"""Counts stay below: far from where sums of them leave int64, and exact in readers whose numbers are all float64."""


class DamagedError(Exception):
    """What does not fit, as a part of a sentence; `load_run` adds the file's name."""


def origin_row(origin: RunOrigin) -> dict[str, Any]:
    """What is kept of the network that a run is of."""
    return {
        "model": origin.model,
        "weights": str(origin.weights),
        "digest": origin.digest,
        "dtype": origin.dtype,
        "input": origin.input,
        "preprocessing": preprocessing_row(origin.preprocessing),
        "noun": origin.called.noun,
    }


def layer_row(layer: LayerRef) -> dict[str, Any]:
    return {
        "name": layer.name,
        "path": layer.path,
        "call": layer.call,
        "kind": layer.kind,
        "type": layer.type_name,
        "is_module": layer.is_module,
        "parameters": layer.parameters,
    }


def axes_row(axes: Axes) -> dict[str, Any]:
    return {"names": axes.names, "how": axes.how, "grid": axes.grid, "prefix": axes.prefix}


class Fields:
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
        return list_in(self.get(name), name)

    def string(self, name: str) -> str:
        return string_in(self.get(name), name)

    def count(self, name: str) -> int:
        return count_in(self.get(name), name)

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if not isinstance(value, bool):
            raise DamagedError(f"{name!r} is neither true nor false")
        return value


def list_in(value: object, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise DamagedError(f"{name!r} is not a list")
    return value


def string_in(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise DamagedError(f"{name!r} is not text")
    return value


def count_in(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < LARGEST:
        raise DamagedError(f"{name!r} is not a number from 0 to 2^53")
    return value


def layer_in(row: Fields) -> LayerRef:
    kind: Any = row.string("kind")
    return LayerRef(
        name=row.string("name"),
        path=row.string("path"),
        call=row.count("call"),
        kind=kind if kind in get_args(LayerKind) else "other",
        type_name=row.string("type"),
        is_module=row.flag("is_module"),
        parameters=row.count("parameters"),
    )


def axes_in(content: object) -> Axes:
    axes = Fields(content, "axes")
    grid = axes.get("grid")
    if grid is not None and len(list_in(grid, "grid")) != 2:
        raise DamagedError("'grid' is not a pair")
    return Axes(
        names=tuple(string_in(each, "names") for each in axes.list("names")),
        how=axes.string("how"),
        grid=None if grid is None else (count_in(grid[0], "grid"), count_in(grid[1], "grid")),  # type: ignore[index]
        prefix=axes.count("prefix"),
    )


def origin_in(row: Fields) -> RunOrigin:
    return RunOrigin(
        model=row.string("model"),
        weights=Weights("unknown", row.string("weights")),
        digest=row.string("digest"),
        dtype=row.string("dtype"),
        input=row.string("input"),
        preprocessing=_preprocessing(row),
        noun=row.string("noun") if row.has("noun") else "",  # missing in files written before it was kept
    )


def _preprocessing(origin: Fields) -> Preprocessing | None:
    """How the pictures were made what the network saw; None in files written before that was kept."""
    if not origin.has("preprocessing") or origin.get("preprocessing") is None:
        return None
    row = Fields(origin.get("preprocessing"), "preprocessing")
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
    numbers = _numbers(list_in(value, "range"), "range")
    if len(numbers) != 2:
        raise DamagedError("'range' is not a pair of numbers")
    return numbers[0], numbers[1]


def _pair(value: object, name: str) -> tuple[int, int]:
    sides = [count_in(each, name) for each in list_in(value, name)]
    if len(sides) != 2:
        raise DamagedError(f"{name!r} is not a pair of numbers")
    return sides[0], sides[1]


def _numbers(values: list[Any], name: str) -> tuple[float, ...]:
    if not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values):
        raise DamagedError(f"{name!r} is not a list of numbers")
    return tuple(float(each) for each in values)


def progress_in(row: Fields) -> Progress:
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


def failure_in(content: object) -> tuple[str, str]:
    pair = list_in(content, "failures")
    if len(pair) != 2:
        raise DamagedError("'failures' has what is not a pair")
    return string_in(pair[0], "failures"), string_in(pair[1], "failures")
