"""A model and a batch → what a step of it will take: composes the model, the traces and what is made of them.

All of it on the meta device, without weights. It runs in a process of its own (`foreign.isolated`): see there.
"""

from __future__ import annotations

from ..frameworks import load_torchvision

load_torchvision()  # before the first `import torch`, which takes a quarter less time that way

from ..errors import ModelError
from ..models.building import seeded
from ..network.plain_sizes import plain_sizes
from .bill import make_bill
from .choices import checkpointed_blocks, freeze
from .largest_batch import budget_of, largest_batches
from .records import Forecast, LargestBatch, MeasuredMemory, WhatIf
from .request import MemoryRequest
from .step import trace_of
from .subject import Say, notes_on, open_subject, origin_of, shapes
from .what_ifs import find_what_ifs


def forecast(request: MemoryRequest, say: Say) -> Forecast:
    """Everything that is asked for. Raises ModelError where the network refuses the batch or the size.

    What a network draws by chance (a detector the size that it trains an image at) is the same every time.
    """
    with plain_sizes(), seeded(0):
        return _forecast(request, say)


def _forecast(request: MemoryRequest, say: Say) -> Forecast:
    subject = open_subject(request, say)
    notes = notes_on(subject, request)
    frozen = freeze(subject.module, request.freeze)
    if "train" in request.modes and not any(each.requires_grad for each in subject.module.parameters()):
        raise ModelError(
            "--freeze leaves no parameter to learn, so there is no training step.", hint="Ask for --inference."
        )
    checkpointed: tuple[str, ...] = ()
    if request.checkpoint is not None and "train" in request.modes:
        checkpointed, remark = checkpointed_blocks(subject, request)
        if remark:
            notes.append(remark if checkpointed else f"{remark}: nothing is checkpointed")
    traces = {mode: trace_of(subject, request, mode, checkpointed=checkpointed, named=True) for mode in request.modes}
    bills = tuple(make_bill(each, mode) for mode, each in traces.items())
    if any(bill.upper_bound for bill in bills):
        notes.append(
            "upper bound: how many objects there are depends on the data, and is taken at the model's own caps"
        )
    budget = budget_of(request)
    found: tuple[LargestBatch, ...] = ()
    if budget is not None:
        found = tuple(
            each
            for mode in request.modes
            for each in largest_batches(subject, request, mode, budget, traces[mode], checkpointed, notes)
        )
    what_ifs: tuple[WhatIf, ...] = ()
    if request.what_if:
        what_ifs = tuple(find_what_ifs(subject, request, request.modes[0], traces[request.modes[0]], checkpointed, say))
    measured: tuple[MeasuredMemory, ...] = ()
    if request.measure is not None:
        from .measuring import measure

        measured = tuple(measure(subject, request, mode, checkpointed) for mode in request.modes)
    return Forecast(
        origin=origin_of(subject),
        batch=request.batch,
        inputs=shapes(subject.inputs(request.batch)),
        dtype=request.dtype,
        optimizer=request.optimizer,
        loss=subject.objective.name,
        parameters=sum(each.numel() for each in subject.module.parameters()),
        frozen=frozen,
        bills=bills,
        checkpointed=checkpointed,
        budget=budget,
        largest=found,
        what_ifs=what_ifs,
        measured=measured,
        notes=tuple(notes),
    )
