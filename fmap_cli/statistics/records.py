"""Statistics of layers and runs over any number of images, and findings about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..errors import FmapError
from ..network.records import Axes, LayerRef
from ..results import Drawn, Figure
from ..running.records import Progress, RunOrigin

if TYPE_CHECKING:
    from .channels import ChannelStats


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Statistics of a whole output as Python numbers; a moment that does not exist is None."""

    count: int
    mean: float | None
    std: float | None
    rms: float | None
    min: float | None
    max: float | None
    zero_fraction: float
    nan: int
    inf: int


@dataclass(frozen=True, slots=True)
class Counting:
    """What is counted of which images. `shuffle` is the seed of a random order, which `limit` then cuts."""

    patterns: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    per_channel: bool = False
    by_class: bool = False
    limit: int | None = None
    shuffle: int | None = None
    batch: int = 8
    workers: int | None = None
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class LayerRecord:
    """What is known of one layer after `images` images in which it ran.

    `shape` is the output's for one image, of the first image where their sizes differ (`varies`). `same_as` names an
    earlier layer whose output is this very tensor: a block's is that of its last layer.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    dtype: str
    images: int
    channels: ChannelStats = field(repr=False)
    same_as: str | None = None
    varies: bool = False


@dataclass(frozen=True, slots=True)
class ClassRun:
    """The part of a run that is over the images of one class, the folder they stand in."""

    name: str
    images: int
    layers: tuple[LayerRecord, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Run(Drawn):
    """What a network's layers put out over `images` images, layers in execution order.

    `sources` are the arguments that named the images, `failures` those that could not be read (name, reason).
    `progress` is None for a merged run and for one that is complete.
    """

    origin: RunOrigin
    sources: tuple[str, ...]
    images: int
    layers: tuple[LayerRecord, ...]
    failures: tuple[tuple[str, str], ...] = ()
    classes: tuple[ClassRun, ...] = ()
    progress: Progress | None = None
    findings: tuple[Finding, ...] = field(default=(), compare=False)

    FILES: ClassVar[tuple[str, ...]] = (".fmap", *Drawn.FILES)

    @property
    def distinct(self) -> tuple[LayerRecord, ...]:
        """The layers without those that put out the very tensor of another one here, as blocks do."""
        names = {each.layer.name for each in self.layers}
        return tuple(each for each in self.layers if each.same_as not in names)

    def only(self, shown: Sequence[LayerRecord] | None) -> Run:
        """The run with these layers alone, in all its classes; None stands for the distinct ones."""
        layers = self.distinct if shown is None else tuple(shown)
        names = {each.layer.name for each in layers}
        classes = [
            replace(each, layers=tuple(record for record in each.layers if record.layer.name in names))
            for each in self.classes
        ]
        return replace(self, layers=layers, classes=tuple(classes))

    def document(
        self, *, shown: Sequence[LayerRecord] | None = None, channels: bool = False, files: Sequence[str] = ()
    ) -> dict[str, Any]:
        from .document import stats_document

        return stats_document(self.only(shown), self.findings, channels=channels, files=files)

    def csv(self, *, shown: Sequence[LayerRecord] | None = None, channels: bool = False) -> str:
        from .document import stats_csv

        return stats_csv(self.only(shown), channels=channels)

    def print(
        self,
        *,
        per_channel: bool = False,
        by_class: bool = False,
        sort: str = "layer",
        reverse: bool = False,
        top: int | None = 50,
        shown: Sequence[LayerRecord] | None = None,
        files: Sequence[str] = (),
    ) -> None:
        """Print the table: a row a layer and then the findings, or a row a channel (`per_channel`) or class.

        Channels are sorted by `sort` (`layer`, or the name of a number: `mean`, `rms`, `zeros` …), from the largest
        down, or up where `reverse`; the first `top` are shown, all with None. `shown` are the layers to show instead of
        all distinct ones, `files` what the last lines say was written. Raises FmapError for a `sort` that is none.
        """
        from .columns import SORTS
        from .table import notes_on, print_channels, print_classes, print_run

        layers = self.distinct if shown is None else shown
        if sort not in SORTS:
            raise FmapError(f"sort is {sort!r}: it has to be one of {', '.join(map(repr, SORTS))}.")
        if top is not None and top < 1:
            raise FmapError(f"top is {top}: it has to be a whole number of at least 1, or None for all.")
        if per_channel:
            print_channels(self, layers, sort=sort, reverse=reverse, top=top, written=files)
        elif by_class:
            print_classes(self, layers, written=files)
        else:
            print_run(self, self.findings, shown=layers, written=files, notes=notes_on(self, layers))

    def figure(self, *, shown: Sequence[LayerRecord] | None = None) -> Figure:
        """The distribution of each layer's values through depth."""
        from .figure import depth_figure

        return Figure(depth_figure(self, self.findings, self.distinct if shown is None else shown))

    def _write(self, path: Path, suffix: str) -> None:
        """The run itself (`.fmap`, which `load_run` reads), its document, its rows or its figure."""
        if suffix != ".fmap":
            super(Run, self)._write(path, suffix)
            return
        from .runs import save_run

        save_run(path, self)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a layer that a person should know.

    `check` is the rule's name (`dead-channels`), `what` says it in words with its evidence, `sample` what it was seen
    over, `advice` what people usually do about it. `channels` are the indices it holds for, where it is about channels.
    `caution` says how far so few images prove it, empty where nothing of it hangs on their number.
    """

    layer: str
    check: str
    severity: Literal["note", "warning", "error"]
    what: str
    sample: str
    advice: str
    channels: tuple[int, ...] = ()
    caution: str = ""
