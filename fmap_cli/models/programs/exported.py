"""Networks that a file brings whole: TorchScript archives (`.pt`, `.pth`) and torch.export programs (`.pt2`).

Both hold a program. torch runs a TorchScript program as one graph, in which no hook is ever called; so its graphs are
walked here, one operation at a time, with the same kernels, and every module of it is a module again, whose calls can
be seen. Where a program uses what this walk does not know, or the walk's answer is not torch's, it runs as torch runs
it, and only its answer is a layer. A torch.export program is unflattened by torch itself into its modules.

TorchScript programs are code. They cannot import Python modules or run Python, but torch's operations read and write
files too: open programs of people you trust, as you would their scripts. Another process tries them first (`trial`).
"""

from __future__ import annotations

import contextlib
import pickle
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import ModelError, WeightsError
from fmap_cli.foreign import raised
from fmap_cli.frameworks import load_torchvision
from fmap_cli.models import archive, building, pickle_check, probing, tensor_files
from fmap_cli.models.archive import RefusedError
from fmap_cli.models.preprocessing import IN_FILE, USUAL_SIZE_PX, Wishes, fed, usual_input
from fmap_cli.models.programs import check, endless, sizes, trial
from fmap_cli.models.records import LoadedModel, NetworkInput, Weights

if TYPE_CHECKING:
    import torch

SUFFIXES = (".pt", ".pth", ".pt2", ".ts", ".torchscript", ".jit", ".bin", ".ckpt", ".safetensors")
_INSTEAD = "To see its layers, make the network in Python: `--model path/to/file.py:factory --weights FILE`."


def is_program(spec: str) -> bool:
    """Whether a `--model` value names a file by its suffix.

    >>> is_program("runs/net.pt2"), is_program("net.py:make"), is_program("resnet18")
    (True, False, False)
    """
    return Path(spec).suffix.lower() in SUFFIXES


def load(spec: str, weights: str | None, *, wishes: Wishes) -> LoadedModel:
    """The program in the file `spec`, with its own weights."""
    kind = _kind(spec)
    if weights is not None and weights.lower() != "default":
        raise WeightsError(
            f"{spec} is a program with its own weights; {weights!r} cannot take their place",
            hint="Leave out `--weights`; to load others make the network in Python, `--model path/to/file.py:factory`.",
        )
    return _load_exported(spec, wishes) if kind == "torch.export" else _load_script(spec, wishes)


def _kind(spec: str) -> str:
    """`TorchScript` or `torch.export`, told by what the archive holds. Raises ModelError for anything else."""
    file = Path(spec)
    if not file.is_file():
        raise ModelError(f"no such file: {spec}" if not file.exists() else f"{spec} is not a file")
    try:
        with archive.opened(file) as held:
            members = [held.root + name for name in held.names]
    except OSError as error:
        raise ModelError(f"cannot read {spec}: {error.strerror}") from error
    except RefusedError as error:
        with file.open("rb") as stream:
            if stream.read(4) == b"PK\3\4":
                raise ModelError(f"{spec} was not opened: {error}", hint=_INSTEAD) from error
        members = []
    if any(member.endswith("/constants.pkl") for member in members):
        return "TorchScript"
    if any(re.search(r"(^|/)(models/[^/]+\.json|serialized_exported_program\.json)$", member) for member in members):
        return "torch.export"
    if file.suffix.lower() in (".safetensors", ".bin", ".ckpt") or any(each.endswith("data.pkl") for each in members):
        raise ModelError(
            f"{spec} holds weights, and no program that could run",
            hint=f"Name their network: `--model NAME --weights {spec}`; your own is `path/to/file.py:factory`.",
        )
    raise ModelError(
        f"{spec} is neither a TorchScript archive nor a torch.export program, or it is damaged",
        hint="Expected what `torch.jit.save` or `torch.export.save` writes; weights are `--model NAME --weights FILE`.",
    )


def _loaded(
    spec: str,
    module: torch.nn.Module,
    takes: NetworkInput,
    wishes: Wishes,
    notes: tuple[str, ...],
) -> LoadedModel:
    preprocessing, input_kind, frames, said = fed(takes, wishes)
    return LoadedModel(
        module=module.eval(),
        name=spec,
        weights=Weights("program", Path(spec).name),
        preprocessing=preprocessing,
        input_kind=input_kind,
        frames=frames,
        notes=notes + said,
        takes=takes,
    )


# --- Modules that look like those the program was made from ----------------------------------------------


def _class_like(qualified: str, base: type) -> type:
    """A subclass of `base` under the name of the class a module had: `torch.nn.modules.conv.Conv2d`.

    What torch.nn defines is a subclass of that too as far as layers are told by it (`isinstance(_, nn.Conv2d)`).
    """
    from torch import nn

    from fmap_cli.network.axes.known import OVER_MAPS

    home, _, name = qualified.rpartition(".")
    known = getattr(sys.modules.get(home), name, None) if home.startswith("torch.nn.") else None
    told_by_class = (*OVER_MAPS, nn.Linear, nn.Dropout, nn.Identity, nn.Sequential)
    bases: tuple[type, ...] = (base,)
    if isinstance(known, type) and issubclass(known, told_by_class):
        bases = (base, known)
    elif isinstance(known, type) and issubclass(known, nn.ModuleList | nn.ModuleDict):
        home = "exported"
    # The home decides whether operations inside belong to the module: so in torch.nn's own layers, nowhere else.
    place = home if home.startswith("torch.nn.") else "exported"
    return type(name or base.__name__, bases, {"__module__": place, "extra_repr": lambda self: ""})


# --- torch.export ----------------------------------------------------------------------------------------


def _load_exported(spec: str, wishes: Wishes) -> LoadedModel:
    """The program, opened after a check; where nobody can say how large its tensors get, another process runs it first.

    It has no loops, and nothing in it runs while it is opened: only what it asks for can be too much.
    """
    load_torchvision()
    _check_exported(spec)
    loaded = _open_exported(spec, wishes)
    assert loaded.takes is not None
    inputs = _inputs(loaded.takes)
    try:
        with building.quiet(), building.seeded(0):
            known = sizes.check(loaded.module, inputs, trial.bytes_for(inputs))
    except RefusedError as error:
        raise ModelError(f"{spec} was not opened: {error}", hint=trial.HINT) from error
    if not known:
        with trial.tried(spec, __name__, "try_exported", wishes) as tried:
            tried()
    return loaded


def try_exported(spec: str, wishes: Wishes, say: Callable[[float], None]) -> None:
    """Opens the program and runs it once. Raises ModelError where that takes more memory than it may."""
    import torch._dynamo  # what torch.export.load imports
    import torch._export.serde.serialize

    load_torchvision()
    limits = trial.Limits(Path(spec), say)
    limits.load()
    loaded = _open_exported(spec, wishes)
    assert loaded.takes is not None
    inputs = _inputs(loaded.takes)
    limits.run(loops=False)(sum(each.numel() for each in inputs))
    try:
        with building.seeded(0), building.quiet(), torch.no_grad():
            loaded.module(*inputs)
    except Exception as error:  # what else goes wrong the user's own pass will say
        if endless.is_about_memory(error):
            raise trial.refusal_for_memory(spec) from error


def _check_exported(spec: str) -> None:
    try:
        check.check(Path(spec))
    except pickle_check.CodeError as error:
        raise _holds_code(spec) from error
    except RefusedError as error:
        raise ModelError(f"{spec} was not opened: {error}", hint=_INSTEAD) from error


def _holds_code(spec: str) -> ModelError:
    return ModelError(
        f"{spec} holds more than tensors: it would run Python code to load, so it was not opened", hint=_INSTEAD
    )


def _open_exported(spec: str, wishes: Wishes) -> LoadedModel:
    import torch

    try:
        with building.quiet(), _no_pickled_code():
            program = torch.export.load(spec)
    except _CodeError as error:
        raise _holds_code(spec) from error
    except Exception as error:
        if endless.is_about_memory(error):
            raise trial.refusal_for_memory(spec) from error
        raise ModelError(
            f"cannot load the torch.export program {spec}: {raised.what(error)}",
            hint="Programs load in the torch version that saved them, or a newer one; or the file is damaged.",
        ) from error
    shape, free = _input_shape(spec, program)
    try:
        with building.quiet():
            module: torch.nn.Module = torch.export.unflatten(program)
    except Exception as error:
        raise ModelError(
            f"torch cannot take the program {spec} apart into modules: {raised.what(error)}", hint=_INSTEAD
        ) from error
    _forget_exporting(module)
    for each in list(module.modules()):
        type_name = getattr(each, "type_name", None)
        qualified = type_name() if callable(type_name) else None
        if qualified and each is not module:
            each.__class__ = _class_like(qualified, type(each))
    batch, channels, height, width = shape
    size = (height, width)
    notes: tuple[str, ...] = ()
    if wishes.shapes and (len(wishes.shapes) > 1 or len(wishes.shapes[0]) != 3 or wishes.shapes[0][0] != channels):
        raise ModelError(
            f"{spec} was exported for {channels},{height},{width}, and --input-shape says another number of axes"
            " or channels",
            hint="Leave out `--input-shape`: what the program takes is in the file.",
        )
    wished = wishes.shapes[0][1:] if wishes.shapes else wishes.height_width
    if wished is not None and wished != size and not {2, 3} <= free:
        raise ModelError(
            f"{spec} was exported for {height}×{width} images alone, not {wished[0]}×{wished[1]}",
            hint="Leave out `--size`, or export with dynamic height and width.",
        )
    if wishes.shapes:
        size = wishes.shapes[0][-2], wishes.shapes[0][-1]
    if batch != 1 and 0 not in free:
        _repeat_input(module, batch)
        notes = (f"the program takes {batch} images at once and no other number: each is given {batch} times",)
    dtype = str(probing.formats_of(module)[0]).removeprefix("torch.")
    takes = NetworkInput(((channels, *size),), ("CHW",), IN_FILE, (False,), dtype=dtype)
    return _loaded(spec, module, takes, wishes, notes)


class _CodeError(Exception):
    """A file asks for Python code to be run."""


@contextlib.contextmanager
def _no_pickled_code() -> Iterator[None]:
    """torch.export reads tensors as torch.load does and falls back to whole pickles: not here."""
    import torch

    load, loads = torch.load, pickle.loads

    def tensors_only(*args: Any, **kwargs: Any) -> Any:
        try:
            return load(*args, **{**kwargs, "weights_only": True})
        except pickle.UnpicklingError as error:
            raise _CodeError from error

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise _CodeError

    try:
        torch.load, pickle.loads = tensors_only, refuse
        yield
    finally:
        torch.load, pickle.loads = load, loads


def _input_shape(spec: str, program: Any) -> tuple[tuple[int, int, int, int], set[int]]:
    """The shape of the program's one input, and which of its axes are free."""
    import torch

    names = list(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in names]
    if len(values) != 1 or not isinstance(values[0], torch.Tensor) or values[0].ndim != 4:
        shapes = [f"{name} {_shape(value)}" for name, value in zip(names, values, strict=False)]
        raise ModelError(
            f"{spec} takes {', '.join(shapes) or 'no input'}; fmap gives a program one picture, [B, C, H, W]",
            hint="Wrap the network so that its forward takes one picture: `--model path/to/file.py:factory`.",
        )
    (value,) = values
    free = {at for at, length in enumerate(value.shape) if not isinstance(length, int)}
    example = _example(program)
    lengths = [
        length if isinstance(length, int) else (example[at] if example is not None else None)
        for at, length in enumerate(value.shape)
    ]
    usual = (1, 3, USUAL_SIZE_PX, USUAL_SIZE_PX)
    batch, channels, height, width = (length or instead for length, instead in zip(lengths, usual, strict=True))
    return (batch, channels, height, width), free


def _example(program: Any) -> tuple[int, ...] | None:
    """The shape of the input the program was exported with, where the file keeps it."""
    with contextlib.suppress(Exception):
        arguments, keywords = program.example_inputs
        tensor = next(iter([*arguments, *keywords.values()]))
        return tuple(int(length) for length in tensor.shape)
    return None


def _shape(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return (
        str([str(length) if not isinstance(length, int) else length for length in shape]) if shape is not None else ""
    )


def _forget_exporting(module: torch.nn.Module) -> None:
    """Takes out the stand-ins for tensors that exporting left on the graphs' nodes: they cannot be copied.

    What the program's inputs must be like is checked against them, and so keeps their shapes.
    """
    import torch

    inputs = {id(node) for node in getattr(module, "input_placeholders", ())}
    for each in module.modules():
        graph = getattr(each, "graph", None)
        for node in getattr(graph, "nodes", ()):
            value = node.meta.get("val")
            node.meta = {}
            if id(node) not in inputs or not isinstance(value, torch.Tensor):
                continue
            if all(isinstance(length, int) for length in value.shape):
                node.meta["val"] = torch.empty(value.shape, dtype=value.dtype, device="meta")
            else:
                module.check_input_constraints = False  # type: ignore[assignment]  # free sizes: no fixed ones to check


def _repeat_input(module: torch.nn.Module, batch: int) -> None:
    def repeat(_module: torch.nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        image = inputs[0]
        return (image.expand(batch, *image.shape[1:]) if image.shape[0] == 1 else image, *inputs[1:])

    module.register_forward_pre_hook(repeat)


# --- TorchScript -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Findings:
    """What trying a TorchScript program has found out.

    `reason` says why it is not walked, and is None where it is. `turns` are those of its loops in one pass, at most.
    """

    takes: NetworkInput
    reason: str | None
    turns: int


def _load_script(spec: str, wishes: Wishes) -> LoadedModel:
    """The program, after another process has loaded it, found what it takes, and run it."""
    try:
        with archive.opened(Path(spec)) as held:
            for name in ("data", "constants"):
                tensor_files.check_archive_pickle(held, f"{name}.pkl", f"{name}/", program=True)
    except RefusedError as error:
        raise ModelError(f"cannot load the TorchScript program {spec}: {error}", hint=_INSTEAD) from error
    with trial.tried(spec, __name__, "try_script", wishes) as tried:
        load_torchvision()
        found: _Findings = tried()
    script, unit = _read_script(spec)
    endless.watch_loops(unit)
    program = endless.Program(spec)
    program.may_run(found.turns)
    notes: tuple[str, ...] = ()
    if found.reason is None:
        module = _mirror(script, unit, program).eval()
    else:
        module = _whole(script, program)
        notes = (f"only the answer of {Path(spec).name} can be seen, not what is inside: {found.reason}. {_INSTEAD}",)
    return _loaded(spec, module, found.takes, wishes, notes)


def try_script(spec: str, wishes: Wishes, say: Callable[[float], None]) -> _Findings:
    """Loads the program and runs it. Raises ModelError where that fails, or takes more memory than it may."""
    load_torchvision()
    limits = trial.Limits(Path(spec), say)
    limits.load()
    script, unit = _read_script(spec)
    endless.check_length(spec, unit)
    loops = endless.watch_loops(unit)
    program = endless.Program(spec, begins=limits.run(loops=loops), lacks_memory=limits.lack)
    return _findings(program, script, unit, wishes)


def _read_script(spec: str) -> tuple[Any, Any]:
    """The program as torch gives it, and what holds its functions."""
    import torch

    try:
        with building.quiet(), building.seeded(0):  # its own `__setstate__` does here what it did when it was tried
            unit = torch._C.CompilationUnit()
            load_archive: Any = torch._C.import_ir_module  # as torch.jit.load does
            found = load_archive(unit, str(spec), torch.device("cpu"), {}, False)
            script: Any = torch.jit._recursive.wrap_cpp_module(found)
            script.eval()
    except Exception as error:
        if endless.is_about_memory(error):
            raise trial.refusal_for_memory(spec) from error
        raise ModelError(
            f"cannot load the TorchScript program {spec}: {raised.what(error)}",
            hint="It may use operations of a package that is not there, come from a newer torch, or be damaged.",
        ) from error
    return script, unit


def _findings(program: endless.Program, script: Any, unit: Any, wishes: Wishes) -> _Findings:
    spec = program.name
    arguments = _arguments(script)
    if not arguments or any(kind != "Tensor" for _, kind in arguments):
        told = ", ".join(f"{name}: {kind}" for name, kind in arguments) or "no input"
        raise ModelError(
            f"{spec} takes {told}; fmap gives a program pictures or arrays, each a Tensor",
            hint="Wrap the network so that its forward takes Tensors: `--model path/to/file.py:factory`.",
        )
    mirror, reason = _mirrored(script, unit, program)
    whole = _whole(script, program)
    # What cannot be walked can be run as a whole.
    tried = (each for each in (mirror, whole) if each is not None)
    found = (probing.find_input(each, wishes, len(arguments)) for each in tried)
    takes = next((each for each in found if each is not None), None) or usual_input(wishes)
    if mirror is not None:
        reason = _why_not_walked(spec, whole, mirror, takes)
    return _Findings(takes, reason, program.turns)


def _arguments(script: Any) -> list[tuple[str, str]]:
    """The names and types of what the program's forward needs."""
    schema = script._c._get_method("forward").schema
    return [(each.name, str(each.type)) for each in schema.arguments[1:] if not each.has_default_value()]


def _mirrored(script: Any, unit: Any, program: endless.Program) -> tuple[Any, str | None]:
    """The program as modules that are walked; None, and why, where they cannot be told apart."""
    try:
        return _mirror(script, unit, program).eval(), None
    except Exception as error:
        return None, f"its modules cannot be told apart ({raised.what(error)})"


def _why_not_walked(spec: str, whole: Any, mirror: Any, takes: NetworkInput) -> str | None:
    """Why walking the program does not give what torch gives; None where it does.

    Where no input is known on which the program runs, nothing can be compared.
    """
    import torch

    with building.seeded(0), building.quiet(), torch.no_grad():
        inputs = _inputs(takes)
        try:
            expected = whole(*(each.clone() for each in inputs))
        except Exception as error:
            if endless.is_about_memory(error):
                raise trial.refusal_for_memory(spec) from error
            return None
        try:
            answer = mirror(*(each.clone() for each in inputs))
        except _UnknownError as error:
            return f"it uses {error}, which fmap cannot follow"
        except Exception as error:
            return f"following it fails ({raised.what(error)})"
    return None if _same(expected, answer) else "following it step by step gives another answer"


def _inputs(takes: NetworkInput) -> list[torch.Tensor]:
    """Something for the network to run on."""
    import torch

    dtype = getattr(torch, takes.dtype)
    return [
        torch.zeros((1, *shape), dtype=torch.int64) if whole else torch.rand(1, *shape).to(dtype)
        for shape, whole in zip(takes.shapes, takes.integers, strict=True)
    ]


def _same(left: Any, right: Any) -> bool:
    import torch

    if isinstance(left, torch.Tensor):
        # The optimiser behind torch's own run may fuse operations, which moves the last digits.
        return isinstance(right, torch.Tensor) and torch.allclose(left, right, rtol=1e-3, atol=1e-4, equal_nan=True)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(_same(left[key], right[key]) for key in left)
    if isinstance(left, tuple | list):
        return len(left) == len(right) and all(map(_same, left, right))
    return bool(left == right)


def _whole(script: Any, program: endless.Program) -> torch.nn.Module:
    """A module with the program as its only layer, `program`."""
    from torch import nn

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.program = script

        def forward(self, input: torch.Tensor, *others: torch.Tensor) -> Any:
            with endless.one_pass(program, (input, *others)):
                return self.program(input, *others)

    return Whole()


class _UnknownError(Exception):
    """What a program does that the walk does not know."""


def _mirror(script: Any, unit: Any, program: endless.Program) -> torch.nn.Module:
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
        return _class_like(re.sub(r"^__torch__\.", "", qualified), Mirror)(own)

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
            raise _UnknownError("arguments with default values")
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
            raise _UnknownError(f"an object of its own, {type(module).__name__}")
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
            raise _UnknownError("a function that cannot be found")
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
            raise _UnknownError(f"`{kind}`")

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
