"""Two sides of a comparison: the same network on two images, one image through two variants, two saved runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import FmapError, ImageError, LayerError
from ..inputs.feeds import feed_of
from ..inputs.records import ImageInput
from ..models.preprocessing import Wishes
from ..models.records import ModelRequest, Topic, notes_about
from ..network.axes import AxesResolver, channel_maps
from ..network.capture import SameTensors, Sink
from ..network.records import Axes, LayerRef
from ..network.selection import Selection, pick_names
from ..session.axes import axes_for
from ..session.opening import Session, dtype_name, once, open_session, read_image
from ..session.passes import run
from ..statistics.records import Run
from .measures import default_threshold, differ, differ_runs, real_numbers
from .records import ComparedLayer, ComparedRecord, Comparison, Difference, DrawnPair, Side

if TYPE_CHECKING:
    from collections.abc import Iterator

Say = Callable[[str], None]

DRAWN_CHANNELS = 8
"""How many channels a figure shows, those that differ most: as many as stand side by side on a slide."""


# -- two sides ---------------------------------------------------------------------------------------------------


def open_sides(request: ModelRequest, other: ModelRequest, say: Say) -> tuple[Session, Session]:
    """A session for each request; one for both where they are the same. Raises what `open_session` raises.

    A side that does not say how it is to be fed (an export, a factory, a file's or random weights) is fed as the other
    one, but for what its request says itself.
    """
    say = once(say)
    if other == request:
        session = open_session(request, say)
        return session, session
    held: tuple[Topic, ...] = ("feeding",)
    first, second = open_session(request, say, unsaid=held), open_session(other, say, unsaid=held)
    a, b = _fed_as(first, second, request, other, "B", say), _fed_as(second, first, other, request, "A", say, ties=True)
    for before, after in ((first, a), (second, b)):
        if before.model.preprocessing == after.model.preprocessing:  # what is assumed is said where it stays so
            for sentence in notes_about(before.model.notes, "feeding"):
                say(sentence)
    if other.seed != request.seed and other.seed != b.model.weights.seed:
        say(f"--vs-seed {other.seed} changes nothing: B's weights are not random, but {b.model.weights}.")
    return a, b


def _fed_as(
    own: Session,
    from_: Session,
    request: ModelRequest,
    from_request: ModelRequest,
    name: str,
    say: Say,
    ties: bool = False,
) -> Session:
    """`own` with the preprocessing of the other side, which is called `name`, where that one knows better.

    Of two that know as much it is B that takes A's. A network with another size of its own keeps that; a program
    written by torch.export keeps the size it was exported with.
    """
    mine, other = own.model.preprocessing, from_.model.preprocessing
    knows_less = mine.known < other.known or (ties and mine.known == other.known < 2)
    kinds = own.model.input_kind, own.model.frames
    if not knows_less or mine == other or mine.channels != other.channels:
        return own
    if kinds != (from_.model.input_kind, from_.model.frames) or own.model.feeding is None:
        return own
    wishes = {
        name: getattr(request, name)
        for name in ("size", "mean", "std")
        if getattr(request, name) != getattr(from_request, name)
    }
    fed = Wishes(**wishes).over(replace(other, source=f"as {name}: {other.source}"))
    any_size = mine.known == 0 and not str(request.model).endswith(".pt2") and not request.input_shape
    if fed.crop != mine.crop and not any_size:
        if mine.known:
            return own
        fed = replace(mine, mean=fed.mean, std=fed.std, source=f"{mine.source}; mean and std as {name}")
    if fed == mine:
        return own
    side = "A" if name == "B" else "B"
    say(
        f"{side} ({own.model.name}) does not say how images are prepared for it: it gets what {name} gets, {fed.steps}."
    )
    return replace(own, model=replace(own.model, preprocessing=fed))


def read_sides(
    a: Session, b: Session, sources: Sequence[str], say: Say, layout: str | None = None, *, fed_as_asked: bool = False
) -> tuple[ImageInput, ImageInput]:
    """The image for either side, as its network takes it: two sources, or one for both; none is the bundled sample.

    `fed_as_asked` says that where the sides get different input, B was asked to. Raises ImageError.
    """
    say = once(say)
    if len(sources) == 2 and sources[0] == sources[1] == "-":
        raise ImageError("standard input can be read only once, and both images are given as -.")
    source_a, source_b = (*sources, *sources)[:2] if sources else (None, None)
    image_a = read_image(a, source_a, say, layout)
    alike = _feeding(a) == _feeding(b)
    if not alike and fed_as_asked:
        say("A and B get different input, as --vs-size, --vs-mean or --vs-std ask.")
    elif not alike:
        say(
            "A and B get different input: their weights ask for different preprocessing; --size, "
            "--mean and --std make it"
            " the same."
        )
    if source_a == source_b and alike:
        return image_a, image_a
    if source_a == source_b == "-":
        raise ImageError(
            "A and B get different input, and standard input can be read only once.", hint="Give the image as a file."
        )
    return image_a, read_image(b, source_b, say, layout)


def _feeding(session: Session) -> tuple[Any, ...]:
    model = session.model
    return model.preprocessing, model.input_kind, model.frames, model.takes


def _side(session: Session, image: ImageInput) -> Side:
    return Side(
        source=image.name,
        origin=session.origin,
        memory_format="channels_last" if session.memory_format is not None else "contiguous",
        size=feed_of(session.model).size_of(image),
    )


def _number_format(session: Session) -> str:
    """The dtype, but `tf32` where CUDA's convolutions make that of float32."""
    name = dtype_name(session.dtype)
    if name == "float32" and session.device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        return "tf32"
    return name


# -- outputs, layer by layer -------------------------------------------------------------------------------------


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
) -> Comparison:
    """Both passes, one after the other, and how far each layer's outputs are apart; A is the reference.

    The layers are those that `patterns` pick (with none, all) of these `kinds`; they are matched by name. Of A the
    layers' outputs are kept, on the CPU, each until B's has been compared with it. Both passes start from the same
    random numbers, for networks that draw some; where one session serves both, they start from the same parameters and
    buffers, too. Without `threshold` it is `compare.default_threshold` of both number
    formats. `keep_maps` keeps what a figure draws: of the layer that `draw` picks, or else of the first map over the
    threshold, or of the one that differs most, the strongest channels.

    Raises LayerError for a pattern that picks nothing on either side, and where nothing can be compared.
    """
    if threshold is None:
        threshold = default_threshold([_number_format(a), _number_format(b)])
    reference = _Reference(Selection(patterns or ("*",), a.model.module), frozenset(kinds))
    resolver = axes_for(a, image_a, layout)
    if reference.needs_operations:
        resolver.prepare()
    put_back = _keep_state(a.model.module) if a is b else None
    with _same_random_numbers():
        run(a, image_a, reference.watch, operations=reference.needs_operations, paths=reference.selection.paths)
    reference.drop_unwanted()
    for layer in reference.order:  # now, because it may run the network
        resolver.of(layer, reference.outputs[layer.name].shape)
    drawing = _Drawing(Selection([draw], b.model.module) if draw is not None else None) if keep_maps else None
    other = _Other(
        Selection(patterns or ("*",), b.model.module),
        frozenset(kinds),
        reference,
        threshold,
        resolver,
        drawing,
    )
    if put_back is not None:
        put_back()
    with _same_random_numbers():
        run(b, image_b, other.watch, operations=other.needs_operations, paths=other.selection.paths)
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
        a=_side(a, image_a),
        b=_side(b, image_b),
        threshold=threshold,
        layers=tuple(found),
        only_a=tuple(name for name in names_a if name not in set(names_b)),
        only_b=tuple(name for name in names_b if name not in set(names_a)),
        unlike_shapes=unlike,
        pictures=(image_a.pixels, image_b.pixels),
        pair=drawing.chosen() if drawing is not None else None,
        inputs=(inputs := _input_difference(image_a, image_b)),
        fed_alike=inputs is not None and inputs.relative_l2 == 0,
    )


def _input_difference(a: ImageInput, b: ImageInput) -> Difference | None:
    """How far apart what both networks are fed is; None where it has another shape on either side."""
    if [each.shape for each in (a.tensor, *a.more)] != [each.shape for each in (b.tensor, *b.more)]:
        return None
    # Several inputs may be of different shapes, and of indices.
    fed_a, fed_b = (torch.cat([part.flatten().float() for part in (each.tensor, *each.more)]) for each in (a, b))
    return differ(fed_a, fed_b)


@contextmanager
def _same_random_numbers() -> Iterator[None]:
    before = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            random.seed(0)
            np.random.seed(0)
            yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])


def _keep_state(module: nn.Module) -> Callable[[], None]:
    """Copies all parameters and buffers; what is returned puts them back in place."""
    places: list[tuple[Any, dict[str, Tensor | None]]] = [
        (held, dict(held.items())) for each in module.modules() for held in (each._parameters, each._buffers)
    ]
    tensors = {id(each): each for _, kept in places for each in kept.values() if each is not None}
    copies = [(each, each.detach().clone()) for each in tensors.values() if not nn.parameter.is_lazy(each)]

    def put_back() -> None:
        for held, kept in places:
            now = dict(held.items())
            for name in now.keys() - kept.keys():
                del held[name]
            for name, each in kept.items():
                if name not in now or now[name] is not each:
                    held[name] = each
        with torch.no_grad():
            for each, copy in copies:
                each.detach().copy_(copy)

    return put_back


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


@dataclass(slots=True)
class _Reference:
    """What A's pass leaves: the outputs wanted, by name, until they are used."""

    selection: Selection
    kinds: frozenset[str]
    order: list[LayerRef] = field(default_factory=list)
    outputs: dict[str, Tensor] = field(default_factory=dict)
    same_as: dict[str, str] = field(default_factory=dict)
    dtypes: dict[str, str] = field(default_factory=dict)
    tensors: SameTensors = field(default_factory=SameTensors)

    @property
    def needs_operations(self) -> bool:
        return self.selection.needs_operations

    def watch(self, layer: LayerRef) -> Sink | None:
        def sink(output: Tensor) -> None:
            if not self.selection.offer(layer, output.shape) or (self.kinds and layer.kind not in self.kinds):
                return
            if layer.name in self.dtypes:  # one of each name
                return
            earlier = self.tensors.earlier(output, layer.name)
            if earlier in self.outputs:
                self.same_as[layer.name] = earlier
                self.outputs[layer.name] = self.outputs[earlier]
            else:
                self.outputs[layer.name] = real_numbers(output).clone()
            self.order.append(layer)
            self.dtypes[layer.name] = dtype_name(output.dtype)
            if "last" in self.selection.patterns:  # what was last for a while drops out
                self.drop_unwanted()

        return sink

    def drop_unwanted(self) -> None:
        wanted = self.selection.wanted()
        self.order = [layer for layer in self.order if layer.name in wanted]
        for name in self.outputs.keys() - wanted:
            del self.outputs[name]


@dataclass(slots=True)
class _Other:
    """B's pass: each output is compared with A's as it comes, and A's is let go."""

    selection: Selection
    kinds: frozenset[str]
    reference: _Reference
    threshold: float
    resolver: AxesResolver
    drawing: _Drawing | None
    order: list[LayerRef] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    found: dict[str, ComparedLayer] = field(default_factory=dict)
    unlike_shapes: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    tensors: SameTensors = field(default_factory=SameTensors)

    @property
    def needs_operations(self) -> bool:
        return self.selection.needs_operations

    def watch(self, layer: LayerRef) -> Sink | None:
        def sink(output: Tensor) -> None:
            if not self.selection.offer(layer, output.shape) or (self.kinds and layer.kind not in self.kinds):
                return
            if layer.name in self.names:
                return
            self.names.add(layer.name)
            self.order.append(layer)
            earlier = self.tensors.earlier(output, layer.name)
            kept = self.reference.outputs.pop(layer.name, None)
            if kept is None:
                return
            same = earlier if self.reference.same_as.get(layer.name) == earlier and earlier in self.found else None
            self._compare(layer, kept, output, same)

        return sink

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


@dataclass(slots=True)
class _Drawing:
    """Keeps the maps of the layer to draw while the pass goes on: the one asked for, the first over, the farthest."""

    asked: Selection | None
    _first: DrawnPair | None = None
    _farthest: DrawnPair | None = None
    _asked: DrawnPair | None = None
    _most: float = 0.0
    _other_input: bool = False
    _why_not: str = "is not among the layers compared"

    def offer(self, compared: ComparedLayer, a: Tensor, b: Tensor, axes: Axes) -> None:
        difference = compared.difference
        if self.asked is not None:
            picked = self.asked.offer(compared.layer, compared.shape)
            if picked and (self._asked is None or "last" in self.asked.patterns):  # what is last may not stay it
                self._asked = _drawn_pair(compared, a, b, axes) or self._asked
                self._why_not = "has no height and width to draw"
            return
        if compared.layer.kind == "input":  # the pictures stand beside it
            self._other_input |= compared.over
            return
        # Where the input differs all that follows does: the first convolution is what anybody can read.
        over = self._first is None and compared.over and (not self._other_input or compared.layer.kind == "conv")
        if over or difference.relative_l2 > self._most:
            pair = _drawn_pair(compared, a, b, axes)
            if pair is None:
                return
            self._first = pair if over else self._first
            if difference.relative_l2 > self._most:
                self._farthest, self._most = pair, difference.relative_l2

    def chosen(self) -> DrawnPair | None:
        """Raises LayerError where the layer asked for cannot be drawn."""
        if self.asked is None:
            return self._first or self._farthest
        if self._asked is None:
            raise LayerError(
                f"--draw {self.asked.patterns[0]} {self._why_not}.",
                hint="Name a map that has the same shape on both sides.",
            )
        return self._asked


def _drawn_pair(compared: ComparedLayer, a: Tensor, b: Tensor, axes: Axes) -> DrawnPair | None:
    """The channels that differ most, those of a clip in its middle frame; None for what is no map."""
    maps_a, maps_b = channel_maps(a, axes), channel_maps(b, axes)  # [C, T, H, W]
    difference: Difference = compared.difference
    count, frames, height, width = maps_a.shape
    if count != len(difference.channels) or not axes.spatial or height * width < 2:
        return None
    strongest = torch.from_numpy(difference.channels).argsort(descending=True, stable=True)[:DRAWN_CHANNELS]
    drawn = tuple(sorted(strongest.tolist(), key=lambda channel: -difference.channels[channel]))
    a_maps, b_maps = (
        maps[list(drawn), frames // 2].to(torch.float32, copy=True).numpy() for maps in (maps_a, maps_b)
    )  # [N, H, W]
    notes = [f"frame {frames // 2 + 1} of {frames}"] if frames > 1 else []
    if "B" in axes.names and compared.shape[axes.names.index("B")] > 1:
        notes.append(f"the first of {compared.shape[axes.names.index('B')]} items")
    return DrawnPair(compared.layer, compared.shape, drawn, count, a_maps, b_maps, ", ".join(notes))


# -- saved runs --------------------------------------------------------------------------------------------------


def compare_runs(
    a: Run,
    b: Run,
    names: tuple[str, str],
    patterns: Sequence[str] = (),
    *,
    kinds: Sequence[str] = (),
    threshold: float | None = None,
    say: Say = lambda _: None,
) -> Comparison:
    """How far two saved runs' statistics are apart, layer by layer; `names` is what to call them.

    `patterns` are names of layers or globs. Runs of two models are compared where all their layers have the same names
    and numbers of channels. Raises FmapError where they have not, and LayerError where nothing is left to compare.
    """
    if a.origin.input != b.origin.input:
        say(f"the two runs prepared their images differently: {a.origin.input}; and {b.origin.input}.")
    layers_a, layers_b = ({each.layer.name: each for each in side.layers} for side in (a, b))
    unlike = [
        (name, layers_a[name].shape, layers_b[name].shape)
        for name in layers_a
        if name in layers_b and _channel_count(layers_a[name]) != _channel_count(layers_b[name])
    ]
    if a.origin.model != b.origin.model and (unlike or layers_a.keys() != layers_b.keys()):
        raise FmapError(
            f"{names[0]} is a run of {a.origin.model} and {names[1]} of {b.origin.model}:"
            " their layers differ in names or channels.",
            hint="Compare runs of one architecture.",
        )
    wanted = pick_names({each.layer.name: each.layer.kind for each in (*b.layers, *a.layers)}, patterns, kinds)
    if threshold is None:
        threshold = default_threshold([a.origin.dtype, b.origin.dtype])
    odd = {name for name, *_ in unlike}
    found: dict[str, ComparedRecord] = {}
    for name, first in layers_a.items():
        if name not in wanted or name not in layers_b or name in odd:
            continue
        second = layers_b[name]
        difference = differ_runs(first, second)
        over = difference.relative_l2 > threshold
        same = first.same_as if first.same_as == second.same_as and first.same_as in found else None
        images = first.images, second.images
        found[name] = ComparedRecord(first.layer, images, difference, over, (first, second), same)
    shapes = tuple(each for each in unlike if each[0] in wanted)
    if not found and not shapes:
        raise LayerError(f"nothing to compare: {names[0]} and {names[1]} have no layer of the same name among these.")
    fed = [name for name, each in layers_a.items() if each.layer.kind == "input" and name in layers_b.keys() - odd]
    return Comparison(
        inputs=differ_runs(layers_a[fed[0]], layers_b[fed[0]]) if fed else None,
        fed_alike=a.origin.input == b.origin.input,
        a=_run_side(a, names[0]),
        b=_run_side(b, names[1]),
        threshold=threshold,
        layers=tuple(found.values()),
        only_a=tuple(name for name in layers_a if name in wanted and name not in layers_b),
        only_b=tuple(name for name in layers_b if name in wanted and name not in layers_a),
        unlike_shapes=shapes,
    )


def _channel_count(record: Any) -> int:
    return len(record.channels.mean)


def _run_side(side: Run, name: str) -> Side:
    return Side(name, side.origin, images=side.images)
