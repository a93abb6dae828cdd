"""What a comparison says, in words: for its table and its figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import units
from .records import ComparedLayer, ComparedRecord, Comparison, Difference, SharedChannels, Side

Compared = ComparedLayer | ComparedRecord

_LISTED = 6
"""How many names a line lists."""


def sides(comparison: Comparison) -> tuple[str, str, str]:
    """What both sides have in common, what is A's alone and what is B's; empty where there is nothing to say.

    >>> from fmap_cli.models.records import Origin, Weights
    >>> a, b = (Side("cat.png", Origin("net", Weights("pretrained", name), device="cpu")) for name in ("V1", "V2"))
    >>> sides(Comparison(a, b, 0.1, ()))
    ('net · image: cat.png · float32 · cpu', 'weights: V1', 'weights: V2')
    """
    both, only_a, only_b = [], [], []
    for a, b in zip(_facts(comparison.a, comparison), _facts(comparison.b, comparison), strict=True):
        if a == b:
            both.append(a)
        else:
            only_a.append(a)
            only_b.append(b)
    common, first, second = (" · ".join(map(units.one_line, filter(None, each))) for each in (both, only_a, only_b))
    return common, first, second


def _facts(side: Side, comparison: Comparison) -> list[str]:
    run = is_run(comparison)
    return [
        side.origin.model,
        f"weights: {side.origin.weights}",
        f"run: {side.source}" if run else f"{side.origin.called.noun}: {side.source}",
        f"{units.count(side.images)} {side.origin.called.noun}{'s' * (side.images != 1)}"
        if side.images is not None
        else "",
        side.origin.dtype,
        side.origin.device,
        "" if side.memory_format in ("", "contiguous") and not _memory_differs(comparison) else side.memory_format,
        *_how_fed(side, comparison),
    ]


def _how_fed(side: Side, comparison: Comparison) -> list[str]:
    """How the picture became what this side's network saw, as far as that is other for the other one."""
    own, a, b = (each.origin.preprocessing for each in (side, comparison.a, comparison.b))
    if own is None or a is None or b is None:
        return []
    facts = ["", "", "", f"input: {a.in_words}" if a == b else ""]
    if side.size is not None and comparison.a.size != comparison.b.size:
        facts[0] = f"{side.size[0]} × {side.size[1]} px"
    elif a.resize != b.resize:
        if isinstance(own.resize, int):
            facts[0] = f"shorter side to {own.resize}"
        else:
            facts[0] = f"resized to {own.resize[0]} × {own.resize[1]}" if own.resize is not None else "in its own size"
    if a.mean != b.mean:
        facts[1] = f"mean {_numbers(own.mean)}"
    if a.std != b.std:
        facts[2] = f"std {_numbers(own.std)}"
    return facts


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _memory_differs(comparison: Comparison) -> bool:
    return comparison.a.memory_format != comparison.b.memory_format


def is_run(comparison: Comparison) -> bool:
    return comparison.a.images is not None


POOLED = "pooled cosine: does the network see the same things? It compares each channel's mean over all places."
PLACES = "are the maps equal, place by place?"


def questions(comparison: Comparison, *, pooled: bool = True) -> list[str]:
    """What the columns of the table answer, `pooled` being one; nothing for saved runs, which hold no places."""
    if is_run(comparison):
        return []
    if comparison.of_images:
        return [POOLED, f"The other columns: {PLACES} Maps of two different images never are."]
    return [f"max |B - A| to correlation: {PLACES}", *([POOLED] if pooled else [])]


def verdict(comparison: Comparison, number: Callable[[float], str] = "{:g}".format) -> str:
    """Where the two part, in a sentence; of two images how alike they are to the network, through depth."""
    if comparison.of_images and (pooled := pooled_layers(comparison)):
        lowest = min(pooled, key=lambda each: each.difference.pooled_cosine or 0.0)
        told = [_pooled(pooled[0]), *([_pooled(pooled[-1])] if len(pooled) > 1 else [])]
        words = ", ".join(told)
        if lowest is not pooled[0] and lowest is not pooled[-1]:
            words += f", lowest {_pooled(lowest)}"
        return f"pooled cosine {words}"
    return _where_apart(comparison, number(comparison.threshold))


def pooled_layers(comparison: Comparison) -> list[ComparedLayer]:
    """The layers that have a pooled cosine, each output once."""
    return [
        each
        for each in comparison.layers
        if isinstance(each, ComparedLayer) and each.difference.pooled_cosine is not None and each.same_as is None
    ]


def _pooled(compared: ComparedLayer) -> str:
    return f"{cosine(compared.difference.pooled_cosine)} at {units.one_line(compared.layer.name)}"


def shared_in_words(shared: SharedChannels) -> str:
    """How many channels of a layer the two images share."""
    return (
        f"of {units.count(shared.count)} channels of {units.one_line(shared.layer.name)}, "
        f"{units.count(len(shared.both))} are strong in both, {units.count(len(shared.only_a))} only in A, "
        f"{units.count(len(shared.only_b))} only in B"
    )


def _where_apart(comparison: Comparison, threshold: str) -> str:
    layers = comparison.layers
    first = comparison.first
    count = f"{len(layers)} layer{'s' * (len(layers) != 1)}"
    if first is not None:
        over = sum(each.over for each in layers)
        name = units.one_line(first.layer.name)
        return f"first over {threshold}: {name} ({_how_far(first)}); {over} of {count} {_are(over)} over"
    if not layers:
        return "no layer has the same shape on both sides"
    worst = farthest(layers)
    name = units.one_line(worst.layer.name)
    if comparison.unlike_shapes:
        unlike = len(comparison.unlike_shapes)
        odd = f"{unlike} layer{'s have' if unlike != 1 else ' has'} different shapes in A and B"
        if identical(comparison):
            return f"{odd}; {_all(len(layers))} with the same shape differ{'s' * (len(layers) == 1)} by exactly zero"
        of = f"of {count} with the same shape none is over {threshold}"
        return f"{odd}; {of}, the farthest apart is {name} ({_how_far(worst)})"
    if identical(comparison):
        both = " that both have" if has_more(comparison) else ""
        return f"identical: {_all(len(layers))}{both} differ{'s' * (len(layers) == 1)} by exactly zero"
    return f"no layer is over {threshold}; of {count} the farthest apart is {name} ({_how_far(worst)})"


def _how_far(compared: Compared) -> str:
    run = isinstance(compared, ComparedRecord)
    unlike = compared.difference.unlike
    if unlike:
        what = "channel" if run else "value"
        return f"{units.count(unlike)} {what}{'s' * (unlike != 1)} NaN or infinite on one side only"
    what = "relative L2 of the channels' means" if run else "relative L2"
    return f"{what} {units.number(compared.difference.relative_l2)}"


def identical(comparison: Comparison) -> bool:
    """Whether no number of any layer differs."""

    def same(each: Compared) -> bool:
        if isinstance(each, ComparedLayer):
            return each.difference.max_abs == 0
        found = each.difference
        apart = (found.mean_shift, found.std_shift, found.min_shift, found.max_shift, found.moved or 0, found.unlike)
        return not any(apart)

    return bool(comparison.layers) and all(map(same, comparison.layers))


def has_more(comparison: Comparison) -> bool:
    """Whether there are layers that one side alone has."""
    return bool(comparison.only_a or comparison.only_b)


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _all(count: int) -> str:
    return "the one layer" if count == 1 else f"all {count} layers"


def farthest(layers: Sequence[Compared]) -> Compared:
    return max(layers, key=lambda each: each.difference.relative_l2)


def inputs_in_words(comparison: Comparison) -> str:
    """How far apart what the two are fed is; empty where it is the same."""
    found, a, b = comparison.inputs, comparison.a, comparison.b
    if comparison.fed_alike:
        return ""
    if isinstance(found, Difference):
        return (
            f"A and B get different input: relative L2 {units.number(found.relative_l2)} (0 means equal), "
            f"single values at most {units.number(found.max_abs)} apart"
        )
    if found is not None:
        return (
            "A and B got different input: relative L2 of the means of its channels "
            f"{units.number(found.relative_l2)} (0 means equal)"
        )
    if a.size is not None and b.size is not None and a.size != b.size:
        return f"A and B get different input: {a.size[0]} × {a.size[1]} px and {b.size[0]} × {b.size[1]} px"
    return "A and B got different input"


def remarks(comparison: Comparison) -> list[str]:
    lines = []
    for where, names in (("A", comparison.only_a), ("B", comparison.only_b)):
        if names:
            many = f"{len(names)} layer{'s' * (len(names) != 1)}"
            lines.append(f"only {where} has {many}: {_listed([units.one_line(name) for name in names])}")
    if comparison.unlike_shapes:
        shapes = [
            f"{units.one_line(name)} {units.shape(a)} and {units.shape(b)}" for name, a, b in comparison.unlike_shapes
        ]
        lines.append(f"other shapes, not compared: {_listed(shapes)}")
    return lines


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def cosine(value: float | None) -> str:
    """A cosine or a correlation: near 1 its distance from 1 is what counts, so digits go on until it shows.

    >>> [cosine(v) for v in (1.0, 0.99999999999, 0.999512, 0.5, -0.25, None)]
    ['1', '>0.999999', '0.999512', '0.5000', '-0.2500', '–']
    """
    if value is None:
        return "–"
    if abs(value) == 1:
        return f"{value:g}"
    if abs(value) > 0.999999:
        return ">0.999999" if value > 0 else "<-0.999999"
    return f"{value:.6f}" if abs(value) > 0.99 else f"{value:.4f}"
