"""What excites each channel of a page's layers: saved dossiers, checked and written for the page's scripts."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import units
from ..documents import finite, in_utf8
from ..top.cutting import Patches
from ..top.dossiers import fires, frame_of_unit, selectivity
from ..top.records import Dossiers, LayerDossiers

if TYPE_CHECKING:
    from ..session.opening import Session
    from .records import PageLayer

_LISTED = 16


def dossiers_for(session: Session, paths: Sequence[Path]) -> Dossiers:
    """The dossiers of these files. Raises FmapError where they are of another network, or of other input."""
    from ..running.alike import DOSSIERS_OF_THIS, check_origins
    from ..running.going import origin_of
    from ..top.api import load_dossiers

    found = load_dossiers(paths)
    origin = origin_of(session, digest=bool(found.origin.digest))
    check_origins("the page", origin, str(paths[0]), found.origin, DOSSIERS_OF_THIS)
    return found


def redacted_dossiers(found: Dossiers) -> Dossiers:
    """Without patches and names of images; classes are names of folders and have numbers in their place."""
    return replace(
        found,
        sources=(),
        failures=(),
        names=dict.fromkeys(found.names, ""),
        patches=Patches.none(),
        layers=tuple(_unnamed(each) for each in found.layers),
    )


def _unnamed(layer: LayerDossiers) -> LayerDossiers:
    classes = layer.found.classes
    names = tuple(f"class {number}" for number in range(1, len(classes.names) + 1))
    return replace(layer, found=replace(layer.found, classes=replace(classes, names=names)))


def dossiers_of_layer(found: Dossiers | None, layer: PageLayer) -> LayerDossiers | None:
    """Those of a layer of the page."""
    for each in found.layers if found is not None else ():
        if each.layer.name == layer.layer.name and int(each.channels.max(initial=0)) < layer.count:
            return each
    return None


def sort_columns(found: Dossiers, layer: LayerDossiers, count: int) -> list[np.ndarray]:
    """Selectivity and firing rate of `count` channels; NaN where a channel has no dossier."""
    columns = []
    for numbers in (selectivity(found, layer), fires(layer.found)):
        column = np.full(count, np.nan)
        column[layer.channels] = numbers
        columns.append(column)
    return columns


def written_dossiers(found: Dossiers, layer: LayerDossiers) -> bytes:
    """The layer's dossiers, deflated: the length of a JSON text (uint32), the text, and the patches' pixels, each
    picture once.
    """
    pictures: dict[tuple[object, ...], int] = {}  # by what they show: a field of an image, or all of it
    shapes: list[list[int]] = []
    pixels: list[bytes] = []
    rows = []
    for channel in (int(each) for each in layer.channels):
        one = found.dossier(layer.layer.name, channel)
        listed = []
        for unit in one.units:
            at = -1
            if unit.patch is not None and not one.never_fires:
                shown = (None, None) if unit.patch.whole else (unit.patch.rows, unit.patch.columns)
                at = pictures.setdefault((unit.number, *shown), len(shapes))
                if at == len(shapes):
                    shapes.append([int(each) for each in unit.patch.pixels.shape[:2]])
                    pixels.append(np.ascontiguousarray(unit.patch.pixels).tobytes())
            name = in_utf8(units.one_line(Path(unit.image).name))
            frame = None if at < 0 else frame_of_unit(layer, unit)
            listed.append([unit.kind, unit.rank, finite(unit.value), name, list(unit.place), at, frame])
        rows.append(
            {
                "channel": channel,
                "images": one.images,
                "fires": one.fires,
                "selectivity": one.selectivity,
                "max": None if one.max is None else finite(one.max),
                "quantiles": [finite(each) for each in one.quantiles],
                "classes": [[in_utf8(units.one_line(each.name)), finite(each.mean)] for each in one.classes],
                "units": listed,
            }
        )
    text = json.dumps({"shapes": shapes, "rows": rows}, separators=(",", ":")).encode()
    return zlib.compress(b"".join([len(text).to_bytes(4, "little"), text, *pixels]), 6)


def listed_dossiers(found: Dossiers | None, layers: Sequence[PageLayer]) -> list[dict[str, Any]]:
    """For who reads without scripts: the most selective channels of each layer, in numbers."""
    listed = []
    for layer in layers:
        one = dossiers_of_layer(found, layer)
        if found is None or one is None:
            continue
        rows = []
        for channel in found.order(one.layer.name, top=_LISTED):
            dossier = found.dossier(one.layer.name, channel)
            numbers = [
                "–" if dossier.fires is None else units.percent(dossier.fires),
                "–" if dossier.selectivity is None else units.number(dossier.selectivity, 3),
                "–" if dossier.max is None else units.number(dossier.max, 4),
            ]
            rows.append((channel, numbers))
        listed.append({"name": in_utf8(units.one_line(one.layer.name)), "rows": rows})
    return listed


def missing_layers(found: Dossiers, layers: Sequence[PageLayer]) -> list[str]:
    """The layers that have dossiers and are not on the page."""
    shown = {each.layer.name for layer in layers if (each := dossiers_of_layer(found, layer)) is not None}
    return [each.layer.name for each in found.layers if each.layer.name not in shown]
