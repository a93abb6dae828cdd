"""TensorFlow's SAME padding as a convolution. Imports torch: only the rooms that build networks import this."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


class SamePadConv2d(torch.nn.Conv2d):
    """A convolution whose output is `ceil(size / stride)` long on each axis, padded as TensorFlow does.

    The padding depends on the input's size: `kernel - stride` pixels where the stride divides the size, more
    where it does not; half of them on each side, the odd one at the bottom and right. With dilation d the
    kernel counts as `d * (kernel - 1) + 1` long. The kernel must be as long as the stride at least.

    >>> SamePadConv2d(3, 8, kernel_size=3, stride=2)(torch.zeros(1, 3, 225, 192)).shape
    torch.Size([1, 8, 113, 96])
    """

    @classmethod
    def like(cls, conv: torch.nn.Conv2d) -> SamePadConv2d:
        """A new one of the same channels, kernel and stride, on the same device."""
        keywords: dict[str, Any] = {
            "kernel_size": conv.kernel_size,
            "stride": conv.stride,
            "dilation": conv.dilation,
            "groups": conv.groups,
            "bias": conv.bias is not None,
            "device": conv.weight.device,
            "dtype": conv.weight.dtype,
        }
        return cls(conv.in_channels, conv.out_channels, **keywords)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """`[B, C, H, W]` → `[B, out_channels, ceil(H / stride), ceil(W / stride)]`."""
        top, bottom = self._padding_of_axis(0, input.shape[2])
        left, right = self._padding_of_axis(1, input.shape[3])
        padded = F.pad(input, (left, right, top, bottom))
        return F.conv2d(padded, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)

    def _padding_of_axis(self, axis: int, size: int) -> tuple[int, int]:
        # No branch on the size: torch.fx traces this with a stand-in for the number.
        kernel = self.dilation[axis] * (self.kernel_size[axis] - 1) + 1
        stride = self.stride[axis]
        total = (-size) % stride + kernel - stride
        return total // 2, total - total // 2
