"""A layer's output as one vector an image, and which images' vectors are near. Pure functions.

A map says where something is, an embedding that it is there: pooling over the places is what takes the where away.
"""

from __future__ import annotations

from math import prod
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..answers.reading import plain
from ..errors import LayerError
from ..network.records import Axes

Pooling = Literal["avg", "max", "gem", "cls", "none"]

GEM_POWER = 3.0
GEM_FLOOR = 1e-6
_BLOCK_VALUES = 1 << 22
"""How many similarities are held at once: 32 MiB."""


def pool(output: Tensor, axes: Axes, how: Pooling = "avg") -> Tensor:
    """An output with a batch axis as `[B, D]`: one vector an image, on the CPU, in float32 (float64 stays).

    - `avg`, `max`: the mean (summed in float64) or the maximum of each channel over its places: height, width and
      time, or the tokens of the grid, the class token left out.
    - `gem`: the generalised mean (mean xᵖ)^(1/p) with p = 3 over the same places, x at least 1e-6 (Radenović, Tolias
      and Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation", 2018, equation 3). Between `avg` and `max`.
    - `cls`: the class token, the first of those before the grid.
    - `none`: all values, class token included, in the output's own order of axes.

    A vector stays as it is whatever `how` says, but for `cls`. Axes of unknown meaning count as channels.
    Raises LayerError where there is no class token, or no axis for the batch alone.

    >>> output = torch.tensor([[[[0.0, 2.0], [4.0, 2.0]], [[1.0, 1.0], [1.0, 1.0]]]])  # [1, 2, 2, 2]
    >>> axes = Axes(("B", "C", "H", "W"), "said")
    >>> {how: pool(output, axes, how).tolist() for how in ("avg", "max")}
    {'avg': [[2.0, 1.0]], 'max': [[4.0, 1.0]]}
    """
    names = list(axes.names)
    if names.count("B") != 1:
        raise LayerError(
            f"its output, {' '.join(names) or 'a single number'}, has no axis for the images alone.",
            hint="`fmap layers` lists each layer's axes: choose one with a B among them.",
        )
    values = plain(output).detach().movedim(names.index("B"), 0)  # [B, ...]
    names.remove("B")
    names.insert(0, "B")
    if how == "cls":
        if "N" not in names or not axes.prefix:
            raise LayerError(
                f"its output, {' '.join(axes.names)}, has no class token.",
                hint="Pool with --pool avg, max or gem, or choose a layer whose tokens have one.",
            )
        return _finished(values.select(names.index("N"), 0))
    places = [at for at, name in enumerate(names) if name in ("T", "H", "W")]
    if "N" in names:
        tokens = names.index("N")
        places.append(tokens)
        if how != "none":
            cells = prod(axes.grid) if axes.grid is not None else values.shape[tokens] - axes.prefix
            values = values.narrow(tokens, axes.prefix, cells)
    if how == "none" or not places:
        return _finished(values)
    channels = [at for at in range(1, values.ndim) if at not in places]
    values = values.permute(0, *channels, *places)
    values = values.flatten(1 + len(channels)).flatten(1, -2) if channels else values.flatten(1)[:, None]  # [B, C, n]
    if how == "max":
        return _finished(values.amax(2))
    wide = values.double()
    if how == "gem":
        return _finished(wide.clamp(min=GEM_FLOOR).pow(GEM_POWER).mean(2).pow(1 / GEM_POWER), like=values)
    return _finished(wide.mean(2), like=values)


def is_vector(axes: Axes) -> bool:
    """Whether there is nothing to pool: a layer with neither places nor tokens."""
    return not {"H", "W", "T", "N"} & set(axes.names)


def _finished(values: Tensor, like: Tensor | None = None) -> Tensor:
    dtype = torch.float64 if (like if like is not None else values).dtype == torch.float64 else torch.float32
    return values.flatten(1).to("cpu", dtype, copy=True)


# -- nearness ----------------------------------------------------------------------------------------------------


def norms(vectors: np.ndarray) -> np.ndarray:
    """The length of each row, in float64; NaN or Inf where the row holds one.

    (Not with BLAS: after a long product its threads go on waiting busily, and the network's next pass takes twice as
    long meanwhile.)

    >>> norms(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)).tolist()
    [5.0, 0.0]
    """
    with np.errstate(over="ignore"):
        return np.array([np.sqrt(np.square(row, dtype=np.float64).sum()) for row in vectors])


def nearest(vectors: np.ndarray, count: int) -> list[list[tuple[int, float]]]:
    """For each row the `count` nearest other rows, (index, cosine similarity), nearest first; float64.

    A row of zeros, or with a value that is not finite, has no direction: it has no neighbours and is nobody's.
    Where similarities are equal the earlier row comes first.

    >>> nearest(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0], [0.0, 0.0]]), 1)
    [[(2, 1.0)], [(0, 0.0)], [(0, 1.0)], []]
    """
    lengths = norms(vectors)
    known = np.flatnonzero(np.isfinite(lengths) & (lengths > 0))
    units = vectors[known].astype(np.float64)
    units /= lengths[known, None]
    count = min(count, len(known) - 1)
    found: list[list[tuple[int, float]]] = [[] for _ in vectors]
    if count < 1:
        return found
    step = max(1, _BLOCK_VALUES // len(known))
    for start in range(0, len(known), step):
        alike = units[start : start + step] @ units.T  # [step, n]
        rows = np.arange(len(alike))
        alike[rows, start + rows] = -np.inf  # an image is no neighbour of its own
        for row, order in zip(rows, _largest(alike, count), strict=True):
            pairs = [(int(known[at]), float(np.clip(alike[row, at], -1, 1))) for at in order]
            found[known[start + row]] = pairs
    return found


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The indices of each row's `count` largest values, largest first, of equal ones the first."""
    if count < values.shape[1]:
        least = np.partition(values, -count, axis=1)[:, -count]  # the smallest that belongs
        chosen = [_first(row, limit, count) for row, limit in zip(values, least, strict=True)]
    else:
        chosen = [np.arange(values.shape[1]) for _ in values]
    return np.array([each[np.argsort(-row[each], kind="stable")] for row, each in zip(values, chosen, strict=True)])


def _first(row: np.ndarray, limit: float, count: int) -> np.ndarray:
    """`count` indices of values of at least `limit`: all above it, and the first that equal it."""
    above = np.flatnonzero(row > limit)
    equal = np.flatnonzero(row == limit)[: count - len(above)]
    return np.sort(np.concatenate([above, equal]))
