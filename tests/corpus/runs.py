"""Damaged and hostile saved runs."""

from __future__ import annotations

import functools
import json
import pickle
import random
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hostile
from hostile import COMMAND, TERA, Code

from corpus.cases import MODEL, Case
from corpus.images import picture


@functools.cache
def saved_run() -> bytes:
    import tempfile

    from small_runs import odd_run

    from fmap_cli.statistics.runs import save_run

    with tempfile.TemporaryDirectory() as folder:
        save_run(path := Path(folder) / "run.fmap", odd_run())
        return path.read_bytes()


def runs() -> dict[str, bytes]:
    """Saved runs whose text or numbers are others, and damaged ones."""
    whole = saved_run()
    length = struct.unpack("<Q", whole[:8])[0]
    table, content = json.loads(whole[8 : 8 + length]), whole[8 + length :]
    begin, end = table["text"]["data_offsets"]
    text = json.loads(content[begin:end])

    def laid(other: Any, **rows: Any) -> bytes:
        """The run with another text; tensors keep their places, and the text comes last."""
        encoded = other if isinstance(other, bytes) else json.dumps(other).encode()
        moved = {}
        numbers = content[:begin] + content[end:]
        for name, row in table.items():
            if name not in ("__metadata__", "text"):
                places = [place - (end - begin) if place >= end else place for place in row["data_offsets"]]
                moved[name] = {**row, "data_offsets": places}
        at = len(numbers)
        moved["text"] = {"dtype": "U8", "shape": [len(encoded)], "data_offsets": [at, at + len(encoded)]}
        head = json.dumps({"__metadata__": table["__metadata__"], **moved, **rows}).encode()
        return struct.pack("<Q", len(head)) + head + numbers + encoded

    files = {"sound": whole, "sound-again": laid(text)}
    values: list[Any] = [
        None,
        -1,
        TERA,
        2**70,
        1.5,
        "x",
        COMMAND,
        "\x1b[2J",
        "\ud800",
        [],
        {},
        [[[]]],
        True,
        "n" * 10**6,
    ]
    rng = random.Random(8)
    for number, path in enumerate(_places(text)):
        for value in rng.sample(values, 2):
            files[f"text-{number}-{json.dumps(value)[:12]}"] = laid(_with(text, path, value))
    for name in table:
        if name not in ("text", "__metadata__"):
            row = {**table[name], "shape": [TERA]}
            files[f"claims-{name}"] = laid(text, **{name: row})
            files[f"without-{name}"] = laid(text, **{name: None})
    files |= {
        "text-nothing": laid(b""),
        "text-list": laid(b"[]"),
        "text-deep": laid(b"[" * 100_000),
        "text-no-utf8": laid(b"\xff\xfe"),
        "text-nan": laid(json.dumps(text).replace("4", "NaN", 1).encode()),
        "text-digits": laid(json.dumps(text).replace("4", "9" * 10_000, 1).encode()),
        "format-other": whole.replace(b"fmap-run", b"fmap-won"),
        "pickle": pickle.dumps(Code()),
        "checkpoint-code": hostile.saved({"w": Code()}),
    }
    files |= {f"damaged-{name}": broken for name, broken in hostile.damaged(whole, seed=9, count=60)}
    for name, broken in hostile.damaged(whole[: 8 + length], seed=10, count=40):
        files[f"header-{name}"] = broken + content
    return files


def _places(record: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where values stand, lists by their first entry."""
    if path:
        yield path
    if isinstance(record, dict):
        for key in record:
            yield from _places(record[key], (*path, key))
    elif isinstance(record, list) and record:
        yield from _places(record[0], (*path, 0))


def _with(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    other = dict(record) if isinstance(record, dict) else list(record)
    other[path[0]] = _with(record[path[0]], path[1:], value)
    return other


def run_cases() -> Iterator[Case]:
    resumed = ("stats", "a.png", "--save", "run.fmap", "--resume", *MODEL)
    image = picture("png", "RGB") or b""
    for number, (name, content) in enumerate(runs().items()):
        sound = name.startswith("sound")
        yield Case("saved runs", name, ("stats", "--load", "run.fmap"), {"run.fmap": content}, sound)
        if number % 8 == 0:
            yield Case("runs to go on with", name, resumed, {"run.fmap.part": content, "a.png": image})
        if number % 8 == 1:
            drawn = ("stats", "--load", "run.fmap", "sound.fmap", "-o", "figure.png", "--json")
            yield Case("runs merged", name, drawn, {"run.fmap": content, "sound.fmap": saved_run()})
