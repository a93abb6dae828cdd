"""What the one forward pass shows is what the network computes, bit by bit, and nothing of the pass stays behind."""

from __future__ import annotations

import copy
import functools
import gc
import json
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint
from torchvision import models
from torchvision_oracle import (
    build,
    inputs_for,
    module_values,
    operation_values,
    run_graph,
    same_bits,
    task_of,
    tensors_in,
)

from fmap_cli.network.capture import capture
from fmap_cli.network.records import LayerRef


def captured(module: nn.Module, *inputs: Any, **options: Any) -> tuple[dict[str, Tensor], dict[str, LayerRef], Any]:
    """A copy of every layer's output by name, its reference, and what the module returned."""
    values: dict[str, Tensor] = {}
    layers: dict[str, LayerRef] = {}

    def watch(layer: LayerRef):
        def sink(output: Tensor) -> None:
            assert layer.name not in values, f"two layers are called {layer.name}"
            values[layer.name] = output.clone()
            layers[layer.name] = layer

        return sink

    output = capture(module, inputs, watch, **options)
    return values, layers, output


class Net(nn.Module):
    """A module around one function of `(self, x)`, with submodules by name."""

    def __init__(self, function, **children: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, child in children.items():
            setattr(self, name, child)

    def forward(self, x):
        return self.function(self, x)


# -- values ------------------------------------------------------------------------------------------------------


def compare_values(name: str, size: int, **options: Any) -> int:
    """Hold every layer of a torchvision model against both oracles, bitwise; returns how many layers there were."""
    torch.manual_seed(0)
    model = build(name, **options)
    inputs = inputs_for(name, size)
    compared: set[str] = set()
    layers: list[LayerRef] = []

    with torch.no_grad():
        plain = model(*inputs)
    answers = {} if isinstance(plain, Tensor) else dict(tensors_in(plain, "" if isinstance(plain, dict) else "output"))
    expected: dict[tuple[str, int, str], Tensor] = {}
    for key, value in module_values(model, inputs).items():
        tensors = dict(tensors_in(value))
        for suffix, tensor in tensors.items():
            expected[*key, suffix if len(tensors) > 1 else ""] = tensor

    def watch(layer: LayerRef):
        def sink(output: Tensor) -> None:
            layers.append(layer)
            if layer.kind == "output":
                assert same_bits(output, answers.pop(layer.name)), layer.name
                compared.add(layer.name)
            if not layer.is_module:
                return
            assert same_bits(output, expected.pop((layer.path, layer.call, suffix_of(layer)))), layer.name
            compared.add(layer.name)

        return sink

    output = capture(model, inputs, watch)
    for (_, one), (_, other) in zip(tensors_in(plain), tensors_in(output), strict=True):
        assert same_bits(one, other), "the final output"
    assert not answers, "tensors of the answer that were not shown"
    assert not expected, "modules that ran and were not shown"

    # A second pass for operations, and again for the modules that torch.fx sees: not all at once in memory.
    if task_of(name) in ("classification", "quantization", "segmentation"):
        nodes = operation_values(model, inputs)

        def check(layer: LayerRef):
            def sink(output: Tensor) -> None:
                theirs = as_torchvision_says(layer.name, name)
                if theirs in nodes:
                    assert same_bits(output, nodes.pop(theirs)), layer.name
                    compared.add(layer.name)

            return sink

        capture(model, inputs, check)
        left = set(nodes) - parameters_read(model, inputs)
        assert not left, "nodes that fmap does not show"
        assert compared == {layer.name for layer in layers}
    return len(compared)


def parameters_read(model: nn.Module, inputs: tuple[Any, ...]) -> set[str]:
    return {node.name for node in run_graph(model, inputs, into_blocks=True) if node.op == "get_attr"}


def suffix_of(layer: LayerRef) -> str:
    """`0` of the layer `lstm.0` that is one tensor of the module `lstm`; empty for a whole output."""
    base = f"{layer.path}_{layer.call}" if layer.call else layer.path
    return (
        layer.name.removeprefix(base).removeprefix(".").removeprefix("output.")
        if layer.name.startswith(f"{base}.")
        else ""
    )


def as_torchvision_says(name: str, model_name: str) -> str:
    """The name in torchvision's list of a layer for which fmap departs from it (see test_names.py)."""
    if model_name.startswith("vit") and name.endswith((".ln_1", ".ln_2")):
        return name[:-2] if name.endswith("1") else f"{name[:-1]}1"
    if model_name.startswith("quantized_resn") and name.endswith(".relu_1") and name.count(".") == 2:
        return name if model_name.endswith("18") else name[:-2]
    return name


SMALL = [
    ("resnet18", 64, {}),
    ("vgg11_bn", 32, {}),
    ("alexnet", 64, {}),
    ("mobilenet_v3_small", 64, {}),
    ("densenet121", 64, {}),
    ("googlenet", 64, {"init_weights": True}),
    ("shufflenet_v2_x0_5", 64, {}),
    ("squeezenet1_0", 64, {}),
    ("efficientnet_b0", 64, {}),
    ("convnext_tiny", 64, {}),
    ("swin_t", 64, {}),
    ("vit_b_32", 96, {"image_size": 96}),
    ("regnet_y_400mf", 64, {}),
    ("quantized_mobilenet_v2", 64, {}),
]


# Made of operations that others of the list have too.
ALIKE = ("densenet121", "googlenet", "efficientnet_b0", "regnet_y_400mf", "vgg11_bn")


@pytest.mark.parametrize(
    ("name", "size", "options"),
    [pytest.param(*each, id=each[0], marks=[pytest.mark.slow] if each[0] in ALIKE else []) for each in SMALL],
)
def test_every_layers_value_is_bitwise_that_of_an_independent_pass(name: str, size: int, options: dict) -> None:
    assert compare_values(name, size, **options) > 20


CLASSIFIERS = [name for name in models.list_models() if task_of(name) in ("classification", "quantization")]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torchvision warns of slow initialisation
@pytest.mark.parametrize("name", CLASSIFIERS)
def test_every_layer_of_every_classifier_has_the_value_of_an_independent_pass(name: str, record_property: Any) -> None:
    try:
        record_property("layers compared", compare_values(name, 224))
    finally:
        gc.collect()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["fcn_resnet50", "deeplabv3_mobilenet_v3_large", "fasterrcnn_mobilenet_v3_large_fpn"])
def test_layers_of_models_that_answer_with_dicts_have_the_values_of_an_independent_pass(name: str) -> None:
    assert compare_values(name, 128) > 50


def test_resnets_first_norm_still_has_the_negative_values_that_the_relu_after_it_overwrites() -> None:
    values, _, _ = captured(build("resnet18"), torch.randn(1, 3, 64, 64))
    assert values["bn1"].min() < 0
    assert values["relu"].min() == 0
    assert same_bits(values["relu"], values["bn1"].clamp(min=0))


def test_watching_two_layers_shows_the_values_of_watching_all() -> None:
    model, x = build("resnet18"), torch.randn(1, 3, 64, 64)
    everything, _, whole = captured(model, x)
    few, _, output = captured(model, x, operations=False, paths={"bn1", "layer2"})
    assert list(few) == ["x", "bn1", "layer2"]
    assert all(same_bits(value, everything[name]) for name, value in few.items())
    assert same_bits(output, whole)


def test_without_operations_all_modules_are_seen_and_nothing_else() -> None:
    model, x = build("mobilenet_v3_small"), torch.randn(1, 3, 64, 64)
    everything, layers, _ = captured(model, x)
    modules, _, _ = captured(model, x, operations=False)
    assert list(modules) == [name for name, layer in layers.items() if layer.is_module or layer.kind == "input"]
    assert all(same_bits(value, everything[name]) for name, value in modules.items())


def test_a_watcher_that_wants_nothing_leaves_the_output_as_it_is() -> None:
    model, x = build("densenet121"), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert same_bits(capture(model, (x,), lambda layer: None), model(x))


def test_the_output_carries_no_gradient_and_parameters_are_untouched() -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = copy.deepcopy(net.state_dict())
    _, _, output = captured(net, torch.randn(1, 3, 8, 8))
    assert not output.requires_grad
    assert all(same_bits(value, before[key]) for key, value in net.state_dict().items())


def test_a_module_called_three_times_is_three_layers_with_their_own_values() -> None:
    net = Net(lambda self, x: self.relu(self.relu(self.relu(x) - 1) - 1), relu=nn.ReLU(inplace=True))
    values, layers, _ = captured(net, torch.tensor([[[[-1.0, 1.5, 4.0]]]]))
    assert values["relu"].flatten().tolist() == [0.0, 1.5, 4.0]
    assert values["relu_1"].flatten().tolist() == [0.0, 0.5, 3.0]
    assert values["relu_2"].flatten().tolist() == [0.0, 0.0, 2.0]
    assert [layers[name].call for name in ("relu", "relu_1", "relu_2")] == [0, 1, 2]


def in_place_functions(self, x):
    y = x * 2
    y += 1
    z = y.add_(1)
    return F.relu(z, inplace=True)


def test_each_in_place_operation_is_a_layer_of_its_own_with_the_value_of_its_moment() -> None:
    values, _, _ = captured(Net(in_place_functions), torch.tensor([-4.0, 1.0]))
    assert {name: value.tolist() for name, value in values.items()} == {
        "x": [-4.0, 1.0],
        "mul": [-8.0, 2.0],
        "add": [-7.0, 3.0],
        "add_": [-6.0, 4.0],
        "relu": [0.0, 4.0],
    }


def test_layers_of_an_lstm_are_its_tensors_by_position() -> None:
    net = Net(lambda self, x: self.lstm(x)[1][0] * 2, lstm=nn.LSTM(4, 3, batch_first=True))
    x = torch.randn(2, 5, 4)
    with torch.no_grad():
        out, (hidden, cell) = net.lstm(x)
    values, _, _ = captured(net, x)
    assert list(values) == ["x", "lstm.0", "lstm.1.0", "lstm.1.1", "getitem_1", "mul"]
    assert same_bits(values["lstm.0"], out)
    assert same_bits(values["lstm.1.0"], hidden)
    assert same_bits(values["lstm.1.1"], cell)
    assert same_bits(values["mul"], hidden * 2)


def test_a_dict_is_one_layer_a_key() -> None:
    inner = Net(lambda self, x: {"low": x + 1, "high": {"top": x + 2}})
    values, layers, output = captured(Net(lambda self, x: self.inner(x), inner=inner), torch.zeros(1, 1))
    assert list(values) == ["x", "inner.add", "inner.add_1", "inner.low", "inner.high.top", "low", "high.top"]
    assert values["inner.high.top"].item() == 2
    assert layers["inner.low"].path == "inner"
    assert (layers["high.top"].path, layers["high.top"].kind) == ("", "output")
    assert type(output) is dict


def test_an_output_by_the_name_of_another_layer_is_neither_lost_nor_confused_with_it() -> None:
    class Levels(nn.Sequential):
        def forward(self, x):
            first = self[0](x)
            return {"0": self[1](first), "1": first * 3, "mul": first, "add": x}

    net = Net(lambda self, x: self.levels(x)["0"], levels=Levels(nn.ReLU(), nn.Sigmoid()))
    values, _, _ = captured(net, torch.tensor([2.0]))
    assert {name: value.item() for name, value in values.items() if name != "levels.1"} == {
        "x": 2,
        "levels.0": 2,
        "levels.mul": 6,
        "levels.output.0": values["levels.1"].item(),
        "levels.output.1": 6,
        "levels.output.mul": 2,
        "levels.add": 2,
    }


def test_a_tuple_of_what_the_children_put_out_is_shown_whichever_layers_are_watched() -> None:
    class Levels(nn.Sequential):
        def forward(self, x):
            first = self[0](x)
            return first, self[1](first)

    net = Net(lambda self, x: self.levels(x)[1], levels=Levels(nn.ReLU(), nn.Sigmoid()))
    everything = ["x", "levels.0", "levels.1", "levels.output.0", "levels.output.1"]
    assert list(captured(net, torch.ones(1))[0]) == everything
    assert list(captured(net, torch.ones(1), operations=False, paths={"levels"})[0]) == ["x", *everything[3:]]


def test_a_tuple_of_one_tensor_keeps_the_modules_name() -> None:
    values, _, _ = captured(Net(lambda self, x: self.inner(x)[0], inner=Net(lambda self, x: (x + 1,))), torch.zeros(1))
    assert list(values) == ["x", "inner.add", "inner"]


def test_inputs_are_layers_under_the_names_of_the_forwards_arguments() -> None:
    class Two(nn.Module):
        def forward(self, left, right):
            return left + right

    values, layers, _ = captured(Two(), torch.ones(1), torch.ones(1))
    assert list(values) == ["left", "right", "add"]
    assert layers["left"].kind == "input"


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int64, torch.bool, torch.uint8, torch.float16])
def test_outputs_of_any_dtype_are_shown_as_they_are(dtype: torch.dtype) -> None:
    values, _, output = captured(Net(lambda self, x: self.inner(x), inner=Net(lambda s, x: x.to(dtype))), torch.ones(2))
    assert values["inner"].dtype == values["inner.to"].dtype == output.dtype == dtype


def test_constants_made_on_the_way_are_no_layers_but_what_meets_the_input_is() -> None:
    values, _, _ = captured(Net(lambda self, x: x + torch.arange(3).float().mul(2)), torch.zeros(3))
    assert list(values) == ["x", "add"]


def test_what_descends_from_a_parameter_is_a_layer() -> None:
    net = Net(lambda self, x: x + self.scale.exp())
    net.scale = nn.Parameter(torch.zeros(1))
    values, _, _ = captured(net, torch.zeros(3))
    assert list(values) == ["x", "exp", "add"]


# -- nothing stays behind ----------------------------------------------------------------------------------------


class Interrupting(nn.Module):
    def __init__(self, error: BaseException | None = None) -> None:
        super().__init__()
        self.error = error

    def forward(self, x):
        if self.error is not None:
            raise self.error
        return x + 1


def mixed_net(error: BaseException | None = None) -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(1, 1, 1), nn.Sequential(nn.BatchNorm2d(1), nn.Dropout()), nn.ReLU(), Interrupting(error)
    )
    net.train()
    net[1].eval()  # a frozen part, as in fine-tuning
    net[1][1].train()
    return net


def state_of(net: nn.Module) -> tuple[list[bool], list[int]]:
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in net.modules()]
    return [m.training for m in net.modules()], hooks


def raising(error: BaseException):
    def sink(output: Tensor) -> None:
        raise error

    return sink


@pytest.mark.parametrize("options", [{}, {"operations": False}, {"operations": False, "paths": {"2"}}])
@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(3)])
@pytest.mark.parametrize("place", ["model", "sink", "watcher", "nowhere"])
def test_hooks_modes_and_training_flags_are_as_before_on_every_path(place: str, error: BaseException, options) -> None:
    net = mixed_net(error if place == "model" else None)
    before = state_of(net)
    modes = torch.overrides._get_current_function_mode_stack()

    def watch(layer: LayerRef):
        if layer.name == "2" and place == "watcher":
            raise error
        return raising(error) if layer.name == "2" and place == "sink" else lambda output: None

    if place == "nowhere":
        capture(net, (torch.zeros(1, 1, 2, 2),), watch, **options)
    else:
        with pytest.raises(type(error)) as caught:
            capture(net, (torch.zeros(1, 1, 2, 2),), watch, **options)
        assert caught.value is error
    assert state_of(net) == before
    assert torch.overrides._get_current_function_mode_stack() == modes == []
    assert torch._C._is_torch_function_enabled()
    # And the next pass is a whole one.
    net[3].error = None
    assert list(captured(net, torch.zeros(1, 1, 2, 2))[0]) == ["input", "0", "1.0", "1.1", "1", "2", "3.add", "3"]


def test_the_model_runs_in_eval_mode_whatever_its_flags() -> None:
    seen = []
    net = mixed_net()
    net[3].register_forward_pre_hook(lambda module, _: seen.extend(m.training for m in net.modules()))
    captured(net, torch.zeros(1, 1, 2, 2))
    assert seen == [False] * 7


def test_training_flags_come_back_where_eval_itself_raises() -> None:
    class Stubborn(nn.Module):
        def train(self, mode: bool = True):
            if not mode:
                raise RuntimeError("no eval")
            return super().train(mode)

    net = nn.Sequential(nn.ReLU(), Stubborn())
    with pytest.raises(RuntimeError, match="no eval"):
        captured(net, torch.zeros(1))
    assert [m.training for m in net.modules()] == [True, True, True]


def test_a_models_own_hooks_stay_and_are_obeyed() -> None:
    net = nn.Sequential(nn.ReLU(), nn.ReLU())
    net[0].register_forward_hook(lambda module, args, output: output + 1)
    values, _, _ = captured(net, torch.zeros(1))
    assert values["0"].item() == values["1"].item() == 1
    assert len(net[0]._forward_hooks) == 1


def no_hooks(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("a hook was registered")


def test_nothing_is_added_where_no_layer_is_watched(monkeypatch) -> None:
    net = build("resnet18")
    monkeypatch.setattr(nn.Module, "register_forward_hook", no_hooks)
    monkeypatch.setattr(nn.Module, "register_forward_pre_hook", no_hooks)
    monkeypatch.setattr(TorchFunctionMode, "__enter__", no_hooks)
    x = torch.randn(1, 3, 64, 64)
    output = capture(net, (x,), no_hooks, operations=False, paths=())
    monkeypatch.undo()
    assert same_bits(output, net(x).detach())
    with pytest.raises(AssertionError, match="a hook was registered"):  # the patch does bite
        monkeypatch.setattr(nn.Module, "register_forward_hook", no_hooks)
        capture(net, (x,), lambda layer: None, operations=False, paths={"conv1"})


def test_only_the_watched_modules_are_hooked(monkeypatch) -> None:
    hooked = []
    register = nn.Module.register_forward_hook
    monkeypatch.setattr(
        nn.Module, "register_forward_hook", lambda self, *a, **k: (hooked.append(self), register(self, *a, **k))[1]
    )
    net = build("resnet18")
    capture(net, (torch.randn(1, 3, 64, 64),), lambda layer: None, operations=False, paths={"bn1"})
    assert set(hooked) == {net.bn1}


def doubled(x):
    return x * 2


torch.fx.wrap("doubled")


def test_functions_given_to_torch_fx_wrap_are_one_operation_and_are_put_back() -> None:
    before = doubled
    values, _, _ = captured(Net(lambda self, x: doubled(doubled(x))), torch.ones(1))
    assert {name: value.item() for name, value in values.items()} == {"x": 1, "doubled": 2, "doubled_1": 4}
    assert doubled is before

    with pytest.raises(AttributeError):
        captured(Net(lambda self, x: doubled(x).no_such_method()), torch.ones(1))
    assert doubled is before


# -- passes within passes, and failures that the model survives ----------------------------------------------------


def test_a_sink_may_run_a_capture_of_its_own_even_of_the_same_model() -> None:
    net = Net(lambda self, x: self.conv(x * 2).relu() + 1, conv=nn.Conv2d(1, 1, 1))
    x = torch.randn(1, 1, 2, 2)
    inner: list[list[str]] = []
    outer: dict[str, Tensor] = {}

    def watch(layer: LayerRef):
        def sink(output: Tensor) -> None:
            inner.append(list(captured(net, output)[0]))
            outer[layer.name] = output.clone()

        return sink

    capture(net, (x,), watch)
    alone = captured(net, x)[0]
    assert list(outer) == ["x", "mul", "conv", "relu", "add"]
    assert inner == [["x", "mul", "conv", "relu", "add"]] * 5
    assert all(same_bits(outer[name], alone[name]) for name in alone)


def trying(self, x):
    try:
        self.bad(x)
    except (ValueError, RuntimeError):
        x = x * 2
    return self.good(x) + 1


class RaisesInside(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(7, 1, 1)  # not this many channels

    def forward(self, x):
        return self.conv(x + 0)


@pytest.mark.parametrize("bad", [nn.Conv2d(7, 1, 1), RaisesInside(), Interrupting(ValueError())])
def test_operations_after_an_exception_that_the_model_catches_keep_their_place(bad: nn.Module) -> None:
    values, layers, output = captured(Net(trying, bad=bad, good=nn.ReLU()), torch.ones(1, 1, 2, 2))
    assert [name for name in values if not name.startswith("bad")] == ["x", "mul", "good", "add"]
    assert layers["add"].path == ""
    assert output.flatten()[0] == 3


# -- sizes as the model uses them ----------------------------------------------------------------------------------


@torch.jit.script
def plus_size(x, size: int, shape: list[int]):
    return x.reshape(shape) + size


def branch_on_types(self, x):
    size = x.size(0)
    shape = x.shape
    assert isinstance(size, int)
    assert isinstance(shape, torch.Size)
    assert isinstance(shape, tuple)
    return x + (1 if isinstance(shape[1:], torch.Size) else 2)


def flatten_all_ways(self, x):
    b, c, h, w = x.shape
    first = x.view(b, c * h, -1)
    second = first.reshape(x.shape[0], *x.shape[1:])
    third = second.view(x.shape).view(*x.size()).reshape((x.size(0), -1)).reshape(x.shape)
    return torch.cat([third, x.new_zeros(x.shape), torch.ones(b, c, h, w)], dim=1)


def match_shape(self, x):
    match x.shape:
        case (1, channels, *rest):
            return x * channels + len(rest)
    return x


# ruff: noqa: RUF005 - joining sizes with `+` is what is tried here
USES = {
    "arithmetic": lambda s, x: x[:, :, : x.shape[2] // 2] * (x.size(3) - 1) + x.shape[0] % 2 + 2 ** x.shape[1],
    "float arithmetic": lambda s, x: x / math.sqrt(x.shape[-1]) * x.shape[1] ** -0.5 + float(x.shape[0]) / 3,
    "views": flatten_all_ways,
    "types": branch_on_types,
    "numel": lambda s, x: x + x.shape.numel() + x.shape[-2:].numel() + x.numel(),
    "equal shapes": lambda s, x: x + 1 if x.shape == (x * 2).shape and x.shape == torch.Size([1, 2, 4, 4]) else x,
    "unequal shapes": lambda s, x: x + 1 if x.shape != x[:, :1].shape else x,
    "joined": lambda s, x: x.new_ones(x.shape + (1,)) + x.new_ones((1, *x.shape, 1)) + (x.shape + x.shape).numel(),
    "joined from the left": lambda s, x: x.new_ones((2,) + x.shape) + x,
    "repeated": lambda s, x: x + (x.shape * 2).numel() + len(2 * x.shape),
    "list": lambda s, x: x.reshape([*list(x.shape)[:2], -1]) + sum(list(x.shape)),
    "list methods": lambda s, x: x + sum(x[0, 0, 0].tolist() + [1]) + len(sorted(x[0, 0, 0].tolist())),
    "slices": lambda s, x: F.interpolate(x, size=x.shape[-2:]) + F.adaptive_avg_pool2d(x, x.shape[2:]),
    "reversed": lambda s, x: x + torch.tensor(x.shape[::-1]).float() + torch.tensor(list(reversed(x.shape))),
    "text": lambda s, x: x + len(f"{x.shape} {x.size(0)} {x.shape[0]:03d} {x.shape!r} {x.size()}"),
    "dict keys": lambda s, x: x + {(1, 2, 4, 4): 5}[x.shape] + {torch.Size([1, 2, 4, 4]): 6}[x.shape],
    "sizes as dict keys": lambda s, x: x + {4: 7}[x.size(2)] + {x.size(3): 8}[4],
    "hash and membership": lambda s, x: x + (4 in x.shape) + x.shape.index(2) + x.shape.count(4) + len({x.shape}),
    "comparisons": lambda s, x: x + max(x.shape) + min(x.shape) + (x.shape[0] < x.shape[1]) + (x.dim() == 4),
    "ranges": lambda s, x: sum(x[:, i % 2] for i in range(x.shape[2])) + torch.arange(x.size(3)),
    "zip and enumerate": lambda s, x: x + sum(i * n for i, n in enumerate(x.shape)) + len(list(zip(x.shape, x.shape))),  # noqa: B905
    "script": lambda s, x: plus_size(x, x.size(1), x.shape),
    "numpy": lambda s, x: x + torch.from_numpy(np.ones(x.shape, np.float32)) + int(np.prod(x.shape)),
    "numpy of values": lambda s, x: torch.from_numpy(np.asarray(x) * 2) + 1,
    "integers out of tensors": lambda s, x: x[:, : int(x.sum() * 0) + 1] + x.sum().item(),
    "tensors as indices": lambda s, x: x + range(9)[x[0, 0, 0, 0].long()] + len(x),
    "einsum": lambda s, x: torch.einsum("bchw,bdhw->bcd", x, x) / x.shape[2],
    "unbind": lambda s, x: sum(a * 2 + b for a, b in [x.unbind(1)]),
    "split": lambda s, x: torch.cat([part + i for i, part in enumerate(x.split(1, dim=1))], 1),
    "tuples": lambda s, x: torch.stack(x.chunk(2, 1) + x.chunk(2, 2)[:0]),
    "rows": lambda s, x: torch.stack([row * 2 for row in x[0]]),
    "named results": lambda s, x: x.max(1).values + x.max(1)[0] + x.sort(1)[0][:, 0] + x.topk(1, 1).indices[:, 0],
    "named results unpacked": lambda s, x: functools.reduce(lambda a, b: a + b, x.min(dim=1)),
    "a named results type": lambda s, x: x + isinstance(x.max(1), torch.return_types.max) + len(x.max(1)),
    "copies": lambda s, x: x + copy.deepcopy(x.shape).numel() + copy.copy(x.size(2)) + copy.copy(x.max(1))[0].sum(),
    "pickle": lambda s, x: x + pickle.loads(pickle.dumps(x.shape)).numel() + pickle.loads(pickle.dumps(x.size(1))),
    "json": lambda s, x: x + sum(json.loads(json.dumps(x.shape))) + json.loads(json.dumps({"a": x.size(1)}))["a"],
    "expand": lambda s, x: x.mean((2, 3), keepdim=True).expand(-1, -1, *x.shape[2:]).expand_as(x),
    "pad": lambda s, x: F.pad(x, (0, -x.shape[3] % 3, 0, 3 - x.shape[2] % 3)),
    "condition": lambda s, x: torch.where(x > 0, x, x.new_tensor(x.shape[1])),
    "indexing": lambda s, x: x[..., None][:, [1, 0], x.shape[2] - 1 :, :: x.shape[3] - 1],
    "setting": lambda s, x: (y := x.clone(), y.__setitem__((0, 0), float(y.shape[1])))[0],
    "meshgrid": lambda s, x: torch.meshgrid(torch.arange(x.shape[2]), torch.arange(x.shape[3]), indexing="ij")[0] + x,
    "roll": lambda s, x: torch.roll(x, shifts=(x.shape[2] // 2, x.shape[3] // 2), dims=(2, 3)),
    "attention": lambda s, x: F.scaled_dot_product_attention(x, x, x, scale=x.shape[-1] ** -0.5),
    "complex": lambda s, x: torch.fft.rfft2(x, s=x.shape[-2:]).abs(),
    "divmod and rounding": lambda s, x: x + divmod(x.shape[2], 3)[0] + round(x.shape[2] / 3),
    "floors and ceilings": lambda s, x: x + math.ceil(x.shape[3] / 3) + x.shape[2].__index__() + abs(-x.shape[0]),
    "match": match_shape,
    "checkpoint": lambda s, x: checkpoint(lambda y: y * y.shape[1], x, use_reentrant=False),
    "no tensor at all": lambda s, x: (x.shape, x.size(0), list(x.shape), x.split(1, 1)[0].shape[1:]),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated")
@pytest.mark.parametrize("use", USES)
def test_a_model_computes_the_same_while_it_is_watched(use: str) -> None:
    net = Net(USES[use]).eval()
    x = torch.arange(32.0).reshape(1, 2, 4, 4) / 8
    with torch.no_grad():
        plain = net(x.clone())
    for options in ({}, {"operations": False}):
        values, _, output = captured(net, x.clone(), **options)
        if use == "no tensor at all":
            assert output == plain
            continue
        assert same_bits(output, plain)
        assert values["x"].equal(x)


def test_sizes_kept_by_the_model_are_plain_to_the_next_pass_and_after_it() -> None:
    class Remembers(nn.Module):
        def forward(self, x):
            self.shape = x.shape
            self.parts = x.split(1, 1)
            return x * 2

    net = Remembers()
    captured(net, torch.zeros(1, 2, 4, 4))
    assert net.shape == (1, 2, 4, 4)
    assert net.shape[1:].numel() == 32
    assert net.shape[0] + 1 == 2
    assert torch.zeros(net.shape).shape == net.shape
    assert [part.shape for part in net.parts] == [(1, 1, 4, 4)] * 2
    assert list(captured(net, torch.zeros(1, 2, 4, 4))[0]) == ["x", "mul"]


# -- kinds of modules ----------------------------------------------------------------------------------------------


def test_a_scripted_module_within_a_model_is_one_layer() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU()))
    values, _, output = captured(Net(lambda self, x: self.inner(x) * 2, inner=scripted), torch.randn(1, 1, 3, 3))
    assert list(values) == ["x", "inner", "mul"]
    assert same_bits(output, values["inner"] * 2)


def test_data_parallel_on_the_cpu_shows_the_module_within() -> None:
    net = nn.DataParallel(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(inplace=True)))
    if net.device_ids:
        pytest.skip("this machine has GPUs: DataParallel copies the module")
    x = torch.randn(1, 1, 3, 3)
    values, _, output = captured(net, x)
    assert list(values)[1:] == ["module.0", "module.1", "module"]
    assert same_bits(values["module.0"], F.conv2d(x, net.module[0].weight, net.module[0].bias).detach())
    assert same_bits(output, values["module"])


def test_checkpointed_blocks_are_seen_once() -> None:
    net = Net(lambda self, x: checkpoint(self.block, x, use_reentrant=True) + 1, block=nn.Sequential(nn.ReLU()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that no input has a gradient
        assert list(captured(net, torch.ones(1))[0]) == ["x", "block.0", "block", "add"]


def test_a_transformer_layer_computes_what_it_computes_with_any_hook_on_it() -> None:
    # PyTorch's fused path steps aside where a module has hooks: the numbers are those of the written-out path.
    net = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)).eval()
    x = torch.randn(1, 5, 8)
    values, _, output = captured(net, x)
    with torch.no_grad():
        fused = net(x)
    net[0].register_forward_hook(lambda *_: None)
    with torch.no_grad():
        written_out = net(x)
    assert same_bits(output, written_out)
    assert torch.allclose(output, fused, atol=1e-6)
    assert same_bits(values["0.norm2"], values["0"])


def test_multi_head_attention_takes_the_path_it_takes_unwatched() -> None:
    attention = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    net = Net(lambda self, x: self.attention(x, x, x, need_weights=False)[0], attention=attention).eval()
    x = torch.randn(1, 5, 8)
    with torch.no_grad():
        plain = net(x)
    assert same_bits(captured(net, x)[2], plain)


def test_a_module_under_two_names_is_shown_under_the_first() -> None:
    shared = nn.Linear(2, 2)
    net = Net(lambda self, x: self.second(self.first(x)), first=shared, second=shared)
    values, _, _ = captured(net, torch.ones(1, 2))
    assert list(values) == ["x", "first", "first_1"]
    assert [node.name for node in run_graph(net, (torch.ones(1, 2),))] == list(values)


def test_tied_weights_are_two_layers() -> None:
    one, two = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
    two.weight = one.weight
    values, layers, _ = captured(nn.Sequential(one, two), torch.ones(1, 2))
    assert list(values) == ["input", "0", "1"]
    assert layers["1"].parameters == 4


def test_containers_that_never_run_are_no_layers_but_what_they_hold_is() -> None:
    blocks = nn.ModuleDict({"a": nn.ReLU(), "b": nn.ModuleList([nn.Sigmoid()])})
    net = Net(lambda self, x: self.blocks["b"][0](self.blocks["a"](x)), blocks=blocks)
    assert list(captured(net, torch.ones(1))[0]) == ["x", "blocks.a", "blocks.b.0"]


def test_a_lazy_modules_parameters_are_counted_once_it_has_them() -> None:
    net = nn.Sequential(nn.LazyConv2d(4, 1), nn.LazyBatchNorm2d())
    values, layers, _ = captured(net, torch.randn(1, 3, 2, 2))
    assert list(values) == ["input", "0", "1"]
    assert (layers["0"].type_name, layers["0"].parameters, layers["0"].kind) == ("Conv2d", 16, "conv")
    assert layers["1"].parameters == 8


def test_a_submodules_forward_called_by_hand_belongs_to_the_caller_as_in_torch_fx() -> None:
    net = Net(lambda self, x: self.conv.forward(x), conv=nn.Conv2d(1, 1, 1))
    x = torch.ones(1, 1, 2, 2)
    ours = list(captured(net, x)[0])
    assert ours == ["x", "conv2d"]
    assert ours == [node.name for node in run_graph(net, (x,)) if node.is_tensor and node.op != "get_attr"]


def test_recursion_through_the_same_module_gives_one_layer_a_call() -> None:
    class Countdown(nn.Module):
        def forward(self, x, depth=2):
            return self(x + 1, depth - 1) if depth else x

    values, layers, _ = captured(nn.Sequential(Countdown()), torch.zeros(1))
    assert [name for name, layer in layers.items() if layer.is_module] == ["0", "0_1", "0_2"]
    assert values["0"].item() == values["0_2"].item() == 2


def test_autograd_functions_and_what_follows_them_are_seen() -> None:
    class Double(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

    values, _, _ = captured(Net(lambda self, x: Double.apply(x) + 1), torch.ones(1))
    assert [name for name in values if name.startswith("add")] == ["add"]
    assert values["add"].item() == 3
