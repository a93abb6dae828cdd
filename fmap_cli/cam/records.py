"""What `fmap cam` says: where the evidence for an answer is, and how far to trust it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..answers.records import Prediction, Target
from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..results import ARRAY_SUFFIXES, Drawn, Figure

if TYPE_CHECKING:
    import numpy as np

    from ..inputs.records import ImageInput

Method = Literal["gradcam", "layercam", "effect"]
METHODS: tuple[Method, ...] = ("gradcam", "layercam", "effect")
STEPS = 12
"""How many steps the curves of insertion and deletion have unless told otherwise."""
HALF = 0.5
"""The share of the evidence for an answer whose region is named and outlined."""

DUST = 0.25
"""A map is only rounding where another last digit of the layer's values changes it by at least this share of its
largest value: rounding changes by as much as it is, evidence by some millionths."""
WEAK = 1e-3
"""Evidence whose magnitudes add up to less than this share of the number is called weak."""
LEAST_FALL = 0.01
"""By how much a probability or score has to fall under the blur, any other number as a share of itself, or its curves
tell nothing."""

CLEAR = 0.05
"""By how much of the whole fall an order's curve has to lie beyond the best random one to be called clearly better."""

Verdict = Literal["better", "mixed", "no better", "none"]


@dataclass(frozen=True, slots=True)
class Level:
    """The evidence read from one layer: `map` `[T, H, W]` float64 in the layer's own cells, of an output of this
    `shape`.

    `weights` `[C]` are the channels' own (Grad-CAM: the mean gradient; effect: the measured effect over the sum of the
    map's magnitudes); None where each place has its own, as of LayerCAM. `share` is this layer's part of all
    evidence, by magnitude.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    map: np.ndarray
    weights: np.ndarray | None
    share: float = 1.0


@dataclass(frozen=True)
class Trust:
    """The number on images of which a part is blurred, the places of most evidence first, beside random orders.

    `fractions` `[S + 1]` go from 0 to 1: the part that was taken away (`deletion`) or brought back (`insertion`), in
    tiles of the picture, `tiles` (down, across) in all. `random` `[R, S + 1]` brings tiles back in random orders, read
    backwards it takes them away. Areas are means of a curve over all fractions. `quantity` says what was measured.
    """

    fractions: np.ndarray
    deletion: np.ndarray
    insertion: np.ndarray
    random: np.ndarray
    tiles: tuple[int, int]
    quantity: str

    @property
    def deletion_area(self) -> float:
        return _area(self.deletion)

    @property
    def insertion_area(self) -> float:
        return _area(self.insertion)

    @cached_property
    def random_areas(self) -> tuple[float, ...]:
        """Of each random order; the same for insertion and deletion, which go through the same images."""
        return tuple(_area(each) for each in self.random)

    @property
    def random_area(self) -> float:
        return sum(self.random_areas) / len(self.random_areas)

    @property
    def fall(self) -> float:
        """By how much the number falls from the sharp picture to the blurred one; below 0 where it rises."""
        return float(self.deletion[0] - self.deletion[-1])

    @property
    def margins(self) -> tuple[float, float]:
        """How far insertion and deletion lie beyond the best random order, as shares of `fall`; below 0 where they do
        not."""
        beyond = self.insertion_area - max(self.random_areas), min(self.random_areas) - self.deletion_area
        return (beyond[0] / self.fall, beyond[1] / self.fall) if self.fall else (0.0, 0.0)

    @property
    def verdict(self) -> Verdict:
        """Whether the map's order beats every random order: in both curves, in one of them, or in neither; `none`
        where blurring the whole picture lowers the number by too little (`LEAST_FALL`), so that the curves say nothing.
        """
        ends = float(self.deletion[0]), float(self.deletion[-1])
        least = LEAST_FALL * max(map(abs, ends)) if self.quantity == "value" else LEAST_FALL
        if not self.fall > least:
            return "none"
        beaten = [each > 0 for each in self.margins]
        return "better" if all(beaten) else "mixed" if any(beaten) else "no better"


def _area(curve: np.ndarray) -> float:
    """By the trapezium rule over fractions that are evenly spaced from 0 to 1."""
    return float((curve[0] / 2 + curve[1:-1].sum() + curve[-1] / 2) / (len(curve) - 1))


@dataclass(frozen=True, repr=False)
class Cam(Drawn):
    """Where the evidence for a number of the answer is, on one image.

    `map` `[T, h, w]` float64 is positive where a place speaks for the number, and negative where against it; with
    `positive` what is against is 0. T is 1 but for clips. It is that of the one layer in `levels`, or the sum over a
    detector's levels, in the cells of the finest. `why` says how the layer was chosen. `rounding` is how far rounding
    alone moves the map's values.
    """

    FILES: ClassVar[tuple[str, ...]] = (*Drawn.FILES, *ARRAY_SUFFIXES)

    origin: Origin
    image: ImageInput
    target: Target
    method: Method
    positive: bool
    levels: tuple[Level, ...]
    map: np.ndarray
    why: str
    predictions: tuple[Prediction, ...] = ()
    trust: Trust | None = None
    notes: tuple[str, ...] = ()
    scale: tuple[float, float] = (1.0, 1.0)
    rounding: float = 0.0

    @property
    def layer(self) -> LayerRef:
        """The layer that the evidence is read from; of several levels the first."""
        return self.levels[0].layer

    @cached_property
    def frame(self) -> int:
        """The frame with the most evidence, by magnitude; 0 of a picture."""
        return int(abs(self.map).sum((1, 2)).argmax())

    @property
    def evidence_for(self) -> float:
        """The sum of what speaks for the number."""
        return float(self.map.clip(min=0).sum())

    @property
    def evidence_against(self) -> float:
        """The sum of what speaks against it, 0 or negative."""
        return float(self.map.clip(max=0).sum())

    @property
    def most(self) -> float:
        """The largest evidence for or against, 0 or positive."""
        return float(abs(self.map).max(initial=0.0))

    @property
    def is_dust(self) -> bool:
        """Whether the map is not zero, but no larger than what rounding leaves (`DUST`)."""
        return self.most > 0 and self.rounding >= DUST * self.most

    @property
    def part(self) -> float | None:
        """The sum of the evidence's magnitudes as a share of the number; None of a number that is 0."""
        return float(abs(self.map).sum()) / abs(self.target.value) if self.target.value else None

    @property
    def is_weak(self) -> bool:
        """Whether there is evidence, and little of it beside the number (`WEAK`)."""
        return self.sign != "zero" and self.part is not None and self.part < WEAK

    @property
    def drawn_most(self) -> float:
        """The value at the end of the colours; 0 where there is nothing to draw."""
        return 0.0 if self.is_dust else self.most

    @property
    def sign(self) -> Literal["both", "for", "against", "zero"]:
        """Which signs the evidence has; "zero" also where it is only rounding."""
        if self.is_dust:
            return "zero"
        above, below = bool((self.map > 0).any()), bool((self.map < 0).any())
        return "both" if above and below else "for" if above else "against" if below else "zero"

    def resized(self, height: int, width: int) -> np.ndarray:
        """The map `[height, width]` of the frame with the most evidence, smoothly resized as the figure shows it."""
        import torch
        from torch.nn import functional as F

        cells = torch.from_numpy(self.map[self.frame].copy())[None, None]
        found: np.ndarray = F.interpolate(cells, (height, width), mode="bilinear", align_corners=False)[0, 0].numpy()
        return found

    @cached_property
    def half(self) -> tuple[float, float]:
        """The level above which half of the evidence for the number lies, and which part of the picture that is; of the
        resized map. 0 and 0 where nothing speaks for it.
        """
        import numpy as np

        values = np.sort(self.resized(112, 112).ravel())[::-1]
        above = values.clip(min=0)
        if self.is_dust or not above.sum() > 0:
            return 0.0, 0.0
        at = int(np.searchsorted(above.cumsum(), HALF * above.sum()))
        return float(values[at]), (at + 1) / len(values)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What `save` writes: the map, and of each layer its own with the channels' weights."""
        found = {"map": self.map}
        for each in self.levels:
            found[f"{each.layer.name}.map"] = each.map
            if each.weights is not None:
                found[f"{each.layer.name}.weights"] = each.weights
        if self.trust is not None:
            for name in ("fractions", "insertion", "deletion", "random"):
                found[name] = getattr(self.trust, name)
        return found

    @property
    def file_name(self) -> str:
        """What its figure is called where nobody says."""
        from ..drawing.files import figure_name

        return figure_name(self.image.stem, self.origin.model, f"{self.layer.name}-{self.method}")

    def document(self, file: Path | None = None, save: Path | None = None) -> dict[str, Any]:
        from .document import cam_document

        return cam_document(self, file, save)

    def csv(self) -> str:
        """A row a cell of the map: frame, row, column and evidence."""
        from .document import cells_csv

        return cells_csv(self)

    def print(self, *, file: Path | None = None, save: Path | None = None) -> None:
        from .table import print_cam

        print_cam(self, file, save)

    def figure(self) -> Figure:
        from .figure import cam_figure

        return Figure(cam_figure(self))

    def _write(self, path: Path, suffix: str) -> None:
        if suffix in ARRAY_SUFFIXES:
            from .document import save_cam

            save_cam(path, self)
        else:
            Drawn._write(self, path, suffix)
