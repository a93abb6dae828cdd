"""Numbers of each filter, the order to show filters in, and a BatchNorm folded into them."""

from __future__ import annotations

import numpy as np

from .. import units
from ..errors import LayerError
from .records import LARGE, NEAR_ZERO, SHOWN, Choice, KernelNumbers, Sort

_FEWEST = 8  # filters whose median is what is usual
_BLOCK = 4_000_000  # weights at once: float64 copies stay under 32 MB


def kernel_numbers(weight: np.ndarray) -> KernelNumbers:
    """The numbers of each filter of `[O, ...]`, in float64.

    >>> found = kernel_numbers(np.array([[3.0, -4.0], [0.0, 0.0]], np.float32))
    >>> found.norm.tolist(), found.l1.tolist(), found.near_zero.tolist()
    ([5.0, 0.0], [7.0, 0.0], [0.0, 1.0])
    """
    rows = weight.reshape(len(weight), -1)
    step = max(_BLOCK // max(rows.shape[1], 1), 1)
    starts = range(0, len(rows), step)
    peaks = np.concatenate([np.zeros(0), *(_peaks(rows[at : at + step]) for at in starts)])
    largest = float(peaks[~large(peaks)].max(initial=0.0))
    parts = [_block_numbers(rows[at : at + step], largest * NEAR_ZERO) for at in starts]
    columns = [np.concatenate(each) for each in zip(*parts, strict=True)] if parts else [np.zeros(0)] * 9
    return KernelNumbers(*columns)


def _peaks(rows: np.ndarray) -> np.ndarray:
    """The largest finite magnitude of each filter."""
    return np.where(np.isfinite(rows), np.abs(rows), 0).max(1, initial=0.0)


def large(sizes: np.ndarray) -> np.ndarray:
    """Which filters are large beside the others: `LARGE` times the median of those that are not zero, of eight or more.

    >>> np.flatnonzero(large(np.array([1.0, 2, 1, 3, 0, 2, 1, 90, 200]))).tolist()
    [8]
    """
    with np.errstate(invalid="ignore"):
        some = sizes > 0
        return np.asarray(some & (sizes >= LARGE * np.median(sizes[some]))) if some.sum() >= _FEWEST else some & False


def _block_numbers(rows: np.ndarray, near_zero: float) -> tuple[np.ndarray, ...]:
    wide = rows.astype(np.float64)
    known = np.isfinite(wide)
    count = known.sum(1)
    plain = np.where(known, wide, 0.0)
    sizes = np.abs(plain)
    none = count == 0
    most = np.where(none, 1.0, sizes.max(1, initial=0.0))
    scale = np.where(most > 0, most, 1.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = plain.sum(1) / count
        zero, small = ((known & (sizes <= at)).sum(1) / count for at in (0.0, near_zero))
    norm = scale * np.sqrt(np.square(plain / scale[:, None]).sum(1))  # squares of 1e200 stay finite
    low = np.where(none, np.nan, np.where(known, wide, np.inf).min(1, initial=np.inf))
    high = np.where(none, np.nan, np.where(known, wide, -np.inf).max(1, initial=-np.inf))
    gone = (np.where(none, np.nan, each) for each in (norm, sizes.sum(1)))
    return (*gone, mean, low, high, zero, small, np.isnan(wide).sum(1), np.isinf(wide).sum(1))


_SORTED_BY: dict[Sort, tuple[str, str]] = {  # a field of the numbers, and what it is called
    "norm": ("norm", "L2 norm"),
    "l1": ("l1", "L1 norm"),
    "mean": ("mean", "mean"),
    "min": ("min", "minimum"),
    "max": ("max", "maximum"),
    "zeros": ("zero", "share of zeros"),
    "near-zero": ("near_zero", "share of weights near zero"),
}


def ordered(numbers: KernelNumbers, choice: Choice, layer: str, *, is_matrix: bool) -> tuple[np.ndarray, str]:
    """The filters asked for in their order, and in words which these are.

    Raises LayerError where a channel is asked for that the layer does not have.
    """
    count = len(numbers.norm)
    listed = np.arange(count)
    if choice.channels is not None:
        missing = [channel for channel in choice.channels if channel >= count]
        if missing:
            raise LayerError(
                f"layer {layer!r} has {units.count(count)} filters; there is no channel {missing[0]}.",
                hint=f"--channels takes 0 to {count - 1} here.",
            )
        listed = np.array(choice.channels, np.int64)
    by_index = choice.all or is_matrix or count <= SHOWN
    if choice.channels is not None and choice.sort is None:
        order = listed[::-1] if choice.reverse else listed
        return order, f"{units.count(len(order))} of {units.count(count)} filters, in the order asked for"
    sort: Sort = choice.sort or ("norm" if choice.top is not None or not by_index else "index")
    keys = listed.astype(np.float64) if sort == "index" else -getattr(numbers, _SORTED_BY[sort][0])[listed]
    if choice.reverse:
        keys = -keys
    order = listed[np.argsort(np.where(np.isnan(keys), np.inf, keys), kind="stable")][: choice.top]
    if sort == "index":
        how = "sorted by channel, the last first" if choice.reverse else "in the order of the channels"
    else:
        how = f"sorted by {_SORTED_BY[sort][1]}, the {'smallest' if choice.reverse else 'largest'} first"
    whole = f"all {units.count(count)}" if len(order) == count else f"{units.count(len(order))} of {units.count(count)}"
    return order, f"{whole} filters, {how}" if count != 1 else "the only filter"


def fold(
    weight: np.ndarray,
    bias: np.ndarray | None,
    scale: np.ndarray | None,
    shift: np.ndarray | None,
    mean: np.ndarray,
    var: np.ndarray,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The weight `[O, ...]` and bias `[O]` that do what these and the BatchNorm after them do, in float64 arithmetic.

    BatchNorm is `scale · (y − mean) / √(var + eps) + shift`, so the weights are multiplied by `scale / √(var + eps)`.

    >>> fold(np.ones((1, 2)), None, None, None, np.array([1.0]), np.array([3.0]), 1.0)
    (array([[0.5, 0.5]]), array([-0.5]))
    """
    factor = (1.0 if scale is None else scale.astype(np.float64)) / np.sqrt(var.astype(np.float64) + eps)
    start = -mean.astype(np.float64) if bias is None else bias.astype(np.float64) - mean
    moved = start * factor + (0.0 if shift is None else shift)
    lead = factor.reshape(-1, *(1,) * (weight.ndim - 1))
    return (weight * lead).astype(weight.dtype), moved.astype(weight.dtype)
