"""The result of `fmap memory` for JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from ..documents import SCHEMA_VERSION, csv_cell, csv_text
from ..models.document import assumed_input
from .records import Forecast, LayerMemory


def memory_document(forecast: Forecast, file: Path | None = None) -> dict[str, Any]:
    """The result of `fmap memory`; everything is in bytes, null is what is not known.

    `kept_bytes` of all layers add up to the bill's, `at_peak_bytes` of all kinds to `tensor_bytes`.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "model": forecast.origin.model,
        "weights": str(forecast.origin.weights),
        "batch": forecast.batch,
        "inputs": [list(each) for each in forecast.inputs],
        "dtype": forecast.dtype,
        "optimizer": forecast.optimizer,
        "loss": forecast.loss,
        "parameters": forecast.parameters,
        "frozen_parameters": forecast.frozen,
        "checkpointed": list(forecast.checkpointed),
        "runs": [
            {
                "mode": bill.mode,
                "upper_bound": bill.upper_bound,
                "allocated_bytes": bill.allocated,
                "reserved_bytes": bill.reserved,
                "tensor_bytes": bill.tensors,
                "rounding_bytes": bill.rounding,
                "kept_bytes": bill.kept,
                "cudnn_workspace_bytes": None,
                "cuda_context_bytes": None,
                "peak_layer": bill.peak_layer or None,
                "peak_phase": bill.peak_phase,
                "kinds": [
                    {"kind": each.kind, "most_bytes": each.most, "at_peak_bytes": each.at_peak} for each in bill.shares
                ],
                "layers": [memory_row(each) for each in bill.layers],
            }
            for bill in forecast.bills
        ],
        "budget_bytes": forecast.budget,
        "fits": None if forecast.budget is None else forecast.fits,
        "largest_batches": [
            {
                "mode": each.mode,
                "bound": each.bound,
                "batch": each.batch,
                "bytes": each.bytes,
                "next_bytes": each.next_bytes,
            }
            for each in forecast.largest
        ],
        "what_ifs": [
            {
                "name": each.name,
                "detail": each.detail,
                "allocated_bytes": each.allocated,
                "reserved_bytes": each.reserved,
                "reason": each.reason or None,
            }
            for each in forecast.what_ifs
        ],
        "measured": [
            {
                "mode": each.mode,
                "device": each.device,
                "how": each.how,
                "estimated_bytes": each.estimated,
                "measured_bytes": each.measured,
                "estimated_reserved_bytes": each.estimated_reserved,
                "measured_reserved_bytes": each.measured_reserved,
            }
            for each in forecast.measured
        ],
        "notes": list(forecast.notes),
        "file": str(file) if file is not None else None,
        "assumed_input": assumed_input(forecast.origin.takes),
    }


def memory_row(row: LayerMemory) -> dict[str, Any]:
    """One layer of `fmap memory` for JSON and CSV."""
    layer = row.layer
    return {
        "name": layer.name,
        "kind": layer.kind,
        "type": layer.type_name,
        "shape": list(row.shape),
        "dtype": row.dtype,
        "element_bytes": row.element_bytes,
        "output_bytes": row.output_bytes,
        "kept_bytes": row.kept_bytes,
        "at_peak_bytes": row.peak_bytes,
    }


def memory_csv(forecast: Forecast) -> str:
    """A row a layer and mode, with a heading."""
    rows = [{"mode": bill.mode, **memory_row(each)} for bill in forecast.bills for each in bill.layers]
    head = list(rows[0]) if rows else ["mode", "name"]
    return csv_text(head, ([csv_cell(value) for value in row.values()] for row in rows)).decode(
        errors="surrogateescape"
    )


def shape_document(shape: Sequence[int], dtype: str, element_bytes: int) -> dict[str, Any]:
    """The result of `fmap memory --shape`."""
    values = prod(shape)
    return {
        "schema_version": SCHEMA_VERSION,
        "shape": list(shape),
        "dtype": dtype,
        "values": values,
        "element_bytes": element_bytes,
        "bytes": values * element_bytes,
    }
