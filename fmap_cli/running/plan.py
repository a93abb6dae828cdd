"""Which images a run is over, in which order, and the class of each."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass

from ..session.by_folder import classes_of
from ..session.opening import Session, groups

Entry = str | Sequence[str] | None
"""What one item of a run is read from: a path, several that belong together, or None for the bundled sample."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The images of a run in their order, and the class of each where classes are told apart.

    With several processes this is the `rank`-th of `ranks` parts of the list. `digest` is of the part.
    """

    sources: tuple[str, ...]
    entries: Sequence[Entry]
    classes: Sequence[str] | None
    digest: str
    rank: int = 0
    ranks: int = 1


def plan_run(
    session: Session,
    arguments: Sequence[str],
    *,
    limit: int | None = None,
    shuffle_seed: int | None = None,
    by_class: bool = False,
    verb: str = "stats",
    rank: int = 0,
    ranks: int = 1,
) -> Plan:
    """The images that the arguments name, shuffled and cut as asked for; of those every `ranks`-th from `rank` on.

    A class is the first folder below the folder named (`val/cat/1.jpg` of `val` is a `cat`); images directly in it are
    of the class of its name. Raises ImageError where there are none, or no folder to tell classes by.
    """
    entries: list[Entry]
    classes: list[str] | None = None
    if by_class:
        paths, classes = classes_of(session, arguments, verb)
        entries = list(paths)
    else:
        entries = groups(session, arguments)
    order = range(len(entries))
    if shuffle_seed is not None:
        order = random.Random(shuffle_seed).sample(order, len(order))  # type: ignore[assignment]
    order = order[:limit][rank::ranks]
    entries = [entries[at] for at in order]
    classes = None if classes is None else [classes[at] for at in order]
    digest = hashlib.sha256("\0".join(map(repr, entries)).encode("utf-8", "backslashreplace")).hexdigest()
    return Plan(tuple(arguments), entries, classes, digest, rank, ranks)
