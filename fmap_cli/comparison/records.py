"""How far two outputs, two runs and two networks are apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..results import Drawn, Figure
from ..statistics.records import LayerRecord

if TYPE_CHECKING:
    import numpy as np

    from ..answers.records import Detection, Prediction
    from ..inputs.framing import Framing


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two outputs of one shape are apart, A being the reference; everything in float64.

    `max_abs` is the largest |a - b|, `relative_l2` is ‖a - b‖ / ‖a‖: 0 where the two are the same, inf where only A is
    zero throughout. `cosine` is that of both as vectors, None where one of them is zero. `correlation` is the mean over
    the `correlated` channels that vary on both sides of Pearson's correlation between A's and B's values of that
    channel; where a channel has one value, it is taken over the channels, and `correlated` is None.

    Places where both have NaN, or the same infinity, are alike and count nowhere. In `unlike` places only one side is
    finite, or they are not finite in different ways: `max_abs` and `relative_l2` are inf then, the rest is over the
    places where both are finite. `channels` is ‖a - b‖ of each channel, float64 `[C]`, inf for those with such a place.

    All that compares place by place. `means` are both sides' means of each channel over its places, float64 `[2, C]`,
    NaN where there is no finite one, and `pooled_cosine` is the cosine of these two vectors; None where one of them is
    zero, or no axis is that of the channels.
    """

    count: int
    max_abs: float
    relative_l2: float
    cosine: float | None
    correlation: float | None
    correlated: int | None
    unlike: int
    channels: np.ndarray
    pooled_cosine: float | None = None
    means: np.ndarray | None = None

    @property
    def channel(self) -> int | None:
        """The channel in which the two differ most; None where they differ in none."""
        return int(self.channels.argmax()) if self.channels.size and self.channels.max() > 0 else None


@dataclass(frozen=True, slots=True)
class ComparedLayer:
    """A layer that both sides have in one shape; `over` says that it is over the threshold, `dtypes` are A's and B's.

    `same_as` names an earlier layer whose output is this very tensor on both sides. `axes` are the output's.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    dtypes: tuple[str, str]
    difference: Difference
    over: bool
    same_as: str | None = None
    axes: Axes | None = None


@dataclass(frozen=True, slots=True)
class RunDifference:
    """How far two runs' statistics of one layer are apart, A being the reference.

    `mean_shift` and `std_shift` are the largest over the channels of |Δmean| and |Δstd| as shares of the channel's
    standard deviation pooled over both runs; `min_shift` and `max_shift` the largest |Δmin| and |Δmax|. `relative_l2`,
    `cosine` and `correlation` compare the vectors of the channels' means. `moved` is the total variation distance of
    the histograms: the share of the values that would have to go to another cell to make them equal; None where there
    are none. `unlike` counts the channels in which only one run has NaN, infinity or no finite value at all; then
    `relative_l2` is inf. `channel` is that of the largest `mean_shift`. Where no channel has finite values in both runs
    there is nothing to compare: shifts are NaN.
    """

    mean_shift: float
    std_shift: float
    min_shift: float
    max_shift: float
    relative_l2: float
    cosine: float | None
    correlation: float | None
    moved: float | None
    unlike: int
    channel: int | None


@dataclass(frozen=True, slots=True)
class ComparedRecord:
    """A layer that both runs have with as many channels, and the images each is over; `records` are A's and B's.

    `same_as` names an earlier layer whose output is this very tensor in both runs.
    """

    layer: LayerRef
    images: tuple[int, int]
    difference: RunDifference
    over: bool
    records: tuple[LayerRecord, LayerRecord]
    same_as: str | None = None


@dataclass(frozen=True, slots=True)
class Side:
    """One side of a comparison: the image or the saved run, by name, and where its numbers come from.

    `images` counts those of a saved run, None for a pass. Of a pass, `size` is the height and width of what the network
    saw.
    """

    source: str
    origin: Origin
    memory_format: str = ""
    images: int | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class DrawnPair:
    """The strongest-differing channels of one layer, for the eye: both sides' maps, `[N, H, W]` float32.

    `drawn` holds their indices, strongest first, out of `count`; `note` says what part of an output that has more.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    drawn: tuple[int, ...]
    count: int
    a: np.ndarray
    b: np.ndarray
    note: str = ""


@dataclass(frozen=True, slots=True)
class DrawnVector:
    """The values of one vector that differ most: `drawn` are their numbers out of `count`, `values` A's and B's,
    `[2, N]`; `labels` are the classes whose scores they are, empty where they are not a network's scores.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    drawn: tuple[int, ...]
    count: int
    values: np.ndarray
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SharedChannels:
    """Which channels of one layer respond to both of two images, and which to one alone, strongest first.

    A channel is strong in an image where its mean over the places is at least the root mean square of all channels'
    means. `both` are strong in both, with one sign, `only_a` strong in A and by a factor of three weaker in B (each as
    a share of its image's root mean square), `only_b` the other way round. `drawn` are the channels that a figure
    shows, those of `both` first, and `a` and `b` their maps, `[N, H, W]` float32, None where none are kept; `means` are
    theirs, `[2, N]`. `note` says what part of an output is drawn that has more. `on_photo` says that the maps can be
    laid over the pictures; a detector's cannot, as it resizes and pads its input by itself.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    count: int
    both: tuple[int, ...]
    only_a: tuple[int, ...]
    only_b: tuple[int, ...]
    drawn: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    means: np.ndarray
    a: np.ndarray | None = None
    b: np.ndarray | None = None
    note: str = ""
    on_photo: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """Both sides' answers, and whether B gives another one than A.

    Of a `class` that is the likeliest one; `classes` are A's and B's likeliest. Of a detector's `objects`, which are
    those scored 0.5 and more, `matched` are the pairs of one class whose boxes overlap by half, `lost` are found in A
    alone and `added` in B alone. Of `pixels`, `areas` are A's and B's largest classes with their shares; where both
    maps have one size, `pixels` is the share that gets another class, and `moves` are the commonest changes with their
    shares; where they have two, the answer is another one where not the same classes are there. Of any other answer,
    `values` or a single `number`, `difference` says how far the two are apart; they are another answer where that is
    over the threshold. `numbers` are the two numbers, and `endpoint_px` is the mean length of the difference of two
    optical flows. `no_numbers` says that in neither answer there is a finite value.
    """

    kind: Literal["class", "objects", "pixels", "number", "values"]
    changed: bool
    classes: tuple[tuple[Prediction, ...], tuple[Prediction, ...]] = ((), ())
    matched: tuple[tuple[Detection, Detection], ...] = ()
    lost: tuple[Detection, ...] = ()
    added: tuple[Detection, ...] = ()
    pixels: float | None = None
    moves: tuple[tuple[str, str, float], ...] = ()
    areas: tuple[tuple[tuple[str, float], ...], tuple[tuple[str, float], ...]] = ((), ())
    difference: Difference | None = None
    numbers: tuple[float, float] | None = None
    endpoint_px: float | None = None
    no_numbers: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Drawn):
    """What `fmap compare` shows: layers in A's execution order, as outputs or, of saved runs, as statistics.

    `only_a` and `only_b` are layers that one side alone has, `unlike_shapes` those with a shape on either side (of
    runs: a number of channels). `pictures` are what both networks saw, `framings` how they were cut out of the files'
    pictures, `pair` the layer that is drawn. `inputs` is how far apart what both are fed is, None where it has two
    shapes or is not known; `fed_alike` that nothing differs (of runs: that both made their pictures the same way).

    `of_images` says that A and B are two images. Their maps differ everywhere, so the pooled comparison stands first,
    and `shared` says which channels of the last map, or of the one to draw, they have in common. `vector` is drawn
    where no map is. `answer` is what the networks answer, None of saved runs and where the two answers cannot be held
    against each other. `picked` says that layers were asked for by name, so that all of them are shown.
    """

    a: Side
    b: Side
    threshold: float
    layers: tuple[ComparedLayer, ...] | tuple[ComparedRecord, ...]
    only_a: tuple[str, ...] = ()
    only_b: tuple[str, ...] = ()
    unlike_shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()
    pictures: tuple[np.ndarray, np.ndarray] | None = None
    framings: tuple[Framing | None, Framing | None] = (None, None)
    pair: DrawnPair | None = None
    inputs: Difference | RunDifference | None = None
    fed_alike: bool = True
    of_images: bool = False
    shared: SharedChannels | None = None
    vector: DrawnVector | None = None
    answer: Answer | None = None
    picked: bool = False

    @property
    def shown(self) -> tuple[ComparedLayer, ...] | tuple[ComparedRecord, ...]:
        """The layers that the table lists: no container that puts out another layer's tensor, unless asked for."""
        if self.picked:
            return self.layers
        return tuple(each for each in self.layers if each.same_as is None)  # type: ignore[return-value]

    @property
    def first(self) -> ComparedLayer | ComparedRecord | None:
        """The first layer over the threshold."""
        return next((each for each in self.layers if each.over), None)

    @property
    def parts(self) -> bool:
        """Whether a layer is over the threshold, or has another shape on either side."""
        return self.first is not None or bool(self.unlike_shapes)

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import compare_document

        return compare_document(self, file)

    def csv(self) -> str:
        from .document import compare_csv

        return compare_csv(self)

    def print(self, *, file: Path | None = None) -> None:
        from .table import print_comparison

        print_comparison(self, None if file is None else str(file))

    def figure(self) -> Figure:
        """The difference through depth and, of one layer, the channels that differ most.

        Of two images, the pooled cosine through depth, and the channels that they share and do not share.
        """
        from .figure import comparison_figure

        return Figure(comparison_figure(self))
