"""Every layer with its shape, axes, field and cost, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import LayerError
from ..inputs.records import ImageInput
from ..network.selection import names_picked, of_kinds
from ..receptive.survey import SeenFields
from ..session.axes import axes_for, of_structure
from ..session.opening import Session, read_image
from ..session.passes import run_cheaply
from . import inventory
from .records import CountedLayer, Listing

if TYPE_CHECKING:
    from .costs import Count


def survey(
    session: Session,
    patterns: Sequence[str] = (),
    *,
    kinds: Sequence[str] = (),
    depth: int | None = None,
    image: ImageInput | None = None,
    layout: str | None = None,
) -> Listing:
    """Every layer with its shape, axes and cost for one image, in execution order, and the network in numbers.

    Or those layers that the patterns pick, of these kinds, and not inside more than `depth - 1` others. The input is
    `image`, or the bundled sample, after the model's own preprocessing; what is in the picture matters where a
    network with weights reads values on its way (an early exit). Raises LayerError where no layer is left.
    """
    if image is None:
        image = read_image(session, None, lambda _: None)
    if layout is None:
        whole, seen = of_structure(session, image, "layers", _whole, lambda whole: not whole.by_values), None
    else:
        whole, seen = _surveyed(session, image)
    layers = whole.layers
    names = names_picked(session.model.module, layers, patterns)
    cut = layers if depth is None else inventory.cut(layers, depth)
    shown = of_kinds([each for each in cut if each.layer.name in names], kinds)
    if not shown:
        raise LayerError(
            f"no layer is left at --depth {depth}: the chosen ones are deeper inside.",
            hint=f"The first of them is at depth {min(each.depth for each in layers if each.layer.name in names)}.",
        )
    if layout is not None and seen is not None:
        shown = [replace(each, **seen.laid_out(each, layout)) for each in shown]
    convolutions = inventory.convolutions(layers)
    return Listing(
        origin=session.origin,
        layers=tuple(shown),
        count=len(layers),
        input_shape=layers[0].shape,
        stages=inventory.stages(layers),
        parameters=sum(parameter.numel() for parameter in session.model.module.parameters()),
        idle_parameters=whole.idle_parameters,
        multiply_adds=whole.multiply_adds,
        convolutions=len(convolutions),
        pointwise=sum(map(inventory.is_pointwise, convolutions)),
        depthwise=sum(each.geometry is not None and each.geometry.per_channel for each in convolutions),
        strided=sum(map(inventory.is_strided, convolutions)),
        uncounted=whole.uncounted,
        notes=whole.notes,
    )


@dataclass(frozen=True, slots=True)
class _Whole:
    """What a pass says of all layers; `by_values` says whether the network went by values of the image."""

    layers: tuple[CountedLayer, ...]
    multiply_adds: int
    idle_parameters: int
    uncounted: tuple[tuple[str, str], ...]
    by_values: bool
    notes: tuple[str, ...]


def _whole(session: Session, image: ImageInput) -> _Whole:
    return _surveyed(session, image)[0]


def _surveyed(session: Session, image: ImageInput) -> tuple[_Whole, SeenFields]:
    """All layers of a pass over an image of this size, and the fields of that pass."""
    counted, seen, real = _counted(session, image)
    resolver = seen.resolver(session, image, real)
    layers = []
    for each in counted.layers:
        axes = resolver.of(each.layer, each.shape)
        layers.append(replace(each, axes=axes, field=seen.of(each.layer.name, axes, each.shape)))
    whole = _Whole(
        layers=tuple(layers),
        multiply_adds=counted.total,
        idle_parameters=counted.idle_parameters,
        uncounted=tuple(counted.uncounted.items()),
        by_values=real or bool(seen.by_values),
        notes=_decided_by_values(session, image, seen, real),
    )
    return whole, seen


def _counted(session: Session, image: ImageInput) -> tuple[Count, SeenFields, bool]:
    """The layers of a pass over an image of this size with their costs and fields, as `run_cheaply` runs it."""
    from .costs import count_layers

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Count, SeenFields]:
        seen = SeenFields(session, image, inputs)
        with seen.following():
            counted = count_layers(module, inputs, seen.note)
        return counted, seen

    (counted, seen), real = run_cheaply(
        session, image, count, lambda found: found[1].by_values, before_real=axes_for(session, image).prepare
    )
    return counted, seen, real


def _decided_by_values(session: Session, image: ImageInput, seen: SeenFields, real: bool) -> tuple[str, ...]:
    """What to say of a network that read values in Python on its way: which ones it went by."""
    layers = seen.by_values
    if not layers or session.model.input_kind == "images":  # detectors: said when they are opened
        return ()
    where = ", ".join(layers) if len(layers) < 5 else f"{', '.join(layers[:3])} and {len(layers) - 3} more layers"
    only_sizes = seen.follower.sized and not seen.follower.readers
    how = "the size of a tensor went by values" if only_sizes else "a value was read in Python"
    read = f"{how} before {where}, so what runs may depend on the picture"
    if real:
        return (f"{read}: the numbers are those of a pass over {image.name} with these weights",)
    return (f"{read}: without weights the pass ran over blank values, and a picture may take more or less",)
