"""A TorchScript program as a tree of modules whose calls can be seen.

torch runs such a program as one graph, in which no hook is ever called; so its graphs are walked here, one operation at
a time, with the same kernels, and every module of it is a module again. Where a program uses what this walk does not
know, or the walk's answer is not torch's, it runs as torch runs it, and only its answer is a layer (`script`).
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from fmap_cli.models.programs import endless
from fmap_cli.models.programs.classes import class_like

if TYPE_CHECKING:
    import torch


class UnknownError(Exception):
    """What a program does that the walk does not know."""


def mirror_of(script: Any, unit: Any, program: endless.Program) -> torch.nn.Module:
    """The program's tree of modules, each of which walks its own graph when it is called."""
    from torch import nn

    class Mirror(nn.Module):
        """A module of the program: its parameters, its buffers, its children, and its methods' graphs."""

        def __init__(self, own: Any) -> None:
            nn.Module.__init__(self)  # not the torch.nn class's, whose arguments nobody knows
            self.__dict__["_walk"] = _Walk(own, unit, program)
            self.__dict__["_method"] = "forward"
            for name, value in own._parameters.items():
                self.register_parameter(name, None if value is None else nn.Parameter(value, requires_grad=False))
            for name, value in own._buffers.items():
                self.register_buffer(name, value)
            for name, child in own.named_children():
                self.add_module(name, _built(child))
            if isinstance(self, nn.Linear):
                self.out_features, self.in_features = self.weight.shape

        def forward(self, input: Any, *others: Any) -> Any:
            method, self.__dict__["_method"] = self.__dict__["_method"], "forward"
            return self.__dict__["_walk"].run(method, self, (input, *others))

        def __len__(self) -> int:  # of Sequential, which is otherwise false where it is empty
            return max(len(self._modules), 1)

    def _built(own: Any) -> Any:
        qualified = re.sub(r"\b___torch_mangle_\d+\.|^__torch__\.", "", own._c._type().qualified_name())
        return class_like(re.sub(r"^__torch__\.", "", qualified), Mirror)(own)

    built: torch.nn.Module = _built(script)
    return built


class _Walk:
    """A module's methods, ready to be walked; shared by copies of the module."""

    def __init__(self, script: Any, unit: Any, program: endless.Program) -> None:
        self.program = program
        self.script = script
        self.unit = unit
        self.plans: dict[str, _Plan] = {}

    def __deepcopy__(self, memo: Any) -> _Walk:
        return self

    def run(self, method: str, module: Any, arguments: Sequence[Any]) -> Any:
        if method not in self.plans:
            graph = self.script._c._get_method(method).graph
            self.plans[method] = _Plan(graph, self.unit)
        with endless.one_pass(self.program, arguments):
            return self.plans[method].run([module, *arguments])

    def attribute(self, name: str) -> Any:
        return getattr(self.script, name)


_Step = Callable[[dict[int, Any]], None]


class _Plan:
    """A graph as a list of steps over its values, which are known by number."""

    def __init__(self, graph: Any, unit: Any) -> None:
        self.graph = graph  # keeps its values alive
        self.unit = unit
        self.inputs = [value.unique() for value in graph.inputs()]
        self.outputs = [value.unique() for value in graph.outputs()]
        self.steps = self._steps(graph)

    def run(self, arguments: Sequence[Any]) -> Any:
        if len(arguments) < len(self.inputs):
            raise UnknownError("arguments with default values")
        values: dict[int, Any] = dict(zip(self.inputs, arguments, strict=False))
        for step in self.steps:
            step(values)
        results = [values[each] for each in self.outputs]
        return results[0] if len(results) == 1 else tuple(results)

    def _steps(self, block: Any) -> list[_Step]:
        return [self._step(node) for node in block.nodes()]

    def _step(self, node: Any) -> _Step:
        kind = node.kind()
        ins = [value.unique() for value in node.inputs()]
        outs = [value.unique() for value in node.outputs()]
        make = _MAKERS.get(kind)
        if make is not None:
            return make(self, node, ins, outs)
        return _operation(kind, node, ins, outs)


def _constant(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    (out,) = outs
    if str(node.output().type().kind()) == "FunctionType":

        def keep_nothing(values: dict[int, Any]) -> None:
            values[out] = None

        return keep_nothing
    value = node.output().toIValue()

    def constant(values: dict[int, Any]) -> None:
        # A list may be appended to: each run has its own.
        values[out] = list(value) if isinstance(value, list) else value

    return constant


def _get_attribute(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    name, (owner,), (out,) = node.s("name"), ins, outs

    def get(values: dict[int, Any]) -> None:
        holder = values[owner]
        walk = getattr(holder, "__dict__", {}).get("_walk")
        if walk is None:
            values[out] = getattr(holder, name)
        elif name in holder._parameters:
            values[out] = holder._parameters[name]
        elif name in holder._buffers:
            values[out] = holder._buffers[name]
        elif name in holder._modules:
            values[out] = holder._modules[name]
        elif name == "training":
            values[out] = holder.training
        else:
            values[out] = walk.attribute(name)

    return get


def _call_method(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    name, (out,) = node.s("name"), outs
    owner, *rest = ins
    # A module traced in several calls has forward, forward1, ...: each is a call of the module.
    is_call = re.fullmatch(r"forward\d*", name) is not None

    def call(values: dict[int, Any]) -> None:
        module = values[owner]
        walk = getattr(module, "__dict__", {}).get("_walk")
        arguments = [values[each] for each in rest]
        if walk is None:
            raise UnknownError(f"an object of its own, {type(module).__name__}")
        if is_call and arguments:
            module.__dict__["_method"] = name
            values[out] = module(*arguments)
        else:
            values[out] = walk.run(name, module, arguments)

    return call


def _call_function(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    (out,) = outs
    function = plan.unit.find_function(str(next(iter(node.inputs())).type().annotation_str))
    if function is None:
        qualified = re.sub(r"\s", "", str(next(iter(node.inputs())).type()))
        function = plan.unit.find_function(qualified)
    inner: list[_Plan] = []

    def call(values: dict[int, Any]) -> None:
        if function is None:
            raise UnknownError("a function that cannot be found")
        if not inner:
            inner.append(_Plan(function.graph, plan.unit))
        values[out] = inner[0].run([values[each] for each in ins[1:]])

    return call


def _construct_list(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def construct(values: dict[int, Any]) -> None:
        values[outs[0]] = [values[each] for each in ins]

    return construct


def _construct_tuple(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def construct(values: dict[int, Any]) -> None:
        values[outs[0]] = tuple(values[each] for each in ins)

    return construct


def _construct_dict(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def construct(values: dict[int, Any]) -> None:
        values[outs[0]] = {values[key]: values[value] for key, value in zip(ins[::2], ins[1::2], strict=True)}

    return construct


def _unpack(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def unpack(values: dict[int, Any]) -> None:
        values.update(zip(outs, _plain(values[ins[0]]), strict=True))

    return unpack


def _index_tuple(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def index(values: dict[int, Any]) -> None:
        values[outs[0]] = _plain(values[ins[0]])[values[ins[1]]]

    return index


def _same_value(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def pass_on(values: dict[int, Any]) -> None:
        values[outs[0]] = values[ins[0]]

    return pass_on


def _nothing(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def nothing(values: dict[int, Any]) -> None:
        values.update(dict.fromkeys(outs))

    return nothing


def _branch(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    sides = [(plan._steps(block), [value.unique() for value in block.outputs()]) for block in node.blocks()]

    def branch(values: dict[int, Any]) -> None:
        steps, results = sides[0] if values[ins[0]] else sides[1]
        for step in steps:
            step(values)
        values.update({out: values[result] for out, result in zip(outs, results, strict=True)})

    return branch


def _loop(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    (block,) = node.blocks()
    steps = plan._steps(block)
    counter, *carried = [value.unique() for value in block.inputs()]
    condition, *results = [value.unique() for value in block.outputs()]

    def loop(values: dict[int, Any]) -> None:
        most, go_on, state = values[ins[0]], values[ins[1]], [values[each] for each in ins[2:]]
        turn = 0
        while go_on and turn < most:
            values[counter] = turn
            values.update(zip(carried, state, strict=True))
            for step in steps:
                step(values)
            go_on, state = values[condition], [values[each] for each in results]
            turn += 1
        values.update(zip(outs, state, strict=True))

    return loop


def _turn(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def turn(values: dict[int, Any]) -> None:
        values[outs[0]] = endless.turn(values[ins[0]], values[ins[1]])

    return turn


def _raise(plan: _Plan, node: Any, ins: list[int], outs: list[int]) -> _Step:
    def fail(values: dict[int, Any]) -> None:
        raise RuntimeError(str(values[ins[0]]))

    return fail


_MAKERS: dict[str, Callable[[_Plan, Any, list[int], list[int]], _Step]] = {
    "prim::Constant": _constant,
    "prim::GetAttr": _get_attribute,
    "prim::CallMethod": _call_method,
    "prim::CallFunction": _call_function,
    "prim::ListConstruct": _construct_list,
    "prim::TupleConstruct": _construct_tuple,
    "prim::DictConstruct": _construct_dict,
    "prim::ListUnpack": _unpack,
    "prim::TupleUnpack": _unpack,
    "prim::TupleIndex": _index_tuple,
    "prim::unchecked_cast": _same_value,
    "prim::Uninitialized": _nothing,
    "prim::Print": _nothing,
    "aten::warn": _nothing,
    "prim::If": _branch,
    "prim::Loop": _loop,
    "prim::RaiseException": _raise,
    "fmap::turn": _turn,
}


def _appended(items: list[Any], item: Any) -> list[Any]:
    items.append(item)
    return items


def _set(items: Any, key: Any, item: Any) -> Any:
    items[key] = item
    return items


def _sliced(items: Any, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return items[start:end:step]


_PYTHON: dict[str, Callable[..., Any]] = {
    "aten::__contains__": lambda items, item: item in items,
    "aten::__getitem__": lambda items, key: items[key],
    "aten::__is__": lambda left, right: left is right,
    "aten::__isnot__": lambda left, right: left is not right,
    "aten::__not__": lambda value: not value,
    "aten::_set_item": _set,
    "aten::append": _appended,
    "aten::copy": lambda items: items.copy(),
    "aten::format": lambda text, *values: text.format(*values),
    "aten::items": lambda items: list(items.items()),
    "aten::keys": lambda items: list(items.keys()),
    "aten::len": len,
    "aten::list": list,
    "aten::slice": _sliced,
    "aten::values": lambda items: list(items.values()),
}


def _operation(kind: str, node: Any, ins: list[int], outs: list[int]) -> _Step:
    """One of torch's operators, the very overload that the program names."""
    import torch

    schema = node.schema()
    if schema == "(no schema)":

        def unknown(values: dict[int, Any]) -> None:
            raise UnknownError(f"`{kind}`")

        return unknown
    parsed = torch._C.parse_schema(schema)
    python = _PYTHON.get(kind)
    # What works on lists of anything is bound to types that Python's own lists do not tell.
    if python is not None and parsed.arguments and str(parsed.arguments[0].type) != "Tensor":

        def compute(values: dict[int, Any]) -> None:
            result = python(*(values[each] for each in ins))
            if outs:
                values[outs[0]] = result

        return compute
    overload = re.match(r"[\w:]+(?:\.(\w+))?\(", schema)
    operator = torch._C._get_operation_overload(kind, (overload.group(1) or "") if overload else "")[0]
    keyword_only = [each.name if each.kwarg_only else None for each in parsed.arguments]
    gives_tensors = any("Tensor" in str(each.type) for each in parsed.returns)

    def operate(values: dict[int, Any]) -> None:
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        for name, each in zip(keyword_only, ins, strict=True):
            if name is None:
                positional.append(values[each])
            else:
                keywords[name] = values[each]
        # Sizes and flags are no layers.
        with contextlib.nullcontext() if gives_tensors else torch._C.DisableTorchFunction():
            result = operator(*positional, **keywords)
        if len(outs) == 1:
            values[outs[0]] = _plain(result)
        else:
            values.update(zip(outs, _plain(result) if outs else (), strict=True))

    return operate


def _plain(value: Any) -> Any:
    """A list or tuple as Python's own, its items taken out without being seen to."""
    if isinstance(value, list):
        return list(list.__iter__(value))
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(tuple.__iter__(value))
    return value
