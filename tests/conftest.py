"""Running commands as a user does, and small networks to run them on."""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pickle
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import forked
import pytest
from hypothesis import HealthCheck, settings

from fmap_cli.foreign import allocation
from fmap_cli.frameworks import load_torchvision

ROOT = Path(__file__).parent.parent
pytest_plugins = ("bytecode", "order", "kept")

# How fast a shared machine makes up examples is the subject of no test.
settings.register_profile("fmap", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fmap")


def pytest_configure(config: pytest.Config) -> None:
    """torch is imported as the program does it, before any test imports it; but not by a process that only shares the
    tests out to others, which would start them seconds later.
    """
    worker = hasattr(config, "workerinput")
    if worker:  # a core for each: threads that wait for each other would share them
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    if worker or config.option.dist == "no":
        allocation.keep()  # as the program does
        load_torchvision()
        config.pluginmanager.import_plugin("leaks")


def pytest_collection_finish(session: pytest.Session) -> None:
    """What importing and collecting have made stays to the end: half a million objects that Python's collector would
    look through again and again, for a tenth of the tests' time. What the tests make themselves is mostly let go
    without it: looking through all that has become old every 700,000 objects instead of 70,000 saves 4 %.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 100)


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *words: str, code: int = 1) -> None:
        """The command said in one or two lines what is wrong, these words among them, and nothing else."""
        said = [line for line in self.err.splitlines() if not line.startswith("note: ")]
        assert self.code == code, self
        assert self.out == "", self
        if code == 1:  # usage errors are Click's, with its line on how to get help
            assert 1 <= len(said) <= 2, self
            assert said[0].startswith("fmap: "), self
            assert all(line.startswith("      ") for line in said[1:]), self
        assert "Traceback" not in self.err, self
        for word in words:
            assert word in self.err, (word, self)


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current directory, and an environment without what changes fmap's output."""
    for name in ("COLUMNS", "NO_COLOR", "FORCE_COLOR", "FMAP_INLINE", "TERM_PROGRAM", "LC_TERMINAL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def fmap(workdir: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`fmap(...)` in this process, through the boundary where errors become lines, in an empty directory."""
    from fmap_cli.cli import run

    def command(*arguments: object) -> Ran:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        return Ran(code, *capsys.readouterr())

    return command


@pytest.fixture
def installed(workdir: Path) -> Callable[..., Ran]:
    """The installed program, or `python -m fmap_cli`, in a process of its own. That is a fork of one that has imported
    torch, or, where a test is about how fmap starts, a `cold` one: a new interpreter, which takes two seconds longer.
    """
    program = Path(sys.executable).parent / "fmap"

    def command(*arguments: object, module: bool = False, cold: bool = False, **options: Any) -> Ran:
        start = [sys.executable, "-m", "fmap_cli"] if module else [str(program)]
        run = subprocess.run if cold else forked.run
        done = run(
            [*start, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=120,
            cwd=workdir,
            env=os.environ | options.pop("env", {}),
            **options,
        )
        return Ran(done.returncode, done.stdout.decode(), done.stderr.decode())

    return command


def of_processes(count: int, *arguments: str, cwd: Path) -> str:
    """What fmap prints in a new process, or shared out among so many that torchrun starts."""
    team = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)] if count > 1 else []
    done = subprocess.run(
        [sys.executable, *team, "-m", "fmap_cli", *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def isolated_by_fork() -> Iterator[None]:
    """What fmap does in a process of its own (estimates, trials of programs) begins there with torch imported."""
    from fmap_cli.foreign import isolated

    started_by = isolated.subprocess
    isolated.subprocess = types.SimpleNamespace(**vars(subprocess) | {"Popen": forked.Popen})  # type: ignore[assignment]
    yield
    isolated.subprocess = started_by


@pytest.fixture
def estimates_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """`fmap memory` makes its estimates in this process: what asks and what answers still pass through `pickle`."""

    class Here:
        def __init__(self, module: str, function: str, *arguments: Any) -> None:
            self.call, self.arguments = getattr(importlib.import_module(module), function), pickle.dumps(arguments)

        def __enter__(self) -> Here:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def result(self, say: Callable[[str], None]) -> Any:
            return pickle.loads(pickle.dumps(self.call(*pickle.loads(self.arguments), say)))

    importlib.import_module("fmap_cli.models.programs.trial")  # which keeps the class: programs are tried apart
    monkeypatch.setattr("fmap_cli.foreign.isolated.Isolated", Here)
    monkeypatch.setattr("fmap_cli.foreign.isolated.made_ready", lambda module: contextlib.nullcontext())


@pytest.fixture(scope="session")
def samples() -> Path:
    return ROOT / "sample_images"


@pytest.fixture(scope="session")
def nets(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A file of small networks; give their names behind it: `f"{nets}:odd"`. Inputs are best `--size 16`."""
    file = tmp_path_factory.mktemp("nets") / "nets.py"
    file.write_text(_NETS)
    return str(file)


_NETS = '''
import torch
from torch import nn


class Odd(nn.Module):
    """Six channels: NaN, partly infinite, constant, zero, very large, very small."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 6, 1)
        self.out = nn.Identity()

    def forward(self, x):
        y = self.body(x).clone()
        y[:, 0] = float("nan")
        y[:, 1, :4] = float("inf")
        y[:, 1, 4:6] = -float("inf")
        y[:, 2] = 2.5
        y[:, 3] = 0
        y[:, 4] = y[:, 4] * 1e30
        y[:, 5] = y[:, 5] * 1e-30
        return self.out(y)


class Flat(nn.Module):
    """Outputs of two axes, one and none."""

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(3, 4, 3)
        self.two, self.one, self.none = nn.Identity(), nn.Identity(), nn.Identity()

    def forward(self, x):
        y = self.two(self.body(x).mean((2, 3)))
        return y + self.one(y[0]) + self.none(y.sum())


class Named(nn.Module):
    def __init__(self, name):
        super().__init__()
        self.name = name
        self.add_module(name, nn.Conv2d(3, 3, 3))

    def forward(self, x):
        return getattr(self, self.name)(x)


class InPlace(nn.Module):
    """The ReLU overwrites what the normalisation put out."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3)
        self.bn1 = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(8, 7)

    def forward(self, x):
        x = self.relu(self.bn1(self.conv1(x)))
        return self.fc(self.relu(x + 1).mean((2, 3)))


def odd(): return Odd()
def flat(): return Flat()
def inplace(): return InPlace()
def long(): return Named("n" * 200)
def markup(): return Named("[bold]x[/]")
def many(): return nn.Sequential(nn.Conv2d(3, 65, 3), nn.ReLU())
def line(): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d((1, 300)))
def column(): return nn.Sequential(nn.Conv2d(3, 8, 3), nn.AdaptiveAvgPool2d((300, 1)))
def clip(): return nn.Sequential(nn.Conv3d(3, 5, 3, padding=1), nn.AdaptiveAvgPool3d(1), nn.Flatten())
def tight(): return nn.Sequential(nn.Conv2d(3, 4, 7), nn.Conv2d(4, 4, 7), nn.Conv2d(4, 4, 7))
def raises(): raise RuntimeError("no such\\nthing")
def number(): return 42
'''
