"""Which layers a pattern picks, in which order, and what is said where it picks none."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision_oracle import build

from fmap_cli.errors import LayerError
from fmap_cli.models import load_model
from fmap_cli.network.capture import capture
from fmap_cli.network.selection import Selection, near_names

HINT = "`fmap layers` with the same --model lists them all."


def pick(net: nn.Module, x: torch.Tensor, *patterns: str) -> list[tuple[str, str]]:
    """(layer, pattern) of what the patterns pick in a pass that watches only as much as the selection asks for."""
    selection = Selection(patterns, net)

    def watch(layer):
        def sink(output: torch.Tensor) -> None:
            selection.offer(layer, output.shape)

        return sink

    capture(net, (x,), watch, operations=selection.needs_operations, paths=selection.paths)
    return [(layer.name, asked) for layer, asked in selection.chosen()]


def names(net: nn.Module, x: torch.Tensor, *patterns: str) -> list[str]:
    return [name for name, _ in pick(net, x, *patterns)]


class Small(nn.Module):
    """Three convolutions, one of them a function, a module used twice and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 2, 3)
        self.relu = nn.ReLU(inplace=True)
        self.block = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
        self.kernel = nn.Parameter(torch.ones(1, 4, 1, 1))
        self.fc = nn.Linear(1, 3)
        self.aux = nn.Linear(1, 3)

    def forward(self, x):
        x = self.relu(self.stem(x))
        x = self.relu(self.block(x))
        x = F.conv2d(x, self.kernel) + 1
        return self.fc(x.mean((2, 3)))


X = torch.randn(1, 1, 8, 8)


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    return build("resnet18", "meta")


@pytest.fixture(scope="module")
def picture() -> torch.Tensor:
    return torch.empty(1, 3, 64, 64, device="meta")


# -- names and globs -----------------------------------------------------------------------------------------------


def test_an_exact_name_picks_that_layer_alone() -> None:
    assert pick(Small(), X, "block.0") == [("block.0", "block.0")]


def test_a_composite_module_is_picked_by_its_path() -> None:
    assert names(Small(), X, "block") == ["block"]


def test_a_modules_name_is_its_first_call_and_its_number_the_others() -> None:
    assert names(Small(), X, "relu") == ["relu"]
    assert names(Small(), X, "relu_1") == ["relu_1"]
    assert names(Small(), X, "relu*") == ["relu", "relu_1"]


def test_an_operation_is_picked_by_its_name() -> None:
    assert names(Small(), X, "add") == ["add"]


def test_a_modules_name_picks_every_tensor_that_it_puts_out() -> None:
    net = nn.Sequential(nn.LSTM(2, 3, batch_first=True))
    assert names(net, torch.zeros(1, 4, 2), "0") == ["0.0", "0.1.0", "0.1.1"]
    assert names(net, torch.zeros(1, 4, 2), "0.1.0") == ["0.1.0"]


def test_layers_come_in_execution_order_whatever_the_order_of_the_patterns() -> None:
    assert pick(Small(), X, "fc", "add", "stem") == [("stem", "stem"), ("add", "add"), ("fc", "fc")]


def test_a_layer_that_two_patterns_pick_comes_once_and_names_the_first() -> None:
    assert pick(Small(), X, "b*.0", "block.0", "block.0", "conv2") == [("block.0", "b*.0")]


def test_spaces_around_a_pattern_do_not_count() -> None:
    assert names(Small(), X, " fc ") == ["fc"]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("layer?.0.conv1", ["layer1.0.conv1", "layer2.0.conv1", "layer3.0.conv1", "layer4.0.conv1"]),
        ("layer1.*.add", ["layer1.0.add", "layer1.1.add"]),
        ("layer[12].1", ["layer1.1", "layer2.1"]),
        ("layer[!1-3]", ["layer4"]),
        ("*.1.relu_1", ["layer1.1.relu_1", "layer2.1.relu_1", "layer3.1.relu_1", "layer4.1.relu_1"]),
    ],
)
def test_globs_pick_by_name_across_dots(resnet, picture, glob: str, expected: list[str]) -> None:
    assert names(resnet, picture, glob) == expected


def test_a_star_alone_picks_every_layer_with_the_input(resnet, picture) -> None:
    everything = names(resnet, picture, "*")
    assert everything[0] == "x"
    assert everything[-1] == "fc"
    assert len(everything) == len(set(everything)) > 60


def test_globs_mind_capitals() -> None:
    net = nn.Sequential()
    net.add_module("Conv", nn.ReLU())
    net.add_module("conv", nn.ReLU())
    assert names(net, X, "C*") == ["Conv"]


# -- conv3, first, last --------------------------------------------------------------------------------------------


def test_a_number_counts_convolutions_in_execution_order_functions_too() -> None:
    assert pick(Small(), X, "conv1", "conv2", "conv3") == [("stem", "conv1"), ("block.0", "conv2"), ("conv2d", "conv3")]


def test_execution_order_is_what_counts_not_the_order_of_definition() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.late = nn.Conv2d(1, 1, 1)
            self.early = nn.Conv2d(1, 1, 1)

        def forward(self, x):
            return self.late(self.early(x))

    assert names(Backwards(), X, "conv1") == ["early"]


def test_a_convolution_called_twice_counts_twice() -> None:
    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Conv2d(1, 1, 1)

        def forward(self, x):
            return self.c(self.c(x))

    assert names(Shared(), X, "conv2") == ["c_1"]


def test_a_models_own_layer_called_conv3_is_the_one_meant() -> None:
    net = nn.Sequential()
    for name in ("conv3", "a", "b"):
        net.add_module(name, nn.Conv2d(1, 1, 1))
    assert pick(net, X, "conv3") == [("conv3", "conv3")]
    assert pick(net, X, "conv2") == [("a", "conv2")]
    assert names(net, X, "conv3", "conv2") == ["conv3", "a"]


def test_resnets_conv1_is_its_own_and_conv2_the_second_convolution(resnet, picture) -> None:
    assert pick(resnet, picture, "conv1", "conv2") == [("conv1", "conv1"), ("layer1.0.conv1", "conv2")]


def test_the_embedded_models_padding_convolution_counts_once() -> None:
    net = load_model("efficientnet_lite0").module.to("meta")
    convolutions = [path for path, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    assert type(net.get_submodule("features.0.0")).__name__ == "SamePadConv2d"
    x = torch.empty(1, 3, 64, 64, device="meta")
    ordinals = [f"conv{number}" for number in range(1, len(convolutions) + 1)]
    assert pick(net, x, *ordinals) == list(zip(convolutions, ordinals, strict=True))
    with pytest.raises(LayerError, match=f"the model runs {len(convolutions)} convolutions"):
        names(net, x, f"conv{len(convolutions) + 1}")


def test_first_and_last_are_the_first_and_last_module_whose_output_is_a_map(resnet, picture) -> None:
    assert pick(resnet, picture, "first", "last") == [("conv1", "first"), ("layer4", "last")]


def test_the_pooled_single_cell_is_no_map() -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Upsample(scale_factor=2), nn.AdaptiveAvgPool2d(1))
    assert names(net, X, "first", "last") == ["1"]


def test_a_model_with_a_layer_called_last_means_that_layer() -> None:
    net = nn.Sequential()
    for name in ("last", "first", "third"):
        net.add_module(name, nn.Conv2d(1, 1, 1))
    assert names(net, X, "first", "last") == ["last", "first"]
    assert names(net, X, "first", "last", "thi*") == ["last", "first", "third"]


# -- how little is watched -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "needs_operations", "paths"),
    [
        (["stem"], False, {"stem"}),
        (["stem", "block.0"], False, {"stem", "block.0"}),
        (["stem", "add"], True, None),
        (["relu_1"], True, None),
        (["conv1"], True, None),
        (["block*"], True, None),
        (["last"], True, None),
        ([], False, frozenset()),
    ],
)
def test_modules_named_outright_need_no_more_than_their_own_hooks(
    patterns: list[str], needs_operations: bool, paths: set[str] | None
) -> None:
    selection = Selection(patterns, Small())
    assert (selection.needs_operations, selection.paths) == (needs_operations, paths)


def test_wanted_forgets_what_was_last_for_a_while() -> None:
    net = Small()
    selection = Selection(["last", "stem"], net)
    wanted: list[set[str]] = []

    def watch(layer):
        def sink(output: torch.Tensor) -> None:
            selection.offer(layer, output.shape)
            if layer.is_module:
                wanted.append(set(selection.wanted()))

        return sink

    capture(net, (X,), watch)
    assert wanted[0] == {"stem"}
    assert wanted[1] == {"stem", "relu"}
    assert wanted[-1] == {"stem", "relu_1"}


# -- what is said --------------------------------------------------------------------------------------------------


def refusal(net: nn.Module, x: torch.Tensor, *patterns: str) -> tuple[str, str | None]:
    with pytest.raises(LayerError) as caught:
        names(net, x, *patterns)
    return caught.value.message, caught.value.hint


REFUSALS: Sequence[tuple[str, str, str]] = [
    ("steam", "no layer 'steam'.", f"Did you mean stem? {HINT}"),
    ("Block.0", "no layer 'Block.0'.", f"Did you mean block.0 or block.1 or block? {HINT}"),
    ("block.7", "no layer 'block.7'.", f"Did you mean block.0 or block.1 or block? {HINT}"),
    ("xyzzy", "no layer 'xyzzy'.", HINT),
    ("nothing*", "no layer matches 'nothing*'.", HINT),
    ("conv4", "no layer 'conv4': the model runs 3 convolutions.", HINT),
    (
        "aux",
        "layer 'aux' exists, but this forward pass did not call it (as heads that only training uses,"
        " and modules of which the weights are read by another).",
        HINT,
    ),
]


@pytest.mark.parametrize(("pattern", "message", "hint"), REFUSALS, ids=[pattern for pattern, *_ in REFUSALS])
def test_a_pattern_that_picks_nothing_is_refused_in_words_that_help(pattern: str, message: str, hint: str) -> None:
    assert refusal(Small(), X, pattern) == (message, hint)
    assert refusal(Small(), X, "stem", pattern) == (message, hint)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_what_is_inside_a_scripted_module_is_not_called_unused() -> None:
    scripted = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU()))
    message, hint = refusal(nn.Sequential(scripted, nn.ReLU()), torch.zeros(1, 3, 4, 4), "0.1")
    assert message == (
        "layer '0.1' is inside 0, which torch.jit.script made one program: of a program only the output can be seen."
    )
    assert hint == "Look at its output, --layer 0."
    assert "is inside the network, which torch.jit" in refusal(scripted, torch.zeros(1, 3, 4, 4), "1")[0]


def test_the_one_convolution_of_a_model_is_counted_in_the_singular() -> None:
    assert refusal(nn.Sequential(nn.Conv2d(1, 1, 1)), X, "conv2")[0] == (
        "no layer 'conv2': the model runs 1 convolution."
    )


def test_a_model_without_maps_has_no_first_layer() -> None:
    message, hint = refusal(nn.Sequential(nn.Linear(4, 2)), torch.zeros(1, 4), "first")
    assert message == "no first spatial layer: no module of this model has a map with height and width as its output."
    assert hint == f"Give a layer by its name, --layer NAME; {HINT}"


def test_the_nearest_names_of_a_deep_model_are_few(resnet, picture) -> None:
    _, hint = refusal(resnet, picture, "layer1.0.conv3")
    assert hint is not None
    assert hint.startswith("Did you mean layer1.0.conv1 or layer1.0.conv2 or layer")
    assert hint.count(" or ") == 2


@pytest.mark.parametrize(
    ("name", "known", "near"),
    [
        ("CONV", ["conv", "fc"], ["conv"]),
        ("conv", ["features.conv_stem", "fc"], ["features.conv_stem"]),
        ("q", ["a", "b"], []),
        ("a1", ["a1x", "a1y", "a1z", "a1w"], ["a1y", "a1z", "a1w"]),
        ("anything", [], []),
    ],
)
def test_near_names_ignore_capitals_and_take_parts(name: str, known: list[str], near: list[str]) -> None:
    found = near_names(name, known)
    assert len(found) == len(near) <= 3
    assert set(found) <= set(known)
    assert found == [each for each in known if each in found]  # in their own order
    if len(known) <= 3:
        assert found == near
