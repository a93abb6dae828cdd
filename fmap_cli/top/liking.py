"""`fmap top --like`: what each channel's value is at one place of one image, beside its maxima over many."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from ..errors import LayerError
from ..inputs.records import ImageInput
from ..network.capture import Sink
from ..network.records import LayerRef
from ..network.shapes import split_layout
from ..running.alike import DOSSIERS_OF_THIS, check_origins
from ..running.going import origin_of
from ..session.axes import axes_for
from ..session.opening import Session, read_image
from ..session.passes import run
from .records import Dossiers, Like
from .watching import maps_of


@dataclass(frozen=True, slots=True)
class Question:
    """A place of an image, row and column of the layers' maps, and the layout as `fmap top` takes it."""

    image: str
    at: Sequence[int]
    layout: str | None

    def answer(self, session: Session, found: Dossiers) -> Dossiers:
        """The dossiers, with each channel's value there. Raises ImageError, and what `liked` raises."""
        of_arrays, of_outputs = split_layout(self.layout)
        image = read_image(session, self.image, lambda _: None, of_arrays)
        return liked(session, found, image, self.at, of_outputs)


def liked(session: Session, found: Dossiers, image: ImageInput, place: Sequence[int], layout: str | None) -> Dossiers:
    """The dossiers with every channel's value at this row and column of its layer's map for this image.

    Raises LayerError where a map has no such place, and FmapError where the dossiers are of another network.
    """
    this = origin_of(session, digest=bool(found.origin.digest))
    check_origins("the dossiers", found.origin, "this network", this, DOSSIERS_OF_THIS)
    row, column = place
    wanted = {each.layer.name: each for each in found.layers}
    values: dict[str, np.ndarray] = {}

    def watch(layer: LayerRef) -> Sink | None:
        known = wanted.get(layer.name)
        if known is None:
            return None

        def sink(output: Tensor) -> None:
            axes = axes_for(session, image, layout).of(layer, output.shape)
            maps = maps_of(output, axes, 1)[0, :, 0]
            rows, columns = maps.shape[1:]
            if row >= rows or column >= columns:
                raise LayerError(
                    f"there is no place {row},{column} in {layer.name}: its map has {rows} × {columns} places.",
                    hint=f"--at takes a row from 0 to {rows - 1} and a column from 0 to {columns - 1} here.",
                )
            values[layer.name] = maps[:, row, column].float().cpu().numpy()[known.channels]

        return sink

    run(session, image, watch)
    layers = tuple(replace(each, here=values[each.layer.name]) for each in found.layers)
    return replace(found, layers=layers, like=Like(image.name, (row, column), image.pixels))
