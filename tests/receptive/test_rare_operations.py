"""Rules of rarer operations: each value against the gradient's support, or against a change of one pixel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from receptive.test_rules import agree_with_autograd, seen_by, units
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import deform_conv2d

from fmap_cli.network.records import Axes
from fmap_cli.receptive import Follower
from fmap_cli.receptive import field as fields
from fmap_cli.receptive.collected import accumulated


def _positive(module: nn.Module) -> nn.Module:
    """Weights that let no product vanish, and gates that are neither open nor shut."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, each in module.named_parameters():
            each.uniform_(0.01, 0.04) if "_ih" in name else each.uniform_(0.2, 0.4)
    return module.double().eval()


def _recurrent(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """Columns are steps, rows the values of one: `[1, 1, H, W]` as `[W, 1, H]`."""
    layer = _positive(module)
    return lambda x: layer(x[0].permute(2, 0, 1))[0]


_SOME = torch.tensor([3, 0, 7])
OPERATIONS: dict[str, Callable[[Tensor], Any]] = {
    "running sum": lambda x: x.cumsum(2),
    "running sum from behind": lambda x: x.flip(3).cumsum(3).flip(3),
    "running product": lambda x: x[:, :, ::2].cumprod(2),
    "gru": _recurrent(nn.GRU(9, 3)),
    "rnn both ways": _recurrent(nn.RNN(9, 3, bidirectional=True)),
    "lstm": _recurrent(nn.LSTM(9, 3, num_layers=2)),
    "lstm both ways": _recurrent(nn.LSTM(9, 3, bidirectional=True)),
    "lstm both ways, twice": _recurrent(nn.LSTM(9, 2, num_layers=2, bidirectional=True)),
    "lstm with projections": _recurrent(nn.LSTM(9, 3, proj_size=2)),
    "fold of unfold": lambda x: F.fold(F.unfold(x, 3), (9, 9), 3),
    "fold": lambda x: F.fold(F.unfold(x, 3, stride=2).cumsum(1), (7, 9), (3, 3), stride=(2, 2), padding=(1, 0)),
    "fold with dilation": lambda x: F.fold(F.unfold(x, 2, 2, 1, 3), (9, 9), 2, 2, 1, 3),
    "fold of mixed channels": lambda x: F.fold(x.flatten(2).expand(1, 9, 81).sum(1, keepdim=True).expand(1, 4, 81),
        (10, 10), 2),
    "index_add": lambda x: torch.zeros(1, 1, 9, 9, dtype=x.dtype).index_add(2, _SOME, x[:, :, :3]),
    "index_add to itself": lambda x: x.index_add(2, _SOME, x[:, :, 4:7]),
    "index_copy": lambda x: x.index_copy(3, _SOME, x[..., 4:7]),
    "index_fill": lambda x: x.index_fill(3, _SOME, 0.0),
    "scatter": lambda x: x.scatter(2, torch.tensor([2, 5]).view(1, 1, 2, 1).expand(1, 1, 2, 6), x[:, :, :2, :6]),
    "scatter_add": lambda x: x.scatter_add(3, torch.tensor([2, 2, 8]).expand(1, 1, 9, 3), x[..., :3]),
    "scatter_reduce": lambda x: x.scatter_reduce(3, torch.tensor([2, 2, 8]).expand(1, 1, 9, 3), x[..., :3], "sum"),
    "slice_scatter": lambda x: x.slice_scatter(x[:, :, :3], 2, 4, 9, 2),
    "select_scatter": lambda x: x.select_scatter(x[:, :, 0], 2, 4),
    "diagonal_scatter": lambda x: x.diagonal_scatter(x[:, :, 0], 0, 2, 3),
    "index_put": lambda x: x.index_put((torch.tensor(0), torch.tensor(0), _SOME), x[0, 0, :3]),
    "index_put, added": lambda x: x.index_put((torch.tensor(0), torch.tensor(0), _SOME), x[0, 0, :3], accumulate=True),
    "put": lambda x: x.put(_SOME, x[0, 0, 0, :3]),
    "in place by index": lambda x: x.clone().index_add_(2, _SOME, x[:, :, :3]),
    "addbmm": lambda x: torch.addbmm(x[0, 0, :4, :5], x[0, :, :4], x[0, :, :, :5]),
    "addr": lambda x: torch.addr(x[0, 0, :4, :5], x[0, 0, 5, :4], x[0, 0, :5, 2]),
    "bilinear": lambda x: F.bilinear(x[0, 0, :, :4], x[0, 0, :, 4:], torch.ones(3, 4, 5).to(x)),
    "cdist": lambda x: torch.cdist(x[0], torch.linspace(2, 4, 27).view(1, 3, 9).to(x)),
    "cdist of itself": lambda x: torch.cdist(x[0, :, :4] + 2, x[0, :, 5:], p=1.0),
    "pairs": lambda x: torch.view_as_real(torch.complex(x, 2 * x)),
    "of pairs": lambda x: torch.view_as_complex(x[..., :8].contiguous().view(1, 1, 9, 4, 2)).abs(),
    "gate of the rows below": lambda x: F.glu(x[:, :, :8], 2),
    "gate of the columns beside": lambda x: F.glu(x[..., 1:], -1),
    "fft along one axis": lambda x: torch.fft.rfft(x, dim=3).real[..., :3],
    "convolution over time": lambda x: torch.conv_tbc(x[0].permute(1, 0, 2), torch.ones(3, 9, 2).to(x),
        torch.zeros(2).to(x), 1),
    "in place": lambda x: x.clone().abs_().add_(x.roll(1, 2)).addcmul_(x, x).mul_(2),
    "determinant": lambda x: torch.linalg.det(x[0, 0].unfold(0, 3, 3)[:, :3].mT + torch.eye(3).to(x)),
    "frames": lambda x: x[0, 0].contiguous().as_strided((4, 3), (18, 1)),
    "packed": lambda x: nn.utils.rnn.pack_padded_sequence(x[0, 0].T[:, None], torch.tensor([5])).data,
}  # fmt: skip


@pytest.mark.parametrize("run", OPERATIONS.values(), ids=list(OPERATIONS))
def test_rarer_operations_are_those_of_autograd(run: Callable[[Tensor], Any]) -> None:
    torch.manual_seed(1)
    agree_with_autograd(run, (1, 1, 9, 9))


@pytest.mark.parametrize(
    "layer",
    [
        nn.LSTM(9, 3),
        nn.LSTM(9, 3, num_layers=2, bidirectional=True),
        nn.LSTM(9, 3, bidirectional=True),
        nn.LSTM(9, 3, proj_size=2),
        nn.GRU(9, 3, bidirectional=True),
    ],
    ids=str,
)
def test_fused_recurrent_layers_see_what_their_steps_see(layer: nn.Module) -> None:
    """In float32 an LSTM is one operation on the CPU, in float64 it is taken apart, as autograd has checked above."""
    both = []
    names = []
    for dtype in (torch.float32, torch.float64):
        follower = Follower()
        image = torch.rand(1, 1, 9, 7, dtype=dtype)
        follower.start(image, (2, 3))
        with torch.no_grad(), follower, _Names() as seen:
            output = layer.to(dtype)(image[0].permute(2, 0, 1))[0]
        found = follower.fields_of(output)
        assert found is not None
        both.append([_seen_of(each, output) for each in found])
        names.append(seen.names)
    assert isinstance(layer, nn.GRU) or layer.proj_size or "aten::mkldnn_rnn_layer" in names[0] - names[1]
    for one, other in zip(*both, strict=True):
        assert (one == other).all()


class _Names(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func._schema.name)
        return func(*args, **(kwargs or {}))


def _seen_of(one: fields.Field | None, output: Tensor) -> np.ndarray:
    assert one is not None
    return np.maximum.reduce([np.broadcast_to(part.values, (4, *output.shape))[:2] for part in one.parts])


def test_quantized_recurrent_layers_see_as_much() -> None:
    layer = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.GRU(9, 3)), {nn.GRU})
    seen = seen_by(lambda x: layer(x[0].permute(2, 0, 1))[0], 1, 1, 9, 7, axes=Axes(("W", "B", "C"), ""))
    assert units(seen, 1) == [(0, step) for step in range(7)]


def _changed(run: Callable[[Tensor], Tensor], image: Tensor) -> list[np.ndarray]:
    """For each pixel, which values change with it, by any of a few amounts."""
    before = run(image)
    found = []
    for index in np.ndindex(*image.shape):
        differs = torch.zeros_like(before, dtype=torch.bool)
        for amount in (-3.0, 3.0):
            other = image.clone()
            other[index] += amount
            differs |= run(other) != before
        found.append(differs.numpy())
    return found


@pytest.mark.parametrize("module", [(2, 2, 0), (3, 2, 1), (2, 3, 0)], ids=str)
def test_unpooling_sees_the_windows_that_its_indices_came_from(module: tuple[int, int, int]) -> None:
    pool, unpool = nn.MaxPool2d(*module, return_indices=True), nn.MaxUnpool2d(*module)

    def run(x: Tensor) -> Tensor:
        return unpool(*pool(x), output_size=x.shape)

    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8)
    follower = Follower()
    follower.start(image, (2, 3))
    with torch.no_grad(), follower:
        output = run(image)
    found = follower.fields_of(output)
    assert found is not None
    for index, differs in zip(np.ndindex(*image.shape), _changed(run, image), strict=True):
        for axis, each in enumerate(found):
            assert each is not None
            first, last = (np.broadcast_to(each.values, (4, *each.shape))[row] for row in (0, 1))
            assert ((-first <= index[2 + axis]) & (index[2 + axis] <= last))[differs].all()
    size, stride, _ = module
    rows = found[0]
    assert rows is not None
    if size == stride:  # each place lies in one window
        firsts = (-rows.values[0]).ravel()
        assert [int(each) for each in firsts] == [place // stride * stride for place in range(8)]


def test_indices_from_elsewhere_may_mean_any_place() -> None:
    seen = seen_by(lambda x: F.max_unpool2d(x, torch.arange(64).view(1, 1, 8, 8), 1, 1), 1, 1, 8, 8)
    assert seen.kind == "upper bound"


def test_a_deformable_convolution_may_read_anywhere() -> None:
    offset = torch.zeros(1, 18, 8, 8)
    seen = seen_by(lambda x: deform_conv2d(x, offset, torch.ones(1, 1, 3, 3), padding=1), 1, 1, 8, 8)
    assert [(axis.kind, axis.why) for axis in seen.axes] == [
        ("upper bound", "which cells deform_conv2d reads depends on values")
    ] * 2


def test_a_fourier_transform_takes_in_the_whole_map() -> None:
    seen = seen_by(lambda x: torch.fft.irfft2(torch.fft.rfft2(x) * 2), 1, 1, 8, 8)
    assert [(axis.kind, axis.why) for axis in seen.axes] == [("whole image", "fft_r2c takes in the whole map")] * 2


def test_a_running_sum_sees_what_is_before_it() -> None:
    seen = seen_by(lambda x: x.cumsum(2), 1, 1, 32, 32)
    assert units(seen)[5] == (0, 5)
    axis = seen.axes[0]
    assert (axis.kind, axis.size, axis.least, axis.why) == ("upper bound", 32, 1, "units see 1 to 32 px")


SEQUENCE = Axes(("B", "C", "W"), "")


def test_a_sequence_is_exact_along_its_axis() -> None:
    """As a map whose other axis is gone: 7 pixels, 4 apart, of 32, and all rows."""
    look = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 2, 1), nn.AdaptiveAvgPool2d((1, None)))
    kept = seen_by(look, 1, 1, 32, 32)
    seen = seen_by(lambda x: look(x).squeeze(2), 1, 1, 32, 32, axes=SEQUENCE)
    assert [(axis.kind, axis.size, axis.stride, axis.start) for axis in seen.axes] == [
        ("whole image", None, None, None),
        ("exact", 7, 4, -3),
    ]
    assert seen.cells == (1, 8)
    assert seen.share == kept.share == 7 / 32
    flipped = seen_by(lambda x: look(x).squeeze(2).transpose(1, 2), 1, 1, 32, 32, axes=Axes(("B", "W", "C"), ""))
    assert flipped.axes == seen.axes
    one_row = seen_by(lambda x: x[:, :, 5], 1, 1, 32, 32, axes=SEQUENCE)
    assert [(axis.kind, axis.size, axis.stride, axis.start) for axis in one_row.axes] == [
        ("exact", 1, None, 5),
        ("exact", 1, 1, 0),
    ]


def test_channels_of_a_sequence_keep_what_each_sees() -> None:
    wide = nn.Conv1d(1, 1, 5, padding=2)
    seen = seen_by(lambda x: torch.cat([x.mean(2), wide(x.mean(2))], 1), 1, 1, 16, 16, axes=SEQUENCE)
    assert [(group.channels, group.axes[1].size) for group in seen.groups] == [(((0, 0),), 1), (((1, 1),), 5)]


def test_accumulating_backwards_is_forwards_turned_round() -> None:
    one = fields.pixels((1, 1, 1, 6), 3)
    back = accumulated(one, 3, backwards=True)
    assert (-back.values[0]).ravel().tolist() == [0, 1, 2, 3, 4, 5]
    assert back.values[1].ravel().tolist() == [5] * 6
