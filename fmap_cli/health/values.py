"""Layers whose values are not finite, are lost in float16, or stand at the bounds of their activation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fmap_cli.statistics.moments import BIN_EDGES
from fmap_cli.statistics.records import Finding
from fmap_cli.units import count, number, percent

from .seen import SIGMOID, SOFTMAX, Seen, also, counted
from .thresholds import Thresholds

_MASKING = frozenset(["maskedfill", "where", "triu", "tril", "full", "logsoftmax"])


# -- NaN and infinity --------------------------------------------------------------------------------------------


def not_finite(layers: Sequence[Seen]) -> Iterator[Finding]:
    ill = [at for at, each in enumerate(layers) if each.finite < each.values and not _is_mask(layers, at)]
    if not ill:
        return
    first, later = layers[ill[0]], [layers[at] for at in ill[1:]]
    nan, inf = int(first.channels.nan.sum()), int(first.channels.inf.sum())
    where = np.flatnonzero(first.channels.nan + first.channels.inf)
    kinds = " and ".join(f"{count(amount)} {noun}" for amount, noun in ((nan, "NaN"), (inf, "infinite")) if amount)
    among = f"{kinds} of {counted(first.values, 'value')}, in {len(where)} of {counted(first.width, 'channel')}"
    follow = f"; {counted(len(later), 'later layer')} {'has' if len(later) == 1 else 'have'} them too" if later else ""
    if first.is_input:
        what = f"the input already has values that are not finite: {among}{follow}."
        advice = "Look at the file and at --mean and --std: a picture has no such values, an array may."
    else:
        what = f"the first layer with values that are not finite: {among}{follow}."
        advice = (
            "Look for NaN among this layer's weights first; in training, go back to the last good checkpoint and lower "
            "the learning rate or clip gradients."
        )
    yield first.told("not-finite", "error", what, advice, where)


def _is_mask(layers: Sequence[Seen], at: int) -> bool:
    """Whether infinities are meant: attention masks set to -inf what the softmax after it should leave out."""
    each, after = layers[at], (layers[at + 1] if at + 1 < len(layers) else None)
    if each.kind != "op" or each.channels.nan.any():
        return False
    return each.type in _MASKING or (after is not None and after.type in SOFTMAX)


# -- float16 -----------------------------------------------------------------------------------------------------

_FLOAT16_SMALLEST_NORMAL = 2.0**-14


def float16(layers: Sequence[Seen], thresholds: Thresholds) -> Iterator[Finding]:
    limit = thresholds.float16_max
    wide = [each for each in layers if each.record.dtype != "float16" and each.finite]
    over = [each for each in wide if max(each.max, -each.min) > limit]
    if over:
        first = over[0]
        largest = max(max(each.max, -each.min) for each in over)
        more = also(over[1:], "has such values", "have such values")
        beyond = f"{number(limit, 5)}{', the largest number of float16' if limit == 65504 else ''}"
        yield first.told(
            "float16-overflow",
            "warning",
            f"at least {counted(_at_least_beyond(first, limit), 'value')} beyond {beyond}: "
            f"{number(first.min)} … {number(first.max)}.{more}"
            + (f" The largest magnitude of all is {number(largest)}." if more else ""),
            "Run it in bfloat16 or float32, or keep these layers in float32; such sizes often mean that a "
            "normalisation is missing or the input is not scaled.",
            np.flatnonzero(np.fmax(first.channels.max, -first.channels.min) > limit),
        )
    small = [
        (each, *_small(each)) for each in wide if each.type not in SOFTMAX | SIGMOID and each.histogram is not None
    ]
    lost = [(each, part, of) for each, part, of in small if of and part >= thresholds.float16_small_share * of]
    if lost:
        first, part, of = lost[0]
        later = [each for each, _, _ in lost[1:]]
        more = also(later, "has as many", "have as many")
        yield first.told(
            "float16-underflow",
            "warning",
            f"{percent(part / of)} of the {count(of)} values that are not zero are below 2⁻¹⁴ = 6.1e-05, where float16 "
            f"loses digits.{more}",
            "Run it in bfloat16 or float32, or scale this layer up (in training, loss scaling does so for gradients).",
        )


def _at_least_beyond(layer: Seen, limit: float) -> int:
    """How many values are surely beyond ±limit: whole cells that are, and an extreme that lies short of those."""
    surely = int(layer.max > limit) + int(layer.min < -limit)
    if layer.sampled is None:
        return surely
    cells = layer.sampled[(BIN_EDGES[:-1] >= limit) | (BIN_EDGES[1:] <= -limit)].sum()
    return max(surely, int(cells))


def _small(layer: Seen) -> tuple[int, int]:
    """How many values are not zero and below float16's smallest normal number, and how many are not zero."""
    assert layer.histogram is not None
    zeros = int(layer.channels.zeros.sum())
    inner = (BIN_EDGES[1:] <= _FLOAT16_SMALLEST_NORMAL) & (BIN_EDGES[:-1] >= -_FLOAT16_SMALLEST_NORMAL)
    return max(0, int(layer.histogram[inner].sum()) - zeros), layer.finite - zeros


# -- saturation ------------------------------------------------------------------------------------------------
def _is_answer(layers: Sequence[Seen], at: int) -> bool:
    """Whether no layer with weights reads what comes from here on: the network's own answer, free to be certain."""
    return not any(each.kind in ("conv", "linear") for each in layers[at + 1 :])


def saturated(layers: Sequence[Seen], thresholds: Thresholds) -> Iterator[Finding]:
    for at, each in enumerate(layers):
        if each.histogram is None or not each.finite:
            continue
        measured = _ends(each)
        if measured is None:
            continue
        part, of, where, clipped = measured
        limit = thresholds.clipped_share if clipped else thresholds.saturated_share
        if not of or part < limit * of:
            continue
        is_map_bound = each.type in ("relu6", "hardswish")
        if not is_map_bound and _is_answer(layers, at):
            continue
        gates = each.places == 1
        about = "about " if each.sampled is not None and int(each.sampled.sum()) < each.finite else ""
        noun = "rows" if each.type in SOFTMAX else "gates" if gates and not is_map_bound else "values"
        yield each.told(
            "saturated",
            "note" if gates else "warning",
            f"{about}{percent(part / of)} of {count(of)} {noun} {where}.",
            "Such values pass on neither differences in the input nor a gradient: lower the scale of what comes in "
            "(normalisation, initialisation, learning rate)"
            + (
                "; a gate that is always open or shut can be removed."
                if gates and each.images >= thresholds.dead_images
                else "."
            ),
        )


def _ends(layer: Seen) -> tuple[int, int, str, bool] | None:
    """(values at the flat ends, of how many, where in words, whether hard bounds clip) of a bounded activation."""
    assert layer.histogram is not None
    kind = layer.type
    if kind == "relu6":
        return _at(layer, 6.0), layer.finite, "are at the upper bound, 6", True
    if kind == "hardtanh":
        # The bounds are the module's own: an extreme that is an edge of the cells has in its cell nothing else.
        bounds = [bound for bound in dict.fromkeys((layer.min, layer.max)) if bound and bound in BIN_EDGES]
        named = " or ".join(number(bound) for bound in bounds)
        return sum(_at(layer, bound) for bound in bounds), layer.finite, f"are at a bound, {named}", True
    if kind == "hardswish":
        zeros = int(layer.channels.zeros.sum())
        return zeros, layer.finite, "are exactly 0, where its input is -3 or less", False
    if kind == "hardsigmoid":
        zeros = int(layer.channels.zeros.sum())
        return zeros + _at(layer, 1.0), layer.finite, "are exactly 0 or 1", False
    if kind == "sigmoid":
        ends = _above(layer, 15 / 16) + layer.finite - _above(layer, 1 / 16)
        return ends, layer.finite, "are below 1/16 or from 15/16 on", False
    if kind == "tanh":
        ends = _above(layer, 15 / 16) + int(layer.histogram[BIN_EDGES[1:] <= -15 / 16].sum())
        return ends, layer.finite, "are within 1/16 of -1 or 1", False
    if kind in ("softmax", "softmax2d"):
        rows = round(float(np.nansum(layer.channels.mean * layer.channels.finite)))  # each row adds up to 1
        return _above(layer, 15 / 16), rows, "have one value of at least 15/16: nearly one-hot", False
    return None


def _at(layer: Seen, bound: float) -> int:
    """How many values are the bound: those in the cell that begins there, as no value lies beyond."""
    assert layer.histogram is not None
    found = np.searchsorted(BIN_EDGES, abs(bound))
    return int(layer.histogram[found if bound > 0 else len(layer.histogram) - 1 - found])


def _above(layer: Seen, edge: float) -> int:
    assert layer.histogram is not None
    return int(layer.histogram[BIN_EDGES[:-1] >= edge].sum())
