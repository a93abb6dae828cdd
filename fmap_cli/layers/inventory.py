"""Counted layers → what `fmap layers` shows of them: which rows, the stages of the map, and the network in numbers."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from math import prod

from .records import CountedLayer

Shape = tuple[int, ...]


def cut(layers: Sequence[CountedLayer], depth: int) -> list[CountedLayer]:
    """The layers not inside more than `depth - 1` others: those at the cut stand for what is inside them."""
    return [each for each in layers if each.depth <= depth]


def convolutions(layers: Sequence[CountedLayer]) -> list[CountedLayer]:
    """The convolutions that ran, each once: what a convolution module does inside is no other one."""
    return [
        each
        for each in layers
        if each.layer.kind == "conv"
        and each.multiply_adds is not None
        and (each.parent is None or layers[each.parent].layer.kind != "conv")
    ]


def is_pointwise(layer: CountedLayer) -> bool:
    """Whether a convolution looks at one place alone, across channels: 1 × 1."""
    geometry = layer.geometry
    return geometry is not None and prod(geometry.kernel) == 1 and not geometry.per_channel


def is_strided(layer: CountedLayer) -> bool:
    """Whether a convolution leaves out places, so that its output is smaller."""
    geometry = layer.geometry
    return geometry is not None and prod(geometry.stride) > 1 and not geometry.transposed


# -- stages ------------------------------------------------------------------------------------------------------


def stages(layers: Sequence[CountedLayer]) -> tuple[Shape, ...]:
    """The shapes a map passes through, channels first and without the batch: one for each resolution.

    Each is the last at its resolution, what is handed on. What happens aside (squeeze-and-excitation's pooling, the
    branches of a block) is left out: a block that lowers the resolution once counts by its output. The list ends with
    the values that the network puts out where those are no map, and before a pyramid of maps (a detector's FPN).
    Of several inputs the first that is a map begins it: no map passes from one input to another.
    """
    first = next((each for each in layers if each.layer.kind == "input" and map_shape(each) is not None), None)
    if first is not None:
        layers = [each for each in layers if each is first or each.layer.kind != "input"]
    inside: dict[int | None, list[CountedLayer]] = {}
    for each in layers:
        inside.setdefault(each.parent, []).append(each)
    start = next((shape for each in layers if (shape := map_shape(each)) is not None), None)
    if start is None:
        return ()
    walk = _Walk(inside)
    found = walk.over(None, start)
    if not found or found[0] != start:
        found.insert(0, start)
    found = _without_repeats(found)
    if not walk.stopped:
        last = next((each for each in reversed(layers) if each.parent is None), None)
        if last is not None and last.axes is not None and last.axes.names == ("B", "C"):
            found.append((last.shape[1],))
    return tuple(found)


def map_shape(layer: CountedLayer) -> Shape | None:
    """A layer's output as `(C, H, W)`, or `(C, T, H, W)` of a clip; None where it is no map.

    >>> from fmap_cli.network.records import Axes, LayerRef
    >>> row = CountedLayer(LayerRef("x", "x", 0, "op", "x"), 0, (1, 197, 768), "float32", "contiguous", None, 1, False,
    ...     0, 0, axes=Axes(("B", "N", "C"), "measured", (14, 14), 1))
    >>> map_shape(row)
    (768, 14, 14)
    """
    axes = layer.axes
    if axes is None or len(axes.names) != len(layer.shape) or axes.names.count("C") != 1 or "?" in axes.names:
        return None
    sizes = dict(zip(axes.names, layer.shape, strict=True))
    if "B" not in sizes and layer.layer.kind != "input":  # an image in a list has no batch
        return None
    long = (sizes["T"],) if "T" in sizes else ()
    if "H" in sizes and "W" in sizes:
        return (sizes["C"], *long, sizes["H"], sizes["W"])
    if axes.grid is not None and "N" in sizes:
        return (sizes["C"], *long, *axes.grid)
    return None


def _places(shape: Shape) -> Shape:
    return shape[1:]


class _Walk:
    """Goes through the tree of calls in the order they ended, only into those where the resolution changes."""

    def __init__(self, inside: dict[int | None, list[CountedLayer]]) -> None:
        self.inside = inside
        self.stopped = False

    def over(self, parent: int | None, start: Shape) -> list[Shape]:
        found: list[Shape] = []
        current = start
        for group in _calls(self.inside.get(parent, [])):
            first = group[0]
            shape = map_shape(first)
            children = self.inside.get(first.index)
            if first.layer.kind == "conv" or (shape is None and first.axes is not None and "N" in first.axes.names):
                children = None  # padding before a convolution, what attention does with tokens: nothing handed on
            pyramid = len({_places(each) for row in group if (each := map_shape(row)) is not None}) > 2
            if children and (shape is None or len(group) > 1 or _places(shape) != _places(current)):
                steps = self.over(first.index, current)
                if shape is not None and len(group) == 1:
                    steps = _without_detours(current, steps, shape)
            else:
                steps = []
            if shape is not None and not pyramid:
                steps.append(shape)
            for step in steps:
                if found and _places(found[-1]) == _places(step):
                    found[-1] = step
                elif found or _places(step) != _places(current) or step[0] != current[0]:
                    found.append(step)
            if found:
                current = found[-1]
            self.stopped = self.stopped or pyramid
            if self.stopped:
                break
        return found


def _calls(rows: Sequence[CountedLayer]) -> list[list[CountedLayer]]:
    """Rows side by side, the outputs of one call together."""
    groups: list[list[CountedLayer]] = []
    for row in rows:
        if groups and row.multiply_adds is None:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups


def _without_detours(start: Shape, steps: Sequence[Shape], end: Shape) -> list[Shape]:
    """What a module passes through from `start` to `end`, one way; nothing where it takes a single step."""
    falls = prod(_places(end)) <= prod(_places(start))
    kept: list[Shape] = []
    first, bound = prod(_places(start)), prod(_places(end))
    for step in reversed(steps):
        area = prod(_places(step))
        if (bound <= area <= first) if falls else (first <= area <= bound):
            kept.insert(0, step)
            bound = area
    resolutions: Collection[Shape] = {_places(step) for step in kept} - {_places(start), _places(end)}
    return kept if resolutions else []


def _without_repeats(steps: Sequence[Shape]) -> list[Shape]:
    """Loops gone through once (RAFT's refinements), and no single values aside (a scale for each channel).

    >>> _without_repeats([(3, 8, 8), (2, 4, 4), (2, 8, 8), (2, 4, 4), (2, 8, 8)])
    [(3, 8, 8), (2, 4, 4), (2, 8, 8)]
    >>> _without_repeats([(3, 8, 8), (4, 4, 4), (4, 1, 1), (4, 4, 4), (9, 2, 2)])
    [(3, 8, 8), (4, 4, 4), (9, 2, 2)]
    """
    kept: list[Shape] = []
    for step in steps:
        kept.append(step)
        if len(kept) > 2 and prod(_places(kept[-2])) == 1 and _places(kept[-3]) == _places(step):
            kept[-3:] = [step]
        for long in range(1, len(kept) // 2 + 1):
            if kept[-long:] == kept[-2 * long : -long]:
                del kept[-long:]
                break
    return kept
