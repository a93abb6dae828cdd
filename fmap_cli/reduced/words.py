"""What a reduction is, in sentences: for the page's title, its legend and the terminal."""

from __future__ import annotations

from .. import units
from .colours import HUES, basis_name
from .columns import place_in_words, shares_in_words
from .records import Basis, Reduced

_OVER = {
    "mean": "the mean over all channels",
    "max": "the largest of all channels",
    "std": "the standard deviation over the channels",
}


def headline(reduced: Reduced) -> str:
    """The answer in one sentence."""
    layers, method = _layers(reduced.layers), reduced.method
    if method == "similar":
        assert reduced.asked.similar is not None
        unit = f"unit {place_in_words(reduced.asked.similar)} of {reduced.images[0].short_name}"
        return f"How like {unit} every other unit is, in {layers}"
    if method in _OVER:
        return f"{layers}: at each place {_OVER[method]}"
    if method == "kmeans":
        counts = {len(each.clusters.sizes) for each in reduced.bases if each.clusters is not None}
        most = f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}"
        return f"{layers} in {most} clusters of like units"
    held = [sum(each.components.shares) for each in reduced.bases if each.components is not None]
    if max(held) == 0:
        return f"{layers}: all units are the same"
    count = max(len(each.low) for each in reduced.bases)
    low, high = f"{100 * min(held):.0f}", f"{100 * max(held):.0f}"
    shares = f"{high} %" if low == high else f"{low} to {high} %"
    which = "one component" if count == 1 else f"{'three' if count == 3 else 'two'} components"
    verb = "holds" if count == 1 else "hold"
    return f"{layers}: {which} {verb} {shares} of the variance"


def _layers(names: tuple[str, ...]) -> str:
    return units.layer_name(names[0]) if len(names) == 1 else f"{len(names)} layers"


def about(reduced: Reduced) -> str:
    """Which images and layers they are, and whose."""
    images, layers = [each.short_name for each in reduced.images], reduced.layers
    words = f"{images[0]} and {len(images) - 1} more" if len(images) > 1 else images[0]
    words = f"{words}, as {reduced.origin.model} sees {'it' if len(images) == 1 else 'them'}"
    return f"{words}: {span_of(layers)}" if len(layers) > 1 else words


def span_of(names: tuple[str, ...]) -> str:
    """The first and the last of several layers, without what they have in common at the start.

    >>> span_of(("encoder.layer_0", "encoder.layer_1", "encoder.layer_2")), span_of(("a.1", "a.2", "a.3"))
    ('encoder.layer_0 to layer_2', 'a.1 to a.3')
    >>> span_of(("a", "b")), span_of(("a",)), span_of(("4",)), span_of(("0", "2", "3")), span_of(("0", "fc"))
    ('a and b', 'a', 'layer 4', 'layers 0 to 3', 'layer 0 and fc')
    """
    named = [units.layer_name(each) for each in names]
    if len(names) > 1 and all(each != name for each, name in zip(named, names, strict=True)):
        return f"layers {names[0]} {'to' if len(names) > 2 else 'and'} {names[-1]}"
    if len(names) < 3:
        return " and ".join(named)
    first, last = names[0].split("."), names[-1].split(".")
    same = 0
    while same < min(len(first), len(last)) - 1 and first[same] == last[same]:
        same += 1
    same -= last[same].isdigit() and same > 0  # a number alone names nothing
    return f"{named[0]} to {'.'.join(last[same:])}"


def basis_in_words(reduced: Reduced, number: int) -> str:
    """Which layers a basis is of, and how many units it was found from."""
    basis = reduced.bases[number]
    name = f"Basis {basis_name(number)}: " if len(reduced.bases) > 1 else ""
    layers = span_of(basis.layers)
    counted = f"{units.count(basis.units)} units of {units.count(basis.channel_count)} channels"
    images = "" if len(reduced.images) == 1 else f", {len(reduced.images)} images"
    words = f"{name}{layers}{images}, {counted}"
    if basis.components is not None:
        words += f": {shares_in_words(basis.components.shares)} of the variance"
    return words


def foreground_in_words(basis: Basis) -> str:
    """Where the foreground was parted from the background, and by what; empty where it was not asked for."""
    own = basis.foreground
    if own is None:
        return ""
    side = "above" if own.above else "below"
    return (
        f"Foreground: the {units.percent(own.share)} of units {side} {units.number(own.threshold)} on the first"
        " principal component of all units, where Otsu's threshold parts them in two groups. Which group is the"
        f" foreground is a guess: the one that is rarer at the maps' border ({units.percent(own.border_share)} of the"
        f" units there) than in all of the maps ({units.percent(own.share)})."
        " The components are of the foreground alone; all other units are left gray."
    )


def colours_in_words(reduced: Reduced, clipped: float, *, overlay: bool) -> str:
    """What the colours mean, and what they do not."""
    method, several = reduced.method, len(reduced.images) > 1 or len(reduced.layers) > 1
    if method == "pca":
        hues = max((HUES.get(len(each.low), ()) for each in reduced.bases), key=len)
        mixed = f"how much {', '.join(hues[:-1])} and {hues[-1]} it has" if len(hues) > 1 else "how light it is"
        words = f"Each unit's place along the principal components is {mixed}: units of like colour have like channels."
        if several:
            words += " A colour means the same in all pictures of one basis."
        words += " Every component fills its colour's whole range, however small its share."
        if clipped:
            words += f" {clipped:g} % of the values at either end take the end's colour."
    elif method == "kmeans":
        words = "Each unit has the colour of the cluster (k-means) whose centre it is nearest to."
        if several:
            words += " A cluster is the same in all pictures of one basis."
        words += " Clusters are numbered by size; beside each the channels that are farthest above the mean there."
    elif method == "similar":
        words = (
            "The cosine between a unit's channels and those of the unit that is outlined: 1 is the same direction, 0"
        )
        words += " none in common. One scale for all pictures."
        if len(reduced.images) > 1:
            words += " A thin line marks the most similar unit of each further image."
    else:
        words = f"At each place {_OVER[method]}. One scale a layer, the same in all images."
        if clipped:
            words += f" {clipped:g} % of the values at either end take the end's colour."
    if overlay:
        words += " Colours are laid over the photo in gray."
    return words
