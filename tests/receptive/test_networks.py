"""Whole networks: every layer against autograd, published values, and an answer for each of torchvision's models."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from receptive.gradient_support import outputs_of, support, transparent
from torch import Tensor, nn
from torchvision import models
from torchvision_oracle import weights_laid_out

from fmap_cli.models import load_model
from fmap_cli.models.records import ModelRequest
from fmap_cli.network.blank import blank_arithmetic
from fmap_cli.network.capture import capture
from fmap_cli.receptive import Follower
from fmap_cli.receptive import field as fields
from fmap_cli.receptive.records import FieldListing
from fmap_cli.receptive.survey import receptive_fields
from fmap_cli.session.opening import open_architecture


def listed(model: str, *patterns: str, size: int | tuple[int, int] | None = None) -> FieldListing:
    session = open_architecture(ModelRequest(model, size=size), lambda _: None)
    return receptive_fields(session, patterns)


def sizes(model: str, *patterns: str) -> dict[str, tuple[Any, ...]]:
    rows = listed(model, *patterns).layers
    assert all(row.field.kind == "exact" for row in rows)
    return {row.layer.name: (row.field.axes[0].size, row.field.axes[0].stride) for row in rows}


# -- what others have published ------------------------------------------------------------------------------------


def test_resnet18_is_as_published() -> None:
    assert sizes("resnet18", "conv1", "maxpool", "layer?") == {
        "conv1": (7, 2),
        "maxpool": (11, 4),
        "layer1": (43, 4),
        "layer2": (99, 8),
        "layer3": (211, 16),
        "layer4": (435, 32),
    }


@pytest.mark.parametrize(
    ("model", "layer", "expected"),
    [
        # Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks" (Distill, 2019)
        ("alexnet", "features.12", (195, 32)),
        ("vgg16", "features.30", (212, 32)),
        # on paper: the stem sees 11; each 3 × 3 adds twice the stride it works at; stages begin with a strided one
        ("resnet50", "layer4", (11 + 2 * (3 * 4 + 4 + 3 * 8 + 8 + 5 * 16 + 16 + 2 * 32), 32)),
        ("mobilenet_v2", "features.18", (3 + 2 * (2 + 2 + 4 + 4 + 2 * 8 + 8 + 6 * 16 + 16 + 3 * 32), 32)),
    ],
)
def test_other_networks_are_as_published(model: str, layer: str, expected: tuple[int, int]) -> None:
    assert sizes(model, layer)[layer] == expected


def test_squeezenets_branches_are_kept_apart() -> None:
    (row,) = listed("squeezenet1_0", "features.12").layers
    assert [(group.channels, group.axes[0].size) for group in row.field.groups] == [
        (((0, 255),), 123),
        (((256, 511),), 155),
    ]
    assert row.field.axes[0].size == 155


def test_one_cell_still_has_a_stride() -> None:
    (row,) = listed("resnet18", "layer4", size=32).layers
    assert (row.field.cells, row.field.axes[0].size, row.field.axes[0].stride) == ((1, 1), 435, 32)


def test_transformers_say_from_where_on_they_see_everything() -> None:
    rows = {row.layer.name: row.field for row in listed("vit_b_32").layers}
    patch = rows["conv_proj"].axes[0]
    assert (patch.kind, patch.size, patch.stride, patch.start) == ("exact", 32, 32, 0)
    normed = rows["encoder.layers.encoder_layer_0.ln_1"]
    assert (normed.kind, normed.cells, normed.axes[1].size) == ("exact", (7, 7), 32)
    attended = rows["encoder.layers.encoder_layer_0.self_attention"]
    assert {axis.by for axis in attended.axes} == {"encoder.layers.encoder_layer_0.self_attention"}
    assert attended.kind == "whole image"
    assert rows["heads"].kind == "whole image"


def test_a_gate_makes_what_follows_the_whole_image() -> None:
    rows = {row.layer.name: row.field for row in listed("mobilenet_v3_small", "features.0*", "features.1*").layers}
    assert rows["features.0"].kind == "exact"
    assert rows["features.1"].axes[0].by == "features.1.block.1.avgpool"


def test_clips_have_time_as_well() -> None:
    (row,) = listed("r3d_18", "layer2").layers
    assert [(axis.axis, axis.size, axis.stride, axis.start) for axis in row.field.axes] == [
        ("T", 25, 2, -12),
        ("H", 51, 4, -25),
        ("W", 51, 4, -25),
    ]


def test_a_detectors_fields_are_in_pixels_of_the_picture_it_is_given() -> None:
    listing = listed("fasterrcnn_mobilenet_v3_large_320_fpn", "transform.interpolate", "backbone.body.0")
    assert listing.size == (400, 600)
    resized, first = (row.field.axes[0] for row in listing.layers)
    # 400 rows become 320: between two new rows there are 1.25 old ones, between two of the strided convolution 2.5
    assert (resized.stride, resized.size, resized.least) == (Fraction(5, 4), 2, 2)
    assert (first.stride, first.kind) == (Fraction(5, 2), "upper bound")
    assert (first.least, first.size) == (4, 5)


@pytest.mark.slow
def test_a_picture_on_a_larger_page_is_padded() -> None:
    """1200 columns on a page of 1216: what lies beyond is as the zeros around a convolution's input."""
    rows = {row.layer.name: row.field for row in listed("retinanet_resnet50_fpn", "backbone.body*").layers}
    # the picture is enlarged twice: 7 columns of it are 5 pixels, of which the outermost are halves
    assert [(axis.kind, axis.size, axis.stride) for axis in rows["backbone.body.conv1"].axes] == [("exact", 5, 1)] * 2
    assert rows["backbone.body.layer2"].kind == "exact"


# -- against autograd ----------------------------------------------------------------------------------------------


def disagreements(module: nn.Module, size: tuple[int, int], every: int = 1) -> tuple[list[str], int]:
    """Layers of which a unit does not see exactly what autograd finds, and how many units were looked at.

    Of every layer it is the middle unit and another; unclipped fields are looked at as well where they lie inside.
    """
    module = transparent(module)
    image = torch.rand(1, 3, *size, dtype=torch.float64) + 0.5
    follower = Follower()
    follower.start(image, (2, 3))
    found: dict[str, Any] = {}

    def watch(layer: Any) -> Any:
        def sink(output: Tensor) -> None:
            follower.name(layer.name)
            found[layer.name] = follower.fields_of(output)

        return sink

    with blank_arithmetic(), follower:
        capture(module, (image,), watch)
    outputs = outputs_of(module.requires_grad_(False), image.requires_grad_())
    wrong, looked = [], 0
    rng = random.Random(0)
    # What the stand-ins for functional poolings do inside is no layer of the network, and they are none of its layers.
    layers = [name for name in found if name in outputs]
    assert len(layers) > 0.95 * len(found)
    for name in layers[::every]:
        output = outputs[name]
        middle = tuple(length // 2 for length in output.shape)
        other = tuple(rng.randrange(length) for length in output.shape)
        for unit in (middle, other):
            reached = support(output[unit], image)
            looked += 1
            if reached is None:  # in the padding beside the map
                assert any(_sees_nothing(each, output.shape, unit) for each in found[name]), name
                continue
            for at, one in enumerate(found[name]):
                values = np.maximum.reduce([np.broadcast_to(p.values, (4, *output.shape)) for p in one.parts])
                seen = values[(slice(None), *unit)]
                inside = seen[2] <= 0 and seen[3] < size[at]
                if (-seen[0], seen[1]) != tuple(reached[at]) or (inside and tuple(seen[2:]) != tuple(seen[:2])):
                    wrong.append(f"{name} {unit} axis {at}: {seen.tolist()} and {reached[at].tolist()}")
    return wrong, looked


def network(name: str) -> nn.Module:
    if name == "efficientnet_lite0":
        module: nn.Module = load_model(name).module
        return module
    more = {"googlenet": {"init_weights": False}, "inception_v3": {"init_weights": False}}.get(name, {})
    backbone = {"weights_backbone": None} if name.startswith("fcn") else {}
    with weights_laid_out():
        return models.get_model(name, weights=None, **more, **backbone)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("name", "size", "every"),
    [
        ("resnet18", (112, 80), 4),
        ("shufflenet_v2_x0_5", (96, 72), 3),
        ("squeezenet1_1", (96, 72), 2),
        ("efficientnet_lite0", (97, 75), 8),
    ],
)
def test_layers_see_what_autograd_finds(name: str, size: tuple[int, int], every: int) -> None:
    wrong, looked = disagreements(network(name), size, every)
    assert not wrong
    assert looked > 30


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        # The middle unit's field lies inside the taller ones; of deeper networks only what is seen can be compared.
        ("alexnet", (288, 96)),
        ("vgg11", (288, 64)),
        ("resnet18", (640, 64)),
        ("resnext50_32x4d", (480, 48)),
        ("squeezenet1_0", (320, 64)),
        ("squeezenet1_1", (320, 64)),
        ("mobilenet_v2", (512, 40)),
        ("shufflenet_v2_x0_5", (320, 48)),
        ("mnasnet0_5", (512, 40)),
        ("efficientnet_lite0", (320, 48)),
        ("fcn_resnet50", (320, 48)),
        ("googlenet", (320, 48)),
        ("densenet121", (256, 40)),
        ("inception_v3", (256, 80)),
        ("convnext_tiny", (320, 64)),
        ("regnet_x_400mf", (320, 40)),
    ],
)
def test_every_layer_sees_what_autograd_finds(name: str, size: tuple[int, int]) -> None:
    wrong, looked = disagreements(network(name), size)
    print(f"{name}: {looked} units, {len(wrong)} wrong")
    assert not wrong
    assert looked > 30


# -- small networks drawn at random --------------------------------------------------------------------------------

_KERNELS = st.sampled_from([(1, 1), (3, 3), (2, 2), (5, 1), (1, 4), (3, 5)])
_STRIDES = st.sampled_from([(1, 1), (2, 2), (3, 1), (1, 2)])
_DILATIONS = st.sampled_from([(1, 1), (2, 1), (2, 3)])


@st.composite
def steps(draw: st.DrawFn, channels: int) -> tuple[nn.Module, int]:
    """A layer and how many channels it puts out."""
    kind = draw(st.sampled_from(["conv", "depthwise", "pool", "average", "pad", "up", "transposed", "act"]))
    kernel, stride, dilation = draw(_KERNELS), draw(_STRIDES), draw(_DILATIONS)
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    if kind == "conv":
        out = draw(st.sampled_from([2, 4]))
        return nn.Conv2d(channels, out, kernel, stride, padding, dilation), out
    if kind == "depthwise":
        return nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels), channels
    if kind == "average":
        return nn.AvgPool2d(kernel, stride, padding, ceil_mode=draw(st.booleans())), channels
    if kind == "pool":  # its gradient reaches one pixel alone, a mean with the same windows all
        return nn.AvgPool2d(kernel, stride, padding), channels
    if kind == "pad":
        return nn.ZeroPad2d(tuple(draw(st.integers(-1, 3)) for _ in range(4))), channels  # type: ignore[arg-type]
    if kind == "up":
        mode = draw(st.sampled_from(["nearest", "bilinear"]))
        return nn.Upsample(scale_factor=draw(st.sampled_from([2, 1.5])), mode=mode), channels
    if kind == "transposed":
        return nn.ConvTranspose2d(channels, channels, kernel, stride, padding), channels
    return nn.ReLU(inplace=True), channels


class Branches(nn.Module):
    """Branches that end in one size by cutting, added or put side by side."""

    def __init__(self, branches: list[nn.Module], side_by_side: bool) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)
        self.side_by_side = side_by_side

    def forward(self, x: Tensor) -> Tensor:
        done = [branch(x.clone()) for branch in self.branches]
        high, wide = (min(each.shape[at] for each in done) for at in (2, 3))
        done = [each[:, :, :high, :wide] for each in done]
        return torch.cat(done, 1) if self.side_by_side else sum(done[1:], done[0])


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    channels = 3
    layers: list[nn.Module] = []
    for _ in range(draw(st.integers(1, 4))):
        if draw(st.booleans()):
            layer, channels = draw(steps(channels))
            layers.append(layer)
            continue
        branches = []
        for _ in range(2):
            first, middle = draw(steps(channels))
            second = nn.Conv2d(middle, channels, draw(_KERNELS), padding=1)
            branches.append(nn.Sequential(first, second))
        side_by_side = draw(st.booleans())
        layers.append(Branches(branches, side_by_side))
        channels *= 2 if side_by_side else 1
    return nn.Sequential(*layers)


@settings(max_examples=60, deadline=None)
@given(network=networks(), size=st.tuples(st.integers(14, 20), st.integers(14, 20)), data=st.data())
def test_networks_drawn_at_random_see_what_autograd_finds(
    network: nn.Module, size: tuple[int, int], data: st.DataObject
) -> None:
    module = transparent(network)
    image = (torch.rand(1, 3, *size, dtype=torch.float64) + 0.5).requires_grad_()
    follower = Follower()
    follower.start(image, (2, 3))
    try:
        with follower:
            output = module(image)
    except RuntimeError:
        return  # it has become too small for a kernel
    if not output.numel():
        return
    found = follower.fields_of(output)
    units = {tuple(length // 2 for length in output.shape), tuple(0 for _ in output.shape)}
    units |= {tuple(length - 1 for length in output.shape)}
    units.add(tuple(data.draw(st.integers(0, length - 1)) for length in output.shape))
    for unit in units:
        reached = support(output[unit], image)
        for at in range(2):
            one = None if found is None else found[at]
            if one is None:
                assert reached is None
                continue
            seen = np.maximum.reduce([np.broadcast_to(p.values, (4, *output.shape)) for p in one.parts])[
                (slice(None), *unit)
            ]
            if reached is None:
                # Nothing is seen if either axis sees nothing: an empty row of the window makes the product empty.
                assert any(_sees_nothing(each, output.shape, unit) for each in found or ())
                continue
            assert (-seen[0], seen[1]) == tuple(reached[at])
            if abs(seen[3]) < fields.FAR:
                assert -seen[2] <= -seen[0] and seen[3] >= seen[1]  # what is seen lies within the unclipped field


def _sees_nothing(one: Any, shape: tuple[int, ...], unit: tuple[int, ...]) -> bool:
    return one is None or bool(np.broadcast_to(one.values, (4, *shape))[(1, *unit)] == fields.EMPTY)


# -- every model of torchvision ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("name", models.list_models())
def test_every_model_has_an_answer_or_a_reason_for_every_layer(name: str) -> None:
    listing = listed(name)
    assert len(listing.layers) == listing.count
    for row in listing.layers:
        for axis in row.field.axes:
            assert axis.kind != "unknown", (row.layer.name, axis)
            if axis.kind == "exact":
                assert axis.size is not None and axis.start is not None
            elif axis.kind != "nothing":
                assert axis.why, (row.layer.name, axis)
            if axis.kind == "whole image":
                assert axis.by, (row.layer.name, axis)
