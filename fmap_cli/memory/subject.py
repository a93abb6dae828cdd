"""The network that is asked about, on the meta device: how it is fed and judged at any batch, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from ..errors import FmapError, ModelError
from ..foreign import raised
from ..inputs.feeds import Place, feed_of
from ..models.nearest import advice
from ..models.preprocessing import FOUND, NOT_FOUND, found_input
from ..models.records import LoadedModel, ModelRequest, Origin, notes_about
from ..models.trying import formats_of
from ..network.axes import meta_twin
from ..session.batches import Say
from ..session.opening import cast_floats, dtype_name, open_architecture, versions
from .objectives import Objective, Targets, objective_for
from .request import MemoryRequest
from .tracing import mean_square

META = torch.device("meta")
_SIDE_OF_DETECTION = (480, 640)  # the usual picture of COCO; the network resizes it by itself
_MOST_DETECTIONS = 100  # torchvision's own


@dataclass(frozen=True, slots=True)
class Subject:
    """A network on the meta device, and how it is fed and judged at any batch."""

    model: LoadedModel
    module: nn.Module
    size: tuple[int, int]
    dtype: torch.dtype
    objective: Objective
    channels_last: bool = False

    def inputs(self, batch: int) -> tuple[Any, ...]:
        return _inputs(self.model, self.size, batch, self.dtype, self.channels_last)


def origin_of(subject: Subject) -> Origin:
    model = subject.model
    dtype = dtype_name(subject.dtype)
    return Origin(model.name, model.weights, model.feeding, "meta", dtype, versions(), model.takes, model.input_kind)


def open_subject(request: MemoryRequest, say: Say, *, channels_last: bool = False) -> Subject:
    """The network that is asked for, on the meta device and in its number format. Raises ModelError."""
    model = request.model
    if isinstance(model, ModelRequest):
        own = replace(model, size=request.size or model.size, device="cpu", dtype=None)
        model = open_architecture(own, say, unsaid=("feeding", "dtype", "objects")).model
        if notes_about(model.notes, "feeding") and model.takes is not None and model.takes.how == FOUND:
            say(f"input assumed: {found_input(model.takes)}; --input-shape changes it")
    _check_input(model)
    if any(nn.parameter.is_lazy(each) for each in [*model.module.parameters(), *model.module.buffers()]):
        raise ModelError(
            f"{model.name} has lazy layers, whose shapes are not known before they have run.",
            hint="Let the factory run the network once, on zeros of the input's shape, before it returns it.",
        )
    if model.as_trained is not None and model.weights.kind == "none":
        model = replace(model, module=model.as_trained())
    dtype = torch.float32 if request.dtype == "amp" else getattr(torch, request.dtype)
    if request.dtype == "float32" and formats_of(model.module) != [torch.float32]:
        say(f"{model.name} is made in another number format: it is counted in float32 here; --dtype chooses another.")
    module = cast_floats(meta_twin(model.module), dtype)
    heads = getattr(module, "roi_heads", None)
    if heads is not None and model.weights.kind == "none" and getattr(heads, "detections_per_img", None) == 1:
        heads.detections_per_img = _MOST_DETECTIONS  # here the bound counts, and not a single object
    learning = any(parameter.requires_grad for parameter in module.parameters())
    for parameter in module.parameters():  # a program's are not marked: then all learn
        can_learn = parameter.is_floating_point() or parameter.is_complex()
        parameter.requires_grad_((parameter.requires_grad or not learning) and can_learn)
    if channels_last:
        module = module.to(memory_format=_last(model))
    size = request.size or _own_size(model)
    inputs = _inputs(model, size, request.batch, dtype, channels_last)
    with refusals(model, inputs, request):
        objective = objective_for(module, inputs, model.input_kind, request.batch)
    if objective is None and "train" in request.modes:
        raise ModelError(
            f"{model.name} cannot be trained: there is no floating-point tensor in its answer.",
            hint="Ask for --inference, or wrap it in a factory whose module returns what the loss is made of.",
        )
    objective = objective or Objective("none", lambda count, device: Targets((), (), mean_square))
    return Subject(model, module, size, dtype, objective, channels_last)


def _check_input(model: LoadedModel) -> None:
    """Raises ModelError where nothing is known of what the network takes. (What was found by running is said.)"""
    if model.takes is not None and model.takes.how == NOT_FOUND:
        raise ModelError(
            f"{model.name} runs on no usual input: what it takes is not known.",
            hint="Say it with --input-shape C,H,W (C,W or L for what is not a picture), once for each input.",
        )


def notes_on(subject: Subject, request: MemoryRequest) -> list[str]:
    """What of this network the estimate is known to miss."""
    if subject.model.as_trained is not None and subject.model.weights.kind != "none" and "train" in request.modes:
        return ["these weights come without GoogLeNet's auxiliary heads; without --weights it is trained with both"]
    if not any(isinstance(each, nn.RNNBase) for each in subject.module.modules()):
        return []
    what = (
        "recurrent layers are taken apart into steps here, and keep more on a real device: read this as a lower bound"
    )
    return [f"{what}; automatic mixed precision does not reach them" if request.dtype == "amp" else what]


def _own_size(model: LoadedModel) -> tuple[int, int]:
    """Height and width of what the network is fed unless told otherwise."""
    own = model.preprocessing
    if model.input_kind == "arrays" and model.takes is not None:
        lead = feed_of(model).lead
        sizes = dict(zip(model.takes.axes[lead], model.takes.shapes[lead], strict=True))
        return sizes.get("H", 1), sizes.get("W", 1)
    if own.crop is not None:
        return own.crop
    if own.resize is None:
        return _SIDE_OF_DETECTION
    return (own.resize, own.resize) if isinstance(own.resize, int) else own.resize


def _last(model: LoadedModel) -> torch.memory_format:
    return torch.channels_last_3d if model.input_kind == "video" else torch.channels_last


def _inputs(
    model: LoadedModel, size: tuple[int, int], batch: int, dtype: torch.dtype, channels_last: bool
) -> tuple[Any, ...]:
    channels = model.preprocessing.channels
    if model.input_kind == "images":
        return ([torch.empty((channels, *size), dtype=dtype, device="meta") for _ in range(batch)],)
    time = (model.frames,) if model.input_kind == "video" else ()
    shape = (batch, channels, *time, *size)
    count = 2 if model.input_kind == "image_pair" else 1
    if model.input_kind == "arrays":
        return feed_of(model).blank(batch, *size, 1, Place(META, dtype))
    blanks = [torch.empty(shape, dtype=dtype, device="meta") for _ in range(count)]
    return tuple(each.contiguous(memory_format=_last(model)) if channels_last else each for each in blanks)


def shapes(inputs: tuple[Any, ...]) -> tuple[tuple[int, ...], ...]:
    tensors = inputs[0] if isinstance(inputs[0], list) else inputs
    return tuple(tuple(each.shape) for each in tensors)


@contextmanager
def refusals(model: LoadedModel, inputs: tuple[Any, ...], request: MemoryRequest) -> Iterator[None]:
    """What the network raises as a ModelError that says what can be asked instead."""
    try:
        yield
    except (FmapError, KeyboardInterrupt):
        raise
    except BaseException as error:
        shape = list(shapes(inputs)[0])
        what, text = raised.told(error), raised.text(error)
        if _reads_values(error):
            raise ModelError(
                f"{model.name} reads values during its forward or makes shapes out of them, and this "
                f"estimate has none ({what}).",
                hint="Estimate the part that does not: a factory that returns the backbone, as --model "
                "FILE.py:factory.",
            ) from error
        hint = "Try another --size"
        if "device meta" in text or "on the same device" in text:
            hint = "Its forward makes a tensor without saying where: make it on the input's device (device=x.device)"
        elif not isinstance(error, (RuntimeError, ValueError, AssertionError)):
            hint = "Its own code raised this: run one forward of it by itself to see where"
        elif "overflow" in text:
            hint = "Give a smaller --size or --batch"
        if "more than 1 value per channel" in text:
            hint = "BatchNorm needs more than one value a channel in training: give a larger --batch or --inference"
        elif hint == "Try another --size":
            each = [one[1:] for one in shapes(inputs)]
            advised = advice(model, each, 2, formats_of(model.module)[0])
            if advised is not None:
                hint = advised.removesuffix(".")
            elif request.dtype != "float32":
                hint += ", or --dtype float32 or amp"
        raise ModelError(f"{model.name} fails on an input of shape {shape}: {what}", hint=f"{hint}.") from error


def _reads_values(error: BaseException) -> bool:
    text = raised.text(error)
    signs = ("meta tensors", "on meta", "data-dependent", "Cannot copy out of meta", "'aten::nonzero'")
    kinds = (RuntimeError, NotImplementedError, TypeError)
    return isinstance(error, kinds) and any(sign in text for sign in (*signs, "convert meta"))
