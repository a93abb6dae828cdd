"""What a step takes of memory: the trace, the bill, what was asked and what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..models.records import Origin
from ..network.records import LayerRef
from ..results import Drawn, Figure

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class TracedLayer:
    """A layer that a traced step went through: its output's shape, number format and bytes of one value."""

    layer: LayerRef
    shape: tuple[int, ...]
    dtype: str
    element_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryTrace:
    """Every storage of one step and when it begins and ends, at one batch.

    `sizes` are the storages' bytes, int64 `[S]`, `kinds` what each is (`parameters`, `buffers`, `input`, `gradients`,
    `optimizer`, `activations`, `output`, `temporaries`), `makers` the layer each was made in, int32 `[S]`, -1 for none;
    `saved` says which of them autograd kept for the backward pass. `events` are storage numbers plus one, int32
    `[E]`, negative where it ends; `places` the layer at work. `sections` are the names of the step's parts and the
    index of their first event. `uneven` says that something grows with the batch in no even way.
    """

    sizes: np.ndarray
    kinds: tuple[str, ...]
    makers: np.ndarray
    saved: np.ndarray
    events: np.ndarray
    places: np.ndarray
    sections: tuple[tuple[str, int], ...]
    layers: tuple[TracedLayer, ...]
    upper_bound: bool = False
    uneven: bool = False


@dataclass(frozen=True, slots=True)
class LayerMemory:
    """What a layer takes of memory: its output's bytes, those it made that are kept for backward, and those it made
    that are alive at the peak.
    """

    layer: LayerRef
    shape: tuple[int, ...]
    dtype: str
    element_bytes: int
    output_bytes: int
    kept_bytes: int
    peak_bytes: int


@dataclass(frozen=True, slots=True)
class MemoryShare:
    """The bytes of one kind: how many there are at most, and how many at the step's peak."""

    kind: str
    most: int
    at_peak: int


@dataclass(frozen=True, slots=True)
class MemoryCourse:
    """What is alive through a step, int64 `[K, T]`: a row for each of `kinds`, in the order they are stacked.

    `phases` are the step's parts with the first column of each, `peak` is the column of the greatest sum.
    """

    kinds: tuple[str, ...]
    alive: np.ndarray
    phases: tuple[tuple[str, int], ...]
    peak: int


@dataclass(frozen=True, slots=True)
class MemoryBill:
    """What one training step (`mode` is `train`) or inference takes.

    `tensors` is the most bytes of tensors alive at once, `allocated` the most in the allocator's blocks, `reserved` the
    most that it holds. `shares` add up to `tensors`, with `rounding` to `allocated`. `kept` are the bytes that
    autograd keeps for the backward pass, weights and input left out. The peak is while `peak_layer` is at work in
    `peak_phase`. `upper_bound` says that shapes that depend on data were taken at their largest.
    """

    mode: Literal["train", "inference"]
    shares: tuple[MemoryShare, ...]
    tensors: int
    allocated: int
    reserved: int
    rounding: int
    kept: int
    peak_layer: str
    peak_phase: str
    layers: tuple[LayerMemory, ...]
    course: MemoryCourse
    upper_bound: bool = False

    def fit(self, budget: int) -> str:
        """Whether it fits in so many bytes, as a verb: what is allocated has to, and what is reserved should."""
        if self.reserved <= budget:
            return "fits"
        return "may just fit" if self.allocated <= budget else "does not fit"


@dataclass(frozen=True, slots=True)
class LargestBatch:
    """The largest batch that stays within a budget, and the bytes of it and of one more; None where not even 1 fits.

    `bound` is what is held against the budget: `reserved`, or `allocated` alone, which takes luck with fragmentation.
    """

    mode: Literal["train", "inference"]
    bound: Literal["reserved", "allocated"]
    batch: int | None
    bytes: int | None
    next_bytes: int | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """A step with one thing changed, or the `reason` why there is no such number. `detail` says what changed."""

    name: str
    detail: str
    allocated: int | None = None
    reserved: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class MeasuredMemory:
    """What a real run took on `device`, beside the estimate for that device; None where the device does not tell."""

    mode: Literal["train", "inference"]
    device: str
    how: str
    estimated: int
    measured: int
    estimated_reserved: int | None = None
    measured_reserved: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Forecast(Drawn):
    """What `fmap memory` shows: a bill for each mode, and what else was asked for.

    `inputs` are the shapes of what the network is fed. `checkpointed` are the modules whose inside is computed again,
    `frozen` counts the values of the parameters that do not learn, out of `parameters`.
    """

    origin: Origin
    batch: int
    inputs: tuple[tuple[int, ...], ...]
    dtype: str
    optimizer: str
    loss: str
    parameters: int
    frozen: int
    bills: tuple[MemoryBill, ...]
    checkpointed: tuple[str, ...] = ()
    budget: int | None = None
    largest: tuple[LargestBatch, ...] = ()
    what_ifs: tuple[WhatIf, ...] = ()
    measured: tuple[MeasuredMemory, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def fits(self) -> bool:
        """Whether the batch that was asked about stays within the budget, in every mode: all that is reserved."""
        return self.budget is None or all(bill.reserved <= self.budget for bill in self.bills)

    def document(self, file: Path | None = None) -> dict[str, Any]:
        from .document import memory_document

        return memory_document(self, file)

    def csv(self) -> str:
        from .document import memory_csv

        return memory_csv(self)

    def print(
        self,
        *,
        unit: str = "MB",
        every: bool = False,
        top: int | None = None,
        kinds: Sequence[str] = (),
        file: Path | None = None,
    ) -> None:
        from .table import print_forecast

        print_forecast(self, unit, every=every, top=top, kinds=kinds, file=file)

    def figure(self, unit: str = "MB") -> Figure:
        """What is alive through a step, and the layers that take most."""
        from .figure import memory_figure

        return Figure(memory_figure(self, unit))
