"""What `fmap top` says: of every channel what it answers to most, least and in between, with patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

from ..errors import FmapError, LayerError
from ..network.records import Axes, LayerRef
from ..results import FIGURE_SUFFIXES, Drawn, Figure
from ..running.records import Progress, RunOrigin

if TYPE_CHECKING:
    import numpy as np

    from .cutting import Patches
    from .excitations import Excitations

Sort = Literal["selectivity", "fires", "index", "max", "like"]
SORTS: tuple[Sort, ...] = ("selectivity", "fires", "index", "max", "like")
STRONGEST = 9
PatchKey = tuple[str, int, int, int, int, int]
QUANTILES = (0.9, 0.7, 0.5, 0.3, 0.1)
DRAWN = 12
"""So many channels a figure has, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Looking:
    """What is kept of which images: `strongest` units of each channel, `per_image` of one image at most.

    `channels` are the only ones kept, None for all. `shuffle` is the seed of a random order, which `limit` then cuts.
    """

    patterns: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    channels: tuple[int, ...] | None = None
    strongest: int = STRONGEST
    per_image: int = 1
    by_class: bool = False
    limit: int | None = None
    shuffle: int | None = None
    batch: int = 8
    workers: int | None = None
    layout: str | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """One unit: its value, the image it is of, its place in the map (row, column), and what it is an example of.

    `rank` is its place among the strongest or the weakest, from 1, and of an example of a quantile the quantile.
    `number` is the image's in the list. `patch` is its field in the picture, None where none was kept.
    `map` uint8 `[8, 8]` is the channel's map in that image, coarse, from 0 to the unit's value at 255; of the strongest
    units alone, and of maps of at most 32 × 32 places.
    """

    kind: Literal["strongest", "weakest", "quantile"]
    rank: float
    value: float
    image: str
    number: int
    place: tuple[int, int, int]
    patch: Patch | None = None
    map: np.ndarray | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """The field of one unit, cut out of the picture that the network saw.

    `rows` and `columns` are its first and last pixel of each, counted in the picture, also beyond its border; `size` is
    the picture's. `pixels` uint8 `[h, w, 3]` are these pixels, gray beyond the border, or where they are many a smaller
    version of them. Where `whole` they are the whole picture, since the field is at least as large. `cells` are height
    and width of the layer's map of this picture, None where they are not known.
    """

    rows: tuple[int, int]
    columns: tuple[int, int]
    size: tuple[int, int]
    pixels: np.ndarray = field(repr=False)
    whole: bool = False
    cells: tuple[int, int] | None = None


class Answer(NamedTuple):
    """How a channel answers to the images of one class: the mean of its maxima over so many."""

    name: str
    mean: float
    images: int


@dataclass(frozen=True, slots=True)
class Dossier:
    """All that is known of one channel.

    `fires` is the share of the images in which it has a value above zero; `max`, `min` and `mean` are of its maxima,
    one an image, `quantiles` (`QUANTILES`) of those in `spread`, which is all of them or a sample. `selectivity` (None
    where it does not exist) is by class where classes are told apart, else the sparseness over images. `classes` are
    those that it answers to most, first. `here` is its value at the place of `Like`, and `above` the share of the
    images whose maximum is smaller.
    """

    channel: int
    images: int
    fires: float | None
    max: float | None
    min: float | None
    mean: float | None
    quantiles: tuple[float, ...]
    selectivity: float | None
    classes: tuple[Answer, ...]
    units: tuple[Unit, ...]
    spread: np.ndarray = field(repr=False)
    here: float | None = None
    above: float | None = None

    @property
    def never_fires(self) -> bool:
        return self.fires == 0

    def of(self, kind: str) -> tuple[Unit, ...]:
        return tuple(each for each in self.units if each.kind == kind)


@dataclass(frozen=True, slots=True, eq=False)
class Like:
    """A place of an image, row and column of a layer's map, which channels are asked about; `pixels` uint8
    `[H, W, 3]` are the picture that the network saw.
    """

    image: str
    place: tuple[int, int]
    pixels: np.ndarray = field(repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class LayerDossiers:
    """A layer's channels: their numbers int64 `[C]`, and the record of them, whose rows they are.

    `here` float32 `[C]` are the channels' values at the place of `Like`, None where none is asked about. `shape` is the
    output's for one image and `cells` how large a map is (height, width), of the first image.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    axes: Axes
    channels: np.ndarray
    found: Excitations
    cells: tuple[int, int] = (1, 1)
    here: np.ndarray | None = field(default=None, repr=False)


def _no_patches() -> Patches:
    from .cutting import Patches

    return Patches.none()


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Dossiers(Drawn):
    """What each channel of some layers answers to, over `images` images.

    `entries` is how many places the list of images had, read or not; `names` are those of the images that are named
    in the layers, by their number in the list. `patches` are the fields of units. `progress` is None
    for a merged run and for one that is complete.
    """

    origin: RunOrigin
    sources: tuple[str, ...]
    images: int
    entries: int
    layers: tuple[LayerDossiers, ...]
    strongest: int = STRONGEST
    per_image: int = 1
    by_class: bool = False
    failures: tuple[tuple[str, str], ...] = ()
    names: Mapping[int, str] = field(default_factory=dict)
    patches: Patches = field(default_factory=_no_patches)
    progress: Progress | None = None
    like: Like | None = None

    FILES: ClassVar[tuple[str, ...]] = (".fmap", *Drawn.FILES)

    def __getitem__(self, layer: str) -> LayerDossiers:
        for each in self.layers:
            if each.layer.name == layer:
                return each
        raise LayerError(
            f"there are no dossiers of layer {layer!r}.",
            hint=f"There are of {', '.join(each.layer.name for each in self.layers[:8])}.",
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What cannot be concluded."""
        from .words import notes_on

        return notes_on(self)

    def dossier(self, layer: str, channel: int) -> Dossier:
        """One channel of a layer."""
        from .dossiers import dossier_of

        return dossier_of(self, self[layer], channel)

    def only(
        self, patterns: Sequence[str] = (), channels: Sequence[int] | None = None, kinds: Sequence[str] = ()
    ) -> Dossiers:
        """These with some layers and channels alone. Raises LayerError where there are none."""
        from .dossiers import restricted

        return restricted(self, patterns, channels, kinds)

    def _order_of(self, sort: Sort | None) -> Sort:
        return sort or ("selectivity" if self.like is None else "like")

    def order(
        self, layer: str, *, sort: Sort | None = None, reverse: bool = False, top: int | None = None
    ) -> list[int]:
        """A layer's channels as they are shown: the largest number first, of `index` the smallest.

        `sort` is one of `SORTS`; by default `like` where a place is asked about, else `selectivity`.
        """
        from .dossiers import ordered

        return ordered(self, self[layer], self._order_of(sort), reverse, top)

    def figure(
        self, layer: str | None = None, *, sort: Sort | None = None, reverse: bool = False, top: int | None = None
    ) -> Figure:
        """The contact sheet of one layer, the first one unless it is named: a channel a row."""
        from .figure import sheet

        one = self.layers[0] if layer is None else self[layer]
        chosen = self.order(one.layer.name, sort=sort, reverse=reverse, top=top or DRAWN)
        return Figure(sheet(self, one, chosen, self._order_of(sort), reverse))

    def document(
        self,
        *,
        sort: Sort | None = None,
        reverse: bool = False,
        top: int | None = None,
        files: Sequence[str | None] = (),
    ) -> dict[str, Any]:
        from .document import dossiers_document

        return dossiers_document(self, self._order_of(sort), reverse, top, files)

    def csv(self, *, sort: Sort | None = None, reverse: bool = False, top: int | None = None) -> str:
        from .document import dossiers_csv

        return dossiers_csv(self, self._order_of(sort), reverse, top)

    def print(
        self,
        *,
        sort: Sort | None = None,
        reverse: bool = False,
        top: int | None = None,
        files: Sequence[str | None] = (),
        saved: str | None = None,
    ) -> None:
        from .table import print_dossiers

        print_dossiers(self, self._order_of(sort), reverse, top, files, saved)

    def _write(self, path: Path, suffix: str) -> None:
        if suffix == ".fmap":
            from .saved import save_dossiers

            save_dossiers(path, self)
        elif suffix in FIGURE_SUFFIXES and len(self.layers) > 1:
            raise FmapError(
                f"{len(self.layers)} layers are {len(self.layers)} figures.", hint="Use figure(layer).save(path)."
            )
        else:
            Drawn._write(self, path, suffix)


def patch_key(layer: str, channel: int, number: int, place: Sequence[int]) -> PatchKey:
    """By what a unit's patch is found: its layer, its channel, the image's number and its place."""
    return layer, channel, number, *(int(each) for each in place)  # type: ignore[return-value]
