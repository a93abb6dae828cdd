"""A case: a command with the files it is given; and what several kinds of cases are made of."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hostile import MARKER

NETWORK = """
from torch import nn

def make():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))

def numbers():
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
"""
MODEL = ("-m", "net.py:make", "--size", "16,16")
# What a reader might start: each makes the marker.
PROGRAMS = ("gs", "gswin32c", "convert", "djpeg", "xdg-open")


@dataclass(frozen=True)
class Case:
    """`fmap COMMAND` in a folder with these files. `sound`: there has to be a result."""

    kind: str
    name: str
    command: tuple[str, ...]
    files: Mapping[str, bytes]
    sound: bool = False


def prepare(case: Case, folder: Path) -> dict[str, str]:
    """Put the case's files into an empty folder; returns the environment in which nothing else can start."""
    (folder / "net.py").write_text(NETWORK)
    (folder / "bin").mkdir()
    (folder / "temporary").mkdir()
    for name in PROGRAMS:
        program = folder / "bin" / name
        program.write_text(f"#!/bin/sh\ntouch '{folder / MARKER}'\n")
        program.chmod(0o755)
    for name, content in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "BROWSER": f"touch {MARKER} %s",
        "TMPDIR": str(folder / "temporary"),
        "COLUMNS": "80",
    }


READING: tuple[tuple[str, ...], ...] = (
    ("predict", "FILE"),
    ("show", "FILE", "-o", "figure.png", "--overlay"),
    ("stats", "FILE", "--workers", "1"),
    ("embed", "FILE", "-l", "last", "-o", "vectors.npz"),
    ("compare", "FILE", "--vs-dtype", "bfloat16"),
    ("layers", "--image", "FILE"),
)


def about(command: tuple[str, ...], name: str) -> tuple[str, ...]:
    return tuple(name if word == "FILE" else word for word in command)


def header(shape: str, dtype: str = "'|u1'", order: str = "False", version: int = 1, more: str = "") -> bytes:
    """The beginning of an `.npy` file."""
    text = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, {more}}}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text
