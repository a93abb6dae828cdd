"""What each channel of a layer does to the answer: taken away one at a time, and all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..answers.reading import class_scores
from ..answers.records import Target
from ..answers.target import answer_of, probability_of, target_of, value_of
from ..errors import FmapError, ImagesFailedError, LayerError, ModelError
from ..inputs.feeds import source_name
from ..inputs.framing import Framings
from ..inputs.records import ImageInput
from ..network.axes import channel_axes, channel_maps
from ..network.records import Axes, LayerRef
from ..session.opening import Session, dtype_name, groups, once, read_image
from ..session.passes import run_replaced
from ..session.picked import look_at_layers
from ..session.rest import Rest, rest_of
from .records import SHOWN, Agreement, Effects, ImageEffects, With
from .replacements import Replacements

if TYPE_CHECKING:
    from torch import Tensor

    from ..statistics.records import Run

_SAMPLE = 24  # channels that are really ablated where effects are estimated, to say how well they are ranked
_LAST_PLACES = 4


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked: `run` has the means for `mean`, `channels` are those to ablate (all: None)."""

    with_: With = "zero"
    wanted: str | int | None = None
    box: int | None = None
    channels: tuple[int, ...] | None = None
    top: int = SHOWN
    fast: bool = False
    seed: int = 0
    run: Run | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """One image, what the layer puts out for it and what the network answers."""

    image: ImageInput
    output: Tensor
    answer: Any


def measure_effects(
    session: Session,
    sources: Sequence[str],
    patterns: Sequence[str],
    asking: Asking,
    say: Callable[[str], None],
    layout: tuple[str | None, str | None] = (None, None),
    advanced: Callable[..., None] = lambda done, total, failed=0: None,
) -> Effects:
    """What each channel of the one layer that the patterns pick does to the answer for each image.

    `layout` are the axes of arrays and those of the layer's output. Raises LayerError for no layer, several, or one
    without channels, FmapError for a class that does not exist, and ModelError for a network without class scores.
    """
    failures: list[tuple[str, FmapError]] = []
    seen: list[_Seen] = []
    where: tuple[LayerRef, str, Axes] | None = None
    for image in _images(session, sources, say, layout[0], failures):
        layer, asked, axes, output, answer = _look(session, image, patterns, layout[1])
        where = where or (layer, asked, axes)
        if channel_count(output, axes) != channel_count((seen or [_Seen(image, output, answer)])[0].output, axes):
            raise LayerError(f"layer {layer.name!r} has other channels for {image.name} than for {seen[0].image.name}.")
        seen.append(_Seen(image, output, answer))
    if where is None:
        if len(failures) == 1:
            raise failures[0][1]
        raise ImagesFailedError(failures)
    layer, asked, axes = where
    targets = [target_of(session.model, each.answer, asking.wanted, asking.box, each.image.name) for each in seen]
    for each in dict.fromkeys(target.note for target in targets if target.note):
        say(each)
    replacements = Replacements(asking.with_, [each.output for each in seen], axes, layer.name, asking.run, asking.seed)
    channels = _channels(asking.channels, channel_count(seen[0].output, axes), layer)
    found: list[ImageEffects] = []
    agreements: list[tuple[float | None, int]] = []
    left_out, rows, total = 0, 1, len(seen) * len(channels)
    advanced(0, total)
    for at, (one, target) in enumerate(zip(seen, targets, strict=True)):
        other = replacements.of(at)
        with rest_of(session, one.image, layer, axes) as rest:
            left_out, rows = rest.left_out, rest.rows
            ablation = Ablation(rest, target, other)
            if asking.fast:
                effects, agreement = _estimated(session, one.image, layer, ablation, channels)
                agreements.append(agreement)
                found.append(ablation.result(one.image, channels, effects, None, None))
            else:
                measured = ablation.singles(channels, partial(_tell, advanced, at * len(channels), total))
                found.append(ablation.result(one.image, channels, *measured))
        advanced((at + 1) * len(channels), total)
    maps = channel_maps(seen[0].output, axes)
    drawn = maps[:, maps.shape[1] // 2].float().cpu().numpy() if axes.spatial and maps.numel() else None
    return Effects(
        origin=session.origin_of(*(each.image for each in seen)),
        layer=layer,
        asked=asked,
        shape=tuple(seen[0].output.shape),
        axes=axes,
        with_=asking.with_,
        source=replacements.source,
        channels=channels,
        total=channel_count(seen[0].output, axes),
        images=tuple(found),
        maps=None if drawn is None else drawn[channels],
        top=asking.top,
        left_out=left_out,
        rows=rows,
        fast=asking.fast,
        agreement=_agreement(agreements) if asking.fast else None,
        failures=tuple(failures),
    )


def _tell(advanced: Callable[..., None], before: int, total: int, done: int) -> None:
    advanced(before + done, total)


# -- what is asked about -----------------------------------------------------------------------------------------


def _images(
    session: Session,
    sources: Sequence[str],
    say: Callable[[str], None],
    layout: str | None,
    failures: list[tuple[str, FmapError]],
) -> Iterator[ImageInput]:
    say, framings = once(say), Framings()
    for source in groups(session, sources):
        try:
            image = read_image(session, source, say, layout)
        except FmapError as error:
            failures.append((source_name(source), error))
            continue
        framings.add(image.name, image.framing)
        yield image
    framings.say(say)


def _look(
    session: Session, image: ImageInput, patterns: Sequence[str], layout: str | None
) -> tuple[LayerRef, str, Axes, Tensor, Any]:
    """The one layer that is meant, its axes and output, and the network's answer."""

    def keep(layer: LayerRef, output: Tensor, axes: Axes) -> tuple[Axes, Tensor]:
        return axes, output.detach().clone()

    picked, answer = look_at_layers(session, image, patterns, keep, layout=layout)
    if len(picked) > 1:
        names = ", ".join(each.layer.name for each in picked[:3])
        raise LayerError(
            f"{len(picked)} layers match ({names}{', …' if len(picked) > 3 else ''}), and effects are of one.",
            hint="Name one with --layer; `fmap layers` lists them.",
        )
    (one,) = picked
    axes, output = one.found
    check_channels(one.layer, output, axes)
    return one.layer, one.asked, axes, output, answer


def check_channels(layer: LayerRef, output: Tensor, axes: Axes) -> None:
    """Raises LayerError for a layer that has no channels of real numbers."""
    if output.is_quantized or not output.is_floating_point():
        raise LayerError(
            f"layer {layer.name!r} has {dtype_name(output.dtype)} values: only channels of real numbers can be"
            " taken away.",
            hint="`fmap show` draws it.",
        )
    if not channel_axes(axes) or not output.numel():
        raise LayerError(
            f"layer {layer.name!r} has no channels: its output is {list(output.shape)}.",
            hint="Name another, or say what its axes are: --layout BCHW.",
        )


def channel_count(output: Tensor, axes: Axes) -> int:
    return prod(output.shape[at] for at in channel_axes(axes))


def _channels(asked: tuple[int, ...] | None, count: int, layer: LayerRef) -> np.ndarray:
    if asked is None:
        return np.arange(count)
    over = [each for each in asked if each >= count]
    if over:
        raise LayerError(f"layer {layer.name!r} has no channel {over[0]}: it has {count}, 0 to {count - 1}.")
    return np.array(sorted(set(asked)))


# -- ablation ----------------------------------------------------------------------------------------------------


class Ablation:
    """One image's pass held at a layer, with channels of its output replaced by those of `other`."""

    def __init__(self, rest: Rest, target: Target, other: Tensor) -> None:
        self.rest, self.target, self.other = rest, target, other
        self.channel_axes = channel_axes(rest.axes)
        self.value, self.probability, self.answer = self._read(rest.answer)
        if len(self.value) != 1:
            raise ModelError(
                f"the network answers one image with {len(self.value)} numbers that are no classes' scores: there is no"
                " one number that a channel could do something to."
            )

    @property
    def rounding(self) -> float:
        """By how much two passes may differ that compute the same: some units in the number's last place."""
        dtype = value_of(self.target, self.rest.answer).dtype
        return _LAST_PLACES * torch.finfo(dtype).eps * abs(float(self.value[0])) if dtype.is_floating_point else 0.0

    def _read(self, answer: Any) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """The target's number, its probability and the class answered, each `[rows]`."""
        chance = probability_of(self.target, answer)
        value = value_of(self.target, answer).detach().double().cpu().numpy()
        return (
            value,
            None if chance is None else chance.detach().double().cpu().numpy(),
            answer_of(self.target, answer).cpu().numpy(),
        )

    def singles(
        self, channels: np.ndarray, done: Callable[[int], None] = lambda more: None
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """The effect of each channel alone, that on the probability, and the class answered without it.

        An effect that is no more than the number's rounding is 0.
        """
        effects, chances, answers = [], [], []
        for finished, answer in self.rest.without_each([int(each) for each in channels], self.other):
            value, chance, given = self._read(answer)
            effects.append(self.rest.changes(self.value, value))
            answers.append(self.rest.of_channels(given))
            if chance is not None and self.probability is not None:
                chances.append(self.rest.changes(self.probability, chance))
            done(finished)
        found = np.concatenate(effects)
        found[np.abs(found) <= self.rounding] = 0
        return found, np.concatenate(chances) if chances else None, np.concatenate(answers)

    def without_all(self, channels: np.ndarray) -> Tensor:
        """The layer's output without any of these channels."""
        output = self.rest.output.clone()
        first = tuple(range(len(self.channel_axes)))
        rows, other = (each.movedim(self.channel_axes, first) for each in (output, self.other))
        places = np.unravel_index(channels, [output.shape[at] for at in self.channel_axes])
        place = tuple(torch.from_numpy(each).to(output.device) for each in places)
        rows[place] = other[place]
        return output

    def result(
        self,
        image: ImageInput,
        channels: np.ndarray,
        effects: np.ndarray,
        probabilities: np.ndarray | None,
        answers: np.ndarray | None,
    ) -> ImageEffects:
        """What there is to say of the image, with these channels taken away at once."""
        without = self.rest.through(self.without_all(channels))
        value, chance, answer = self._read(without)
        known = self.probability is not None and chance is not None
        return ImageEffects(
            image,
            self.target,
            effects,
            probabilities,
            answers,
            int(self.answer[0]),
            float(self.value[0] - value[0]),
            float(self.probability[0] - chance[0]) if known else None,  # type: ignore[index]
            int(answer[0]),
            self._undecided(without),
            self._is_answer(),
        )

    def _undecided(self, answer: Any) -> bool:
        """Whether a classifier's scores are all equal."""
        scores = class_scores(answer, self.target.labels) if self.target.kind == "class" else None
        return scores is not None and bool((scores == scores.flatten()[0]).all())

    def _is_answer(self) -> bool:
        """Whether the layer's output is the classifier's scores themselves."""
        scores = class_scores(self.rest.answer, self.target.labels) if self.target.kind == "class" else None
        return scores is not None and scores.shape == self.rest.output.shape and bool(scores.eq(self.rest.output).all())


# -- the estimate ------------------------------------------------------------------------------------------------


def _estimated(
    session: Session, image: ImageInput, layer: LayerRef, ablation: Ablation, channels: np.ndarray
) -> tuple[np.ndarray, tuple[float | None, int]]:
    """Gradient × activation of each channel, and Spearman's ρ against a sample of them that is really ablated."""
    effects = gradient_times_activation(session, image, layer, ablation)[channels]
    order = np.argsort(effects, kind="stable")
    sample = order[np.unique(np.linspace(0, len(order) - 1, min(_SAMPLE, len(order))).round().astype(int))]
    real, _, _ = ablation.singles(channels[sample])
    return effects, (spearman(effects[sample], real), len(sample))


def gradient_times_activation(session: Session, image: ImageInput, layer: LayerRef, ablation: Ablation) -> np.ndarray:
    """The first-order estimate of each channel's effect: Σ over its values of (value − replacement) · ∂answer/∂value.

    With zero in its place that is gradient × activation (Molchanov et al. 2017, "Pruning Convolutional Neural Networks
    for Resource Efficient Inference", equation 8, without the absolute value).
    """
    kept: list[Tensor] = []

    def leaf(output: Tensor) -> Tensor:
        kept.append(output.detach().requires_grad_())
        return kept[-1].clone()

    with ablation.rest.everything():
        answer = run_replaced(session, image, layer, leaf, gradients=True)
        value = value_of(ablation.target, answer)[0]
    if not value.requires_grad:
        raise ModelError(
            f"no gradient reaches layer {layer.name!r} from the answer of {session.model.name}.",
            hint="Leave --fast out: channels are then really taken away.",
        )
    (gradient,) = torch.autograd.grad(value, kept[-1], allow_unused=True)
    gradient = torch.zeros_like(kept[-1]) if gradient is None else gradient
    terms = ((kept[-1].detach() - ablation.other) * gradient).double()
    others = [at for at in range(terms.ndim) if at not in ablation.channel_axes]
    found: np.ndarray = (terms.sum(others) if others else terms).flatten().cpu().numpy()
    return found


def spearman(first: np.ndarray, second: np.ndarray) -> float | None:
    """Spearman's rank correlation: Pearson's of the ranks, where equal values share their mean rank; None where one
    side is all equal.

    >>> spearman(np.array([1.0, 2.0, 3.0]), np.array([10.0, 20.0, 15.0]))
    0.5
    """
    ranks = [_ranks(each) for each in (first, second)]
    if len(first) < 2 or any(np.ptp(each) == 0 for each in ranks):
        return None
    one, other = (each - each.mean() for each in ranks)
    return round(float((one * other).sum() / np.sqrt((one * one).sum() * (other * other).sum())), 12)


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: np.ndarray = (ends - (counts - 1) / 2)[place]
    return ranks


def _agreement(found: Sequence[tuple[float | None, int]]) -> Agreement:
    known = [rho for rho, _ in found if rho is not None]
    return Agreement(sum(known) / len(known) if known else None, sum(count for _, count in found))
