"""One forward pass in which every layer's output is seen once. The only place with hooks.

A *watcher* is asked at each layer, as it happens and in execution order, whether it wants the output; if so
it answers with a *sink*, which is called with the output before any later operation can touch it. A sink must
reduce or copy there and then: the next in-place ReLU rewrites the storage it was shown. Where it answers with a
`Replacement` instead, what that makes of the output goes on in its place: the rest of the network reads that.

Names are torchvision's own, those of `torchvision.models.feature_extraction.get_graph_node_names` in eval
mode: modules by their path, operations that are no module by the module they happen in and torch.fx's name
for them (`layer1.0.add`, `layer1.0.relu_1`). torch.fx gets them by running the forward with stand-ins for
tensors; here the forward runs on real tensors, so the same names also exist where torch.fx cannot follow
(detection models, loops over data). Two rules keep the counters (`_1`, `_2`, ...) in step with torch.fx:

* arithmetic on sizes is counted (`x.shape[0] // 2` uses up `getitem` and `floordiv`), so while operations are
  watched sizes come as `ReportingSize` and `ReportingInt`, a tuple and an int that report what is done with them;
* only what descends from the input or from a parameter is recorded; a constant made on the way is not.

Three differences are on purpose. Modules always keep their own path (torchvision prints a module called
`ln_2` as `ln_1` where `ln_1` exists too, and a module `features` of a `forward(self, features)` as `features_1`; here
that is the argument). Modules inside torchvision's own blocks (`torchvision.ops`), which
torchvision's list leaves out, are layers as well, and so are composite modules (`layer1`: its output). And
parameters read on the way are no layers: they do not depend on the image.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..foreign.guests import guest_code
from .kinds import module_kind, operation_kind
from .leaves import argument_names, is_callable, is_leaf
from .nested import leaves
from .operation_names import IN_PLACE_OPERATORS, IPOW, called_by_operator, operation_name, without_counter
from .records import LayerRef
from .replacing import Argument, Replacement, put_in_place, rebuilt
from .reporting import (
    ReportingFields,
    ReportingInt,
    ReportingList,
    ReportingSize,
    ReportingTuple,
    named_tensors,
    under_way,
)

Sink = Callable[[Tensor], None]
Watcher = Callable[[LayerRef], Sink | Replacement | None]
CallWatcher = Callable[[str, bool], None]


def capture(
    module: nn.Module,
    inputs: tuple[Any, ...],
    watcher: Watcher,
    *,
    operations: bool = True,
    paths: Collection[str] | None = None,
    calls: CallWatcher | None = None,
    as_it_stands: bool = False,
) -> Any:
    """Run `module(*inputs)` once, without gradients, and show every layer's output to `watcher`.

    `operations=False` leaves out the operations that are no module, which costs less; `paths` further limits
    the pass to these modules' calls (an empty collection adds nothing at all to the forward). Layers whose
    output is a tuple, list or dict are seen as one layer per tensor: `NAME.0`, `NAME.1` or `NAME.KEY`, or
    `NAME.output.KEY` where another layer has that name; so is the answer of the whole network, as `KEY` or
    `output.0`. `calls` is told the path of each module as its call begins (True) and ends (False), the latter before
    its outputs are shown.

    The module runs in eval mode. Hooks are gone and training flags are as before when this returns or raises.
    `as_it_stands` is for whoever wants the pass of a training step: each module runs in the mode that it is in, and
    with gradients where they are enabled.

    Returns what the module returns. Whatever the module raises passes through.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    >>> shapes = {}
    >>> def watch(layer):
    ...     return lambda output: shapes.update({layer.name: list(output.shape)})
    >>> output = capture(net, (torch.zeros(1, 3, 6, 6),), watch)
    >>> shapes
    {'input': [1, 3, 6, 6], '0': [1, 8, 4, 4], '1': [1, 8, 4, 4], '2': [1, 8, 4, 4]}
    """
    with watching(module, operations=operations, paths=paths, as_it_stands=as_it_stands) as run:
        return run(inputs, watcher, calls)


@contextmanager
def watching(
    module: nn.Module,
    *,
    operations: bool = True,
    paths: Collection[str] | None = None,
    as_it_stands: bool = False,
) -> Iterator[Callable[..., Any]]:
    """Keep the hooks for any number of passes: yields `run(inputs, watcher, calls=None)`, each call of which is a
    `capture`.

    Hooks stay in between, which saves a tenth of a small network's time a pass. The module is in eval mode all along.
    """
    hooked = _Pass(module, operations, paths) if operations or paths is None or paths else None

    def run(inputs: tuple[Any, ...], watcher: Watcher, calls: CallWatcher | None = None) -> Any:
        with nullcontext() if as_it_stands else torch.no_grad(), guest_code():
            return module(*inputs) if hooked is None else hooked.run(inputs, watcher, calls)

    with nullcontext() if as_it_stands else eval_mode(module):
        try:
            if hooked is not None:
                hooked.hook()
            yield run
        finally:
            if hooked is not None:
                hooked.unhook()


@contextmanager
def saved_tensors(watch: Callable[[Tensor], None]) -> Iterator[None]:
    """Tells `watch` of every tensor that autograd keeps for the backward pass inside, each time it does.

    >>> shapes = []
    >>> with saved_tensors(lambda tensor: shapes.append(list(tensor.shape))):
    ...     output = torch.ones(2, 3, requires_grad=True).exp()
    >>> shapes
    [[2, 3]]
    """

    def pack(tensor: Tensor) -> Tensor:
        watch(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield


@contextmanager
def eval_mode(module: nn.Module) -> Iterator[None]:
    """Eval mode inside; afterwards each module has the training flag it had."""
    flags = [(each, each.training) for each in module.modules() if hasattr(each, "training")]
    try:
        if any(training for _, training in flags):
            module.eval()
        yield
    finally:
        for each, training in flags:
            if each.training is not training:  # a module's __setattr__ takes a microsecond, of hundreds of modules
                each.training = training


class _Pass:
    """The state of a pass: who is being called, which names are taken, what descends from the input."""

    def __init__(self, module: nn.Module, operations: bool, paths: Collection[str] | None) -> None:
        self.module = module
        self.operations = operations
        self.handles: list[Any] = []
        self.known: dict[tuple[str, int], LayerRef] = {}  # (path, call) -> what an earlier pass found there
        self._start(lambda _layer: None, None)
        self.modules = {path: each for path, each in module.named_modules() if path and is_callable(each)}
        self.watched = self.modules if paths is None else {p: m for p, m in self.modules.items() if p in paths}

    def _start(self, watcher: Watcher, calls: CallWatcher | None) -> None:
        self.watcher = watcher
        self.call_watcher = calls
        self.scopes: list[_Scope] = []
        self.taken: dict[str, int] = {}  # base name -> counter of the last name given out
        self.calls: dict[str, int] = {}  # path of a module -> calls so far
        self.seen: dict[int, weakref.ref[Tensor]] = {}  # id -> a tensor that descends from the input
        self.written = False  # whether the call that ended last put out its own argument, written over

    def hook(self) -> None:
        for path, module in self.watched.items():
            self._hook(path, module)

    def unhook(self) -> None:
        for handle in self.handles:
            handle.remove()

    def run(self, inputs: tuple[Any, ...], watcher: Watcher, calls: CallWatcher | None) -> Any:
        outer = under_way.recorder
        self._start(watcher, calls)
        try:
            under_way.recorder = self
            inputs = self._show_inputs(inputs)
            if self.operations:
                with _torch_function_on(), _wrapped_functions(self), _Operations(self):
                    output = self.module(*inputs)
            else:
                output = self.module(*inputs)
            return self._show_outputs(output) if self.watched is self.modules else output
        finally:
            under_way.recorder = outer
            while self.scopes:
                self._leave_scope()

    # -- modules ---------------------------------------------------------------------------------------------

    def _hook(self, path: str, module: nn.Module) -> None:
        leaf = is_leaf(module)

        def before(_module: nn.Module, args: Any) -> None:
            if under_way.recorder is self:  # a sink may run the same module in a capture of its own
                if self.call_watcher is not None:
                    self.call_watcher(path, True)
                self.scopes.append(_Scope(path, leaf, args[0] if args else None))

        def leave(_module: nn.Module, _args: Any, output: Any) -> None:
            if under_way.recorder is self and self.scopes and self.scopes[-1].path == path:
                self.written = self.scopes[-1].first.is_written(output)
                self._leave_scope()
                if self.call_watcher is not None:
                    self.call_watcher(path, False)

        def after(_module: nn.Module, _args: Any, output: Any) -> Any:
            if under_way.recorder is not self:
                return output
            name, call = self.claim(path, module=True)
            self.mark(output)
            layer = self.known.get((path, call))
            if layer is None or layer.name != name:
                # Asked now, not before: a lazy module has neither its class nor its parameters until it has run.
                with torch._C.DisableTorchFunction():
                    parameters = sum(p.numel() for p in module.parameters())
                layer = LayerRef(name, path, call, module_kind(module), type(module).__name__, True, parameters)
                self.known[path, call] = layer
            output = self.show(layer, output, self.written)
            # Indexing a leaf's tuple is an operation of its own (`getitem`), in torch.fx's names as here.
            return self.follow(output) if leaf and self.recording else output

        # The scope ends on an exception too: the model may catch it and go on.
        # (nn.Module's own methods, because scripted modules hide theirs.)
        self.handles.append(nn.Module.register_forward_pre_hook(module, before, prepend=True))
        self.handles.append(nn.Module.register_forward_hook(module, leave, always_call=True))
        self.handles.append(nn.Module.register_forward_hook(module, after))

    def _leave_scope(self) -> None:
        self.scopes.pop().close()

    def _show_inputs(self, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        self.mark(inputs)
        given = []
        for name, value in zip(argument_names(self.module, len(inputs)), inputs, strict=True):
            name, _ = self.claim(name)  # another one where a module has it
            given.append(self.show(LayerRef(name, "", 0, "input", "input"), value))
        return tuple(given)

    def _show_outputs(self, output: Any) -> Any:
        """The tensors of an answer that is no single tensor: `out` and `aux` of a segmentation model, `output.0`."""
        if isinstance(output, Tensor):
            return output
        new: dict[int, Tensor] = {}
        for key, tensor in named_tensors(output):
            name, call = self.claim(key if isinstance(output, dict) else f"output.{key}")
            shown = self.show(LayerRef(name, "", call, "output", "output"), tensor)
            if shown is not tensor:
                new[id(tensor)] = shown
        return rebuilt(output, lambda each: new.get(id(each), each)) if new else output

    # -- operations ------------------------------------------------------------------------------------------

    @property
    def recording(self) -> bool:
        """Operations are recorded now: they are watched, and no leaf module and no capture within runs."""
        return self.operations and under_way.recorder is self and not (self.scopes and self.scopes[-1].leaf)

    def operation(self, operation: str, output: Any, written: bool = False) -> Any:
        """Record one operation in the running module; returns its output, followed. `written` says that this is the
        operation's own argument.
        """
        path, name, call = self._claim_operation(operation)
        self.mark(output)
        if isinstance(output, Tensor):  # the tensors in a tuple are layers when they are taken out: `getitem`
            output = self.show(LayerRef(name, path, call, operation_kind(operation), operation), output, written)
        return self.follow(output)

    def count(self, operation: str) -> None:
        """Use up a counter, as torch.fx does for arithmetic on sizes."""
        self._claim_operation(operation)

    def _claim_operation(self, operation: str) -> tuple[str, str, int]:
        """The path of the running module, and the name and call index of an operation in it."""
        path = self.scopes[-1].path if self.scopes else ""
        return path, *self.claim(f"{path}.{operation}" if path else operation)

    def follow(self, value: Any) -> Any:
        """Sizes, tuples and lists as the kinds that report what is done with them; anything else as it is."""
        kind = type(value)
        if kind is torch.Size:
            return ReportingSize(value)
        if kind is tuple:
            return ReportingTuple(value)
        if kind is list:
            return ReportingList(value)
        if kind is int:
            return ReportingInt(value)
        if kind.__module__ == "torch.return_types":
            return ReportingFields.of(value)
        return value

    # -- names and descent -----------------------------------------------------------------------------------

    def claim(self, base: str, *, module: bool = False) -> tuple[str, int]:
        """The next free name for `base`, and its call index: `relu`, `relu_1`, `relu_2`, ...

        Module paths belong to the modules: an operation passes over them, and a module's first call has its path
        even where an operation of the same name came before it.
        """
        counter = self.taken.get(base, -1) + 1
        call = counter
        if module:
            call = self.calls.get(base, 0)
            self.calls[base] = call + 1
            if call == 0:
                self.taken.setdefault(base, 0)
                return base, 0
        while (name := f"{base}_{counter}" if counter else base) in self.modules:
            counter += 1
        self.taken[base] = counter
        return name, call

    def mark(self, value: Any) -> None:
        """Remember that these tensors descend from the input."""
        for each in (value,) if isinstance(value, Tensor) else leaves(value):
            if isinstance(each, Tensor):
                self.seen[id(each)] = weakref.ref(each)

    def descends(self, value: Any) -> bool:
        """Whether a tensor, size or nested argument descends from the input or from a parameter."""
        if isinstance(value, Tensor):
            if isinstance(value, nn.Parameter):
                return True
            reference = self.seen.get(id(value))
            return reference is not None and reference() is value
        if isinstance(value, (ReportingInt, ReportingTuple, ReportingList)):
            return True
        if isinstance(value, (tuple, list)):
            return any(self.descends(each) for each in value)
        if isinstance(value, dict):
            return any(self.descends(each) for each in value.values())
        if isinstance(value, slice):
            return any(self.descends(each) for each in (value.start, value.stop, value.step))
        return False

    def show(self, layer: LayerRef, output: Any, written: bool = False) -> Any:
        """Offer a layer's output to the watcher, one tensor at a time; returns what goes on in its place."""
        if isinstance(output, Tensor):
            sink = self.watcher(layer)
            if sink is None:
                return output
            with torch._C.DisableTorchFunction():
                if not isinstance(sink, Replacement):
                    sink(output)
                    return output
                output = put_in_place(output, sink.function(output), written)
            self.mark(output)
            return output
        tensors = list(named_tensors(output))
        new: dict[int, Tensor] = {}
        for suffix, tensor in tensors:
            name = f"{layer.name}.{suffix}" if len(tensors) > 1 else layer.name
            if len(tensors) > 1 and (name in self.modules or name in self.taken):
                name = f"{layer.name}.output.{suffix}"
            shown = self.show(replace(layer, name=name), tensor)
            if shown is not tensor:
                new[id(tensor)] = shown
        return rebuilt(output, lambda each: new.get(id(each), each)) if new else output


class SameTensors:
    """Tells a tensor that a sink was shown before in this pass: a block's output is that of its last layer.

    It keeps no tensor alive.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[weakref.ref[Tensor], int, str]] = {}

    def earlier(self, output: Tensor, name: str) -> str | None:
        """The first name under which this very tensor was shown, if nothing has been written to it since."""
        if output.is_inference():  # does not count what is written to it
            return None
        reference, version, earlier = self._seen.get(id(output), (None, 0, ""))
        if reference is not None and reference() is output and version == output._version:
            return earlier
        self._seen[id(output)] = (weakref.ref(output), output._version, name)
        return None


def _torch_function_on() -> Any:
    """Torch functions reach modes inside, also in a capture that a sink of another one runs."""
    return getattr(torch._C, "_EnableTorchFunction", nullcontext)()


class _Scope:
    """A module call under way. Inside a leaf the function mode is switched off, so a leaf runs as it always does.

    (Multi-head attention takes another path when it sees a mode.)
    """

    def __init__(self, path: str, leaf: bool, first: Any = None) -> None:
        self.path = path
        self.leaf = leaf
        self.first = Argument(first)
        self._off = torch._C.DisableTorchFunction() if leaf else None
        if self._off is not None:
            self._off.__enter__()

    def close(self) -> None:
        if self._off is not None:
            self._off.__exit__(None, None, None)


_TO_PLAIN_INT = ("int", "index", "len")  # Python wants an int of these, no subclass


class _Operations(TorchFunctionMode):
    """Sees every torch function and tensor method called outside leaf modules."""

    def __init__(self, owner: _Pass) -> None:
        super().__init__()
        self.owner = owner

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        owner = self.owner
        if not owner.recording or not (owner.descends(args) or owner.descends(kwargs)):
            return func(*args, **kwargs)
        name = operation_name(func)
        if name in IN_PLACE_OPERATORS and (func is IPOW or called_by_operator(sys._getframe(1))):
            name = IN_PLACE_OPERATORS[name]
        first = Argument(args[0] if args else None)
        output = func(*args, **kwargs)
        followed = owner.operation(name, output, first.is_written(output))
        return output if name in _TO_PLAIN_INT else followed


@contextmanager
def _wrapped_functions(owner: _Pass) -> Iterator[None]:
    """Functions given to `torch.fx.wrap` are one operation each, as torch.fx has it.

    torch.fx keeps their names and the globals they live in, and replaces them there while it traces; so does
    this. Should a torch version keep them elsewhere, the operations inside show instead.
    """
    from torch.fx import _symbolic_trace

    replaced: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for (_, name), home in list(getattr(_symbolic_trace, "_wrapped_fns_to_patch", {}).items()):
            if name in home and callable(home[name]):
                replaced.append((home, name, home[name]))
                home[name] = _as_one_operation(owner, name, home[name])
        yield
    finally:
        for home, name, function in reversed(replaced):
            home[name] = function


def _as_one_operation(owner: _Pass, name: str, function: Any) -> Any:
    operation = without_counter(name)

    def whole(*args: Any, **kwargs: Any) -> Any:
        if not owner.recording or not (owner.descends(args) or owner.descends(kwargs)):
            return function(*args, **kwargs)
        owner.scopes.append(_Scope(owner.scopes[-1].path if owner.scopes else "", True))
        try:
            output = function(*args, **kwargs)
        finally:
            owner._leave_scope()
        return owner.operation(operation, output)

    return whole
