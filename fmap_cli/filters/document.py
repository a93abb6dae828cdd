"""The result of `fmap filters` for JSON and CSV, and files of kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..documents import save_arrays
from ..models.document import document_head, written
from ..tables.columns import csv_table, json_row
from .columns import FILTERS, FINDINGS, LAYERS, FilterRow, filter_rows
from .records import Filters

if TYPE_CHECKING:
    import torch


def filters_document(found: Filters, files: Sequence[str | None] = ()) -> dict[str, Any]:
    """The result of `fmap filters`, with each layer's figure where one was written."""
    names = [*files, *[None] * (len(found.layers) - len(files))]
    return {
        **document_head(found.origin),
        "near": found.near,
        **written(*files),
        "layers": [
            {
                **json_row(LAYERS, each),
                "notes": list(each.notes),
                "findings": [json_row(FINDINGS, finding) for finding in each.findings],
                "filters": [json_row(FILTERS, row) for row in filter_rows(each)],
                "file": file,
            }
            for each, file in zip(found.layers, names, strict=True)
        ],
    }


def filters_csv(found: Filters) -> str:
    """A row a filter, in the order asked for; what does not exist is empty."""
    rows: list[FilterRow] = [row for each in found.layers for row in filter_rows(each)]
    return csv_table(FILTERS, rows)


def save_filters(path: Path, found: Filters) -> None:
    """Write each layer's kernels under its name, `[O, I, *kernel]`, and its bias as `NAME.bias`: all filters in the
    order of the channels, with BatchNorm folded in where that was asked for.
    """
    import torch

    arrays: dict[str, torch.Tensor] = {}
    for each in found.layers:
        arrays[each.layer.name] = torch.from_numpy(each.weight)
        if each.bias is not None:
            arrays[f"{each.layer.name}.bias"] = torch.from_numpy(each.bias)
    about = {"model": found.origin.model, "weights": str(found.origin.weights)}
    folded = ", ".join(f"{each.folded} into {each.layer.name}" for each in found.layers if each.folded)
    save_arrays(path, arrays, {**about, **({"folded": folded} if folded else {})})
