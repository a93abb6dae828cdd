"""What a pass says of kernels: which weights each product reads, whether it reads the picture, what follows it."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ..arguments import nobody
from ..errors import FmapError
from ..network.blank import blank_arithmetic
from ..network.capture import Sink, capture
from ..network.nested import leaves
from ..network.records import LayerRef
from ..network.selection import Selection
from ..session.opening import Session, read_image
from ..session.passes import run

_aten = torch.ops.aten
_CONVOLUTIONS = (_aten.convolution, _aten._convolution, _aten.convolution_overrideable)  # the second in traced programs
_DEFORMABLE = "torchvision::deform_conv2d"
_BATCH_NORMS = frozenset(
    "batch_norm native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit"
    " _native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update".split()
)


@dataclass(slots=True, eq=False)
class BatchNorm:
    """A BatchNorm that received a product's very output: where it is, and its numbers, `[O]` each.

    `by_batch` says that it normalises by what the batch itself says, so that it is not a fixed factor.
    """

    name: str
    scale: Tensor | None
    shift: Tensor | None
    mean: Tensor | None
    var: Tensor | None
    eps: float
    by_batch: bool


@dataclass(slots=True, eq=False)
class Product:
    """A convolution or matrix product that multiplies what comes of the picture by weights that do not.

    `weight` is as `torch.nn` keeps it: `[O, I / groups, *kernel]`, transposed convolutions `[I, O / groups, *kernel]`,
    matrices `[O, I]`. `reads_picture` says that no other product and no mixing of channels stands before it. `norms`
    are the BatchNorms that received its very output, `others` the number of other operations that read it.
    """

    weight: Tensor
    bias: Tensor | None
    transposed: bool
    groups: int
    reads_picture: bool
    norms: list[BatchNorm] = field(default_factory=list)
    others: int = 0


class Watch(TorchDispatchMode):
    """While it is on, finds the products of a pass that is started with `start`, by the layer that they are part of.

    `of` has them by the names of layers in which there is exactly one, `inside` how many there are in each layer.
    `of_picture` are operations that multiply by what is made of the picture itself.
    """

    supports_higher_order_operators = True

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.modules = modules
        self.of: dict[str, Product] = {}
        self.inside: dict[str, int] = {}
        self.of_picture: set[str] = set()
        self.made_of_picture = 0
        self._products: list[Product] = []
        self._unnamed = 0  # the first product that is no layer's yet
        self._running: list[tuple[str, int]] = []  # modules, each with the number of products before it
        self._began: dict[str, int] = {}
        self._plain: dict[int, weakref.ref[Tensor]] = {}  # what no product made of the picture yet
        self._mixed: dict[int, weakref.ref[Tensor]] = {}  # what products made of it
        self._outputs: dict[int, tuple[weakref.ref[Tensor], int, Product]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def start(self, inputs: Sequence[Any]) -> None:
        _remember(self._plain, leaves(inputs))

    def call(self, path: str, begins: bool) -> None:
        """A module's call begins or has ended."""
        if begins:
            self._running.append((path, len(self._products)))
        elif self._running:
            name, start = self._running.pop()
            self._began[name] = start

    def show(self, layer: LayerRef) -> None:
        """A layer's output was shown: the products since it began are its own."""
        start = self._began.get(layer.path, self._unnamed) if layer.is_module else self._unnamed
        found = self._products[start:]
        self._unnamed = len(self._products)
        self.inside[layer.name] = len(found)
        if self.made_of_picture and not layer.is_module:
            self.of_picture.add(layer.name)
        self.made_of_picture = 0
        if len(found) == 1:
            self.of[layer.name] = found[0]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and hasattr(func, "decompose"):
            with self:  # in inference mode torch passes on `linear` and its kin without taking them apart
                output = func.decompose(*args, **kwargs)
            if output is not NotImplemented:
                return output
        taken = [each for each in leaves((args, kwargs)) if isinstance(each, Tensor)]
        plain = any(_is_known(self._plain, each) for each in taken)
        mixed = any(_is_known(self._mixed, each) for each in taken)
        self._note_readers(func, args, kwargs, taken)
        output = func(*args, **kwargs)
        if plain or mixed:
            product = self._product(func, args, kwargs, plain and not mixed)
            if product is not None:
                self._products.append(product)
                (made,) = (each for each in leaves(output) if isinstance(each, Tensor))
                self._outputs[id(made)] = (weakref.ref(made), _version(made), product)
            made_here = [each for each in leaves(output) if isinstance(each, Tensor)]
            _remember(self._mixed if mixed or product is not None else self._plain, made_here)
        return output

    def _product(self, func: Any, args: Any, kwargs: Any, reads_picture: bool) -> Product | None:
        packet = getattr(func, "_overloadpacket", func)
        if packet in _CONVOLUTIONS:
            weight, bias, transposed, groups = args[1], args[2], bool(args[6]), int(args[8])
        elif packet is _aten.linear:
            weight, bias, transposed, groups = args[1], args[2] if len(args) > 2 else None, False, 1
        elif packet is _aten.addmm:
            weight, bias, transposed, groups = args[2].t(), args[0], False, 1
            if _is_known(self._plain, bias) or _is_known(self._mixed, bias):
                bias = None
        elif packet is _aten.mm:
            weight, bias, transposed, groups = args[1].t(), None, False, 1
        elif _name_of(func) == _DEFORMABLE:
            weight, bias, transposed, groups = args[1], args[4], False, int(args[11])
        else:
            return None
        of_weight = args[1] if packet is not _aten.addmm else args[2]
        if _is_known(self._plain, of_weight) or _is_known(self._mixed, of_weight):
            self.made_of_picture += 1
            return None
        return Product(weight.detach(), None if bias is None else bias.detach(), transposed, groups, reads_picture)

    def _note_readers(self, func: Any, args: Any, kwargs: Any, taken: Sequence[Tensor]) -> None:
        for tensor in taken:
            reference, version, product = self._outputs.get(id(tensor), (None, 0, None))
            if product is None or reference is None or reference() is not tensor:
                continue
            norm = self._norm(func, args, kwargs, tensor) if version == _version(tensor) else None
            if norm is None:
                product.others += 1
            else:
                product.norms.append(norm)

    def _norm(self, func: Any, args: Any, kwargs: Any, tensor: Tensor) -> BatchNorm | None:
        """The BatchNorm that this operation is, if it is one of this tensor."""
        path = self._running[-1][0] if self._running else ""
        if _name_of(func).removeprefix("aten::") in _BATCH_NORMS:
            given = dict(zip((each.name for each in func._schema.arguments), args, strict=False)) | kwargs
            if given["input"] is not tensor:
                return None
            mean, var = given.get("running_mean"), given.get("running_var")
            eps = given.get("eps", given.get("epsilon"))
            by_batch = bool(given.get("training", False)) or mean is None or var is None
            return BatchNorm(path, given.get("weight"), given.get("bias"), mean, var, float(eps or 0.0), by_batch)
        module = self.modules.get(path)
        if type(module).__name__ == "FrozenBatchNorm2d" and _name_of(func) == "aten::mul":
            scale, shift, mean, var = (
                getattr(module, name, None) for name in ("weight", "bias", "running_mean", "running_var")
            )
            return BatchNorm(path, scale, shift, mean, var, float(getattr(module, "eps", 0.0)), mean is None)
        return None


def _name_of(func: Any) -> str:
    schema = getattr(func, "_schema", None)
    return str(schema.name) if schema is not None else ""


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to; in inference mode nobody counts."""
    return 0 if tensor.is_inference() else tensor._version


def _remember(known: dict[int, weakref.ref[Tensor]], values: Any) -> None:
    known.update({id(each): weakref.ref(each) for each in values if isinstance(each, Tensor)})


def _is_known(known: dict[int, weakref.ref[Tensor]], tensor: Any) -> bool:
    reference = known.get(id(tensor))
    return reference is not None and reference() is tensor


class Passes:
    """The passes over the bundled sample (or noise) that show a network's kernels at work, each made once when needed.

    Where the weights' values make no difference to what is asked, a pass without its arithmetic does.
    """

    def __init__(self, session: Session, patterns: Sequence[str]) -> None:
        self.session = session
        self.patterns = patterns
        self._blank: tuple[Watch, Selection] | None = None
        self._real: tuple[Watch, Selection] | None = None

    def real(self) -> tuple[Watch, Selection]:
        """A pass as it is. Raises ModelError where the network fails on the sample."""
        if self._real is None:
            self._real = self._run(blank=False)
        return self._real

    def any(self) -> tuple[Watch, Selection]:
        """A pass, without its arithmetic where it goes without. Raises ModelError."""
        if self._real is None and self._blank is None:
            try:
                self._blank = self._run(blank=True)
            except FmapError:
                return self.real()
        found = self._real or self._blank
        assert found is not None
        return found

    def _run(self, blank: bool) -> tuple[Watch, Selection]:
        session = self.session
        module = session.model.module
        image = read_image(session, None, nobody)
        selection = Selection(self.patterns, module)
        watch = Watch(dict(module.named_modules()))

        def watcher(layer: LayerRef) -> Sink:
            def sink(output: Tensor) -> None:
                watch.show(layer)
                selection.offer(layer, output.shape)

            return sink

        def through(inputs: tuple[Any, ...], guarded: Any, calls: Any) -> Any:
            watch.start(inputs)
            with blank_arithmetic() if blank else nullcontext(), watch:
                return capture(module, inputs, guarded, calls=calls)

        run(session, image, watcher, through=through, calls=watch.call)
        return watch, selection
