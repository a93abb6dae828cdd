"""Factories and networks that misbehave: a result or a clear line each, and this process as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fmap_cli import raised

Run = Callable[..., Any]

_GUESTS = '''
import os, signal, sys, threading, time, torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
    def forward(self, x):
        return self.conv(x)

class Odd(BaseException): pass
class Mute(Exception):
    def __str__(self): raise ValueError
class Number(Exception):
    def __str__(self): return 3
class Long(Exception):
    def __str__(self): return "word " * 1_000_000
class Lines(Exception):
    def __str__(self): return "\\n\\n  first\\nsecond"

def raises(error):
    def make(): raise error
    return make

def after(act):
    """A factory that does something, and makes a network all the same."""
    def make():
        act()
        return Net()
    return make

def does(act):
    """A factory whose network does something with what it would put out."""
    class Doing(Net):
        def forward(self, x):
            return act(self.conv(x))
    return Doing

def throws(error):
    def act(output): raise error
    return does(act)

def within(**attributes):
    return type("Strange", (Net,), attributes)

def prop(error):
    def get(self): raise error
    return property(get, lambda self, value: None)

def method(error):
    def call(self, *args, **kwargs): raise error
    return call

def cycle(output):
    answer = {"out": output}
    answer["again"] = answer
    return answer
def ring(output):
    answer = [output]
    answer.append(answer)
    return answer
def nest(output):
    for _ in range(50_000): output = [output]
    return output

# Each with what is said (None: there is a result).
f_odd, f_exit, f_generator = raises(Odd("odd")), raises(SystemExit("bye")), raises(GeneratorExit())
f_mute, f_number, f_long, f_lines = raises(Mute()), raises(Number()), raises(Long()), raises(Lines())
n_odd, n_exit, n_generator = throws(Odd("odd")), throws(SystemExit(5)), throws(GeneratorExit())
n_mute, n_long, n_stop = throws(Mute()), throws(Long()), throws(StopIteration())
n_cycle, n_ring, n_nest = does(cycle), does(ring), does(nest)
n_none, n_text = does(lambda output: None), does(lambda output: "text")
a_getattr = within(__getattr__=lambda self, name: nn.Module.__getattr__(self, name) if name in ("conv",) or
                   name.startswith("_") else method(RuntimeError(name))(self))
a_training = within(training=prop(RuntimeError("training")))
a_modules = within(named_modules=method(Odd("modules")))
a_parameters = within(named_parameters=method(RuntimeError("parameters")))
a_apply = within(_apply=method(Odd("apply")))
a_eval = within(eval=method(RuntimeError("eval")))
a_state = within(state_dict=method(RuntimeError("state")))
a_words = within(__repr__=method(Odd("repr")), __len__=method(Odd("len")), __iter__=method(Odd("iter")))
a_hash = within(__eq__=method(Odd("eq")), __hash__=None)
c_directory = after(lambda: os.chdir("/"))
c_double = after(lambda: torch.set_default_dtype(torch.float64))
c_gradients = after(lambda: torch.set_grad_enabled(False))
c_handler = after(lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
c_streams = after(lambda: (sys.stdout.close(), sys.stderr.close()))
c_nothing = after(lambda: setattr(sys, "stdout", None))
c_prints = after(lambda: print("x" * 3_000_000))
d_double = does(lambda output: (torch.set_default_dtype(torch.float64), output)[1])
d_directory = does(lambda output: (os.chdir("/"), output)[1])
d_handler = does(lambda output: (signal.signal(signal.SIGINT, signal.SIG_IGN), output)[1])

# In a process of their own.
p_out, p_err = after(lambda: os.close(1)), after(lambda: os.close(2))
p_all = after(lambda: os.closerange(0, 60))
p_system = after(lambda: os.system("echo from below"))
p_forward = does(lambda output: (os.close(1), os.close(2), output)[2])
p_thread = after(lambda: threading.Thread(target=time.sleep, args=(600,)).start())
p_device = after(lambda: torch.set_default_device("meta"))
s_sleeps = does(lambda output: (os.write(2, b"asleep\\n"), time.sleep(600)))
def deaf(output):
    os.write(2, b"asleep\\n")
    while True:
        try: time.sleep(600)
        except BaseException: pass
s_deaf = does(deaf)
'''

SAID: dict[str, str | None] = {
    "f_odd": "failed: Odd: odd (guests.py:",
    "f_exit": "failed: it called sys.exit('bye') (guests.py:",
    "f_generator": "failed: GeneratorExit (guests.py:",
    "f_mute": "failed: Mute (guests.py:",
    "f_number": "failed: Number (guests.py:",
    "f_long": "failed: Long: word word ",
    "f_lines": "failed: Lines: first second (guests.py:",
    "n_odd": "[1, 3, 16, 16] as float32 on cpu: Odd: odd (guests.py:",
    "n_exit": "it called sys.exit(5) (guests.py:",
    "n_generator": "GeneratorExit (guests.py:",
    "n_mute": "Mute (guests.py:",
    "n_long": "Long: word word ",
    "n_stop": "StopIteration",
    "n_cycle": None,
    "n_ring": None,
    "n_nest": "RecursionError",
    "n_none": None,
    "n_text": None,
    "a_getattr": "RuntimeError: original_name (guests.py:",
    "a_training": "RuntimeError: training (guests.py:",
    "a_modules": "cannot be looked into: Odd: modules (guests.py:",
    "a_parameters": "cannot be looked into: RuntimeError: parameters (guests.py:",
    "a_apply": "Odd: apply (guests.py:",
    "a_eval": "RuntimeError: eval (guests.py:",
    "a_state": None,
    "a_words": None,
    "a_hash": "cannot be looked into: TypeError: unhashable type",
    "c_directory": None,
    "c_double": None,
    "c_gradients": None,
    "c_handler": None,
    "c_streams": None,
    "c_nothing": None,
    "c_prints": None,
    "d_double": None,
    "d_directory": None,
    "d_handler": None,
}


@pytest.fixture
def guests(workdir: Path) -> Path:
    file = workdir / "guests.py"
    file.write_text(_GUESTS)
    return file


def state() -> tuple[object, ...]:
    return (
        Path.cwd(),
        torch.get_default_dtype(),
        torch.get_default_device(),
        torch.is_grad_enabled(),
        signal.getsignal(signal.SIGINT),
        (sys.stdin, sys.stdout, sys.stderr),
        sys.stderr.closed,
        "guests" in sys.modules,
    )


@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize("name", SAID)
def test_a_result_or_a_line_and_nothing_is_changed(fmap: Run, name: str) -> None:
    said = SAID[name]
    before = state()
    ran = fmap("show", "-m", f"guests.py:{name}", "--size", 16, "--json", "-o", "a.png")
    assert state() == before
    if said is not None:
        ran.refused(said)
        assert len(ran.err) < 2000, "a long message is cut"
    else:
        assert ran.code == 0 and "Traceback" not in ran.err, ran
        assert [each["name"] for each in ran.json["layers"]] == ["conv"]


@pytest.mark.slow
@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize(
    "command",
    [
        ("layers",),
        ("stats",),
        ("rf",),
        ("rf", "--effective", "-l", "last"),
        ("predict",),
        ("embed", "-l", "last", "a.png"),
        ("compare", "a.png", "b.png"),
        ("memory", "--batch", 1),
    ],
    ids=lambda command: " ".join(map(str, command[:2])),
)
def test_every_command_has_a_result_or_a_line(fmap: Run, samples: Path, command: tuple[object, ...], name: str) -> None:
    for image, sample in (("a.png", "coffee.png"), ("b.png", "chelsea.png")):
        Path(image).symlink_to(samples / sample)
    before, start = state(), time.monotonic()
    ran = fmap(*command, "-m", f"guests.py:{name}", "--size", 16)
    assert ran.code in (0, 1) and "Traceback" not in ran.err, ran
    assert ran.code == 0 or any(line.startswith("fmap: ") for line in ran.err.splitlines()), ran
    assert state() == before and time.monotonic() - start < 20


_LESS = ("out", "forward", "thread")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors")
@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize(
    "name", ["p_all", "p_system", *(pytest.param(f"p_{each}", marks=pytest.mark.slow) for each in _LESS)]
)
def test_a_result_in_spite_of_descriptors_and_threads(installed: Run, name: str) -> None:
    start = time.monotonic()
    ran = installed("show", "-m", f"guests.py:{name}", "--size", 16, "--json", "-o", "a.png", module=True)
    assert ran.code == 0 and "Traceback" not in ran.err, ran
    assert [each["name"] for each in ran.json["layers"]] == ["conv"]
    assert ("from below" in ran.err) == (name == "p_system")
    assert time.monotonic() - start < 40  # what a loaded machine takes to start, and 5 seconds


@pytest.mark.slow
@pytest.mark.usefixtures("guests")
@pytest.mark.parametrize("name", ["p_err", "p_device"])
def test_a_line_in_spite_of_descriptors_and_defaults(installed: Run, name: str) -> None:
    ran = installed("show", "nothing.png", "-m", f"guests.py:{name}", "--size", 16, module=True)
    assert ran.code == 1 and ran.err.splitlines()[-1].startswith(("fmap: ", "      ")), ran


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("name", [pytest.param("s_sleeps", marks=pytest.mark.slow), "s_deaf"])
def test_a_forward_that_never_ends_is_stopped_by_ctrl_c(guests: Path, name: str) -> None:
    command = [sys.executable, "-m", "fmap_cli", "stats", "-m", f"guests.py:{name}", "--size", "16"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=guests.parent)
    assert process.stderr is not None
    for line in process.stderr:
        if "asleep" in line:
            break
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    out, err = process.communicate(timeout=5)
    assert process.returncode == 130 and out == "", (process.returncode, out, err)
    assert err.splitlines()[-1] == "fmap: interrupted." and "Traceback" not in err


def test_a_bug_of_fmaps_own_is_not_the_networks(guests: Path) -> None:
    scope: dict[str, Any] = {}
    exec(compile("def call(function): function()", str(guests), "exec"), scope)

    def caught(function: Callable[[], object]) -> BaseException:
        with pytest.raises(BaseException) as found:
            scope["call"](function)
        return found.value

    assert raised.is_foreign(caught(lambda: scope["call"](None)))
    from fmap_cli import units

    assert not raised.is_foreign(caught(lambda: units.shape(3)))  # type: ignore[arg-type]
