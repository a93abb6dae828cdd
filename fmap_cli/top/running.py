"""What `fmap top` keeps of which images, as a kind of run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import ModelError
from ..network.shapes import split_layout
from ..running.alike import DOSSIERS_ALIKE, check_origins
from ..running.checkpoint import Kept, digest_of
from ..running.going import Pace, go_through
from ..running.plan import Plan, plan_run
from ..running.records import RunOrigin
from ..running.team import Team
from ..session.batches import Say
from ..session.opening import Session
from .gather import Gatherer
from .liking import Question
from .merging import joined
from .patches import with_patches
from .records import Dossiers, Looking
from .saved import load_dossiers, save_dossiers


class TopRun:
    """The run that keeps what `looking` says. After it `finished` cuts the patches, and `asked` answers what is asked
    about the dossiers, which is tried on those of one image before the run: then it is known that it can be asked.
    """

    def __init__(self, looking: Looking, asked: Question | None = None) -> None:
        self.looking = looking
        self.asked = asked
        self.session: Session | None = None
        self.gatherer: Gatherer | None = None

    @property
    def batch(self) -> int:
        return self.looking.batch

    @property
    def kept(self) -> Kept[Dossiers]:
        return Kept(save_dossiers, load_dossiers, _check)

    def plan(self, session: Session, sources: Sequence[str], team: Team) -> Plan:
        if session.model.input_kind != "image":
            takes = session.model.takes
            kind = session.model.input_kind
            words = "lists of images, as detectors do" if kind == "images" else kind.replace("_", " ")
            raise ModelError(
                f"patches are cut out of single pictures, and {session.model.name} takes "
                f"{takes.words if takes else words}.",
                hint="`fmap stats` counts what its layers put out.",
            )
        looking = self.looking
        plan = plan_run(
            session,
            sources,
            limit=looking.limit,
            shuffle_seed=looking.shuffle,
            by_class=looking.by_class,
            verb="top",
            rank=team.rank,
            ranks=team.ranks,
        )
        return replace(plan, digest=digest_of((plan.digest, replace(looking, workers=None))))

    def through(
        self,
        session: Session,
        plan: Plan,
        origin: RunOrigin,
        say: Say,
        earlier: Dossiers | None = None,
        pace: Pace[Dossiers] = Pace(),  # noqa: B008
    ) -> Dossiers:
        if self.asked is not None:
            alone = replace(plan, entries=[self.asked.image], classes=None, rank=0, ranks=1)
            first = TopRun(replace(self.looking, by_class=False, workers=0)).through(session, alone, origin, _silently)
            self.asked.answer(session, first)
        of_arrays, of_outputs = split_layout(self.looking.layout)
        self.session, self.gatherer = session, Gatherer(session, plan, self.looking, of_outputs, earlier)
        with self.gatherer as gatherer:
            found = go_through(
                session,
                plan,
                gatherer,
                origin,
                batch=self.looking.batch,
                say=say,
                workers=self.looking.workers,
                layout=of_arrays,
                earlier=earlier,
                pace=pace,
            )
        if lost := list(dict.fromkeys(gatherer.lost)):
            others = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
            say(f"NaN in layer {lost[0]}{others}: these values are passed over; `fmap stats` says where that begins.")
        return found

    def merge(self, parts: Sequence[tuple[str, Dossiers]]) -> Dossiers:
        whole = parts[0]
        for each in parts[1:]:
            whole = whole[0], joined(whole, each, offset=0)
        return whole[1]

    def finished(self, found: Dossiers, say: Say, *, patches: bool) -> Dossiers:
        """The run, with the patches of what it shows, and with what was asked."""
        assert self.session is not None and self.gatherer is not None
        of_arrays, _ = split_layout(self.looking.layout)
        if patches:
            found = with_patches(self.session, found, self.gatherer.pool.pictures, of_arrays, say)
        return found if self.asked is None else self.asked.answer(self.session, found)


def _silently(_sentence: str) -> None:
    """What there is to say of the one image is said where it is asked about."""


def _check(name: str, run: Dossiers, origin: RunOrigin) -> None:
    check_origins(name, run.origin, "this run", origin, DOSSIERS_ALIKE)
