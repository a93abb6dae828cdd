"""Which operation goes by which rule.

An operation without a rule here is not guessed at: what it puts out is marked unknown. Formulas are torch's own, as
documented with the modules of `torch.nn` and `torch.nn.functional.interpolate`; those of convolutions and poolings are
also in Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), sections 2 to 5.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from ..network import operators
from ..network.operators import OPERATORS, POINTWISE
from .operations import moving, pointwise, products, recurrent, reductions, resizing, windows
from .operations.calls import Rule, anywhere

_BY_NAME: dict[str, Rule] = {}

register = functools.partial(operators.register, _BY_NAME)


register(windows.convolution, OPERATORS["convolution"])
register(windows.pooling, OPERATORS["pooling"])
register(windows.adaptive_pooling, OPERATORS["adaptive pooling"])
register(windows.unfolded_back, "col2im")
register(windows.unpooled, "max_unpool2d max_unpool3d")
register(windows.convolution_over_time, "conv_tbc")
register(resizing.nearest, OPERATORS["nearest"])
register(resizing.resizing(resizing.linear), OPERATORS["linear resizing"])
register(resizing.resizing(resizing.cubic), "upsample_bicubic2d")
register(resizing.resizing(resizing.filtered(1)), "_upsample_bilinear2d_aa")
register(resizing.resizing(resizing.filtered(2)), "_upsample_bicubic2d_aa")
register(reductions.reduction, OPERATORS["reduction"], "linalg__powsum _aminmax native_norm")
register(reductions.along, OPERATORS["along an axis"], "_masked_softmax")
register(reductions.cumulative, OPERATORS["running"], "_logcumsumexp")
register(reductions.layer_norm, OPERATORS["layer norm"])
register(reductions.group_norm, "native_group_norm")
register(reductions.batch_norm, OPERATORS["batch norm"])
register(
    reductions.matrices,
    "_linalg_det _linalg_slogdet _linalg_svd _linalg_eigh _linalg_eigvals _linalg_solve_ex linalg_inv_ex"
    " linalg_eig linalg_cholesky_ex linalg_qr linalg_matrix_exp linalg_pinv linalg_solve_triangular"
    " triangular_solve linalg_lstsq linalg_lu linalg_lu_factor_ex linalg_lu_solve cholesky_inverse"
    " cholesky_solve trace",
)
register(reductions.along_axes, "_fft_c2c _fft_r2c _fft_c2r linalg_cross")
register(reductions.seen_whole, "affine_grid_generator dist histc")
register(products.product("self", "mat2"), "mm bmm matmul _int_mm _scaled_mm")
register(products.product("self", "vec"), "mv")
register(products.product("mat1", "mat2"), "addmm _addmm_activation")
register(products.product("batch1", "batch2"), "baddbmm")
register(products.product("mat", "vec"), "addmv")
register(products.dot, "dot vdot")
register(
    products.linear_map,
    "linear _weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int8pack_mm _mixed_dtypes_linear",
)
register(products.attention, OPERATORS["attention"])
register(products.whole_attention, OPERATORS["attention layer"])
register(products.summed_batch, "addbmm")
register(products.outer, "addr")
register(products.trilinear, "_trilinear")
register(products.distances, "_cdist_forward _euclidean_dist")
register(recurrent.one_layer, "mkldnn_rnn_layer")
register(recurrent.many_layers, "_cudnn_rnn miopen_rnn quantized_lstm quantized_gru")
register(recurrent.cell(4), "_thnn_fused_lstm_cell")
register(recurrent.cell(3), "_thnn_fused_gru_cell")
register(moving.viewed, OPERATORS["view"], OPERATORS["squeeze"], OPERATORS["unsqueeze"])
register(moving.permuted, OPERATORS["permute"])
register(moving.transposed_axes, OPERATORS["transpose"])
register(moving.expanded, OPERATORS["expand"])
register(moving.sliced, OPERATORS["slice"])
register(moving.selected, OPERATORS["select"])
register(moving.split, OPERATORS["split"])
register(moving.joined_along, OPERATORS["cat"])
register(moving.stacked, "stack")
register(moving.padded_with_zeros, "constant_pad_nd")
register(moving.padded_by(moving.mirrored), OPERATORS["reflection padding"])
register(moving.padded_by(moving.held), OPERATORS["replication padding"])
register(
    moving.moved,
    "repeat pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col unfold index"
    " index_select gather take tile rot90 diagonal diagonal_copy diag_embed tril triu movedim unfold_copy"
    " repeat_interleave embedding take_along_dim _unsafe_index",
)
register(moving.rolled_axes, "roll")
register(moving.flipped, "flip")
register(
    moving.written,
    "index_add index_copy index_fill index_reduce index_put _index_put_impl_ _unsafe_index_put put"
    " scatter scatter_add scatter_reduce slice_scatter select_scatter diagonal_scatter",
)
register(moving.strided, "as_strided")
register(moving.packed_sequence, "_pack_padded_sequence")
register(
    anywhere,
    "nonzero _unique2 unique_dim masked_select grid_sampler_2d grid_sampler_3d grid_sampler bincount"
    " masked_scatter fractional_max_pool2d fractional_max_pool3d _grid_sampler_2d_cpu_fallback"
    " nonzero_static multinomial _unique unique_consecutive unique_dim_consecutive",
)
register(pointwise.gated, "glu")
register(pointwise.written_over, OPERATORS["overwriting"], "fill")
register(pointwise.no_field, OPERATORS["new tensor"], OPERATORS["filling"], "zero")
register(pointwise.taken_over, "as_strided_ set_")
register(pointwise.as_pairs, "view_as_real")
register(pointwise.of_pairs, "view_as_complex")
register(
    pointwise.pointwise,
    "_conj _neg_view _add_relu fake_quantize_per_tensor_affine_cachemask"
    " fake_quantize_per_channel_affine_cachemask _fake_quantize_learnable_per_tensor_affine"
    " rrelu_with_noise_functional _lazy_clone",
)
register(windows.pooling, "max_pool1d max_pool2d", home="quantized")
register(
    windows.quantized_convolution,
    "conv1d_dynamic conv2d_dynamic conv3d_dynamic conv_transpose3d conv_transpose1d_dynamic"
    " conv_transpose2d_dynamic conv_transpose3d_dynamic",
    home="quantized",
)
register(reductions.along, "softmax", home="quantized")
register(products.product("qa", "qb"), "matmul", home="quantized")
register(
    products.linear_map, "linear_dynamic_fp16 linear_relu_dynamic_fp16 linear_leaky_relu linear_tanh", home="quantized"
)
register(anywhere, "deform_conv2d ps_roi_pool qroi_align nms roi_align roi_pool ps_roi_align", home="torchvision")
register(
    pointwise.pointwise,
    "batch_norm1d batch_norm1d_relu batch_norm_relu clamp dropout prelu add_scalar_relu mul_scalar_relu",
    home="quantized",
)
register(pointwise.pointwise, *POINTWISE, "rrelu_with_noise")
operators.register_quantized(
    _BY_NAME,
    convolution=windows.quantized_convolution,
    linear=products.linear_map,
    pointwise=pointwise.pointwise,
    cat=moving.joined_along,
)


def rule_for(function: Any) -> Rule | None:
    """The rule of an operator; None where there is none."""
    name = function._schema.name
    rule = _BY_NAME.get(name)
    if rule is not None:
        return rule
    if torch.Tag.pointwise in function.tags:
        return pointwise.pointwise
    if name.endswith("_"):  # in place, which not all are marked for
        home, _, own = name.rstrip("_").partition("::")
        packet = getattr(getattr(torch.ops, home), own, None)
        there = [] if packet is None else packet.overloads()
        return rule_for(getattr(packet, there[0])) if there else None
    return None
