"""Which parameters do not learn, and which blocks are computed again in the backward pass."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence

from torch import nn

from ..errors import ModelError
from ..network.kinds import module_kind
from .bill import make_bill
from .request import MemoryRequest
from .step import trace_of
from .subject import Subject


def freeze(module: nn.Module, patterns: Sequence[str]) -> int:
    """Parameters that these globs name, by their own or a module's name, do not learn. Returns how many values."""
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]  # a tied weight has two
    for pattern in patterns:
        found = [name for name in names if _matches(name, pattern)]
        if not found:
            raise ModelError(
                f"--freeze {pattern}: no parameter of that name.",
                hint=f"They are called {', '.join(names[:2])}, …, {names[-1]}; a module's name freezes all in it.",
            )
        for name in found:
            module.get_parameter(name).requires_grad_(False)
    return sum(each.numel() for each in module.parameters() if not each.requires_grad)


def _matches(name: str, pattern: str) -> bool:
    parts = name.split(".")
    return any(fnmatch.fnmatchcase(".".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def checkpointed_blocks(subject: Subject, request: MemoryRequest) -> tuple[tuple[str, ...], str]:
    """The modules that `--checkpoint` names, or those with which the peak is lowest; and what is to be said of them."""
    paths = [path for path, each in subject.module.named_modules() if path and _may_be_checkpointed(each)]
    if request.checkpoint == "auto":
        return best_checkpointed_blocks(subject, request)
    pattern = request.checkpoint or ""
    found = [path for path in paths if fnmatch.fnmatchcase(path, pattern)]
    found = [path for path in found if not any(path.startswith(f"{other}.") for other in found)]
    if not found:
        near = ", ".join(paths[:4]) or "none"
        raise ModelError(
            f"--checkpoint {pattern}: no module of that name has modules inside.", hint=f"Those that have: {near}, …"
        )
    return tuple(found), ""


def _may_be_checkpointed(module: nn.Module) -> bool:
    return module_kind(module) == "block" and not isinstance(module, (nn.ModuleList, nn.ModuleDict))


def best_checkpointed_blocks(subject: Subject, request: MemoryRequest) -> tuple[tuple[str, ...], str]:
    """Of the network's blocks, a level deep, two or three: the level whose checkpointing gives the lowest peak.

    And why there is none, or which levels fail.
    """
    plain = make_bill(trace_of(subject, request, "train"), "train").allocated
    best: tuple[int, tuple[str, ...]] = (plain, ())
    levels = list(_levels(subject.module))
    failures: list[str] = []
    for paths in levels:
        try:
            bill = make_bill(trace_of(subject, request, "train", checkpointed=paths), "train")
        except ModelError as error:  # such as a block that takes or gives what cannot be computed again
            failures.append(f"{listed(paths)}: {error.message.rstrip('.')}")
            continue
        if bill.allocated < best[0]:
            best = (bill.allocated, paths)
    if failures and len(failures) == len(levels):
        return (), f"no set of blocks can be computed again ({failures[0]})"
    remarks = [] if best[1] else ["no set of blocks lowers the peak"]
    if failures:
        remarks.append(f"{len(failures)} of {len(levels)} sets of blocks cannot be computed again ({failures[0]})")
    return best[1], "; ".join(remarks)


def _levels(module: nn.Module) -> Iterator[tuple[str, ...]]:
    """Sets of blocks to checkpoint: the outermost that there are several of, then those inside."""
    done: set[tuple[str, ...]] = set()
    for depth in range(1, 6):
        paths = tuple(
            path
            for path, each in module.named_modules()
            if path and path.count(".") == depth - 1 and _may_be_checkpointed(each) and len(list(each.modules())) > 3
        )
        if paths and paths not in done:
            done.add(paths)
            yield paths


def listed(paths: Sequence[str]) -> str:
    return ", ".join(paths) if len(paths) < 3 else f"{paths[0]}, {paths[1]} and {len(paths) - 2} more"
