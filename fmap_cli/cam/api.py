"""The verb `cam`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..arguments import Advanced, Say, names_of, nobody, note, opened, picture, verb
from ..arguments.checks import choice
from ..frameworks import load_torchvision
from ..models import DEFAULT_MODEL
from .records import METHODS, STEPS

if TYPE_CHECKING:
    from ..arguments import AnyModel, Images, Names
    from .records import Cam, Method


@verb(method=choice(None, *METHODS))
def cam(
    model: AnyModel = DEFAULT_MODEL,
    image: Images = None,
    layer: Names | None = None,
    *,
    class_: str | int | None = None,
    box: int | None = None,
    method: Method | None = None,
    positive: bool = False,
    steps: int = STEPS,
    layout: str | None = None,
    say: Say = note,
    advanced: Advanced = nobody,
) -> Cam:
    """Where the evidence for an answer is, on one image.

    `class_` is a class by name or number, the predicted one without it; `box` an object of a detector by its rank. The
    number asked about is `target`. Without a `layer` the last map with places that the answer depends on is found by
    measuring. `map` `[T, h, w]` float64 is positive for and negative against, with `positive` only for; `method` is
    `gradcam`, `layercam` (the default for a detector's boxes) or `effect`. `trust` has the curves of insertion and
    deletion in so many `steps`, 0 for none. Raises FmapError, LayerError, ModelError and ImageError.

    >>> found = cam(image="sample_images/coffee.png", steps=0, say=lambda _: None)
    >>> found.target.name, found.layer.name, found.map.shape
    ('espresso', 'features', (1, 7, 7))
    """
    load_torchvision()
    import torch

    with torch.inference_mode(False):  # a caller's would forbid gradients
        session = opened(model, say)
        from .evidence import evidence

        read, of_outputs = picture(session, () if image is None else image, say, layout)
        assert read is not None
        return evidence(
            session,
            read,
            names_of(layer),
            class_,
            box,
            method,
            positive=positive,
            steps=steps,
            layout=of_outputs,
            advanced=advanced,
        )
