"""Where the evidence for an answer is: the pass, the layer, the weighing and the trial, one after another."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from ..answers.reading import predictions
from ..answers.target import target_of
from ..errors import LayerError, ModelError
from ..inputs.feeds import feed_of
from ..inputs.records import ImageInput
from ..network.axes import channel_maps
from ..session.opening import Session
from ..session.seen import picture_seen
from .choosing import Map, chosen, named, survey
from .gradients import gradients_of
from .records import Cam, Level, Method
from .trust import curves
from .weighing import weigh

_TRIALS = 3
"""How often a map is made again with another rounding, where the first time moves it."""
_STEADY = 1e-2
"""A map that another rounding moves by less than this share of its largest value is steady."""


def evidence(
    session: Session,
    image: ImageInput,
    patterns: Sequence[str],
    class_: str | int | None,
    box: int | None,
    method: Method | None,
    *,
    positive: bool,
    steps: int,
    layout: str | None,
    advanced: Callable[..., None],
) -> Cam:
    """The evidence on this image; without a pattern of the layer that is chosen by measuring.

    Without a `method` it is Grad-CAM, and of an object LayerCAM. Raises FmapError where there is no such class or box,
    LayerError where a layer has no places, ModelError where the network scores no classes or cannot be differentiated.
    """
    _check_picture(session)
    session = _differentiable(session)
    seen, answer = survey(session, image)
    target = target_of(session.model, answer, class_, box, image.name)
    picture, scale = picture_seen(session, image)
    if patterns:
        maps, why = named(session, image, seen, patterns, target, layout), "as asked"
    else:
        maps, why = chosen(session, image, seen, target)
    if not maps:
        raise LayerError("this layer has no number that a gradient goes to: its values are whole numbers.")
    method = method or ("layercam" if target.kind == "object" else "gradcam")
    levels = [weigh(session, image, each, target, method, advanced) for each in maps]
    levels = [_positive(each) for each in levels] if positive and len(levels) > 1 else levels
    combined = _together([each.map for each in levels])
    sizes = [float(np.abs(each.map).mean()) for each in levels]
    levels = [
        replace(each, share=size / sum(sizes) if any(sizes) else 0.0) for each, size in zip(levels, sizes, strict=True)
    ]
    if positive:
        combined = combined.clip(min=0)
    found = Cam(
        origin=session.origin_of(image),
        image=picture,
        target=target,
        method=method,
        positive=positive,
        levels=tuple(levels),
        map=combined,
        why=why,
        predictions=predictions(answer, session.model.labels, module=session.model.module),
        notes=tuple(filter(None, [target.note])),
        scale=scale,
    )
    found = replace(found, rounding=_rounding(session, image, maps, found))
    if not steps or found.sign == "zero":  # such a map puts places in no order
        return found
    return replace(found, trust=curves(session, image, target, _over_input(found, image, scale), steps, advanced))


def _rounding(session: Session, image: ImageInput, maps: Sequence[Map], found: Cam) -> float:
    """How far rounding alone moves the map's values.

    By gradients that is measured: the map is made again of values that differ in their last digit; `_TRIALS` times
    where the first moves it. What moves without that, too, is a network that draws random numbers, and no rounding.
    An effect is the difference of two numbers, each with a rounding of its own. A map that adds up to less than the
    number's last digit is rounding whatever its gradients are: the number does not show it.
    """
    if not found.most > 0:
        return 0.0
    step = max(torch.finfo(each.found.output.dtype).eps for each in maps)
    if found.part is not None and found.part < step:
        return found.most
    if found.method == "effect":
        sizes = [channel_maps(each.found.output, each.axes).double().abs().cpu() for each in maps]  # [C, T, H, W]
        parts = [size / size.sum((1, 2, 3), keepdim=True).clamp(min=1e-300) for size in sizes]
        return step * abs(found.target.value) * max(float(part.square().sum(0).max().sqrt()) for part in parts)

    def moved(jitter: int) -> float:
        again = gradients_of(session, image, [each.layer for each in maps], found.target, jitter=jitter)
        if len(again) < len(maps):
            return 0.0
        others = [replace(each, found=again[each.layer.name]) for each in maps]
        levels = [weigh(session, image, each, found.target, found.method, lambda *_: None) for each in others]
        other = _together([_positive(each).map if found.positive else each.map for each in levels])
        return float(np.abs(other - found.map).max())

    most = moved(1)
    if most < _STEADY * found.most:
        return most
    return 0.0 if moved(0) >= _STEADY * found.most else max(most, *(moved(trial) for trial in range(2, _TRIALS + 1)))


def _check_picture(session: Session) -> None:
    """Raises ModelError where the first input has no height and width to lay evidence on."""
    if feed_of(session.model).axes[-2:] != ("H", "W"):
        takes = session.model.takes
        raise ModelError(
            f"evidence is laid over a picture, and {session.model.name} takes {takes.words if takes else 'none'}.",
            hint="`fmap effect` says which channels count, of any network.",
        )


def _differentiable(session: Session) -> Session:
    """The session itself; one of a copy of a network made in inference mode, whose parameters autograd refuses."""
    module = session.model.module
    if not any(each.is_inference() for each in (*module.parameters(), *module.buffers())):
        return session
    return replace(session, model=replace(session.model, module=copy.deepcopy(module)), resolvers={}, advised={})


def _positive(level: Level) -> Level:
    return replace(level, map=level.map.clip(min=0))


def _together(maps: Sequence[np.ndarray]) -> np.ndarray:
    """The sum of maps `[T, h, w]` over one picture, in the cells of the finest."""
    if len(maps) == 1:
        return maps[0]
    size = max((each.shape[1:] for each in maps), key=lambda shape: shape[0] * shape[1])
    total = np.zeros((maps[0].shape[0], *size))
    for each in maps:
        total += F.interpolate(torch.from_numpy(each)[None], size, mode="bilinear", align_corners=False)[0].numpy()
    return total


def _over_input(found: Cam, image: ImageInput, scale: tuple[float, float]) -> np.ndarray:
    """The evidence `[h, w]` over the picture as the network is given it; a detector pads what its backbone gets."""
    whole: np.ndarray = found.map.sum(0)
    high, wide = found.image.pixels.shape[:2]
    inside = (image.pixels.shape[0] * scale[0] / high, image.pixels.shape[1] * scale[1] / wide)
    if inside == (1.0, 1.0):
        return whole
    size = (round(whole.shape[0] * 4 * inside[0]), round(whole.shape[1] * 4 * inside[1]))
    cells = torch.from_numpy(whole)[None, None]
    larger = F.interpolate(cells, scale_factor=4, mode="bilinear", align_corners=False)[0, 0].numpy()
    return np.ascontiguousarray(larger[: size[0], : size[1]])
