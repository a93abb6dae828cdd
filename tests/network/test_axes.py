"""What axes mean, on networks so small that the answer is plain; whole families are in test_axes_families.py."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from fmap_cli.errors import LayerError
from fmap_cli.network.axes import (
    AxesResolver,
    axes_by_layout,
    axes_by_module,
    axes_by_rank,
    channel_axes,
    channel_maps,
    follow,
    measure,
    meta_twin,
)
from fmap_cli.network.records import Axes

# -- by rank -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((), ""),
        ((7,), "C"),
        ((1, 1000), "BC"),
        ((1, 10, 8), "BNC"),
        ((1, 64, 56, 56), "BCHW"),
        ((1, 3, 16, 112, 112), "BCTHW"),
        ((1, 2, 3, 4, 5, 6), "??????"),
    ],
)
def test_the_number_of_axes_gives_their_usual_meaning(shape: tuple[int, ...], names: str) -> None:
    axes = axes_by_rank(shape)
    assert "".join(axes.names) == names
    assert axes.how == "by the number of axes"


@pytest.mark.parametrize(
    ("tokens", "grid", "prefix"),
    [
        (196, (14, 14), 0),
        (197, (14, 14), 1),
        (4, (2, 2), 0),
        (5, (2, 2), 1),
        (10, (3, 3), 1),
        (1, None, 0),
        (2, None, 0),
        (0, None, 0),
        (198, None, 0),
    ],
)
def test_tokens_form_a_grid_where_they_are_a_square_or_one_more(tokens: int, grid: object, prefix: int) -> None:
    axes = axes_by_rank((1, tokens, 768))
    assert (axes.grid, axes.prefix) == (grid, prefix)
    assert axes.spatial == (grid is not None)


# -- by module and by the user -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.MaxPool2d(2), nn.GroupNorm(1, 2)])
def test_torch_nn_documents_the_axes_of_convolutions_norms_and_pools(module: nn.Module) -> None:
    axes = axes_by_module(module, (1, 2, 5, 5))
    assert axes is not None
    assert axes.names == ("B", "C", "H", "W")
    assert type(module).__name__ in axes.how


@pytest.mark.parametrize("module", [nn.ReLU(), nn.LayerNorm(2), nn.Linear(2, 2), nn.Identity(), nn.Sequential(), None])
def test_modules_that_take_any_layout_document_none(module: nn.Module | None) -> None:
    assert axes_by_module(module, (1, 2, 5, 5)) is None


def test_what_is_not_of_the_documented_rank_is_not_named_by_its_class() -> None:
    assert axes_by_module(nn.Conv2d(1, 2, 1), (2, 5, 5)) is None


def test_a_layout_names_one_letter_an_axis_in_any_case() -> None:
    assert axes_by_layout("bhwc", "norm", (1, 7, 7, 96)).names == ("B", "H", "W", "C")
    tokens = axes_by_layout("BCN", "flatten", (1, 96, 50))
    assert (tokens.grid, tokens.prefix) == ((7, 7), 1)


def test_a_layout_of_another_length_is_refused_with_the_shape() -> None:
    with pytest.raises(LayerError) as caught:
        axes_by_layout("BHWC", "fc", (1, 10))
    assert caught.value.message == "--layout BHWC names 4 axes, and the output of layer 'fc' has 2: [1, 10]."


# -- followed and measured ------------------------------------------------------------------------------------------


def resolver(net: nn.Module, *, size: int = 32) -> AxesResolver:
    net.eval()
    image = torch.zeros(1, 3, size, size)
    return AxesResolver(
        net,
        lambda: follow(net, (image,), iter([(image, "BCHW")])),
        lambda: follow(net, (image,), iter([(image, "BCHW")])),
        lambda: measure(net, lambda b, h, w, t: (torch.empty(b, 3, h, w),), (size, size)),
    )


def found(net: nn.Module, *, size: int = 32) -> dict[str, Axes]:
    """The axes of every layer, after what was followed has been held against what grows."""
    resolved = resolver(net, size=size)
    axes = {layer.name: resolved.of(layer, shape) for layer, shape in resolved.layers()}
    for name, moved in resolved.growth.moved.items():
        for one, grown in zip(axes[name].names, moved, strict=True):
            assert grown in ("", one), (name, axes[name].names, moved)
    return axes


class ToLast(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.permute(0, 2, 3, 1)


class WithClassToken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).transpose(1, 2)  # [B, N, C]
        return torch.cat([self.token.expand(len(x), -1, -1), x], 1)


def test_channels_last_are_found_where_the_network_puts_them() -> None:
    axes = found(nn.Sequential(nn.Conv2d(3, 32, 4, 4), ToLast(), nn.LayerNorm(32), nn.Linear(32, 8)))
    assert axes["0"].names == ("B", "C", "H", "W")
    assert {axes[name].names for name in ("1", "2", "3")} == {("B", "H", "W", "C")}


def test_tokens_form_the_grid_of_the_map_they_came_from_whatever_its_aspect() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, (4, 8), (4, 8)), WithClassToken())  # 8 × 4 cells of a 32 × 32 picture
    tokens = found(net)["1"]
    assert tokens.names == ("B", "N", "C")
    assert (tokens.grid, tokens.prefix) == ((8, 4), 1)


def test_pooled_and_flattened_values_have_channels_and_no_place() -> None:
    axes = found(nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)))
    assert axes["2"].names == axes["3"].names == ("B", "C")
    assert not axes["3"].spatial


def test_a_meta_twin_has_the_shapes_and_none_of_the_data() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8))
    net.mask = torch.ones(4)  # neither parameter nor buffer
    twin = meta_twin(net)
    assert {name: value.shape for name, value in twin.state_dict().items()} == {
        name: value.shape for name, value in net.state_dict().items()
    }
    assert all(value.device.type == "meta" for value in twin.state_dict().values())
    assert twin.mask.device.type == "meta"
    assert net[0].weight.device.type == net.mask.device.type == "cpu"


# -- an output as maps ---------------------------------------------------------------------------------------------


def named(letters: str, **options: object) -> Axes:
    return Axes(tuple(letters), "as the test says", **options)


OUTPUT = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)


def test_maps_are_those_of_the_first_item() -> None:
    assert torch.equal(channel_maps(OUTPUT, named("BCHW")), OUTPUT[0][:, None])


@given(st.permutations("BCHW"))
@settings(deadline=None)
def test_maps_are_the_same_whatever_the_layout(order: list[str]) -> None:
    permuted = OUTPUT.permute(*["BCHW".index(letter) for letter in order])
    assert torch.equal(channel_maps(permuted, named("".join(order))), OUTPUT[0][:, None])


@given(st.permutations("BCTHW"))
@settings(deadline=None)
def test_frames_come_after_channels_whatever_the_layout(order: list[str]) -> None:
    clip = torch.arange(2 * 3 * 2 * 4 * 5.0).reshape(2, 3, 2, 4, 5)
    permuted = clip.permute(*["BCTHW".index(letter) for letter in order])
    assert torch.equal(channel_maps(permuted, named("".join(order))), clip[0])


def test_tokens_become_their_grid_without_those_before_it() -> None:
    cells = torch.arange(6.0).reshape(1, 6, 1).expand(1, 6, 4)
    tokens = torch.cat([torch.full((1, 2, 4), -1.0), cells], 1)  # [B, 2 + 6, C]
    maps = channel_maps(tokens, named("BNC", grid=(2, 3), prefix=2))
    assert maps.shape == (4, 1, 2, 3)
    assert maps[0, 0].tolist() == [[0, 1, 2], [3, 4, 5]]
    turned = channel_maps(tokens.transpose(1, 2), named("BCN", grid=(2, 3), prefix=2))
    assert torch.equal(turned, maps)


def test_tokens_without_a_grid_are_a_row_of_values() -> None:
    tokens = torch.arange(15.0).reshape(1, 5, 3)
    maps = channel_maps(tokens, named("BNC"))
    assert maps.shape == (3, 5, 1, 1)
    assert maps[1].flatten().tolist() == [1, 4, 7, 10, 13]


@pytest.mark.parametrize(
    ("shape", "letters", "expected"),
    [
        ((2, 7), "BC", (7, 1, 1, 1)),
        ((7,), "C", (7, 1, 1, 1)),
        ((), "", (1, 1, 1, 1)),
        ((1, 4, 6, 3, 3), "B?CHW", (6, 1, 3, 3)),
        ((2, 3), "??", (2, 1, 1, 1)),
        ((1, 0, 4, 4), "BCHW", (0, 1, 0, 0)),
        ((1, 3, 0, 4), "BCHW", (3, 1, 0, 0)),
    ],
)
def test_every_output_has_maps_of_four_axes(shape: tuple[int, ...], letters: str, expected: tuple[int, ...]) -> None:
    assert channel_maps(torch.zeros(shape), named(letters)).shape == expected


def test_axes_of_unknown_meaning_are_never_multiplied_into_the_channels() -> None:
    output = torch.arange(24.0).reshape(1, 2, 3, 2, 2)
    assert torch.equal(channel_maps(output, named("B?CHW")), output[0, 0][:, None])
    assert channel_axes(named("B?CHW")) == (2,)


def test_without_channels_the_first_unknown_axis_is_told_apart() -> None:
    heads = torch.arange(2 * 3 * 3.0).reshape(1, 2, 3, 3)  # heads, queries, keys
    assert torch.equal(channel_maps(heads, named("B?NN")), heads[0, :, 0][:, :, None, None])


def test_tokens_after_the_grid_are_left_out_as_well() -> None:
    tokens = torch.arange(7.0).reshape(1, 7, 1)
    assert channel_maps(tokens, named("BNC", grid=(2, 3), prefix=0)).flatten().tolist() == [0, 1, 2, 3, 4, 5]
