"""Which units dossiers may show: those whose patches are kept."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .cutting import different_rows
from .excitations import Excitations
from .records import LayerDossiers


def units_shown(layers: Sequence[LayerDossiers]) -> tuple[dict[str, int], np.ndarray]:
    """The layers' numbers, and the units that may be shown, each once: int32 `[U, 6]`, in the order of layer, channel,
    image and place.
    """
    numbers: dict[str, int] = {}
    known: dict[int, int] = {}
    units = []
    for number, layer in enumerate(layers):
        numbers[layer.layer.name] = known.setdefault(id(layer.found), number)
        if numbers[layer.layer.name] < number:  # one of the tensors that an earlier layer puts out
            continue
        of_layer = []
        for image, place in _kept(layer.found):
            row, at = np.nonzero(image >= 0)
            columns = (np.full(len(row), number), layer.channels[row], image[row, at], *place[row, at].T)
            of_layer.append(np.stack(columns, axis=1).astype(np.int32))
        units.append(different_rows(np.concatenate(of_layer))[0])
    return numbers, np.concatenate(units) if units else np.zeros((0, 6), np.int32)


def _kept(found: Excitations) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The images `[C, N]`, -1 where there is none, and places `[C, N, 3]` of the units that may be shown: also after
    these dossiers were merged with others, when other images may be examples of the quantiles.
    """
    for picks in (found.strongest, found.weakest):
        yield picks.image, picks.place
    sample = found.pictured
    there = np.where(np.isnan(sample.value), -1, sample.image[:, None])
    yield there.T, sample.place.transpose(1, 0, 2)
