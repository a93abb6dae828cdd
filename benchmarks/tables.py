"""`layers`, `rf` and `memory` of ResNet-50, whole processes, beyond their imports: at most 0.3 s each.

    python benchmarks/tables.py

What a command imports is what `python -X importtime` says of it; the other side is a process that imports just that.
"""

from __future__ import annotations

import sys

import measure

TARGET_S = 0.3
COMMANDS = ("layers", "rf", "memory")
FIRST = ("torch", "torchvision", "numpy")
"""Imported before their parts, as fmap does; some parts fail alone."""


def imports_alone(command: str) -> str:
    """A program that imports, with the collector at rest as in fmap, the modules that the command does."""
    found = measure.imported_by_fmap(command, "--model", "resnet50")
    wanted = sorted(each for each in found if each.split(".")[0] in ("fmap_cli", "rich", "click", *FIRST))
    wanted = [each for each in wanted if not each.endswith("__main__")]
    return (
        "import gc, importlib; gc.disable()\n"
        "import fmap_cli.frameworks as f; f.load_torchvision()\n"
        f"for each in {wanted!r}:\n"
        "    try: importlib.import_module(each)\n"
        "    except ImportError: pass\n"
        "import os; os._exit(0)"
    )


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 5)
    measure.show_machine("torch", "torchvision", "fmap-cli")
    met = True
    for command in COMMANDS:
        ours = [*measure.fmap_command(), command, "--model", "resnet50"]
        seconds = measure.interleaved(
            {
                f"fmap {command}": measure.process(ours),
                "its imports": measure.process([sys.executable, "-c", imports_alone(command)]),
            },
            rounds,
        )
        measure.show_times(seconds)
        beyond = [own - imports for own, imports in zip(*seconds.values(), strict=True)]
        met &= measure.show_verdict(
            f"`{command}` of ResNet-50, whole process, beyond its imports",
            beyond,
            TARGET_S,
            unit="s",
            against="a process that imports the same modules",
        )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
