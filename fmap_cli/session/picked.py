"""Patterns to layers in one pass: whatever a subject wants to know of the layers that a user names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..inputs.records import ImageInput
from ..network.capture import Sink
from ..network.records import Axes, LayerRef
from ..network.selection import Selection
from .axes import axes_for
from .opening import Session
from .passes import run

if TYPE_CHECKING:
    from torch import Tensor

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Picked(Generic[_Found]):
    """A layer that was picked, the pattern that picked it, and what was made of its output."""

    layer: LayerRef
    asked: str
    found: _Found


def look_at_layers(
    session: Session,
    image: ImageInput,
    patterns: Sequence[str],
    look: Callable[[LayerRef, Tensor, Axes], _Found],
    *,
    layout: str | None = None,
) -> tuple[list[Picked[_Found]], Any]:
    """What `look(layer, output, axes)` makes of each layer that the patterns pick, in the order they run; and the
    network's answer. One pass.

    The output is live: a later operation may write over it, so `look` copies or reduces what it keeps there and then.
    `layout` names the axes of the layers picked (`BHWC`), where what was found is not wanted. Raises LayerError for a
    pattern that picks nothing and a layout that does not fit, ModelError where the network fails on this input.
    """
    selection = Selection(patterns, session.model.module)
    resolver = axes_for(session, image, layout).prepare_for(selection.paths)
    found: dict[str, _Found] = {}

    def watch(layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            if selection.offer(layer, output.shape):
                found[layer.name] = look(layer, output, resolver.of(layer, output.shape))
                for name in found.keys() - selection.wanted():  # what was `last` until now
                    del found[name]

        return sink

    answer = run(session, image, watch, operations=selection.needs_operations, paths=selection.paths)
    return [Picked(layer, asked, found[layer.name]) for layer, asked in selection.chosen()], answer
