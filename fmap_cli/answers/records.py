"""What a network answers: classes and boxes."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import FmapError
from ..models.records import Origin


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


@dataclass(frozen=True, slots=True)
class Predictions:
    """What `fmap predict` says: the `top` answers for each image, in order, and the images that gave none, with why."""

    origin: Origin
    images: tuple[Answers, ...]
    top: int
    failures: tuple[tuple[str, FmapError], ...] = ()

    @property
    def several(self) -> bool:
        """Whether more than one image was asked about."""
        return len(self.images) + len(self.failures) > 1
