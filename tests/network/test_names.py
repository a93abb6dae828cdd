"""Layer names are torchvision's own, in its order: held against `get_graph_node_names`, model by model.

The differences that fmap makes on purpose are each written down here as what they are.
"""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision import models
from torchvision.models.feature_extraction import get_graph_node_names
from torchvision_oracle import Node, build, inputs_for, run_graph, task_of, torchvision_leaves

from fmap_cli.network.capture import capture
from fmap_cli.network.records import LayerRef

# One of each kind that torchvision's tracer takes; under `-m slow` all of its models.
FAMILIES = [
    "resnet18",
    "vgg11",
    "mobilenet_v2",
    "googlenet",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "convnext_tiny",
    "swin_t",
    "vit_b_16",
    "regnet_y_400mf",
    "quantized_resnet50",
    "mc3_18",
]

# torchvision strips `_1` from a module's name before it counts: `ln_1` and `ln_2` become `ln` and `ln_1`.
VISION_TRANSFORMERS = {"vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14"}
# Their bottlenecks inherit a module `relu` that never runs; torchvision gives its name to an operation.
IDLE_RELU = {"quantized_resnet50", "quantized_resnext101_32x8d", "quantized_resnext101_64x4d"}

UNTRACEABLE = {
    "Proxy object cannot be iterated": {
        "fasterrcnn_mobilenet_v3_large_320_fpn",
        "fasterrcnn_mobilenet_v3_large_fpn",
        "fasterrcnn_resnet50_fpn",
        "fasterrcnn_resnet50_fpn_v2",
        "fcos_resnet50_fpn",
        "keypointrcnn_resnet50_fpn",
        "maskrcnn_resnet50_fpn",
        "maskrcnn_resnet50_fpn_v2",
        "retinanet_resnet50_fpn",
        "retinanet_resnet50_fpn_v2",
        "ssd300_vgg16",
        "ssdlite320_mobilenet_v3_large",
    },
    "symbolically traced variables cannot be used as inputs to control flow": {"raft_large", "raft_small"},
}
# Traced, but the graph does not run: a function it calls writes to a list that torch.fx has frozen.
NOT_RUNNABLE = {"swin3d_b", "swin3d_s", "swin3d_t"}


def shown_by_fmap(model: nn.Module, inputs: tuple) -> list[LayerRef]:
    layers: list[LayerRef] = []

    def watch(layer: LayerRef):
        return lambda output: layers.append(layer)

    capture(model, inputs, watch)
    return layers


def without_additions(layers: list[LayerRef], model: nn.Module, nodes: list[Node]) -> list[str]:
    """fmap's names less what it shows beyond torchvision's list."""
    leaves = torchvision_leaves(model)
    ran = {layer.path for layer in layers if layer.is_module}
    inside_leaf = tuple(f"{path}." for path in leaves & ran)
    tuple_leaves = {node.name for node in nodes if node.op == "call_module" and not node.is_tensor}
    return [
        layer.name
        for layer in layers
        if not (layer.is_module and layer.path not in leaves)  # composite modules
        and not layer.name.startswith(inside_leaf)
        and layer.name not in tuple_leaves
        and layer.kind != "output"
    ]


def as_fmap_has_them(nodes: list[Node], model_name: str) -> list[str]:
    """torchvision's tensor-valued names, less parameters, renamed where fmap departs on purpose."""
    names = [node.name for node in nodes if node.is_tensor and node.op != "get_attr"]
    if model_name in VISION_TRANSFORMERS:
        renamed = {"ln": "ln_1", "ln_1": "ln_2"}
        names = [re.sub(r"(?<=layer_)(\d+)\.(ln|ln_1)$", lambda m: f"{m[1]}.{renamed[m[2]]}", name) for name in names]
    if model_name in IDLE_RELU:
        names = [re.sub(r"^(layer\d\.\d+\.relu)$", r"\1_1", name) for name in names]
    return names


def compare(name: str) -> None:
    model = build(name, "meta")
    inputs = inputs_for(name, device="meta")
    nodes = run_graph(model, inputs)
    assert without_additions(shown_by_fmap(model, inputs), model, nodes) == as_fmap_has_them(nodes, name)


@pytest.mark.parametrize("name", FAMILIES)
def test_names_and_their_order_are_torchvisions(name: str) -> None:
    compare(name)


@pytest.mark.parametrize("name", ["resnet18", "googlenet", "swin_t", "vit_b_16"])
def test_the_oracle_lists_the_very_names_of_get_graph_node_names(name: str) -> None:
    model = build(name, "meta")
    nodes = run_graph(model, inputs_for(name, device="meta"))
    assert [node.name for node in nodes] == get_graph_node_names(model, suppress_diff_warning=True)[1]


def test_composite_modules_are_layers_beyond_torchvisions_list() -> None:
    model, inputs = build("resnet18", "meta"), inputs_for("resnet18", device="meta")
    listed = {node.name for node in run_graph(model, inputs)}
    added = [layer.name for layer in shown_by_fmap(model, inputs) if layer.name not in listed]
    blocks = [f"layer{stage}.{block}" for stage in (1, 2, 3, 4) for block in (0, 1)]
    downsamples = [f"layer{stage}.0.downsample" for stage in (2, 3, 4)]
    assert sorted(added) == sorted([*blocks, *downsamples, "layer1", "layer2", "layer3", "layer4"])


def test_modules_inside_torchvisions_own_blocks_are_layers_beyond_its_list() -> None:
    model, inputs = build("mobilenet_v2", "meta"), inputs_for("mobilenet_v2", device="meta")
    listed = {node.name for node in run_graph(model, inputs)}
    assert "features.0" in listed  # a Conv2dNormActivation of torchvision.ops
    assert not any(name.startswith("features.0.") for name in listed)
    assert {layer.name for layer in shown_by_fmap(model, inputs)} >= {"features.0.0", "features.0.1", "features.0.2"}


def test_modules_inside_torch_nns_own_layers_are_layers_beyond_torchvisions_list() -> None:
    net = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)).eval()
    names = [layer.name for layer in shown_by_fmap(net, (torch.zeros(1, 4, 8),))]
    assert {"0.norm1", "0.linear1", "0.linear2", "0"} <= set(names)
    assert [node.name for node in run_graph(net, (torch.zeros(1, 4, 8),))] == ["input", "0"]


def test_a_leaf_that_returns_a_tuple_is_a_layer_beyond_torchvisions_tensors() -> None:
    model, inputs = build("vit_b_32", "meta"), inputs_for("vit_b_32", device="meta")
    attention = "encoder.layers.encoder_layer_0.self_attention"
    nodes = {node.name: node for node in run_graph(model, inputs)}
    assert not nodes[attention].is_tensor
    assert attention in [layer.name for layer in shown_by_fmap(model, inputs)]


def test_the_tensors_of_an_answer_that_is_a_dict_are_layers_beyond_torchvisions_tensors() -> None:
    model, inputs = build("fcn_resnet50", "meta"), inputs_for("fcn_resnet50", device="meta")
    assert "out" not in [node.name for node in run_graph(model, inputs)]
    assert [layer.name for layer in shown_by_fmap(model, inputs) if layer.kind == "output"] == ["out"]


def test_parameters_read_on_the_way_are_no_layers() -> None:
    model, inputs = build("vit_b_32", "meta"), inputs_for("vit_b_32", device="meta")
    read = [node.name for node in run_graph(model, inputs) if node.op == "get_attr"]
    assert len(read) == 2  # the class token and the position embedding
    assert not set(read) & {layer.name for layer in shown_by_fmap(model, inputs)}


def test_modules_keep_their_paths_where_torchvision_strips_a_number() -> None:
    model, inputs = build("vit_b_32", "meta"), inputs_for("vit_b_32", device="meta")
    block = "encoder.layers.encoder_layer_0"
    theirs = [node.name for node in run_graph(model, inputs) if node.name.startswith(f"{block}.ln")]
    ours = [layer.name for layer in shown_by_fmap(model, inputs) if layer.name.startswith(f"{block}.ln")]
    assert theirs == [f"{block}.ln", f"{block}.ln_1"]
    assert ours == [f"{block}.ln_1", f"{block}.ln_2"]
    assert all(path in dict(model.named_modules()) for path in ours)


def test_the_name_of_a_module_that_never_runs_is_not_given_to_an_operation() -> None:
    model, inputs = build("quantized_resnet50", "meta"), inputs_for("quantized_resnet50", device="meta")
    block = "layer1.0"
    assert isinstance(model.get_submodule(f"{block}.relu"), nn.ReLU)
    theirs = [node for node in run_graph(model, inputs) if re.fullmatch(rf"{block}\.relu(_\d)?", node.name)]
    assert [(node.name, node.op) for node in theirs] == [(f"{block}.relu", "call_function")]
    ours = [layer for layer in shown_by_fmap(model, inputs) if re.fullmatch(rf"{block}\.relu(_\d)?", layer.name)]
    assert [(layer.name, layer.is_module) for layer in ours] == [(f"{block}.relu_1", False)]


class _ReluThrice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU()
        self.conv = nn.Conv2d(2, 2, 1)

    def forward(self, x):
        x = F.relu(self.conv(x))
        x = self.relu(x - 1)
        x = F.relu(x - 1)
        return self.relu(x + 1)


def test_an_argument_named_as_a_module_is_another_layer() -> None:
    """Neither is lost: the module has its path, and what enters the network the next name."""

    class Head(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.head = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, features: torch.Tensor, head: torch.Tensor | None = None) -> torch.Tensor:
            return self.head(self.features(features).relu())

    seen: dict[str, list[tuple[int, ...]]] = {}
    kinds: dict[str, str] = {}

    def watch(layer: LayerRef):
        kinds[layer.name] = layer.kind
        return lambda output: seen.setdefault(layer.name, []).append(tuple(output.shape))

    capture(Head(), (torch.zeros(1, 3, 5, 5),), watch)
    assert seen == {
        "features_1": [(1, 3, 5, 5)],
        "features": [(1, 4, 5, 5)],
        "relu": [(1, 4, 5, 5)],
        "head": [(1, 2, 5, 5)],
    }
    assert (kinds["features_1"], kinds["features"]) == ("input", "conv")


def test_a_module_keeps_its_path_where_an_operation_of_its_name_comes_first() -> None:
    layers = shown_by_fmap(_ReluThrice(), (torch.ones(1, 2, 3, 3),))
    relus = [(layer.name, layer.is_module, layer.call) for layer in layers if layer.type_name in ("relu", "ReLU")]
    assert [relu[:2] for relu in relus] == [("relu_1", False), ("relu", True), ("relu_2", False), ("relu_3", True)]
    assert [call for _, is_module, call in relus if is_module] == [0, 1]  # the module's own calls


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("x += 1", "add"),
        ("x -= 1", "sub"),
        ("x *= 2", "mul"),
        ("x /= 2", "truediv"),
        ("x //= 2", "floordiv"),
        ("x %= 2", "mod"),
        ("x **= 2", "pow"),
        ("x = x.add_(1)", "add_"),
        ("x = x.pow_(2)", "pow_"),
        ("x = x.div_(2)", "div_"),
        ("x = F.relu(x, inplace=True)", "relu"),
        ("x = x.relu_()", "relu_"),
        ("x = torch.relu_(x)", "relu_"),
        ("x = 1 - x", "sub"),
        ("x = 1 / x", "truediv"),
        ("x = x @ x", "matmul"),
        ("x = -x", "neg"),
        ("x = abs(x)", "abs"),
        ("x = x * ((x > 1) & (x < 3) | (x == 7))", "mul"),
        ("x = x.shape[2] * x", "mul"),
        ("x = x + x.shape[-1] // 2", "add"),
        ("x = x * (x.shape[2] * 2 + 1)", "mul"),  # sizes use up counters
        ("x = x + (x.shape[2] + 1) + (2 + x.size(3))", "add"),
        ("x = x.view(x.size(0), -1)", "view"),
        ("x = x.chunk(2, 1)[1]", "getitem"),
        ("x = x.max(1)[0]", "getitem"),
        ("x = x.max(1).values", "getattr"),
        ("x = torch.cat([x, x + 1], 1)", "cat"),
        ("x = x.mT", "getattr"),
        ("x = x.flatten(1).unsqueeze(0)", "unsqueeze"),
    ],
)
def test_an_operations_name_is_the_one_torch_fx_gives_it(statement: str, name: str) -> None:
    code = compile(statement, "statement", "exec")

    class Net(nn.Module):
        def forward(self, x):
            local = {"torch": torch, "F": F, "x": x * 1}
            exec(code, local)
            return local["x"]

    inputs = (torch.full((1, 2, 4, 4), 2.0),)
    theirs = [node.name for node in run_graph(Net(), inputs) if node.is_tensor]
    assert re.sub(r"_\d+$", "", theirs[-1]) == name
    assert [layer.name for layer in shown_by_fmap(Net(), inputs)] == theirs


def test_unpacked_tensors_are_named_as_torch_fx_names_them() -> None:
    class Net(nn.Module):
        def forward(self, x):
            query, key = x.reshape(2, -1, 4)
            return query * 2 + key

    inputs = (torch.ones(1, 2, 4, 4),)
    theirs = [node.name for node in run_graph(Net(), inputs) if node.is_tensor]
    assert [layer.name for layer in shown_by_fmap(Net(), inputs)] == theirs


# -- everything --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", models.list_models())
def test_names_are_torchvisions_for_every_model_that_it_can_trace(name: str) -> None:
    model = build(name, "meta")
    inputs = inputs_for(name, device="meta")
    for reason, names in UNTRACEABLE.items():
        if name in names:
            with pytest.raises(torch.fx.proxy.TraceError, match=reason):
                run_graph(model, inputs)
            return
    if name not in NOT_RUNNABLE:
        compare(name)
        return
    with pytest.raises(Exception, match="immutable_list"):
        run_graph(model, inputs)
    # Which nodes are tensors stays unknown, but all that fmap shows is on the list, and in its order.
    theirs = iter(get_graph_node_names(model, suppress_diff_warning=True)[1])
    ours = without_additions(shown_by_fmap(model, inputs), model, [])
    assert len(ours) > 100
    assert all(name in theirs for name in ours)


@pytest.mark.parametrize("name", ["raft_small"])
def test_models_that_torch_fx_cannot_follow_have_operations_too(name: str) -> None:
    layers = shown_by_fmap(build(name, "meta"), inputs_for(name, 128, device="meta"))
    assert len({layer.name for layer in layers}) == len(layers)
    assert any(not layer.is_module and layer.kind == "op" for layer in layers)


def test_every_exception_is_a_model_of_torchvisions() -> None:
    named = VISION_TRANSFORMERS | IDLE_RELU | NOT_RUNNABLE | set().union(*UNTRACEABLE.values())
    assert named <= set(models.list_models())
    assert {name for name in models.list_models() if task_of(name) == "detection"} == UNTRACEABLE[
        "Proxy object cannot be iterated"
    ]
