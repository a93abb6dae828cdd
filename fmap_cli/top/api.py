"""The verb `top`, and saved dossiers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..arguments import Advanced, Say, names_of, nobody, note, opened, sources_of, verb
from ..errors import FmapError
from ..frameworks import load_torchvision
from ..models import DEFAULT_MODEL
from ..models.records import ModelRequest
from .records import STRONGEST, Looking

if TYPE_CHECKING:
    from ..arguments import AnyImage, AnyModel, Images, Names
    from ..running.records import Resumable
    from ..running.team import Gone
    from .liking import Question
    from .records import Dossiers


def _from_one(name: str, given: Any) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise FmapError(f"{name} is {given!r}: expected a whole number from 1 on.")
    return given


def saved_paths(name: str, given: Any) -> list[Path] | None:
    """The files of saved dossiers that are named, by one path or several; None where none are asked for."""
    if given is None:
        return None
    if not isinstance(given, (str, Path, list, tuple)):
        raise FmapError(f"{name} is {given!r}: expected the path of saved dossiers, or several.")
    paths = [given] if isinstance(given, (str, Path)) else list(given)
    if not paths:
        raise FmapError("no dossiers were named.", hint='Give the path of some: top(load="photos.fmap").')
    for path in paths:
        if not isinstance(path, (str, Path)) or not str(path).lower().endswith(".fmap"):
            raise FmapError(f"{str(path)!r} holds no dossiers: the names of saved dossiers end in .fmap.")
    return [Path(path) for path in paths]


def _one_image(name: str, given: Any) -> Any:
    if isinstance(given, (list, tuple)):
        raise FmapError(f"{name} is {len(given)} images: a place of one is asked about.")
    return given


@verb(strongest=_from_one, per_image=_from_one, load=saved_paths, like=_one_image)
def top(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: Names = (),
    *,
    kind: Names = (),
    channels: Sequence[int] | None = None,
    strongest: int = STRONGEST,
    per_image: int = 1,
    by_class: bool = False,
    limit: int | None = None,
    shuffle: int | None = None,
    batch: int = 8,
    workers: int | None = None,
    patches: bool = True,
    layout: str | None = None,
    load: str | Path | Sequence[str | Path] | None = None,
    like: AnyImage | None = None,
    at: Sequence[int] | None = None,
    say: Say = note,
) -> Dossiers:
    """What each channel of some layers answers to, over images: its strongest units, its weakest, and some in between.

    `images` are paths, folders (all images in them and below), patterns, Pillow images, arrays or tensors; by default a
    bundled photo. `layer` and `kind` pick layers by name or pattern and by kind; without them it is `last`, the map
    that the classifier pools. `channels` are the only ones kept. Of each channel the `strongest` (9) units are kept,
    `per_image` (1) of one image at most. `by_class` tells classes by folder; `limit`, `shuffle`, `batch` and `workers`
    are those of `stats`. `patches` cuts each unit's field out of its picture, which figures need. `load` names saved
    dossiers that are shown in place of a run, several as one; `layer` and `channels` then choose among what they hold.
    `like` is an image and `at` a row and a column of its map in the layers: `order`, `figure` and `print` then put
    those channels first that are stronger there than in most of the images.

    `dossier(layer, channel)` of the result is one channel's: `fires`, `max`, `quantiles`, `selectivity`, `classes` and
    `units`, each with its value, image, place and patch. `figure(layer)` is the contact sheet. Raises LayerError and
    ModelError, and ImageError where no image could be read.

    >>> found = top(layer="features.2", say=lambda _: None)
    >>> unit = found.dossier("features.2", 3).units[0]
    >>> unit.kind, unit.place, unit.patch.pixels.shape
    ('strongest', (0, 30, 41), (19, 19, 3))
    """
    kept = None if channels is None else tuple(sorted({*channels}))
    looking = Looking(
        names_of(layer), names_of(kind), kept, strongest, per_image, by_class, limit, shuffle, batch, workers, layout
    )
    if load is not None:
        if images is not None:
            raise FmapError("saved dossiers have their images: give images or load, not both.")
        shown = Looking(looking.patterns, looking.kinds, looking.channels, layout=layout)
        for each in fields(Looking):
            if getattr(looking, each.name) != getattr(shown, each.name):
                raise FmapError(f"load only shows finished dossiers: {each.name} has no effect on them.")
        loaded = load_dossiers(cast("list[Path]", load)).only(looking.patterns, channels, looking.kinds)
        question = _question(like, at, layout)
        return loaded if question is None else question.answer(opened(model, say), loaded)
    session = opened(model, say)
    from ..running.going import whole_run
    from .running import TopRun

    job = TopRun(looking, _question(like, at, layout))
    return job.finished(whole_run(session, sources_of(images), job, say), say, patches=patches)


def _question(like: AnyImage | None, at: Sequence[int] | None, layout: str | None) -> Question | None:
    """What is asked about. Raises FmapError where an image is given and no place, or a place and no image."""
    from .liking import Question

    if like is None and at is None:
        return None
    if like is None:
        raise FmapError("a place is given and no image that it is of: name it, as in like='cat.jpg'.")
    if at is None or len(at) != 2:
        raise FmapError("a place of the image is needed: its row and column in the layer's map, as in at=(3, 4).")
    return Question(sources_of([like])[0], at, layout)


@contextmanager
def resumable_top(
    request: ModelRequest,
    images: Images,
    looking: Looking,
    kept: Resumable,
    *,
    patches: bool,
    like: AnyImage | None = None,
    at: Sequence[int] | None = None,
    progress: Callable[[], AbstractContextManager[Advanced]] = lambda: nullcontext(nobody),
    say: Say = note,
) -> Iterator[Gone[Dossiers]]:
    """`top` for a run that takes hours: noted down as `kept` says, stopped by Ctrl-C after a batch, gone on with,
    shared out over the processes that torchrun starts.
    """
    load_torchvision()
    from ..running.going import resumable_run
    from ..running.team import device_of
    from .running import TopRun

    job = TopRun(looking, _question(like, at, looking.layout))
    with resumable_run(
        lambda team, say: opened(replace(request, device=device_of(team, request.device)), say),
        sources_of(images),
        job,
        kept,
        say,
        progress,
    ) as gone:
        run = gone.run
        if run is not None:
            run = job.finished(run, say, patches=patches)
        yield replace(gone, run=run)


def load_dossiers(paths: Sequence[Path]) -> Dossiers:
    """Dossiers saved by `fmap top --save`; several of one network's as one, as if over all their images in that order.

    Raises FmapError for what holds none, and for those that do not go together.
    """
    from .merging import merge_dossiers
    from .saved import load_dossiers

    return merge_dossiers([(str(path), load_dossiers(path)) for path in paths])
