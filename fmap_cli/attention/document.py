"""The result of `fmap attention` for JSON and CSV, and files of weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..documents import save_arrays
from ..models.document import assumed_input, document_head, written
from ..tables.columns import csv_table, json_row
from .columns import CALLS, HEADS, head_rows
from .records import Attention, Grid, LayerAttention
from .words import most_entropy

if TYPE_CHECKING:
    import torch


def attention_document(found: Attention, files: Sequence[str | None] = ()) -> dict[str, Any]:
    """Each layer with its heads' numbers, and the map of the query that is drawn as the mean over heads."""
    names = [*files, *[None] * (len(found.layers) - len(files))]
    return {
        **document_head(found.origin),
        "image": found.image.name,
        "input_size": None if found.size is None else list(found.size),
        **written(*files),
        "layers": [_layer_row(each, file) for each, file in zip(found.layers, names, strict=True)],
        "calls": [json_row(CALLS, each) for each in found.calls],
        "assumed_input": assumed_input(found.origin.takes),
    }


def _layer_row(found: LayerAttention, file: str | None) -> dict[str, Any]:
    query = found.query
    return {
        "name": found.name,
        "type": found.type_name or None,
        "asked": found.asked or None,
        "call": found.how,
        "head_count": found.heads,
        "windows": found.windows,
        "queries": found.queries,
        "keys": found.keys,
        "largest_entropy": most_entropy(found),
        "query": {
            "words": query.words,
            "window": query.window,
            "index": query.index,
            "place": None if query.place is None else list(query.place),
            "pixels": None if query.pixels is None else list(query.pixels),
        },
        "query_grid": _grid(found.query_grid),
        "key_grid": _grid(found.key_grid),
        "mean_map": _numbers(_mean_map(found)),
        "no_map": found.unplaced or None,
        "rollout": list(found.of_rollout) or None,
        "notes": list(found.notes),
        "heads": [json_row(HEADS, row) for row in head_rows(found)],
        "file": file,
    }


def _mean_map(found: LayerAttention) -> np.ndarray | None:
    if found.maps is None:
        return None
    return found.maps[-1] if found.of_rollout else found.maps.mean(0)


def _grid(grid: Grid | None) -> dict[str, Any] | None:
    """The centres of cells, in pixels of the input."""
    if grid is None:
        return None
    return {"frames": grid.frames.tolist(), "rows": grid.rows.tolist(), "columns": grid.columns.tolist()}


def _numbers(values: np.ndarray | None) -> Any:
    """Frames, rows and columns as nested lists; what is no number is null."""
    if values is None:
        return None
    if values.ndim:
        return [_numbers(np.asarray(each)) for each in values]
    return float(values) if np.isfinite(values) else None


def attention_csv(found: Attention) -> str:
    """A row a head."""
    return csv_table(HEADS, [row for each in found.layers for row in head_rows(each)])


def save_attention(path: Path, found: Attention) -> None:
    """Write for each layer `NAME` with all weights, `[windows, heads, queries, keys]`, where they were kept; the drawn
    query's as `NAME.rows` `[heads, keys]`, and laid out as `NAME.maps` `[heads, frames, rows, columns]`.
    """
    import torch

    arrays: dict[str, torch.Tensor] = {}
    for each in found.layers:
        for name, values in (
            (each.name, each.weights),
            (f"{each.name}.rows", each.rows),
            (f"{each.name}.maps", each.maps),
        ):
            if values is not None:
                arrays[name] = torch.from_numpy(np.ascontiguousarray(values))
    drawn = "; ".join(f"{each.name}: {each.query.words}" for each in found.layers)
    about = {"model": found.origin.model, "weights": str(found.origin.weights), "image": found.image.name}
    save_arrays(path, arrays, {**about, "query": drawn})
