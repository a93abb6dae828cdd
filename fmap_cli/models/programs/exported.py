"""torch.export programs: checked, opened by torch, and unflattened by torch itself into their modules."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import ModelError
from fmap_cli.foreign import raised
from fmap_cli.frameworks import load_torchvision
from fmap_cli.models import building, pickle_check
from fmap_cli.models.archive import RefusedError
from fmap_cli.models.preprocessing import IN_FILE, USUAL_SIZE_PX, InputOverrides
from fmap_cli.models.programs import check, sizes, trial
from fmap_cli.models.programs.classes import class_like
from fmap_cli.models.programs.trial import INSTEAD
from fmap_cli.models.records import NetworkInput
from fmap_cli.models.trying import formats_of

if TYPE_CHECKING:
    import torch

    from fmap_cli.models.programs.trial import Program


def load(spec: str, overrides: InputOverrides) -> Program:
    """The program, opened after a check; where nobody can say how large its tensors get, another process runs it first.

    It has no loops, and nothing in it runs while it is opened: only what it asks for can be too much.
    """
    load_torchvision()
    _check_exported(spec)
    program = module, takes, _ = _open_exported(spec, overrides)
    inputs = trial.inputs_for(takes)
    try:
        with building.quiet(), building.seeded(0):
            known = sizes.check(module, inputs, trial.bytes_for(inputs))
    except RefusedError as error:
        raise ModelError(f"{spec} was not opened: {error}", hint=trial.HINT) from error
    if not known:
        with trial.tried(spec, __name__, "try_exported", overrides) as tried:
            tried()
    return program


def try_exported(spec: str, overrides: InputOverrides, say: Callable[[float], None]) -> None:
    """Opens the program and runs it once. Raises ModelError where that takes more memory than it may."""
    import torch._dynamo  # what torch.export.load imports
    import torch._export.serde.serialize

    load_torchvision()
    limits = trial.Limits(Path(spec), say)
    limits.load()
    module, takes, _ = _open_exported(spec, overrides)
    inputs = trial.inputs_for(takes)
    limits.run(loops=False)(sum(each.numel() for each in inputs))
    try:
        with building.seeded(0), building.quiet(), torch.no_grad():
            module(*inputs)
    except Exception as error:  # what else goes wrong the user's own pass will say
        if trial.is_about_memory(error):
            raise trial.refusal_for_memory(spec) from error


def _check_exported(spec: str) -> None:
    try:
        check.check(Path(spec))
    except pickle_check.CodeError as error:
        raise _holds_code(spec) from error
    except RefusedError as error:
        raise ModelError(f"{spec} was not opened: {error}", hint=INSTEAD) from error


def _holds_code(spec: str) -> ModelError:
    return ModelError(
        f"{spec} holds more than tensors: it would run Python code to load, so it was not opened", hint=INSTEAD
    )


def _open_exported(spec: str, overrides: InputOverrides) -> Program:
    import torch

    try:
        with building.quiet(), _no_pickled_code():
            program = torch.export.load(spec)
    except _CodeError as error:
        raise _holds_code(spec) from error
    except Exception as error:
        hint = "Programs load in the torch version that saved them, or a newer one; or the file is damaged."
        raise trial.not_loaded(spec, "torch.export", error, hint) from error
    shape, free = _input_shape(spec, program)
    try:
        with building.quiet():
            module: torch.nn.Module = torch.export.unflatten(program)
    except Exception as error:
        raise ModelError(
            f"torch cannot take the program {spec} apart into modules: {raised.what(error)}", hint=INSTEAD
        ) from error
    _forget_exporting(module)
    for each in list(module.modules()):
        type_name = getattr(each, "type_name", None)
        qualified = type_name() if callable(type_name) else None
        if qualified and each is not module:
            each.__class__ = class_like(qualified, type(each))
    batch, channels, height, width = shape
    size = (height, width)
    notes: tuple[str, ...] = ()
    if overrides.shapes and (
        len(overrides.shapes) > 1 or len(overrides.shapes[0]) != 3 or overrides.shapes[0][0] != channels
    ):
        raise ModelError(
            f"{spec} was exported for {channels},{height},{width}, and --input-shape says another number of axes"
            " or channels",
            hint="Leave out `--input-shape`: what the program takes is in the file.",
        )
    asked_size = overrides.shapes[0][1:] if overrides.shapes else overrides.height_width
    if asked_size is not None and asked_size != size and not {2, 3} <= free:
        raise ModelError(
            f"{spec} was exported for {height}×{width} images alone, not {asked_size[0]}×{asked_size[1]}",
            hint="Leave out `--size`, or export with dynamic height and width.",
        )
    if overrides.shapes:
        size = overrides.shapes[0][-2], overrides.shapes[0][-1]
    if batch != 1 and 0 not in free:
        _repeat_input(module, batch)
        notes = (f"the program takes {batch} images at once and no other number: each is given {batch} times",)
    dtype = str(formats_of(module)[0]).removeprefix("torch.")
    takes = NetworkInput(((channels, *size),), ("CHW",), IN_FILE, (False,), dtype=dtype)
    return module, takes, notes


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
