"""`fmap layers MODEL --json` for all of torchvision's models in one process: at most 90 s on two cores.

    python benchmarks/layers_sweep.py [PATTERN]

Prints the slowest, the whole time, and how much of it was computing (the rest is other programs' on a busy machine).
"""

from __future__ import annotations

import fnmatch
import json
import sys
import time

import measure

TARGET_S = 90.0


def listed(model: str) -> tuple[float, dict[str, object]]:
    """Seconds that one listing takes, and what it says; SystemExit where the command fails."""
    start = time.perf_counter()
    printed = measure.quietly(["layers", model, "--json"])
    seconds = time.perf_counter() - start
    document: dict[str, object] = json.loads(printed)
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
    met = measure.show_verdict(
        f"`layers` over {len(models)} torchvision models, one process",
        [whole],
        TARGET_S,
        unit="s",
        floor=f"{rows:,} layers; {computed:.0f} s of it computing",
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
