"""Loops in TorchScript programs end: every turn is counted, however the program runs.

torch's interpreter cannot be interrupted. So an operator of fmap's is put into each loop of a program before it first
runs, which is asked whether the loop may go on. The walk over the graphs (`exported`) meets the same operator.
"""

from __future__ import annotations

import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fmap_cli.errors import ModelError
from fmap_cli.models.programs import trial

_TIMES_AS_MANY = 20
"""So many times as many turns as in a pass while the program was tried are nothing strange; over larger input, more."""
_MOST_SECONDS = 6.0
"""A pass that has made more turns than that is stopped after so long, or where it has taken too much memory."""
_SECONDS_AGAIN = 1.0
"""So long once one was stopped."""
_GLANCE_SECONDS = 0.02
"""So often is looked at how much memory there is."""
_MOST_STEPS = 1_000_000
"""Operations in a program whose functions are written out where they are called. ResNet-152 has some thousands."""

_OPERATOR = "fmap::turn"
_WAY_OUT = (
    "If you trust it, make the network in Python: a factory in `--model path/to/file.py:factory` that returns"
    " `torch.jit.load(FILE)`."
)


@dataclass(eq=False, slots=True)
class Program:
    """A program whose loops are counted; `turns` are those of one pass, at most.

    No pass is stopped before `may_run` has said what is usual. `begins` is told of each pass how many values its input
    has, `lacks_memory` that one has failed for lack of memory.
    """

    name: str
    turns: int = 0
    most_turns: float = float("inf")
    most_seconds: float = float("inf")
    begins: Callable[[int], None] = lambda values: None
    lacks_memory: Callable[[], None] = lambda: None

    def may_run(self, turns: int) -> None:
        """From now on passes are stopped that make far more turns than these, and take long or much memory."""
        self.most_turns, self.most_seconds = _TIMES_AS_MANY * max(turns, 1), _MOST_SECONDS


class _Pass:
    """The pass that is under way: all that runs until the program has answered, whatever else watches it."""

    def __init__(self, program: Program, values: int) -> None:
        self.program = program
        self.turns = 0
        self.most_turns = program.most_turns * trial.larger(values)
        self.most_bytes = trial.MOST_BYTES * trial.larger(values)
        self.since = time.monotonic()
        self.looks = self.since
        self.before = _resident_bytes()
        self.stopped: ModelError | None = None

    def turn(self) -> None:
        """Counts a turn. Raises ModelError where it is one too many, and so are all that follow."""
        self.turns += 1
        if self.turns <= self.most_turns or (now := time.monotonic()) < self.looks:
            return
        seconds, taken = now - self.since, _resident_bytes() - self.before
        if seconds <= self.program.most_seconds and taken <= self.most_bytes:
            self.looks = now + _GLANCE_SECONDS
            return
        self.program.most_seconds = _SECONDS_AGAIN
        memory = f" and taken {taken >> 20:,} MiB of memory" if taken > self.most_bytes else ""
        self.stopped = ModelError(
            f"{self.program.name} was stopped: its loops have made {self.turns:,} turns"
            f" in {seconds:.0f} seconds{memory}",
            hint=f"A loop in it may have no end. {_WAY_OUT}",
        )
        raise self.stopped


_current: _Pass | None = None


@contextlib.contextmanager
def one_pass(program: Program, arguments: Any) -> Iterator[None]:
    """Loops inside are counted as those of one pass of the program, unless this is part of another pass.

    Raises ModelError where a loop does not end.
    """
    global _current
    if _current is not None:
        yield
        return
    values = sum(each.numel() for each in arguments if hasattr(each, "numel"))
    program.begins(values)
    run = _current = _Pass(program, values)
    try:
        yield
    except Exception as error:
        if run.stopped is not None:
            raise run.stopped from None  # torch's interpreter makes a RuntimeError of it
        if trial.is_about_memory(error):
            program.lacks_memory()
        raise
    else:
        program.turns = max(program.turns, run.turns)
    finally:
        _current = None


def turn(number: int, go_on: bool) -> bool:
    """`go_on`, while the loops of the pass under way may go on. Raises ModelError."""
    if _current is not None:
        _current.turn()
    return go_on


def _resident_bytes() -> int:
    """How much memory this process has, where the system says it (Linux); else 0."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0


def watch_loops(unit: Any) -> bool:
    """Puts the question into each loop of a program that has not run yet; whether it has any loops."""
    import torch

    found = False
    for function in unit.get_functions():
        graph = function.graph
        for loop in graph.findAllNodes("prim::Loop", True):
            found = True
            _define()
            (block,) = loop.blocks()
            end = block.returnNode()
            asked = graph.create(_OPERATOR, [next(iter(block.inputs())), next(iter(block.outputs()))], 1)
            asked.output().setType(torch._C.BoolType.get())
            asked.insertBefore(end)
            end.replaceInput(0, asked.output())
    return found


@functools.cache
def _define() -> Any:
    import torch

    library = torch.library.Library("fmap", "FRAGMENT")
    library.define("turn(int number, bool go_on) -> bool")
    library.impl("turn", turn, "CompositeExplicitAutograd")
    return library  # which takes its operators with it when it goes


def check_length(name: str, unit: Any) -> None:
    """Raises ModelError where functions that call functions make a program of more steps than any network has."""
    functions = {function.qualified_name: function for function in unit.get_functions()}
    lengths: dict[str, int] = {}
    todo = [(each, False) for each in functions]
    while todo:
        each, seen = todo.pop()
        if each in lengths:
            continue
        calls, steps = _calls(functions[each].graph)
        calls = [call for call in calls if call in functions]
        if seen:
            lengths[each] = steps + sum(lengths.get(call, 0) for call in calls)
            if lengths[each] > _MOST_STEPS:
                raise ModelError(
                    f"{name} was not opened: with all its functions it has {lengths[each]:,} steps;"
                    f" {_MOST_STEPS:,} are run",
                    hint=_WAY_OUT,
                )
        else:
            todo.append((each, True))
            todo.extend((call, False) for call in calls if call not in lengths)


def _calls(graph: Any) -> tuple[list[str], int]:
    """The functions that a graph calls, as often as it does, and how many operations it has."""
    calls: list[str] = []
    steps = 0
    todo = [graph]
    while todo:
        for node in todo.pop().nodes():
            steps += 1
            todo.extend(node.blocks())
            if node.kind() == "prim::CallMethod":
                calls.append(f"{next(iter(node.inputs())).type().annotation_str}.{node.s('name')}")
            elif node.kind() == "prim::CallFunction":
                calls.append(str(next(iter(node.inputs())).type().annotation_str))
    return calls, steps
