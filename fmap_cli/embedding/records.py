"""Vectors of images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..models.records import NetworkInput, Preprocessing
from ..network.records import Axes

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Embeddings:
    """One vector for each of the `images` (their names), out of one layer.

    `vectors` is `[N, D]` float32, or float64 from a network in float64; `norms` their lengths in float64. `shape` is
    the layer's output for one image, `enters` the classifier that reads it where that is why it was chosen, `pooling`
    `none` for a layer that is a vector already. `neighbours` holds for each image the nearest others as (index, cosine
    similarity), nearest first; None where not asked for. `axes` are the layer's.
    """

    model: str
    weights: str
    layer: str
    enters: str | None
    shape: tuple[int, ...]
    pooling: str
    images: tuple[str, ...]
    vectors: np.ndarray
    norms: np.ndarray
    neighbours: tuple[tuple[tuple[int, float], ...], ...] | None = None
    takes: NetworkInput | None = None
    axes: Axes | None = None
    preprocessing: Preprocessing | None = None
