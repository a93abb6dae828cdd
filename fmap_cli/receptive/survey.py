"""What every layer sees of the input, followed in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from torch import nn

from ..inputs.feeds import feed_of
from ..inputs.records import ImageInput
from ..network.axes import AxesResolver, axes_by_layout
from ..network.capture import Sink, capture
from ..network.records import Axes, LayerRef
from ..network.selection import OfLayer, names_picked, of_kinds
from ..session.axes import axes_for, following_beside, learn
from ..session.opening import Session, read_image
from ..session.passes import run_cheaply
from . import Follower
from .describe import Describer
from .records import FieldListing, FieldRow, ReceptiveField

if TYPE_CHECKING:
    from torch import Tensor


class _Layer(NamedTuple):
    layer: LayerRef
    shape: tuple[int, ...]


class Laid(TypedDict):
    axes: Axes
    field: ReceptiveField


class SeenFields:
    """Follows a pass and keeps what every layer sees of the input, along its axes `names`, which are `sizes` long.

    Where nobody has followed what the axes of the layers are, it does that as well: a second pass takes as long.
    """

    def __init__(self, session: Session, image: ImageInput, inputs: tuple[Any, ...]) -> None:
        images = inputs[0] if isinstance(inputs[0], list) else inputs
        feed = feed_of(session.model)
        self.names = feed.axes
        lead = images[feed.lead]
        at = feed.places(lead.ndim)
        self.sizes = tuple(lead.shape[each] for each in at)
        self.follower = Follower()
        for each in images:  # inputs of other sizes have other places
            if session.model.input_kind == "images" or [each.shape[n] for n in at if n < each.ndim] == [*self.sizes]:
                self.follower.start(each, at)
        self._fields: dict[str, Any] = {}
        self._describer = Describer(self.names, self.sizes)
        self._axes = following_beside(session, image, inputs)

    @contextmanager
    def following(self) -> Iterator[None]:
        """Inside, the pass is followed; `note` is to be shown every layer as it happens."""
        with self.follower, nullcontext() if self._axes is None else self._axes.mode:
            yield

    def resolver(self, session: Session, image: ImageInput, real: bool) -> AxesResolver:
        """Who says what the layers' axes are, told what this pass has found of them; not one that was `real`."""
        if self._axes is not None and not real:
            learn(session, image, self._axes)
        return axes_for(session, image).prepare()

    @property
    def by_values(self) -> list[str]:
        """The layers before which the network may have gone one way or another by values of the image."""
        found = self.follower.readers or self.follower.sized
        return list(dict.fromkeys([*found, "the answer"] if self.follower.pending else found))

    def note(self, layer: LayerRef, output: Tensor) -> None:
        self.follower.name(layer.name)
        self._fields[layer.name] = self.follower.fields_of(output)
        if self._axes is not None:
            self._axes.note(layer, output)

    def of(self, layer: str, axes: Axes, shape: Sequence[int]) -> ReceptiveField:
        return self._describer.describe(self._fields[layer], axes, shape)

    def laid_out(self, row: OfLayer, layout: str) -> Laid:
        """The axes that a user's letters give a layer, and its field by them. LayerError where they do not fit."""
        axes = axes_by_layout(layout, row.layer.name, row.shape)
        return {"axes": axes, "field": self.of(row.layer.name, axes, row.shape)}


def receptive_fields(
    session: Session,
    patterns: Sequence[str] = (),
    *,
    kinds: Sequence[str] = (),
    image: ImageInput | None = None,
    layout: str | None = None,
) -> FieldListing:
    """What the layers that the patterns pick see of an input of this image's size (or the bundled sample's).

    In execution order. Only shapes matter, but where a network with weights reads values on its way. Raises LayerError
    where no layer is left.
    """
    if image is None:
        image = read_image(session, None, lambda _: None)
    found: list[_Layer] = []

    def follow(module: nn.Module, inputs: tuple[Any, ...]) -> SeenFields:
        seen = SeenFields(session, image, inputs)
        found.clear()

        def watch(layer: LayerRef) -> Sink:
            def sink(output: Tensor) -> None:
                found.append(_Layer(layer, tuple(output.shape)))
                seen.note(layer, output)

            return sink

        with seen.following():
            capture(module, inputs, watch)
        return seen

    seen, real = run_cheaply(
        session, image, follow, lambda found: found.by_values, before_real=axes_for(session, image).prepare
    )
    resolver = seen.resolver(session, image, real)
    names = names_picked(session.model.module, found, patterns)
    shown = []
    for layer, shape in of_kinds([each for each in found if each.layer.name in names], kinds):
        axes = resolver.of(layer, shape)
        shown.append(FieldRow(layer, shape, axes, seen.of(layer.name, axes, shape)))
    notes = tuple(
        f"a value was read in Python before {layer} (item, or an if): what that decides is not followed"
        for layer in dict.fromkeys(seen.follower.readers)
    )
    if layout is not None:
        shown = [replace(each, **seen.laid_out(each, layout)) for each in shown]
    return FieldListing(session.origin, tuple(shown), len(found), found[0].shape, seen.sizes, notes)
