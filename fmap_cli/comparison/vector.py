"""The values of a vector that differ most, where there are no maps to show: those of a classifier are its scores."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import units
from ..drawing.charts import BLUE, PLAIN, RED, rgb
from ..drawing.page import Key, draw_heading, draw_legend
from ..drawing.scene import INK, Plot, Scene, shorten, text_width
from .records import ComparedLayer, DrawnVector

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DRAWN = 12
_BARS = 30  # pixels of a value's two bars
_NAMES = 260  # of the names left of them
_NUMBERS = 190  # of the numbers right of them
_NAME_SIZE = 12


def drawn_vector(
    layers: Sequence[ComparedLayer], answer: Any = None, labels: Sequence[str] | None = None
) -> DrawnVector | None:
    """The last vector among the layers; its values have names where they are the network's answer, a score a class."""
    from torch import Tensor

    for each in reversed(layers):
        means = each.difference.means
        if each.layer.kind == "input" or each.same_as is not None or means is None:
            continue
        if prod(each.shape) != means.shape[1] or means.shape[1] < 2 or each.difference.channel is None:
            continue
        apart = np.nan_to_num(np.abs(means[1] - means[0]), nan=-1.0)
        order = [int(at) for at in np.argsort(-apart, kind="stable")[:_DRAWN] if apart[at] > 0]
        if not order:
            continue
        named = bool(labels) and isinstance(answer, Tensor) and tuple(answer.shape) == (1, len(labels or ()))
        same = named and np.array_equal(answer.detach().double().cpu().numpy()[0], means[1])
        names = tuple((labels or ())[at] for at in order) if same else ()
        return DrawnVector(each.layer, each.shape, tuple(order), means.shape[1], means[:, order], names)
    return None


def draw_vector(scene: Scene, vector: DrawnVector, top: int, left: int, width: int) -> int:
    """A's bar over B's for each value, the farthest apart first. Returns where it ends."""
    what = "scores" if vector.labels else "values"
    every = len(vector.drawn) == vector.count
    which = (
        f"all {what}" if every else f"the {len(vector.drawn)} of {units.count(vector.count)} {what} that differ most"
    )
    words = f"{units.one_line(vector.layer.type_name)} {units.shape(vector.shape)}: {which}, farthest apart first"
    y = draw_heading(scene, units.layer_name(vector.layer.name), words, left, top, width)
    x0, across = left + _NAMES, width - _NAMES - _NUMBERS
    y = draw_legend(scene, [Key("A", BLUE), Key("B", RED)], x0, y + 2, x0 + across) + 6
    height = _BARS * len(vector.drawn)
    scene.add(Plot("vector", x0, y, (height, across), partial(_draw_bars, vector=vector)))
    return y + height + 26


def _draw_bars(axes: Axes, vector: DrawnVector) -> None:
    where = np.arange(len(vector.drawn))
    for side, name, colour in ((0, "A", BLUE), (1, "B", RED)):
        axes.barh(where + (side - 0.5) * 0.36, vector.values[side], 0.34, color=rgb(colour), label=name)
    axes.axvline(0, color=rgb(INK), linewidth=0.7)
    axes.set_ylim(len(where) - 0.5, -0.5)
    axes.set_yticks(where, _names(vector), color=rgb(INK), **PLAIN)
    axes.grid(False, axis="y")
    axes.grid(True, axis="x")
    for at, (a, b) in enumerate(vector.values.T):
        said = f"A {units.number(float(a))}   B {units.number(float(b))}"
        axes.text(1.01, at, said, va="center", transform=axes.get_yaxis_transform())


def _names(vector: DrawnVector) -> list[str]:
    if not vector.labels:
        return [f"channel {at}" for at in vector.drawn]
    room = _NAMES - 20
    names = []
    for at, label in zip(vector.drawn, vector.labels, strict=True):
        number = f"  {at}"
        names.append(shorten(units.one_line(label), room - text_width(number, _NAME_SIZE), _NAME_SIZE) + number)
    return names
