"""What a process gives back and takes again is there, by the system's own count of the pages that it had to clear."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from fmap_cli.foreign import allocation

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a C library's own way to keep memory")

CODE = """
import resource, sys
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
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    allocation.keep()
    assert set_so == expected
