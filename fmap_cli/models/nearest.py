"""Which sizes of picture a network runs on, near one that it fails on: found by trying, on copies, without arithmetic.

A network may have a smallest input, want a multiple of so many pixels, or one size alone, which a Linear layer after
the convolutions fixes. Nothing that it declares says which.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING

from fmap_cli.errors import ModelError
from fmap_cli.models import probing
from fmap_cli.models.preprocessing import NOT_FOUND, SAID, InputOverrides
from fmap_cli.models.records import LoadedModel
from fmap_cli.models.trying import PICTURES, Candidate, tried

if TYPE_CHECKING:
    import torch

Size = tuple[int, int]

_DOUBLING_PX = (2, 4, 8, 16, 32, 64, 128, 256, 512)
_STEPS_PX = (3, 5, 6, 7, 10, 12, 14, 20, 24, 28, 40, 48, 56, 96, 112, 160, 192, 224, 384)
"""What sizes might have to be multiples of, and what leads to sizes near and far: the first of these mostly do."""
_USUAL_PX = (28, 32, 64, 96, 128, 224, 256, 227, 299, 384, 512, 112, 160, 48, 84, 100, 192, 448, 600, 800, 1024)
_SMALLEST_PX, _LARGEST_PX = 8, 1024
_MOST_RUNS = 400
_SECONDS = 6.0


@dataclass(frozen=True, slots=True)
class Nearest:
    """Sizes on which a network runs, the nearest that were found: `below` and `above` the one that it fails on.

    `multiple` is what heights and widths have to be multiples of, where that is what it is about.
    """

    below: Size | None = None
    above: Size | None = None
    multiple: int | None = None

    @property
    def sizes(self) -> list[Size]:
        return [each for each in (self.below, self.above) if each is not None]


def nearest(runs: Callable[[Size], bool], size: Size, likely: Sequence[int] = ()) -> Nearest:
    """The sizes nearest to `size`, which does not run, that do; `likely` are sides that the weights suggest.

    >>> nearest(lambda size: size[0] % 8 == 0 and size[1] % 8 == 0, (250, 250))
    Nearest(below=(248, 248), above=(256, 256), multiple=8)
    >>> nearest(lambda size: min(size) >= 75, (50, 50))
    Nearest(below=None, above=(75, 75), multiple=None)
    >>> nearest(lambda size: 28 <= min(size) <= max(size) < 32, (224, 224), likely=(7, 14, 28, 56))
    Nearest(below=(28, 28), above=None, multiple=None)
    """
    known: dict[Size, bool] = {}

    def works(tried: Size) -> bool:
        if min(tried) < 1:
            return False
        if tried not in known:
            known[tried] = runs(tried)
        return known[tried]

    below: Size | None = None
    above: Size | None = None
    for step in (*_DOUBLING_PX, *_STEPS_PX):
        if (below and above) or ((below or above) and step == _STEPS_PX[0]):
            break
        lower, upper = _rounded(size, step, up=False), _rounded(size, step, up=True)
        if below is None and min(lower) >= _SMALLEST_PX and works(lower):
            below = lower
        if above is None and max(upper) <= 2 * _LARGEST_PX and works(upper):
            above = upper
    if above is None:  # it may be one size alone, or a few beside the one that it was made for
        sides = dict.fromkeys(likely if below else [*likely, *_USUAL_PX, *range(_SMALLEST_PX, 256)])
        for side in sides:
            if side >= _SMALLEST_PX and works((side, side)):
                below, above = ((side, side), None) if side < max(size) else (None, (side, side))
                break
    if above is not None:
        above = _least(works, size, above)
    gap = 0 if below is None or above is None else above[0] - below[0]
    return Nearest(below, above, gap if gap and below and _are_multiples(works, below, gap) else None)


def _rounded(size: Size, step: int, *, up: bool) -> Size:
    """The multiples of `step` next to height and width, which are not those themselves."""
    height, width = ((each // step + 1) * step if up else -(-each // step) * step - step for each in size)
    return height, width


def _are_multiples(works: Callable[[Size], bool], below: Size, step: int) -> bool:
    """Whether it is about multiples of `step`: further ones run, and what lies between does not."""

    def by(pixels: int) -> bool:
        return works((below[0] + pixels, below[1] + pixels))

    multiples = all(each % step == 0 for each in below) and all(by(step * times) for times in (1, 2, 3))
    return multiples and not any(by(step * times + off) for times in range(3) for off in {1, step // 2})


def _least(works: Callable[[Size], bool], fails: Size, runs: Size) -> Size:
    """The smallest size between one that fails and a larger one that runs, found by halving."""
    steps = max(runs[0] - fails[0], runs[1] - fails[1])

    def at(step: int) -> Size:
        height, width = (low + -(-step * (high - low) // steps) for low, high in zip(fails, runs, strict=True))
        return height, width

    low, high = 0, steps
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(at(middle)) else (middle, high)
    return at(high)


# --- What to say ---------------------------------------------------------------------------------------


def advice(model: LoadedModel, shapes: Sequence[tuple[int, ...]], batch: int, dtype: torch.dtype) -> str | None:
    """What to do where a network fails on a batch of inputs of these shapes; None where shapes are not the reason.

    None as well for a detector, which takes all sizes, and for a program out of a file, which is only run at will.
    """
    if model.input_kind == "images" or model.weights.kind == "program":
        return None
    axes = {"image": ("CHW",), "video": ("CTHW",), "image_pair": ("CHW", "CHW")}.get(model.input_kind)
    axes = axes or (model.takes.axes if model.takes is not None else ())
    whole = (False,) * len(axes) if model.takes is None else model.takes.integers
    if len(axes) != len(shapes):
        return None
    failing = Candidate(tuple(tuple(each) for each in shapes), axes, whole)
    if tried(model.module, failing, batch, dtype).runs:
        return None
    if batch > 1 and tried(model.module, failing, 1, dtype).runs:
        return "It takes one input at a time: --batch 1."
    is_said = model.takes is not None and model.takes.how == SAID
    hint = sizes_hint(model.module, failing, dtype, "--input-shape" if is_said else "--size")
    if hint is not None or model.takes is None:
        return hint or f"No other --size makes it run, of those tried from {_SMALLEST_PX} to {_LARGEST_PX} pixels."
    if model.takes.how == NOT_FOUND:
        return None
    found = probing.find_input(model.module, InputOverrides())
    if found is None or found.shapes == failing.shapes:
        return "No other size and none of the usual inputs makes it run, of those that were tried."
    return f"It runs on {found.words}: `{shape_option(Candidate(found.shapes, found.axes, found.integers))}`."


def sizes_hint(module: torch.nn.Module, failing: Candidate, dtype: torch.dtype, option: str = "--size") -> str | None:
    """Which sizes run instead of the one in `failing`, in a sentence; None for an input without pictures.

    `option` is what the user says sizes with: `--size`, or `--input-shape` for the whole of the input.
    """
    pictures = [at for at, axes in enumerate(failing.axes) if axes in PICTURES]
    if not pictures:
        return None
    until, left = time.monotonic() + _SECONDS, _MOST_RUNS

    def runs(size: Size) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and time.monotonic() < until and tried(module, failing.of_size(size), 1, dtype).runs

    height, width = failing.shapes[pictures[0]][-2:]
    found = nearest(runs, (height, width), list(_likely_sides(module)))
    return _said(
        found, lambda size: f"`{shape_option(failing.of_size(size))}`" if option != "--size" else _as_size(size)
    )


def built_hint(build: Callable[[Size], object], size: Size) -> str | None:
    """Which sizes a network can be built for instead of `size`, in a sentence; `build` raises ModelError where not."""
    import torch

    until = time.monotonic() + _SECONDS

    def builds(tried: Size) -> bool:
        try:
            with torch.device("meta"):
                return time.monotonic() < until and build(tried) is not None
        except ModelError:
            return False

    return _said(nearest(builds, size), _as_size)


def _said(found: Nearest, option: Callable[[Size], str]) -> str | None:
    if not found.sizes:
        return None
    ways = " or ".join(map(option, found.sizes))
    if found.multiple is not None:
        return f"Height and width have to be multiples of {found.multiple}: {ways}."
    return f"It runs on {' and on '.join(f'{size[0]}×{size[1]}' for size in found.sizes)}: {ways}."


def _as_size(size: Size) -> str:
    return f"`--size {size[0]}`" if size[0] == size[1] else f"`--size {size[0]},{size[1]}`"


def shape_option(candidate: Candidate) -> str:
    """`--input-shape`, once for each input."""
    return " ".join(f"--input-shape {','.join(map(str, shape)) or '1'}" for shape in candidate.shapes)


def _likely_sides(module: torch.nn.Module) -> Iterator[int]:
    """Sides at which a Linear layer that follows convolutions may get as many values as it takes.

    1568 values are 32 channels of 7 × 7: a picture of 7, 14, 28, 56, ... pixels, by how often it was halved before.
    """
    from torch.nn.parameter import is_lazy

    weights = [each for each in module.parameters() if not is_lazy(each)]
    features = dict.fromkeys(each.shape[1] for each in weights if each.ndim == 2)
    channels = dict.fromkeys(each.shape[0] for each in weights if each.ndim in (4, 5))
    for values in features:
        for count in reversed(channels):  # the last ones stand before the Linear layer
            side = isqrt(values // count)
            if side > 1 and side * side * count == values:
                yield from (side << halved for halved in range(2, 6))
                yield from (side << halved for halved in range(2))
