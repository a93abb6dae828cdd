"""Predictions, detections and the result of `fmap predict` for JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..documents import csv_text, failed_rows
from ..errors import FmapError
from ..models.document import assumed_input, document_head
from ..models.records import LoadedModel
from .records import Answers, Detection, Prediction


def answers_document(
    model: LoadedModel, answers: Sequence[Answers], failures: Sequence[tuple[str, FmapError]], several: bool
) -> dict[str, Any]:
    """The result of `fmap predict`; with one image its name and predictions stand at the top, too."""
    entries = [
        {"image": each.image, "predictions": [prediction_row(answer) for answer in each.predictions]}
        for each in answers
    ]
    document = document_head(model)
    if not several and len(entries) == 1:
        document |= entries[0]
    else:
        document["image"] = None
    failed = failed_rows(failures)
    return {**document, "images": entries, "failed": failed, "assumed_input": assumed_input(model.takes)}


def answers_csv(answers: Sequence[Answers]) -> bytes:
    """The same as CSV: a row for each image and rank."""
    return csv_text(
        ["image", "rank", "index", "label", "probability"],
        (
            (each.image, rank, answer.index, answer.label, answer.probability)
            for each in answers
            for rank, answer in enumerate(each.predictions, start=1)
        ),
    )


def prediction_row(prediction: Prediction) -> dict[str, Any]:
    return {"index": prediction.index, "label": prediction.label, "probability": prediction.probability}


def detection_row(detection: Detection) -> dict[str, Any]:
    """One object; `box` is top, left, bottom, right in pixels of the picture shown."""
    return {
        "index": detection.index,
        "label": detection.label,
        "score": detection.score,
        "box": list(detection.box),
    }
