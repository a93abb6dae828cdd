"""Predictions, detections and the result of `fmap predict` for JSON and CSV."""

from __future__ import annotations

from typing import Any

from ..documents import csv_text, failed_rows
from ..models.document import assumed_input, document_head
from ..tables.columns import json_row
from .columns import PREDICTIONS
from .records import Predictions


def predictions_document(found: Predictions) -> dict[str, Any]:
    """The result of `fmap predict`; with one image its name and predictions stand at the top, too."""
    entries = [
        {"image": each.image, "predictions": [json_row(PREDICTIONS, answer) for answer in each.predictions]}
        for each in found.images
    ]
    document = document_head(found.origin)
    if not found.several and len(entries) == 1:
        document |= entries[0]
    else:
        document["image"] = None
    failed = failed_rows(found.failures)
    return {
        **document,
        "images": entries,
        "image_count": len(entries),
        "failed": failed,
        "assumed_input": assumed_input(found.origin.takes),
    }


def predictions_csv(found: Predictions) -> bytes:
    """The result of `fmap predict` as CSV: a row for each image and rank."""
    return csv_text(
        ["image", "rank", "index", "label", "probability"],
        (
            (each.image, rank, answer.index, answer.label, answer.probability)
            for each in found.images
            for rank, answer in enumerate(each.predictions, start=1)
        ),
    )
