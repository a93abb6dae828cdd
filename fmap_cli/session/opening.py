"""A model on its device, ready to look at images."""

from __future__ import annotations

import copy
import importlib.metadata
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import torch
from torch import nn

from ..errors import DeviceError
from ..foreign import raised
from ..inputs.feeds import feed_of
from ..inputs.records import ImageInput
from ..models import brings_its_weights, load_model
from ..models.preprocessing import FOUND
from ..models.records import LoadedModel, ModelRequest, Note, Origin, Topic, Versions
from ..models.trying import formats_of
from ..network.axes import AxesResolver


@dataclass(frozen=True, slots=True, repr=False)
class Session:
    """A model on its device, ready to look at images."""

    model: LoadedModel
    device: torch.device
    dtype: torch.dtype
    memory_format: torch.memory_format | None = None
    resolvers: dict[tuple[int, ...], AxesResolver] = field(default_factory=dict)
    advised: dict[tuple[tuple[int, ...], ...], str | None] = field(default_factory=dict)

    @property
    def origin(self) -> Origin:
        """Where the results of this session come from."""
        model = self.model
        device, dtype = str(self.device), dtype_name(self.dtype)
        return Origin(
            model.name, model.weights, model.feeding, device, dtype, versions(), model.takes, model.input_kind
        )

    def origin_of(self, *images: ImageInput) -> Origin:
        """Where the results of a pass over these inputs come from: arrays given as they are were not prepared."""
        origin, takes = self.origin, self.model.takes
        if origin.preprocessing is not None and images and all(each.own_size for each in images):
            origin = replace(origin, preprocessing=origin.preprocessing.at_own_size)
        shapes = {tuple(each.tensor.shape) for each in images}
        if takes is not None and takes.how == FOUND and len(takes.shapes) == len(shapes) == 1:
            (shape,) = shapes
            if len(shape) == len(takes.shapes[0]):
                origin = replace(origin, takes=replace(takes, shapes=(shape,)))
        return origin if any(each.prepared for each in images) else replace(origin, preprocessing=None)

    def __repr__(self) -> str:
        of = self.model
        return f"<Session of {of.name}, {of.weights.in_words}, on {self.device} as {dtype_name(self.dtype)}>"


@cache
def versions() -> Versions:
    """The releases of fmap, PyTorch and torchvision that are at work here; empty for one that is not installed."""
    return Versions(_release("fmap-cli"), str(torch.__version__), _release("torchvision"))


def _release(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""


def open_session(
    request: ModelRequest,
    say: Callable[[str], None],
    *,
    initialise: bool = True,
    unsaid: Collection[Topic] = (),
) -> Session:
    """Load the model that is asked for and put it on its device (`cpu`, `cuda`, `cuda:1`, `mps`, `auto`) in its dtype.

    `auto` takes CUDA, then MPS, then the CPU. `say` gets what the user should know, a sentence at a time. Without
    `initialise`, weights asked to be random have no meaning. Notes about what is `unsaid` are in the model's `notes`
    alone.
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
        labels=request.labels,
    )
    is_moved = _is_moved(model.module, device, request)
    if is_moved and not isinstance(request.model, str):
        model = replace(model, module=copy.deepcopy(model.module))
    if request.value_range is not None:
        model = replace(model, preprocessing=replace(model.preprocessing, value_range=request.value_range))
    formats = formats_of(model.module)
    if request.dtype is not None:
        dtype = getattr(torch, request.dtype)
    else:
        dtype = getattr(torch, model.takes.dtype) if model.takes is not None else formats[0]
        if formats != [torch.float32]:
            names = " and ".join(map(dtype_name, formats))
            made = f"{model.name} is made in {names} and runs as it is made; --dtype float32 casts it."
            model = replace(model, notes=(Note(made, "dtype"), *model.notes))
    try:
        if is_moved:
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
        if not (isinstance(note, Note) and note.about in unsaid):
            say(note)
    return Session(model, device, dtype, memory_format)


def _is_moved(module: nn.Module, device: torch.device, request: ModelRequest) -> bool:
    """Whether the network has to go to another device, number format or memory format."""
    tensors = [*module.parameters(), *module.buffers()]
    dtype = None if request.dtype is None else getattr(torch, request.dtype)
    return (
        request.memory_format != "contiguous"
        or any(each.device != device for each in tensors)
        or any(dtype not in (None, each.dtype) for each in tensors if each.is_floating_point())
    )


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


def open_architecture(request: ModelRequest, say: Callable[[str], None], *, unsaid: Collection[Topic] = ()) -> Session:
    """A session where the values of the weights do not matter: without `--weights` there are none."""
    if request.weights or brings_its_weights(request.model):
        return open_session(request, say, unsaid=unsaid)
    return open_session(replace(request, weights="random"), say, initialise=False, unsaid=unsaid)


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for `torch.float32`."""
    return str(dtype).removeprefix("torch.")
