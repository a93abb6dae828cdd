"""Several dossiers of one network as one: those of one run over all their images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import FmapError
from ..running.alike import DOSSIERS_ALIKE, check_origins, joined_origin
from .excitations import Excitations
from .records import Dossiers, LayerDossiers
from .shown import units_shown


def merge_dossiers(runs: Sequence[tuple[str, Dossiers]]) -> Dossiers:
    """All of them, each with a name for messages, in their order: the images of the second follow those of the first.

    Raises FmapError for dossiers that are unlike, and for those given twice.
    """
    digests: dict[object, str] = {}
    for name, run in runs:
        content = (run.sources, run.images, tuple(sorted(run.names.items())), *map(_content, run.layers))
        if run.images and content in digests:
            raise FmapError(
                f"{digests[content]} and {name} are the same dossiers: their images would count twice.",
                hint="Give each once.",
            )
        digests[content] = name
    whole = runs[0][1]
    for name, run in runs[1:]:
        whole = joined((runs[0][0], whole), (name, run), offset=whole.entries)
    if len(runs) == 1:
        return whole
    return replace(whole, patches=whole.patches.of(*units_shown(whole.layers)))  # once: it sorts all units


def joined(a: tuple[str, Dossiers], b: tuple[str, Dossiers], *, offset: int) -> Dossiers:
    """Both as one; the second's images are numbered from `offset` on."""
    (first, one), (second, other) = a, b
    check_origins(first, one.origin, second, other.origin, DOSSIERS_ALIKE)
    _check_alike(first, one, second, other)
    theirs = {each.layer.name: each for each in other.layers}
    names = [each.layer.name for each in one.layers]
    together: dict[tuple[int, int], Excitations] = {}  # layers of one tensor have one record, here and there
    layers = [_joined(each, theirs.get(each.layer.name), offset, together) for each in one.layers]
    layers += [_joined(each, each, offset, together) for each in other.layers if each.layer.name not in names]
    named = set().union(*(each.found.named() for each in layers))
    all_names = {**one.names, **{number + offset: name for number, name in other.names.items()}}
    return replace(
        one,
        origin=joined_origin(one.origin, other.origin),
        sources=one.sources + other.sources,
        images=one.images + other.images,
        entries=one.entries + other.entries,
        layers=tuple(layers),
        failures=one.failures + other.failures,
        names={number: all_names[number] for number in sorted(named)},
        patches=one.patches.joined(other.patches, offset).of_images(named),
        progress=None,
    )


def _content(layer: LayerDossiers) -> tuple[object, ...]:
    found = layer.found
    return layer.layer.name, found.spread.value.tobytes(), found.strongest.value.tobytes(), found.fired.tobytes()


def _joined(
    layer: LayerDossiers, other: LayerDossiers | None, offset: int, together: dict[tuple[int, int], Excitations]
) -> LayerDossiers:
    """The layer with the other's record, whose images are numbered from `offset` on; with itself only that."""
    if other is None:
        return layer
    key = id(layer.found), id(other.found)
    if key not in together:
        found = other.found.renumbered(offset) if offset else other.found
        together[key] = found if other is layer else layer.found.joined(found)
    return replace(layer, found=together[key])


def _check_alike(first: str, one: Dossiers, second: str, other: Dossiers) -> None:
    for what, ours, theirs in (
        ("--strongest", one.strongest, other.strongest),
        ("--per-image", one.per_image, other.per_image),
        ("--by-class", one.by_class, other.by_class),
    ):
        if ours != theirs:
            raise FmapError(
                f"{first} and {second} were made with another {what}: {ours} and {theirs}.",
                hint="Make both with the same options.",
            )
    if not (one.images and other.images):
        return
    ours_by_name = {each.layer.name: each for each in one.layers}
    theirs_by_name = {each.layer.name: each for each in other.layers}
    for name in [*ours_by_name, *theirs_by_name]:
        if name not in ours_by_name or name not in theirs_by_name:
            has, lacks = (first, second) if name in ours_by_name else (second, first)
            raise FmapError(
                f"{first} and {second} are of different layers: {name} is in {has} and not in {lacks}.",
                hint=DOSSIERS_ALIKE,
            )
        if not np.array_equal(ours_by_name[name].channels, theirs_by_name[name].channels):
            raise FmapError(f"{first} and {second} are of different channels of {name}.", hint=DOSSIERS_ALIKE)
