"""Composes model, image and layers into one forward pass for one command."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .frameworks import load_torchvision

load_torchvision()  # before the first `import torch`, which takes a quarter less time that way
import torch
from torch import nn

from . import inventory, raised
from .answers import detections, label_map, laid_out, plain, predictions, role
from .axes import (
    AxesResolver,
    Followed,
    Growth,
    axes_by_layout,
    channel_maps,
    follow,
    measure,
    meta_twin,
    twin_of,
    undrawn_axes,
)
from .blank import blank_arithmetic
from .capture import Sink, capture
from .errors import DeviceError, FmapError, LayerError, ModelError
from .inputs import Place, feed_of
from .kinds import module_kind
from .layers import Selection
from .models import brings_its_weights, load_model
from .models.building import ARCHITECTURE_ONLY
from .models.preprocessing import NOT_FOUND
from .models.probing import formats_of
from .receptive import Follower, describe
from .records import (
    Axes,
    ChannelStats,
    Choice,
    CountedLayer,
    FeatureMap,
    FieldListing,
    FieldRow,
    ImageInput,
    LayerRef,
    Listing,
    LoadedModel,
    Look,
    ModelRequest,
    ReceptiveField,
)
from .stats import channel_stats, layer_stats

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from .costs import Count

_Row = TypeVar("_Row", CountedLayer, FieldRow)
_Result = TypeVar("_Result")

SHOWN_CHANNELS = 64
"""How many channels a figure shows unless told otherwise: an 8 × 8 grid is what a slide can hold."""
SHOWN_CLIPS = 16
"""The same where each channel is a row of frames."""


@dataclass(frozen=True, slots=True)
class Session:
    """A model on its device, ready to look at images."""

    model: LoadedModel
    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format | None = None
    resolvers: dict[tuple[int, ...], AxesResolver] = field(default_factory=dict, repr=False)


def open_session(request: ModelRequest, say: Callable[[str], None], *, initialise: bool = True) -> Session:
    """Load the model that is asked for and put it on its device (`cpu`, `cuda`, `cuda:1`, `mps`, `auto`) in its dtype.

    `auto` takes CUDA, then MPS, then the CPU. `say` gets what the user should know, a sentence at a time. Without
    `initialise`, weights asked to be random have no meaning.
    Raises ModelError and WeightsError as `models.load_model`, and DeviceError where the device is absent or the
    model does not go there.
    """
    device = _find_device(request.device)
    model = load_model(
        request.model,
        request.weights,
        seed=request.seed,
        size=request.size,
        shapes=request.input_shape,
        mean=request.mean,
        std=request.std,
        say=say,
        initialise=initialise,
    )
    if request.value_range is not None:
        model = replace(model, preprocessing=replace(model.preprocessing, value_range=request.value_range))
    formats = formats_of(model.module)
    if request.dtype is not None:
        dtype = getattr(torch, request.dtype)
    else:
        dtype = getattr(torch, model.takes.dtype) if model.takes is not None else formats[0]
        if formats != [torch.float32]:
            names = " and ".join(map(dtype_name, formats))
            say(f"{model.name} is made in {names} and runs as it is made; --dtype float32 casts it.")
    try:
        model.module.to(device)
        if request.dtype is not None:
            cast_floats(model.module, dtype)
    except (RuntimeError, TypeError, NotImplementedError, AssertionError) as error:
        raise DeviceError(
            f"{model.name} cannot be moved to {device} as {dtype_name(dtype)}: {raised.first_line(error)}"
        ) from error
    memory_format = None
    if request.memory_format == "channels_last" and model.input_kind != "images":
        memory_format = torch.channels_last_3d if model.input_kind == "video" else torch.channels_last
        model.module.to(memory_format=memory_format)
    for note in model.notes:
        say(note)
    return Session(model, device, dtype, memory_format)


def cast_floats(module: nn.Module, dtype: torch.dtype) -> nn.Module:
    """A module whose floating-point tensors are of this dtype. Others stay: `to` would make complex ones real."""
    return module._apply(lambda each: each.to(dtype) if each.is_floating_point() else each)


def read_image(
    session: Session, source: str | Sequence[str] | None, say: Callable[[str], None], layout: str | None = None
) -> ImageInput:
    """What one pass is given: the image at `source` as this model takes it, or what else it takes (`inputs`).

    None is the bundled sample, or noise for a network that takes no picture, which is said. For a model of clips a
    directory is read as frames, as many as the clip has, evenly spaced over its pictures; for one of pairs `source` may
    be two images. A single picture is repeated, which is said as well. Raises ImageError.
    """
    return feed_of(session.model).read(source, say, layout)


def once(say: Callable[[str], None]) -> Callable[[str], None]:
    """Says each sentence once, where many images or two sides have the same to say."""
    said: set[str] = set()

    def say_once(sentence: str) -> None:
        if sentence not in said:
            said.add(sentence)
            say(sentence)

    return say_once


def groups(session: Session, sources: Sequence[str]) -> list[str | Sequence[str] | None]:
    """The sources that belong to one pass each: two for a model of pairs, else one. None is for want of any.

    A folder stands for the images in it, but for a model of clips, to which it is a clip.

    Raises ImageError where a model of several inputs is given a number of images that does not go by them.
    """
    return feed_of(session.model).groups(sources)


def _find_device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and not index.isdigit()):
        raise DeviceError(f"unknown device {name!r}.", hint="Use cpu, cuda, cuda:1, mps or auto.")
    if kind == "cuda" and not torch.cuda.is_available():
        built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "no CUDA"
        raise DeviceError(
            f"no CUDA device here (PyTorch {torch.__version__} is built with {built}, and finds no usable GPU).",
            hint="Use --device cpu, or --device auto to take a GPU only where there is one.",
        )
    if kind == "cuda" and index and int(index) >= torch.cuda.device_count():
        raise DeviceError(f"no device {name}: there are {torch.cuda.device_count()} CUDA devices.")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("no MPS device here.", hint="Use --device cpu, or --device auto.")
    return torch.device(name)


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
    selection = Selection(patterns or default_patterns(session.model), session.model.module)
    resolver = axes_for(session, image, layout)
    labels = session.model.labels
    maps: dict[str, FeatureMap] = {}
    arrays: dict[str, Tensor] = {}

    def watch(layer: LayerRef) -> Sink:
        def sink(output: Tensor) -> None:
            if not selection.offer(layer, output.shape):
                return
            classes = label_map(output, labels) if layer.kind == "output" else None
            found = _feature_map(layer, output, resolver.of(layer, output.shape), choice)
            maps[layer.name] = replace(found, label_map=classes)
            if keep_arrays:
                arrays[layer.name] = laid_out(output).detach().to("cpu", copy=True)
            for name in maps.keys() - selection.wanted():
                del maps[name]
                arrays.pop(name, None)

        return sink

    if selection.needs_operations:
        resolver.prepare()
    output = run(session, image, watch, operations=selection.needs_operations, paths=selection.paths)
    asked = selection.chosen()
    seen, scale = _picture_seen(session, image)
    return Look(
        image=seen,
        maps=tuple(
            replace(maps[layer.name], asked=pattern, role=_role(session, output, layer)) for layer, pattern in asked
        ),
        predictions=predictions(output, labels),
        arrays={layer.name: arrays[layer.name] for layer, _ in asked if layer.name in arrays},
        detections=detections(output, labels, least_score, scale),
    )


def _role(session: Session, output: Any, layer: LayerRef) -> str:
    """What a tensor of the answer is of it, in words; empty for all other layers."""
    if layer.kind != "output":
        return ""
    return role(output, layer.name.removeprefix("output."), refined=session.model.input_kind == "image_pair")


def _picture_seen(session: Session, image: ImageInput) -> tuple[ImageInput, tuple[float, float]]:
    """The picture that the backbone saw, and how much larger it is than the image (height, width).

    torchvision's detectors resize and pad their input in a module called `transform`; running it alone is cheap.
    Any other network saw the image as it is.
    """
    transform: Any = getattr(session.model.module, "transform", None)
    if session.model.input_kind != "images" or not hasattr(transform, "image_std"):
        return image, (1.0, 1.0)
    with torch.no_grad():
        batch, _ = transform([image.tensor.to(session.device, session.dtype)])
    tensor = batch.tensors[0].float().cpu()  # [3, H, W]
    mean = torch.tensor(transform.image_mean)[:, None, None]
    std = torch.tensor(transform.image_std)[:, None, None]
    unpadded = torch.zeros_like(tensor)
    height, width = batch.image_sizes[0]
    unpadded[:, :height, :width] = (tensor * std + mean)[:, :height, :width]
    pixels = (unpadded.clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()  # [H, W, 3]
    scale = height / image.pixels.shape[0], width / image.pixels.shape[1]
    return replace(image, pixels=np.ascontiguousarray(pixels)), scale


def default_patterns(model: LoadedModel) -> tuple[str, ...]:
    """What is shown where no layer is named: the first convolution, or the first module of a network without one."""
    modules = dict(model.module.named_modules())
    if any(module_kind(module) == "conv" for module in modules.values()):
        return ("conv1",)
    return next(((path,) for path, module in modules.items() if path and not any(module.children())), ("first",))


def open_architecture(request: ModelRequest, say: Callable[[str], None]) -> Session:
    """The same, where the values of the weights do not matter: without `--weights` there are none."""
    if request.weights or brings_its_weights(request.model):
        return open_session(request, say)
    return open_session(replace(request, weights="random"), say, initialise=False)


# -- the list of layers ------------------------------------------------------------------------------------------


def survey(
    session: Session,
    patterns: Sequence[str] = (),
    *,
    kinds: Sequence[str] = (),
    depth: int | None = None,
    image: ImageInput | None = None,
    layout: str | None = None,
) -> Listing:
    """Every layer with its shape, axes and cost for one image, in execution order, and the network in numbers.

    Or those layers that the patterns pick, of these kinds, and not inside more than `depth - 1` others. The input is
    `image`, or the bundled sample, after the model's own preprocessing; what is in the picture matters where a
    network with weights reads values on its way (an early exit). Raises LayerError where no layer is left.
    """
    if image is None:
        image = read_image(session, None, lambda _: None)
    resolver = axes_for(session, image).prepare()
    counted, seen, real = _counted(session, image)
    layers = []
    for each in counted.layers:
        axes = resolver.of(each.layer, each.shape)
        layers.append(replace(each, axes=axes, field=seen.of(each.layer.name, axes, each.shape)))
    names = names_picked(session, layers, patterns)
    cut = layers if depth is None else inventory.cut(layers, depth)
    shown = of_kinds([each for each in cut if each.layer.name in names], kinds)
    if not shown:
        raise LayerError(
            f"no layer is left at --depth {depth}: those picked are further inside.",
            hint=f"The first of them is at depth {min(each.depth for each in layers if each.layer.name in names)}.",
        )
    convolutions = inventory.convolutions(layers)
    return Listing(
        layers=tuple(laid_out_as(each, layout, seen) for each in shown),
        count=len(layers),
        input_shape=layers[0].shape,
        stages=inventory.stages(layers),
        parameters=sum(parameter.numel() for parameter in session.model.module.parameters()),
        idle_parameters=counted.idle_parameters,
        multiply_adds=counted.total,
        convolutions=len(convolutions),
        mixers=sum(map(inventory.is_mixer, convolutions)),
        depthwise=sum(each.geometry is not None and each.geometry.per_channel for each in convolutions),
        strided=sum(map(inventory.is_strided, convolutions)),
        uncounted=tuple(counted.uncounted.items()),
        notes=_decided_by_values(session, image, seen, real),
    )


def names_picked(session: Session, rows: Sequence[CountedLayer | FieldRow], patterns: Sequence[str]) -> set[str]:
    """The names of the layers that the patterns pick; all of them without one. Raises LayerError."""
    selection = Selection(patterns or ("*",), session.model.module)
    for each in rows:
        selection.offer(each.layer, each.shape)
    return {layer.name for layer, _ in selection.chosen()}


def laid_out_as(row: _Row, layout: str | None, seen: SeenFields) -> _Row:
    """The row of a layer with the axes that a user's letters give it. Raises LayerError where they do not fit."""
    if layout is None:
        return row
    axes = axes_by_layout(layout, row.layer.name, row.shape)
    return replace(row, axes=axes, field=seen.of(row.layer.name, axes, row.shape))


def of_kinds(rows: Sequence[_Row], kinds: Sequence[str]) -> list[_Row]:
    """The rows of these kinds; all of them without one. Raises LayerError where that leaves none."""
    if not kinds or not rows:
        return list(rows)
    kept = [each for each in rows if each.layer.kind in kinds]
    if not kept:
        there = ", ".join(dict.fromkeys(each.layer.kind for each in rows))
        raise LayerError(f"no layer of kind {' or '.join(kinds)} among these.", hint=f"Their kinds are {there}.")
    return kept


def _counted(session: Session, image: ImageInput) -> tuple[Count, SeenFields, bool]:
    """The layers of a pass over an image of this size with their costs and fields, as `run_cheaply` runs it."""
    from .costs import count_layers  # with torch's formulas comes Triton, most of a second

    def count(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Count, SeenFields]:
        seen = SeenFields(session, inputs)
        with seen.follower:
            counted = count_layers(module, inputs, seen.note)
        return counted, seen

    (counted, seen), real = run_cheaply(session, image, count, lambda found: found[1].by_values)
    return counted, seen, real


def run_cheaply(
    session: Session,
    image: ImageInput,
    run: Callable[[nn.Module, tuple[Any, ...]], _Result],
    by_values: Callable[[_Result], Sequence[str]],
    module: nn.Module | None = None,
) -> tuple[_Result, bool]:
    """`run(module, inputs)` of a pass over an image of this size, in the cheapest way that works; and whether for real.

    What a network decides by values it decides for real where it has weights: `by_values` are the layers before which
    it did. The module is the model's own, or a copy of it.
    """
    model = session.model
    module = model.module if module is None else module
    size = tuple(image.tensor.shape)
    has_weights = model.weights != ARCHITECTURE_ONLY
    attempts: tuple[str, ...] = ("meta", "blank") if prefers_meta(session, size) else ("blank", "meta")
    if model.input_kind == "images":  # reads values; what a detector with weights finds is to be counted
        attempts = () if has_weights else ("blank",)
    for attempt in attempts:
        try:
            if attempt == "meta":
                twin = meta_twin(module)
                with torch.device("meta"):
                    blank = (torch.empty_like(each, device="meta") for each in network_inputs(session, [image]))
                    found = run(twin, tuple(blank))
            else:
                with blank_arithmetic():
                    found = run(module, network_inputs(session, [image]))
        except KeyboardInterrupt:
            raise
        except BaseException:
            continue  # the pass over the image itself will say what is wrong
        if has_weights and by_values(found):
            break
        return found, False
    inputs = network_inputs(session, [image])
    with _model_errors(session, inputs, 1, []):
        return run(module, inputs), True


def _decided_by_values(session: Session, image: ImageInput, seen: SeenFields, real: bool) -> tuple[str, ...]:
    """What to say of a network that read values in Python on its way: which ones it went by."""
    layers = seen.by_values
    if not layers or session.model.input_kind == "images":  # detectors: said when they are opened
        return ()
    where = ", ".join(layers) if len(layers) < 5 else f"{', '.join(layers[:3])} and {len(layers) - 3} more layers"
    only_sizes = seen.follower.sized and not seen.follower.readers
    how = "the size of a tensor went by values" if only_sizes else "a value was read in Python"
    read = f"{how} before {where}, and what runs may depend on it"
    if real:
        return (f"{read}: counted is the pass over {image.name} with these weights",)
    return (f"{read}: without weights it was decided on blank values, so another picture may take more or less",)


# -- receptive fields --------------------------------------------------------------------------------------------


class SeenFields:
    """Follows a pass and keeps what every layer sees of the input, along its axes `names`, which are `sizes` long."""

    def __init__(self, session: Session, inputs: tuple[Any, ...]) -> None:
        images = inputs[0] if isinstance(inputs[0], list) else inputs
        feed = feed_of(session.model)
        self.names = feed.axes
        lead = images[feed.lead]
        at = feed.places(lead.ndim)
        self.sizes = tuple(lead.shape[each] for each in at)
        self.follower = Follower()
        for each in images:  # inputs of other sizes have other places
            if session.model.input_kind == "images" or [each.shape[n] for n in at if n < each.ndim] == [*self.sizes]:
                self.follower.start(each, at)
        self._fields: dict[str, Any] = {}

    @property
    def by_values(self) -> list[str]:
        """The layers before which the network may have gone one way or another by values of the image."""
        found = self.follower.readers or self.follower.sized
        return list(dict.fromkeys([*found, "the answer"] if self.follower.pending else found))

    def note(self, layer: LayerRef, output: Tensor) -> None:
        self.follower.name(layer.name)
        self._fields[layer.name] = self.follower.fields_of(output)

    def of(self, layer: str, axes: Axes, shape: Sequence[int]) -> ReceptiveField:
        return describe(self._fields[layer], axes, shape, self.names, self.sizes)


def receptive_fields(
    session: Session,
    patterns: Sequence[str] = (),
    *,
    kinds: Sequence[str] = (),
    image: ImageInput | None = None,
    layout: str | None = None,
) -> FieldListing:
    """What the layers that the patterns pick see of an input of this image's size (or the bundled sample's).

    In execution order. Only shapes matter, but where a network with weights reads values on its way. Raises LayerError
    where no layer is left.
    """
    if image is None:
        image = read_image(session, None, lambda _: None)
    resolver = axes_for(session, image).prepare()
    found: list[tuple[LayerRef, tuple[int, ...]]] = []

    def follow(module: nn.Module, inputs: tuple[Any, ...]) -> SeenFields:
        seen = SeenFields(session, inputs)
        found.clear()

        def watch(layer: LayerRef) -> Sink:
            def sink(output: Tensor) -> None:
                found.append((layer, tuple(output.shape)))
                seen.note(layer, output)

            return sink

        with seen.follower:
            capture(module, inputs, watch)
        return seen

    seen, _ = run_cheaply(session, image, follow, lambda found: found.by_values)
    rows = []
    for layer, shape in found:
        axes = resolver.of(layer, shape)
        rows.append(FieldRow(layer, shape, axes, seen.of(layer.name, axes, shape)))
    names = names_picked(session, rows, patterns)
    shown = of_kinds([each for each in rows if each.layer.name in names], kinds)
    notes = tuple(
        f"a value was read in Python before {layer} (item, or an if): what that decides is not followed"
        for layer in dict.fromkeys(seen.follower.readers)
    )
    shown = [laid_out_as(each, layout, seen) for each in shown]
    return FieldListing(tuple(shown), len(rows), found[0][1], seen.sizes, notes)


# -- axes --------------------------------------------------------------------------------------------------------

_META_VALUES = 3 * 400 * 400
"""From an input of this size on, the meta device pays for what its kernels take to import (about a second).

Below, a pass without its arithmetic takes hundredths of a second, whatever the number of parameters.
"""


def prefers_meta(session: Session, size: Sequence[int]) -> bool:
    return prod(size) * session.model.frames >= _META_VALUES


def axes_for(session: Session, image: ImageInput, layout: str | None = None) -> AxesResolver:
    """Who says what the axes of this network's layers are, for inputs of this image's size; one for each size.

    `layout` is the user's own letters, for the layers that are picked: they overrule everything.
    """
    size = tuple(n for each in (image.tensor, *image.more) for n in (-1, *each.shape))
    if size not in session.resolvers:
        session.resolvers[size] = AxesResolver(
            session.model.module,
            lambda: _follow_axes(session, image),
            lambda: _follow_axes(session, image, cheaply=False),
            lambda: _measure_axes(session, image),
        )
    resolver = session.resolvers[size]
    return resolver if layout is None else resolver.overruled(layout)


_AXES = {"image": "BCHW", "image_pair": "BCHW", "images": "CHW", "video": "BCTHW"}


def _input_axes(session: Session, count: int) -> list[str]:
    """The names of the axes of each of the network's arguments."""
    takes = session.model.takes
    if session.model.input_kind == "arrays" and takes is not None:
        return [f"B{each}" for each in takes.axes]
    return [_AXES[session.model.input_kind]] * count


def _follow_axes(session: Session, image: ImageInput, *, cheaply: bool = True) -> Followed:
    """A pass over an image of this size, followed; not `cheaply` it is the pass over the image itself."""

    def followed(module: nn.Module, inputs: tuple[Any, ...]) -> Followed:
        images = inputs[0] if isinstance(inputs[0], list) else inputs
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return follow(module, inputs, zip(images, _input_axes(session, len(images)), strict=True))

    if cheaply and session.model.input_kind != "images":  # a detector's layers depend on what it finds
        image = replace(image, tensor=image.tensor * 0, more=tuple(each * 0 for each in image.more))
    twin = twin_of(session.model.module)
    if not cheaply:
        return followed(twin, network_inputs(session, [image]))
    return run_cheaply(session, image, followed, lambda found: (), twin)[0]


def _measure_axes(session: Session, image: ImageInput) -> Growth:
    """Which axes of each layer grow with the input; not of a detector, which resizes its input by itself."""
    model = session.model
    if model.input_kind == "images":
        raise ModelError("a detector resizes its input by itself")
    failure: BaseException | None = None
    for on_meta in (True, False) if prefers_meta(session, image.tensor.shape) else (False, True):
        blank = partial(_blank_inputs, session, on_meta)
        try:
            with nullcontext() if on_meta else blank_arithmetic():
                places = feed_of(model).size_of(image)
                return measure(model.module, blank, places, model.frames, on_meta=on_meta, rebuild=model.rebuild)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            failure = error
    assert failure is not None
    raise failure


def _blank_inputs(
    session: Session, on_meta: bool, batch: int, height: int, width: int, frames: int
) -> tuple[Tensor, ...]:
    place = place_of(session)
    if on_meta:
        place = replace(place, device=torch.device("meta"))
    return feed_of(session.model).blank(batch, height, width, frames, place)


def place_of(session: Session) -> Place:
    return Place(session.device, session.dtype, session.memory_format)


def run(
    session: Session,
    images: ImageInput | Sequence[ImageInput],
    watch: Callable[[LayerRef], Sink | None],
    *,
    operations: bool = True,
    paths: frozenset[str] | None = None,
    through: Callable[..., Any] | None = None,
    inputs: tuple[Any, ...] | None = None,
    gradients: bool = False,
) -> Any:
    """One forward pass over one image, or a batch of one size; a failure of the network's own becomes a ModelError.

    `inputs` are what `network_inputs` makes of the images, where they are needed before; with `gradients` torch notes
    down how outputs come about, so that a sink can differentiate. `through` is what `capture.watching` yields, where
    its hooks serve more passes than this.
    """
    module = session.model.module
    batch = [images] if isinstance(images, ImageInput) else images
    own_fault: list[Exception] = []

    def guarded(layer: LayerRef) -> Sink | None:
        sink = watch(layer)
        if sink is None:
            return None

        def call(output: Tensor) -> None:
            try:
                sink(output)
            except Exception as error:
                own_fault.append(error)
                raise

        return call

    if inputs is None:
        inputs = network_inputs(session, batch)
    with _model_errors(session, inputs, len(batch), own_fault):
        if through is not None:
            return through(inputs, guarded)
        with torch.set_grad_enabled(gradients):
            return capture(module, inputs, guarded, operations=operations, paths=paths, as_it_stands=gradients)


@contextmanager
def _model_errors(session: Session, inputs: tuple[Any, ...], images: int, own_fault: list[Exception]) -> Iterator[None]:
    """Turn what the network raises into a ModelError; what fmap's own sinks raise stays what it is."""
    try:
        yield
    except FmapError:
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if own_fault:
            raise
        first = inputs[0][0] if isinstance(inputs[0], list) else inputs[0]
        raise ModelError(
            f"{session.model.name} fails on an input of shape {list(first.shape)} as {dtype_name(session.dtype)}"
            f" on {session.device}: {raised.told(error)}",
            hint=_failure_hint(session.model, error, images),
        ) from error


def _failure_hint(model: LoadedModel, error: BaseException, images: int) -> str | None:
    if isinstance(error, TypeError) and "argument" in raised.text(error):
        return (
            "fmap gives a network tensors alone, as --input-shape says, once for each; wrap one that takes more in a"
            " factory whose module supplies the rest."
        )
    if "not implemented for" in raised.text(error):
        return "This device has no such operation in this number format: --dtype float32 casts the network."
    about_shapes = isinstance(error, (RuntimeError, ValueError, AssertionError, IndexError, TypeError))
    if about_shapes and model.takes is not None and model.takes.how == NOT_FOUND:
        return (
            "No usual input makes it run: try another --size, or say what it takes with --input-shape C,H,W (C,W or L"
            " for what is no picture), once for each input."
        )
    if isinstance(error, (RuntimeError, ValueError, AssertionError)):
        fewer = " Or --batch 1, where it takes no more." if images > 1 else ""
        return f"Try another --size (networks have a smallest input), --dtype float32 or --device cpu.{fewer}"
    return None


def network_inputs(session: Session, images: Sequence[ImageInput]) -> tuple[Any, ...]:
    """The images as the network takes them."""
    return feed_of(session.model).batch(images, place_of(session))


# -- one layer ---------------------------------------------------------------------------------------------------


_ORDINALS = {0: "the first axis", 1: "the second axis", 2: "the third axis"}


def _feature_map(layer: LayerRef, output: Tensor, axes: Axes, choice: Choice) -> FeatureMap:
    """The numbers of a layer's output, and copies of the maps to draw."""
    values = plain(output)
    maps = channel_maps(values, axes)  # [C, T, H, W]
    channels = channel_stats(maps.flatten(1))
    drawn, order = choose_channels(layer, channels, choice, _most_shown(maps))
    notes = []
    undrawn = undrawn_axes(axes, values.shape)
    if undrawn:
        listed = ", ".join(f"{values.shape[at]} items on {_ORDINALS.get(at, f'axis {at + 1}')}" for at in undrawn)
        notes.append(f"drawn is the first of {listed}; mean to zeros are over all")
    if output.is_complex():
        notes.append("complex values: their magnitudes are drawn and counted")
    if axes.grid is not None:
        left_out = f"; {axes.prefix} before it left out" if axes.prefix else ""
        notes.append(f"tokens drawn as their grid of {axes.grid[0]} × {axes.grid[1]}{left_out}")
    return FeatureMap(
        layer=layer,
        asked=layer.name,
        shape=tuple(values.shape),
        dtype=dtype_name(output.dtype),
        axes=axes,
        stats=layer_stats(values),
        channels=channels,
        drawn=drawn,
        maps=maps[torch.from_numpy(drawn).to(maps.device)].detach().to("cpu", torch.float32, copy=True).numpy(),
        order=order,
        notes=tuple(notes),
        strides=() if output.layout != torch.strided else tuple(output.stride()),
    )


def _most_shown(maps: Tensor) -> int:
    """How many channels of `[C, T, H, W]` to draw unless told otherwise: values without a place are one strip."""
    if maps.shape[2] * maps.shape[3] == 1:
        return len(maps)
    return SHOWN_CHANNELS if maps.shape[1] == 1 else SHOWN_CLIPS


def choose_channels(
    layer: LayerRef, channels: ChannelStats, choice: Choice, most: int = SHOWN_CHANNELS
) -> tuple[np.ndarray, str]:
    """The indices of the channels to draw, and in words which they are and in what order.

    Without a choice, a layer of up to `most` channels is drawn whole, and of a larger one the `most` of the largest
    `choice.by`. Raises LayerError where a channel is asked for that the layer does not have.
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
    key = getattr(channels, choice.by)
    if choice.by == "std" and np.isnan(key).all():
        key = np.abs(channels.mean)  # one value a channel has no standard deviation
    ranked = np.argsort(-np.where(np.isnan(key), -np.inf, key), kind="stable")[:top]
    names = {"std": "standard deviation", "mean": "mean", "max": "maximum", "l2": "L2 norm"}
    return ranked, f"{len(ranked)} of {count} channels, largest {names[choice.by]} first"


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")
