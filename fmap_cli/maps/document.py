"""The result of `fmap show` for JSON, and files of whole outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..answers.document import detection_row, prediction_row
from ..documents import finite, save_arrays
from ..models.document import assumed_input, document_head
from .records import FeatureMap, Look

if TYPE_CHECKING:
    import torch


def save_looks(path: Path, looks: Sequence[Look]) -> None:
    """Write the looks' whole layer outputs by layer name; with several images, as `IMAGE/LAYER`."""
    arrays: dict[str, torch.Tensor] = {}
    for look in looks:
        for name, tensor in look.arrays.items():
            key = name if len(looks) == 1 else f"{look.image.name}/{name}"
            arrays[key] = tensor
    images = ", ".join(look.image.name for look in looks)
    origin = looks[0].origin
    save_arrays(path, arrays, {"model": origin.model, "weights": str(origin.weights), "image": images})


def layer_row(feature_map: FeatureMap) -> dict[str, Any]:
    """One layer for JSON. These names are the schema's: later versions add names and never change these."""
    stats = feature_map.stats
    return {
        "name": feature_map.layer.name,
        "kind": feature_map.layer.kind,
        "type": feature_map.layer.type_name,
        "call": feature_map.layer.call,
        "shape": list(feature_map.shape),
        "axes": list(feature_map.axes.names),
        "axes_how": feature_map.axes.how,
        "strides": list(feature_map.strides),
        "dtype": feature_map.dtype,
        "count": stats.count,
        "mean": finite(stats.mean),
        "std": finite(stats.std),
        "min": finite(stats.min),
        "max": finite(stats.max),
        "zero_fraction": stats.zero_fraction,
        "nan_count": stats.nan,
        "inf_count": stats.inf,
        "role": feature_map.role or None,
    }


def show_document(looks: Sequence[Look], files: Sequence[Sequence[str | None]], *, several: bool) -> dict[str, Any]:
    """The result of `fmap show`, with the figure's file for each layer; null where there is nothing to draw.

    Where one image was asked for `image`, `layers` and `predictions` stand at the top; where several were, they stand
    in `images`, one entry an image, and `image` is null.
    """
    entries = [
        {
            "image": look.image.name,
            "layers": [{**layer_row(m), "file": file} for m, file in zip(look.maps, names, strict=True)],
            "predictions": [prediction_row(each) for each in look.predictions],
            "detections": [detection_row(each) for each in look.detections],
        }
        for look, names in zip(looks, files, strict=True)
    ]
    found = entries[0] if not several else {"image": None, "images": entries}
    origin = looks[0].origin
    return {**document_head(origin), **found, "assumed_input": assumed_input(origin.takes)}
