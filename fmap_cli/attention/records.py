"""What heads look at: the layers asked for, a head's numbers, and where the unit that is drawn looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..errors import LayerError
from ..inputs.records import ImageInput
from ..models.records import Origin
from ..results import ARRAY_SUFFIXES, Drawn, Figure

if TYPE_CHECKING:
    import numpy as np

Asked = tuple[int, ...] | Literal["class", "mean", "center"]

WHOLE_UP_TO = 1 << 25
"""Weights of a layer up to which all of them are kept: 128 MB."""


@dataclass(frozen=True, slots=True)
class HeadNumbers:
    """A number a head, `[heads]` float64; what does not exist is NaN.

    `entropy` is that of a query's weights, in bits, the mean over all queries: 0 where each looks at one key, log2 of
    their number where it looks at all alike. `distance` is how far away a query looks, the mean over queries and keys
    that have a place, by weight, in pixels of the input (steps of a sequence). `own_entropy` and `own_distance` are
    those of the query that is drawn. `nowhere` is the share of its weight on keys without a place: class tokens,
    padding. `peak` is its largest weight on a key that has a place, `peak_key` that key.
    """

    entropy: np.ndarray
    distance: np.ndarray
    own_entropy: np.ndarray
    own_distance: np.ndarray
    nowhere: np.ndarray
    peak: np.ndarray
    peak_key: np.ndarray


@dataclass(frozen=True, slots=True)
class Grid:
    """Cells of the input that units stand in: the centres of `rows` and `columns`, and of `frames` of a clip, in
    pixels, each from the first on.
    """

    rows: np.ndarray
    columns: np.ndarray
    frames: np.ndarray

    @property
    def size(self) -> tuple[int, ...]:
        """Frames where there are several, rows and columns."""
        own = len(self.frames), len(self.rows), len(self.columns)
        return own if own[0] > 1 else own[1:]


@dataclass(frozen=True, slots=True)
class Query:
    """The query that is drawn: `words` say which, `asked` is None where nothing was asked for.

    `window` and `index` say which of the layer's queries; None for the mean over all. `place` is its row and column, of
    a clip's with the frame before, None for what has no place; `pixels` its centre on the input, height before width.
    """

    words: str
    asked: Asked | None
    window: int | None = None
    index: int | None = None
    place: tuple[int, ...] | None = None
    pixels: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class LayerAttention:
    """The attention of one layer.

    `how` says which call it was. There are `heads` of them, over `windows` (1 where every query sees all keys) with
    `queries` and `keys` each; `weights` is `[windows, heads, queries, keys]` float32, None where there are over
    `WHOLE_UP_TO`. `rows` are the weights of the query that is drawn, `[heads, keys of its window]`, or of the mean over
    all windows the cells of `maps`. `maps` `[heads, frames, rows, columns]` lays them out on `key_grid`; None where it
    is not known where the keys come from, and `unplaced` says why. `reach` `[frames, rows, columns]` is
    true where the query can look. `query_grid` are the cells of queries; `key_cells` `[windows, keys]` their keys'
    cells, -1 for those without. `of_rollout` are the layers that a rollout goes over, whose `heads` are these.
    """

    name: str
    type_name: str
    asked: str
    how: str
    heads: int
    windows: int
    queries: int
    keys: int
    query: Query
    rows: np.ndarray
    numbers: HeadNumbers
    weights: np.ndarray | None = None
    maps: np.ndarray | None = None
    reach: np.ndarray | None = None
    query_grid: Grid | None = None
    key_grid: Grid | None = None
    key_cells: np.ndarray | None = None
    unplaced: str = ""
    notes: tuple[str, ...] = ()
    of_rollout: tuple[str, ...] = ()

    @property
    def on_plane(self) -> bool:
        """Whether keys lie in rows and columns, as those of a picture or a volume do, and not along a line."""
        return self.key_grid is not None and len(self.key_grid.rows) > 1


@dataclass(frozen=True, slots=True)
class Seen:
    """An attention call that ran: its layer, what it was and its weights' shape; `why_not` where it cannot be drawn."""

    name: str
    type_name: str
    how: str
    shape: tuple[int, ...]
    why_not: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Attention(Drawn):
    """What the heads of the layers asked for look at. `calls` are all attention calls that ran, in their order."""

    FILES: ClassVar[tuple[str, ...]] = (*Drawn.FILES, *ARRAY_SUFFIXES)

    origin: Origin
    image: ImageInput
    size: tuple[int, int] | None
    layers: tuple[LayerAttention, ...]
    calls: tuple[Seen, ...]
    notes: tuple[str, ...] = ()

    def document(self, files: Sequence[str | None] = ()) -> dict[str, Any]:
        from .document import attention_document

        return attention_document(self, files)

    def csv(self) -> str:
        from .document import attention_csv

        return attention_csv(self)

    def print(self, files: Sequence[str] = (), arrays: str | None = None) -> None:
        from .table import print_attention

        print_attention(self, files, arrays)

    def figure(self, layer: str | None = None) -> Figure:
        """The figure of one of the layers, the first unless it is named. Raises LayerError for one not asked for."""
        from .figure import attention_figure

        found = [each for each in self.layers if layer in (None, each.name, each.asked)]
        if not found:
            raise LayerError(f"layer {layer!r} was not asked for.", hint=", ".join(each.name for each in self.layers))
        return Figure(attention_figure(self, found[0]))

    def _write(self, path: Path, suffix: str) -> None:
        if suffix not in ARRAY_SUFFIXES:
            return super(Attention, self)._write(path, suffix)
        from .document import save_attention

        return save_attention(path, self)
