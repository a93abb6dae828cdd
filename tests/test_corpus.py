"""Every odd, damaged and hostile input of `corpus` as a command of its own: a result or a clear line, and no more.

`pytest -n 0 -m slow tests/test_corpus.py` runs all of them, prints figures, and writes a line for each failure.
"""

from __future__ import annotations

import collections
import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import corpus
import hostile
import pytest
from measured import Measured, run_cold, run_warm

MOST_SECONDS = 20
MOST_BYTES = 2 << 30
KILL_SECONDS = 60
COLD = 60  # every so many cases also in a new interpreter
EVERY = int(os.environ.get("FMAP_CORPUS_EVERY", "1"))  # a part of the corpus: every so many cases

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def faults(case: corpus.Case, ran: Measured, folder: Path) -> list[str]:
    """What is wrong with how a command ended; empty where nothing is."""
    found = []
    if any(folder.rglob(hostile.MARKER)):
        found.append("execution")
    # A name in a file may contain the word; frames beneath it are Python's.
    if "Traceback" in ran.err and "\n  File " in ran.err:
        found.append("traceback")
    if ran.seconds > MOST_SECONDS:
        found.append("hang")
    if ran.peak_bytes > MOST_BYTES:
        found.append("memory")
    if ran.orphans:
        found.append("orphan")
    left = [each.name for each in folder.rglob("*") if each.name.endswith((".fmap-part", ".fmap-lock"))]
    left += [each.name for each in (folder / "temporary").iterdir() if not each.name.startswith("torchinductor")]
    if left:
        found.append("left behind")
    if ran.code not in (0, 1):
        found.append("exit code")
    said = [line for line in ran.err.splitlines() if line.startswith("fmap: ")]
    if ran.code == 1 and (len(said) != 1 or len(ran.err.rpartition("fmap: ")[2].splitlines()) > 2):
        found.append("no clear line")
    if any(character in ran.err + ran.out for character in "\x1b\x07"):
        found.append("escape")
    if case.sound and ran.code != 0:
        found.append("refused though sound")
    return found


def measure(case: corpus.Case, folder: Path, run: Callable[..., Measured]) -> tuple[Measured, list[str]]:
    folder.mkdir()
    environment = corpus.prepare(case, folder)
    ran = run(case.command, folder, environment, KILL_SECONDS)
    found = faults(case, ran, folder)
    shutil.rmtree(folder)
    return ran, found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch, on what the corpus is made of
@pytest.mark.parametrize("kind", corpus.KINDS)
def test_a_result_or_a_clear_line_within_20_seconds_and_2_gib(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    worst: list[str] = []
    slowest: list[tuple[float, str]] = []
    largest: list[tuple[int, str]] = []
    report = Path(os.environ.get("FMAP_CORPUS_REPORT", tmp_path)) / f"{kind}.txt"
    with report.open("w") as lines:
        for number, case in enumerate(itertools.islice(corpus.KINDS[kind](), 0, None, EVERY)):
            ran, found = measure(case, tmp_path / str(number), run_warm)
            label = f"{case.kind} | {case.name} | {' '.join(case.command)}"
            slowest.append((ran.seconds, label))
            largest.append((ran.peak_bytes, label))
            counts[case.kind].update(["cases", "result" if ran.code == 0 else "line", *found])
            if number % COLD == 0:
                cold, more = measure(case, tmp_path / f"{number}-cold", run_cold)
                counts[case.kind].update(["cold", *more])
                if (cold.code, cold.out, cold.err) != (ran.code, ran.out, ran.err):
                    found.append("another end in a new interpreter")
                    print(cold, ran, sep="\n", file=lines)
            for word in found:
                worst.append(f"{word}: {label}: {ran.code}, {ran.seconds:.1f} s, {ran.peak_bytes >> 20} MiB: {ran.err}")
                print(worst[-1], file=lines, flush=True)
        total = sum(counts.values(), collections.Counter())
        text = [f"{kind}: {_words(count)}" for kind, count in counts.items()] + [f"in all: {_words(total)}"]
        text += [f"{seconds:.1f} s: {label}" for seconds, label in sorted(slowest)[-5:]]
        text += [f"{peak >> 20} MiB: {label}" for peak, label in sorted(largest)[-5:]]
        print(*text, sep="\n", file=lines)
    with capsys.disabled():
        print("", *text, sep="\n")
    assert not worst, "\n".join(worst[:30])


def _words(count: collections.Counter[str]) -> str:
    return ", ".join(f"{number} {word}" for word, number in count.items())


BAD = f"""
import os, subprocess
from net import make as sound

def make():
    open("{hostile.MARKER}", "w").close()
    open("temporary/left", "w").close()
    subprocess.Popen(["sleep", "60"])
    return sound()
"""


def test_sound_and_cut_files_and_a_command_that_does_all_that_none_may(tmp_path: Path) -> None:
    """The rules can fail: a factory, which may do anything, does it."""
    image = corpus.picture("png", "RGB") or b""
    good = corpus.Case("", "", ("predict", "a.png", *corpus.MODEL), {"a.png": image}, sound=True)
    bad = corpus.Case(
        "", "", ("predict", "a.png", "-m", "bad.py:make", "--size", "16,16"), {"a.png": image, "bad.py": BAD.encode()}
    )
    cut = corpus.Case("", "", ("predict", "a.png", *corpus.MODEL), {"a.png": image[:40]})
    ran, found = measure(good, tmp_path / "good", run_warm)
    assert (ran.code, found) == (0, [])
    assert ran.peak_bytes > 100 << 20 and ran.cpu_seconds > 0
    assert measure(bad, tmp_path / "bad", run_warm)[1] == ["execution", "orphan", "left behind"]
    ran, found = measure(cut, tmp_path / "cut", run_warm)
    assert (ran.code, found) == (1, [])


def test_the_rules_see_each_fault(tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    case = corpus.Case("", "", (), {}, sound=True)

    def seen(**changed: Any) -> list[str]:
        ended = {"code": 0, "out": "", "err": "", "seconds": 1.0, "cpu_seconds": 1.0, "peak_bytes": 1, "orphans": ()}
        return faults(case, Measured(**{**ended, **changed}), tmp_path)

    assert seen() == []
    assert seen(seconds=21) == ["hang"]
    assert seen(peak_bytes=MOST_BYTES + 1) == ["memory"]
    assert seen(code=-11) == ["exit code", "refused though sound"]
    crash = 'Traceback (most recent call last):\n  File "a.py", line 1\nValueError\n'
    assert seen(code=1, err=crash) == ["traceback", "no clear line", "refused though sound"]
    assert seen(code=1, err="fmap: a.\n      b.\n") == ["refused though sound"]
    assert seen(code=1, err="fmap: a.\n      b.\n      c.\n") == ["no clear line", "refused though sound"]
    assert seen(out="\x1b[2J") == ["escape"]
