"""Times commands and functions side by side: A B A B …, after a warm-up, and ratios pair by pair.

What else the machine does slows both sides of a pair alike, so the median of the pairs' ratios is steadier than
the ratio of the medians.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[1]
RESULTS = "FMAP_BENCHMARK_RESULTS"
"""The environment's variable with the file to which rows are added, a line of JSON each."""


def process(command: Sequence[str | Path]) -> Callable[[], None]:
    """A function that runs a command in the repository to its end; SystemExit if the command fails."""

    def run() -> None:
        done = subprocess.run([*map(str, command)], cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"failed with {done.returncode}: {' '.join(map(str, command))}\n{done.stderr}")

    return run


def clock() -> float:
    """Seconds by the wall, or with FMAP_BENCHMARK_CLOCK=cpu those of computing, here and in processes waited for.

    On a machine with other work computing is the steadier measure of what one thread does. Published figures are of the
    wall.
    """
    return sum(os.times()[:4]) if os.environ.get("FMAP_BENCHMARK_CLOCK") == "cpu" else time.perf_counter()


class Elsewhere(NamedTuple):
    """What a call gives that has measured itself, in a process that goes on: `clock` does not see it compute."""

    seconds: float


def interleaved(candidates: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call, `rounds` for each name, one of each in turn; the first turn warms up and is dropped."""
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(rounds + 1):
        for name, call in candidates.items():
            start = clock()
            found = call()
            elapsed = found.seconds if isinstance(found, Elsewhere) else clock() - start
            if turn:
                seconds[name].append(elapsed)
    return seconds


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(above, below, strict=True)]


def show_times(seconds: dict[str, list[float]]) -> None:
    """A small table: median, fastest and slowest of each."""
    width = max(map(len, seconds))
    print(f"{'':{width}}  {'median':>9}  {'min':>9}  {'max':>9}")
    for name, values in seconds.items():
        print(f"{name:{width}}  {_text(median(values))}  {_text(min(values))}  {_text(max(values))}")


def _text(seconds: float) -> str:
    return f"{seconds:7.3f} s" if seconds >= 0.2 else f"{seconds * 1000:6.1f} ms"


def show_verdict(
    what: str,
    values: Sequence[float],
    target: float | None,
    *,
    against: str = "",
    unit: str = "×",
    at_least: bool = False,
    floor: str = "",
    peer: str = "",
) -> bool:
    """One line on the median of the pairs' ratios (or seconds) against a target; whether it is met. None always is.

    Where `run.py` asks for results, the row is added to them as well. `floor` says what cannot be saved, in words.
    """
    middle = median(values)
    met = target is None or (middle >= target if at_least else middle <= target)
    aim = "–" if target is None else f"{'≥' if at_least else '≤'} {target:g}"
    spread = f"{min(values):.3f} to {max(values):.3f} over {len(values)} pairs"
    verdict = "" if target is None else f"; target {aim}: {'met' if met else 'MISSED'}"
    print(f"{what}: {middle:.3f} {unit} ({spread}){verdict}", flush=True)
    if floor:
        print(f"    floor: {floor}")
    record(
        work=what.strip(),
        against=against,
        unit=unit,
        values=list(values),
        target=aim,
        met=met,
        floor=floor,
        peer=peer,
    )
    return met


def record(**row: object) -> None:
    """Add a row to the results that `run.py` collects; nothing where a script runs by itself."""
    results = os.environ.get(RESULTS)
    if results:
        with Path(results).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def show_machine(*distributions: str) -> None:
    """Versions and cores, without importing what is measured."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in distributions)
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"Python {platform.python_version()}, {versions}; {os.cpu_count()} cores, load {load}\n")


def rounds_wanted(description: str | None, default: int) -> int:
    """The number of rounds on the command line."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=default, help=f"pairs to measure ({default})")
    rounds: int = parser.parse_args().rounds
    if rounds < 1:
        parser.error("--rounds must be 1 or more")
    return rounds


def fmap_command() -> list[str]:
    """The installed `fmap` beside this interpreter."""
    program = Path(sys.executable).with_name("fmap.exe" if os.name == "nt" else "fmap")
    if not program.exists():
        sys.exit(f"no {program}: install the project first (`pip install -e .`)")
    return [str(program)]


def imported_by_fmap(*arguments: str | Path) -> set[str]:
    """The full names of all modules that `fmap` with these arguments imports, as the interpreter reports them."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fmap_cli", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(re.findall(r"^import time:[^|]*\|[^|]*\|\s*(\S+)$", done.stderr, re.MULTILINE))
    assert "click" in imported, "the report of imports was not understood"
    return imported


def write_photos(folder: Path, count: int) -> None:
    """Crops of the sample images as JPEG of 500 × 375, as in ImageNet: the same ones each time."""
    import random

    from PIL import Image

    chance = random.Random(1)
    samples = [Image.open(path).convert("RGB") for path in sorted((REPOSITORY / "sample_images").glob("*.*g"))]
    for at in range(count):
        photo = chance.choice(samples)
        share = chance.uniform(0.6, 1)
        width, height = int(photo.width * share), int(photo.height * share)
        left, top = chance.randint(0, photo.width - width), chance.randint(0, photo.height - height)
        crop = photo.crop((left, top, left + width, top + height)).resize((500, 375))
        crop.save(folder / f"{at:04}.jpg", quality=90)


def quietly(arguments: Sequence[str | Path]) -> str:
    """What `fmap ARGUMENTS` prints, run in this process; SystemExit where it fails."""
    import contextlib
    import io

    from fmap_cli.cli import run

    out, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = run([*map(str, arguments)])
    if code != 0:
        sys.exit(f"fmap {' '.join(map(str, arguments))} ended with {code}: {said.getvalue()}")
    return out.getvalue()
