"""A report from its beginning to its end: images read, passes made, everything put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..comparison.sides import read_sides
from ..errors import FmapError, ImageError, ImagesFailedError, ModelError
from ..inputs.feeds import feed_of, source_name
from ..inputs.framing import Framings
from ..inputs.records import ImageInput
from ..layers.records import Listing
from ..network.shapes import split_layout
from ..session.opening import Session, groups, read_image
from .choosing import stage_of
from .exciting import dossiers_for, missing_layers
from .extras import Further, Wanted
from .gather import Pages
from .planes import Bits
from .records import Course, Report

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a report is asked to hold."""

    patterns: tuple[str, ...] = ()
    bits: Bits | None = None
    score: float = 0.5
    memory: bool = False
    redact: bool = False
    made: str = ""
    max_bytes: int = 0
    layout: str | None = None
    fed_as_asked: bool = False
    further: tuple[Wanted, ...] = ()
    dossiers: tuple[Path, ...] = ()


def make(
    session: Session,
    sources: Sequence[str],
    asked: Asked,
    say: Say,
    *,
    second: Session | None = None,
    compared: bool = False,
) -> Report:
    """The report of these images; `compared` says that the second is B, `second` that the other network is.

    Of several images those that cannot be read are in its `failures`. Raises what the passes raise, and ImageError
    where no image is left, or one of two that are compared cannot be read.
    """
    of_arrays, of_outputs = split_layout(asked.layout)
    pages = Pages(asked.patterns, asked.bits, asked.score, of_outputs)
    dossiers = dossiers_for(session, asked.dossiers) if asked.dossiers else None
    images: Sequence[ImageInput]
    failures: list[tuple[str, FmapError]] = []
    if second is None:
        images, failures = _read(session, sources, say, of_arrays, all_needed=compared)
        if compared and len(images) != 2:
            raise ImageError(f"one image is compared with one other, and {len(images)} were given.")
        passes = [pages.run(session, image, image.name) for image in images]
        sessions = [session] * len(passes)
    else:
        if len(groups(session, sources)) != 1:
            raise ImageError(f"two networks are compared over one image, and {len(sources)} were given.")
        images = read_sides(session, second, sources, say, of_arrays, fed_as_asked=asked.fed_as_asked)
        sessions = [session, second]
        passes = [pages.run(one, image, image.name) for one, image in zip(sessions, images, strict=True)]
    if asked.further:
        further = Further(asked.further, say)
        passes = [further.added(*each) for each in zip(sessions, images, passes, strict=True)]
    if dossiers is not None and (missing := missing_layers(dossiers, passes[0].layers)):
        say(f"The page has no layer {', '.join(missing)}, of which there are dossiers: --layer adds it.")
    words, variant = "", ""
    if compared:
        words = f"{images[0].short_name} and {images[1].short_name}"
    if second is not None:
        variant = _differs(session, second)
        words = f"A and B on {images[0].short_name}"
    sides = [(session, images[0])] if second is None else [(session, images[0]), (second, images[1])]
    return Report(
        origin=session.origin,
        passes=tuple(passes),
        codes=tuple(pages.codes),
        courses=tuple(_course(one, pages.plan(one, image).listing) for one, image in sides),
        compared=words,
        variant=variant,
        memory=_memory(session) if asked.memory else "",
        redact=asked.redact,
        max_bytes=asked.max_bytes,
        score=asked.score,
        made=asked.made,
        failures=tuple(failures),
        dossiers=dossiers,
    )


def _course(session: Session, listing: Listing) -> Course:
    stage = stage_of(listing.layers, listing.stages)
    counts = Counter(stage)
    return Course(
        model=session.origin.model,
        stages=listing.stages,
        stage_layers=tuple(counts[number] for number in range(max(stage, default=-1) + 1)),
        layer_count=listing.count,
        multiply_adds=listing.multiply_adds,
        parameters=listing.parameters,
        labels=session.model.labels,
    )


def _read(
    session: Session, sources: Sequence[str], say: Say, layout: str | None, *, all_needed: bool
) -> tuple[list[ImageInput], list[tuple[str, FmapError]]]:
    """The images, and of several those that cannot be read, with why."""
    framings = Framings()
    found: list[ImageInput] = []
    failures: list[tuple[str, FmapError]] = []
    listed = groups(session, sources)
    for source in listed:
        try:
            image = read_image(session, source, say, layout)
        except ImageError as error:
            if all_needed or len(listed) == 1:
                raise
            failures.append((source_name(source), error))
            continue
        framings.add(image.name, image.framing)
        found.append(image)
    framings.say(say)
    if not found:
        raise ImagesFailedError(failures)
    return found, failures


def _differs(a: Session, b: Session) -> str:
    """In what two networks differ, as far as is known."""
    one, other = a.origin, b.origin
    parts = [
        text
        for text, same in (
            (other.model, one.model == other.model),
            (str(other.weights), one.weights == other.weights),
            (other.dtype, one.dtype == other.dtype),
            (other.device, one.device == other.device),
            (other.fed_in_words, one.preprocessing == other.preprocessing),
        )
        if not same
    ]
    return ", ".join(parts) or "as A"


def _memory(session: Session) -> str:
    """The memory of a training step of one image, as the figure of `fmap memory`, as SVG."""
    import io

    from ..drawing.files import write_scene
    from ..memory.forecast import forecast
    from ..memory.request import MemoryRequest

    if feed_of(session.model).axes[-2:] != ("H", "W"):
        raise ModelError(f"the memory of {session.model.name} is followed by `fmap memory`, with --input-shape.")
    found = forecast(MemoryRequest(model=session.model, batch=1, modes=("train",)), lambda _: None)
    held = io.BytesIO()
    write_scene(found.figure().scene, held, ".svg")
    return held.getvalue().decode()
