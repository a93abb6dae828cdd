"""Which axes of a layer's output grow with the batch, the height, the width or the clip: found by running the network.

It runs once as it is and once each with a larger batch, height and width (and a longer clip). An axis that grows with
the height is the height.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from ..capture import Sink, capture
from ..plain_sizes import plain_sizes
from ..records import LayerRef
from .twins import meta_twin, twin_of

MakeInputs = Callable[[int, int, int, int], tuple[Any, ...]]
"""Inputs for a batch, height, width and number of frames, on the default device."""

_GROWTHS = (64, 32, 96, 128, 160, 56, 48, 24, 16, 8)
"""How many pixels height and width grow by, one after the other, until the network takes it; doubling comes second.

64 is two cells of a map 32 times smaller than the image; 56 is one more window of 7 cells at stride 8.
"""
_PATIENCE = 4.0
"""Seconds after which no other sizes are tried."""

_Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, slots=True)
class Growth:
    """How the axes of every layer's output moved: each `B`, `H`, `W`, `T`, `N` (with height and width), `B·N` or ''.

    `known` says whether there was another height and another width, `rebuilt` whether on the network made anew for
    another input size; `refused` names what the network takes no other of.
    """

    moved: Mapping[str, tuple[str, ...]]
    known: bool
    rebuilt: bool
    refused: tuple[str, ...]


def measure(
    module: nn.Module,
    make_inputs: MakeInputs,
    size: tuple[int, int],
    frames: int = 1,
    *,
    on_meta: bool = True,
    rebuild: Callable[[int], nn.Module] | None = None,
) -> Growth:
    """Run the network at several sizes, on the meta device, and see which axes of every layer grow.

    `size` is the input's height and width, `frames` the length of a clip. `on_meta=False` computes for real, for
    networks whose forward reads values. A copy runs, so that counters, caches and buffers of the network's own stay as
    they are. `rebuild` makes the same network for another square input, for those
    that are built for one size. Whatever the network raises at its own size passes through; one that refuses other
    sizes is measured as far as it goes.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(2))
    >>> make = lambda b, h, w, t: (torch.empty(b, 3, h, w),)
    >>> measure(net, make, (32, 32)).moved
    {'input': ('B', '', 'H', 'W'), '0': ('B', '', 'H', 'W'), '1': ('B', '', 'H', 'W'), '2': ('B', '', 'N')}
    """
    twin = meta_twin(module) if on_meta else twin_of(module)

    def shapes(network: nn.Module, batch: int, high: int, wide: int, long: int) -> _Shapes:
        found: _Shapes = {}

        def watch(layer: LayerRef) -> Sink:
            def sink(output: Tensor) -> None:
                found[layer.name] = tuple(output.shape)

            return sink

        # Measuring leaves no trace: not in the random numbers that follow, and nothing that a forward prints.
        silence = io.StringIO()
        with (
            torch.device("meta") if on_meta else nullcontext(),
            plain_sizes() if on_meta else nullcontext(),
            torch.random.fork_rng(devices=[]),
            redirect_stdout(silence),
            redirect_stderr(silence),
        ):
            capture(network, make_inputs(batch, high, wide, long), watch)
        return found

    def attempt(batch: int, high: int, wide: int, long: int) -> _Shapes | None:
        try:
            return shapes(twin, batch, high, wide, long)
        except KeyboardInterrupt:
            raise
        except BaseException:
            return None  # the network refuses this size, for whatever reason it has: that is an answer

    def first(tries: Iterator[tuple[int, int]]) -> _Shapes | None:
        return next((run for high, wide in tries if (run := attempt(1, high, wide, frames)) is not None), None)

    height, width = size
    base = shapes(twin, 1, height, width, frames)
    runs = {"B": attempt(2, height, width, frames)}
    begun = time.monotonic()
    most = 2 if rebuild is not None else None  # one that can be made anew need not be tried long
    runs["H"] = first((each, width) for each in islice(_larger(height, begun), most))
    # One that takes no other height takes no other width either, but where they may differ at all.
    begun = begun if runs["H"] is None else time.monotonic()
    runs["W"] = first((height, each) for each in islice(_larger(width, begun), most))
    if runs["H"] is None and runs["W"] is None and height == width:
        squares = [attempt(1, each, each, frames) for each in (2 * height, height + 64)]
        runs["HW"] = squares[0]
        runs["HW+"] = squares[1] if squares[0] is None else None
    if frames > 1:
        runs["T"] = attempt(1, height, width, frames * 2)
    rebuilt = False
    if not any(runs.get(each) for each in ("H", "W", "HW", "HW+")) and rebuild is not None and height == width:
        try:
            first_parameter = next(module.parameters())
            larger = rebuild(height * 2).to(first_parameter.dtype)
            larger = meta_twin(larger) if on_meta else larger.to(first_parameter.device)
            runs["HW"] = shapes(larger, 1, height * 2, width * 2, frames)
            rebuilt = True
        except KeyboardInterrupt:
            raise
        except BaseException:
            runs["HW"] = None
    done = {axis: run for axis, run in runs.items() if run is not None}
    square = "HW" in done or "HW+" in done
    words = {"B": "batch sizes", "H": "heights", "W": "widths", "T": "clip lengths"}
    refused = tuple(
        words[axis] for axis in words if axis in runs and axis not in done and not (square and axis in "HW")
    )
    moved = {
        name: _moved(shape, {axis: run[name] for axis, run in done.items() if len(run.get(name, ())) == len(shape)})
        for name, shape in base.items()
    }
    return Growth(moved, square or ("H" in done and "W" in done), rebuilt, refused)


def _larger(length: int, begun: float) -> Iterator[int]:
    """Larger sizes to try, as long as there is time: networks of windows take some and refuse others."""
    for each in dict.fromkeys((length + _GROWTHS[0], 2 * length, *(length + more for more in _GROWTHS[1:]))):
        if time.monotonic() - begun > _PATIENCE:
            return
        yield each


def _moved(shape: tuple[int, ...], others: Mapping[str, tuple[int, ...]]) -> tuple[str, ...]:
    """The name of each axis that moved in a run; empty for one that never did."""
    names: list[str] = []
    for at, length in enumerate(shape):
        moved = {axis for axis, other in others.items() if other[at] != length}
        if "HW" in moved:  # both doubled at once: an axis that grew more counts the cells of an area
            faster = others["HW"][at] > 3 * length
            moved = moved - {"HW"} | ({"H", "W"} if faster else {"W" if "H" in names else "H"})
        if "HW+" in moved:  # both grew at once, less than twofold: nothing tells one axis from an area
            moved = moved - {"HW+"} | (
                {"W"} if "H" in names else {"H"} if _goes_on(shape, others["HW+"], at) else {"H", "W"}
            )
        if "B" in moved:
            names.append("B·N" if moved & {"H", "W"} else "B")
        elif moved >= {"H", "W"}:
            names.append("N")
        else:
            names.append(next(iter(moved), ""))
    return tuple(names)


def _goes_on(shape: tuple[int, ...], other: tuple[int, ...], at: int) -> bool:
    """Whether a later axis grows as well."""
    return any(shape[later] != other[later] for later in range(at + 1, len(shape)))
