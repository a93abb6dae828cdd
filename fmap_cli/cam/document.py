"""The result of `fmap cam` for JSON, CSV and files of arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..documents import finite, save_arrays
from ..models.document import assumed_input, document_head, output_axes, written
from ..tables.columns import csv_table
from .columns import CELLS, cells_of
from .records import Cam, Level, Target, Trust
from .words import balance, headline, verdict


def cam_document(found: Cam, file: Path | None = None, save: Path | None = None) -> dict[str, Any]:
    """The map with what it is of, and its curves."""
    level, area = found.half
    return {
        **document_head(found.origin),
        "image": found.image.name,
        "target": target_row(found.target),
        "method": found.method,
        "positive": found.positive,
        "layer": found.layer.name,
        "why": found.why,
        "levels": [_level_row(each) for each in found.levels],
        "map": found.map.tolist(),
        "evidence_for": finite(found.evidence_for),
        "evidence_against": finite(found.evidence_against),
        "sign": found.sign,
        "half": {"level": finite(level), "area": area},
        "headline": headline(found),
        "balance": balance(found),
        "trust": None if found.trust is None else _trust_row(found.trust),
        "predictions": [
            {"index": each.index, "label": each.label, "probability": each.probability} for each in found.predictions
        ],
        "notes": list(found.notes),
        **written(file, save),
        "assumed_input": assumed_input(found.origin.takes),
    }


def target_row(target: Target) -> dict[str, Any]:
    """Which number of the answer is asked about."""
    return {
        "kind": target.kind,
        "index": target.index,
        "label": target.label,
        "quantity": target.quantity,
        "value": finite(target.value),
        "probability": None if target.probability is None else finite(target.probability),
        "predicted": target.predicted,
        "box": None if target.box is None else list(target.box),
        "number": target.number,
        "pixels": None if target.mask is None else int(target.mask.sum()),
    }


def _level_row(level: Level) -> dict[str, Any]:
    return {
        "layer": level.layer.name,
        "type": level.layer.type_name,
        "shape": list(level.shape),
        **output_axes(level.axes),
        "share": level.share,
        "map": level.map.tolist(),
        "weights": None if level.weights is None else level.weights.tolist(),
    }


def _trust_row(trust: Trust) -> dict[str, Any]:
    return {
        "quantity": trust.quantity,
        "tiles": list(trust.tiles),
        "fractions": trust.fractions.tolist(),
        "insertion": trust.insertion.tolist(),
        "deletion": trust.deletion.tolist(),
        "random": trust.random.tolist(),
        "insertion_area": trust.insertion_area,
        "deletion_area": trust.deletion_area,
        "random_area": trust.random_area,
        "random_areas": list(trust.random_areas),
        "fall": trust.fall,
        "margins": None if trust.verdict == "none" else list(trust.margins),
        "verdict": trust.verdict,
        "words": verdict(trust),
    }


def cells_csv(found: Cam) -> str:
    return csv_table(CELLS, cells_of(found))


def save_cam(path: Path, found: Cam) -> None:
    """Write the map, each layer's own with the channels' weights, and the curves."""
    import torch

    about = {
        "model": found.origin.model,
        "weights": str(found.origin.weights),
        "image": found.image.name,
        "target": found.target.in_words,
        "method": found.method,
    }
    save_arrays(path, {name: torch.from_numpy(each.copy()) for name, each in found.arrays.items()}, about)
