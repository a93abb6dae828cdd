"""What a layer is: convolution, norm, activation, pooling, plain operation or block."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn

    from .records import LayerKind

_ACTIVATION_OPERATIONS = frozenset(
    "celu elu gelu glu gumbel_softmax hardshrink hardsigmoid hardswish hardtanh leaky_relu log_softmax "
    "logsigmoid mish prelu relu relu6 rrelu selu sigmoid silu softmax softmin softplus softshrink softsign "
    "tanh tanhshrink threshold clamp clip".split()
)
_LINEAR_OPERATIONS = frozenset(
    "addbmm addmm addmv baddbmm bilinear bmm einsum inner linear matmul mm multi_dot mv tensordot".split()
)


def module_kind(module: nn.Module) -> LayerKind:
    """The kind of a module, from its class; a module with children that is none of these is a `block`.

    >>> from torch import nn
    >>> module_kind(nn.ReLU6()), module_kind(nn.BatchNorm2d(3)), module_kind(nn.Sequential(nn.ReLU()))
    ('act', 'norm', 'block')
    """
    from torch import nn

    if isinstance(module, nn.modules.conv._ConvNd):
        return "conv"
    if isinstance(module, (nn.Linear, nn.Bilinear)):
        return "linear"
    name = type(module).__name__
    if _is_deformable(module, name):
        return "conv"
    if name.endswith("Norm") or "BatchNorm" in name or name.startswith(("LayerNorm", "GroupNorm", "InstanceNorm")):
        return "norm"
    if isinstance(module, (nn.Dropout, nn.Identity)):
        return "other"
    home = type(module).__module__
    if home.startswith("torch.nn.modules.activation") and not isinstance(module, nn.MultiheadAttention):
        return "act"
    if home.startswith("torch.nn.modules.pooling"):
        return "pool"
    if home.startswith(("torch.ao.nn", "torch.nn.quantized")):
        return _quantized_kind(name)
    return "block" if next(module.children(), None) is not None else "other"


def _is_deformable(module: nn.Module, name: str) -> bool:
    """torchvision's deformable convolution, a class made from it, or one like it with a kernel of its own."""
    own = any(each.__module__ == "torchvision.ops.deform_conv" for each in type(module).__mro__)
    return own or ("DeformConv" in name and hasattr(module, "weight") and hasattr(module, "kernel_size"))


def _quantized_kind(class_name: str) -> LayerKind:
    if "Conv" in class_name:
        return "conv"
    if "Linear" in class_name:
        return "linear"
    if class_name in ("ReLU6", "Hardswish", "Sigmoid", "LeakyReLU", "ELU", "Softmax"):
        return "act"
    return "other"


def operation_kind(name: str) -> LayerKind:
    """The kind of an operation that is no module, from torchvision's name for it.

    >>> operation_kind("relu_"), operation_kind("conv2d"), operation_kind("adaptive_avg_pool2d"), operation_kind("add")
    ('act', 'conv', 'pool', 'op')
    """
    name = name.rstrip("_")
    if name in _ACTIVATION_OPERATIONS:
        return "act"
    if name in _LINEAR_OPERATIONS:
        return "linear"
    if name.startswith(("conv", "deform_conv")) and name[-2:] in ("1d", "2d", "3d"):
        return "conv"
    if "pool" in name:
        return "pool"
    if name.endswith("_norm") or name == "normalize":
        return "norm"
    return "op"
