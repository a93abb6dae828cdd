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


def small() -> nn.Module:
    return Small()
