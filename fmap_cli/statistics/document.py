"""The result of `fmap stats` for JSON and CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..documents import finite
from ..models.document import assumed_input, document_head, output_axes
from ..tables.columns import csv_table, json_row
from .channels import whole
from .columns import CHANNELS, LAYERS, LAYERS_OF_CLASSES, channel_rows, layer_row, numbers
from .moments import BIN_EDGES, dead_channels
from .records import Finding, LayerRecord, Run

if TYPE_CHECKING:
    import numpy as np


def stats_document(
    run: Run, findings: Sequence[Finding], *, channels: bool = False, files: Sequence[str] = ()
) -> dict[str, Any]:
    """The result of `fmap stats`; with `channels` each layer has the numbers of each of its channels, too.

    A layer's `histogram` has one cell more than there are `histogram_edges`: the first cell is of values below the
    first edge, the last of those above the last. A value on an edge is in the cell further from zero. What does not
    exist is null; a class has the same `layers` as the whole run.
    """
    return {
        **document_head(run.origin),
        "weights_digest": run.origin.digest or None,
        "dtype": run.origin.dtype,
        "input": run.origin.input,
        "sources": list(run.sources),
        "images": run.images,
        "image_count": run.images,
        "complete": run.progress is None or run.progress.done >= run.progress.total,
        "histogram_edges": BIN_EDGES[1:-1].tolist(),
        "layers": _record_entries(run.layers, channels=channels),
        "classes": [
            {
                "name": each.name,
                "images": each.images,
                "image_count": each.images,
                "layers": _record_entries(each.layers, channels=channels),
            }
            for each in run.classes
        ],
        "findings": [finding_row(each) for each in findings],
        "failed": [{"image": name, "error": reason} for name, reason in run.failures],
        "files": list(files),
        "assumed_input": assumed_input(run.origin.takes),
    }


def finding_row(finding: Finding) -> dict[str, Any]:
    return {
        "layer": finding.layer,
        "check": finding.check,
        "severity": finding.severity,
        "what": finding.what,
        "sample": finding.sample,
        "advice": finding.advice,
        "channels": list(finding.channels),
        "caution": finding.caution,
    }


def _record_entries(records: Sequence[LayerRecord], *, channels: bool) -> list[dict[str, Any]]:
    dead = dead_channels(records)
    return [_record_entry(each, dead, channels=channels) for each in records]


def _record_entry(record: LayerRecord, dead: Mapping[str, np.ndarray], *, channels: bool) -> dict[str, Any]:
    """One layer for JSON: its row, its histogram and, if asked for, lists with a number a channel."""
    found = record.channels
    one = whole(found).histogram
    entry = json_row(LAYERS, layer_row(record, dead))
    entry |= {**output_axes(record.axes), "image_count": record.images}
    entry["histogram"] = None if one is None else one[0].tolist()
    entry["histogram_count"] = None if one is None else int(one[0].sum())  # of large maps about a tenth of the values
    silent = dead.get(record.layer.name)
    entry["dead_channel_indices"] = None if silent is None else silent.nonzero()[0].tolist()
    if channels:
        lists = {key: [finite(value) for value in values] for key, values in numbers(found).items()}
        own = found.histogram is not None and len(found.histogram) == len(found.mean)
        entry["channels"] = {
            **{each.key: lists[each.key] for each in CHANNELS if each.key in lists},
            "histogram": found.histogram.tolist() if own and found.histogram is not None else None,
        }
    return entry


def stats_csv(run: Run, *, channels: bool = False) -> str:
    """A row a layer or, with `channels`, a row a channel; numbers read back as the same, what does not exist is empty.

    The first column is the class, empty for all images together: those come first, then each class's.
    """
    groups = [("", run.layers), *((each.name, each.layers) for each in run.classes)]
    if channels:
        records = ((name, record) for name, layers in groups for record in layers)
        return csv_table(CHANNELS, (row for name, each in records for row in channel_rows(each, class_name=name)))
    with_dead = ((name, layers, dead_channels(layers)) for name, layers in groups)
    return csv_table(
        LAYERS_OF_CLASSES,
        (layer_row(each, dead, class_name=name) for name, layers, dead in with_dead for each in layers),
    )
