"""Sizes through depth: growth, decay, layers that are next to nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log2

import numpy as np

from fmap_cli.statistics.records import Finding
from fmap_cli.units import number

from .seen import SIGMOID, SOFTMAX, Seen, also, counted
from .thresholds import Thresholds


def trends(layers: Sequence[Seen], images: int, thresholds: Thresholds) -> Iterator[tuple[Finding, frozenset[str]]]:
    """Trends of the root mean square, each with the names of its layers."""
    told = False
    for run in _runs(layers):
        found = _trend(run, thresholds.depth_slope, thresholds.depth_ratio, "layers", images, thresholds)
        if found is not None:
            told |= found[0].check == "exploding"
            yield found
    for run in _residual_sums(layers):
        found = _trend(run, thresholds.residual_slope, thresholds.residual_ratio, "sums", images, thresholds)
        if found is not None and found[0].check == "exploding" and not told:
            yield found


def _trend(
    run: Sequence[Seen], least_slope: float, ratio: float, noun: str, images: int, thresholds: Thresholds
) -> tuple[Finding, frozenset[str]] | None:
    """The finding, at the layer that passes the ratio, and the names of those from there on."""
    if len(run) < thresholds.depth_layers:
        return None
    sizes = np.log2([each.rms for each in run])
    slope = _median_slope(sizes)
    total = float(sizes[-1] - sizes[0])
    steps = np.diff(sizes)
    steady = float(np.mean(np.sign(steps) == np.sign(slope)))
    # Single jumps are a network's own affair: the middle slope has to be steep, and most steps go its way.
    if abs(slope) < least_slope or steady < 0.75 or total * slope <= 0:
        return None
    bound = log2(ratio)
    if abs(total) < bound:
        return None
    crossed = next(each for each, size in zip(run, sizes, strict=True) if abs(size - sizes[0]) >= bound)
    grows = slope > 0
    finding = crossed.told(
        "exploding" if grows else "vanishing",
        "error" if abs(total) >= 2 * bound else "warning",
        f"the root mean square {'grows' if grows else 'falls'} from {number(run[0].rms)} at {run[0].name} to "
        f"{number(run[-1].rms)} at {run[-1].name}, about {number(2 ** abs(slope))} times "
        f"{'more' if grows else 'less'} with each of {len(run)} {noun}; here it is "
        f"{number(ratio)} times {'the first' if grows else 'smaller than the first'}.",
        _TREND_ADVICE[noun],
        sample=f"over {counted(images, crossed.noun)}, {len(run)} {noun} with no normalisation between them",
    )
    return finding, frozenset(each.name for each in run[run.index(crossed) :])


_TREND_ADVICE = {
    "layers": "Initialise with the gain that fits the activation (He's for ReLU), or put a normalisation between these "
    "layers.",
    "sums": "Scale each block's branch down (by a learnt factor that starts small, or by one over the root of the "
    "number of blocks), or put a normalisation into the blocks.",
}


def _residual_sums(layers: Sequence[Seen]) -> Iterator[list[Seen]]:
    """The sums at the ends of residual blocks with no normalisation between, of one number of channels at a time."""
    run: list[Seen] = []
    convolved = False
    for each in layers:
        convolved |= each.kind == "conv"
        is_sum = each.kind == "op" and each.type in ("add", "iadd") and each.places > 1 and convolved
        if is_sum and each.rms > 0 and each.is_finite and (not run or run[-1].width == each.width):
            run.append(each)
        elif each.kind == "norm" or is_sum:
            yield run
            run = [each] if is_sum and each.rms > 0 and each.is_finite else []
        convolved &= not is_sum
    yield run


def _runs(layers: Sequence[Seen]) -> Iterator[list[Seen]]:
    """Convolutions (of a network without, linear layers) with nothing between them that sets the scale anew.

    The last layer with weights is the answer and none of them; nor are those that see one value a channel (a gate
    beside the way). Where nothing but zeros or NaN comes out a run ends.
    """
    weighted = [each for each in layers if each.kind == "conv" or each.type == "linear"]
    maps = [each for each in weighted if each.places > 1]
    compared = {each.name for each in (maps or weighted)} - {each.name for each in weighted[-1:]}
    run: list[Seen] = []
    for each in layers:
        if each.kind == "norm":
            yield run
            run = []
        elif each.name in compared:
            if each.rms > 0 and each.is_finite:
                run.append(each)
            else:
                yield run
                run = []
    yield run


def _median_slope(sizes: np.ndarray) -> float:
    """The median of the slopes between all pairs of points: Theil's estimator (1950), which outliers do not turn."""
    first, second = np.triu_indices(len(sizes), 1)
    return float(np.median((sizes[second] - sizes[first]) / (second - first)))


# -- whole layers ------------------------------------------------------------------------------------------------


def small_layers(layers: Sequence[Seen], thresholds: Thresholds) -> Iterator[tuple[list[Seen], float]]:
    """Each group of layers that are nearly zero, until one is of ordinary size again, and what size the others had."""
    usual: list[float] = [each.rms for each in layers if each.is_input and each.is_finite]
    run: list[Seen] = []
    median = 0.0
    for each in layers:
        if each.is_input or not _has_a_scale(each) or not each.is_finite:
            continue
        if run and each.rms < thresholds.nearly_zero_rms:
            run.append(each)
            continue
        if run:
            yield run, median
            run = []
        median = float(np.median(usual)) if usual else 0.0
        bound = min(thresholds.nearly_zero_rms, thresholds.nearly_zero_ratio * median)
        if each.rms < bound or each.rms == 0:
            run = [each]
        else:
            usual.append(each.rms)
    if run:
        yield run, median


def is_shut(layer: Seen) -> bool:
    """Whether all of a ReLU's channels are dead, which is told of its channels."""
    return layer.rms == 0 and bool(layer.width and layer.dead.all())


def nearly_zero(run: Sequence[Seen], usual: float) -> Finding:
    first, later = run[0], run[1:]
    size = "every value is exactly 0"
    if first.rms:
        largest = max(first.max, -first.min)
        size = f"the root mean square is {number(first.rms)} and no magnitude above {number(largest)}"
    than = f", where the layers before have {number(usual)} (their median)" if usual else ""
    return first.told(
        "nearly-zero",
        "warning",
        f"{size}{than}.{also(later, 'is nearly zero', 'are nearly zero')}",
        "Look at this layer's weights: an initialisation too small, weights decayed to nothing, or a residual branch's "
        "last layer that starts at zero on purpose and was never trained.",
    )


def _has_a_scale(layer: Seen) -> bool:
    """Whether being small is a fault: probabilities and gates are small by nature.

    An operation may make values small on purpose: ConvNeXt multiplies its branches by 1e-6.
    """
    if not layer.is_real or layer.type in SOFTMAX | SIGMOID | {"hardsigmoid"}:
        return False
    return layer.kind in ("conv", "linear", "norm", "act", "pool")
