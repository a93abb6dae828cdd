"""The result of `fmap layers` for JSON and CSV."""

from __future__ import annotations

from typing import Any

from ..models.document import assumed_input, document_head, output_axes
from ..tables.columns import csv_table, json_row
from .columns import COLUMNS
from .records import Listing


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
            "pointwise": listing.pointwise,
            "depthwise": listing.depthwise,
            "strided": listing.strided,
        },
        "stages": [list(stage) for stage in listing.stages],
        "layers": [{**json_row(COLUMNS, each), **output_axes(each.axes)} for each in listing.layers],
        "assumed_input": assumed_input(listing.origin.takes),
    }


def layers_csv(listing: Listing) -> str:
    """A row a layer with a heading; lists are joined by spaces, null is empty.

    `multiply_adds` of composite layers is the sum of those inside them; `own_multiply_adds` adds up to the total.
    """
    return csv_table(COLUMNS, listing.layers)
