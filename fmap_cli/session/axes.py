"""Who says what the axes of a session's layers are, for inputs of one size."""

from __future__ import annotations

import io
from collections.abc import Iterable
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from ..errors import ModelError
from ..inputs.feeds import feed_of
from ..inputs.records import ImageInput
from ..network.axes import AxesResolver, Followed, Following, Growth, follow, measure, twin_of
from ..network.blank import blank_arithmetic
from ..network.unchanged import recalled, remembered
from .opening import Session
from .passes import network_inputs, place_of, prefers_meta, run_cheaply

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from torch import Tensor

_Found = TypeVar("_Found")


def axes_for(session: Session, image: ImageInput, layout: str | None = None) -> AxesResolver:
    """Who says what the axes of this network's layers are, for inputs of this image's size; one for each size.

    `layout` is the user's own letters, for the layers that are picked: they overrule everything.
    """
    size = tuple(n for each in (image.tensor, *image.more) for n in (-1, *each.shape))
    if size not in session.resolvers:
        session.resolvers[size] = AxesResolver(
            session.model.module,
            lambda: of_structure(session, image, "followed", _follow_axes),
            lambda: _follow_axes(session, image, cheaply=False),
            lambda: of_structure(session, image, "measured", _measure_axes),
        )
    resolver = session.resolvers[size]
    return resolver if layout is None else resolver.overruled(layout)


def of_structure(
    session: Session,
    image: ImageInput,
    what: str,
    find: Callable[[Session, ImageInput], _Found],
    is_lasting: Callable[[_Found], bool] = lambda _: True,
) -> _Found:
    """What goes by the network and the size of its input alone: of a network in hand it is found once, as long as it
    stays as it is, and if it is `is_lasting`."""
    key = _key_of(session, image, what)
    if key is None:
        return find(session, image)
    return remembered(session.model.module, key, lambda: find(session, image), is_lasting=is_lasting)


def _key_of(session: Session, image: ImageInput, what: str) -> Hashable | None:
    """Under what it is remembered; None where it is not, since the network is another one each time."""
    model = session.model
    if model.weights.kind != "given" or model.input_kind == "images":  # a detector's layers depend on what it finds
        return None
    inputs = tuple((tuple(each.shape), each.dtype) for each in (image.tensor, *image.more))
    return what, inputs, place_of(session), model.input_kind, model.takes


_AXES = {"image": "BCHW", "image_pair": "BCHW", "images": "CHW", "video": "BCTHW"}


def input_axes(session: Session, count: int) -> list[str]:
    """The names of the axes of each of the network's arguments."""
    takes = session.model.takes
    if session.model.input_kind == "arrays" and takes is not None:
        return [f"B{each}" for each in takes.axes]
    return [_AXES[session.model.input_kind]] * count


def _named(session: Session, inputs: tuple[Any, ...]) -> Iterable[tuple[Tensor, str]]:
    """The tensors of the input, each with its axes' names."""
    images = inputs[0] if isinstance(inputs[0], list) else inputs
    return zip(images, input_axes(session, len(images)), strict=True)


def following_beside(session: Session, image: ImageInput, inputs: tuple[Any, ...]) -> Following | None:
    """Who follows the axes of a pass over these inputs, made by `run_cheaply` for something else; `learn` then tells
    the resolver what was found. None where it is told already, as it has to be before a pass for real.
    """
    resolver = axes_for(session, image)
    key = None if resolver.is_prepared else _key_of(session, image, "followed")
    if key is not None and (known := recalled(session.model.module, key)) is not None:
        resolver.learn(known)
    return None if resolver.is_prepared else Following(_named(session, inputs))


def learn(session: Session, image: ImageInput, following: Following) -> None:
    """Tell the resolver what was followed beside a pass that was not for real."""
    axes_for(session, image).learn(of_structure(session, image, "followed", lambda *_: following.found()))


def _follow_axes(session: Session, image: ImageInput, *, cheaply: bool = True) -> Followed:
    """A pass over an image of this size, followed; not `cheaply` it is the pass over the image itself."""

    def followed(module: nn.Module, inputs: tuple[Any, ...]) -> Followed:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            return follow(module, inputs, _named(session, inputs))

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
