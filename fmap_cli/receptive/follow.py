"""Follows one forward pass and says what every layer's output sees of the image."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from ..network.calls import TensorNotes, arguments_by_name, storage_of, taken_apart, tensors_in
from . import field as fields
from .arranged import reshaped
from .collected import made_bound, merged
from .field import Cause, Field
from .operations.calls import Call, unknown
from .rules import rule_for
from .steps import told_from_memory

Fields = tuple[Field | None, ...]
"""One for each axis of the image."""


class Follower(TorchDispatchMode):
    """While it is on, carries along with every tensor that descends from the image which of its pixels went in.

    `readers` are the layers before which a value of the image's was read in Python: what that decides is not followed.
    `sized` are those before which values decided how long a tensor is (the places where a mask is true).
    `start` names the image; `fields_of` answers for any tensor at hand; `name` tells the layer whose output was just
    computed, to which what happened since the last one is put down. It goes by the operations and their shapes alone:
    weights count as not zero, and it makes no difference whether the pass computes anything.

    >>> import torch
    >>> follower = Follower()
    >>> image = torch.zeros(1, 3, 32, 32)
    >>> follower.start(image, (2, 3))
    >>> with follower:
    ...     output = torch.conv2d(image, torch.ones(8, 3, 3, 3), padding=1, stride=2)
    >>> rows, columns = follower.fields_of(output)
    >>> rows.shape, rows.steps[2], (-rows.values[2]).ravel()[:3].tolist()
    ((1, 8, 16, 16), (1, 2), [-1, 1, 3])
    """

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self._known: TensorNotes[Fields] = TensorNotes()
        self._views: dict[int, list[weakref.ref[Tensor]]] = {}  # storage -> the tensors with fields that lie in it
        self._laid_out: dict[int, _Storage] = {}  # storage -> what each of its places sees, once it is written in parts
        self._unnamed: list[Cause] = []
        self._reading = self._sizing = False
        self.readers: list[str] = []
        self.sized: list[str] = []
        self._axes = 0
        self._escapes = _Escapes(self)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled here; otherwise the first operation would import torch._dynamo

    def __enter__(self) -> Follower:
        super().__enter__()
        self._escapes.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._escapes.__exit__(*error)
        super().__exit__(*error)

    def note_reading(self) -> None:
        """A value of the image's is read in Python."""
        self._reading = True

    def start(self, image: Tensor, axes: Sequence[int]) -> None:
        """Follow this tensor, whose axes `axes` are those of the image (height and width, of a clip time before)."""
        self._axes = len(axes)
        self._set(image, tuple(fields.pixels(tuple(image.shape), at) for at in axes))

    def fields_of(self, tensor: Any) -> Fields | None:
        """What a tensor's values see along each axis of the image; None where they see nothing."""
        found = self._known.get(tensor)
        if found is not None:
            return found
        if self._laid_out and isinstance(tensor, Tensor) and (key := storage_of(tensor)) in self._laid_out:
            found = self._laid_out[key].fields_of(tensor)
            self._set(tensor, found)
            return found
        return None

    @property
    def pending(self) -> bool:
        """Whether values decided something since the last layer."""
        return self._reading or self._sizing

    def name(self, layer: str) -> None:
        """Put down what happened since the last call to this layer."""
        for cause in self._unnamed:
            cause.layer = layer
        self._unnamed.clear()
        if self._reading:
            self.readers.append(layer)
        if self._sizing:
            self.sized.append(layer)
        self._reading = self._sizing = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if rule_for(func) is None and (output := taken_apart(self, func, args, kwargs)) is not NotImplemented:
            return output
        before = list(tensors_in((*args, *kwargs.values())))
        sees = any(self.fields_of(each) is not None for each in before)
        output = func(*args, **kwargs)
        if sees and torch.Tag.dynamic_output_shape in getattr(func, "tags", ()):
            self._sizing = True
        if sees and (schema_name(func) == _READING or _has_values(output)):
            self._follow(func, args, kwargs, before, output)
        return output

    def _follow(
        self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], before: Sequence[Tensor], output: Any
    ) -> None:
        schema = getattr(func, "_schema", None)
        if schema is None:  # a higher-order operator runs its parts through here too
            return
        if schema.name == _READING:
            self.note_reading()
            return
        arguments, written = arguments_by_name(schema, args, kwargs)
        outputs = list(tensors_in([output]))
        rule = rule_for(func) or unknown
        along_axes = []
        cause = Cause(_operation(schema.name))
        for at in range(self._axes):
            # What is done with fields can be done with their parts one by one: every part of each argument takes part.
            parts = {}
            for each in before:
                seen = self.fields_of(each)
                field = None if seen is None else seen[at]
                if field is not None:
                    parts[id(each)] = field.parts
            rounds = []
            for turn in range(max(map(len, parts.values()), default=1)):
                call = Call(func, arguments, output, _taking_turns(parts, turn), cause)
                try:
                    rounds.append(_one_each(rule(call), outputs))
                except Exception:  # a way to call it that the rule has not heard of is no fault of the network
                    rounds.append(_one_each(unknown(call), outputs))
            along_axes.append([fields.hull(each) for each in zip(*rounds, strict=True)])
        self._unnamed.append(cause)
        for place, tensor in enumerate(outputs):
            found = tuple(each[place] for each in along_axes)
            if id(tensor) in written and not _renames(schema.name):
                self._write(tensor, found)
            else:
                self._set(tensor, found)

    # -- what is known of which tensor ---------------------------------------------------------------------------

    def _set(self, tensor: Tensor, found: Fields) -> None:
        if not tensor.numel() or all(each is None for each in found):
            self._known.drop(tensor)
            return
        self._known.set(tensor, found)
        views = self._views.setdefault(storage_of(tensor), [])
        if not any(each() is tensor for each in views):
            views[:] = [each for each in views if each() is not None]
            views.append(weakref.ref(tensor))

    def _write(self, tensor: Tensor, found: Fields) -> None:
        """A tensor was written to in place: so were all that share its memory."""
        key = storage_of(tensor)
        others = [each for ref in self._views.get(key, ()) if (each := ref()) is not None and each is not tensor]
        if key not in self._laid_out:
            # (What sees nothing so far may be part of another tensor that sees nothing: that is not written down.)
            alone = bool(others) or (self._known.get(tensor) is not None and _fills_storage(tensor))
            known = [self._known.get(each) for each in others]
            if alone and all(each is not None and _same_everywhere(found, each) for each in known):
                self._set(tensor, found)
                return
            if others and tensor.untyped_storage().nbytes() > _MOST_LAID_OUT * tensor.element_size():
                self._write_roughly([*others, tensor], found)
                return
            self._laid_out[key] = _Storage(tensor, self._axes)
            for each in others:
                if (before := self._known.get(each)) is not None:
                    self._laid_out[key].write(each, before)
        self._laid_out[key].write(tensor, found)
        for each in [*others, tensor]:
            self._known.drop(each)

    def _write_roughly(self, tensors: Sequence[Tensor], found: Fields) -> None:
        """Note down a write into more values than are worth being told apart: any of them may see what was written."""
        cause = Cause(why="a large tensor was written in parts, which are not told apart")
        self._unnamed.append(cause)
        written = [
            None if each is None else fields.hull(_together(part, cause) for part in each.parts) for each in found
        ]
        for tensor in tensors:
            earlier = self.fields_of(tensor) or (None,) * self._axes
            self._set(
                tensor,
                tuple(
                    fields.hull([one, None if other is None else fields.spread(other, tuple(tensor.shape))])
                    for one, other in zip(earlier, written, strict=True)
                ),
            )


class _Escapes(TorchFunctionMode):
    """Sees values leave torch by ways that are no operations: `tolist`, and NumPy."""

    _WAYS = frozenset(["tolist", "numpy", "__array__", "__dlpack__"])

    def __init__(self, follower: Follower) -> None:
        super().__init__()
        self.follower = follower

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if getattr(func, "__name__", "") in self._WAYS and args and self.follower.fields_of(args[0]) is not None:
            self.follower.note_reading()
        return func(*args, **(kwargs or {}))


_MOST_LAID_OUT = 1 << 20
"""Values in a piece of memory up to which each is followed by itself."""


def _together(one: Field, because: Cause) -> Field:
    """All values' fields as one bound."""
    return reshaped(made_bound(merged(one), because), ())


def _same_everywhere(one: Fields, other: Fields) -> bool:
    """Whether all values of two tensors see the same, so that the one written into the other changes nothing."""
    return all(
        a is not None
        and b is not None
        and a.rest is b.rest is None
        and a.held.size == b.held.size == 4
        and (a.held.ravel() == b.held.ravel()).all()
        for a, b in zip(one, other, strict=True)
    )


def _taking_turns(parts: Mapping[int, tuple[Field, ...]], turn: int) -> Callable[[Any], Field | None]:
    def of(tensor: Any) -> Field | None:
        found = parts.get(id(tensor))
        return None if found is None else found[min(turn, len(found) - 1)]

    return of


_READING = "aten::_local_scalar_dense"  # `item`, and `if tensor:`


def schema_name(func: Any) -> str:
    return str(getattr(getattr(func, "_schema", None), "name", ""))


def _has_values(output: Any) -> bool:
    return any(each.numel() for each in tensors_in([output]))


def _one_each(found: Field | list[Field | None] | None, outputs: Sequence[Tensor]) -> list[Field | None]:
    if isinstance(found, list):
        listed = found + [None] * (len(outputs) - len(found))
    else:
        listed = [found if found is not None and tuple(each.shape) == found.shape else None for each in outputs]
    for each, tensor in zip(listed, outputs, strict=True):
        assert each is None or each.shape == tuple(tensor.shape), (each.shape, tensor.shape)
    return listed


def _renames(name: str) -> bool:
    """Operations in place that change a tensor's shape and not its values."""
    return name in ("aten::as_strided_", "aten::squeeze_", "aten::unsqueeze_", "aten::transpose_", "aten::t_")


def _operation(name: str) -> str:
    """`mean` of `aten::mean`."""
    return name.rpartition("::")[2].strip("_")


# -- tensors that are written in parts ---------------------------------------------------------------------------


def _fills_storage(tensor: Tensor) -> bool:
    return tensor.numel() * tensor.element_size() == tensor.untyped_storage().nbytes()


_Layout = tuple[tuple[int, ...], tuple[int, ...], int]
"""A tensor's shape, strides and offset in its memory."""


@dataclass(eq=False, slots=True)
class _Storage:
    """What each place in a piece of memory sees, for tensors that are parts of each other.

    As long as one tensor that is all of it is written, `whole` is how that lies in memory and `values` have length 1
    where all is alike. A detector's hundred megabytes of regions are laid out only where a part of them is written.
    Then there is a number for `grain` neighbouring places: all channels of a token, as long as they see alike and only
    whole tokens are read and written. 0 is for nothing laid out so far.
    """

    storage: Any  # kept, so that no other takes its place
    places: int
    grain: int
    values: list[np.ndarray | None]  # an axis of the image: [4, places / grain], or [4, ...] of `whole`; None: empty
    causes: list[Field | None]
    steps: list[set[fields.Step | None]]
    whole: _Layout | None

    def __init__(self, tensor: Tensor, axes: int) -> None:
        self.storage = tensor.untyped_storage()
        self.places = self.storage.nbytes() // tensor.element_size()
        self.grain = 0
        self.values = [None] * axes
        self.causes = [None] * axes
        self.steps = [set() for _ in range(axes)]
        self.whole = _layout(tensor) if _fills_storage(tensor) and tensor.is_contiguous() else None

    def write(self, tensor: Tensor, found: Fields) -> None:
        if self.whole != _layout(tensor):
            every = [part for each in found if each is not None for part in each.parts]
            self._lay_out(_layout(tensor), all(part.held.shape[-1] == 1 for part in every))
        for at, each in enumerate(found):
            parts = () if each is None else each.parts
            if self.whole is not None:
                joined = np.full((4, *(1,) * tensor.ndim), fields.EMPTY, np.int32)
                for part in parts:
                    joined = np.maximum(joined, part.values)
                self.values[at] = joined
            else:
                there = self._view(at, _layout(tensor))
                there[...] = fields.EMPTY
                for part in parts:
                    np.maximum(there, part.values, out=there)
            if each is None:
                continue
            for part in parts:
                self.steps[at].update(part.steps)
            before = self.causes[at] or each
            self.causes[at] = replace(
                each,
                whole=before.whole or each.whole,
                unknown=before.unknown or each.unknown,
                bound=before.bound or each.bound,
            )

    def fields_of(self, tensor: Tensor) -> Fields:
        if self.whole != _layout(tensor):
            self._lay_out(_layout(tensor), True)
        found: list[Field | None] = []
        for at, (causes, steps) in enumerate(zip(self.causes, self.steps, strict=True)):
            if causes is None:
                found.append(None)
                continue
            shape = tuple(tensor.shape)
            values = self.values[at] if self.whole is not None else self._view(at, _layout(tensor))
            assert values is not None
            told = causes.with_values(values, shape=shape, steps=(None,) * len(shape), rest=None)
            found.append(told_from_memory(told, steps))
        return tuple(found)

    def _lay_out(self, layout: _Layout, alike: bool) -> None:
        """A number for each grain of memory, where a tensor that lies otherwise than `whole` is read or written.

        `alike` says that what is written is so along the tensor's last axis.
        """
        whole, self.whole = self.whole, None
        laid_out = self.values if whole is None else [None] * len(self.values)
        grain = self.grain or (layout[0][-1] if layout[0] else 1)
        fits = alike and _in_grains(layout, grain) and self.places % grain == 0
        if whole is not None:
            fits = fits and _in_grains(whole, grain)
            fits = fits and all(joined is None or joined.shape[-1] == 1 for joined in self.values)
        if not fits and self.grain > 1:
            self.values = [None if each is None else np.repeat(each, grain, axis=1) for each in laid_out]
            laid_out = self.values
        self.grain = grain if fits else 1
        for at, joined in enumerate(self.values):
            if laid_out[at] is not None:
                continue
            self.values[at] = np.full((4, self.places // self.grain), fields.EMPTY, np.int32)
            if whole is not None and joined is not None:
                self._view(at, whole)[...] = joined

    def _view(self, at: int, layout: _Layout) -> np.ndarray:
        """The places of a tensor, `[4, ...]`, to read and to write."""
        values = self.values[at]
        assert values is not None
        shape, steps, offset = layout
        if self.grain > 1:
            shape, steps = (*shape[:-1], 1), tuple(step // self.grain for step in steps)
            offset //= self.grain
        strides = (values.strides[0], *(step * values.itemsize for step in steps))
        return np.lib.stride_tricks.as_strided(values[:, offset:], (4, *shape), strides, writeable=True)


def _in_grains(layout: _Layout, grain: int) -> bool:
    """Whether a tensor is made of whole pieces of memory of this length, each one row of its last axis."""
    shape, steps, offset = layout
    if not shape or shape[-1] != grain or steps[-1] != 1:
        return False
    return offset % grain == 0 and all(step % grain == 0 for step in steps[:-1])


def _layout(tensor: Tensor) -> _Layout:
    return tuple(tensor.shape), tensor.stride(), int(tensor.storage_offset())
