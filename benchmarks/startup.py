"""`fmap --help` and `fmap --version`: at most 5 × `python -c pass` plus Click's and Rich's own import.

    python benchmarks/startup.py

Also checks that neither imports torch, torchvision, NumPy or Matplotlib.
"""

from __future__ import annotations

import sys

import measure

HEAVY = {"torch", "torchvision", "numpy", "matplotlib", "PIL"}
TARGET = 1.0


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 15)
    measure.show_machine("click", "rich", "fmap-cli")
    fmap = measure.fmap_command()
    base, imports = "python -c pass", 'python -c "import click, rich.console, rich.table"'
    commands = ("--help", "--version")
    seconds = measure.interleaved(
        {
            base: measure.process([sys.executable, "-c", "pass"]),
            imports: measure.process([sys.executable, "-c", "import click, rich.console, rich.table"]),
            **{f"fmap {name}": measure.process([*fmap, name]) for name in commands},
        },
        rounds,
    )
    measure.show_times(seconds)
    print()
    # What is allowed: 5 bare starts, and the time the two libraries add to one.
    allowed = [5 * p + (i - p) for p, i in zip(seconds[base], seconds[imports], strict=True)]
    met = True
    for name in commands:
        shares = measure.ratios(seconds[f"fmap {name}"], allowed)
        met &= measure.show_verdict(
            f"`fmap {name}`, whole process",
            shares,
            TARGET,
            against="five times `python -c pass`, and what importing Click and Rich adds to it",
        )
        heavy = measure.imported_by_fmap(name) & HEAVY
        print(f"    heavy packages imported: {', '.join(sorted(heavy)) or 'none'}")
        met &= not heavy
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
