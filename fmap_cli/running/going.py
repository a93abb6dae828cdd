"""A run over images from beginning to end: gone through, noted down and gone on with, shared out over a team."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy

from ..errors import DONE, FAILED, FmapError, ImageError, ModelError
from ..foreign import allocation
from ..inputs.records import ImageInput
from ..interrupts import stoppable
from ..session.batches import Say
from ..session.opening import Session
from .checkpoint import Kept, RunCheckpoint
from .plan import Entry, Plan
from .reading import read_batches
from .records import Resumable, RunOrigin
from .team import Found, Gone, Record, Team, any_of, find_team, meeting, merged

Advanced = Callable[..., None]
_Gives = TypeVar("_Gives", covariant=True)
Read = list[tuple[int, ImageInput]]
"""Images that were read, each with its place in the list."""

_PATIENCE = 16
"""After so many images that the network fails on, and none that it does not, it is the network's fault."""
_REMARKS = 20
"""How many remarks on images a run prints at most."""


def origin_of(session: Session, *, digest: bool) -> RunOrigin:
    """Which network this is; `digest` also reads all its weights, about a second for each GB."""
    model = session.model
    hashed = hashlib.blake2b(digest_size=16)
    for name, value in model.module.state_dict().items() if digest else ():
        if isinstance(value, Tensor) and not is_lazy(value):
            hashed.update(name.encode())
            hashed.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    origin = session.origin
    return RunOrigin(
        **{each.name: getattr(origin, each.name) for each in fields(origin)},
        digest=hashed.hexdigest() if digest else "",
        input=model.takes.words if model.takes and model.input_kind == "arrays" else model.preprocessing.steps,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace(Generic[Record]):
    """What a run is told and asked on its way: `advanced` after each batch how many entries are done, of how many, and
    how many of them failed; `stop` whether to end there; `note_down` gets it as it is every `note_every` seconds.
    """

    advanced: Advanced = lambda done, total, failed=0: None
    stop: Callable[[], bool] = lambda: False
    note_down: Callable[[Record], None] | None = None
    note_every: float = 60.0


class Gatherer(Protocol[_Gives]):
    """What adds up the images of a run."""

    @property
    def images(self) -> int:
        """How many it has added."""
        ...

    def add(self, images: Read, group: str | None) -> None:
        """Take these images in, which are of one class: all of them, or where a pass fails (ModelError) none."""
        ...

    def run(self, origin: RunOrigin, plan: Plan, failures: Sequence[tuple[str, str]], done: int) -> _Gives:
        """All that is known after `done` entries of the list."""
        ...


def go_through(
    session: Session,
    plan: Plan,
    gatherer: Gatherer[Record],
    origin: RunOrigin,
    *,
    batch: int,
    say: Say,
    workers: int | None = None,
    layout: str | None = None,
    earlier: Record | None = None,
    pace: Pace[Record] = Pace(),
) -> Record:
    """Go through the plan's images, from where `earlier` stopped on; returns the run, unfinished where it was stopped.

    An image that cannot be read, or that the network fails on, counts as a failure. Raises ModelError where the network
    fails on all of the first images, and what `Gatherer.add` raises.
    """
    size = 1 if session.model.input_kind == "images" else batch  # a detector pads a batch to its largest image
    total = len(plan.entries)
    done = earlier.progress.done if earlier is not None and earlier.progress is not None else 0
    failures = list(earlier.failures) if earlier is not None else []
    pace.advanced(done, total)
    saved = time.monotonic()
    first_refusal: FmapError | None = None
    in_vain = 0
    prepared = earlier is not None  # what went in before is not known: pictures, as a rule
    with allocation.kept(total - done > size):
        for read in read_batches(session, plan, done, size, workers, layout, _sparingly(say)):
            failures += [(name, error.message) for name, error in read.failures]
            by_class = groupby(read.images, key=lambda each: None if plan.classes is None else plan.classes[each[0]])
            for group, images in by_class:
                refused = _added(gatherer, list(images), group)
                failures += [(name, error.message) for name, error in refused]
                first_refusal = first_refusal or (refused[0][1] if refused else None)
                in_vain += len(refused)
                if first_refusal is not None and not gatherer.images and in_vain >= min(_PATIENCE, total):
                    raise first_refusal
            done = read.stop
            prepared |= any(image.prepared for _, image in read.images)
            pace.advanced(done, total, len(failures))
            if pace.stop():
                break
            if pace.note_down is not None and time.monotonic() - saved >= pace.note_every and done < total:
                pace.note_down(gatherer.run(origin, plan, failures, done))
                saved = time.monotonic()
    if done == total and plan.ranks == 1 and gatherer.images and not prepared:
        origin = _unprepared(origin)
    return gatherer.run(origin, plan, failures, done)


def _unprepared(origin: RunOrigin) -> RunOrigin:
    """The origin of a run over arrays alone, which were neither resized nor normalised."""
    if origin.preprocessing is None:
        return origin
    return replace(origin, preprocessing=None, input="arrays given as they are")


def _sparingly(say: Say) -> Say:
    """Say what there is to say of each image, but not of a million: each sentence once, and the first of them only."""
    said: set[str] = set()

    def say_it(sentence: str) -> None:
        if sentence in said or len(said) > _REMARKS:
            return
        said.add(sentence)
        say(
            sentence
            if len(said) <= _REMARKS
            else "there are more notes of this kind on further images; they are not shown."
        )

    return say_it


def _added(gatherer: Gatherer[Record], images: Read, group: str | None) -> list[tuple[str, FmapError]]:
    """Add these images; where the network fails on them, one by one. Returns the failures.

    Raises ModelError where memory runs out, which no other image would mend.
    """
    try:
        gatherer.add(images, group)
        return []
    except ModelError as error:
        if isinstance(error.__cause__, torch.OutOfMemoryError):
            raise
        if len(images) == 1:
            return [(images[0][1].name, error.bare())]
    return [failure for image in images for failure in _added(gatherer, [image], group)]


# -- a whole run -------------------------------------------------------------------------------------------------


class Job(Protocol[Record]):
    """A kind of run: which images it is over, how it goes through them, how it is kept, and how its parts join."""

    @property
    def batch(self) -> int: ...

    def plan(self, session: Session, sources: Sequence[str], team: Team) -> Plan:
        """The images in their order. The plan's digest is also of all that says what is found in them."""
        ...

    def through(
        self,
        session: Session,
        plan: Plan,
        origin: RunOrigin,
        say: Say,
        earlier: Record | None = None,
        pace: Pace[Record] = ...,
    ) -> Record:
        """The run through the plan, from where `earlier` ended."""
        ...

    def merge(self, parts: Sequence[tuple[str, Record]]) -> Record:
        """One run of the parts, each with a name, whose images are known to be others."""
        ...

    @property
    def kept(self) -> Kept[Record]: ...


def whole_run(session: Session, sources: Sequence[str], job: Job[Record], say: Say) -> Record:
    """The run over these images, in this process. Raises ImageError where none of them could be read."""
    plan = job.plan(session, sources, Team())
    run = job.through(session, plan, origin_of(session, digest=len(plan.entries) > job.batch), say)
    _check_any(run)
    return run


@contextmanager
def resumable_run(
    opened: Callable[[Team, Say], Session],
    sources: Sequence[str],
    job: Job[Record],
    keeping: Resumable,
    say: Say,
    progress: Callable[[], AbstractContextManager[Advanced]],
) -> Iterator[Gone[Record]]:
    """The run over these images by this process, or by the team that a launcher has started it in; what was `opened`
    for one process is its network.

    The first SIGINT or SIGTERM stops it after the batch at hand. Inside, no other fmap takes its notes. Raises what
    `Job.plan` and `Job.through` raise, and FmapError where there is nothing to go on from or no image could be read.
    """
    team = find_team()
    say = say if team.is_main else _silently
    session = opened(team, say)
    with ExitStack() as held:
        with meeting(team):
            plan = job.plan(session, sources, team)
            _remark_on_repeats(plan.entries, say)
            long = len(plan.entries) > job.batch or team.ranks > 1
            kept = long or keeping.save is not None
            origin = origin_of(session, digest=kept)
            notes = RunCheckpoint(keeping.save, plan.digest, origin, team, job.kept, say)
            if kept:
                held.enter_context(notes.taken(resume=keeping.resume))
            earlier = notes.read() if keeping.resume else None
            shown = progress() if team.is_main else nullcontext(_unseen)
            with stoppable() as asked, shown as advanced:
                pace = Pace(advanced=advanced, stop=asked, note_down=notes.write, note_every=keeping.checkpoint_every)
                run = job.through(session, plan, origin, say, earlier, pace)
            unfinished = run.progress is not None and run.progress.done < run.progress.total
            if unfinished and long:
                notes.write(run)
            stopped = any_of(team, unfinished)
            whole = merged(team, run, job.merge)
        yield _ended(whole, stopped, asked.exit_code, notes, say)


def _ended(run: Record | None, stopped: bool, exit_code: int, notes: RunCheckpoint[Record], say: Say) -> Gone[Record]:
    """What has become of the run. Raises FmapError where no image could be read."""
    if run is None:
        if not stopped:
            notes.discard()
        return Gone(None, exit_code, not stopped, _unseen)
    _check_any(run)
    if not stopped:
        return Gone(run, DONE, True, notes.discard)
    known = f"stopped after {run.images} images"
    where = f"; progress is saved in {notes.path}. The same command with --resume continues." if notes.noted else "."
    say(f"{known}{where}")
    return Gone(run, exit_code or FAILED, False, _unseen)


def _check_any(run: Found) -> None:
    if run.images:
        return
    if not run.failures:
        raise FmapError("there are no images to count.", hint="Check the arguments and --limit.")
    name, reason = run.failures[0]
    if len(run.failures) == 1:
        raise ImageError(reason)
    raise ImageError(
        f"none of the {len(run.failures)} images could be read.", hint=f"The first of them, {name}: {reason}"
    )


def _remark_on_repeats(entries: Sequence[Entry], say: Say) -> None:
    paths = [entry for entry in entries if isinstance(entry, str)]
    if len(set(paths)) < len(paths):
        say(
            f"{len(paths) - len(set(paths))} of {len(paths)} images are given more than once, and "
            f"are counted each time."
        )


def _silently(_sentence: str) -> None:
    """For the processes of a team that say nothing."""


def _unseen(*_told: object) -> None:
    """For what nobody is told of."""
