"""Dead, constant and copied channels, each told where it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fmap_cli.statistics.records import Finding

from .copies import copied_finding, copies, fresh_groups, scaled_copies
from .norms import shifted
from .seen import Seen
from .silence import Silence, constant_finding, dead_finding, is_of_weights
from .thresholds import Thresholds


@dataclass(slots=True)
class _Known:
    """What is known of a layer's channels when a later one is looked at.

    `at` is the layer's place in the run. `told` marks channels whose silence has been reported, `since` at which
    layer's place and `zero` whether they were 0 there throughout; `groups` gives each the first of its copies.
    """

    at: int
    told: np.ndarray
    constant: np.ndarray
    groups: np.ndarray
    since: np.ndarray
    zero: np.ndarray

    def tell(self, channels: np.ndarray, layer: Seen) -> None:
        """Mark these channels of the layer, bool `[C]`, as reported here, where they are not yet."""
        fresh = channels & ~self.told
        self.told |= fresh
        self.since[fresh] = self.at
        self.zero[fresh] = layer.channels.zeros[fresh] == layer.channels.count


def channels(layers: Sequence[Seen], small: set[str], thresholds: Thresholds) -> Iterator[Finding]:
    """Dead, constant and copied channels, each where it begins. `small` names layers of which `nearly-zero` is told."""
    last: _Known | None = None
    by_width: dict[int, list[_Known]] = {}
    inputs = [each for each in layers if each.is_input and each.values]
    blank = bool(inputs) and all(each.constant.all() for each in inputs)
    gray = any(len(set(copies(each, thresholds).tolist())) < each.width for each in inputs)
    for at, each in enumerate(layers):
        if not each.is_real:
            continue
        width = each.width
        groups = copies(each, thresholds)
        known = _carried(at, each, last, by_width.get(width, []))
        if each.moves:
            known.tell(each.constant, each)
        elif not each.is_input:
            if each.name in small:
                known.tell(np.ones(width, bool), each)  # `nearly-zero` says so; what follows from that is constant
            if (each.dead & ~known.told).any():
                yield dead_finding(_silence(layers, each.dead, known, last, thresholds), thresholds)
            known.tell(each.dead, each)
            still = each.constant & ~known.told & ~_at_gate_bounds(each)
            after = layers[at + 1] if at + 1 < len(layers) else None
            if after is not None and after.width == width:
                still &= ~after.dead  # told there: a channel shut by its normalisation is a dead channel
            if still.any() and not blank:
                yield constant_finding(_silence(layers, still, known, last, thresholds), thresholds)
                known.tell(still, each)
            fresh = fresh_groups(groups, known.groups)
            # Of a gray picture a 1 × 1 convolution's filters are all one filter times a number.
            multiples = [] if gray else scaled_copies(each, groups, known.groups, thresholds)
            if fresh or multiples:
                yield copied_finding(each, fresh, multiples, thresholds)
            for channel, first, _ in multiples:
                groups[channel] = first
        known.constant, known.groups = each.constant, groups
        last = known
        by_width.setdefault(width, []).append(last)


def _carried(at: int, each: Seen, last: _Known | None, alike: Sequence[_Known]) -> _Known:
    """What of this layer's channels was so before it.

    A record does not say what a layer reads. Most read the layer before and keep its channels in place; operations
    read any with as many channels. What mixes channels hands on only what is constant on both sides, a depthwise
    convolution's, and a layer of which nothing varies leaves nothing that could.
    """
    width = each.width
    none = np.zeros(width, bool)
    found = _Known(at, none.copy(), none.copy(), np.arange(width), np.full(width, -1), none.copy())
    if last is None:
        return found
    if each.kind in ("op", "block", "output", "other"):
        for known in alike:
            _take(found, known, known.told & (each.constant if not each.moves else True))
            found.groups = np.where(found.groups == np.arange(width), known.groups, found.groups)
    elif len(last.told) == width:
        mixes = each.kind in ("conv", "linear") and not each.is_depthwise
        _take(found, last, last.told & each.constant if mixes else last.told)
        found.groups = last.groups
    if last.constant.all() and last.told.all() and last.told.size:
        fresh = each.constant & ~found.told
        found.told |= fresh
        found.since[fresh], found.zero[fresh] = last.since.min(), last.zero.all()
    return found


def _take(found: _Known, known: _Known, which: np.ndarray) -> None:
    """Hand on to `found` what is `known` of these channels, where it knows nothing yet."""
    fresh = which & ~found.told
    found.told = found.told | fresh
    found.since = np.where(fresh, known.since, found.since)
    found.zero = np.where(fresh, known.zero, found.zero)


def _silence(
    layers: Sequence[Seen], silent: np.ndarray, known: _Known, last: _Known | None, thresholds: Thresholds
) -> Silence:
    """What is known of the `silent` channels of a layer: which begin here, where the others began, and why."""
    layer, before = layers[known.at], None if last is None else layers[last.at]
    fresh, old = silent & ~known.told, silent & known.told
    shut, sure, offset = (np.zeros(layer.width, bool) for _ in range(3))
    if last is not None and before is not None and before.width == layer.width:
        shut = fresh & last.constant
        sure = shut & _is_by_weights(layers, last.at)
        offset = fresh & ~shut & shifted(layers[last.at - 1] if last.at else None, before, thresholds)
        offset &= ~layer.dead | (before.channels.mean < 0)
    since: dict[tuple[str, bool], int] = {}
    for place, zero in zip(known.since[old].tolist(), known.zero[old].tolist(), strict=True):
        since[layers[place].name, zero] = since.get((layers[place].name, zero), 0) + 1
    return Silence(layer, before, silent, fresh, shut, sure, offset, since)


def _is_by_weights(layers: Sequence[Seen], at: int) -> np.ndarray:
    """Of which constant channels of a layer the weights alone are the cause, whatever the image; bool `[C]`.

    A map that comes out constant of one that varies is made so by weights of zero. Where what was read is constant as
    well, the convolution before is to blame if all that it read varies; otherwise an image may have done it.
    """
    layer = layers[at]
    none = np.zeros(layer.width, bool)
    if not is_of_weights(layer) or not at:
        return none
    before = layers[at - 1]
    if layer.kind == "norm":
        if before.width != layer.width:
            return none
        return np.asarray(layer.constant & (~before.still | _is_by_weights(layers, at - 1)))
    return none if before.still.any() else layer.constant.copy()


def _at_gate_bounds(layer: Seen) -> np.ndarray:
    """Gates that stand open or shut are `saturated`, if they are many."""
    if layer.type != "hardsigmoid":
        return np.zeros(layer.width, bool)
    return np.isin(layer.channels.min, (0.0, 1.0))
