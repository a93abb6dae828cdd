"""What a report holds: chosen layers of one or several passes, encoded, with the numbers and words that go beside."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..answers.records import Detection, Prediction
from ..errors import FmapError
from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..receptive.records import ReceptiveField
from ..results import Result
from ..statistics.records import Finding, LayerStats

if TYPE_CHECKING:
    import numpy as np

    from ..inputs.records import ImageInput
    from ..statistics.channels import ChannelStats
    from ..top.records import Dossiers
    from .planes import Codes, Reading

MAX_BYTES = 64_000_000
"""A page larger than this is not written unless it is asked for: browsers open it slowly, and mail does not take it."""


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What a page needs to do a convolution's arithmetic: what it reads, its weights, and how it goes over the map.

    `reads` is the layer whose values it multiplies, empty for the picture itself. `weight` is `[O, I / groups, h, w]`
    float32, `bias` `[O]`; `padding` is what lies before the first row and the first column.
    """

    reads: str
    weight: np.ndarray
    bias: np.ndarray
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    groups: int


@dataclass(frozen=True, slots=True)
class Components:
    """A whole layer as one picture: its principal components as colours, uint8 `[T, H, W, 3]`, as `fmap show --reduce
    pca` draws them; `shares` are their parts of the variance.
    """

    pixels: np.ndarray
    shares: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class PageLayer:
    """One layer of one pass as a page shows it.

    `cells` are the frames, height and width of its map, `stage` the number of the stage it runs in. `before` names its
    pre-activation among the page's layers. `codes` says which of the report's codes it is read from, by `reading`.
    `stats` are of the whole output, `channels` of each channel's map. `effect` is a number a channel, if computed.
    `of_first` says that the output holds both pictures of a pair one after the other: the maps are the first one's.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    dtype: str
    cells: tuple[int, int, int]
    stage: int
    before: str | None
    parameters: int
    multiply_adds: int | None
    output_bytes: int
    field: ReceptiveField
    codes: int
    reading: Reading
    stats: LayerStats
    channels: ChannelStats
    findings: tuple[Finding, ...] = ()
    components: Components | None = None
    arithmetic: Arithmetic | None = None
    effect: np.ndarray | None = None
    of_first: bool = False
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many channels there are."""
        return len(self.channels.mean)

    @property
    def is_map(self) -> bool:
        """Whether its channels have places to be drawn; those of a sequence are strips, one row high."""
        return self.cells[1] * self.cells[2] > 1


@dataclass(frozen=True, slots=True)
class Extra:
    """A picture that another subject adds to a pass: evidence, attention. `pixels` is uint8 `[H, W, 3]`."""

    title: str
    words: str
    pixels: np.ndarray


@dataclass(frozen=True, slots=True)
class Picture:
    """One of the pictures that a pass was given, by its name: `pixels` is uint8 `[H, W, 3]`."""

    name: str
    pixels: np.ndarray


@dataclass(frozen=True, slots=True)
class Course:
    """One network by the name of its `model`: the shapes that its map passes through (`stages`), how many layers run in
    each of them and in all, what they cost, and its classes.
    """

    model: str
    stages: tuple[tuple[int, ...], ...]
    stage_layers: tuple[int, ...]
    layer_count: int
    multiply_adds: int
    parameters: int
    labels: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Pass:
    """One pass over one image: the picture that the layers saw, the answer, and the layers in execution order.

    `pictures` are all that the network was given, of one size: one, the two of a pair, or the frames of a clip
    (`is_clip`).

    `scale` (height, width) takes pixels that fields are in to pixels of the picture: a detector resizes what it is
    given. `label_map` is the likeliest class of each pixel, of a segmentation.
    """

    name: str
    image: ImageInput
    pictures: tuple[Picture, ...]
    is_clip: bool
    scale: tuple[float, float]
    layers: tuple[PageLayer, ...]
    predictions: tuple[Prediction, ...]
    detections: tuple[Detection, ...]
    detects: bool
    label_map: np.ndarray | None
    findings: tuple[Finding, ...]
    extras: tuple[Extra, ...] = ()


Sides = Literal["images", "variants"]


@dataclass(frozen=True, slots=True, repr=False)
class Report(Result):
    """A page on which one explores a network's maps: one file, which needs nothing else.

    `passes` has one entry an image, or A and B where two are compared; `compared` says in words in what they differ,
    empty where they are not compared. `codes` are the values of all layers, encoded. `courses` is the network, or A and
    B where two are compared. `memory` is a figure of a step's memory as SVG, where it was asked for. `redact` leaves
    out the photo, and all names and paths. `score` is the least score of a detector's boxes. `failures` are images that
    could not be read, with why. `dossiers` are what `fmap top` saved of the network's channels.
    """

    origin: Origin
    passes: tuple[Pass, ...]
    codes: tuple[Codes, ...]
    courses: tuple[Course, ...]
    compared: str = ""
    variant: str = ""
    memory: str = ""
    redact: bool = False
    max_bytes: int = MAX_BYTES
    score: float = 0.5
    made: str = ""
    failures: tuple[tuple[str, FmapError], ...] = ()
    dossiers: Dossiers | None = None
    _html: list[bytes] = field(default_factory=list, compare=False)

    FILES: ClassVar[tuple[str, ...]] = (".html", ".json")

    @property
    def layers(self) -> tuple[PageLayer, ...]:
        """The layers of the first pass."""
        return self.passes[0].layers

    def course(self, number: int) -> Course:
        """The network that made the pass of this number."""
        return self.courses[min(number, len(self.courses) - 1)]

    def html(self) -> bytes:
        """The page. Raises OutputError where it is larger than `max_bytes`, with the layers that take most."""
        if not self._html:
            from .writing import page_of

            self._html.append(page_of(self))
        return self._html[0]

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import report_document

        return report_document(self, file)

    def print(self, file: Path | None = None) -> None:
        from .table import print_report

        print_report(self, file)

    def frame(self, height: int = 900) -> Frame:
        """The page inside a notebook, in a frame of its own that can reach nothing else."""
        return Frame(self.html().decode(), height)

    def _write(self, path: Path, suffix: str) -> None:
        if suffix != ".html":
            super(Report, self)._write(path, suffix)
            return
        from ..files import write_file

        page = self.html()
        write_file(path, lambda file: file.write(page))


@dataclass(frozen=True, slots=True, repr=False)
class Frame:
    """A page as a notebook shows it: in a frame whose scripts see neither the notebook nor the network."""

    page: str
    height: int

    def _repr_html_(self) -> str:
        import html

        return (
            f'<iframe sandbox="allow-scripts" style="width: 100%; height: {self.height}px; border: 0"'
            f' title="fmap report" srcdoc="{html.escape(self.page)}"></iframe>'
        )

    def __repr__(self) -> str:
        return f"<Frame, {len(self.page) / 1e6:.1f} MB>"
