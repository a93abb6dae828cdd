"""Predictions, detections and the result of `fmap predict` for JSON and CSV."""

from __future__ import annotations

from typing import Any

from ..documents import csv_text, failed_rows
from ..models.document import assumed_input, document_head
from ..tables.columns import csv_table, json_row
from .columns import PREDICTIONS, confusion_columns
from .records import Confusion, Predictions


def predictions_document(found: Predictions) -> dict[str, Any]:
    """The result of `fmap predict`; with one image its name and predictions stand at the top, too."""
    entries = [
        {
            "image": each.image,
            "predictions": [json_row(PREDICTIONS, answer) for answer in each.predictions],
            **({} if each.folder is None else {"class": each.folder}),
        }
        for each in found.images
    ]
    document = document_head(found.origin)
    if not found.several and len(entries) == 1:
        document |= entries[0]
    else:
        document["image"] = None
    if found.by_class is not None:
        document["by_class"] = _confusion(found.by_class)
    failed = failed_rows(found.failures)
    return {
        **document,
        "images": entries,
        "image_count": len(entries),
        "failed": failed,
        "assumed_input": assumed_input(found.origin.takes),
    }


def _confusion(found: Confusion) -> dict[str, Any]:
    """A row a folder, each with how often which class was answered, and the classes that were."""
    return {
        "accuracy": found.accuracy,
        "images": found.images,
        "classes": [{"index": index, "label": label} for index, label in zip(found.columns, found.labels, strict=True)],
        "rows": [
            {
                "class": row.folder,
                "index": row.index,
                "images": row.images,
                "right": row.right,
                "accuracy": row.accuracy,
                "counts": list(row.counts),
            }
            for row in found.rows
        ],
        "unmatched": list(found.unmatched),
    }


def predictions_csv(found: Predictions) -> bytes:
    """The result of `fmap predict` as CSV: a row for each image and rank, or with classes by folder one a folder."""
    if found.by_class is not None:
        return csv_table(confusion_columns(found.by_class), found.by_class.rows).encode(errors="surrogateescape")
    return csv_text(
        ["image", "rank", "index", "label", "probability"],
        (
            (each.image, rank, answer.index, answer.label, answer.probability)
            for each in found.images
            for rank, answer in enumerate(each.predictions, start=1)
        ),
    )
