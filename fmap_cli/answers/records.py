"""What a network answers: classes and boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from .. import units
from ..errors import FmapError
from ..models.records import Origin
from ..results import Result

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class Prediction:
    """One answer of a classifier: `label` is None where the classes' names are not known.

    `alone` says that each class has a probability of its own, of a sigmoid, so that they do not add up to 1.
    """

    index: int
    label: str | None
    probability: float
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Detection:
    """One object a detector found: `box` is (top, left, bottom, right) in pixels of the look's image."""

    box: tuple[float, float, float, float]
    index: int
    label: str | None
    score: float


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """The number of a network's answer that is asked about; `answers.target.value_of` reads it from any answer.

    `kind` says what it is of: a `class` of a classifier, the `pixels` that a segmentation gives to a class, an
    `object` that a detector finds, or the one `number` that a network gives. `index` is None where there are no
    classes. `quantity` is what the number is, and `value` how large it is on the image that was asked about;
    `probability` is the class's, None where there is none. `predicted` says that it is the network's own answer. Of
    `pixels`, `mask` `[H, W]` bool are these; of an `object`, `box` is (top, left, bottom, right) in pixels of the
    network's input and `number` its rank by score, from 0. `note` says what was asked for and could not be.
    `assumed`: nothing says that the maps of the answer are scores of classes, so they are called output channels, and
    there is no probability.
    """

    kind: Literal["class", "pixels", "object", "number"]
    index: int | None
    label: str | None
    quantity: Literal["logit", "probability", "mean logit", "score", "mean score", "value", "mean"]
    value: float
    probability: float | None = None
    predicted: bool = True
    mask: np.ndarray | None = None
    box: tuple[float, float, float, float] | None = None
    number: int | None = None
    note: str = ""
    labels: tuple[str, ...] | None = None
    assumed: bool = False

    @property
    def name(self) -> str:
        """The class's name, or its number where it has none."""
        if self.index is None:
            return "the network's number"
        if self.assumed:
            return f"output channel {self.index}"
        return units.one_line(self.label) if self.label else f"class {self.index}"

    @property
    def in_words(self) -> str:
        """What the number is.

        >>> Target("class", 504, "espresso", "logit", 12.5, 0.95).in_words
        'the logit of espresso'
        """
        if self.kind == "number":
            return "the number that the network gives"
        if self.kind == "object":
            return f"the score of box {self.number}, {self.name}"
        if self.mask is None:
            return f"the {self.quantity} of {self.name}"
        count = int(self.mask.sum())
        where = "all pixels" if self.note else f"its {count:,} pixels" if self.labels else f"{count:,} pixels"
        words = f"the {self.quantity} of {'the map' if self.index is None else self.name} over {where}"
        return f"{words} (where it is the largest; nothing says that these are classes)" if self.assumed else words


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
