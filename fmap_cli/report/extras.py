"""What other subjects find of a pass, where it is asked for: evidence, attention, channels' effects on the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .. import units
from ..arguments import nobody
from ..drawing.overlay import overlay
from ..errors import FmapError
from ..inputs.records import ImageInput
from ..session.opening import Session
from .records import Extra, Pass

Wanted = Literal["evidence", "attention", "effect"]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Further:
    """What is added to the passes of a report. What a network has not (a CNN no attention) is said, and left out."""

    wanted: Sequence[Wanted]
    say: Say

    def added(self, session: Session, image: ImageInput, one: Pass) -> Pass:
        found = []
        for name, make in (("evidence", _evidence), ("attention", _attention)):
            if name in self.wanted:
                try:
                    found.append(make(session, image, one))
                except FmapError as error:
                    self.say(f"no {name} on the page: {error.message}")
        if "effect" in self.wanted:
            one = self._with_effects(session, image, one)
        return replace(one, extras=tuple(found))

    def _with_effects(self, session: Session, image: ImageInput, one: Pass) -> Pass:
        """The pass whose maps know what each of their channels does to the answer, estimated by its gradient."""
        from ..effect.estimates import estimate_effects

        maps = {each.layer.name: each.axes for each in one.layers if each.is_map}
        try:
            found = estimate_effects(session, image, maps)
        except FmapError as error:
            self.say(f"no effect on the page: {error.message}")
            return one
        layers = []
        for layer in one.layers:
            effects = found.get(layer.layer.name)
            is_known = effects is not None and len(effects) == layer.count
            layers.append(replace(layer, effect=effects) if is_known else layer)
        return replace(one, layers=tuple(layers))


def _evidence(session: Session, image: ImageInput, one: Pass) -> Extra:
    import torch

    from ..cam.evidence import evidence
    from ..cam.figure import over_photo

    with torch.inference_mode(False):
        found = evidence(session, image, (), None, None, None, positive=False, steps=0, layout=None, advanced=nobody)
    picture = over_photo(found, found.image.pixels.shape[:2])
    words = f"warm where the picture speaks for it, cold where against; {found.method} at {found.layer.name}."
    return Extra(f"Evidence for {units.one_line(found.target.name)}", words, picture)


def _attention(session: Session, image: ImageInput, one: Pass) -> Extra:
    from ..attention.gather import find_attention

    (found,) = find_attention(session, image, (), at=None, rollout=False).layers[-1:]
    if found.maps is None:
        raise FmapError(f"the attention of {found.name} has no places: {found.unplaced or 'its keys are no grid'}.")
    values = found.maps.mean(0)[0].astype(np.float32)  # [rows, columns], over the heads
    pixels = one.image.pixels
    ends = np.array([0.0]), np.array([max(float(values.max()), 1e-30)])
    picture = overlay(values[None], *ends, "viridis", pixels, (pixels.shape[0], pixels.shape[1]))[0]
    words = f"the mean over the {found.heads} heads of {found.name}, from {found.query.words}: yellow has most weight."
    return Extra("Attention", words, picture)
