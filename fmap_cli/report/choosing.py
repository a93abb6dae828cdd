"""Which layers a report shows unless told otherwise: one a stage, what its activation read, and the answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..layers.inventory import map_shape
from ..layers.records import CountedLayer

_FEW = 3
"""A network with fewer stages than this (a ViT has one) shows blocks along its depth as well."""
_BLOCKS = 4
_VECTORS = 6


@dataclass(frozen=True, slots=True)
class Chosen:
    """The layers that are shown by their index, each with its pre-activation's index where it has one."""

    layers: tuple[int, ...]
    before: dict[int, int]


def choose(layers: Sequence[CountedLayer], stages: Sequence[tuple[int, ...]], extra: set[str]) -> Chosen:
    """The default layers and those called `extra`; with each that is an activation's output what that read."""
    ends = _stage_ends(layers, stages)
    picked = {*ends, *_stem(layers), *_pyramid(layers)}
    if len(ends) < _FEW:
        picked |= set(_blocks(layers))
    answer = _answer(layers)
    if not picked:
        picked = set(_vectors(layers))
    if answer is not None:
        picked.add(answer)
    picked |= {each.index for each in layers if each.layer.name in extra}
    before = {at: found for at in picked if (found := pre_activation(layers, at)) is not None}
    return Chosen(tuple(sorted(picked | set(before.values()))), before)


def pre_activation(layers: Sequence[CountedLayer], at: int) -> int | None:
    """What the activation read whose output a layer is, itself or as the last of what it contains; else None."""
    shape = layers[at].shape
    while at > 0 and layers[at].composite and layers[at - 1].shape == shape:
        at -= 1
    before = at - 1
    if layers[at].layer.kind != "act" or before < 0 or layers[before].shape != shape:
        return None
    return before if layers[before].layer.kind != "input" else None


def stage_of(layers: Sequence[CountedLayer], stages: Sequence[tuple[int, ...]]) -> list[int]:
    """For each layer the number of the stage that it runs in: those between the ends of one stage and the next."""
    ends = _stage_ends(layers, stages, with_points=True)
    found, stage = [], 0
    for at in range(len(layers)):
        while stage < len(ends) - 1 and at > ends[stage]:
            stage += 1
        found.append(stage)
    return found


def _stage_ends(
    layers: Sequence[CountedLayer], stages: Sequence[tuple[int, ...]], *, with_points: bool = False
) -> list[int]:
    """For each stage the last layer that puts out its map before the next stage's first map."""
    shapes = [map_shape(each) for each in layers]
    weighted = next((each.index for each in layers if each.layer.kind == "conv"), 0)
    ends: list[int] = []
    begin = 0
    wanted = [shape for shape in stages if len(shape) > 1]
    for number, shape in enumerate(wanted):
        following = wanted[number + 1] if number + 1 < len(wanted) else None
        first = next((at for at in range(begin, len(layers)) if shapes[at] == shape), None)
        if first is None:
            continue
        stop = next((at for at in range(first + 1, len(layers)) if shapes[at] == following), len(layers))
        if following is None:
            stop = len(layers)
        last = max(at for at in range(first, stop) if shapes[at] == shape)
        begin = last + 1
        is_point = prod(shape[1:]) == 1
        is_picture = layers[last].layer.kind == "input" or last < weighted  # a detector resizes its input by itself
        if not is_picture and (with_points or not is_point):
            ends.append(last)
    return ends


def _stem(layers: Sequence[CountedLayer]) -> list[int]:
    """The first convolution, and the norm and activation right after it."""
    first = next((each.index for each in layers if each.layer.kind == "conv" and map_shape(each)), None)
    if first is None:
        return []
    around = layers[first].parent  # the module whose operation it is, which comes after it
    while around is not None and layers[around].layer.kind == "conv":
        first, around = around, layers[around].parent
    found = [first]
    for each in layers[first + 1 : first + 4]:
        if each.shape == layers[first].shape and each.layer.kind in ("norm", "act"):
            found.append(each.index)
    return found


def _pyramid(layers: Sequence[CountedLayer]) -> list[int]:
    """The maps of several sizes that one call puts out (a detector's FPN); the first such call's."""
    group: list[int] = []
    for each in [*layers, None]:
        if each is not None and each.multiply_adds is None and group:
            group.append(each.index)
            continue
        sizes = {layers[at].shape[-2:] for at in group if map_shape(layers[at])}
        if len(sizes) > 2:
            return group
        group = [] if each is None else [each.index]
    return []


def _blocks(layers: Sequence[CountedLayer]) -> list[int]:
    """Some of the blocks that the network is made of, evenly spaced, the last one included."""
    kinds = Counter(each.layer.type_name for each in layers if each.composite and map_shape(each))
    repeated = [name for name, count in kinds.most_common() if count >= _FEW]
    if not repeated:
        return []
    costs = {name: sum(e.multiply_adds or 0 for e in layers if e.layer.type_name == name) for name in repeated}
    main = max(repeated, key=lambda name: costs[name])
    found = [each.index for each in layers if each.layer.type_name == main and map_shape(each)]
    count = min(_BLOCKS, len(found))
    return [found[(number + 1) * len(found) // count - 1] for number in range(count)]


def _answer(layers: Sequence[CountedLayer]) -> int | None:
    """The last layer, where it is a vector: a classifier's scores, an embedding."""
    last = next((each for each in reversed(layers) if each.parent is None), None)
    return last.index if last is not None and last.axes is not None and last.axes.names == ("B", "C") else None


def _vectors(layers: Sequence[CountedLayer]) -> list[int]:
    """Of a network without maps: its first layers with weights or activations."""
    return [each.index for each in layers if each.layer.kind in ("conv", "linear", "act")][:_VECTORS] or [
        layers[-1].index
    ]
