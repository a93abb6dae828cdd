"""Small networks with attention, for commands."""

from __future__ import annotations

from torch import nn
from torchvision.models import VisionTransformer


def vit() -> nn.Module:
    """64 × 64 pixels in 4 × 4 patches, 2 layers of 4 heads."""
    return VisionTransformer(64, 16, 2, 4, 32, 64)
