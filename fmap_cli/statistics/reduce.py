"""A layer's live output to a record of its channels, at the speed of memory where it is float32 on the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor

from ..foreign.threads import threads_for
from ..network.axes import channel_axes
from ..network.records import Axes
from .channels import ChannelStats, merge
from .moments import BIN_OF_CODE, BINS
from .reference import channel_stats, nothing

if TYPE_CHECKING:
    from .kernels import Task

Histogram = Literal["layer", "channel"]

HISTOGRAM_WHOLE = 16
"""Of a map with more cells than this a share of about a tenth is in its layer's histogram.

Counting into cells takes as long as all the rest together; `moments` says which values it is.
"""

_EXACT_IN_FLOAT32 = (torch.float16, torch.bfloat16)
_BINS_OF_CODES = BIN_OF_CODE.tobytes()
_PIECE = 1 << 22
"""How many values of another dtype are turned into float32 at once, and how many are copied where there are gaps."""


def reduce(output: Tensor, axes: Axes, histogram: Histogram = "layer", images: int = 1) -> ChannelStats:
    """What is known of each channel of one output for so many images, over all its places.

    A histogram by `channel` counts every value; that of the whole `layer` a share of them where maps are large.

    Nothing of the output's size is allocated, however its axes lie in memory, but for views with gaps (a slice), which
    are copied a few items at a time, and other dtypes, which are converted a piece at a time. Channels are the axes
    called `C`; without any the first of unknown meaning (attention's heads); else the whole output is one channel.

    >>> output = torch.tensor([[[1.0, 2.0], [0.0, 0.0]], [[3.0, 6.0], [0.0, 0.0]]])  # [2, 2, 2]
    >>> stats = reduce(output, Axes(("B", "C", "W"), "said"))
    >>> stats.count, stats.mean.tolist(), stats.max.tolist(), stats.zeros.tolist()
    (4, [3.0, 0.0], [6.0, 0.0], [0, 4])
    """
    output = output.detach().resolve_neg()
    if output.layout != torch.strided or output.is_quantized:
        output = output.dequantize() if output.is_quantized else output.to_dense()
    channels = channel_axes(axes)
    rows = prod(output.shape[at] for at in channels)
    if not output.numel():
        return nothing(rows, histogram)
    share = _is_shared(output, rows, histogram, images)
    fast = output.device.type == "cpu" and (output.dtype == torch.float32 or output.dtype in _EXACT_IN_FLOAT32)
    records = [
        _by_kernel(values, histogram, share)
        if fast
        else channel_stats(values.movedim(1, 0).flatten(1), histogram, share)
        for values in _views(output, channels)
    ]
    whole = records[0]
    for record in records[1:]:
        whole = merge(whole, record)
    return whole


def task_for(
    output: Tensor, axes: Axes, histogram: Histogram, images: int, rows: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Task | None:
    """`reduce` of outputs that lie in memory as this one does, to these moments, tallies and cells.

    None where that takes more than one call of machine code.
    """
    if not is_plain(output) or not output.numel():
        return None
    channels = channel_axes(axes)
    shape = _lie(output.shape, output.stride(), tuple(channels))
    if shape is None:
        return None
    from .kernels import Task

    share = _is_shared(output, shape[1], histogram, images)
    return Task(shape, _BINS_OF_CODES, *rows, share=share, threads=_threads(output))


def is_plain(output: Tensor) -> bool:
    """Whether these are float32 values in this computer's memory, as machine code reads them."""
    return output.dtype is torch.float32 and output.layout is torch.strided and output.is_cpu and not output.is_neg()


def _is_shared(output: Tensor, channels: int, histogram: Histogram, images: int) -> bool:
    return histogram == "layer" and output.numel() > channels * images * HISTOGRAM_WHOLE


def _threads(output: Tensor) -> int:
    return threads_for(output.numel(), torch.get_num_threads())


def _views(output: Tensor, channels: Sequence[int]) -> Iterator[Tensor]:
    """The output as `[outer, C, inner]`, in the order in which the values lie in memory; where it has gaps, copies of
    some items at a time.
    """
    view = _ordered(output, channels)
    if view is not None:
        yield view
        return
    inside = [at for at in range(output.ndim) if at not in channels]
    if not inside:
        yield _in_order(output, channels)
        return
    first = inside[0]
    count = output.shape[first]
    some = max(1, _PIECE * count // output.numel())
    for at in range(0, count, some):
        part = output.narrow(first, at, min(some, count - at))
        found = _ordered(part, channels)
        yield _in_order(part, channels) if found is None else found


def _in_order(output: Tensor, channels: Sequence[int]) -> Tensor:
    """A copy as `[1, C, inner]`."""
    others = [at for at in range(output.ndim) if at not in channels]
    moved = output.permute((*channels, *others)).contiguous()
    return moved.reshape(1, prod(output.shape[at] for at in channels), -1)


def _ordered(output: Tensor, channels: Sequence[int]) -> Tensor | None:
    """The output as `[outer, C, inner]` without a copy; None where the values do not lie so."""
    shape = _lie(output.shape, output.stride(), tuple(channels))
    return None if shape is None else output.as_strided(shape, (shape[1] * shape[2], shape[2], 1))


@lru_cache(maxsize=4096)
def _lie(sizes: Sequence[int], strides: Sequence[int], channels: tuple[int, ...]) -> tuple[int, int, int] | None:
    """How values without gaps lie in memory around the channels: (outer, C, inner); None where they do not."""
    dense = sorted((at for at, size in enumerate(sizes) if size > 1), key=lambda at: strides[at], reverse=True)
    expected = 1
    for at in reversed(dense):
        if strides[at] != expected:
            return None
        expected *= sizes[at]
    places = [dense.index(at) for at in channels if at in dense]
    if places and (max(places) - min(places) + 1 > len(places) or places != sorted(places)):
        return None  # other axes lie between those of the channels, or they lie in another order
    outer = prod(sizes[at] for at in dense[: places[0]]) if places else 1
    rows = prod(sizes[at] for at in channels)
    return outer, rows, prod(sizes) // (outer * rows)


# -- machine code ------------------------------------------------------------------------------------------------


def _by_kernel(values: Tensor, histogram: Histogram, share: bool) -> ChannelStats:
    """The record of `[outer, C, inner]` values on the CPU, float32 or converted to it in pieces."""
    if values.dtype == torch.float32:
        return _kernel(values, histogram, share)
    outer, rows, inner = values.shape
    if outer > 1:
        length = max(1, _PIECE // (rows * inner))
        pieces = [values[at : at + length] for at in range(0, outer, length)]
    else:
        length = max(1, _PIECE // rows)
        pieces = [values[:, :, at : at + length] for at in range(0, inner, length)]
    whole = _kernel(pieces[0].float().contiguous(), histogram, share)
    for piece in pieces[1:]:
        whole = merge(whole, _kernel(piece.float().contiguous(), histogram, share))
    return whole


def _kernel(values: Tensor, histogram: Histogram, share: bool) -> ChannelStats:
    from .kernels import reduce_values

    outer, channels, inner = values.shape
    moments, tallies, cells = reduce_values(
        values.data_ptr(),
        (outer, channels, inner),
        _BINS_OF_CODES,
        BINS,
        per_channel=histogram == "channel",
        share=share,
        threads=_threads(values),
    )
    return ChannelStats.of_rows(outer * inner, moments, tallies, cells)
