"""The verb `explain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..arguments import Say, names_of, note, opened, picture, verb
from ..errors import FmapError, LayerError
from ..models import DEFAULT_MODEL
from .records import MOST_BACK, SHOWN_TERMS

if TYPE_CHECKING:
    from ..arguments import AnyModel, Images, Names
    from .records import Explanation


@verb
def explain(
    model: AnyModel = DEFAULT_MODEL,
    image: Images = None,
    layer: Names = "conv1",
    *,
    channel: int | None = None,
    at: int | tuple[int, ...] | Literal["max", "min"] = "max",
    through: bool = False,
    back: int = 0,
    top: int = SHOWN_TERMS,
    layout: str | None = None,
    say: Say = note,
) -> Explanation:
    """Why a unit of a convolution or a linear layer has its value: `bias` and a term an input channel, which add up to
    it.

    `at` is the unit's row and column (frame, row and column of a clip's; a sequence's step), `max` or `min` the
    largest or smallest value, of `channel` or of all channels. `contributions` `[I]` float64 has a term an input
    channel, Σ over the kernel's window of W · X; `terms` the `top` largest, with patch and kernel. `total` is their
    sum with the bias, `value` what the network computed. `through` follows the value on to the block's output
    (`steps`), `back` the strongest terms back through so many convolutions (`recipe`). Raises LayerError, ModelError
    and ImageError.

    >>> found = explain(layer="conv1", channel=3, at=(40, 40), say=lambda _: None)
    >>> found.contributions.shape, found.patches.shape, found.reads
    ((3,), (3, 3, 3), ((80, 81, 82), (80, 81, 82)))
    >>> abs(found.total - found.value) < 1e-5
    True
    """
    place: tuple[int, ...] | Literal["max", "min"] = (at,) if isinstance(at, int) else at
    patterns = names_of(layer)
    if not patterns:
        raise LayerError(
            "no layer was given, and a unit is of one.",
            hint="Give its name, conv1, first or last; `layers` lists them.",
        )
    if back > MOST_BACK:
        raise FmapError(f"back is {back}: it has to be a whole number from 0 to {MOST_BACK}.")
    session = opened(model, say)
    from .unit import explain_unit

    read, of_outputs = picture(session, () if image is None else image, say, layout)
    assert read is not None
    return explain_unit(
        session,
        read,
        patterns,
        at=place,
        channel=channel,
        through=through,
        back=back,
        top=top,
        layout=of_outputs,
    )
