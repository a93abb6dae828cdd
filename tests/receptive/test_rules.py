"""Fields of single operations and small networks, worked out on paper or by autograd."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from receptive.gradient_support import transparent
from torch import Tensor, nn

from fmap_cli.network.records import Axes
from fmap_cli.receptive import Follower, describe
from fmap_cli.receptive import field as fields
from fmap_cli.receptive.records import ReceptiveField
from fmap_cli.receptive.rules import rule_for

NCHW = Axes(("B", "C", "H", "W"), "")


def seen_by(run: Callable[[Tensor], Any], *shape: int, axes: Axes = NCHW) -> ReceptiveField:
    """What the output of `run` sees of an image `[1, C, H, W]` of this shape."""
    image = torch.rand(shape)
    follower = Follower()
    follower.start(image, (2, 3))
    with torch.no_grad(), follower:
        output = run(image)
    follower.name("here")
    return describe(follower.fields_of(output), axes, output.shape, ("H", "W"), shape[2:])


def rows(seen: ReceptiveField) -> tuple[Any, ...]:
    axis = seen.axes[0]
    return axis.size, axis.stride, axis.start


def units(seen: ReceptiveField, axis: int = 0) -> list[tuple[int, int]]:
    """First and last pixel really seen by each unit along an axis."""
    extent = seen.extents[axis]
    lengths = extent.shape[3 + axis]
    first, last = (np.moveaxis(extent[row], 2 + axis, 0).reshape(lengths, -1).max(axis=1) for row in (0, 1))
    return [(int(-a), int(b)) for a, b in zip(first, last, strict=True)]


# -- on paper ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        (nn.Conv2d(3, 4, 3), (3, 1, 0)),
        (nn.Conv2d(3, 4, 5, stride=2, padding=2), (5, 2, -2)),
        (nn.Conv2d(3, 4, 3, dilation=4, padding=4), (9, 1, -4)),
        (nn.Conv2d(3, 4, 4, padding="same"), (4, 1, -1)),  # torch puts the odd pixel behind
        (nn.MaxPool2d(3, 2, 1), (3, 2, -1)),
        (nn.MaxPool2d(2, 2, dilation=3), (4, 2, 0)),
        (nn.AvgPool2d(3, 2, ceil_mode=True), (3, 2, 0)),
        (nn.ZeroPad2d((0, 0, 2, 0)), (1, 1, -2)),
        (nn.ConstantPad2d(-1, 0.0), (1, 1, 1)),  # cut off
        (nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(4, 4, 3, 2, 1)), (3 + 2 * 2, 4, -1 - 2)),
        (nn.Sequential(nn.Conv2d(3, 3, 3), nn.BatchNorm2d(3), nn.ReLU(inplace=True)), (3, 1, 0)),
        (nn.Upsample(scale_factor=2, mode="nearest"), (1, Fraction(1, 2), 0)),
        (nn.PixelShuffle(2), (1, Fraction(1, 2), 0)),
    ],
    ids=str,
)
def test_size_stride_and_start_on_paper(module: nn.Module, expected: tuple[Any, ...]) -> None:
    channels = 4 if isinstance(module, nn.PixelShuffle) else 3
    seen = seen_by(module.eval(), 1, channels, 24, 24)
    assert rows(seen) == expected
    assert seen.axes[0].padding == -expected[2]
    assert seen.axes[0].centre == expected[2] + (expected[0] - 1) / 2
    fractional = expected[1] != int(expected[1])
    assert seen.kind == ("upper bound" if fractional else "exact")


def test_kernels_of_one_axis_see_along_that_axis_alone() -> None:
    seen = seen_by(nn.Conv2d(3, 4, (7, 1), padding=(3, 0)), 1, 3, 16, 16)
    assert [(each.size, each.start) for each in seen.axes] == [(7, -3), (1, 0)]


def test_a_sum_of_branches_sees_their_hull() -> None:
    wide, narrow = nn.Conv2d(3, 4, 7, padding=3), nn.Conv2d(3, 4, 3, padding=1)
    seen = seen_by(lambda x: wide(x) + narrow(x), 1, 3, 16, 16)
    assert rows(seen) == (7, 1, -3)
    shifted = seen_by(lambda x: x[:, :, :-4] + x[:, :, 4:], 1, 3, 16, 16)
    assert rows(shifted) == (5, 1, 0)


def test_channels_side_by_side_keep_what_each_sees() -> None:
    wide, narrow = nn.Conv2d(3, 2, 7, padding=3), nn.Conv2d(3, 4, 3, padding=1)
    seen = seen_by(lambda x: torch.cat([narrow(x), wide(x)], 1), 1, 3, 16, 16)
    assert rows(seen) == (7, 1, -3)
    assert [(group.channels, group.axes[0].size) for group in seen.groups] == [(((0, 3),), 3), (((4, 5),), 7)]


def test_shuffled_and_grouped_channels_are_followed_one_by_one() -> None:
    """ShuffleNet's shuffle: halves 0 1 2 | 3 4 5 become 0 3 1 4 2 5; a depthwise convolution then widens each."""
    wide, deep = nn.Conv2d(3, 3, 5, padding=2), nn.Conv2d(6, 6, 3, padding=1, groups=6)

    def shuffle(x: Tensor) -> Tensor:
        y = torch.cat([x, wide(x)], 1)
        return deep(y.view(1, 2, 3, 16, 16).transpose(1, 2).reshape(1, 6, 16, 16))

    seen = seen_by(shuffle, 1, 3, 16, 16)
    assert [(group.channels, group.axes[0].size) for group in seen.groups] == [
        (((0, 0), (2, 2), (4, 4)), 3),
        (((1, 1), (3, 3), (5, 5)), 7),
    ]
    mixed = nn.Conv2d(6, 2, 1, groups=2)  # channels 0 to 2 and 3 to 5: each has one of either kind
    assert rows(seen_by(lambda x: mixed(shuffle(x)), 1, 3, 16, 16)) == (7, 1, -3)


def test_padding_beside_the_picture_is_seen_by_nobody() -> None:
    seen = seen_by(lambda x: F.pad(x, (0, 0, 1, 1)), 1, 3, 4, 4)
    assert units(seen)[1:5] == [(0, 0), (1, 1), (2, 2), (3, 3)]
    assert seen.extents[0][1].max(axis=(0, 1, 3)).tolist()[0] == fields.EMPTY


def test_pixels_left_out_by_a_stride_are_seen_by_nobody() -> None:
    """The unclipped field of the last unit ends at pixel 4; the picture at 3, of which the stride leaves out 3."""
    skip, look = nn.Conv2d(3, 3, 1, stride=2), nn.Conv2d(3, 3, 3, padding=1)
    seen = seen_by(lambda x: look(skip(x)), 1, 3, 4, 4)
    assert rows(seen) == (5, 2, -2)
    assert units(seen) == [(0, 2), (0, 2)]


# -- the whole image -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("run", "operation"),
    [
        (lambda x: x.mean((2, 3), keepdim=True), "mean"),
        (nn.AdaptiveAvgPool2d(1), "mean"),
        (nn.AdaptiveMaxPool2d(1), "adaptive_max_pool2d"),
        (lambda x: x * x.mean((2, 3), keepdim=True).sigmoid(), "mean"),  # squeeze and excitation
        (nn.GroupNorm(1, 3), "native_group_norm"),
        (nn.InstanceNorm2d(3), "native_batch_norm"),
        (nn.LayerNorm([3, 12, 12]), "native_layer_norm"),
        (lambda x: x.flatten(2).softmax(-1).view_as(x), "softmax"),
    ],
)
def test_an_operation_over_the_map_makes_it_the_whole_image(run: Callable[[Tensor], Tensor], operation: str) -> None:
    seen = seen_by(run, 1, 3, 12, 12)
    assert seen.kind == "whole image"
    assert {(axis.size, axis.by) for axis in seen.axes} == {(None, "here")}
    assert operation in seen.axes[0].why
    assert seen.share == 1.0


def test_norms_over_channels_alone_see_one_place() -> None:
    seen = seen_by(lambda x: F.layer_norm(x.permute(0, 2, 3, 1), (3,)).permute(0, 3, 1, 2), 1, 3, 12, 12)
    assert rows(seen) == (1, 1, 0)


def test_attention_within_windows_sees_its_window() -> None:
    def attend(x: Tensor) -> Tensor:
        tokens = x.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 4, 5, 1).reshape(9, 16, 3)  # 3 × 3 windows
        mixed = F.scaled_dot_product_attention(tokens[:, None], tokens[:, None], tokens[:, None])[:, 0]
        return mixed.view(1, 3, 3, 4, 4, 3).permute(0, 5, 1, 3, 2, 4).reshape(1, 3, 12, 12)

    seen = seen_by(attend, 1, 3, 12, 12)
    assert units(seen) == [(0, 3)] * 4 + [(4, 7)] * 4 + [(8, 11)] * 4
    assert (seen.kind, seen.axes[0].size, seen.axes[0].stride) == ("upper bound", 4, 1)  # 4 px for 4 cells


def test_what_depends_on_values_is_a_bound() -> None:
    def warp(x: Tensor) -> Tensor:
        return F.grid_sample(x, x[:, :2].permute(0, 2, 3, 1), align_corners=False)

    seen = seen_by(warp, 1, 3, 12, 12)
    assert (seen.kind, seen.axes[0].size) == ("upper bound", None)
    assert "depends on values" in seen.axes[0].why


def test_an_operation_without_a_rule_is_unknown_and_named() -> None:
    seen = seen_by(lambda x: x.renorm(2, 1, 1.0), 1, 3, 12, 12)
    assert seen.kind == "unknown"
    assert "renorm" in seen.axes[0].why
    pooled = seen_by(lambda x: x.mean((2, 3), keepdim=True).renorm(2, 1, 1.0), 1, 3, 12, 12)
    assert pooled.kind == "whole image"  # whatever it does, all was in there before


def test_constants_see_nothing() -> None:
    assert seen_by(lambda x: torch.zeros_like(x), 1, 3, 8, 8).kind == "nothing"
    weight = torch.rand(1, 3, 8, 8)
    assert seen_by(lambda x: weight * 2, 1, 3, 8, 8).kind == "nothing"


def test_exact_is_what_every_unit_inside_sees() -> None:
    """Not where the image is folded back, where units inside see nothing, or where tiles are computed apart."""
    folded = seen_by(nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(3, 4, 3)), 1, 3, 24, 24)
    # The first unit sees pixels 2, 1 and 0, folded back from -2, -1 and 0.
    assert units(folded)[0] == (0, 2)
    assert (folded.axes[0].kind, folded.axes[0].size, folded.axes[0].start) == ("upper bound", 5, -2)
    assert (folded.axes[0].least, folded.axes[0].why) == (3, "units see 3 to 5 px")
    cropped = seen_by(lambda x: F.pad(x[:, :, 4:-4], (0, 0, 4, 4)), 1, 3, 24, 24)
    assert (cropped.kind, cropped.axes[0].why) == ("upper bound", "some units see nothing")
    look = nn.Conv2d(3, 3, 3, padding=1)

    def tiles(x: Tensor) -> Tensor:
        apart = x.view(1, 3, 2, 12, 2, 12).permute(0, 2, 4, 1, 3, 5).reshape(4, 3, 12, 12)
        return look(apart).view(1, 2, 2, 3, 12, 12).permute(0, 3, 1, 4, 2, 5).reshape(1, 3, 24, 24)

    tiled = seen_by(tiles, 1, 3, 24, 24)
    assert (tiled.kind, tiled.axes[0].why) == ("upper bound", "some units see less")
    assert units(tiled)[10:14] == [(9, 11), (10, 11), (12, 13), (12, 14)]


def test_a_layer_without_a_map_is_exact_only_if_all_its_values_see_alike() -> None:
    flat = seen_by(lambda x: x.flatten(1), 1, 1, 4, 4, axes=Axes(("B", "C"), ""))
    assert (flat.kind, flat.axes[0].size, flat.group_count) == ("upper bound", 4, 16)
    one = seen_by(lambda x: x[:, :, 1:3].amax((2, 3)), 1, 1, 8, 4, axes=Axes(("B", "C"), ""))
    assert [(axis.kind, axis.size, axis.start) for axis in one.axes] == [("exact", 2, 1), ("whole image", None, None)]


def test_pooling_a_part_is_not_the_whole_image() -> None:
    seen = seen_by(lambda x: x[:, :, 5:9, 5:9].mean((2, 3)), 1, 3, 24, 24, axes=Axes(("B", "C"), ""))
    assert [(axis.kind, axis.size, axis.start) for axis in seen.axes] == [("exact", 4, 5)] * 2


@pytest.mark.parametrize("sizes", [(28, 46), (31, 71), (13, 10), (7, 56)])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_rounds_as_torch_does_in_float32(sizes: tuple[int, int], mode: str) -> None:
    old, new = sizes
    seen = seen_by(lambda x: F.interpolate(x, (new, new), mode=mode), 1, 1, old, old)
    ramp = torch.arange(old, dtype=torch.float32)[None, None, :, None].expand(1, 1, old, old)
    taken = F.interpolate(ramp, (new, new), mode=mode)[0, 0, :, 0].int().tolist()
    assert units(seen) == [(place, place) for place in taken]


def test_a_value_read_in_python_is_noticed() -> None:
    follower = Follower()
    image = torch.rand(1, 3, 8, 8)
    follower.start(image, (2, 3))
    with torch.no_grad(), follower:
        gate = image.mean().item()
        follower.name("gate")
        (image * gate).relu()
        follower.name("after")
    assert follower.readers == ["gate"]


def test_a_call_that_a_rule_has_not_heard_of_is_unknown() -> None:
    assert seen_by(lambda x: x.view(torch.int32), 1, 3, 8, 8).kind in ("exact", "unknown")
    axes = Axes(("B", "C", "H", "W"), "")
    assert seen_by(lambda x: x.view(torch.uint8), 1, 3, 8, 8, axes=axes).kind == "unknown"


# -- in place ------------------------------------------------------------------------------------------------------


def test_writing_into_a_part_is_seen_where_it_was_written() -> None:
    def place(x: Tensor) -> Tensor:
        page = torch.zeros(1, 3, 12, 12)
        page[:, :, 2:10, 2:10] = x
        return page

    seen = seen_by(place, 1, 3, 8, 8)
    assert rows(seen) == (1, 1, -2)  # as zeros around it by `F.pad`
    assert seen.extents[0][1].max(axis=(0, 1, 3)).tolist() == [fields.EMPTY] * 2 + list(range(8)) + [fields.EMPTY] * 2


def test_writing_through_a_view_is_seen_by_the_tensor_behind_it() -> None:
    def add(x: Tensor) -> Tensor:
        y = x.clone()
        y[:, :, 1:] += x[:, :, :-1]
        return y

    seen = seen_by(add, 1, 3, 6, 6)
    assert units(seen) == [(0, 0), (0, 1), (1, 2), (2, 3), (3, 4), (4, 5)]


def test_writing_into_what_was_zeroed_is_seen() -> None:
    def refill(x: Tensor) -> Tensor:
        y = x.clone()
        y.zero_()
        y[:, :, 2:-2] = x[:, :, 2:-2]
        return y

    seen = seen_by(refill, 1, 3, 8, 8)
    assert seen.extents[0][1].max(axis=(0, 1, 3)).tolist() == [fields.EMPTY] * 2 + [2, 3, 4, 5] + [fields.EMPTY] * 2


def test_a_buffer_for_the_result_is_not_an_argument() -> None:
    def reuse(x: Tensor) -> Tensor:
        buffer = F.avg_pool2d(x, 9, 1, 4).clone()
        torch.add(x, x, out=buffer)
        return buffer

    assert rows(seen_by(reuse, 1, 3, 16, 16)) == (1, 1, 0)


def test_overwriting_forgets_what_was_there() -> None:
    def overwrite(x: Tensor) -> Tensor:
        y = x.mean((2, 3), keepdim=True).expand_as(x).clone()
        return y.copy_(x)

    assert rows(seen_by(overwrite, 1, 3, 6, 6)) == (1, 1, 0)


# -- against autograd ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(7, 5), (20, 31), (13, 26), (5, 13)])
@pytest.mark.parametrize("variant", ["", "align_corners", "antialias"])
def test_resizing_is_that_of_autograd(mode: str, size: tuple[int, int], variant: str) -> None:
    if variant and mode not in ("bilinear", "bicubic"):
        pytest.skip("torch has no such thing")
    options = {variant: True} if variant else {}

    def resize(x: Tensor) -> Tensor:
        return F.interpolate(x, size, mode=mode, **options)

    agree_with_autograd(resize, (1, 1, 13, 13))


@pytest.mark.parametrize("factor", [1.5, 2, 0.5, 0.75, (3, 0.5)])
def test_resizing_by_a_factor_is_that_of_autograd(factor: Any) -> None:
    agree_with_autograd(lambda x: F.interpolate(x, scale_factor=factor, mode="bilinear"), (1, 1, 12, 16))


MOVES: dict[str, Callable[[Tensor], Tensor]] = {
    "roll": lambda x: x.roll((2, -1), (2, 3)),
    "flip": lambda x: x.flip(2),
    "step": lambda x: x[:, :, 1::3, ::2],
    "unfold": lambda x: F.unfold(x, 3, stride=2).view(1, 9, 5, 5),
    "patches": lambda x: x.unfold(2, 4, 3).unfold(3, 4, 4).flatten(4),
    "adaptive": nn.AdaptiveAvgPool2d((5, 7)),
    "replicate": nn.ReplicationPad2d((1, 2, 3, 4)),
    "circular": lambda x: F.pad(x, (2, 2, 3, 3), mode="circular"),
    "reflect": nn.ReflectionPad2d((1, 2, 3, 4)),
    "transposed": lambda x: x.transpose(2, 3),
    "gathered": lambda x: x[:, :, torch.tensor([4, 0, 9])],
    "repeated": lambda x: x.repeat(1, 2, 2, 1),
    "stacked": lambda x: torch.stack([x[0, 0], x[0, 0].t()])[None],
    "chunks": lambda x: torch.cat(list(x.chunk(3, 3))[::-1], 3),
    "transposed convolution": lambda x: F.conv_transpose2d(x, torch.ones(1, 1, 3, 4).double(), stride=2, padding=1),
    "spread convolution": lambda x: F.conv_transpose2d(
        x, torch.ones(1, 1, 3, 3).double(), stride=3, dilation=2, output_padding=1
    ),
    "lower triangle": lambda x: x.tril(),
    "running sum": lambda x: x.cumsum(2)[:, :, -1:],
}


@pytest.mark.parametrize("move", MOVES.values(), ids=list(MOVES))
def test_moving_about_is_that_of_autograd(move: Callable[[Tensor], Tensor]) -> None:
    agree_with_autograd(move, (1, 1, 11, 11))


def agree_with_autograd(run: Callable[[Tensor], Tensor], shape: tuple[int, ...]) -> None:
    """Every value sees exactly the rows and columns that its gradient is not zero at."""
    image = (torch.rand(shape, dtype=torch.float64) + 0.5).requires_grad_()
    follower = Follower()
    follower.start(image, (2, 3))
    with follower:
        output = run(image)
    found = follower.fields_of(output)
    assert found is not None
    ends = []
    for each in found:
        assert each is not None
        parts = [np.broadcast_to(part.values, (4, *output.shape)) for part in each.parts]
        ends.append(np.maximum.reduce(parts))
    assert output.numel() < 3000
    for index in np.ndindex(*output.shape):
        (gradient,) = torch.autograd.grad(output[index], image, retain_graph=True)
        for axis, places in enumerate((gradient.abs().amax((0, 1, 3)), gradient.abs().amax((0, 1, 2)))):
            reached = (places > 1e-12).nonzero().ravel().tolist()
            first, last = (int(each) for each in ends[axis][(slice(0, 2), *index)])
            assert ((-first, last) if last != fields.EMPTY else None) == (
                (reached[0], reached[-1]) if reached else None
            ), index


def test_the_oracle_can_fail() -> None:
    """Were the padding of a convolution not known, the comparison would say so."""
    rule = rule_for(torch.ops.aten.convolution.default)
    assert rule is not None
    module = transparent(nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)))
    agree_with_autograd(module, (1, 1, 6, 6))
    from fmap_cli.receptive import rules
    from fmap_cli.receptive.operations.calls import Call

    own = rules._BY_NAME["aten::convolution"]

    def wrong(call: Call) -> Any:
        call.arguments["padding"] = [0, 0]
        return own(call)

    rules._BY_NAME["aten::convolution"] = wrong
    try:
        with pytest.raises(AssertionError):
            agree_with_autograd(module, (1, 1, 6, 6))
    finally:
        rules._BY_NAME["aten::convolution"] = own
