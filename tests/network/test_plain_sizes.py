"""What stands in for SymPy and for torch's symbolic sizes, in a process that has imported neither."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import itertools, sys

from fmap_cli.frameworks import load_torchvision
load_torchvision()  # with which kernels import no torch._dynamo, which imports SymPy
import torch, torch._compile
from fmap_cli.network import plain_sizes as room

print("# the stand-in")
names = [*room._TRUTHS, *room._ANSWERS]
with room.plain_sizes():
    import torch.fx.experimental.symbolic_shapes as ours
    mine = {name: staticmethod(ours.__dict__[name]) for name in names}
    print(type(ours).__name__, torch.fx.experimental.symbolic_shapes is ours)
print(room._SHAPES in sys.modules, "sympy" in sys.modules, hasattr(torch.fx.experimental, "symbolic_shapes"))

print("# a step")
from fmap_cli.memory.forecast import forecast
from fmap_cli.memory.request import MemoryRequest
from fmap_cli.models.records import ModelRequest

for optimizer in ("sgd-momentum", "adamw"):
    found = forecast(MemoryRequest(model=ModelRequest("resnet18"), batch=2, optimizer=optimizer), print)
# as torch has it: weights 11,689,512, and Adam's two numbers for each of them and a count for each tensor
print(found.parameters, [bill.allocated > 11_689_512 * 16 for bill in found.bills if bill.mode == "train"])
print(sorted(name for name in sys.modules if name.split(".")[0] == "sympy" or name.startswith("torch._dynamo")))
print(torch._disable_dynamo is torch._compile._disable_dynamo, torch._disable_dynamo.__module__)

print("# the real ones")
before = len(sys.meta_path)
with room.plain_sizes():
    (torch.empty(2, 3, device="meta") * 2).mean().sigmoid()
    print("sympy.core" in sys.modules)
    import sympy.core.numbers as numbers
    from sympy import Symbol
    import sympy
    print(numbers.Integer is sympy.Integer, isinstance(Symbol("x"), sympy.Basic), sympy.core.numbers is numbers)
    from torch.fx.experimental.symbolic_shapes import ShapeEnv
    (torch.empty(2, 3, device="meta") * 2).mean().sigmoid()
print(sys.modules["torch.fx.experimental.symbolic_shapes"].ShapeEnv is ShapeEnv, len(sys.meta_path) == before)
print(sys.modules["sympy"] is sympy, numbers.__spec__.origin == numbers.__file__)

print("# answers")
values = [True, False, 0, 1, 3, -1, 2.5, (2, 3), [2, 3], torch.Size([2, 3]), [2], (), [[1, 2], [3]]]

def answers(module):
    given = {}
    for name in names:
        for arguments in [*itertools.product(values), *itertools.product(values, values)]:
            try:
                answer = getattr(module, name)(*arguments)
                given[name, repr(arguments)] = type(answer), answer
            except Exception as error:
                given[name, repr(arguments)] = type(error)
    return given

import torch.fx.experimental.symbolic_shapes as real
wanted, found = answers(real), answers(type("Mine", (), mine))
print([(each, wanted[each], found[each]) for each in wanted if wanted[each] != found[each]])
print(sum(isinstance(each, tuple) for each in wanted.values()) > 100)
"""


@pytest.fixture(scope="module")
def said() -> dict[str, list[str]]:
    """What one new interpreter prints under each heading; importing torch is most of its time."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    parts = [part.splitlines() for part in done.stdout.split("# ")[1:]]
    return {heading: lines for heading, *lines in parts}


def test_the_stand_in_stands_in_for_a_while(said: dict[str, list[str]]) -> None:
    assert said["the stand-in"] == ["_StandIn True", "False False False"]


def test_a_step_of_a_network_imports_neither_the_compiler_nor_sympy(said: dict[str, list[str]]) -> None:
    """All that `fmap memory` does: both modes, an optimiser with state, normalisation, attention and means."""
    assert said["a step"] == ["11689512 [True]", "[]", "True torch._compile"]


def test_whoever_needs_the_real_modules_gets_them_once(said: dict[str, list[str]]) -> None:
    assert said["the real ones"] == ["False", "True True True", "True True", "True True"]


def test_answers_are_torchs_own_for_plain_numbers(said: dict[str, list[str]]) -> None:
    assert said["answers"] == ["[]", "True"]
