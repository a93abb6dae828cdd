"""The text of a run file: all that is no number of a channel, as JSON, written and read back.

These names are the format's: later versions add names and never change these. Anything may stand in a file, so every
value's type is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ..network.records import Axes, LayerRef
from ..running.text import (
    DamagedError,
    Fields,
    axes_in,
    axes_row,
    count_in,
    failure_in,
    layer_in,
    layer_row,
    origin_in,
    origin_row,
    progress_in,
    string_in,
)
from .records import LayerRecord, Progress, Run, RunOrigin


@dataclass(frozen=True, slots=True)
class Description:
    """All of a layer's record but its numbers: an entry of the text's `layers`."""

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    dtype: str
    same_as: str | None
    varies: bool
    channels: int
    histograms: int | None

    @staticmethod
    def of(record: LayerRecord) -> Description:
        _, channels, histograms = record.channels.extent
        return Description(
            record.layer,
            record.shape,
            record.axes,
            record.dtype,
            record.same_as,
            record.varies,
            channels,
            histograms,
        )


@dataclass(frozen=True, slots=True)
class RunText:
    """What the text says of a run; `lengths` are how many records the whole run has, and each class."""

    origin: RunOrigin
    sources: tuple[str, ...]
    images: int
    layers: tuple[Description, ...]
    classes: tuple[tuple[str, int], ...]
    lengths: tuple[int, ...]
    failures: tuple[tuple[str, str], ...]
    progress: Progress | None


# -- writing -----------------------------------------------------------------------------------------------------


def encoded(run: Run, layers: Iterable[Description]) -> bytes:
    """The text of a run whose records refer to these layers: ASCII, in which odd bytes of file names are escaped."""
    text = {
        "origin": origin_row(run.origin),
        "sources": run.sources,
        "failures": run.failures,
        "images": run.images,
        "records": len(run.layers),
        "layers": [_layer_row(each) for each in layers],
        "classes": [{"name": each.name, "images": each.images, "records": len(each.layers)} for each in run.classes],
        "progress": None if run.progress is None else asdict(run.progress),
    }
    return json.dumps(text, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def _layer_row(each: Description) -> dict[str, Any]:
    return {
        **layer_row(each.layer),
        "shape": each.shape,
        "axes": axes_row(each.axes),
        "dtype": each.dtype,
        "same_as": each.same_as,
        "varies": each.varies,
        "channels": each.channels,
        "histograms": each.histograms,
    }


# -- reading -----------------------------------------------------------------------------------------------------


def decoded(content: bytes) -> RunText:
    """What a file's text says. Raises DamagedError for whatever `encoded` does not write."""
    try:
        text = Fields(json.loads(content), "text")
    except (ValueError, RecursionError):
        raise DamagedError("its text is not JSON") from None
    classes = [Fields(each, "classes") for each in text.list("classes")]
    return RunText(
        origin=origin_in(Fields(text.get("origin"), "origin")),
        sources=tuple(string_in(each, "sources") for each in text.list("sources")),
        images=text.count("images"),
        layers=tuple(_layer(each) for each in text.list("layers")),
        classes=tuple((each.string("name"), each.count("images")) for each in classes),
        lengths=(text.count("records"), *(each.count("records") for each in classes)),
        failures=tuple(failure_in(each) for each in text.list("failures")),
        progress=None if text.get("progress") is None else progress_in(Fields(text.get("progress"), "progress")),
    )


def _layer(content: object) -> Description:
    row = Fields(content, "layers")
    channels = row.count("channels")
    histograms = None if row.get("histograms") is None else row.count("histograms")
    if histograms not in (None, 1, channels):
        raise DamagedError(f"a layer of {channels} channels has {histograms} histograms")
    return Description(
        layer=layer_in(row),
        shape=tuple(count_in(each, "shape") for each in row.list("shape")),
        axes=axes_in(row.get("axes")),
        dtype=row.string("dtype"),
        same_as=None if row.get("same_as") is None else row.string("same_as"),
        varies=row.flag("varies"),
        channels=channels,
        histograms=histograms,
    )
