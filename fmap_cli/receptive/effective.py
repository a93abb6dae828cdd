"""The effective receptive field: how much each pixel of the input really moves a unit.

Luo, Li, Urtasun and Zemel, "Understanding the Effective Receptive Field in Deep Convolutional Neural Networks" (NeurIPS
2016), section 2: the gradient of a unit with respect to the input, averaged over inputs. It is Gaussian in shape and
fills a small part of the theoretical field, about the square root of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SHARES = (0.5, 0.9, 0.99)


def gradient_energy(unit: Tensor, images: Sequence[Tensor]) -> np.ndarray | None:
    """The absolute gradient of one value with respect to images `[1, C, ..., H, W]`, as `[H, W]` in float64.

    It is summed over channels and frames, and over the images where there are several. None where torch knows of
    no way from them to the value.
    """
    if not unit.requires_grad:
        return None
    gradients = torch.autograd.grad(unit, images, allow_unused=True)
    if all(each is None for each in gradients):
        return None
    energy = np.zeros(tuple(images[0].shape[-2:]))
    for each in gradients:
        if each is not None:
            energy += each.detach().abs().double().flatten(0, -3).sum(0).cpu().numpy()  # [H, W]
    return energy


def holding_boxes(
    energy: np.ndarray, centre: tuple[float, float], proportions: tuple[float, float]
) -> tuple[tuple[float, int, int], ...]:
    """(share, height, width) of the smallest boxes around `centre` that hold 50, 90 and 99 % of `energy` `[H, W]`.

    Their height is to their width as `proportions`; rows and columns beyond the picture count where the box reaches
    over its border. Empty where there is no energy.

    >>> energy = np.zeros((9, 9))
    >>> energy[4, 4], energy[4, 6] = 0.6, 0.4
    >>> holding_boxes(energy, (4.0, 4.0), (1.0, 1.0))
    ((0.5, 1, 1), (0.9, 5, 5), (0.99, 5, 5))
    """
    total = energy.sum()
    if not total > 0:
        return ()
    rows, columns = (np.arange(length) for length in energy.shape)
    down = np.abs(rows - centre[0]) / proportions[0]
    across = np.abs(columns - centre[1]) / proportions[1]
    distance = np.maximum(down[:, None], across[None]).ravel()
    order = np.argsort(distance, kind="stable")
    held = np.cumsum(energy.ravel()[order]) / total
    boxes = []
    for share in SHARES:
        far = distance[order][min(int(np.searchsorted(held, share - 1e-12)), len(held) - 1)]
        sides = [
            int(np.floor(middle + far * unit + 1e-9) - np.ceil(middle - far * unit - 1e-9)) + 1
            for middle, unit in zip(centre, proportions, strict=True)
        ]
        boxes.append((share, max(sides[0], 1), max(sides[1], 1)))
    return tuple(boxes)
