"""Operators by how a value can be followed through them: one list for what goes backwards and what goes onwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from .tape import Operation

Way = Literal["product", "move", "straight", "factor", "norm", "add", "multiply", "function", "stop"]

PRODUCTS = {
    name: kind
    for kind, names in {
        "convolution": "convolution convolution_overrideable _convolution cudnn_convolution mkldnn_convolution",
        "linear": "addmm mm bmm baddbmm linear",
    }.items()
    for name in names.split()
}
"""What multiplies by weights, where one side alone descends from the input."""

MOVES = frozenset(
    "view _unsafe_view reshape _reshape_alias permute transpose t numpy_T unsqueeze squeeze expand slice select"
    " split split_with_sizes unbind chunk cat stack concat flip roll rot90 constant_pad_nd pad reflection_pad1d"
    " reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d replication_pad3d pixel_shuffle"
    " pixel_unshuffle channel_shuffle native_channel_shuffle index index_select gather repeat unfold im2col clone"
    " detach alias _to_copy contiguous lift_fresh lift upsample_nearest1d upsample_nearest2d upsample_nearest3d"
    " _conj resolve_conj resolve_neg flatten unflatten narrow movedim swapaxes diagonal take unsafe_split"
    " unsafe_split_with_sizes".split()
)
"""What puts values elsewhere and does not change them."""

POINTWISE = frozenset(
    "add sub rsub neg mul div relu relu6 hardtanh clamp clamp_min clamp_max leaky_relu _prelu_kernel threshold abs"
    " maximum minimum lerp addcmul hardshrink softshrink where masked_fill dropout feature_dropout".split()
)
"""What makes each value of those at the same place, as a straight line around them."""

_STRAIGHT = POINTWISE | frozenset(
    "sum mean avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d"
    " upsample_bilinear2d _upsample_bilinear2d_aa upsample_linear1d upsample_trilinear3d upsample_bicubic2d"
    " _upsample_bicubic2d_aa col2im prelu max_pool1d max_pool2d max_pool3d max_pool2d_with_indices"
    " max_pool3d_with_indices adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d amax amin max min"
    " native_dropout grid_sampler_2d rrelu_with_noise".split()
)
"""What is a straight line around the values at hand: each input times a factor, and a constant."""

_FUNCTIONS = frozenset(
    "sigmoid hardsigmoid softplus log_sigmoid_forward exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal pow"
    " square sin cos erf sign round floor ceil trunc".split()
)
"""What makes each value of the one at the same place, and is neither a straight line nor 0 of 0."""

_FACTORS = frozenset("silu gelu hardswish mish elu celu selu tanh tanhshrink softsign".split())
"""What is 0 of 0, so that f(x) is a factor f(x) / x of x."""

BATCH_NORMS = frozenset(
    "native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm batch_norm"
    " _batch_norm_no_update _native_batch_norm_legit _batch_norm_with_update".split()
)
NORMS = frozenset("native_layer_norm native_group_norm layer_norm group_norm".split())
"""What divides by a deviation that was taken of the values themselves."""


def way_of(operation: Operation) -> Way:
    """How a value is followed through an operation."""
    name = operation.name
    descending = len(set(operation.reads))
    if name in PRODUCTS:
        return "product" if descending == 1 else "stop"
    if name in MOVES:
        return "move"
    if name in BATCH_NORMS:
        return "straight"
    if name in NORMS:
        return "norm"
    if name in ("add", "sub") and descending > 1:
        return "add"
    if name in ("mul", "div"):
        return "multiply" if descending > 1 else "straight"
    if name in _FACTORS:
        return "factor"
    if name in _FUNCTIONS:
        return "function" if descending == 1 else "stop"
    return "straight" if name in _STRAIGHT else "stop"


_WORDS = {
    "native_batch_norm": "BatchNorm",
    "_native_batch_norm_legit_no_training": "BatchNorm",
    "cudnn_batch_norm": "BatchNorm",
    "miopen_batch_norm": "BatchNorm",
    "batch_norm": "BatchNorm",
    "_native_batch_norm_legit": "BatchNorm",
    "_batch_norm_no_update": "BatchNorm",
    "_batch_norm_with_update": "BatchNorm",
    "native_layer_norm": "LayerNorm",
    "layer_norm": "LayerNorm",
    "native_group_norm": "GroupNorm",
    "group_norm": "GroupNorm",
    "relu": "ReLU",
    "relu6": "ReLU6",
    "leaky_relu": "leaky ReLU",
    "_prelu_kernel": "PReLU",
    "prelu": "PReLU",
    "silu": "SiLU",
    "gelu": "GELU",
    "hardswish": "hard-swish",
    "hardsigmoid": "hard-sigmoid",
    "mish": "Mish",
    "elu": "ELU",
    "selu": "SELU",
    "celu": "CELU",
    "cat": "concatenation",
    "add": "addition",
    "sub": "subtraction",
    "mul": "multiplication",
    "div": "division",
    "_softmax": "softmax",
    "mkldnn_rnn_layer": "a recurrent layer",
    "lstm": "a recurrent layer",
    "gru": "a recurrent layer",
    "mean": "mean",
    "clamp": "clamp",
    "_native_multi_head_attention": "attention",
    "_scaled_dot_product_flash_attention_for_cpu": "attention",
    "_scaled_dot_product_flash_attention": "attention",
    "_scaled_dot_product_efficient_attention": "attention",
    "_scaled_dot_product_attention_math": "attention",
    "_transformer_encoder_layer_fwd": "a whole encoder layer",
    "bmm": "a product of two maps",
}


def in_words(operation: Operation) -> str:
    """What an operation is called: `ReLU`, `concatenation`, or its own name."""
    name = operation.name
    if name in BATCH_NORMS and operation.arguments.get("running_mean", "not kept") is None:
        return "InstanceNorm"  # by the mean and deviation of this one input, whatever module says so
    if name == "hardtanh":
        low, high = operation.arguments.get("min_val", -1), operation.arguments.get("max_val", 1)
        return "ReLU6" if (low, high) == (0, 6) else "hard-tanh"
    if "max_pool" in name:
        return "max pooling"
    if "avg_pool" in name:
        return "average pooling"
    return _WORDS.get(name, name.removeprefix("aten::").strip("_").replace("_", " "))


def whole(arguments: dict[str, Any], *names: str) -> Any:
    """The first of these arguments that there is."""
    return next((arguments[name] for name in names if arguments.get(name) is not None), None)
