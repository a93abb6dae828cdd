"""The verb `attention`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..arguments import Say, names_of, note, opened, picture, verb
from ..arguments.checks import CHECKS
from ..errors import FmapError
from ..models import DEFAULT_MODEL

if TYPE_CHECKING:
    from ..arguments import AnyModel, Images, Names
    from .records import Attention

_WORDS = ("class", "mean", "center")


def _place(name: str, given: Any) -> Any:
    if given is None or (isinstance(given, str) and given in _WORDS):
        return given
    if not isinstance(given, str):
        try:
            return CHECKS["at"](name, given)
        except FmapError:
            pass
    raise FmapError(
        f"at is {given!r}: it has to be a unit's row and column from 0 (of a clip the frame before), 'class', 'mean' or"
        " 'center'."
    )


def _flag(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise FmapError(f"{name} is {given!r}: it has to be True or False.")
    return given


@verb(at=_place, rollout=_flag)
def attention(
    model: AnyModel = DEFAULT_MODEL,
    image: Images = None,
    layer: Names = (),
    *,
    at: int | tuple[int, ...] | Literal["class", "mean", "center"] | None = None,
    rollout: bool = False,
    layout: str | None = None,
    say: Say = note,
) -> Attention:
    """What each head of an attention layer looks at: softmax(Q Kᵀ · scale + mask) of the call that ran.

    `layer` names the module that makes the call, or one around it; a glob; `first`; several. Without one it is the
    last. `at` is the query that is drawn: `class` the class token, a unit's row and column, `center` the unit in the
    middle, `mean` the mean over all; without one the class token, or the middle where there is none. `layers` has an
    entry a layer: `weights` `[windows, heads, queries, keys]`, `maps` `[heads, frames, rows, columns]` of the query
    that is drawn, `numbers` a number a head. `rollout` multiplies the attention of all layers instead. Raises
    LayerError, ModelError and ImageError.

    >>> import torch
    >>> from torchvision.models import VisionTransformer
    >>> vit = VisionTransformer(64, 16, 2, 4, 32, 64)  # 64 × 64 pixels in 4 × 4 patches, 2 layers of 4 heads
    >>> found = attention(vit, say=lambda _: None).layers[0]
    >>> found.weights.shape, found.maps.shape, found.query.words
    ((1, 4, 17, 17), (4, 1, 4, 4), 'the class token')
    """
    place = (at,) if isinstance(at, int) else at
    session = opened(model, say)
    from .gather import find_attention

    read, _ = picture(session, () if image is None else image, say, layout)
    assert read is not None
    return find_attention(session, read, names_of(layer), at=place, rollout=rollout)
