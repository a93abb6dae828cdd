"""Layers with their costs, and the list of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..models.records import Origin
from ..network.records import Axes, LayerRef
from ..receptive.records import ReceptiveField
from ..results import Result


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a convolution or a pooling goes over the map, a number for each of its axes, height before width.

    `padding` is None where it is not symmetrical. `groups` is a convolution's, `per_channel` says that each input
    channel has filters of its own (depthwise), `transposed` that it is a transposed convolution.
    """

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...] | None
    dilation: tuple[int, ...]
    groups: int | None = None
    per_channel: bool = False
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class CountedLayer:
    """A layer with what its output is and what it costs, for one input.

    `multiply_adds` counts multiply-accumulate pairs, with all that happened inside; `own_multiply_adds` without what
    layers inside account for: these add up to the network's total. Both are None for the second and further
    outputs of one call, which are counted with the first. `index` numbers the layers in execution order; `parent` is
    the index of the module's call that a layer is inside of, None at the top, and `depth` how many there are, plus
    one. `composite` layers have layers inside. `memory_format` is `contiguous`, `channels_last` or what else the
    strides say; `detail` is a word about the layer that no other field has (`512 → 1000`).
    """

    layer: LayerRef
    index: int
    shape: tuple[int, ...]
    dtype: str
    memory_format: str
    parent: int | None
    depth: int
    composite: bool
    multiply_adds: int | None
    own_multiply_adds: int | None
    geometry: Geometry | None = None
    detail: str = ""
    axes: Axes | None = None
    field: ReceptiveField | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Listing(Result):
    """What `fmap layers` shows: the chosen `layers` out of `count`, and the whole network in numbers.

    `stages` are the shapes, channels first and without the batch, that the map passes through as its resolution
    changes. `parameters` are all the network has, `idle_parameters` those that no operation took. `uncounted` are
    operations that multiply and that nobody has a formula for, each with the first layer that ran it.
    `convolutions`, `pointwise` (1 × 1), `depthwise` and `strided` count calls of convolutions. `input_shape` is that
    of the batch of one (or of the one image, for networks that take lists).
    """

    origin: Origin
    layers: tuple[CountedLayer, ...]
    count: int
    input_shape: tuple[int, ...]
    stages: tuple[tuple[int, ...], ...]
    parameters: int
    idle_parameters: int
    multiply_adds: int
    convolutions: int
    pointwise: int
    depthwise: int
    strided: int
    uncounted: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        from .document import layers_document

        return layers_document(self)

    def csv(self) -> str:
        from .document import layers_csv

        return layers_csv(self)

    def print(self) -> None:
        from .table import print_listing

        print_listing(self)
