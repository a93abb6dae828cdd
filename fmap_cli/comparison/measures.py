"""Two outputs of a layer, or two runs' statistics of it, to the numbers that say how far they are apart.

The first of the two is the reference: relative differences are shares of it. All arithmetic is in float64.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, sqrt

import numpy as np
import torch
from torch import Tensor

from ..statistics.records import LayerRecord
from .records import Difference, RunDifference

THRESHOLDS = {"float64": 1e-12, "float32": 1e-4, "tf32": 2e-2, "float16": 2e-2, "bfloat16": 1e-1}
"""The relative L2 difference that rounding does not reach in networks that are well, by number format.

Measured over all layers of five networks against another memory format or float64 (docs/compare.md): at most 2e-6,
2e-2 and 8e-2 in float32, float16 and bfloat16. `tf32` is what CUDA makes of float32 in convolutions: ten bits, as
float16 has.
"""

_PIECE = 1 << 20
"""How many values are turned into float64 at once, but for a channel that has more."""
_SAFE = (1e-70, 1e70)
"""Values within can be squared, summed and multiplied again in float64; others are brought there by a power of two."""


def default_threshold(formats: Sequence[str]) -> float:
    """The threshold of the coarsest of these number formats.

    >>> default_threshold(["float32", "bfloat16"]), default_threshold(["float64", "float32"])
    (0.1, 0.0001)
    """
    return max(THRESHOLDS.get(name, THRESHOLDS["float32"]) for name in formats)


# -- outputs -----------------------------------------------------------------------------------------------------


def differ(a: Tensor, b: Tensor, channel_axis: int | None = None) -> Difference:
    """How far `b` is from `a`, of the same shape and any dtypes; without `channel_axis` all is one channel.

    >>> found = differ(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.5]]))
    >>> found.max_abs, found.relative_l2, round(found.cosine, 4)
    (0.5, 0.1, 0.9985)
    """
    a, b = real_numbers(a), real_numbers(b)
    rows_a, rows_b = _rows(a, channel_axis), _rows(b, channel_axis)  # [C, n]
    channels, length = rows_a.shape
    scale = _scale(a, b)
    step = max(1, _PIECE // max(length, 1))
    sums = [_Sums(rows_a[at : at + step], rows_b[at : at + step], scale) for at in range(0, channels, step)]
    dd, aa, bb, ab = (float(sum(getattr(each, name).sum() for each in sums)) for name in ("dd", "aa", "bb", "ab"))
    unlike = sum(each.unlike for each in sums)
    means = np.concatenate([each.means for each in sums], axis=1) if sums else np.empty((2, 0))
    correlation: float | None
    correlated: int | None
    if length == 1 and channels > 1:
        correlation, correlated = _correlation_over_channels(rows_a, rows_b, scale), None
    else:
        known = torch.cat([each.correlations for each in sums]) if sums else torch.empty(0)
        known = known[~known.isnan()]
        correlation, correlated = (float(known.mean()) if len(known) else None), len(known)
    return Difference(
        count=a.numel(),
        max_abs=inf if unlike else max((each.largest for each in sums), default=0.0),
        relative_l2=inf if unlike else _share(sqrt(dd), sqrt(aa)),
        cosine=_cosine(aa, bb, ab, same=dd == 0),
        correlation=correlation,
        correlated=correlated,
        unlike=unlike,
        channels=np.concatenate([each.apart for each in sums]) if sums else np.empty(0),
        pooled_cosine=None if channel_axis is None else pooled_cosine(means * scale),
        means=None if channel_axis is None else means,
    )


def pooled_cosine(means: np.ndarray) -> float | None:
    """The cosine of two vectors of channel means, `[2, C]`, over the channels that both have one of.

    >>> pooled_cosine(np.array([[3.0, 4.0, np.nan], [4.0, 3.0, 1.0]]))
    0.96
    """
    a, b = means[:, np.isfinite(means).all(0)]
    aa, bb, ab = (float((one * other).sum()) for one, other in ((a, a), (b, b), (a, b)))
    return _cosine(aa, bb, ab, same=bool((a == b).all()))


def real_numbers(output: Tensor) -> Tensor:
    """An output as real numbers in ordinary memory: complex ones as pairs, on a last axis of their own."""
    output = output.detach()
    if output.is_quantized:
        output = output.dequantize()
    if output.layout != torch.strided:
        output = output.to_dense()
    if output.is_complex():
        output = torch.view_as_real(output.resolve_conj())
    return output.cpu()


def _rows(values: Tensor, channel_axis: int | None) -> Tensor:
    if channel_axis is None:
        return values.reshape(1, -1)
    moved = values.movedim(channel_axis, 0)
    return moved.reshape(len(moved), values.numel() // max(len(moved), 1))


def _scale(a: Tensor, b: Tensor) -> float:
    """A power of two that brings the largest finite value near 1, where it is far from it; else 1."""
    if a.dtype != torch.float64 and b.dtype != torch.float64:
        return 1.0  # no other type reaches that far
    largest = 0.0
    for each in (a, b):
        finite = each[each.isfinite()].abs() if each.is_floating_point() else each[:0]
        largest = max(largest, float(finite.max()) if finite.numel() else 0.0)
    if largest == 0 or _SAFE[0] < largest < _SAFE[1]:
        return 1.0
    return float(2.0 ** -np.clip(np.frexp(largest)[1], -1000, 1000))


class _Sums:
    """What is summed over some rows `[c, n]` of both sides, by row: squares and products of their `scale`-fold."""

    def __init__(self, a: Tensor, b: Tensor, scale: float) -> None:
        a, b = a.to(torch.float64), b.to(torch.float64)
        finite = a.isfinite() & b.isfinite()
        all_finite = bool(finite.all())
        unlike = torch.zeros(len(a), dtype=torch.int64)
        if not all_finite:
            alike = (a == b) | (a.isnan() & b.isnan())
            unlike = (~finite & ~alike).sum(1)
            a, b = torch.where(finite, a, 0.0), torch.where(finite, b, 0.0)
        self.largest = float((b - a).abs().max()) if a.numel() else 0.0
        if scale != 1.0:
            a, b = a * scale, b * scale
        self.dd = (b - a).square_().sum(1)
        self.aa, self.bb, self.ab = a.square().sum(1), b.square().sum(1), (a * b).sum(1)
        self.unlike = int(unlike.sum())
        known = finite.sum(1, dtype=torch.float64) * scale  # NaN where there is no finite place
        self.means: np.ndarray = torch.stack([a.sum(1) / known, b.sum(1) / known]).numpy()  # [2, c]
        self.apart: np.ndarray = torch.where(unlike > 0, torch.inf, self.dd.sqrt() / scale).numpy()
        self.correlations = _correlations(a, b, None if all_finite else finite)


def _correlations(a: Tensor, b: Tensor, finite: Tensor | None) -> Tensor:
    """Pearson's correlation of each row of both, over the places that are finite; NaN where one does not vary."""
    if a.shape[1] < 2:
        return a.new_full((len(a),), torch.nan)
    if finite is None:
        deviations = [each - each.mean(1, keepdim=True) for each in (a, b)]
        varies = (a.amin(1) < a.amax(1)) & (b.amin(1) < b.amax(1))
    else:
        known = finite.sum(1, keepdim=True)
        deviations = [torch.where(finite, each - each.sum(1, keepdim=True) / known, 0.0) for each in (a, b)]
        lows = [torch.where(finite, each, torch.inf).amin(1) for each in (a, b)]
        highs = [torch.where(finite, each, -torch.inf).amax(1) for each in (a, b)]
        varies = (lows[0] < highs[0]) & (lows[1] < highs[1])
    x, y = deviations
    # The root of a product, not the product of roots: for equal rows it is the sum of squares itself, and r is 1.
    r = (x * y).sum(1) / (x.square().sum(1) * y.square().sum(1)).sqrt()
    return torch.where(varies, r.clamp(-1, 1), torch.nan)


def _correlation_over_channels(a: Tensor, b: Tensor, scale: float) -> float | None:
    """Pearson's correlation over the channels, where each has one value: `[C, 1]`."""
    a, b = (each.to(torch.float64).T * scale for each in (a, b))  # [1, C]
    finite = a.isfinite() & b.isfinite()
    a, b = torch.where(finite, a, 0.0), torch.where(finite, b, 0.0)
    return _known(float(_correlations(a, b, finite)[0]))


def _share(part: float, whole: float) -> float:
    """`part / whole`: 0 of anything is 0, and something of nothing infinite."""
    if part == 0:
        return 0.0
    return part / whole if whole else inf


def _cosine(aa: float, bb: float, ab: float, *, same: bool) -> float | None:
    if not aa or not bb:
        return None
    return 1.0 if same else min(max(ab / sqrt(aa * bb), -1.0), 1.0)


def _known(value: float) -> float | None:
    return None if value != value else value


# -- statistics of two runs --------------------------------------------------------------------------------------


def differ_runs(a: LayerRecord, b: LayerRecord) -> RunDifference:
    """How far two runs' statistics of one layer with as many channels are apart; each is over images of its own."""
    first, second = a.channels, b.channels
    known = (first.finite > 0) & (second.finite > 0)
    odd = ((first.finite > 0) != (second.finite > 0)) | ((first.nan > 0) != (second.nan > 0))
    odd |= (first.inf > 0) != (second.inf > 0)
    with np.errstate(invalid="ignore"):
        degrees = np.maximum(first.finite + second.finite - 2, 1)
        pooled = np.sqrt((first.m2 + second.m2) / degrees)
        means = np.abs(second.mean - first.mean)
        spreads = np.abs(np.nan_to_num(second.std) - np.nan_to_num(first.std))
    shifts, stretches = (
        np.array([_share(float(part), float(whole)) for part, whole in zip(each[known], pooled[known], strict=True)])
        for each in (means, spreads)
    )
    x, y = torch.from_numpy(first.mean[known]), torch.from_numpy(second.mean[known])
    vectors = differ(x, y)
    unlike = int(odd.sum())
    none = 0.0 if known.any() or not len(known) else np.nan
    return RunDifference(
        mean_shift=float(shifts.max(initial=0.0)) + none,
        std_shift=float(stretches.max(initial=0.0)) + none,
        min_shift=float(np.abs(second.min - first.min)[known].max(initial=0.0)) + none,
        max_shift=float(np.abs(second.max - first.max)[known].max(initial=0.0)) + none,
        relative_l2=inf if unlike else vectors.relative_l2,
        cosine=vectors.cosine,
        correlation=vectors.correlation,
        moved=total_variation(first.histogram, second.histogram),
        unlike=unlike,
        channel=int(np.flatnonzero(known)[shifts.argmax()]) if shifts.size and shifts.max() > 0 else None,
    )


def total_variation(a: np.ndarray | None, b: np.ndarray | None) -> float | None:
    """½ Σ |p - q| over the cells of two histograms, each as shares of its sum: 0 for equal shares, 1 for no overlap.

    Histograms by channel are added up first. None where one is absent or empty.

    >>> total_variation(np.array([[1, 3]]), np.array([[10, 10]]))
    0.25
    """
    if a is None or b is None or not a.sum() or not b.sum():
        return None
    p, q = (each.sum(0, dtype=np.float64) / each.sum(dtype=np.float64) for each in (a, b))
    return float(np.abs(p - q).sum() / 2)
