"""What the evidence says, in words."""

from __future__ import annotations

from .. import units
from .records import DUST, Cam, Level, Trust

_LITTLE = 0.05
"""Where less than this share of the evidence is for the number, where that little is says nothing."""
_DOUBTS = {"no better": ", but blurring does not bear it out", "none": ", which blurring cannot test"}
METHOD_NAMES = {"gradcam": "Grad-CAM", "layercam": "LayerCAM", "effect": "effect of each channel"}
WEIGHTS = {
    "gradcam": "each channel's map times its mean gradient",
    "layercam": "each place's value times its positive gradient, over all channels",
    "effect": "what ablating each channel takes from the number, laid where the channel is active",
}


def sure(found: Cam) -> str:
    """`espresso, 95.1 %`; without a probability the number itself."""
    target = found.target
    if target.index is None:
        return f"{target.in_words}, {units.number(target.value)}"
    if target.kind == "object":
        return f"{target.name}, score {target.value:.2f}"
    return f"{target.name}, {units.percent(target.probability or 0.0)}"


def headline(found: Cam) -> str:
    """Where the evidence is, in one sentence."""
    if found.is_dust:
        return f"{sure(found)}: at this layer the evidence is zero but for rounding"
    if found.sign == "zero":
        return f"{sure(found)}: at this layer the evidence is zero everywhere"
    if found.sign == "against":
        return f"{sure(found)}: at this layer all evidence is against it"
    if found.evidence_for < _LITTLE * (found.evidence_for - found.evidence_against):
        return f"{sure(found)}: at this layer nearly all evidence is against it"
    words = f"{sure(found)}: half of the evidence for it is in {units.percent(found.half[1])} of the picture"
    return words + (_DOUBTS.get(found.trust.verdict, "") if found.trust is not None else "")


def number_in_words(found: Cam) -> str:
    """The number that is asked about; and what the network answers where that is another class."""
    words = f"{found.target.in_words}, {units.number(found.target.value, 4)}"
    if found.target.predicted or not found.predictions:
        return words
    first = found.predictions[0]
    answer = units.one_line(first.label) if first.label else f"class {first.index}"
    return f"{words}; the network answers {answer}, {units.percent(first.probability)}"


def remarks(found: Cam) -> list[str]:
    """What a reader has to know beside the map."""
    return [*found.notes, *filter(None, [found.origin.weights.unlearned("what the evidence is")])]


def balance(found: Cam) -> str:
    """How much speaks for the number and how much against it."""
    if found.is_dust:
        return f"no value is above {DUST:g} of the number: this is only rounding"
    above, below = found.evidence_for, -found.evidence_against
    if found.positive:
        return "only what speaks for it is kept (positive)"
    if not above + below:
        return "zero at every place: the number does not depend on this layer"
    if not below:
        return "all evidence is for it, none against"
    if not above:
        return "all evidence is against it, none for it"
    return f"{units.percent(above / (above + below))} of the evidence is for it, the rest against"


def layers_in_words(found: Cam) -> str:
    """The layer, or the levels with what each has of the evidence."""
    if len(found.levels) == 1:
        return f"{found.layer.name}, {cells_in_words(found.levels[0])}; {found.why}"
    listed = ", ".join(
        f"{each.layer.name} ({each.map.shape[1]} × {each.map.shape[2]}) {units.percent(each.share)}"
        for each in found.levels
    )
    return f"{listed}; {found.why}"


def cells_in_words(level: Level) -> str:
    frames, high, wide = level.map.shape
    return f"{high} × {wide} cells" + (f" of {frames} frames" if frames > 1 else "")


VERDICTS = {
    "better": "this order beats {count} random ones in both curves: the network does read these places first",
    "mixed": "this order beats {count} random ones in only one of the two curves: read the map with care",
    "no better": "this order is no better than random ones: do not take this map for the reason of the answer",
    "none": "blurring the whole picture hardly lowers the {quantity}: these curves cannot say how good the map is",
}


def verdict(trust: Trust) -> str:
    """How the map's order compares with random ones."""
    return VERDICTS[trust.verdict].format(count=len(trust.random), quantity=trust.quantity)


def area(value: float) -> str:
    return f"{value:.3f}"


def random_in_words(trust: Trust) -> str:
    """`0.159 (0.116 to 0.208)`."""
    return f"{area(trust.random_area)} ({area(min(trust.random_areas))} to {area(max(trust.random_areas))})"
