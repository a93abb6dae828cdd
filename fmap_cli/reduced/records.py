"""Whole layers, each in one picture: what was asked for, what came of it, and how it is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

from ..errors import FmapError
from ..inputs.records import ImageInput
from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..results import ARRAY_SUFFIXES, Drawn, Figure

if TYPE_CHECKING:
    import numpy as np

Reduction = Literal["pca", "mean", "max", "std", "kmeans"]
REDUCTIONS: tuple[Reduction, ...] = get_args(Reduction)

Sharing = Literal["shared", "layer"]
SHARINGS: tuple[Sharing, ...] = get_args(Sharing)

CLUSTERS = 6
"""How many clusters k-means makes unless told otherwise."""

COLOURS: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("orange", (230, 140, 0)),
    ("blue", (0, 100, 190)),
    ("green", (0, 150, 90)),
    ("yellow", (245, 225, 60)),
    ("purple", (140, 70, 170)),
    ("sky blue", (120, 195, 245)),
    ("red", (205, 30, 40)),
    ("brown", (125, 80, 40)),
    ("pink", (240, 150, 190)),
    ("black", (25, 25, 30)),
    ("lime", (160, 215, 50)),
    ("gray", (150, 150, 155)),
)
"""The clusters' colours by name, the largest cluster's first: no two are alike to a person who cannot tell red from
green, nor in gray print where they are few.
"""

CLIPPED = 1.0
"""The percentage of a component's values at either end that take the end's colour, unless told otherwise."""


@dataclass(frozen=True, slots=True)
class Asked:
    """How layers are reduced: by one of `REDUCTIONS`, or, where `similar` is given, by the likeness to that unit.

    `similar` is the unit's row and column (of clips the frame before). `clusters` is how many k-means makes,
    None for `CLUSTERS`. `foreground` fits to the foreground alone. `basis` is `shared` by all layers of as many
    channels, which is the default, or each `layer` has one of its own. `layout` is of arrays or of the layers' outputs.
    """

    patterns: tuple[str, ...] = ()
    reduce: Reduction | None = "pca"
    similar: tuple[int, ...] | None = None
    clusters: int | None = None
    foreground: bool = False
    basis: Sharing | None = None
    layout: str | None = None

    @property
    def method(self) -> str:
        return "similar" if self.similar is not None else str(self.reduce)


@dataclass(frozen=True, slots=True)
class Drawing:
    """How reduced maps become colours.

    `clip` is the percentage of values at either end that take the end's colour, None for 1 of components and 0 of
    everything else. `cmap` is None for the default, `tile` the height of a picture in pixels, None for one that fits.
    `overlay` lays each picture over the photo in gray.
    """

    clip: float | None = None
    cmap: str | None = None
    tile: int | None = None
    overlay: bool = False


@dataclass(frozen=True, slots=True)
class Components:
    """Principal components of units: `directions` `[K, C]`, the first of the largest variance, around a `mean` `[C]`.

    K is 3, or less where units vary along fewer directions. `shares` are their parts of all `variance`, the sum of the
    channels' variances.
    """

    mean: np.ndarray = field(repr=False)
    directions: np.ndarray = field(repr=False)
    shares: tuple[float, ...]
    variance: float


@dataclass(frozen=True, slots=True)
class Clusters:
    """Groups of units by k-means: their `centres` `[k, C]` and how many units each has, the largest first.

    `inertia` is the sum of the squared distances of all units to the nearest centre. `channels` holds for each cluster
    those in which its centre is farthest above the mean of all units, in standard deviations, the farthest first.
    """

    centres: np.ndarray = field(repr=False)
    sizes: tuple[int, ...]
    inertia: float
    channels: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Foreground:
    """Which units a basis was fitted to: those on one side of a `threshold` on the first component of all units.

    The threshold is Otsu's; the side is the one that is rarer at the maps' border than in all of the maps.
    `above` says which side it is, `share` how much of all units it has, `border_share` how much of those at the border.
    """

    threshold: float
    above: bool
    share: float
    border_share: float


@dataclass(frozen=True, slots=True)
class Basis:
    """What the colours of some layers' pictures mean, the same in all of them and in all images.

    `layers` are their names, `units` how many units it was found from, `low` and `high` the smallest and the largest
    finite value, one a component. `not_finite` units were left out: those with a value that is NaN or infinite.
    """

    layers: tuple[str, ...]
    channel_count: int
    units: int
    low: tuple[float, ...]
    high: tuple[float, ...]
    not_finite: int = 0
    components: Components | None = None
    clusters: Clusters | None = None
    foreground: Foreground | None = None


@dataclass(frozen=True, slots=True)
class Alike:
    """A unit that is like the one asked for: its place, and the cosine between the two."""

    at: tuple[int, ...]
    cosine: float


@dataclass(frozen=True, slots=True)
class ReducedMap:
    """One layer's output for one image, reduced: `values` `[K, T, H, W]` float32.

    K is the number of components, 1 for everything else; T is 1 but for clips. Of k-means `values` are the clusters'
    numbers. What has no value is NaN: units that are not finite, background, units of zeros where directions are
    compared. `background` is `[T, H, W]` where a foreground was asked for. `basis` is the number of its basis. `shares`
    are the components' parts of this output's own variance, `sizes` the units of each cluster, `alike` the units most
    like the one asked for.
    """

    layer: LayerRef
    asked: str
    shape: tuple[int, ...]
    dtype: str
    axes: Axes
    basis: int
    values: np.ndarray = field(repr=False)
    background: np.ndarray | None = field(default=None, repr=False)
    shares: tuple[float, ...] = ()
    sizes: tuple[int, ...] = ()
    alike: tuple[Alike, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def units(self) -> tuple[int, int, int]:
        """Frames, rows and columns of the map."""
        return self.values.shape[1], self.values.shape[2], self.values.shape[3]


@dataclass(frozen=True, slots=True, repr=False)
class Reduced(Drawn):
    """Whole layers of one or more images, each in one picture.

    `maps` holds for each of the `images` a map a layer, in the order they run. `bases` say what the colours mean.
    `reference` is the unit that others are compared with, in the first image; `failures` are the images that could not
    be read, each with the reason.
    """

    origin: Origin
    asked: Asked
    images: tuple[ImageInput, ...]
    maps: tuple[tuple[ReducedMap, ...], ...]
    bases: tuple[Basis, ...]
    notes: tuple[str, ...] = ()
    failures: tuple[tuple[str, FmapError], ...] = ()

    FILES: ClassVar[tuple[str, ...]] = (*Drawn.FILES, *ARRAY_SUFFIXES)

    @property
    def method(self) -> str:
        """`pca`, `mean`, `max`, `std`, `kmeans` or `similar`."""
        return self.asked.method

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers, in the order they run."""
        return tuple(dict.fromkeys(each.layer.name for row in self.maps for each in row))

    def __repr__(self) -> str:
        layers, images = len(self.layers), len(self.images)
        counted = f"{layers} layer{'s' if layers != 1 else ''}, {images} image{'s' if images != 1 else ''}"
        return f"<Reduced of {self.origin.model}: {self.method} of {counted}>"

    def document(self, file: str | None = None, saved: Path | None = None) -> dict[str, Any]:
        from .document import reduced_document

        return reduced_document(self, file, saved)

    def csv(self) -> str:
        from .document import reduced_csv

        return reduced_csv(self)

    def print(self, files: Sequence[str] = (), arrays: str | None = None) -> None:
        from .table import print_reduced

        print_reduced(self, files, arrays)

    def figure(
        self,
        *,
        overlay: bool = False,
        clip: float | None = None,
        cmap: str | None = None,
        tile: int | None = None,
        raw: bool = False,
    ) -> Figure:
        """One page: a row an image, beside the picture that the network saw one for each layer.

        `overlay` lays the pictures over the photo in gray; `clip` is the percentage of values at either end that take
        the end's colour (1 of components, else 0), `cmap` the colour map of single values, `tile` a picture's height.
        `raw` leaves the pictures alone on the page, one pixel a unit unless `tile` says how high they are.
        """
        from .asking import drawing_of
        from .figure import reduced_figure
        from .raw import raw_figure

        draw = raw_figure if raw else reduced_figure
        return Figure(draw(self, drawing_of(overlay=overlay, clip=clip, cmap=cmap, tile=tile)))

    def _write(self, path: Path, suffix: str) -> None:
        if suffix not in ARRAY_SUFFIXES:
            super(Reduced, self)._write(path, suffix)
            return
        from .document import save_reduced

        save_reduced(path, self)
