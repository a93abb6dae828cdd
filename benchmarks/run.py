"""Runs the benchmarks one after another and writes docs/benchmarks.md from what they measured.

    python benchmarks/run.py                     # all of them, about twenty minutes on two idle cores
    python benchmarks/run.py --only stats        # those whose name holds a word; the other rows stay as they were
    python benchmarks/run.py --quick             # two rounds each, to see that they run
    python benchmarks/run.py --page              # writes the page anew, measures nothing
    python benchmarks/run.py --changed "SENTENCE"   # the measured code is another now; the page says how

Each script is a process of its own. What it found is kept in benchmarks/results.json as soon as it ends, and the page
is written then, so that a run that is stopped loses nothing that was measured; a script that fails is named on the
page, and the next one follows. benchmarks/notes.md, written by hand, ends the page.

The page is of the code as it was: `results.json` holds a digest of each file in `MEASURED`, without its comments and
docstrings, and a test holds them against the files.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent
KEPT = HERE / "results.json"
NOTES = HERE / "notes.md"
PAGE = REPOSITORY / "docs" / "benchmarks.md"
RESULTS = "FMAP_BENCHMARK_RESULTS"  # as in `measure`, which is not imported: it stands beside this file only

MEASURED = (
    "fmap_cli/statistics/kernels.py",
    "fmap_cli/statistics/lanes.py",
    "fmap_cli/statistics/reduce.py",
    "fmap_cli/statistics/sheet.py",
    "fmap_cli/network/capture.py",
    "fmap_cli/running/reading.py",
    "fmap_cli/session/batches.py",
    "fmap_cli/top/keeping.py",
    "fmap_cli/top/searching.py",
    "fmap_cli/top/watching.py",
    "fmap_cli/embedding/vectors.py",
    "fmap_cli/drawing/raster.py",
    "fmap_cli/foreign/allocation.py",
)
"""The code that most of the rows are about: kernels, hooks, readers, what keeps memory and what writes PNGs."""


class Script(NamedTuple):
    """A benchmark: its arguments in a whole run and in a quick one, and after how many seconds it is given up."""

    name: str
    whole: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    seconds: int = 240


SCRIPTS = (
    Script("startup", ("--rounds", "9"), ("--rounds", "2")),
    Script("show_process", ("--rounds", "7"), ("--rounds", "2")),
    Script("stats_overhead", ("--rounds", "15"), ("--rounds", "2")),
    Script("folders", ("--rounds", "2"), ("--rounds", "1", "--photos", "64"), 900),
    Script("tables", ("--rounds", "5"), ("--rounds", "2")),
    Script("runs_load", ("--rounds", "5"), ("--rounds", "2")),
    Script("large_tables", (), ("mvit_v1_b", "ssd300_vgg16")),
    Script("layers_sweep", (), ("resnet*",)),
    Script("tiles", ("--rounds", "3"), ("--rounds", "1")),
    Script("explain", ("--rounds", "3"), ("--rounds", "1")),
    Script("top", ("--rounds", "2"), ("--rounds", "1", "--photos", "64"), 900),
    Script("peers", ("--rounds", "5"), ("--rounds", "1"), 300),
)
PACKAGES = ("torch", "torchvision", "numpy", "numba", "pillow", "fmap-cli")


def digest(path: str) -> str:
    """Of a file's code, without comments and docstrings."""
    tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            node.body = body[1:]  # type: ignore[attr-defined]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def digests() -> dict[str, str]:
    return {path: digest(path) for path in MEASURED}


def unsaid(kept: dict[str, Any]) -> list[str]:
    """The measured files that are others than when they were measured, and of which no sentence says so."""
    known = {
        **kept.get("code", {}),
        **{path: each for said in kept.get("changed", ()) for path, each in said["code"].items()},
    }
    return [path for path, now in digests().items() if known.get(path) != now]


# -- measuring ---------------------------------------------------------------------------------------------------


def measured(script: Script, arguments: Sequence[str]) -> dict[str, Any]:
    """What one script found: its rows, how long it took, under which load, and why it failed where it did."""
    load, start = os.getloadavg()[0] if hasattr(os, "getloadavg") else None, time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        results = Path(name, "rows")
        results.touch()
        failure = ""
        try:
            done = subprocess.run(
                [sys.executable, HERE / f"{script.name}.py", *arguments],
                cwd=REPOSITORY,
                env={**os.environ, RESULTS: str(results)},
                capture_output=True,
                text=True,
                timeout=script.seconds,
            )
            print(done.stdout)
            rows = read_rows(results)
            if done.returncode != 0 and (not rows or all(row["met"] for row in rows)):
                failure = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[
                    -1
                ]
        except subprocess.TimeoutExpired:
            rows = read_rows(results)
            failure = f"stopped after {script.seconds} s"
    return {
        "rows": rows,
        "failure": failure,
        "seconds": round(time.monotonic() - start, 1),
        "load": load,
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    }


def read_rows(results: Path) -> list[dict[str, Any]]:
    rows = []
    for line in results.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        row["values"] = [round(value, 4) for value in row["values"]]
        rows.append(row)
    return rows


def machine() -> dict[str, Any]:
    cpu = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", cpu.read_text() if cpu.exists() else "", re.MULTILINE)
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


# -- the page ----------------------------------------------------------------------------------------------------


def page(kept: dict[str, Any], notes: str) -> str:
    """docs/benchmarks.md for these results."""
    at = kept["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in at["versions"].items())
    lines = [
        "# How fast fmap is",
        "",
        "`python benchmarks/run.py` measures everything on this page and writes it. Where a row names what fmap is",
        "held against, both run in turn, a pair a round, after a first pair that is dropped; the figure is the median",
        "of the pairs' ratios, or of their differences in seconds or MB, with the lowest and the highest beside it.",
        "Most ratios are of times: below 1 fmap is faster. Those of a *rate* are of images a second: above 1 fmap is",
        "faster. Rows that say *one run* are seconds of this machine, held against nothing. A row without an aim is",
        "there for comparison.",
        "",
        f"Machine: {at['processor']}, {at['cores']} cores, {at['system']}; Python {at['python']}, {versions}.",
        "The load is that of the machine as the row's script began; above 1 other programs were at work, and the",
        "figures are rough.",
        "",
    ]
    rows = [
        (name, found, row) for name, found in kept["scripts"].items() for row in found["rows"] if not row.get("skipped")
    ]
    ours = [each for each in rows if not each[2].get("peer")]
    peers = [each for each in rows if each[2].get("peer")]
    lines += [
        "| work | against | figure | lowest to highest | aim | reached | script, date, load |",
        "|---|---|---|---|---|---|---|",
        *(_row(*each) for each in ours),
        "",
        "## How far from the floor",
        "",
        *(f"- {row['work']}: {row['floor']}." for _, _, row in ours if row.get("floor")),
        "",
    ]
    if peers:
        lines += [
            "## Other packages on the same work",
            "",
            "Time of fmap over time of the other package; below 1 fmap is faster.",
            "",
            "| work | package | figure | lowest to highest | ahead | script, date, load |",
            "|---|---|---|---|---|---|",
            *(_peer_row(*each) for each in peers),
            "",
        ]
    skipped = [row["skipped"] for found in kept["scripts"].values() for row in found["rows"] if row.get("skipped")]
    failed = [(name, found["failure"]) for name, found in kept["scripts"].items() if found["failure"]]
    if failed or skipped:
        lines += [
            "## Not measured",
            "",
            *(f"- `{name}.py`: {reason}" for name, reason in failed),
            *(f"- {each}" for each in skipped),
            "",
        ]
    if kept.get("changed"):
        lines += ["## Changed since", ""]
        lines += [
            f"- {said['what']} ({', '.join(f'`{path}`' for path in said['code'])}, {said['date']})"
            for said in kept["changed"]
        ]
        lines += [""]
    return "\n".join(lines) + "\n" + notes


def _figure(row: dict[str, Any]) -> tuple[str, str]:
    values, unit = row["values"], row["unit"]
    spread = f"{min(values):.2f} to {max(values):.2f}, {len(values)} rounds" if len(values) > 1 else "one run"
    middle = median(values)
    return f"{middle:.2f} {unit}" if middle >= 0.01 else f"{middle:.1g} {unit}", spread


def _where(name: str, found: dict[str, Any]) -> str:
    load = "" if found["load"] is None else f", {found['load']:.1f}"
    return f"`{name}.py`, {found['date'][:10]}{load}"


def _row(name: str, found: dict[str, Any], row: dict[str, Any]) -> str:
    figure, spread = _figure(row)
    reached = "–" if row["target"] == "–" else "yes" if row["met"] else "**no**"
    cells = (row["work"], row["against"] or "–", figure, spread, row["target"], reached, _where(name, found))
    return f"| {' | '.join(cells)} |"


def _peer_row(name: str, found: dict[str, Any], row: dict[str, Any]) -> str:
    figure, spread = _figure(row)
    ahead = "fmap" if row["met"] else f"**{row['peer'].split()[0]}**"
    return f"| {' | '.join((row['work'], row['peer'], figure, spread, ahead, _where(name, found)))} |"


# -- the run -----------------------------------------------------------------------------------------------------


def keep(kept: dict[str, Any]) -> None:
    KEPT.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    PAGE.write_text(page(kept, NOTES.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="WORD", help="only the scripts whose name holds it")
    parser.add_argument("--quick", action="store_true", help="few rounds; nothing is kept")
    parser.add_argument("--page", action="store_true", help="write the page from what is kept")
    parser.add_argument("--changed", metavar="SENTENCE", help="say how the measured code has changed")
    options = parser.parse_args()
    kept: dict[str, Any] = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    if options.page or options.changed:
        if options.changed:
            code = {path: digests()[path] for path in unsaid(kept)}
            said = {"what": options.changed, "code": code, "date": f"{datetime.now(UTC):%Y-%m-%d}"}
            kept.setdefault("changed", []).append(said)
        keep(kept)
        return 0
    kept["machine"] = machine()
    kept.setdefault("scripts", {})
    code = digests()
    failed = False
    for script in SCRIPTS:
        if options.only not in script.name:
            continue
        print(f"== {script.name}", flush=True)
        found = measured(script, script.quick if options.quick else script.whole)
        print(f"   {found['seconds']} s{'; FAILED: ' + found['failure'] if found['failure'] else ''}\n", flush=True)
        failed |= bool(found["failure"])
        if options.quick:
            continue
        if found["failure"] and script.name in kept["scripts"]:  # what was measured before stays, row by row
            again = {row.get("work") for row in found["rows"]}
            found["rows"] += [row for row in kept["scripts"][script.name]["rows"] if row.get("work") not in again]
        kept["scripts"][script.name] = found
        kept["scripts"] = {each.name: kept["scripts"][each.name] for each in SCRIPTS if each.name in kept["scripts"]}
        keep(kept)
    if not options.quick and (not options.only or "code" not in kept):
        kept["code"], kept["changed"] = code, []
        keep(kept)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
