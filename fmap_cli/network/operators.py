"""Operators that several rooms have rules for, by what they do: one list for all."""

from __future__ import annotations

POINTWISE = (
    "_to_copy detach alias lift lift_fresh hardswish hardswish_ _prelu_kernel prelu native_dropout dropout"
    " feature_dropout clone contiguous quantize_per_tensor quantize_per_channel dequantize int_repr"
    " log_sigmoid_forward floor_divide positive resolve_conj resolve_neg rsub masked_fill masked_fill_"
    " fake_quantize_per_tensor_affine _make_per_tensor_quantized_tensor real imag where"
    " bernoulli complex polar bucketize"
).split()
"""Operators of `aten` that make each value of one value, or of one of each input, and are not marked so by torch."""

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
