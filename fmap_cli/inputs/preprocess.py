"""Resizing, cropping and normalising, by torchvision's own functions on the picture itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ImageError
from ..models.records import Preprocessing
from .framing import Framing
from .limits import height_width

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .records import Picture


def preprocess(
    picture: Picture, preprocessing: Preprocessing, label: str
) -> tuple[np.ndarray, torch.Tensor, Framing, list[str]]:
    """Pixels, tensor, framing and notes: resize, centre crop, crop to a multiple, 0..1, normalise."""
    from ..frameworks import load_torchvision

    mean = _per_channel(preprocessing.mean, preprocessing.channels, "mean")
    std = _per_channel(preprocessing.std, preprocessing.channels, "std")
    if 0 in std:
        raise ImageError(f"std contains a zero: {std}; values are divided by std.", hint="Give another --std.")

    load_torchvision()
    import torch
    from torchvision.transforms import functional as F

    cut, framing = _resize_and_crop(picture, preprocessing, label)
    values = F.convert_image_dtype(cut, torch.float32)
    pixels, notes = _for_the_eye(cut)
    return pixels, F.normalize(values, mean=mean, std=std), framing, notes


def _resize_and_crop(picture: Picture, preprocessing: Preprocessing, label: str) -> tuple[torch.Tensor, Framing]:
    """The crop the network sees as `[C, H, W]`, uint8 0..255 or float32 0..1, and where it comes from."""
    import numpy as np
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms import functional as F

    work: Any = picture
    if isinstance(picture, np.ndarray):
        # A copy: torch takes neither read-only memory nor strides that run backwards.
        work = torch.from_numpy(np.array(picture, order="C"))
    elif not preprocessing.antialias:
        work = F.pil_to_tensor(work)  # Pillow's own resize always antialiases
    resize = preprocessing.resize
    if resize is not None:
        size = [resize] if isinstance(resize, int) else list(resize)
        mode = InterpolationMode(preprocessing.interpolation)
        work = F.resize(work, size, interpolation=mode, antialias=preprocessing.antialias)
    _, height, width = F.get_dimensions(work)
    resized = height, width
    if preprocessing.crop is not None:
        height, width = preprocessing.crop
        work = F.center_crop(work, [height, width])
    multiple = preprocessing.multiple_of
    if multiple > 1:
        if min(height, width) < multiple:
            raise ImageError(
                f"{label} is {height} × {width}; the network takes multiples of {multiple}.",
                hint="Give a larger picture, or resize it with --size.",
            )
        height, width = height - height % multiple, width - width % multiple
        work = F.center_crop(work, [height, width])
    cut = work if isinstance(work, torch.Tensor) else F.pil_to_tensor(work)
    # Bicubic weights overshoot; a picture's 8 bits end there, and so does a float's 0..1.
    framing = Framing(height_width(picture), resized, (height, width))
    return (cut if cut.dtype == torch.uint8 else cut.clamp(0, 1)), framing


def _for_the_eye(cut: torch.Tensor) -> tuple[np.ndarray, list[str]]:
    """`[H, W, 3]` uint8 of a crop `[C, H, W]`; one channel is repeated, more than 3 are averaged, which is said."""
    import numpy as np
    import torch

    notes = []
    eight_bit = cut if cut.dtype == torch.uint8 else (cut.double() * 255).round().to(torch.uint8)
    if len(cut) not in (1, 3):
        eight_bit = (cut.double().mean(dim=0, keepdim=True) * 255).round().to(torch.uint8)  # [1, H, W]
        notes.append(f"the picture shows the mean over {len(cut)} channels as gray")
    pixels = eight_bit.expand(3, -1, -1).permute(1, 2, 0).numpy()  # [H, W, 3]
    return np.ascontiguousarray(pixels), notes


def _per_channel(values: tuple[float, ...], channels: int, what: str) -> list[float]:
    """One value a channel, from as many, from one for all, or for a gray network RGB's three averaged."""
    if len(values) == channels:
        return list(values)
    if len(values) == 1:
        return list(values) * channels
    if channels == 1 and len(values) == 3:
        return [sum(values) / 3]
    raise ImageError(
        f"{what} has {len(values)} values; the network takes {channels} channels.",
        hint=f"Give one value or {channels} with --{what}.",
    )
