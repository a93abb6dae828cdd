"""A layer's feature maps for one image, what of them is asked for, and how they are drawn."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..answers.records import Detection, Prediction
from ..errors import LayerError, OutputError
from ..inputs.records import ImageInput
from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..results import ARRAY_SUFFIXES, FIGURE_SUFFIXES, Drawn, Figure
from ..statistics.records import LayerStats

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    import torch

    from ..receptive.records import UnitBox
    from ..statistics.channels import ChannelStats


@dataclass(frozen=True, slots=True)
class FeatureMap:
    """One layer's output for one image: the numbers of all channels, the maps of those that are drawn.

    `maps` is `[N, T, H, W]` float32 (T is 1 but for video; a layer without spatial axes has T = H = W = 1 and all
    its channels). `drawn` holds the N channel indices in the order drawn; `order` says which order that is.
    `shape` and `dtype` are the whole output's, `asked` the pattern that picked the layer. `label_map` is, for an
    answer with one map a class, the class of the largest value in each cell: `[H, W]` integers. `strides`
    are the output's in memory, in elements. `role` says in words what a tensor of the network's answer is of it.
    `pictures` are the numbers of the inputs that it is made of, where the network is given several pictures.
    `effects` `[C]` are what each channel adds to the answer, counted in `effect_unit`, where channels are ranked by it.
    """

    layer: LayerRef
    asked: str
    shape: tuple[int, ...]
    dtype: str
    axes: Axes
    stats: LayerStats
    channels: ChannelStats = field(repr=False)
    drawn: np.ndarray = field(repr=False)
    maps: np.ndarray = field(repr=False)
    order: str
    notes: tuple[str, ...] = ()
    label_map: np.ndarray | None = None
    strides: tuple[int, ...] = ()
    role: str = ""
    pictures: tuple[int, ...] = ()
    effects: np.ndarray | None = field(default=None, repr=False)
    effect_unit: str = ""

    @property
    def channel_count(self) -> int:
        return len(self.channels.mean)

    @property
    def is_map(self) -> bool:
        """Whether there is a map to draw: height and width of more than one cell."""
        return self.axes.spatial and self.maps.shape[2] * self.maps.shape[3] > 1


@dataclass(frozen=True, slots=True)
class Choice:
    """Which channels to draw: the `channels` listed, the `top` ones ranked `by` a moment or by what they do to the
    answer, or all in order.

    With neither, all of a layer of up to 64 channels, and of a larger one the 64 of the largest `by`.
    """

    channels: tuple[int, ...] | None = None
    top: int | None = None
    by: Literal["std", "mean", "max", "l2", "effect"] = "std"
    all: bool = False


@dataclass(frozen=True, slots=True)
class Looking:
    """What of an image is looked at: the layers that the patterns pick, and of each the channels of the `choice`.

    `score` is the least score of a detector's boxes; `strongest` finds each drawn channel's strongest unit and what it
    sees. `layout` is of arrays or of the outputs of the layers picked.
    """

    patterns: tuple[str, ...] = ()
    choice: Choice = Choice()
    score: float = 0.5
    layout: str | None = None
    keep_arrays: bool = True
    strongest: bool = False


@dataclass(frozen=True, slots=True)
class Drawing:
    """How maps become colours.

    `scale` says whose minimum and maximum stand at the ends of the colour map: each `channel`'s own or the
    whole `layer`'s. `clip` leaves out that percentage of values at either end. `cmap` is None for the default:
    viridis, or a diverging map centred on zero where a shared scale reaches below zero; over a photo warm colours,
    and blue ones below zero. `tile` is the height of a tile in pixels, None for one that fits. `overlay` lays each map
    over the photo in gray, the more opaque the larger a value is.
    """

    scale: Literal["channel", "layer"] = "channel"
    clip: float = 0.0
    cmap: str | None = None
    tile: int | None = None
    overlay: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Look(Drawn):
    """What one forward pass over one image showed: the layers asked for, and the answers of a classifier or detector.

    `image` is the picture that the layers drawn saw: a detector resizes and pads what it is given. `arrays` holds
    the whole outputs by layer name where they were asked for. `detects` says that the network finds objects, whether it
    found any or not. `labels` are the names of the answer's classes, None where they are not known. `units` holds by
    layer name each tile's strongest unit, its row and column and what it sees, where they were asked for.
    `class_map_of` says, of a segmentation whose answer was not asked for, with which layer its class map is drawn.
    """

    origin: Origin
    image: ImageInput
    maps: tuple[FeatureMap, ...]
    predictions: tuple[Prediction, ...]
    arrays: dict[str, torch.Tensor]
    detections: tuple[Detection, ...] = ()
    detects: bool = False
    labels: tuple[str, ...] | None = None
    units: Mapping[str, tuple[tuple[tuple[int, int], UnitBox], ...]] = field(default_factory=dict)
    class_map_of: str = ""

    FILES: ClassVar[tuple[str, ...]] = (".json", *ARRAY_SUFFIXES, *FIGURE_SUFFIXES)

    def seen_by(self, feature_map: FeatureMap) -> tuple[ImageInput, ...]:
        """The picture that a layer is made of; several where more than one of the network's inputs goes into it."""
        return tuple(self.image.showing(each) for each in feature_map.pictures) or (self.image,)

    def document(self) -> dict[str, Any]:
        from .document import show_document

        return show_document([self], [[None] * len(self.maps)], several=False)

    def print(self) -> None:
        from .table import print_looks

        print_looks([(self, [])])

    def figure(self, layer: str | None = None, drawing: Drawing | None = None) -> Figure:
        """The figure of one of the layers, the first unless it is named.

        Raises LayerError for one not asked for, OutputError for one without values.
        """
        from .figure import layer_figure

        named = [each for each in self.maps if layer in (None, each.layer.name)]
        found = named or [each for each in self.maps if layer == each.asked]
        if not found:
            raise LayerError(
                f"layer {layer!r} was not asked for.", hint=", ".join(each.layer.name for each in self.maps)
            )
        if not found[0].maps.size:
            raise OutputError(f"{found[0].layer.name} has an empty output here, {list(found[0].shape)}: no figure.")
        units = self.units.get(found[0].layer.name, ())
        return Figure(layer_figure(self, found[0], drawing or Drawing(), units=units))

    def _repr_png_(self) -> bytes:
        """The figures of all layers, one below the other."""
        from io import BytesIO

        from PIL import Image

        pages = [self.figure(each.layer.name).image() for each in self.maps if each.maps.size]
        whole = Image.new("RGB", (max(each.width for each in pages), sum(each.height for each in pages)), "white")
        for at, page in enumerate(pages):
            whole.paste(page, (0, sum(each.height for each in pages[:at])))
        held = BytesIO()
        whole.save(held, "PNG")
        return held.getvalue()

    def _write(self, path: Path, suffix: str) -> None:
        """The whole outputs (`.npz`, `.safetensors`, `.pt`), the document or the first figure."""
        if suffix not in ARRAY_SUFFIXES:
            super(Look, self)._write(path, suffix)
            return
        from .document import save_looks

        save_looks(path, [self])
