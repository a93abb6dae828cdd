"""What `fmap stats` counts of which images, as a kind of run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..network.shapes import split_layout
from ..running.checkpoint import Kept, digest_of
from ..running.going import Pace, go_through
from ..running.plan import Plan, plan_run
from ..running.team import Team
from ..session.batches import Say
from ..session.opening import Session
from .gather import Gathering
from .merging import check_mergeable, merge_runs
from .records import Counting, Run, RunOrigin
from .runs import load_run, save_run


@dataclass(frozen=True, slots=True)
class Count:
    """The run that counts what `counting` says."""

    counting: Counting

    @property
    def batch(self) -> int:
        return self.counting.batch

    @property
    def kept(self) -> Kept[Run]:
        return Kept(save_run, load_run, _check)

    def plan(self, session: Session, sources: Sequence[str], team: Team = Team()) -> Plan:  # noqa: B008
        counting = self.counting
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

    def through(
        self,
        session: Session,
        plan: Plan,
        origin: RunOrigin,
        say: Say,
        earlier: Run | None = None,
        pace: Pace[Run] = Pace(),  # noqa: B008
    ) -> Run:
        of_arrays, of_outputs = split_layout(self.counting.layout)
        gathering = Gathering(
            session,
            patterns=self.counting.patterns,
            kinds=self.counting.kinds,
            histogram="channel" if self.counting.per_channel else "layer",
            earlier=earlier,
            layout=of_outputs,
        )
        with gathering:
            return go_through(
                session,
                plan,
                gathering,
                origin,
                batch=self.counting.batch,
                say=say,
                workers=self.counting.workers,
                layout=of_arrays,
                earlier=earlier,
                pace=pace,
            )

    def merge(self, parts: Sequence[tuple[str, Run]]) -> Run:
        return merge_runs(parts, disjoint=True)


def _check(name: str, run: Run, origin: RunOrigin) -> None:
    check_mergeable((name, run), ("this run", Run(origin, (), 0, ())))
