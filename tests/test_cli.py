"""The program: what it says about itself, what it imports, how it ends."""

from __future__ import annotations

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import forked
import pytest

from fmap_cli import cli
from fmap_cli.commands.group import COMMANDS, group

Run = Callable[..., Any]
PROGRAM = Path(sys.executable).parent / "fmap"


def imported(*arguments: str) -> set[str]:
    """The modules in memory after `fmap` ran with these arguments in a process of its own."""
    code = f"""
import sys
from fmap_cli.cli import run
run({list(arguments)!r})
print("\\n".join(sys.modules), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stderr.splitlines())


# -- what it says about itself -------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", [False, True], ids=["fmap", "python -m fmap_cli"])
def test_the_installed_program_tells_its_version_and_its_commands(installed: Run, module: bool) -> None:
    told = installed("--version", module=module, cold=True)
    assert (told.code, told.out, told.err) == (0, f"fmap, version {version('fmap-cli')}\n", "")
    told = installed("--help", module=module, cold=True)
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("Usage: fmap ")
    for name, line in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(line[:30])}", told.out, re.MULTILINE), told.out


def test_without_arguments_the_help_is_shown(fmap: Run) -> None:
    shown = fmap()
    assert "Usage: fmap" in shown.out + shown.err
    assert shown.code in (0, 2)  # Click 8.2 made it 2


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["show", "--help"], ["layers", "--help"]])
def test_help_and_version_import_no_torch(arguments: list[str]) -> None:
    modules = imported(*arguments)
    assert "click" in modules
    heavy = {"torch", "torchvision", "matplotlib", "PIL", "numpy"} & modules
    assert not heavy, heavy


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("memory", True),
        ("memory resnet18 --batch 4", True),
        ("memory --help", False),
        ("memory resnet18 -h", False),
        ("memory --shape=1,2", False),
        ("help memory", False),
        ("layers memory", False),
        ("", False),
    ],
)
def test_a_process_is_made_ready_where_something_is_forecast(
    monkeypatch: pytest.MonkeyPatch, line: str, expected: bool
) -> None:
    """And before anything else, even before Click is imported."""
    ready: list[str] = []
    monkeypatch.setattr("fmap_cli.foreign.isolated.made_ready", lambda module: ready.append(module) or nullcontext())
    monkeypatch.setattr(cli, "_run", lambda arguments: len(ready))
    assert cli.run(line.split()) == int(expected)
    assert ready == ["fmap_cli.memory.forecast"][: int(expected)]


def test_that_guard_can_fail() -> None:
    assert {"torch", "torchvision"} <= imported("models", "resnet18")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_every_option_is_explained(fmap: Run, name: str) -> None:
    command = group.get_command(None, name)  # type: ignore[arg-type]
    assert command is not None and command.help and command.name == name
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert parameter.help, f"{name} {parameter.opts}"
    shown = fmap(name, "--help")
    assert (shown.code, shown.err) == (0, "")
    assert re.search(rf"^ +fmap {name}", shown.out, re.MULTILINE), "no example"
    assert fmap(name, "-h").out == shown.out


def test_a_command_is_imported_only_when_it_is_called() -> None:
    modules = imported("models", "--help")
    assert "fmap_cli.commands.models" in modules
    assert "fmap_cli.commands.show" not in modules


# -- wrong usage ---------------------------------------------------------------------------------------------------


def test_a_mistyped_command_is_answered_with_the_nearest(fmap: Run) -> None:
    fmap("shwo").refused("No command 'shwo'", "Did you mean `fmap show`?", code=2)
    fmap("zzz").refused("No command 'zzz'", "`fmap --help` lists the commands", code=2)


def test_help_is_printed_however_it_is_asked_for(fmap: Run) -> None:
    shown = fmap("--help")
    assert (shown.code, shown.err) == (0, "") and "\n  show " in shown.out
    for arguments in ([], ["help"], ["-h"]):
        asked = fmap(*arguments)
        assert (asked.code, asked.out, asked.err) == (0, shown.out, "")
    of_show = fmap("show", "--help")
    assert (fmap("help", "show").out, fmap("help", "show").code) == (of_show.out, 0)
    unknown = fmap("help", "shwo")
    assert (unknown.code, unknown.out) == (2, "")
    assert unknown.err == "fmap: No command 'shwo'. Did you mean `fmap show`?\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["show", "--nonsense"], ["No such option", "--nonsense"]),
        (["show", "--channels", "3-1"], ["'3-1' is not a channel or a range", "0-15,31"]),
        (["show", "--channels", "a"], ["'a' is not a channel"]),
        (["show", "--channels", "0-99999999"], ["too long a range"]),
        (["show", "--top", "0"], ["--top"]),
        (["show", "--by", "median"], ["--by", "std", "mean", "max", "l2"]),
        (["show", "--size", "big"], ["'big' is not a size", "224"]),
        (["show", "--size", "0"], ["'0' is not a size"]),
        (["show", "--mean", "a,b"], ["'a,b' is not a list of numbers"]),
        (["show", "--clip", "50"], ["--clip"]),
        (["show", "--tile", "0"], ["--tile"]),
        (["show", "--cmap", "virids"], ["no colour map 'virids'", "Did you mean", "viridis"]),
        (["show", "-o", "a.xyz"], ["a.xyz", ".png", ".svg"]),
        (["show", "--save", "a.png"], ["a.png", ".npz"]),
        (["show", "-o", "a.png", "--out-dir", "d"], ["--out", "--out-dir"]),
        (["show", "a.png", "b.png", "-o", "c.png"], ["2 images", "--out-dir"]),
        (["show", "--raw", "-o", "a.pdf"], ["--raw", ".png"]),
        (["show", "--raw", "--overlay"], ["--raw", "--overlay"]),
        (["show", "--top", "3", "--all"], ["--top", "--all", "exclude"]),
        (["show", "--dtype", "int8"], ["--dtype", "float16"]),
        (["layers", "resnet18", "resnet50"], ["unexpected extra argument"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_usage_ends_with_2_and_says_what_is_right(fmap: Run, arguments: list[str], words: list[str]) -> None:
    fmap(*arguments).refused(*words, code=2)
    assert not list(Path().iterdir()), "something was written"


# -- how it ends ---------------------------------------------------------------------------------------------------


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fmap_cli.models.catalog", None)
    with pytest.raises(TypeError):
        cli.run(["models"])


def test_the_exit_code_of_a_failure_reaches_the_shell(installed: Run) -> None:
    installed("show", "missing.png", cold=True).refused("no such file: missing.png")
    installed("show", "--nonsense", module=True).refused("--nonsense", code=2)


def test_a_reader_that_stops_ends_it_silently() -> None:
    with forked.Popen([PROGRAM, "models"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        first = subprocess.run(["head", "-1"], stdin=process.stdout, capture_output=True, text=True, timeout=120).stdout
        process.stdout.close()
        assert process.stderr.read() == b""
    assert first.split()[0] == "model"
    assert process.returncode in (0, 141)  # 0 where all of it fits the pipe before `head` ends


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_standard_output_is_one_line(installed: Run) -> None:
    for arguments in (["models"], ["models", "--json"], ["--help"]):
        with Path("/dev/full").open("w") as full:
            done = forked.run([PROGRAM, *arguments], stdout=full, text=True)
        assert done.returncode == 1
        assert done.stderr == "fmap: cannot write to standard output: No space left on device.\n"


def test_an_interrupt_ends_it_with_130_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\ndef net():\n    open('here', 'w').close()\n    time.sleep(60)\n")
    process = forked.Popen(
        [PROGRAM, "show", "-m", "slow.py:net"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "here").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "\nfmap: interrupted.\n")


_LEAVES_THINGS = """
import atexit, ctypes, torch

class Torn:
    def __del__(self):
        print("torn down", flush=True)

kept = Torn()
notes = open("notes.txt", "w")
libc = ctypes.CDLL(None)

def net():
    notes.write("written")
    atexit.register(libc.puts, b"C's own")
    atexit.register(print, "registered")
    return torch.nn.Conv2d(3, 4, 1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows names its C library otherwise")
@pytest.mark.parametrize("around", ["", "try", "fails"])
def test_what_is_open_and_registered_is_seen_to_at_the_end_and_nothing_is_torn_down(workdir: Path, around: str) -> None:
    (workdir / "net.py").write_text(_LEAVES_THINGS)
    program = """
import sys
sys.argv[1:] = ["layers", "net.py:net"]
from fmap_cli.cli import main
"""
    program += {
        "": "main()",
        "try": "try:\n    main()\nexcept SystemExit as end:\n    print('told', end.code)",
        "fails": "import atexit\natexit.register(lambda: sys.stderr.close())\nmain()",
    }[around]
    done = subprocess.run([sys.executable, "-c", program], cwd=workdir, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done
    assert (workdir / "notes.txt").read_text() == "written"
    assert {"registered", "C's own"} <= set(done.stdout.splitlines()), done
    assert ("told 0" in done.stdout) == (around == "try")
    assert ("torn down" in done.stdout) == (around == "fails"), "the interpreter's own end is for what fails"


def test_messages_stay_lines_whatever_a_name_holds(fmap: Run) -> None:
    ran = fmap("show", "no\nsuch\x1b[31m.png")
    ran.refused("such\\x1b[31m.png")
    assert "\x1b" not in ran.err
    ran = fmap("show", "-o", "gone\x1b[31m/a.png")
    ran.refused("cannot write gone\\x1b[31m/a.png")
    assert "\x1b" not in ran.err


def test_every_command_file_is_known_to_the_group() -> None:
    folder = Path(importlib.import_module("fmap_cli.commands").__file__ or "").parent
    files = {file.stem for file in folder.glob("*.py")}
    assert files - {"__init__", "group", "options", "output", "progress", "running_options"} == set(COMMANDS)


def test_a_notebooks_drawing_backend_is_not_needed(installed: Run, nets: str, workdir: Path) -> None:
    backend = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    ran = installed("show", "-m", f"{nets}:inplace", "--size", 16, "-o", "a.pdf", module=True, env=backend)
    assert ran.code == 0 and (workdir / "a.pdf").read_bytes()[:4] == b"%PDF", ran


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 1.2, 2, 4, 8, 16, 30])
def test_ctrl_c_at_any_moment_ends_with_a_line(workdir: Path, share: float) -> None:
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", "import runpy"], check=True)
    python = time.monotonic() - start  # while Python itself starts, it answers
    process = subprocess.Popen([sys.executable, "-m", "fmap_cli", "layers"], stderr=subprocess.PIPE, text=True)
    time.sleep(python * (1 + share))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode in (0, 130) and "Traceback" not in err, err
    assert process.returncode == 0 or err.splitlines()[-1] == "fmap: interrupted."


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"", b"garbage", b"\x80\x05\x95"])
@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_of_machine_code_is_made_anew(tmp_path: Path, suffix: str, damage: bytes) -> None:
    code = """
import numpy, torch
from fmap_cli.statistics import kernels
values = numpy.arange(8, dtype=numpy.float32).reshape(1, 2, 4)
print(kernels.reduce_values(values.ctypes.data, values.shape, bytes(8192), 1)[0][0].tolist())
"""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}

    def means() -> str:
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
        return ran.stdout or ran.stderr

    assert means() == "[1.5, 5.5]\n"
    (kept,) = tmp_path.rglob(f"*.{suffix}")
    sound = kept.stat().st_size
    kept.write_bytes(damage)
    assert means() == "[1.5, 5.5]\n"
    assert kept.stat().st_size > sound / 2, "made anew, and kept"
