"""Rules of the operations that fewer networks call: recurrent layers, unfolding back, writing by index, transforms.

Importing this adds them to those of `rules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from . import field as fields
from .field import Field, gathered, hull, over_all, reordered, reshaped, spread
from .rules import (
    POOLED,
    Call,
    Rule,
    along,
    anywhere,
    cumulative,
    everywhere,
    linear_map,
    mixed_channels,
    moved,
    no_field,
    outputs_of,
    pointwise,
    pooling,
    product,
    quantized_convolution,
    reduction,
    register,
    slide,
    slide_apart,
    written_over,
)

# -- recurrent layers --------------------------------------------------------------------------------------------


def _recurrent(call: Call, time: int, *, layers: int, both: bool, backwards: bool = False) -> list[Field | None]:
    """The output, where each step sees those before it (or from it on, or both), then states, which see all steps."""
    one = call.of(call.tensors()[0])
    states = [over_all(each, call.because) for tensor in call.tensors()[1:] if (each := call.of(tensor)) is not None]
    begin = hull([reshaped(each, ()) for each in states])
    if one is None and begin is None:
        return []
    steps = last = None
    output, *others = outputs_of(call)
    if one is not None:
        rows = gathered(one, [-1], call.because)
        last = gathered(rows, [time], call.because)
        if both and layers > 1:
            steps = last
        elif both:
            half = (*rows.shape[:-1], output.shape[-1] // 2)
            ways = [spread(fields.accumulated(rows, time, backwards=way), half) for way in (False, True)]
            steps = fields.side_by_side(ways, [half, half], -1)
        else:
            steps = fields.accumulated(rows, time, backwards=backwards)
    whole = hull([None if last is None else reshaped(fields.merged(last), ()), begin])
    found: list[Field | None] = [hull([None if steps is None else spread(steps, output.shape), begin], output.shape)]
    for state in others:
        sees = state.numel() and state.is_floating_point()  # not the workspace
        found.append(spread(whole, tuple(state.shape)) if whole is not None and sees else None)
    return found


def _one_layer(call: Call) -> list[Field | None]:
    return _recurrent(call, 0, layers=1, both=False, backwards=call["reverse"])


def _many_layers(call: Call) -> list[Field | None] | None:
    if call.get("batch_sizes") not in (None, [], ()):  # packed sequences: steps and items on one axis
        return everywhere(call, call.everything(over_all))
    return _recurrent(call, 1 if call.get("batch_first") else 0, layers=call["num_layers"], both=call["bidirectional"])


def _gates(count: int) -> Rule:
    """A cell's gates lie one behind the other along the channels."""

    def rule(call: Call) -> list[Field | None]:
        parts: list[Field | None] = []
        for name in ("input_gates", "hidden_gates"):
            gates = call.field(name)
            if gates is not None:
                width = gates.shape[1] // count
                parts += [slide(gates, 1, width, 1, 1, -width * at, 1) for at in range(count)]
        parts.append(call.field("cx" if "cx" in call.arguments else "hx"))
        joined = hull(parts)
        return [
            joined if joined is not None and tuple(each.shape) == joined.shape else None for each in outputs_of(call)
        ]

    return rule


# -- windows put back --------------------------------------------------------------------------------------------


def _unfolded_back(call: Call) -> Field | None:
    """`fold`: `[B, C · kh · kw, L]` to `[B, C, H, W]`; place i sums up the windows that reach over it, a tap each."""
    one = call.field("self")
    if one is None:
        return None
    batched = len(one.shape) == 3
    sizes, kernel = call["output_size"], call["kernel_size"]
    numbers = list(zip(sizes, kernel, call["dilation"], call["padding"], call["stride"], strict=True))
    counts = [(size + 2 * pad - gap * (taps - 1) - 1) // step + 1 for size, taps, gap, pad, step in numbers]
    batch = one.shape[0] if batched else 1
    one = reshaped(one, (batch, one.shape[-2] // (kernel[0] * kernel[1]), *kernel, *counts))
    for size, taps, gap, pad, step in numbers:  # [B, C, taps, (taps), windows, (windows)], one pair of axes at a time
        at = 2 + (len(one.shape) - 2) // 2
        parts = []
        for tap in range(taps):
            rest = (*one.shape[:2], *one.shape[3:])
            chosen = reshaped(slide(one, 2, 1, 1, 1, -tap, 1), rest)
            parts.append(slide_apart(chosen, at - 1, size, 1, step, pad - tap * gap, 1))
        joined = hull(parts)
        assert joined is not None
        joined = fields.flat(joined)
        # what is done goes behind what is not: [B, C, taps, windows, H], then [B, C, H, W]
        order = [axis for axis in range(len(joined.shape)) if axis != at - 1]
        one = reordered(joined, [*order, at - 1])
    return reshaped(one, call.shape)


def _unpooled(call: Call) -> Field | list[Field | None] | None:
    """`max_unpool`: a value goes back to where its maximum stood, so to a place in its window."""
    told = POOLED.get(call["indices"])
    if told is None:
        return anywhere(call)
    joined = hull([call.field("self"), call.field("indices")])
    if joined is None:
        return None
    first = len(joined.shape) - len(told)
    parts = []
    for part in joined.parts:
        for at, (kernel, stride, padding, dilation) in enumerate(told, start=first):
            part = slide_apart(part, at, call.shape[at], kernel, stride, padding, dilation)
        parts.append(part)
    return hull(parts)


# -- writing by index --------------------------------------------------------------------------------------------


def _written(call: Call) -> Field | list[Field | None] | None:
    """`index_add`, `scatter`, `slice_scatter`, …: where values go is asked by reading the numbers of the places."""
    indices = [each for each in _indices(call) if isinstance(each, Tensor)]
    if any(call.of(each) is not None or each.is_meta for each in indices):
        return anywhere(call)
    name = call.function._schema.name.rpartition("::")[2].strip("_")
    source = next((call[each] for each in ("src", "source", "values", "value") if each in call.arguments), None)
    places = torch.arange(call["self"].numel()).reshape(call["self"].shape)
    with torch._C._DisableTorchDispatch():
        targets = _targets(name, call, places)
    other = call.of(source) if isinstance(source, Tensor) else None
    if other is not None and name.startswith("scatter"):  # the index may be smaller than what is written
        for at, length in enumerate(targets.shape):
            other = slide(other, at, length, 1, 1, 0, 1)
    adds = name in ("index_add", "index_reduce", "scatter_add", "scatter_reduce") or call.get("accumulate", False)
    over = not adds and call.get("reduce") is None
    return fields.written_into(call.field("self"), other, targets.numpy(), call.shape, over=over)


def _indices(call: Call) -> Sequence[Any]:
    found = call.get("index", call.get("indices"))
    return found if isinstance(found, (list, tuple)) else [found]


def _targets(name: str, call: Call, places: Tensor) -> Tensor:
    if name == "slice_scatter":
        return torch.ops.aten.slice(places, call.get("dim", 0), call.get("start"), call.get("end"), call.get("step", 1))
    if name == "select_scatter":
        return places.select(call["dim"], call["index"])
    if name == "diagonal_scatter":
        return places.diagonal(call.get("offset", 0), call.get("dim1", 0), call.get("dim2", 1))
    if name == "put":
        return places.flatten()[call["index"]]
    if name in ("index_put", "index_put_impl"):
        return torch.ops.aten.index(places, call["indices"])
    if name.startswith("index"):
        return places.index_select(call["dim"], call["index"])
    return places.gather(call["dim"], call["index"])


# -- products ----------------------------------------------------------------------------------------------------


def _summed_batch(call: Call) -> Field | None:
    """`addbmm`: the batch is summed over, too."""
    left, right = call.field("batch1"), call.field("batch2")
    parts = [
        None if left is None else reshaped(gathered(left, [0, -1], call.because), (left.shape[1], 1)),
        None if right is None else reshaped(gathered(right, [0, -2], call.because), (1, right.shape[2])),
        call.field("self"),
    ]
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


def _outer(call: Call) -> Field | None:
    left, right = call.field("vec1"), call.field("vec2")
    parts = [
        None if left is None else reshaped(left, (left.shape[0], 1)),
        None if right is None else reshaped(right, (1, right.shape[0])),
        call.field("self"),
    ]
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


def _trilinear(call: Call) -> Field | None:
    """`nn.Bilinear`: three tensors brought to one shape, multiplied and summed over some of its axes."""
    shapes = []
    for number in ("1", "2", "3"):
        tensor = call[f"i{number}"]
        for at in call[f"expand{number}"]:
            tensor = torch.empty(tensor.shape, device="meta").unsqueeze(at)
        shapes.append(tuple(tensor.shape))
    full = torch.broadcast_shapes(*shapes)
    parts = []
    for number, shape in zip(("1", "2", "3"), shapes, strict=True):
        one = call.field(f"i{number}")
        if one is not None:
            parts.append(gathered(spread(reshaped(one, shape), full), call["sumdim"], call.because))
    joined = hull(parts)
    return None if joined is None else reshaped(joined, call.shape)


def _distances(call: Call) -> Field | None:
    left, right = call.field("x1"), call.field("x2")
    parts: list[Field | None] = [None if left is None else gathered(left, [-1], call.because)]
    if right is not None:
        order = [*range(len(right.shape) - 2), -1, -2]
        parts.append(reordered(gathered(right, [-1], call.because), order))
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


def _matrices(call: Call) -> list[Field | None]:
    """What takes a matrix apart, or solves it: each number sees the whole of it, the last two axes."""
    parts = []
    for each in map(call.of, call.tensors()):
        if each is not None:
            axes = [-1, -2] if len(each.shape) > 1 else [-1]
            done = gathered(each, axes, call.because)
            parts.append(reshaped(done, done.shape[: -len(axes)]))
    joined = hull(parts)
    found: list[Field | None] = []
    for output in outputs_of(call):
        inner = output.ndim - (0 if joined is None else len(joined.shape))
        found.append(None if joined is None else spread(reshaped(joined, (*joined.shape, *(1,) * inner)), output.shape))
    return found


def _along_axes(call: Call) -> Field | None:
    """A Fourier transform, a cross product: each value sees all along some axes, whose length may change."""
    dim = call["dim"]
    axes = list(dim) if isinstance(dim, (list, tuple)) else [dim]
    parts = [gathered(each, axes, call.because) for each in map(call.of, call.tensors()) if each is not None]
    joined = hull(parts)
    return None if joined is None else spread(joined, call.shape)


# -- others ------------------------------------------------------------------------------------------------------


def _as_pairs(call: Call) -> Field | None:
    one = call.field("self")
    return None if one is None else spread(reshaped(one, (*one.shape, 1)), call.shape)


def _of_pairs(call: Call) -> Field | None:
    one = call.field("self")
    if one is None:
        return None
    last = len(one.shape) - 1
    return hull([reshaped(slide(one, last, 1, 1, 1, -at, 1), call.shape) for at in (0, 1)])


def _over_time(call: Call) -> Field | None:
    """`conv_tbc`: `[T, B, C]`."""
    one = call.field("self")
    if one is None:
        return None
    taps, channels = call["weight"].shape[0], call["weight"].shape[2]
    return mixed_channels(slide(one, 0, call.shape[0], taps, 1, call["pad"], 1), 2, channels, 1)


def _seen_whole(call: Call) -> list[Field | None]:
    return everywhere(call, call.everything(over_all))


def _strided(call: Call) -> Field | list[Field | None] | None:
    """A view by strides; told where the tensor lies in memory as its shape says."""
    one = call["self"]
    plain = one.is_contiguous() and one.storage_offset() == 0 and not call.get("storage_offset")
    return moved(call) if plain else everywhere(call, call.everything(fields.made_unknown))


def _packed(call: Call) -> list[Field | None]:
    found = moved(call)
    return [found[0] if isinstance(found, list) else found, None]


register("mkldnn_rnn_layer", _one_layer)
register("_cudnn_rnn miopen_rnn quantized_lstm quantized_gru", _many_layers)
register("_thnn_fused_lstm_cell", _gates(4))
register("_thnn_fused_gru_cell", _gates(3))
register("col2im", _unfolded_back)
register("max_unpool2d max_unpool3d", _unpooled)
register(
    "index_add index_copy index_fill index_reduce index_put _index_put_impl_ _unsafe_index_put put scatter scatter_add"
    " scatter_reduce slice_scatter select_scatter diagonal_scatter",
    _written,
)
register("addbmm", _summed_batch)
register("addr", _outer)
register("_int_mm _scaled_mm", product("self", "mat2"))
register("_addmm_activation", product("mat1", "mat2"))
register("_trilinear", _trilinear)
register("_cdist_forward _euclidean_dist", _distances)
register(
    "_linalg_det _linalg_slogdet _linalg_svd _linalg_eigh _linalg_eigvals _linalg_solve_ex linalg_inv_ex linalg_eig"
    " linalg_cholesky_ex linalg_qr linalg_matrix_exp linalg_pinv linalg_solve_triangular triangular_solve linalg_lstsq"
    " linalg_lu linalg_lu_factor_ex linalg_lu_solve cholesky_inverse cholesky_solve trace",
    _matrices,
)
register("_fft_c2c _fft_r2c _fft_c2r linalg_cross", _along_axes)
register("view_as_real", _as_pairs)
register("view_as_complex", _of_pairs)
register("conv_tbc", _over_time)
register("affine_grid_generator dist histc", _seen_whole)
register("as_strided", _strided)
register("_unsafe_index", moved)
register("linalg__powsum _aminmax native_norm", reduction)
register("_masked_softmax", along)
register("softmax", along, "quantized")
register("_logcumsumexp", cumulative)
register("_weight_int4pack_mm _weight_int4pack_mm_for_cpu _weight_int8pack_mm _mixed_dtypes_linear", linear_map)
register("fill", written_over)
register("zero", no_field)
register("_pack_padded_sequence", _packed)
register(
    "fractional_max_pool2d fractional_max_pool3d _grid_sampler_2d_cpu_fallback nonzero_static multinomial _unique"
    " unique_consecutive unique_dim_consecutive",
    anywhere,
)
register(
    "_conj _neg_view _add_relu fake_quantize_per_tensor_affine_cachemask fake_quantize_per_channel_affine_cachemask"
    " _fake_quantize_learnable_per_tensor_affine rrelu_with_noise_functional _lazy_clone",
    pointwise,
)
register("deform_conv2d ps_roi_pool qroi_align", anywhere, "torchvision")
register(
    "batch_norm1d batch_norm1d_relu batch_norm_relu clamp dropout prelu add_scalar_relu mul_scalar_relu",
    pointwise,
    "quantized",
)
register("max_pool1d max_pool2d", pooling, "quantized")
register("matmul", product("qa", "qb"), "quantized")
register("linear_dynamic_fp16 linear_relu_dynamic_fp16 linear_leaky_relu linear_tanh", linear_map, "quantized")
register(
    "conv1d_dynamic conv2d_dynamic conv3d_dynamic conv_transpose3d conv_transpose1d_dynamic conv_transpose2d_dynamic"
    " conv_transpose3d_dynamic",
    quantized_convolution,
    "quantized",
)
