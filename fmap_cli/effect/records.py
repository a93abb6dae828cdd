"""What `fmap effect` says: what each channel of a layer does to the answer."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from ..answers.records import Target
from ..errors import FmapError
from ..inputs.records import ImageInput
from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..results import Drawn, Figure

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

With = Literal["zero", "mean", "resample"]
WITHS: tuple[With, ...] = ("zero", "mean", "resample")
SHOWN = 12
"""How many channels the table lists and the figure draws, unless told otherwise."""


@dataclass(frozen=True, slots=True, repr=False)
class ImageEffects:
    """What each channel does to the answer for one image.

    `effects` `[C]` float64 is the target's number with the channel minus without it: above 0 it pushes the answer up.
    `probabilities` `[C]` is the same difference of the class's probability, `answers` `[C]` the class answered without
    the channel (−1: the object is found no more), `answer` that with all channels; NaN and None where they were not
    measured. `together` is the effect of all channels at once, with `together_probability` and `together_answer`;
    `undecided` says that all scores are equal then. `is_answer`: the layer's output is the classes' scores themselves.
    """

    image: ImageInput
    target: Target
    effects: np.ndarray
    probabilities: np.ndarray | None
    answers: np.ndarray | None
    answer: int
    together: float
    together_probability: float | None
    together_answer: int
    undecided: bool = False
    is_answer: bool = False

    @property
    def flips(self) -> np.ndarray | None:
        """Of which channels the answer is another without them, `[C]` bool."""
        return None if self.answers is None else self.answers != self.answer

    @property
    def sum_of_singles(self) -> float:
        return float(self.effects.sum())


@dataclass(frozen=True, slots=True)
class Agreement:
    """How well gradient × activation ranks channels: Spearman's ρ against `channels` that were really ablated."""

    spearman: float | None
    channels: int


@dataclass(frozen=True, repr=False)
class Effects(Drawn):
    """What each channel of one layer does to the answer, for the images in `images`.

    `with_` is what takes a channel's place and `source` where that comes from, in words. `channels` are those that were
    ablated, of `total`. `fast` says that effects are gradient × activation, with how far that agrees in `agreement`.
    `left_out` is how many module calls did not run again (0: the whole network ran for each channel), `rows` how many
    channels went through at a time. `maps` `[C, H, W]` are the layer's for the first image; None without places.
    """

    origin: Origin
    layer: LayerRef
    asked: str
    shape: tuple[int, ...]
    axes: Axes
    with_: With
    source: str
    channels: np.ndarray
    total: int
    images: tuple[ImageEffects, ...]
    maps: np.ndarray | None
    top: int
    left_out: int
    rows: int
    fast: bool = False
    agreement: Agreement | None = None
    failures: tuple[tuple[str, FmapError], ...] = ()

    @property
    def several(self) -> bool:
        return len(self.images) > 1

    @cached_property
    def effects(self) -> np.ndarray:
        """`[C]` float64: the mean over the images."""
        import numpy as np

        mean: np.ndarray = np.mean([each.effects for each in self.images], axis=0)
        return mean

    @cached_property
    def spread(self) -> np.ndarray | None:
        """`[C]`: the standard deviation over the images, divided by n − 1; None of one image."""
        import numpy as np

        return np.std([each.effects for each in self.images], axis=0, ddof=1) if self.several else None

    @cached_property
    def probabilities(self) -> np.ndarray | None:
        """`[C]` float64: the mean change of the class's probability over the images."""
        import numpy as np

        known = [each.probabilities for each in self.images if each.probabilities is not None]
        return np.mean(known, axis=0) if len(known) == len(self.images) else None

    @cached_property
    def flips(self) -> np.ndarray | None:
        """`[C]` int64: for how many images the answer is another one without the channel."""
        import numpy as np

        known = [each.flips for each in self.images if each.flips is not None]
        return np.sum(known, axis=0) if len(known) == len(self.images) else None

    @property
    def together(self) -> float:
        """The effect of all these channels at once, the mean over the images."""
        return sum(each.together for each in self.images) / len(self.images)

    @property
    def sum_of_singles(self) -> float:
        return float(self.effects.sum())

    @cached_property
    def order(self) -> np.ndarray:
        """The places in `channels` by the size of their effect, the largest first."""
        import numpy as np

        size = np.where(np.isfinite(self.effects), np.abs(self.effects), np.inf)
        return np.argsort(-size, kind="stable")

    @property
    def file_name(self) -> str:
        """What its figure is called where nobody says."""
        from ..drawing.files import figure_name

        return figure_name(self.images[0].image.stem, self.origin.model, f"{self.layer.name}-effect")

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import effects_document

        return effects_document(self, file)

    def csv(self) -> str:
        """A row a channel and image, in the order of the channels."""
        from .document import effects_csv

        return effects_csv(self)

    def print(self, *, file: Path | None = None) -> None:
        from .table import print_effects

        print_effects(self, file)

    def figure(self) -> Figure:
        from .figure import effects_figure

        return Figure(effects_figure(self))
