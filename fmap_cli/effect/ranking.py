"""What each channel of several layers does to the answer for one image: what `fmap show --by effect` ranks by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..answers.target import target_of
from ..inputs.records import ImageInput
from ..network.records import Axes, LayerRef
from ..session.opening import Session
from ..session.picked import look_at_layers
from ..session.rest import rest_of
from .measuring import Ablation, channel_count, check_channels

if TYPE_CHECKING:
    from torch import Tensor


def effects_on_answer(
    session: Session, image: ImageInput, patterns: Sequence[str], layout: str | None = None
) -> dict[str, tuple[np.ndarray, str, str]]:
    """Of each layer that the patterns pick the effect of its channels, with zero in their place, on what that is, in
    words, and what it counts (`logit`).

    Raises LayerError for a layer without channels, and ModelError for a network that scores no classes.
    """

    def keep(layer: LayerRef, output: Tensor, axes: Axes) -> tuple[Axes, int]:
        check_channels(layer, output, axes)
        return axes, channel_count(output, axes)

    picked, answer = look_at_layers(session, image, patterns, keep, layout=layout)
    target = target_of(session.model, answer, image=image.name)
    found: dict[str, tuple[np.ndarray, str, str]] = {}
    for each in picked:
        axes, count = each.found
        with rest_of(session, image, each.layer, axes) as rest:
            ablation = Ablation(rest, target, torch.zeros_like(rest.output))
            found[each.layer.name] = ablation.singles(np.arange(count))[0], target.in_words, target.quantity
    return found
