"""Which operation goes by which rule.

An operation without a rule is not guessed at: nothing is known of the axes of what it puts out.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from .. import operators
from ..operators import OPERATORS, POINTWISE
from . import mixing, moving, sliding
from .calls import Rule

_BY_NAME: dict[str, Rule] = {}

register = functools.partial(operators.register, _BY_NAME)


register(sliding.convolution, OPERATORS["convolution"])
register(
    sliding.pooling,
    OPERATORS["pooling"],
    OPERATORS["adaptive pooling"],
    "fractional_max_pool2d fractional_max_pool3d max_unpool2d max_unpool3d",
)
register(
    sliding.resizing,
    OPERATORS["nearest"],
    OPERATORS["linear resizing"],
    "upsample_bicubic2d _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
)
register(sliding.shuffled, "pixel_shuffle pixel_unshuffle")
register(sliding.windows_as_columns, "im2col")
register(sliding.columns_as_map, "col2im")
register(sliding.unfolded, "unfold unfold_copy")
register(sliding.sampled, "grid_sampler_2d grid_sampler_3d grid_sampler _grid_sampler_2d_cpu_fallback")
register(mixing.reduction, OPERATORS["reduction"])
register(mixing.product("self", "mat2"), "mm bmm matmul")
register(mixing.product("self", "vec"), "mv")
register(mixing.product("mat1", "mat2"), "addmm")
register(mixing.product("batch1", "batch2"), "baddbmm addbmm")
register(mixing.product("mat", "vec"), "addmv")
register(mixing.linear, "linear mkldnn_linear")
register(lambda call: (), "dot vdot")
register(mixing.distances, "_cdist_forward _euclidean_dist cdist")
register(mixing.attention, OPERATORS["attention"], "_scaled_dot_product_attention_math")
register(mixing.whole_attention, OPERATORS["attention layer"])
register(mixing.with_statistics, OPERATORS["layer norm"], OPERATORS["batch norm"], "native_group_norm")
register(mixing.recurrent, "lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer _cudnn_rnn miopen_rnn")
register(moving.viewed, OPERATORS["view"])
register(moving.squeezed, OPERATORS["squeeze"])
register(moving.unsqueezed, OPERATORS["unsqueeze"])
register(moving.permuted, OPERATORS["permute"])
register(moving.transposed, OPERATORS["transpose"])
register(moving.expanded, OPERATORS["expand"])
register(moving.sliced, OPERATORS["slice"])
register(moving.selected, OPERATORS["select"])
register(moving.split, OPERATORS["split"])
register(moving.cat, OPERATORS["cat"])
register(moving.stacked, "stack")
register(moving.indexed, "index")
register(moving.index_selected, "index_select")
register(moving.embedded, "embedding")
register(moving.strided, "as_strided")
register(moving.real_and_imaginary, "view_as_real")
register(moving.from_real, "view_as_complex")
register(moving.written_over, OPERATORS["overwriting"])
register(
    moving.put,
    "index_put index_put_ _index_put_impl_ scatter scatter_ scatter_add scatter_add_ masked_scatter"
    " index_add index_add_ index_copy",
)
register(moving.not_known, "nonzero _unique2 unique_dim masked_select bincount set_")
register(moving.made_new, OPERATORS["new tensor"])
register(
    moving.first_axes,
    OPERATORS["along an axis"],
    OPERATORS["running"],
    OPERATORS["reflection padding"],
    OPERATORS["replication padding"],
    OPERATORS["filling"],
    "constant_pad_nd repeat tile repeat_interleave glu roll flip tril triu channel_shuffle"
    " native_channel_shuffle gather take_along_dim index_fill _fft_r2c _fft_c2c _fft_c2r as_strided_"
    " rrelu_with_noise",
)
register(sliding.deformed, "deform_conv2d", home="torchvision")
register(moving.not_known, "nms", home="torchvision")
register(sliding.of_boxes, "roi_align roi_pool ps_roi_align ps_roi_pool", home="torchvision")
register(mixing.pointwise, *POINTWISE)
operators.register_quantized(
    _BY_NAME,
    convolution=sliding.convolution,
    linear=mixing.linear,
    pointwise=mixing.pointwise,
    cat=moving.cat,
)


def rule_for(function: Any) -> Rule | None:
    """The rule of an operator; None where there is none."""
    rule = _BY_NAME.get(function._schema.name)
    if rule is None and torch.Tag.pointwise in function.tags:
        return mixing.pointwise
    return rule
