"""Factories and networks that misbehave: a result or a clear line each, and this process as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import torch
from misbehaving import GUESTS, SAID

from fmap_cli.foreign import raised

Run = Callable[..., Any]


@pytest.fixture
def guests(workdir: Path) -> Path:
    file = workdir / "guests.py"
    file.write_text(GUESTS)
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


@pytest.mark.usefixtures("guests")
def test_a_network_that_cannot_be_moved_runs_where_it_is_and_is_cast_to_nothing(fmap: Run) -> None:
    ran = fmap("show", "-m", "guests.py:a_apply", "--size", 16, "--dtype", "float64", "-o", "a.png")
    ran.refused("Odd: apply (guests.py:")


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
    process = forked.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=guests.parent)
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
