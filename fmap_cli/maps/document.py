"""The result of `fmap show` for JSON, and files of whole outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..answers.columns import DETECTIONS, PREDICTIONS
from ..documents import save_arrays
from ..models.document import assumed_input, document_head
from ..tables.columns import json_row
from .columns import COLUMNS
from .records import Look

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


def show_document(looks: Sequence[Look], files: Sequence[Sequence[str | None]], *, several: bool) -> dict[str, Any]:
    """The result of `fmap show`, with the figure's file for each layer; null where there is nothing to draw.

    Where one image was asked for `image`, `layers` and `predictions` stand at the top; where several were, they stand
    in `images`, one entry an image, and `image` is null.
    """
    entries = [
        {
            "image": look.image.name,
            "layers": [{**json_row(COLUMNS, m), "file": file} for m, file in zip(look.maps, names, strict=True)],
            "predictions": [json_row(PREDICTIONS, each) for each in look.predictions],
            "detections": [json_row(DETECTIONS, each) for each in look.detections],
        }
        for look, names in zip(looks, files, strict=True)
    ]
    found = entries[0] if not several else {"image": None, "images": entries}
    origin = looks[0].origin
    return {**document_head(origin), **found, "assumed_input": assumed_input(origin.takes)}
