"""Two sides of a comparison: a session each, and the image as either network takes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from ..errors import ImageError
from ..inputs.feeds import Source, feed_of
from ..inputs.framing import framings_of
from ..inputs.records import ImageInput
from ..models.preprocessing import InputOverrides
from ..models.records import ModelRequest, Topic, notes_about
from ..session.batches import Say
from ..session.opening import Session, dtype_name, once, open_session, read_image
from .records import Side


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
    overrides = {
        name: getattr(request, name)
        for name in ("size", "mean", "std")
        if getattr(request, name) != getattr(from_request, name)
    }
    fed = InputOverrides(**overrides).over(replace(other, source=f"as {name}: {other.source}"))
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
    source_a, source_b = _sources_of_sides(a, b, sources)
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
        framings_of([image_a]).say(say)
        return image_a, image_a
    if source_a == source_b == "-":
        raise ImageError(
            "A and B get different input, and standard input can be read only once.", hint="Give the image as a file."
        )
    image_b = read_image(b, source_b, say, layout)
    framings_of([image_a, image_b]).say(say)
    return image_a, image_b


def _sources_of_sides(a: Session, b: Session, sources: Sequence[str]) -> tuple[Source, Source]:
    """What either side reads: an image each, or one for both; of a network of several inputs those of a pass each.

    One image for such a network is given for each of its inputs.
    """
    if not sources:
        return None, None
    count = max(feed_of(each.model).inputs for each in (a, b))
    if len(sources) == 1:
        return sources[0], sources[0]
    if count == 1:
        if len(sources) == 2:
            return sources[0], sources[1]
        raise ImageError(f"compare takes two images, A and B, and {len(sources)} were given.")
    if len(sources) == 2 * count:
        return tuple(sources[:count]), tuple(sources[count:])
    if len(sources) == count and a is not b:
        return tuple(sources), tuple(sources)
    raise ImageError(
        f"{a.model.name} takes {count} inputs in each pass, and {len(sources)} {'was' if len(sources) == 1 else 'were'}"
        " given to compare.",
        hint=f"Give {2 * count}, A's {count} and then B's; or {count} and what is different about B (--vs-…).",
    )


def _feeding(session: Session) -> tuple[Any, ...]:
    """What an image becomes for this side, wherever that is known from."""
    model = session.model
    takes = model.takes if model.input_kind in ("arrays", "video") else None
    shapes = None if takes is None else (takes.shapes, takes.axes, takes.integers, takes.indices)
    return replace(model.preprocessing, source=""), model.input_kind, model.frames, shapes


def side_of(session: Session, image: ImageInput) -> Side:
    return Side(
        source=image.name,
        origin=session.origin_of(image),
        memory_format="channels_last" if session.memory_format is not None else "contiguous",
        size=feed_of(session.model).size_of(image),
    )


def number_format(session: Session) -> str:
    """The dtype, but `tf32` where CUDA's convolutions make that of float32."""
    name = dtype_name(session.dtype)
    if name == "float32" and session.device.type == "cuda" and torch.backends.cudnn.allow_tf32:
        return "tf32"
    return name
