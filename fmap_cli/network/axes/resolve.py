"""One answer for a layer's axes: by its class, followed through the pass, measured, or by their number."""

from __future__ import annotations

import copy
import random
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..capture import capture
from ..records import Axes, LayerRef
from . import factors
from .factors import FactoredAxes
from .follow import AxisFollower
from .known import axes_by_layout, axes_by_module, axes_by_rank, has_known_axes
from .measure import Growth

FOLLOWED = "followed"
MEASURED = "measured"
BOTH = "followed and measured"
NOT_OF_THE_IMAGE = "nothing of the image is in it"


@dataclass(frozen=True, slots=True)
class Followed:
    """The layers of one pass in execution order with their outputs' shapes and what their axes are made of.

    None stands for an output that does not descend from the image; one that is laid over or beside one that does has
    its axes, and is among the `adopted`. `lost` are the operations that no rule follows.
    """

    layers: tuple[LayerRef, ...]
    shapes: Mapping[str, tuple[int, ...]]
    axes: Mapping[str, FactoredAxes | None]
    lost: tuple[str, ...]
    adopted: frozenset[str] = frozenset()


class Following:
    """Follows the axes of one pass: while `mode` is on, and of the layers that `note` is shown as they happen.

    `images` are the tensors of the input, each with its axes' names.
    """

    def __init__(self, images: Iterable[tuple[Tensor, str]]) -> None:
        self.mode = AxisFollower()
        for tensor, names in images:
            self.mode.start(tensor, names)
        self._layers: list[LayerRef] = []
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._factored: dict[str, FactoredAxes | None] = {}

    def note(self, layer: LayerRef, output: Tensor) -> None:
        self._layers.append(layer)
        self._shapes[layer.name] = tuple(output.shape)
        factored = self._factored[layer.name] = self.mode.axes_of(output)
        if factored is None:
            self.mode.waiting[id(output)] = weakref.ref(output), layer.name

    def found(self) -> Followed:
        adopted = self.mode.adopted
        axes = {**self._factored, **adopted}
        return Followed(tuple(self._layers), self._shapes, axes, tuple(self.mode.lost), frozenset(adopted))


def follow(module: nn.Module, inputs: tuple[Any, ...], images: Iterable[tuple[Tensor, str]]) -> Followed:
    """Run the network once and follow its axes; `images` are the tensors of the input, each with its axes' names."""
    following = Following(images)
    with following.mode:
        capture(module, inputs, lambda layer: partial(following.note, layer))
    return following.found()


class AxesResolver:
    """Says what the axes of a network's layers are, for inputs of one size; each way is gone once, when first needed.

    `follow` runs the network without its arithmetic, `follow_image` with it (for layers that only then run), `measure`
    at several sizes. Where one of them raises, `failures` keeps why, and the next way is gone.
    """

    def __init__(
        self,
        module: nn.Module,
        follow: Callable[[], Followed],
        follow_image: Callable[[], Followed],
        measure: Callable[[], Growth],
    ) -> None:
        self._modules = dict(module.named_modules())
        self._ways = {"following": follow, "following the image": follow_image, "measuring": measure}
        self._layout: str | None = None
        self.failures: dict[str, str] = {}

    def overruled(self, layout: str) -> AxesResolver:
        """A resolver for layers whose axes the user names: `BHWC`."""
        other = copy.copy(self)
        other._layout = layout
        return other

    def of(self, layer: LayerRef, shape: Sequence[int]) -> Axes:
        """The axes of a layer whose output has this shape. Raises LayerError where a user's letters do not fit it."""
        if self._layout is not None:
            return axes_by_layout(self._layout, layer.name, shape)
        axes = axes_by_module(self._modules.get(layer.path) if layer.is_module else None, shape)
        if axes is not None:
            return axes
        for followed in self._passes():
            if len(followed.shapes.get(layer.name, ())) == len(shape) and layer.name in followed.axes:
                return self._followed(layer.name, tuple(shape), followed)
        names = self._moved(layer.name, shape)
        if any(names):
            return Axes(_finished(names), MEASURED)
        usual = axes_by_rank(shape)
        return Axes(usual.names, usual.how + self._why_not(), usual.grid, usual.prefix)

    def batch_axis(self, layer: LayerRef, shape: Sequence[int]) -> int | None:
        """Which axis of a layer's output is the batch alone; -1 where nothing of the image is in it, None where nobody
        knows. By class and by following: nothing is measured.
        """
        axes = axes_by_module(self._modules.get(layer.path) if layer.is_module else None, shape)
        names: Sequence[str] = () if axes is None else axes.names
        if axes is None and self._blank is not None and len(self._blank.shapes.get(layer.name, ())) == len(shape):
            factored = self._blank.axes[layer.name]
            if factored is None:
                return -1
            names = factors.named(factored)
        return names.index("B") if list(names).count("B") == 1 else None

    @property
    def is_prepared(self) -> bool:
        """Whether the network was followed, or need not be."""
        return self._layout is not None or "_blank" in self.__dict__

    def learn(self, followed: Followed) -> None:
        """Take over what was followed beside a pass without arithmetic that somebody made for more than axes."""
        self.__dict__["_blank"] = followed

    def prepare(self) -> AxesResolver:
        """Follow now, before the network itself runs: one that caches something has other operations the next time."""
        if self._layout is None:
            _ = self._blank
        return self

    def prepare_for(self, paths: Iterable[str] | None) -> AxesResolver:
        """Follow now if a module with one of these paths is of a class that does not say what its axes are, or if they
        are not known (None)."""
        is_known = paths is not None and all(has_known_axes(self._modules.get(path)) for path in paths)
        return self if is_known else self.prepare()

    def layers(self) -> tuple[tuple[LayerRef, tuple[int, ...]], ...]:
        """Every layer that was followed with its output's shape, in execution order."""
        followed = self._blank
        return () if followed is None else tuple((each, followed.shapes[each.name]) for each in followed.layers)

    @cached_property
    def _blank(self) -> Followed | None:
        return self._go("following")

    @cached_property
    def _real(self) -> Followed | None:
        return self._go("following the image")

    @cached_property
    def growth(self) -> Growth | None:
        return self._go("measuring")

    def _passes(self) -> Iterator[Followed]:
        if self._blank is not None:
            yield self._blank
        if self._real is not None:  # only where the layer is not among those of the pass before
            yield self._real

    def _go(self, way: str) -> Any:
        try:
            with _random_numbers_kept():
                return self._ways[way]()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # the pass over the image itself will say what is wrong
            self.failures[way] = f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}"
            return None

    def _why_not(self) -> str:
        return "".join(f"; {way} failed: {why}" for way, why in list(self.failures.items())[:1])

    def _moved(self, name: str, shape: Sequence[int]) -> tuple[str, ...]:
        growth = self.growth
        moved = growth.moved.get(name, ()) if growth is not None else ()
        return moved if len(moved) == len(shape) else ("",) * len(shape)

    def _followed(self, name: str, shape: tuple[int, ...], followed: Followed) -> Axes:
        factored = followed.axes[name]
        if factored is None:
            return Axes(("?",) * len(shape), NOT_OF_THE_IMAGE)
        names, how = factors.named(factored), FOLLOWED
        is_open = any(_is_open(one, each, names) for one, each in zip(factored, names, strict=True))
        if is_open and name not in followed.adopted:
            moved = self._moved(name, shape)
            if any(moved):
                better = _refined(factored, names, moved)
                if better != names:
                    names, how = better, BOTH if any(each != "?" for each in names) else MEASURED
            elif followed.lost and all(each == "?" for each in names):
                how = f"not followed through {', '.join(followed.lost[:2])}"
        grid, prefix = factors.grid_of(factored, names)
        if grid is not None and shape[names.index("N")] != factored[names.index("N")].length:
            grid, prefix = None, 0  # of another size than was followed
        if grid is None and how in (BOTH, MEASURED) and names.count("N") == 1:
            grid, prefix = _grid_before(name, shape[names.index("N")], followed)
        return Axes(names, how, grid, prefix)


@contextmanager
def _random_numbers_kept() -> Iterator[None]:
    """Whatever is drawn inside, the next numbers are those that would have come without it."""
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _grid_before(name: str, length: int, followed: Followed) -> tuple[tuple[int, int] | None, int]:
    """The grid of as many tokens that was last followed before this layer, for tokens that were measured.

    A product over the tokens (MLP-Mixer's) makes new ones, of which following alone knows nothing.
    """
    found: tuple[tuple[int, int] | None, int] = None, 0
    for layer in followed.layers:
        if layer.name == name:
            break
        factored = followed.axes.get(layer.name)
        names = factors.named(factored) if factored is not None else ()
        if factored is not None and names.count("N") == 1 and factored[names.index("N")].length == length:
            grid, prefix = factors.grid_of(factored, names)
            found = (grid, prefix) if grid is not None else found
    return found


def _is_open(one: factors.Axis, name: str, names: Sequence[str]) -> bool:
    """Whether measuring may tell what an axis is. One of length 1 beside places may be the only window."""
    if one == factors.NOTHING:
        return "N" in names if name == "C" else name == "?" and not {"H", "N"}.isdisjoint(names)
    return name == "?" and factors.is_open(one)


def _refined(factored: FactoredAxes, names: tuple[str, ...], moved: Sequence[str]) -> tuple[str, ...]:
    """The names with those put in that were measured, where following leaves it open.

    Of an axis cut in two that part is the height which grows with it: the number of windows, or, where that is fixed,
    the cells of one. Windows on the batch axis are the places already.
    """
    found = list(names)
    for at, (one, name, grown) in enumerate(zip(factored, names, moved, strict=True)):
        if not grown or not _is_open(one, name, names):
            continue
        if factors.UNKNOWN in one.kinds or "B·N" not in names:
            found[at] = grown
            # Where there is a single window its cells looked like all of the map.
            found = [
                "?" if other == grown and place != at and not moved[place] else other
                for place, other in enumerate(found)
            ]
    if "C" not in found and all(factors.UNKNOWN in one.kinds for one in factored):
        return _finished([each if each != "?" else "" for each in found])
    return tuple(found)


def _finished(names: Sequence[str]) -> tuple[str, ...]:
    """Of measured axes the only one that never moves is the channels; of several nobody knows."""
    unmoved = [at for at, name in enumerate(names) if not name]
    return tuple("C" if unmoved == [at] else name or "?" for at, name in enumerate(names))
