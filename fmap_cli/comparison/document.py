"""The result of `fmap compare` for JSON and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..answers.columns import DETECTIONS, PREDICTIONS
from ..documents import finite
from ..models.document import assumed_input, document_head, origin_rows, output_axes, written
from ..network.records import Axes
from ..tables.columns import csv_table, json_row
from .columns import columns_of
from .records import Answer, ComparedLayer, ComparedRecord, Comparison, Difference, Side


def compare_document(comparison: Comparison, file: Path | None = None) -> dict[str, Any]:
    """The result of `fmap compare`; its head is that of A, the reference. Null is what does not exist or is infinite.

    `max_abs`, `relative_l2`, `mean_shift` and `std_shift` always exist: there null is infinite. Of an infinite
    `relative_l2` the layer is over; a shift of means is infinite in a channel without any spread, over or not.
    `of_images` says that A and B are two images; then `shared_channels` are those of one layer, strongest first.
    """
    first, shared = comparison.first, comparison.shared
    return {
        **document_head(comparison.a.origin),
        "a": _side_row(comparison.a),
        "b": _side_row(comparison.b),
        "inputs": {
            "alike": comparison.fed_alike,
            "max_abs": finite(comparison.inputs.max_abs) if isinstance(comparison.inputs, Difference) else None,
            "relative_l2": finite(comparison.inputs.relative_l2) if comparison.inputs is not None else None,
        },
        "threshold": comparison.threshold,
        "parts": comparison.parts,
        "first_over": first.layer.name if first is not None else None,
        "over_count": sum(each.over for each in comparison.layers),
        "layer_count": len(comparison.layers),
        "layers": [
            {**json_row(columns_of(comparison), each), **output_axes(_axes(each))} for each in comparison.layers
        ],
        "only_a": list(comparison.only_a),
        "only_b": list(comparison.only_b),
        "unlike_shapes": [
            {"name": name, "shape_a": list(a), "shape_b": list(b)} for name, a, b in comparison.unlike_shapes
        ],
        "file": str(file) if file is not None else None,
        **written(file),
        "of_images": comparison.of_images,
        "answer": _answer(comparison.answer),
        "shared_channels": None
        if shared is None
        else {
            "name": shared.layer.name,
            "channels": shared.count,
            "both": list(shared.both),
            "only_a": list(shared.only_a),
            "only_b": list(shared.only_b),
        },
    }


def _answer(answer: Answer | None) -> dict[str, Any] | None:
    """Both answers: lists are empty, and numbers null, where the answer is of another kind."""
    if answer is None:
        return None
    found = answer.difference
    a, b = answer.classes
    return {
        "kind": answer.kind,
        "changed": answer.changed,
        "a": [json_row(PREDICTIONS, each) for each in a],
        "b": [json_row(PREDICTIONS, each) for each in b],
        "matched": [
            {"a": json_row(DETECTIONS, one), "b": json_row(DETECTIONS, other)} for one, other in answer.matched
        ],
        "lost": [json_row(DETECTIONS, each) for each in answer.lost],
        "added": [json_row(DETECTIONS, each) for each in answer.added],
        "pixels_changed": answer.pixels,
        "areas": [[{"label": name, "share": share} for name, share in side] for side in answer.areas],
        "moves": [{"from": one, "to": other, "share": share} for one, other, share in answer.moves],
        "numbers": None if answer.numbers is None else [finite(each) for each in answer.numbers],
        "cosine": None if found is None else found.cosine,
        "relative_l2": None if found is None else finite(found.relative_l2),
        "max_abs": None if found is None else finite(found.max_abs),
        "endpoint_px": None if answer.endpoint_px is None else finite(answer.endpoint_px),
    }


def _axes(row: ComparedLayer | ComparedRecord) -> Axes | None:
    return row.axes if isinstance(row, ComparedLayer) else row.records[0].axes


def _side_row(side: Side) -> dict[str, Any]:
    origin, own = side.origin, side.origin.preprocessing
    return {
        "source": side.source,
        **origin_rows(origin),
        "dtype": origin.dtype,
        "device": origin.device or None,
        "memory_format": side.memory_format or None,
        "images": side.images,
        "image_count": side.images,
        "size": side.size,
        "resize": own.resize if own is not None else None,
        "mean": own.mean if own is not None else None,
        "std": own.std if own is not None else None,
        "assumed_input": assumed_input(origin.takes),
    }


def compare_csv(comparison: Comparison) -> str:
    """The layers' rows with a heading; what does not exist is empty, what is infinite `inf`."""
    return csv_table(columns_of(comparison), comparison.layers)
