"""Makes the meta device behave as another does where that is worth memory.

torch picks other implementations on `meta` than on the device a network will run on: attention goes through its
matrix of weights, dropout keeps a mask of floats, and there is no autocast. Kernels for these are put in front of
torch's own for as long as a trace runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

Target = Literal["cuda", "cpu"]

_aten = torch.ops.aten


@contextmanager
def as_on(target: Target) -> Iterator[None]:
    """Inside, what runs on `meta` takes the implementations that `target` would take.

    Regions of autocast cast. One at a time: the kernels are the process's own.
    """
    kernels: list[tuple[str, Callable[..., Any], str]] = []
    kernels.append(("scaled_dot_product_attention", _attention(target), "AutogradMeta"))
    if target == "cuda":
        kernels.append(("dropout", _dropout, "AutogradMeta"))
    kernels += [(name, kernel, _AUTOCAST_NAME) for name, kernel in _autocast_kernels(target)]
    library = torch.library.Library("aten", "IMPL")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that they replace others is the point
            for name, kernel, key in kernels:
                library.impl(name, kernel, key)
        with _letting_go_of_casts(), _regions_of_autocast(target):
            yield
    finally:
        library._destroy()


# -- attention and dropout ---------------------------------------------------------------------------------------


def _attention(target: Target) -> Callable[..., Tensor]:
    """Attention by the fused operator that the target would choose; by its matrix where it has none for this call."""

    def attention(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        *,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        mask = attn_mask
        if mask is not None and mask.dtype == torch.bool and query.ndim == 4:
            mask = torch.zeros_like(mask, dtype=query.dtype)  # what torch makes of it: -inf where it is False
        plain = query.ndim == 4 and query.shape[-1] == value.shape[-1] and not enable_gqa
        if plain and target == "cpu" and dropout_p == 0.0 and not (mask is not None and mask.requires_grad):
            return _aten._scaled_dot_product_flash_attention_for_cpu(
                query, key, value, dropout_p, is_causal, attn_mask=mask, scale=scale
            )[0]
        if plain and target == "cuda":
            half = query.dtype in (torch.float16, torch.bfloat16)
            width = query.shape[-1]
            if half and mask is None and width <= 256:
                scale = width**-0.5 if scale is None else scale
                padded = [_to_multiple(each, 8) for each in (query, key, value)]
                output = _aten._scaled_dot_product_flash_attention(*padded, dropout_p, is_causal, scale=scale)[0]
                return output[..., :width]
            if width % (8 if half else 4) == 0 and query.dtype != torch.float64:
                if mask is not None:
                    mask = mask.expand(query.shape[0], query.shape[1], query.shape[2], key.shape[2])
                needs = torch.is_grad_enabled() and any(each.requires_grad for each in (query, key, value))
                return _aten._scaled_dot_product_efficient_attention(
                    query, key, value, mask, needs, dropout_p, is_causal, scale=scale
                )[0]
        return _aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, None, scale=scale, enable_gqa=enable_gqa
        )[0]

    return attention


def _to_multiple(tensor: Tensor, multiple: int) -> Tensor:
    short = -tensor.shape[-1] % multiple
    return torch.nn.functional.pad(tensor, (0, short)) if short else tensor


def _dropout(values: Tensor, p: float, train: bool) -> Tensor:
    """CUDA's keeps a mask of one byte a value."""
    if not train or p == 0.0 or not values.numel():
        return values
    if p == 1.0:
        return values * values.new_zeros(())
    return _aten.native_dropout(values, p, train)[0]


# -- autocast ----------------------------------------------------------------------------------------------------

# A key above autograd whose device no trace runs on: included by hand, its kernels see every operation first. Whether
# they cast is torch's own switch for the CPU, which has none on `meta`: `torch.utils.checkpoint` remembers how it stood
# in the forward pass and turns it back for as long as it computes again; the rest of the backward pass is not cast.
_AUTOCAST_NAME = "AutocastXPU"
_AUTOCAST = torch._C.DispatchKey.AutocastXPU
_AUTOCAST_SET = torch._C.DispatchKeySet(_AUTOCAST)

# Of parameters, for the rest of the forward, as torch's own cache.
_casts: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = {}

# torch's lists (ATen/autocast_mode.h, and autocast_mode.cpp for the CPU), as far as networks call them.
_LOWER = (
    "conv1d conv2d.default conv2d.padding conv3d.default conv3d.padding conv_transpose1d conv_transpose2d.input "
    "conv_transpose3d.input convolution prelu addmm addmv matmul mm mv linear addbmm baddbmm bmm "
    "scaled_dot_product_attention"
).split()
_LOWER_CPU = [name for name in _LOWER if name not in ("convolution", "prelu", "addmv", "mv")]
_FULL = (
    "acos asin cosh exp expm1 log log10 log2 log1p reciprocal rsqrt sinh tan pow.Tensor_Scalar pow.Tensor_Tensor "
    "pow.Scalar softplus layer_norm native_layer_norm group_norm cosine_similarity nll_loss nll_loss2d l1_loss "
    "smooth_l1_loss huber_loss mse_loss binary_cross_entropy_with_logits cdist logsumexp kl_div upsample_nearest2d "
    "upsample_nearest3d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d prod.default prod.dim_int "
    "softmax.int log_softmax.int cumprod cumsum linalg_vector_norm sum.default sum.dim_IntList"
).split()
_FULL_CPU = (
    "avg_pool3d binary_cross_entropy grid_sampler prod.default cdist mse_loss cosine_similarity nll_loss nll_loss2d "
    "smooth_l1_loss huber_loss kl_div"
).split()
_WIDEST = "addcdiv addcmul atan2 dot grid_sampler index_put scatter_add".split()


@contextmanager
def autocasting(dtype: torch.dtype | None) -> Iterator[None]:
    """Autocast for a forward on `meta` inside `as_on`; without a dtype nothing but what the network does by itself."""
    with nullcontext() if dtype is None else torch.autocast("meta", dtype):
        yield


@contextmanager
def _regions_of_autocast(target: Target) -> Iterator[None]:
    """Inside, `torch.autocast` of any device means the one that is stood in for, `meta` included.

    A network's own regions, and those that gradient checkpointing opens again, are so cast as they would be there.
    Enabled or not, and in which format, is kept where torch keeps it for the CPU.
    """
    usual = {"cuda": torch.float16, "cpu": torch.bfloat16}
    region = torch.autocast
    own = region.__init__, region.__enter__, region.__exit__
    open_regions: list[tuple[bool, torch.dtype, bool, Any]] = []

    def begin(
        self: Any,
        device_type: str,
        dtype: torch.dtype | None = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        self.device = device_type
        self.fast_dtype = dtype or usual.get(device_type, usual[target])
        self._enabled = enabled

    def enter(self: Any) -> Any:
        excluded = torch._C._dispatch_tls_is_dispatch_key_excluded(_AUTOCAST)  # as all autocast keys are, by default
        guard = torch._C._IncludeDispatchKeyGuard(_AUTOCAST)
        open_regions.append((torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu"), excluded, guard))
        torch._C._dispatch_tls_set_dispatch_key_excluded(_AUTOCAST, False)
        guard.__enter__()
        torch.set_autocast_enabled("cpu", self._enabled)
        torch.set_autocast_dtype("cpu", self.fast_dtype)
        torch.autocast_increment_nesting()
        return self

    def leave(self: Any, *error: Any) -> bool:
        enabled, dtype, excluded, guard = open_regions.pop()
        if torch.autocast_decrement_nesting() == 0:
            torch.clear_autocast_cache()
        torch.set_autocast_enabled("cpu", enabled)
        torch.set_autocast_dtype("cpu", dtype)
        guard.__exit__(None, None, None)
        torch._C._dispatch_tls_set_dispatch_key_excluded(_AUTOCAST, excluded)
        return False

    try:
        region.__init__, region.__enter__, region.__exit__ = begin, enter, leave  # type: ignore[method-assign]
        yield
    finally:
        region.__init__, region.__enter__, region.__exit__ = own  # type: ignore[method-assign]


@contextmanager
def _letting_go_of_casts() -> Iterator[None]:
    """Inside, casts are let go of where torch lets go of its own: at the end of the outermost autocast."""
    own = torch.clear_autocast_cache

    def clear() -> None:
        _casts.clear()
        own()

    torch.clear_autocast_cache = clear
    try:
        yield
    finally:
        torch.clear_autocast_cache = own
        _casts.clear()


def _autocast_kernels(target: Target) -> Iterator[tuple[str, Callable[..., Any]]]:
    lower, full, widest = (_LOWER, _FULL, _WIDEST) if target == "cuda" else (_LOWER_CPU, _FULL_CPU, [])
    for names, cast in (
        (lower, lambda args, kwargs: _mapped(lambda each: _to(each, torch.get_autocast_dtype("cpu")), args, kwargs)),
        (full, lambda args, kwargs: _mapped(lambda each: _to(each, torch.float32), args, kwargs)),
        (widest, _to_widest),
    ):
        for name in names:
            packet, _, overload = name.partition(".")
            operation = getattr(getattr(_aten, packet), overload or "default")
            yield name.removesuffix(".default"), _with_casts(operation, cast)


def _with_casts(operation: Any, cast: Callable[..., Any]) -> Callable[..., Any]:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(_AUTOCAST_SET):
            if torch.is_autocast_enabled("cpu"):
                args, kwargs = cast(args, kwargs)
            return operation(*args, **kwargs)

    return kernel


def _mapped(change: Callable[[Tensor], Tensor], args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    def changed(value: Any) -> Any:
        if isinstance(value, Tensor):
            return change(value)
        if isinstance(value, (list, tuple)):
            return type(value)(changed(each) for each in value)
        return value

    return tuple(changed(each) for each in args), {name: changed(each) for name, each in kwargs.items()}


def _to(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if not tensor.is_floating_point() or tensor.dtype in (dtype, torch.float64):
        return tensor
    cached = tensor.is_leaf and tensor.requires_grad and dtype != torch.float32
    if cached and (id(tensor), dtype) in _casts:
        return _casts[id(tensor), dtype][1]
    cast = tensor.to(dtype)
    if cached:
        _casts[id(tensor), dtype] = (tensor, cast)
    return cast


def _to_widest(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    found: list[torch.dtype] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor.dtype)
        return tensor

    _mapped(note, args, kwargs)
    full = torch.float32 in found
    return _mapped(lambda each: _to(each, torch.float32) if full else each, args, kwargs)
