"""A step on real tensors, and what a device says it took."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DeviceError
from ..session.opening import cast_floats
from .allocator import simulate
from .objectives import Targets
from .records import MeasuredMemory
from .replay import program
from .request import MemoryRequest
from .step import Mode, run_of, trace_of
from .subject import Subject, refusals
from .tracing import Run, Target, make_optimizer, with_checkpoints


def measure(subject: Subject, request: MemoryRequest, mode: Mode, checkpointed: tuple[str, ...]) -> MeasuredMemory:
    """A run on real tensors, beside the estimate for that device. Raises DeviceError and ModelError."""
    kind = (request.measure or "").partition(":")[0]
    if kind not in ("cpu", "cuda"):
        raise DeviceError(f"--measure {request.measure}: it runs on cpu or cuda.", hint="Give --measure cpu.")
    if kind == "cuda" and not torch.cuda.is_available():
        raise DeviceError("no CUDA device here to measure on.", hint="Give --measure cpu.")
    device = torch.device(request.measure or "cpu")
    target: Target = "cuda" if kind == "cuda" else "cpu"
    steps = program(trace_of(subject, request, mode, target=target, checkpointed=checkpointed))
    run = run_of(subject, request, mode, target=target, checkpointed=checkpointed)
    module = cast_floats(subject.model.module.to(device), subject.dtype)
    for ours, theirs in zip(module.parameters(), subject.module.parameters(), strict=True):
        ours.requires_grad_(theirs.requires_grad)
    inputs = _real(subject.inputs(request.batch), device)
    targets = subject.objective.targets(request.batch, device) if mode == "train" else None
    with refusals(subject.model, inputs, request):
        allocated, reserved = real_peak(module, inputs, run, targets, device)
    if kind == "cpu":
        how = (
            "Measured on the CPU: torch.profiler's allocations in the second step, with what CPU kernels take besides."
        )
        return MeasuredMemory(mode, str(device), how, int(steps.live().max()), allocated)
    peaks = simulate(steps.events, steps.sizes)
    how = "Measured on CUDA: max_memory_allocated and max_memory_reserved of two steps, workspaces included."
    return MeasuredMemory(mode, str(device), how, peaks.allocated, allocated, peaks.reserved, reserved)


def _real(inputs: Any, device: torch.device) -> Any:
    if isinstance(inputs, Tensor):
        return torch.zeros(inputs.shape, dtype=inputs.dtype, device=device)
    return type(inputs)(_real(each, device) for each in inputs)


def real_peak(
    module: nn.Module, inputs: tuple[Any, ...], run: Run, targets: Targets | None, device: torch.device
) -> tuple[int, int | None]:
    """The most bytes allocated in two steps (or two inferences) for real, and the most reserved where that is known.

    Weights become small constants: what they are takes nothing. On CUDA its allocator says it; on the CPU it is what
    the profiler sees allocated in the second step, over what lies there when it begins.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(0.01)
    module.train(run.train)
    optimizer = make_optimizer(module, run) if run.train else None
    fed = inputs if targets is None else (*inputs, *targets.arguments)

    def step() -> None:
        with torch.autocast(device.type, run.autocast, enabled=run.autocast is not None):
            if targets is None:
                with torch.no_grad():
                    module(*fed)
                return
            answer = module(*fed)
            loss = targets.loss(answer)
        loss.backward()
        if optimizer is not None:
            optimizer.step()

    with with_checkpoints(module, run.checkpointed):
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            for _ in range(2):
                step()
                module.zero_grad(set_to_none=True)
            torch.cuda.synchronize(device)
            return torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
        step()
        module.zero_grad(set_to_none=True)
        tensors = [*module.parameters(), *module.buffers(), *_flat(inputs), *(targets.tensors if targets else ())]
        if optimizer is not None:
            tensors += [each for state in optimizer.state.values() for each in state.values() if torch.is_tensor(each)]
        there = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in tensors}
        return sum(there.values()) + _most_allocated(step), None


def _flat(inputs: Any) -> list[torch.Tensor]:
    return [inputs] if isinstance(inputs, torch.Tensor) else [each for value in inputs for each in _flat(value)]


@contextmanager
def _without_stderr() -> Iterator[None]:
    """The profiler's own log goes nowhere; it is written by its library, past Python."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _most_allocated(step: Any) -> int:
    """The highest sum of the profiler's allocations and releases while a function runs."""
    from torch.profiler import ProfilerActivity, profile

    with _without_stderr(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = [each for each in profiler.profiler.kineto_results.events() if each.name() == "[memory]"]
    events.sort(key=lambda each: each.start_ns())
    now = most = 0
    for each in events:
        now += each.nbytes()
        most = max(most, now)
    return most
