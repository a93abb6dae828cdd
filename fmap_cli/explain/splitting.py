"""Splits a sum of values backwards: what it is made of at the outputs of the convolutions before it, exactly.

A part of the network between two convolutions is nearly always a straight line around the values at hand: a BatchNorm
in eval mode is a factor and a shift, an addition passes on to both its inputs, a ReLU lets a value pass or not, a
maximum is the place that won. So a weighted sum of a layer's values is a weighted sum of the values before it, and a
constant. torch's own derivative of each operation gives the weights; the constant is what is left of the operation's
own output. What is no straight line is a factor that is said (a gate, SiLU, the deviation of a LayerNorm, each as it
is for this input), or the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .kinds import BATCH_NORMS, in_words, way_of
from .tape import Operation, Tape, Value, with_tensors


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A value that a sum goes back to, with its weights there (of its shape), and what lies between, the nearest first.

    `operation` made it; None where that was lost sight of, or it is the input itself.
    """

    operation: Operation | None
    value: Value
    weights: Tensor
    between: tuple[str, ...]

    def sum(self, tape: Tape) -> float:
        return float((self.weights * values_of(tape, self.value)).sum())


@dataclass(slots=True)
class Split:
    """What a weighted sum of values is made of. All parts together, and the constants, are the sum.

    `products` are sums over what convolutions and linear layers put out, `ends` over what can be followed no further,
    `given` over the input itself. `constants` are by what they come from.
    """

    products: list[Found] = field(default_factory=list)
    ends: list[Found] = field(default_factory=list)
    given: list[Found] = field(default_factory=list)
    constants: dict[str, float] = field(default_factory=dict)


def split(tape: Tape, value: Value, weights: Tensor, until: int = 0) -> Split:
    """Follow a weighted sum over a value backwards, down to the operation `until`.

    Everything on the way has to be kept. `weights` is float64 of the value's shape.
    """
    found = Split()
    waiting: dict[Value, tuple[Tensor, tuple[str, ...]]] = {value: (weights, ())}
    while waiting:
        made = max(waiting, key=lambda each: each.number)
        weights, between = waiting.pop(made)
        if not weights.count_nonzero():
            continue
        operation = tape.maker[made.number]
        here = Found(operation, made, weights, between)
        if operation is None or operation.index < until:
            (found.given if made in tape.given else found.ends).append(here)
            continue
        way = way_of(operation)
        if way == "product":
            found.products.append(here)
            continue
        before = None if way == "stop" or not operation.kept else step_back(tape, operation, made, weights)
        if before is None:
            found.ends.append(here)
            continue
        left = here.sum(tape)
        name = in_words(operation)
        for each, weight in before.items():
            left -= float((weight * values_of(tape, each)).sum())
            passed = (
                between if way == "move" and operation.name != "cat" else (*between, _named(operation, weights, weight))
            )
            if each in waiting:
                weight, passed = waiting[each][0] + weight, min(waiting[each][1], passed, key=len)
            waiting[each] = weight, passed
        if left:
            found.constants[name] = found.constants.get(name, 0.0) + left
    return found


def _named(operation: Operation, after: Tensor, before: Tensor) -> str:
    """What lies between, with its factor where that is no constant of the network's and there is one place alone."""
    name = in_words(operation)
    if way_of(operation) in ("factor", "norm", "multiply") and after.count_nonzero() == before.count_nonzero() == 1:
        return f"{name} × {float(before.sum() / after.sum()):.3g}"
    return name


def values_of(tape: Tape, value: Value) -> Tensor:
    """The numbers of a value, float64."""
    return tape.values[value].detach().to(torch.float64)


def step_back(tape: Tape, operation: Operation, made: Value, weights: Tensor) -> dict[Value, Tensor] | None:
    """The weights of what an operation read, given those of what it made; None where there are none."""
    way = way_of(operation)
    try:
        if way == "norm":
            return _norm(tape, operation, weights)
        if way == "factor":
            (read,) = set(operation.reads)
            factor = values_of(tape, made) / values_of(tape, read)
            return {read: weights * torch.where(torch.isfinite(factor), factor, 0.0)}
        if way == "multiply":
            return _multiply(tape, operation, made, weights)
        return _derivative(tape, operation, made, weights)
    except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError):
        return None  # a way to call it that nobody has thought of: it is the end, and named


def run_again(operation: Operation, inputs: Mapping[Value, Tensor]) -> Any:
    """An operation once more, on these inputs in place of its own; all else is float64 as well."""

    def tensor(each: Any) -> Tensor:
        if isinstance(each, Value):
            return inputs[each].clone()  # it may be an operation in place
        constant: Tensor = each.detach().cpu()
        return constant.to(torch.float64) if constant.is_floating_point() else constant

    arguments = with_tensors(operation.arguments, tensor)
    if operation.name in ("_to_copy", "clone", "detach", "alias"):
        (only,) = inputs.values()
        return only
    if operation.name in BATCH_NORMS:
        return _batch_norm(arguments)
    return operation.overload(**_by_place(operation, arguments))


def _by_place(operation: Operation, arguments: dict[str, Any]) -> dict[str, Any]:
    known = {each.name: each for each in operation.overload._schema.arguments}
    return {name: each for name, each in arguments.items() if not known[name].is_out}


def _batch_norm(arguments: Mapping[str, Any]) -> Tensor:
    """A BatchNorm by its running statistics, or (InstanceNorm) by those of the values, on any device's operator."""
    training = arguments.get("training", arguments.get("train", "running_mean" not in arguments))
    mean, variance = arguments.get("running_mean"), arguments.get("running_var")
    eps = arguments.get("eps", arguments.get("epsilon", 1e-5))
    return torch.nn.functional.batch_norm(
        arguments["input"],
        mean,
        variance,
        arguments.get("weight"),
        arguments.get("bias"),
        training=bool(training) or mean is None,
        momentum=0.0,
        eps=eps,
    )


def _derivative(tape: Tape, operation: Operation, made: Value, weights: Tensor) -> dict[Value, Tensor]:
    with torch.enable_grad():
        inputs = {each: values_of(tape, each).requires_grad_() for each in set(operation.reads)}
        outputs = run_again(operation, inputs)
        output = outputs if isinstance(outputs, Tensor) else outputs[operation.makes.index(made)]
        found = torch.autograd.grad(output, list(inputs.values()), weights, allow_unused=True)
    return {each: grad for each, grad in zip(inputs, found, strict=True) if grad is not None}


def _norm(tape: Tape, operation: Operation, weights: Tensor) -> dict[Value, Tensor]:
    """γ / σ of a LayerNorm or GroupNorm, with the deviation as it is for this input."""
    (read,) = set(operation.reads)
    return {read: weights * deviations(tape, operation).factor}


@dataclass(frozen=True, slots=True)
class Deviations:
    """The numbers by which a norm that looks at its own values makes y = factor · (x − mean) + shift, by place."""

    mean: Tensor
    deviation: Tensor
    scale: Tensor
    shift: Tensor

    @property
    def factor(self) -> Tensor:
        return self.scale / self.deviation


def deviations(tape: Tape, operation: Operation) -> Deviations:
    """Of a LayerNorm or GroupNorm, each broadcast over the values."""
    (read,) = set(operation.reads)
    x, given = values_of(tape, read), operation.arguments
    eps = float(given.get("eps", 1e-5))
    weight, bias = (
        None if given.get(each) is None else given[each].detach().cpu().double() for each in ("weight", "bias")
    )
    if "layer_norm" in operation.name:
        dims = tuple(range(x.ndim - len(given["normalized_shape"]), x.ndim))
        mean, variance = x.mean(dims, keepdim=True), x.var(dims, correction=0, keepdim=True)
        one: Any = x.new_ones(())
        scale, shift = (one if weight is None else weight), (0 * one if bias is None else bias)
    else:
        groups = int(given.get("group") or given["num_groups"])
        grouped = x.reshape(x.shape[0], groups, -1)
        mean, variance = (
            each.unsqueeze(-1).expand_as(grouped).reshape(x.shape)
            for each in (grouped.mean(-1), grouped.var(-1, correction=0))
        )
        by_channel = (-1, *[1] * (x.ndim - 2))
        scale = x.new_ones(()) if weight is None else weight.reshape(by_channel)
        shift = x.new_zeros(()) if bias is None else bias.reshape(by_channel)
    spread = [torch.broadcast_to(each, x.shape) for each in (mean, (variance + eps).sqrt(), scale, shift)]
    return Deviations(*spread)


def gate_of(tape: Tape, operation: Operation) -> tuple[Value, Value] | None:
    """Of a product of two values, the one that is followed and the one that is its factor; None of two alike.

    The factor is the smaller one, such as a gate with a number a channel. What is divided by is a factor.
    """
    reads = list(dict.fromkeys(operation.reads))
    if len(reads) != 2:
        return None
    if operation.name == "div":
        return reads[0], reads[1]
    sizes = [tape.values[each].numel() for each in reads]
    if sizes[0] == sizes[1]:
        return None
    return (reads[0], reads[1]) if sizes[0] > sizes[1] else (reads[1], reads[0])


def _multiply(tape: Tape, operation: Operation, made: Value, weights: Tensor) -> dict[Value, Tensor] | None:
    sides = gate_of(tape, operation)
    if sides is None:
        return None
    followed, gate = (values_of(tape, each) for each in sides)
    factor = 1 / gate if operation.name == "div" else gate
    if torch.broadcast_shapes(followed.shape, gate.shape) != followed.shape:
        return None
    return {sides[0]: weights * factor}
