"""Filters that are dead, constant or not finite, and those that are the same, nearly the same up to a factor.

Every pair of filters is compared, in blocks: beside the weights themselves some 200 MB are taken, however many there
are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from .. import units
from .numbers import large
from .records import LARGE, Finding, KernelNumbers, Severity

TINY = 1e-3
"""A filter is tiny where its norm is under this share of the layer's largest; filters that are large left out."""

DEAD_SHARE, SAME_SHARE = 0.4, 0.1
"""Shares of a layer's filters from which on dead ones, and those that others equal, are a warning: `constant_share` and
`copied_share` of `fmap stats`, which sees what they put out."""

_NEARLY_ALL = 0.99
"""Share of a layer's sum of squares from which on large filters are nearly all of it."""

_BLOCK_WEIGHTS = 12_000_000
_BLOCK_FILTERS = 1024
_LONG, _PART, _SLACK = 512, 16, 1e-4  # from how many weights on one in 16 is looked at first; for rounding
_KEPT_PAIRS = 100
_NAMED = 6  # groups, pairs or channels that a sentence names


@dataclass(slots=True)
class Alike:
    """What comparing every pair came to: groups of equal filters, and pairs that are nearly equal, or so but for the
    sign; the closest first. The counts are of all pairs, the lists have the closest.
    """

    groups: list[tuple[int, ...]] = field(default_factory=list)
    near: list[tuple[int, int, float]] = field(default_factory=list)
    flipped: list[tuple[int, int, float]] = field(default_factory=list)
    near_count: int = 0
    flipped_count: int = 0


def compare(weight: np.ndarray, numbers: KernelNumbers, least: float, rounding: float) -> Alike:
    """Compare the filters `[O, ...]` that are finite and not zero, each as one vector.

    Two are equal where no weight differs by more than `rounding` times the larger filter's largest weight; nearly so
    where the cosine between them is `least` or more, and each other's negative where it is `-least` or less. Of filters
    that are the same to the last bit the first stands for all in these pairs.

    >>> rows = np.array([[1.0, 2, 3], [1, 2, 3], [-2, -4, -6], [3, -1, 0], [2, 4, 6.1]])
    >>> from .numbers import kernel_numbers
    >>> found = compare(rows, kernel_numbers(rows), 0.99, 1e-6)
    >>> found.groups, [pair[:2] for pair in found.near], [pair[:2] for pair in found.flipped]
    ([(0, 1)], [(0, 4)], [(0, 2), (2, 4)])
    """
    rows = weight.reshape(len(weight), -1)
    usable = np.flatnonzero((numbers.nan == 0) & (numbers.inf == 0) & (numbers.norm > 0))
    found = Alike()
    if rows.shape[1] < 2:  # one weight alone is always another's multiple
        return found
    leader = _same_bytes(rows, usable)
    firsts = np.array([at for at in usable if leader[at] == at], np.int64)
    most = np.maximum(np.abs(numbers.min), np.abs(numbers.max))
    for left, right, cosines in _near_pairs(rows, firsts, most, least):
        like = cosines > 0
        _join_equal(rows, most, leader, left[like], right[like], cosines[like], rounding)
        like &= _roots(leader, left) != _roots(leader, right)
        found.near_count += int(like.sum())
        found.flipped_count += int((cosines < 0).sum())
        for pairs, which in ((found.near, like), (found.flipped, cosines < 0)):
            a, b, values = left[which], right[which], cosines[which]
            closest = np.argsort(-np.abs(values), kind="stable")[:_KEPT_PAIRS]
            pairs += [(int(a[at]), int(b[at]), float(values[at])) for at in closest]
            pairs.sort(key=lambda pair: (-abs(pair[2]), pair[:2]))
            del pairs[_KEPT_PAIRS:]
    members: dict[int, list[int]] = {}
    for at, root in zip(usable, _roots(leader, usable), strict=True):
        members.setdefault(int(root), []).append(int(at))
    found.groups = [tuple(each) for each in members.values() if len(each) > 1]
    return found


def _same_bytes(rows: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """For each filter the first one that is the same to the last bit: most often itself."""
    leader = np.arange(len(rows))
    first: dict[bytes, int] = {}
    for at in usable:
        content = (rows[at] + 0.0).tobytes()  # -0 becomes 0
        leader[at] = first.setdefault(content if len(content) <= 64 else _digest(content), int(at))
    return leader


def _digest(content: bytes) -> bytes:
    import hashlib

    return hashlib.blake2b(content, digest_size=16).digest()


def _near_pairs(
    rows: np.ndarray, which: np.ndarray, most: np.ndarray, least: float
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """The pairs of these filters whose cosine is `least` or more, or `-least` or less, and the cosines; in blocks.

    Of long filters a part of the weights rules most pairs out: with u, v of length 1, u = (p, q) and v = (r, s) it is
    |u · v| ≤ |p · r| + |q| |s|, by Cauchy and Schwarz.
    """
    step = max(min(_BLOCK_WEIGHTS // rows.shape[1], _BLOCK_FILTERS), 1)
    parts = rests = None
    if rows.shape[1] >= _LONG:
        parts, rests = _part_of(rows, which, most)
    for start in range(0, len(which), step):
        for other in range(start, len(which), step):
            left, right = which[start : start + step], which[other : other + step]
            maybe = np.ones((len(left), len(right)), bool)
            if parts is not None and rests is not None:
                ours, theirs = slice(start, start + step), slice(other, other + step)
                most_of_rest = rests[ours, None] * rests[theirs]
                maybe = np.abs(parts[ours] @ parts[theirs].T) >= least - _SLACK - most_of_rest
            if start == other:
                maybe = np.triu(maybe, 1)
            a, b = np.nonzero(maybe)
            if not len(a):
                continue
            if len(a) < maybe.size // 16:
                values = _cosines(rows, left[a], right[b], most)
            else:
                values = (_unit_rows(rows, left, most) @ _unit_rows(rows, right, most).T)[a, b]
            is_near = np.abs(values) >= least
            yield left[a[is_near]], right[b[is_near]], values[is_near]


def _part_of(rows: np.ndarray, which: np.ndarray, most: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every 16th weight of the filters as vectors of length 1, `[N, K / 16]`, and how long what is left is, `[N]`."""
    blocks = [which[at : at + 256] for at in range(0, len(which), 256)]
    parts = np.concatenate([_unit_rows(rows, each, most)[:, ::_PART].astype(np.float32) for each in blocks])
    return parts, np.sqrt(np.maximum(1 - np.einsum("ij,ij->i", parts, parts), 0))


def _cosines(rows: np.ndarray, left: np.ndarray, right: np.ndarray, most: np.ndarray) -> np.ndarray:
    """The cosine of each of these pairs."""
    step = max(_BLOCK_WEIGHTS // 4 // rows.shape[1], 1)
    pieces = [slice(at, at + step) for at in range(0, len(left), step)]
    units_of = ((_unit_rows(rows, left[at], most), _unit_rows(rows, right[at], most)) for at in pieces)
    return np.concatenate([np.einsum("ij,ij->i", u, v) for u, v in units_of])


def _unit_rows(rows: np.ndarray, which: np.ndarray, most: np.ndarray) -> np.ndarray:
    """These filters as vectors of length 1; of small layers in float64."""
    wide = np.float64 if rows.size <= 8_000_000 else np.float32
    scaled = (rows[which] / most[which, None]).astype(wide)
    scaled /= np.sqrt(np.einsum("ij,ij->i", scaled, scaled, dtype=np.float64))[:, None].astype(wide)
    return scaled


def _roots(leader: np.ndarray, which: np.ndarray) -> np.ndarray:
    """The first filter of the group that each of these is in."""
    found = leader[which]
    while (leader[found] != found).any():
        found = leader[found]
    return found


def _join_equal(
    rows: np.ndarray,
    most: np.ndarray,
    leader: np.ndarray,
    left: np.ndarray,
    right: np.ndarray,
    cosines: np.ndarray,
    rounding: float,
) -> None:
    """Put pairs that differ by rounding alone into one group; `left` is sorted."""
    close = cosines > 1 - 1e-3
    left, right = left[close], right[close]
    for a in np.unique(left):
        others = right[left == a]
        others = others[_roots(leader, others) != _roots(leader, np.array([a]))[0]]
        if len(others):
            limit = rounding * np.maximum(most[others], most[a])
            for b in others[np.abs(rows[others] - rows[a]).max(1) <= limit]:
                first, second = sorted((int(_roots(leader, np.array([a]))[0]), int(_roots(leader, np.array([b]))[0])))
                leader[second] = first


# -- in words ------------------------------------------------------------------------------------------------------


def findings(
    layer: str,
    weight: np.ndarray,
    bias: np.ndarray | None,
    groups: int,
    numbers: KernelNumbers,
    near: float,
    rounding: float,
) -> tuple[Finding, ...]:
    """What a person should know about a layer's filters, the gravest first."""
    return (
        *_not_finite(layer, numbers),
        *_flat(layer, weight, bias, numbers),
        *_alike(layer, weight, bias, groups, numbers, near, rounding),
    )


def _not_finite(layer: str, numbers: KernelNumbers) -> Iterator[Finding]:
    for check, name, counts in (("nan", "NaN", numbers.nan), ("inf", "infinite", numbers.inf)):
        where = np.flatnonzero(counts)
        if len(where):
            total = units.count(int(counts.sum()))
            what = f"{total} weight{'s are' if counts.sum() > 1 else ' is'} {name}, in {channels(where)}"
            yield Finding(layer, check, "error", what, tuple(where.tolist()))


def _flat(layer: str, weight: np.ndarray, bias: np.ndarray | None, numbers: KernelNumbers) -> Iterator[Finding]:
    finite = (numbers.nan == 0) & (numbers.inf == 0)
    dead = np.flatnonzero(finite & (numbers.norm == 0))
    if len(dead):
        constant = bias is not None and bool(np.any(bias[dead] != 0))
        what = f"all weights of {channels(dead)} are zero: whatever comes in, the output is "
        what += "the bias" if constant else "0"
        yield Finding(layer, "dead-filters", _of_a_share(len(dead), len(weight), DEAD_SHARE), what, _all(dead))
    over = finite & large(np.where(finite, numbers.norm, 0))
    if over.any():
        yield _large_finding(layer, numbers.norm, finite, np.flatnonzero(over))
    largest = np.nanmax(numbers.norm[~over], initial=0.0)
    tiny = np.flatnonzero(finite & (numbers.norm > 0) & (numbers.norm < TINY * largest))
    if len(tiny):
        have = "has a norm" if len(tiny) == 1 else "have norms"
        what = f"{channels(tiny)} {have} under a thousandth of the layer's largest, {units.number(float(largest))}"
        what += ", those that are large beside all others left out" if over.any() else ""
        yield Finding(layer, "tiny-filters", "note", what, tuple(tiny.tolist()))
    if weight[0].size > 1:
        span = numbers.max - numbers.min
        even = np.flatnonzero(finite & (numbers.norm > 0) & (span <= 1e-6 * np.abs(numbers.max)))
        if len(even):
            what = f"all weights of {channels(even)} are equal: {'it takes' if len(even) == 1 else 'they take'} a mean"
            yield Finding(layer, "constant-filters", "note", what, tuple(even.tolist()))


def _large_finding(layer: str, norms: np.ndarray, finite: np.ndarray, over: np.ndarray) -> Finding:
    usual = float(np.median(norms[finite & (norms > 0)]))
    most = int(over[np.argmax(norms[over])])
    scaled = norms[finite] / norms[most]  # squares of 1e200 stay finite
    share = float(((norms[over] / norms[most]) ** 2).sum() / (scaled**2).sum())
    have = "has a norm" if len(over) == 1 else "have norms"
    what = (
        f"{channels(over)} {have} of {LARGE} times the layer's median or more, the most channel {most}: "
        f"{units.number(float(norms[most]))}, {units.number(float(norms[most]) / usual)} times {units.number(usual)}"
    )
    return Finding(layer, "large-filters", "warning" if share >= _NEARLY_ALL else "note", what, _all(over))


def _of_a_share(part: int, count: int, share: float) -> Severity:
    """How bad it is that so many filters say nothing of their own, as `fmap stats` has it of their channels."""
    if part == count > 1:
        return "error"
    return "warning" if part >= share * count else "note"


def _all(which: np.ndarray) -> tuple[int, ...]:
    return tuple(int(each) for each in which)


def _alike(
    layer: str,
    weight: np.ndarray,
    bias: np.ndarray | None,
    groups: int,
    numbers: KernelNumbers,
    near: float,
    rounding: float,
) -> Iterator[Finding]:
    found = compare(weight, numbers, near, rounding)
    each = len(weight) // groups
    same = [(part, split) for group in found.groups for part, split in _by_input(group, each)]
    for split in (False, True):
        those = [part for part, apart in same if apart == split]
        spare = sum(len(part) - 1 for part in those)
        everything = spare == len(weight) - 1 and len(weight) > 2
        severity = _of_a_share(len(weight) if everything else spare, len(weight), SAME_SHARE)
        severity = "note" if split else severity
        if those:
            if split:
                what = "; ".join(f"{channels(part)} have the same kernel" for part in those[:_NAMED])
                what += ", each for input channels of its own"
            else:
                what = "; ".join(_same_in_words(part, bias) for part in those[:_NAMED])
            what += f"; and {len(those) - _NAMED} more groups" if len(those) > _NAMED else ""
            members = tuple(sorted(at for part in those for at in part))
            yield Finding(layer, "same-kernels" if split else "same-filters", severity, what, members, tuple(those))
    least, most = f"≥ {near:g}", f"≤ {'-' if near else ''}{near:g}"
    for check, words, pairs, count in (
        ("near-filters", f"nearly the same up to a positive factor (cosine {least})", found.near, found.near_count),
        (
            "flipped-filters",
            f"nearly the same up to a negative factor (cosine {most})",
            found.flipped,
            found.flipped_count,
        ),
    ):
        if pairs:
            named = ", ".join(_pair(*pair, numbers.norm) for pair in pairs[:_NAMED])
            what = f"{units.count(count)} pair{'s' if count > 1 else ''} of channels {'are' if count > 1 else 'is'} "
            what += f"{words}: {named}{', …' if count > _NAMED else ''}"
            what += ", each for input channels of its own" if groups > 1 and each == 1 else ""
            members = tuple(sorted({at for pair in pairs for at in pair[:2]}))
            yield Finding(layer, check, "note", what, members, (), tuple(pairs))


def _by_input(group: tuple[int, ...], each: int) -> Iterator[tuple[tuple[int, ...], bool]]:
    """Equal filters that read the same input channels, or, where none do, those that read other ones (True)."""
    of_group: dict[int, list[int]] = {}
    for at in group:
        of_group.setdefault(at // each, []).append(at)
    for members in of_group.values():
        if len(members) > 1:
            yield tuple(members), False
    if len(of_group) > 1:
        yield group, True


def _same_in_words(part: Sequence[int], bias: np.ndarray | None) -> str:
    words = f"{channels(part)} are the same filter"
    if bias is not None and len({float(bias[at]) for at in part}) > 1:
        words += " with different biases"
    return words


def _pair(first: int, second: int, cosine: float, norms: np.ndarray) -> str:
    """A pair with the cosine, which ignores how long filters are, and the factor: the second's norm over the first's.

    >>> _pair(6, 7, 1.0, np.array([0, 0, 0, 0, 0, 0, 0.5, 1])), _pair(0, 1, -0.995, np.array([0.6, 0.6]))
    ('6 and 7 (1, factor 2)', '0 and 1 (-0.995, factor -1)')
    """
    factor = units.number(float(norms[second] / norms[first]))
    return f"{first} and {second} ({_cosine(cosine)}, factor {'-' if cosine < 0 else ''}{factor})"


def _cosine(value: float) -> str:
    """A cosine with as many digits as tell it from 1.

    >>> [_cosine(each) for each in (0.9912, 0.99996, 1.0, -0.995)]
    ['0.9912', '0.99996', '1', '-0.995']
    """
    size = min(abs(value), 1.0)
    digits = 4 if 1 - size > 1e-4 else 6
    return ("-" if value < 0 else "") + f"{size:.{digits}f}".rstrip("0").rstrip(".")


def channels(which: Sequence[int] | np.ndarray) -> str:
    """Channels in words, the first few of many.

    >>> channels([3]), channels([12, 40, 41]), channels(range(10))
    ('channel 3', 'channels 12, 40 and 41', '10 channels (0, 1, 2, 3, 4, 5, …)')
    """
    names = [str(int(each)) for each in which]
    if len(names) == 1:
        return f"channel {names[0]}"
    if len(names) > _NAMED + 2:
        return f"{units.count(len(names))} channels ({', '.join(names[:_NAMED])}, …)"
    return f"channels {', '.join(names[:-1])} and {names[-1]}"
