"""One run shared out over the processes that `torchrun` starts: who has which part, and how the parts become one."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Generic, Protocol, TypeVar

from ..errors import FmapError
from ..foreign import raised
from .records import Progress, RunOrigin

_PATIENCE = timedelta(days=30)
"""How long a process waits for another's part: files differ in size, and nothing is gained by giving up."""


@dataclass(frozen=True, slots=True)
class Team:
    """This process among those of a run: the `rank`-th of `ranks`, the `local_rank`-th on its machine."""

    rank: int = 0
    ranks: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process prints and writes for all."""
        return self.rank == 0


def find_team() -> Team:
    """The team that PyTorch's launcher has started this process in; a team of one where it has not.

    The launcher tells in the environment: RANK, WORLD_SIZE, LOCAL_RANK and where to meet (MASTER_ADDR). Without the
    last the others are somebody else's. Raises FmapError for numbers that make no sense.
    """
    if "MASTER_ADDR" not in os.environ or "RANK" not in os.environ:
        return Team()
    words = {name: os.environ.get(name, "0" if name == "LOCAL_RANK" else "1") for name in _NAMES}
    try:
        rank, ranks, local_rank = (int(words[name]) for name in _NAMES)
    except ValueError:
        rank, ranks, local_rank = -1, 0, 0
    if not 0 <= rank < ranks:
        raise FmapError(
            f"the launcher's numbers make no sense: {', '.join(f'{name}={words[name]}' for name in _NAMES)}.",
            hint="Start it as: torchrun --nproc-per-node 2 -m fmap_cli stats DIR",
        )
    return Team(rank, ranks, local_rank)


_NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK")


def device_of(team: Team, device: str) -> str:
    """The device of this process: of several GPUs on a machine each process has its own.

    >>> device_of(Team(5, 8, local_rank=1), "cuda"), device_of(Team(), "cuda"), device_of(Team(5, 8, 1), "cpu")
    ('cuda:1', 'cuda', 'cpu')
    """
    if team.ranks == 1 or device not in ("cuda", "auto"):
        return device
    import torch

    if device == "auto" and not torch.cuda.is_available():
        return device
    return f"cuda:{team.local_rank}"


@contextmanager
def meeting(team: Team) -> Iterator[None]:
    """The processes can talk to each other inside. Records are small and on the CPU, so they talk by gloo.

    NCCL would move them through the GPUs for nothing.
    """
    if team.ranks == 1:
        yield
        return
    import torch.distributed as dist

    try:
        dist.init_process_group("gloo", timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise FmapError(
            f"process {team.rank} of {team.ranks} cannot connect to the others: {raised.first_line(error)}",
            hint="MASTER_ADDR and MASTER_PORT say where; a firewall may be between.",
        ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()


class Found(Protocol):
    """What a run has found so far, whatever that is: a frozen dataclass, which joins others of its kind."""

    @property
    def origin(self) -> RunOrigin: ...
    @property
    def sources(self) -> tuple[str, ...]: ...
    @property
    def images(self) -> int: ...
    @property
    def failures(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def progress(self) -> Progress | None: ...


Record = TypeVar("Record", bound=Found)


@dataclass(frozen=True, slots=True)
class Gone(Generic[Record]):
    """A run that is over. `run` is None in a process whose part another one has; `complete` that nobody stopped it.

    `exit_code` tells how it was stopped; `forget` is to be called once the run is saved and shown.
    """

    run: Record | None
    exit_code: int
    complete: bool
    forget: Callable[[], None]


def merged(team: Team, run: Record, merge: Callable[[Sequence[tuple[str, Record]]], Record]) -> Record | None:
    """The whole run, in the main process; None in the others. `merge` makes one of several, each with a name.

    The parts meet pairwise, as in a knock-out tournament: with N processes log2(N) merges one after another, and no
    process holds more than two records. `progress` is that of the first part that is unfinished, None where
    all are done.
    """
    if team.ranks == 1:
        return run
    step = 1
    unfinished = run.progress
    while step < team.ranks:
        if team.rank % (2 * step):
            _send(team.rank - step, (run, unfinished))
            return None
        if team.rank + step < team.ranks:
            other, others = _receive(team.rank + step)
            run = merge([(f"process {team.rank}", run), (f"process {team.rank + step}", other)])
            unfinished = unfinished or others
        step *= 2
    sources = run.sources[: len(run.sources) // team.ranks]  # each process was given them all
    whole: Record = replace(run, sources=sources, progress=unfinished)  # type: ignore[type-var]
    return whole


def any_of(team: Team, flag: bool) -> bool:
    """Whether the flag is set in any of the processes."""
    if team.ranks == 1:
        return flag
    import torch
    import torch.distributed as dist

    found = torch.tensor([int(flag)])
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return bool(found.item())


def _send(rank: int, content: Any) -> None:
    import torch.distributed as dist

    dist.send_object_list([content], dst=rank)


def _receive(rank: int) -> Any:
    import torch.distributed as dist

    box = [None]
    dist.recv_object_list(box, src=rank)
    return box[0]
