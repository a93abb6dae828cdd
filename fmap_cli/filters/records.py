"""A layer's kernels with their numbers, what of them is asked for, and how they are drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from ..errors import LayerError
from ..models.records import Origin
from ..network.records import LayerRef
from ..results import ARRAY_SUFFIXES, Drawn, Figure

if TYPE_CHECKING:
    import numpy as np


Sort = Literal["index", "norm", "l1", "mean", "min", "max", "zeros", "near-zero"]
SORTS: tuple[Sort, ...] = get_args(Sort)

Severity = Literal["note", "warning", "error"]

NEAR = 0.99
"""The cosine from which on two kernels are called nearly the same, unless told otherwise."""

SHOWN = 64
"""How many filters a figure of tiles shows unless told otherwise, as `fmap show` does of channels."""

NEAR_ZERO = 1e-3
"""A weight is near zero where it is at most this share of the layer's largest; filters that are `LARGE` left out."""

LARGE = 100
"""A filter is large where its norm is this many times the median filter's or more. Before a BatchNorm, which evens them
out, filters of trained networks reach 66 times (fmap's measurement: a depthwise filter of MobileNetV2)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Which filters are asked for, and in what order: the `channels` listed, the first `top`, or `all` in figures too.

    `sort` is what they are sorted by: numbers from the largest on, indices from 0 on, `reverse` the other way round.
    Without it, a layer of up to 64 filters is in the order of the channels and a larger one begins with the largest
    norm; a layer that is drawn as a matrix is in the order of the channels.
    """

    channels: tuple[int, ...] | None = None
    top: int | None = None
    sort: Sort | None = None
    reverse: bool = False
    all: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """How weights become colours.

    `scale` says whose largest weight stands at the ends of the colours: each filter's own (`channel`) or the whole
    `layer`'s; None is `channel` for tiles and `layer` for a matrix. `clip` is the percentage of weights at either end
    that take the end's colour, None for a half of a matrix and none of tiles. `inputs` is how many input channels of a
    filter are drawn. `cmap` is None for the default, a diverging map around zero. `tile` is the height of a kernel in
    pixels, None for one that fits.
    """

    scale: Literal["channel", "layer"] | None = None
    clip: float | None = None
    inputs: int = 8
    cmap: str | None = None
    tile: int | None = None


@dataclass(frozen=True, slots=True)
class KernelNumbers:
    """A number a filter, `[O]` float64: of its finite weights, those of one output channel.

    `l1` is the sum of magnitudes, `norm` the square root of the sum of squares. `zero` and `near_zero` are the shares
    of weights that are 0, and that are at most a thousandth of the layer's largest, but for that of filters which are
    large beside the others. `nan` and `inf` are counts. What
    does not exist is NaN.
    """

    norm: np.ndarray
    l1: np.ndarray
    mean: np.ndarray
    min: np.ndarray
    max: np.ndarray
    zero: np.ndarray
    near_zero: np.ndarray
    nan: np.ndarray
    inf: np.ndarray


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a layer's filters that a person should know.

    `check` is the rule's name (`same-filters`), `what` says it in words, `channels` are the output channels that it
    holds for. `groups` are the channels that belong together, `pairs` two channels and the cosine of their kernels,
    the closest first, a hundred at most.
    """

    layer: str
    check: str
    severity: Severity
    what: str
    channels: tuple[int, ...] = ()
    groups: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[tuple[int, int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Kernels:
    """One layer's kernels.

    `weight` is `[O, I, *kernel]`, float32 or float64, the filter of output channel 0 first, in one form whatever the
    layer is: `I` are the input channels that a filter reads, all `inputs` of them or, with several `groups`, those of
    its group. A linear layer's is `[O, I]`. `stored` is the shape and `dtype` the number format as the layer keeps it.
    `how` says where the weight comes from: `as stored`, or what computes it. `bias` is `[O]` or None. `reads_picture`
    says that the input channels are the picture's red, green and blue. `folded` names the BatchNorm that is folded in;
    `not_folded` says why none is, where it was asked for. `order` are the filters asked for, in their order, and
    `order_in_words` says which these are.
    """

    layer: LayerRef
    asked: str
    weight: np.ndarray
    bias: np.ndarray | None
    inputs: int
    groups: int
    transposed: bool
    stored: tuple[int, ...]
    dtype: str
    how: str
    reads_picture: bool
    numbers: KernelNumbers
    order: np.ndarray
    order_in_words: str
    every: bool
    findings: tuple[Finding, ...] = ()
    folded: str = ""
    not_folded: str = ""
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        return len(self.weight)

    @property
    def kernel(self) -> tuple[int, ...]:
        """The kernel's size along each axis; empty for a linear layer."""
        return tuple(self.weight.shape[2:])

    @property
    def is_matrix(self) -> bool:
        """Whether each pair of an input and an output channel has one weight: a linear layer, a 1 × 1 convolution."""
        return self.weight[0, 0].size == 1 if self.weight.size else True

    @property
    def is_depthwise(self) -> bool:
        return self.groups > 1 and self.weight.shape[1] == 1

    def inputs_of(self, channel: int) -> range:
        """The input channels that a filter reads."""
        each = self.weight.shape[1]
        group = channel // (self.count // self.groups)
        return range(group * each, (group + 1) * each)

    @property
    def drawn(self) -> np.ndarray:
        """The filters that the figure shows: a matrix whole, of tiles the first 64 unless more were asked for."""
        return self.order if self.every or self.is_matrix else self.order[:SHOWN]


@dataclass(frozen=True, slots=True, repr=False)
class Filters(Drawn):
    """The kernels of the layers asked for."""

    FILES: ClassVar[tuple[str, ...]] = (*Drawn.FILES, *ARRAY_SUFFIXES)

    origin: Origin
    layers: tuple[Kernels, ...]
    near: float = NEAR

    def document(self, files: Sequence[str | None] = ()) -> dict[str, Any]:
        from .document import filters_document

        return filters_document(self, files)

    def csv(self) -> str:
        from .document import filters_csv

        return filters_csv(self)

    def print(self, files: Sequence[str] = (), arrays: str | None = None) -> None:
        from .table import print_filters

        print_filters(self, files, arrays)

    def figure(self, layer: str | None = None, drawing: Drawing | None = None) -> Figure:
        """The figure of one of the layers, the first unless it is named. Raises LayerError for one not asked for."""
        from .figure import filters_figure

        found = [each for each in self.layers if layer in (None, each.layer.name, each.asked)]
        if not found:
            raise LayerError(
                f"layer {layer!r} was not asked for.", hint=", ".join(each.layer.name for each in self.layers)
            )
        return Figure(filters_figure(self, found[0], drawing or Drawing()))

    def _write(self, path: Path, suffix: str) -> None:
        if suffix not in ARRAY_SUFFIXES:
            return super(Filters, self)._write(path, suffix)
        from .document import save_filters

        return save_filters(path, self)
