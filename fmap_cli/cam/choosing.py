"""Which layer the evidence is read from: found by measuring what the answer depends on, or the one that is named.

The last map before places are pooled or flattened is the deepest layer that still knows where something is. Where the
answer reads a class token, the tokens of the last layers have no part in it any more: their gradient is zero, and the
layer is the last one whose gradient is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..answers.records import Target
from ..errors import LayerError
from ..inputs.records import ImageInput
from ..network.axes import channel_maps
from ..network.capture import Sink
from ..network.records import Axes, LayerRef
from ..network.selection import Selection
from ..session.axes import axes_for
from ..session.opening import Session
from ..session.passes import run
from .gradients import Differentiated, gradients_of, measured_gradients

if TYPE_CHECKING:
    from torch import Tensor

    from ..network.axes import AxesResolver

_AT_ONCE = (6, 24, 96, 10_000)
"""How many layers, from the last on, are differentiated in one pass until one of them has a gradient."""
_BACKBONE = 0.2
"""The first part of a segmentation network with at least this share of all parameters is taken for its backbone."""
_SAME = 1e-9
"""Outputs whose sums differ by less, as a share of the sum of their magnitudes, hold the same values."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A layer of the pass: its output's shape, and of its values the sum, the sum of magnitudes, least and largest.

    `is_plain` says that there are values, and that they lie in ordinary memory: of a sparse tensor nothing is read.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    numbers: tuple[float, float, float, float]
    is_plain: bool = True

    def holds_the_same_as(self, other: Seen) -> bool:
        """Whether both hold the same values, in whatever order of axes."""
        (total, size, *ends), (others_total, others_size, *others_ends) = self.numbers, other.numbers
        if prod(self.shape) != prod(other.shape) or ends != others_ends:
            return False
        close = _SAME * max(size, others_size)
        return abs(size - others_size) <= close and abs(total - others_total) <= close


@dataclass(frozen=True, slots=True)
class Map:
    """A layer that holds a map, its axes, and what was measured of it."""

    layer: LayerRef
    axes: Axes
    found: Differentiated


def survey(session: Session, image: ImageInput) -> tuple[list[Seen], Any]:
    """Every layer in execution order, and the network's answer; one pass."""
    seen: list[Seen] = []

    def watch(layer: LayerRef) -> Sink | None:
        def sink(output: Tensor) -> None:
            numbers = (0.0, 0.0, 0.0, 0.0)
            is_plain = output.layout == torch.strided and output.numel() > 0
            if is_plain and output.ndim > 2 and output.is_floating_point():
                exact = torch.float32 if output.is_mps else torch.float64
                total, size = output.sum(dtype=exact), output.abs().sum(dtype=exact)
                numbers = (float(total), float(size), float(output.min()), float(output.max()))
            seen.append(Seen(layer, tuple(output.shape), numbers, is_plain))

        return sink

    return seen, run(session, image, watch)


def named(
    session: Session,
    image: ImageInput,
    seen: Sequence[Seen],
    patterns: Sequence[str],
    target: Target,
    layout: str | None,
) -> list[Map]:
    """The layer that the patterns pick: one, or the several tensors that one call of a module puts out (a pyramid).

    Raises LayerError where they pick none, several, or one without places.
    """
    selection = Selection(patterns, session.model.module)
    for each in seen:
        selection.offer(each.layer, each.shape)
    picked = [layer for layer, _ in selection.chosen()]
    if len({(each.path, each.call, each.is_module) for each in picked}) > 1:
        listed = ", ".join(each.name for each in picked[:3]) + (" and more" if len(picked) > 3 else "")
        raise LayerError(
            f"evidence is read from one layer, and these are {len(picked)}: {listed}.",
            hint="Give one, or leave --layer out: the last map is taken.",
        )
    shapes = {each.layer.name: each.shape for each in seen}
    resolver = axes_for(session, image, layout)
    for each in seen:
        if each.layer in picked and not each.is_plain:
            why = "is empty" if 0 in each.shape else "is a sparse tensor"
            raise LayerError(f"layer {each.layer.name!r} has no evidence to read: its output {why}.")
    axes = {each.name: resolver.of(each, shapes[each.name]) for each in picked}
    fitting = [each for each in picked if _is_map(axes[each.name], shapes[each.name])]
    if not fitting:
        one = picked[0]
        letters = ", ".join(axes[one.name].names)
        raise LayerError(
            f"layer {one.name!r} has no places to lay evidence on: its output is [{letters}] ="
            f" {list(shapes[one.name])}.",
            hint="Give a layer whose output is a map or tokens in a grid, or say with --layout what its axes are"
            " (BCHW, BHWC, BNC).",
        )
    found = gradients_of(session, image, fitting, target)
    return [Map(each, axes[each.name], found[each.name]) for each in fitting if each.name in found]


def chosen(session: Session, image: ImageInput, seen: Sequence[Seen], target: Target) -> tuple[list[Map], str]:
    """The layer that the evidence is best read from, of a detector the levels that the object's score depends on; and
    in words why it is that one. Raises LayerError where no layer has places.
    """
    seen = [each for each in seen if each.is_plain]
    resolver = axes_for(session, image)
    if target.kind == "object":
        levels = _pyramid(session, image, seen, target, resolver)
        if levels:
            return levels, "the levels of the feature pyramid that the score of this box depends on"
        part = _parts(session)[:1]
        why = "the last map of the part that all boxes share"
    elif target.kind == "pixels":
        part = [each for each in _parts(session)[:1] if each[1] >= _BACKBONE]
        why = "the last of the smallest maps, where each place has seen most of the picture"
    else:
        part, why = [], "the last map with places that the answer depends on"
    within = [each for each in seen if not part or _is_in(each.layer, part[0][0])]
    waiting = list(_maps(within, resolver))
    if target.kind == "pixels":
        waiting.sort(key=_cells)  # the last of the smallest first
    if not waiting:
        raise LayerError(
            f"no layer of {session.model.name} has a map as its output, so there are no places to lay evidence on.",
            hint="`fmap layers` with the same --model lists what there is; `fmap effect` says which channels count.",
        )
    best, at = waiting[0], 0  # where the number depends on none of them, the evidence is zero, which is said
    for count in _AT_ONCE:
        batch = waiting[at : at + count]
        found = measured_gradients(session, image, [each.layer for each, _ in batch], target) if batch else {}
        depends = (each for each in batch if _at_places(found.get(each[0].layer.name), each[1]))
        first = next(depends, None)
        if first is not None:
            best = _under_best_name(first, waiting)
            break
        at += count
    own = gradients_of(session, image, [best[0].layer], target)
    return [Map(best[0].layer, best[1], each) for each in own.values()], why


def _at_places(gradient: Tensor | None, axes: Axes) -> bool:
    """Whether a gradient is other than zero at a place; that of a class token is at none."""
    return gradient is not None and bool(channel_maps(gradient, axes).any())


def _under_best_name(found: tuple[Seen, Axes], maps: Sequence[tuple[Seen, Axes]]) -> tuple[Seen, Axes]:
    """Of the layers that hold the very same values, the one with the shortest name: `layer4` for `layer4.1.relu_1`."""
    before = maps[maps.index(found) :]  # the last comes first
    same = [each for each in before if each is found or each[0].holds_the_same_as(found[0])]
    same = [each for each in same if each[0].layer.is_module] or same
    same.reverse()  # the first of those that are alike in this
    return min(same, key=lambda each: each[0].layer.name.count("."))


def _maps(seen: Sequence[Seen], resolver: AxesResolver) -> Iterator[tuple[Seen, Axes]]:
    """The layers that hold maps, the last first. Of tokens only what a block or a normalisation puts out: inside
    attention they are queries and keys.
    """
    for each in reversed(seen):
        if each.layer.kind in ("input", "output") or len(each.shape) < 3:
            continue
        axes = resolver.of(each.layer, each.shape)
        tokens = "H" not in axes.names
        if _is_map(axes, each.shape) and (not tokens or each.layer.kind in ("block", "norm")):
            yield each, axes


def _is_map(axes: Axes, shape: Sequence[int]) -> bool:
    """Whether an output has channels at more than one place of the picture, and no axis that nobody knows."""
    if not axes.spatial or axes.names.count("C") != 1 or any("?" in each or "·" in each for each in axes.names):
        return False
    if axes.grid is not None and "N" in axes.names:
        return axes.grid[0] * axes.grid[1] > 1
    return shape[axes.names.index("H")] * shape[axes.names.index("W")] > 1


def _cells(each: tuple[Seen, Axes]) -> int:
    seen, axes = each
    if axes.grid is not None and "N" in axes.names:
        return axes.grid[0] * axes.grid[1]
    return seen.shape[axes.names.index("H")] * seen.shape[axes.names.index("W")]


def _parts(session: Session) -> list[tuple[str, float]]:
    """The modules that a network is made of, those with weights, and which share of all parameters is theirs."""
    module: nn.Module = session.model.module
    sizes = [(name, sum(each.numel() for each in child.parameters())) for name, child in module.named_children()]
    total = sum(size for _, size in sizes) or 1
    return [(name, size / total) for name, size in sizes if size]


def _is_in(layer: LayerRef, part: str) -> bool:
    return layer.path == part or layer.path.startswith(f"{part}.")


def _pyramid(
    session: Session, image: ImageInput, seen: Sequence[Seen], target: Target, resolver: AxesResolver
) -> list[Map]:
    """The maps of several sizes that one module puts out and the target depends on; of the last such module."""
    groups: dict[tuple[str, int], list[Seen]] = {}
    for each in seen:
        if each.layer.is_module and len(each.shape) == 4 and each.layer.name != each.layer.path:
            groups.setdefault((each.layer.path, each.layer.call), []).append(each)
    for group in reversed(list(groups.values())):
        if len({each.shape[2:] for each in group}) < 2:
            continue
        axes = {each.layer.name: resolver.of(each.layer, each.shape) for each in group}
        fitting = [each.layer for each in group if _is_map(axes[each.layer.name], each.shape)]
        if not fitting:
            continue
        found = gradients_of(session, image, fitting, target)
        levels = [Map(each, axes[each.name], found[each.name]) for each in fitting if each.name in found]
        levels = [each for each in levels if bool(each.found.gradient.any())]
        if levels:
            return levels
    return []
