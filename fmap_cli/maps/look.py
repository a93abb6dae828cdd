"""One pass over one image: the maps of the layers that patterns pick."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..answers.reading import detections, label_map, laid_out, plain, predictions, role, score_map, tensors
from ..errors import LayerError
from ..inputs.records import ImageInput
from ..models.records import LoadedModel
from ..network.axes import channel_maps, undrawn_axes
from ..network.kinds import module_kind
from ..network.records import Axes, LayerRef
from ..session.fed import pictures_behind
from ..session.opening import Session, dtype_name
from ..session.picked import look_at_layers
from ..session.seen import picture_seen
from ..statistics.channels import ChannelStats
from ..statistics.moments import as_numbers
from ..statistics.reference import channel_stats, layer_stats
from .records import Choice, FeatureMap, Look

if TYPE_CHECKING:
    from torch import Tensor


SHOWN_CHANNELS = 64
"""How many channels a figure shows unless told otherwise: an 8 × 8 grid is what a slide can hold."""


SHOWN_CLIPS = 16
"""How many channels of a clip, where each is a row of frames."""


def look(
    session: Session,
    image: ImageInput,
    patterns: Sequence[str],
    choice: Choice = Choice(),  # noqa: B008 - frozen
    *,
    keep_arrays: bool = False,
    least_score: float = 0.5,
    layout: str | None = None,
) -> Look:
    """Run the network on one image, once, and keep what the patterns pick out; with none, the first convolution.

    `least_score` leaves out a detector's boxes below it. `layout` names the axes of the layers picked, `BHWC`, where
    what was measured is not wanted.

    Raises LayerError for a pattern that picks nothing, channels that are not there or a layout that does not fit, and
    ModelError where the network fails on this input.
    """
    labels = session.model.labels
    by_class: dict[str, Tensor] = {}
    patterns = patterns or default_patterns(session.model)
    effects: dict[str, tuple[np.ndarray, str, str]] = {}
    if choice.by == "effect" and choice.channels is None and not choice.all:
        from ..effect.ranking import effects_on_answer

        effects = effects_on_answer(session, image, patterns, layout)

    def look(layer: LayerRef, output: Tensor, axes: Axes) -> tuple[FeatureMap, Tensor | None]:
        classes = label_map(output, labels)
        if classes is not None and layer.kind != "output":
            by_class[layer.name] = output.detach()  # held, so that no other tensor can take its place in memory
        found = replace(_feature_map(layer, output, axes, choice, effects.get(layer.name)), label_map=classes)
        return found, laid_out(output).detach().to("cpu", copy=True) if keep_arrays else None

    picked, output = look_at_layers(session, image, patterns, look, layout=layout)
    answer = score_map(output)
    no_answers = {name for name, each in by_class.items() if answer is None or not _is_same(each, answer)}
    seen, scale = picture_seen(session, image)
    behind = pictures_behind(session, image)
    maps = tuple(
        replace(
            each.found[0],
            asked=each.asked,
            role=_role(session, output, each.layer),
            label_map=None if each.layer.name in no_answers else each.found[0].label_map,
            pictures=behind.get(each.layer.name, ()),
        )
        for each in picked
    )
    return Look(
        origin=session.origin_of(image),
        image=seen,
        maps=maps,
        predictions=predictions(output, labels, module=session.model.module),
        arrays={each.layer.name: each.found[1] for each in picked if each.found[1] is not None},
        detections=detections(output, labels, least_score, scale),
        detects=session.model.input_kind == "images",
        labels=labels,
        class_map_of="" if any(each.label_map is not None for each in maps) else _class_map_of(output, labels),
    )


def _class_map_of(output: Any, labels: Sequence[str] | None) -> str:
    """The layer that is a segmentation's answer, in words; empty where there is no map for each class."""
    answer = score_map(output)
    if answer is None or labels is None or answer.shape[1] != len(labels):
        return ""
    name = next(name for name, each in tensors(output).items() if each is answer)
    if not name:
        return "the last layer that `fmap layers` lists"
    return name if isinstance(output, dict) else f"output.{name}"


def _is_same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and one.data_ptr() == other.data_ptr()


def _role(session: Session, output: Any, layer: LayerRef) -> str:
    """What a tensor of the answer is of it, in words; empty for all other layers."""
    if layer.kind != "output":
        return ""
    return role(output, layer.name.removeprefix("output."), refined=session.model.input_kind == "image_pair")


def default_patterns(model: LoadedModel) -> tuple[str, ...]:
    """What is shown where no layer is named: the first convolution, or the first module of a network without one."""
    modules = dict(model.module.named_modules())
    if any(module_kind(module) == "conv" for module in modules.values()):
        return ("conv1",)
    return next(((path,) for path, module in modules.items() if path and not any(module.children())), ("first",))


_ORDINALS = {0: "the first axis", 1: "the second axis", 2: "the third axis"}


def _feature_map(
    layer: LayerRef, output: Tensor, axes: Axes, choice: Choice, effects: tuple[np.ndarray, str, str] | None = None
) -> FeatureMap:
    """The numbers of a layer's output, and copies of the maps to draw."""
    values = plain(output)
    maps = channel_maps(values, axes)  # [C, T, H, W]
    channels = channel_stats(maps.flatten(1))
    drawn, order = choose_channels(layer, channels, choice, _most_shown(maps), effects)
    notes = []
    undrawn = undrawn_axes(axes, values.shape)
    if undrawn:
        listed = ", ".join(f"{values.shape[at]} items on {_ORDINALS.get(at, f'axis {at + 1}')}" for at in undrawn)
        notes.append(f"only the first of {listed} is drawn; the statistics are over all of them")
    if output.is_complex():
        notes.append("the values are complex: their magnitudes are drawn and counted")
    if axes.grid is not None:
        left_out = f"; {_left_out(axes.prefix)}" if axes.prefix else ""
        notes.append(f"tokens are drawn as a {axes.grid[0]} × {axes.grid[1]} grid{left_out}")
    return FeatureMap(
        layer=layer,
        asked=layer.name,
        shape=tuple(values.shape),
        dtype=dtype_name(output.dtype),
        axes=axes,
        stats=as_numbers(channels) if maps.numel() == values.numel() else layer_stats(values),
        channels=channels,
        drawn=drawn,
        maps=maps[torch.from_numpy(drawn).to(maps.device)].detach().to("cpu", torch.float32, copy=True).numpy(),
        order=order,
        effects=None if effects is None else effects[0],
        effect_unit="" if effects is None else effects[2],
        notes=tuple(notes),
        strides=() if output.layout != torch.strided else tuple(output.stride()),
    )


def _left_out(prefix: int) -> str:
    if prefix == 1:
        return "the one token before it (the class token) is not drawn"
    return f"the {prefix} tokens before it (class token, registers) are not drawn"


def _most_shown(maps: Tensor) -> int:
    """How many channels of `[C, T, H, W]` to draw unless told otherwise: values without a place are one strip."""
    if maps.shape[2] * maps.shape[3] == 1:
        return len(maps)
    return SHOWN_CHANNELS if maps.shape[1] == 1 else SHOWN_CLIPS


def choose_channels(
    layer: LayerRef,
    channels: ChannelStats,
    choice: Choice,
    most: int = SHOWN_CHANNELS,
    effects: tuple[np.ndarray, str, str] | None = None,
) -> tuple[np.ndarray, str]:
    """The indices of the channels to draw, and in words which they are and in what order.

    Without a choice, a layer of up to `most` channels is drawn whole, and of a larger one the `most` of the largest
    `choice.by`; `effects` are the channels', on what, and what they count.
    Raises LayerError where a channel is asked for that the layer does not have.
    """
    count = len(channels.mean)
    if choice.channels is not None:
        missing = [channel for channel in choice.channels if channel >= count]
        if missing:
            raise LayerError(
                f"layer {layer.name!r} has {count} channels; there is no channel {missing[0]}.",
                hint=f"--channels takes 0 to {count - 1} here.",
            )
        return np.array(choice.channels, np.int64), f"{len(choice.channels)} of {count} channels, as chosen"
    top = choice.top
    if top is None and not choice.all and count > most:
        top = most
    if top is None:
        return np.arange(count), f"all {count} channels, in order" if count != 1 else "the only channel"
    if choice.by == "effect":
        assert effects is not None
        sizes, on_what = np.abs(effects[0]), effects[1]
        ranked = np.argsort(-np.where(np.isnan(sizes), np.inf, sizes), kind="stable")[:top]
        return ranked, f"{len(ranked)} of {count} channels, largest effect on {on_what} first"
    key = getattr(channels, choice.by)
    if choice.by == "std" and np.isnan(key).all():
        key = np.abs(channels.mean)  # one value a channel has no standard deviation
    ranked = np.argsort(-np.where(np.isnan(key), -np.inf, key), kind="stable")[:top]
    names = {"std": "standard deviation", "mean": "mean", "max": "maximum", "l2": "L2 norm"}
    return ranked, f"{len(ranked)} of {count} channels, largest {names[choice.by]} first"
