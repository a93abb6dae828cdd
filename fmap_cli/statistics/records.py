"""Statistics of layers and runs over any number of images, and findings about them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..models.records import NetworkInput, Preprocessing
from ..network.records import Axes, LayerRef

if TYPE_CHECKING:
    from .channels import ChannelStats


@dataclass(frozen=True, slots=True)
class LayerStats:
    """Statistics of a whole output as Python numbers; a moment that does not exist is None."""

    count: int
    mean: float | None
    std: float | None
    min: float | None
    max: float | None
    zero_fraction: float
    nan: int
    inf: int


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
    channels: ChannelStats
    same_as: str | None = None
    varies: bool = False


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """Which network gave a run's numbers: two runs merge when all of this is alike.

    `weights` is their name for people, `digest` a hash of the values of all parameters and buffers (empty where none
    was made). `input` says what happens to a picture before the network sees it; `preprocessing` is the same as data,
    None in runs saved before it was kept.
    """

    model: str
    weights: str
    digest: str
    dtype: str
    input: str
    preprocessing: Preprocessing | None = field(default=None, compare=False)

    @property
    def input_in_words(self) -> str:
        return self.preprocessing.in_words if self.preprocessing is not None else self.input


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run over a list of images has come: `done` of its `total` entries, and a digest of the list.

    With several processes each goes through a list of its own: this is the `rank`-th of `ranks`.
    """

    done: int
    total: int
    digest: str
    rank: int = 0
    ranks: int = 1


@dataclass(frozen=True, slots=True)
class ClassRun:
    """The part of a run that is over the images of one class, the folder they stand in."""

    name: str
    images: int
    layers: tuple[LayerRecord, ...]


@dataclass(frozen=True, slots=True)
class Run:
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
    takes: NetworkInput | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a layer that a person should know.

    `check` is the rule's name (`dead-channels`), `what` says it in words with its evidence, `sample` what it was seen
    over, `advice` what people usually do about it. `channels` are the indices it holds for, where it is about channels.
    """

    layer: str
    check: str
    severity: Literal["note", "warning", "error"]
    what: str
    sample: str
    advice: str
    channels: tuple[int, ...] = ()
