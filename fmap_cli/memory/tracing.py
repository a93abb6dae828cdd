"""One training step or one inference on the meta device, as the list of what comes to life and goes, in order.

A dispatch mode sees every operation's outputs beneath autograd and follows the life of their storages by weak
references: a view adds nothing, an in-place operation adds nothing, a tensor ends when torch lets go of it. What
autograd keeps for the backward pass `capture` is told. Which layer is at work is known in the forward pass from there,
too, in the backward pass from the sequence numbers of autograd's nodes.
"""

from __future__ import annotations

import inspect
import weakref
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..network.capture import Sink, capture, saved_tensors
from ..network.nested import leaves
from ..network.records import LayerRef
from . import shortcuts
from .emulation import Target, as_on, autocasting
from .records import MemoryTrace, TracedLayer
from .scratch import is_uneven, scratch_of
from .worst_case import WorstCase

Optimizer = Literal["sgd", "sgd-momentum", "adam", "adamw", "none"]
Loss = Callable[[Any], Tensor]


@dataclass(frozen=True, slots=True)
class Run:
    """What is run: a training step or an inference, and what for.

    `target` is the device whose implementations count. `autocast` is the number format of automatic mixed precision.
    `losses` turns the network's answer into a scalar; `checkpointed` names the modules whose inside is computed again
    in the backward pass instead of being kept. `worst_case` allows shapes that depend on data, at their upper bound.
    Without `named` nobody asks which layer is at work, which takes half the time.
    """

    train: bool = True
    optimizer: Optimizer = "sgd"
    target: Target = "cuda"
    autocast: torch.dtype | None = None
    losses: Loss | None = None
    checkpointed: tuple[str, ...] = ()
    worst_case: bool = False
    named: bool = True


def trace(module: nn.Module, inputs: tuple[Any, ...], run: Run, *, extra: Sequence[Tensor] = ()) -> MemoryTrace:
    """Run `module(*inputs)`, all on the meta device, and write down every allocation.

    `extra` are tensors that lie beside the input throughout, such as labels. Whatever the network raises passes
    through. The module is used up: it has gradients afterwards.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(512, 10))
    >>> found = trace(net.to("meta"), (torch.empty(2, 3, 8, 8, device="meta"),), Run())
    >>> image, maps, weights = 2 * 3 * 64, 2 * 8 * 64, 8 * 27 + 512 * 10
    >>> int(found.sizes[found.saved].sum()) == 4 * (image + maps + weights + 2 * 10)  # and the answer, which is squared
    True
    """
    follower = _Follower(WorstCase() if run.worst_case else None, both=run.target == "cpu")
    follower.adopt((parameter for parameter in module.parameters()), "parameters")
    follower.adopt(module.buffers(), "buffers")
    follower.adopt(_tensors((inputs, extra)), "input")
    with ExitStack() as stack:
        stack.enter_context(as_on(run.target))
        stack.enter_context(with_checkpoints(module, run.checkpointed))
        stack.enter_context(torch.random.fork_rng(devices=[]))
        if run.train:
            _train(module, inputs, run, follower)
        else:
            _infer(module, inputs, run, follower)
    return follower.finished()


def _infer(module: nn.Module, inputs: tuple[Any, ...], run: Run, follower: _Follower) -> None:
    module.eval()
    follower.phase("forward")
    with torch.no_grad(), follower, autocasting(run.autocast):
        output = capture(module, inputs, follower.watch, **_watched(run))
        follower.settle()
    follower.outputs(output)
    del output
    follower.phase("end")


def _train(module: nn.Module, inputs: tuple[Any, ...], run: Run, follower: _Follower) -> None:
    module.train()
    losses = run.losses or mean_square
    optimizer = make_optimizer(module, run)
    follower.phase("forward")
    with follower:
        with saved_tensors(follower.keep), autocasting(run.autocast):
            output = capture(module, inputs, follower.watch, **_watched(run), as_it_stands=True)
            follower.settle()
            follower.begin("loss")
            loss = losses(output)
            follower.settle()
        follower.outputs(output)
        follower.phase("backward")
        if loss.requires_grad:
            loss.backward()
        follower.phase("step")
        follower.begin("optimizer step")
        gradients = [each.grad for each in module.parameters() if each.grad is not None]
        follower.name(gradients, "gradients")
        if optimizer is not None and gradients:
            _step(optimizer)
            for state in optimizer.state.values():
                follower.name(state.values(), "optimizer")
            follower.phase("second step")
            _step(optimizer)
        follower.phase("end")
    # What the next iteration lets go of before its forward: the answer, the loss, and with zero_grad the gradients.
    del output, loss
    follower.close()
    del gradients
    module.zero_grad(set_to_none=True)


def _watched(run: Run) -> dict[str, Any]:
    return {} if run.named else {"operations": False, "paths": ()}


def make_optimizer(module: nn.Module, run: Run) -> torch.optim.Optimizer | None:
    """The optimiser of a run, as torch makes it on the target by default; None for none."""
    parameters = [each for each in module.parameters() if each.requires_grad]
    if run.optimizer == "none" or not parameters:
        return None
    foreach = run.target == "cuda"  # what torch does there by default
    if run.optimizer == "adam":
        return torch.optim.Adam(parameters, lr=1e-3, foreach=foreach)
    if run.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=1e-3, foreach=foreach)
    momentum = 0.9 if run.optimizer == "sgd-momentum" else 0.0
    return torch.optim.SGD(parameters, lr=1e-3, momentum=momentum, foreach=foreach)


def _step(optimizer: torch.optim.Optimizer) -> None:
    """`optimizer.step()` without what torch has around it, which imports `torch._dynamo`."""
    with torch.set_grad_enabled(optimizer.defaults.get("differentiable", False)):
        inspect.unwrap(type(optimizer).step)(optimizer)


def mean_square(output: Any) -> Tensor:
    """A loss for answers of any kind: the mean of their squares, summed over their tensors."""
    tensors = [torch.view_as_real(each) if each.is_complex() else each for each in _tensors(output)]
    tensors = [each for each in tensors if each.is_floating_point()]
    total = tensors[0].square().mean()
    for each in tensors[1:]:
        total = total + each.square().mean()
    return total


@contextmanager
def with_checkpoints(module: nn.Module, paths: Sequence[str]) -> Iterator[None]:
    """Gradient checkpointing of these modules' calls inside."""
    from torch.utils.checkpoint import checkpoint

    def again(own: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        # There are no random numbers on `meta` whose state could be kept.
        return checkpoint(own, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)

    found = [module.get_submodule(path) for path in paths]
    try:
        for each in found:
            each.forward = partial(again, each.forward)
        yield
    finally:
        for each in found:
            each.__dict__.pop("forward", None)


# -- following storages ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Section:
    """A part of a step: where its events begin, and who was at work at each."""

    phase: str
    start: int


@dataclass(slots=True)
class _Books:
    sizes: list[int] = field(default_factory=list)
    kinds: list[str] = field(default_factory=list)
    makers: list[int] = field(default_factory=list)
    saved: set[int] = field(default_factory=set)
    events: list[int] = field(default_factory=list)  # storage + 1, negative where it ends
    places: list[int] = field(default_factory=list)


class _Follower(TorchDispatchMode):
    """Writes down when storages begin and end."""

    supports_higher_order_operators = True

    def __init__(self, worst_case: WorstCase | None, *, both: bool) -> None:
        super().__init__()
        self.books = _Books()
        self.worst_case = worst_case
        self.devices = ("meta", "cpu") if both else ("meta",)
        self.known: dict[int, int] = {}  # a storage's address → its number
        self.references: dict[int, Any] = {}
        self.sections: list[_Section] = [_Section("setup", 0)]
        self.layers: list[TracedLayer] = []
        self.place = -1
        self.pending = 0
        self.ends: list[int] = []  # sequence numbers of autograd's nodes at which each layer ends
        self.closed = False
        self.uneven = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        scratch = scratch_of(func, args)
        self._see(scratch)
        self.uneven = self.uneven or is_uneven(func)
        if self.worst_case is not None:
            output = self.worst_case(func, args, kwargs or {})
        else:
            output = shortcuts.run(func, args, kwargs or {})
        if self.sections[-1].phase == "backward":
            self._place_backward()
        self._see(output)
        del scratch
        return output

    def _see(self, value: Any) -> None:
        if isinstance(value, Tensor):
            if value.device.type in self.devices:
                self._number(value)
        elif isinstance(value, (tuple, list)):
            for each in value:
                self._see(each)

    def _number(self, tensor: Tensor) -> int:
        """The number of a tensor's storage, a new one where it was not seen before; -1 for one without bytes."""
        storage = tensor.untyped_storage()
        address = storage._cdata
        number = self.known.get(address)
        if number is not None:
            if storage.nbytes() == self.books.sizes[number]:
                return number
            self._end(address, number, None)  # resized: for an allocator that is another one
        size = storage.nbytes()
        if size == 0:
            return -1
        books = self.books
        number = len(books.sizes)
        books.sizes.append(size)
        books.kinds.append("")
        books.makers.append(self.place)
        books.events.append(number + 1)
        books.places.append(self.place)
        self.known[address] = number
        self.references[number] = weakref.ref(storage, partial(self._end, address, number))
        return number

    def _end(self, address: int, number: int, _reference: Any) -> None:
        if self.references.pop(number, None) is None or self.closed:
            return
        if self.known.get(address) == number:
            del self.known[address]
        self.books.events.append(-number - 1)
        self.books.places.append(self.place)

    def adopt(self, tensors: Any, kind: str) -> None:
        """Follow tensors that are there before the first operation."""
        self.name(tensors, kind)

    def name(self, tensors: Any, kind: str) -> None:
        """Say what these tensors are."""
        for each in tensors:
            if isinstance(each, Tensor) and each.device.type in self.devices:
                number = self._number(each)
                if number >= 0 and not self.books.kinds[number]:
                    self.books.kinds[number] = kind

    def outputs(self, output: Any) -> None:
        self.name(_tensors(output), "output")

    def close(self) -> None:
        """Nothing that ends from here on belongs to the step."""
        self.closed = True

    # -- what is kept for the backward pass ------------------------------------------------------------------------

    def keep(self, tensor: Tensor) -> None:
        if tensor.device.type in self.devices:
            number = self._number(tensor)
            if number >= 0:
                self.books.saved.add(number)

    # -- who is at work --------------------------------------------------------------------------------------------

    def phase(self, phase: str) -> None:
        self.sections.append(_Section(phase, len(self.books.events)))
        self.pending = len(self.books.events)  # nothing of an earlier phase is a layer's of this one

    def begin(self, name: str) -> None:
        """From here on something that is no layer is at work."""
        self.place = len(self.layers)
        self.layers.append(TracedLayer(LayerRef(name, "", 0, "other", name), (), "", 0))

    def watch(self, layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            size = output.element_size()
            dtype = str(output.dtype).removeprefix("torch.")
            self.layers.append(TracedLayer(layer, tuple(output.shape), dtype, size))
            self.place = len(self.layers) - 1
            self.settle()

        return sink

    def settle(self) -> None:
        """What has happened since the last layer is the present one's."""
        books = self.books
        for at in range(self.pending, len(books.events)):
            books.places[at] = self.place
            if books.events[at] > 0:
                books.makers[books.events[at] - 1] = self.place
        self.pending = len(books.events)
        while len(self.ends) < len(self.layers):
            self.ends.append(torch.autograd._get_sequence_nr())

    def _place_backward(self) -> None:
        node = torch._C._current_autograd_node()
        if node is not None:
            number = node._sequence_nr()
            if number < self.ends[-1]:  # a gradient's accumulation has no number: it belongs to the node before it
                self.place = bisect_left(self.ends, number + 1)

    # -- the result ------------------------------------------------------------------------------------------------

    def finished(self) -> MemoryTrace:
        books = self.books
        kinds = [
            kind if kind and (kind != "output" or at not in books.saved) else "activations" if at in books.saved else ""
            for at, kind in enumerate(books.kinds)
        ]
        saved = np.zeros(len(books.sizes), bool)
        saved[list(books.saved)] = True
        return MemoryTrace(
            sizes=np.array(books.sizes, np.int64),
            kinds=tuple(kind or "temporaries" for kind in kinds),
            makers=np.array(books.makers, np.int32),
            saved=saved,
            events=np.array(books.events, np.int32),
            places=np.array(books.places, np.int32),
            sections=tuple((each.phase, each.start) for each in self.sections),
            layers=tuple(self.layers),
            upper_bound=self.worst_case is not None and self.worst_case.used,
            uneven=self.uneven,
        )


def _tensors(value: Any) -> Iterator[Tensor]:
    """All tensors in nested lists, tuples and dicts."""
    return (each for each in leaves(value) if isinstance(each, Tensor))
