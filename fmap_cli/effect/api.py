"""The verb `effect`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..arguments import Advanced, Say, names_of, nobody, note, opened, sources_of, verb
from ..arguments.checks import choice
from ..errors import FmapError, LayerError
from ..models import DEFAULT_MODEL
from .records import SHOWN, WITHS, With

if TYPE_CHECKING:
    from ..arguments import AnyModel, Images, Names
    from ..statistics.records import Run
    from .records import Effects


def _run(name: str, given: Any) -> Any:
    known = isinstance(given, (str, Path)) and str(given).lower().endswith(".fmap")
    if given is not None and not known and not hasattr(given, "layers"):
        raise FmapError(f"{name} is {given!r}: it has to be a saved run (.fmap), or what `stats` returns.")
    return given


@verb(with_=choice(*WITHS), run=_run)
def effect(
    model: AnyModel = DEFAULT_MODEL,
    images: Images = None,
    layer: Names = "last",
    *,
    with_: With = "zero",
    run: str | Path | Run | None = None,
    class_: str | int | None = None,
    box: int | None = None,
    channels: Sequence[int] | None = None,
    top: int = SHOWN,
    fast: bool = False,
    seed: int = 0,
    layout: str | None = None,
    advanced: Advanced = nobody,
    say: Say = note,
    say_failures: bool = True,
) -> Effects:
    """What each channel of a layer does to the answer: what changes when it is taken away, and all are at once.

    `with_` takes its place: `zero`, the channel's `mean` (over the images, or over a `run` of `stats`), or `resample`:
    its map for another of the images, of a single image its values at other places (`seed`). Asked about is the
    predicted class, `class_` (name or number), or a detector's `box`. `channels` are all unless told. `effects` `[C]`
    is the class's logit with the channel minus without it, the mean over the `images`; `fast` estimates it as gradient
    × activation and says in `agreement` how well that ranks. Of one image, `images[0]` has `probabilities`, `answers`
    and `flips`. `top` is how many are listed and drawn. `advanced` is told how many channels of how many are done.
    Raises LayerError, ModelError, ImageError and FmapError.

    >>> found = effect(layer="last", channels=range(8), say=lambda _: None)
    >>> found.effects.shape, found.images[0].target.name, found.left_out > 0
    ((8,), 'espresso', True)
    """
    patterns = names_of(layer)
    if not patterns:
        raise LayerError("no layer was given.", hint="Give its name, conv1, first or last; `layers` lists them.")
    if run is not None and with_ != "mean":
        raise FmapError("run has the means that with_ mean takes: give both, or neither.")
    held: Any = run
    if isinstance(run, (str, Path)):
        from ..statistics.runs import load_run

        held = load_run(Path(run))
    session = opened(model, say)
    from ..network.shapes import split_layout
    from .measuring import Asking, measure_effects

    asking = Asking(with_, class_, box, None if channels is None else tuple(channels), top, fast, seed, held)
    found = measure_effects(session, sources_of(images), patterns, asking, say, split_layout(layout), advanced)
    for _, error in found.failures if say_failures else ():
        say(error.message)
    return found
