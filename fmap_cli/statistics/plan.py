"""Which images a run is over, in which order, and the class of each."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import ImageError
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
        if session.model.input_kind not in ("image", "images"):
            raise ImageError(f"--by-class is for single images, and {session.model.name} takes more than one at once.")
        folders = [argument for argument in arguments if Path(argument).is_dir()]
        if not folders or len(folders) < len(arguments):
            raise ImageError(
                "--by-class tells classes by folder: give a folder with a folder for each class.",
                hint="For example: `fmap stats photos --by-class`, with photos/cat/1.jpg and photos/dog/7.jpg.",
            )
        entries, classes = [], []
        for folder in folders:
            found = [str(each) for each in groups(session, [folder])]
            entries += found
            classes += [_class_of(path, folder) for path in found]
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


def _class_of(path: str, folder: str) -> str:
    parts = Path(path).relative_to(folder).parts
    return parts[0] if len(parts) > 1 else Path(folder).resolve().name
