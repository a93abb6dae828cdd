"""Networks that reports are made of in the tests."""

from __future__ import annotations

import torch
from torch import nn


class Small(nn.Sequential):
    """A convolution that is normalised and cut off, another with a stride, a branch that adds, and three classes."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        norm = nn.BatchNorm2d(8)
        with torch.no_grad():
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
            norm.running_mean.normal_()
        super().__init__(
            nn.Conv2d(3, 8, 5, padding=2),
            norm,
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(16, 3),
        )


class Pair(nn.Module):
    """Two pictures go through one convolution as a batch, and then together through another one."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.each = nn.Conv2d(3, 4, 3, padding=1)
        self.both = nn.Conv2d(8, 2, 5, padding=2)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        one, other = self.each(torch.cat([first, second])).chunk(2)
        both: torch.Tensor = self.both(torch.cat([one, other], 1))
        return both


class Clip(nn.Module):
    """A convolution that makes one frame out of two, and three classes."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        super().__init__()
        self.conv = nn.Conv3d(3, 4, (2, 3, 3), stride=(2, 1, 1), padding=(0, 1, 1))
        self.pool = nn.AdaptiveAvgPool3d(1)
        self.last = nn.Linear(4, 3)

    def forward(self, clip: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.last(self.pool(self.conv(clip)).flatten(1))
        return answer


def small() -> nn.Module:
    return Small()
