"""The axes of every layer of three dozen networks, against what the source of their modules says.

The table was written by reading torchvision's modules. A rule is a pattern over layer names and the axes of the layers
it matches; the first rule that matches counts, and every layer with three axes or more has to meet one.
"""

import re

import pytest
import torchvision

from fmap_cli.inputs.images import load_image, sample_path
from fmap_cli.models.records import ModelRequest
from fmap_cli.session.axes import axes_for
from fmap_cli.session.opening import open_architecture, read_image

CNN = [(".*", "BCHW")]
INCEPTION = [(r"getitem(_\d)?", "BHW"), *CNN]  # `transform_input` takes the colours one by one
VIDEO = [(".*", "BCTHW")]

# Swin: patches are permuted to NHWC at once, back to NCHW only before pooling.
SWIN = [
    (r"x|features\.0\.0|permute.*|avgpool", "BCHW"),
    (r".*_get_relative_position_bias|.*cpb_mlp.*|.*attn\.(sigmoid|mul)", None),  # of the weights alone: no image in it
    (r"features.*|norm", "BHWC"),
]
SWIN_3D = [
    (r"x|patch_embed\.(pad|proj)|permute.*|avgpool", "BCTHW"),
    (r".*_get_relative_position_bias|.*get_relative_position_bias.*", None),
    (r".*", "BTHWC"),
]
# ViT: the class token comes before the patches; `expand` is that token alone.
VIT = [
    (r"x|conv_proj", "BCHW"),
    (r"reshape", "BCN grid"),
    (r"permute", "BNC grid"),
    (r"expand", "BNC"),
    (r"cat|encoder.*", "BNC grid+1"),
]
# ConvNeXt: LayerNorm and the pointwise layers work on NHWC between two permutations.
CONVNEXT = [
    (r"features\.\d+\.\d+\.block\.[1-5](\.permute)?", "BHWC"),
    (r"features\.\d+\.\d+\.(permute|layer_norm)|features\.0\.1\.(permute|layer_norm)", "BHWC"),
    (r"classifier\.0\.(permute|layer_norm)", "BHWC"),
    (r".*", "BCHW"),
]
# MaxViT: a window partition counts windows, a grid partition cells, and each puts the other on an axis of fixed length.
MAXVIT = [
    (r".*window_attention\.(partition_op\.reshape|departition_op\.permute)", "BCH?W?"),
    (r".*window_attention\.(partition_op\.permute|departition_op\.reshape)", "BHW??C"),
    (r".*grid_attention\.(partition_op\.reshape|departition_op\.permute)", "BC?H?W"),
    (r".*grid_attention\.(partition_op\.permute|departition_op\.reshape)", "B??HWC"),
    (r".*grid_attention\.(partition_op(\.reshape_1)?|departition_swap(\.swapaxes)?)", "B?NC grid"),
    (r".*departition_op(\.reshape_1)?|.*_attention", "BCHW"),
    (
        r".*attn_layer\.1\.(view|permute_4|contiguous|unsqueeze|getitem_7|permute_3)",
        None,
    ),  # the bias table's, no image in it
    (r".*attn_layer\.1\.(einsum|add|softmax)", "BN??? grid"),  # heads, queries, keys: no channels
    (r".*attn_layer\.1\.(reshape(_[12])?|permute(_[12])?|mul|einsum_1)", "BN??C grid"),
    (r".*attn_layer\.1\.permute_5", "BN??C grid"),
    (r".*(window|grid)_attention\..*", "BN?C grid"),
    (r".*", "BCHW"),
]
# `view(batch, groups, channels of a group, height, width)`, then the two change places.
SHUFFLENET = [(r".*\.view", "B?CHW"), (r".*\.(transpose|contiguous)", "BC?HW"), *CNN]

FAMILIES = {
    "alexnet": CNN,
    "vgg11_bn": CNN,
    "resnet18": CNN,
    "resnext50_32x4d": CNN,
    "wide_resnet50_2": CNN,
    "squeezenet1_0": CNN,
    "densenet121": CNN,
    "googlenet": INCEPTION,
    "inception_v3": INCEPTION,
    "mobilenet_v2": CNN,
    "mobilenet_v3_small": CNN,
    "shufflenet_v2_x0_5": SHUFFLENET,
    "mnasnet0_5": CNN,
    "efficientnet_b0": CNN,
    "efficientnet_v2_s": CNN,
    "efficientnet_lite0": CNN,
    "regnet_y_400mf": CNN,
    "convnext_tiny": CONVNEXT,
    "swin_t": SWIN,
    "swin_v2_t": SWIN,
    "vit_b_32": VIT,
    "maxvit_t": MAXVIT,
    "fcn_resnet50": CNN,
    "lraspp_mobilenet_v3_large": CNN,
    "quantized_mobilenet_v2": CNN,
    "r3d_18": VIDEO,
    "mc3_18": VIDEO,
    "r2plus1d_18": VIDEO,
    "s3d": VIDEO,
    "swin3d_t": SWIN_3D,
}


# What resnet18, mobilenet_v3_small and efficientnet_lite0 are made of, once more: `B C H W` everywhere.
ALIKE = ("vgg11_bn resnext50_32x4d wide_resnet50_2 densenet121 mobilenet_v2 mnasnet0_5 efficientnet_b0"
         " efficientnet_v2_s regnet_y_400mf").split()  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.slow] if each in ALIKE else []) for each in FAMILIES]
)
def test_every_layers_axes_are_those_of_the_source(name):
    session = open_architecture(ModelRequest(name), lambda note: None)
    image = load_image(str(sample_path()), session.model.preprocessing)
    resolver = axes_for(session, image)
    checked = 0
    for layer, shape in resolver.layers():
        if len(shape) < 3:
            continue
        expected = next(axes for pattern, axes in FAMILIES[name] if re.fullmatch(pattern, layer.name))
        if expected is None:
            continue
        found = resolver.of(layer, shape)
        grid = "" if found.grid is None else " grid" + (f"+{found.prefix}" if found.prefix else "")
        assert "".join(found.names) + grid == expected, (layer.name, shape)
        checked += 1
    assert checked > 10


# torchvision's own code, read: images are resized one by one and laid into a batch; a head's 15 anchors times 4 numbers
# are `view(batch, anchors, numbers, height, width)`, then places and anchors become one axis; boxes are cut from maps.
DETECTOR = {
    "images": "CHW",
    "transform.sub": "CHW",
    "transform": "BCHW",
    "backbone.body.0.2": "BCHW",
    "backbone.fpn.pool": "BCHW",
    "rpn.head.cls_logits": "BCHW",
    "rpn.view_1": "B?CHW",
    "rpn.permute_1": "BHW?C",
    "rpn.reshape_1": "BNC",
    "rpn.cat_1": "BNC",
    "roi_heads.box_roi_pool": "B·?CHW",
    "roi_heads.box_head.fc6": "B·?C",
    "roi_heads.box_predictor.cls_score": "B·?C",
}


def test_a_detectors_layers_are_followed_from_its_images_to_its_boxes():
    session = open_architecture(ModelRequest("fasterrcnn_mobilenet_v3_large_320_fpn"), lambda note: None)
    image = load_image(str(sample_path()), session.model.preprocessing)
    resolver = axes_for(session, image)
    found = {layer.name: "".join(resolver.of(layer, shape).names) for layer, shape in resolver.layers()}
    assert {name: found.get(name) for name in DETECTOR} == DETECTOR
    maps = {name: names for name, names in found.items() if name.startswith(("backbone", "rpn.head"))}
    assert set(maps.values()) == {"BCHW"}
    assert len(maps) > 200


@pytest.mark.slow
@pytest.mark.parametrize("name", torchvision.models.list_models())
def test_two_ways_agree_and_no_axes_are_guessed(name):
    session = open_architecture(ModelRequest(name), lambda note: None)
    image = read_image(session, None, lambda note: None)
    resolver = axes_for(session, image)
    found = {layer.name: resolver.of(layer, shape) for layer, shape in resolver.layers()}
    assert found
    assert [name for name, axes in found.items() if "number of axes" in axes.how] == []
    if session.model.input_kind == "images" or resolver.growth is None:
        return
    for layer, axes in found.items():
        moved = resolver.growth.moved.get(layer, ())
        for one, grown in zip(axes.names, moved, strict=len(moved) == len(axes.names)):
            assert not (grown in ("T", "H", "W", "N") and one == "C"), (layer, axes.names, moved)
            assert not (grown == "B" and not one.startswith(("B", "?"))), (layer, axes.names, moved)
