"""The name of a page of reduced layers: made of its images, the model, the layers and how they are reduced."""

from __future__ import annotations

from ..drawing.files import figure_name
from .records import Reduced


def page_name(reduced: Reduced, *, raw: bool = False) -> str:
    """`coffee-resnet18-layer4-pca.png`, or `-pca-raw.png`; of several the first and how many more."""
    images, layers = [each.stem for each in reduced.images], reduced.layers
    return figure_name(_first(images), reduced.origin.model, f"{_first(layers)}-{reduced.method}{'-raw' * raw}")


def _first(names: tuple[str, ...] | list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}"
