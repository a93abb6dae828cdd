"""An answer that is the same whatever the image, and since which layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fmap_cli.statistics.records import Finding

from .seen import Seen, counted

_SAYS_SO = ("dead-channels", "constant-channels", "nearly-zero")
"""Findings that have the cause, to which the consequence is added."""


def with_consequence(told: Iterable[Finding], layers: Sequence[Seen], images: int) -> list[Finding]:
    """The findings, and where the answer is the same for all images an error that says so, at the layer it begins."""
    told = list(told)
    cause = _where_lost(layers) if images > 1 else None
    if cause is None:
        return told
    noun = cause.noun
    among = counted(images, noun)
    what = f"The answer is the same for all {among}: it does not depend on the {noun}, from {cause.name} on."
    for at, found in enumerate(told):
        if found.layer == cause.name and found.check in _SAYS_SO:
            told[at] = replace(found, severity="error", what=f"{found.what} {what}")
            return told
    advice = (
        f"Look at this layer's weights and bias, and at what it reads: the {noun}s differ, and its output does not."
    )
    return [*told, cause.told("constant-answer", "error", f"{what[0].lower()}{what[1:]}", advice)]


def _where_lost(layers: Sequence[Seen]) -> Seen | None:
    """The first layer of which no value differs from image to image, of a network whose answer does not; else None.

    The answer is what the last layer puts out, and the last one with weights. A layer's values are the same for all
    images where each channel holds one value over all of them. That proves something only where the images differ:
    so the first such layer must be one that would vary over the places of a single image, or come after a vector
    that does vary.
    """
    real = [each for each in layers if each.is_real and not each.is_input]
    weighted = [each for each in real if each.kind in ("conv", "linear")]
    if not weighted or not all(_is_lost(each) for each in (weighted[-1], real[-1])):
        return None
    first = next(each for each in real if _is_lost(each) and (each.acts or each.kind != "op"))
    before = real[: real.index(first)]
    differ = first.places > 1 or any(each.places == 1 and not each.still.all() for each in before)
    inputs = [each for each in layers if each.is_input and each.values]
    blank = bool(inputs) and all(each.still.all() for each in inputs)
    return first if differ and not blank else None


def _is_lost(layer: Seen) -> bool:
    return layer.images > 1 and layer.width > 0 and bool(layer.still.all())
