"""A run over images from beginning to end: planned, counted, noted down and gone on with, shared out over a team."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace

from ..errors import DONE, FAILED, FmapError, ImageError
from ..interrupts import stoppable
from ..network.shapes import split_layout
from ..session.batches import Say
from ..session.opening import Session
from .distributed import Team, any_of, find_team, meeting, merged
from .gather import Gathering, origin_of, statistics
from .plan import Entry, Plan, plan_run
from .records import Counting, Resumable, Run, RunOrigin
from .run_checkpoint import RunCheckpoint, digest_of

Advanced = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Counted:
    """A run that is over. `run` is None in a process whose part another one has; `complete` that nobody stopped it.

    `exit_code` tells how it was stopped; `forget` is to be called once the run is saved and shown.
    """

    run: Run | None
    exit_code: int
    complete: bool
    forget: Callable[[], None]


def plan_of(counting: Counting, session: Session, sources: Sequence[str], team: Team = Team()) -> Plan:  # noqa: B008
    """The images in their order. The plan's digest is also of all that says what is counted, and in which batches."""
    plan = plan_run(
        session,
        sources,
        limit=counting.limit,
        shuffle_seed=counting.shuffle,
        by_class=counting.by_class,
        rank=team.rank,
        ranks=team.ranks,
    )
    counted = (
        *(counting.patterns, counting.kinds, counting.per_channel, counting.by_class),
        *(counting.batch, counting.layout),
    )
    return replace(plan, digest=digest_of((plan.digest, *counted)))


def count(session: Session, sources: Sequence[str], counting: Counting, say: Say) -> Run:
    """The run over these images, in this process. Raises ImageError where none of them could be read."""
    plan = plan_of(counting, session, sources)
    origin = origin_of(session, digest=len(plan.entries) > counting.batch)
    run = _through(session, plan, origin, counting, say)
    _check_any(run)
    return run


def _through(
    session: Session,
    plan: Plan,
    origin: RunOrigin,
    counting: Counting,
    say: Say,
    *,
    earlier: Run | None = None,
    advanced: Advanced = lambda done, total, failed=0: None,
    stop: Callable[[], bool] = lambda: False,
    note_down: Callable[[Run], None] | None = None,
    note_every: float = 60.0,
) -> Run:
    """The run through the plan, from where `earlier` ended until it is done or `stop` says so."""
    of_arrays, of_outputs = split_layout(counting.layout)
    gathering = Gathering(
        session,
        patterns=counting.patterns,
        kinds=counting.kinds,
        histogram="channel" if counting.per_channel else "layer",
        earlier=earlier,
        layout=of_outputs,
    )
    total = len(plan.entries)
    with gathering:
        advanced(earlier.progress.done if earlier is not None and earlier.progress is not None else 0, total)
        return statistics(
            session,
            plan,
            gathering,
            origin,
            batch=counting.batch,
            say=say,
            workers=counting.workers,
            layout=of_arrays,
            earlier=earlier,
            advanced=lambda done, failed: advanced(done, total, failed),
            stop=stop,
            note_down=note_down,
            note_every=note_every,
        )


@contextmanager
def counted(
    opened: Callable[[Team, Say], Session],
    sources: Sequence[str],
    counting: Counting,
    keeping: Resumable,
    say: Say,
    progress: Callable[[], AbstractContextManager[Advanced]],
) -> Iterator[Counted]:
    """The run over these images by this process, or by the team that a launcher has started it in; what was `opened`
    for one process is its network.

    The first SIGINT or SIGTERM stops it after the batch at hand. Inside, no other fmap takes its notes. Raises what
    `plan_run` and `statistics` raise, and FmapError where there is nothing to go on from or no image could be read.
    """
    team = find_team()
    say = say if team.is_main else _silently
    session = opened(team, say)
    with ExitStack() as held:
        with meeting(team):
            plan = plan_of(counting, session, sources, team)
            _remark_on_repeats(plan.entries, say)
            long = len(plan.entries) > counting.batch or team.ranks > 1
            kept = long or keeping.save is not None
            origin = origin_of(session, digest=kept)
            notes = RunCheckpoint(keeping.save, plan.digest, origin, team, say)
            if kept:
                held.enter_context(notes.taken(resume=keeping.resume))
            earlier = notes.read() if keeping.resume else None
            shown = progress() if team.is_main else nullcontext(_unseen)
            with stoppable() as asked, shown as advanced:
                run = _through(
                    session,
                    plan,
                    origin,
                    counting,
                    say,
                    earlier=earlier,
                    advanced=advanced,
                    stop=asked,
                    note_down=notes.write,
                    note_every=keeping.checkpoint_every,
                )
            unfinished = run.progress is not None and run.progress.done < run.progress.total
            if unfinished and long:
                notes.write(run)
            stopped = any_of(team, unfinished)
            whole = merged(team, run)
        yield _ended(whole, stopped, asked.exit_code, notes, say)


def _ended(run: Run | None, stopped: bool, exit_code: int, notes: RunCheckpoint, say: Say) -> Counted:
    """What has become of the run. Raises FmapError where no image could be read."""
    if run is None:
        if not stopped:
            notes.discard()
        return Counted(None, exit_code, not stopped, _unseen)
    _check_any(run)
    if not stopped:
        return Counted(run, DONE, True, notes.discard)
    known = f"stopped after {run.images} images"
    where = f"; progress is saved in {notes.path}. The same command with --resume continues." if notes.noted else "."
    say(f"{known}{where}")
    return Counted(run, exit_code or FAILED, False, _unseen)


def _check_any(run: Run) -> None:
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
