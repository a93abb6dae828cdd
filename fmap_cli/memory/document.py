"""The result of `fmap memory` for JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from ..documents import SCHEMA_VERSION
from ..models.document import assumed_input, document_head, written
from ..tables.columns import Column, csv_table, json_row, of_part
from .columns import largest, layers, what_ifs
from .records import Forecast, LayerMemory, MemoryBill


def memory_document(forecast: Forecast, file: Path | None = None) -> dict[str, Any]:
    """The result of `fmap memory`; everything is in bytes, null is what is not known.

    `kept_bytes` of all layers add up to the bill's, `at_peak_bytes` of all kinds to `tensor_bytes`.
    """
    return {
        **document_head(forecast.origin),
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
                "layers": [json_row(layers(), each) for each in bill.layers],
            }
            for bill in forecast.bills
        ],
        "budget_bytes": forecast.budget,
        "fits": None if forecast.budget is None else forecast.fits,
        "largest_batches": [json_row(largest(), each) for each in forecast.largest],
        "what_ifs": [json_row(what_ifs(), each) for each in forecast.what_ifs],
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
        **written(file),
        "assumed_input": assumed_input(forecast.origin.takes),
    }


def memory_csv(forecast: Forecast) -> str:
    """A row a layer and mode, with a heading."""
    mode: Column[tuple[MemoryBill, LayerMemory]] = Column("mode", None, lambda row: row[0].mode)
    said = (mode, *(of_part(each, lambda row: row[1]) for each in layers()))
    return csv_table(said, [(bill, each) for bill in forecast.bills for each in bill.layers])


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
