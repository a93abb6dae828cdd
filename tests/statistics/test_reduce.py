"""Live outputs to records: the machine code against torch's reductions in float64, over every layout in memory."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from torch import Tensor

from fmap_cli.foreign import threads
from fmap_cli.network.records import Axes
from fmap_cli.statistics import kernels
from fmap_cli.statistics import reduce as reduce_room
from fmap_cli.statistics.channels import ChannelStats
from fmap_cli.statistics.moments import BIN_EDGES, BINS, SHARE_OFFSETS, SHARE_PERIOD, SHARE_STRIDE
from fmap_cli.statistics.reduce import HISTOGRAM_WHOLE, channel_axes, reduce
from fmap_cli.statistics.reference import channel_stats

NCHW = Axes(("B", "C", "H", "W"), "said")
EXACT = ("min", "max", "zeros", "nan", "inf", "finite")


def agree(stats: ChannelStats, rows: Tensor) -> None:
    """The record is that of `[C, n]` rows, by torch in float64 over the finite values."""
    assert stats.count == rows.shape[1]
    for channel, row in enumerate(rows.double()):
        finite = row[row.isfinite()]
        some = len(finite) > 0
        assert stats.nan[channel] == row.isnan().sum()
        assert stats.inf[channel] == row.isinf().sum()
        assert stats.zeros[channel] == (row == 0).sum()
        assert np.array_equal(stats.min[channel], finite.amin() if some else math.nan, equal_nan=True)
        assert np.array_equal(stats.max[channel], finite.amax() if some else math.nan, equal_nan=True)
        if some:
            scale = finite.std(correction=0).item()
            assert stats.mean[channel] == pytest.approx(finite.mean().item(), rel=1e-12, abs=1e-9 * scale)
            m2 = (finite - finite.mean()).square().sum().item()
            assert stats.m2[channel] == pytest.approx(m2, rel=1e-9, abs=1e-20 * finite.abs().max().item() ** 2)
        else:
            assert np.isnan(stats.mean[channel])
            assert stats.m2[channel] == 0


def by_channel(output: Tensor, at: int = 1) -> Tensor:
    return output.detach().movedim(at, 0).reshape(output.shape[at], -1)


values = st.floats(width=32, min_value=-(2.0**60), max_value=2.0**60) | st.just(0.0)
anything = values | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e-42])


@settings(deadline=None, max_examples=150)
@given(arrays(np.float32, array_shapes(min_dims=4, max_dims=4, max_side=5), elements=anything), st.data())
def test_any_values_in_any_order_in_memory(array: np.ndarray, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(4)))
    output = torch.from_numpy(array).permute(order).contiguous().permute(np.argsort(order).tolist())
    agree(reduce(output, NCHW), by_channel(output))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("shape", [(2, 5, 112, 112), (3, 64, 7, 7), (1, 3, 1, 5000), (8, 1000, 1, 1), (4096, 33, 1, 1)])
def test_large_outputs_by_any_number_of_threads(
    shape: tuple[int, ...], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr("fmap_cli.foreign.threads.WORTH_A_THREAD", 1 << 15)
    output = torch.randn(shape, generator=torch.Generator().manual_seed(3)).relu()
    output[0, 0].fill_(math.nan)
    output[-1, -1].view(-1)[-1] = -math.inf
    agree(reduce(output, NCHW), by_channel(output))


def test_threads_of_our_own_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    output = torch.randn(4, 40, 56, 56)
    kernels._compiled.cache_clear()
    monkeypatch.setattr(threads, "_torch_team", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr("fmap_cli.foreign.threads.WORTH_A_THREAD", 1 << 15)
    try:
        agree(reduce(output, NCHW), by_channel(output))
    finally:
        threads._pool(4).shutdown()
        threads._pool.cache_clear()
        kernels._compiled.cache_clear()


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("a slice of channels", torch.randn(4, 12, 9, 9)[:, 2:7]),
        ("every second place", torch.randn(4, 5, 20, 20)[..., ::2, 1::2]),
        ("a part of the batch", torch.randn(6, 5, 8, 8)[1:4]),
        ("one value for all", torch.randn(2, 5, 1, 1).expand(2, 5, 6, 7)),
        ("flipped", torch.randn(2, 5, 6, 7).flip(3)),
        ("channels last", torch.randn(2, 5, 6, 7).to(memory_format=torch.channels_last)),
        ("channels of a slice of one item", torch.randn(1, 5, 8, 8)[:, ::2, :, 3:5]),
        ("with a gradient", torch.randn(2, 5, 6, 7).requires_grad_()),
    ],
)
def test_views_are_read_as_they_are(name: str, output: Tensor) -> None:
    agree(reduce(output, NCHW), by_channel(output))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_other_dtypes(dtype: torch.dtype) -> None:
    output = (torch.randn(3, 5, 70, 70) * 3).to(dtype)
    agree(reduce(output, NCHW), by_channel(output))


@pytest.mark.parametrize("shape", [(3, 5, 70, 70), (1, 5, 60, 60), (64, 7, 1, 1), (3, 40, 7, 7)])
@pytest.mark.parametrize("histogram", ["layer", "channel"])
def test_half_precision_has_the_histogram_of_its_values(shape: tuple[int, ...], histogram: str) -> None:
    output = torch.randn(shape).bfloat16()
    half = reduce(output, NCHW, histogram, images=shape[0])  # type: ignore[arg-type]
    full = reduce(output.float(), NCHW, histogram, images=shape[0])  # type: ignore[arg-type]
    assert np.array_equal(half.histogram, full.histogram)


def test_half_precision_is_converted_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce_room, "_PIECE", 100)
    for shape in [(4, 5, 10, 10), (1, 5, 30, 30), (64, 7, 1, 1)]:
        output = torch.randn(shape).half()
        agree(reduce(output, NCHW), by_channel(output))


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions:UserWarning")
def test_complex_values_count_by_their_magnitude_and_quantized_ones_by_what_they_stand_for() -> None:
    complex_values = torch.complex(torch.full((2, 3, 4, 4), 3.0), torch.full((2, 3, 4, 4), 4.0))
    assert reduce(complex_values, NCHW).mean.tolist() == [5.0] * 3
    quantized = torch.quantize_per_tensor(torch.full((2, 3, 4, 4), 1.5), 0.5, 0, torch.quint8)
    assert reduce(quantized, NCHW).max.tolist() == [1.5] * 3


def test_a_large_mean_does_not_swallow_a_small_spread_even_after_an_outlier() -> None:
    generator = torch.Generator().manual_seed(0)
    output = (1000 + 0.01 * torch.randn(2, 3, 112, 112, generator=generator, dtype=torch.float64)).float()
    agree(reduce(output, NCHW), by_channel(output))
    assert reduce(output, NCHW).std == pytest.approx(by_channel(output).double().std(1).numpy(), rel=1e-6)
    output[0, :, 0, 0] = 0  # the corner that the sums are taken around
    expected = by_channel(output).double()
    stats = reduce(output, NCHW)
    assert np.abs(stats.mean - expected.mean(1).numpy()).max() < 1e-6 * 0.01
    assert stats.std == pytest.approx(expected.std(1).numpy(), rel=1e-6)


def test_a_constant_channel_has_no_spread_at_all() -> None:
    stats = reduce(torch.full((4, 2, 30, 30), 0.1), NCHW)
    assert stats.m2.tolist() == [0, 0]
    assert stats.std.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("inner", "maps"),
    [(inner, 20) for inner in (15, 16, 17, 49, 80, 99, 100, 111, 160, 239, 240, 241, 1000)]
    + [(17, 150), (49, 50), (99, 61)],  # more small maps than are laid end to end at once: fewer are left
)
def test_maps_of_any_width_are_read_to_the_last_value_and_the_share_stands_where_it_is_said(
    inner: int, maps: int
) -> None:
    """Sixteen values are read at once and two periods are counted on the way: what is left over counts as well."""
    channels = 3
    output = torch.randn(maps, channels, inner, generator=torch.Generator().manual_seed(inner))
    output[:, :, -1] = 9.0
    output[3, 1, -2] = 0.0
    stats = reduce(output, Axes(("B", "C", "W"), "said"), images=maps)
    agree(stats, by_channel(output))
    together = min(maps, 2048 // inner) if inner < 100 else 1  # small maps of one channel are laid end to end
    chosen: list[np.ndarray] = []
    for channel in range(channels):
        for first in range(0, maps, together):
            row = output[first : first + together, channel].flatten().numpy()
            begin = (first + channel) * SHARE_STRIDE % SHARE_PERIOD - SHARE_PERIOD
            starts = np.arange(begin, len(row), SHARE_PERIOD)
            places = (starts[:, None] + SHARE_OFFSETS).ravel()
            chosen.append(row[places[(places >= 0) & (places < len(row))]])
    counted = np.concatenate(chosen) if inner > HISTOGRAM_WHOLE else output.numpy().ravel()
    cells = np.searchsorted(BIN_EDGES, np.abs(counted), side="right") - 1
    cells = np.where(counted < 0, BINS - 1 - cells, cells)
    assert stats.histogram is not None
    assert np.array_equal(stats.histogram[0], np.bincount(cells, minlength=BINS))


def test_which_axes_are_channels() -> None:
    assert channel_axes(Axes(("B", "H", "W", "C"), "")) == (3,)
    assert channel_axes(Axes(("B", "C", "C", "H", "W"), "")) == (1, 2)  # ShuffleNet's groups
    assert channel_axes(Axes(("B·N", "?", "?", "?"), "")) == (1,)  # attention: a head each
    assert channel_axes(Axes(("B", "N"), "")) == ()
    tokens = torch.randn(2, 50, 6)
    agree(reduce(tokens, Axes(("B", "N", "C"), "")), by_channel(tokens, 2))
    groups = torch.randn(2, 3, 4, 5, 5)
    agree(reduce(groups, Axes(("B", "C", "C", "H", "W"), "")), groups.movedim(0, 2).reshape(12, -1))
    shuffled = groups.transpose(1, 2)  # the channels lie in another order than they are counted in
    agree(reduce(shuffled, Axes(("B", "C", "C", "H", "W"), "")), shuffled.movedim(0, 2).reshape(12, -1))
    whole = torch.randn(2, 7)
    agree(reduce(whole, Axes(("B", "N"), "")), whole.reshape(1, -1))
    agree(reduce(torch.tensor(2.0), Axes((), "")), torch.tensor([[2.0]]))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4)])
def test_emptiness(shape: tuple[int, ...]) -> None:
    stats = reduce(torch.empty(shape), NCHW)
    assert (stats.count, len(stats.mean)) == (0, shape[1])
    assert stats.histogram is not None and stats.histogram.sum() == 0


# -- histograms --------------------------------------------------------------------------------------------------


def counted(rows: Tensor) -> np.ndarray:
    """NumPy's histogram of the finite values; cells below zero have the other edge, which negating turns round."""
    flat = rows.double().numpy().ravel()
    flat = flat[np.isfinite(flat)]
    middle = BINS // 2
    above = np.histogram(np.abs(flat[flat >= 0]), np.concatenate([[0], BIN_EDGES[middle + 1 :]]))[0]
    below = np.histogram(np.abs(flat[flat < 0]), np.concatenate([[0], BIN_EDGES[middle + 1 :]]))[0]
    return np.concatenate([below[:0:-1], [above[0] + below[0]], above[1:]])


@settings(deadline=None)
@given(arrays(np.float32, array_shapes(min_dims=4, max_dims=4, max_side=4), elements=anything))
def test_every_finite_value_is_in_the_cell_that_numpy_finds(array: np.ndarray) -> None:
    output = torch.from_numpy(array)
    each = reduce(output, NCHW, "channel").histogram
    assert each is not None
    for channel, row in enumerate(by_channel(output)):
        assert each[channel].tolist() == counted(row).tolist()
    together = reduce(output, NCHW, "layer", images=len(array)).histogram
    assert together is not None
    assert together.tolist() == each.sum(0, keepdims=True).tolist()


def test_of_a_large_map_a_share_is_counted_that_stands_for_the_rest() -> None:
    output = torch.randn(4, 32, 56, 56, generator=torch.Generator().manual_seed(1))
    stats = reduce(output, NCHW, images=4)
    assert stats.histogram is not None
    assert stats.histogram.sum() == pytest.approx(output.numel() * 4 / 41, rel=0.002)
    share = stats.histogram[0] / stats.histogram.sum()
    assert np.abs(share - counted(output) / output.numel()).max() < 0.005


def test_the_share_counted_favours_no_column_and_no_row() -> None:
    for width in (112, 56, 28, 14, 32, 16, 48, 224, 9, 27, 36, 54, 72, 144, 37, 55, 11, 19):
        places = torch.zeros(9, 9, width, width)
        for at in range(width):
            places[..., at] = 2.0 ** (at % 8)
        histogram = reduce(places, NCHW, images=9).histogram
        assert histogram is not None
        columns = np.bincount(np.arange(width) % 8)  # how many columns have each of the eight values
        found = histogram[histogram > 0] / columns
        assert found.max() / found.min() < (1.1 if width > 20 else 2), width


@pytest.mark.parametrize("width", [9, 12, 24, 48, 96])
def test_torch_counts_a_share_that_favours_no_column_either(width: int) -> None:
    places = torch.zeros(9, 9, width, width)
    for at in range(width):
        places[..., at] = 2.0 ** (at % 3)
    by_machine, by_torch = (
        reduce(places.to(dtype), NCHW, images=9).histogram for dtype in (torch.float32, torch.float64)
    )
    for histogram in (by_machine, by_torch):
        assert histogram is not None
        found = histogram[histogram > 0]
        assert len(found) == 3
        assert found.max() / found.min() < 1.25


@pytest.mark.parametrize("shape", [(3, 7, 20, 20), (1, 5, 100, 100), (2, 3, 1, 17), (1, 1, 1, 5000)])
def test_machine_code_and_torch_count_the_same_share(shape: tuple[int, ...]) -> None:
    for item in torch.randn(shape).split(1):
        by_machine = reduce(item, NCHW).histogram
        by_torch = channel_stats(by_channel(item), "layer", share=True).histogram
        assert np.array_equal(by_machine, by_torch)


def test_one_narrow_map_alone_is_not_counted_by_columns() -> None:
    for width in (9, 18, 27, 36, 54, 72):
        places = torch.zeros(1, 1, width, width)
        places[..., ::9] = 6.0  # a ninth of the columns
        histogram = reduce(places, NCHW).histogram
        assert histogram is not None
        assert histogram.max() / histogram.sum() == pytest.approx(8 / 9, abs=0.06 if width > 20 else 0.15), width


def test_a_small_map_is_counted_whole_whatever_the_batch() -> None:
    output = torch.randn(16, 10, 4, 4)
    histogram = reduce(output, NCHW, images=16).histogram
    assert histogram is not None and histogram.sum() == output.numel()


def test_torch_gives_the_same_record_as_machine_code() -> None:
    output = torch.randn(1, 12, 30, 30)
    ours, torchs = reduce(output, NCHW, "channel"), channel_stats(by_channel(output), "channel")
    for name in EXACT:
        assert np.array_equal(getattr(ours, name), getattr(torchs, name)), name
    assert np.array_equal(ours.histogram, torchs.histogram)
    assert np.allclose(ours.mean, torchs.mean, rtol=1e-13, atol=1e-15)
    assert np.allclose(ours.m2, torchs.m2, rtol=1e-12)


# -- cost --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_nothing_of_the_outputs_size_is_allocated(layout: torch.memory_format) -> None:
    output = torch.randn(8, 64, 112, 112).to(memory_format=layout)  # 26 MB
    reduce(output, NCHW)
    with torch.profiler.profile(profile_memory=True) as profile:
        tracemalloc.start()
        reduce(output, NCHW)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 1e6
    assert sum(max(0, each.cpu_memory_usage) for each in profile.events()) < 1e6


def test_the_output_is_left_as_it_was() -> None:
    output = torch.randn(2, 3, 9, 9)
    before, version = output.clone(), output._version
    reduce(output, NCHW)
    assert torch.equal(output, before)
    assert output._version == version


def test_a_picture_inside_a_larger_one_is_copied_in_a_few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    # What detectors make of pictures: one laid into a batch of larger ones, so that every row ends with a gap.
    inside = torch.randn(2, 3, 40, 60)[1, :, :30, :50]
    calls = []
    kernel = reduce_room._kernel
    monkeypatch.setattr(reduce_room, "_kernel", lambda *given: calls.append(given) or kernel(*given))
    agree(reduce(inside, Axes(("C", "H", "W"), "said")), inside.flatten(1))
    assert len(calls) == 1
    monkeypatch.setattr(reduce_room, "_PIECE", 3 * 50 * 7)  # seven rows at a time
    agree(reduce(inside, Axes(("C", "H", "W"), "said")), inside.flatten(1))
    assert len(calls) == 1 + 5
