"""TorchScript programs: another process loads and runs them first, then they are walked, or run whole.

They are code. They cannot import Python modules or run Python, but torch's operations read and write files too: open
programs of people you trust, as you would their scripts. Another process tries them first (`trial`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmap_cli.errors import ModelError
from fmap_cli.foreign import raised
from fmap_cli.frameworks import load_torchvision
from fmap_cli.models import archive, building, probing, tensor_files
from fmap_cli.models.archive import RefusedError
from fmap_cli.models.preprocessing import InputOverrides, usual_input
from fmap_cli.models.programs import endless, trial
from fmap_cli.models.programs.trial import INSTEAD
from fmap_cli.models.programs.walk import UnknownError, mirror_of
from fmap_cli.models.records import NetworkInput

if TYPE_CHECKING:
    import torch

    from fmap_cli.models.programs.trial import Program


@dataclass(frozen=True, slots=True)
class _Findings:
    """What trying a TorchScript program has found out.

    `reason` says why it is not walked, and is None where it is. `turns` are those of its loops in one pass, at most.
    """

    takes: NetworkInput
    reason: str | None
    turns: int


def load(spec: str, overrides: InputOverrides) -> Program:
    """The program, after another process has loaded it, found what it takes, and run it."""
    try:
        with archive.opened(Path(spec)) as held:
            for name in ("data", "constants"):
                tensor_files.check_archive_pickle(held, f"{name}.pkl", f"{name}/", program=True)
    except RefusedError as error:
        raise ModelError(f"cannot load the TorchScript program {spec}: {error}", hint=INSTEAD) from error
    with trial.tried(spec, __name__, "try_script", overrides) as tried:
        load_torchvision()
        found: _Findings = tried()
    script, unit = _read_script(spec)
    endless.watch_loops(unit)
    program = endless.Program(spec)
    program.may_run(found.turns)
    notes: tuple[str, ...] = ()
    if found.reason is None:
        module = mirror_of(script, unit, program).eval()
    else:
        module = _whole(script, program)
        notes = (f"only the answer of {Path(spec).name} can be seen, not what is inside: {found.reason}. {INSTEAD}",)
    return module, found.takes, notes


def try_script(spec: str, overrides: InputOverrides, say: Callable[[float], None]) -> _Findings:
    """Loads the program and runs it. Raises ModelError where that fails, or takes more memory than it may."""
    load_torchvision()
    limits = trial.Limits(Path(spec), say)
    limits.load()
    script, unit = _read_script(spec)
    endless.check_length(spec, unit)
    loops = endless.watch_loops(unit)
    program = endless.Program(spec, begins=limits.run(loops=loops), lacks_memory=limits.lack)
    return _findings(program, script, unit, overrides)


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
        hint = "It may use operations of a package that is not there, come from a newer torch, or be damaged."
        raise trial.not_loaded(spec, "TorchScript", error, hint) from error
    return script, unit


def _findings(program: endless.Program, script: Any, unit: Any, overrides: InputOverrides) -> _Findings:
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
    found = (probing.find_input(each, overrides, len(arguments), name=spec) for each in tried)
    takes = next((each for each in found if each is not None), None) or usual_input(overrides)
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
        return mirror_of(script, unit, program).eval(), None
    except Exception as error:
        return None, f"its modules cannot be told apart ({raised.what(error)})"


def _why_not_walked(spec: str, whole: Any, mirror: Any, takes: NetworkInput) -> str | None:
    """Why walking the program does not give what torch gives; None where it does.

    Where no input is known on which the program runs, nothing can be compared.
    """
    import torch

    with building.seeded(0), building.quiet(), torch.no_grad():
        inputs = trial.inputs_for(takes)
        try:
            expected = whole(*(each.clone() for each in inputs))
        except Exception as error:
            if trial.is_about_memory(error):
                raise trial.refusal_for_memory(spec) from error
            return None
        try:
            answer = mirror(*(each.clone() for each in inputs))
        except UnknownError as error:
            return f"it uses {error}, which fmap cannot follow"
        except Exception as error:
            return f"following it fails ({raised.what(error)})"
    return None if _same(expected, answer) else "following it step by step gives another answer"


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
