"""Dead, constant and copied channels, each told where it begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from fmap_cli.statistics.records import Finding
from fmap_cli.units import count, number, percent

from .copies import copied_finding, copies, fresh_groups, scaled_copies
from .seen import Seen, Severity, counted, images_in_words
from .thresholds import Thresholds


@dataclass(slots=True)
class _Known:
    """What is known of a layer's channels when the next one is looked at.

    `told` marks those whose silence has been reported, `groups` gives each channel the first of its copies.
    """

    told: np.ndarray
    constant: np.ndarray
    groups: np.ndarray


_Found = tuple[Seen, np.ndarray, np.ndarray]
"""A layer, some of its channels that are silent, and which of those its predecessor's weights keep so."""


def channels(layers: Sequence[Seen], small: set[str], thresholds: Thresholds) -> Iterator[Finding]:
    """Dead, constant and copied channels, each where it begins. `small` names layers of which `nearly-zero` is told."""
    last: _Known | None = None
    by_width: dict[int, list[_Known]] = {}
    few_dead: list[_Found] = []
    few_still: list[_Found] = []
    inputs = [each for each in layers if each.is_input and each.values]
    blank = bool(inputs) and all(each.constant.all() for each in inputs)
    gray = any(len(set(copies(each, thresholds).tolist())) < each.width for each in inputs)
    for at, each in enumerate(layers):
        if not each.is_real:
            continue
        width = each.width
        groups = copies(each, thresholds)
        carried = _carried(each, last, by_width.get(width, []))
        few_images = each.images < thresholds.dead_images  # such notes are told once, for all layers together
        told = carried.told | (each.constant if each.moves else False)
        if not each.is_input and not each.moves:
            if each.name in small:
                told[:] = True  # `nearly-zero` says so, and what follows from hardly anything is constant
            dead = each.dead & ~told
            if dead.any():
                found = each, dead, _shut_before(dead, last)
                if few_images and _dead_severity(found, thresholds) == "note":
                    few_dead.append(found)
                else:
                    yield _dead_finding(found, thresholds)
            told |= each.dead
            still = each.constant & ~told & ~_at_gate_bounds(each)
            after = layers[at + 1] if at + 1 < len(layers) else None
            if after is not None and after.width == width:
                still &= ~after.dead  # told there: a channel shut by its normalisation is a dead channel
            if still.any() and not blank:
                little = few_images and _constant_severity(each, still, thresholds) == "note"
                if little and not _is_of_weights(each):
                    few_still.append((each, still, np.zeros(width, bool)))
                else:
                    yield _constant_finding((each, still, np.zeros(width, bool)), thresholds)
                told |= still
            fresh = fresh_groups(groups, carried.groups)
            # Of a gray picture a 1 × 1 convolution's filters are all one filter times a number.
            multiples = [] if gray else scaled_copies(each, groups, carried.groups, thresholds)
            if fresh or multiples:
                yield copied_finding(each, fresh, multiples, thresholds)
            for channel, first, _ in multiples:
                groups[channel] = first
        last = _Known(told, each.constant, groups)
        by_width.setdefault(width, []).append(last)
    if few_dead:
        worst, among = _largest(few_dead)
        yield _dead_finding(worst, thresholds, among)
    if few_still:
        worst, among = _largest(few_still)
        yield _constant_finding(worst, thresholds, among)


def _carried(each: Seen, last: _Known | None, alike: Sequence[_Known]) -> _Known:
    """What of this layer's channels was so before it.

    A record does not say what a layer reads. Most read the layer before and keep its channels in place; operations
    read any with as many channels. What mixes channels hands on only what is constant on both sides, a depthwise
    convolution's, and a layer of which nothing varies leaves nothing that could.
    """
    width = each.width
    none = np.zeros(width, bool)
    found = _Known(none.copy(), none.copy(), np.arange(width))
    if last is None:
        return found
    if each.kind in ("op", "block", "output", "other"):
        for known in alike:
            found.told |= known.told & (each.constant if not each.moves else True)
            found.groups = np.where(found.groups == np.arange(width), known.groups, found.groups)
    elif len(last.told) == width:
        mixes = each.kind in ("conv", "linear") and not _is_depthwise(each)
        found.told |= last.told & each.constant if mixes else last.told
        found.groups = last.groups
    if last.constant.all() and last.told.all():
        found.told |= each.constant
    return found


def _is_depthwise(layer: Seen) -> bool:
    """Whether a convolution has one square filter a channel, by its number of parameters."""
    per_channel, rest = divmod(layer.record.layer.parameters, layer.width) if layer.width else (0, 1)
    return rest == 0 and per_channel in {area + bias for area in (9, 25, 49, 81, 121, 169, 961) for bias in (0, 1)}


def _shut_before(dead: np.ndarray, last: _Known | None) -> np.ndarray:
    """Which of the dead channels do not vary in the layer before, so that no image opens them; bool `[C]`."""
    if last is None or len(last.constant) != len(dead):
        return np.zeros(len(dead), bool)
    return dead & last.constant


def _at_gate_bounds(layer: Seen) -> np.ndarray:
    """Gates that stand open or shut are `saturated`, if they are many."""
    if layer.type != "hardsigmoid":
        return np.zeros(layer.width, bool)
    return np.isin(layer.channels.min, (0.0, 1.0))


def _is_of_weights(layer: Seen) -> bool:
    """Whether a channel that holds one value does so by its weights, and not because nothing reached it today.

    A filter of zeros shows in one image. A bound that clips all of a channel, or one value an image, is the images'.
    """
    return layer.kind in ("conv", "linear", "norm") and layer.places > 1


def _dead_severity(found: _Found, thresholds: Thresholds) -> Severity:
    layer, dead, shut = found
    few = 2 if shut.sum() >= thresholds.dead_share * layer.width else thresholds.warning_images
    return layer.severity(int(dead.sum()), thresholds.dead_share, few, thresholds.dead_images)


def _constant_severity(layer: Seen, still: np.ndarray, thresholds: Thresholds) -> Severity:
    few = 2 if _is_of_weights(layer) else thresholds.warning_images
    return layer.severity(int(still.sum()), thresholds.constant_share, few, thresholds.dead_images)


def _largest(found: Sequence[_Found]) -> tuple[_Found, str]:
    """The layer with the largest share of such channels, and words on all the others."""
    worst = max(found, key=lambda each: float(each[1].mean()))
    of_all = sum(int(silent.sum()) for _, silent, _ in found)
    among = f"; of {len(found)} layers with such channels ({count(of_all)} in all) this one has the largest share"
    return worst, among if len(found) > 1 else ""


# -- in words ----------------------------------------------------------------------------------------------------


def _dead_finding(found: _Found, thresholds: Thresholds, among: str = "") -> Finding:
    layer, dead, shut = found
    part, sure = int(dead.sum()), thresholds.dead_images
    all_of_it = dead.all()
    advice = _DEAD_ADVICE
    if layer.images >= sure:
        advice += "; for inference dead channels can be pruned"
    elif not all_of_it and not (dead == shut).all():  # what the weights shut needs no more images
        advice = (
            f"Look at {images_in_words(sure)} before you call them dead. If they are: {advice[0].lower()}{advice[1:]}"
        )
    return layer.told(
        "dead-channels",
        _dead_severity(found, thresholds),
        f"{_part(part, layer)} {'was' if part == 1 else 'were'} 0 {layer.everywhere}{among}.{_why(dead, shut)}"
        + _consequence(layer, dead, shut, thresholds),
        f"{advice}.",
        np.flatnonzero(dead),
    )


_DEAD_ADVICE = "Lower the learning rate or the weight decay, start again with He's initialisation, or use LeakyReLU"
_ALL_SILENT = " Nothing about the image gets through this layer."


def _consequence(layer: Seen, dead: np.ndarray, shut: np.ndarray, thresholds: Thresholds) -> str:
    """A sentence, after a space, on what follows for the network or for other images; empty where all is said."""
    if dead.all() and layer.width > 1:
        return _ALL_SILENT
    known = layer.images > 1 and shut.sum() == dead.sum()
    return "" if known else _proof(layer.images, thresholds)


def _part(part: int, layer: Seen) -> str:
    return f"{'all' if part == layer.width > 1 else f'{count(part)} of'} {counted(layer.width, 'channel')}"


def _why(dead: np.ndarray, shut: np.ndarray) -> str:
    """A sentence, after a space, on those that are silent by the weights before."""
    if not shut.any():
        return ""
    who = f"{count(int(shut.sum()))} of them"
    if shut.sum() == dead.sum():
        who = "It" if shut.sum() == 1 else "All of them"
    were = "was" if who == "It" or shut.sum() == 1 else "were"
    return f" {who} {were} already constant in the layer before: that comes from its weights, not from these images."


def _proof(images: int, thresholds: Thresholds) -> str:
    """What silence in this many images says of further ones: the 95 % bound on how often the channel answers."""
    bound = 1 - 0.05 ** (1 / max(images, 1))
    if images >= thresholds.dead_images:
        return f" Such a channel responds to fewer than {percent(bound)} of images like these (95 % confidence)."
    sound = 1 - 0.05 ** (1 / thresholds.dead_images)
    part = "most" if bound > 0.5 else f"up to {percent(bound)} of"
    return (
        f" {images_in_words(images)} {'is' if images == 1 else 'are'} too few to be sure: such a channel may still"
        f" respond to {part} other images. After silence in {images_in_words(thresholds.dead_images)} that would be at"
        f" most {percent(sound)} of them (95 % confidence)."
    )


def _constant_finding(found: _Found, thresholds: Thresholds, among: str = "") -> Finding:
    layer, still, _ = found
    part, sure = int(still.sum()), thresholds.dead_images
    held = layer.channels.mean[still]
    low, high = number(held.min()), number(held.max())
    values = low if low == high else f"each its own value, {low} … {high}"
    are = "is" if part == 1 else "are"
    of_weights = _is_of_weights(layer)
    advice = (
        "Look for weights or a normalisation's scale that went to zero (weight decay, pruning)"
        if of_weights or still.all() or layer.images >= sure
        else f"Look at {images_in_words(sure)} before you call them constant"
    )
    if layer.images >= sure:
        advice += "; such channels carry no information and can be folded into the next layer's bias"
    return layer.told(
        "constant-channels",
        _constant_severity(layer, still, thresholds),
        f"{_part(part, layer)} {are} constant ({values}) {layer.everywhere}{among}."
        + (_ALL_SILENT if still.all() and layer.width > 1 else ""),
        f"{advice}.",
        np.flatnonzero(still),
    )
