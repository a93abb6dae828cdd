"""Small networks with attention, for commands."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer


def vit() -> nn.Module:
    """64 × 64 pixels in 4 × 4 patches, 2 layers of 4 heads."""
    return VisionTransformer(64, 16, 2, 4, 32, 64)


class Planted(nn.Module):
    """Two heads over patches of 16 × 16: one looks two rows down, one a column to the right, round the edges."""

    def forward(self, x: Tensor) -> Tensor:
        maps = F.avg_pool2d(x, 16)
        height, width = maps.shape[-2:]
        tokens = maps.flatten(2).transpose(1, 2)[:, None].expand(-1, 2, -1, -1)
        at = torch.arange(height * width).reshape(height, width)
        target = torch.stack([at.roll((-2, 0), (0, 1)).flatten(), at.roll((0, -1), (0, 1)).flatten()])
        bias = torch.zeros(2, height * width, height * width)
        bias.scatter_(2, target[..., None], torch.tensor([[40.0], [3.0]])[:, None].expand(-1, height * width, 1))
        return F.scaled_dot_product_attention(tokens, tokens, tokens, attn_mask=bias).mean((1, 2))


def planted() -> nn.Module:
    """Attention that is known."""
    return Planted()
