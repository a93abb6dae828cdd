"""One training step or inference of a network on the meta device, traced."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from .records import MemoryTrace
from .request import MemoryRequest
from .subject import META, Subject, refusals
from .tracing import Run, Target, trace

Mode = Literal["train", "inference"]

_AUTOCAST = torch.float16  # torch's own choice on CUDA


def run_of(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    *,
    target: Target = "cuda",
    checkpointed: tuple[str, ...] = (),
    named: bool = True,
) -> Run:
    return Run(
        train=mode == "train",
        optimizer=request.optimizer,
        target=target,
        autocast=(_AUTOCAST if target == "cuda" else torch.bfloat16) if request.dtype == "amp" else None,
        losses=None,
        checkpointed=checkpointed if mode == "train" else (),
        worst_case=subject.model.input_kind == "images",
        named=named,
    )


def trace_of(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    *,
    batch: int | None = None,
    target: Target = "cuda",
    checkpointed: tuple[str, ...] = (),
    named: bool = False,
) -> MemoryTrace:
    """One step or inference at this batch. Raises ModelError for what the network refuses."""
    count = request.batch if batch is None else batch
    inputs = subject.inputs(count)
    run = run_of(subject, request, mode, target=target, checkpointed=checkpointed, named=named)
    extra: tuple[Tensor, ...] = ()
    fed = inputs
    if mode == "train":
        targets = subject.objective.targets(count, META)
        extra = targets.tensors
        run = replace(run, losses=targets.loss)
        fed = (*inputs, *targets.arguments)
    with refusals(subject.model, inputs, request):
        return trace(subject.module, fed, run, extra=extra)
