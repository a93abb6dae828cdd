"""The deferred import is checked twice: on toy packages for its edges, on the real ones for what users run.

Each case is a process of its own, because an import happens once.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
DEFERRABLE = "from torch._dynamo.utils import is_compile_supported"

TOY = {
    "torch/__init__.py": """
import importlib
def __getattr__(name):
    if name == "_dynamo":
        return importlib.import_module("torch._dynamo")
    raise AttributeError(name)
""",
    "torch/_dynamo/__init__.py": "from . import config, utils\n",
    "torch/_dynamo/config.py": "loads = []\nloads.append(1)\n",
    "torch/_dynamo/utils.py": """
        def is_compile_supported(device_type):
            return f"real answer for {device_type}"
        def other():
            return "other"
    """,
    "torchvision/__init__.py": "from torchvision.ops import roi_align\n",
    "torchvision/ops/__init__.py": "",
    "torchvision/ops/roi_align.py": DEFERRABLE + "\n",
}

REPORT = """
import sys, torch, torchvision
from torchvision.ops import roi_align
import fmap_cli.frameworks as frameworks
before = sorted(name for name in sys.modules if name.startswith("torch._dynamo"))
watchers = [finder for finder in sys.meta_path if isinstance(finder, frameworks._Watcher)]
answer = roi_align.is_compile_supported("cpu")
import torch._dynamo
print(before, len(watchers), answer, torch._dynamo.utils.other(), torch._dynamo.config.loads)
"""
DEFERRED = "[] 0 real answer for cpu other [1]"
ORDINARY = "['torch._dynamo', 'torch._dynamo.config', 'torch._dynamo.utils'] 0 real answer for cpu other [1]"


def run(code: str, *arguments: str, path: Path | None = None, **environment: str) -> str:
    """What a new interpreter prints when it runs `code`; `path` comes first in its search path."""
    search = os.pathsep.join(str(folder) for folder in (path, REPOSITORY) if folder)
    finished = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": search, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stderr
    return finished.stdout.strip()


@pytest.fixture
def toy(tmp_path: Path):
    """Write toy packages named torch and torchvision, with some files replaced, and import them."""

    def load(code: str = "load_torchvision()", files: dict[str, str] | None = None) -> str:
        for name, text in {**TOY, **(files or {})}.items():
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(textwrap.dedent(text))
        first = "from fmap_cli.frameworks import load_torchvision\n"
        return run(first + textwrap.dedent(code) + REPORT, path=tmp_path)

    return load


def test_the_function_waits_for_its_first_call(toy):
    assert toy() == DEFERRED


def test_an_ordinary_import_is_told_apart(toy):
    """The companion of all the others: without the deferral their expectation would not hold."""
    assert toy("import torchvision") == ORDINARY


def test_a_second_call_returns_the_same_module(toy):
    assert toy("assert load_torchvision() is load_torchvision()") == DEFERRED


def test_steps_aside_when_dynamo_is_loaded(toy):
    assert toy("import torch._dynamo; load_torchvision()") == ORDINARY


def test_steps_aside_when_torchvision_is_loaded(toy):
    assert toy("import torchvision; load_torchvision()") == ORDINARY


@pytest.mark.parametrize(
    "text",
    [
        "from torch._dynamo.utils import is_compile_supported, other",
        "from torch._dynamo.utils import is_compile_supported\nimport torch._dynamo.config",
        "import torch._dynamo\nfrom torch._dynamo.utils import is_compile_supported",
        "if True:\n    from torch._dynamo.utils import is_compile_supported",
    ],
)
def test_steps_aside_when_the_text_differs(toy, text):
    assert toy(files={"torchvision/ops/roi_align.py": text}) == ORDINARY


def test_steps_aside_when_torch_has_no_such_function(toy):
    utils = "is_compile_supported = 'real answer for {}'.format\ndef other():\n    return 'other'\n"
    assert toy(files={"torch/_dynamo/utils.py": utils}) == ORDINARY


@pytest.mark.parametrize(
    "elsewhere",
    [
        "from torch._dynamo.utils import other; assert other() == 'other'",
        "import torch._dynamo.utils; assert torch._dynamo.utils.other() == 'other'",
        "import torch._dynamo.config; assert torch._dynamo.config.loads == [1]",
        "from torch._dynamo import config; assert config.loads == [1]",
        "import torch; assert torch._dynamo.utils.other() == 'other'",
    ],
)
def test_anyone_else_gets_the_real_module(toy, elsewhere):
    """Another file of torchvision that uses torch._dynamo while it is imported, before or after roi_align."""
    order = ["from torchvision.ops import roi_align", elsewhere]
    for lines in (order, order[::-1]):
        assert toy(files={"torchvision/__init__.py": "\n".join(lines)}) == ORDINARY


def test_looking_at_every_module_is_no_use_of_dynamo(toy):
    """`inspect` asks each module for `__file__`; torch.library does so for every operator it registers."""
    look = """
        import sys
        assert not hasattr(sys.modules["torch._dynamo.utils"], "__file__")
        from torchvision.ops import roi_align
    """
    assert toy(files={"torchvision/__init__.py": look}) == DEFERRED


def test_a_failing_import_leaves_nothing_behind(toy):
    fails_once = """
        import os
        from torchvision.ops import roi_align
        if not os.environ.pop("FAILED_ONCE", ""):
            os.environ["FAILED_ONCE"] = "1"
            raise RuntimeError("planted")
    """
    code = """
        import gc, sys
        try:
            load_torchvision()
        except RuntimeError as error:
            assert str(error) == "planted"
        else:
            raise AssertionError("the planted fault did not strike")
        assert not [name for name in sys.modules if name.startswith("torch._dynamo")]
        assert gc.isenabled()
        load_torchvision()
    """
    assert toy(code, {"torchvision/__init__.py": fails_once}) == DEFERRED


def test_a_collector_that_was_off_stays_off(toy):
    code = "import gc\ngc.disable(); load_torchvision(); assert not gc.isenabled()\n"
    assert toy(code) == DEFERRED


@pytest.mark.parametrize(
    ("first", "torchvision", "frozen"),
    [
        ("", "", True),
        ("import torch", "", False),
        ("", "import triton", False),
    ],
)
def test_only_our_own_imports_are_set_aside(toy, first, torchvision, frozen):
    """Triton complains at exit where its objects are not taken apart."""
    code = f"import gc\n{first}\nload_torchvision()\nassert (gc.get_freeze_count() > 0) == {frozen}\n"
    files = {
        "triton.py": "",
        "torchvision/__init__.py": torchvision + "\nfrom torchvision.ops import roi_align\n",
    }
    assert toy(code, files) == DEFERRED


@pytest.mark.parametrize(
    ("user", "seen"),
    [
        ({}, "1000 None"),
        ({"GOMP_SPINCOUNT": "5"}, "5 None"),
        ({"OMP_WAIT_POLICY": "active"}, "None active"),
    ],
)
def test_threads_yield_unless_the_user_says_how(toy, monkeypatch, user, seen):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in user.items():
        monkeypatch.setenv(name, value)
    names = "os.environ.get('GOMP_SPINCOUNT'), os.environ.get('OMP_WAIT_POLICY')"
    torch = f"import os\nseen = ' '.join(map(str, ({names})))\n" + TOY["torch/__init__.py"]
    code = f"""
        import os
        load_torchvision()
        import torch
        assert torch.seen == {seen!r}, torch.seen
        assert [os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")] == [
            {user!r}.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
        ], "the environment is left as it was"
    """
    assert toy(code, {"torch/__init__.py": torch}) == DEFERRED


# The real torch and torchvision.

COMPUTE = """
import importlib, json, sys
how, out = sys.argv[1:]
if how == "ordinary":
    import torchvision
else:
    from fmap_cli.frameworks import load_torchvision
    torchvision = load_torchvision()
    assert load_torchvision() is torchvision
import torch

room = importlib.import_module("torchvision.ops.roi_align")
report = {
    "dynamo": "torch._dynamo" in sys.modules,
    "left": [name for name in sys.modules if name.startswith("torch._dynamo")],
    "attribute": "_dynamo" in vars(torch),
    "forwards": room.is_compile_supported.__module__ if hasattr(room, "is_compile_supported") else None,
}

generator = torch.Generator().manual_seed(0)
maps = torch.rand(2, 3, 16, 20, generator=generator)
boxes = torch.tensor([[0, 1.0, 2.0, 9.5, 12.0], [1, 0.0, 0.0, 15.0, 15.0], [0, 3.2, 4.1, 4.0, 9.0]])
arguments = dict(output_size=(4, 5), spatial_scale=0.8, sampling_ratio=2, aligned=True)
answers = {"eager": torchvision.ops.roi_align(maps, boxes, **arguments)}
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.ReLU(), torch.nn.Flatten()).eval()
with torch.no_grad():
    for index, parameter in enumerate(net.parameters()):
        parameter.copy_(torch.linspace(-1, 1, parameter.numel()).reshape(parameter.shape) + index)
    answers["net"] = net(maps)
if how == "deferred":
    numbers = torch.ones(3, requires_grad=True)
    sgd = torch.optim.SGD([numbers], lr=0.5)  # its step is marked for the compiler, which is not there yet
    torch.compile(lambda value: (value * 2).sum(), backend="eager")(numbers).backward()
    sgd.step()
    sgd.zero_grad()
    report["step"] = numbers.tolist(), numbers.grad
    with torch.no_grad():
        answers["net, compiled"] = torch.compile(net, backend="eager")(maps)
    align = torch.compile(lambda m, b: torchvision.ops.roi_align(m, b, **arguments), backend="eager", fullgraph=True)
    answers["compiled"] = align(maps, boxes)
report["supported"] = room.is_compile_supported("cpu")

# Without the compiled operators roi_align runs as Python, which it hands to torch.compile.
torch.compile = lambda function, **_: function
room._has_ops = lambda: False
answers["python"] = torchvision.ops.roi_align(maps, boxes, **arguments)
torch.save(answers, out)
print(json.dumps(report))
"""


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Report and answers of one process with the ordinary import and one with ours."""
    import torch

    folder = tmp_path_factory.mktemp("answers")
    results = {}
    for how in ("ordinary", "deferred"):
        out = folder / f"{how}.pt"
        report = json.loads(run(COMPUTE, how, str(out)))
        results[how] = (report, torch.load(out, weights_only=True))
    return results


def installed_text_fits() -> bool:
    """Read here independently of the code under test."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.origin is not None
    lines = Path(spec.origin).with_name("ops").joinpath("roi_align.py").read_text().splitlines()
    return [line for line in lines if "_dynamo" in line] == [DEFERRABLE]


def test_the_installed_torchvision_is_deferred_or_left_alone(both):
    ordinary, deferred = both["ordinary"][0], both["deferred"][0]
    if installed_text_fits():
        assert ordinary["dynamo"]
        assert not deferred["dynamo"]
        assert deferred["left"] == []
        assert not deferred["attribute"]
        assert deferred["forwards"] == "fmap_cli.frameworks"
    else:
        assert deferred == ordinary


def test_the_forwarded_function_gives_the_real_answer(both):
    assert both["deferred"][0]["supported"] == both["ordinary"][0]["supported"]


@pytest.mark.parametrize("what", ["eager", "python", "net"])
def test_answers_equal_those_of_an_ordinary_import(both, what):
    ordinary, deferred = both["ordinary"][1], both["deferred"][1]
    assert deferred[what].equal(ordinary[what])


def test_marks_are_made_once_the_compiler_is_there(both):
    assert both["deferred"][0]["step"] == [[0.0, 0.0, 0.0], None]


def test_compiled_and_python_agree_with_the_operator(both):
    """What is compiled equals what is not, and that the answers of an ordinary import."""
    answers = both["deferred"][1]
    assert answers["compiled"].equal(answers["eager"])
    assert answers["net, compiled"].equal(answers["net"])
    assert answers["python"].allclose(answers["eager"], atol=1e-5)


@pytest.mark.parametrize("command", ["show", "layers", "stats"])
def test_a_command_imports_torch_by_way_of_torchvision(command: str, tmp_path: Path) -> None:
    """Whatever is imported before `load_torchvision` and imports torch itself costs every command half a second."""
    script = textwrap.dedent("""
        import importlib.abc, os, sys, traceback

        class Watch(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path=None, target=None):
                if name == "torch":  # what comes after takes two seconds, and says no more
                    os.write(2, str("load_torchvision" in {f.name for f in traceback.extract_stack()}).encode())
                    os._exit(0)

        sys.meta_path.insert(0, Watch())
        from fmap_cli import cli
        cli.run(sys.argv[1:])
    """)
    more = ["-o", str(tmp_path / "a.png")] if command == "show" else []
    ran = subprocess.run(
        [sys.executable, "-c", script, command, *more], capture_output=True, text=True, timeout=120, check=True
    )
    assert ran.stderr == "True"
