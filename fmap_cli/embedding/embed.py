"""One vector an image out of one layer, over many images; which layer that is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..answers.heads import Candidate, Recorder, classifiers, likely_classifier, read_by, scores_in
from ..answers.reading import class_scores, embedding_in, tensors
from ..errors import ImageError, ImagesFailedError, LayerError, ModelError
from ..inputs.records import ImageInput
from ..network.axes import axes_by_rank
from ..network.capture import Sink, watching
from ..network.records import Axes, LayerRef
from ..network.selection import Selection
from ..session.axes import axes_for
from ..session.batches import Failures, Say, batches, check_rows
from ..session.opening import Session, groups
from ..session.passes import run
from .records import Embeddings
from .vectors import Pooling, is_vector, nearest, norms, pool


@dataclass(frozen=True, slots=True)
class Place:
    """The layer that gives the vectors: its output for one image, what its axes are and how it is pooled.

    `enters` is the classifier whose input the layer is, where that is why it was chosen. `pooling` is `none` for a
    layer that is a vector already. Where `is_answer`, the vectors are taken from what the network returns, and the
    layer's name says which layer that is, or that it is none's. `more` are further layers whose vectors come after this
    one's. `note` is what the user should know of the choice.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    pooling: Pooling
    enters: str | None = None
    is_answer: bool = False
    more: tuple[Place, ...] = ()
    note: str | None = None

    @property
    def name(self) -> str:
        return " + ".join(dict.fromkeys(each.layer.name for each in (self, *self.more)))

    @property
    def entered(self) -> str | None:
        """The classifiers that read these layers."""
        return " + ".join(filter(None, (each.enters for each in (self, *self.more)))) or None

    @property
    def watched(self) -> dict[str, Any]:
        """What of a pass has to be looked at for these layers."""
        layers = [each.layer for each in (self, *self.more)]
        if self.is_answer:
            return {"operations": False, "paths": frozenset()}
        alone = all(each.is_module and each.call == 0 for each in layers)
        return {"operations": not alone, "paths": frozenset(each.path for each in layers) if alone else None}


def embed(
    session: Session,
    arguments: Sequence[str],
    pattern: str | None,
    pooling: Pooling | None,
    size: int,
    say: Say,
    *,
    layout: str | None = None,
    of_outputs: str | None = None,
    similar: int | None = None,
    advanced: Callable[..., None] = lambda done, total, failed=0: None,
) -> Embeddings:
    """One vector for each image out of one layer, in batches of `size`; and the images that gave none.

    `pattern` None is `find_place`'s choice. `layout` is of arrays, `of_outputs` of the layer's output.
    `similar` also finds each image's so many nearest neighbours. What is held is the vectors and one batch.

    Raises LayerError for a layer that cannot be had as vectors, what `session.groups` and `session.run` raise, and
    where no image gave a vector the reason, or ImagesFailedError for several.
    """
    sources = groups(session, arguments)
    if similar is not None and len(sources) < 2:
        raise ImageError(
            "--similar compares images, and there is one.", hint="Name several images, or a folder with several."
        )
    if session.model.input_kind == "images":
        size = 1  # a detector pads a batch to its largest image
    failures: Failures = []
    names: list[str] = []
    vectors = np.empty((0, 0))
    place: Place | None = None
    origin = session.origin
    with ExitStack() as hooks:  # they stay in the network from batch to batch
        for batch in batches(session, sources, size, say, failures, layout, advanced):
            if place is None:
                origin = session.origin_of(*batch)
                place = find_place(session, batch[0], pattern, pooling, of_outputs)
                if place.note is not None:
                    say(place.note)
                if pooling not in (None, place.pooling):
                    say(f"layer {place.name} is a vector already: --pool {pooling} changes nothing.")
                through = hooks.enter_context(watching(session.model.module, **place.watched))
            rows = _vectors(session, batch, place, through)
            if not names:
                vectors = np.empty((len(sources), rows.shape[1]), rows.dtype)
            if rows.shape[1] != vectors.shape[1]:
                raise LayerError(
                    f"layer {place.name!r} gives {rows.shape[1]} values for {batch[0].name}"
                    f" and {vectors.shape[1]} for {names[0]}: vectors of one length are needed.",
                    hint="Pool with --pool avg, or bring the images to one size with --size H,W.",
                )
            vectors[len(names) : len(names) + len(rows)] = rows
            names += [image.name for image in batch]
    if place is None:
        raise failures[0][1] if len(failures) == 1 else ImagesFailedError(failures)
    vectors = vectors[: len(names)]
    neighbours = None if similar is None else tuple(tuple(row) for row in nearest(vectors, similar))
    return Embeddings(
        origin=origin,
        layer=place.name,
        enters=place.entered,
        shape=(1, vectors.shape[1]) if place.more else place.shape,
        pooling=place.pooling,
        images=tuple(names),
        vectors=vectors,
        norms=norms(vectors),
        neighbours=neighbours,
        axes=place.axes,
        failures=tuple(failures),
    )


def _vectors(session: Session, batch: Sequence[ImageInput], place: Place, through: Callable[..., Any]) -> np.ndarray:
    """The layer's output for these images as `[B, D]`; of several layers, one after the other.

    `through` is the pass that looks at what of it is `watched` (`capture.watching`).
    """
    if place.is_answer:
        output = run(session, batch, lambda layer: None, through=through)
        named = embedding_in(output)
        if named is None:
            raise ModelError(f"{session.model.name} gives nothing for {batch[0].name}, and did for the image before.")
        found = {place.layer.name: _pooled(named[1], place)}
    else:
        found = _captured(session, batch, place, through)
    parts = []
    for each in (place, *place.more):
        name = each.layer.name
        if name not in found:
            raise LayerError(f"layer {name!r} did not run for {batch[0].name}, and did for the image before.")
        check_rows(f"layer {name!r} gives", len(found[name]), len(batch))
        parts.append(found[name])
    return torch.cat(parts, dim=1).numpy()


def _captured(
    session: Session, batch: Sequence[ImageInput], place: Place, through: Callable[..., Any]
) -> dict[str, Tensor]:
    """The vectors of the place's layers, by the layer's name."""
    places = {each.layer.name: each for each in (place, *place.more)}
    found: dict[str, Tensor] = {}

    def watch(layer: LayerRef) -> Sink | None:
        if layer.name not in places:
            return None
        return lambda output: found.update({layer.name: _pooled(output, places[layer.name])})

    run(session, batch, watch, through=through)
    return found


def _pooled(output: Tensor, place: Place) -> Tensor:
    try:
        return pool(output, place.axes, place.pooling)
    except LayerError as error:
        raise LayerError(f"layer {place.layer.name!r} gives no vector: {error.message}", hint=error.hint) from None


def find_place(
    session: Session, image: ImageInput, pattern: str | None, pooling: Pooling | None, layout: str | None = None
) -> Place:
    """The layer that `pattern` names; with none, what the network's classifier reads. One pass over one image.

    A classifier is a linear layer, or a convolution to one value a class, whose output is the network's answer
    (`heads.classifiers`). The layer before it is told by its values: the first whose output, given to the classifier,
    gives the classifier's output. Of an answer that several classifiers have made, what each of them reads. Where there
    is no classifier, the network's answer is the embedding. Where a pooling is asked for there is nothing to pool in a
    vector: then it is the last map before the classifier, or for `cls` the last tokens with a class token.

    Raises LayerError where there is no such layer, or the pattern picks several.
    """
    if pattern is not None:
        return _named_place(session, image, pattern, pooling, layout)
    if layout is not None:
        raise LayerError(
            f"--layout {layout} names the axes of a layer's output: say of which.", hint="Add --layer NAME."
        )
    if session.model.input_kind == "images":
        raise _no_layer(session, "a detector has no classifier of the whole picture")
    if session.model.input_kind == "image_pair":
        raise _no_layer(session, "it has no classifier of one picture")
    recorder = Recorder(session.model.module)
    answer = run(session, image, recorder.watch)
    found = _classifiers_of(session, image, recorder, answer)
    doubt = None
    if not found and session.model.labels:
        likely = likely_classifier(recorder, len(session.model.labels))
        if likely is not None:
            found = [likely]
            doubt = (
                f"{likely.path} is taken for the classifier of {session.model.name}, since it has one output for each"
                f" of the {len(session.model.labels)} classes; the answer is more than its output."
            )
    if pooling is not None:
        before = recorder.layers[: min(each.position for each in found)] if found else recorder.layers
        return _last_map(session, image, before, pooling)
    if not found:
        return _answer_place(session, image, recorder, answer)
    places = []
    for each in found:
        read = read_by(recorder, each)
        if read is None:
            raise _no_layer(session, f"what enters {each.path} is not a layer's output")
        layer, output = read
        if output.shape[0] != 1:
            raise _no_layer(
                session, f"{layer.name}, before its last linear layer, has {output.shape[0]} rows for one image"
            )
        axes = axes_for(session, image).of(layer, output.shape)
        places.append(Place(layer, tuple(output.shape), axes, "none" if is_vector(axes) else "avg", each.path))
    last = {place.layer.name: place for place in places}  # of several that read one layer the last
    first, *more = last.values()
    if not more:
        return replace(first, note=doubt)
    both = replace(first, more=tuple(more))
    note = (
        f"{session.model.name} has {len(last)} classifiers that read different layers: the vectors are what each of"
        f" them reads, one after the other ({both.name}); --layer {first.layer.name} takes one alone."
    )
    return replace(both, note=note)


def _classifiers_of(session: Session, image: ImageInput, recorder: Recorder, answer: Any) -> list[Candidate]:
    """The classifiers that made the answer, in the order they ran; none where its answer is known to be features."""

    def scores_of(answer: Any) -> list[Tensor]:
        scores = class_scores(answer, session.model.labels)
        if scores is None and session.model.labels != ():
            return scores_in(tensors(answer))
        return [] if scores is None else [scores]

    found = {}
    for at, scores in enumerate(scores_of(answer)):

        def again(watch: Callable[[LayerRef], Sink | None], at: int = at) -> Tensor | None:
            return next(iter(scores_of(run(session, image, watch))[at:]), None)

        found.update({each.position: each for each in classifiers(recorder, scores, again)})
    return [found[position] for position in sorted(found)]


def _answer_place(session: Session, image: ImageInput, recorder: Recorder, answer: Any) -> Place:
    """The network's answer as the embedding: a vector as it is, of tokens the class token or their mean, of a map its
    mean over all places."""
    name = session.model.name
    labels = session.model.labels
    held = tensors(answer)
    if labels and any(each.ndim == 4 and each.shape[1] == len(labels) for each in held.values()):
        raise _no_layer(session, "it has no classifier of the whole picture, but one of each pixel")
    named = embedding_in(answer)
    if named is None:
        raise _no_layer(session, "it has no classifier, and its answer holds no tensor")
    key, output = named
    shape = tuple(output.shape)
    layer = recorder.layer_that_is(output)
    if layer is None:
        axes = axes_by_rank(shape)
        layer = LayerRef("answer", "", 0, "output", "output")
    else:
        axes = axes_for(session, image).of(layer, shape)
    if not _is_per_image(axes, shape):
        raise _no_layer(
            session, f"it has no classifier, and its answer, {list(shape)}, is not a vector or map of one image"
        )
    pooling: Pooling = "none" if is_vector(axes) else "cls" if "N" in axes.names and axes.prefix else "avg"
    whole = "; what its axes mean is not known, so all its values are taken" if sum(n > 1 for n in shape) > 1 else ""
    how = {
        "none": whole,
        "cls": "; of its tokens the class token is taken",
        "avg": "; its mean over all places is taken",
    }
    which = f"{key}, {list(shape)}, of its answer" if len(held) > 1 else f"the answer, {list(shape)},"
    note = f"{name} has no classifier (no last linear layer makes its answer): {which} is the embedding{how[pooling]}."
    return Place(layer, shape, axes, pooling, is_answer=True, note=note)


def _named_place(
    session: Session, image: ImageInput, pattern: str, pooling: Pooling | None, layout: str | None
) -> Place:
    selection = Selection([pattern], session.model.module)
    shapes: dict[str, tuple[int, ...]] = {}

    def watch(layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            shapes[layer.name] = tuple(output.shape)
            selection.offer(layer, output.shape)

        return sink

    run(session, image, watch, operations=selection.needs_operations, paths=selection.paths)
    chosen = [layer for layer, _ in selection.chosen()]
    if len(chosen) > 1:
        listed = ", ".join(layer.name for layer in chosen[:3]) + (", …" if len(chosen) > 3 else "")
        raise LayerError(
            f"--layer {pattern} picks {len(chosen)} layers ({listed}); an embedding comes out of one.",
            hint=f"Name one of them: --layer {chosen[-1].name}",
        )
    layer = chosen[0]
    axes = axes_for(session, image, layout).of(layer, shapes[layer.name])
    if is_vector(axes) and pooling != "cls":  # pooling for a class token says that there is none
        pooling = "none"
    return Place(layer, shapes[layer.name], axes, pooling or "avg")


def _last_map(
    session: Session, image: ImageInput, layers: Sequence[tuple[LayerRef, tuple[int, ...]]], pooling: Pooling
) -> Place:
    """The last of the layers, which are those before the classifier, that there is something to pool in."""
    resolver = axes_for(session, image)
    for layer, shape in reversed(layers):
        axes = resolver.of(layer, shape)
        token = axes.prefix > 0 and "N" in axes.names
        if _is_per_image(axes, shape) and (token if pooling == "cls" else _has_places(axes, shape)):
            return Place(layer, shape, axes, pooling)
    wanted = "class token" if pooling == "cls" else "map"
    raise _no_layer(session, f"none of its layers before the classifier has a {wanted} to pool")


def _is_per_image(axes: Axes, shape: Sequence[int]) -> bool:
    """Whether an output for one image has one item, and several channels."""
    lengths = {name: prod(n for each, n in zip(axes.names, shape, strict=True) if each == name) for name in axes.names}
    return axes.names.count("B") == 1 and lengths["B"] == 1 and lengths.get("C", 0) > 1


def _has_places(axes: Axes, shape: Sequence[int]) -> bool:
    """Whether an output is a map of more than one cell, or tokens."""
    if axes.names.count("N") == 1:
        return shape[axes.names.index("N")] > 1
    return "H" in axes.names and prod(n for name, n in zip(axes.names, shape, strict=True) if name in "THW") > 1


def _no_layer(session: Session, reason: str) -> LayerError:
    name = session.model.name
    return LayerError(
        f"{name} gives no embedding by itself: {reason}.",
        hint=f"Name a layer: --layer last is its last map; `fmap layers {name}` lists all.",
    )
