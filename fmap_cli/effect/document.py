"""The result of `fmap effect` for JSON and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..documents import finite
from ..models.document import assumed_input, document_head, output_axes, written
from ..tables.columns import csv_table, json_row
from .columns import CHANNELS, CSV, ChannelRow, channel_rows, class_name
from .records import Effects, ImageEffects


def effects_document(found: Effects, file: Path | None = None) -> dict[str, Any]:
    """The result of `fmap effect`, the channels by the size of their effect."""
    agreement = found.agreement
    return {
        **document_head(found.origin),
        "layer": found.layer.name,
        "type": found.layer.type_name,
        "asked": found.asked,
        "shape": list(found.shape),
        **output_axes(found.axes),
        "axes_how": found.axes.how,
        "with": found.with_,
        "replaced_by": found.source,
        "fast": found.fast,
        "agreement": None if agreement is None else {"spearman": agreement.spearman, "channels": agreement.channels},
        "calls_left_out": found.left_out,
        "channel_count": found.total,
        "together": finite(found.together),
        "sum_of_singles": finite(found.sum_of_singles),
        "images": [_image(each) for each in found.images],
        "channels": [json_row(CHANNELS, row) for row in channel_rows(found)],
        **written(file),
        "assumed_input": assumed_input(found.origin.takes),
    }


def _image(one: ImageEffects) -> dict[str, Any]:
    target = one.target
    return {
        "image": one.image.name,
        "target": {
            "kind": target.kind,
            "index": target.index,
            "label": target.label,
            "quantity": target.quantity,
            "value": target.value,
            "probability": target.probability,
            "predicted": target.predicted,
            "box": None if target.box is None else list(target.box),
        },
        "together": finite(one.together),
        "together_probability": finite(one.together_probability),
        "together_answer": one.together_answer,
        "together_answer_label": class_name(one, one.together_answer),
        "sum_of_singles": finite(one.sum_of_singles),
        "effects": [finite(float(each)) for each in one.effects],
    }


def effects_csv(found: Effects) -> str:
    """A row a channel and image, in the order of the channels."""
    rows = [ChannelRow(found, at, one) for one in found.images for at in range(len(found.channels))]
    return csv_table(CSV, rows)
