"""Loops in TorchScript programs end: every turn is counted, however the program runs.

torch's interpreter cannot be interrupted. So an operator of fmap's is put into each loop of a program before it first
runs, which is asked whether the loop may go on. The walk over the graphs (`exported`) meets the same operator.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

from fmap_cli.errors import ModelError

_MOST_TURNS = 1_000
_MOST_SECONDS = 6.0
"""A pass is stopped that has made more turns than this, and has taken longer than this."""
_SECONDS_AGAIN = 1.0
"""So long once one was stopped."""
_TIMES_AS_MANY = 20
"""So many times as many turns as in the first pass are no sign of anything: the input may be larger."""
_MOST_STEPS = 1_000_000
"""Operations in a program whose functions are written out where they are called. ResNet-152 has some thousands."""

_OPERATOR = "fmap::turn"
_WAY_OUT = (
    "If you trust it, make the network in Python: a factory in `--model path/to/file.py:factory` that returns"
    " `torch.jit.load(FILE)`."
)


class _Passes:
    """The pass that is under way, what it has taken, and what passes before it did."""

    def __init__(self) -> None:
        self.depth = 0
        self.name = ""
        self.turns = 0
        self.most_turns = 0
        self.seconds = _MOST_SECONDS
        self.since = 0.0
        self.stopped: ModelError | None = None
        self.begins: Callable[[int], None] = lambda values: None
        self.lacks_memory: Callable[[], None] = lambda: None


passes = _Passes()


@contextlib.contextmanager
def one_pass(name: str, arguments: Any) -> Iterator[None]:
    """Loops inside are counted as those of one pass of the program `name`, unless this is part of another pass.

    Raises ModelError where a loop does not end.
    """
    if passes.depth == 0:
        passes.name, passes.turns, passes.since, passes.stopped = name, 0, time.monotonic(), None
        passes.begins(sum(each.numel() for each in arguments if hasattr(each, "numel")))
    passes.depth += 1
    try:
        yield
    except Exception as error:
        if passes.stopped is not None and error is not passes.stopped:
            raise passes.stopped from None  # torch's interpreter makes a RuntimeError of it
        if passes.depth == 1 and is_about_memory(error):
            passes.lacks_memory()
        raise
    else:
        passes.most_turns = max(passes.most_turns, passes.turns)
    finally:
        passes.depth -= 1


def is_about_memory(error: BaseException) -> bool:
    """Whether what failed is that memory could not be had."""
    return isinstance(error, MemoryError) or any(
        words in str(error) for words in ("allocate memory", "bad_alloc", "vector::_M_", "basic_string")
    )


def turn(number: int, go_on: bool) -> bool:
    """`go_on`, while the loops of this pass may go on. Raises ModelError."""
    passes.turns += 1
    if passes.turns > max(_MOST_TURNS, _TIMES_AS_MANY * passes.most_turns):
        seconds = time.monotonic() - passes.since
        if seconds > passes.seconds:
            passes.seconds = _SECONDS_AGAIN
            passes.stopped = ModelError(
                f"{passes.name} was stopped: its loops have made {passes.turns:,} turns in {seconds:.0f} seconds",
                hint=f"A loop in it may have no end. {_WAY_OUT}",
            )
            raise passes.stopped
    return go_on


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
