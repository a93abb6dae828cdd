"""Patterns to layers, layers to the kernels that act, and what there is to say of them."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import FmapError, LayerError, ModelError
from ..network.capture import eval_mode
from ..network.kinds import module_kind
from ..network.records import LayerRef
from ..network.selection import near_names
from ..session.opening import Session, dtype_name
from .alike import findings
from .numbers import fold, kernel_numbers, ordered
from .records import Choice, Filters, Kernels
from .running import BatchNorm, Passes, Product
from .weights import Weights, in_one_form, may_have_kernels, plain_weights, stored_weights

_NAMED = 3


def find_filters(
    session: Session, patterns: Sequence[str], choice: Choice, *, folding: bool = False, near: float
) -> Filters:
    """The kernels of the layers that the patterns pick; without one those of the first convolution, or of the first
    linear layer where there is none.

    Raises LayerError for a pattern that picks nothing with kernels, and ModelError where only a pass could say which
    they are and the network fails on the sample.
    """
    finder = _Finder(session, tuple(each.strip() for each in patterns) or ("conv1",), is_default=not patterns)
    found: list[Kernels] = []
    without: _NoKernelsError | None = None
    with torch.no_grad(), eval_mode(session.model.module):
        for layer, asked in finder.layers():
            try:
                found.append(finder.kernels(layer, asked, choice, folding, near))
            except _NoKernelsError as error:
                if not _is_glob(asked):
                    raise
                without = error
    if without is not None and not found:
        raise without
    return Filters(session.origin, tuple(found), near)


class _NoKernelsError(LayerError):
    """A layer that has no kernels: of those that a glob matches it is left out."""


class _Finder:
    """Finds the layers and kernels of one network, with as few passes as there need to be."""

    def __init__(self, session: Session, patterns: Sequence[str], *, is_default: bool) -> None:
        self.session = session
        self.patterns = patterns
        self.is_default = is_default
        self.modules = dict(session.model.module.named_modules())
        self.passes = Passes(session, patterns)

    # -- which layers ----------------------------------------------------------------------------------------------

    def layers(self) -> list[tuple[LayerRef, str]]:
        """The layers picked, each with the pattern that picked it: modules by their names, all else by a pass."""
        picked: dict[str, str] = {}
        for pattern in self.patterns:
            for path in self._modules_named(pattern):
                picked.setdefault(path, pattern)
        if all(pattern in picked.values() for pattern in self.patterns):
            return [(self._reference(path), picked[path]) for path in self.modules if path in picked]
        try:
            chosen = self.passes.any()[1].chosen()
        except (LayerError, ModelError) as error:
            return self._otherwise(error)
        exact = [(layer, asked) for layer, asked in chosen if not _is_glob(asked) or self._has_kernels(layer)]
        lost = [asked for _, asked in chosen if asked not in {asked for _, asked in exact}]
        if lost:
            raise LayerError(f"no layer that {lost[0]!r} matches has kernels.", hint=self._some_with_kernels())
        return exact

    def _otherwise(self, error: FmapError) -> list[tuple[LayerRef, str]]:
        """The first layer with kernels, where none was asked for; else the error, with the names that need no pass."""
        have = [path for path in self.modules if path and self._may(path)]
        if self.is_default and isinstance(error, LayerError):
            return [(self._reference(have[0]), have[0])] if have else self._first_product()
        if isinstance(error, ModelError) and have:
            what = "the first convolution" if self.is_default else f"what {' and '.join(self.patterns)} names"
            raise ModelError(
                f"only a pass finds {what}, and {error.message}",
                hint=f"Modules by their names need none: --layer {' or '.join(have[:_NAMED])}.",
            )
        raise error

    def _first_product(self) -> list[tuple[LayerRef, str]]:
        """The first layer that multiplies by weights, of a network in which no module does."""
        first = next(iter(self.passes.any()[0].of), None)
        if first is None:
            raise LayerError(
                "this model has no kernels to draw: it runs no convolution and no linear layer.",
                hint="`fmap layers` with the same --model lists what it runs.",
            )
        self.passes = Passes(self.session, (first,))
        return self.passes.any()[1].chosen()

    def _modules_named(self, pattern: str) -> list[str]:
        if pattern in self.modules and pattern:
            return [pattern]
        if not _is_glob(pattern):
            return []
        return [path for path in self.modules if path and fnmatchcase(path, pattern) and self._may(path)]

    def _may(self, path: str) -> bool:
        module = self.modules[path]
        # A parametrized layer has children; what else has some is a block, whatever parameters it has of its own.
        is_whole = module_kind(module) in ("conv", "linear") or next(module.children(), None) is None
        return may_have_kernels(module) and is_whole

    def _reference(self, path: str) -> LayerRef:
        module = self.modules[path]
        parameters = sum(each.numel() for each in module.parameters())
        return LayerRef(path, path, 0, module_kind(module), type(module).__name__, True, parameters)

    def _has_kernels(self, layer: LayerRef) -> bool:
        module = self.modules.get(layer.path) if layer.is_module else None
        if module is None:
            return layer.kind in ("conv", "linear") and layer.name in self.passes.any()[0].of
        return may_have_kernels(module) and self._may(layer.path)

    # -- which kernels ---------------------------------------------------------------------------------------------

    def kernels(self, layer: LayerRef, asked: str, choice: Choice, folding: bool, near: float) -> Kernels:
        given, notes = self._weights(layer)
        if given.weight.is_complex():
            raise LayerError(f"the weights of layer {layer.name!r} are complex numbers: there is no picture of those.")
        weight, bias = in_one_form(given)
        if not weight.size:
            raise LayerError(f"the weight of layer {layer.name!r} is empty: {list(given.weight.shape)}.")
        folded = not_folded = ""
        if folding:
            norm, not_folded = self._norm_after(layer)
            if norm is not None:
                weight, bias = _folded(weight, bias, norm)
                folded = norm.name
                if not_folded:
                    notes.append(not_folded)
                    not_folded = ""
        numbers = kernel_numbers(weight)
        inputs = weight.shape[1] * given.groups
        is_matrix = weight[0, 0].size == 1
        order, words = ordered(numbers, choice, layer.name, is_matrix=is_matrix)
        rounding = 8 * float(torch.finfo(given.weight.dtype if given.weight.is_floating_point() else torch.float32).eps)
        return Kernels(
            layer=layer,
            asked=asked,
            weight=weight,
            bias=bias,
            inputs=inputs,
            groups=given.groups,
            transposed=given.transposed,
            stored=tuple(given.weight.shape),
            dtype=dtype_name(given.weight.dtype),
            how=given.how,
            reads_picture=self._reads_picture(layer, weight, given),
            numbers=numbers,
            order=order,
            order_in_words=words,
            every=choice.all or choice.top is not None or choice.channels is not None,
            findings=findings(layer.name, weight, bias, given.groups, numbers, near, rounding),
            folded=folded,
            not_folded=not_folded,
            notes=tuple(notes),
        )

    def _weights(self, layer: LayerRef) -> tuple[Weights, list[str]]:
        """The weights that act, and what there is to add. Raises LayerError for a layer that has none."""
        module = self.modules.get(layer.path) if layer.is_module else None
        if module is not None:
            plain = plain_weights(module)
            if plain is not None:
                return plain, []
            if not may_have_kernels(module):
                raise self._has_none(layer.name, module)
        try:
            watch, _ = self.passes.real()
        except ModelError as error:
            stored = None if module is None else stored_weights(module)
            if stored is None:
                raise
            return stored, [f"the stored weight: what {layer.type_name} makes of it is not known, for {error.message}"]
        product = watch.of.get(layer.name)
        if product is not None:
            return self._used(product, module, layer)
        if watch.inside.get(layer.name):
            raise LayerError(
                f"layer {layer.name!r} ({layer.type_name}) multiplies by {watch.inside[layer.name]} weights.",
                hint=self._some_with_kernels(layer.name),
            )
        stored = None if module is None else stored_weights(module)
        if stored is None:
            raise self._has_none(layer.name, module)
        return stored, [f"the stored weight: this pass did not call {layer.name}, so what it makes of it is not known"]

    def _used(self, product: Product, module: nn.Module | None, layer: LayerRef) -> tuple[Weights, list[str]]:
        """The weight that the operation in a layer got, which need not be the one that the layer keeps."""
        stored = None if module is None else stored_weights(module)
        how = "as stored"
        if stored is not None and not _equal(stored.weight, product.weight):
            how = f"computed by {layer.type_name} from the stored weight, as it runs"
        return Weights(product.weight, product.bias, product.transposed, product.groups, how), []

    def _has_none(self, name: str, module: nn.Module | None) -> _NoKernelsError:
        if module is None:
            watch, _ = self.passes.real()
            why = "weights that are made of the picture itself" if name in watch.of_picture else "no weights"
            return _NoKernelsError(f"layer {name!r} multiplies by {why}.", hint=self._some_with_kernels(name))
        inside = [path for path in self.modules if path.startswith(f"{name}.") and self._may(path)]
        what = type(module).__name__
        if len(inside) > 1:
            some = " or ".join(inside[:_NAMED])
            return _NoKernelsError(
                f"layer {name!r} ({what}) has no kernels of its own, but {len(inside)} layers inside it have.",
                hint=f"Name one: {some}{', …' if len(inside) > _NAMED else ''}; or all: --layer '{name}.*'.",
            )
        if inside:
            return _NoKernelsError(f"layer {name!r} ({what}) has no kernels, but one inside it has: {inside[0]}.")
        why = ": a scale and a shift for each channel, at most" if module_kind(module) == "norm" else ""
        return _NoKernelsError(f"layer {name!r} ({what}) has no kernels{why}.", hint=self._some_with_kernels(name))

    def _some_with_kernels(self, near: str = "") -> str:
        """Names of layers that have kernels, those next to a layer first."""
        paths = list(self.modules)
        have = [path for path in paths if path and self._may(path)]
        if not have:
            return "No module of this model is a convolution or a linear layer."
        named = [path for path in have if path.startswith(f"{near}.")] if near else []
        if not named and near in paths:
            at = paths.index(near)
            named = sorted(sorted(have, key=lambda path: abs(paths.index(path) - at))[:_NAMED], key=paths.index)
        named = (named or near_names(near, have) or have)[:_NAMED]
        more = ", …; `fmap layers --kind conv --kind linear` lists them" if len(have) > len(named) else ""
        return f"Layers with kernels: {', '.join(named)}{more}."

    # -- what a pass says of them ----------------------------------------------------------------------------------

    def _reads_picture(self, layer: LayerRef, weight: np.ndarray, given: Weights) -> bool:
        """Whether a convolution's input channels are red, green and blue: found by a pass, where there are three."""
        model = self.session.model
        of_three = weight.ndim > 3 and weight.shape[1] == 3 and given.groups == 1 and not given.transposed
        if not of_three or model.feeding is None or model.preprocessing.channels != 3:
            return False
        try:
            product = self.passes.any()[0].of.get(layer.name)
        except FmapError:
            return False
        return product is not None and product.reads_picture

    def _norm_after(self, layer: LayerRef) -> tuple[BatchNorm | None, str]:
        """The BatchNorm that takes the layer's very output; or None, and why there is none to fold in."""
        try:
            watch, _ = self.passes.any()
        except ModelError as error:
            return None, f"what follows is found by a pass, and {error.message}"
        product = watch.of.get(layer.name)
        if product is None:
            return None, "the pass did not run it as one product, so what follows is not known"
        if not product.norms:
            return None, "no BatchNorm takes its very output"
        if len(product.norms) > 1:
            return None, f"{len(product.norms)} BatchNorms take its output"
        (norm,) = product.norms
        if norm.by_batch:
            return None, f"{norm.name} normalises by what each batch says, which is not a fixed factor"
        assert norm.mean is not None
        if len(norm.mean) != (product.weight.shape[1] * product.groups if product.transposed else len(product.weight)):
            return None, f"{norm.name} has another number of channels"
        if product.others:
            return norm, f"its output also goes elsewhere, without {norm.name}"
        return norm, ""


def _is_glob(pattern: str) -> bool:
    return any(sign in pattern for sign in "*?[")


def _equal(stored: Tensor, used: Tensor) -> bool:
    return stored.shape == used.shape and stored.dtype == used.dtype and bool(torch.equal(stored, used))


def _folded(weight: np.ndarray, bias: np.ndarray | None, norm: BatchNorm) -> tuple[np.ndarray, np.ndarray]:
    assert norm.mean is not None and norm.var is not None
    scale, shift = (None if each is None else _array(each) for each in (norm.scale, norm.shift))
    return fold(weight, bias, scale, shift, _array(norm.mean), _array(norm.var), norm.eps)


def _array(tensor: Tensor) -> np.ndarray:
    found: np.ndarray = tensor.detach().to("cpu", torch.float64).numpy()
    return found
