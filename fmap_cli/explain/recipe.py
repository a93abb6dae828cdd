"""The recipe of a value: its strongest terms, followed back through the convolutions before them, as a tree that adds
up.

Every node is a sum over values of one channel, with the weights that the node above gives them: of one place where the
kernels are 1 × 1, else of those under a window. What it adds to the value at the root is its `contribution`, and the
parts of a node add up to its own, what is small among them as one remainder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..units import layer_name
from .asking import source_of
from .kinds import in_words, way_of
from .products import Product, Sum, product, weights_before
from .records import ROUNDING, UNSPLIT, Part
from .splitting import Found, split
from .tape import Operation, Tape, Value
from .weights import Weights

_TERMS = (3, 2, 1)
"""How many terms of a convolution are followed further back: of the value's own, of those before, and of all others."""

_ROUNDING = 1e-6  # of float32, and the number formats below have more

_ROUNDED = 1e3
"""How many units of rounding there may be between a sum and the network's own, of the magnitudes that are added up."""

_SOURCES = 4
"""How many parts of a term are listed; the strongest convolution among them is followed."""


def needed_for_recipe(tape: Tape, one: Operation, back: int) -> list[Operation]:
    """What lies between a product and the products so many further back, these included, and what lays out their
    inputs."""
    needed: dict[int, Operation] = {}
    front = [one]
    for _ in range(back):
        found: dict[int, Operation] = {}
        waiting = [value for each in front for value in each.reads]
        seen: set[Value] = set()
        while waiting:
            value = waiting.pop()
            operation = tape.maker[value.number]
            if value in seen or operation is None:
                continue
            seen.add(value)
            needed[operation.index] = operation
            if way_of(operation) == "product":
                found[operation.index] = operation
            elif way_of(operation) != "stop":
                waiting.extend(operation.reads)
        front = list(found.values())
        for each in front:
            needed |= {between.index: between for between in source_of(tape, each)[1]}
    return list(needed.values())


def recipe_of(kept: Tape, one: Product, found: Sum, index: Sequence[int], back: int) -> Part:
    """The tree of one value of a product: its terms, and what they are made of, back through `back` products more."""
    weights = Weights.at(kept.values[one.made].shape, index)
    channel = int(index[one.channel_axis])
    return _Recipe(kept, back).product(one, channel, weights, (), 0, found.bias - one.bias_of(channel))


class _Recipe:
    def __init__(self, kept: Tape, back: int) -> None:
        self.kept = kept
        self.back = back
        self.names = {shown.value: shown.layer.name for shown in reversed(kept.shown.values())}

    def product(
        self,
        one: Product,
        channel: int,
        weights: Weights,
        between: tuple[str, ...],
        depth: int,
        added: float = 0.0,
        *,
        follow: bool = True,
    ) -> Part:
        """A weighted sum over one channel that a product puts out; by the product's terms if it is to be followed."""
        axis, made = one.channel_axis, self.kept.values[one.made]
        node = Part(
            "channel",
            weights.sum(made) + added,
            one.operation.layer,
            channel,
            _value(weights, made),
            " → ".join(reversed(between)),
            map=self._map(one.made, axis, channel),
        )
        if not follow:
            return node
        inputs = one.inputs_of(channel)
        before = weights_before(self.kept, one, weights, channel)
        products = before.times(self.kept.values[one.read])
        terms = products.transpose(0, axis).reshape(len(inputs), -1).sum(1).numpy()
        order = np.argsort(-np.abs(np.nan_to_num(terms, nan=np.inf)), kind="stable")
        count = _TERMS[min(depth, len(_TERMS) - 1)]
        parts = []
        for at in order[:count].tolist():
            start = list(before.start)
            start[axis] += at
            own = Weights(before.shape, tuple(start), before.values.narrow(axis, at, 1)).shrunk()
            parts.append(self.term(one, inputs[at], own, float(terms[at]), depth))
        left = order[count:]
        if len(left):
            words = f"the other {len(left):,} inputs" if len(left) > 1 else "the other input"
            parts.append(
                Part("rest", float(terms[left].sum()), words=f"{words} of {layer_name(node.layer)}", count=len(left))
            )
        bias = float(weights.values.sum()) * one.bias_of(channel) + added
        if bias:
            parts.append(Part("bias", bias, node.layer))
        return self._closed(node, parts, one.made, float(np.abs(terms).sum()))

    def term(self, one: Product, channel: int, weights: Weights, contribution: float, depth: int) -> Part:
        """What one input channel of a product adds, and what it is made of at the products before."""
        source, _ = source_of(self.kept, one.operation)
        node = Part(
            "input" if source in self.kept.given else "channel",
            contribution,
            self.names.get(source, ""),
            channel,
            _value(weights, self.kept.values[one.read]),
            map=self._map(one.read, one.channel_axis, channel),
        )
        if depth == self.back or node.kind == "input":
            return node
        found = split(self.kept, one.read, weights)
        sources: list[tuple[Product, int, Weights, tuple[str, ...]]] = []
        ends = [*found.ends]
        for each in found.products:
            before = None if each.operation is None else product(each.operation)
            if before is None:
                ends.append(each)
                continue
            sources += [
                (before, channel, own, each.between) for channel, own in each.weights.by_channel(before.channel_axis)
            ]
        sources.sort(key=lambda each: -abs(each[2].sum(self.kept.values[each[0].made])))
        parts = [
            self.product(before, channel, own, between, depth + 1, follow=at == 0)
            for at, (before, channel, own, between) in enumerate(sources)
        ]
        parts += [self._end(each) for each in ends]
        parts += [Part("input", each.sum(self.kept), words="the input itself") for each in found.given]
        size = sum(abs(each.contribution) for each in parts)
        parts += [
            Part("constant", each, words=name)
            for name, each in found.constants.items()
            if abs(each) > _ROUNDING * size  # what an addition leaves is rounding
        ]
        parts.sort(key=lambda each: -abs(each.contribution))
        if len(parts) > _SOURCES + 1:
            small = parts[_SOURCES:]
            words = f"{len(small)} smaller parts"
            parts[_SOURCES:] = [Part("rest", sum(each.contribution for each in small), words=words, count=len(small))]
        return self._closed(node, parts, one.read, size)

    def _closed(self, node: Part, parts: Sequence[Part], value: Value, size: float) -> Part:
        """A node with its parts; what is left between them and its own value is one more where it is not tiny.

        It is called rounding as far as the number format explains it, measured by `size`, the magnitudes added up.
        """
        left = node.contribution - sum(each.contribution for each in parts)
        if abs(left) > 1e-12 * abs(node.contribution):
            dtype = self.kept.values[value].dtype
            share = min(_ROUNDED * torch.finfo(dtype).eps, 0.05) if dtype.is_floating_point else 0.05
            size += sum(abs(each.contribution) for each in parts)
            parts = [*parts, Part("constant", left, words=UNSPLIT if abs(left) > share * size else ROUNDING)]
        return replace(node, parts=tuple(parts))

    def _end(self, found: Found) -> Part:
        """What can't be split: it is named, and shown as it is."""
        operation = found.operation
        if operation is None:
            return Part("end", found.sum(self.kept), words="what cannot be followed further back")
        layer = self.names.get(found.value, operation.layer)
        if way_of(operation) == "product":
            words = f"a product with weights that is not taken apart into terms ({layer_name(layer)})"
            return Part("end", found.sum(self.kept), layer, words=words)
        return Part(
            "end", found.sum(self.kept), layer, words=f"{in_words(operation)}, which is not a sum ({layer_name(layer)})"
        )

    def _map(self, value: Value, axis: int, channel: int) -> np.ndarray | None:
        """The channel's whole map `[H, W]`, of a clip its middle frame; None of values without a place."""
        values = self.kept.values[value]
        if axis != 1 or values.ndim < 3:
            return None
        plane = values[0, channel]
        if plane.ndim == 3:
            plane = plane[len(plane) // 2]
        found: np.ndarray = plane.reshape(-1, plane.shape[-1]).to(torch.float32).numpy()
        return found


def _value(weights: Weights, values: Tensor) -> float | None:
    """The value at the one place that counts; None where several do."""
    place = weights.only()
    return None if place is None else float(values[place])
