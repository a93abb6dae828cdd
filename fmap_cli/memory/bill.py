"""A traced step as numbers for people: what takes how much, when the peak is, and each layer's part."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from .allocator import simulate
from .records import LayerMemory, MemoryBill, MemoryCourse, MemoryShare, MemoryTrace
from .replay import Program, program

KINDS = ("parameters", "buffers", "optimizer", "input", "gradients", "activations", "temporaries")
"""In the order in which they are stacked: what stays is below what comes and goes."""

_MOST_COLUMNS = 1200


def make_bill(trace: MemoryTrace, mode: Literal["train", "inference"]) -> MemoryBill:
    """What the traced step takes at its batch.

    The answer counts as temporary, unless it is kept for the backward pass.
    """
    steps = program(trace)
    peaks = simulate(steps.events, steps.sizes)
    alive = _alive_by_kind(trace, steps)
    total = alive.sum(0)
    peak = steps.steady + int(total[steps.steady :].argmax()) if mode == "train" else int(total.argmax())
    shares = tuple(MemoryShare(kind, int(row.max()), int(row[peak])) for kind, row in zip(KINDS, alive, strict=True))
    place = int(steps.places[peak])
    return MemoryBill(
        mode=mode,
        shares=shares,
        tensors=int(total[peak]),
        allocated=peaks.allocated,
        reserved=peaks.reserved,
        rounding=peaks.allocated - int(total[peak]),
        kept=kept_bytes(trace),
        peak_layer=trace.layers[place].layer.name if 0 <= place < len(trace.layers) else "",
        peak_phase=steps.names[int(steps.phases[peak])],
        layers=_layers(trace, steps, peak),
        course=_course(steps, alive),
        upper_bound=trace.upper_bound,
    )


def kept_bytes(trace: MemoryTrace) -> int:
    """What autograd keeps for the backward pass, weights and input left out, each storage once."""
    kinds = np.array(trace.kinds)
    return int(trace.sizes[trace.saved & (kinds == "activations")].sum())


def _alive_by_kind(trace: MemoryTrace, steps: Program) -> np.ndarray:
    """Bytes alive after each event, int64 `[K, E]`."""
    index = np.array([KINDS.index(kind) if kind in KINDS else KINDS.index("temporaries") for kind in trace.kinds])
    at = np.abs(steps.events) - 1
    change = np.where(steps.events > 0, steps.sizes[at], -steps.sizes[at])
    kinds = index[steps.origin[at]]
    return np.stack([np.cumsum(np.where(kinds == each, change, 0)) for each in range(len(KINDS))])


def _layers(trace: MemoryTrace, steps: Program, peak: int) -> tuple[LayerMemory, ...]:
    count = len(trace.layers)
    kept = np.zeros(count, np.int64)
    mine = trace.saved & (np.array(trace.kinds) == "activations") & (trace.makers >= 0)
    np.add.at(kept, trace.makers[mine], trace.sizes[mine])
    alive = np.zeros(len(steps.sizes), bool)
    events = steps.events[: peak + 1]
    alive[events[events > 0] - 1] = True
    alive[-events[events < 0] - 1] = False
    makers = trace.makers[steps.origin]
    here = alive & (makers >= 0)
    at_peak = np.zeros(count, np.int64)
    np.add.at(at_peak, makers[here], steps.sizes[here])
    rows = []
    for at, each in enumerate(trace.layers):
        rows.append(
            LayerMemory(
                layer=each.layer,
                shape=each.shape,
                dtype=each.dtype,
                element_bytes=each.element_bytes,
                output_bytes=int(np.prod(each.shape, dtype=np.int64)) * each.element_bytes,
                kept_bytes=int(kept[at]),
                peak_bytes=int(at_peak[at]),
            )
        )
    return tuple(rows)


def _course(steps: Program, alive: np.ndarray) -> MemoryCourse:
    """The last step, in no more columns than a figure has: of each group of events the one with the most alive."""
    start = steps.steady
    alive = alive[:, start:]
    phases = steps.phases[start:]
    count = alive.shape[1]
    if count > _MOST_COLUMNS:
        edges = np.linspace(0, count, _MOST_COLUMNS + 1).astype(int)
        total = alive.sum(0)
        picked = np.array([low + int(total[low:high].argmax()) for low, high in itertools.pairwise(edges)])
        alive, phases = alive[:, picked], phases[picked]
    total = alive.sum(0)
    if steps.names[-1] == "step" and not (phases == len(steps.names) - 1).any():
        # An optimiser that allocates nothing has no events; it has a place in the picture all the same.
        columns = max(alive.shape[1] // 40, 1)
        alive = np.concatenate([alive, np.repeat(alive[:, -1:], columns, axis=1)], axis=1)
        phases = np.concatenate([phases, np.full(columns, len(steps.names) - 1, phases.dtype)])
    marks = []
    for at in range(int(phases[0]) if len(phases) else 0, len(steps.names)):
        found = np.flatnonzero(phases == at)
        if len(found):
            marks.append((steps.names[at], int(found[0])))
    return MemoryCourse(KINDS, alive, tuple(marks), int(total.argmax()) if count else 0)
