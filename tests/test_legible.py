"""Every command's tables, messages and JSON under terminals that lack signs."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmap_cli import legible
from fmap_cli.cli import run

Run = Callable[..., Any]
ENCODINGS = ("ascii", "latin-1", "cp437", "cp1252")


def printed(arguments: tuple[object, ...], encoding: str, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command whose streams have this encoding, each decoded as such, strictly."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", streams[0])
        patched.setattr(sys, "stderr", streams[1])
        patched.setenv("COLUMNS", "160")
        code = run([str(each) for each in arguments])
        assert [each.errors for each in streams] == ["strict"] * 2, "the streams are left as they were"
        for each in streams:
            each.flush()
    out, err = (each.buffer.getvalue().decode(encoding) for each in streams)  # type: ignore[attr-defined]
    return code, out, err


COMMANDS: dict[str, tuple[object, ...]] = {
    "show": ("show", "日é.png", "--size", 16),
    "stats": ("stats", "日é.png", "--size", 16),
    "channels": ("stats", "日é.png", "--size", 16, "--per-channel"),
    "layers": ("layers", "--size", 16),
    "rf": ("rf", "--size", 16),
    "unit": ("rf", "日é.png", "--size", 16, "--layer", "conv1", "--at", "3,4", "--channel", 1),
    "predict": ("predict", "日é.png", "--size", 16),
    "embed": ("embed", "日é.png", "b.png", "--size", 16, "--layer", "last", "--similar"),
    "compare": ("compare", "日é.png", "b.png", "--size", 16),
    "models": ("models", "resnet1*"),
    "tensor": ("memory", "--shape", "32,128,56,56"),
    "help": ("memory", "--help"),
    "failure": ("show", "日→.png", "--size", 16),
    "usage": ("show", "--size", "×"),
}
WITHOUT_MODEL = ("models", "tensor", "help")
WITHOUT_JSON = ("help", "usage", "failure")


@pytest.fixture
def pictures(workdir: Path, samples: Path) -> None:
    (workdir / "日é.png").symlink_to(samples / "coffee.png")
    (workdir / "b.png").symlink_to(samples / "chelsea.png")


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_read_in_any_encoding(nets: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    arguments = COMMANDS[name] if name in WITHOUT_MODEL else (*COMMANDS[name], "-m", f"{nets}:inplace")
    whole = printed(arguments, "utf-8", monkeypatch)
    for encoding in ENCODINGS:
        code, out, err = printed(arguments, encoding, monkeypatch)
        assert code == whole[0], (encoding, err)
        assert len(out.splitlines()) == len(whole[1].splitlines()), encoding
        assert len(err.splitlines()) == len(whole[2].splitlines()), encoding
        assert "UnicodeEncodeError" not in err
        for sign in "日→×":
            shown = out + err
            assert (sign in shown) <= bool(sign.encode(encoding, "ignore")), (encoding, sign)
        if "日" in whole[1] + whole[2]:
            assert "\\u65e5" in out + err, encoding
        if name not in WITHOUT_JSON:
            assert aligned(out) == aligned(whole[1]), encoding
            told = printed((*arguments, "--json"), encoding, monkeypatch)
            assert told[1].isascii()
            assert json.loads(told[1]) == json.loads(printed((*arguments, "--json"), "utf-8", monkeypatch)[1])


def aligned(table: str) -> set[bool]:
    """Whether the ruled lines are as long as the longest row they head, of every table printed."""
    lines = table.splitlines()
    ruled = [at for at, line in enumerate(lines) if line.strip() and set(line.strip()) <= set("─-+ ")]
    return {len(lines[at].rstrip()) >= max(len(line.rstrip()) for line in _rows(lines, at)) for at in ruled}


def _rows(lines: list[str], at: int) -> list[str]:
    rows = []
    for line in lines[at + 1 :]:
        if not line.strip():
            break
        rows.append(line)
    return rows or [""]


def test_what_a_user_has_said_of_signs_is_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="replace")
    monkeypatch.setattr(sys, "stdout", stream)
    with legible.legible_streams():
        print("3×3")
    stream.flush()
    assert stream.buffer.getvalue() == b"3?3\n"  # type: ignore[attr-defined]


def test_every_sign_that_fmap_prints_has_a_substitute_in_ascii() -> None:
    package = Path(legible.__file__).parent
    signs = {sign for file in package.rglob("*.py") for sign in file.read_text(encoding="utf-8") if ord(sign) > 127}
    assert len(signs) > 20
    for sign in signs - set("日😀"):
        substitute = legible.substitute(sign)
        assert substitute.isascii() and "\\" not in substitute, sign


@pytest.mark.parametrize("environment", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}])
def test_the_program_itself_in_ascii(installed: Run, environment: dict[str, str]) -> None:
    ran = installed("memory", "--shape", "32,128,56,56", cold=True, env={"PYTHONCOERCECLOCALE": "0", **environment})
    assert ran.code == 0 and ran.out.isascii() and ran.err == "", ran
    assert "32 * 128 * 56 * 56" in ran.out, ran
    ran = installed("show", "--nonsense→", cold=True, env={"PYTHONCOERCECLOCALE": "0", **environment})
    assert ran.code == 2 and ran.err.isascii() and "Traceback" not in ran.err


@pytest.mark.skipif(os.name == "nt", reason="descriptors")
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_streams_that_are_closed_or_full_from_the_start(workdir: Path, closed: str) -> None:
    import subprocess

    command = f"'{sys.executable}' -m fmap_cli memory --shape 2,3 {closed}"
    ran = subprocess.run(command, shell=True, capture_output=True, timeout=60)
    assert b"Traceback" not in ran.stderr and ran.returncode in (0, 1), ran
    assert bool(ran.stdout) == (">&-" not in closed.split()), ran
