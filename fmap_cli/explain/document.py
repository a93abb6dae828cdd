"""The result of `fmap explain` for JSON and CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..documents import finite
from ..models.document import assumed_input, document_head, output_axes, written
from ..tables.columns import csv_table, json_row
from .columns import COLUMNS
from .records import Explanation, Part, Settings, Step, Term
from .words import symbols, with_numbers


def explanation_document(found: Explanation, file: Path | None = None) -> dict[str, Any]:
    """One value with all its terms; of those that are listed the patch and the kernel as well."""
    count, rest = found.rest
    return {
        **document_head(found.origin),
        "image": found.image.name,
        "layer": found.layer.name,
        "type": found.layer.type_name,
        "shape": list(found.shape),
        "axes": list(found.axes.names),
        **output_axes(found.axes),
        "axes_how": found.axes.how,
        "operation": _settings_row(found.settings),
        "formula": symbols(found.settings),
        "formula_with_numbers": with_numbers(found),
        "channel": found.channel,
        "place": list(found.place),
        "picked": found.picked,
        "label": found.label or None,
        "value": finite(found.value),
        "dtype": found.dtype,
        "sum": finite(found.total),
        "difference": finite(found.difference),
        "bias": finite(found.bias),
        "magnitude": finite(found.magnitude),
        "cancelled": finite(found.cancelled),
        "not_finite": list(found.not_finite),
        "input_layer": found.input_layer or None,
        "input_channels": [found.inputs.start, found.inputs.stop - 1],
        "reads": [list(each) for each in found.reads],
        "input_size": list(found.input_places),
        "terms": [_term_row(found, each) for each in found.terms],
        "rest": {"count": count, "contribution": finite(rest)},
        "contributions": _numbers(found.contributions),
        "receptive_field": _box(found),
        "steps": [_step_row(each) for each in found.steps] if found.through else None,
        "stopped": found.stopped or None,
        "back": found.back,
        "recipe": None if found.recipe is None else part_row(found.recipe),
        "notes": list(found.notes),
        "figure": None if file is None else str(file),
        **written(file),
        "assumed_input": assumed_input(found.origin.takes),
    }


def terms_csv(found: Explanation) -> str:
    return csv_table(COLUMNS, found.largest())


def _settings_row(settings: Settings) -> dict[str, Any]:
    return {
        "operation": settings.operation,
        "words": settings.in_words,
        "kernel": list(settings.kernel),
        "stride": list(settings.stride),
        "padding": list(settings.padding),
        "dilation": list(settings.dilation),
        "groups": settings.groups,
        "inputs": settings.inputs,
        "outputs": settings.outputs,
        "depthwise": settings.depthwise,
    }


def _term_row(found: Explanation, term: Term) -> dict[str, Any]:
    channel, place = found.map_inputs.get(term.channel, (None, ()))
    return {
        **json_row(COLUMNS, term),
        "map_channel": channel,
        "map_place": None if channel is None else list(place),
        "patch": _numbers(term.patch),
        "kernel": _numbers(term.kernel),
    }


def _numbers(values: np.ndarray) -> Any:
    """An array as nested lists; what is infinite or no number is null."""
    if np.isfinite(values).all():
        return values.tolist()
    if values.ndim == 0:
        return None
    return [_numbers(np.asarray(each)) for each in values]


def _box(found: Explanation) -> list[dict[str, Any]] | None:
    if found.box is None or found.row is None:
        return None
    return [
        {
            "axis": axis.axis,
            "seen": None if inside is None else list(inside),
            "unclipped": None if outside is None else list(outside),
            "field": axis.kind,
            "field_kind": axis.kind,
        }
        for axis, inside, outside in zip(found.row.field.axes, found.box.seen, found.box.unclipped, strict=True)
    ]


def _step_row(step: Step) -> dict[str, Any]:
    return {
        "operation": step.operation,
        "layer": step.layer or None,
        "before": finite(step.before),
        "after": finite(step.after),
        "formula": step.formula,
        "channel": step.channel,
        "place": None if step.place is None else list(step.place),
        "note": step.note or None,
    }


def part_row(part: Part) -> dict[str, Any]:
    """A part of the recipe and what it is made of."""
    return {
        "kind": part.kind,
        "contribution": finite(part.contribution),
        "layer": part.layer or None,
        "channel": part.channel,
        "value": finite(part.value),
        "words": part.words or None,
        "count": part.count,
        "parts": [part_row(each) for each in part.parts],
    }
