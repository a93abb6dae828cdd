"""Two saved runs, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import FmapError, LayerError
from ..network.selection import pick_names
from ..statistics.records import Run
from .measures import default_threshold, differ_runs
from .records import ComparedRecord, Comparison, Side
from .sides import Say


def compare_runs(
    a: Run,
    b: Run,
    names: tuple[str, str],
    patterns: Sequence[str] = (),
    *,
    kinds: Sequence[str] = (),
    threshold: float | None = None,
    say: Say = lambda _: None,
) -> Comparison:
    """How far two saved runs' statistics are apart, layer by layer; `names` is what to call them.

    `patterns` are names of layers or globs. Runs of two models are compared where all their layers have the same names
    and numbers of channels. Raises FmapError where they have not, and LayerError where nothing is left to compare.
    """
    if a.origin.input != b.origin.input:
        say(f"the two runs prepared their images differently: {a.origin.input}; and {b.origin.input}.")
    layers_a, layers_b = ({each.layer.name: each for each in side.layers} for side in (a, b))
    unlike = [
        (name, layers_a[name].shape, layers_b[name].shape)
        for name in layers_a
        if name in layers_b and _channel_count(layers_a[name]) != _channel_count(layers_b[name])
    ]
    if a.origin.model != b.origin.model and (unlike or layers_a.keys() != layers_b.keys()):
        raise FmapError(
            f"{names[0]} is a run of {a.origin.model} and {names[1]} of {b.origin.model}:"
            " their layers differ in names or channels.",
            hint="Compare runs of one architecture.",
        )
    wanted = pick_names({each.layer.name: each.layer.kind for each in (*b.layers, *a.layers)}, patterns, kinds)
    if threshold is None:
        threshold = default_threshold([a.origin.dtype, b.origin.dtype])
    odd = {name for name, *_ in unlike}
    found: dict[str, ComparedRecord] = {}
    for name, first in layers_a.items():
        if name not in wanted or name not in layers_b or name in odd:
            continue
        second = layers_b[name]
        difference = differ_runs(first, second)
        over = difference.relative_l2 > threshold
        same = first.same_as if first.same_as == second.same_as and first.same_as in found else None
        images = first.images, second.images
        found[name] = ComparedRecord(first.layer, images, difference, over, (first, second), same)
    shapes = tuple(each for each in unlike if each[0] in wanted)
    if not found and not shapes:
        raise LayerError(f"nothing to compare: {names[0]} and {names[1]} have no layer of the same name among these.")
    fed = [name for name, each in layers_a.items() if each.layer.kind == "input" and name in layers_b.keys() - odd]
    return Comparison(
        inputs=differ_runs(layers_a[fed[0]], layers_b[fed[0]]) if fed else None,
        fed_alike=a.origin.input == b.origin.input,
        a=_run_side(a, names[0]),
        b=_run_side(b, names[1]),
        threshold=threshold,
        layers=tuple(found.values()),
        only_a=tuple(name for name in layers_a if name in wanted and name not in layers_b),
        only_b=tuple(name for name in layers_b if name in wanted and name not in layers_a),
        unlike_shapes=shapes,
        picked=bool(patterns),
    )


def _channel_count(record: Any) -> int:
    return len(record.channels.mean)


def _run_side(side: Run, name: str) -> Side:
    return Side(name, side.origin, images=side.images)
