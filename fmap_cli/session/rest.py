"""A pass held at one layer: what the network answers for other values of it, of which only the rest is run."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..errors import LayerError, ModelError
from ..foreign import allocation
from ..inputs.records import ImageInput
from ..network.axes import channel_axes
from ..network.nested import leaves
from ..network.records import Axes, LayerRef
from ..network.remainder import Remainder
from ..network.replacing import rebuilt
from .axes import axes_for
from .opening import Session
from .passes import network_inputs, run_replaced

if TYPE_CHECKING:
    from torch import Tensor

    from ..network.axes import AxesResolver

_MOST_ROWS = {"cpu": 32, "mps": 64, "cuda": 128}
_MOST_BYTES = {"cpu": 2**28, "mps": 2**29, "cuda": 2**31}
"""Of one call's output: the inputs, outputs and workspaces of a layer make several times of it."""


class Rest:
    """The network behind one layer, for one input.

    `output` is what the layer puts out and `answer` what the network answers; `through` says what it answers where the
    layer puts out something else. `rows` are how many it takes at a time, `left_out` how many module calls need not run
    again (0: the whole network runs each time).
    """

    def __init__(self, session: Session, image: ImageInput, layer: LayerRef, axes: Axes, left: Remainder) -> None:
        self._session, self._image, self._layer, self._remainder = session, image, layer, left
        self.axes = axes
        self.rows = 1
        self.batch_axis = axes.names.index("B") if axes.names.count("B") == 1 else None
        self._inputs: tuple[Any, ...] = ()
        self._count, self._versions = 0, list[int]()
        kept: list[Tensor] = []

        def keep(output: Tensor) -> Tensor:
            kept.append(output.detach().clone())
            reach(output)
            return output

        inputs = network_inputs(session, [image])
        with left.remember(inputs) as reach:
            self.answer = run_replaced(session, image, layer, keep, inputs=inputs)
        self.output: Tensor = kept[-1]
        if self.output.layout != torch.strided:
            raise LayerError(f"layer {layer.name!r} puts out a sparse tensor, whose channels cannot be replaced.")
        self.batch_axis = (
            None if self.batch_axis is None or self.output.shape[self.batch_axis] != 1 else self.batch_axis
        )
        self._settle()

    @property
    def left_out(self) -> int:
        return self._remainder.left_out

    def through(self, values: Tensor) -> Any:
        """The answer where the layer puts out these values: `rows` or fewer of its outputs, along the batch axis.

        They are given away: the network may write over them.
        """
        count = 1 if self.batch_axis is None else values.shape[self.batch_axis]
        images = [self._image] * count
        inputs = self._repeated(count)

        def put_in(output: Tensor) -> Tensor:
            if output.shape != values.shape:
                raise ModelError(
                    f"layer {self._layer.name!r} has an output of {list(output.shape)} for {count} inputs."
                )
            reach(output)
            return values

        with self._remainder.replay(inputs, count) as reach:
            return run_replaced(self._session, images, self._layer, put_in, inputs=inputs)

    def without_each(self, channels: Sequence[int], other: Tensor) -> Iterator[tuple[int, Any]]:
        """The answers without each of these channels alone, `rows` at a time, and with each answer how many are done.

        A channel taken away has the values that it has in `other`, a tensor of the output's shape. Where several go
        through at a time the first row is the answer with all channels (`changes` compares with it): in a batch of
        another size the same output may be rounded otherwise.
        """
        with_all: list[int | None] = [None] if self.rows > 1 else []
        for start in range(0, len(channels), self.rows - len(with_all)):
            part = channels[start : start + self.rows - len(with_all)]
            yield start + len(part), self.through(self._without([*with_all, *part], other))

    def changes(self, value: np.ndarray, without: np.ndarray) -> np.ndarray:
        """The answer's `value` `[1]` minus the values `without` a channel each, of an answer of `without_each`."""
        changes: np.ndarray = without[0] - without[1:] if self.rows > 1 else value - without
        return changes

    def of_channels(self, found: np.ndarray) -> np.ndarray:
        """What was found of an answer of `without_each`, for the channels alone."""
        return found[1:] if self.rows > 1 else found

    def _without(self, channels: Sequence[int | None], other: Tensor) -> Tensor:
        """The outputs without each of these channels (None: with all), side by side along the batch axis."""
        output, axis = self.output, self.batch_axis
        where = channel_axes(self.axes)
        rows = output.unsqueeze(0).repeat([len(channels), *[1] * output.ndim])
        first = tuple(range(len(where)))
        moved = rows.movedim(tuple(at + 1 for at in where), tuple(at + 1 for at in first))
        other = other.movedim(where, first)
        sizes = [output.shape[at] for at in where]
        for row, channel in enumerate(channels):
            if channel is None:
                continue
            place = tuple(int(each) for each in np.unravel_index(channel, sizes))
            moved[(row, *place)] = other[place]
        return rows[0] if axis is None else rows.movedim(0, axis).flatten(axis, axis + 1)

    def _repeated(self, count: int) -> tuple[Any, ...]:
        """The input, so many times: made once, and again where the network has written over it."""
        held = [each for each in leaves(self._inputs) if isinstance(each, torch.Tensor)]
        if self._count != count or self._versions != [each._version for each in held]:
            self._inputs = network_inputs(self._session, [self._image] * count)
            held = [each for each in leaves(self._inputs) if isinstance(each, torch.Tensor)]
            self._count, self._versions = count, [each._version for each in held]
        return self._inputs

    def everything(self) -> AbstractContextManager[None]:
        """Inside, the whole network runs."""
        return self._remainder.suspended()

    # -- which way it goes ---------------------------------------------------------------------------------------

    def _settle(self) -> None:
        """Find out, by trying, whether the rest answers as the whole does, and whether it takes several at a time."""
        changed = self.output.flip(-1) * 0.5 if self.output.ndim else self.output * 0.5
        remembered = self._remainder
        with remembered.suspended():
            expected = self.through(changed.clone())
        for skips in (True, False):
            for rows in (2, 1):
                if rows == 2 and (self.batch_axis is None or self._session.model.input_kind == "images"):
                    continue
                if not skips:
                    remembered.forget()
                if self._answers_as(expected, changed, rows):
                    self.rows = 1 if rows == 1 else self._rows_at_most()
                    return
        raise ModelError(
            f"{self._session.model.name} answers the same input differently each time, so what a channel does to its"
            " answer cannot be told.",
            hint="Its forward depends on chance or on earlier calls: fix its seed, or reset its state.",
        )

    def _answers_as(self, expected: Any, changed: Tensor, rows: int) -> bool:
        """Whether the rest makes the whole network's answers of the layer's own output and of a changed one."""
        wanted = (self.answer, expected)
        try:
            if rows == 1:
                found = [self.through(self.output.clone()), self.through(changed.clone())]
            else:
                assert self.batch_axis is not None
                both = self.through(torch.cat([self.output, changed], self.batch_axis))
                found = [row_of(both, at, 2) for at in range(2)]
        except ModelError:
            return False
        return all(map(_alike, found, wanted))

    def _rows_at_most(self) -> int:
        kind = self.output.device.type
        fits = _MOST_BYTES.get(kind, 2**28) // max(self._remainder.largest_bytes, 1)
        return max(1, min(_MOST_ROWS.get(kind, 32), fits))


@contextmanager
def rest_of(session: Session, image: ImageInput, layer: LayerRef, axes: Axes) -> Iterator[Rest]:
    """The network behind a layer, of whose output these are the axes, for one input. Raises ModelError.

    Inside, the network's modules give back what they gave before; afterwards it is as it was.
    """
    batched = session.model.input_kind != "images"
    batch_axis = _batch_axes(axes_for(session, image)) if batched else _no_batch
    remainder = Remainder(session.model.module, layer, batch_axis)
    with allocation.kept(), remainder.installed():
        yield Rest(session, image, layer, axes, remainder)


def _no_batch(path: str, call: int, place: int, tensor: Tensor) -> int | None:
    return -1


def _batch_axes(resolver: AxesResolver) -> Callable[[str, int, int, Tensor], int | None]:
    """Which axis of what a module's call puts out is the batch."""
    by_call: dict[tuple[str, int], list[LayerRef]] = defaultdict(list)
    for each, _ in resolver.prepare().layers():
        if each.is_module:
            by_call[each.path, each.call].append(each)

    def axis(path: str, call: int, place: int, tensor: Tensor) -> int | None:
        layers = by_call[path, call]
        return resolver.batch_axis(layers[place], tensor.shape) if place < len(layers) else None

    return axis


def row_of(answer: Any, row: int, rows: int) -> Any:
    """One input's part of an answer for so many."""
    if rows == 1:
        return answer
    return rebuilt(
        answer, lambda each: each[row : row + 1] if isinstance(each, torch.Tensor) and len(each.shape) else each
    )


def _alike(found: Any, wanted: Any) -> bool:
    """Whether two answers are the same but for rounding."""
    pairs = [[each for each in leaves(answer) if isinstance(each, torch.Tensor)] for answer in (found, wanted)]
    return len(pairs[0]) == len(pairs[1]) and all(map(_close, *pairs))


def _close(found: Tensor, wanted: Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    if not found.is_floating_point():
        return torch.equal(found, wanted)
    part = max(1e-4, 50 * torch.finfo(found.dtype).eps)
    found, wanted = found.double().nan_to_num(), wanted.double().nan_to_num()
    scale = float(wanted.abs().max()) if wanted.numel() else 0.0
    return float((found - wanted).abs().max()) <= part * scale + 1e-6 if wanted.numel() else True
