"""What a network answers: classes and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import FmapError
from ..models.records import Origin
from ..results import Result


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer of a classifier: `label` is None where the classes' names are not known."""

    index: int
    label: str | None
    probability: float


@dataclass(frozen=True, slots=True)
class Detection:
    """One object a detector found: `box` is (top, left, bottom, right) in pixels of the look's image."""

    box: tuple[float, float, float, float]
    index: int
    label: str | None
    score: float


@dataclass(frozen=True, slots=True)
class Answers:
    """A classifier's likeliest classes for the image of that name, most likely first; `folder` says its class."""

    image: str
    predictions: tuple[Prediction, ...]
    folder: str | None = None


@dataclass(frozen=True, slots=True)
class ClassAnswers:
    """What the images of one folder were answered with: `counts` go by the classes of `Confusion.columns`.

    `index` is the class that the folder's name means, and `right` how many were answered so; both None where no class
    is called so.
    """

    folder: str
    index: int | None
    counts: tuple[int, ...]
    right: int | None

    @property
    def images(self) -> int:
        return sum(self.counts)

    @property
    def accuracy(self) -> float | None:
        return None if self.right is None else self.right / self.images


@dataclass(frozen=True, slots=True)
class Confusion:
    """Folders that are classes against the likeliest class answered: a row a folder, a column an answered class.

    `columns` are the classes' numbers, those of the folders first in their order, then the others by how often they
    were answered; `labels` are their names, None where they are not known.
    """

    rows: tuple[ClassAnswers, ...]
    columns: tuple[int, ...]
    labels: tuple[str | None, ...]

    @property
    def unmatched(self) -> tuple[str, ...]:
        """The folders whose names are no class's."""
        return tuple(row.folder for row in self.rows if row.index is None)

    @property
    def images(self) -> int:
        """How many images there are whose class is known."""
        return sum(row.images for row in self.rows if row.right is not None)

    @property
    def accuracy(self) -> float | None:
        """The share of those that were answered with their class; None where no folder's class is known."""
        right = sum(row.right for row in self.rows if row.right is not None)
        return right / self.images if self.images else None


@dataclass(frozen=True, slots=True, repr=False)
class Predictions(Result):
    """What `fmap predict` says: the `top` answers for each image, in order, and the images that gave none, with why.

    `by_class` says, where folders are classes, how often the images of each were answered with each class.
    """

    origin: Origin
    images: tuple[Answers, ...]
    top: int
    failures: tuple[tuple[str, FmapError], ...] = ()
    by_class: Confusion | None = None

    @property
    def several(self) -> bool:
        """Whether more than one image was asked about."""
        return len(self.images) + len(self.failures) > 1

    def document(self) -> dict[str, Any]:
        from .document import predictions_document

        return predictions_document(self)

    def csv(self) -> str:
        from .document import predictions_csv

        return predictions_csv(self).decode(errors="surrogateescape")

    def print(self) -> None:
        from .table import print_predicted

        print_predicted(self)
