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

from .kinds import BATCH_NORMS, POINTWISE, in_words, way_of
from .tape import Operation, Tape, Value, with_tensors
from .weights import Weights


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A value that a sum goes back to, with its weights there, and what lies between, the nearest first.

    `operation` made it; None where that was lost sight of, or it is the input itself.
    """

    operation: Operation | None
    value: Value
    weights: Weights
    between: tuple[str, ...]

    def sum(self, tape: Tape) -> float:
        return self.weights.sum(tape.values[self.value])


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


def split(tape: Tape, value: Value, weights: Weights, until: int = 0) -> Split:
    """Follow a weighted sum over a value backwards, down to the operation `until`. All on the way has to be kept."""
    found = Split()
    waiting: dict[Value, tuple[Weights, tuple[str, ...]]] = {value: (weights, ())}
    while waiting:
        made = max(waiting, key=lambda each: each.number)
        weights, between = waiting.pop(made)
        if weights.nothing:
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
        before = None if not operation.kept else step_back(tape, operation, made, weights)
        if before is None:
            found.ends.append(here)
            continue
        left = here.sum(tape)
        for each, weight in before.items():
            left -= weight.sum(tape.values[each])
            passed = between
            if way != "move" or operation.name == "cat":
                passed = (*between, _named(operation, weights, weight))
            if each in waiting:
                weight, passed = waiting[each][0].plus(weight), min(waiting[each][1], passed, key=len)
            waiting[each] = weight, passed
        if left:
            name = _constant_in_words(tape, operation, made, weights)
            found.constants[name] = found.constants.get(name, 0.0) + left
    return found


_LIMITS = ("hardtanh", "relu6", "clamp", "clamp_min", "clamp_max")


def _constant_in_words(tape: Tape, operation: Operation, made: Value, weights: Weights) -> str:
    """What adds a constant: a limit at which values are held, or what an operation adds to its straight line."""
    name = in_words(operation)
    if operation.name in _LIMITS and len(set(operation.reads)) == 1:
        after, before = (weights.crop(tape.values[each]) for each in (made, operation.reads[0]))
        held = after[(after != before) & (weights.values != 0)].unique()
        if len(held):
            return f"held at {' or '.join(f'{each:g}' for each in held[:2].tolist())} by {name}"
    own = name in ("LayerNorm", "GroupNorm", "InstanceNorm")
    return f"constant of {name}" + (" (contains this input's mean)" if own else "")


def _named(operation: Operation, after: Weights, before: Weights) -> str:
    """What lies between, with its factor where that is no constant of the network's and there is one place alone."""
    name = in_words(operation)
    if way_of(operation) in ("factor", "norm", "multiply") and after.only() is not None and before.only() is not None:
        return f"{name} × {float(before.values.sum() / after.values.sum()):.3g}"
    return name


def values_of(tape: Tape, value: Value) -> Tensor:
    """The numbers of a value, float64."""
    return tape.values[value].detach().to(torch.float64)


def step_back(tape: Tape, operation: Operation, made: Value, weights: Weights) -> dict[Value, Weights] | None:
    """The weights of what an operation read, given those of what it made; None where there are none."""
    way = way_of(operation)
    try:
        if way in ("stop", "function"):
            return None
        if operation.name in BATCH_NORMS:
            (read,) = set(operation.reads)
            return {read: weights.with_values(weights.values * weights.crop(batch_norm(tape, operation).factor))}
        if way == "norm":
            (read,) = set(operation.reads)
            return {read: weights.with_values(weights.values * weights.crop(deviations(tape, operation).factor))}
        if way == "factor":
            (read,) = set(operation.reads)
            factor = weights.crop(tape.values[made]) / weights.crop(tape.values[read])
            return {read: weights.with_values(weights.values * torch.where(torch.isfinite(factor), factor, 0.0))}
        if way == "multiply":
            return _multiply(tape, operation, weights)
        if operation.name in POINTWISE and all(tape.values[each].shape == weights.shape for each in operation.reads):
            return _derivative(tape, operation, made, weights)
        return _derivative(tape, operation, made, Weights.of(weights.dense()), whole=True)
    except (RuntimeError, TypeError, ValueError, NotImplementedError, IndexError):
        return None  # a way to call it that nobody has thought of: it is the end, and named


def run_again(operation: Operation, inputs: Mapping[Value, Tensor], within: Weights | None = None) -> Any:
    """An operation once more, on these inputs in place of its own, all else float64 as well; `within` a box alone."""

    def tensor(each: Any) -> Tensor:
        if isinstance(each, Value):
            return inputs[each].clone()  # it may be an operation in place
        constant: Tensor = each.detach().cpu() if within is None else within.crop(each.cpu())
        return constant.to(torch.float64) if constant.is_floating_point() else constant

    arguments = with_tensors(operation.arguments, tensor)
    if operation.name in ("_to_copy", "clone", "detach", "alias"):
        (only,) = inputs.values()
        return only
    return call(operation, arguments)


def call(operation: Operation, arguments: Mapping[str, Any]) -> Any:
    """An operation with these arguments; of a view the reshape that it is, as its input may lie otherwise in memory."""
    if operation.name in ("view", "_unsafe_view") and "size" in arguments:
        return arguments["self"].reshape(arguments["size"])
    known = {each.name: each for each in operation.overload._schema.arguments}
    return operation.overload(**{name: each for name, each in arguments.items() if not known[name].is_out})


def _derivative(
    tape: Tape, operation: Operation, made: Value, weights: Weights, *, whole: bool = False
) -> dict[Value, Weights]:
    """The weights before by torch's own derivative of the operation, around the values at hand."""
    reads = list(dict.fromkeys(operation.reads))
    with torch.enable_grad():
        inputs = {
            each: (values_of(tape, each) if whole else weights.crop(tape.values[each])).requires_grad_()
            for each in reads
        }
        outputs = run_again(operation, inputs, None if whole else weights)
        output = outputs if isinstance(outputs, Tensor) else outputs[operation.makes.index(made)]
        along = weights.dense() if whole else weights.values
        found = torch.autograd.grad(output, list(inputs.values()), along, allow_unused=True)
    pairs = [(each, grad) for each, grad in zip(reads, found, strict=True) if grad is not None]
    return {each: Weights.of(grad) if whole else weights.with_values(grad) for each, grad in pairs}


@dataclass(frozen=True, slots=True)
class Line:
    """y = scale · (x − mean) / deviation + shift of a BatchNorm, each laid over the values."""

    mean: Tensor
    variance: Tensor
    eps: float
    scale: Tensor
    shift: Tensor

    @property
    def factor(self) -> Tensor:
        return self.scale / (self.variance + self.eps).sqrt()


def batch_norm(tape: Tape, operation: Operation) -> Line:
    """Of a BatchNorm by its running statistics, or (InstanceNorm) by those of these values, as they are."""
    (read,) = set(operation.reads)
    given, ndim = operation.arguments, tape.values[read].ndim

    def laid_over(tensor: Tensor | None, default: float, count: int) -> Tensor:
        number = torch.full((count,), default) if tensor is None else tensor.detach().cpu()
        return number.to(torch.float64).reshape(-1, *[1] * (ndim - 2))

    mean, variance = given.get("running_mean"), given.get("running_var")
    if mean is None or given.get("training", given.get("train", False)):
        x = values_of(tape, read).transpose(0, 1).flatten(1)
        mean, variance = x.mean(1), x.var(1, correction=0)
    count = len(mean)
    return Line(
        laid_over(mean, 0.0, count),
        laid_over(variance, 1.0, count),
        float(given.get("eps", given.get("epsilon", 1e-5))),
        laid_over(given.get("weight"), 1.0, count),
        laid_over(given.get("bias"), 0.0, count),
    )


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


def _multiply(tape: Tape, operation: Operation, weights: Weights) -> dict[Value, Weights] | None:
    sides = gate_of(tape, operation)
    if sides is None:
        return None
    followed, gate = (tape.values[each] for each in sides)
    if tuple(followed.shape) != weights.shape or torch.broadcast_shapes(followed.shape, gate.shape) != followed.shape:
        return None
    factor = weights.crop(gate)
    return {sides[0]: weights.with_values(weights.values * (1 / factor if operation.name == "div" else factor))}
