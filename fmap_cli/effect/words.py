"""What was found, in sentences that table and figure share."""

from __future__ import annotations

from collections.abc import Sequence

from .. import units
from ..units import signed
from .columns import class_name, points
from .records import Effects


def about(found: Effects) -> str:
    """The number that effects are of: `the logit of espresso`; of several images the likeliest class of each."""
    names = {each.target.in_words for each in found.images}
    if len(names) == 1:
        return names.pop()
    return f"the {found.images[0].target.quantity} of each {found.origin.called.noun}'s own class"


def headline(found: Effects) -> str:
    """What the layer's channels do, in a sentence."""
    effects, order = found.effects, found.order
    up, down = int((effects > 0).sum()), int((effects < 0).sum())
    name = found.images[0].target.name if len({each.target.name for each in found.images}) == 1 else "the answer"
    if not len(order) or not (effects != 0).any():
        return f"No channel of {units.layer_name(found.layer.name)} does anything to {name}"
    strongest = int(order[0])
    how = ", estimated" if found.fast else ""
    none = int((effects == 0).sum())
    without = f", {units.count(none)} without effect" if none else ""
    return (
        f"{_many(up)} for {name}, {units.count(down)} against{without}; the strongest is channel"
        f" {int(found.channels[strongest])} ({signed(float(effects[strongest]))}{how})"
    )


def _many(count: int) -> str:
    return f"{units.count(count)} channel{'s speak' if count != 1 else ' speaks'}"


def together(found: Effects) -> str:
    """All at once beside the sum of their single effects."""
    what = "All at once" if len(found.channels) == found.total else "All of these at once"
    singles = "the estimates of their single effects add" if found.fast else "their single effects add"
    words = f"{what} {signed(found.together)}; {singles} up to {signed(found.sum_of_singles)}"
    if found.sum_of_singles and abs(found.together - found.sum_of_singles) > 0.1 * abs(found.together):
        words += (
            ": either the estimates are off, or channels do together what they do not do one by one; without --fast the"
            " single effects are measured"
            if found.fast
            else ": what channels do together differs from what they do one by one"
        )
    one = found.images[0]
    if not found.several:
        same = "the same" if one.together_answer == one.answer else class_name(one, one.together_answer)
        words += (
            f". Without them {'there is no answer: all scores are equal' if one.undecided else f'the answer is {same}'}"
        )
    return words + "."


def how(found: Effects) -> str:
    """How it was found out."""
    place = f"Each channel was replaced by {'zeros' if found.source == 'zero' else found.source}."
    if found.fast:
        agreed = found.agreement
        assert agreed is not None
        rho = "cannot be told (all are alike)" if agreed.spearman is None else f"is {agreed.spearman:.2f}"
        return (
            f"Estimated as gradient × activation. {place} Spearman's rank agreement with {agreed.channels} channels"
            f" that were really taken away {rho}."
        )
    if found.images[0].is_answer:
        return f"This layer is the answer itself: each channel is one class's score. {place}"
    return place if found.left_out else f"{place} The whole network ran for each channel."


def flipped(found: Effects) -> str:
    """How many channels change the answer by themselves; empty where that was not measured."""
    flips = found.flips
    if flips is None:
        return ""
    count = int((flips > 0).sum())
    if not count:
        return "No channel changes the answer by itself."
    where = f" for at least one of {len(found.images)} {found.origin.called.noun}s" if found.several else ""
    alone = "channel changes the answer by itself" if count == 1 else "channels change the answer by themselves"
    return f"{units.count(count)} {alone}{where}."


def about_weights(found: Effects) -> str:
    """A warning where nothing was learned."""
    return found.origin.weights.unlearned("what the channels do to the answer")


def about_signs(found: Effects, places: Sequence[int]) -> str:
    """Why score and probability point apart, where they do for one of the channels at `places`; else empty."""
    one = found.images[0].target
    if found.probabilities is None or one.quantity not in ("logit", "mean logit"):
        return ""
    apart = any(
        found.effects[at] * found.probabilities[at] < 0 and float(points(float(found.probabilities[at])))
        for at in places
    )
    if not apart:
        return ""
    return (
        "The logit is the class's own score, while its probability depends on the scores of the other classes, too:"
        " so the two may point apart."
    )
