"""What every channel of many layers does to the answer, estimated from one pass forward and one back."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..answers.target import target_of, value_of
from ..errors import ModelError
from ..foreign import raised
from ..inputs.records import ImageInput
from ..network.axes import channel_axes
from ..network.capture import Sink
from ..network.records import Axes, LayerRef
from ..network.replacing import Replacement
from ..session.opening import Session
from ..session.passes import run


def estimate_effects(session: Session, image: ImageInput, axes: Mapping[str, Axes]) -> dict[str, np.ndarray]:
    """By name, gradient × activation of each channel of these layers, float64 `[C]`: the first-order estimate of what
    the predicted class's score loses without it, as `fmap effect --fast` has it for one layer.

    Layers whose values have no gradient (integers) are left out. Raises ModelError where the answer is no number that
    can be differentiated.
    """
    inputs: list[Tensor] = []
    kept: dict[str, Tensor] = {}
    gradients: dict[str, Tensor] = {}

    def leaf(output: Tensor) -> Tensor:
        """In place of an input, so that all that follows can be differentiated, whatever is frozen."""
        if output.is_floating_point():
            inputs.append(output.detach().clone().requires_grad_())
            return inputs[-1].clone()
        return output.clone()

    def keep(name: str, output: Tensor) -> None:
        if output.requires_grad:
            kept[name] = output.detach().clone()
            # Told at once: it stays with these values whatever writes over them later.
            output.register_hook(lambda gradient: gradients.update({name: gradient}))

    def watch(layer: LayerRef) -> Sink | Replacement | None:
        if layer.kind == "input":
            return Replacement(leaf)
        return partial(keep, layer.name) if layer.name in axes else None

    with torch.inference_mode(False), torch.enable_grad():
        answer = run(session, image, watch, gradients=True)
        value = value_of(target_of(session.model, answer, image=image.name), answer)[0]
        if not value.requires_grad or not inputs:
            raise ModelError(f"no gradient reaches the layers of {session.model.name} from its answer.")
        try:
            torch.autograd.grad(value, inputs, allow_unused=True)
        except (RuntimeError, NotImplementedError) as error:
            raise ModelError(f"{session.model.name} cannot be differentiated: {raised.told(error)}") from error
    return {name: _of_channels(output, gradients.get(name), axes[name]) for name, output in kept.items()}


def _of_channels(output: Tensor, gradient: Tensor | None, axes: Axes) -> np.ndarray:
    terms = (output * (torch.zeros_like(output) if gradient is None else gradient)).double()
    channels = channel_axes(axes)
    others = [at for at in range(terms.ndim) if at not in channels]
    effects: np.ndarray = (terms.sum(others) if others else terms).flatten().cpu().numpy()
    return effects
