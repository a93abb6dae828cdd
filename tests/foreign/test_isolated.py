"""Whatever happens in the other process, this one says what it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import forked
import pytest

from fmap_cli.errors import FmapError, ModelError
from fmap_cli.foreign import isolated
from fmap_cli.foreign.isolated import run_isolated

HERE = Path(__file__).parent


def test_the_result_comes_back_and_sentences_on_the_way() -> None:
    said: list[str] = []
    assert run_isolated("isolated_tasks", "double", 21, say=said.append) == 42
    assert said == ["doubling 21"]


def test_an_error_keeps_its_class_and_hint() -> None:
    with pytest.raises(ModelError) as caught:
        run_isolated("isolated_tasks", "refuses", say=print)
    assert (caught.value.message, caught.value.hint) == ("no such thing", "try another")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("breaks", "ValueError: three"),
        ("stops", "it called sys.exit('enough')"),
        ("leaves", "ended with code 7"),
        ("aborts", "ended by SIGABRT"),
    ],
)
def test_any_other_end_is_one_line(function: str, words: str) -> None:
    with pytest.raises(FmapError) as caught:
        run_isolated("isolated_tasks", function, say=print)
    assert words in caught.value.message
    assert "\n" not in caught.value.message


def test_no_process_stays_behind() -> None:
    said: list[str] = []
    run_isolated("isolated_tasks", "tells", say=said.append)
    deadline = time.monotonic() + 20
    with pytest.raises(ProcessLookupError):
        while time.monotonic() < deadline:  # nobody waits for its end
            os.kill(int(said[0]), 0)
            time.sleep(0.01)


def test_nobody_waits_for_the_end_of_a_process_that_has_answered() -> None:
    """Neither who asked, nor who reads what both print: here the end takes ten seconds."""
    code = (
        "import os\n"
        "from fmap_cli.foreign.isolated import run_isolated\n"
        "print(run_isolated('isolated_tasks', 'ends_slowly', 10, say=print), flush=True)\n"
        "os._exit(0)\n"
    )
    start = time.monotonic()
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE, timeout=60)
    assert (ran.stdout, ran.stderr) == ("done\n", "its last word\n")
    assert time.monotonic() - start < 8


def test_a_process_made_ready_is_taken_once_and_ended_where_nobody_takes_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = isolated._start

    def noted(*arguments: object, **named: object) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **named))  # type: ignore[arg-type]
        return started[-1]

    monkeypatch.setattr(isolated, "_start", noted)
    with isolated.made_ready("isolated_tasks"):
        assert len(started) == 1
        (tmp_path / "late.py").write_text("def three(say): return 3\n")
        monkeypatch.syspath_prepend(tmp_path)
        for expected in (1, 2):  # the second one is not ready
            assert run_isolated("isolated_tasks", "calls", "late", "three", say=print) == 3
            assert len(started) == expected
    with pytest.raises(KeyError), isolated.made_ready("isolated_tasks"):
        raise KeyError
    assert started[-1].returncode is not None and len(started) == 3
    with isolated.made_ready("no_such_module"), pytest.raises(FmapError, match="no_such_module"):
        run_isolated("no_such_module", "double", 1, say=print)


def test_an_exception_here_ends_the_other_process() -> None:
    said: list[str] = []

    def interrupted(sentence: str) -> None:
        said.append(sentence)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_isolated("isolated_tasks", "hangs", say=interrupted)
    with pytest.raises(ProcessLookupError):
        os.kill(int(said[0]), 0)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_ctrl_c_while_the_other_process_starts_ends_it_without_a_word(capfd: pytest.CaptureFixture[str]) -> None:
    child = isolated._start()
    child.send_signal(signal.SIGINT)
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.read() == b""
    assert child.wait() == -signal.SIGINT
    assert capfd.readouterr().err == ""


def test_it_works_after_a_backward_pass() -> None:
    """Autograd refuses to work in the fork of a process where it has threads; it has one for each GPU.

    torch.export and fake tensors make it believe that there is a GPU; here it is told so directly.
    """
    script = (
        "import torch\n"
        "torch._C._ensureCUDADeviceGuardSet()\n"
        "torch.ones(1, requires_grad=True).square().backward()\n"
        "from fmap_cli.foreign.isolated import run_isolated\n"
        "print(run_isolated('isolated_tasks', 'gradient_of_square', 3.0, say=print))\n"
    )
    ran = forked.run([sys.executable, "-c", script], text=True, cwd=HERE, timeout=120)
    assert (ran.stdout, ran.stderr) == ("6.0\n", "")


def test_it_works_while_another_thread_holds_a_lock(tmp_path: Path) -> None:
    """The lock is the one on a module that a thread is about to import: in a fork nobody would ever release it."""
    (tmp_path / "slow.py").write_text(
        "import os\n"
        "if os.environ['first'] == str(os.getpid()):\n"
        "    import gate\n"
        "    gate.entered.set()\n"
        "    gate.done.wait()\n"
        "def three(say): return 3\n"
    )
    (tmp_path / "gate.py").write_text("import threading\nentered, done = threading.Event(), threading.Event()\n")
    script = (
        "import gate, os, threading\n"
        "from fmap_cli.foreign.isolated import run_isolated\n"
        "os.environ['first'] = str(os.getpid())\n"
        "threading.Thread(target=__import__, args=('slow',)).start()\n"
        "gate.entered.wait()\n"
        "print(run_isolated('slow', 'three', say=print))\n"
        "gate.done.set()\n"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (ran.stdout, ran.stderr) == ("3\n", "")


@pytest.mark.parametrize("how", ["file", "-c", "standard input"])
def test_a_script_is_not_run_a_second_time(how: str, tmp_path: Path) -> None:
    """It has no `if __name__ == "__main__"` around what it does, as nothing has in a notebook."""
    script = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from fmap_cli.foreign.isolated import run_isolated\n"
        "print('once', flush=True)\n"
        "print(run_isolated('isolated_tasks', 'double', 21, say=lambda sentence: None))\n"
    )
    file = tmp_path / "script.py"
    file.write_text(script)
    arguments = {"file": [str(file)], "-c": ["-c", script], "standard input": ["-"]}[how]
    ran = subprocess.run([sys.executable, *arguments], input=script, capture_output=True, text=True, timeout=60)
    assert (ran.stdout, ran.stderr) == ("once\n42\n", "")


def test_what_a_network_prints_is_not_standard_output() -> None:
    code = (
        "from fmap_cli.foreign.isolated import run_isolated; print(run_isolated('isolated_tasks', 'prints', say=print))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HERE)
    assert ran.stdout == "1\n"
    assert "a network's own words" in ran.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_other_process_ends_with_this_one(number: signal.Signals) -> None:
    run = "run_isolated('isolated_tasks', 'hangs', say=lambda s: print(s, flush=True))"
    code = f"from fmap_cli.foreign.isolated import run_isolated; {run}"
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=HERE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it is there
    parent.send_signal(number)
    parent.wait()
    for _ in range(100):
        time.sleep(0.1)
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{child}/stat").exists() and Path(f"/proc/{child}/stat").read_text().split()[2] == "Z":
            return  # ended, and not yet collected by whoever inherited it
    os.kill(child, signal.SIGKILL)
    pytest.fail("it runs on")
