"""The verb `report`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from ..arguments import Say, names_of, note, opened, request_of, sources_of, verb
from ..arguments.checks import among, bytes_of
from ..errors import FmapError, ImageError
from ..frameworks import load_torchvision
from ..models import DEFAULT_MODEL
from ..models.records import ModelRequest
from ..top.api import saved_paths
from .records import MAX_BYTES

if TYPE_CHECKING:
    from ..arguments import AnyModel, Images, Names
    from ..session.opening import Session
    from .extras import Wanted
    from .planes import Bits
    from .records import Report


def _bits(name: str, given: Any) -> Bits | None:
    found: Bits | None = among(name, given, (None, 8, 16))
    return found


def _words(name: str, given: Any) -> str:
    if not isinstance(given, str):
        raise FmapError(f"{name} is {given!r}: it has to be a string.")
    return given


@verb(bits=_bits, max_size=bytes_of, made=_words, dossiers=saved_paths)
def report(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: Names = (),
    *,
    other: Images = None,
    vs: AnyModel | None = None,
    bits: Literal[8, 16] | None = None,
    score: float = 0.5,
    evidence: bool = False,
    attention: bool = False,
    effect: bool = False,
    memory: bool = False,
    dossiers: str | Path | Sequence[str | Path] | None = None,
    redact: bool = False,
    made: str = "",
    max_size: int | str = MAX_BYTES,
    layout: str | None = None,
    say: Say = note,
    say_failures: bool = True,
) -> Report:
    """A page to explore a network's maps on: one HTML file (`save("report.html")`) that needs nothing else.

    `images` are one image or several, between which the page switches. Shown are the last layer of each stage with what
    its activation read, the first convolution and the answer; and what `layer` adds, names or globs. `other` is an
    image, or `vs` another network (other weights, another number format), to compare with: the page then shows A, B and
    their difference. `bits` is how many each value has, 8 or 16; by default 16 in small layers and 8 in others, and the
    page says how far values may be off. `score` is the least score of a detector's boxes. `evidence` adds where the
    evidence for the answer is (`cam`), `attention` what the last attention layer looks at, `effect` an estimate of what
    each channel does to the answer, to sort by. `memory` adds the memory of
    a training step. `dossiers` names what `fmap top --save` wrote: the page then shows what excites each channel.
    `redact` leaves out the photo and all paths. `made` is a date to print, by default none, so that
    the same input gives the same bytes. `max_size` is the most bytes a page may have. `layout` names the axes of arrays
    (`HWC`) or of the layers of `layer` (`BHWC`).

    Of the result, `html()` is the page, `layers` says what is on it, and `frame()` shows it in a notebook. Raises
    LayerError, ModelError, ImageError, and OutputError where the page is too large.

    >>> page = report(say=lambda _: None)
    >>> [each.layer.name for each in page.layers][:3], len(page.html()) < 4e6
    (['features.0.0', 'features.0.1', 'features.0.2'], True)
    """
    if other is not None and vs is not None:
        raise FmapError("other and vs each say what is compared with: give one of them.")
    sources = sources_of(images)
    more = [] if other is None else sources_of(other)
    if other is not None and (len(more) != 1 or len(sources) != 1):
        raise ImageError(f"one image is compared with one other: {len(sources)} and {len(more)} were given.")
    from .making import Asked, make

    kept = tuple(cast("list[Path]", dossiers or ()))
    session, second, as_asked = _sides(model, vs, say)
    given = (("evidence", evidence), ("attention", attention), ("effect", effect))
    further: tuple[Wanted, ...] = tuple(name for name, is_wanted in given if is_wanted)  # type: ignore[misc]
    asked = Asked(names_of(layer), bits, score, memory, redact, made, int(max_size), layout, as_asked, further, kept)
    found = make(session, [*sources, *more], asked, say, second=second, compared=other is not None)
    for _, error in found.failures if say_failures else ():
        say(error.message)
    return found


def _sides(model: AnyModel, vs: AnyModel | None, say: Say) -> tuple[Session, Session | None, bool]:
    """The network, and B where another one is compared with; and whether B was asked to get different input."""
    one, other = request_of(model), request_of(vs)
    if one is None or other is None:
        return _opened(model, say), None if vs is None else opened(vs, say), False
    load_torchvision()
    from ..comparison.sides import open_sides

    a, b = open_sides(one, other, say)
    return a, b, any(getattr(one, name) != getattr(other, name) for name in ("size", "mean", "std"))


def _opened(model: AnyModel, say: Say) -> Session:
    session = opened(model, say)
    if isinstance(model, ModelRequest) and model.labels is not None:
        from ..answers.classify import check_labels

        check_labels(session)
    return session
