"""What a layer's numbers say about the network: findings in words, out of records alone.

Each check is a function of the records in execution order. Its rule, the threshold's source and what people do about it
are in docs/health.md. A finding stands where its cause begins: what only follows from it further on is not told again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from math import isfinite, log2
from typing import Any, Literal

import numpy as np

from .errors import FmapError
from .moments import BIN_EDGES, whole
from .records import ChannelStats, Finding, LayerRecord
from .units import count, number, percent

Severity = Literal["note", "warning", "error"]

_SEVERITIES: tuple[Severity, ...] = ("note", "warning", "error")


# -- thresholds --------------------------------------------------------------------------------------------------


def _share(default: float) -> Any:
    return field(default=default, metadata={"range": "a share, above 0 and up to 1", "least": 0.0, "most": 1.0})


def _positive(default: float) -> Any:
    return field(default=default, metadata={"range": "a number above 0", "least": 0.0})


def _factor(default: float) -> Any:
    return field(default=default, metadata={"range": "a number above 1", "least": 1.0})


def _whole(default: int, least: int) -> Any:
    return field(default=default, metadata={"range": f"a whole number of at least {least}", "least": least - 1})


@dataclass(frozen=True, slots=True)
class Thresholds:
    """From where on a number is worth a sentence. docs/health.md gives each one's source.

    >>> Thresholds.with_changes(["dead_share=0.25", "depth_layers=8"]).dead_share
    0.25
    """

    dead_images: int = _whole(300, least=1)
    """Images that prove a channel dead: one silent in all of them answers to under 1 % of such images, with 95 %
    confidence (the rule of three, 3 / n: Hanley and Lippman-Hand 1983)."""
    dead_share: float = _share(0.4)
    """Share of a layer's channels from which dead ones are a warning: what Stanford's CS231n notes name as the harm
    of a learning rate too high."""
    constant_spread: float = _positive(1e-6)
    """(max - min) / max(|min|, |max|) up to which a channel is constant: eight roundings of float32, 8 · 2⁻²³."""
    constant_share: float = _share(0.4)
    """The same for constant ones. Sound networks have some: a quarter of the first filters of torchvision's
    MobileNetV2 are all zero."""
    nearly_zero_rms: float = _positive(1e-4)
    """Root mean square below which a layer is nearly zero. A weight's gradient is proportional to what it reads: ten
    thousandth of the usual 1."""
    nearly_zero_ratio: float = _share(1e-3)
    """The same as a share of the median of the layers before: what is small from the input on is its scale."""
    saturated_share: float = _share(0.5)
    """Share of values on an S-shaped curve's flat ends (or of rows of a softmax that are nearly one-hot)."""
    clipped_share: float = _share(0.25)
    """Share of values at the upper bound of ReLU6, or either bound of Hardtanh."""
    depth_layers: int = _whole(5, least=3)
    """Fewest convolutions (or linear layers) in a row, with no normalisation between, that make a trend."""
    depth_slope: float = _positive(0.5)
    """|log2| of the growth a layer: 0.5 is 1.41 times, the gain by which a ReLU network without its factor √2 is off
    (He et al. 2015)."""
    depth_ratio: float = _factor(100.0)
    """Growth or decay from the first to the last of those layers."""
    float16_max: float = _positive(65504.0)
    """Magnitude above which a value counts as lost in float16: its largest number, (2 - 2⁻¹⁰) · 2¹⁵."""
    float16_small_share: float = _share(0.5)
    """Share of the non-zero values below float16's smallest normal number, 2⁻¹⁴."""
    copied_values: int = _whole(16, least=3)
    """Fewest values a channel for two to be called copies of one another."""
    copied_share: float = _share(0.1)
    """Share of a layer's channels that could go as copies from which they are a warning (fmap's choice)."""

    @classmethod
    def with_changes(cls, changes: Iterable[str]) -> Thresholds:
        """The defaults but for the changes, each `NAME=VALUE`; of two for one name the later counts.

        Raises FmapError for a name that is none, or a value outside its range.
        """
        known = {each.name: each for each in fields(cls)}
        names = f"The thresholds are {', '.join(known)}."
        changed: dict[str, float] = {}
        for change in changes:
            name, equals, text = (part.strip() for part in change.partition("="))
            if not equals:
                raise FmapError(f"a threshold is NAME=VALUE, not {change!r}.", hint=names)
            if name not in known:
                near = difflib.get_close_matches(name, known, n=2)
                wish = f" Did you mean {' or '.join(near)}?" if near else ""
                raise FmapError(f"there is no threshold {name!r}.{wish}", hint=names)
            changed[name] = _value(name, text, known[name].type == "int", known[name].metadata)
        return replace(cls(), **changed)  # type: ignore[arg-type]  # ints where ints belong: `_value` sees to it


def _value(name: str, text: str, is_whole: bool, limits: Any) -> float:
    try:
        value = int(text) if is_whole else float(text)
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value <= limits["least"] or value > limits.get("most", value):
        raise FmapError(f"the threshold {name} is {limits['range']}, not {text!r}.", hint="docs/health.md tells why.")
    return value


# -- findings ----------------------------------------------------------------------------------------------------


def findings(layers: Sequence[LayerRecord], images: int, thresholds: Thresholds = Thresholds()) -> tuple[Finding, ...]:
    """What a person should know of a run over `images` images, in the order of the layers it stands at.

    `layers` are in execution order. Of an input only NaN and infinity are told, and a layer that is the same tensor
    as an earlier one is passed over. Layers without a histogram are not judged by shares of their values.

    >>> import torch
    >>> from .records import Axes, LayerRef
    >>> from fmap_cli.stats import channel_stats
    >>> relu = LayerRef("1", "1", 0, "act", "ReLU", is_module=True)
    >>> stats = channel_stats(torch.tensor([[0.0, 0.0], [0.0, 2.0]]))
    >>> found = findings([LayerRecord(relu, (1, 2, 1, 2), Axes(("B", "C", "H", "W"), ""), "float32", 1, stats)], 1)
    >>> [(each.check, each.severity, each.channels) for each in found]
    [('dead-channels', 'note', (0,))]
    """
    own = [_Layer(record) for record in layers if record.same_as is None]
    real = [each for each in own if not each.is_input and each.is_real]
    depth = list(_depth(real, images, thresholds))
    small = list(_small_layers(own, thresholds))
    fading = {name for found, run in depth if found.check == "vanishing" for name in run}
    told = [
        *_not_finite(own),
        *_float16(real, thresholds),
        *(found for found, _ in depth),
        *(_nearly_zero(run, usual) for run, usual in small if run[0].name not in fading and not _is_shut(run[0])),
        *_saturated(real, thresholds),
        *_channels(own, {each.name for run, _ in small for each in (run[1:] if _is_shut(run[0]) else run)}, thresholds),
    ]
    place = {each.name: at for at, each in enumerate(own)}
    return tuple(sorted(told, key=lambda found: place[found.layer]))


def reaches(found: Iterable[Finding], severity: Severity) -> bool:
    """Whether any finding is at this severity or above: `--check --fail-on` asks.

    >>> reaches([Finding("fc", "nearly-zero", "warning", "", "", "")], "error")
    False
    """
    return any(_SEVERITIES.index(each.severity) >= _SEVERITIES.index(severity) for each in found)


# -- layers ------------------------------------------------------------------------------------------------------

# What has exact zero for its floor. A type's name is that of a module's class or of an operation.
_RELU = frozenset(["relu", "relu6", "threshold"])
_SIGMOID = frozenset(["sigmoid", "logsigmoid"])
_SOFTMAX = frozenset(["softmax", "softmax2d", "logsoftmax", "gumbelsoftmax", "softmin"])
# Values that are moved or copied as they are: nothing begins here.
_MOVES = frozenset(
    "adaptivepad2d broadcastto cat chunk clone concat concatenate constantpad2d contiguous detach dropout dropout2d "
    "expand expandas flatten flip float float16 getitem half identity index indexselect interpolate movedim narrow "
    "pad permute pixelshuffle pixelunshuffle reflectionpad2d repeat repeatinterleave replicationpad2d reshape roll "
    "select split squeeze stack stochasticdepth swapaxes tensorsplit tile to transpose type unbind unflatten unfold "
    "unsqueeze upsample upsamplingbilinear2d upsamplingnearest2d view viewas zeropad2d channelshuffle".split()
)
_MASKING = frozenset(["maskedfill", "where", "triu", "tril", "full", "logsoftmax"])


def _for_all(sampled: np.ndarray, finite: int) -> np.ndarray:
    """How many of all finite values are in each cell, where the histogram may hold a share of them."""
    counted = sampled.sum()
    return np.rint(sampled * (finite / counted)).astype(np.int64) if counted else sampled


class _Layer:
    """A record with what several checks ask of it."""

    def __init__(self, record: LayerRecord) -> None:
        self.record = record
        self.name = record.layer.name
        self.kind = record.layer.kind
        self.type = record.layer.type_name.lower().replace("_", "")
        self.channels: ChannelStats = record.channels
        self.is_input = self.kind == "input"
        self.is_real = record.dtype.startswith(("float", "bfloat", "complex"))
        self.width = len(record.channels.mean)
        one = whole(record.channels)
        self.values = int(one.count)
        self.finite = int(one.finite[0])
        self.rms = float(one.l2[0]) / self.finite**0.5 if self.finite else float("nan")
        self.min, self.max = float(one.min[0]), float(one.max[0])
        self.sampled = None if one.histogram is None else one.histogram[0]
        self.histogram = None if one.histogram is None else _for_all(one.histogram[0], self.finite)

    @property
    def places(self) -> float:
        """Values a channel has for one image; 1 for a vector."""
        return self.channels.count / max(self.record.images, 1)

    @property
    def moves(self) -> bool:
        """Whether it only hands on what it reads, moved or summed up, so that no channel falls silent here."""
        return self.type in _MOVES or self.kind == "pool"

    @property
    def sample(self) -> str:
        """What the record was seen over, in words."""
        return f"over {_images(self.record.images)}, {_counted(self.channels.count, 'value')} a channel"

    def told(
        self, check: str, severity: Severity, what: str, advice: str, channels: Iterable[int] = (), sample: str = ""
    ) -> Finding:
        return Finding(
            self.name, check, severity, what, sample or self.sample, advice, tuple(int(each) for each in channels)
        )


def _counted(value: int, noun: str) -> str:
    return f"{count(value)} {noun}{'' if value == 1 else 's'}"


def _images(images: int) -> str:
    return _counted(images, "image")


def _further(others: Sequence[_Layer], most: int = 3) -> str:
    """Names of the layers, as many as a line holds."""
    named = ", ".join(each.name for each in others[:most])
    return named if len(others) <= most else f"{named} and {_counted(len(others) - most, 'other')}"


def _also(later: Sequence[_Layer], one: str, many: str) -> str:
    """A sentence that the same holds for later layers, with a space before it; empty where there are none."""
    verb = one if len(later) == 1 else many
    return f" {_counted(len(later), 'later layer')} ({_further(later)}) {verb} too." if later else ""


def _by_share(part: int, width: int, share: float, sound: bool) -> Severity:
    """How bad it is that `part` of `width` channels do nothing; a sample that proves little takes it down a step."""
    step = 2 if part == width and width > 1 else 1 if part >= share * width else 0
    return _SEVERITIES[step if sound else max(step - 1, 0)]


def _after(layers: Sequence[_Layer], at: int) -> _Layer | None:
    return layers[at + 1] if at + 1 < len(layers) else None


def _is_answer(layers: Sequence[_Layer], at: int) -> bool:
    """Whether no layer with weights reads what comes from here on: the network's own answer, free to be certain."""
    return not any(each.kind in ("conv", "linear") for each in layers[at + 1 :])


# -- NaN and infinity --------------------------------------------------------------------------------------------


def _not_finite(layers: Sequence[_Layer]) -> Iterator[Finding]:
    ill = [at for at, each in enumerate(layers) if each.finite < each.values and not _is_mask(layers, at)]
    if not ill:
        return
    first, later = layers[ill[0]], [layers[at] for at in ill[1:]]
    nan, inf = int(first.channels.nan.sum()), int(first.channels.inf.sum())
    where = np.flatnonzero(first.channels.nan + first.channels.inf)
    kinds = " and ".join(f"{count(amount)} {noun}" for amount, noun in ((nan, "NaN"), (inf, "infinite")) if amount)
    among = f"{kinds} of {_counted(first.values, 'value')}, in {len(where)} of {_counted(first.width, 'channel')}"
    follow = f"; {_counted(len(later), 'later layer')} {'has' if len(later) == 1 else 'have'} them too" if later else ""
    if first.is_input:
        what = f"the input already has values that are not finite: {among}{follow}."
        advice = "Look at the file and at --mean and --std: a picture has no such values, an array may."
    else:
        what = f"the first layer with values that are not finite: {among}{follow}."
        advice = (
            "Look for NaN among this layer's weights first; in training, go back to the last good checkpoint and lower "
            "the learning rate or clip gradients."
        )
    yield first.told("not-finite", "error", what, advice, where)


def _is_mask(layers: Sequence[_Layer], at: int) -> bool:
    """Whether infinities are meant: attention masks set to -inf what the softmax after it should leave out."""
    each, after = layers[at], _after(layers, at)
    if each.kind != "op" or each.channels.nan.any():
        return False
    return each.type in _MASKING or (after is not None and after.type in _SOFTMAX)


# -- float16 -----------------------------------------------------------------------------------------------------

_FLOAT16_SMALLEST_NORMAL = 2.0**-14


def _float16(layers: Sequence[_Layer], thresholds: Thresholds) -> Iterator[Finding]:
    limit = thresholds.float16_max
    wide = [each for each in layers if each.record.dtype != "float16" and each.finite]
    over = [each for each in wide if max(each.max, -each.min) > limit]
    if over:
        first = over[0]
        largest = max(max(each.max, -each.min) for each in over)
        more = _also(over[1:], "has such values", "have such values")
        beyond = f"{number(limit, 5)}{', the largest number of float16' if limit == 65504 else ''}"
        yield first.told(
            "float16-overflow",
            "warning",
            f"at least {_counted(_at_least_beyond(first, limit), 'value')} beyond {beyond}: "
            f"{number(first.min)} … {number(first.max)}.{more}"
            + (f" The largest magnitude of all is {number(largest)}." if more else ""),
            "Run it in bfloat16 or float32, or keep these layers in float32; such sizes often mean that a "
            "normalisation is missing or the input is not scaled.",
            np.flatnonzero(np.fmax(first.channels.max, -first.channels.min) > limit),
        )
    small = [
        (each, *_small(each)) for each in wide if each.type not in _SOFTMAX | _SIGMOID and each.histogram is not None
    ]
    lost = [(each, part, of) for each, part, of in small if of and part >= thresholds.float16_small_share * of]
    if lost:
        first, part, of = lost[0]
        later = [each for each, _, _ in lost[1:]]
        more = _also(later, "has as many", "have as many")
        yield first.told(
            "float16-underflow",
            "warning",
            f"{percent(part / of)} of the {count(of)} values that are not zero are below 2⁻¹⁴ = 6.1e-05, where float16 "
            f"loses digits.{more}",
            "Run it in bfloat16 or float32, or scale this layer up (in training, loss scaling does so for gradients).",
        )


def _at_least_beyond(layer: _Layer, limit: float) -> int:
    """How many values are surely beyond ±limit: whole cells that are, and an extreme that lies short of those."""
    surely = int(layer.max > limit) + int(layer.min < -limit)
    if layer.sampled is None:
        return surely
    cells = layer.sampled[(BIN_EDGES[:-1] >= limit) | (BIN_EDGES[1:] <= -limit)].sum()
    return max(surely, int(cells))


def _small(layer: _Layer) -> tuple[int, int]:
    """How many values are not zero and below float16's smallest normal number, and how many are not zero."""
    assert layer.histogram is not None
    zeros = int(layer.channels.zeros.sum())
    inner = (BIN_EDGES[1:] <= _FLOAT16_SMALLEST_NORMAL) & (BIN_EDGES[:-1] >= -_FLOAT16_SMALLEST_NORMAL)
    return max(0, int(layer.histogram[inner].sum()) - zeros), layer.finite - zeros


# -- through depth -----------------------------------------------------------------------------------------------


def _depth(layers: Sequence[_Layer], images: int, thresholds: Thresholds) -> Iterator[tuple[Finding, frozenset[str]]]:
    """Trends of the root mean square, each with the names of its layers."""
    for run in _runs(layers):
        if len(run) < thresholds.depth_layers:
            continue
        sizes = np.log2([each.rms for each in run])
        slope = _median_slope(sizes)
        total = float(sizes[-1] - sizes[0])
        steps = np.diff(sizes)
        steady = float(np.mean(np.sign(steps) == np.sign(slope)))
        # Single jumps are a network's own affair: the middle slope has to be steep, and most steps go its way.
        if abs(slope) < thresholds.depth_slope or steady < 0.75 or total * slope <= 0:
            continue
        bound = log2(thresholds.depth_ratio)
        if abs(total) < bound:
            continue
        crossed = next(each for each, size in zip(run, sizes, strict=True) if abs(size - sizes[0]) >= bound)
        grows = slope > 0
        yield (
            crossed.told(
                "exploding" if grows else "vanishing",
                "error" if abs(total) >= 2 * bound else "warning",
                f"the root mean square {'grows' if grows else 'falls'} from {number(run[0].rms)} at {run[0].name} to "
                f"{number(run[-1].rms)} at {run[-1].name}, about {number(2 ** abs(slope))} times "
                f"{'more' if grows else 'less'} with each of {len(run)} layers; here it has passed "
                f"{number(thresholds.depth_ratio)} times {'the first' if grows else 'less than the first'}.",
                "Initialise with the gain that fits the activation (He's for ReLU), or put a normalisation between "
                "these layers.",
                sample=f"over {_images(images)}, {len(run)} layers with no normalisation between them",
            ),
            frozenset(each.name for each in run[run.index(crossed) :]),
        )


def _runs(layers: Sequence[_Layer]) -> Iterator[list[_Layer]]:
    """Convolutions (of a network without, linear layers) with nothing between them that sets the scale anew.

    The last layer with weights is the answer and none of them; nor are those that see one value a channel (a gate
    beside the way). Where nothing but zeros or NaN comes out a run ends.
    """
    weighted = [each for each in layers if each.kind == "conv" or each.type == "linear"]
    maps = [each for each in weighted if each.places > 1]
    compared = {each.name for each in (maps or weighted)} - {each.name for each in weighted[-1:]}
    run: list[_Layer] = []
    for each in layers:
        if each.kind == "norm":
            yield run
            run = []
        elif each.name in compared:
            if each.rms > 0:
                run.append(each)
            else:
                yield run
                run = []
    yield run


def _median_slope(sizes: np.ndarray) -> float:
    """The median of the slopes between all pairs of points: Theil's estimator (1950), which outliers do not turn."""
    first, second = np.triu_indices(len(sizes), 1)
    return float(np.median((sizes[second] - sizes[first]) / (second - first)))


# -- whole layers ------------------------------------------------------------------------------------------------


def _small_layers(layers: Sequence[_Layer], thresholds: Thresholds) -> Iterator[tuple[list[_Layer], float]]:
    """Each group of layers that are nearly zero, until one is of ordinary size again, and what size the others had."""
    usual: list[float] = [each.rms for each in layers if each.is_input and each.finite]
    run: list[_Layer] = []
    median = 0.0
    for each in layers:
        if each.is_input or not _has_a_scale(each) or not each.finite:
            continue
        if run and each.rms < thresholds.nearly_zero_rms:
            run.append(each)
            continue
        if run:
            yield run, median
            run = []
        median = float(np.median(usual)) if usual else 0.0
        bound = min(thresholds.nearly_zero_rms, thresholds.nearly_zero_ratio * median)
        if each.rms < bound or each.rms == 0:
            run = [each]
        else:
            usual.append(each.rms)
    if run:
        yield run, median


def _is_shut(layer: _Layer) -> bool:
    """Whether all of a ReLU's channels are dead, which is told of its channels."""
    return layer.rms == 0 and bool(_dead(layer).all())


def _nearly_zero(run: Sequence[_Layer], usual: float) -> Finding:
    first, later = run[0], run[1:]
    size = "every value is exactly 0"
    if first.rms:
        largest = max(first.max, -first.min)
        size = f"the root mean square is {number(first.rms)} and no magnitude above {number(largest)}"
    than = f", where the layers before have {number(usual)} (their median)" if usual else ""
    return first.told(
        "nearly-zero",
        "warning",
        f"{size}{than}.{_also(later, 'is nearly zero', 'are nearly zero')}",
        "Look at this layer's weights: an initialisation too small, weights decayed to nothing, or a residual branch's "
        "last layer that starts at zero on purpose and was never trained.",
    )


def _has_a_scale(layer: _Layer) -> bool:
    """Whether being small is a fault: probabilities and gates are small by nature.

    An operation may make values small on purpose: ConvNeXt multiplies its branches by 1e-6.
    """
    if not layer.is_real or layer.type in _SOFTMAX | _SIGMOID | {"hardsigmoid"}:
        return False
    return layer.kind in ("conv", "linear", "norm", "act", "pool")


def _saturated(layers: Sequence[_Layer], thresholds: Thresholds) -> Iterator[Finding]:
    for at, each in enumerate(layers):
        if each.histogram is None or not each.finite:
            continue
        measured = _ends(each)
        if measured is None:
            continue
        part, of, where, clipped = measured
        limit = thresholds.clipped_share if clipped else thresholds.saturated_share
        if not of or part < limit * of:
            continue
        is_map_bound = each.type in ("relu6", "hardswish")
        if not is_map_bound and _is_answer(layers, at):
            continue
        gates = each.places == 1
        about = "about " if each.sampled is not None and int(each.sampled.sum()) < each.finite else ""
        noun = "rows" if each.type in _SOFTMAX else "gates" if gates and not is_map_bound else "values"
        yield each.told(
            "saturated",
            "note" if gates else "warning",
            f"{about}{percent(part / of)} of {count(of)} {noun} {where}.",
            "These pass on the input's differences no more, and no gradient: lower the scale of what comes in "
            "(normalisation, initialisation, learning rate)"
            + ("; a gate that is always open or shut can be removed." if gates else "."),
        )


def _ends(layer: _Layer) -> tuple[int, int, str, bool] | None:
    """(values at the flat ends, of how many, where in words, whether hard bounds clip) of a bounded activation."""
    assert layer.histogram is not None
    kind = layer.type
    if kind == "relu6":
        return _at(layer, 6.0), layer.finite, "are at the upper bound, 6", True
    if kind == "hardtanh":
        # The bounds are the module's own: an extreme that is an edge of the cells has in its cell nothing else.
        bounds = [bound for bound in dict.fromkeys((layer.min, layer.max)) if bound and bound in BIN_EDGES]
        named = " or ".join(number(bound) for bound in bounds)
        return sum(_at(layer, bound) for bound in bounds), layer.finite, f"are at a bound, {named}", True
    if kind == "hardswish":
        zeros = int(layer.channels.zeros.sum())
        return zeros, layer.finite, "are exactly 0, where its input is -3 or less", False
    if kind == "hardsigmoid":
        zeros = int(layer.channels.zeros.sum())
        return zeros + _at(layer, 1.0), layer.finite, "are exactly 0 or 1", False
    if kind == "sigmoid":
        ends = _above(layer, 15 / 16) + layer.finite - _above(layer, 1 / 16)
        return ends, layer.finite, "are below 1/16 or from 15/16 on", False
    if kind == "tanh":
        ends = _above(layer, 15 / 16) + int(layer.histogram[BIN_EDGES[1:] <= -15 / 16].sum())
        return ends, layer.finite, "are within 1/16 of -1 or 1", False
    if kind in ("softmax", "softmax2d"):
        rows = round(float(np.nansum(layer.channels.mean * layer.channels.finite)))  # each row adds up to 1
        return _above(layer, 15 / 16), rows, "have one value of at least 15/16: nearly one-hot", False
    return None


def _at(layer: _Layer, bound: float) -> int:
    """How many values are the bound: those in the cell that begins there, as no value lies beyond."""
    assert layer.histogram is not None
    found = np.searchsorted(BIN_EDGES, abs(bound))
    return int(layer.histogram[found if bound > 0 else len(layer.histogram) - 1 - found])


def _above(layer: _Layer, edge: float) -> int:
    assert layer.histogram is not None
    return int(layer.histogram[BIN_EDGES[:-1] >= edge].sum())


# -- channels ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Seen:
    """What is known of a layer's channels when the next one is looked at.

    `told` marks those whose silence has been reported, `groups` gives each channel the first of its copies.
    """

    told: np.ndarray
    constant: np.ndarray
    groups: np.ndarray


def _channels(layers: Sequence[_Layer], small: set[str], thresholds: Thresholds) -> Iterator[Finding]:
    """Dead, constant and copied channels, each where it begins."""
    last: _Seen | None = None
    by_width: dict[int, list[_Seen]] = {}
    few: list[tuple[_Layer, np.ndarray, str]] = []
    inputs = [each for each in layers if each.is_input and each.values]
    blank = bool(inputs) and all(_constant(each, thresholds).all() for each in inputs)
    for at, each in enumerate(layers):
        if not each.is_real:
            continue
        width = each.width
        constant = _constant(each, thresholds)
        groups = _copies(each, constant, thresholds)
        carried = _carried(each, last, by_width.get(width, []), constant)
        told = carried.told | (constant if each.moves else False)
        if not each.is_input and not each.moves:
            dead = _dead(each)
            if each.name in small:
                told[:] = True  # `nearly-zero` says so, and what follows from hardly anything is constant
            new = dead & ~told
            if new.any():
                cause = _shut_before(new, last)
                if each.record.images < thresholds.dead_images and not new.all():
                    few.append((each, new, cause))
                else:
                    yield _dead_finding(each, new, cause, thresholds)
            told |= dead
            still = constant & ~told & ~_at_gate_bounds(each)
            after = _after(layers, at)
            if after is not None and after.width == width:
                still &= ~_dead(after)  # told there: a channel shut by its normalisation is a dead channel
            if still.any() and not blank:
                yield _constant_finding(each, still, thresholds)
                told |= still
            fresh = _fresh_groups(groups, carried.groups)
            if fresh:
                yield _copied_finding(each, fresh, thresholds)
        last = _Seen(told, constant, groups)
        by_width.setdefault(width, []).append(last)
    if few:
        yield _few_dead(few, thresholds)


def _carried(each: _Layer, last: _Seen | None, alike: Sequence[_Seen], constant: np.ndarray) -> _Seen:
    """What of this layer's channels was so before it.

    A record does not say what a layer reads. Most read the layer before and keep its channels in place; operations
    read any with as many channels. What mixes channels hands on only what is constant on both sides, a depthwise
    convolution's, and a layer of which nothing varies leaves nothing that could.
    """
    width = each.width
    none = np.zeros(width, bool)
    found = _Seen(none.copy(), none.copy(), np.arange(width))
    if last is None:
        return found
    if each.kind in ("op", "block", "output", "other"):
        for seen in alike:
            found.told |= seen.told & (constant if not each.moves else True)
            found.groups = np.where(found.groups == np.arange(width), seen.groups, found.groups)
    elif len(last.told) == width:
        mixes = each.kind in ("conv", "linear") and not _is_depthwise(each)
        found.told |= last.told & constant if mixes else last.told
        found.groups = last.groups
    if last.constant.all() and last.told.all():
        found.told |= constant
    return found


def _is_depthwise(layer: _Layer) -> bool:
    """Whether a convolution has one square filter a channel, by its number of parameters."""
    per_channel, rest = divmod(layer.record.layer.parameters, layer.width) if layer.width else (0, 1)
    return rest == 0 and per_channel in {area + bias for area in (9, 25, 49, 81, 121, 169, 961) for bias in (0, 1)}


def _dead(layer: _Layer) -> np.ndarray:
    """Channels at their floor for good; bool `[C]`."""
    channels = layer.channels
    if layer.type in _RELU or (layer.type in ("clamp", "clip", "hardtanh") and layer.min == 0):
        return np.asarray((channels.max <= 0) & (channels.finite > 0))
    if layer.type == "hardswish":
        return np.asarray((channels.zeros == channels.count) & (channels.finite > 0))
    return np.zeros(layer.width, bool)


def _constant(layer: _Layer, thresholds: Thresholds) -> np.ndarray:
    """Channels with one value, seen more than once; bool `[C]`.

    Of plain operations none: they make constants on purpose (an empty canvas, a flow of zero to start from).
    """
    if layer.kind == "op":
        return np.zeros(layer.width, bool)
    channels = layer.channels
    with np.errstate(invalid="ignore"):
        size = np.fmax(np.abs(channels.min), np.abs(channels.max))
        return np.asarray((channels.finite > 1) & (channels.max - channels.min <= thresholds.constant_spread * size))


def _at_gate_bounds(layer: _Layer) -> np.ndarray:
    """Gates that stand open or shut are `saturated`, if they are many."""
    if layer.type != "hardsigmoid":
        return np.zeros(layer.width, bool)
    return np.isin(layer.channels.min, (0.0, 1.0))


def _dead_finding(layer: _Layer, dead: np.ndarray, cause: str, thresholds: Thresholds, among: str = "") -> Finding:
    part, seen = int(dead.sum()), layer.record.images
    return layer.told(
        "dead-channels",
        _by_share(part, layer.width, thresholds.dead_share, seen >= thresholds.dead_images),
        f"{count(part)} of {_counted(layer.width, 'channel')} never {'rises' if part == 1 else 'rise'} above zero"
        f"{among}.{cause} {_proof(seen, thresholds)}",
        _DEAD_ADVICE,
        np.flatnonzero(dead),
    )


def _few_dead(few: Sequence[tuple[_Layer, np.ndarray, str]], thresholds: Thresholds) -> Finding:
    """One note for all layers of which few images left some channels silent, at the one with the largest share."""
    worst, dead, cause = max(few, key=lambda each: float(each[1].mean()))
    of_all = sum(int(silent.sum()) for _, silent, _ in few)
    among = f", the largest share of {len(few)} layers with such channels ({count(of_all)} in all)"
    return _dead_finding(worst, dead, cause, thresholds, among if len(few) > 1 else "")


def _shut_before(dead: np.ndarray, last: _Seen | None) -> str:
    """A sentence, after a space, on those that do not vary in the layer before: its weights, not its input."""
    if last is None or len(last.constant) != len(dead) or not (dead & last.constant).any():
        return ""
    shut = int((dead & last.constant).sum())
    if shut == dead.sum():
        return f" {'It is' if shut == 1 else 'All of them are'} constant in the layer before: no input changes that."
    return f" {count(shut)} of them {'is' if shut == 1 else 'are'} constant in the layer before: no input changes that."


_DEAD_ADVICE = (
    "Lower the learning rate or the weight decay, start again with He's initialisation, or use LeakyReLU; for "
    "inference dead channels can be pruned."
)


def _proof(images: int, thresholds: Thresholds) -> str:
    """What silence in this many images says of further ones: the 95 % bound on how often the channel answers."""
    bound = 1 - 0.05 ** (1 / max(images, 1))
    if images >= thresholds.dead_images:
        return f"Such a channel answers to fewer than {percent(bound)} of images like these (95 % confidence)."
    sound = 1 - 0.05 ** (1 / thresholds.dead_images)
    return (
        f"{_images(images)} {'is' if images == 1 else 'are'} no proof: such a channel may still answer to "
        f"{percent(bound)} of others (95 % confidence); {_images(thresholds.dead_images)} would bring that to "
        f"{percent(sound)}."
    )


def _constant_finding(layer: _Layer, constant: np.ndarray, thresholds: Thresholds) -> Finding:
    part = int(constant.sum())
    held = layer.channels.mean[constant]
    low, high = number(held.min()), number(held.max())
    values = f"the value {low}" if low == high else f"one value each ({low} … {high})"
    seen = layer.record.images
    # Weights of zero show in two images; a bound that clips all of a channel, or one value an image, is their doing.
    sound = seen >= (2 if layer.places > 1 and layer.kind != "act" else thresholds.dead_images)
    return layer.told(
        "constant-channels",
        _by_share(part, layer.width, thresholds.constant_share, sound),
        f"{part} of {_counted(layer.width, 'channel')} {'holds' if part == 1 else 'hold'} {values} whatever the image "
        "and the place.",
        "Look for weights or a normalisation's scale that went to zero (weight decay, pruning); such channels carry "
        "nothing and can be folded into the next layer's bias.",
        np.flatnonzero(constant),
    )


# -- copies ------------------------------------------------------------------------------------------------------


def _copies(layer: _Layer, constant: np.ndarray, thresholds: Thresholds) -> np.ndarray:
    """For each channel the first with the very same numbers, its own index where there is none; int `[C]`."""
    groups = np.arange(layer.width)
    if layer.channels.count < thresholds.copied_values:
        return groups
    channels = layer.channels
    finite = channels.finite
    with np.errstate(invalid="ignore", over="ignore"):
        # The largest spread there is has all values at the two ends (Bhatia and Davis 2000): two values, of which a
        # clipped or hardly active channel may well share the number with another.
        two_valued = channels.m2 >= (1 - 1e-9) * finite * (channels.max - channels.mean) * (
            channels.mean - channels.min
        )
    rows = [channels.mean, channels.m2, channels.min, channels.max, channels.zeros, channels.nan, channels.inf]
    table = np.stack([np.asarray(row, np.float64) for row in rows], 1)  # [C, 7]
    by_channel = (
        channels.histogram if channels.histogram is not None and len(channels.histogram) == layer.width else None
    )
    first: dict[bytes, int] = {}
    for channel in np.flatnonzero(~constant & ~two_valued & (finite > 0)):
        key = table[channel].tobytes() + (b"" if by_channel is None else by_channel[channel].tobytes())
        groups[channel] = first.setdefault(key, int(channel))
    return groups


def _fresh_groups(groups: np.ndarray, carried: np.ndarray) -> list[list[int]]:
    """The groups of copies that were no copies before."""
    found: dict[int, list[int]] = {}
    for channel, first in enumerate(groups):
        found.setdefault(int(first), []).append(channel)
    return [
        members for members in found.values() if len(members) > 1 and len({int(carried[each]) for each in members}) > 1
    ]


def _copied_finding(layer: _Layer, groups: list[list[int]], thresholds: Thresholds, most: int = 4) -> Finding:
    spare = sum(len(members) - 1 for members in groups)
    shown = ["=".join(map(str, members[:6])) + ("=…" if len(members) > 6 else "") for members in groups[:most]]
    left = f" and {_counted(len(groups) - most, 'other group')}" if len(groups) > most else ""
    everything = spare == layer.width - 1 and layer.width > 2
    severity: Severity = "warning" if spare >= thresholds.copied_share * layer.width else "note"
    are = "is a copy of another" if spare == 1 else "are copies of others"
    return layer.told(
        "copied-channels",
        "error" if everything else severity,
        f"{spare} of {_counted(layer.width, 'channel')} {are}, alike in every number to the last bit: "
        f"{', '.join(shown)}{left}.",
        "Filters that start alike stay alike: look for a constant initialisation or weights copied by hand; copies "
        "can be merged, adding up the next layer's weights for them.",
        [channel for members in groups for channel in members],
    )
