"""`fmap show` of one image and layer against a bare script, whole processes: at most 0.75 ×.

    python benchmarks/show_process.py

`bare_script.py` imports torch and torchvision, preprocesses the same image, builds and loads the same model,
runs one forward pass and writes one PNG of the crop. fmap does that, captures a layer and draws its figure.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import measure

TARGET = 0.75
IMAGE = "sample_images/coffee.png"


def main() -> int:
    rounds = measure.rounds_wanted(__doc__, 9)
    measure.show_machine("torch", "torchvision", "pillow", "fmap-cli")
    with tempfile.TemporaryDirectory() as folder:
        figure, crop = Path(folder, "figure.png"), Path(folder, "crop.png")
        bare_script = Path(__file__).with_name("bare_script.py")
        seconds = measure.interleaved(
            {
                "fmap show": measure.process(
                    [*measure.fmap_command(), "show", IMAGE, "--layer", "conv1", "-o", figure]
                ),
                "bare script": measure.process([sys.executable, bare_script, IMAGE, crop]),
            },
            rounds,
        )
        assert figure.stat().st_size > 0 and crop.stat().st_size > 0
    measure.show_times(seconds)
    print()
    shares = measure.ratios(seconds["fmap show"], seconds["bare script"])
    return 0 if measure.show_verdict("fmap show / bare script", shares, TARGET) else 1


if __name__ == "__main__":
    sys.exit(main())
