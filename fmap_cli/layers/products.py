"""Which operations multiply and add up, and how often: torch's own formulas, and those that torch has none for.

Every operation of torch is one of three: it has a formula here; it is linear in the size of a map and costs nothing
(`multiply_adds` is 0); or it costs more than that and nobody has a formula for it, and then `is_uncounted` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

from ..frameworks import load_torchvision

load_torchvision()  # registers torchvision's own operations

Formula = Callable[[tuple[Any, ...], dict[str, Any], Any], int]
_aten = torch.ops.aten


def formula_of(function: Any) -> Formula | None:
    """`formula(args, kwargs, output)` of an operator (or the packet of its overloads): how many multiply-adds it takes.

    >>> images, weight = torch.zeros(2, 3, 8, 8), torch.zeros(4, 3, 3, 3)
    >>> formula_of(torch.ops.aten.convolution)((images, weight, None, [1], [0], [1], False, [0], 1), {},
    ...     torch.zeros(2, 4, 6, 6)) == 2 * 6 * 6 * (4 * 3 * 3 * 3)
    True
    """
    return _FORMULAS.get(getattr(function, "_overloadpacket", function))


def is_uncounted(function: Any, args: Iterable[Any]) -> bool:
    """Whether an operator without a formula multiplies more often than its tensors have values, as far as is known.

    Torch's own that do are listed. Of other people's operators nobody can tell: one that takes numbers counts as such,
    unless it is marked as working value by value.
    """
    schema = getattr(function, "_schema", None)
    if schema is None or formula_of(function) is not None:
        return False
    home, _, name = schema.name.partition("::")
    if home == "aten":
        return _DECOMPOSITIONS.match(name) is not None or name in _WITHOUT_FORMULA
    if home in ("prim", "prims", "torchvision", "profiler", "inductor", "debugprims") or home.startswith("_c10d"):
        return False
    if torch.Tag.pointwise in function.tags:
        return False
    if home == "quantized":  # all that multiply by weights take them packed
        return any(isinstance(each, torch.ScriptObject) for each in args)
    return any(isinstance(each, Tensor) and (each.is_floating_point() or each.is_complex()) for each in args)


# -- formulas ----------------------------------------------------------------------------------------------------


def _torch_formula(flops: Callable[..., int]) -> Formula:
    by_shapes = getattr(flops, "__wrapped__", None)  # beneath what looks for tensors at any depth, ten times as long
    if by_shapes is None:
        return lambda args, kwargs, output: flops(*args, **kwargs, out_val=output) // 2

    def formula(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
        named = {name: _shapes_in(each) for name, each in kwargs.items()}
        return int(by_shapes(*map(_shapes_in, args), out_shape=_shapes_in(output), **named) // 2)

    return formula


def _shapes_in(value: Any) -> Any:
    """The shape of a tensor, a list with the shapes of those in it, anything else as it is."""
    if isinstance(value, Tensor):
        return value.shape
    if isinstance(value, (list, tuple)) and any(isinstance(each, Tensor) for each in value):
        return type(value)(_shapes_in(each) for each in value)
    return value


def _dense(formula: Formula) -> Formula:
    """Of products that torch also takes sparse matrices for: there each stored value meets one row of the other."""

    def counted(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
        left, right = args[-2:]
        if left.layout == torch.strided and right.layout == torch.strided:
            return formula(args, kwargs, output)
        stored, other = (left, right) if left.layout != torch.strided else (right, left)
        if other.layout != torch.strided:
            return 0
        return int(stored._nnz() * (other.shape[-1] if stored is left else other.shape[0]))

    return counted


def _vector(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    return int(args[-2].numel())  # a matrix by a vector, or two vectors: each value of the former once


def _outer(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    return int(output.numel())  # `addr`: a product for each value of the matrix that it is added to


def _summed_batch(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    left, right = args[-2:]
    return int(left.numel() * right.shape[-1])


def _rows(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Linear maps of the last axis, however the weights are stored."""
    return int(output.numel() * args[0].shape[-1])


def _grouped(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    left, right = args[:2]
    if left.ndim == right.ndim == 2:  # the inner axis is shared out over the groups
        return int(left.numel() * right.shape[-1])
    return int(output.numel() * left.shape[-1])


def _one_each(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    return sum(int(left.numel() * right.shape[-1]) for left, right in zip(args[0], args[1], strict=True))


def _trilinear(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """`nn.Bilinear`: each weight once for each row."""
    shapes = []
    for tensor, new in zip(args[:3], args[3:6], strict=True):
        for at in new:
            tensor = tensor.unsqueeze(at)
        shapes.append(tensor.shape)
    return prod(torch.broadcast_shapes(*shapes))


def _distances(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    return int(output.numel() * args[0].shape[-1])


def _convolution(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Each weight once for each place of the output, with the weight as the second tensor among the arguments."""
    tensors = [each for each in args if isinstance(each, Tensor)]
    return int(output.shape[0] * prod(output.shape[2:]) * tensors[1].numel())


def _transposed_convolution(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Each weight once for each place of the input."""
    images, weight = [each for each in args if isinstance(each, Tensor)][:2]
    return int(images.shape[0] * prod(images.shape[2:]) * weight.numel())


def _convolution_over_time(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    return int(output.shape[0] * output.shape[1] * args[1].numel())  # `[T, B, C]`


def _self_attention(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    query, key, _, width = args[:4]
    batch, places, _ = query.shape
    others = key.shape[1]
    projections = places * width + 2 * others * width + places * width
    return int(batch * (projections * width + 2 * places * others * width))


def _encoder_layer(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    tokens, width = args[:2]
    batch, places, _ = tokens.shape
    first, second = args[14], args[16]
    return int(batch * places * (4 * width * width + 2 * places * width + first.numel() + second.numel()))


def _attention(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    query, key, value = args[:3]
    return int(query.numel() * key.shape[-2] + query.numel() // query.shape[-1] * value.shape[-2] * value.shape[-1])


def _recurrent_layer(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    steps = args[0].shape[0] * args[0].shape[1]
    return int(steps * (args[1].numel() + args[2].numel()))


def _recurrent(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    """Each weight once for each step, biases not; packed sequences lie in `[steps, values]`."""
    images, weights = args[:2]
    steps = images.numel() // images.shape[-1]
    return int(steps * sum(each.numel() for each in weights if each.ndim > 1))


def _quantized_recurrent(gates: int) -> Formula:
    def formula(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
        if isinstance(args[1], Tensor) and args[1].dtype == torch.int64:  # the sizes of packed steps
            args = (args[0], *args[2:])
        images, state = args[0], args[1]
        state = state[0] if isinstance(state, (list, tuple)) else state
        directions = 2 if args[7] else 1
        layers, width, wide = args[4], state.shape[-1], images.shape[-1]
        steps = images.numel() // wide
        first = directions * (wide + width)
        later = (layers - 1) * directions * (directions * width + width)
        return int(steps * gates * width * (first + later))

    return formula


def _quantized_cell(gates: int) -> Formula:
    def formula(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
        images, state = args[0], args[1]
        state = state[0] if isinstance(state, (list, tuple)) else state
        return int(images.shape[0] * gates * state.shape[-1] * (images.shape[-1] + state.shape[-1]))

    return formula


def _quantized_convolution(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    weight = args[1].unpack()[0]
    return int(output.shape[0] * prod(output.shape[2:]) * weight.numel())


def _quantized_transposed(args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> int:
    weight = args[1].unpack()[0]
    return int(args[0].shape[0] * prod(args[0].shape[2:]) * weight.numel())


# -- which operation goes by which -------------------------------------------------------------------------------

_FORMULAS: dict[Any, Formula] = {
    # Torch before 2.15 has the formula for the GPU's attention alone.
    _aten._scaled_dot_product_flash_attention_for_cpu: _torch_formula(
        flop_registry[_aten._scaled_dot_product_flash_attention]
    ),
    **{packet: _torch_formula(flops) for packet, flops in flop_registry.items()},
    _aten.mm: _dense(_torch_formula(flop_registry[_aten.mm])),
    _aten.addmm: _dense(_torch_formula(flop_registry[_aten.addmm])),
}


def _formulas(home: Any, names: str, formula: Formula) -> None:
    for name in names.split():
        if hasattr(home, name):  # which there are depends on torch's version and how it was built
            _FORMULAS[getattr(home, name)] = formula


_formulas(_aten, "mv addmv dot vdot", _vector)
_formulas(_aten, "addr", _outer)
_formulas(_aten, "addbmm", _summed_batch)
_formulas(_aten, "_int_mm _addmm_activation _sparse_addmm", _dense(_summed_batch))
_formulas(
    _aten,
    "_weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int4pack_mm_with_scales_and_zeros _weight_int8pack_mm"
    " _dyn_quant_matmul_4bit _mixed_dtypes_linear _sparse_semi_structured_linear mkldnn_linear _scaled_mm_v2",
    _rows,
)
_formulas(_aten, "_grouped_mm _scaled_grouped_mm _scaled_grouped_mm_v2", _grouped)
_formulas(_aten, "_foreach_mm", _one_each)
_formulas(_aten, "_trilinear", _trilinear)
_formulas(_aten, "_cdist_forward _euclidean_dist _pdist_forward", _distances)
_formulas(
    _aten,
    "_conv_depthwise2d conv_depthwise3d _nnpack_spatial_convolution cudnn_convolution_relu cudnn_convolution_add_relu"
    " miopen_convolution miopen_convolution_relu miopen_convolution_add_relu miopen_depthwise_convolution"
    " mkldnn_convolution slow_conv3d_forward slow_conv_dilated2d slow_conv_dilated3d _mps_convolution",
    _convolution,
)
_formulas(
    _aten,
    "cudnn_convolution_transpose miopen_convolution_transpose slow_conv_transpose2d slow_conv_transpose3d"
    " _mps_convolution_transpose",
    _transposed_convolution,
)
_formulas(_aten, "conv_tbc", _convolution_over_time)
_formulas(torch.ops.torchvision, "deform_conv2d", _convolution)
_formulas(_aten, "_native_multi_head_attention", _self_attention)
_formulas(_aten, "_transformer_encoder_layer_fwd", _encoder_layer)
_formulas(
    _aten,
    "_scaled_dot_product_fused_attention_overrideable _scaled_dot_product_attention_math_for_mps",
    _attention,
)
_formulas(_aten, "mkldnn_rnn_layer", _recurrent_layer)
_formulas(_aten, "_cudnn_rnn miopen_rnn", _recurrent)
_formulas(_aten, "quantized_lstm", _quantized_recurrent(4))
_formulas(_aten, "quantized_gru", _quantized_recurrent(3))
_ENDS = ("", "_relu", "_add", "_add_relu", "_dynamic")
_formulas(
    torch.ops.quantized,
    " ".join(f"conv{places}d{end}" for places in (1, 2, 3) for end in _ENDS),
    _quantized_convolution,
)
_formulas(
    torch.ops.quantized,
    " ".join(f"conv_transpose{places}d{end}" for places in (1, 2, 3) for end in ("", "_dynamic")),
    _quantized_transposed,
)
_formulas(
    torch.ops.quantized,
    "linear linear_relu linear_leaky_relu linear_tanh linear_dynamic linear_relu_dynamic linear_dynamic_fp16"
    " linear_relu_dynamic_fp16 linear_with_input_q_dq_qweight_dq_output_fp32 matmul"
    " linear_with_input_q_dq_qweight_dq_relu_output_fp32 linear_dynamic_fp16_unpacked_weight",
    _rows,
)
_formulas(torch.ops.quantized, "quantized_lstm_cell_dynamic", _quantized_cell(4))
_formulas(torch.ops.quantized, "quantized_gru_cell_dynamic", _quantized_cell(3))
_formulas(torch.ops.quantized, "quantized_rnn_relu_cell_dynamic quantized_rnn_tanh_cell_dynamic", _quantized_cell(1))
_formulas(torch.ops.onednn, "qconv_pointwise qconv1d_pointwise qconv2d_pointwise qconv3d_pointwise", _convolution)
_formulas(torch.ops.onednn, "qlinear_pointwise linear_dynamic_fp16 linear_relu_dynamic_fp16", _rows)
_formulas(torch.ops.mkldnn, "_linear_pointwise", _rows)
_formulas(torch.ops.mkldnn, "_convolution_pointwise", _convolution)
_formulas(torch.ops.mkldnn, "_convolution_transpose_pointwise", _transposed_convolution)
_formulas(torch.ops.sparse, "qlinear qlinear_dynamic qlinear_relu qlinear_relu_dynamic", _rows)

_DECOMPOSITIONS = re.compile(
    r"_?linalg_(?!vector_norm|cross|check_errors|_powsum)|_fft_|_?cholesky|geqrf|ormqr|lu_unpack|triangular_solve|_spsolve"
)
"""What takes a matrix apart or solves it, and Fourier transforms."""

_WITHOUT_FORMULA = frozenset(
    "_sparse_sparse_matmul sparse_sampled_addmm _sparse_mm_reduce_impl hspmm sspaddmm _cslt_sparse_mm"
    " _sparse_semi_structured_mm _sparse_semi_structured_addmm _compute_linear_combination _cudnn_attention_forward"
    " _triton_scaled_dot_attention _triton_multi_head_attention _flash_attention_forward_no_dropout_inplace"
    " _lstm_mps".split()
)
