"""Axes followed through networks built for one size, against what their few lines of source say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision import ops

from fmap_cli.inputs.records import ImageInput
from fmap_cli.models.records import LoadedModel, Preprocessing, Weights
from fmap_cli.network.axes import AxesResolver, follow
from fmap_cli.network.records import Axes
from fmap_cli.session.axes import axes_for
from fmap_cli.session.opening import Session


class Through(nn.Module):
    """A convolution to six channels, a function of the map, and the learned positions that pin it to one size."""

    def __init__(self, function: Callable[[Tensor], Tensor], size: int = 32) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.at = nn.Parameter(torch.zeros(6, size, size))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.conv(x) + self.at) * 1.0


def refused() -> Any:
    raise RuntimeError("there is no other size")


def last_axes(net: nn.Module, size: int = 32) -> Axes:
    image = torch.zeros(1, 3, size, size)
    followed = follow(net.eval(), (image,), [(image, "BCHW")])
    resolver = AxesResolver(net, lambda: followed, refused, refused)
    layer, shape = resolver.layers()[-1]
    return resolver.of(layer, shape)


def windows(y: Tensor, side: int = 8) -> Tensor:
    b, c, h, w = y.shape
    return y.view(b, c, h // side, side, w // side, side).permute(0, 2, 4, 3, 5, 1)  # [B, H/8, W/8, 8, 8, C]


def attention(y: Tensor) -> Tensor:
    tokens = y.flatten(2).transpose(1, 2).view(len(y), 1024, 2, 3).transpose(1, 2)  # [B, heads, N, C]
    return (tokens @ tokens.transpose(2, 3)).softmax(-1)


def merged(y: Tensor) -> Tensor:
    y = y.permute(0, 2, 3, 1)
    return torch.cat([y[:, ::2, ::2], y[:, 1::2, ::2], y[:, ::2, 1::2], y[:, 1::2, 1::2]], -1)


def merged_by_a_view(y: Tensor) -> Tensor:
    return y.view(1, 6, 16, 2, 16, 2).permute(0, 2, 4, 3, 5, 1).flatten(3)


def enlarged_by_a_view(y: Tensor) -> Tensor:
    y = torch.cat([y, y], 1)[:, :8].view(1, 2, 2, 2, 32, 32)  # channels, rows and columns of a finer cell
    return y.permute(0, 1, 4, 2, 5, 3).reshape(1, 2, 64, 64)


FUNCTIONS: dict[str, tuple[Callable[[Tensor], Tensor], str]] = {
    "cut": (lambda y: y[..., :16], "BCHW"),
    "pooled to as many columns as channels": (lambda y: functional.adaptive_avg_pool2d(y, (None, 6)), "BCHW"),
    "pooled away": (lambda y: y.mean((2, 3), keepdim=True), "BCHW"),
    "one row": (lambda y: y.mean(2), "BCW"),
    "turned": (lambda y: y.transpose(2, 3), "BCWH"),
    "patches merged": (merged, "BHWC"),
    "patches merged by a view": (merged_by_a_view, "BHWC"),
    "pixels shuffled by a view": (enlarged_by_a_view, "BCHW"),
    "groups of channels": (lambda y: y.view(1, 2, 3, 32, 32), "B?CHW"),
    "windows": (windows, "B????C"),
    "windows on the batch axis": (lambda y: windows(y).reshape(16, 64, 6), "B·N?C"),
    "windows and back": (
        lambda y: windows(y).permute(0, 1, 3, 2, 4, 5).reshape(1, 32, 32, 6),
        "BHWC",
    ),
    "means of windows": (lambda y: windows(y).mean((3, 4)), "BHWC"),
    "rolled": (lambda y: torch.roll(y.permute(0, 2, 3, 1), (-3, -3), (1, 2)), "BHWC"),
    "heads, queries, keys": (attention, "B?NN"),
    "what channels have in common": (lambda y: y.flatten(2) @ y.flatten(2).transpose(1, 2), "BC?"),
    "by einsum": (lambda y: torch.einsum("bchw,dc->bdhw", y, torch.zeros(9, 6)), "BCHW"),
    "tokens": (lambda y: y.flatten(2).transpose(1, 2), "BNC grid 32×32"),
    "tokens after a class token": (
        lambda y: torch.cat([torch.zeros(1, 1, 6), y.flatten(2).transpose(1, 2)], 1),
        "BNC grid 32×32 after 1",
    ),
    "tokens before registers": (
        lambda y: torch.cat([y.flatten(2).transpose(1, 2), torch.zeros(1, 4, 6)], 1),
        "BNC grid 32×32",
    ),
    "the class token": (lambda y: torch.cat([torch.zeros(1, 1, 6), y.flatten(2).transpose(1, 2)], 1)[:, 0], "BC"),
    "columns of windows": (lambda y: functional.unfold(y, 4, stride=4), "BCN grid 8×8"),
    "columns of windows and back": (
        lambda y: functional.fold(functional.unfold(y, 4, stride=4), (32, 32), 4, stride=4),
        "BCHW",
    ),
    "rows in windows, another axis": (lambda y: y.unfold(2, 3, 1), "BC?W?"),
    "sampled at a grid's places": (
        lambda y: functional.grid_sample(y, torch.zeros(1, 5, 7, 2), align_corners=False),
        "BCHW",
    ),
    "a deformed convolution": (
        lambda y: ops.deform_conv2d(y, torch.zeros(1, 18, 32, 32), torch.zeros(4, 6, 3, 3), padding=1),
        "BCHW",
    ),
    "a piece for each of two boxes": (
        lambda y: ops.roi_align(y, [torch.tensor([[0.0, 0, 9, 9], [1, 1, 8, 8]])], 3),
        "B·?CHW",
    ),
    "distances of tokens": (lambda y: torch.cdist(*[y.flatten(2).transpose(1, 2)] * 2), "BNN"),
    "distances of few": (lambda y: torch.cdist(*[y.flatten(2).transpose(1, 2)[:, :9]] * 2), "BNN"),
    "weights times the map": (lambda y: torch.zeros(4, 6) @ y.flatten(2), "BCN grid 32×32"),
    "a mixer over tokens": (lambda y: functional.linear(y.flatten(2), torch.zeros(1024, 1024)), "BCN grid 32×32"),
    "tokens times a vector": (lambda y: y.flatten(2).transpose(1, 2) @ torch.zeros(6), "BN grid 32×32"),
    "the larger of two maps": (lambda y: torch.max(y, y * 2), "BCHW"),
    "the largest of the channels": (lambda y: y.max(1).values, "BHW"),
    "all values": (lambda y: y.flatten(1), "BC"),
    "single channel": (lambda y: y.mean(1).unsqueeze(1), "BCHW"),
    "stacked maps": (lambda y: torch.stack([y[:, 0], y[:, 1]], 1), "BCHW"),
    "written in": (lambda y: torch.zeros(1, 6, 40, 40).copy_(functional.pad(y, (4, 4, 4, 4))), "BCHW"),
}


@pytest.mark.parametrize("what", FUNCTIONS)
def test_what_the_source_does_to_a_map_is_followed(what: str) -> None:
    function, expected = FUNCTIONS[what]
    axes = last_axes(Through(function))
    grid = "" if axes.grid is None else f" grid {axes.grid[0]}×{axes.grid[1]}"
    before = f" after {axes.prefix}" if axes.prefix else ""
    assert "".join(axes.names) + grid + before == expected
    assert axes.how == "followed"


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d((1, 20))
        self.rnn = kind(3, 8, batch_first=True, bidirectional=True)

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.rnn(self.pool(x).squeeze(2).permute(0, 2, 1))[0]
        return output * 2


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_a_recurrent_layer_has_its_features_last(kind: type[nn.RNNBase]) -> None:
    axes = last_axes(Recurrent(kind))
    assert (axes.names[0], axes.names[2]) == ("B", "C")
    assert axes.names[1] in ("W", "?")


def test_an_operation_without_a_rule_loses_the_axes_and_says_so() -> None:
    axes = last_axes(Through(lambda y: torch.linalg.qr(y)[0]))
    assert set(axes.names) == {"?"}
    assert axes.how.startswith("not followed through linalg_qr")


def test_of_what_was_lost_a_convolution_tells_the_channels_again() -> None:
    net = Through(lambda y: functional.conv2d(torch.linalg.qr(y)[0], torch.zeros(4, 6, 1, 1)))
    assert "".join(last_axes(net).names[1:]) == "CHW"


def test_where_nothing_can_be_run_the_number_of_axes_decides_and_why_is_kept() -> None:
    net = nn.ReLU()
    resolver = AxesResolver(net, refused, refused, refused)
    image = torch.zeros(1, 3, 4, 4)
    layer = follow(net, (image,), [(image, "BCHW")]).layers[-1]
    axes = resolver.of(layer, (1, 3, 4, 4))
    assert axes.names == ("B", "C", "H", "W")
    assert axes.how == "by the number of axes; following failed: RuntimeError: there is no other size"


class Windows(nn.Module):
    """Windows of 7 × 7 cells at stride 8, which a height of 56 more fits and one of 64 more does not."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        b, c, h, w = y.shape
        return y.view(b, c, h // 7, 7, w // 7, 7) * 1.0


def test_sizes_are_tried_until_windows_fit() -> None:
    model = LoadedModel(Windows().eval(), "windows", Weights("random", seed=0), Preprocessing(None, (112, 112)))
    session = Session(model, torch.device("cpu"), torch.float32)
    picture = ImageInput("picture", "picture", np.zeros((112, 112, 3), np.uint8), torch.zeros(3, 112, 112))
    resolver = axes_for(session, picture)
    axes = resolver.of(*resolver.layers()[-1])
    assert "".join(axes.names) == "BCH?W?"
    assert axes.how == "followed and measured"


def test_a_network_in_the_middle_of_its_pass_is_left_alone() -> None:
    class Drawing(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x + torch.rand(1) + float(np.random.rand())

    model = LoadedModel(Drawing().eval(), "drawing", Weights("random", seed=0), Preprocessing(None, (4, 4)))
    session = Session(model, torch.device("cpu"), torch.float32)
    picture = ImageInput("picture", "picture", np.zeros((4, 4, 3), np.uint8), torch.zeros(3, 4, 4))
    torch.manual_seed(0)
    np.random.seed(0)
    expected = torch.rand(1), np.random.rand()
    torch.manual_seed(0)
    np.random.seed(0)
    assert axes_for(session, picture).layers()
    assert (torch.rand(1), np.random.rand()) == expected
