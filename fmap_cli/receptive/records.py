"""What layers and units see of the input."""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..inputs.records import ImageInput
from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..results import FIGURE_SUFFIXES, Drawn, Figure

if TYPE_CHECKING:
    from fractions import Fraction

    import numpy as np

    from ..models.input_words import InputWords


FieldKind = Literal["exact", "upper bound", "whole image", "unknown", "nothing"]


@dataclass(frozen=True, slots=True)
class FieldAxis:
    """What the units of a layer see along one axis of the input, `T`, `H` or `W`, in pixels (`T`: frames).

    - `exact`: each sees `size` pixels, and the i-th begins at `start + i * stride`.
    - `upper bound`: a unit sees at most `size` pixels, `least` the one that sees fewest; None: at most all there are.
    - `whole image`: an operation over the whole map was on the way, so each sees all there is, whatever its size.
    - `unknown`: an operation was on the way that fmap does not follow.
    - `nothing`: the layer does not depend on the image.

    Sizes are unclipped: pixels beyond the image's border count. `stride` is an average, and may be a fraction,
    where units take turns (an enlarged map); it is None where they are unevenly spaced or there is only one. `by` names
    the layer that made the field what it is, `why` says how.
    """

    axis: str
    kind: FieldKind
    size: int | None = None
    stride: Fraction | None = None
    start: int | None = None
    least: int | None = None
    by: str = ""
    why: str = ""

    @property
    def padding(self) -> int | None:
        """How many pixels the first unit's field reaches over the border; negative where it begins inside."""
        return None if self.start is None else -self.start

    @property
    def centre(self) -> float | None:
        """Where the middle of the first unit's field is, in pixels; the middle of the first pixel is 0."""
        return None if self.start is None or self.size is None else self.start + (self.size - 1) / 2


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """Channels of a layer that see alike, as ranges with both ends included, and what they see along each axis."""

    channels: tuple[tuple[int, int], ...]
    axes: tuple[FieldAxis, ...]


@dataclass(frozen=True, slots=True)
class UnitBox:
    """What one unit sees along each axis (height before width): first and last pixel, None where there is none.

    `seen` is what really reaches it, inside the image; `unclipped` goes on over the border, None for the whole image.
    """

    seen: tuple[tuple[int, int] | None, ...]
    unclipped: tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What the units of a layer see of the input.

    `axes` is for all channels together: `H` and `W`, or `T`, `H` and `W` of a clip. Where channels see differently
    `groups` holds what each sees, in the order of their first channels; `group_count` counts them also where there are
    too many to be listed; it is 0 where there are so many channels that they are not told apart. `cells` is the length
    of the layer's map along the same axes, 1 along those that it does not have (a sequence's), empty where it has none.
    `share` is the largest part of the input's area (volume) that a unit sees. `extents` holds for each axis minus the
    first pixel seen, the last one, and the same unclipped, int32 `[4, C, T, H, W]`; axes along which all is alike are
    of length 1. Of very many channels of which `run` neighbours each see alike they hold one for all of these.
    """

    axes: tuple[FieldAxis, ...]
    groups: tuple[FieldGroup, ...]
    group_count: int
    cells: tuple[int, ...]
    share: float
    extents: tuple[np.ndarray, ...]
    run: int = 1

    @property
    def kind(self) -> FieldKind:
        """The least exact of the axes' kinds."""
        order = ("unknown", "upper bound", "whole image", "exact", "nothing")
        return min((each.kind for each in self.axes), key=order.index)


@dataclass(frozen=True, slots=True)
class FieldRow:
    """A layer with its output's shape and axes and what it sees."""

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    field: ReceptiveField


@dataclass(frozen=True, slots=True, repr=False)
class FieldListing(Drawn):
    """What `fmap rf` lists: chosen layers out of `count`, for an input whose axes (`H`, `W`, maybe `T`) are `size`.

    `notes` say what could not be followed.
    """

    origin: Origin
    layers: tuple[FieldRow, ...]
    count: int
    input_shape: tuple[int, ...]
    size: tuple[int, ...]
    notes: tuple[str, ...] = ()

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import fields_document

        return fields_document(self, file)

    def csv(self) -> str:
        from .document import fields_csv

        return fields_csv(self)

    def print(self, *, groups: bool = False, file: Path | None = None) -> None:
        from .table import print_fields

        print_fields(self, groups=groups, file=file)

    def figure(self) -> Figure:
        """Field and stride of each layer through depth."""
        from .figure import growth_figure

        return Figure(growth_figure(self))


def _file_name(stem: str, model: str, what: str) -> str:
    from ..drawing.files import figure_name

    return figure_name(stem, model, what)


@dataclass(frozen=True, slots=True, repr=False)
class UnitView(Drawn):
    """One unit of a layer for one image: its value and its box.

    `place` is its cell (frame, row, column), `map` the whole channel as `[H, W]` float32 of that frame, `picked` says
    how the unit was chosen. `image` is the picture the box is in.
    """

    origin: Origin
    row: FieldRow
    channel: int
    channels: int
    place: tuple[int, int, int]
    picked: str
    value: float
    map: np.ndarray
    box: UnitBox
    image: ImageInput

    FILES: ClassVar[tuple[str, ...]] = (".json", *FIGURE_SUFFIXES)

    @property
    def file_name(self) -> str:
        """What its figure is called where nobody says."""
        return _file_name(self.image.stem, self.origin.model, f"{self.row.layer.name}-unit")

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import unit_document

        return unit_document(self, file)

    def print(self, *, file: Path | None = None) -> None:
        from .table import print_unit

        print_unit(self, file)

    def figure(self) -> Figure:
        from .unit_figure import unit_figure

        return Figure(unit_figure(self))


@dataclass(frozen=True, slots=True, repr=False)
class EffectiveField(Drawn):
    """How much each input pixel moves one unit, on average over `count` inputs.

    `energy` is the mean absolute gradient, summed over the input's channels, `[H, W]` float64, its sum 1 (0 where
    nothing moves the unit). `channel` is None where the gradient is that of all channels' sum. `holds` lists (share,
    height, width): the smallest box around `centre` that holds the share, of the theoretical box's proportions.
    `source` says what the inputs were, `stem` what files are named after them.
    """

    origin: Origin
    row: FieldRow
    channel: int | None
    place: tuple[int, int, int]
    box: UnitBox
    energy: np.ndarray
    centre: tuple[float, float]
    holds: tuple[tuple[float, int, int], ...]
    count: int
    source: str
    image: ImageInput | None = None
    stem: str = ""

    FILES: ClassVar[tuple[str, ...]] = (".json", *FIGURE_SUFFIXES)

    @property
    def file_name(self) -> str:
        """What its figure is called where nobody says."""
        return _file_name(self.stem, self.origin.model, f"{self.row.layer.name}-effective")

    def around(self, height: int, width: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """Rows and columns, first and last, of a box of this size around the field's middle."""
        firsts = [
            floor(middle - (length - 1) / 2 + 0.5) for middle, length in zip(self.centre, (height, width), strict=True)
        ]
        return (firsts[0], firsts[0] + height - 1), (firsts[1], firsts[1] + width - 1)

    def inside(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of what of such a box is in the picture."""
        spans = zip(self.around(height, width), self.energy.shape, strict=True)
        down, across = (max(min(last, length - 1) - max(first, 0) + 1, 0) for (first, last), length in spans)
        return down, across

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import effective_document

        return effective_document(self, file)

    def print(self, *, file: Path | None = None) -> None:
        from .table import print_effective

        print_effective(self, file)

    def figure(self) -> Figure:
        from .effective_figure import effective_figure

        return Figure(effective_figure(self))


def cell_in_words(row: FieldRow, place: tuple[int, int, int], called: InputWords) -> str:
    """A unit's place as every output says it: `row 11, column 0`, with its frame or slice before."""
    if not row.field.cells:
        return "the value"
    frame = f"{called.layer} {place[0]}, " if len(row.field.cells) == 3 else ""
    return f"{frame}row {place[1]}, column {place[2]}"
