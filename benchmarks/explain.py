"""`fmap explain` of ResNet-50's deepest convolution with two levels of --back, against `fmap show` of the same layer.

    python benchmarks/explain.py

Both are whole processes on one photo with random weights; show writes its figure. Beyond show, explain may take a
second: it makes two passes where show makes one, follows what the unit sees, and takes three levels of convolutions
apart.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import median

import measure

MOST_SECONDS, MOST_TIMES = 1.0, 2.0
ASKED = ("sample_images/coffee.png", "--model", "resnet50", "--weights", "random", "--layer", "layer4.2.conv3")


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 5)
    measure.show_machine("torch", "torchvision", "fmap-cli")
    fmap = [sys.executable, "-m", "fmap_cli"]
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "shown.png")
        seconds = measure.interleaved(
            {
                "fmap explain --through --back 2": measure.process(
                    [*fmap, "explain", *ASKED, "--through", "--back", "2"]
                ),
                "fmap show": measure.process([*fmap, "show", *ASKED, "-o", out]),
            },
            rounds,
        )
    measure.show_times(seconds)
    explaining, showing = seconds.values()
    beyond = median(a - b for a, b in zip(explaining, showing, strict=True))
    word = "met" if beyond <= MOST_SECONDS else "MISSED"
    print(f"\nbeyond show: {beyond:.2f} s; target ≤ {MOST_SECONDS:g} s: {word}")
    fast = measure.show_verdict(
        "`explain` of ResNet-50's layer4.2.conv3 with `--through --back 2`, whole process",
        measure.ratios(explaining, showing),
        MOST_TIMES,
        against="`show` of the same layer",
    )
    return 0 if fast and beyond <= MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
