"""Multiply-adds: on paper for small networks, against torch's counter, and against what torchvision publishes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision import models

import fmap_cli as fmap
from fmap_cli.layers.costs import count_layers, memory_format, module_geometry
from fmap_cli.layers.records import CountedLayer
from fmap_cli.models import load_model
from fmap_cli.network.axes import meta_twin
from fmap_cli.network.blank import blank_arithmetic


def summed(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[list[CountedLayer], int]:
    count = count_layers(module, inputs)
    return count.layers, count.total


def costs(module: nn.Module, *shape: int) -> dict[str, int | None]:
    layers, total = summed(module, (torch.zeros(shape),))
    assert sum(each.own_multiply_adds or 0 for each in layers) == total
    return {each.layer.name: each.multiply_adds for each in layers}


# -- on paper ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "shape", "expected"),
    [
        (nn.Conv2d(6, 8, 3), (1, 6, 9, 9), 8 * 6 * 3 * 3 * 7 * 7),
        (nn.Conv2d(6, 8, (1, 5), stride=2), (1, 6, 9, 9), 8 * 6 * 1 * 5 * 5 * 3),
        (nn.Conv2d(6, 8, 3, groups=2), (1, 6, 9, 9), 8 * (6 // 2) * 3 * 3 * 7 * 7),
        (nn.Conv2d(6, 6, 3, groups=6, dilation=2), (1, 6, 9, 9), 6 * 1 * 3 * 3 * 5 * 5),
        (nn.Conv2d(6, 8, 3, padding="same", bias=False), (2, 6, 9, 9), 2 * 8 * 6 * 3 * 3 * 9 * 9),
        (nn.Conv1d(4, 2, 3), (1, 4, 10), 2 * 4 * 3 * 8),
        (nn.Conv3d(2, 4, 3), (1, 2, 5, 6, 7), 4 * 2 * 27 * 3 * 4 * 5),
        (nn.ConvTranspose2d(4, 2, 2, stride=2), (1, 4, 5, 5), 4 * 2 * 2 * 2 * 5 * 5),  # each input is spread out
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (1, 4, 5, 5), 4 * (6 // 2) * 3 * 3 * 5 * 5),
        (nn.Linear(7, 5), (3, 7), 3 * 7 * 5),
        (nn.Linear(7, 5, bias=False), (2, 3, 7), 2 * 3 * 7 * 5),
        (nn.BatchNorm2d(4), (1, 4, 5, 5), 0),
        (nn.MaxPool2d(2), (1, 4, 6, 6), 0),
        (nn.GELU(), (1, 4, 6, 6), 0),
    ],
)
def test_a_layer_costs_what_it_does_on_paper(module: nn.Module, shape: tuple[int, ...], expected: int) -> None:
    assert costs(nn.Sequential(module), *shape)["0"] == expected


class Products(nn.Module):
    """Every way to write a matrix product: `[B, 4, 6]` by itself and by weights."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6, 5))

    def forward(self, x: Tensor) -> Tensor:
        a = x @ self.weight  # [B, 4, 5]
        b = torch.einsum("bik,bjk->bij", x, x)  # [B, 4, 4]
        c = torch.bmm(b, a)  # [B, 4, 5]
        d = nn.functional.linear(c, self.weight)  # [B, 4, 6]
        return torch.matmul(d, torch.ones(6))  # [B, 4]


def test_products_count_whoever_calls_them() -> None:
    found = costs(Products(), 2, 4, 6)
    assert found == {
        "x": 0,
        "matmul": 2 * 4 * 6 * 5,
        "einsum": 2 * 4 * 4 * 6,
        "bmm": 2 * 4 * 4 * 5,
        "linear": 2 * 4 * 5 * 6,
        "matmul_1": 2 * 4 * 6,
    }


ATTENTION = 4 * 10 * 8 * 8 + 2 * 10 * 10 * 8  # four projections of 10 tokens of width 8; scores and weighted sums


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Any:
        return self.attention(x, x, x, need_weights=False)[0]


@pytest.mark.parametrize("fast", [True, False])
def test_attention_costs_the_same_on_its_fast_path(fast: bool) -> None:
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        assert costs(Attentive().eval(), 3, 10, 8)["attention"] == 3 * ATTENTION
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def test_scaled_dot_product_attention_counts_scores_and_sums() -> None:
    class Scaled(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.scaled_dot_product_attention(x, x, x)

    expected = 2 * 3 * (10 * 10 * 8) * 2
    assert costs(Scaled(), 2, 3, 10, 8)["scaled_dot_product_attention"] == expected


@pytest.mark.parametrize("fast", [True, False])
def test_an_encoder_layer_costs_the_same_on_its_fast_path(fast: bool) -> None:
    network = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 32, batch_first=True))
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast)
    try:
        assert costs(network, 3, 10, 8)["0"] == 3 * (ATTENTION + 2 * 10 * 8 * 32)
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def test_recurrent_layers_count_each_step() -> None:
    found = costs(nn.Sequential(nn.LSTM(6, 4, batch_first=True)), 2, 5, 6)
    assert found["0.0"] == 2 * 5 * (4 * 4 * 6 + 4 * 4 * 4)  # four gates, from the input and from the state


def test_quantized_layers_count() -> None:
    quantize = models.quantization.resnet18(weights=None, quantize=True)
    layers, total = summed(quantize, (torch.zeros(1, 3, 224, 224),))
    assert total == summed(models.resnet18(), (torch.zeros(1, 3, 224, 224),))[1]
    assert {each.layer.name: each.multiply_adds for each in layers}["fc"] == 512 * 1000


# -- who accounts for what -----------------------------------------------------------------------------------------


class Block(nn.Module):
    """A module, an operation, and the same module once more."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(self.conv(self.conv(x)), self.conv.weight, stride=2)


def test_blocks_are_sums_and_nothing_is_counted_twice() -> None:
    network = nn.Sequential(Block(), nn.Flatten(), nn.Linear(4 * 3 * 3, 2))
    layers, total = summed(network, (torch.zeros(1, 4, 8, 8),))
    rows = {each.layer.name: each for each in layers}
    once, functional, linear = 4 * 4 * 9 * 64, 4 * 4 * 9 * 9, 36 * 2
    assert {name: (row.multiply_adds, row.own_multiply_adds) for name, row in rows.items()} == {
        "input": (0, 0),
        "0.conv": (once, once),
        "0.conv_1": (once, once),
        "0.conv2d": (functional, functional),
        "0": (2 * once + functional, 0),
        "1": (0, 0),
        "2": (linear, linear),
    }
    assert total == 2 * once + functional + linear
    assert [row.composite for row in rows.values()] == [False, False, False, False, True, False, False]
    assert [row.depth for row in rows.values()] == [1, 2, 2, 2, 1, 1, 1]
    assert rows["0.conv"].parent == rows["0"].index
    assert rows["0"].parent is None
    assert rows["0.conv2d"].geometry is not None
    assert rows["0.conv2d"].geometry.stride == (2, 2)


def test_a_call_that_fails_and_is_caught_is_summed_up_in_its_caller() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.conv(x)
            raise ValueError

    class Catches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fails, self.conv = Fails(), nn.Conv2d(1, 1, 1)

        def forward(self, x: Tensor) -> Tensor:
            try:
                return self.fails(x)  # type: ignore[no-any-return]
            except ValueError:
                return self.conv(x)  # type: ignore[no-any-return]

    layers, total = summed(nn.Sequential(Catches()), (torch.zeros(1, 1, 3, 3),))
    rows = {each.layer.name: each for each in layers}
    assert {name: row.multiply_adds for name, row in rows.items()} == {
        "input": 0,
        "0.fails.conv": 9,
        "0.conv": 9,
        "0": 18,
    }
    assert (total, rows["0"].own_multiply_adds) == (18, 0)
    assert rows["0.fails.conv"].parent == rows["0"].index  # the call between has no output and so no row


def test_the_outputs_of_one_call_are_counted_once() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(3, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            y = self.fc(x)
            return y, y + 1

    rows = costs(nn.Sequential(Two()), 1, 3)
    assert (rows["0.0"], rows["0.1"]) == (12, None)


# -- the rest of a row ---------------------------------------------------------------------------------------------


def test_memory_formats_are_told_from_the_strides() -> None:
    x = torch.empty(2, 8, 4, 4)
    clip = torch.empty(1, 3, 2, 4, 4)
    cases: dict[str, Callable[[], Tensor]] = {
        "contiguous": lambda: x,
        "channels_last": lambda: x.contiguous(memory_format=torch.channels_last),
        "channels_last_3d": lambda: clip.contiguous(memory_format=torch.channels_last_3d),
        "permuted": lambda: x.permute(3, 1, 0, 2),
        "strided": lambda: x[:, ::2],
        "expanded": lambda: x[:1, :1, :1].expand(2, 8, 4, 4),
        "sparse_coo": lambda: torch.eye(3).to_sparse(),
    }
    assert {name: memory_format(make()) for name, make in cases.items()} == {name: name for name in cases}
    assert memory_format(torch.empty(1, 8, 1, 1).contiguous(memory_format=torch.channels_last)) == "contiguous"
    assert memory_format(torch.empty(())) == "contiguous"


def test_geometries_are_the_modules_own_words_a_number_an_axis() -> None:
    def told(module: nn.Module) -> Any:
        found = module_geometry(module)
        return found and (found.kernel, found.stride, found.padding, found.dilation, found.groups)

    assert told(nn.Conv2d(4, 8, (3, 5), 2, 1, 2, 4)) == ((3, 5), (2, 2), (1, 1), (2, 2), 4)
    assert told(nn.Conv2d(4, 8, 4, padding="same")) == ((4, 4), (1, 1), None, (1, 1), 1)  # one more at the end
    assert told(nn.MaxPool2d(3)) == ((3, 3), (3, 3), (0, 0), (1, 1), None)
    assert told(nn.AvgPool3d(2, (1, 2, 2))) == ((2, 2, 2), (1, 2, 2), (0, 0, 0), (1, 1, 1), None)
    assert told(nn.AdaptiveAvgPool2d(1)) is None
    assert told(nn.ReLU()) is None


def test_pooling_operations_have_a_geometry_too() -> None:
    class Pools(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return nn.functional.avg_pool2d(nn.functional.max_pool2d(x, 3, 2, 1), 2)

    layers, _ = summed(Pools(), (torch.zeros(1, 2, 9, 9),))
    found = {each.layer.name: each.geometry for each in layers}
    assert found["max_pool2d"] is not None
    assert (found["max_pool2d"].kernel, found["max_pool2d"].stride) == ((3, 3), (2, 2))
    assert found["avg_pool2d"] is not None
    assert found["avg_pool2d"].stride == (2, 2)


# -- three ways to run, one count ----------------------------------------------------------------------------------

SPREAD = (
    *("shufflenet_v2_x0_5", "swin_t", "vit_b_32"),
    *(pytest.param(each, marks=pytest.mark.slow) for each in ("convnext_tiny", "maxvit_t")),
)


@pytest.mark.parametrize("name", SPREAD)
def test_real_blank_and_meta_passes_count_the_same_as_torchs_counter(name: str) -> None:
    network = load_model(name, "random", initialise=False).module
    image = torch.zeros(1, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        meta_twin(network)(torch.zeros(1, 3, 224, 224))
    expected = counter.get_total_flops() // 2

    def rows(layers: list[CountedLayer]) -> list[tuple[Any, ...]]:
        return [(each.layer.name, each.shape, each.multiply_adds, each.depth, each.dtype) for each in layers]

    with blank_arithmetic():
        blank, total = summed(network, (image,))
    assert total == expected
    twin = meta_twin(network)
    with torch.device("meta"):
        meta, total = summed(twin, (torch.zeros(1, 3, 224, 224),))
    assert total == expected
    assert rows(meta) == rows(blank)
    real, total = summed(network, (image,))
    assert total == expected
    assert rows(real) == rows(blank)
    assert [each.memory_format for each in real] == [each.memory_format for each in blank]


def test_blank_arithmetic_gives_the_shapes_and_layout_of_the_real_one() -> None:
    x = torch.ones(2, 4, 9, 8)
    last = x.contiguous(memory_format=torch.channels_last)
    cases: list[Callable[[], Tensor]] = [
        lambda: torch.conv2d(x, torch.ones(6, 2, 3, 2), stride=(2, 1), padding=1, dilation=2, groups=2),
        lambda: torch.conv2d(last, torch.ones(6, 4, 3, 3)),
        lambda: torch.conv_transpose2d(x, torch.ones(4, 3, 3, 3), stride=2, output_padding=1, groups=2),
        lambda: torch.conv1d(x[0], torch.ones(5, 4, 2) if x.ndim == 3 else torch.ones(5, 9, 2)),
        lambda: nn.functional.linear(x, torch.ones(3, 8), torch.ones(3)),
        lambda: torch.einsum("bchw,bchv->bcwv", x, x),
        lambda: nn.functional.scaled_dot_product_attention(x, x, x),
    ]
    for make in cases:
        expected = make()
        with blank_arithmetic():
            found = make()
        assert (found.shape, found.stride(), found.dtype) == (expected.shape, expected.stride(), expected.dtype)
        assert not found.any()


def test_blank_arithmetic_refuses_what_does_not_fit_and_leaves_the_threads_as_they_were() -> None:
    threads = torch.get_num_threads()
    for broken in (
        lambda: torch.conv2d(torch.ones(1, 3, 2, 2), torch.ones(1, 3, 5, 5)),
        lambda: torch.conv2d(torch.ones(1, 3, 9, 9), torch.ones(1, 4, 5, 5)),
        lambda: torch.ones(2, 3) @ torch.ones(2, 3),
    ):
        with pytest.raises(RuntimeError), blank_arithmetic():
            broken()
    assert torch.get_num_threads() == threads


def test_neither_counting_nor_blank_arithmetic_imports_the_compiler() -> None:
    script = (
        "import sys; from fmap_cli.session.opening import open_architecture; from fmap_cli.layers.survey import survey;"
        "from fmap_cli.models.records import ModelRequest;"
        "survey(open_architecture(ModelRequest('resnet18'), print)); assert 'torch._dynamo' not in sys.modules"
    )
    assert forked.run([sys.executable, "-c", script]).returncode == 0


# -- what torchvision publishes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Counted:
    parameters: int
    multiply_adds: int
    layers: list[CountedLayer]

    @property
    def rounded(self) -> float:
        return round(self.multiply_adds / 1e9, 3)

    def of(self, *names: str) -> int:
        """What these layers cost together."""
        return sum(each.multiply_adds or 0 for each in self.layers if each.layer.name in names)


def counted(name: str, entry: Any) -> Counted:
    """The network of an entry on what its own transforms make of 512 × 512 pixels, as torchvision measured it."""
    transforms = entry.transforms()
    kind = type(transforms).__name__
    picture = torch.zeros(
        {"VideoClassification": (1, 16, 3, 512, 512), "ObjectDetection": (3, 512, 512)}.get(kind, (1, 3, 512, 512))
    )
    inputs = transforms(picture, picture) if kind == "OpticalFlow" else (transforms(picture),)
    shape = inputs[0].shape
    model = load_model(name, "random", size=tuple(shape[-2:]), initialise=False)
    if kind == "ObjectDetection":
        with blank_arithmetic():
            layers, total = summed(model.module, ([torch.zeros(shape)],))
    else:
        twin = meta_twin(model.module)
        with torch.device("meta"):
            layers, total = summed(twin, tuple(torch.zeros(each.shape) for each in inputs))
    return Counted(sum(parameter.numel() for parameter in model.module.parameters()), total, layers)


BOX_HEAD = ("roi_heads.box_head", "roi_heads.box_predictor.0")
MASK_HEAD = ("roi_heads.mask_head", "roi_heads.mask_predictor")
KEYPOINT_HEAD = ("roi_heads.keypoint_head", "roi_heads.keypoint_predictor")

# The entries whose multiply-adds differ, and what accounts for the difference: the layers, how many proposals or
# objects they see here, and how many they saw when torchvision measured on noise.
OTHER_NUMBERS_OF_BOXES: dict[tuple[str, str], tuple[tuple[str, ...], int, int]] = {
    ("fasterrcnn_mobilenet_v3_large_320_fpn", "COCO_V1"): (BOX_HEAD, 150, 0),
    ("fasterrcnn_mobilenet_v3_large_fpn", "COCO_V1"): (BOX_HEAD, 1000, 0),
    ("keypointrcnn_resnet50_fpn", "COCO_LEGACY"): (KEYPOINT_HEAD, 1, 0),
    ("maskrcnn_resnet50_fpn", "COCO_V1"): (MASK_HEAD, 1, 0),
    ("maskrcnn_resnet50_fpn_v2", "COCO_V1"): (MASK_HEAD, 1, 100),
}
# Published with the auxiliary head of the float network; the quantized one has none.
OTHER_PARAMETERS = {("quantized_inception_v3", "IMAGENET1K_FBGEMM_V1"): 27_161_264 - 23_834_568}

EVERY_ENTRY = [(name, entry) for name in models.list_models() for entry in models.get_model_weights(name)]
FAMILIES = (
    "alexnet",
    "densenet121",
    "efficientnet_b0",
    "fasterrcnn_mobilenet_v3_large_320_fpn",
    "googlenet",
    "inception_v3",
    "mnasnet0_5",
    "lraspp_mobilenet_v3_large",
    "maxvit_t",
    "quantized_mobilenet_v2",
    "r3d_18",
    "regnet_y_400mf",
    "resnet18",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "swin_v2_t",
    "vgg11",
    "vit_b_16",  # three entries: two input sizes
)


def holds(name: str, entry: Any) -> None:
    found = counted(name, entry)
    key = (name, entry.name)
    extra = OTHER_PARAMETERS.get(key, 0)
    assert found.parameters + extra == entry.meta["num_params"]
    published = entry.meta["_ops"]
    if key not in OTHER_NUMBERS_OF_BOXES:
        assert found.rounded == published
        return
    heads, here, there = OTHER_NUMBERS_OF_BOXES[key]
    assert found.rounded != published, "no exception any more"
    cost = found.of(*heads)
    assert cost > 0
    assert cost % here == 0
    assert round((found.multiply_adds + (there - here) * cost // here) / 1e9, 3) == published


@pytest.mark.parametrize(
    ("name", "entry"),
    [pytest.param(name, entry, id=f"{name}-{entry.name}") for name, entry in EVERY_ENTRY if name in FAMILIES],
)
def test_parameters_and_multiply_adds_are_those_torchvision_publishes(name: str, entry: Any) -> None:
    holds(name, entry)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "entry"),
    [pytest.param(name, entry, id=f"{name}-{entry.name}") for name, entry in EVERY_ENTRY if name not in FAMILIES],
)
def test_parameters_and_multiply_adds_of_every_other_entry(name: str, entry: Any) -> None:
    holds(name, entry)


def test_the_exceptions_are_entries() -> None:
    keys = {(name, entry.name) for name, entry in EVERY_ENTRY}
    assert set(OTHER_NUMBERS_OF_BOXES) | set(OTHER_PARAMETERS) <= keys


def test_an_exported_convolution_goes_over_the_map_as_the_live_one(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten(), nn.Linear(256, 5)).eval()
    torch.export.save(torch.export.export(net, (torch.zeros(1, 3, 16, 16),)), tmp_path / "net.pt2")
    live, exported = (
        fmap.layers(fmap.load_model(each, size=16, mean=0, std=1, say=lambda _: None), say=lambda _: None)
        for each in (net, str(tmp_path / "net.pt2"))
    )
    assert (exported.convolutions, exported.pointwise, exported.strided) == (2, 1, 1)
    described = [[(each.geometry, each.detail) for each in listing.layers] for listing in (live, exported)]
    assert described[0] == described[1]


def test_no_map_passes_from_one_input_to_the_next() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(1, 4, 3, 2, 1)

        def forward(self, rgb: Tensor, depth: Tensor) -> Tensor:
            return self.a(rgb) + self.b(depth)

    found = fmap.layers(fmap.load_model(Two().eval(), input_shape=[(3, 16, 16), (1, 16, 16)], say=lambda _: None))
    assert list(found.stages) == [(3, 16, 16), (4, 8, 8)]
