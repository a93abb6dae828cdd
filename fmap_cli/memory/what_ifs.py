"""The step with one thing changed at a time: half the batch, another precision, checkpoints, a frozen backbone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from torch import nn

from ..errors import FmapError
from .allocator import simulate
from .choices import best_checkpointed_blocks, freeze, listed
from .records import MemoryTrace, WhatIf
from .replay import program
from .request import MemoryRequest
from .step import Mode, trace_of
from .subject import Say, Subject, open_subject


def find_what_ifs(
    subject: Subject,
    request: MemoryRequest,
    mode: Mode,
    known: MemoryTrace,
    checkpointed: tuple[str, ...],
    say: Say,
) -> Iterator[WhatIf]:
    """The run with one thing changed at a time."""

    def attempt(name: str, detail: str, run: Callable[[], MemoryTrace]) -> WhatIf:
        try:
            steps = program(run())
        except FmapError as error:
            return WhatIf(name, detail, reason=error.message)
        peaks = simulate(steps.events, steps.sizes)
        return WhatIf(name, detail, peaks.allocated, peaks.reserved)

    def other(change: MemoryRequest, **more: Any) -> MemoryTrace:
        again = open_subject(change, lambda _: None, **more)
        freeze(again.module, change.freeze)
        return trace_of(again, change, mode, checkpointed=checkpointed)

    half = max(request.batch // 2, 1)
    if half < request.batch:
        yield attempt(
            "half the batch",
            str(half),
            lambda: trace_of(subject, request, mode, batch=half, checkpointed=checkpointed),
        )
    if request.dtype == "float32":
        yield attempt("mixed precision", "--dtype amp", lambda: other(replace(request, dtype="amp")))
    else:
        yield attempt("single precision", "--dtype float32", lambda: other(replace(request, dtype="float32")))
    if mode == "train":
        if not checkpointed:
            paths, remark = best_checkpointed_blocks(subject, request)
            if not paths:
                yield WhatIf("gradient checkpointing", "--checkpoint auto", reason=remark)
            else:
                yield attempt(
                    "gradient checkpointing",
                    f"of {listed(paths)}",
                    lambda: trace_of(subject, request, mode, checkpointed=paths),
                )
        if not request.freeze:
            pattern = _backbone(subject.module)
            if pattern:
                yield attempt(
                    "frozen backbone",
                    f"only {pattern[1]} learns",
                    lambda: other(replace(request, freeze=pattern[0])),
                )
    smaller = tuple(max(round(side / 64) * 32, 32) for side in subject.size)
    if smaller != subject.size and subject.model.input_kind != "arrays":
        size = smaller[0], smaller[1]
        yield attempt("another input size", f"--size {size[0]},{size[1]}", lambda: other(replace(request, size=size)))
    if subject.model.input_kind not in ("images", "arrays"):
        yield attempt("channels_last", "another order in memory", lambda: other(request, channels_last=True))


def _backbone(module: nn.Module) -> tuple[tuple[str, ...], str] | None:
    """The names of everything but the last part that has parameters, and that part's name."""
    parts = [path for path, each in module.named_children() if next(each.parameters(), None) is not None]
    if len(parts) < 2:
        return None
    own = [name for name, _ in module.named_parameters() if "." not in name]
    return (*parts[:-1], *own), parts[-1]
