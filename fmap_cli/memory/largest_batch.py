"""The largest batch that fits in a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial

import numpy as np
import torch

from ..errors import DeviceError, ModelError
from .allocator import Peaks, simulate
from .records import LargestBatch, MemoryTrace
from .replay import AnyBatch, for_any_batch, largest, program
from .request import MemoryRequest
from .step import Mode, trace_of
from .subject import Subject

_REPLAYED = 1_000_000  # events that the search for the largest batch may replay beyond the first it finds: 3 s
_BY_CHANCE = "this network's forward differs from run to run: each figure is that of one run, and another may take more"


def _any_batch(
    subject: Subject, request: MemoryRequest, mode: Mode, known: MemoryTrace, checkpointed: tuple[str, ...]
) -> tuple[AnyBatch | None, bool]:
    """The step at any batch, None where it must be traced at each; and whether two runs of one batch differ."""
    batch = request.batch
    if known.uneven:
        return None, False
    if batch < 2:  # a batch of one has strides of its own
        batch = 2
        known = trace_of(subject, request, mode, batch=2, checkpointed=checkpointed)

    def found(count: int, otherwise: bool) -> MemoryTrace:
        with _other_numbers() if otherwise else nullcontext():
            return trace_of(subject, request, mode, batch=count, checkpointed=checkpointed)

    any_batch = for_any_batch(known, batch, found(batch + 1, otherwise=True), batch + 1)
    if any_batch is not None:
        return any_batch, False
    again = found(batch, otherwise=True)
    if np.array_equal(again.events, known.events) and np.array_equal(again.sizes, known.sizes):
        return None, False
    return for_any_batch(known, batch, found(batch + 1, otherwise=False), batch + 1), True


@contextmanager
def _other_numbers() -> Iterator[None]:
    """Inside, torch draws other random numbers than outside, where each trace begins with the same ones."""
    state = torch.get_rng_state()
    torch.default_generator.manual_seed((torch.initial_seed() + 1) % (1 << 62))
    try:
        yield
    finally:
        torch.set_rng_state(state)


def budget_of(request: MemoryRequest) -> int | None:
    if request.budget != "auto":
        return request.budget
    if not torch.cuda.is_available():
        raise DeviceError(
            "no CUDA device here, so there is no card whose memory --budget auto could read.",
            hint="Say how much there is: --budget 24GB.",
        )
    return int(torch.cuda.get_device_properties(0).total_memory)


def largest_batches(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    budget: int,
    known: MemoryTrace,
    checkpointed: tuple[str, ...],
    notes: list[str],
) -> Iterator[LargestBatch]:
    any_batch, by_chance = _any_batch(subject, request, mode, known, checkpointed)
    if by_chance and _BY_CHANCE not in notes:
        notes.append(_BY_CHANCE)
    seen: dict[int, Peaks] = {}

    def peaks(batch: int) -> Peaks:
        if batch not in seen:
            if any_batch is not None:
                steps = any_batch.at(batch)
            else:
                steps = program(trace_of(subject, request, mode, batch=batch, checkpointed=checkpointed))
            seen[batch] = simulate(steps.events, steps.sizes)
        return seen[batch]

    weights = sum(each.numel() * each.element_size() for each in subject.module.parameters())
    if weights > budget:
        raise ModelError(
            f"the budget of {budget:,} bytes is smaller than the weights of {subject.model.name} alone,"
            f" {weights:,} bytes.",
            hint="Give a larger --budget, or --dtype float16 or bfloat16, which halves the weights.",
        )
    batch = 0
    for bound in ("reserved", "allocated"):  # what fits when all that is reserved counts fits by the other, too
        of = partial(_bytes_of, peaks, bound)
        # About as much more as it is times the batch; where each trial is a trace, a good guess saves minutes.
        guess = 1 if any_batch is not None else request.batch * budget // max(of(request.batch), 1)
        if any_batch is not None:
            window = max(_REPLAYED // len(any_batch.program.events), 64)
            batch = largest(of, budget, max(guess, batch), at_least=any_batch.at_least, window=window)
        else:
            batch = largest(of, budget, max(guess, batch))
        yield LargestBatch(
            mode=mode,
            bound=bound,
            batch=batch or None,
            bytes=of(batch) if batch else None,
            next_bytes=of(batch + 1),
        )


def _bytes_of(peaks: Callable[[int], Peaks], bound: str, batch: int) -> int:
    return int(getattr(peaks(batch), bound))
