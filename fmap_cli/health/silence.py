"""Silent channels in words: how many, since where, why, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fmap_cli.statistics.records import Finding
from fmap_cli.units import count, number, percent

from .norms import lies_around
from .seen import Seen, Severity, counted
from .thresholds import Thresholds


@dataclass(frozen=True, slots=True)
class Silence:
    """Channels of a layer that are `silent` (dead or constant), each mask bool `[C]`.

    `fresh` begin here. Of these `shut` are constant in the layer `before`, `sure` by its weights whatever the image,
    and `offset` vary there, but far on one side of 0. `since` counts the others by the layer at which they were told,
    and whether they were 0 there.
    """

    layer: Seen
    before: Seen | None
    silent: np.ndarray
    fresh: np.ndarray
    shut: np.ndarray
    sure: np.ndarray
    offset: np.ndarray
    since: Mapping[tuple[str, bool], int]

    @property
    def part(self) -> int:
        return int(self.silent.sum())

    @property
    def new(self) -> int:
        return int(self.fresh.sum())

    @property
    def is_explained(self) -> bool:
        """Whether no image could change what is said of those that begin here."""
        return bool((self.fresh == (self.sure | self.offset)).all())


def is_of_weights(layer: Seen) -> bool:
    """Whether a channel that holds one value does so by its weights, and not because nothing reached it today.

    A filter of zeros shows in one image. A bound that clips all of a channel, or one value an image, is the images'.
    """
    return layer.kind in ("conv", "linear", "norm") and layer.places > 1


def _reads_unseen(found: Silence) -> bool:
    """Whether a layer that takes each channel from the same one before it follows a layer that it hardly reads.

    Of some layers of a network alone a depthwise convolution follows another convolution, a normalisation another one:
    what stands between them may have fallen silent.
    """
    layer, before = found.layer, found.before
    if layer.kind != "norm" and not layer.is_depthwise:
        return False
    return before is None or before.kind == layer.kind or before.width != layer.width


# -- dead channels -----------------------------------------------------------------------------------------------

_DEAD_ADVICE = "Lower the learning rate or the weight decay, start again with He's initialisation, or use LeakyReLU"


def dead_finding(found: Silence, thresholds: Thresholds) -> Finding:
    layer, sure = found.layer, thresholds.dead_images
    everything = bool(found.silent.all())
    advice = _DEAD_ADVICE
    if found.offset.any() and (found.fresh == found.offset).all():
        assert found.before is not None
        advice = f"Look at the bias of {found.before.name} at these channels, and at its running mean if it has one"
    elif layer.images >= sure:
        advice += "; for inference dead channels can be pruned"
    elif not everything and not found.is_explained:  # what the weights shut needs no more images
        look = f"Look at {counted(sure, layer.noun)} before you call them dead."
        advice = f"{look} If they are: {advice[0].lower()}{advice[1:]}"
    few = 2 if found.shut.sum() >= thresholds.dead_share * layer.width else thresholds.warning_images
    return layer.told(
        "dead-channels",
        _severity(found, thresholds.dead_share, few, thresholds),
        f"{_part(found)} {_were(found.part)} 0 {layer.everywhere}{_since(found)}.{_why(found)}"
        + (_all_silent(layer) if everything and layer.width > 1 else ""),
        f"{advice}.",
        np.flatnonzero(found.silent),
        caution=""
        if found.is_explained or (everything and layer.width > 1)
        else _proof(layer.images, thresholds, layer.noun),
    )


def _severity(found: Silence, share: float, few: int, thresholds: Thresholds) -> Severity:
    """By those that begin here; where with those from before nothing is left it is an error all the same."""
    part = found.part if found.silent.all() else found.new
    return found.layer.severity(part, share, few, thresholds.dead_images)


def _all_silent(layer: Seen) -> str:
    return f" Nothing about the {layer.noun} gets through this layer."


def _part(found: Silence) -> str:
    width = found.layer.width
    return f"{'all' if found.part == width > 1 else f'{count(found.part)} of'} {counted(width, 'channel')}"


def _were(part: int) -> str:
    return "was" if part == 1 else "were"


def _since(found: Silence) -> str:
    """How many of the channels begin here and where the others did, behind a colon; empty where all begin here."""
    if found.new == found.part:
        return ""
    parts = [f"{count(found.new)} began here"]
    for words, zero in (("already 0 in", True), ("already constant or next to nothing in", False)):
        names = {name: many for (name, is_zero), many in found.since.items() if is_zero == zero}
        if names:
            many = sum(names.values())
            named = list(names)[:2]
            where = " and ".join(named) + (f" and {counted(len(names) - 2, 'other layer')}" if len(names) > 2 else "")
            parts.append(f"{count(many)} {_were(many)} {words} {where}")
    return f": {', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 2 else f": {', '.join(parts)}"


def _why(found: Silence) -> str:
    """Sentences, each after a space, on what the layer before has to do with it."""
    if found.before is None:
        return ""
    name, words = found.before.name, ""
    by_weights, unclear = int(found.sure.sum()), int((found.shut & ~found.sure).sum())
    if by_weights:
        words += (
            f" {_who(found, by_weights)} {_were(by_weights)} already constant in {name}, the layer before: its weights "
            f"alone do that, so it holds for every {found.layer.noun}."
        )
    if unclear:
        words += f" {_who(found, unclear)} {_were(unclear)} already constant in {name}, the layer before."
    if found.offset.any():
        many = int(found.offset.sum())
        far = int(np.argmax(np.where(found.offset, np.abs(found.before.channels.mean), -1)))
        words += (
            f" {_who(found, many)} {_were(many)} held there by an offset in {name}, the layer before (its bias), and "
            f"not by the {found.layer.noun}: {lies_around(found.before, far)}."
        )
    return words


def _who(found: Silence, many: int) -> str:
    if many == found.new:
        them = "It" if many == 1 else "All of them"
        if found.new == found.part:
            return them
        return "The one that began here" if many == 1 else f"All {count(many)} that began here"
    return f"{count(many)} of them"


def _proof(images: int, thresholds: Thresholds, noun: str = "image") -> str:
    """What silence in this many inputs says of further ones: the 95 % bound on how often the channel answers."""
    bound = 1 - 0.05 ** (1 / max(images, 1))
    if images >= thresholds.dead_images:
        return f"Such a channel responds to fewer than {percent(bound)} of {noun}s like these (95 % confidence)."
    sound = 1 - 0.05 ** (1 / thresholds.dead_images)
    part = "most" if bound > 0.5 else f"up to {percent(bound)} of"
    return (
        f"Where the weights alone do not decide it, {counted(images, noun)} {'is' if images == 1 else 'are'} too few "
        f"to be sure: such a channel may still respond to {part} other {noun}s. After silence in "
        f"{counted(thresholds.dead_images, noun)} that would be at most {percent(sound)} of them (95 % confidence)."
    )


# -- constant channels -------------------------------------------------------------------------------------------


def constant_finding(found: Silence, thresholds: Thresholds) -> Finding:
    layer, still, sure = found.layer, found.silent, thresholds.dead_images
    held = layer.channels.mean[still]
    low, high = number(held.min()), number(held.max())
    values = low if low == high else f"each its own value, {low} … {high}"
    unseen = _reads_unseen(found)
    of_weights = is_of_weights(layer) and not unseen
    advice = (
        "Look for weights or a normalisation's scale that went to zero (weight decay, pruning)"
        if of_weights or still.all() or layer.images >= sure
        else f"Look at {counted(sure, layer.noun)} before you call them constant"
    )
    if unseen:
        advice = (
            "Look at the layer that it reads, which is not among these (leave out --kind and --layer): where a channel "
            f"is 0 there for {'this ' + layer.noun if layer.images == 1 else f'these {layer.noun}s'}, it is of one "
            "value here. Only where it varies there did weights go to zero here"
        )
    if layer.images >= sure:
        advice += "; such channels carry no information and can be folded into the next layer's bias"
    return layer.told(
        "constant-channels",
        _severity(found, thresholds.constant_share, 2 if of_weights else thresholds.warning_images, thresholds),
        f"{_part(found)} {'is' if found.part == 1 else 'are'} constant ({values}) {layer.everywhere}."
        + _why(found)
        + (_all_silent(layer) if still.all() and layer.width > 1 else ""),
        f"{advice}.",
        np.flatnonzero(still),
    )
