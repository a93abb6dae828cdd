"""Multiply-adds of every layer, counted while the network runs: the formulas of `products`, split up by layer.

A multiply-add is one multiplication and the addition that takes up its product; torch counts FLOPs, which are two of
them each. Convolutions and matrix products count, whoever calls them (a module, `F.linear`, `einsum`, attention);
what is linear in the size of a map (norms, activations, pooling, biases, interpolation, softmax) does not, as in
torch's `FlopCounterMode` and the numbers that torchvision publishes.

The network may run for real, on the meta device, or without its arithmetic (`blank`): the count goes by shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..network.calls import taken_apart
from ..network.capture import Sink, capture
from ..network.records import LayerRef
from .products import formula_of, is_uncounted
from .records import CountedLayer, Geometry


@dataclass(frozen=True, slots=True)
class Count:
    """A forward pass: its layers in execution order, and the whole network's multiply-adds.

    `uncounted` has the operations that multiply and have no formula, each with the first layer that ran it;
    `idle_parameters` is the number of the network's parameters that no operation took.
    """

    layers: list[CountedLayer]
    total: int
    uncounted: dict[str, str]
    idle_parameters: int


def count_layers(
    module: nn.Module, inputs: tuple[Any, ...], beside: Callable[[LayerRef, Tensor], None] | None = None
) -> Count:
    """Every layer of one forward pass with its cost, in execution order, and what the pass comes to.

    What happens inside a layer of torch.nn is that layer's; what happens in a module of other modules is summed up in
    it as well (`composite`). An operation that is a layer of its own accounts for itself. `beside` is shown every
    layer's output as well. Whatever the network raises passes through.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 4 * 4, 10))
    >>> count = count_layers(net, (torch.zeros(1, 3, 6, 6),))
    >>> [(each.layer.name, each.multiply_adds) for each in count.layers]
    [('input', 0), ('0', 3456), ('1', 0), ('2', 0), ('3', 1280)]
    >>> count.total == 8 * 3 * 3 * 3 * 4 * 4 + 10 * 128
    True
    """
    ledger = _Ledger(module, beside)
    with ledger.meter:
        capture(module, inputs, ledger.watch, calls=ledger.note_call)
    idle = sum(each.numel() for each in module.parameters() if id(each) in ledger.meter.idle)
    return Count(ledger.layers(), ledger.meter.total, ledger.uncounted, idle)


# -- who accounts for what ---------------------------------------------------------------------------------------


@dataclass(eq=False, slots=True)
class _Call:
    """A module's call: what had been counted when it began, what layers inside account for, its own layer, and how the
    one operation since the last layer inside went about it."""

    start: int
    outer: _Call | None
    inside: int = 0
    has_layers: bool = False
    index: int | None = None
    geometry: Geometry | None = None
    detail: str = ""


@dataclass(slots=True)
class _Entry:
    layer: CountedLayer
    outer: _Call | None
    call: _Call | None


@dataclass(slots=True)
class _Ledger:
    """Follows a capture and writes down, layer by layer, what the meter has counted since."""

    module: nn.Module
    beside: Callable[[LayerRef, Tensor], None] | None = None
    meter: _Meter = field(init=False)
    modules: dict[str, nn.Module] = field(init=False)
    entries: list[_Entry] = field(default_factory=list)
    running: _Call | None = None
    ended: _Call | None = None
    mark: int = 0
    uncounted: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.meter = _Meter(id(each) for each in self.module.parameters())
        self.modules = dict(self.module.named_modules())

    def note_call(self, path: str, begins: bool) -> None:
        if begins:
            self.running = _Call(self.meter.total, self.running)
        else:
            assert self.running is not None
            self.ended = self.running
            self.ended.geometry, self.ended.detail = self.meter.geometry, self.meter.detail
            self.running = self.running.outer
            if self.running is not None:
                self.running.inside += self.meter.total - self.ended.start
        self._settle()

    def watch(self, layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            self._write(layer, output)
            if self.beside is not None:
                self.beside(layer, output)

        return sink

    def _write(self, layer: LayerRef, output: Tensor) -> None:
        call = self.ended if layer.is_module else None
        everything: int | None
        own: int | None
        if call is None:
            everything = own = self.meter.total - self.mark
            if self.running is not None:
                self.running.inside += own
        elif call.index is None:
            everything = self.meter.total - call.start
            own = everything - call.inside
        else:
            everything = own = None  # another output of the same call
        module = self.modules.get(layer.path) if layer.is_module else None
        # A module of an exported network has no attributes that say how: what ran in it does.
        ran: _Meter | _Call = self.meter if call is None or call.has_layers else call
        index = len(self.entries)
        counted = CountedLayer(
            layer=layer,
            index=index,
            shape=tuple(output.shape),
            dtype=str(output.dtype).removeprefix("torch."),
            memory_format=memory_format(output),
            parent=None,
            depth=1,
            composite=call is not None and call.has_layers,
            multiply_adds=everything,
            own_multiply_adds=own,
            geometry=ran.geometry if module is None else module_geometry(module) or ran.geometry,
            detail=ran.detail if module is None else _detail(module) or ran.detail,
        )
        self.entries.append(_Entry(counted, self.running, call))
        for operation in self.meter.uncounted:
            self.uncounted.setdefault(operation, layer.name)
        self.meter.uncounted.clear()
        if call is not None and call.index is None:
            call.index = index
        outer = self.running
        while outer is not None and not outer.has_layers:
            outer.has_layers = True
            outer = outer.outer
        self._settle()

    def _settle(self) -> None:
        self.mark = self.meter.total
        self.meter.forget()

    def layers(self) -> list[CountedLayer]:
        done: list[CountedLayer] = []
        for entry in self.entries:
            parents = []
            outer = entry.outer
            while outer is not None:
                if outer.index is not None:  # a call without a tensor in its output is no layer
                    parents.append(outer.index)
                outer = outer.outer
            done.append(replace(entry.layer, parent=parents[0] if parents else None, depth=len(parents) + 1))
        return done


# -- counting ----------------------------------------------------------------------------------------------------


class _Meter(TorchDispatchMode):
    """Adds up the multiply-adds of everything that runs inside, and remembers how the last operations went about it."""

    supports_higher_order_operators = True

    def __init__(self, parameters: Iterable[int]) -> None:
        super().__init__()
        self.total = 0
        self.uncounted: list[str] = []  # operations since somebody last asked
        self.idle = set(parameters)  # those that no operation took so far, by their identity
        self._geometries: list[Geometry] = []
        self._details: list[str] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def forget(self) -> None:
        self._geometries.clear()
        self._details.clear()

    @property
    def geometry(self) -> Geometry | None:
        """How the one convolution or pooling since `forget` went over the map."""
        return self._geometries[0] if len(self._geometries) == 1 else None

    @property
    def detail(self) -> str:
        """What the one matrix product since `forget` multiplied, in words."""
        return self._details[0] if len(self._details) == 1 and not self._geometries else ""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        packet = getattr(func, "_overloadpacket", func)
        arguments = [each for value in args for each in (value if isinstance(value, (list, tuple)) else (value,))]
        self.idle.difference_update(map(id, arguments))
        formula = formula_of(func)
        if formula is None and (output := taken_apart(self, func, args, kwargs)) is not NotImplemented:
            return output
        output = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(args, kwargs, output)
        elif is_uncounted(func, arguments):
            self.uncounted.append(func._schema.name.removeprefix("aten::"))
        describe = _GEOMETRIES.get(packet)
        if describe is not None:
            self._geometries.append(describe(*args, **kwargs))
        elif packet in _PRODUCTS:
            left, right = args[-2:]
            self._details.append(f"{left.shape[-1]} → {right.shape[-1]}")
        return output


_aten = torch.ops.aten
_PRODUCTS = (_aten.mm, _aten.addmm)


# -- what else there is to say of a layer ------------------------------------------------------------------------


def memory_format(tensor: Tensor) -> str:
    """How a tensor lies in memory: `contiguous` (its last axis runs fastest), `channels_last` (its second one does).

    What is neither is `permuted` (another order of axes), `strided` (with gaps: part of a larger tensor) or `expanded`
    (one value seen several times). A tensor that is both, for lack of channels or places, is called contiguous.

    >>> x = torch.empty(1, 8, 4, 4)
    >>> [memory_format(t) for t in (x, x.contiguous(memory_format=torch.channels_last), x.permute(0, 2, 3, 1))]
    ['contiguous', 'channels_last', 'permuted']
    >>> memory_format(x[..., :2]), memory_format(x[:, :1].expand(1, 8, 4, 4))
    ('strided', 'expanded')
    """
    if tensor.layout != torch.strided:
        return str(tensor.layout).removeprefix("torch.")
    if tensor.is_contiguous():
        return "contiguous"
    if tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last):
        return "channels_last"
    if tensor.ndim == 5 and tensor.is_contiguous(memory_format=torch.channels_last_3d):
        return "channels_last_3d"
    axes = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    if axes and axes[0][0] == 0:
        return "expanded"
    expected = 1
    for stride, size in axes:
        if stride != expected:
            return "strided"
        expected *= size
    return "permuted"


def module_geometry(module: nn.Module) -> Geometry | None:
    """How a convolution or pooling module goes over the map; None for any other, and for adaptive pooling.

    >>> found = module_geometry(nn.Conv2d(8, 8, 3, stride=2, padding="valid", groups=8))
    >>> found.kernel, found.stride, found.padding, found.groups, found.per_channel
    ((3, 3), (2, 2), (0, 0), 8, True)
    """
    kernel = getattr(module, "kernel_size", None)
    if kernel is None or not hasattr(module, "stride") or not hasattr(module, "padding"):
        return None
    groups = getattr(module, "groups", None)
    inputs = getattr(module, "in_channels", None)
    if groups is not None:
        places = len(kernel)
    else:
        places = int(type(module).__name__[-2]) if type(module).__name__[-2:] in ("1d", "2d", "3d") else 2
    return _geometry(
        kernel,
        module.stride,
        module.padding,
        getattr(module, "dilation", 1),
        places,
        groups,
        inputs,
        bool(getattr(module, "transposed", False)),
    )


def _geometry(
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    places: int,
    groups: int | None = None,
    inputs: int | None = None,
    transposed: bool = False,
) -> Geometry:
    kernels, gaps = _each(kernel, places), _each(dilation, places)
    pads: tuple[int, ...] | None
    if padding == "valid":
        pads = (0,) * places
    elif padding == "same":
        reaches = [gap * (size - 1) for gap, size in zip(gaps, kernels, strict=True)]
        pads = None if any(reach % 2 for reach in reaches) else tuple(reach // 2 for reach in reaches)
    else:
        pads = _each(padding, places)
    per_channel = groups is not None and groups > 1 and groups == inputs
    return Geometry(kernels, _each(stride or kernel, places), pads, gaps, groups, per_channel, transposed)


def _each(value: Any, places: int) -> tuple[int, ...]:
    values = tuple(int(each) for each in value) if isinstance(value, (tuple, list)) else (int(value),)
    return values * places if len(values) == 1 else values


def _of_convolution(
    images: Tensor,
    weight: Tensor,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    output_padding: Any,
    groups: int,
) -> Geometry:
    places = weight.ndim - 2
    return _geometry(weight.shape[2:], stride, padding, dilation, places, groups, images.shape[1], transposed)


def _of_deformable(images: Tensor, weight: Tensor, offset: Any, mask: Any, bias: Any, *numbers: Any) -> Geometry:
    stride, padding, dilation = (tuple(numbers[at : at + 2]) for at in (0, 2, 4))
    return _geometry(weight.shape[2:], stride, padding, dilation, 2, numbers[6], images.shape[1])


def _of_max_pooling(
    images: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, *args: Any
) -> Geometry:
    return _geometry(kernel_size, stride, padding, dilation, len(kernel_size))


def _of_average_pooling(images: Tensor, kernel_size: Any, stride: Any = (), padding: Any = 0, *args: Any) -> Geometry:
    return _geometry(kernel_size, stride, padding, 1, len(kernel_size))


_GEOMETRIES: dict[Any, Callable[..., Geometry]] = {
    _aten.convolution: _of_convolution,
    torch.ops.torchvision.deform_conv2d: _of_deformable,
    _aten.max_pool2d_with_indices: _of_max_pooling,
    _aten.max_pool3d_with_indices: _of_max_pooling,
    _aten.avg_pool2d: _of_average_pooling,
    _aten.avg_pool3d: _of_average_pooling,
}


def _detail(module: nn.Module) -> str:
    """What a module's table row says beside its geometry: `512 → 1000` of a linear layer, `12 heads` of attention."""
    if hasattr(module, "in_features") and hasattr(module, "out_features"):
        return f"{module.in_features} → {module.out_features}"
    if isinstance(module, nn.MultiheadAttention):
        return f"{module.num_heads} heads"
    if isinstance(module, nn.GroupNorm):
        return f"{module.num_groups} groups"
    size = getattr(module, "output_size", None)
    if size is not None and "Adaptive" in type(module).__name__:
        axes = next((axes for axes in (1, 3) if f"{axes}d" in type(module).__name__), 2)  # `AdaptiveAvgPool3d`
        sizes = size if isinstance(size, (tuple, list)) else (size,) * axes
        return "→ " + "×".join("·" if each is None else str(each) for each in sizes)
    return ""
