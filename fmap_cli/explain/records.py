"""Why a unit has the value that it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..inputs.records import ImageInput
from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..results import Drawn, Figure

if TYPE_CHECKING:
    import numpy as np

    from ..receptive.records import FieldRow, UnitBox

SHOWN_TERMS = 8
"""How many terms a table lists and a figure draws unless told otherwise."""

MOST_BACK = 8
"""Through how many convolutions a value is followed back at most."""

ROUNDING = "rounding of the network's own numbers"
UNSPLIT = "what could not be split"
AS_ASKED = "as asked"

Place = tuple[int, ...]
"""A cell of a map: (row, column), of a clip with its frame before, of a sequence (step,), of a vector ()."""

PartKind = Literal["channel", "input", "bias", "constant", "end", "rest"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the operation is: `convolution`, `transposed convolution` or `linear`, and how it goes over its input.

    `kernel` to `dilation` are empty of a linear layer. `inputs` are the channels of its whole input, of which each
    output channel reads `inputs` / `groups`. `padding` is what the operation itself pads; what was padded before it is
    in its input.
    """

    operation: str
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    inputs: int
    outputs: int

    @property
    def depthwise(self) -> bool:
        return self.groups > 1 and self.groups == self.inputs

    @property
    def pointwise(self) -> bool:
        """Whether it looks at one place alone, and mixes channels: 1 × 1, or a linear layer."""
        return all(each == 1 for each in self.kernel)

    @property
    def in_words(self) -> str:
        """What it is, in words.

        >>> Settings("convolution", (3, 3), (2, 2), (1, 1), (1, 1), 32, 32, 32).in_words
        'depthwise convolution 3 × 3, stride 2, padding 1'
        """
        if not self.kernel:
            return f"linear, {self.inputs:,} inputs → {self.outputs:,}"
        kind = "depthwise " if self.depthwise else "grouped " if self.groups > 1 else ""
        words = f"{kind}{self.operation} {' × '.join(map(str, self.kernel))}"
        for name, values, usual in (
            ("stride", self.stride, 1),
            ("padding", self.padding, 0),
            ("dilation", self.dilation, 1),
        ):
            if any(each != usual for each in values):
                words += f", {name} {values[0] if len(set(values)) == 1 else ' × '.join(map(str, values))}"
        return f"{words}, {self.groups} groups" if self.groups > 1 and not self.depthwise else words


@dataclass(frozen=True, slots=True, eq=False)
class Term:
    """What one input channel adds: the sum over the kernel's window of W · X.

    `patch` and `kernel` are `[height, width]` (of a clip with time before, of a linear layer one number each), float64.
    `share` is its part of the sum of all terms' magnitudes, `cumulative` that of it and the larger ones; None where a
    term is NaN or infinite.
    """

    channel: int
    contribution: float
    share: float | None
    cumulative: float | None
    patch: np.ndarray
    kernel: np.ndarray


@dataclass(frozen=True, slots=True)
class Step:
    """What happened to the value next: `before` became `after`, as `formula` has it with this unit's numbers.

    `operation` is its name in words, `layer` where it stands, `channel` and `place` where the value is by then. `note`
    says what else there is to know.
    """

    operation: str
    layer: str
    before: float
    after: float
    formula: str
    channel: int | None = None
    place: Place | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part of a sum, and what it is made of in its turn: `parts` add up to `contribution`.

    `contribution` is what it adds to the value that was asked about. A `channel` is one of layer `layer`, whose map is
    `map` and whose value at the one place that is read is `value` (None where several are); an `input` is a channel of
    the network's own input; `bias` and `constant` depend on no value; an `end` is what can't be split any further, and
    `words` says why; a `rest` is all that is not listed, `count` of them. `words` also says what lies between a
    channel and what reads it: `ReLU`, `BatchNorm`.
    """

    kind: PartKind
    contribution: float
    layer: str = ""
    channel: int | None = None
    value: float | None = None
    words: str = ""
    count: int = 1
    map: np.ndarray | None = None
    parts: tuple[Part, ...] = ()

    def walk(self) -> Iterator[Part]:
        yield self
        for each in self.parts:
            yield from each.walk()


@dataclass(frozen=True, eq=False)
class Explanation(Drawn):
    """One value of a convolution or a linear layer: bias + Σ W · X, by input channel; and what becomes of it.

    `value` is what the network computed, `total` the sum of `bias` and `contributions` `[I]` in float64, with
    `patches` and `kernels` `[I, …]`; `inputs` are the input channels, those of the unit's group. `input_layer` is the
    layer that put them out. `reads` are, along each axis, the places of the input under the kernel; those outside are
    padding (0). `maps` `[I, H, W]` are the input channels' whole maps where they were kept, for the terms that are
    `listed`. `map` is the unit's channel, `box` what it sees of the image. `steps` is what `through` found, `stopped`
    why it goes no further. `recipe` is the tree of `back` convolutions. `of_input` says that the
    input channels are those of the network's own input, `of_picture` that they are a picture's red, green and blue.
    `weight_channel` is the unit's row of the weights, which is not its channel where what was multiplied is laid out
    anew. `is_score` says that the unit is a class's score, the class's number being its channel; `label` is the class's
    name where it is known. `map_inputs` are, of a linear layer that reads a
    flattened map, each listed input's channel and place. `notes` are what there is to know besides.
    """

    origin: Origin
    image: ImageInput
    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    settings: Settings
    channel: int
    place: Place
    picked: str
    value: float
    dtype: str
    inputs: range
    input_layer: str
    reads: tuple[tuple[int, ...], ...]
    input_places: tuple[int, ...]
    patches: np.ndarray
    kernels: np.ndarray
    contributions: np.ndarray
    bias: float
    map: np.ndarray | None
    maps: dict[int, np.ndarray]
    box: UnitBox | None
    row: FieldRow | None
    top: int = SHOWN_TERMS
    steps: tuple[Step, ...] = ()
    stopped: str = ""
    through: bool = False
    back: int = 0
    recipe: Part | None = None
    notes: tuple[str, ...] = ()
    of_input: bool = False
    of_picture: bool = False
    weight_channel: int = 0
    label: str = ""
    is_score: bool = False
    map_inputs: dict[int, tuple[int, Place]] = field(default_factory=dict)

    @cached_property
    def total(self) -> float:
        """bias + Σ contributions, in float64."""
        import numpy as np

        with np.errstate(all="ignore"):
            return float(self.contributions.sum() + self.bias)

    @property
    def difference(self) -> float:
        """How far the sum is from the value that the network computed."""
        return self.total - self.value

    @cached_property
    def magnitude(self) -> float:
        """Σ of the terms' magnitudes, of which `share` is a part: what there would be if no term cancelled another."""
        return float(abs(self.contributions).sum())

    @cached_property
    def not_finite(self) -> tuple[int, ...]:
        """The input channels whose term is NaN or infinite."""
        import numpy as np

        return tuple(self.inputs[int(at)] for at in np.flatnonzero(~np.isfinite(self.contributions)))

    @cached_property
    def order(self) -> np.ndarray:
        """The terms by magnitude, largest first; NaN and infinity before all."""
        import numpy as np

        size = np.where(np.isfinite(self.contributions), np.abs(self.contributions), np.inf)
        return np.argsort(-size, kind="stable")

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The terms that are listed: the `top` largest by magnitude."""
        return self.largest(self.top)

    def largest(self, count: int | None = None) -> tuple[Term, ...]:
        """So many terms by magnitude, the largest first; all of them without a number."""
        found, so_far = [], 0.0
        known = 0 < self.magnitude < float("inf")
        for at in self.order[:count]:
            contribution = float(self.contributions[at])
            share = abs(contribution) / self.magnitude if known else None
            so_far += share or 0.0
            cumulative = min(so_far, 1.0) if known else None
            found.append(
                Term(self.inputs[int(at)], contribution, share, cumulative, self.patches[at], self.kernels[at])
            )
        return tuple(found)

    @property
    def rest(self) -> tuple[int, float]:
        """How many terms are not listed, and what they add together."""
        left = self.order[self.top :]
        return len(left), float(self.contributions[left].sum())

    @property
    def cancelled(self) -> float | None:
        """The part of the terms' magnitudes that cancels: 0 where all have one sign, 1 where they add up to 0."""
        if not 0 < self.magnitude < float("inf"):
            return None
        return 1 - abs(float(self.contributions.sum())) / self.magnitude

    @property
    def file_name(self) -> str:
        """What its figure is called where nobody says."""
        from ..drawing.files import figure_name

        return figure_name(self.image.stem, self.origin.model, f"{self.layer.name}-explained")

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import explanation_document

        return explanation_document(self, file)

    def csv(self) -> str:
        """A row a term, all of them, the largest first."""
        from .document import terms_csv

        return terms_csv(self)

    def print(self, *, file: Path | None = None) -> None:
        from .table import print_explanation

        print_explanation(self, file)

    def figure(self) -> Figure:
        from .figure import explanation_figure

        return Figure(explanation_figure(self))
