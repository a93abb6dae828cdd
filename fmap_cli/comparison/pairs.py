"""Two passes layer by layer: the same network on two images, or one image through two variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..errors import LayerError
from ..inputs.records import ImageInput
from ..models.input_words import input_words
from ..network.axes import AxesResolver
from ..network.capture import SameTensors, Sink
from ..network.records import Axes, LayerRef
from ..network.selection import Selection
from ..session.axes import axes_for
from ..session.opening import Session, dtype_name
from ..session.passes import run
from .answer import answered, held_against
from .drawn import Drawing
from .measures import default_threshold, differ, real_numbers
from .records import ComparedLayer, Comparison, Difference
from .same_start import keep_state, same_random_numbers
from .shared import Sharing
from .sides import number_format, side_of
from .vector import drawn_vector


def compare(
    a: Session,
    image_a: ImageInput,
    b: Session,
    image_b: ImageInput,
    patterns: Sequence[str] = (),
    *,
    kinds: Sequence[str] = (),
    threshold: float | None = None,
    draw: str | None = None,
    keep_maps: bool = False,
    layout: str | None = None,
    advanced: Callable[[int, int], None] = lambda done, total: None,
) -> Comparison:
    """Both passes, one after the other, and how far each layer's outputs are apart; A is the reference.

    The layers are those that `patterns` pick (with none, all) of these `kinds`; they are matched by name. Of A the
    layers' outputs are kept, on the CPU, each until B's has been compared with it. Both passes start from the same
    random numbers, for networks that draw some; where one session serves both, they start from the same parameters and
    buffers, too. Without `threshold` it is `compare.default_threshold` of both number
    formats. `keep_maps` keeps what a figure draws: of the layer that `draw` picks, or else of the first map over the
    threshold, or of the one that differs most, the strongest channels. Of two images it is instead the channels that
    both share and do not share, of the last map. `advanced` is told how many of
    the two passes are done.

    Raises LayerError for a pattern that picks nothing on either side, and where nothing can be compared.
    """
    if threshold is None:
        threshold = default_threshold([number_format(a), number_format(b)])
    reference = _Reference(selection=Selection(patterns or ("*",), a.model.module), kinds=frozenset(kinds))
    resolver = axes_for(a, image_a, layout)
    if reference.selection.needs_operations:
        resolver.prepare()
    put_back = keep_state(a.model.module) if a is b else None
    advanced(0, 2)
    with same_random_numbers():
        answer_a = run(
            a,
            image_a,
            reference.watch,
            operations=reference.selection.needs_operations,
            paths=reference.selection.paths,
        )
    answer_of_a = answered(a, answer_a)
    del answer_a
    advanced(1, 2)
    reference.drop_unwanted()
    for layer in reference.order:  # now, because it may run the network
        resolver.of(layer, reference.outputs[layer.name].shape)
    of_images = image_a is not image_b and (a is b or image_a.name != image_b.name)
    asked = Selection([draw], b.model.module) if draw is not None else None
    frame = input_words(a.model.input_kind, a.model.takes).layer
    drawing = Drawing(asked, frame) if keep_maps and not of_images else None
    sharing = Sharing(asked, keep_maps, a.model.input_kind != "images", frame) if of_images else None
    other = _Other(
        selection=Selection(patterns or ("*",), b.model.module),
        kinds=frozenset(kinds),
        reference=reference,
        threshold=threshold,
        resolver=resolver,
        drawing=sharing or drawing,
    )
    if put_back is not None:
        put_back()
    with same_random_numbers():
        answer = run(b, image_b, other.watch, operations=other.selection.needs_operations, paths=other.selection.paths)
    advanced(2, 2)
    _check_patterns(reference.selection, other.selection)
    wanted = other.selection.wanted()
    names_b = [layer.name for layer in other.order if layer.name in wanted]
    found = [other.found[layer.name] for layer in reference.order if layer.name in wanted & other.found.keys()]
    unlike = tuple(each for each in other.unlike_shapes if each[0] in wanted)
    names_a = [layer.name for layer in reference.order]
    if not names_a and not names_b:
        raise LayerError(
            f"no layer of kind {' or '.join(kinds)} among these.", hint="`fmap layers` says each one's kind."
        )
    if not found and not unlike:
        raise LayerError(
            f"nothing to compare: {a.model.name} and {b.model.name} have no layer of the same name among these"
            f" ({len(names_a)} and {len(names_b)}).",
            hint="`fmap layers` lists a model's layers.",
        )
    return Comparison(
        a=side_of(a, image_a),
        b=side_of(b, image_b),
        threshold=threshold,
        layers=tuple(found),
        only_a=tuple(name for name in names_a if name not in set(names_b)),
        only_b=tuple(name for name in names_b if name not in set(names_a)),
        unlike_shapes=unlike,
        pictures=(image_a.pixels, image_b.pixels),
        framings=(image_a.framing, image_b.framing),
        pair=drawing.chosen() if drawing is not None else None,
        inputs=(inputs := _input_difference(image_a, image_b)),
        fed_alike=inputs is not None and inputs.relative_l2 == 0,
        of_images=of_images,
        shared=sharing.chosen() if sharing is not None else None,
        vector=drawn_vector(found, answer, b.model.labels if b.model.labels == a.model.labels else None),
        answer=held_against(answer_of_a, answered(b, answer), threshold),
        picked=bool(patterns),
    )


def _input_difference(a: ImageInput, b: ImageInput) -> Difference | None:
    """How far apart what both networks are fed is; None where it has another shape on either side."""
    if [each.shape for each in (a.tensor, *a.more)] != [each.shape for each in (b.tensor, *b.more)]:
        return None
    # Several inputs may be of different shapes, and of indices.
    fed_a, fed_b = (torch.cat([part.flatten().float() for part in (each.tensor, *each.more)]) for each in (a, b))
    return differ(fed_a, fed_b)


def _check_patterns(first: Selection, second: Selection) -> None:
    """Raises LayerError where a pattern picks nothing on either side; one side is enough."""
    for selection in (first, second):
        try:
            selection.chosen()
        except LayerError as error:
            failure = error
        else:
            return
    raise failure


@dataclass(slots=True, kw_only=True)
class _Watched:
    """The layers of one pass that are wanted, each name once, in the order they run."""

    selection: Selection
    kinds: frozenset[str]
    order: list[LayerRef] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    tensors: SameTensors = field(default_factory=SameTensors)

    def watch(self, layer: LayerRef) -> Sink | None:
        def sink(output: Tensor) -> None:
            if not self.selection.offer(layer, output.shape) or (self.kinds and layer.kind not in self.kinds):
                return
            if layer.name not in self.names:
                self.names.add(layer.name)
                self.order.append(layer)
                self.take(layer, output, self.tensors.earlier(output, layer.name))

        return sink

    def take(self, layer: LayerRef, output: Tensor, earlier: str | None) -> None:
        """A layer's output; `earlier` is the layer that put out this very tensor before, if one did."""
        raise NotImplementedError


@dataclass(slots=True, kw_only=True)
class _Reference(_Watched):
    """What A's pass leaves: the outputs wanted, by name, until they are used."""

    outputs: dict[str, Tensor] = field(default_factory=dict)
    same_as: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)

    def take(self, layer: LayerRef, output: Tensor, earlier: str | None) -> None:
        if earlier is not None and earlier in self.outputs:
            self.same_as[layer.name] = earlier
            self.outputs[layer.name] = self.outputs[earlier]
        else:
            self.outputs[layer.name] = real_numbers(output).clone()
        self.dtypes[layer.name] = dtype_name(output.dtype)
        if "last" in self.selection.patterns:  # what was last for a while drops out
            self.drop_unwanted()

    def drop_unwanted(self) -> None:
        wanted = self.selection.wanted()
        self.order = [layer for layer in self.order if layer.name in wanted]
        for name in self.outputs.keys() - wanted:
            del self.outputs[name]


@dataclass(slots=True, kw_only=True)
class _Other(_Watched):
    """B's pass: each output is compared with A's as it comes, and A's is let go."""

    reference: _Reference
    threshold: float
    resolver: AxesResolver
    drawing: Drawing | Sharing | None
    found: dict[str, ComparedLayer] = field(default_factory=dict)
    unlike_shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)

    def take(self, layer: LayerRef, output: Tensor, earlier: str | None) -> None:
        kept = self.reference.outputs.pop(layer.name, None)
        if kept is not None:
            same = earlier if self.reference.same_as.get(layer.name) == earlier and earlier in self.found else None
            self._compare(layer, kept, output, same)

    def _compare(self, layer: LayerRef, a: Tensor, output: Tensor, same: str | None) -> None:
        shape = tuple(output.shape)
        b = real_numbers(output)
        if a.shape != b.shape:
            self.unlike_shapes.append((layer.name, tuple(a.shape), tuple(b.shape)))
            return
        axes = self.resolver.of(layer, shape)
        difference = self.found[same].difference if same else differ(a, b, channel_axis(axes))
        over = difference.relative_l2 > self.threshold
        dtypes = self.reference.dtypes[layer.name], dtype_name(output.dtype)
        self.found[layer.name] = ComparedLayer(layer, shape, dtypes, difference, over, same, axes)
        if self.drawing is not None and len(axes.names) == b.ndim:
            self.drawing.offer(self.found[layer.name], a, b, axes)


def channel_axis(axes: Axes) -> int | None:
    """Which axis is the channels; None where there is none, or not one alone.

    >>> channel_axis(Axes(("B", "N", "C"), "")), channel_axis(Axes(("?", "?"), ""))
    (2, None)
    """
    return axes.names.index("C") if axes.names.count("C") == 1 else None
