"""The gradient of a number of the answer with respect to layers' outputs: one pass forward and one back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from ..answers.records import Target
from ..answers.target import value_of
from ..errors import ModelError
from ..foreign import raised
from ..inputs.records import ImageInput
from ..network.capture import Sink, Watcher
from ..network.records import LayerRef
from ..network.replacing import Replacement
from ..session.opening import Session
from ..session.passes import run

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Differentiated:
    """A layer's output as it was before anything wrote over it, and the gradient with respect to it, of one shape; the
    gradient is zero where the number does not depend on the output.
    """

    output: Tensor
    gradient: Tensor


def gradients_of(
    session: Session, image: ImageInput, layers: Sequence[LayerRef], target: Target, *, jitter: int = 0
) -> dict[str, Differentiated]:
    """By name, the output of each of these layers and the gradient of the target's number with respect to it. None of
    them may be made of another.

    A leaf of its own is put in the place of each output, and the network reads a copy of it: so frozen parameters do
    not matter, an in-place operation after the layer changes neither, and parameters and their `.grad` stay as they
    are. With `jitter` each value goes on with another last digit, by chance that this number seeds, and a multiple of
    the target is differentiated, so that all rounding, forward and back, is another. Raises ModelError where the
    network cannot be differentiated.
    """
    names = {each.name for each in layers}
    kept: dict[str, Tensor] = {}

    def watch(layer: LayerRef) -> Replacement | None:
        if layer.name not in names:
            return None
        return Replacement(lambda output: _leaf(layer.name, _jittered(output, jitter) if jitter else output, kept))

    answer = _run(session, image, layers, watch)
    if not kept:
        raise ModelError(
            f"{session.model.name} ran without layer {layers[0].name!r} this time.",
            hint="Its forward depends on chance or on earlier calls: fix its seed, or reset its state.",
        )
    times = 1 + 0.37 * jitter  # no power of two: numbers times it round another way
    found = _differentiated(session, target, answer, list(kept.values()), times)
    return {
        name: Differentiated(
            output.detach(), torch.zeros_like(output) if gradient is None else gradient.detach() / times
        )
        for (name, output), gradient in zip(kept.items(), found, strict=True)
    }


def measured_gradients(
    session: Session, image: ImageInput, layers: Sequence[LayerRef], target: Target
) -> dict[str, Tensor]:
    """By name, the gradient with respect to what goes on from each of these layers, of any number of layers in one
    pass; without those that the number does not depend on. After an in-place operation it is that operation's.
    """
    names = {each.name for each in layers}
    inputs: dict[str, Tensor] = {}
    kept: dict[str, Tensor] = {}

    def watch(layer: LayerRef) -> Sink | Replacement | None:
        if layer.kind == "input":  # so that all that follows can be differentiated, whatever is frozen
            return Replacement(lambda output: _leaf(layer.name, output, inputs))
        return (lambda output: kept.update({layer.name: output})) if layer.name in names else None

    answer = _run(session, image, layers, watch)
    there = {name: output for name, output in kept.items() if output.requires_grad}
    found = _differentiated(session, target, answer, list(there.values()))
    return {name: gradient for name, gradient in zip(there, found, strict=True) if gradient is not None}


def _jittered(output: Tensor, seed: int) -> Tensor:
    """Each value with its last digit up or down, by chance."""
    if not output.is_floating_point():
        return output
    chance = torch.Generator().manual_seed(seed)
    up = torch.randint(2, output.shape, generator=chance).to(output.device).bool()
    values = output.detach()
    step = torch.finfo(output.dtype).eps
    return torch.where(up, values * (1 + step), values * (1 - step))


def _leaf(name: str, output: Tensor, kept: dict[str, Tensor]) -> Tensor:
    if not output.is_floating_point():
        return output.clone()
    kept[name] = output.detach().clone().requires_grad_()
    return kept[name].clone()


def _run(session: Session, image: ImageInput, layers: Sequence[LayerRef], watch: Watcher) -> Any:
    by_path = all(each.is_module and each.name == each.path for each in layers)
    paths = frozenset(each.path for each in layers) if by_path else None
    return run(session, image, watch, operations=not by_path, paths=paths, gradients=True)


def _differentiated(
    session: Session, target: Target, answer: Any, outputs: Sequence[Tensor], times: float = 1.0
) -> Sequence[Tensor | None]:
    with torch.inference_mode(False), torch.enable_grad():
        number = value_of(target, answer)[0] * times
        if not number.requires_grad or not outputs:
            return [None] * len(outputs)
        try:
            return torch.autograd.grad(number, outputs, allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            raise ModelError(
                f"{session.model.name} cannot be differentiated: {raised.told(error)}",
                hint="Its forward writes over values that the gradient needs, or has an operation without a gradient:"
                " --method effect needs none.",
            ) from error
