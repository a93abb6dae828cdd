"""Odd and hostile programs and factories."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import hostile
from misbehaving import GUESTS, SAID

from corpus.cases import Case
from corpus.images import picture
from corpus.weights import scripted

# --- Programs -----------------------------------------------------------------------------------------


exported = functools.cache(hostile.exported)


def program_cases() -> Iterator[Case]:
    whole = exported()

    def opened(kind: str, name: str, file: str, content: bytes, sound: bool = False) -> Case:
        return Case(kind, name, ("show", "-m", file, "--size", "16,16", "-o", "figure.png"), {file: content}, sound)

    yield opened("pt2", "sound", "net.pt2", whole, True)
    for name, content in hostile.programs(whole).items():
        yield opened("pt2", name, "net.pt2", content)
    for name, content in hostile.damaged(whole, seed=6, count=60):
        yield opened("pt2 damaged", name, "net.pt2", content)
    yield opened("TorchScript damaged", "sound", "net.pt", scripted(), True)
    for name, content in hostile.damaged(scripted(), seed=7, count=60):
        yield opened("TorchScript damaged", name, "net.pt", content)


# --- Networks -----------------------------------------------------------------------------------------


def network_cases() -> Iterator[Case]:
    image = picture("png", "RGB") or b""
    commands: tuple[tuple[str, ...], ...] = (
        ("show", "a.png", "-o", "figure.png"),
        ("layers",),
        ("stats", "a.png", "--workers", "1"),
        ("memory", "--batch", "1"),
    )
    own = [line.split()[0] for line in GUESTS.splitlines() if line.startswith("p_")]
    files = {"guests.py": GUESTS.encode(), "a.png": image}
    for name in (*SAID, *own):
        if name != "p_thread":  # it does what it says: its thread runs for ten minutes, in one process
            for command in commands:
                arguments = (*command, "-m", f"guests.py:{name}", "--size", "16,16")
                yield Case(f"networks: {command[0]}", name, arguments, files)
