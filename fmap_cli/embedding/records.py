"""Vectors of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from ..errors import FmapError
from ..models.records import Origin
from ..network.records import Axes
from ..results import Result

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True, repr=False)
class Embeddings(Result):
    """One vector for each of the `images` (their names), out of one layer.

    `vectors` is `[N, D]` float32, or float64 from a network in float64; `norms` their lengths in float64. `shape` is
    the layer's output for one image, `enters` the classifier that reads it where that is why it was chosen, `pooling`
    `none` for a layer that is a vector already. `neighbours` holds for each image the nearest others as (index, cosine
    similarity), nearest first; None where not asked for. `axes` are the layer's. `failures` are the images that gave no
    vector, by name, each with the reason.
    """

    origin: Origin
    layer: str
    enters: str | None
    shape: tuple[int, ...]
    pooling: str
    images: tuple[str, ...]
    vectors: np.ndarray
    norms: np.ndarray
    neighbours: tuple[tuple[tuple[int, float], ...], ...] | None = None
    axes: Axes | None = None
    failures: tuple[tuple[str, FmapError], ...] = ()

    FILES: ClassVar[tuple[str, ...]] = (".npy", ".npz", ".csv", ".safetensors", ".json")

    def document(self, files: Sequence[Path] = ()) -> dict[str, Any]:
        from .document import embeddings_document

        return embeddings_document(self, files)

    def print(self, *, files: Sequence[Path] = ()) -> None:
        from .table import print_embeddings

        print_embeddings(self, [str(file) for file in files])

    def _write(self, path: Path, suffix: str) -> None:
        """The vectors and their names, or the document."""
        if suffix == ".json":
            super(Embeddings, self)._write(path, suffix)
            return
        from .document import save_embeddings

        save_embeddings(path, self)
