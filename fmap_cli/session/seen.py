"""The picture that a network's layers saw: of a detector not the image, but what it made of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ..inputs.records import ImageInput
from .opening import Session


def picture_seen(session: Session, image: ImageInput) -> tuple[ImageInput, tuple[float, float]]:
    """The picture that the backbone saw, and how much larger it is than the image (height, width).

    torchvision's detectors resize and pad their input in a module called `transform`; running it alone is cheap.
    Any other network saw the image as it is.
    """
    transform: Any = getattr(session.model.module, "transform", None)
    if session.model.input_kind != "images" or not hasattr(transform, "image_std"):
        return image, (1.0, 1.0)
    with torch.no_grad():
        batch, _ = transform([image.tensor.to(session.device, session.dtype)])
    tensor = batch.tensors[0].float().cpu()  # [3, H, W]
    mean = torch.tensor(transform.image_mean)[:, None, None]
    std = torch.tensor(transform.image_std)[:, None, None]
    unpadded = torch.zeros_like(tensor)
    height, width = batch.image_sizes[0]
    unpadded[:, :height, :width] = (tensor * std + mean)[:, :height, :width]
    pixels = (unpadded.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()  # [H, W, 3]
    scale = height / image.pixels.shape[0], width / image.pixels.shape[1]
    return replace(image, pixels=np.ascontiguousarray(pixels)), scale
