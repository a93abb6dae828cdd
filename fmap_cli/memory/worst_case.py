"""Shapes that depend on data, at their upper bound.

Detectors pick boxes: by score, by overlap, by what a mask of truth values leaves. Without values all are left, as far
as the network's own caps allow (so many of the best before suppression, so many after). Masks are followed a little:
one that was made of zeros and got a value at k places leaves at most k, and two of them joined at most the sum.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor

from . import shortcuts

_aten = torch.ops.aten


class WorstCase:
    """Runs operations on `meta`, with a bound where the shape of a result would depend on values."""

    def __init__(self) -> None:
        self.used = False
        self._true: dict[int, tuple[weakref.ref[Any], int]] = {}  # a mask's storage → how many of it are true at most

    def __call__(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        args = self._on_meta(args)
        own = _BOUNDS.get(getattr(func, "_overloadpacket", None))
        if own is not None:
            output = own(self, func, args, kwargs)
            if output is not None:
                return output
        return shortcuts.run(func, args, kwargs)

    def _on_meta(self, args: Any) -> Any:
        """The arguments, with small tensors from the CPU brought to `meta` where another one is there."""
        flat = [each for value in args for each in (value if isinstance(value, (list, tuple)) else (value,))]
        tensors = [each for each in flat if isinstance(each, Tensor)]
        if not any(each.is_meta for each in tensors) or all(each.is_meta for each in tensors):
            return args

        def moved(value: Any) -> Any:
            if isinstance(value, Tensor) and not value.is_meta:
                return torch.empty_like(value, device="meta")
            if isinstance(value, (list, tuple)):
                return type(value)(moved(each) for each in value)
            return value

        return tuple(moved(each) for each in args)

    # -- how many of a mask are true -------------------------------------------------------------------------------

    def most_true(self, mask: Tensor) -> int:
        found = self._true.get(mask.untyped_storage()._cdata)
        if found is not None and found[0]() is not None:
            return min(found[1], mask.numel())
        return mask.numel()

    def note_true(self, mask: Tensor, most: int) -> None:
        storage = mask.untyped_storage()
        self._true[storage._cdata] = (weakref.ref(storage), most)

    # -- operations ------------------------------------------------------------------------------------------------

    def nonzero(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if not args[0].is_meta:
            return None
        self.used = True
        mask = args[0]
        # Lies with the axes outermost, as torch's own does.
        return torch.empty((mask.ndim, self.most_true(mask)), dtype=torch.int64, device="meta").t()

    def index(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        values, indices = args[:2]
        if not any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in indices):
            return None
        self.used = True
        plain: list[Tensor | None] = []
        for each in indices:
            if isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8):
                places = torch.empty((self.most_true(each),), dtype=torch.int64, device="meta")
                plain += [places] * each.ndim
            else:
                plain.append(each)
        return func(values, plain)

    def index_put(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        mask, indices = args[:2]
        storage = mask.untyped_storage()._cdata
        if mask.is_meta and mask.dtype in (torch.bool, torch.uint8) and storage in self._true:
            places = max((each.numel() for each in indices if isinstance(each, Tensor)), default=0)
            self.note_true(mask, min(self.most_true(mask) + places, mask.numel()))
        return mask if mask.is_meta else None

    def zeros(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        output = func(*args, **kwargs)
        if output.is_meta and output.dtype in (torch.bool, torch.uint8):
            self.note_true(output, 0)
        return output

    def join(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if not (isinstance(args[1], Tensor) and args[0].is_meta and args[0].dtype in (torch.bool, torch.uint8)):
            return None
        most = self.most_true(args[0]) + self.most_true(args[1])
        output = func(*args, **kwargs)
        self.note_true(output, min(most, output.numel()))
        return output

    def suppression(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        if not args[0].is_meta:
            return None
        self.used = True
        return torch.empty((args[0].shape[0],), dtype=torch.int64, device="meta")

    def value(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """A number read out of a tensor: no check for bad input finds any, a size is one."""
        if not args[0].is_meta:
            return None
        self.used = True
        if args[0].dtype == torch.bool:
            return False
        return 1.0 if args[0].is_floating_point() else 1

    def unique(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """One value stands for all there may be: loops over them take as much in each turn."""
        if not args[0].is_meta:
            return None
        self.used = True
        places = torch.empty((args[0].numel(),), dtype=torch.int64, device="meta")
        return torch.empty((1,), dtype=args[0].dtype, device="meta"), places, places.new_empty((1,))


_BOUNDS: dict[Any, Any] = {
    _aten.nonzero: WorstCase.nonzero,
    _aten.index: WorstCase.index,
    _aten.index_put_: WorstCase.index_put,
    _aten.zeros_like: WorstCase.zeros,
    _aten.zeros: WorstCase.zeros,
    _aten.new_zeros: WorstCase.zeros,
    _aten.bitwise_or: WorstCase.join,
    _aten.logical_or: WorstCase.join,
    _aten._local_scalar_dense: WorstCase.value,
    _aten._unique2: WorstCase.unique,
}


def _add_torchvisions() -> None:
    import torchvision  # noqa: F401 - registers the operator

    _BOUNDS[torch.ops.torchvision.nms] = WorstCase.suppression


_add_torchvisions()
