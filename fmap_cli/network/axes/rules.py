"""What every operation of torch does to the axes of its arguments: a rule an operation.

An operation without a rule is not guessed at: nothing is known of the axes of what it puts out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .. import calls
from ..operators import POINTWISE, QUANTIZED
from . import marks as m
from .marks import NEW, NOTHING, PLACES, UNKNOWN, Axis, Marks


@dataclass(eq=False, slots=True)
class Call(calls.Call):
    """One call of an operation: its arguments, what it returned, and the axes.

    `of` gives a tensor's axes, None where it does not descend from the image.
    """

    outputs: list[Tensor]
    of: Callable[[Any], Marks | None]

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.outputs[0].shape)

    @property
    def first(self) -> Marks | None:
        """The axes of the first tensor among the arguments."""
        return self.of(self.tensors()[0])


Rule = Callable[[Call], "Marks | list[Marks | None] | None"]
"""The axes of every tensor the call returned, or a list, one for each; None where they are not known."""


def _fitted(marks: Marks | None, shape: Sequence[int]) -> Marks | None:
    """The axes with the lengths that they came out with; None where their number is another."""
    if marks is None or len(marks) != len(shape):
        return None
    return tuple(m.resized(one, length) for one, length in zip(marks, shape, strict=True))


# -- value by value ----------------------------------------------------------------------------------------------


def pointwise(call: Call) -> list[Marks | None]:
    given = [marks for each in call.tensors() if (marks := call.of(each)) is not None]
    return [broadcast(given, tuple(each.shape)) for each in call.outputs]


def broadcast(given: Sequence[Marks], shape: Sequence[int]) -> Marks:
    """The axes of tensors laid over each other, the last ones on the last."""
    found: list[Axis] = []
    for at in range(-len(shape), 0):
        ones = [marks[at] for marks in given if len(marks) >= -at]
        fits = [one for one in ones if one.length == shape[at]]
        best = sorted(fits, key=_doubt)
        if best:
            found.append(best[0])
        else:
            found.append(m.resized(sorted(ones, key=_doubt)[0], shape[at]) if ones else _made(shape[at]))
    return tuple(found)


def _made(length: int) -> Axis:
    return NOTHING if length == 1 else m.axis(NEW, length)


def _doubt(one: Axis) -> int:
    """How little is known of an axis."""
    kinds = one.kinds
    return 3 if not kinds else 2 if UNKNOWN in kinds else 1 if NEW in kinds else 0


def _same(call: Call) -> list[Marks | None]:
    """The axes of the first tensor, which may have come out longer or shorter."""
    return [_fitted(call.first, tuple(each.shape)) for each in call.outputs]


def made_new(call: Call) -> list[Marks | None]:
    """Of new tensors that take no more than a shape from an old one."""
    return []


def _unknown(call: Call) -> list[Marks | None]:
    """Of lists of places, which are as long as values say."""
    return []


def _put(call: Call) -> Marks | None:
    """Values put at some places of a tensor: its own axes, or, where it is new, the values'."""
    before = call.of(call.tensors()[0])
    values = call.of(call.get("values", call.get("src", call.get("source"))))
    return before if before is not None else _fitted(values, call.shape)


def _written_over(call: Call) -> Marks | None:
    """`x.copy_(y)`: what was there before is gone, but for the meaning of its axes."""
    source = call.get("src", call.get("value"))
    before = call.of(call.tensors()[0])
    found = call.of(source) if isinstance(source, Tensor) else None
    if found is None:
        return before
    return broadcast([found] if before is None else [found, before], call.shape)


# -- convolutions, poolings, resizing ----------------------------------------------------------------------------

_CALLED = {1: (None,), 2: ("H", "W"), 3: ("T", "H", "W")}


def _over_places(one: Marks, shape: Sequence[int], places: int) -> Marks:
    """The last axes are gone over."""
    calls = _CALLED.get(places, (None,) * places)
    last = [m.placed(*each) for each in zip(one[-places:], calls, shape[-places:], strict=True)]
    return (*one[:-places], *last)


def _convolution(call: Call) -> Marks | None:
    one = call.first
    weight = call["packed_weight"].unpack()[0] if "packed_weight" in call.arguments else call["weight"]
    places = weight.ndim - 2
    if one is None:
        return None
    return _convolved(one, call.shape, places)


def _convolved(one: Marks, shape: Sequence[int], places: int) -> Marks:
    over = _over_places(one, shape, places)
    at = len(over) - places - 1
    batch = [
        each for each in one[at].factors if each.kind == "B"
    ]  # a filter for each item: the batch is in the channels
    if batch and shape[at] % batch[0].length == 0:
        channels = Axis((batch[0], m.whole("C", shape[at] // batch[0].length)))
    elif shape[at] == 1 and one[at] == NOTHING:
        channels = NOTHING
    else:
        channels = m.axis("C", shape[at])
    return (*over[:at], channels, *over[at + 1 :])


def _pooling(call: Call) -> list[Marks | None]:
    one = call.first
    named = [each for each in str(call.function).rpartition("pool")[2][:1] if each.isdigit()]
    places = int(named[0]) if named else 2
    return [None if one is None else _over_places(one, tuple(each.shape), places) for each in call.outputs]


def _resizing(call: Call) -> Marks | None:
    one = call.first
    return None if one is None else _over_places(one, call.shape, len(one) - 2)


def _shuffled(call: Call) -> Marks | None:
    """Pixel shuffle and back: channels become places, or places channels."""
    one = _fitted(call.first, call.shape)
    return None if one is None else (*one[:-3], m.axis("C", call.shape[-3]), *one[-2:])


def _windows_as_columns(call: Call) -> Marks | None:
    """`im2col`: `[B, C, H, W]` to `[B, C · k · k, N]`, a token for each place of the window."""
    one = call.first
    if one is None or len(one) != 4:
        return None
    sizes = []
    for at in range(2):
        kernel, gap, pad, step = (int(call[name][at]) for name in ("kernel_size", "dilation", "padding", "stride"))
        sizes.append((one[2 + at].length + 2 * pad - gap * (kernel - 1) - 1) // step + 1)
    high, wide = (m.placed(one[2 + at], "HW"[at], size) for at, size in enumerate(sizes))
    tokens = Axis((*high.factors, *wide.factors))
    return one[0], m.axis("C", call.shape[1]), tokens if tokens.length == call.shape[2] else m.axis("N", call.shape[2])


def _columns_as_map(call: Call) -> Marks | None:
    one = call.first
    if one is None or len(call.shape) != 4:
        return None
    return one[0], m.axis("C", call.shape[1]), m.axis("H", call.shape[2]), m.axis("W", call.shape[3])


def _unfold(call: Call) -> Marks | None:
    """`x.unfold(dim, size, step)`: the places of a window, and one more axis for what is in it."""
    one = call.first
    if one is None:
        return None
    at = call["dimension"] % len(one)
    size, count = int(call["size"]), call.shape[at]
    source = one[at]
    if len(source.factors) == 1 and not source.before + source.after:
        (only,) = source.factors
        outer = replace(only, length=count, step=only.step * size, total=only.step * size * count)
        inner = replace(only, length=size, total=only.total if only.total != size else 2 * size)
        return (*one[:at], Axis((outer,)), *one[at + 1 :], Axis((inner,)))
    return (*one[:at], m.axis(UNKNOWN, count), *one[at + 1 :], m.axis(UNKNOWN, size))


def _sampled(call: Call) -> Marks | None:
    """`grid_sample`: the map's batch and channels, at the places of the grid."""
    one = call.first
    if one is None:
        return None
    places = len(call.shape) - 2
    return (*one[:2], *(m.axis(str(kind), size) for kind, size in zip(_CALLED[places], call.shape[2:], strict=True)))


def _of_boxes(call: Call) -> Marks | None:
    """`roi_align`: a piece of the map for each box, of which an image may have any number."""
    one = call.first
    if one is None:
        return None
    boxes, channels, high, wide = call.shape
    items = Axis((m.whole("B", 1), m.whole(UNKNOWN, boxes)))
    return items, m.axis("C", channels), m.axis("H", high), m.axis("W", wide)


# -- over whole axes ---------------------------------------------------------------------------------------------


def _reduction(call: Call) -> list[Marks | None]:
    """A sum, mean, maximum, … along axes, kept at length 1 or dropped."""
    if isinstance(call.get("other"), Tensor):  # `max(x, y)` is value by value
        return pointwise(call)
    one = call.first
    if one is None:
        return []
    over = call.named_axes(len(one))
    kept = tuple(m.resized(axis, 1) if at in over else axis for at, axis in enumerate(one))
    dropped = tuple(axis for at, axis in enumerate(one) if at not in over)
    return [kept if each.ndim == len(one) else dropped if each.ndim == len(dropped) else None for each in call.outputs]


def _mixes(one: Axis, others: Sequence[Axis], length: int) -> Axis:
    """The axis that a linear layer over this one puts out, beside others.

    Of channels it makes channels, and of anything where there are no others. As many tokens or places as before are
    those (a mixer's); of how many others there are nothing is known.
    """
    channels = any(each.kind == "C" for other in others for each in other.factors)
    if "C" in one.kinds or not channels:
        return m.axis("C", length)
    if one.length == length and one.kinds and one.kinds <= PLACES | {"N"}:
        return one
    return m.axis(UNKNOWN, length)


def _linear(call: Call) -> Marks | None:
    one = call.first
    return None if one is None else (*one[:-1], _mixes(one[-1], one[:-1], call.shape[-1]))


def _product(left: str, right: str) -> Rule:
    """A matrix product: rows are the left side's, columns the right side's."""

    def rule(call: Call) -> Marks | None:
        a, b = call.of(call[left]), call.of(call[right])
        found: Marks
        if a is None and b is None:
            return call.of(call.tensors()[0])  # what a product of weights is added to
        if b is None:
            assert a is not None
            found = (*a[:-1], _mixes(a[-1], a[:-1], call.shape[-1])) if call[right].ndim > 1 else a[:-1]
        elif a is None:
            rows = () if call[left].ndim == 1 else (_mixes(b[-2], (*b[:-2], b[-1]), call.shape[-2]),)
            found = (*b[:-2], *rows, b[-1]) if len(b) > 1 else rows
        else:
            batch = broadcast([a[:-2], b[:-2]], call.shape[:-2]) if len(call.shape) > 2 else ()
            found = (*batch, *a[-2:-1], *(b[-1:] if len(b) > 1 else ()))
        return _fitted(found, call.shape)

    return rule


def _distances(call: Call) -> Marks | None:
    a, b = call.of(call["x1"]), call.of(call["x2"])
    rows = a[-2] if a is not None else m.axis(UNKNOWN, call.shape[-2])
    columns = b[-2] if b is not None else m.axis(UNKNOWN, call.shape[-1])
    rest = broadcast([each[:-2] for each in (a, b) if each is not None], call.shape[:-2])
    return (*rest, rows, columns)


def _attention(call: Call) -> list[Marks | None]:
    """`[B, heads, N, D]`: a query's places, a value's numbers."""
    query, value = call.of(call["query"]), call.of(call["value"])
    if query is None or value is None:
        return [_fitted(query or value, call.shape)]
    return [_fitted((*query[:-1], value[-1]), call.shape)]


def _whole_attention(call: Call) -> list[Marks | None]:
    """torch's fused layer of attention: `[B, N, C]`, and, where asked for, weights `[B, N, N]`."""
    one = call.first
    if one is None:
        return []
    tokens = one[-2]
    found: list[Marks | None] = []
    for at, each in enumerate(call.outputs):
        if at == 0:
            found.append((*one[:-1], m.axis("C", each.shape[-1])))
        elif each.ndim == 3:
            found.append((one[0], tokens, tokens))
        else:
            found.append((one[0], m.axis(UNKNOWN, each.shape[1]), tokens, tokens) if each.ndim == 4 else None)
    return found


def _with_statistics(call: Call) -> list[Marks | None]:
    """A norm: the values in their axes; what else comes out is statistics."""
    one = call.first
    return [
        one if at == 0 and one is not None and each.ndim == len(one) else None for at, each in enumerate(call.outputs)
    ]


def _recurrent(call: Call) -> list[Marks | None]:
    """`[steps, B, C]` or `[B, steps, C]`: the steps stay, and the last axis is the state's numbers."""
    one = call.first
    if one is None:
        return []
    batch = next((axis for axis in one[:-1] if "B" in axis.kinds), NOTHING)
    found: list[Marks | None] = [(*one[:-1], m.axis("C", call.shape[-1]))]
    for state in call.outputs[1:]:  # of each layer and direction
        found.append(
            _fitted(
                (*(m.axis(UNKNOWN, each) for each in state.shape[:-2]), batch, m.axis("C", state.shape[-1])),
                state.shape,
            )
            if state.ndim > 1
            else None
        )
    return found


# -- moving ------------------------------------------------------------------------------------------------------


def _view(call: Call) -> list[Marks | None]:
    one = call.first
    if one is None:
        return []
    return [None if 0 in each.shape else m.reshaped(one, tuple(each.shape)) for each in call.outputs]


def _squeeze(call: Call) -> Marks | None:
    one = call.first
    if one is None:
        return None
    over = call.named_axes(len(one))
    return tuple(axis for at, axis in enumerate(one) if at not in over or axis.length != 1)


def _unsqueeze(call: Call) -> Marks | None:
    one = call.first
    if one is None:
        return None
    at = call["dim"] % (len(one) + 1)
    return (*one[:at], NOTHING, *one[at:])


def _permute(call: Call) -> Marks | None:
    one = call.first
    return None if one is None else tuple(one[at] for at in call["dims"])


def _transpose(call: Call) -> Marks | None:
    one = call.first
    if one is None or len(one) < 2:
        return one
    return tuple(one[at] for at in call.swapped_axes(len(one)))


def _expand(call: Call) -> Marks | None:
    one = call.first
    return None if one is None else broadcast([one], call.shape)


def _slice(call: Call) -> Marks | None:
    one = call.first
    if one is None:
        return None
    at = call.get("dim", 0) % len(one)
    return _part(one, at, call.get("start") or 0, call.shape[at], call.get("step", 1))


def _part(one: Marks, at: int, start: int, length: int, step: int = 1) -> Marks:
    old = one[at].length
    start = max(start + old, 0) if start < 0 else min(start, old)
    return (*one[:at], m.sliced(one[at], start, length, step), *one[at + 1 :])


def _select(call: Call) -> Marks | None:
    one = call.first
    if one is None:
        return None
    at = call["dim"] % len(one)
    return (*one[:at], *one[at + 1 :])


def _parts(call: Call) -> list[Marks | None]:
    """`split`, `chunk`, `unbind`: parts one behind the other along an axis."""
    one = call.first
    if one is None:
        return []
    at = call.get("dim", 0) % len(one)
    found: list[Marks | None] = []
    start = 0
    for each in call.outputs:
        long = each.shape[at] if each.ndim == len(one) else 1
        part = _part(one, at, start, long)
        found.append(part if each.ndim == len(one) else (*part[:at], *part[at + 1 :]))
        start += long
    return found


def cat(call: Call) -> Marks | None:
    tensors = [each for each in call.get("tensors", call.get("qx")) if each.numel() or each.ndim > 1]
    known = [marks for each in tensors if (marks := call.of(each)) is not None]
    if not known:
        return None
    at = call.get("dim", 0) % len(call.shape)
    parts = []
    for each in tensors:
        marks = call.of(each)
        parts.append(m.axis(UNKNOWN, each.shape[at]) if marks is None else marks[at])
    if len(known) == len(tensors):
        along = m.joined(parts)
    else:  # a token that is learned, a row of zeros: it is what it is put beside
        along = m.joined(
            [
                part if call.of(each) is not None else m.resized(NOTHING, each.shape[at])
                for part, each in zip(parts, tensors, strict=True)
            ]
        )
    others = broadcast([(*marks[:at], NOTHING, *marks[at + 1 :]) for marks in known], call.shape)
    return (*others[:at], along, *others[at + 1 :])


def _stack(call: Call) -> Marks | None:
    tensors = call["tensors"]
    known = [marks for each in tensors if (marks := call.of(each)) is not None]
    if not known:
        return None
    at = call.get("dim", 0) % len(call.shape)
    one = broadcast(known, (*call.shape[:at], *call.shape[at + 1 :]))
    return (*one[:at], m.axis(NEW, len(tensors)), *one[at:])


def _indexed(call: Call) -> Marks | None:
    """`x[:, i]`: along indexed axes places may be in any order. Several indices, or one of several axes, are new."""
    one = call.first
    if one is None:
        return None
    indices = list(call["indices"])
    at = [place for place, index in enumerate(indices) if index is not None]
    widths = sum(
        index.ndim if index.dtype in (torch.bool, torch.uint8) else 1 for index in indices if index is not None
    )
    if len(at) == 1 and widths == 1 and len(call.shape) == len(one):
        axis = one[at[0]]
        return (*one[: at[0]], _picked(axis, call.shape[at[0]]), *one[at[0] + 1 :])
    together = at == list(range(at[0], at[-1] + 1))
    first = at[0] if together else 0
    count = len(call.shape) - (len(one) - widths)
    new = tuple(m.axis(UNKNOWN, length) for length in call.shape[first : first + count])
    gone = set(range(at[0], at[0] + widths)) if together else set(at)
    rest = tuple(axis for place, axis in enumerate(one) if place not in gone)
    return _fitted((*rest[:first], *new, *rest[first:]), call.shape)


def _picked(one: Axis, length: int) -> Axis:
    kind = m.opaque(one)
    return m.axis(kind if kind in ("C", "N", "B", "T") else UNKNOWN, length)


def _index_select(call: Call) -> Marks | None:
    one = call.first
    if one is None:
        return None
    at = call["dim"] % len(one)
    return (*one[:at], _picked(one[at], call.shape[at]), *one[at + 1 :])


def _embedding(call: Call) -> Marks | None:
    indices = call.of(call["indices"])
    return None if indices is None else (*indices, m.axis("C", call.shape[-1]))


def _as_strided(call: Call) -> Marks | None:
    one = call.first
    return one if one is not None and len(one) == len(call.shape) else None


def _real_and_imaginary(call: Call) -> Marks | None:
    one = call.first
    return None if one is None else (*one, m.axis(NEW, 2))


def _from_real(call: Call) -> Marks | None:
    one = call.first
    return None if one is None else one[:-1]


# -- which operation goes by which rule --------------------------------------------------------------------------

_BY_NAME: dict[str, Rule] = {}


def _rules(names: str, rule: Rule) -> None:
    _BY_NAME.update((f"aten::{name}", rule) for name in names.split())


_rules("convolution _convolution cudnn_convolution miopen_convolution mkldnn_convolution", _convolution)
_rules(
    "max_pool1d max_pool2d max_pool3d max_pool2d_with_indices max_pool3d_with_indices max_pool1d_with_indices"
    " avg_pool1d avg_pool2d avg_pool3d quantized_max_pool1d quantized_max_pool2d quantized_max_pool3d lp_pool2d"
    " mkldnn_max_pool2d mkldnn_max_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d"
    " adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
    " mkldnn_adaptive_avg_pool2d fractional_max_pool2d fractional_max_pool3d max_unpool2d max_unpool3d",
    _pooling,
)
_rules(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact1d _upsample_nearest_exact2d"
    " _upsample_nearest_exact3d upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d"
    " _upsample_bilinear2d_aa _upsample_bicubic2d_aa",
    _resizing,
)
_rules("pixel_shuffle pixel_unshuffle", _shuffled)
_rules("im2col", _windows_as_columns)
_rules("col2im", _columns_as_map)
_rules("unfold unfold_copy", _unfold)
_rules("grid_sampler_2d grid_sampler_3d grid_sampler _grid_sampler_2d_cpu_fallback", _sampled)
_rules(
    "mean sum amax amin aminmax max min prod var std var_mean std_mean norm linalg_vector_norm logsumexp any all"
    " argmax argmin median nanmedian mode nansum count_nonzero",
    _reduction,
)
_rules("mm bmm matmul", _product("self", "mat2"))
_rules("mv", _product("self", "vec"))
_rules("addmm", _product("mat1", "mat2"))
_rules("baddbmm addbmm", _product("batch1", "batch2"))
_rules("addmv", _product("mat", "vec"))
_rules("linear mkldnn_linear", _linear)
_rules("dot vdot", lambda call: ())
_rules("_cdist_forward cdist", _distances)
_rules(
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention"
    " _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention scaled_dot_product_attention"
    " _scaled_dot_product_attention_math",
    _attention,
)
_rules("_native_multi_head_attention _transformer_encoder_layer_fwd", _whole_attention)
_rules(
    "native_layer_norm _fused_rms_norm rms_norm layer_norm native_group_norm native_batch_norm"
    " _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm"
    " _batch_norm_with_update _batch_norm_no_update batch_norm quantized_batch_norm",
    _with_statistics,
)
_rules("lstm gru rnn_tanh rnn_relu mkldnn_rnn_layer _cudnn_rnn miopen_rnn", _recurrent)
_rules(
    "view reshape _unsafe_view _reshape_alias flatten unflatten view_copy _reshape_copy",
    _view,
)
_rules("squeeze squeeze_copy squeeze_", _squeeze)
_rules("unsqueeze unsqueeze_copy unsqueeze_", _unsqueeze)
_rules("permute permute_copy", _permute)
_rules("t transpose swapaxes transpose_copy t_copy transpose_ t_", _transpose)
_rules("expand expand_copy broadcast_to", _expand)
_rules("slice slice_copy", _slice)
_rules("select select_copy", _select)
_rules("split split_with_sizes chunk unbind unsafe_split unsafe_chunk unsafe_split_with_sizes tensor_split", _parts)
_rules("cat concat", cat)
_rules("stack", _stack)
_rules("index", _indexed)
_rules("index_select", _index_select)
_rules("embedding", _embedding)
_rules("as_strided", _as_strided)
_rules("view_as_real", _real_and_imaginary)
_rules("view_as_complex", _from_real)
_rules("copy_ fill_ copy", _written_over)
_rules(
    "index_put index_put_ _index_put_impl_ scatter scatter_ scatter_add scatter_add_ masked_scatter index_add"
    " index_add_ index_copy",
    _put,
)
_rules("nonzero _unique2 unique_dim masked_select bincount set_", _unknown)
_rules(
    "arange new_zeros new_ones new_empty new_full new_empty_strided zeros_like ones_like empty_like full_like rand_like"
    " randn_like randint_like",
    made_new,
)
_rules(
    "constant_pad_nd reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d"
    " replication_pad3d repeat tile repeat_interleave glu _softmax _log_softmax softmax log_softmax _safe_softmax sort"
    " topk argsort kthvalue cumsum cumprod logcumsumexp cummax cummin roll flip tril triu channel_shuffle"
    " native_channel_shuffle gather take_along_dim index_fill _fft_r2c _fft_c2c _fft_c2r zero_ bernoulli_ uniform_"
    " normal_ random_ as_strided_ rrelu_with_noise",
    _same,
)
_rules(" ".join(POINTWISE), pointwise)
_BY_NAME["torchvision::deform_conv2d"] = lambda call: (
    None if call.first is None else _convolved(call.first, call.shape, 2)
)
_BY_NAME["torchvision::nms"] = _unknown
_BY_NAME.update(
    (f"torchvision::{name}", _of_boxes) for name in ("roi_align", "roi_pool", "ps_roi_align", "ps_roi_pool")
)
for _what, _rule in {"convolution": _convolution, "linear": _linear, "pointwise": pointwise, "cat": cat}.items():
    _BY_NAME.update(dict.fromkeys(QUANTIZED[_what], _rule))


def rule_for(function: Any) -> Rule | None:
    """The rule of an operator; None where there is none."""
    rule = _BY_NAME.get(function._schema.name)
    if rule is None and torch.Tag.pointwise in function.tags:
        return pointwise
    return rule
