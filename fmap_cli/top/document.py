"""The result of `fmap top` for JSON and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..models.document import document_head, written
from ..tables.columns import csv_table, json_row
from .columns import CHANNELS, ChannelRow, channel_rows, unit_row
from .records import QUANTILES, Dossiers, Sort


def dossiers_document(
    found: Dossiers, sort: Sort, reverse: bool, top: int | None, files: Sequence[str | None] = ()
) -> dict[str, Any]:
    """The channels' numbers and units, layer by layer, with each layer's figure where one was written."""
    names = [*files, *[None] * (len(found.layers) - len(files))]
    layers = []
    for layer, file in zip(found.layers, names, strict=True):
        order = found.order(layer.layer.name, sort=sort, reverse=reverse, top=top)
        layers.append(
            {
                "layer": layer.layer.name,
                "kind": layer.layer.kind,
                "shape": list(layer.shape),
                "cells": list(layer.cells),
                "bytes_per_channel": round(layer.found.nbytes / max(len(layer.channels), 1)),
                "channels": [_channel(row) for row in channel_rows(found, layer, order)],
                "file": file,
            }
        )
    return {
        **document_head(found.origin),
        "sources": list(found.sources),
        "image_count": found.images,
        "complete": found.progress is None,
        "failed": [{"image": name, "error": reason} for name, reason in found.failures],
        "by_class": found.by_class,
        "per_image": found.per_image,
        "sort": sort,
        "like": None if found.like is None else {"image": found.like.image, "at": list(found.like.place)},
        "quantiles": list(QUANTILES),
        "notes": list(found.notes),
        **written(*files),
        "layers": layers,
    }


def _channel(row: ChannelRow) -> dict[str, Any]:
    dossier = row.dossier
    numbers = json_row(CHANNELS, row)
    return {
        **{name: value for name, value in numbers.items() if name not in _IN_UNITS},
        "never_fires": dossier.never_fires,
        "classes": [{"name": each.name, "mean": each.mean, "image_count": each.images} for each in dossier.classes],
        **{kind: [unit_row(each) for each in dossier.of(kind)] for kind in ("strongest", "quantile", "weakest")},
    }


_IN_UNITS = ("layer", "strongest_image", "strongest_at", "best_class")


def dossiers_csv(found: Dossiers, sort: Sort, reverse: bool, top: int | None) -> str:
    """A row a channel; what does not exist is empty."""
    rows: list[ChannelRow] = []
    for layer in found.layers:
        rows += channel_rows(found, layer, found.order(layer.layer.name, sort=sort, reverse=reverse, top=top))
    return csv_table(CHANNELS, rows)
