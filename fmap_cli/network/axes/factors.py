"""What an axis of a tensor is made of, while a pass is followed; and what to call it in the end.

Every axis is a product of *factors*, the outermost first. `[B, H, W, C]` cut into 7 × 7 windows has an axis for the
windows along the height, one for the rows of a window, and so on: both are parts of the height, and joined in their
order they are the height again. Tokens are an axis of two factors, height and width, after those that come before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from ..shapes import blocks

PLACES = frozenset("THW")
"""Time, height and width."""
NEW = "+"
"""Made on the way: several tensors stacked, or one repeated. What it means nobody has said."""
UNKNOWN = "?"


@dataclass(frozen=True, slots=True)
class Factor:
    """So many steps along an axis of this kind (`B`, `C`, `T`, `H`, `W`, `N`, …), each of them `step` places wide.

    The axis it is a part of was `total` places long: a whole axis has step 1 and its own length. `tokens` is the axis
    itself where the factor stands for one that is no product: a grid of tokens and those before and after it.
    """

    kind: str
    length: int
    step: int
    total: int
    tokens: Axis | None = None

    @property
    def is_whole(self) -> bool:
        return self.step == 1 and self.length == self.total


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a tensor: its factors, and how many items stand `before` and `after` them (class tokens).

    An axis without factors has one item and no meaning yet.

    >>> Axis((whole("H", 14), whole("W", 14)), before=1).length
    197
    """

    factors: tuple[Factor, ...] = ()
    before: int = 0
    after: int = 0

    @property
    def cells(self) -> int:
        return prod(each.length for each in self.factors)

    @property
    def length(self) -> int:
        return self.before + self.cells + self.after

    @property
    def kinds(self) -> set[str]:
        return {each.kind for each in self.factors if each.length != 1 or each.kind == "B"} or {
            each.kind for each in self.factors
        }


FactoredAxes = tuple[Axis, ...]
"""One for each axis of a tensor."""

NOTHING = Axis()


def whole(kind: str, length: int) -> Factor:
    """All of an axis."""
    return Factor(kind, length, 1, length)


def axis(kind: str, length: int) -> Axis:
    """An axis of one kind."""
    return Axis((whole(kind, length),))


def unknown(shape: Sequence[int]) -> FactoredAxes:
    """Axes of which nothing is known."""
    return tuple(axis(UNKNOWN, length) for length in shape)


# -- changing length ---------------------------------------------------------------------------------------------


def resized(one: Axis, length: int) -> Axis:
    """The axis after an operation that leaves its meaning and may change its length: a slice, a padding, a mean.

    >>> resized(axis("W", 32), 16) == axis("W", 16)
    True
    """
    if one.length == length:
        return one
    if not one.factors and not one.before + one.after:
        return axis(NEW, length)
    if len(one.factors) == 1 and not one.before + one.after:
        (only,) = one.factors
        outermost = only.step * only.length == only.total
        return Axis((replace(only, length=length, total=only.step * length if outermost else only.total),))
    return axis(opaque(one), length)


def placed(one: Axis, kind: str | None, length: int) -> Axis:
    """An axis that a convolution or a pooling goes over: afterwards it is places on a map, whatever part it was.

    `kind` is what the operation calls it where nothing else is known, None to leave it.
    """
    kinds = one.kinds
    known = next(iter(kinds)) if len(kinds) == 1 else None
    if known in PLACES and not one.before + one.after:
        return axis(known, length)
    if one.length == length and known not in (None, UNKNOWN, NEW):
        return one
    if kind is not None and (known in (None, UNKNOWN, NEW) and len(kinds) < 2):
        return axis(kind, length)
    return resized(one, length)


def sliced(one: Axis, start: int, length: int, step: int = 1) -> Axis:
    """Items from `start` on, every `step`-th: tokens keep their grid where all of it is left."""
    if length == one.length and step == 1:
        return one
    if step == 1 and len(one.factors) > 1:
        first, last = one.before, one.before + one.cells
        if start <= first and start + length >= last:
            return Axis(one.factors, first - start, start + length - last)
    return resized(one, length)


def joined(parts: Sequence[Axis]) -> Axis:
    """Tensors one behind the other along this axis. What is not known beside a grid of tokens is before or after it."""
    length = sum(part.length for part in parts)
    grids = [at for at, part in enumerate(parts) if _are_cells(part)]
    if len(grids) == 1 and all(
        not part.kinds or part.kinds <= {UNKNOWN, NEW, "N"} for part in parts if not _are_cells(part)
    ):
        at = grids[0]
        return replace(
            parts[at],
            before=parts[at].before + sum(part.length for part in parts[:at]),
            after=parts[at].after + sum(part.length for part in parts[at + 1 :]),
        )
    kinds = {opaque(part) for part in parts if part.factors}
    told = kinds - {UNKNOWN, NEW}
    if len(told) == 1:
        return axis(told.pop(), length)
    if told and told <= PLACES | {"N"}:
        return axis("N", length)
    if told:
        return axis("C" if "C" in told else UNKNOWN, length)
    return axis(UNKNOWN if UNKNOWN in kinds else NEW, length)


def _are_cells(one: Axis) -> bool:
    """Whether an axis is all the places of a map or a clip, and maybe other items around them."""
    return is_grid(one) or ([each.kind for each in one.factors] == ["T", "H", "W"])


def is_grid(one: Axis) -> bool:
    """Whether an axis is height and width, in this order, and maybe other items around them.

    Both are whole, or both the outer parts (windows), or both the inner ones (cells of a window).
    """
    kinds = [each.kind for each in one.factors]
    return kinds == ["H", "W"] and len({(each.is_whole, each.step > 1) for each in one.factors}) == 1


# -- another shape -----------------------------------------------------------------------------------------------


def reshaped(factored: FactoredAxes, shape: Sequence[int]) -> FactoredAxes:
    """The axes of the same values, in the same order, in another shape.

    >>> windows = reshaped((axis("H", 56), axis("C", 96)), (8, 7, 96))
    >>> [[(each.kind, each.length, each.step) for each in one.factors] for one in windows]
    [[('H', 8, 7)], [('H', 7, 1)], [('C', 96, 1)]]
    >>> reshaped(windows, (56, 96)) == (axis("H", 56), axis("C", 96))
    True
    """
    old = [one.length for one in factored]
    if tuple(shape) == tuple(old):
        return factored
    found: dict[int, Axis] = {}
    for left, right in blocks(old, shape):
        for at, one in zip(right, _dealt([factored[at] for at in left], [shape[at] for at in right]), strict=True):
            found[at] = one
    return tuple(found[at] for at in range(len(shape)))


def _dealt(old: Sequence[Axis], lengths: Sequence[int]) -> list[Axis]:
    """The factors of some axes, dealt out in their order to axes of these lengths."""
    left = [each for one in old for each in _as_factors(one)]
    dealt: list[list[Factor]] = []
    for length in lengths:
        taken: list[Factor] = []
        need = length
        if need == 1 and left and left[0].length == 1:
            taken.append(left.pop(0))
        while need > 1:
            if not left:
                return [axis(UNKNOWN, each) for each in lengths]
            first = left.pop(0)
            if need % first.length == 0:
                taken.append(first)
                need //= first.length
            elif first.length % need == 0:
                rest = first.length // need
                taken.append(replace(first, length=need, step=first.step * rest, tokens=None))
                left.insert(0, replace(first, length=rest, tokens=None))
                need = 1
            else:
                kind = opaque(_merged([each for one in old for each in one.factors]))
                return [axis(kind if len(lengths) == 1 else UNKNOWN, each) for each in lengths]
        dealt.append(taken)
    if dealt:  # what is left has length 1
        dealt[-1] += left
    return [_merged(taken) for taken in dealt]


def _as_factors(one: Axis) -> tuple[Factor, ...]:
    if not one.before and not one.after:
        return one.factors
    return (replace(whole("N", one.length), tokens=one),)


def _merged(factors: Sequence[Factor]) -> Axis:
    """An axis of these factors: parts that belong together are one again, and channels are channels."""
    kept: list[Factor] = []
    several = any(each.length != 1 for each in factors)
    for each in factors:
        if several and each.length == 1 and each.kind != "B":
            continue
        last = kept[-1] if kept else None
        if last is not None and last.kind == each.kind and last.step == each.step * each.length:
            outermost = last.step * last.length == last.total
            total = each.step * last.length * each.length if outermost else last.total
            kept[-1] = Factor(each.kind, last.length * each.length, each.step, total)
        else:
            kept.append(each)
    if len(kept) > 1 and all(each.kind == "C" for each in kept):
        return axis("C", prod(each.length for each in kept))
    if len(kept) == 1 and kept[0].tokens is not None:
        return kept[0].tokens
    return Axis(tuple(kept))


def settled(factored: FactoredAxes) -> FactoredAxes:
    """The axes with what has become of parts: windows whose cells are gone (in the channels, or in a mean) are a map.

    So are the cells of a window whose number is gone. Places that took channels in are finer places, where there still
    are other channels.

    >>> merged = settled((Axis((Factor("H", 28, 2, 56),)), Axis((Factor("H", 2, 1, 56), whole("C", 96)))))
    >>> merged == (axis("H", 28), axis("C", 192))
    True
    """
    if all(each.is_whole for one in factored for each in one.factors) and all(len(one.factors) < 2 for one in factored):
        return factored
    found = list(factored)
    mixed = [at for at, one in enumerate(factored) if "C" in one.kinds and one.kinds & PLACES and "B" not in one.kinds]
    for at in mixed:
        places = factored[at].kinds & PLACES
        channels = any("C" in one.kinds for other, one in enumerate(factored) if other != at)
        cells = [each for each in factored[at].factors if each.kind in PLACES]
        inside = all(each.step == 1 and not each.is_whole for each in cells)
        inside &= all(each.is_whole for each in factored[at].factors if each.kind == "C")  # heads are not mixed in
        if inside and not channels and factored[at].kinds <= PLACES | {"C"}:
            found[at] = axis("C", factored[at].length)
        elif (
            channels
            and len(places) == 1
            and factored[at].factors[0].kind in places
            and factored[at].kinds == {*places, "C"}
        ):
            found[at] = axis(places.pop(), factored[at].length)
            kept = [other for other, one in enumerate(factored) if other not in mixed and "C" in one.kinds]
            if len(kept) == 1 and len(factored[kept[0]].factors) == 1:  # the channels that are left
                found[kept[0]] = axis("C", factored[kept[0]].length)
    parts = [each for one in found for each in one.factors if each.kind in PLACES and each.length > 1]
    for at, one in enumerate(found):
        if len(one.factors) > 1 and any(each.kind not in PLACES for each in one.factors):
            continue
        alone = [
            each.kind in PLACES
            and not each.is_whole
            and not any(other is not each and other.kind == each.kind for other in parts)
            for each in one.factors
        ]
        if any(alone):
            found[at] = replace(
                one,
                factors=tuple(
                    whole(each.kind, each.length) if lone else each
                    for each, lone in zip(one.factors, alone, strict=True)
                ),
            )
    return tuple(found)


# -- names -------------------------------------------------------------------------------------------------------

_MIXED = "places and channels"


def opaque(one: Axis) -> str:
    """The kind of an axis whose factors can no longer be told apart."""
    name = _own_name(one)
    if name == _MIXED:
        return "C" if one.factors[0].kind == "C" or not _has_whole_places(one) else "N"
    return name or NEW


def _own_name(one: Axis) -> str:
    """The name of an axis by itself; empty for one of length 1 without a meaning."""
    kinds = one.kinds
    if one.before or one.after:
        return "N"
    if not kinds:
        return ""
    if "B" in kinds and len(kinds) > 1:
        return "B·N" if kinds - {"B"} <= PLACES | {"N", "B·N"} else "B·?"
    if len(kinds) == 1:
        (kind,) = kinds
        parts = [each for each in one.factors if each.length != 1] or list(one.factors)
        if kind in PLACES:
            return kind if len(parts) == 1 and parts[0].is_whole else UNKNOWN
        if kind == "C":
            return "C" if len(parts) > 1 or parts[0].step == 1 else UNKNOWN
        return kind if all(each.is_whole for each in one.factors) else UNKNOWN
    if kinds <= PLACES | {"N"}:
        whole_axes = all(each.is_whole for each in one.factors if each.length != 1)
        return "N" if whole_axes and len({each.kind for each in one.factors}) == len(one.factors) else UNKNOWN
    if "C" in kinds and kinds <= PLACES | {"N", "C", NEW}:
        return _MIXED
    return UNKNOWN


def named(factored: FactoredAxes) -> tuple[str, ...]:
    """What to call the axes of a tensor.

    The first axis is the batch where no other is and it has length 1 and no meaning of its own. An axis that is made on
    the way is the channels where there are no others; so is one of length 1. Two of length 1 side by side are height
    and width that were pooled away, also once they have been repeated.

    >>> named((axis("B", 1), axis("C", 64), NOTHING, NOTHING))
    ('B', 'C', 'H', 'W')
    """
    names = [_own_name(one) for one in factored]
    if "C" in names:
        whole_places = {_MIXED: "N"}
        names = [
            (whole_places[name] if _has_whole_places(one) else UNKNOWN) if name == _MIXED else name
            for name, one in zip(names, factored, strict=True)
        ]
    elif _MIXED in names:
        at = names.index(_MIXED)
        names[at] = "N" if "" in names[1:] and _has_whole_places(factored[at]) else "C"
        names = [UNKNOWN if name == _MIXED else name for name in names]
    no_batch = len(names) > 1 and not any(name.startswith("B") for name in names)
    if no_batch and (not names[0] or (names[0] == NEW and "C" in names)):
        names[0] = "B"
    free = [at for at, name in enumerate(names) if not name]
    open_ones = [at for at, name in enumerate(names) if name in ("", NEW)]
    if "C" in names and len(open_ones) == 2 and not {"H", "W", "N", UNKNOWN} & {*names}:
        if open_ones[1] - open_ones[0] == 1 and names[open_ones[0]] == names[open_ones[1]]:
            names[open_ones[0]], names[open_ones[1]] = "H", "W"
    elif "C" not in names:
        made = [at for at, name in enumerate(names) if name == NEW]
        if len(made) == 1 or (not made and free):
            names[(made or free)[0]] = "C"
    first = names.index("C") if "C" in names else -1
    return tuple(
        UNKNOWN if name in ("", NEW) or (name == "C" and at != first) else name for at, name in enumerate(names)
    )


def _has_whole_places(one: Axis) -> bool:
    return {each.kind for each in one.factors if each.is_whole} >= {"H", "W"}


def grid_of(factored: FactoredAxes, names: Sequence[str]) -> tuple[tuple[int, int] | None, int]:
    """The grid that the tokens among these axes form, and how many come before it."""
    at = names.index("N") if names.count("N") == 1 else -1
    if at >= 0 and factored[at] == NOTHING:  # measured: the only window
        return (1, 1), 0
    if at < 0 or not is_grid(factored[at]):
        return None, 0
    high, wide = (each.length for each in factored[at].factors)
    return (high, wide), factored[at].before


def is_open(one: Axis) -> bool:
    """Whether measuring may tell more: nothing is known of an axis, or it is a part of the height, width or time."""
    return any(each.kind == UNKNOWN or (each.kind in PLACES and not each.is_whole) for each in one.factors)
