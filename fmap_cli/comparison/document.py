"""The result of `fmap compare` for JSON and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..documents import SCHEMA_VERSION, csv_cell, csv_text, finite
from ..models.document import assumed_input, preprocessing_row
from .records import ComparedLayer, ComparedRecord, Comparison, Difference, Side


def compare_document(comparison: Comparison, file: Path | None = None) -> dict[str, Any]:
    """The result of `fmap compare`. Null is what does not exist, and what is infinite.

    `max_abs`, `relative_l2`, `mean_shift` and `std_shift` always exist: there null is infinite. Of an infinite
    `relative_l2` the layer is over; a shift of means is infinite in a channel without any spread, over or not.
    """
    first = comparison.first
    return {
        "schema_version": SCHEMA_VERSION,
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
            {key: finite(value) if isinstance(value, float) else value for key, value in compared_row(each).items()}
            for each in comparison.layers
        ],
        "only_a": list(comparison.only_a),
        "only_b": list(comparison.only_b),
        "unlike_shapes": [
            {"name": name, "shape_a": list(a), "shape_b": list(b)} for name, a, b in comparison.unlike_shapes
        ],
        "file": str(file) if file is not None else None,
    }


def _side_row(side: Side) -> dict[str, Any]:
    origin, own = side.origin, side.origin.preprocessing
    return {
        "source": side.source,
        "model": origin.model,
        "weights": str(origin.weights),
        "dtype": origin.dtype,
        "device": origin.device or None,
        "memory_format": side.memory_format or None,
        "images": side.images,
        "size": side.size,
        "resize": own.resize if own is not None else None,
        "mean": own.mean if own is not None else None,
        "std": own.std if own is not None else None,
        "assumed_input": assumed_input(origin.takes),
        "preprocessing": preprocessing_row(own),
    }


def compared_row(row: ComparedLayer | ComparedRecord) -> dict[str, Any]:
    """One layer of `fmap compare` for JSON and CSV; of saved runs it has other numbers."""
    layer, found = row.layer, row.difference
    head: dict[str, Any] = {"name": layer.name, "kind": layer.kind, "type": layer.type_name}
    if isinstance(row, ComparedRecord):
        return {
            **head,
            "channels": len(row.records[0].channels.mean),
            "images_a": row.images[0],
            "images_b": row.images[1],
            "mean_shift": row.difference.mean_shift,
            "std_shift": row.difference.std_shift,
            "min_shift": row.difference.min_shift,
            "max_shift": row.difference.max_shift,
            "relative_l2": found.relative_l2,
            "cosine": found.cosine,
            "correlation": found.correlation,
            "moved": row.difference.moved,
            "unlike": found.unlike,
            "channel": found.channel,
            "same_as": row.same_as,
            "over": row.over,
        }
    return {
        **head,
        "shape": list(row.shape),
        "dtype_a": row.dtypes[0],
        "dtype_b": row.dtypes[1],
        "count": row.difference.count,
        "max_abs": row.difference.max_abs,
        "relative_l2": found.relative_l2,
        "cosine": found.cosine,
        "correlation": found.correlation,
        "correlated_channels": row.difference.correlated,
        "unlike": found.unlike,
        "channel": found.channel,
        "same_as": row.same_as,
        "over": row.over,
        "axes": list(row.axes.names) if row.axes is not None else None,
        "axes_how": row.axes.how if row.axes is not None else None,
    }


def compare_csv(comparison: Comparison) -> str:
    """The layers' rows with a heading; what does not exist is empty, what is infinite `inf`."""
    rows = [compared_row(each) for each in comparison.layers]
    head = list(rows[0]) if rows else ["name"]
    return csv_text(head, ([csv_cell(value) for value in row.values()] for row in rows)).decode(
        errors="surrogateescape"
    )
