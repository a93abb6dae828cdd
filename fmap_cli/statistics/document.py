"""The result of `fmap stats` for JSON and CSV."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..documents import SCHEMA_VERSION, csv_cell, csv_text, finite
from ..models.document import assumed_input, preprocessing_row
from .channels import EXPORTED, ChannelStats, whole
from .moments import BIN_EDGES, as_numbers, dead_channels
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
        "schema_version": SCHEMA_VERSION,
        "model": run.origin.model,
        "weights": run.origin.weights,
        "weights_digest": run.origin.digest or None,
        "dtype": run.origin.dtype,
        "input": run.origin.input,
        "preprocessing": preprocessing_row(run.origin.preprocessing),
        "sources": list(run.sources),
        "images": run.images,
        "complete": run.progress is None or run.progress.done >= run.progress.total,
        "histogram_edges": BIN_EDGES[1:-1].tolist(),
        "layers": _record_entries(run.layers, channels=channels),
        "classes": [
            {
                "name": each.name,
                "images": each.images,
                "layers": _record_entries(each.layers, channels=channels),
            }
            for each in run.classes
        ],
        "findings": [finding_row(each) for each in findings],
        "failed": [{"image": name, "error": reason} for name, reason in run.failures],
        "files": list(files),
        "assumed_input": assumed_input(run.takes),
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
    }


def _record_entries(records: Sequence[LayerRecord], *, channels: bool) -> list[dict[str, Any]]:
    dead = dead_channels(records)
    return [_record_entry(each, dead.get(each.layer.name), channels=channels) for each in records]


def _record_entry(record: LayerRecord, dead: np.ndarray | None, *, channels: bool) -> dict[str, Any]:
    """One layer for JSON: its row, its histogram and, if asked for, lists with a number a channel."""
    found = record.channels
    one = whole(found).histogram
    entry = {
        key: finite(value) if isinstance(value, float) else value for key, value in record_row(record, dead).items()
    }
    entry["histogram"] = None if one is None else one[0].tolist()
    entry["histogram_count"] = None if one is None else int(one[0].sum())  # of large maps about a tenth of the values
    if channels:
        lists: dict[str, Any] = {key: [finite(value) for value in values] for key, values in _numbers(found).items()}
        own = found.histogram is not None and len(found.histogram) == len(found.mean)
        lists["histogram"] = found.histogram.tolist() if own and found.histogram is not None else None
        entry["channels"] = lists
    return entry


def _numbers(channels: ChannelStats) -> dict[str, list[float]]:
    """What is said of each channel, under the names of JSON and CSV: a list a number."""
    return {key: getattr(channels, name).tolist() for key, name in EXPORTED.items()}


def record_row(record: LayerRecord, dead: np.ndarray | None) -> dict[str, Any]:
    """One layer of `fmap stats` for JSON and CSV: all channels of all images taken together.

    `dead` is which of its channels are dead, None for what is no activation.
    """
    layer, stats = record.layer, as_numbers(record.channels)
    return {
        "name": layer.name,
        "kind": layer.kind,
        "type": layer.type_name,
        "call": layer.call,
        "same_as": record.same_as,
        "shape": list(record.shape),
        "shape_varies": record.varies,
        "axes": list(record.axes.names),
        "dtype": record.dtype,
        "images": record.images,
        "count": stats.count,
        "mean": stats.mean,
        "std": stats.std,
        "min": stats.min,
        "max": stats.max,
        "zero_count": int(record.channels.zeros.sum()),
        "zero_fraction": stats.zero_fraction,
        "nan_count": stats.nan,
        "inf_count": stats.inf,
        "channel_count": len(record.channels.mean),
        "dead_channels": None if dead is None else int(dead.sum()),
        "axes_how": record.axes.how,
    }


def stats_csv(run: Run, *, channels: bool = False) -> str:
    """A row a layer or, with `channels`, a row a channel; numbers read back as the same, what does not exist is empty.

    The first column is the class, empty for all images together: those come first, then each class's.
    """
    groups = [("", run.layers), *((each.name, each.layers) for each in run.classes)]
    records = [(name, record) for name, layers in groups for record in layers]
    if channels:
        rows = (row for name, record in records for row in _channel_rows(name, record))
        return csv_text(_CHANNEL_HEAD, rows).decode(errors="surrogateescape")
    dead = {name: dead_channels(layers) for name, layers in groups}
    layers = [{"class": name, **record_row(record, dead[name].get(record.layer.name))} for name, record in records]
    head = list(layers[0]) if layers else ["class", "name"]
    return csv_text(head, ([csv_cell(value) for value in row.values()] for row in layers)).decode(
        errors="surrogateescape"
    )


_CHANNEL_HEAD = ["class", "name", "kind", "type", "channel", "images", "count", *EXPORTED]


def _channel_rows(name: str, record: LayerRecord) -> Iterable[list[Any]]:
    layer = record.layer
    head = [name, layer.name, layer.kind, layer.type_name]
    for channel, numbers in enumerate(zip(*_numbers(record.channels).values(), strict=True)):
        known = [value if value == value else None for value in numbers]
        yield [*head, channel, record.images, record.channels.count, *known]
