"""Many images through one session, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..errors import FmapError, ModelError
from ..foreign import allocation
from ..inputs.feeds import source_name
from ..inputs.framing import Framings
from ..inputs.records import ImageInput
from .ahead import read_ahead
from .opening import Session, once

Say = Callable[[str], None]


Failures = list[tuple[str, FmapError]]
"""The images that gave no result, by name, each with the reason."""


def batches(
    session: Session,
    sources: Sequence[str | Sequence[str] | None],
    size: int,
    say: Say,
    failures: Failures,
    layout: str | None = None,
    advanced: Callable[..., None] = lambda done, total, failed=0: None,
) -> Iterator[list[ImageInput]]:
    """The images in their order, in batches of up to `size` that have the same height and width.

    `sources` are `session.groups`' own. An image that cannot be read goes to `failures`. What is said is said once, and
    at the end how the images were cropped and enlarged, in one sentence. `advanced` is told after each batch how many
    of how many images are done, and how many of them could not be read.
    """
    say = once(say)
    framings = Framings()
    done = 0
    advanced(done, len(sources))
    batch: list[ImageInput] = []
    with allocation.kept(len(sources) > size):
        for source, image in read_ahead(session, sources, say, layout, ahead=2 * size):
            if isinstance(image, FmapError):
                failures.append((source_name(source), image))
                continue
            framings.add(image.name, image.framing)
            if batch and (len(batch) == size or image.tensor.shape != batch[0].tensor.shape):
                yield batch
                done += len(batch)
                advanced(done + len(failures), len(sources), len(failures))
                batch = []
            batch.append(image)
        if batch:
            yield batch
    advanced(len(sources), len(sources), len(failures))
    framings.say(say)


def check_rows(what: str, rows: int, images: int) -> None:
    if rows != images:
        raise ModelError(
            f"{what} {rows} row{'s' * (rows != 1)} for {images} image{'s' * (images != 1)}: expected one each.",
            hint="If the network takes one image at a time, give --batch 1." if images > 1 else None,
        )
