"""The pictures that a pass was given, for the eye: one, those of a pair, or all frames of a clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..inputs.records import ImageInput
from ..models.records import Preprocessing
from ..session.opening import Session
from .records import Picture


def pictures_of(session: Session, image: ImageInput) -> tuple[Picture, ...]:
    """All pictures among what the network was given, in its order; frames as it saw them."""
    if session.model.input_kind == "video" and image.more:
        frames = _frames([image.tensor, *image.more], None if image.framing is None else session.model.feeding)
        return tuple(Picture(f"frame {at}", pixels) for at, pixels in enumerate(frames))
    named = [
        (at, each)
        for at, each in enumerate(image.inputs)
        if each.is_picture and each.pixels.shape == image.pixels.shape
    ]
    if len(named) < 2:
        return (Picture(Path(image.shown_name).name or image.name, image.pixels),)
    return tuple(
        Picture(Path(image.sources[at] if at < len(image.sources) else each.name).name, each.pixels)
        for at, each in named
    )


def _frames(tensors: list[Tensor], own: Preprocessing | None) -> list[np.ndarray]:
    """Frames `[C, H, W]` as `[H, W, 3]` uint8; of arrays as they were given (`own` None) in gray, from the clip's
    least value to its largest.
    """
    clip = torch.stack(tensors).float()  # [T, C, H, W]
    if own is not None and clip.shape[1] == len(own.mean):
        mean, std = (torch.tensor(each)[:, None, None] for each in (own.mean, own.std))
        clip = (clip * std + mean).clamp(0, 1)
    else:
        clip = clip.mean(1, keepdim=True)
        clip = (clip - clip.min()) / (clip.max() - clip.min()).clamp(min=1e-30)
    pixels = (clip * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()  # [T, H, W, C]
    return [np.ascontiguousarray(np.broadcast_to(each, (*each.shape[:2], 3))) for each in pixels]
