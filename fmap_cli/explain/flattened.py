"""Which channel and place the inputs of a linear layer are that reads a flattened map."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch

from .kinds import way_of
from .records import Place
from .splitting import run_again
from .tape import Operation, Tape, Value

CellOf = Callable[[Value, Sequence[int], int], "tuple[int, Place] | None"]
"""Which channel and place an index of a value is; None where the value is not a layer's output."""


def laid_out_from(tape: Tape, source: Value) -> tuple[Value, list[Operation]]:
    """The value that a value is, laid out otherwise, and what did that, the last first."""
    moves: list[Operation] = []
    while True:
        operation = tape.maker[source.number]
        adds = operation is not None and operation.name in ("cat", "stack", "constant_pad_nd")
        if operation is None or adds or way_of(operation) != "move" or len(set(operation.reads)) != 1:
            return source, moves
        moves.append(operation)
        source = operation.reads[0]


def map_inputs(
    kept: Tape, one: Operation, row: tuple[int, ...], inputs: Iterable[int], cell: CellOf
) -> dict[int, tuple[int, Place]]:
    """Each input's channel and place in the map that a linear layer reads flattened; empty where it reads no such map.

    `row` is where the inputs stand in what the layer reads, without their own axis.
    """
    (read,) = set(one.reads)
    source, moves = laid_out_from(kept, read)
    if not moves or source not in kept.values:
        return {}
    shape = kept.values[source].shape
    numbers = torch.arange(kept.values[source].numel(), dtype=torch.float64).reshape(shape)
    value = source
    for move in reversed(moves):
        moved = run_again(kept.operations[move.index], {value: numbers})
        value = move.makes[0]
        numbers = moved if isinstance(moved, torch.Tensor) else moved[0]
    found: dict[int, tuple[int, Place]] = {}
    for number in inputs:
        at = cell(source, shape, int(numbers[(*row, number)]))
        if at is None or not at[1]:
            return {}
        found[number] = at
    return {} if all(number == channel for number, (channel, _) in found.items()) else found
