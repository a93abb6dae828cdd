"""One layer of one image by itself, as one picture."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ..drawing.grid import NAN_RGB
from .colours import Ends, clipped_ends, component_colours
from .components import fit_components
from .records import CLIPPED


@contextmanager
def _one_thread() -> Iterator[None]:
    """Keeps torch to one thread: on matrices as small as these a second one saves nothing, and where other programs use
    the cores it waits for longer than the work takes (measured: thirty times as long).
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def component_picture(maps: np.ndarray) -> tuple[np.ndarray, tuple[float, ...]] | None:
    """The principal components of maps `[C, T, H, W]` as red, green and blue, uint8 `[T, H, W, 3]`, and their shares
    of the variance: the colours of `fmap show --reduce pca` of that layer and image alone. None where there are no
    channels to put together, no places, no finite unit, or all units are the same.

    >>> ramp = np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 1, 2, 3)
    >>> picture, shares = component_picture(np.concatenate([ramp, 2 * ramp]))
    >>> picture.shape, [round(each, 3) for each in shares]
    ((1, 2, 3, 3), [1.0])
    """
    with _one_thread():
        units = torch.from_numpy(maps).float().flatten(1).T.contiguous()  # [N, C]
        finite = torch.isfinite(units).all(1)
        if min(units.shape) < 2 or not finite.any():
            return None
        fit = fit_components(units if finite.all() else units[finite])
        if not len(fit.directions):
            return None
        scores = fit.scores(units)
        scores[~finite] = float("nan")
    values = scores.T.contiguous().numpy()  # [K, N]
    colours = component_colours(values, Ends(*clipped_ends(values, CLIPPED), "", CLIPPED))
    colours[~finite.numpy()] = NAN_RGB
    return colours.reshape(*maps.shape[1:], 3), tuple((fit.variances / fit.total).tolist())
