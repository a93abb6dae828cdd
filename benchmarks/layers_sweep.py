"""`fmap layers MODEL --json` for all of torchvision's models in one process: under three minutes on two cores.

    python benchmarks/layers_sweep.py [PATTERN]

Prints the slowest, the whole time, and how much of it was computing (the rest is other programs' on a busy machine).
"""

from __future__ import annotations

import contextlib
import fnmatch
import io
import json
import sys
import time

import measure

TARGET_S = 180.0


def listed(model: str) -> tuple[float, dict[str, object]]:
    """Seconds that one listing takes, and what it says; SystemExit where the command fails."""
    from fmap_cli.cli import run

    out, said = io.StringIO(), io.StringIO()
    start = time.perf_counter()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
        code = run(["layers", model, "--json"])
    seconds = time.perf_counter() - start
    if code != 0:
        sys.exit(f"fmap layers {model} ended with {code}: {said.getvalue()}")
    document: dict[str, object] = json.loads(out.getvalue())
    return seconds, document


def main() -> int:
    measure.show_machine("torch", "torchvision", "fmap-cli")
    pattern = sys.argv[1] if len(sys.argv) > 1 else "*"
    start = time.perf_counter()
    from fmap_cli.models.torchvision_zoo import names

    models = fnmatch.filter(names(), pattern)
    seconds = {}
    rows = 0
    for model in models:
        seconds[model], document = listed(model)
        assert isinstance(document["layer_count"], int)
        rows += document["layer_count"]
    whole, computed = time.perf_counter() - start, time.process_time()
    for model in sorted(seconds, key=lambda name: -seconds[name])[:8]:
        print(f"{model:36} {seconds[model]:6.2f} s")
    print(f"\n{len(models)} models, {rows:,} layers: {whole:.1f} s, of which {computed:.1f} s of computing")
    met = whole <= TARGET_S
    print(f"target ≤ {TARGET_S:g} s: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
