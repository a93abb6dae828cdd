"""What a network takes, found by running it: on copies, without its arithmetic, on one input after another.

Nothing that a network declares says what it takes. The first convolution written down may run last, a stem may turn
three channels into twelve, a network may make gray itself, or have no convolution. So what runs is taken, the usual
first: a colour picture, a gray one, other channels, other sizes; clips, sequences, vectors and tokens, in the order
that the shapes of the weights suggest.
"""

from __future__ import annotations

import inspect
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from math import isqrt
from typing import TYPE_CHECKING

from fmap_cli.errors import ModelError
from fmap_cli.foreign.raised import told
from fmap_cli.models.preprocessing import FOUND, SAID, USUAL_SIZE_PX, InputOverrides
from fmap_cli.models.records import NetworkInput
from fmap_cli.models.trying import PICTURES, Candidate, Outcome, formats_of, input_of, joined, tried

if TYPE_CHECKING:
    import torch

USUAL_FRAMES = 16
_SIZES_PX = (32, 28, 64, 96, 128, 256, 227, 299, 112, 160, 192, 384, 448, 512, 48, 84, 100, 150, 200, 300, 16)
_LENGTHS = (1024, 128, 256, 512, 1000, 2048, 4096, 8000, 16000, 22050, 44100, 64, 100, 187, 3000, 32)
_SHORT_LENGTHS = (128, 64, 256, 16, 32, 100, 196, 49, 197, 50, 512, 77, 10, 20, 1024, 8)
_TOKENS = (16, 128, 64, 77, 256, 512)
_MOST_CHANNELS = 16  # tried one after another where no weight names the number
_LEAST_SIDE_PX = 8  # of a picture that a vector of so many values may be

_MOST_RUNS = 800
_SECONDS = 10.0
"""However slow the machine, looking for an input ends after so many runs, and after so long."""

_ABOUT_SHAPES = (RuntimeError, ValueError, AssertionError, IndexError)


@dataclass(slots=True)
class _Hints:
    """What the weights suggest: channels by a kernel's number of places, features, and what stands in the network."""

    channels: dict[int, list[int]] = field(default_factory=lambda: {1: [], 2: [], 3: []})
    places: set[int] = field(default_factory=set)
    features: list[int] = field(default_factory=list)
    enlarged: set[int] = field(default_factory=set)
    in_turn: bool = False
    tables: list[int] = field(default_factory=list)


def arguments_of(module: torch.nn.Module) -> int:
    """How many inputs the forward cannot do without; 1 where that cannot be told."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):
        return 1
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return max(sum(each.kind in by_place and each.default is each.empty for each in parameters), 1)


def find_input(
    module: torch.nn.Module, overrides: InputOverrides, arguments: int | None = None, *, name: str = ""
) -> NetworkInput | None:
    """What the network takes: as the user says, or the first of the usual inputs that it runs on; None if none is.

    `arguments` is the number of inputs, told by the forward's signature unless given. The network stays as it was.
    Raises ModelError for a network, called `name`, that takes pictures and does not run at the size that is asked for.
    """
    formats = formats_of(module)
    searches = [_Search(module, overrides, arguments or arguments_of(module), each) for each in formats]
    if overrides.shapes:
        said = ((search, search.said(overrides.shapes)) for search in searches)
        return next((found for search, found in said if search.runs_on(found)), searches[0].said(overrides.shapes))
    for search in searches:
        found = search.found()
        if found is not None:
            return search.described(found, FOUND)
    if overrides.height_width is None:
        return None
    usual = find_input(module, replace(overrides, size=None), arguments)
    if usual is not None and any(axes in PICTURES for axes in usual.axes):
        raise _not_of_size(module, usual, overrides.height_width, name)
    return usual


def _not_of_size(module: torch.nn.Module, usual: NetworkInput, size: tuple[int, int], name: str) -> ModelError:
    from fmap_cli.models.nearest import sizes_hint

    takes = Candidate(usual.shapes, usual.axes, usual.integers)
    dtype = next(each for each in formats_of(module) if str(each).endswith(usual.dtype))
    failing = takes.of_size(size)
    error = tried(module, failing, 1, dtype).error
    why = "" if error is None else f": {told(error)}"
    return ModelError(
        f"{name} does not run on pictures of {size[0]}×{size[1]}{why}",
        hint=sizes_hint(module, failing, dtype) or f"Leave out --size: it runs on {usual.words}.",
    )


class _Search:
    def __init__(self, module: torch.nn.Module, overrides: InputOverrides, arguments: int, dtype: torch.dtype) -> None:
        self.module = module
        self.dtype = dtype
        self.overrides = overrides
        self.arguments = arguments
        self.hints = _hints(module)
        taken = {each for channels in self.hints.channels.values() for each in channels}
        # torch's layers take inputs without a batch, too: such a batch is no number of channels.
        self.batch = next(each for each in itertools.count(2) if each not in taken)
        self.until = time.monotonic() + _SECONDS
        self.runs_left = _MOST_RUNS
        self.spare: Candidate | None = None
        self.outcomes: dict[Candidate, Outcome] = {}

    # -- one run ---------------------------------------------------------------------------------------------

    def run(self, candidate: Candidate, batch: int | None = None) -> Outcome:
        """Whether the network takes this input, at a batch that no number of channels can be mistaken for."""
        if self.runs_left <= 0 or time.monotonic() > self.until:
            return Outcome(0)
        self.runs_left -= 1
        count = self.batch if batch is None else batch
        return tried(self.module, candidate, count, self.dtype)

    def fits(self, candidate: Candidate) -> bool:
        """Whether the network takes this input and gives one answer for each item of the batch.

        An input on which it runs to the end and gives another number of answers (`x.view(-1, 784)` takes anything) is
        kept, in case there is no better one.
        """
        if candidate not in self.outcomes:
            self.outcomes[candidate] = outcome = self.run(candidate)
            if outcome.runs and not outcome.fits and self.spare is None:
                self.spare = candidate
        return self.outcomes[candidate].fits

    # -- the order of trying ---------------------------------------------------------------------------------

    def found(self) -> Candidate | None:
        if self.arguments > 1:
            tried: Iterator[Candidate] = self.several()
        else:
            tried = itertools.chain.from_iterable(each() for each in self.phases())
        usual: list[Candidate] = []
        for candidate in tried:
            if self.fits(candidate):
                return candidate
            if len(usual) < 40:
                usual.append(candidate)
        if self.spare is not None and self.run(self.spare, 1).runs:
            return self.spare
        # A network, or a traced program, may insist on a batch of one.
        return next((each for each in usual if self.run(each, 1).runs), None)

    def phases(self) -> list[Callable[[], Iterator[Candidate]]]:
        """Which kinds of input to try, in what order: images first, unless the weights speak for something else."""
        places, hints = self.hints.places, self.hints
        if self.overrides.height_width is not None:  # whoever says a size has pictures
            return [self.volumes, self.images] if 3 in places else [self.images]
        indices = [self.tokens] if hints.tables else []
        if 2 in places:
            return [self.images, self.vectors, *indices, self.other_sizes, self.volumes, self.sequences]
        if 3 in places:
            return [self.volumes, self.images, self.other_sizes]
        if hints.in_turn:
            return [*indices, self.sequences, self.images, self.flat_images, self.vectors]
        if 1 in places:
            return [*indices, self.sequences, self.vectors, self.images, self.other_sizes]
        return [*indices, self.images, self.flat_images, self.vectors, self.other_sizes, self.sequences]

    def size(self) -> tuple[int, int]:
        return self.overrides.height_width or (USUAL_SIZE_PX, USUAL_SIZE_PX)

    def channels(self, places: int) -> list[int]:
        """How many channels to try: the usual, then what weights of so many places take, then one after another."""
        given = [] if self.overrides.channels is None else [self.overrides.channels]
        named = self.hints.channels[places]
        folded = [each // 4 for each in named if each % 4 == 0]  # two by two pixels become four channels
        return list(dict.fromkeys([*given, 3, 1, *named, 4, 2, *folded, *range(5, _MOST_CHANNELS + 1)]))

    def images(self) -> Iterator[Candidate]:
        size = self.size()
        # A layer over the last axis takes any picture of that width, and is no network for pictures.
        if not self.hints.places and not self.overrides.height_width and size[1] in self.hints.features:
            return
        for channels in self.channels(2):
            if channels in self.hints.enlarged:  # a generator: what it enlarges has no size yet
                yield input_of("CHW", channels, 1, 1)
            yield input_of("CHW", channels, *size)

    def flat_images(self) -> Iterator[Candidate]:
        """Pictures with as many values as the first linear layers take: `Flatten` and `Linear(784)`."""
        for side, channels in self.sides() if self.overrides.height_width is None else ():
            yield input_of("CHW", channels, side, side)

    def sides(self) -> Iterator[tuple[int, int]]:
        for features, channels in itertools.product(self.hints.features, (3, 1)):
            side = isqrt(features // channels)
            if side >= _LEAST_SIDE_PX and side * side * channels == features:
                yield side, channels

    def other_sizes(self) -> Iterator[Candidate]:
        """Other sizes of picture, for the numbers of channels with which the usual size came farthest."""
        if self.overrides.height_width is not None:
            return
        tried = [each for each in self.outcomes if each.axes == ("CHW",) and each.shapes[0][1:] == self.size()]
        tried.sort(key=lambda each: (-self.outcomes[each].runs, -self.outcomes[each].steps))
        if not tried or not _may_be_of_size(self.outcomes[tried[0]]):
            return  # what went wrong there has nothing to do with the size
        best = [each.shapes[0][0] for each in tried[:2]]
        likely = [side for side, _ in self.sides()]
        for side in dict.fromkeys([*likely, *_SIZES_PX, *range(_LEAST_SIDE_PX, USUAL_SIZE_PX)]):
            for channels in best:
                yield input_of("CHW", channels, side, side)

    def volumes(self) -> Iterator[Candidate]:
        height, width = self.size()
        for channels in self.channels(3):
            yield input_of("CTHW", channels, USUAL_FRAMES, height, width)
        if self.overrides.height_width is None:
            for side, channels in itertools.product((112, 64, 32, 96, 128), self.channels(3)[:4]):
                for frames in (USUAL_FRAMES, side):
                    yield input_of("CTHW", channels, frames, side, side)

    def sequences(self) -> Iterator[Candidate]:
        """`[C, W]`, as convolutions take them, and `[W, C]`, as recurrent layers and transformers do."""
        named = list(dict.fromkeys(self.hints.channels[1]))
        features = list(dict.fromkeys([*self.hints.features[:6], *named]))
        for long, short in zip(_LENGTHS, _SHORT_LENGTHS, strict=True):
            if 1 in self.hints.places:
                yield from (input_of("CW", channels, long) for channels in dict.fromkeys([*named, 1, 2, 3]))
            yield from (input_of("WC", short, channels) for channels in features)

    def vectors(self) -> Iterator[Candidate]:
        for features in list(dict.fromkeys(self.hints.features))[:8]:
            yield input_of("C", features)
        if 1 in self.hints.places:
            yield from (input_of("W", length) for length in (16000, 1024))

    def tokens(self) -> Iterator[Candidate]:
        if self.hints.tables:
            yield from (input_of("W", length, integers=True) for length in _TOKENS)

    def several(self) -> Iterator[Candidate]:
        """Inputs for several arguments: one kind for each of them, then what weights suggest in any combination."""
        height, width = self.size()
        single: list[Candidate] = [input_of("CHW", channels, height, width) for channels in self.channels(2)]
        if 3 in self.hints.places:
            single[:0] = itertools.islice(self.volumes(), 4)
        if self.hints.tables:
            single.insert(0, input_of("W", _TOKENS[0], integers=True))
        single += [*self.vectors()]
        if 1 in self.hints.places:
            single += itertools.islice(self.sequences(), 4)
        if self.overrides.height_width is None:
            single += [input_of("CHW", channels, side, side) for side in (32, 28, 64) for channels in (3, 1)]
        usual, unusual = single[:2], single[2:]
        for each in usual:
            yield joined([each] * self.arguments)
        likely = [each for each in single if each.axes != ("CHW",)][:4]
        named = {3, 1, *self.hints.channels[2][:2]}
        likely = [each for each in single if each.axes == ("CHW",) and each.shapes[0][0] in named][:4] + likely
        likely += [input_of("", integers=False), input_of("", integers=True)]  # a number for each item: a time, a class
        yield from (joined(each) for each in itertools.product(likely, repeat=self.arguments))
        yield from (joined([each] * self.arguments) for each in unusual)

    # -- what is said, and what is found ---------------------------------------------------------------------

    def said(self, shapes: Sequence[tuple[int, ...]]) -> NetworkInput:
        """The shapes that the user gives; whether they hold numbers or indices is found by running."""
        axes = tuple({1: "W", 2: "CW", 3: "CHW", 4: "CTHW"}.get(len(shape), "?" * len(shape)) for shape in shapes)
        numbers = Candidate(tuple(shapes), axes, (False,) * len(shapes))
        if self.hints.tables and not self.run(numbers).runs:
            for integers in itertools.product((True, False), repeat=len(shapes)):
                indices = Candidate(numbers.shapes, axes, integers)
                if any(integers) and self.run(indices).runs:
                    return self.described(indices, SAID)
        return self.described(numbers, SAID)

    def described(self, found: Candidate, how: str) -> NetworkInput:
        axes = list(found.axes)
        for at in range(len(axes)):
            if axes[at] == "CW" and len(found.shapes) == 1 and not self.grows(found, 1) and self.grows(found, 0):
                axes[at] = "WC"
            elif axes[at] == "W" and len(found.shapes) == 1 and not found.integers[at] and not self.grows(found, 0):
                axes[at] = "C"
        return NetworkInput(
            shapes=found.shapes,
            axes=tuple(axes),
            how=how,
            integers=found.integers,
            indices=min(self.hints.tables, default=0),
            dtype=str(self.dtype).removeprefix("torch."),
        )

    def runs_on(self, found: NetworkInput) -> bool:
        return self.run(Candidate(found.shapes, found.axes, found.integers)).runs

    def grows(self, found: Candidate, axis: int) -> bool:
        """Whether the network also takes an only input that is longer along one axis."""
        shape = list(found.shapes[0])
        shape[axis] += 64
        return self.run(Candidate((tuple(shape),), found.axes, found.integers)).runs


def _may_be_of_size(outcome: Outcome) -> bool:
    return outcome.runs or isinstance(outcome.error, _ABOUT_SHAPES)


def _hints(module: torch.nn.Module) -> _Hints:
    from torch.nn.parameter import is_lazy

    hints = _Hints()
    for each in module.modules():
        name = str(getattr(each, "original_name", type(each).__name__))
        hints.in_turn = hints.in_turn or any(kind in name for kind in ("RNN", "LSTM", "GRU", "Transformer"))
        for key, parameter in each.named_parameters(recurse=False):
            if is_lazy(parameter):
                hints.places |= {places for places in (1, 2, 3) if f"{places}d" in name and "Conv" in name}
            elif "Embedding" in name and parameter.ndim == 2:
                hints.tables.append(parameter.shape[0])
            elif parameter.ndim == 2 and "bias" not in key:
                hints.features.append(parameter.shape[1])
            elif parameter.ndim in (3, 4, 5) and "weight" in key:
                transposed = "Transpose" in name
                groups = getattr(each, "groups", 1)
                channels = parameter.shape[0] if transposed else parameter.shape[1] * (groups if groups else 1)
                hints.channels[parameter.ndim - 2].append(int(channels))
                hints.places.add(parameter.ndim - 2)
                if transposed and parameter.ndim == 4 and _is_first(each, module):
                    hints.enlarged.add(int(channels))
    return hints


def _is_first(layer: torch.nn.Module, module: torch.nn.Module) -> bool:
    """Whether a layer is the first with a kernel, in the order of writing."""
    kernels = (each for each in module.modules() if any(p.ndim > 2 for p in each.parameters(recurse=False)))
    return next(kernels, None) is layer
