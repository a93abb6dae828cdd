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
    """A classifier's likeliest classes for the image of that name, most likely first."""

    image: str
    predictions: tuple[Prediction, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Predictions(Result):
    """What `fmap predict` says: the `top` answers for each image, in order, and the images that gave none, with why."""

    origin: Origin
    images: tuple[Answers, ...]
    top: int
    failures: tuple[tuple[str, FmapError], ...] = ()

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
