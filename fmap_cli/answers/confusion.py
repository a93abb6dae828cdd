"""Folders that are classes against what was answered: which folder is which class, and how often it was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from .names import classes_called
from .records import ClassAnswers, Confusion, Prediction


def confusion_of(folders: Sequence[str], answers: Sequence[Prediction], labels: Sequence[str] | None) -> Confusion:
    """How often the images of each folder were answered with each class; `folders` and `answers` go image by image.

    A folder is the class whose name it has (`classes_called`); where no label is it, a number is the class of that
    number. It is none where that is not clear, and then nobody knows what would be right.

    >>> cat, dog = Prediction(0, "tiger cat", 0.9), Prediction(1, "dog", 0.8)
    >>> found = confusion_of(["Tiger_cat", "Tiger_cat", "dog"], [cat, dog, dog], ["tiger cat", "dog"])
    >>> [(each.folder, each.index, each.counts, each.right, each.accuracy) for each in found.rows]
    [('Tiger_cat', 0, (1, 1), 1, 0.5), ('dog', 1, (0, 1), 1, 1.0)]
    """
    names = sorted(set(folders))
    matched = {name: _index_of(name, labels) for name in names}
    said = Counter(zip(folders, (each.index for each in answers), strict=True))
    by_class = Counter(each.index for each in answers)
    expected = [index for index in dict.fromkeys(matched.values()) if index is not None]
    others = sorted((index for index in by_class if index not in expected), key=lambda index: (-by_class[index], index))
    columns = [*expected, *others]
    text = {each.index: each.label for each in answers}
    rows = tuple(
        ClassAnswers(
            folder=name,
            index=index,
            counts=tuple(said[name, each] for each in columns),
            right=None if index is None else said[name, index],
        )
        for name, index in matched.items()
    )
    known = labels or ()
    return Confusion(
        rows,
        tuple(columns),
        tuple(known[index] if index < len(known) else text.get(index) for index in columns),
    )


def _index_of(folder: str, labels: Sequence[str] | None) -> int | None:
    """The only class that a folder's name means; None where there is none, or several."""
    found = classes_called(folder, labels)
    if found:
        return found[0] if len(found) == 1 else None
    if folder.isdecimal() and (not labels or int(folder) < len(labels)):
        return int(folder)
    return None
