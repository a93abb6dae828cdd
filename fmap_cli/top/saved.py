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
from .exact import LIMBS
from .excitations import GRID, WEAKEST, Classes, Excitations, Picks, Sample
from .records import Dossiers, LayerDossiers, Patch, PatchKey, patch_key

if TYPE_CHECKING:
    from pathlib import Path

KIND = FileKind("fmap-top", 1, "saved dossiers", "fmap top --save")


def save_dossiers(path: Path, found: Dossiers) -> None:
    """Write dossiers that `load_dossiers` reads back exactly. What was there before stays where that fails."""
    from safetensors.numpy import save

    tensors = {"text": np.frombuffer(_text(found), np.uint8)}
    for at, layer in enumerate(found.layers):
        arrays = {"channels": layer.channels, **_arrays(layer.found)}
        tensors.update({f"{at}.{name}": np.ascontiguousarray(each) for name, each in arrays.items()})
    tensors.update(_patches(found))
    content = in_one_order(save(tensors, metadata=KIND.metadata))
    write_file(path, lambda file: file.write(content))


def load_dossiers(path: Path) -> Dossiers:
    """The dossiers that `save_dossiers` wrote. Raises FmapError for whatever else stands at `path`."""
    return read_safely(path, KIND, _read)


# -- writing -----------------------------------------------------------------------------------------------------


def _text(found: Dossiers) -> bytes:
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
            }
            for each in found.layers
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


def _patches(found: Dossiers) -> dict[str, np.ndarray]:
    """Each patch and each picture once, however many units have them: the pixels end to end, and who has which."""
    layers = {each.layer.name: at for at, each in enumerate(found.layers)}
    patches: dict[int, tuple[int, Patch]] = {}
    pictures: dict[int, tuple[int, np.ndarray]] = {}
    units = []
    for key, patch in found.patches.items():
        at, _ = patches.setdefault(id(patch), (len(patches), patch))
        pictures.setdefault(id(patch.pixels), (len(pictures), patch.pixels))
        units.append([layers[key[0]], *key[1:], at])
    boxes = [
        [*each.rows, *each.columns, *each.size, pictures[id(each.pixels)][0], int(each.whole)]
        for _, each in patches.values()
    ]
    pixels = [each for _, each in pictures.values()]
    return {
        "patch.units": np.array(units, np.int64).reshape(-1, 7),
        "patch.boxes": np.array(boxes, np.int64).reshape(-1, 8),
        "patch.shapes": np.array([each.shape[:2] for each in pixels], np.int64).reshape(-1, 2),
        "patch.pixels": np.concatenate([each.reshape(-1) for each in pixels]) if pixels else np.zeros(0, np.uint8),
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
    layers = []
    for at, each in enumerate(text.list("layers")):
        layers.append(_layer(file, f"{at}.", Fields(each, "layers"), strongest))
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


def _layer(file: Any, prefix: str, row: Fields, strongest: int) -> LayerDossiers:
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
    cells = [count_in(each, "cells") for each in row.list("cells")]
    if len(cells) != 2:
        raise DamagedError("'cells' is not a pair")
    found = Excitations(
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
    shape = tuple(count_in(each, "shape") for each in row.list("shape"))
    return LayerDossiers(layer_in(row), shape, axes_in(row.get("axes")), channels, found, (cells[0], cells[1]))


def _numbers(values: np.ndarray, name: str) -> np.ndarray:
    if np.isnan(values).any():
        raise DamagedError(f"{name!r} has what is no number")
    return values


def _read_patches(file: Any, layers: list[LayerDossiers]) -> dict[PatchKey, Patch]:
    units = array_in(file, "patch.units", ("I64",), (None, 7))
    pictures = _pictures(file)
    boxes = array_in(file, "patch.boxes", ("I64",), (None, 8))
    if boxes.size and (
        np.abs(boxes).max() > 2**40
        or boxes[:, 4:6].min() < 1
        or (boxes[:, [1, 3]] < boxes[:, [0, 2]]).any()
        or boxes[:, 6].min() < 0
        or boxes[:, 6].max() >= len(pictures)
    ):
        raise DamagedError("'patch.boxes' has what is no box")
    different = [
        Patch((top, bottom), (left, right), (height, width), pictures[at], bool(whole))
        for top, bottom, left, right, height, width, at, whole in boxes.tolist()
    ]
    found: dict[PatchKey, Patch] = {}
    for layer, *key, patch in units.tolist():
        if not (0 <= layer < len(layers) and 0 <= patch < len(different)):
            raise DamagedError("'patch.units' names what is not there")
        found[patch_key(layers[layer].layer.name, key[0], key[1], key[2:])] = different[patch]
    return found


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
