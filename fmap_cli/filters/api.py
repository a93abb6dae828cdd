"""The verb `filters`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..arguments import Say, names_of, note, opened, verb
from ..arguments.checks import choice, share
from ..errors import FmapError
from ..models import DEFAULT_MODEL
from ..models.records import notes_about
from .records import NEAR, SORTS, Choice, Sort

if TYPE_CHECKING:
    from ..arguments import AnyModel, Names
    from .records import Filters


@verb(sort=choice(None, *SORTS), near=share)
def filters(
    model: AnyModel = DEFAULT_MODEL,
    layer: Names = (),
    *,
    channels: Sequence[int] | None = None,
    top: int | None = None,
    sort: Sort | None = None,
    reverse: bool = False,
    all: bool = False,
    fold: bool = False,
    near: float = NEAR,
    say: Say = note,
) -> Filters:
    """The kernels of convolutions and linear layers, with their numbers and which of them are dead or alike.

    `layer` is a name, a glob or `conv3` (the third convolution), or several; without one, the first convolution, or
    where there is none the first linear layer. `layers` has an entry a layer, whose
    `weight` is `[O, I, *kernel]`, a filter an output channel, `numbers` a number a filter, `order` the filters asked
    for (`channels`, or the first `top` by `sort`) and `findings` what is remarkable in words. `fold` multiplies the
    BatchNorm that takes the layer's output into the kernels and gives the bias that results. `near` is the cosine from
    which on two filters are called nearly the same. Raises LayerError, ModelError and WeightsError.

    >>> found = filters(layer="conv1", say=lambda _: None).layers[0]
    >>> found.weight.shape, found.reads_picture, found.numbers.norm.shape
    ((32, 3, 3, 3), True, (32,))
    """
    chosen = None if channels is None else tuple(channels)
    if sum([chosen is not None, top is not None, all]) > 1:
        raise FmapError("channels, top and all exclude one another: give one of them.")
    session = opened(model, lambda sentence: None if notes_about([sentence], "feeding") else say(sentence))
    from .gather import find_filters

    return find_filters(session, names_of(layer), Choice(chosen, top, sort, reverse, all), folding=fold, near=near)
