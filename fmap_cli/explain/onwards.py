"""What becomes of a value: through normalisation, activation, pooling, addition, to the output of its block.

The way goes on as long as it is plain which way the value itself goes: it ends where the value is read by the next
convolution, or by several. A gate that is made of the value and multiplies it is no fork.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..units import layer_name
from .flattened import CellOf
from .kinds import BATCH_NORMS, NORMS, in_words, way_of
from .records import Step
from .splitting import batch_norm, call, deviations, run_again
from .tape import Operation, Tape, Value, with_tensors
from .words import less, plain, signed


@dataclass(frozen=True, slots=True)
class Way:
    """The operations that a value goes through, one after another, and why it goes no further."""

    path: tuple[Operation, ...]
    stopped: str


def path_onwards(tape: Tape, value: Value) -> Way:
    """Where a value goes from here."""
    readers = tape.readers()
    path: list[Operation] = []
    while True:
        found = readers.get(value, [])
        if not found:
            return Way(tuple(path), "No further layer reads it: it is part of the network's answer.")
        nearest = found[0] if len(found) == 1 else _main_reader(tape, readers, found)
        if nearest is None:
            return Way(tuple(path), f"Here it is read by {_named(found)}.")
        way = way_of(nearest)
        if way == "product":
            return Way(tuple(path), f"Next it is read by {layer_name(nearest.layer)}.")
        if way == "stop" or not nearest.makes:
            return Way(
                tuple(path),
                f"Next comes {in_words(nearest)} ({layer_name(nearest.layer)}), which mixes it with others.",
            )
        path.append(nearest)
        value = nearest.makes[0]
        if len(nearest.makes) > 1 and nearest.name.startswith(("split", "unbind", "chunk", "unsafe_split")):
            return Way(
                tuple(path[:-1]), f"Here the map is cut into {len(nearest.makes)} parts ({layer_name(nearest.layer)})."
            )


def _main_reader(tape: Tape, readers: dict[Value, list[Operation]], found: Sequence[Operation]) -> Operation | None:
    """Of several readers the one in which the value itself goes on; None where it is a fork."""
    products = [each for each in found if each.name == "mul"]
    if len(products) == 1 and len(set(products[0].reads)) == 2:
        others = {value for each in found if each is not products[0] for value in each.makes}
        if _reaches(readers, others, products[0]):
            return products[0]
    return found[-1] if all(each.name == "cat" for each in found) else None


def _reaches(readers: dict[Value, list[Operation]], values: set[Value], goal: Operation) -> bool:
    seen: set[Value] = set()
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if value in seen:
            continue
        seen.add(value)
        for each in readers.get(value, []):
            if each is goal:
                return True
            if each.index < goal.index:
                waiting.extend(each.makes)
    return False


def _named(operations: Sequence[Operation]) -> str:
    names = list(dict.fromkeys(layer_name(each.layer) or in_words(each) for each in operations))
    listed = ", ".join(names[:3])
    return f"{listed} and {len(names) - 3} more" if len(names) > 3 else listed


# -- with numbers ------------------------------------------------------------------------------------------------


def steps_of(kept: Tape, way: Way, value: Value, index: int, cell: CellOf) -> tuple[tuple[Step, ...], str]:
    """What each operation made of the value at `index`; and why it goes no further."""
    steps: list[Step] = []
    for operation in way.path:
        operation = kept.operations[operation.index]
        if value not in operation.reads or value not in kept.values:
            break
        after = _after(kept, operation, value, index)
        if after is None:
            return tuple(steps), f"{in_words(operation)} ({layer_name(operation.layer)}) drops this unit."
        before = float(kept.values[value].reshape(-1)[index])
        made = operation.makes[0]
        now = float(kept.values[made].reshape(-1)[after])
        where = cell(made, kept.values[made].shape, after)
        if way_of(operation) != "move" or operation.name == "cat":
            channel, place = where if where is not None else (None, None)
            formula, note = _formula(kept, operation, value, index, after, before, channel)
            steps.append(Step(in_words(operation), operation.layer, before, now, formula, channel, place, note))
            if note == _LOST:
                return tuple(steps), "Another value goes on from here."
        value, index = made, after
    return tuple(steps), way.stopped


_LOST = "another value of the window is larger: this one goes no further"


def _after(kept: Tape, operation: Operation, value: Value, index: int) -> int | None:
    """Where in an operation's output a value of its input goes; of several places the first, of a maximum the one it
    won."""
    x, made = kept.values[value], kept.values[operation.makes[0]]
    way = way_of(operation)
    if way == "move":
        return _moved(kept, operation, value, index)
    if x.shape == made.shape and "pool" not in operation.name:
        return index
    if way in ("add", "multiply") or (way == "straight" and operation.name in ("add", "sub", "mul", "div", "rsub")):
        labels = torch.arange(x.numel()).reshape(x.shape)
        return _first(torch.broadcast_to(labels, made.shape) == index)
    mark = torch.zeros(x.shape, dtype=torch.float64)
    mark.view(-1)[index] = 1
    if "max" in operation.name:
        won = operation.makes[1] if len(operation.makes) > 1 else None
        windows = _first_output(run_again(operation, {value: mark})) > 0
        if won is not None and "max_pool" in operation.name:
            place = index % int(torch.tensor(x.shape[-_places(x) :]).prod())
            found = _first(windows & (kept.values[won] == place))
            if found is not None:
                return found
        own = windows & (made == x.reshape(-1)[index])
        return _first(own) if bool(own.any()) else _first(windows)
    with torch.no_grad():
        output = _first_output(run_again(operation, {value: mark})) - _first_output(
            run_again(operation, {value: torch.zeros_like(mark)})
        )
    return int(output.abs().argmax()) if bool(output.count_nonzero()) else None


def _places(x: Tensor) -> int:
    return max(x.ndim - 2, 1)


def _first_output(outputs: Tensor | Sequence[Tensor]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def _moved(kept: Tape, operation: Operation, value: Value, index: int) -> int | None:
    """Where a move puts a value: the operation on the values' own numbers says so."""

    def numbered(each: Value | Tensor) -> Tensor:
        if not isinstance(each, Value):  # numbers are no numbers of values, but indices stay what they are
            return torch.full(each.shape, -1) if each.is_floating_point() else each.cpu()
        x = kept.values[each]
        return torch.arange(x.numel()).reshape(x.shape) if each == value else torch.full(x.shape, -1)

    arguments = with_tensors(operation.arguments, numbered)
    if operation.name in ("_to_copy", "clone", "detach", "alias"):
        return index
    if "pad" in operation.name and "value" in arguments:
        arguments["value"] = -1
    output = _first_output(call(operation, arguments))
    return _first(output == index)


def _first(hits: Tensor) -> int | None:
    found = hits.reshape(-1).nonzero()
    return int(found[0]) if len(found) else None


# -- formulas ----------------------------------------------------------------------------------------------------


def _formula(
    kept: Tape, operation: Operation, value: Value, index: int, after: int, before: float, channel: int | None
) -> tuple[str, str]:
    """The operation with this unit's numbers, and what else there is to know."""
    x, name = plain(before, 5), operation.name
    made = kept.values[operation.makes[0]]
    if name in BATCH_NORMS:
        return _batch_norm(kept, operation, value, index, x)
    if name in NORMS:
        found = deviations(kept, operation)
        mean, deviation, scale, shift = (
            float(each.reshape(-1)[index]) for each in (found.mean, found.deviation, found.scale, found.shift)
        )
        over = "the values at this place" if "layer" in name else "the values of its group of channels"
        return (
            f"({x} {less(mean, 4)}) / {plain(deviation, 4)} × {plain(scale, 4)} {signed(shift, 4)}",
            f"mean {plain(mean, 4)} and deviation {plain(deviation, 4)} of {over}, for this input",
        )
    if name == "cat":
        return _concatenated(kept, operation, value, index, x, channel)
    if name in ("add", "sub"):
        return _added(kept, operation, value, after, x)
    if name in ("mul", "div"):
        factor = float(made.reshape(-1)[after]) / before if before else float("nan")
        gate = len(set(operation.reads)) > 1
        return f"{x} × {plain(factor, 4)}", "a gate: the factor depends on the image, too" if gate else ""
    if "max" in name and made.numel() < kept.values[value].numel():
        now = float(made.reshape(-1)[after])
        return (
            "max of the window",
            "this value is the largest" if now == before or before != before else _LOST,
        )
    if made.numel() < kept.values[value].numel():
        count = _share_of(operation, kept.values[value], value, index, after)
        words = f"{count:,} values" if count else "several values"
        return f"mean of {words}", f"this value, {x}, is one of them"
    return _activation(operation, x, before), ""


def _share_of(operation: Operation, x: Tensor, value: Value, index: int, after: int) -> int | None:
    """Of how many values an average is one."""
    mark = torch.zeros(x.shape, dtype=torch.float64)
    mark.view(-1)[index] = 1
    share = float(_first_output(run_again(operation, {value: mark})).reshape(-1)[after])
    return round(1 / share) if share > 0 and operation.name != "sum" else None


def _batch_norm(kept: Tape, operation: Operation, value: Value, index: int, x: str) -> tuple[str, str]:
    line = batch_norm(kept, operation)
    channel = int(torch.unravel_index(torch.tensor(index), kept.values[value].shape)[1])
    mean, variance, scale, shift = (
        float(each.reshape(-1)[channel]) for each in (line.mean, line.variance, line.scale, line.shift)
    )
    own = operation.arguments.get("running_mean") is None
    root = f"√({plain(variance, 4)} + {plain(line.eps, 2)})"
    note = "mean and variance are those of this channel for this input" if own else ""
    return f"({x} {less(mean, 4)}) / {root} × {plain(scale, 4)} {signed(shift, 4)}", note


def _concatenated(
    kept: Tape, operation: Operation, value: Value, index: int, x: str, channel: int | None
) -> tuple[str, str]:
    """Which of the whole a value of one part becomes: parts are put together along channels, or along tokens."""
    parts = operation.arguments["tensors"]
    at, dim = parts.index(value), int(operation.arguments.get("dim", 0))
    lengths = [(kept.values[each] if isinstance(each, Value) else each).shape[dim] for each in parts]
    first = sum(lengths[:at])
    number = int(torch.unravel_index(torch.tensor(index), kept.values[value].shape)[dim])
    what = "channel" if channel == first + number else "item"
    note = f"part {at + 1} of {len(parts)}, {what}s {first} to {first + lengths[at] - 1} of the whole"
    earlier = len(kept.readers().get(value, [])) - 1
    if earlier > 0:
        note += f"; {earlier} earlier concatenation{'s' * (earlier > 1)} read{'s' * (earlier == 1)} it, too"
    return f"{what} {number} of its part becomes {what} {first + number}: {x}", note


def _added(kept: Tape, operation: Operation, value: Value, after: int, x: str) -> tuple[str, str]:
    """An addition split exactly: this branch, and the other."""
    made = kept.values[operation.makes[0]]
    now, factor = float(made.reshape(-1)[after]), float(operation.arguments.get("alpha", 1))
    sign = -1.0 if operation.name == "sub" else 1.0
    others = [each for each in ("self", "other") if operation.arguments.get(each) != value]
    if not others:  # x + x
        return f"{x} {signed(sign * now / 2, 5)}", "the value is added to itself"
    other = operation.arguments[others[0]]
    tensor = kept.values[other] if isinstance(other, Value) else torch.as_tensor(other)
    own = float(torch.broadcast_to(tensor.detach().cpu(), made.shape).reshape(-1)[after])
    if others[0] == "other":
        own = sign * factor * own
        where = "" if not isinstance(other, Value) else "the other branch"
        return f"{x} {signed(own, 5)}", _branch(kept, other, where)
    times = "" if factor == 1 else f"{plain(factor)} × "
    return f"{plain(own, 5)} {'-' if sign < 0 else '+'} {times}{x}", _branch(
        kept, other, "the other branch" if isinstance(other, Value) else ""
    )


def _branch(kept: Tape, other: object, words: str) -> str:
    if not words:
        return "a constant of the network's"
    layer = next((each.layer.name for each in kept.shown.values() if each.value == other), "")
    return f"{words} is the output of {layer_name(layer)}" if layer else words


def _activation(operation: Operation, x: str, before: float) -> str:
    name, given = operation.name, operation.arguments
    if name == "relu":
        return f"max(0, {x})"
    if name in ("hardtanh", "clamp", "relu6"):
        low, high = given.get("min_val", given.get("min", 0)), given.get("max_val", given.get("max", 6))
        words = x if high is None else f"min({x}, {plain(float(high))})"
        return words if low is None else f"max({plain(float(low))}, {words})"
    if name == "leaky_relu":
        return x if before > 0 else f"{plain(float(given.get('negative_slope', 0.01)))} × {x}"
    if name == "silu":
        return f"{x} × sigmoid({x})"
    if name == "gelu":
        return f"{x} × Φ({x})"
    if name == "hardswish":
        return f"{x} × min(max({x} + 3, 0), 6) / 6"
    return f"{in_words(operation)}({x})"
