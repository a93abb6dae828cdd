"""What a process gives back and takes again is there, by the system's own count of the pages that it had to clear."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from torch import nn

import fmap_cli
from fmap_cli.foreign import allocation

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a C library's own way to keep memory")

CODE = """
import contextlib, resource, sys
from fmap_cli import cli, interrupts
from fmap_cli.foreign import allocation
{call}
def pages():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    bytearray(40 << 20)
before = pages()
for _ in range(10):
    bytearray(40 << 20)
print((pages() - before) * 4096 >> 20)
"""
AFTER_A_RUN = """
with allocation.kept():
    bytearray(40 << 20)
"""


def megabytes_cleared(call: str, **environment: str) -> int:
    inherited = {name: value for name, value in os.environ.items() if "MALLOC" not in name and name != "GLIBC_TUNABLES"}
    process = subprocess.run(
        [sys.executable, "-c", CODE.format(call=call)],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return int(process.stdout.splitlines()[-1])


def test_blocks_of_a_layer_are_cleared_once() -> None:
    assert megabytes_cleared("") >= 300, "what the C library does by itself"
    assert megabytes_cleared("allocation.keep()") < 40


def test_the_program_keeps_memory() -> None:
    call = "interrupts.leave = lambda code: None; sys.argv[1:] = ['--version']; cli.main()"
    assert megabytes_cleared(call) < 40


def test_a_run_keeps_memory_until_it_ends() -> None:
    assert megabytes_cleared("held = contextlib.ExitStack(); held.enter_context(allocation.kept())") < 40
    assert megabytes_cleared(AFTER_A_RUN) >= 300, "afterwards blocks go back to the system as they did"


@pytest.mark.parametrize("other", ["allocation.keep()", "other = allocation.kept(); other.__enter__()"])
def test_a_run_leaves_what_the_program_or_another_run_has_asked_for(other: str) -> None:
    assert megabytes_cleared(other + AFTER_A_RUN) < 40


def test_what_is_free_when_a_run_ends_is_given_back() -> None:
    code = """
from fmap_cli.foreign import allocation
def resident():
    return int([line for line in open("/proc/self/status") if line.startswith("VmRSS")][0].split()[1]) >> 10
before = resident()
with allocation.kept():
    blocks = [bytearray(1 << 20) for _ in range(300)]
    del blocks[1::2]
    inside = resident()
print(inside - before, resident() - before)
"""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    inside, after = map(int, process.stdout.split())
    assert inside >= 290
    assert after < 170


class Told:
    """A C library that notes down what it is told, and a network that notes down its passes among it."""

    def __init__(self) -> None:
        self.events: list[str] = []
        network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.model = fmap_cli.load_model(network, size=8, say=lambda _: None)
        network.register_forward_pre_hook(lambda *_: self._add("pass"))

    def _add(self, event: str) -> None:
        if event not in self.events[-1:]:
            self.events.append(event)

    def mallopt(self, _parameter: int, value: int) -> int:
        self._add("keep" if value == 1 << 30 else "as before")
        return 1

    def malloc_trim(self, _left: int) -> int:
        self._add("give back")
        return 1


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    library = Told()
    monkeypatch.setattr(allocation, "_own_library", lambda: library)
    monkeypatch.setattr(allocation, "_runs", 0)
    return library


@pytest.mark.parametrize("verb", ["stats", "embed", "predict"])
def test_passes_over_many_images_in_python_run_while_memory_is_kept(verb: str, told: Told, tmp_path: Path) -> None:
    for at in range(4):
        Image.new("RGB", (8, 8), (60 * at, 0, 0)).save(tmp_path / f"{at}.png")
    getattr(fmap_cli, verb)(told.model, tmp_path, batch=2)
    assert told.events == ["keep", "pass", "as before", "give back"]
    told.events.clear()
    getattr(fmap_cli, verb)(told.model, tmp_path, batch=4)
    assert told.events == ["pass"], "one batch: there is no next pass to keep anything for"


def test_a_run_that_fails_gives_back_what_it_kept(told: Told) -> None:
    with pytest.raises(ZeroDivisionError), allocation.kept(), allocation.kept():
        assert told.events == ["keep"]
        raise ZeroDivisionError
    assert told.events == ["keep", "as before", "give back"]


@pytest.mark.parametrize(
    "environment",
    [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}],
)
def test_what_the_user_has_set_stays(environment: dict[str, str]) -> None:
    assert megabytes_cleared("allocation.keep()", **environment) >= 300


TRIM, MMAP = -1, -3


@pytest.mark.parametrize(
    ("own", "accepted", "expected"),
    [
        ({}, 1 << 30, [(TRIM, 1 << 30), (MMAP, 1 << 30)]),
        ({}, 1 << 25, [(TRIM, 1 << 30), (MMAP, 1 << 30), (MMAP, 1 << 25)]),
        ({"MALLOC_TRIM_THRESHOLD_": "1"}, 1 << 30, []),
    ],
    ids=["any size", "an older library", "told by the user"],
)
def test_freed_memory_is_kept_unless_the_user_says_how(
    own: dict[str, str], accepted: int, expected: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_so: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> int:
        set_so.append((parameter, value))
        return int(parameter == TRIM or value <= accepted)

    for name in [each for each in os.environ if each.startswith("MALLOC_") or each == "GLIBC_TUNABLES"]:
        monkeypatch.delenv(name)
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt, malloc_trim=print))
    monkeypatch.setattr(allocation, "_runs", 0)
    allocation.keep()
    assert set_so == expected
