"""One function a verb: what notebooks, scripts and the commands call.

Every verb takes a model first: a spec (`"resnet18"`, `"timm:convnext_tiny"`, `"net.py:make"`, `"net.pt2"`), a live
`nn.Module`, or what `load_model` returned, which also says weights, device and preprocessing (a `ModelRequest` says
them, too: it is opened as the verb needs it). Images are paths, folders and patterns, Pillow images, NumPy arrays or
tensors; without any, a bundled photo is taken. Names, defaults and numbers are the commands'. What the user should know
(preprocessing that is assumed, a picture that had to be turned) is printed on standard error, as the commands do; `say`
takes it elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .errors import FmapError, ImageError, ModelError
from .frameworks import load_torchvision
from .inputs.held import source_of
from .models import DEFAULT_MODEL
from .models.records import ModelRequest

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn

    from .answers.records import Predictions
    from .comparison.records import Comparison
    from .embedding.records import Embeddings
    from .health import Thresholds
    from .layers.records import Listing
    from .maps.looks import Looks
    from .maps.records import Look
    from .memory.records import Forecast
    from .models.records import ModelEntry
    from .receptive.records import EffectiveField, FieldListing, UnitView
    from .session.opening import Session
    from .statistics.records import Finding, Run
    from .statistics.running import Counted

    AnyModel = str | nn.Module | Session | ModelRequest
    AnyImage = str | Path | Image.Image | np.ndarray | torch.Tensor
    Images = AnyImage | Iterable[AnyImage] | None
    Names = str | Iterable[str]
    Size = int | tuple[int, int]

Say = Callable[[str], None]
Advanced = Callable[..., None]
"""What is told of a long run: how many inputs are done, of how many, and how many of them failed."""

NOISE = 16
"""How many inputs of noise an effective field is the mean over, unless told otherwise."""


def _note(sentence: str) -> None:
    print(f"note: {sentence}", file=sys.stderr)


def _nobody(*_told: object) -> None:
    """Is told, and tells nobody."""


# -- what goes in ------------------------------------------------------------------------------------------------


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
    labels: Sequence[str] | None = None,
    device: str | None = None,
    dtype: str | None = None,
    memory_format: Literal["contiguous", "channels_last"] = "contiguous",
    say: Say = _note,
) -> Session:
    """A network ready to be looked at: the one that a spec names, or a live module of your own.

    A live module is not copied (unless `device`, `dtype` or `memory_format` ask for another than it has) and stays as
    it is: parameters, hooks, training flags, gradients, device. Trained further, it is looked at as it is by then.

    `weights` is the name of a pretrained set, `random` (drawn from `seed`) or a checkpoint's path. `size` (pixels,
    height before width), `mean` and `std` (one value or one a channel, of pixels in 0..1) replace the model's own
    preprocessing. `input_shape` says what a network takes that does not say so itself, without the batch: `(3, 32,
    32)`, or one shape an input. `labels` names a live module's classes. `device` is `cpu` unless asked, and a live
    module's own. Raises ModelError, WeightsError and DeviceError.

    >>> from torch import nn
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    >>> model = load_model(net, size=32, mean=0.5, std=0.5, labels=["cat", "dog"])
    >>> model.model.name, model.model.preprocessing.crop
    ('Sequential', (32, 32))
    """
    return _opened(_request(locals()), say)


def _shapes(given: Sequence[Any]) -> tuple[tuple[int, ...], ...]:
    """One shape an input: `(3, 32, 32)` is that of the only one."""
    if given and isinstance(given[0], int):
        return (tuple(given),)
    return tuple(tuple(each) for each in given)


def _request(given: Mapping[str, Any]) -> ModelRequest:
    def numbers(value: Any) -> tuple[float, ...] | None:
        return None if value is None else (float(value),) if isinstance(value, (int, float)) else tuple(value)

    from torch import nn

    model, device = given["model"], given["device"]
    if not isinstance(model, (str, nn.Module)):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ModelError(f"{what} is no model.", hint="Give a name, a file, or a module: an instance, not its class.")
    if not isinstance(model, str) and given["weights"] is not None:
        raise ModelError(
            "weights are for models with a name or a file.", hint="Load your module's own: load_state_dict."
        )
    if isinstance(given["labels"], str):
        raise ModelError("labels are the names of the classes: a list of strings, not one string.")
    if given["size"] is not None and given["input_shape"]:
        raise ModelError("size and input_shape both say how large the input is: give one of them.")
    if device is None:
        tensors = () if isinstance(model, str) else (*model.parameters(), *model.buffers())
        device = next((str(each.device) for each in tensors), "cpu")
    return ModelRequest(
        model=model,
        weights=given["weights"],
        seed=given["seed"],
        size=given["size"],
        input_shape=_shapes(given["input_shape"]),
        mean=numbers(given["mean"]),
        std=numbers(given["std"]),
        value_range=given["value_range"],
        device=str(device),
        dtype=None if given["dtype"] is None else _dtype(given["dtype"]),
        memory_format=given["memory_format"],
        labels=None if given["labels"] is None else tuple(given["labels"]),
    )


def _dtype(given: object) -> str:
    name = str(given).removeprefix("torch.")
    found: str = _among("dtype", name, ("float32", "float64", "float16", "bfloat16"))
    return found


def _among(name: str, given: Any, known: Sequence[Any]) -> Any:
    if given not in known:
        raise FmapError(f"{name} is {given!r}: it has to be one of {', '.join(map(repr, known))}.")
    return given


def _at_least(least: int, **numbers: int | None) -> None:
    """Raises FmapError for a number below the least that makes sense; None is no number."""
    for name, number in numbers.items():
        if number is not None and number < least:
            raise FmapError(f"{name} is {number}: it has to be at least {least}.")


def load_image(image: AnyImage, *, name: str | None = None) -> str:
    """An image as every verb takes it, under a name of your choice, which tables and figures show.

    A Pillow image keeps its pixels and its mode. An array or a tensor is `[H, W]`, `[H, W, C]` or `[C, H, W]` (`layout`
    of the verbs says which, where that is unclear): integers in 0..255, floats in 0..1. Verbs take all these as they
    are, too. Raises ImageError for what is no image.

    >>> import numpy as np
    >>> load_image(np.zeros((32, 48, 3), np.uint8), name="black")
    'black'
    """
    return source_of(image, name)


def _opened(model: AnyModel, say: Say) -> Session:
    """A session of what a verb was given. All verbs call this, or its neighbour, before they import their subject."""
    load_torchvision()  # before the first `import torch`, which takes a quarter less time that way
    from .session.opening import Session, open_session

    if isinstance(model, Session):
        return model
    return open_session(model, say) if isinstance(model, ModelRequest) else load_model(model, say=say)


def _architecture(model: AnyModel, say: Say) -> Session:
    """A session in which the values of the weights do not matter: of a spec none are drawn or downloaded."""
    load_torchvision()
    from .session.opening import open_architecture

    request = _request_of(model)
    return _opened(model, say) if request is None else open_architecture(request, say)


def _request_of(model: object) -> ModelRequest | None:
    """What asks for a model that has yet to be made; None for one in hand."""
    request = ModelRequest(model) if isinstance(model, str) else model
    return request if isinstance(request, ModelRequest) and isinstance(request.model, str) else None


def _sources(images: Images) -> list[str]:
    """The sources that the images are, one or several."""
    if images is None:
        return []
    if isinstance(images, (str, Path)) or hasattr(images, "__array__") or hasattr(images, "getbands"):
        return [source_of(images)]
    if not isinstance(images, Iterable):
        raise ImageError(f"{type(images).__name__} is no image.", hint="Give a path, an array, a tensor, or several.")
    found = [source_of(each) for each in images]
    if not found and not isinstance(images, tuple):
        raise ImageError("no image was given: the list is empty.", hint="Without `images` a bundled photo is taken.")
    return found


def _names(given: Names | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


# -- the verbs ---------------------------------------------------------------------------------------------------


def feature_maps(
    model: AnyModel = DEFAULT_MODEL,
    image: Images = None,
    layer: Names = (),
    *,
    channels: Sequence[int] | None = None,
    top: int | None = None,
    by: Literal["std", "mean", "max", "l2"] = "std",
    all: bool = False,
    score: float = 0.5,
    rf: bool = False,
    layout: str | None = None,
    say: Say = _note,
) -> Look:
    """What layers see in one image, as `fmap show` draws it: their maps, numbers and whole outputs, and the answer.

    `layer` is a name, a glob (`layer?.0.conv1`), `conv3` (the third convolution), `first` or `last`, or several;
    without one, the first convolution. `maps` has an entry a layer, in the order they run, with `maps` `[N, H, W]`
    float32 (the channels drawn), `channels` (their statistics, `[C]`) and `stats`; `arrays` the whole outputs by layer
    name, as torch put them out. `rf` finds each drawn channel's strongest unit and what it sees, which figures mark.
    Several images are one input for networks that take several (optical flow). Raises LayerError, ModelError and
    ImageError.

    >>> look = feature_maps(layer="conv1", say=lambda _: None)
    >>> look.maps[0].layer.name, look.maps[0].shape, look.predictions[0].label
    ('features.0.0', (1, 32, 112, 112), 'espresso')
    """
    found = looks(
        model, image, layer, channels=channels, top=top, by=by, all=all, score=score, rf=rf, layout=layout, say=say
    )
    if len(found) > 1:
        raise ImageError(f"{len(found)} images were given: one at a time.", hint="Call it in a loop.")
    (look,) = found
    if isinstance(look, ImageError):
        raise look
    return look


def looks(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: Names = (),
    *,
    channels: Sequence[int] | None = None,
    top: int | None = None,
    by: Literal["std", "mean", "max", "l2"] = "std",
    all: bool = False,
    score: float = 0.5,
    rf: bool = False,
    keep_arrays: bool = True,
    layout: str | None = None,
    say: Say = _note,
) -> Looks:
    """`feature_maps` of any number of images, each when it is asked for; for one that cannot be read, the reason."""
    _at_least(1, top=top)
    _among("by", by, ("std", "mean", "max", "l2"))
    session = _opened(model, say)
    from .maps.looks import Looking, Looks
    from .maps.records import Choice

    choice = Choice(None if channels is None else tuple(channels), top, by, all)
    return Looks(session, _sources(images), Looking(_names(layer), choice, score, layout, keep_arrays, rf), say)


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
    say: Say = _note,
) -> Run:
    """Mean, standard deviation, extremes, zeros, NaN, infinity and distribution of every layer's output over images.

    `layers` has a record a layer in the order they run, whose `channels` hold one number a channel, float64 `[C]`.
    `per_channel` keeps a histogram for each channel, not for the layer; `by_class` also one set a folder. `shuffle` is
    the seed of a random order, which `limit` then cuts. Images that cannot be read are in `failures`. Raises LayerError
    and ModelError, and ImageError where no image could be read.

    >>> run = stats(say=lambda _: None)
    >>> record = run.layers[0]
    >>> record.layer.name, record.shape, record.channels.mean.shape
    ('x', (1, 3, 224, 224), (3,))
    """
    _at_least(1, batch=batch, limit=limit)
    _at_least(0, workers=workers)
    session = _opened(model, say)
    from .statistics.running import Counting, count

    counting = Counting(_names(layer), _names(kind), per_channel, by_class, limit, shuffle, batch, workers, layout)
    return _judged(count(session, _sources(images), counting, say))


def resumable_stats(
    request: ModelRequest,
    images: Images,
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
    save: Path | None = None,
    resume: bool = False,
    checkpoint_every: float = 60.0,
    progress: Callable[[], AbstractContextManager[Advanced]] = lambda: nullcontext(_nobody),
    say: Say = _note,
) -> AbstractContextManager[Counted]:
    """`stats` for a run that takes hours: noted down every `checkpoint_every` seconds, stopped by Ctrl-C after a batch,
    gone on with (`resume`), shared out over the processes that torchrun starts.

    What it yields is to be saved in `save` and shown inside; its `forget` then forgets how far the run was.
    """
    load_torchvision()
    from .statistics.distributed import device_of
    from .statistics.running import Counting, Resumable, counted

    counting = Counting(_names(layer), _names(kind), per_channel, by_class, limit, shuffle, batch, workers, layout)
    return counted(
        lambda team, say: _opened(replace(request, device=device_of(team, request.device)), say),
        _sources(images),
        counting,
        Resumable(save, resume, checkpoint_every),
        say,
        progress,
    )


def findings(run: Run, thresholds: Thresholds | None = None, **changes: float) -> list[Finding]:
    """What a person should worry about in a run's numbers: dead channels, saturation, NaN, what float16 would lose.

    In the order of the layers, each with its evidence in words. `changes` are thresholds of docs/health.md by
    their names, `dead_share=0.2`; `thresholds` are all of them.

    >>> [finding.check for finding in findings(stats(say=lambda _: None))]
    ['dead-channels']
    """
    from .health import Thresholds
    from .health import findings as found_in

    if thresholds is None:
        thresholds = Thresholds.with_changes([f"{name}={value}" for name, value in changes.items()])
    return list(found_in(run.layers, run.images, thresholds))


def _judged(run: Run) -> Run:
    """The run with the findings that its table and figure show."""
    return replace(run, findings=tuple(findings(run)))


def load_run(*paths: str | Path, say: Say = _note) -> Run:
    """A run saved by `fmap stats --save`; several of one network's as one, as if over all their images.

    Raises FmapError for what is no run, and for runs that do not go together.
    """
    from .statistics.merging import merge_runs, notes
    from .statistics.runs import load_run

    runs = [(str(path), load_run(Path(path))) for path in paths]
    for name, run in runs:
        for note in notes(name, run):
            say(note)
    return _judged(merge_runs(runs))


def layers(
    model: AnyModel = DEFAULT_MODEL,
    layer: Names = (),
    *,
    kind: Names = (),
    depth: int | None = None,
    image: Images = None,
    layout: str | None = None,
    say: Say = _note,
) -> Listing:
    """Every layer in the order they run: name, kind, shape, parameters, multiply-adds, receptive field.

    `layers` has an entry a layer, or those that `layer` and `kind` pick and that are not inside more than `depth - 1`
    others; the rest is the network in numbers. For `image`'s size, or the bundled photo's. Raises LayerError.

    >>> listing = layers("resnet18", kind="conv", say=lambda _: None)
    >>> listing.layers[0].layer.name, listing.layers[0].shape, listing.layers[0].multiply_adds
    ('conv1', (1, 64, 112, 112), 118013952)
    """
    session = _architecture(model, say)
    from .layers.survey import survey
    from .network.shapes import split_layout
    from .session.opening import read_image

    of_arrays, of_outputs = split_layout(layout)
    picture = None if image is None else read_image(session, _one(session, image), say, of_arrays)
    return survey(session, _names(layer), kinds=_names(kind), depth=depth, image=picture, layout=of_outputs)


def receptive_fields(
    model: AnyModel = DEFAULT_MODEL,
    layer: Names = (),
    *,
    kind: Names = (),
    image: Images = None,
    layout: str | None = None,
    say: Say = _note,
) -> FieldListing:
    """What the units of every layer see of the input: the field's size, stride and start in pixels, rows before
    columns.

    `layers` has an entry a layer with its `field`, whose `kind` says whether it is exact. Raises LayerError.

    >>> rows = receptive_fields("resnet18", "layer1", say=lambda _: None).layers
    >>> rows[0].field.axes[0].size, rows[0].field.axes[0].stride
    (43, Fraction(4, 1))
    """
    session = _architecture(model, say)
    from .network.shapes import split_layout
    from .receptive.survey import receptive_fields as fields_of
    from .session.opening import read_image

    of_arrays, of_outputs = split_layout(layout)
    picture = None if image is None else read_image(session, _one(session, image), say, of_arrays)
    return fields_of(session, _names(layer), kinds=_names(kind), image=picture, layout=of_outputs)


def unit(
    model: AnyModel = DEFAULT_MODEL,
    image: Images = None,
    layer: Names = "last",
    *,
    at: tuple[int, ...] | Literal["max"] = "max",
    channel: int | None = None,
    layout: str | None = None,
    say: Say = _note,
) -> UnitView:
    """One unit of a layer: its value for an image, and exactly which pixels it sees (`box`).

    `at` is its row and column in the map (frame, row and column of a clip's), or `max` for the strongest, of `channel`
    or of all. Raises LayerError, ModelError and ImageError.

    >>> seen = unit(layer="conv1", at=(0, 0), channel=3, say=lambda _: None)
    >>> seen.place, [(axis.size, str(axis.stride)) for axis in seen.row.field.axes]
    ((0, 0, 0), [(3, '2'), (3, '2')])
    """
    session = _opened(model, say)
    from .network.shapes import split_layout
    from .receptive.unit import unit_view
    from .session.opening import read_image

    of_arrays, of_outputs = split_layout(layout)
    picture = read_image(session, _one(session, image), say, of_arrays)
    return unit_view(session, picture, _names(layer), at, channel, layout=of_outputs)


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
    advanced: Advanced = _nobody,
    say: Say = _note,
) -> EffectiveField:
    """How much each input pixel moves one unit of a layer, on average over images, or over inputs of noise.

    `energy` is the absolute gradient's share of each pixel, float64 `[H, W]`, adding up to 1 (Luo et al. 2016). `at` is
    the unit's row and column, or None for the middle. Without images it is over 16 inputs of Gaussian noise drawn from
    `seed`. `advanced` is told how many of how many inputs are done. Raises LayerError, ModelError and ImageError.
    """
    session = _opened(model, say)
    from .network.shapes import split_layout
    from .receptive.unit import effective_field as field_of
    from .session.opening import groups, read_image

    of_arrays, of_outputs = split_layout(layout)
    sources = _sources(images)
    drawn = noise or (0 if sources else NOISE)
    read = [read_image(session, each, _nobody if drawn else say, of_arrays) for each in groups(session, sources)]
    count = drawn or len(read)
    advanced(0, count)
    return field_of(
        session,
        read,
        _names(layer),
        noise=drawn,
        seed=seed,
        place=at,
        channel=channel,
        layout=of_outputs,
        say=lambda done: advanced(done, count),
    )


def predict(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    *,
    top: int = 5,
    batch: int = 16,
    layout: str | None = None,
    say: Say = _note,
    say_failures: bool = True,
) -> Predictions:
    """The likeliest classes of each image with their probabilities, most likely first.

    `images` has an entry an image. Those that cannot be read are in `failures`; `say_failures` says which. Raises
    ModelError for a network that is no classifier, and the reason where there is one image and it gave none.

    >>> [(answer.image, answer.predictions[0].label) for answer in predict(say=lambda _: None).images]
    [('coffee (bundled sample)', 'espresso')]
    """
    _at_least(1, top=top, batch=batch)
    session = _opened(model, say)
    from .answers.classify import classify

    found = classify(session, _sources(images), top, batch, say, layout)
    if found.failures and not found.several:
        raise found.failures[0][1]
    for _, error in found.failures if say_failures else ():
        say(error.message)
    return found


def embed(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: str | None = None,
    *,
    pool: Literal["avg", "max", "gem", "cls", "none"] | None = None,
    batch: int = 16,
    similar: int | None = None,
    layout: str | None = None,
    say: Say = _note,
    say_failures: bool = True,
) -> Embeddings:
    """One vector an image: what the network's classifier reads, or a layer's output, pooled over its places.

    `vectors` is `[N, D]` float32, in the order of `images` (their names). `similar` finds each one's nearest others by
    cosine similarity, too. Images that cannot be read are left out, and are in `failures`; `say_failures` says which.
    Raises LayerError, ModelError and ImageError.

    >>> embed(say=lambda _: None).vectors.shape
    (1, 1280)
    """
    _at_least(1, batch=batch, similar=similar)
    _among("pool", pool, (None, "avg", "max", "gem", "cls", "none"))
    session = _opened(model, say)
    from .embedding.embed import embed as vectors_of
    from .network.shapes import split_layout

    of_arrays, of_outputs = split_layout(layout)
    found = vectors_of(
        session, _sources(images), layer, pool, batch, say, layout=of_arrays, of_outputs=of_outputs, similar=similar
    )
    for _, error in found.failures if say_failures else ():
        say(error.message)
    return found


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
    say: Say = _note,
) -> Comparison:
    """Layer by layer, how far two sides are apart, A being the reference, and where they part.

    Two images through one network: `compare(net, "a.jpg", "b.jpg")`. One image through two: `compare(net, "a.jpg",
    vs=other_net)`. Two runs, of `stats` or `load_run`: `compare(run_a, run_b)`, called `names`. `layers` has an entry
    a layer with its `difference`; `first` is the first over `threshold` (relative, by default what the coarser number
    format allows). `draw` is the layer whose channels the figure shows, for which `keep_maps` keeps them. Raises
    LayerError, ModelError and ImageError.

    >>> same = compare(load_model(say=lambda _: None), None, vs=load_model(say=lambda _: None), say=lambda _: None)
    >>> same.parts, max(layer.difference.max_abs for layer in same.layers)
    (False, 0.0)
    """
    from .statistics.records import Run

    if isinstance(model, Run) or isinstance(image, Run):
        if not (isinstance(model, Run) and isinstance(image, Run)):
            raise ModelError("a run is compared with another run.", hint="compare(run_a, run_b)")
        from .comparison.pairs import compare_runs

        return compare_runs(model, image, names, _names(layer), kinds=_names(kind), threshold=threshold, say=say)
    sources = [*_sources(image), *_sources(other)]
    if vs is None and len(sources) != 2:
        raise ImageError(
            f"nothing to compare: one network and {len(sources)} image{'s' * (len(sources) != 1)}.",
            hint="Give two images, or another network: compare(net, image, vs=other).",
        )
    a, b, as_asked = _sides(model, vs, say)
    from .comparison.pairs import compare as compare_sides
    from .comparison.pairs import read_sides
    from .network.shapes import split_layout

    of_arrays, of_outputs = split_layout(layout)
    image_a, image_b = read_sides(a, b, sources, say, of_arrays, fed_as_asked=as_asked)
    return compare_sides(
        a,
        image_a,
        b,
        image_b,
        _names(layer),
        kinds=_names(kind),
        threshold=threshold,
        draw=draw,
        keep_maps=keep_maps,
        layout=of_outputs,
    )


def _sides(model: AnyModel, vs: AnyModel | None, say: Say) -> tuple[Session, Session, bool]:
    """Both networks, and whether they were asked to be fed differently.

    Where both have yet to be made, one that does not say how it is to be fed is fed as the other one.
    """
    one, other = _request_of(model), _request_of(vs)
    if vs is None or one is None or other is None:
        a = _opened(model, say)
        return a, a if vs is None else _opened(vs, say), False
    load_torchvision()
    from .comparison.pairs import open_sides

    fed = ("size", "mean", "std")
    return *open_sides(one, other, say), any(getattr(one, name) != getattr(other, name) for name in fed)


def memory(
    model: str | nn.Module = DEFAULT_MODEL,
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
    budget: int | Literal["auto"] | None = None,
    what_if: bool = False,
    measure: str | None = None,
    say: Say = _note,
) -> Forecast:
    """What a training step and an inference take of memory, in bytes, before they run: nothing of it is allocated.

    `bills` has an entry a mode: `tensors`, `allocated`, `reserved` at the peak, and `kept` for the backward pass.
    `budget` is in bytes, or `auto` for what the card has: `largest` then says which batch still fits. Of a spec the
    architecture alone is made, in a process of its own; a live module is followed here, as a copy on the meta device.
    Raises ModelError.

    >>> forecast = memory("resnet18", 32, say=lambda _: None)
    >>> forecast.parameters, [bill.mode for bill in forecast.bills]
    (11689512, ['train', 'inference'])
    """
    _at_least(1, batch=batch)
    _among("dtype", dtype, ("float32", "float16", "bfloat16", "amp"))
    _among("optimizer", optimizer, ("sgd", "sgd-momentum", "adam", "adamw", "none"))
    for mode in _names(modes) or (None,):
        _among("modes", mode, ("train", "inference"))
    from .memory.records import MemoryRequest

    request = MemoryRequest(
        model=ModelRequest(model, weights, input_shape=_shapes(input_shape)),
        batch=batch,
        size=(size, size) if isinstance(size, int) else size,
        dtype=dtype,
        optimizer=optimizer,
        modes=_names(modes),  # type: ignore[arg-type] # checked above
        checkpoint=checkpoint,
        freeze=_names(freeze),
        budget=budget,
        what_if=what_if,
        measure=measure,
    )
    if isinstance(model, str):
        from .foreign.isolated import run_isolated

        found: Forecast = run_isolated("fmap_cli.memory.forecast", "forecast", request, say=say)
        return found
    from .memory.forecast import forecast

    return forecast(request, say)


def list_models(pattern: str | None = None) -> list[ModelEntry]:
    """Every model that has a name, from metadata alone: no model is built, nothing is downloaded.

    `pattern` is a glob or a part of the name; `timm:PATTERN` lists timm's. Raises ModelError where nothing matches.

    >>> [entry.name for entry in list_models("resnet1*")]
    ['resnet101', 'resnet152', 'resnet18']
    """
    from .models import catalog

    return catalog(pattern)


def _one(session: Session, images: Images) -> str | Sequence[str] | None:
    """The source of one pass: one image, or those that belong together; None where there is none."""
    from .session.opening import groups

    found = groups(session, _sources(images))
    if len(found) > 1:
        raise ImageError(f"{len(found)} images were given: one at a time.", hint="Call it in a loop.")
    return found[0]
