"""Which layers a user means: patterns to layers, decided while the forward pass runs.

Deciding during the pass keeps it to one: the names of operations exist only once they have happened. A
pattern is a layer's name, a glob over names (`layer?.0.conv1`, `*.relu*`), or, where the model has no layer of
that name, `conv3` (the third convolution in execution order), `first` or `last` (the first and the last module
whose output is a spatial map).
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Container, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..errors import LayerError
from .kinds import module_kind
from .records import LayerRef

if TYPE_CHECKING:
    from torch import nn

_ORDINAL = re.compile(r"conv([1-9][0-9]*)")


class Selection:
    """The layers that `patterns` pick out of one pass.

    Offer each layer in execution order; afterwards `chosen()` lists the layers picked, in execution order.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
    >>> selection = Selection(["conv1"], net)
    >>> selection.offer(LayerRef("0", "0", 0, "conv", "Conv2d", is_module=True), (1, 8, 4, 4))
    True
    >>> selection.offer(LayerRef("1", "1", 0, "act", "ReLU", is_module=True), (1, 8, 4, 4))
    False
    >>> [(layer.name, asked) for layer, asked in selection.chosen()]
    [('0', 'conv1')]
    """

    def __init__(self, patterns: Sequence[str], module: nn.Module) -> None:
        self._modules = dict(module.named_modules())
        self.patterns = [pattern.strip() for pattern in patterns]
        self.seen: list[LayerRef] = []
        self._picked: dict[str, list[LayerRef]] = {pattern: [] for pattern in self.patterns}
        self._convolutions = 0

    @property
    def needs_operations(self) -> bool:
        """Whether a pattern may mean more than the calls of modules it names outright."""
        return not all(pattern in self._modules and pattern for pattern in self.patterns)

    @property
    def paths(self) -> frozenset[str] | None:
        """The only modules that need watching; None where any may."""
        return None if self.needs_operations else frozenset(self.patterns)

    def offer(self, layer: LayerRef, shape: Sequence[int]) -> bool:
        """Whether the layer is picked, as far as can be known now."""
        self.seen.append(layer)
        if self._is_convolution(layer):
            self._convolutions += 1
        matches = [pattern for pattern in self._picked if self._matches(pattern, layer, shape)]
        for pattern in matches:
            if pattern == "last" and "last" not in self._modules:
                self._picked["last"] = [layer]
            else:
                self._picked[pattern].append(layer)
        return bool(matches)

    def wanted(self) -> frozenset[str]:
        """The names picked so far; a layer that was `last` for a while drops out again."""
        return frozenset(layer.name for layers in self._picked.values() for layer in layers)

    def chosen(self) -> list[tuple[LayerRef, str]]:
        """The picked layers in execution order, each with the pattern that picked it first.

        Raises LayerError for a pattern that picked nothing, with the nearest names there are.
        """
        for pattern, layers in self._picked.items():
            if not layers:
                raise self._nothing_matches(pattern)
        asked: dict[str, str] = {}
        for pattern, layers in self._picked.items():
            for layer in layers:
                asked.setdefault(layer.name, pattern)
        return [(layer, asked[layer.name]) for layer in self.seen if layer.name in asked]

    def kept(self, found: Container[str], kinds: Sequence[str]) -> list[LayerRef]:
        """The picked layers of which something was `found`, in execution order: those of these kinds.

        Raises LayerError where that is none, and what `chosen` raises.
        """
        picked = [layer for layer, _ in self.chosen()]
        kept = [layer for layer in picked if layer.name in found]
        if not kept:
            there = ", ".join(dict.fromkeys(layer.kind for layer in picked))
            others = "" if "*" in self.patterns else "; the pattern '*' picks all layers"
            raise LayerError(
                f"no layer of kind {' or '.join(kinds)} among these.", hint=f"Their kinds are {there}{others}."
            )
        return kept

    def _matches(self, pattern: str, layer: LayerRef, shape: Sequence[int]) -> bool:
        if pattern == layer.name or (pattern == layer.path and layer.is_module and layer.call == 0):
            return True  # a module's name stands for all tensors it puts out: `fpn` for `fpn.0`, `fpn.1`
        if any(character in pattern for character in "*?["):
            return fnmatchcase(layer.name, pattern)
        if pattern in self._modules:
            return False
        if pattern in ("first", "last"):
            return layer.is_module and _is_spatial(shape) and (pattern == "last" or not self._picked["first"])
        ordinal = _ORDINAL.fullmatch(pattern)
        if ordinal is None:
            return False
        return self._is_convolution(layer) and self._convolutions == int(ordinal.group(1))

    def _is_convolution(self, layer: LayerRef) -> bool:
        """A convolution counts once: the operation inside a convolution module is not another one."""
        if layer.kind != "conv":
            return False
        return layer.is_module or module_kind(self._modules[layer.path]) != "conv"

    def _program_around(self, path: str) -> str | None:
        """The outermost scripted module that this module is in, `` for the network; None where there is none."""
        import torch

        names = path.split(".")
        outer = (".".join(names[:end]) for end in range(len(names)))
        return next((each for each in outer if isinstance(self._modules.get(each), torch.jit.ScriptModule)), None)

    def _nothing_matches(self, pattern: str) -> LayerError:
        hint = "`fmap layers` with the same --model lists them all."
        ordinal = _ORDINAL.fullmatch(pattern)
        if pattern in self._modules and pattern:
            program = self._program_around(pattern)
            if program is not None:
                return LayerError(
                    f"layer {pattern!r} is inside {program or 'the network'}, which torch.jit.script made one program:"
                    " of a program only the output can be seen.",
                    hint=f"Look at its output, --layer {program}." if program else "Build it without torch.jit.script.",
                )
            return LayerError(
                f"layer {pattern!r} exists, but this forward pass did not call it (as heads that only training uses,"
                " and modules of which the weights are read by another).",
                hint=hint,
            )
        if ordinal is not None:
            number = self._convolutions
            return LayerError(
                f"no layer {pattern!r}: the model runs {number} convolution{'s' if number != 1 else ''}.", hint=hint
            )
        if pattern in ("first", "last"):
            return LayerError(
                f"no {pattern} spatial layer: no module of this model has a map with height and width as its output.",
                hint=f"Give a layer by its name, --layer NAME; {hint}",
            )
        near = near_names(pattern, [layer.name for layer in self.seen])
        if near:
            hint = f"Did you mean {' or '.join(near)}? {hint}"
        what = "no layer matches" if any(c in pattern for c in "*?[") else "no layer"
        return LayerError(f"{what} {pattern!r}.", hint=hint)


def _is_spatial(shape: Sequence[int]) -> bool:
    """Whether a shape is that of a map with more than one cell."""
    return len(shape) >= 4 and shape[-1] * shape[-2] > 1


def pick_names(
    kinds_of: Mapping[str, str], patterns: Sequence[str], kinds: Sequence[str] = (), among: str = "these runs"
) -> frozenset[str]:
    """The names of saved layers (name → kind) that patterns and kinds pick; without patterns all of these kinds.

    Nothing runs, so a pattern is a name or a glob; `among` says in messages what is searched. Raises LayerError for a
    pattern that picks nothing, or where no layer is left.

    >>> sorted(pick_names({"conv1": "conv", "bn1": "norm", "fc": "linear"}, ["*1"], ["conv"]))
    ['conv1']
    """
    picked = set() if patterns else set(kinds_of)
    for pattern in patterns:
        matches = {name for name in kinds_of if name == pattern or fnmatchcase(name, pattern)}
        if not matches:
            near = near_names(pattern, list(kinds_of))
            wish = f"Did you mean {' or '.join(near)}?" if near else "Give a layer's name or a glob ('layer1.*')."
            raise LayerError(f"no layer {pattern!r} in {among}.", hint=wish)
        picked |= matches
    left = frozenset(name for name in picked if not kinds or kinds_of[name] in kinds)
    if not left:
        raise LayerError(
            f"no layer of kind {' or '.join(kinds)} among these.",
            hint=f"Their kinds are {', '.join(dict.fromkeys(kinds_of.values()))}.",
        )
    return left


def near_names(name: str, names: Sequence[str], count: int = 3) -> list[str]:
    """The names nearest to one that does not exist, in their own order: those of several words of which it is one, or
    else those that are spelt alike.

    >>> near_names("layer1.0.conv", ["layer1.0.conv1", "layer1.0.conv2", "fc"])
    ['layer1.0.conv1', 'layer1.0.conv2']
    >>> near_names("cat", ["castle", "tiger cat"])
    ['tiger cat']
    """
    of_words = [each for each in dict.fromkeys(names) if " " in each and name.casefold() in each.casefold().split()]
    if of_words:
        return of_words[:count]
    folded = {each.lower(): each for each in names}
    near = difflib.get_close_matches(name.lower(), list(folded), n=count, cutoff=0.6)
    near += [each for each in folded if name.lower() in each and each not in near]
    near = near[:count]
    return [original for each, original in folded.items() if each in near]


class OfLayer(Protocol):
    """Whatever a list has a row of for each layer."""

    @property
    def layer(self) -> LayerRef: ...
    @property
    def shape(self) -> tuple[int, ...]: ...


_Row = TypeVar("_Row", bound=OfLayer)


def names_picked(module: nn.Module, rows: Sequence[OfLayer], patterns: Sequence[str]) -> set[str]:
    """The names of the layers that the patterns pick; all of them without one. Raises LayerError."""
    selection = Selection(patterns or ("*",), module)
    for each in rows:
        selection.offer(each.layer, each.shape)
    return {layer.name for layer, _ in selection.chosen()}


def of_kinds(rows: Sequence[_Row], kinds: Sequence[str]) -> list[_Row]:
    """The rows of these kinds; all of them without one. Raises LayerError where that leaves none."""
    if not kinds or not rows:
        return list(rows)
    kept = [each for each in rows if each.layer.kind in kinds]
    if not kept:
        there = ", ".join(dict.fromkeys(each.layer.kind for each in rows))
        raise LayerError(f"no layer of kind {' or '.join(kinds)} among these.", hint=f"Their kinds are {there}.")
    return kept
