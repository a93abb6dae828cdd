"""Dossiers as files. `docs/top.md` describes the format: a safetensors file, as that of `fmap stats --save`.

Its metadata says what it is and of which version; one tensor holds all that is text as JSON, the others numbers and
patches. Nothing in it is ever run.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..documents import in_one_order
from ..files import write_file
from ..running.safe import FileKind, array_in, read_safely
from ..running.text import (
    DamagedError,
    Fields,
    axes_in,
    axes_row,
    count_in,
    failure_in,
    layer_in,
    layer_row,
    list_in,
    origin_in,
    origin_row,
    progress_in,
    string_in,
)
from .cutting import AS_IT_IS, BOX, CUT, Patches, in_order
from .exact import LIMBS
from .excitations import GRID, WEAKEST, Classes, Excitations, Picks, Sample
from .records import Dossiers, LayerDossiers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_LARGEST_CUT = 2**26
"""Of so many pixels a part of a picture is cut at most."""
KIND = FileKind("fmap-top", 2, "saved dossiers", "fmap top --save")


def save_dossiers(path: Path, found: Dossiers) -> None:
    """Write dossiers that `load_dossiers` reads back exactly. What was there before stays where that fails."""
    from safetensors.numpy import save

    tensors = {"text": np.frombuffer(_text(found), np.uint8)}
    numbers = _numbers_of(found.layers)
    for at, layer in enumerate(found.layers):
        if numbers[layer.layer.name] == at:
            arrays = {"channels": layer.channels, **_arrays(layer.found)}
            tensors.update({f"{at}.{name}": np.ascontiguousarray(each) for name, each in arrays.items()})
    tensors.update(_patches(found, numbers))
    content = in_one_order(save(tensors, metadata=KIND.metadata))
    write_file(path, lambda file: file.write(content))


def load_dossiers(path: Path) -> Dossiers:
    """The dossiers that `save_dossiers` wrote. Raises FmapError for whatever else stands at `path`."""
    return read_safely(path, KIND, _read)


# -- writing -----------------------------------------------------------------------------------------------------


def _numbers_of(layers: Sequence[LayerDossiers]) -> dict[str, int]:
    """By the layers' names, at which place in the list their arrays are: layers of one tensor have the same."""
    first: dict[int, int] = {}
    return {each.layer.name: first.setdefault(id(each.found), at) for at, each in enumerate(layers)}


def _text(found: Dossiers) -> bytes:
    numbers = _numbers_of(found.layers)
    text = {
        "origin": origin_row(found.origin),
        "sources": found.sources,
        "images": found.images,
        "entries": found.entries,
        "strongest": found.strongest,
        "per_image": found.per_image,
        "by_class": found.by_class,
        "failures": found.failures,
        "names": [[number, name] for number, name in found.names.items()],
        "progress": None if found.progress is None else asdict(found.progress),
        "layers": [
            {
                **layer_row(each.layer),
                "shape": each.shape,
                "axes": axes_row(each.axes),
                "cells": each.cells,
                "channels": len(each.channels),
                "images": each.found.images,
                "classes": each.found.classes.names,
                "same_as": None if numbers[each.layer.name] == at else numbers[each.layer.name],
            }
            for at, each in enumerate(found.layers)
        ],
    }
    return json.dumps(text, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _arrays(found: Excitations) -> dict[str, np.ndarray]:
    arrays = {"fired": found.fired, "without": found.without}
    for name in ("strongest", "weakest"):
        picks: Picks = getattr(found, name)
        arrays |= {f"{name}.value": picks.value, f"{name}.image": picks.image, f"{name}.place": picks.place}
    arrays["strongest.map"] = found.strongest.map
    for name in ("spread", "pictured"):
        sample: Sample = getattr(found, name)
        arrays |= {f"{name}.priority": sample.priority, f"{name}.image": sample.image, f"{name}.value": sample.value}
    return arrays | {
        "pictured.place": found.pictured.place,
        "classes.counts": found.classes.counts,
        "classes.limbs": found.classes.limbs,
    }


def _patches(found: Dossiers, layers: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Those of the layers and channels that are there; the pixels end to end."""
    channels = {each.layer.name: each.channels.tolist() for each in found.layers}
    kept = found.patches.only(channels).numbered(layers)
    return {
        "patch.units": kept.units,
        "patch.boxes": kept.boxes,
        "patch.shapes": np.array([each.shape[:2] for each in kept.pixels], np.int64).reshape(-1, 2),
        "patch.pixels": np.concatenate([each.reshape(-1) for each in kept.pixels] or [np.zeros(0, np.uint8)]),
    }


# -- reading -----------------------------------------------------------------------------------------------------


def _read(file: Any) -> Dossiers:
    try:
        text = Fields(json.loads(array_in(file, "text", ("U8",), (None,)).tobytes()), "text")
    except (ValueError, RecursionError):
        raise DamagedError("its text is not JSON") from None
    strongest = text.count("strongest")
    names = {}
    for each in text.list("names"):
        pair = list_in(each, "names")
        if len(pair) != 2:
            raise DamagedError("'names' has what is not a pair")
        names[count_in(pair[0], "names")] = string_in(pair[1], "names")
    layers: list[LayerDossiers] = []
    for at, each in enumerate(text.list("layers")):
        layers.append(_layer(file, at, Fields(each, "layers"), strongest, layers))
    progress = text.get("progress")
    found = Dossiers(
        origin=origin_in(Fields(text.get("origin"), "origin")),
        sources=tuple(string_in(each, "sources") for each in text.list("sources")),
        images=text.count("images"),
        entries=text.count("entries"),
        layers=tuple(layers),
        strongest=strongest,
        per_image=text.count("per_image"),
        by_class=text.flag("by_class"),
        failures=tuple(failure_in(each) for each in text.list("failures")),
        names=names,
        patches=_read_patches(file, layers),
        progress=None if progress is None else progress_in(Fields(progress, "progress")),
    )
    missing = {number for each in layers for number in each.found.named()} - {*names}
    if missing:
        raise DamagedError(f"image {min(missing)} has no name")
    return found


def _layer(file: Any, at: int, row: Fields, strongest: int, before: Sequence[LayerDossiers]) -> LayerDossiers:
    shape = tuple(count_in(each, "shape") for each in row.list("shape"))
    cells = [count_in(each, "cells") for each in row.list("cells")]
    if len(cells) != 2:
        raise DamagedError("'cells' is not a pair")
    if row.has("same_as") and row.get("same_as") is not None:
        if row.count("same_as") >= at:
            raise DamagedError("'same_as' names no layer before")
        one = before[row.count("same_as")]
        channels, found = one.channels, one.found
    else:
        channels, found = _record(file, f"{at}.", row, strongest)
    return LayerDossiers(layer_in(row), shape, axes_in(row.get("axes")), channels, found, (cells[0], cells[1]))


def _record(file: Any, prefix: str, row: Fields, strongest: int) -> tuple[np.ndarray, Excitations]:
    count, classes = row.count("channels"), row.list("classes")

    def array(name: str, kind: str, *shape: int | None) -> np.ndarray:
        return array_in(file, prefix + name, (kind,), shape)

    def picks(name: str, size: int, grid: int) -> Picks:
        kept = array(f"{name}.map", "U8", count, size, grid, grid) if grid else np.zeros((count, size, 0, 0), np.uint8)
        return Picks(
            _numbers(array(f"{name}.value", "F32", count, size), f"{name}.value"),
            array(f"{name}.image", "I64", count, size),
            array(f"{name}.place", "I32", count, size, 3),
            kept,
        )

    def sample(name: str, *, places: bool) -> Sample:
        priority = array(f"{name}.priority", "I64", None)
        size = len(priority)
        place = array(f"{name}.place", "I32", size, count, 3) if places else np.zeros((size, 0, 3), np.int32)
        return Sample(priority, array(f"{name}.image", "I64", size), array(f"{name}.value", "F32", size, count), place)

    channels = array("channels", "I64", count)
    if count and ((np.diff(channels) <= 0).any() or channels[0] < 0):
        raise DamagedError("'channels' are not in order")
    return channels, Excitations(
        images=row.count("images"),
        fired=array("fired", "I64", count),
        without=array("without", "I64", count),
        strongest=picks("strongest", strongest, GRID),
        weakest=picks("weakest", WEAKEST, 0),
        spread=sample("spread", places=False),
        pictured=sample("pictured", places=True),
        classes=Classes(
            tuple(string_in(each, "classes") for each in classes),
            array("classes.counts", "I64", len(classes), count),
            array("classes.limbs", "I64", len(classes), count, LIMBS),
        ),
    )


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    if np.isnan(values).any():
        raise DamagedError(f"{name!r} has what is no number")
    return values


def _read_patches(file: Any, layers: Sequence[LayerDossiers]) -> Patches:
    units = array_in(file, "patch.units", ("I32", "I64"), (None, 7))
    pixels = _pictures(file)
    boxes = array_in(file, "patch.boxes", ("I64",), (None, None))
    if boxes.shape[1] not in (BOX, BOX - 2):  # the first version did not know how large maps are
        raise DamagedError(f"'patch.boxes' has {boxes.shape[1]} columns, expected {BOX}")
    boxes = np.pad(boxes, ((0, 0), (0, BOX - boxes.shape[1])))
    if boxes.size:
        high, wide = (boxes[:, at + 1] - boxes[:, at] + 1 for at in (0, 2))
        if (
            np.abs(boxes).max() > 2**40
            or min(high.min(), wide.min(), boxes[:, 4:6].min()) < 1
            or not 0 <= boxes[:, 6].min() <= boxes[:, 6].max() < len(pixels)
            or not 0 <= boxes[:, 8:].min() <= boxes[:, 8:].max() < 2**31
            or not AS_IT_IS <= boxes[:, 7].min() <= boxes[:, 7].max() <= CUT
        ):
            raise DamagedError("'patch.boxes' has what is no box")
        cut = boxes[:, 7] == CUT
        if cut.any() and (high * wide)[cut].max() > _LARGEST_CUT:
            raise DamagedError("'patch.boxes' has a box that is too large to be cut")
    if units.size and (
        not 0 <= units.min() <= units.max() < 2**31
        or units[:, 0].max() >= len(layers)
        or units[:, 6].max() >= len(boxes)
    ):
        raise DamagedError("'patch.units' names what is not there")
    return Patches(_numbers_of(layers), in_order(units.astype(np.int32)), boxes, pixels)


def _pictures(file: Any) -> list[np.ndarray]:
    shapes = array_in(file, "patch.shapes", ("I64",), (None, 2))
    pixels = array_in(file, "patch.pixels", ("U8",), (None,))
    if shapes.size and not 1 <= shapes.min() <= shapes.max() <= 4096:
        raise DamagedError("'patch.shapes' has what is no picture's shape")
    ends = np.cumsum(shapes.prod(axis=1) * 3)
    if (int(ends[-1]) if len(ends) else 0) != len(pixels):
        raise DamagedError("'patch.pixels' has another length than its shapes say")
    return [
        pixels[end - high * wide * 3 : end].reshape(high, wide, 3)
        for (high, wide), end in zip(shapes.tolist(), ends.tolist(), strict=True)
    ]
