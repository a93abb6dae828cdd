"""The results of `fmap rf` for JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..documents import finite, plain_number
from ..models.document import assumed_input, document_head, written
from ..tables.columns import csv_table, json_row
from .columns import COLUMNS, NAMED, SEEN
from .records import EffectiveField, FieldAxis, FieldListing, FieldRow, ReceptiveField, UnitBox, UnitView


def fields_document(listing: FieldListing, file: Path | None = None) -> dict[str, Any]:
    """The table of `fmap rf`."""
    return {
        **document_head(listing.origin),
        "input_shape": list(listing.input_shape),
        "input_axes": _by_axis(listing.layers, listing.size),
        "layer_count": listing.count,
        "figure": None if file is None else str(file),
        **written(file),
        "notes": list(listing.notes),
        "layers": [field_row(each) for each in listing.layers],
        "assumed_input": assumed_input(listing.origin.takes),
    }


def _by_axis(rows: Sequence[FieldRow], sizes: Sequence[int]) -> dict[str, int]:
    return {axis.axis: size for axis, size in zip(rows[0].field.axes, sizes, strict=True)} if rows else {}


def field_row(row: FieldRow) -> dict[str, Any]:
    """One layer of `fmap rf`: what its units see along each axis; `groups` where its channels see differently."""
    seen = row.field
    axes = [_field_axis(each) for each in seen.axes]
    return {
        **json_row(NAMED, row),
        "output_axes": list(row.axes.names),
        "axes_how": row.axes.how,
        **json_row(SEEN, row),
        "axes": axes,
        "field_axes": axes,
        "field_kind": seen.kind,
        "field_size": [each.size for each in seen.axes],
        "field_stride": [plain_number(each.stride) for each in seen.axes],
        "field_start": [each.start for each in seen.axes],
        "group_count": seen.group_count,
        "groups": [
            {"channels": [list(each) for each in group.channels], "axes": along, "field_axes": along}
            for group in seen.groups
            for along in [[_field_axis(each) for each in group.axes]]
        ],
    }


def _field_axis(axis: FieldAxis) -> dict[str, Any]:
    return {
        "axis": axis.axis,
        "field": axis.kind,
        "field_kind": axis.kind,
        "size": axis.size,
        "least": axis.least,
        "stride": plain_number(axis.stride),
        "padding": axis.padding,
        "start": axis.start,
        "centre": axis.centre,
        "by": axis.by or None,
        "why": axis.why or None,
    }


def fields_csv(listing: FieldListing) -> str:
    """A row a layer; of several axes the numbers stand in one cell, height before width (time first)."""
    return csv_table(COLUMNS, listing.layers)


def unit_document(view: UnitView, file: Path | None) -> dict[str, Any]:
    """One unit of `fmap rf --at`."""
    return {
        **document_head(view.origin),
        "image": view.image.name,
        "layer": view.row.layer.name,
        "shape": list(view.row.shape),
        "channel": view.channel,
        "cell": list(_cell_of(view.row.field, view.place)),
        "picked": view.picked,
        "value": finite(view.value),
        "box": _box_rows(view.row.field, view.box),
        "receptive_field": field_row(view.row),
        "figure": None if file is None else str(file),
        **written(file),
        "assumed_input": assumed_input(view.origin.takes),
    }


def _cell_of(seen: ReceptiveField, place: tuple[int, int, int]) -> tuple[int, ...]:
    return place[-len(seen.cells) :] if seen.cells else place


def _box_rows(seen: ReceptiveField, box: UnitBox) -> list[dict[str, Any]]:
    return [
        {
            "axis": axis.axis,
            "seen": None if inside is None else list(inside),
            "unclipped": None if outside is None else list(outside),
        }
        for axis, inside, outside in zip(seen.axes, box.seen, box.unclipped, strict=True)
    ]


def effective_document(found: EffectiveField, file: Path | None) -> dict[str, Any]:
    """`fmap rf --effective`."""
    return {
        **document_head(found.origin),
        "layer": found.row.layer.name,
        "channel": found.channel,
        "cell": list(_cell_of(found.row.field, found.place)),
        "source": found.source,
        "count": found.count,
        "box": _box_rows(found.row.field, found.box),
        "centre": list(found.centre),
        "holds": [{"share": share, "height": high, "width": wide} for share, high, wide in found.holds],
        "figure": None if file is None else str(file),
        **written(file),
        "assumed_input": assumed_input(found.origin.takes),
    }
