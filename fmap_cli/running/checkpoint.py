"""How far a long run is, noted down beside it, so that it can go on where it was stopped or killed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic

from ..errors import FmapError
from ..files import make_directory, sole_writer
from ..session.batches import Say
from .records import RunOrigin
from .team import Record, Team


@dataclass(frozen=True, slots=True)
class Kept(Generic[Record]):
    """How a kind of run is written and read again, and who says that a run goes on from another: `check` raises
    FmapError where the one in a file, whose name it gets, is of another network than this origin's.
    """

    write: Callable[[Path, Record], None]
    read: Callable[[Path], Record]
    check: Callable[[str, Record, RunOrigin], None]


class RunCheckpoint(Generic[Record]):
    """The file in which a run, or its part of a team's, is noted down: beside the file it will be saved in, or in the
    user's cache. `digest` is of the list of images and of what is counted of them.
    """

    def __init__(
        self, save: Path | None, digest: str, origin: RunOrigin, team: Team, kept: Kept[Record], say: Say
    ) -> None:
        part = f".{team.rank + 1}-of-{team.ranks}" if team.ranks > 1 else ""
        if save is not None:
            self.path = save.with_name(f"{save.name}{part}.part")
        else:
            self.path = _cache() / f"{digest_of((digest, origin.identity))[:16]}{part}.part"
        self.save = save
        self.digest = digest
        self.origin = origin
        self.team = team
        self.kept = kept
        self.say = say
        self.mine = True
        self.failed = False

    @contextmanager
    def taken(self, *, resume: bool) -> Iterator[None]:
        """Inside, no other fmap writes here. Raises FmapError where another one does.

        Two that count the same without saving it do not stand in each other's way: the first one takes the notes.
        """
        with suppress(FmapError):
            make_directory(self.path.parent)
        with sole_writer(self.path) as other:
            if other is not None:
                if self.save is not None or resume:
                    who = f"another fmap (process {other})" if other else "another fmap"
                    raise FmapError(
                        f"{who} is at work on {self.save or self.path}.",
                        hint="Wait until it has ended, or give this run a --save of its own.",
                    )
                self.mine = False
            yield

    def read(self) -> Record | None:
        """The run so far, to go on from; None where there is none. Raises FmapError where it is of something else."""
        if not self.path.exists():
            self.say(f"there is no run to continue ({self.path} does not exist): starting with the first image.")
            return None
        try:
            run = self.kept.read(self.path)
        except FmapError as error:
            raise FmapError(error.message, hint="Without --resume the run starts anew.") from None
        self.kept.check(str(self.path), run, self.origin)
        at = run.progress
        if at is None or (at.digest, at.rank, at.ranks) != (self.digest, self.team.rank, self.team.ranks):
            raise FmapError(
                f"{self.path} is of another list of images than the arguments name now, or of other options.",
                hint="The same images, layers, --batch and the like are needed. Without --resume the run starts anew.",
            )
        self.say(f"continuing after {at.done} of {at.total} images ({self.path}).")
        return run

    def write(self, run: Record) -> None:
        """Note the run down; where that fails it is said once, and the run goes on."""
        if not self.mine:
            return
        try:
            make_directory(self.path.parent)
            self.kept.write(self.path, run)
        except FmapError as error:
            if not self.failed:
                self.say(f"the progress could not be saved, so --resume will not find it: {error.message}")
            self.failed = True

    def discard(self) -> None:
        """Forget how far the run is: it is through."""
        with suppress(OSError):
            if self.mine:
                self.path.unlink()

    @property
    def noted(self) -> bool:
        return self.mine and self.path.exists()


def digest_of(what: object) -> str:
    return hashlib.sha256(repr(what).encode("utf-8", "backslashreplace")).hexdigest()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fmap" / "runs"
