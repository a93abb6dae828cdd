"""What the verbs are given, brought into one form and checked: models, images, layers and plain values.

Every verb, in `api` or in a room of its own, is marked `@verb`, which checks its arguments by their names (`checks`),
and reads them with these, so that a mistake is one FmapError that says what was received and what is allowed. Nothing
here imports torch before a model is opened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ..errors import ImageError, ModelError, in_python
from ..frameworks import load_torchvision
from ..inputs.held import source_of
from ..models.records import ModelRequest
from .checks import among as among
from .checks import verb as verb

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL import Image
    from torch import nn

    from ..inputs.records import ImageInput
    from ..session.opening import Session

    AnyModel = str | nn.Module | Session | ModelRequest
    AnyImage = str | Path | Image.Image | np.ndarray | torch.Tensor
    Images = AnyImage | Iterable[AnyImage] | None
    Names = str | Iterable[str]
    Size = int | tuple[int, int]

Say = Callable[[str], None]
Advanced = Callable[..., None]
"""What is told of a long run: how many inputs are done, of how many, and how many of them failed."""


def note(sentence: str) -> None:
    """Says something about a result on standard error: what a verb does unless it is given another `say`."""
    print(f"note: {in_python(sentence)}", file=sys.stderr)


def nobody(*_told: object) -> None:
    """Is told, and tells nobody."""


# -- models ------------------------------------------------------------------------------------------------------


def opened(model: AnyModel, say: Say) -> Session:
    """A session of what a verb was given. All verbs call this, or its neighbour, before they import their subject."""
    load_torchvision()  # before the first `import torch`, which takes a quarter less time that way
    from ..session.opening import Session, open_session

    if isinstance(model, Session):
        return model
    return open_session(model if isinstance(model, ModelRequest) else requested(model), say)


def architecture(model: AnyModel, say: Say) -> Session:
    """A session in which the values of the weights do not matter: of a spec none are drawn or downloaded."""
    load_torchvision()
    from ..session.opening import open_architecture

    request = request_of(model)
    return opened(model, say) if request is None else open_architecture(request, say)


def request_of(model: object) -> ModelRequest | None:
    """What asks for a model that has yet to be made; None for one in hand."""
    request = ModelRequest(model) if isinstance(model, str) else model
    return request if isinstance(request, ModelRequest) and isinstance(request.model, str) else None


def requested(model: str | nn.Module) -> ModelRequest:
    """The request for a model by its spec, or for one in hand, which is looked at where it is."""
    return ModelRequest(model_in(model), device=device_of(model))


def is_session(model: AnyModel) -> TypeGuard[Session]:
    """Whether a model has been opened already."""
    return hasattr(model, "resolvers")


def model_in(model: object) -> Any:
    """The spec or the module; ModelError for anything else."""
    if isinstance(model, str):
        return model  # without torch, which `memory` imports in another process
    from torch import nn

    if not isinstance(model, nn.Module):
        what = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise ModelError(
            f"{what} is not a model.", hint="Give a name, a file, or a module: an instance, not its class."
        )
    return model


def device_of(model: str | nn.Module, asked: object = None) -> str:
    """The device asked for; else a live module's own, and the CPU for a spec."""
    if asked is not None:
        return str(asked)
    tensors = () if isinstance(model, str) else (*model.parameters(), *model.buffers())
    return next((str(each.device) for each in tensors), "cpu")


def dtype_of(given: object) -> str | None:
    """The name of a number format, of its name or torch's own object."""
    if given is None:
        return None
    found: str = among("dtype", str(given).removeprefix("torch."), ("float32", "float64", "float16", "bfloat16"))
    return found


# -- images and layers -------------------------------------------------------------------------------------------


def sources_of(images: Images) -> list[str]:
    """The sources that the images are, one or several."""
    if images is None:
        return []
    if isinstance(images, (str, Path)) or hasattr(images, "__array__") or hasattr(images, "getbands"):
        return [source_of(images)]
    if not isinstance(images, Iterable):
        raise ImageError(
            f"{type(images).__name__} is not an image.", hint="Give a path, an array, a tensor, or several."
        )
    found = [source_of(each) for each in images]
    if not found and not isinstance(images, tuple):
        raise ImageError("no image was given: the list is empty.", hint="Without `images` a bundled photo is taken.")
    return found


def one_source(session: Session, images: Images) -> str | Sequence[str] | None:
    """The source of one pass: one image, or those that belong together; None where there is none."""
    from ..session.opening import groups

    found = groups(session, sources_of(images))
    if len(found) > 1:
        raise one_at_a_time(len(found), "Give one of them; `show`, `stats`, `predict`, `embed`, `effect` and `report`")
    return found[0]


def one_at_a_time(given: int, instead: str) -> ImageError:
    """The error that says what to do where one image is wanted: `instead`, which ends in verbs that take several."""
    return ImageError(f"{given} images were given: one at a time.", hint=f"{instead} take several.")


def picture(session: Session, images: Images, say: Say, layout: str | None) -> tuple[ImageInput | None, str | None]:
    """The one image as the network takes it, or None for none; and the axes that `layout` gives outputs, if it does."""
    from ..inputs.framing import framings_of
    from ..network.shapes import split_layout
    from ..session.opening import read_image

    of_arrays, of_outputs = split_layout(layout)
    if images is None:
        return None, of_outputs
    given = read_image(session, one_source(session, images), say, of_arrays)
    framings_of([given]).say(say)
    return given, of_outputs


def names_of(given: Names | None) -> tuple[str, ...]:
    """One name or pattern, or several."""
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)
