"""What a comparison says, in words: for its table and its figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .. import units
from ..answers.records import Detection, Prediction
from .records import Answer, ComparedLayer, ComparedRecord, Comparison, Difference, SharedChannels, Side

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
OFFSET = (
    "What all images share, such as an offset that a BatchNorm takes away or values above 0 behind a ReLU, brings it "
    "near 1: compare it between layers of one kind."
)
CHANNEL = "channel: the one with the largest difference."
SHIFTS = (
    "Δmean / σ: the largest change of a channel's mean, in standard deviations of its values within a run, pooled over "
    "both; inf where they do not vary."
)
RELATIVE_OF_RUNS = (
    "relative L2 of means: how far the channels' means are apart as a share of A's; 0 is equal, 0.1 a tenth."
)
RELATIVE = "relative L2: ‖B - A‖ / ‖A‖, how large the difference is as a share of A; 0 is equal, 0.1 a tenth."


def questions(comparison: Comparison, *, pooled: bool = True) -> list[str]:
    """What the columns of the table answer, `pooled` being one; of saved runs, which hold no places, about means."""
    if is_run(comparison):
        return [SHIFTS, RELATIVE_OF_RUNS]
    if comparison.of_images:
        return [
            f"{POOLED} {OFFSET}",
            f"The other columns: {PLACES} Maps of two different {comparison.a.origin.called.noun}s never are.",
            RELATIVE,
        ]
    return [f"max |B - A| to correlation: {PLACES}", RELATIVE, *([POOLED] if pooled else [])]


def verdict(comparison: Comparison, number: Callable[[float], str] = "{:g}".format) -> str:
    """Where the two part, in a sentence; of two images how alike they are to the network, through depth."""
    if comparison.of_images and (pooled := pooled_layers(comparison)):
        lowest = min(pooled, key=lambda each: each.difference.pooled_cosine or 0.0)
        told = [_pooled(pooled[0]), *([_pooled(pooled[-1])] if len(pooled) > 1 else [])]
        words = ", ".join(told)
        if lowest is not pooled[0] and lowest is not pooled[-1]:
            words += f", lowest {_pooled(lowest)}"
        return f"pooled cosine (1 is alike to the network): {words}"
    return _where_apart(comparison, number(comparison.threshold))


def pooled_layers(comparison: Comparison) -> list[ComparedLayer]:
    """The layers that have a pooled cosine, each output once."""
    return [
        each
        for each in comparison.layers
        if isinstance(each, ComparedLayer) and each.difference.pooled_cosine is not None and each.same_as is None
    ]


def _pooled(compared: ComparedLayer) -> str:
    return f"{cosine(compared.difference.pooled_cosine)} at {units.layer_name(compared.layer.name)}"


def shared_in_words(shared: SharedChannels) -> str:
    """How many channels of a layer the two images share."""
    return (
        f"of {units.count(shared.count)} channels of {units.layer_name(shared.layer.name)}, "
        f"{units.count(len(shared.both))} {_are(len(shared.both))} strong in both, "
        f"{units.count(len(shared.only_a))} only in A, {units.count(len(shared.only_b))} only in B"
    )


def _where_apart(comparison: Comparison, threshold: str) -> str:
    layers = comparison.shown
    first = comparison.first
    count = f"{len(layers)} layer{'s' * (len(layers) != 1)}"
    if first is not None:
        over = sum(each.over for each in layers)
        name = units.layer_name(first.layer.name)
        many = f"{over} of {count} {_are(over)} over"
        return f"A and B part at {name}: {_how_far(first)}, the first over {threshold}; {many}"
    if not layers:
        return "no layer has the same shape on both sides"
    worst = farthest(layers)
    name = units.layer_name(worst.layer.name)
    if comparison.unlike_shapes:
        unlike = len(comparison.unlike_shapes)
        odd = f"{unlike} layer{'s have' if unlike != 1 else ' has'} different shapes in A and B"
        if identical(comparison):
            return f"{odd}; {_all(len(layers))} with the same shape differ{'s' * (len(layers) == 1)} by exactly zero"
        of = f"of {count} with the same shape none is over {threshold}"
        return f"{odd}; {of}, the farthest apart is {name} ({_how_far(worst)})"
    if identical(comparison):
        both = " that both have" if has_more(comparison) else ""
        return f"A and B are identical: {_all(len(layers))}{both} differ{'s' * (len(layers) == 1)} by exactly zero"
    return f"A and B agree: of {count} none is over {threshold}, the farthest apart is {name} ({_how_far(worst)})"


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


def answer_in_words(comparison: Comparison) -> list[str]:
    """Whether the networks' answers are the same, in a line; more lines say what they are. Empty without an answer."""
    answer = comparison.answer
    if answer is None:
        return []
    if answer.kind == "class":
        return _classes_in_words(answer)
    if answer.kind == "objects":
        return _objects_in_words(answer, comparison.of_images)
    if answer.kind == "pixels":
        return _pixels_in_words(answer, comparison.of_images)
    return [_values_in_words(answer)]


def _changed(answer: Answer) -> str:
    return "(changed)" if answer.changed else "(unchanged)"


def _called(one: Prediction | Detection) -> str:
    return units.one_line(one.label) if one.label else f"class {one.index}"


def _classes_in_words(answer: Answer) -> list[str]:
    a, b = answer.classes
    first, second = (units.percent(each[0].probability) for each in (a, b))
    if answer.changed:
        words = f"answer: {_called(a[0])} {first} → {_called(b[0])} {second} (changed)"
    elif first == second:
        words = f"answer: {_called(a[0])} {first} in both (unchanged)"
    else:
        words = f"answer: {_called(a[0])} {first} → {second} (unchanged: the same class)"
    then = [", ".join(f"{_called(each)} {units.percent(each.probability)}" for each in side[1:]) for side in (a, b)]
    if not any(then) or then[0] == then[1]:
        return [words, *([f"  then: {then[0]}"] if then[0] else [])]
    return [words, *(f"  then in {side}: {each}" for side, each in zip("AB", then, strict=True) if each)]


def _pixels_in_words(answer: Answer, of_images: bool) -> list[str]:
    """Of two photos, or two sizes, which classes are in either; of one photo how many pixels get another class."""
    if of_images or answer.pixels is None:
        a, b = (
            ", ".join(f"{units.one_line(name)} {units.percent(share)}" for name, share in side) for side in answer.areas
        )
        return [f"answer: of A's pixels {a}; of B's {b} (the largest classes)"]
    if not answer.changed:
        return ["answer: every pixel has the same class in A and B (unchanged)"]
    moves = [f"{units.one_line(a)} → {units.one_line(b)} {units.percent(share)}" for a, b, share in answer.moves]
    return [
        f"answer: {units.percent(answer.pixels)} of the pixels get another class in B (changed)",
        f"  most often {', '.join(moves)}",
    ]


def _objects_in_words(answer: Answer, of_images: bool) -> list[str]:
    """Of two photos, which objects are found in either; of one photo, which are matched, lost and new."""
    pairs = answer.matched
    in_a, in_b = [*(a for a, _ in pairs), *answer.lost], [*(b for _, b in pairs), *answer.added]
    if not in_a and not in_b:
        return ["answer: no object of a score of 0.5 or more in A or in B (unchanged)"]
    if of_images:
        a, b = (_listed([_scored(each) for each in side]) or "nothing" for side in (in_a, in_b))
        return [f"answer: in A {a}; in B {b} (objects of a score of 0.5 or more)"]
    words = f"answer: {_objects(len(in_a))} in A, {len(in_b)} in B (score 0.5 or more): {len(pairs)} matched"
    words += f", {len(answer.lost)} lost, {len(answer.added)} new {_changed(answer)}"
    lists = [
        ("matched", [f"{_scored(a)} → {b.score:.2f}" for a, b in pairs]),
        ("lost (only in A)", [_scored(each) for each in answer.lost]),
        ("new (only in B)", [_scored(each) for each in answer.added]),
    ]
    return [words, *(f"  {what}: {_listed(each)}" for what, each in lists if each)]


def _scored(one: Detection) -> str:
    return f"{_called(one)} {one.score:.2f}"


def _objects(count: int) -> str:
    return f"{count} object{'s' * (count != 1)}"


def _values_in_words(answer: Answer) -> str:
    found = answer.difference
    assert found is not None
    if answer.no_numbers:
        return "answer: NaN or infinite in all values of both; `fmap stats` says in which layer that begins"
    if answer.numbers is not None:
        a, b = (units.number(each) for each in answer.numbers)
        return f"answer: {a} in both (unchanged)" if found.max_abs == 0 else f"answer: {a} → {b} {_changed(answer)}"
    if found.max_abs == 0:
        return "answer: the same in all values (unchanged)"
    words = f"cosine {cosine(found.cosine)}, relative L2 {units.number(found.relative_l2)} between both outputs"
    if answer.endpoint_px is not None:
        words = f"the flows are {units.number(answer.endpoint_px)} px apart on average, {words}"
    return f"answer: {words} {_changed(answer)}"


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
