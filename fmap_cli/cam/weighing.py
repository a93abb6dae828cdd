"""What a layer's channels say together, place by place: three ways to weigh them.

A[k] is channel k's map, y the number that is asked about, g[k] = ∂y/∂A[k] its gradient.

* Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2): Σk α[k] · A[k], where α[k] is the mean of g[k] over all
  places. The paper cuts off what is negative; here that is asked for with `positive`.
* LayerCAM (Jiang et al., IEEE TIP 2021, equations 6 and 7): Σk relu(g[k]) · A[k], so that each place has a weight of
  its own: fine where Grad-CAM's means say little, as of one box among several.
* Effect: without a gradient. e[k] is y minus what it is with channel k at zero, and the map Σk e[k] · |A[k]| / Σ|A[k]|
  lays each channel's effect where the channel is active, so that it adds up to the sum of all effects. (Ablation-CAM,
  Desai and Ramaswamy, WACV 2020, weighs A[k] by e[k] / y.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..answers.records import Target
from ..answers.target import value_of
from ..errors import LayerError
from ..inputs.records import ImageInput
from ..network.axes import channel_maps
from ..session.opening import Session
from ..session.rest import rest_of
from .choosing import Map
from .records import Level, Method

if TYPE_CHECKING:
    from torch import Tensor


def weigh(
    session: Session,
    image: ImageInput,
    one: Map,
    target: Target,
    method: Method,
    advanced: Callable[..., None],
) -> Level:
    """The signed evidence of one layer, in its own cells. Raises LayerError where its values are not finite."""
    maps = channel_maps(one.found.output, one.axes).double().cpu()  # [C, T, H, W]
    gradient = channel_maps(one.found.gradient, one.axes).double().cpu()
    if not (maps.isfinite().all() and (method == "effect" or gradient.isfinite().all())):
        raise LayerError(
            f"layer {one.layer.name!r} has values or gradients that are not finite on {image.name}: evidence made of"
            " them would be none.",
            hint="`fmap stats` on this image says at which layer NaN or infinity begins.",
        )
    weights: Tensor | None
    if method == "layercam":
        weights, found = None, (gradient.relu() * maps).sum(0)
    elif method == "gradcam":
        weights = gradient.mean((1, 2, 3))
        found = torch.einsum("c,cthw->thw", weights, maps)
    else:
        size = maps.abs().sum((1, 2, 3))
        effects = channel_effects(session, image, one, target, advanced)
        weights = torch.where(size > 0, effects / size.clamp(min=1e-300), 0.0)
        found = torch.einsum("c,cthw->thw", weights, maps.abs())
    return Level(
        one.layer,
        tuple(one.found.output.shape),
        one.axes,
        found.numpy(),
        None if weights is None else weights.numpy(),
    )


def channel_effects(
    session: Session, image: ImageInput, one: Map, target: Target, advanced: Callable[..., None]
) -> Tensor:
    """The number minus what it is with a channel at zero, for each channel, `[C]` float64; by running the rest of the
    network.
    """
    axis = one.axes.names.index("C")
    with torch.no_grad(), rest_of(session, image, one.layer, one.axes) as rest:
        value = value_of(target, rest.answer).double().cpu().numpy()
        count = rest.output.shape[axis]
        effects: list[np.ndarray] = []
        advanced(0, count)
        for done, answer in rest.without_each(range(count), torch.zeros_like(rest.output)):
            effects.append(rest.changes(value, value_of(target, answer).double().cpu().numpy()))
            advanced(done, count)
    return torch.from_numpy(np.concatenate(effects))
