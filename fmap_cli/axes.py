"""What the axes of a layer's output mean, measured rather than guessed; and the output as maps of its channels.

The network runs on the meta device, where tensors have shapes and no data, once as it is and once each with a
larger batch, height and width (and a longer clip). An axis that grows with the height is the height. That takes
tenths of a second and no weights, and it is right for layouts nobody announced: torchvision's Swin puts out
`[B, H, W, C]`, its ViT `[B, 1 + h·w, C]`.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from math import isqrt, prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .capture import Sink, capture
from .errors import LayerError
from .records import Axes, LayerRef

_BY_RANK = {
    0: (),
    1: ("C",),
    2: ("B", "C"),
    4: ("B", "C", "H", "W"),
    5: ("B", "C", "T", "H", "W"),
}
_GROWTH = 64
"""How many pixels height and width grow by: two cells of a map 32 times smaller than the image."""

_MOST_PREFIX = 16
"""Tokens before a grid that are believed where their number cannot be measured: class, distillation, registers."""

_CELLS = "cells of a window"
"""The name, while axes are measured, of one that grows with the image and counts no places in it; in the end `?`."""

MakeInputs = Callable[[int, int, int, int], tuple[Any, ...]]
"""Inputs for a batch, height, width and number of frames, on the default device."""


# -- by rank: the fallback ---------------------------------------------------------------------------------------


def axes_by_rank(shape: Sequence[int]) -> Axes:
    """The usual meaning of an output of this shape in PyTorch: `[B, C, H, W]` and its kin.

    Three axes are tokens, `[B, N, C]`; they form a grid where N or N - 1 (a class token first) is a square.

    >>> axes_by_rank([1, 64, 112, 112]).names, axes_by_rank([1, 197, 768]).grid
    (('B', 'C', 'H', 'W'), (14, 14))
    """
    how = "by the number of axes"
    if len(shape) == 3:
        tokens = shape[1]
        for prefix in (0, 1):
            side = isqrt(max(tokens - prefix, 0))
            if side > 1 and side * side == tokens - prefix:
                return Axes(("B", "N", "C"), how, grid=(side, side), prefix=prefix)
        return Axes(("B", "N", "C"), how)
    return Axes(_BY_RANK.get(len(shape), ("?",) * len(shape)), how)


_CHANNELS_SECOND = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.GroupNorm,
    nn.LocalResponseNorm,
)


def defines_axes(module: nn.Module | None) -> bool:
    """Whether torch.nn documents the module's output as `[B, C, H, W]`, or `[B, C, T, H, W]`."""
    return isinstance(module, _CHANNELS_SECOND)


def axes_by_module(module: nn.Module | None, shape: Sequence[int]) -> Axes | None:
    """What torch.nn documents of a module's output; None for a module that takes any layout.

    >>> axes_by_module(nn.Conv2d(3, 8, 3), [1, 8, 5, 5]).names, axes_by_module(nn.ReLU(), [1, 8, 5, 5])
    (('B', 'C', 'H', 'W'), None)
    """
    if defines_axes(module) and len(shape) in (4, 5):
        return Axes(_BY_RANK[len(shape)], f"by {type(module).__name__}'s definition")
    return None


def axes_by_layout(layout: str, layer: str, shape: Sequence[int]) -> Axes:
    """The axes a user names, one letter each: `BHWC`. Tokens (`N`) that are a square, or one more, form a grid.

    Raises LayerError where they do not fit the output.

    >>> axes_by_layout("BHWC", "norm", [1, 7, 7, 96]).names
    ('B', 'H', 'W', 'C')
    """
    names = tuple(layout.upper())
    if len(names) != len(shape):
        raise LayerError(
            f"--layout {layout} names {len(names)} axes, and layer {layer!r} puts out {len(shape)}: {list(shape)}.",
            hint="Give one letter for each axis: B batch, C channel, T time, H height, W width, N tokens.",
        )
    if "N" in names:
        usual = axes_by_rank([1, shape[names.index("N")], 1])
        return Axes(names, "as --layout says", usual.grid, usual.prefix)
    return Axes(names, "as --layout says")


# -- measured ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Measurement:
    """Every layer of the network in execution order with its output's shape for a batch of one, and its axes.

    `how` says in a sentence how far the measuring got.
    """

    layers: tuple[LayerRef, ...]
    shapes: Mapping[str, tuple[int, ...]]
    axes: Mapping[str, Axes]
    how: str


_Shapes = dict[str, tuple[int, ...]]


def within(path: str, inner: Measurement) -> Measurement:
    """The measurement of a submodule, with its layers named from the whole network."""

    def outer(name: str) -> str:
        return f"{path}.{name}"

    return Measurement(
        tuple(replace(each, name=outer(each.name), path=outer(each.path)) for each in inner.layers),
        {outer(name): shape for name, shape in inner.shapes.items()},
        {outer(name): axes for name, axes in inner.axes.items()},
        inner.how,
    )


def measure(
    module: nn.Module,
    make_inputs: MakeInputs,
    size: tuple[int, int],
    frames: int = 1,
    *,
    on_meta: bool = True,
    rebuild: Callable[[int], nn.Module] | None = None,
) -> Measurement:
    """Run the network at several sizes, on the meta device, and name the axes of every layer.

    `size` is the input's height and width, `frames` the length of a clip. `on_meta=False` computes for real, for
    networks whose forward reads values. A copy runs, so that counters, caches and buffers of the network's own stay as
    they are. `rebuild` makes the same network for another square input, for those
    that are built for one size. Whatever the network raises at its own size passes through; one that refuses other
    sizes is measured as far as it goes, and `how` says so.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(2))
    >>> make = lambda b, h, w, t: (torch.empty(b, 3, h, w),)
    >>> {name: axes.names for name, axes in measure(net, make, (32, 32)).axes.items()}
    {'input': ('B', 'C', 'H', 'W'), '0': ('B', 'C', 'H', 'W'), '1': ('B', 'C', 'H', 'W'), '2': ('B', 'C', 'N')}
    """
    twin = meta_twin(module) if on_meta else _twin(module)

    def shapes(network: nn.Module, batch: int, high: int, wide: int, long: int) -> tuple[list[LayerRef], _Shapes]:
        layers: list[LayerRef] = []
        found: _Shapes = {}

        def watch(layer: LayerRef) -> Sink:
            def sink(output: Tensor) -> None:
                layers.append(layer)
                found[layer.name] = tuple(output.shape)

            return sink

        # Measuring leaves no trace: not in the random numbers that follow, and nothing that a forward prints.
        silence = io.StringIO()
        with (
            torch.device("meta") if on_meta else nullcontext(),
            torch.random.fork_rng(devices=[]),
            redirect_stdout(silence),
            redirect_stderr(silence),
        ):
            capture(network, make_inputs(batch, high, wide, long), watch)
        return layers, found

    def attempt(batch: int, high: int, wide: int, long: int) -> _Shapes | None:
        try:
            return shapes(twin, batch, high, wide, long)[1]
        except KeyboardInterrupt:
            raise
        except BaseException:
            return None  # the network refuses this size, for whatever reason it has: that is an answer

    height, width = size
    layers, base = shapes(twin, 1, height, width, frames)
    runs = {"B": attempt(2, height, width, frames)}
    runs["H"] = attempt(1, height + _GROWTH, width, frames)
    runs["W"] = attempt(1, height, width + _GROWTH, frames)
    if frames > 1:
        runs["T"] = attempt(1, height, width, frames * 2)
    if runs["H"] is None and runs["W"] is None and rebuild is not None and height == width:
        try:
            first = next(module.parameters())
            larger = rebuild(height * 2).to(first.dtype)
            larger = meta_twin(larger) if on_meta else larger.to(first.device)
            runs["HW"] = shapes(larger, 1, height * 2, width * 2, frames)[1]
        except KeyboardInterrupt:
            raise
        except BaseException:
            runs["HW"] = None
    done = {axis: run for axis, run in runs.items() if run is not None}
    return _named(module, layers, base, done, _how(set(runs) - set(done), "HW" in done))


def _how(refused: set[str], rebuilt: bool) -> str:
    if rebuilt:
        return "measured on the network rebuilt for another input size"
    if not refused - {"HW"}:
        return "measured"
    words = {"B": "batch sizes", "H": "heights", "W": "widths", "T": "clip lengths"}
    listed = [words[axis] for axis in words if axis in refused]
    return f"measured in part: the network refuses other {' and '.join(listed)}"


def _named(
    module: nn.Module,
    layers: Sequence[LayerRef],
    base: _Shapes,
    runs: Mapping[str, _Shapes],
    how: str,
) -> Measurement:
    modules = dict(module.named_modules())
    sizes_known = "HW" in runs or ("H" in runs and "W" in runs)
    axes: dict[str, Axes] = {}
    grids: list[_Grid] = []
    before: dict[int, tuple[str, ...]] = {}  # rank -> axes of the layer before of that rank
    channels = 0  # how many the layer before has
    for layer in layers:
        shape = base[layer.name]
        others = {axis: run[layer.name] for axis, run in runs.items() if len(run.get(layer.name, ())) == len(shape)}
        known = axes_by_module(modules.get(layer.path) if layer.is_module else None, shape)
        if known is not None:
            names = known.names
        else:
            moved = _windows(shape, others, _measured(shape, others), grids)
            if not runs and len(shape) > 1:  # an exported program takes one shape alone: the batch is first, as usual
                moved[0] = "B"
            names = _finished(shape, moved, before.get(len(shape)), grids, sizes_known, channels)
        before[len(shape)] = names
        if names.count("N") > 1 or names.count(_CELLS) > 1:
            channels = 0  # pairs of tokens, in an attention: what it has for each is no number of channels
        elif names.count("C") == 1:
            channels = shape[names.index("C")]
        if "H" in names and "W" in names:
            at = names.index("H"), names.index("W")
            cells = {axis: other[at[0]] * other[at[1]] for axis, other in others.items()}
            grids.append(_Grid((shape[at[0]], shape[at[1]]), cells))
        names = tuple("?" if name == _CELLS else name for name in names)
        grid, prefix = _grid_of_tokens(shape, others, names, grids)
        axes[layer.name] = Axes(names, known.how if known else how, grid, prefix)
    return Measurement(tuple(layers), base, axes, how)


@dataclass(frozen=True, slots=True)
class _Grid:
    """The height and width of a map seen on the way, and how many cells it has in each run."""

    size: tuple[int, int]
    cells: Mapping[str, int]


def _measured(shape: tuple[int, ...], others: Mapping[str, tuple[int, ...]]) -> list[str]:
    """The name of each axis that moved in a run; empty for one that never did."""
    names: list[str] = []
    for at, length in enumerate(shape):
        moved = {axis for axis, other in others.items() if other[at] != length}
        if "HW" in moved:  # both doubled at once: an axis that grew more counts the cells of an area
            faster = others["HW"][at] > 3 * length
            moved = moved - {"HW"} | ({"H", "W"} if faster else {"W" if "H" in names else "H"})
        if "B" in moved:
            names.append("B·N" if moved & {"H", "W"} else "B")
        elif moved >= {"H", "W"}:
            names.append("N")
        else:
            names.append(next(iter(moved), ""))
    return names


def _windows(
    shape: tuple[int, ...], others: Mapping[str, tuple[int, ...]], names: list[str], grids: Sequence[_Grid]
) -> list[str]:
    """The same names, but for windows on the batch axis whose size a rebuilt network takes from its input's.

    There the cells of a window grow and not the number of windows, and cells of a window are no places in the image.
    Windows they are if together they have the cells of a map seen before, at both sizes.
    """
    if "HW" not in others or "B" not in names or shape[names.index("B")] == 1:
        return names
    places = ["N"] if "N" in names else ["H", "W"]
    if not set(places) <= set(names):
        return names
    axes = [names.index(name) for name in ("B", *places)]
    cells, larger = (prod(lengths[at] for at in axes) for lengths in (shape, others["HW"]))
    if not any(prod(grid.size) == cells and grid.cells.get("HW") == larger for grid in grids):
        return names
    return [{"B": "B·N", "H": _CELLS, "W": _CELLS, "N": _CELLS}.get(name, name) for name in names]


def _finished(
    shape: tuple[int, ...],
    names: list[str],
    before: tuple[str, ...] | None,
    grids: Sequence[_Grid],
    sizes_known: bool,
    channels: int,
) -> tuple[str, ...]:
    """Names for the axes that never moved: they are channels, or pinned to a size.

    Where several did not move (a pooling to 7 × 7, attention heads), the layer before of the same rank tells which
    is which, unless it contradicts what was measured; else the one as long as that layer has channels is the channels,
    or the last; two others of length 1 are height and width pooled away, and what else is left stays unknown.
    Where the network refuses other sizes, tokens are the axis as long as the last map has cells, and a few more;
    and what is left has its usual meaning.
    """
    unmoved = [at for at, name in enumerate(names) if not name]
    if not sizes_known and len(shape) == 3 and grids:
        cells = grids[-1].size[0] * grids[-1].size[1]
        tokens = [at for at in unmoved if 0 <= shape[at] - cells <= _MOST_PREFIX]
        if len(tokens) == 1:
            names[tokens[0]] = "N"
            unmoved.remove(tokens[0])
    as_many = [at for at in unmoved if shape[at] == channels]
    if len(unmoved) > 1:
        if sizes_known:
            guesses = [before] if _may_be_pinned(shape, names, before) else []
        else:
            usual = (before, axes_by_rank(shape).names, ("B", "H", "W", "C"))
            guesses = [each for each in usual if each is not None and _fits_a_grid(shape, each, grids)]
            guesses.sort(key=lambda guess: "H" not in (guess or ()))  # a map as large as one seen is one, rather
        for guess in guesses:
            elsewhere = len(as_many) == 1 and guess is not None and guess[as_many[0]] in ("H", "W")
            if guess is not None and not elsewhere and _agrees(names, guess):
                return guess
    if unmoved:
        names[as_many[0] if len(as_many) == 1 else unmoved[-1]] = "C"
    rest = [at for at, name in enumerate(names) if not name]
    pooled = len(rest) == 2 and all(shape[at] == 1 for at in rest) and "B" in names and not {"H", "W", "N"} & {*names}
    for at, name in zip(rest, ("H", "W") if pooled else ("?",) * len(rest), strict=True):
        names[at] = name
    return tuple(names)


def _may_be_pinned(shape: tuple[int, ...], names: Sequence[str], guess: tuple[str, ...] | None) -> bool:
    """Whether a guess gives axes that never moved such names as an axis of fixed length may have.

    Height and width may be pinned both (a pooling to 7 × 7), or be pooled away; tokens grow with the image.
    """
    if guess is None or len(guess) != len(shape):
        return False
    pinned = {new for length, old, new in zip(shape, names, guess, strict=True) if not old and length > 1}
    if pinned & {"N", "B·N", _CELLS}:
        return False
    return not (pinned & {"H", "W"} and set(names) & {"H", "W", "N", "B·N"})


def _fits_a_grid(shape: tuple[int, ...], guess: tuple[str, ...] | None, grids: Sequence[_Grid]) -> bool:
    """Whether a guess gives height and width the lengths of a map seen before, or of a pooled one."""
    if guess is None or len(guess) != len(shape):
        return False
    if "H" not in guess or "W" not in guess:
        return True
    size = shape[guess.index("H")], shape[guess.index("W")]
    return not grids or size == (1, 1) or any(size == grid.size for grid in grids)


def _agrees(names: Sequence[str], guess: Sequence[str]) -> bool:
    """Whether a guess says the same wherever something was measured."""
    if len(names) != len(guess) or not any(names):
        return False
    return all(not name or name == other for name, other in zip(names, guess, strict=True))


def _grid_of_tokens(
    shape: tuple[int, ...],
    others: Mapping[str, tuple[int, ...]],
    names: tuple[str, ...],
    grids: Sequence[_Grid],
) -> tuple[tuple[int, int] | None, int]:
    """The grid that tokens form, and how many come before it.

    It is that of the latest map whose number of cells differs from the tokens' by the same in every run.
    """
    if names.count("N") != 1:
        return None, 0
    at = names.index("N")
    for grid in reversed(grids):
        prefix = shape[at] - grid.size[0] * grid.size[1]
        sizes = [axis for axis in ("H", "W", "HW") if axis in others and axis in grid.cells]
        if 0 <= prefix <= _MOST_PREFIX and all(others[axis][at] - grid.cells[axis] == prefix for axis in sizes):
            return grid.size, prefix
    return None, 0


class _ToMeta(TorchFunctionMode):
    """While it is on, a copied tensor is one of the same shape on the meta device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.__deepcopy__:
            return func(*args, **(kwargs or {}))
        tensor, memo = args
        if id(tensor) not in memo:
            with torch._C.DisableTorchFunction():
                memo[id(tensor)] = torch.empty_like(tensor.detach(), device="meta")
        return memo[id(tensor)]


def _twin(module: nn.Module) -> nn.Module:
    """A copy of the module that shares its parameters and nothing else."""
    return copy.deepcopy(module, {id(parameter): parameter for parameter in module.parameters()})


def meta_twin(module: nn.Module) -> nn.Module:
    """A copy of the module on the meta device: the same shapes, no data. Also tensors that are no buffers.

    >>> meta_twin(nn.Linear(2, 3)).weight.device
    device(type='meta')
    """
    memo: dict[int, Any] = {}
    for parameter in module.parameters():  # their own copying asks no function mode
        memo[id(parameter)] = nn.Parameter(torch.empty_like(parameter, device="meta"), parameter.requires_grad)
    with _ToMeta():
        return copy.deepcopy(module, memo)


# -- an output as maps -------------------------------------------------------------------------------------------


def channel_maps(output: Tensor, axes: Axes) -> Tensor:
    """The first item of the batch as `[C, T, H, W]`: what each channel looks like.

    T is 1 but for video; an output without spatial axes gives `[C, T, 1, 1]`, one value a channel (and token).
    Tokens before the grid are left out. Axes of unknown meaning count as channels.
    An output without values gives `[C, 1, 0, 0]`.
    """
    if not output.numel():
        count = output.shape[axes.names.index("C")] if "C" in axes.names else 0
        return output.new_zeros((count, 1, 0, 0))
    names = list(axes.names)
    for batch in [name for name in names if name in ("B", "B·N")]:
        output = output.select(names.index(batch), 0)
        names.remove(batch)
    if "N" in names:
        at = names.index("N")
        if axes.grid is not None:
            output = output.narrow(at, axes.prefix, output.shape[at] - axes.prefix).unflatten(at, axes.grid)
            names[at : at + 1] = ["H", "W"]
        else:
            names[at] = "T"
    others = [names.index(name) for name in ("T", "H", "W") if name in names]
    channels = [
        at for at in range(len(names)) if at not in others
    ]  # a second height is one too (RAFT's pairs of cells)
    output = output.permute((*channels, *others))  # a tuple: a value without axes has none to name
    output = output.reshape(-1, *output.shape[len(channels) :])  # [C, ...]
    for at, name in enumerate(("T", "H", "W"), start=1):
        if name not in names:
            output = output.unsqueeze(at)
    return output  # [C, T, H, W]
