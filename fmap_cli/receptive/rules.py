"""Which operation goes by which rule.

An operation without a rule here is not guessed at: what it puts out is marked unknown. Formulas are torch's own, as
documented with the modules of `torch.nn` and `torch.nn.functional.interpolate`; those of convolutions and poolings are
also in Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016), sections 2 to 5.
"""

from __future__ import annotations

from typing import Any

import torch

from ..network.operators import POINTWISE, QUANTIZED
from .operations import moving, pointwise, products, recurrent, reductions, resizing, windows
from .operations.calls import Rule, anywhere

_BY_NAME: dict[str, Rule] = {}


def register(names: str, rule: Rule, home: str = "aten") -> None:
    """The operations of these names go by this rule."""
    _BY_NAME.update((f"{home}::{name}", rule) for name in names.split())


register("convolution _convolution cudnn_convolution miopen_convolution mkldnn_convolution", windows.convolution)
register(
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices"
    " avg_pool1d avg_pool2d avg_pool3d quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d lp_pool2d"
    " mkldnn_max_pool2d mkldnn_max_pool3d",
    windows.pooling,
)
register(
    "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
    " adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d mkldnn_adaptive_avg_pool2d",
    windows.adaptive_pooling,
)
register("col2im", windows.unfolded_back)
register("max_unpool2d max_unpool3d", windows.unpooled)
register("conv_tbc", windows.convolution_over_time)
register(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d"
    " _upsample_nearest_exact2d _upsample_nearest_exact3d",
    resizing.nearest,
)
register("upsample_linear1d upsample_bilinear2d upsample_trilinear3d", resizing.resizing(resizing.linear))
register("upsample_bicubic2d", resizing.resizing(resizing.cubic))
register("_upsample_bilinear2d_aa", resizing.resizing(resizing.filtered(1)))
register("_upsample_bicubic2d_aa", resizing.resizing(resizing.filtered(2)))
register(
    "mean sum amax amin aminmax max min prod var std var_mean std_mean norm linalg_vector_norm logsumexp any"
    " all argmax argmin median nanmedian mode nansum count_nonzero linalg__powsum _aminmax native_norm",
    reductions.reduction,
)
register(
    "_softmax _log_softmax softmax log_softmax _safe_softmax sort topk argsort kthvalue _masked_softmax",
    reductions.along,
)
register("cumsum cumprod logcumsumexp cummax cummin _logcumsumexp", reductions.cumulative)
register("native_layer_norm _fused_rms_norm rms_norm layer_norm", reductions.layer_norm)
register("native_group_norm", reductions.group_norm)
register(
    "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm"
    " miopen_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm quantized_batch_norm",
    reductions.batch_norm,
)
register(
    "_linalg_det _linalg_slogdet _linalg_svd _linalg_eigh _linalg_eigvals _linalg_solve_ex linalg_inv_ex"
    " linalg_eig linalg_cholesky_ex linalg_qr linalg_matrix_exp linalg_pinv linalg_solve_triangular"
    " triangular_solve linalg_lstsq linalg_lu linalg_lu_factor_ex linalg_lu_solve cholesky_inverse"
    " cholesky_solve trace",
    reductions.matrices,
)
register("_fft_c2c _fft_r2c _fft_c2r linalg_cross", reductions.along_axes)
register("affine_grid_generator dist histc", reductions.seen_whole)
register("mm bmm matmul _int_mm _scaled_mm", products.product("self", "mat2"))
register("mv", products.product("self", "vec"))
register("addmm _addmm_activation", products.product("mat1", "mat2"))
register("baddbmm", products.product("batch1", "batch2"))
register("addmv", products.product("mat", "vec"))
register("dot vdot", products.dot)
register(
    "linear _weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int8pack_mm _mixed_dtypes_linear",
    products.linear_map,
)
register(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
    " _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention scaled_dot_product_attention",
    products.attention,
)
register("_native_multi_head_attention _transformer_encoder_layer_fwd", products.whole_attention)
register("addbmm", products.summed_batch)
register("addr", products.outer)
register("_trilinear", products.trilinear)
register("_cdist_forward _euclidean_dist", products.distances)
register("mkldnn_rnn_layer", recurrent.one_layer)
register("_cudnn_rnn miopen_rnn quantized_lstm quantized_gru", recurrent.many_layers)
register("_thnn_fused_lstm_cell", recurrent.cell(4))
register("_thnn_fused_gru_cell", recurrent.cell(3))
register(
    "view reshape _unsafe_view _reshape_alias flatten unflatten squeeze unsqueeze view_copy squeeze_copy"
    " unsqueeze_copy _reshape_copy squeeze_ unsqueeze_",
    moving.viewed,
)
register("permute permute_copy", moving.permuted)
register("t transpose swapaxes transpose_copy t_copy transpose_ t_", moving.transposed_axes)
register("expand expand_copy broadcast_to", moving.expanded)
register("slice slice_copy", moving.sliced)
register("select select_copy", moving.selected)
register(
    "split split_with_sizes chunk unbind unsafe_split unsafe_chunk unsafe_split_with_sizes tensor_split",
    moving.split,
)
register("cat concat", moving.joined_along)
register("stack", moving.stacked)
register("constant_pad_nd", moving.padded_with_zeros)
register("reflection_pad1d reflection_pad2d reflection_pad3d", moving.padded_by(moving.mirrored))
register("replication_pad1d replication_pad2d replication_pad3d", moving.padded_by(moving.held))
register(
    "repeat pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle im2col unfold index"
    " index_select gather take tile rot90 diagonal diagonal_copy diag_embed tril triu movedim unfold_copy"
    " repeat_interleave embedding take_along_dim _unsafe_index",
    moving.moved,
)
register("roll", moving.rolled_axes)
register("flip", moving.flipped)
register(
    "index_add index_copy index_fill index_reduce index_put _index_put_impl_ _unsafe_index_put put scatter"
    " scatter_add scatter_reduce slice_scatter select_scatter diagonal_scatter",
    moving.written,
)
register("as_strided", moving.strided)
register("_pack_padded_sequence", moving.packed_sequence)
register(
    "nonzero _unique2 unique_dim masked_select grid_sampler_2d grid_sampler_3d grid_sampler bincount"
    " masked_scatter fractional_max_pool2d fractional_max_pool3d _grid_sampler_2d_cpu_fallback nonzero_static"
    " multinomial _unique unique_consecutive unique_dim_consecutive",
    anywhere,
)
register("glu", pointwise.gated)
register("copy_ fill_ copy fill", pointwise.written_over)
register(
    "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones new_empty"
    " new_full new_empty_strided zero_ bernoulli_ uniform_ normal_ random_ arange zero",
    pointwise.no_field,
)
register("as_strided_ set_", pointwise.taken_over)
register("view_as_real", pointwise.as_pairs)
register("view_as_complex", pointwise.of_pairs)
register(
    "_conj _neg_view _add_relu fake_quantize_per_tensor_affine_cachemask"
    " fake_quantize_per_channel_affine_cachemask _fake_quantize_learnable_per_tensor_affine"
    " rrelu_with_noise_functional _lazy_clone",
    pointwise.pointwise,
)
register("max_pool1d max_pool2d", windows.pooling, "quantized")
register(
    "conv1d_dynamic conv2d_dynamic conv3d_dynamic conv_transpose3d conv_transpose1d_dynamic"
    " conv_transpose2d_dynamic conv_transpose3d_dynamic",
    windows.quantized_convolution,
    "quantized",
)
register("softmax", reductions.along, "quantized")
register("matmul", products.product("qa", "qb"), "quantized")
register("linear_dynamic_fp16 linear_relu_dynamic_fp16 linear_leaky_relu linear_tanh", products.linear_map, "quantized")
register("deform_conv2d ps_roi_pool qroi_align nms roi_align roi_pool ps_roi_align", anywhere, "torchvision")
register(
    "batch_norm1d batch_norm1d_relu batch_norm_relu clamp dropout prelu add_scalar_relu mul_scalar_relu",
    pointwise.pointwise,
    "quantized",
)
register(" ".join([*POINTWISE, "rrelu_with_noise"]), pointwise.pointwise)
_QUANTIZED = {
    "convolution": windows.quantized_convolution,
    "linear": products.linear_map,
    "pointwise": pointwise.pointwise,
    "cat": moving.joined_along,
}
for _what, _rule in _QUANTIZED.items():
    _BY_NAME.update(dict.fromkeys(QUANTIZED[_what], _rule))


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
