"""The result of `fmap show` for JSON, and files of whole outputs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..answers.columns import DETECTIONS, PREDICTIONS
from ..documents import failed_rows, finite, save_arrays
from ..errors import FmapError
from ..models.document import document_head, output_axes, written
from ..statistics.columns import numbers
from ..tables.columns import json_row
from .columns import COLUMNS
from .records import FeatureMap, Look

if TYPE_CHECKING:
    import torch


def save_looks(path: Path, looks: Sequence[Look]) -> None:
    """Write the looks' whole layer outputs by layer name; with several images, as `IMAGE/LAYER`.

    The second of two images of one name is `IMAGE (2)`.
    """
    arrays: dict[str, torch.Tensor] = {}
    taken: set[str] = set()
    for look in looks:
        name, number = look.image.name, 1
        while name in taken:
            number += 1
            name = f"{look.image.name} ({number})"
        taken.add(name)
        for layer, tensor in look.arrays.items():
            arrays[layer if len(looks) == 1 else f"{name}/{layer}"] = tensor
    images = ", ".join(look.image.name for look in looks)
    origin = looks[0].origin
    save_arrays(path, arrays, {"model": origin.model, "weights": str(origin.weights), "image": images})


def show_document(
    looks: Sequence[Look],
    files: Sequence[Sequence[str | None]],
    *,
    several: bool,
    saved: Path | None = None,
    failures: Sequence[tuple[str, FmapError]] = (),
) -> dict[str, Any]:
    """The result of `fmap show`, with the figure's file for each layer; null where there is nothing to draw.

    Where one image was asked for, what its entry in `images` holds stands at the top as well; where several were,
    `image` is null. `saved` is the file of whole outputs.
    """
    entries = [_look_entry(look, names) for look, names in zip(looks, files, strict=True)]
    head = document_head(looks[0].origin)
    found = {"image": None} if several else entries[0]
    return {
        **head,
        **found,
        "images": entries,
        "image_count": len(entries),
        "failed": failed_rows(failures),
        **written(*(name for names in files for name in names), saved),
        "assumed_input": head["origin"]["assumed_input"],
    }


def _look_entry(look: Look, files: Sequence[str | None]) -> dict[str, Any]:
    return {
        "image": look.image.name,
        "layers": [
            {**json_row(COLUMNS, each), **output_axes(each.axes), "file": file, **_drawn(each)}
            for each, file in zip(look.maps, files, strict=True)
        ],
        "predictions": [json_row(PREDICTIONS, each) for each in look.predictions],
        "detections": [json_row(DETECTIONS, each) for each in look.detections],
    }


def _drawn(found: FeatureMap) -> dict[str, Any]:
    """The channels whose maps the figure draws, in its order, with their numbers; none of a layer without a map."""
    own = numbers(found.channels)
    drawn = found.drawn.tolist() if found.is_map else []
    if found.effects is not None:
        own = {**own, "effect": found.effects.tolist()}
    return {
        "drawn": [{"channel": at, **{key: finite(values[at]) for key, values in own.items()}} for at in drawn],
        "drawn_order": found.order,
        "effect_unit": found.effect_unit or None,
    }
