"""What the evidence says, in words."""

from __future__ import annotations

from math import isfinite

from .. import units
from ..models.input_words import IMAGE, InputWords
from .records import CLEAR, Cam, Level, Trust

_LITTLE = 0.05
"""Where less than this share of the evidence is for the number, where that little is says nothing."""
_DOUBTS = {
    "no better": ", but blurring does not bear it out",
    "none": "; blurring cannot show whether these places count",
}
METHOD_NAMES = {"gradcam": "Grad-CAM", "layercam": "LayerCAM", "effect": "effects of the channels"}
WEIGHTS = {
    "gradcam": "each channel's map times its mean gradient",
    "layercam": "each place's value times its positive gradient, over all channels",
    "effect": "what ablating each channel takes from the number, laid where the channel is active",
}


def sure(found: Cam) -> str:
    """`espresso, 95.1 %`, of another class than the network's with its own answer; without a probability the number."""
    target = found.target
    if target.index is None:
        return f"{target.in_words}, {units.number(target.value)}"
    if target.kind == "object":
        return f"{target.name}, score {target.value:.2f}"
    if target.probability is None:
        least = " (largest output, not known to be a class)" if target.assumed else ""
        return f"{target.name}{least}, {target.quantity} {units.number(target.value)}"
    words = f"{target.name}, {units.percent(target.probability)}"
    return f"{words} ({answer_instead(found)})" if answer_instead(found) else words


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
    evidence = "weak evidence" if found.is_weak else "evidence"
    words = f"{sure(found)}: half of the {evidence} for it is in {units.percent(found.half[1])} of the {_whole(found)}"
    return words + (_DOUBTS.get(found.trust.verdict, "") if found.trust is not None else "")


def _whole(found: Cam) -> str:
    """What the evidence lies over."""
    called = found.origin.called
    return "picture" if called is IMAGE else called.noun


def number_in_words(found: Cam) -> str:
    """The number that is asked about; and what the network answers where that is another class."""
    words = f"{found.target.in_words}, {units.number(found.target.value, 4)}"
    return f"{words}; {answer_instead(found)}" if answer_instead(found) else words


def answer_instead(found: Cam) -> str:
    """What the network answers where another class was asked about; else empty."""
    if found.target.predicted or not found.predictions:
        return ""
    first = found.predictions[0]
    answer = units.one_line(first.label) if first.label else f"class {first.index}"
    return f"the network answers {answer}, {units.percent(first.probability)}"


def remarks(found: Cam) -> list[str]:
    """What a reader has to know beside the map."""
    why = "only rounding" if found.is_dust else "zero everywhere"
    no_curves = f"no curves of blurring: a map that is {why} puts places in no order" if found.sign == "zero" else ""
    weak = ""
    if found.is_weak and found.part is not None:
        weak = f"weak: all evidence together is {units.number(found.part)} of the number"
    return [*found.notes, *filter(None, [weak, no_curves, found.origin.weights.unlearned("what the evidence is")])]


def balance(found: Cam) -> str:
    """How much speaks for the number and how much against it."""
    if found.is_dust:
        return "only rounding: another last digit of the numbers makes another map, or it is less than that digit"
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
        return (
            f"{units.layer_name(found.layer.name)}, {cells_in_words(found.levels[0], found.origin.called)}; {found.why}"
        )
    listed = ", ".join(
        f"{units.layer_name(each.layer.name)} ({each.map.shape[1]} × {each.map.shape[2]}) {units.percent(each.share)}"
        for each in found.levels
    )
    return f"{listed}; {found.why}"


def cells_in_words(level: Level, called: InputWords) -> str:
    frames, high, wide = level.map.shape
    return f"{high} × {wide} cells" + (f" of {frames} {called.layer}s" if frames > 1 else "")


_CURVES = ("insertion", "deletion")


def verdict(trust: Trust) -> str:
    """How the map's order compares with random ones: clearly better, barely (less than `CLEAR` of the fall) or not."""
    orders = f"{len(trust.random)} random ones"
    if trust.verdict == "none":
        return f"{_fall(trust)}: these curves cannot say how good the map is"
    if trust.verdict == "no better":
        return f"this order is no better than {orders}: do not take this map for the reason of the answer"
    better = [name for name, margin in zip(_CURVES, trust.margins, strict=True) if margin > 0]
    clear = [name for name, margin in zip(_CURVES, trust.margins, strict=True) if margin >= CLEAR]
    if trust.verdict == "mixed":
        how = "clearly" if clear else "barely"
        other = next(name for name in _CURVES if name not in better)
        return f"this order is {how} better than {orders} in {better[0]}, and not in {other}: read the map with care"
    if len(clear) == len(better):
        return f"this order is clearly better than {orders} in both curves: the network does read these places first"
    if not clear:
        return f"this order is barely better than {orders} in both curves: read the map with care"
    barely = next(name for name in _CURVES if name not in clear)
    return (
        f"this order is clearly better than {orders} in {clear[0]}, barely in {barely}: the network does read these"
        " places, others as well"
    )


def _fall(trust: Trust) -> str:
    """What blurring does to the number where the curves say nothing for it."""
    whole, none = (_amount(trust, float(trust.deletion[at])) for at in (0, -1))
    if trust.fall < 0 and whole != none:
        return f"blurring the whole input raises the {trust.quantity}, from {whole} to {none}"
    if whole == none:
        return f"blurring the whole input leaves the {trust.quantity} at {whole}"
    return f"blurring the whole input hardly lowers the {trust.quantity}, from {whole} to {none}"


def _amount(trust: Trust, value: float) -> str:
    return units.percent(value) if trust.quantity == "probability" else units.number(value)


def area(value: float) -> str:
    """An area, to three digits that count.

    >>> area(0.5678), area(0.09), area(0.000123), area(12.5), area(0.0)
    ('0.568', '0.0900', '0.000123', '12.5', '0')
    """
    if not isfinite(value) or not value or abs(value) >= 1000:
        return units.number(value)
    return f"{value:#.3g}".removesuffix(".")


def random_in_words(trust: Trust) -> str:
    """`0.159 (0.116 to 0.208)`."""
    return f"{area(trust.random_area)} ({area(min(trust.random_areas))} to {area(max(trust.random_areas))})"
