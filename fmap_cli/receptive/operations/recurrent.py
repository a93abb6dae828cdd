"""Recurrent layers and cells."""

from __future__ import annotations

from ..arranged import reshaped, side_by_side
from ..collected import accumulated, gathered, merged, over_all
from ..field import Field, hull, spread
from .calls import Call, Rule, everywhere, outputs_of
from .windows import slide


def _recurrent(call: Call, time: int, *, layers: int, both: bool, backwards: bool = False) -> list[Field | None]:
    """The output, where each step sees those before it (or from it on, or both), then states, which see all steps."""
    one = call.of(call.tensors()[0])
    states = [over_all(each, call.because) for tensor in call.tensors()[1:] if (each := call.of(tensor)) is not None]
    begin = hull([reshaped(each, ()) for each in states])
    if one is None and begin is None:
        return []
    steps = last = None
    output, *others = outputs_of(call)
    if one is not None:
        rows = gathered(one, [-1], call.because)
        last = gathered(rows, [time], call.because)
        if both and layers > 1:
            steps = last
        elif both:
            half = (*rows.shape[:-1], output.shape[-1] // 2)
            ways = [spread(accumulated(rows, time, backwards=way), half) for way in (False, True)]
            steps = side_by_side(ways, [half, half], -1)
        else:
            steps = accumulated(rows, time, backwards=backwards)
    whole = hull([None if last is None else reshaped(merged(last), ()), begin])
    found: list[Field | None] = [hull([None if steps is None else spread(steps, output.shape), begin], output.shape)]
    for state in others:
        sees = state.numel() and state.is_floating_point()  # not the workspace
        found.append(spread(whole, tuple(state.shape)) if whole is not None and sees else None)
    return found


def one_layer(call: Call) -> list[Field | None]:
    return _recurrent(call, 0, layers=1, both=False, backwards=call["reverse"])


def many_layers(call: Call) -> list[Field | None] | None:
    if call.get("batch_sizes") not in (None, [], ()):  # packed sequences: steps and items on one axis
        return everywhere(call, call.everything(over_all))
    return _recurrent(call, 1 if call.get("batch_first") else 0, layers=call["num_layers"], both=call["bidirectional"])


def cell(count: int) -> Rule:
    """A cell's gates lie one behind the other along the channels."""

    def rule(call: Call) -> list[Field | None]:
        parts: list[Field | None] = []
        for name in ("input_gates", "hidden_gates"):
            gates = call.field(name)
            if gates is not None:
                width = gates.shape[1] // count
                parts += [slide(gates, 1, width, 1, 1, -width * at, 1) for at in range(count)]
        parts.append(call.field("cx" if "cx" in call.arguments else "hx"))
        joined = hull(parts)
        return [
            joined if joined is not None and tuple(each.shape) == joined.shape else None for each in outputs_of(call)
        ]

    return rule
