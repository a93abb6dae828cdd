"""The network as a strip of stages: resolution against depth, with the layers of the page that run in each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import units

if TYPE_CHECKING:
    from .records import Course, PageLayer


def strip_of(
    course: Course, layers: Sequence[PageLayer], other: set[str] | None, shown: Callable[[str], str]
) -> list[dict[str, Any]]:
    """A column a stage: its map, its part of the depth, and the layers. Where there is another network beside,
    each says whether that one has a layer of its name, one of `other`.
    """
    tall = [shape for shape in course.stages if len(shape) > 1] or [(1,)]
    largest = max(max(shape[1:], default=1) for shape in tall)
    columns: list[tuple[list[PageLayer], int]] = []
    for number, count in enumerate(course.stage_layers):
        inside = [each for each in layers if each.stage == number]
        maps = [each for each in inside if each.is_map]
        vectors = [each for each in inside if not each.is_map]
        columns += [(maps, count)] if maps else []
        columns += [(vectors, 0 if maps else count)] if vectors else []
    return [_stage(inside, count, largest, other, shown) for inside, count in columns]


def _stage(
    inside: list[PageLayer], count: int, largest: int, other: set[str] | None, shown: Callable[[str], str]
) -> dict[str, Any]:
    last = inside[-1]
    side = max(last.cells[1:]) if last.is_map else 1
    least, most = (which(each.count for each in inside) for which in (min, max))
    counts = units.count(most) if least == most else f"{units.count(least)}–{units.count(most)}"
    names = [shown(each.layer.name) for each in inside]
    return {
        "size": f"{last.cells[1]} × {last.cells[2]}" if last.is_map else "vector",
        "channels": f"{counts} {'channels' if last.is_map else 'values'}",
        "height": round(float(6 + 50 * np.log2(side + 1) / np.log2(largest + 1)), 1),
        "count": count,
        "count_words": units.count(count),
        "layers": [
            {"name": name, "short": tail(name), "alone": other is not None and each.layer.name not in other}
            for name, each in zip(names, inside, strict=True)
        ],
    }


def tail(name: str, most: int = 24) -> str:
    """A layer's name cut at its start, for names differ at their end."""
    return name if len(name) <= most else f"…{name[1 - most :].lstrip('.')}"
