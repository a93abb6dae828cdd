"""A report without what says whose it is: no photo, no name of a file, no path.

The maps stay, and they may well show outlines of what was in the photo.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import FmapError, ImageError
from ..models.records import Origin, Weights
from .exciting import redacted_dossiers
from .records import Pass, Picture, Report

_OWN = {"file": "a checkpoint", "program": "as in the program's file", "made": "as made by a factory"}


def redacted(report: Report) -> Report:
    """The report to be written in its place."""
    several = len(report.passes) > 1
    passes = tuple(_pass(each, number if several else None) for number, each in enumerate(report.passes, start=1))
    compared = report.compared
    if compared:
        compared = "two images" if report.variant == "" else "A and B"
    variant = "" if not report.variant else "another variant"
    failures = tuple((f"unread image {n}", _unread()) for n in range(1, len(report.failures) + 1))
    return replace(
        report,
        origin=_origin(report.origin),
        passes=passes,
        courses=tuple(replace(each, model=_model(each.model)) for each in report.courses),
        compared=compared,
        variant=variant,
        failures=failures,
        dossiers=None if report.dossiers is None else redacted_dossiers(report.dossiers),
        _html=[],
    )


def _unread() -> FmapError:
    """In place of an error whose words may name a file."""
    return ImageError("the image cannot be read; why is left out with the names of files.")


def _pass(one: Pass, number: int | None) -> Pass:
    name = "an image" if number is None else f"image {number}"
    blank = np.full_like(one.image.pixels, 160)
    image = replace(one.image, name=name, stem=name, pixels=blank, sources=(), inputs=(), notes=())
    pictures = tuple(Picture(f"picture {at + 1}", blank) for at in range(len(one.pictures)))
    return replace(one, name=name, image=image, pictures=pictures, extras=())


def _origin(origin: Origin) -> Origin:
    weights = origin.weights
    if weights.kind in _OWN:
        weights = Weights("unknown", _OWN[weights.kind])
    preprocessing = origin.preprocessing
    if preprocessing is not None:
        preprocessing = replace(preprocessing, source="")
    return replace(origin, model=_model(origin.model), weights=weights, preprocessing=preprocessing)


def _model(name: str) -> str:
    """A network's name, where that is not a file's or a program's."""
    own = any(sign in name for sign in "/\\:") and not name.startswith("timm:")
    return "a network of one's own" if own or name.endswith((".pt", ".pt2", ".pth")) else name
