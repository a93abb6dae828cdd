"""What follows a layer, run alone: module calls that do not depend on it give back what they gave before.

One pass over one input remembers, of the calls that ended before the layer's output was there, the outermost; and of
later calls those that read nothing but what is remembered (a branch beside the layer's). In the passes that follow they
do not run: each gives back its output, repeated along the batch axis. The modules that hold the layer run on, and so do
operations between modules.

A module's `forward` cannot be left out by a hook, so while this is installed each module has another one, in its own
`__dict__`, which goes away with it. Modules of TorchScript have none that could be replaced: they run.

An operation in place is the trap. A call that writes over its argument writes over it again, with what it wrote before.
Of a tensor that something else writes over, which runs on, a copy is handed out. Calls of which this cannot be known
(views that are written to, inference mode, which counts no writing) run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from .leaves import is_callable
from .nested import leaves
from .records import LayerRef
from .replacing import rebuilt

BatchAxis = Callable[[str, int, int, Tensor], int | None]
"""Which axis of a tensor that a module's call puts out (path, number of the call, place in the output) is the batch.

It is -1 where none is to be repeated, and None where nobody knows. It is asked during a pass and must run nothing.
"""

_PLAIN = (bool, int, float, str, type(None), torch.dtype, torch.device)


class Remainder:
    """The calls of a network's modules around one layer: remembered in one pass, left out in those that follow."""

    def __init__(self, module: nn.Module, layer: LayerRef, batch_axis: BatchAxis) -> None:
        self._layer = layer
        self._modules = {
            path: each
            for path, each in module.named_modules()
            if path and is_callable(each) and not isinstance(each, torch.jit.ScriptModule)
        }
        self._batch_axis = batch_axis
        self._kept: dict[tuple[str, int], _Kept] = {}
        self._pass: _Recording | _Replaying | None = None
        self.largest_bytes = 0  # of one call's output behind the layer, for one input

    @property
    def left_out(self) -> int:
        """How many calls do not run again; one that holds others counts once."""
        return len(self._kept)

    def forget(self) -> None:
        """Let everything run again."""
        self._kept = {}

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """Inside, everything runs."""
        kept, self._kept = self._kept, {}
        try:
            yield
        finally:
            self._kept = kept

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside, `remember` and `replay` have a say in each module's call."""
        own = {path: each.__dict__["forward"] for path, each in self._modules.items() if "forward" in each.__dict__}
        try:
            for path, each in self._modules.items():
                each.__dict__["forward"] = self._forward(path, each.forward)
            yield
        finally:
            for path, each in self._modules.items():
                each.__dict__.pop("forward", None)
                if path in own:
                    each.__dict__["forward"] = own[path]

    def _forward(self, path: str, forward: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if self._pass is None:
                return forward(*args, **kwargs)
            return self._pass.call(path, forward, args, kwargs)

        return called

    @contextmanager
    def remember(self, inputs: Any) -> Iterator[Callable[[Tensor], None]]:
        """The pass inside is remembered; yields what is told the layer's output when it is there."""
        recording = self._pass = _Recording(inputs, self._layer, self._batch_axis)
        try:
            yield recording.reach
            self._kept = recording.finished()
            self.largest_bytes = recording.largest_bytes
        finally:
            self._pass = None

    @contextmanager
    def replay(self, inputs: Any, rows: int) -> Iterator[Callable[[Tensor], None]]:
        """The pass inside takes the remembered input, so many times; yields what `remember` yields."""
        replaying = self._pass = _Replaying(inputs, self._kept, rows)
        try:
            yield replaying.reach
        finally:
            self._pass = None


@dataclass(slots=True)
class _Given:
    """One tensor of a kept output: its values, its batch axis, and which of the arguments it is, if it is one."""

    value: Tensor
    axis: int
    argument: int | None
    live: Tensor | None
    version: int
    is_written: bool = False  # by what runs on

    def repeated(self, rows: int) -> Tensor:
        """The values for so many inputs, in a tensor of its own."""
        value = self.value
        if self.axis >= 0 and rows > 1:
            value = value.expand([rows if at == self.axis else -1 for at in range(value.ndim)])
        return value.clone(memory_format=torch.preserve_format) if self.is_written else value.detach()


@dataclass(slots=True)
class _Kept:
    """What a call gave: `output` holds the `value` of each of the `tensors`."""

    path: str
    call: int
    output: Any
    tensors: list[_Given]
    written: frozenset[int]  # the places of the arguments that it wrote over
    plain: tuple[Any, ...]  # the arguments that are no tensors
    before: bool  # ended before the layer's output was there
    writings: list[_Writing]


@dataclass(frozen=True, slots=True)
class _Writing:
    """A tensor that a call wrote over, with its version before and afterwards."""

    tensor: Tensor
    first: int
    last: int


def _arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Tensor], tuple[Any, ...] | None]:
    """The tensors among a call's arguments, and its plain values; None for these where there is anything else."""
    found: list[Tensor] = []
    plain: list[Any] = []
    known = True
    for each in leaves((args, kwargs)):
        if isinstance(each, Tensor):
            found.append(each)
        else:
            plain.append(each)
            known = known and isinstance(each, _PLAIN)
    return found, tuple(plain) if known else None


@dataclass(slots=True)
class _Clean:
    """Tensors that do not depend on the layer, as long as nobody writes to them."""

    of: dict[int, tuple[Tensor, int]] = field(default_factory=dict)

    def add(self, tensor: Tensor) -> None:
        self.of[id(tensor)] = tensor, tensor._version

    def has(self, tensor: Tensor) -> bool:
        known = self.of.get(id(tensor))
        return known is not None and known[0] is tensor and known[1] == tensor._version


class _Counting:
    """A pass: which call of each module is under way, and whether the layer's output is there."""

    def __init__(self, inputs: Any) -> None:
        self.calls: dict[str, int] = {}
        self.reached = False
        self.clean = _Clean()
        for each in leaves(inputs):
            if isinstance(each, Tensor) and not each.is_inference():
                self.clean.add(each)

    def reach(self, output: Tensor) -> None:
        self.reached = True
        self.clean.of.pop(id(output), None)

    def number(self, path: str) -> int:
        number = self.calls.get(path, 0)
        self.calls[path] = number + 1
        return number


class _Recording(_Counting):
    """The pass that is remembered."""

    def __init__(self, inputs: Any, layer: LayerRef, batch_axis: BatchAxis) -> None:
        super().__init__(inputs)
        self.layer = (layer.path, layer.call) if layer.is_module else None
        self.batch_axis = batch_axis
        self.kept: list[_Kept] = []
        self.largest_bytes = 0

    def call(self, path: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        number, before, first = self.number(path), not self.reached, len(self.kept)
        with torch._C.DisableTorchFunction():
            given, plain = _arguments(args, kwargs)
            keeps = not any(each.is_inference() for each in given) and (
                before or (bool(given) and plain is not None and all(map(self.clean.has, given)))
            )
            versions = [each._version for each in given] if keeps else []
        output = forward(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            if self.reached:
                sizes = (each.numel() * each.element_size() for each in leaves(output) if isinstance(each, Tensor))
                self.largest_bytes = max(self.largest_bytes, sum(sizes))
            if keeps and before is not self.reached:  # it does not hold the layer
                kept = self._kept(path, number, given, versions, output)
                if kept is not None:
                    kept.plain, kept.before = plain or (), before
                    self.kept[first:] = [kept]  # the calls within are part of it
                    for each in kept.tensors:
                        assert each.live is not None
                        self.clean.add(each.live)
        return output

    def _kept(self, path: str, number: int, given: list[Tensor], versions: list[int], output: Any) -> _Kept | None:
        """The call, as it is kept; None where it cannot be left out."""
        written = {
            place: _Writing(each, version, each._version)
            for place, (each, version) in enumerate(zip(given, versions, strict=True))
            if each._version != version
        }
        if written and (path, number) == self.layer:
            return None  # what goes on in its place is written over its argument, as it runs
        tensors: list[_Given] = []
        known = True

        def keep(leaf: Any) -> Any:
            nonlocal known
            if not isinstance(leaf, Tensor):
                known = known and isinstance(leaf, _PLAIN)
                return leaf
            usual = leaf.layout == torch.strided and not leaf.is_quantized and not leaf.is_inference()
            axis = self.batch_axis(path, number, len(tensors), leaf) if usual and known else None
            if axis is None or (axis >= 0 and leaf.shape[axis] != 1):
                known = False
                return leaf
            argument = next((place for place, each in enumerate(given) if each is leaf), None)
            tensors.append(_Given(leaf.detach().clone(), axis, argument, leaf, leaf._version))
            return tensors[-1].value

        kept = rebuilt(output, keep)
        put_out = {each.argument for each in tensors}
        # Of what is written over, the values have to be known, and that nobody sees them by another name.
        if not known or not tensors or any(at not in put_out or each.tensor._is_view() for at, each in written.items()):
            return None
        return _Kept(path, number, kept, tensors, frozenset(written), (), True, list(written.values()))

    def finished(self) -> dict[tuple[str, int], _Kept]:
        """What is kept; and which of its tensors are written over by what runs on."""
        writings = [each for kept in self.kept for each in kept.writings]
        for given in (each for kept in self.kept for each in kept.tensors):
            assert given.live is not None
            later = (each for each in writings if each.tensor is given.live and each.first >= given.version)
            given.is_written = given.live._version != given.version + sum(each.last - each.first for each in later)
        for kept in self.kept:
            kept.writings.clear()
            for given in kept.tensors:
                given.live = None
        return {(each.path, each.call): each for each in self.kept}


class _Replaying(_Counting):
    """A pass in which what is kept does not run."""

    def __init__(self, inputs: Any, kept: dict[tuple[str, int], _Kept], rows: int) -> None:
        super().__init__(inputs)
        self.kept = kept
        self.rows = rows

    def call(self, path: str, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kept = self.kept.get((path, self.number(path)))
        if kept is None:
            return forward(*args, **kwargs)
        with torch._C.DisableTorchFunction():
            given, plain = _arguments(args, kwargs)
            same = kept.before or (bool(given) and plain == kept.plain and all(map(self.clean.has, given)))
            if same:
                return self._output(kept, given)
        return forward(*args, **kwargs)

    def _output(self, kept: _Kept, given: list[Tensor]) -> Any:
        new: dict[int, Tensor] = {}
        for each in kept.tensors:
            if each.argument is None:
                new[id(each.value)] = each.repeated(self.rows)
                continue
            own = new[id(each.value)] = given[each.argument]
            if each.argument in kept.written:
                own.data = each.repeated(self.rows)
        for tensor in new.values():
            self.clean.add(tensor)
        return rebuilt(kept.output, lambda leaf: new.get(id(leaf), leaf))
