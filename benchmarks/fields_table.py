"""The receptive fields of every layer of ResNet-50, whole processes: `fmap rf` against what it imports.

    python benchmarks/fields_table.py [--rounds N]

The baseline imports what the command imports and does nothing. Beside the ratio stands what the table costs beyond the
imports, in seconds: target under one.
"""

from __future__ import annotations

import sys
from statistics import median

import measure

TARGET_S = 1.0
IMPORTS = (
    "import fmap_cli.receptive.survey, fmap_cli.receptive.table, fmap_cli.models.torchvision_zoo,"
    " torchvision.models.resnet"
)


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 7)
    measure.show_machine("torch", "torchvision", "fmap-cli")
    table = [*measure.fmap_command(), "rf", "--model", "resnet50"]
    seconds = measure.interleaved(
        {
            "fmap rf --model resnet50": measure.process(table),
            "its imports": measure.process([sys.executable, "-c", IMPORTS]),
        },
        rounds,
    )
    measure.show_times(seconds)
    pairs = list(zip(*seconds.values(), strict=True))
    ratio = median(ours / imports for ours, imports in pairs)
    beyond = [ours - imports for ours, imports in pairs]
    print(f"\n{ratio:.2f} × its imports; beyond them {median(beyond):.2f} s ({min(beyond):.2f} to {max(beyond):.2f})")
    met = median(beyond) <= TARGET_S
    print(f"target ≤ {TARGET_S:g} s beyond the imports: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
