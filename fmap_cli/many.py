"""Many images through one session, in batches: to a classifier's answers, or to one vector each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .answers import plain, predictions
from .axes import defines_axes
from .capture import Sink
from .embed import Pooling, is_vector, nearest, norms, pool
from .errors import FmapError, ImageError, LayerError, ModelError
from .layers import Selection
from .records import Answers, Axes, Embeddings, ImageInput, LayerRef
from .session import Session, axes_of, groups, measure_axes, once, read_image, run, source_name

Say = Callable[[str], None]
Failures = list[tuple[str, FmapError]]
"""The images that gave no result, by name, each with the reason."""

_NEAR = 1e-3
"""Such a share of its largest value may a classifier's answer differ between two runs on the same numbers."""
_REMEMBERED = 24
"""How many outputs before a classifier its input is looked for among."""


def batches(
    session: Session,
    sources: Sequence[str | Sequence[str] | None],
    size: int,
    say: Say,
    failures: Failures,
    layout: str | None = None,
) -> Iterator[list[ImageInput]]:
    """The images in their order, in batches of up to `size` that have the same height and width.

    `sources` are `session.groups`' own. An image that cannot be read goes to `failures`. What is said is said once.
    """
    say = once(say)
    batch: list[ImageInput] = []
    for source in sources:
        try:
            image = read_image(session, source, say, layout)
        except ImageError as error:
            failures.append((source_name(source), error))
            continue
        if batch and (len(batch) == size or image.tensor.shape != batch[0].tensor.shape):
            yield batch
            batch = []
        batch.append(image)
    if batch:
        yield batch


# -- answers -----------------------------------------------------------------------------------------------------


def classify(
    session: Session, arguments: Sequence[str], top: int, size: int, say: Say, layout: str | None = None
) -> tuple[list[Answers], Failures]:
    """The `top` likeliest classes of each image, in batches of `size`; and the images that gave none.

    Raises ModelError where the model is no classifier, and ImageError where the arguments name no images.
    """
    if session.model.input_kind in ("images", "image_pair"):
        raise _no_classifier(session, None)
    found: list[Answers] = []
    failures: Failures = []
    for batch in batches(session, groups(session, arguments), size, say, failures, layout):
        output = run(session, batch, lambda layer: None, operations=False, paths=frozenset())
        if not isinstance(output, Tensor) or output.ndim != 2 or output.shape[1] < 2:
            raise _no_classifier(session, output)
        _check_rows(f"{session.model.name} puts out", len(output), len(batch))
        labels = session.model.labels
        if labels is not None and len(labels) != output.shape[1]:
            labels = None
        for image, scores in zip(batch, output, strict=True):
            answers = predictions(scores[None], labels, top)
            if answers:
                found.append(Answers(image.name, answers))
            else:
                reason = ModelError(f"{session.model.name} puts out scores that are not finite for {image.name}.")
                failures.append((image.name, reason))
    return found, failures


def _check_rows(what: str, rows: int, images: int) -> None:
    if rows != images:
        raise ModelError(
            f"{what} {rows} row{'s' * (rows != 1)} for {images} image{'s' * (images != 1)}: expected one each.",
            hint="If the network takes one image at a time, give --batch 1." if images > 1 else None,
        )


def _no_classifier(session: Session, output: Any) -> ModelError:
    """What such a model puts out instead of a score for each class, and how to see it."""
    name = session.model.name
    show = f"`fmap show IMAGE --model {name}"
    if session.model.input_kind == "images":
        return ModelError(
            f"{name} is no classifier: it detects objects, boxes with a class and a score each.",
            hint=f"{show}` draws them on the picture.",
        )
    if session.model.input_kind == "image_pair":
        return ModelError(
            f"{name} is no classifier: it puts out how each pixel moves from one picture to the next.",
            hint=f"`fmap show FIRST SECOND --model {name} --layer last` draws maps of it.",
        )
    if isinstance(output, dict):
        maps = [(key, each) for key, each in output.items() if isinstance(each, Tensor)]
        listed = ", ".join(f"{key} {list(each.shape)}" for key, each in maps) or "a dict without tensors"
        segments = any(each.ndim == 4 for _, each in maps)
        what = f"{listed}, a map of scores for each class" if segments else listed
        layer = maps[0][0] if maps else "last"
    elif isinstance(output, Tensor):
        single = output.ndim == 2 and output.shape[1] == 1
        what, layer = f"{list(output.shape)}{', a single number an image' if single else ''}", "last"
    else:
        what, layer = f"a {type(output).__name__}", "last"
    return ModelError(
        f"{name} is no classifier: it puts out {what}; expected [B, K] scores of K ≥ 2 classes.",
        hint=f"{show} --layer {layer}` draws it; `fmap layers {name}` lists its layers.",
    )


# -- embeddings --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Place:
    """The layer that gives the vectors: its output for one image, what its axes are and how it is pooled.

    `enters` is the classifier whose input the layer is, where that is why it was chosen. `pooling` is `none` for a
    layer that is a vector already.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    pooling: Pooling
    enters: str | None = None


def embed(
    session: Session,
    arguments: Sequence[str],
    pattern: str | None,
    pooling: Pooling | None,
    size: int,
    say: Say,
    *,
    layout: str | None = None,
    similar: int | None = None,
) -> tuple[Embeddings | None, Failures]:
    """One vector for each image out of one layer, in batches of `size`; and the images that gave none.

    `pattern` None is `find_place`'s choice. `similar` also finds each image's so many nearest neighbours. What is held
    is the vectors and one batch. None where no image gave a vector.

    Raises LayerError for a layer that cannot be had as vectors, and what `session.groups` and `session.run` raise.
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
    for batch in batches(session, sources, size, say, failures, layout):
        if place is None:
            place = find_place(session, batch[0], pattern, pooling)
            if pooling not in (None, place.pooling):
                say(f"layer {place.layer.name} is a vector already: --pool {pooling} changes nothing.")
        rows = _vectors(session, batch, place)
        if not names:
            vectors = np.empty((len(sources), rows.shape[1]), rows.dtype)
        if rows.shape[1] != vectors.shape[1]:
            raise LayerError(
                f"layer {place.layer.name!r} gives {rows.shape[1]} values for {batch[0].name}"
                f" and {vectors.shape[1]} for {names[0]}: vectors of one length are needed.",
                hint="Pool with --pool avg, or bring the images to one size with --size H,W.",
            )
        vectors[len(names) : len(names) + len(rows)] = rows
        names += [image.name for image in batch]
    if place is None:
        return None, failures
    vectors = vectors[: len(names)]
    neighbours = None if similar is None else tuple(tuple(row) for row in nearest(vectors, similar))
    return (
        Embeddings(
            model=session.model.name,
            weights=session.model.weights,
            layer=place.layer.name,
            enters=place.enters,
            shape=place.shape,
            pooling=place.pooling,
            images=tuple(names),
            vectors=vectors,
            norms=norms(vectors),
            neighbours=neighbours,
        ),
        failures,
    )


def _vectors(session: Session, batch: Sequence[ImageInput], place: Place) -> np.ndarray:
    """The layer's output for these images as `[B, D]`."""
    found: list[Tensor] = []

    def watch(layer: LayerRef) -> Sink | None:
        return (lambda output: found.append(_pooled(output, place))) if layer.name == place.layer.name else None

    alone = place.layer.is_module and place.layer.call == 0
    paths = frozenset([place.layer.path]) if alone else None
    run(session, batch, watch, operations=not alone, paths=paths)
    if not found:
        raise LayerError(f"layer {place.layer.name!r} did not run for {batch[0].name}, and did for the image before.")
    _check_rows(f"layer {place.layer.name!r} puts out", len(found[0]), len(batch))
    return found[0].numpy()


def _pooled(output: Tensor, place: Place) -> Tensor:
    try:
        return pool(output, place.axes, place.pooling)
    except LayerError as error:
        raise LayerError(f"layer {place.layer.name!r} gives no vector: {error.message}", hint=error.hint) from None


def find_place(session: Session, image: ImageInput, pattern: str | None, pooling: Pooling | None) -> Place:
    """The layer that `pattern` names; with none, the one that the classifier reads. One pass over one image.

    The classifier is the last linear layer in execution order, or a last 1 × 1 convolution whose channels are the
    classes (SqueezeNet). The layer before it is told by its values: the first whose output, given to the classifier,
    gives the classifier's output. Where a pooling is asked for there is nothing to pool in a vector: then it is the
    last map before the classifier, or for `cls` the last tokens with a class token.

    Raises LayerError where there is no such layer, or the pattern picks several.
    """
    if pattern is not None:
        return _named_place(session, image, pattern, pooling)
    survey = _survey(session, image)
    if pooling is not None:
        return _last_map(session, image, survey, pooling)
    layer, shape = _before_classifier(session, survey)
    axes = _axes(session, image, layer, shape)
    if shape[0] != 1:
        raise _no_layer(session, f"{layer.name}, before its last linear layer, has {shape[0]} rows for one image")
    return Place(layer, shape, axes, "none" if is_vector(axes) else "avg", survey.classifier)


def _named_place(session: Session, image: ImageInput, pattern: str, pooling: Pooling | None) -> Place:
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
    axes = _axes(session, image, layer, shapes[layer.name])
    if is_vector(axes) and pooling != "cls":  # pooling for a class token says that there is none
        pooling = "none"
    return Place(layer, shapes[layer.name], axes, pooling or "avg")


def _axes(session: Session, image: ImageInput, layer: LayerRef, shape: tuple[int, ...]) -> Axes:
    """The layer's axes; measured only where neither its class nor its two axes say them."""
    modules = dict(session.model.module.named_modules())
    plain_enough = len(shape) <= 2 or (layer.is_module and defines_axes(modules.get(layer.path)))
    return axes_of(layer, shape, modules, None if plain_enough else measure_axes(session, image))


def _last_map(session: Session, image: ImageInput, survey: _Survey, pooling: Pooling) -> Place:
    """The last layer before the classifier that there is something to pool in."""
    modules = dict(session.model.module.named_modules())
    measurement = measure_axes(session, image)
    for layer, shape in reversed(survey.layers):
        axes = axes_of(layer, shape, modules, measurement)
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


@dataclass(slots=True)
class _Survey:
    """The classifier's path and what it put out for one image; the layers before it with their shapes, in order.

    `before` holds the outputs of the last of them.
    """

    classifier: str
    output: Tensor
    layers: list[tuple[LayerRef, tuple[int, ...]]]
    before: Sequence[tuple[LayerRef, Tensor]]


def _survey(session: Session, image: ImageInput) -> _Survey:
    """Run the network over one image and find its classifier. Raises LayerError where there is none."""
    if session.model.input_kind == "images":
        raise _no_layer(session, "a detector has no classifier of the whole picture")
    modules = dict(session.model.module.named_modules())
    seen: list[tuple[LayerRef, tuple[int, ...]]] = []
    recent: deque[tuple[LayerRef, Tensor]] = deque(maxlen=_REMEMBERED)
    found: _Survey | None = None
    convolution = False

    def watch(layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            nonlocal found, convolution
            copied = output.detach().clone()
            if layer.is_module and layer.kind in ("linear", "conv"):
                # A later convolution shows that what was linear before it (squeeze and excitation) is no classifier.
                convolution = layer.kind == "conv"
                if convolution and prod(getattr(modules.get(layer.path), "kernel_size", (0,))) != 1:
                    found = None
                else:
                    found = _Survey(layer.path, copied, list(seen), list(recent))
            seen.append((layer, tuple(output.shape)))
            recent.append((layer, copied))

        return sink

    answer = run(session, image, watch)
    if found is None or (convolution and not _scores(answer, found.output)):
        raise _no_layer(session, "it has no classifier (a last linear layer, or a 1 × 1 convolution to the classes)")
    return found


def _scores(answer: Any, output: Tensor) -> bool:
    """Whether the network's answer is one score for each channel of this output."""
    return isinstance(answer, Tensor) and answer.ndim == 2 and output.ndim > 1 and answer.shape[1] == output.shape[1]


def _before_classifier(session: Session, survey: _Survey) -> tuple[LayerRef, tuple[int, ...]]:
    """The layer whose output the classifier reads, and that output's shape."""
    module = session.model.module.get_submodule(survey.classifier)
    far = [_distance(module, candidate, survey.output) for _, candidate in survey.before]
    least = min(far, default=inf)
    if least > _NEAR:
        raise _no_layer(session, f"what enters {survey.classifier} is no layer's output")
    layer, candidate = survey.before[far.index(least)]
    return layer, tuple(candidate.shape)


def _distance(module: nn.Module, candidate: Tensor, output: Tensor) -> float:
    """How far from `output` the module's answer to this tensor is, as a share of the largest value."""
    result: Any = None
    with torch.no_grad(), suppress(Exception):  # most candidates have another shape
        result = module(candidate)
    if not isinstance(result, Tensor) or result.shape != output.shape or result.dtype != output.dtype:
        return inf
    found, expected = (plain(each).double().nan_to_num() for each in (result, output))
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-300))


def _no_layer(session: Session, reason: str) -> LayerError:
    name = session.model.name
    return LayerError(
        f"{name} gives no embedding by itself: {reason}.",
        hint=f"Name a layer: --layer last is its last map; `fmap layers {name}` lists all.",
    )
