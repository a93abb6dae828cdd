"""`fmap memory` for all of torchvision's models: an answer for training and inference, or a named reason.

    python benchmarks/memory_sweep.py [PATTERN]

Prints for each model, at batch 2, the seconds that both take together beyond the imports, each in a process of its own,
then what was refused and why. Targets: median at most 1.5 s, slowest at most 8 s.
"""

from __future__ import annotations

import fnmatch
import statistics
import sys
import time

import measure

MEDIAN_S, SLOWEST_S = 1.5, 8.0


def main() -> int:
    measure.show_machine("torch", "torchvision", "fmap-cli")
    from fmap_cli.errors import FmapError
    from fmap_cli.foreign.isolated import run_isolated
    from fmap_cli.memory.forecast import forecast
    from fmap_cli.memory.request import MemoryRequest
    from fmap_cli.models.records import ModelRequest
    from fmap_cli.models.torchvision_zoo import names

    forecast(MemoryRequest(ModelRequest("resnet18"), batch=2), lambda sentence: None)  # the imports, once
    pattern = sys.argv[1] if len(sys.argv) > 1 else "*"
    seconds: dict[str, float] = {}
    refused: list[tuple[str, str]] = []
    for name in fnmatch.filter(names(), pattern):
        request = MemoryRequest(ModelRequest(name), batch=2)
        start = time.perf_counter()
        try:
            found = run_isolated("fmap_cli.memory.forecast", "forecast", request, say=lambda sentence: None)
        except FmapError as error:
            refused.append((name, error.message))
            print(f"{name:40} {time.perf_counter() - start:6.2f} s  refused: {error.message[:200]}", flush=True)
            continue
        seconds[name] = time.perf_counter() - start
        train, inference = found.bills
        bound = "  (upper bound)" if train.upper_bound else ""
        print(
            f"{name:40} {seconds[name]:6.2f} s  training {train.allocated / 1e6:10,.1f} MB"
            f"  inference {inference.allocated / 1e6:9,.1f} MB{bound}",
            flush=True,
        )
    print(f"\n{len(seconds)} models with both answers, {len(refused)} refused")
    for name, reason in refused:
        print(f"  {name}: {reason}")
    median, slowest = statistics.median(seconds.values()), max(seconds.values())
    print(f"median {median:.2f} s (target ≤ {MEDIAN_S:g}), slowest {slowest:.2f} s (target ≤ {SLOWEST_S:g})")
    return 0 if median <= MEDIAN_S and slowest <= SLOWEST_S else 1


if __name__ == "__main__":
    sys.exit(main())
