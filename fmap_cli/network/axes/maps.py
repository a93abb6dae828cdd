"""Which axes of an output are its channels, and the output as maps of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from ..records import Axes


def channel_axes(axes: Axes) -> tuple[int, ...]:
    """The positions of the axes whose items are told apart: those called `C`, or else the first of unknown meaning.

    >>> channel_axes(Axes(("B", "C", "H", "W"), "")), channel_axes(Axes(("B", "?", "N", "N"), ""))
    ((1,), (1,))
    """
    named = tuple(at for at, name in enumerate(axes.names) if name == "C")
    unknown = tuple(at for at, name in enumerate(axes.names) if name == "?")
    return named or unknown[:1]


def _places(axes: Axes) -> dict[int, str]:
    """The axes that are drawn as height, width or time, by position; tokens without a grid are a row of values."""
    found: dict[int, str] = {axes.names.index(name): name for name in ("T", "H", "W") if name in axes.names}
    tokens = [at for at, name in enumerate(axes.names) if name == "N"]
    if tokens and not {"H", "W"} & {*axes.names}:
        if axes.grid is not None:
            found[tokens[-1]] = "N"
        elif "T" not in axes.names:
            found[tokens[-1]] = "T"
    return found


def undrawn_axes(axes: Axes, shape: Sequence[int]) -> tuple[int, ...]:
    """The positions of the axes of which only the first item is drawn: the batch, and what is of unknown meaning.

    >>> undrawn_axes(Axes(("B", "?", "C", "H", "W"), ""), (1, 4, 6, 7, 7))
    (1,)
    """
    drawn = {*channel_axes(axes), *_places(axes)}
    return tuple(at for at, length in enumerate(shape) if at not in drawn and length > 1)


def channel_maps(output: Tensor, axes: Axes) -> Tensor:
    """The first item of the batch as `[C, T, H, W]`: what each channel looks like.

    T is 1 but for video; an output without spatial axes gives `[C, T, 1, 1]`, one value a channel (and token).
    Tokens before and after the grid are left out. Of axes of unknown meaning it is the first item as well.
    An output without values gives `[C, 1, 0, 0]`.
    """
    channels, places = channel_axes(axes), _places(axes)
    if not output.numel():
        return output.new_zeros((output.shape[channels[0]] if channels else 0, 1, 0, 0))
    order = [*channels, *sorted(places, key=lambda at: "NTHW".index(places[at]))]
    for at in range(output.ndim):
        if at not in order:
            output = output.narrow(at, 0, 1)
    output = output.permute((*order, *(at for at in range(output.ndim) if at not in order)))
    output = output.reshape(-1, *output.shape[len(channels) : len(order)])  # [C, ...]
    names = sorted(places.values(), key="NTHW".index)
    if "N" in names:
        assert axes.grid is not None
        high, wide = axes.grid
        output = output.narrow(1, axes.prefix, high * wide).unflatten(1, axes.grid).movedim((1, 2), (-2, -1))
        names = [*names[1:], "H", "W"]
    for at, name in enumerate(("T", "H", "W"), start=1):
        if name not in names:
            output = output.unsqueeze(at)
    return output  # [C, T, H, W]
