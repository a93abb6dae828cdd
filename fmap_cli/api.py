"""One function a verb: what notebooks, scripts and the commands call.

Every verb takes a model first: a spec (`"resnet18"`, `"timm:convnext_tiny"`, `"net.py:make"`, `"net.pt2"`), a live
`nn.Module`, or what `load_model` returned, which also says weights, device and preprocessing (a `ModelRequest` says
them, too: it is opened as the verb needs it). Images are paths, folders and patterns, Pillow images, NumPy arrays or
tensors; without any, a bundled photo is taken. Names, defaults and numbers are the commands'. What the user should know
(preprocessing that is assumed, a picture that had to be turned) is printed on standard error, as the commands do; `say`
takes it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from .arguments import (
    Advanced,
    Say,
    among,
    architecture,
    device_of,
    dtype_of,
    is_session,
    model_in,
    names_of,
    nobody,
    note,
    one_at_a_time,
    opened,
    picture,
    request_of,
    sources_of,
    verb,
)
from .arguments.checks import choice
from .errors import FmapError, ImageError, LayerError, ModelError
from .frameworks import load_torchvision
from .inputs.held import source_of
from .models import DEFAULT_MODEL
from .models.records import ModelRequest
from .reduced.asking import cluster_count, contradiction, unit_place
from .reduced.records import REDUCTIONS, SHARINGS, Asked

if TYPE_CHECKING:
    from torch import nn

    from .answers.records import Predictions
    from .arguments import AnyImage, AnyModel, Images, Names, Size
    from .comparison.records import Comparison
    from .embedding.records import Embeddings
    from .health import Thresholds
    from .layers.records import Listing
    from .maps.looks import Looks
    from .maps.records import Look, Looking
    from .memory.records import Forecast
    from .models.records import LoadedModel, ModelEntry
    from .receptive.records import EffectiveField, FieldListing, UnitView
    from .reduced.records import Reduced, Reduction
    from .running.records import Resumable
    from .running.team import Gone
    from .session.opening import Session
    from .statistics.records import Counting, Finding, Run

NOISE = 16
"""How many inputs of noise an effective field is the mean over, unless told otherwise."""


@verb
def load_model(
    model: str | nn.Module = DEFAULT_MODEL,
    *,
    weights: str | None = None,
    seed: int = 0,
    size: Size | None = None,
    input_shape: Sequence[int] | Sequence[Sequence[int]] = (),
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    value_range: tuple[float, float] | None = None,
    labels: Sequence[str] | Path | None = None,
    device: str | None = None,
    dtype: str | None = None,
    memory_format: Literal["contiguous", "channels_last"] = "contiguous",
    say: Say = note,
) -> Session:
    """A network ready to be looked at: the one that a spec names, or a live module of your own.

    A live module is not copied (unless `device`, `dtype` or `memory_format` ask for another than it has) and stays as
    it is: parameters, hooks, training flags, gradients, device. Trained further, it is looked at as it is by then.

    `weights` is the name of a pretrained set, `random` (drawn from `seed`) or a checkpoint's path. `size` (pixels,
    height before width), `mean` and `std` (one value or one a channel, of pixels in 0..1) replace the model's own
    preprocessing. `input_shape` says what a network takes that does not say so itself, without the batch: `(3, 32,
    32)`, or one shape an input. `value_range` are the numbers in the file that are black and white. `labels`
    names the classes of the answer, one name each, or is the `Path` of a file that does: a class a line, or JSON.
    `device` is `cpu` unless asked, and a live module's own. Raises ModelError, WeightsError and DeviceError.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    >>> model = load_model(net, size=32, mean=0.5, std=0.5, labels=["cat", "dog"])
    >>> model.model.name, model.model.preprocessing.crop
    ('Sequential', (32, 32))
    """
    if not isinstance(model_in(model), str) and weights is not None:
        raise ModelError(
            "weights are for models with a name or a file.", hint="Load your module's own: load_state_dict."
        )
    if size is not None and input_shape:
        raise ModelError("size and input_shape both say how large the input is: give one of them.")
    # The checks have made tuples of what may be given in several forms.
    request = ModelRequest(
        model,
        weights,
        seed,
        size,
        input_shape,  # type: ignore[arg-type]
        mean,  # type: ignore[arg-type]
        std,  # type: ignore[arg-type]
        value_range,
        device_of(model, device),
        dtype_of(dtype),
        memory_format,
        labels,  # type: ignore[arg-type]
    )
    return _named(request, say)


def _named(model: AnyModel, say: Say) -> Session:
    """A session of what a verb was given, whose labels, if it was given any, are as many as the network's classes."""
    session = opened(model, say)
    if isinstance(model, ModelRequest) and model.labels is not None:
        from .answers.classify import check_labels

        check_labels(session)
    return session


@verb
def load_image(image: AnyImage, *, name: str | None = None) -> str:
    """An image as every verb takes it, under a name of your choice, which tables and figures show.

    A Pillow image keeps its pixels and its mode. An array or a tensor is `[H, W]`, `[H, W, C]` or `[C, H, W]` (`layout`
    of the verbs says which, where that is unclear): integers in 0..255, floats in 0..1. Verbs take all these as they
    are, too. Raises ImageError for what is not an image.

    >>> import numpy as np
    >>> load_image(np.zeros((32, 48, 3), np.uint8), name="black")
    'black'
    """
    return source_of(image, name)


# -- the verbs ---------------------------------------------------------------------------------------------------


@overload
def feature_maps(
    model: AnyModel = ...,
    image: Images = ...,
    layer: Names = ...,
    *,
    channels: Sequence[int] | None = ...,
    top: int | None = ...,
    by: Literal["std", "mean", "max", "l2", "effect"] = ...,
    all: bool = ...,
    score: float = ...,
    rf: bool = ...,
    reduce: None = ...,
    similar: None = ...,
    layout: str | None = ...,
    say: Say = ...,
) -> Look: ...
@overload
def feature_maps(
    model: AnyModel = ...,
    image: Images = ...,
    layer: Names = ...,
    *,
    reduce: Reduction,
    clusters: int | None = ...,
    foreground: bool = ...,
    basis: Literal["shared", "layer"] | None = ...,
    layout: str | None = ...,
    say: Say = ...,
) -> Reduced: ...
@overload
def feature_maps(
    model: AnyModel = ...,
    image: Images = ...,
    layer: Names = ...,
    *,
    similar: Sequence[int],
    layout: str | None = ...,
    say: Say = ...,
) -> Reduced: ...
@verb(similar=unit_place, clusters=cluster_count, reduce=choice(None, *REDUCTIONS), basis=choice(None, *SHARINGS))
def feature_maps(
    model: AnyModel = DEFAULT_MODEL,
    image: Images = None,
    layer: Names = (),
    *,
    channels: Sequence[int] | None = None,
    top: int | None = None,
    by: Literal["std", "mean", "max", "l2", "effect"] = "std",
    all: bool = False,
    score: float = 0.5,
    rf: bool = False,
    reduce: Reduction | None = None,
    similar: Sequence[int] | None = None,
    clusters: int | None = None,
    foreground: bool = False,
    basis: Literal["shared", "layer"] | None = None,
    layout: str | None = None,
    say: Say = note,
) -> Look | Reduced:
    """What layers see in one image, as `fmap show` draws it: their maps, numbers and whole outputs, and the answer.

    `model` is a spec, a module or what `load_model` returned. `image` is a path, a Pillow image, an array or a tensor,
    by default a bundled photo; several are one input for networks that take several (optical flow). `layer` is a name,
    a glob (`layer?.0.conv1`), `conv3` (the third convolution), `first` or `last`, or several; without one, the first
    convolution.

    Which channels are in `maps` is said by one of `channels` (their numbers from 0), `top` (so many, those of the
    largest `by`: the standard deviation, the mean, the maximum, the L2 norm, or the
    `effect` on the answer) and `all`; without, up to 64, those of
    the largest `by`. `score` is the least score, from 0 to 1, of a detector's boxes. `rf` finds each drawn channel's
    strongest unit and what it sees, which figures mark. `layout` names the axes of an array (`HWC`, `CHW`, `NHWC`,
    `NCHW`, `HW`) or, beginning with `B`, of the outputs of the layers (`BHWC`). `say` takes the remarks, which are
    otherwise printed on standard error.

    Of the result, `maps` has an entry a layer, in the order they run, with `maps` `[N, T, H, W]` float32 (the channels
    drawn; T is 1 but for clips), `channels` (their statistics, `[C]`) and `stats`; `arrays` the whole outputs by layer
    name, as torch put them out. Raises LayerError, ModelError and ImageError.

    >>> look = feature_maps(layer="conv1", say=lambda _: None)
    >>> look.maps[0].layer.name, look.maps[0].shape, look.predictions[0].label
    ('features.0.0', (1, 32, 112, 112), 'espresso')

    With `reduce` or `similar` each layer is one picture, of all its channels, and the result a `Reduced`; `image` may
    then be several, and without `layer` it is the last map. `reduce` is `pca` (the first three principal components as
    red, green and blue), `kmeans` (`clusters` of like units, 6), or `mean`, `max` or `std` over the channels. `similar`
    is a unit's row and column in the first image (of a clip the frame before): what is reduced to is the cosine of each
    unit to it. Components and clusters are the same in all images, and in all layers of as many channels, or with
    `basis="layer"` each layer has its own; `foreground` finds them in the foreground alone. `maps[i][j]` is image i's
    layer j, with `values` `[K, T, H, W]`; `bases` say what the colours mean.

    >>> reduced = feature_maps(layer="features.5", reduce="pca", say=lambda _: None)
    >>> reduced.maps[0][0].values.shape, reduced.bases[0].components.directions.shape
    ((3, 1, 14, 14), (3, 112))
    """
    if sum([channels is not None, top is not None, all]) > 1:
        raise LayerError("channels, top and all each say which channels are drawn: give one of them.")
    asked = Asked(
        names_of(layer), reduce, None if similar is None else tuple(similar), clusters, foreground, basis, layout
    )
    one_channel = channels is not None or top is not None or all or rf or by != "std" or score != 0.5
    wrong = contradiction(asked, of_channels=one_channel)
    if wrong is not None:
        raise LayerError(wrong)
    if reduce is not None or similar is not None:
        reduced = reduced_layers(model, image, asked, say)
        for _, error in reduced.failures:
            say(str(error))
        return reduced
    from .maps.records import Choice, Looking

    chosen = Choice(None if channels is None else tuple(channels), top, by, all)
    found = looks(model, image, Looking(names_of(layer), chosen, score, layout, strongest=rf), say)
    if len(found) > 1:
        wish = "Call it once for each; with `reduce` it, and `stats`, `predict`, `embed`, `effect` and `report`"
        raise one_at_a_time(len(found), wish)
    (look,) = found
    if isinstance(look, FmapError):
        raise look
    return look


def reduced_layers(model: AnyModel, images: Images, asked: Asked, say: Say = note) -> Reduced:
    """`feature_maps` with a reduction; images that cannot be read are the result's `failures` and are not said."""
    session = opened(model, say)
    from .reduced.gather import reduce_layers

    return reduce_layers(session, sources_of(images), asked, say)


def looks(model: AnyModel, images: Images, looking: Looking, say: Say = note) -> Looks:
    """`feature_maps` of any number of images, each when it is asked for; for one that cannot be read, the reason."""
    session = _named(model, say)
    from .maps.looks import Looks

    return Looks(session, sources_of(images), looking, say)


@verb
def stats(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: Names = (),
    *,
    kind: Names = (),
    per_channel: bool = False,
    by_class: bool = False,
    limit: int | None = None,
    shuffle: int | None = None,
    batch: int = 8,
    workers: int | None = None,
    layout: str | None = None,
    say: Say = note,
) -> Run:
    """Mean, standard deviation, extremes, zeros, NaN, infinity and distribution of every layer's output over images.

    `images` are paths, folders (all images in them and below), patterns, Pillow images, arrays or tensors; by default a
    bundled photo. `layer` and `kind` pick layers by name or pattern and by kind (`conv`, `act`, …); without them all
    are counted. `per_channel` keeps a histogram for each channel, not for the layer alone; `by_class` also counts each
    folder of a folder by itself, as a class. `limit` is the most images, all by default; `shuffle` the seed of a random
    order, which `limit` then cuts, by default the order of the paths. `batch` images (8) run at once; `workers`
    processes read them: by default one a core, at most 8, and none for few images. `layout` names the axes of arrays
    (`HWC`) or of outputs (`BHWC`); `say` takes the remarks.

    Of the result, `layers` has a record a layer in the order they run, whose `channels` hold one number a channel,
    float64 `[C]`; `findings` says what is wrong, `failures` which images could not be read. Raises LayerError and
    ModelError, and ImageError where no image could be read.

    >>> run = stats(say=lambda _: None)
    >>> record = run.layers[0]
    >>> record.layer.name, record.shape, record.channels.mean.shape
    ('x', (1, 3, 224, 224), (3,))
    """
    if per_channel and by_class:
        raise FmapError("per_channel and by_class exclude each other: ask for them one after the other.")
    session = opened(model, say)
    from .running.going import whole_run
    from .statistics.records import Counting
    from .statistics.running import Count

    counting = Counting(names_of(layer), names_of(kind), per_channel, by_class, limit, shuffle, batch, workers, layout)
    return _judged(whole_run(session, sources_of(images), Count(counting), say))


def resumable_stats(
    request: ModelRequest,
    images: Images,
    counting: Counting,
    kept: Resumable,
    *,
    progress: Callable[[], AbstractContextManager[Advanced]] = lambda: nullcontext(nobody),
    say: Say = note,
) -> AbstractContextManager[Gone[Run]]:
    """`stats` for a run that takes hours: noted down as `kept` says, stopped by Ctrl-C after a batch, gone on with,
    shared out over the processes that torchrun starts.

    What it yields is to be saved and shown inside; its `forget` then forgets how far the run was.
    """
    load_torchvision()
    from .running.going import resumable_run
    from .running.team import device_of as device_in
    from .statistics.running import Count

    return resumable_run(
        lambda team, say: opened(replace(request, device=device_in(team, request.device)), say),
        sources_of(images),
        Count(counting),
        kept,
        say,
        progress,
    )


@verb
def findings(run: Run, thresholds: Thresholds | None = None, **changes: float) -> list[Finding]:
    """What a person should worry about in a run's numbers: dead channels, saturation, NaN, what float16 would lose.

    In the order of the layers, each with its evidence in words. `changes` are thresholds of docs/health.md by
    their names, `dead_share=0.2`; `thresholds` are all of them.

    >>> {finding.check for finding in findings(stats(say=lambda _: None))}
    {'dead-channels'}
    """
    from .health import Thresholds
    from .health import findings as found_in
    from .statistics.records import Run

    if not isinstance(run, Run):
        raise FmapError(f"this {type(run).__name__} is not a run: findings are about what stats or load_run returns.")
    if thresholds is not None and changes:
        raise FmapError("thresholds are all of them, and changes are of the usual ones: give one or the other.")
    if thresholds is None:
        thresholds = Thresholds.with_changes([f"{name}={value}" for name, value in changes.items()])
    return list(found_in(run.layers, run.images, thresholds, run.origin.called.noun))


def _judged(run: Run) -> Run:
    """The run with the findings that its table and figure show."""
    return replace(run, findings=tuple(findings(run)))


def load_run(*paths: str | Path, say: Say = note) -> Run:
    """A run saved by `fmap stats --save`; several of one network's as one, as if over all their images.

    Raises FmapError for what is no run, and for runs that do not go together.
    """
    if not paths:
        raise FmapError("no run was named.", hint='Give the path of one, or of several: load_run("run.fmap").')
    for path in paths:
        if not isinstance(path, (str, Path)) or not str(path).lower().endswith(".fmap"):
            raise FmapError(f"{path!r} is not a saved run: its name ends in .fmap, as `run.save` writes it.")
    from .statistics.merging import merge_runs, notes
    from .statistics.runs import load_run

    runs = [(str(path), load_run(Path(path))) for path in paths]
    for name, run in runs:
        for sentence in notes(name, run):
            say(sentence)
    return _judged(merge_runs(runs))


@verb
def layers(
    model: AnyModel = DEFAULT_MODEL,
    layer: Names = (),
    *,
    kind: Names = (),
    depth: int | None = None,
    image: Images = None,
    layout: str | None = None,
    say: Say = note,
) -> Listing:
    """Every layer in the order they run: name, kind, shape, parameters, multiply-adds, receptive field.

    `layers` has an entry a layer, or those that `layer` and `kind` pick and that are not inside more than `depth - 1`
    others; the rest is the network in numbers. For `image`'s size, or the bundled photo's. Raises LayerError.

    >>> listing = layers("resnet18", kind="conv", say=lambda _: None)
    >>> listing.layers[0].layer.name, listing.layers[0].shape, listing.layers[0].multiply_adds
    ('conv1', (1, 64, 112, 112), 118013952)
    """
    session = architecture(model, say)
    from .layers.survey import survey

    read, of_outputs = picture(session, image, say, layout)
    return survey(session, names_of(layer), kinds=names_of(kind), depth=depth, image=read, layout=of_outputs)


@verb
def receptive_fields(
    model: AnyModel = DEFAULT_MODEL,
    layer: Names = (),
    *,
    kind: Names = (),
    image: Images = None,
    layout: str | None = None,
    say: Say = note,
) -> FieldListing:
    """What the units of every layer see of the input: the field's size, stride and start in pixels, rows before
    columns.

    `layers` has an entry a layer with its `field`, whose `kind` says whether it is exact. Raises LayerError.

    >>> rows = receptive_fields("resnet18", "layer1", say=lambda _: None).layers
    >>> rows[0].field.axes[0].size, rows[0].field.axes[0].stride
    (43, Fraction(4, 1))
    """
    session = architecture(model, say)
    from .receptive.survey import receptive_fields as fields_of

    read, of_outputs = picture(session, image, say, layout)
    return fields_of(session, names_of(layer), kinds=names_of(kind), image=read, layout=of_outputs)


@verb
def unit(
    model: AnyModel = DEFAULT_MODEL,
    image: Images = None,
    layer: Names = "last",
    *,
    at: tuple[int, ...] | Literal["max", "min"] = "max",
    channel: int | None = None,
    layout: str | None = None,
    say: Say = note,
) -> UnitView:
    """One unit of a layer: its value for an image, and exactly which pixels it sees (`box`).

    `at` is its row and column in the map, from 0 (frame, row and column of a clip's), or `max` for the strongest and
    `min` for the one with the smallest value, of `channel` or of all. Raises LayerError, ModelError and ImageError.

    >>> seen = unit(layer="conv1", at=(0, 0), channel=3, say=lambda _: None)
    >>> seen.place, [(axis.size, str(axis.stride)) for axis in seen.row.field.axes]
    ((0, 0, 0), [(3, '2'), (3, '2')])
    """
    session = opened(model, say)
    from .receptive.unit import unit_view

    read, of_outputs = picture(session, () if image is None else image, say, layout)
    assert read is not None
    return unit_view(session, read, names_of(layer), at, channel, layout=of_outputs)


@verb
def effective_field(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: Names = "last",
    *,
    noise: int | None = None,
    seed: int = 0,
    at: tuple[int, ...] | None = None,
    channel: int | None = None,
    layout: str | None = None,
    advanced: Advanced = nobody,
    say: Say = note,
) -> EffectiveField:
    """How much each input pixel moves one unit of a layer, on average over images, or over inputs of noise.

    `images` are what the mean is over; without any it is over `noise` inputs (16) of Gaussian noise, mean 0 and
    standard deviation 1 after preprocessing, drawn from `seed`. `layer` picks one layer, by default the last map. `at`
    is the unit's row and column, from 0 (of a clip frame, row and column), by default the middle. `channel` is its
    channel, from 0; by default the gradient is that of all channels' sum, as in the paper. `layout` names the axes of
    arrays (`HWC`) or of outputs (`BHWC`). `advanced` is told how many of how many inputs are done, `say` the remarks.

    Of the result, `energy` is the absolute gradient's share of each pixel, float64 `[H, W]`, adding up to 1 (Luo et al.
    2016). Raises LayerError, ModelError and ImageError.
    """
    session = opened(model, say)
    from .inputs.framing import framings_of
    from .network.shapes import split_layout
    from .receptive.unit import effective_field as field_of
    from .session.opening import groups, read_image

    of_arrays, of_outputs = split_layout(layout)
    if isinstance(at, str):
        raise LayerError(f"at is {at!r}: an effective field is of a unit at a place, a row and column, or None.")
    sources = sources_of(images)
    if noise is not None and sources:
        raise ImageError("noise takes the place of images: give one of them.")
    drawn = noise or (0 if sources else NOISE)
    read = [read_image(session, each, nobody if drawn else say, of_arrays) for each in groups(session, sources)]
    if not drawn:
        framings_of(read).say(say)
    count = drawn or len(read)
    advanced(0, count)
    return field_of(
        session,
        read,
        names_of(layer),
        noise=drawn,
        seed=seed,
        place=at,
        channel=channel,
        layout=of_outputs,
        say=lambda done: advanced(done, count),
    )


@verb
def predict(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    *,
    top: int = 5,
    batch: int = 16,
    by_class: bool = False,
    layout: str | None = None,
    advanced: Advanced = nobody,
    say: Say = note,
    say_failures: bool = True,
) -> Predictions:
    """The likeliest classes of each image with their probabilities, most likely first.

    `images` are as `stats` takes them, `top` is how many classes (5), `batch` how many images run at once (16).
    With `by_class` folders are classes, and the result's `by_class` says how often the images of each were answered
    with which (`rows`, `columns`, `accuracy`). `advanced` is told how many of how many images are done.

    Of the result, `images` has an entry an image; those that cannot be read are in `failures`, and `say_failures` says
    which. Raises
    ModelError for a network that is not a classifier, and the reason where there is one image and it gave none.

    >>> [(answer.image, answer.predictions[0].label) for answer in predict(say=lambda _: None).images]
    [('coffee (bundled sample)', 'espresso')]
    """
    session = _named(model, say)
    from .answers.classify import classify

    found = classify(session, sources_of(images), top, batch, say, layout, advanced, by_class=by_class)
    if found.failures and not found.several:
        raise found.failures[0][1]
    for _, error in found.failures if say_failures else ():
        say(error.message)
    return found


@verb
def embed(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: str | None = None,
    *,
    pool: Literal["avg", "max", "gem", "cls", "none"] | None = None,
    batch: int = 16,
    similar: int | None = None,
    layout: str | None = None,
    advanced: Advanced = nobody,
    say: Say = note,
    say_failures: bool = True,
) -> Embeddings:
    """One vector an image: what the network's classifier reads, or a layer's output, pooled over its places.

    `images` are paths, folders, patterns, Pillow images, arrays or tensors; by default a bundled photo. `layer` is one
    name or pattern; without it, what the classifier reads. `pool` makes a vector of a map: `avg`, `max` or `gem` (the
    generalised mean, p = 3) of each channel over its places, `cls` the class token, `none` all values; by default
    `avg`, and nothing where the layer is a vector. `batch` images (16) run at once. `similar` also finds so many
    nearest others of each image, by cosine similarity. `layout` names the axes of arrays (`HWC`) or of the layer's
    output (`BHWC`). `advanced` is told how many of how many images are done, `say` the remarks, and where
    `say_failures` which images could not be read.

    Of the result, `vectors` is `[N, D]` float32, in the order of `images` (their names); images that cannot be read are
    left out, and are in `failures`. Raises LayerError, ModelError and ImageError.

    >>> embed(say=lambda _: None).vectors.shape
    (1, 1280)
    """
    among("pool", pool, (None, "avg", "max", "gem", "cls", "none"))
    if layer is not None and not isinstance(layer, str):
        raise LayerError("layer is several: vectors come out of one layer.")
    session = opened(model, say)
    from .embedding.embed import embed as vectors_of
    from .network.shapes import split_layout

    of_arrays, of_outputs = split_layout(layout)
    found = vectors_of(
        session,
        sources_of(images),
        layer,
        pool,
        batch,
        say,
        layout=of_arrays,
        of_outputs=of_outputs,
        similar=similar,
        advanced=advanced,
    )
    for _, error in found.failures if say_failures else ():
        say(error.message)
    return found


@verb
def compare(
    model: AnyModel | Run = DEFAULT_MODEL,
    image: Images | Run = None,
    other: Images = None,
    *,
    vs: AnyModel | None = None,
    layer: Names = (),
    kind: Names = (),
    threshold: float | None = None,
    draw: str | None = None,
    keep_maps: bool = True,
    names: tuple[str, str] = ("A", "B"),
    layout: str | None = None,
    advanced: Advanced = nobody,
    say: Say = note,
) -> Comparison:
    """Layer by layer, how far two sides are apart, A being the reference, and from where on they differ.

    Two images through one network: `compare(net, "a.jpg", "b.jpg")`. One image through two: `compare(net, "a.jpg",
    vs=other_net)`. Two runs, of `stats` or `load_run`: `compare(run_a, run_b)`, called `names`. `layers` has an entry
    a layer with its `difference`; `first` is the first over `threshold` (relative, by default what the coarser number
    format allows). Of two images `difference.pooled_cosine` says how alike the network finds them, and `shared` which
    channels of a layer respond to both. `draw` is the layer whose channels the figure shows, for which `keep_maps`
    keeps them. Raises LayerError, ModelError and ImageError.

    >>> same = compare(load_model(say=lambda _: None), None, vs=load_model(say=lambda _: None), say=lambda _: None)
    >>> same.parts, max(layer.difference.max_abs for layer in same.layers)
    (False, 0.0)
    """
    from .statistics.records import Run

    if isinstance(model, Run) or isinstance(image, Run):
        if not (isinstance(model, Run) and isinstance(image, Run)):
            raise ModelError("a run is compared with another run.", hint="compare(run_a, run_b)")
        of_passes = {"other": other, "vs": vs, "draw": draw, "layout": layout}
        for name, given in of_passes.items():
            if given is not None:
                raise ModelError(f"{name} is about a pass over an image, and runs are over.")
        from .comparison.saved_runs import compare_runs

        return compare_runs(model, image, names, names_of(layer), kinds=names_of(kind), threshold=threshold, say=say)
    sources = [*sources_of(image), *sources_of(other)]
    if vs is None and (not sources or len(sources) % 2):
        raise ImageError(
            f"nothing to compare: one network and {len(sources)} image{'s' * (len(sources) != 1)}.",
            hint="Give two images, or another network: compare(net, image, vs=other).",
        )
    a, b, as_asked = _sides(model, vs, say)
    from .comparison.pairs import compare as compare_sides
    from .comparison.sides import read_sides
    from .network.shapes import split_layout

    of_arrays, of_outputs = split_layout(layout)
    image_a, image_b = read_sides(a, b, sources, say, of_arrays, fed_as_asked=as_asked)
    return compare_sides(
        a,
        image_a,
        b,
        image_b,
        names_of(layer),
        kinds=names_of(kind),
        threshold=threshold,
        draw=draw,
        keep_maps=keep_maps,
        layout=of_outputs,
        advanced=advanced,
    )


def _sides(model: AnyModel, vs: AnyModel | None, say: Say) -> tuple[Session, Session, bool]:
    """Both networks, and whether they were asked to get different input.

    Where both have yet to be made, one that does not say how it is to be fed is fed as the other one.
    """
    one, other = request_of(model), request_of(vs)
    if vs is None or one is None or other is None:
        a = opened(model, say)
        return a, a if vs is None else opened(vs, say), False
    load_torchvision()
    from .comparison.sides import open_sides

    fed = ("size", "mean", "std")
    return *open_sides(one, other, say), any(getattr(one, name) != getattr(other, name) for name in fed)


@verb
def memory(
    model: AnyModel = DEFAULT_MODEL,
    batch: int = 32,
    *,
    weights: str | None = None,
    size: Size | None = None,
    input_shape: Sequence[int] | Sequence[Sequence[int]] = (),
    dtype: Literal["float32", "float16", "bfloat16", "amp"] = "float32",
    optimizer: Literal["sgd", "sgd-momentum", "adam", "adamw", "none"] = "sgd-momentum",
    modes: Sequence[Literal["train", "inference"]] = ("train", "inference"),
    checkpoint: str | None = None,
    freeze: Names = (),
    budget: int | str | None = None,
    what_if: bool = False,
    measure: str | None = None,
    say: Say = note,
) -> Forecast:
    """What a training step and an inference take of memory, in bytes, before they run: nothing of it is allocated.

    `model` is a spec, whose architecture alone is made, in a process of its own; a live module, which is followed here
    as a copy on the meta device; or what `load_model` returned. `batch` is the number of images (32). `weights` are
    needed only where they change the architecture. `size` is the input's in pixels, of a square or (height, width), by
    default what the model is fed; `input_shape` says it of a network that takes no picture, without the batch.

    `dtype` is the number format, `amp` automatic mixed precision (float16 where torch casts to it). `optimizer` is what
    a training step updates with, whose state counts. `modes` are `train` and `inference`, or one of them. `checkpoint`
    is a pattern of modules whose inside is computed again in the backward pass, or `auto` for those that leave the
    lowest peak. `freeze` are patterns of parameters, or of modules, that do not learn. `budget` is an amount of memory
    in bytes or with its unit (`24GB`, `16GiB`), or `auto` for what the card has: `largest` then says which batch still
    fits. `what_if` also forecasts the step with one thing changed; `measure` (`cpu`, `cuda`) runs it for real as well.

    Of the result, `bills` has an entry a mode: `tensors`, `allocated`, `reserved` at the peak, and `kept` for the
    backward pass, all in bytes. Raises ModelError.

    >>> forecast = memory("resnet18", 32, say=lambda _: None)
    >>> forecast.parameters, [bill.mode for bill in forecast.bills]
    (11689512, ['train', 'inference'])
    """
    among("dtype", dtype, ("float32", "float16", "bfloat16", "amp"))
    for mode in names_of(modes) or (None,):
        among("modes", mode, ("train", "inference"))
    from .memory.request import MemoryRequest

    request = MemoryRequest(
        model=_model_of_memory(model, weights, input_shape),
        batch=batch,
        size=(size, size) if isinstance(size, int) else size,
        dtype=dtype,
        optimizer=optimizer,
        modes=names_of(modes),  # type: ignore[arg-type] # checked above
        checkpoint=checkpoint,
        freeze=names_of(freeze),
        budget=budget,  # type: ignore[arg-type] # the checks have made a number of a text
        what_if=what_if,
        measure=measure,
    )
    if isinstance(request.model, ModelRequest) and isinstance(request.model.model, str):
        from .foreign.isolated import Isolated

        with Isolated("fmap_cli.memory.forecast", "forecast", request) as other:
            for each in ("numpy", "fmap_cli.memory.table"):  # what its answer comes in and is printed with
                import_module(each)
            found: Forecast = other.result(say)
        return found
    from .memory.forecast import forecast

    return forecast(request, say)


def _model_of_memory(model: AnyModel, weights: str | None, input_shape: Any) -> ModelRequest | LoadedModel:
    """What is to be followed: the model of a session, or the request for one."""
    if is_session(model):
        if weights is not None or input_shape:
            raise ModelError("the model is loaded already: give weights and input_shape to load_model.")
        return model.model
    request = model if isinstance(model, ModelRequest) else ModelRequest(model_in(model))
    return replace(request, weights=weights or request.weights, input_shape=input_shape or request.input_shape)


@verb
def list_models(pattern: str | None = None) -> list[ModelEntry]:
    """Every model that has a name, from metadata alone: no model is built, nothing is downloaded.

    `pattern` is a glob or a part of the name; `timm:PATTERN` lists timm's. Raises ModelError where nothing matches.

    >>> [entry.name for entry in list_models("resnet1*")]
    ['resnet101', 'resnet152', 'resnet18']
    """
    from .models import catalog

    return catalog(pattern)
