"""Reduced layers for JSON and CSV, and files of their arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..documents import failed_rows, finite, save_arrays
from ..models.document import document_head, output_axes, written
from ..tables.columns import csv_table, json_row
from .columns import CLUSTERS, COMPONENTS, MAPS, cluster_rows, component_rows
from .records import Basis, Reduced
from .table import map_rows

if TYPE_CHECKING:
    import torch


def reduced_document(reduced: Reduced, file: str | None, saved: Path | None) -> dict[str, Any]:
    """The result of `fmap show --reduce` and `--similar`."""
    head = document_head(reduced.origin)
    rows = iter(map_rows(reduced))
    images = []
    for image, maps in zip(reduced.images, reduced.maps, strict=True):
        layers = [
            {
                **{key: value for key, value in json_row(MAPS, next(rows)).items() if key != "image"},
                **output_axes(found.axes),
                "notes": list(found.notes),
            }
            for found in maps
        ]
        images.append({"image": image.name, "layers": layers})
    asked = reduced.asked
    return {
        **head,
        "reduce": None if asked.similar is not None else asked.reduce,
        "similar": None if asked.similar is None else list(asked.similar),
        "images": images,
        "image_count": len(images),
        "bases": [_basis(each) for each in reduced.bases],
        "notes": list(reduced.notes),
        "failed": failed_rows(reduced.failures),
        **written(file, saved),
        "assumed_input": head["origin"]["assumed_input"],
    }


def _basis(basis: Basis) -> dict[str, Any]:
    parts, own, front = basis.components, basis.clusters, basis.foreground
    return {
        "layers": list(basis.layers),
        "channel_count": basis.channel_count,
        "unit_count": basis.units,
        "left_out": basis.not_finite,
        "variance": None if parts is None else finite(parts.variance),
        "components": [json_row(COMPONENTS, each) for each in component_rows(basis)],
        "inertia": None if own is None else finite(own.inertia),
        "clusters": [json_row(CLUSTERS, each) for each in cluster_rows(basis)],
        "foreground": None
        if front is None
        else {
            "threshold": front.threshold,
            "above": front.above,
            "share": front.share,
            "border_share": front.border_share,
        },
    }


def reduced_csv(reduced: Reduced) -> str:
    """A row for each image and layer."""
    columns = [each for each in MAPS if each.key != "most_similar"]
    return csv_table(columns, map_rows(reduced))


def save_reduced(path: Path, reduced: Reduced) -> None:
    """Write each map `[K, T, H, W]` by its layer's name, with several images as `IMAGE/LAYER`
    (`IMAGE (2)/LAYER` where two have one name); and each basis.

    A basis is `basis_A/mean` `[C]` and `basis_A/components` `[K, C]`, or `basis_A/centres` `[k, C]`.
    """
    import torch

    from .colours import basis_name

    arrays: dict[str, torch.Tensor] = {}
    seen: list[str] = []
    for image, maps in zip(reduced.images, reduced.maps, strict=True):
        start = f"{image.name}"
        seen.append(start)
        if seen.count(start) > 1:  # arrays, and an image that is given twice, have one name
            start = f"{start} ({seen.count(start)})"
        for each in maps:
            name = each.layer.name if len(reduced.images) == 1 else f"{start}/{each.layer.name}"
            arrays[name] = torch.from_numpy(each.values)
    for number, basis in enumerate(reduced.bases):
        start = f"basis_{basis_name(number)}"
        if basis.components is not None:
            arrays[f"{start}/mean"] = torch.from_numpy(basis.components.mean)
            arrays[f"{start}/components"] = torch.from_numpy(basis.components.directions)
        if basis.clusters is not None:
            arrays[f"{start}/centres"] = torch.from_numpy(basis.clusters.centres)
    origin = reduced.origin
    about = {"model": origin.model, "weights": str(origin.weights), "reduced": reduced.method}
    bases = "; ".join(f"{basis_name(at)}: {', '.join(each.layers)}" for at, each in enumerate(reduced.bases))
    images = ", ".join(each.name for each in reduced.images)
    save_arrays(path, arrays, {**about, "image": images, "bases": bases})
