"""`layers` and `rf` of detectors and of MViT, beyond the imports: under 3 s each.

    python benchmarks/large_tables.py [PATTERN]

In one process, after the same command for resnet18 has imported everything. Each is run twice, and the first run
counts: it is what a user waits for.
"""

from __future__ import annotations

import fnmatch
import sys

import measure

TARGET_S = 3.0
PATTERNS = ("fasterrcnn_*", "fcos_*", "keypointrcnn_*", "maskrcnn_*", "retinanet_*", "ssd*", "mvit_*")


def main() -> int:
    measure.show_machine("torch", "torchvision", "fmap-cli")
    from fmap_cli.models.torchvision_zoo import names

    wanted = sys.argv[1:] or PATTERNS
    models = [name for name in names() if any(fnmatch.fnmatch(name, pattern) for pattern in wanted)]
    met = True
    for command in ("layers", "rf"):
        for warm in ("resnet18", "fcos_resnet50_fpn"):
            measure.quietly([command, "--model", warm])
        seconds: dict[str, float] = {}
        for model in models:
            start = measure.clock()
            measure.quietly([command, "--model", model, "--json"])
            seconds[model] = measure.clock() - start
            print(f"{command:7} {model:36} {seconds[model]:6.2f} s", flush=True)
        slowest = max(seconds, key=lambda name: seconds[name])
        met &= measure.show_verdict(
            f"`{command}` of {len(models)} detectors and MViTs, beyond imports: the slowest, {slowest}",
            [seconds[slowest]],
            TARGET_S,
            unit="s",
            floor=f"median of the {len(models)}: {sorted(seconds.values())[len(models) // 2]:.2f} s",
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
