"""Which of several input pictures a layer is made of, so that it is drawn over the right one."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import LayerError
from ..inputs.records import ImageInput
from ..network.axes import twin_of
from ..network.capture import Sink, capture
from ..network.descent import Descent
from ..network.records import LayerRef
from .opening import Session
from .passes import run_cheaply

if TYPE_CHECKING:
    from torch import Tensor


def pictures_behind(session: Session, image: ImageInput) -> dict[str, tuple[int, ...]]:
    """For every layer the pictures among the inputs that it is made of, by their numbers; {} where there is but one.

    One picture given several times is one. Optical flow is drawn over the first of its two pictures, where it lies,
    unless only the second one goes into a layer.
    """
    if not image.differs:
        return {}

    def follow(module: nn.Module, inputs: tuple[Any, ...]) -> dict[str, frozenset[int]]:
        descent = Descent()
        found: dict[str, frozenset[int]] = {}
        for number, each in enumerate(inputs):
            descent.start(each, number)

        def watch(layer: LayerRef) -> Sink:
            def sink(output: Tensor) -> None:
                found[layer.name] = descent.inputs_of(output)

            return sink

        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), descent:
            capture(module, inputs, watch)
        return found

    found, _ = run_cheaply(session, image, follow, lambda _: (), twin_of(session.model.module))
    pictures = {number for number, each in enumerate(image.inputs) if each.is_picture}
    behind = {layer: tuple(sorted(numbers & pictures)) for layer, numbers in found.items()}
    if session.model.input_kind == "image_pair":
        behind = {layer: numbers[:1] for layer, numbers in behind.items()}
    return behind


def picture_behind(session: Session, image: ImageInput, layer: str) -> ImageInput:
    """The inputs with the one picture for the eye that this layer is made of.

    Raises LayerError where it is made of several: a unit's box belongs on one.
    """
    numbers = pictures_behind(session, image).get(layer, ())
    if len(numbers) > 1:
        names = " and ".join(image.showing(each).shown_name for each in numbers)
        raise LayerError(
            f"layer {layer!r} is made of {len(numbers)} pictures, {names}: a unit's box belongs on one.",
            hint="Name a layer before they come together; or give one picture, which then stands for each.",
        )
    return image.showing(numbers[0]) if numbers else image
