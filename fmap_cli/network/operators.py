"""Operators that several rooms have rules for, by what they do: one list for all."""

from __future__ import annotations

from typing import TypeVar

_Rule = TypeVar("_Rule")


def register(table: dict[str, _Rule], rule: _Rule, *names: str, home: str = "aten") -> None:
    """The operators of these names, any number of them in a text, go by this rule.

    >>> table: dict[str, int] = {}
    >>> register(table, 1, "mm bmm", "cat", home="own")
    >>> table
    {'own::mm': 1, 'own::bmm': 1, 'own::cat': 1}
    """
    table.update((f"{home}::{name}", rule) for name in " ".join(names).split())


def register_quantized(table: dict[str, _Rule], **rules: _Rule) -> None:
    """The operators of `QUANTIZED` go by these rules, each named by the operation that it is for."""
    for what, rule in rules.items():
        table.update(dict.fromkeys(QUANTIZED[what], rule))


POINTWISE = (
    "_to_copy detach alias lift lift_fresh hardswish hardswish_ _prelu_kernel prelu native_dropout dropout"
    " feature_dropout clone contiguous quantize_per_tensor quantize_per_channel dequantize int_repr"
    " log_sigmoid_forward floor_divide positive resolve_conj resolve_neg rsub masked_fill masked_fill_"
    " fake_quantize_per_tensor_affine _make_per_tensor_quantized_tensor real imag where"
    " bernoulli complex polar bucketize"
).split()
"""Operators of `aten` that make each value of one value, or of one of each input, and are not marked so by torch."""

OPERATORS = {
    "convolution": "convolution _convolution cudnn_convolution miopen_convolution mkldnn_convolution",
    "pooling": (
        "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices"
        " max_pool1d_with_indices avg_pool1d avg_pool2d avg_pool3d quantized_max_pool1d quantized_max_pool2d"
        " quantized_max_pool3d lp_pool2d mkldnn_max_pool2d mkldnn_max_pool3d"
    ),
    "adaptive pooling": (
        "_adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d"
        " adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
        " mkldnn_adaptive_avg_pool2d"
    ),
    "nearest": (
        "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d"
        " _upsample_nearest_exact2d _upsample_nearest_exact3d"
    ),
    "linear resizing": "upsample_linear1d upsample_bilinear2d upsample_trilinear3d",
    "reduction": (
        "mean sum amax amin aminmax max min prod var std var_mean std_mean norm linalg_vector_norm logsumexp"
        " any all argmax argmin median nanmedian mode nansum count_nonzero"
    ),
    "along an axis": "_softmax _log_softmax softmax log_softmax _safe_softmax sort topk argsort kthvalue",
    "running": "cumsum cumprod logcumsumexp cummax cummin",
    "attention": (
        "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
        " _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention"
        " scaled_dot_product_attention"
    ),
    "attention layer": "_native_multi_head_attention _transformer_encoder_layer_fwd",
    "layer norm": "native_layer_norm _fused_rms_norm rms_norm layer_norm",
    "batch norm": (
        "native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm"
        " miopen_batch_norm _batch_norm_with_update _batch_norm_no_update batch_norm quantized_batch_norm"
    ),
    "view": "view reshape _unsafe_view _reshape_alias flatten unflatten view_copy _reshape_copy",
    "squeeze": "squeeze squeeze_copy squeeze_",
    "unsqueeze": "unsqueeze unsqueeze_copy unsqueeze_",
    "permute": "permute permute_copy",
    "transpose": "t transpose swapaxes transpose_copy t_copy transpose_ t_",
    "expand": "expand expand_copy broadcast_to",
    "slice": "slice slice_copy",
    "select": "select select_copy",
    "split": "split split_with_sizes chunk unbind unsafe_split unsafe_chunk unsafe_split_with_sizes tensor_split",
    "cat": "cat concat",
    "reflection padding": "reflection_pad1d reflection_pad2d reflection_pad3d",
    "replication padding": "replication_pad1d replication_pad2d replication_pad3d",
    "new tensor": (
        "zeros_like ones_like empty_like full_like rand_like randn_like randint_like new_zeros new_ones"
        " new_empty new_full new_empty_strided arange"
    ),
    "filling": "zero_ bernoulli_ uniform_ normal_ random_",
    "overwriting": "copy_ fill_ copy",
}
"""Operators of `aten` by what they do, where several rooms have a rule for all of them."""

QUANTIZED = {
    "convolution": [
        f"quantized::{name}{end}"
        for name in ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d")
        for end in ("", "_relu", "_add", "_add_relu")
    ],
    "linear": [f"quantized::{name}" for name in ("linear", "linear_relu", "linear_dynamic", "linear_relu_dynamic")],
    "pointwise": [
        f"quantized::{name}"
        for name in (
            "add add_relu mul mul_relu add_scalar mul_scalar hardswish leaky_relu sigmoid elu celu batch_norm2d"
            " batch_norm3d batch_norm batch_norm2d_relu batch_norm3d_relu relu6 threshold"
        ).split()
    ],
    "cat": ["quantized::cat", "quantized::cat_relu"],
}
"""Operators on quantized tensors, whole names, by the operation that they are."""
