"""The result of `fmap report` for JSON: what is on the page. Its values are in the page itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..answers.columns import DETECTIONS, PREDICTIONS
from ..documents import failed_rows
from ..models.document import document_head, written
from ..statistics.document import finding_row
from ..tables.columns import json_row
from . import redaction
from .columns import LAYERS
from .records import Pass, Report


def report_document(report: Report, file: Path | None = None) -> dict[str, Any]:
    """Where the page comes from, its layers, and for each image the answer and what is remarkable."""
    report = redaction.redacted(report) if report.redact else report
    head = document_head(report.origin)
    return {
        **head,
        "compared": report.compared or None,
        "bytes": len(report.html()),
        "image_count": len(report.passes),
        "images": [_image(report, each) for each in report.passes],
        "failed": failed_rows(report.failures),
        **written(file),
        "assumed_input": head["origin"]["assumed_input"],
    }


def _image(report: Report, one: Pass) -> dict[str, Any]:
    return {
        "image": one.name,
        "layers": [json_row(LAYERS, (report, each)) for each in one.layers],
        "predictions": [json_row(PREDICTIONS, each) for each in one.predictions],
        "detections": [json_row(DETECTIONS, each) for each in one.detections],
        "findings": [finding_row(each) for each in one.findings],
    }
