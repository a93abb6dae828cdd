"""The head that every document begins with, and the list of models, for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..documents import SCHEMA_VERSION
from ..network.records import Axes
from ..tables.columns import json_row
from .columns import COLUMNS
from .records import ModelEntry, NetworkInput, Origin, Preprocessing


def preprocessing_row(own: Preprocessing | None) -> dict[str, Any] | None:
    """How a picture becomes what the network sees, and where that comes from; null where it is not known.

    `resize` is the shorter side or height and width, `crop` height and width; null where there is no such step.
    `range` are the numbers in the file that become 0 and 1, where `--range` says them; else null.
    """
    if own is None:
        return None
    return {
        "resize": own.resize,
        "crop": own.crop,
        "interpolation": own.interpolation,
        "antialias": own.antialias,
        "multiple_of": own.multiple_of,
        "channels": own.channels,
        "mean": list(own.mean),
        "std": list(own.std),
        "source": own.source or None,
        "range": own.value_range,
    }


def document_head(origin: Origin) -> dict[str, Any]:
    """What every document begins with: its schema, and where the result comes from."""
    return {"schema_version": SCHEMA_VERSION, **origin_rows(origin)}


def origin_rows(origin: Origin) -> dict[str, Any]:
    """Where a result comes from: `origin` has all of it, under the same names in every document."""
    own = preprocessing_row(origin.preprocessing)
    weights, versions = origin.weights, origin.versions
    return {
        "model": origin.model,
        "weights": str(weights),
        "preprocessing": own,
        "origin": {
            "model": origin.model,
            "weights": {
                "kind": weights.kind,
                "name": weights.name or None,
                "seed": weights.seed,
                "label": str(weights),
            },
            "preprocessing": own,
            "device": origin.device or None,
            "dtype": origin.dtype,
            "versions": None
            if versions is None
            else {"fmap": versions.fmap, "torch": versions.torch, "torchvision": versions.torchvision},
            "assumed_input": assumed_input(origin.takes),
        },
    }


def output_axes(axes: Axes | None) -> dict[str, Any]:
    """What each axis of an output is, by its letter, and how that is known; null where it is not."""
    names, how = (None, None) if axes is None else (list(axes.names), axes.how)
    return {"output_axes": names, "axes_how": how}


def written(*files: object) -> dict[str, list[str]]:
    """The files that a command wrote, in their order."""
    return {"files": [str(file) for file in files if file is not None]}


def assumed_input(takes: NetworkInput | None) -> dict[str, Any] | None:
    """What a network is given that does not say what it takes: a shape for each input, the batch first; and why."""
    return None if takes is None else {"shapes": [[1, *shape] for shape in takes.shapes], "how": takes.how}


def models_document(entries: Sequence[ModelEntry]) -> dict[str, Any]:
    """The result of `fmap models`."""
    return {
        "schema_version": SCHEMA_VERSION,
        "models": [json_row(COLUMNS, each) for each in entries],
    }
