"""The result of `fmap layers` for JSON and CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from ..documents import csv_cell, plain_number
from ..models.document import assumed_input, document_head
from .records import CountedLayer, Listing


def layers_document(listing: Listing) -> dict[str, Any]:
    """The result of `fmap layers`."""
    return {
        **document_head(listing.origin),
        "input_shape": list(listing.input_shape),
        "parameters": listing.parameters,
        "idle_parameters": listing.idle_parameters,
        "multiply_adds": listing.multiply_adds,
        "not_counted": [{"operation": name, "layer": layer} for name, layer in listing.uncounted],
        "notes": list(listing.notes),
        "layer_count": listing.count,
        "convolutions": {
            "count": listing.convolutions,
            "pointwise": listing.mixers,
            "depthwise": listing.depthwise,
            "strided": listing.strided,
        },
        "stages": [list(stage) for stage in listing.stages],
        "layers": [listed_layer(each) for each in listing.layers],
        "assumed_input": assumed_input(listing.origin.takes),
    }


def listed_layer(row: CountedLayer) -> dict[str, Any]:
    """One layer of `fmap layers` for JSON and CSV, in the order of the columns; what a layer has not is null."""
    layer, how = row.layer, row.geometry
    return {
        "name": layer.name,
        "kind": layer.kind,
        "type": layer.type_name,
        "call": layer.call,
        "depth": row.depth,
        "composite": row.composite,
        "shape": list(row.shape),
        "axes": list(row.axes.names) if row.axes is not None else None,
        "parameters": layer.parameters,
        "multiply_adds": row.multiply_adds,
        "own_multiply_adds": row.own_multiply_adds,
        "kernel": list(how.kernel) if how is not None else None,
        "stride": list(how.stride) if how is not None else None,
        "padding": list(how.padding) if how is not None and how.padding is not None else None,
        "dilation": list(how.dilation) if how is not None else None,
        "groups": how.groups if how is not None else None,
        "dtype": row.dtype,
        "memory_format": row.memory_format,
        "field_kind": row.field.kind if row.field is not None else None,
        "field_size": [each.size for each in row.field.axes] if row.field is not None else None,
        "field_stride": [plain_number(each.stride) for each in row.field.axes] if row.field is not None else None,
        "field_start": [each.start for each in row.field.axes] if row.field is not None else None,
        "axes_how": row.axes.how if row.axes is not None else None,
    }


def layers_csv(listing: Listing) -> str:
    """The rows of `fmap layers` as comma-separated values with a heading; lists are joined by spaces, null is empty.

    `multiply_adds` of composite layers is the sum of those inside them; `own_multiply_adds` adds up to the total.
    """

    text = io.StringIO()
    rows = [listed_layer(each) for each in listing.layers]
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: csv_cell(value) for key, value in row.items()})
    return text.getvalue()
