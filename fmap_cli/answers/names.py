"""Which class a person means by a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

_BACKGROUND = ("background", "unlabeled", "unlabelled", "void")


def classes_called(name: str, labels: Sequence[str] | None) -> list[int]:
    """The classes of that name, in any case and with `_` or `-` for spaces, or of which the label lists it among
    several; ImageNet has two called `crane`.

    >>> labels = ["tiger cat", "crane", "crane", "goldfish, Carassius auratus"]
    >>> classes_called("Tiger_cat", labels), classes_called("goldfish", labels), classes_called("crane", labels)
    ([0], [3], [1, 2])
    """
    wanted = _plain(name)
    for ways in (lambda label: [label], lambda label: [label, *label.split(",")]):
        found = [at for at, label in enumerate(labels or ()) if wanted in map(_plain, ways(label))]
        if found:
            return found
    return []


def background_class(labels: Sequence[str] | None) -> int | None:
    """The class of pixels that are of no object, by its name; None where no class is called so.

    >>> [background_class(names) for names in (("__background__", "cat"), ("road", "sky"), ("car", "Void"))]
    [0, None, 1]
    """
    return next((at for at, label in enumerate(labels or ()) if _plain(label) in _BACKGROUND), None)


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name).strip().casefold()
