"""Axes after what goes over places: convolutions, poolings, resizing, windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from . import factors
from .calls import Call, fitted
from .factors import NOTHING, UNKNOWN, Axis, FactoredAxes

_CALLED = {1: (None,), 2: ("H", "W"), 3: ("T", "H", "W")}


def _over_places(one: FactoredAxes, shape: Sequence[int], places: int) -> FactoredAxes:
    """The last axes are gone over."""
    calls = _CALLED.get(places, (None,) * places)
    last = [factors.placed(*each) for each in zip(one[-places:], calls, shape[-places:], strict=True)]
    return (*one[:-places], *last)


def convolution(call: Call) -> FactoredAxes | None:
    one = call.first
    weight = call["packed_weight"].unpack()[0] if "packed_weight" in call.arguments else call["weight"]
    places = weight.ndim - 2
    if one is None:
        return None
    return convolved(one, call.shape, places)


def convolved(one: FactoredAxes, shape: Sequence[int], places: int) -> FactoredAxes:
    over = _over_places(one, shape, places)
    at = len(over) - places - 1
    batch = [
        each for each in one[at].factors if each.kind == "B"
    ]  # a filter for each item: the batch is in the channels
    if batch and shape[at] % batch[0].length == 0:
        channels = Axis((batch[0], factors.whole("C", shape[at] // batch[0].length)))
    elif shape[at] == 1 and one[at] == NOTHING:
        channels = NOTHING
    else:
        channels = factors.axis("C", shape[at])
    return (*over[:at], channels, *over[at + 1 :])


def deformed(call: Call) -> FactoredAxes | None:
    """`deform_conv2d`."""
    return None if call.first is None else convolved(call.first, call.shape, 2)


def pooling(call: Call) -> list[FactoredAxes | None]:
    one = call.first
    named = [each for each in str(call.function).rpartition("pool")[2][:1] if each.isdigit()]
    places = int(named[0]) if named else 2
    return [None if one is None else _over_places(one, tuple(each.shape), places) for each in call.outputs]


def resizing(call: Call) -> FactoredAxes | None:
    one = call.first
    return None if one is None else _over_places(one, call.shape, len(one) - 2)


def shuffled(call: Call) -> FactoredAxes | None:
    """Pixel shuffle and back: channels become places, or places channels."""
    one = fitted(call.first, call.shape)
    return None if one is None else (*one[:-3], factors.axis("C", call.shape[-3]), *one[-2:])


def windows_as_columns(call: Call) -> FactoredAxes | None:
    """`im2col`: `[B, C, H, W]` to `[B, C · k · k, N]`, a token for each place of the window."""
    one = call.first
    if one is None or len(one) != 4:
        return None
    sizes = []
    for at in range(2):
        kernel, gap, pad, step = (int(call[name][at]) for name in ("kernel_size", "dilation", "padding", "stride"))
        sizes.append((one[2 + at].length + 2 * pad - gap * (kernel - 1) - 1) // step + 1)
    high, wide = (factors.placed(one[2 + at], "HW"[at], size) for at, size in enumerate(sizes))
    tokens = Axis((*high.factors, *wide.factors))
    return (
        one[0],
        factors.axis("C", call.shape[1]),
        tokens if tokens.length == call.shape[2] else factors.axis("N", call.shape[2]),
    )


def columns_as_map(call: Call) -> FactoredAxes | None:
    one = call.first
    if one is None or len(call.shape) != 4:
        return None
    return one[0], factors.axis("C", call.shape[1]), factors.axis("H", call.shape[2]), factors.axis("W", call.shape[3])


def unfolded(call: Call) -> FactoredAxes | None:
    """`x.unfold(dim, size, step)`: the places of a window, and one more axis for what is in it."""
    one = call.first
    if one is None:
        return None
    at = call["dimension"] % len(one)
    size, count = int(call["size"]), call.shape[at]
    source = one[at]
    if len(source.factors) == 1 and not source.before + source.after:
        (only,) = source.factors
        outer = replace(only, length=count, step=only.step * size, total=only.step * size * count)
        inner = replace(only, length=size, total=only.total if only.total != size else 2 * size)
        return (*one[:at], Axis((outer,)), *one[at + 1 :], Axis((inner,)))
    return (*one[:at], factors.axis(UNKNOWN, count), *one[at + 1 :], factors.axis(UNKNOWN, size))


def sampled(call: Call) -> FactoredAxes | None:
    """`grid_sample`: the map's batch and channels, at the places of the grid."""
    one = call.first
    if one is None:
        return None
    places = len(call.shape) - 2
    return (
        *one[:2],
        *(factors.axis(str(kind), size) for kind, size in zip(_CALLED[places], call.shape[2:], strict=True)),
    )


def of_boxes(call: Call) -> FactoredAxes | None:
    """`roi_align`: a piece of the map for each box, of which an image may have any number."""
    one = call.first
    if one is None:
        return None
    boxes, channels, high, wide = call.shape
    items = Axis((factors.whole("B", 1), factors.whole(UNKNOWN, boxes)))
    return items, factors.axis("C", channels), factors.axis("H", high), factors.axis("W", wide)
